package inspect

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"rmqbench/refbroker/protocol"
)

// Dump says what of a store is printed, and how.
type Dump struct {
	JSON  bool  // one JSON object a line, else text
	From  int64 // byte of the log, offset of the queue, number of the index entry, byte of the timer log
	Limit int64 // lines; 0 for all
	Topic string
	Queue int32  // -1 for any, with records
	Key   string // index entries of "topic#key" only
	Body  bool   // records with their bodies
}

// printer writes lines until there have been enough.
type printer struct {
	to   io.Writer
	json bool
	left int64
}

func (d *Dump) printer(to io.Writer) *printer {
	p := &printer{to: to, json: d.JSON, left: d.Limit}
	if d.Limit <= 0 {
		p.left = math.MaxInt64
	}
	return p
}

// line prints v as JSON or text, and returns errStop after the last line wanted.
func (p *printer) line(v any, text func() string) error {
	if p.left <= 0 {
		return errStop
	}
	p.left--
	var err error
	if p.json {
		err = json.NewEncoder(p.to).Encode(v)
	} else {
		_, err = fmt.Fprintln(p.to, text())
	}
	if err == nil && p.left == 0 {
		err = errStop
	}
	return err
}

func stopped(err error) error {
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// stamp shows a time in ms as UTC.
func stamp(ms int64) string {
	if ms <= 0 {
		return strconv.FormatInt(ms, 10)
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

// recordLine is a record as it is printed.
type recordLine struct {
	At             int64             `json:"physicalOffset"`
	Size           int32             `json:"size"`
	Version        uint8             `json:"version"`
	Topic          string            `json:"topic"`
	Queue          int32             `json:"queueId"`
	Offset         int64             `json:"queueOffset"`
	SysFlag        int32             `json:"sysFlag"`
	Flag           int32             `json:"flag"`
	BornTime       int64             `json:"bornTimestamp"`
	BornHost       string            `json:"bornHost"`
	StoreTime      int64             `json:"storeTimestamp"`
	StoreHost      string            `json:"storeHost"`
	ReconsumeTimes int32             `json:"reconsumeTimes"`
	Prepared       int64             `json:"preparedTransactionOffset"`
	BodyCRC        uint32            `json:"bodyCRC"`
	BodySize       int               `json:"bodySize"`
	Properties     map[string]string `json:"properties"`
	Body           []byte            `json:"body,omitempty"`
}

func newRecordLine(r *Record, body bool) recordLine {
	l := recordLine{
		At: r.At, Size: r.StoreSize, Version: r.Version, Topic: r.Topic, Queue: r.QueueID, Offset: r.QueueOffset,
		SysFlag: r.SysFlag, Flag: r.Flag, BornTime: r.BornTimestamp, BornHost: r.BornHost.String(), StoreTime: r.StoreTimestamp,
		StoreHost: r.StoreHost.String(), ReconsumeTimes: r.ReconsumeTimes, Prepared: r.PreparedTransactionOffset,
		BodyCRC: r.BodyCRC, BodySize: len(r.Body), Properties: map[string]string{},
	}
	protocol.EachProperty(r.Properties, func(name, value string) bool {
		l.Properties[name] = value
		return true
	})
	if body {
		l.Body = r.Body
	}
	return l
}

func (l *recordLine) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d +%d v%d %s/%d@%d stored %s born %s %s", l.At, l.Size, l.Version, l.Topic, l.Queue, l.Offset, stamp(l.StoreTime), stamp(l.BornTime), l.BornHost)
	for _, f := range []struct {
		name string
		set  bool
		v    any
	}{{"sysFlag", l.SysFlag != 0, l.SysFlag}, {"flag", l.Flag != 0, l.Flag}, {"reconsumed", l.ReconsumeTimes != 0, l.ReconsumeTimes}, {"prepared", l.Prepared != 0, l.Prepared}} {
		if f.set {
			fmt.Fprintf(&b, " %s=%v", f.name, f.v)
		}
	}
	properties, _ := json.Marshal(l.Properties) // maps of strings always marshal, in order
	fmt.Fprintf(&b, " %s body %d bytes", properties, l.BodySize)
	if l.Body != nil && utf8.Valid(l.Body) {
		fmt.Fprintf(&b, " %q", l.Body)
	} else if l.Body != nil {
		fmt.Fprintf(&b, " %x", l.Body)
	}
	return b.String()
}

// Records prints records of the commit log. What ends the log is said on
// standard error by the caller: end and why are those of Folder.Records.
func (d *Dump) Records(f *Folder, to io.Writer) (end int64, why, err error) {
	p := d.printer(to)
	from, err := f.startAt(d.From)
	if err != nil {
		return 0, nil, err
	}
	end, why, err = f.Records(from, func(r *Record) error {
		if r.At < d.From || d.Topic != "" && r.Topic != d.Topic || d.Queue >= 0 && r.QueueID != d.Queue {
			return nil
		}
		l := newRecordLine(r, d.Body)
		return p.line(&l, l.text)
	})
	return end, why, stopped(err)
}

// startAt is where to begin so that a record at an offset is met: there, if one
// starts there, else at the start of its file.
func (f *Folder) startAt(at int64) (int64, error) {
	p, ok := f.log.find(at)
	if !ok {
		if at > f.log.end() {
			return 0, fmt.Errorf("--from is %d, the commit log has bytes %d to %d", at, f.log.first(), f.log.end())
		}
		return f.log.first(), nil
	}
	r, err := openReader(p, f.log.size)
	if err != nil {
		return 0, err
	}
	defer r.file.Close()
	var rec Record
	if blank, err := r.record(at, &rec); err == nil && !blank {
		return at, nil
	}
	return p.base, nil
}

// unitLine is a unit of a queue with what its extension holds.
type unitLine struct {
	Unit
	Ext *Ext `json:"ext,omitempty"`
}

func (l *unitLine) text() string {
	s := fmt.Sprintf("%d -> %d +%d tags %d", l.Offset, l.Phys, l.Size, l.Tags)
	if l.blank() {
		return fmt.Sprintf("%d blank", l.Offset)
	}
	if l.Count > 0 {
		s += fmt.Sprintf(" messages %d stored %s", l.Count, stamp(l.StoreTime))
	}
	if l.Ext != nil {
		s += fmt.Sprintf(" ext tags %d stored %s bits %x", l.Ext.Tags, stamp(l.Ext.StoreTime), l.Ext.Bits)
	}
	return s
}

// Units prints the units of the queue that Topic and Queue name.
func (d *Dump) Units(f *Folder, to io.Writer) error {
	kind := plainQueues
	if exists(f.path(batchQueues, d.Topic, strconv.Itoa(int(d.Queue)))) {
		kind = batchQueues
	}
	if !exists(f.path(kind, d.Topic, strconv.Itoa(int(d.Queue)))) {
		return fmt.Errorf("topic %s has no queue %d in %s", d.Topic, d.Queue, f.Root)
	}
	q, err := f.openQueue(kind, d.Topic, d.Queue)
	if err != nil {
		return err
	}
	p := d.printer(to)
	n, end := q.bounds()
	if !q.batch() {
		n = max(n, d.From)
	}
	for ; n < end; n++ {
		u, ok, err := q.nth(n)
		if err != nil || !ok {
			return err
		}
		if q.batch() && u.Offset+int64(u.Count) <= d.From {
			continue
		}
		if err := p.unit(q, u); err != nil {
			return stopped(err)
		}
	}
	return nil
}

func (p *printer) unit(q *queueFiles, u Unit) error {
	l := unitLine{Unit: u}
	if u.Tags <= firstExtAddress {
		ext, ok, err := q.extUnit(u.Tags)
		if err != nil {
			return err
		}
		if ok {
			l.Ext = &ext
		}
	}
	return p.line(&l, l.text)
}

// entryLine is an index entry.
type entryLine struct {
	File string `json:"file"`
	Entry
	Time int64 `json:"time"` // ms, of the file's begin and the entry's seconds
}

func (l *entryLine) text() string {
	return fmt.Sprintf("%s #%d hash %d -> %d at %s previous %d", l.File, l.Number, l.Hash, l.Phys, stamp(l.Time), l.Prev)
}

// Index prints index entries, oldest first, those of Key only if it is given.
func (d *Dump) Index(f *Folder, to io.Writer) error {
	paths, err := f.indexes()
	if err != nil {
		return err
	}
	p := d.printer(to)
	for _, path := range paths {
		x, err := f.openIndex(path)
		if err != nil {
			return err
		}
		err = d.entries(f, x, p)
		x.file.Close()
		if err != nil {
			return stopped(err)
		}
	}
	return nil
}

func (d *Dump) entries(f *Folder, x *IndexFile, p *printer) error {
	if info, err := x.file.Stat(); err != nil || info.Size() == 0 {
		return err
	} else if want := x.place(x.limit); info.Size() != want {
		return fmt.Errorf("%s has %d bytes, maxHashSlotNum=%d and maxIndexNum=%d make %d: give the broker's file with -c if it sets them", x.Path, info.Size(), x.slots, x.limit, want)
	}
	topic, key, _ := strings.Cut(d.Key, "#")
	hash := keyHash(topic, key)
	for n := max(d.From, 1); n < int64(x.Count); n++ {
		e, err := x.entry(n)
		if err != nil {
			return err
		}
		if d.Key != "" && e.Hash != hash {
			continue
		}
		l := entryLine{f.rel(x.Path), e, x.BeginTime + int64(e.Seconds)*1000}
		if err := p.line(&l, l.text); err != nil {
			return err
		}
	}
	return nil
}

// Checkpoint prints the checkpoint.
func (d *Dump) Checkpoint(f *Folder, to io.Writer) error {
	c, err := f.Checkpoint()
	if err != nil {
		return err
	}
	return stopped(d.printer(to).line(&c, func() string {
		return fmt.Sprintf("physicMsgTimestamp  %s\nlogicsMsgTimestamp  %s\nindexMsgTimestamp   %s\nmasterFlushedOffset %d\nconfirmPhyOffset    %d",
			stamp(c.Log), stamp(c.Queues), stamp(c.Index), c.MasterFlushedOffset, c.ConfirmOffset)
	}))
}

// Timer prints the units of the timer log.
func (d *Dump) Timer(f *Folder, to io.Writer) error {
	p := d.printer(to)
	_, err := f.Timers(func(t Timer) error {
		if t.At < d.From {
			return nil
		}
		return p.line(&t, func() string {
			return fmt.Sprintf("%d -> %d +%d deliver %s written %s magic %d previous %d", t.At, t.Phys, t.Size, stamp(t.Deliver), stamp(t.Written), t.Magic, t.Prev)
		})
	})
	return stopped(err)
}
