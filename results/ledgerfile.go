package results

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// LedgerFile is the name of the ledger in a run's folder. It is written as the
// run goes on, so that the accounts survive the death of the generator.
//
//	8 bytes   "RMQBLDG2"
//	…         the state, in the order of the code methods below
//	4 bytes   CRC-32C of all before, big-endian
//
// Whole numbers are varints (zigzag), lists and texts have their length (uvarint)
// before them, truths are the number 1 or 0, and sets are as appendSet writes them.
// Its size is bounded by what is missing, as that of the ledger is.
const LedgerFile = "ledger.bin"

const ledgerMagic = "RMQBLDG2"

// maxLedgerFile bounds what is read.
const maxLedgerFile = 4 << 30

// ErrLedger reports a ledger.bin that cannot be read: torn, damaged, or of another version.
var ErrLedger = errors.New("not a ledger that this rmqbench can read")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// coder is told of every part of a state in the order of the file: one writes
// it, the other reads it.
type coder interface {
	number(*int64)
	text(*string)
	set(*SequenceSet)
	length(n int) int // of a list: n when it is written
	failed() bool
}

type writer struct{ b []byte }

func (w *writer) number(v *int64) { w.b = binary.AppendVarint(w.b, *v) }
func (w *writer) text(s *string) {
	w.b = append(binary.AppendUvarint(w.b, uint64(len(*s))), *s...)
}
func (w *writer) set(s *SequenceSet) { w.b = appendSet(w.b, s) }
func (w *writer) failed() bool       { return false }
func (w *writer) length(n int) int {
	w.b = binary.AppendUvarint(w.b, uint64(n))
	return n
}

type reader struct{ cursor }

func (r *reader) number(v *int64)    { *v = r.varint() }
func (r *reader) text(s *string)     { *s = r.cursor.text() }
func (r *reader) set(s *SequenceSet) { r.cursor.set(s) }
func (r *reader) failed() bool       { return r.err != nil }
func (r *reader) length(int) int     { return r.cursor.length() }

// items codes the items of l with f; what is read is made item by item, so that
// a length alone allocates nothing.
func items[T any](c coder, l *[]T, f func(*T)) {
	n := c.length(len(*l))
	for i := 0; i < n && !c.failed(); i++ {
		if i == len(*l) {
			*l = append(*l, *new(T))
		}
		f(&(*l)[i])
	}
}

// pointers is items for items that are locked while they are coded.
func pointers[T any](c coder, l *[]*T, f func(*T)) {
	items(c, l, func(p **T) {
		if *p == nil {
			*p = new(T)
		}
		f(*p)
	})
}

func truth(c coder, b *bool) {
	n := count(*b)
	c.number(&n)
	if v := n != 0; v != *b { // others may read it while it is written to a file
		*b = v
	}
}

func numbersOf(c coder, all ...*int64) {
	for _, n := range all {
		c.number(n)
	}
}

func setsOf(c coder, all ...*SequenceSet) {
	for _, s := range all {
		c.set(s)
	}
}

// code tells c of the state. What is written of it is as it is at that moment,
// part by part, when others change it meanwhile.
func (s *LedgerState) code(c coder) {
	run, saved := int64(s.Run), s.Saved.UnixNano()
	numbersOf(c, &run, &saved)
	s.Run, s.Saved = uint64(run), time.Unix(0, saved).UTC()
	pointers(c, &s.Views, func(v *LedgerView) { v.code(c) })
	pointers(c, &s.Accounts, func(a *LedgerAccount) { a.code(c, len(s.Views)) })
	s.Lock() // last, so that it names every broker of the accounts
	defer s.Unlock()
	numbersOf(c, &s.Foreign, &s.Corrupt)
	items(c, &s.Brokers, c.text)
	items(c, &s.Violations, func(v *Violation) { v.code(c) })
}

func (v *LedgerView) code(c coder) {
	v.Lock()
	defer v.Unlock()
	c.text(&v.Group)
	c.number(&v.Member)
	truth(c, &v.Open)
	truth(c, &v.Consumed)
	numbersOf(c, &v.Replayed, &v.Redelivered, &v.Duplicated, &v.Explained)
	pointers(c, &v.Queues, func(q *LedgerQueue) { q.code(c) })
}

func (q *LedgerQueue) code(c coder) {
	q.Lock()
	defer q.Unlock()
	c.text(&q.Broker)
	truth(c, &q.Retry)
	numbersOf(c, &q.Queue, &q.Highest, &q.Replayed, &q.Redelivered, &q.Duplicated, &q.NotReplayed)
	setsOf(c, &q.Got, &q.Skipped)
	items(c, &q.Windows, func(w *LedgerWindow) {
		numbersOf(c, &w.Event, &w.Lo, &w.Hi, &w.Until)
		setsOf(c, &w.Came, &w.Before)
	})
	items(c, &q.Rewinds, func(r *LedgerRewind) {
		numbersOf(c, &r.Event, &r.From, &r.To)
		truth(c, &r.Pending)
		setsOf(c, &r.Again, &r.Fresh)
	})
}

func (a *LedgerAccount) code(c coder, views int) {
	a.Lock()
	defer a.Unlock()
	truth(c, &a.Own)
	next := a.Next.Load()
	numbersOf(c, &a.Number, &next, &a.Gaps, &a.FailedReceived, &a.UnknownReceived, &a.Visible, &a.Corrupt, &a.Early)
	a.Next.CompareAndSwap(0, next) // of a writer it is that, or has grown since
	setsOf(c, &a.Acked, &a.Failed, &a.Unknown, &a.RolledBack, &a.Stored)
	a.Places.code(c)
	items(c, &a.Views, func(v *LedgerAccountView) {
		numbersOf(c, &v.View, &v.Expected, &v.Received, &v.Duplicated, &v.OutOfOrder, &v.Retried, &v.Deferred)
		setsOf(c, &v.Seen, &v.Filtered, &v.Again, &v.Twice, &v.Owed, &v.Strays, &v.Dead)
		if r, ok := c.(*reader); ok && (v.View < 0 || v.View >= int64(views)) {
			r.fail("an account is about a group that there is none of")
			v.View = 0
		}
	})
}

// placed is a place as it is written.
type placed struct{ sequence, broker, queue, offset int64 }

func (p *Places) code(c coder) {
	var all []placed
	for sequence, at := range p.All() {
		all = append(all, placed{sequence, int64(at.Broker), int64(at.Queue), at.Offset})
	}
	items(c, &all, func(a *placed) { numbersOf(c, &a.sequence, &a.broker, &a.queue, &a.offset) })
	if r, ok := c.(*reader); ok && r.err == nil {
		p.room = len(all)
		for _, a := range all {
			p.keep(a.sequence, Place{a.offset, int32(max(0, min(a.broker, maxBrokers))), int32(a.queue)})
		}
	}
}

// maxBrokers is more brokers than there are anywhere.
const maxBrokers = 1 << 20

func (v *Violation) code(c coder) {
	producer, queue := int64(v.Producer), int64(v.Queue)
	c.text(&v.Kind)
	c.text(&v.Group)
	c.text(&v.Broker)
	numbersOf(c, &producer, &v.Sequence, &queue, &v.Offset)
	truth(c, &v.Retry)
	v.Producer, v.Queue = int(producer), int(queue)
}

// Save writes the state to path in one step: a reader sees the old one or the
// new one. now is what ReadLedger returns as the time of it. One Save at a time;
// others may go on changing what the state's parts lock.
func (s *LedgerState) Save(path string, now time.Time) error {
	s.Saved = now
	w := &writer{b: []byte(ledgerMagic)}
	s.code(w)
	w.b = binary.BigEndian.AppendUint32(w.b, crc32.Checksum(w.b, castagnoli))
	if err := ReplaceFile(path, w.b); err != nil {
		return fmt.Errorf("save the ledger: %w", err)
	}
	return nil
}

// ReadLedger reads the ledger of a run: path is its ledger.bin, or its folder.
// Saved of it is when it was written, which for a generator that was killed is
// some time before it died: its figures are as of then. An error is ErrLedger,
// or of the file system.
func ReadLedger(path string) (*LedgerState, error) {
	if filepath.Base(path) != LedgerFile {
		path = filepath.Join(path, LedgerFile)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	if info.Size() > maxLedgerFile || info.Mode()&fs.ModeType != 0 {
		return nil, fmt.Errorf("read the ledger %s of %d bytes: %w", path, info.Size(), ErrLedger)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	s, err := decodeLedger(b)
	if err != nil {
		return nil, fmt.Errorf("read the ledger %s: %w", path, err)
	}
	return s, nil
}

// LedgerAsOf returns the figures of the ledger in a run's folder, and the time as
// of which they are: for a generator that was killed, that of its last save. What it
// had not received by then is lost only if its group was well past it.
func LedgerAsOf(dir string) (Ledger, time.Time, error) {
	s, err := ReadLedger(dir)
	if err != nil {
		return Ledger{}, time.Time{}, err
	}
	l, _ := s.Settled()
	return l, s.Saved, nil
}

func decodeLedger(b []byte) (*LedgerState, error) {
	end := len(b) - crc32.Size
	switch {
	case end < len(ledgerMagic) || string(b[:len(ledgerMagic)]) != ledgerMagic:
		return nil, fmt.Errorf("%w: it does not begin with %s", ErrLedger, ledgerMagic)
	case crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]):
		return nil, fmt.Errorf("%w: its checksum does not match", ErrLedger)
	}
	s, r := new(LedgerState), &reader{cursor{b: b[len(ledgerMagic):end]}}
	s.code(r)
	if r.err == nil && len(r.b) > 0 {
		r.fail("there is more than a ledger")
	}
	if r.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLedger, r.err)
	}
	return s, nil
}
