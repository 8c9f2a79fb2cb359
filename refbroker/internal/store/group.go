package store

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"

	"rmqbench/refbroker/protocol"
)

// Appends leave in groups. Whoever appends takes the lock for as long as it
// takes to copy its records into the last group, where they get their offsets
// and store time. Then it needs the group written, and either finds that
// somebody has done that, or waits for the write that is under way, or writes
// the group itself, with everything that others have put into it by then:
// leader and followers, without a goroutine of its own and without waiting for
// company. On one connection everything that was read together is staged first
// and needed afterwards, so that it is one write too.
//
// While mu is held, the bytes from wrote to staged are those of the groups in
// pending, in their order. Only the leader, who has set writing, moves wrote and
// writes to the log; it writes the first group.
//
// A write that fails fails everything that is staged: the records behind it
// have offsets that follow from it. Their queues get their offsets back, and the
// next record goes where the first of them should have gone.
//
// With transientStorePoolEnable nobody needs a group written: see commit.go.

// Sizes of groups, in bytes.
const (
	groupBytes  = 512 << 10 // a group takes no more records than that
	directBytes = 64 << 10  // records of that size are a group by themselves, and are not copied
	freeGroups  = 4         // groups kept for use again
)

// maxPending is how many groups there may be: the one that is being written
// and the one that takes records.
const maxPending = 2

// group is a run of records of one file that leaves in one write.
type group struct {
	file   *logFile
	at     int64 // of the first record
	next   int64 // where the log goes on
	buf    []byte
	taken  []taken
	closed bool // takes no more
	direct bool // buf is the appender's
	summed bool // some of its records end with a checksum

	appends, messages int64
	storeTime         int64     // of the last record
	began             time.Time // of the first append

	err  error       // why it could not be written; read it after done
	done atomic.Bool // it was written, or could not be
	refs atomic.Int64
	own  []byte // memory for buf
}

// taken is a run of queue offsets that was handed out.
type taken struct {
	queue *queue
	count int64
}

// revert ends a group that was not written.
func (g *group) revert(err error) {
	for _, t := range g.taken {
		t.queue.next -= t.count
	}
	g.err = err
	g.done.Store(true)
}

// stage gives e the next offsets of the log and of q, copies it into a group
// and fills in res. With plain false (prepared and rolled back transaction
// messages) the records get queue offset 0 and take none.
func (l *commitLog) stage(e encoded, q *queue, plain bool, res *PutResult) error {
	began := time.Now()
	now := began
	if !l.mu.TryLock() {
		l.mu.Lock()
		now = time.Now()
	}
	defer l.mu.Unlock()
	n := int64(len(e.bytes))
	f, err := l.room(q, n+e.late.atMost())
	if err == nil && e.late != nil && e.late.gone() {
		err = errQueueGone
	}
	if err != nil {
		l.counts.failed++
		return err
	}
	count := 1 + len(e.starts)
	if e.late != nil {
		e.bytes, count = e.late.fill(e.bytes, q, plain), e.late.count
		n = int64(len(e.bytes))
	}
	l.storeTime = max(l.storeTime, now.UnixMilli())
	*res = PutResult{PhysicalOffset: l.staged, StoreTimestamp: l.storeTime, Size: int32(n), Count: count}
	g := l.join(f, n, began)
	if plain {
		res.QueueOffset = q.next
		q.next += int64(res.Count)
		g.taken = append(g.taken, taken{q, int64(res.Count)})
	}
	if e.late != nil {
		e.late.take(g)
	}
	l.take(g, e, plain, res)
	return nil
}

// take moves records into a group.
func (l *commitLog) take(g *group, e encoded, plain bool, res *PutResult) {
	at := len(g.buf)
	if g.direct {
		g.buf = e.bytes
	} else {
		g.buf = append(g.buf, e.bytes...)
	}
	e.bytes = g.buf[at:]
	g.summed = g.summed || e.summed
	patch(e, plain, res)
	l.staged += int64(len(e.bytes))
	res.End = l.staged
	g.next, g.storeTime = l.staged, l.storeTime
	g.appends++
	g.messages += int64(res.Count)
	if l.pool != nil {
		l.pool.took(l, g.began, res)
		return
	}
	res.group = g
	g.refs.Add(1)
	for g.direct && !g.done.Load() {
		l.advance()
	}
}

// patch fills in what a record learns when it gets its place.
func patch(e encoded, plain bool, res *PutResult) {
	protocol.PatchMessage(e.bytes, res.QueueOffset, res.PhysicalOffset, res.StoreTimestamp)
	if e.starts == nil {
		return
	}
	res.Offsets = append(make([]int64, 0, res.Count), res.PhysicalOffset)
	next := res.QueueOffset
	for _, start := range e.starts {
		if plain {
			next++
		}
		res.Offsets = append(res.Offsets, res.PhysicalOffset+int64(start))
		protocol.PatchMessage(e.bytes[start:], next, res.PhysicalOffset+int64(start), res.StoreTimestamp)
	}
}

// joins reports whether n more bytes go into the last group.
func (l *commitLog) joins(n int64) bool {
	if len(l.pending) == 0 || n >= directBytes {
		return false
	}
	g := l.pending[len(l.pending)-1]
	return !g.closed && len(g.buf)+int(n) <= groupBytes
}

// join returns the group that n bytes at staged go into, a new one if they do
// not fit the last.
func (l *commitLog) join(f *logFile, n int64, began time.Time) *group {
	if l.joins(n) {
		return l.pending[len(l.pending)-1]
	}
	var g *group
	if n := len(l.free); n > 0 {
		g, l.free = l.free[n-1], l.free[:n-1]
	} else {
		g = &group{}
	}
	g.file, g.at, g.buf, g.began = f, l.staged, g.own[:0], began
	g.direct = n >= directBytes && l.pool == nil
	g.closed = g.direct
	l.pending = append(l.pending, g)
	return g
}

// room returns the file that takes n bytes of records of q at staged. It rolls
// the log, and waits until there is a group for them. mu is held, and given up
// meanwhile.
func (l *commitLog) room(q *queue, n int64) (*logFile, error) {
	for {
		files := *l.files.Load()
		switch {
		case l.closed:
			return nil, ErrClosed
		case q.deleted:
			return nil, errQueueGone
		case l.draining > 0:
			l.turn.Wait()
		case l.pool != nil && l.pool.err != nil:
			return nil, l.pool.err
		case len(files) == 0 || l.staged+n+blankSize > files[len(files)-1].end():
			if err := l.roll(); err != nil {
				return nil, err
			}
		case l.crowded(n):
			l.advance()
		default:
			return files[len(files)-1], nil
		}
	}
}

// crowded reports whether something has to be written before n more bytes are staged.
func (l *commitLog) crowded(n int64) bool {
	if l.pool != nil {
		return l.staged+n-l.wrote.Load() > l.pool.bytes
	}
	return len(l.pending) >= maxPending && !l.joins(n)
}

// roll goes on to the next file: a blank ends the last one.
func (l *commitLog) roll() error {
	if p := l.pool; p != nil && p.fastFail && l.buffersUsed() > p.size {
		return errNoFile{errors.New("transientStorePoolSize buffers are in use, and fastFailIfNoBufferInStorePool is set")}
	}
	files := *l.files.Load()
	if len(files) == 0 || l.staged == files[len(files)-1].end() {
		next, err := l.nextFile(l.staged)
		if err == nil {
			l.add(next)
		}
		return err
	}
	last := files[len(files)-1]
	next, err := l.nextFile(last.end())
	if err != nil {
		return err
	}
	g := l.join(last, blankSize, time.Now())
	g.buf = binary.BigEndian.AppendUint32(g.buf, uint32(last.end()-l.staged))
	g.buf = binary.BigEndian.AppendUint32(g.buf, protocol.MagicBlank)
	g.closed, g.next = true, next.base
	l.add(next)
	l.staged = next.base
	return nil
}

// unroll takes back files that nothing was written to.
func (l *commitLog) unroll() {
	for {
		files := *l.files.Load()
		if len(files) == 0 || files[len(files)-1].base <= l.staged {
			return
		}
		kept := files[: len(files)-1 : len(files)-1]
		l.files.Store(&kept)
		l.keepSpare(files[len(files)-1])
	}
}

// advance waits for the write that is under way, or writes the first group. mu
// is held, and given up meanwhile.
func (l *commitLog) advance() {
	if l.writing {
		l.turn.Wait()
	} else if len(l.pending) > 0 {
		l.lead()
	}
}

// drain has everything written that is staged, and keeps new records out until
// mu, which is held and given up meanwhile, is given up by the caller.
func (l *commitLog) drain() error {
	l.draining++
	for l.writing || len(l.pending) > 0 {
		l.advance()
		if l.pool != nil && l.pool.err != nil {
			break
		}
	}
	l.draining--
	l.turn.Broadcast()
	if l.pool != nil {
		return l.pool.err
	}
	return nil
}

// lead writes the first group. mu is held, and given up meanwhile.
func (l *commitLog) lead() {
	g := l.pending[0]
	g.closed, l.writing = true, true
	g.refs.Add(1)
	if l.pool == nil {
		l.locked.Store(nowMillis())
	}
	l.mu.Unlock()
	if g.summed {
		seal(g.buf)
	}
	err := l.write(g.file, g.buf, g.at)
	if err == nil {
		l.wrote.Store(g.next)
		if g.messages > 0 {
			l.wroteTime.Store(g.storeTime)
		}
		l.written()
	}
	l.locked.Store(0)
	if err == nil {
		l.writeAhead(g.file, g.next)
	}
	l.mu.Lock()
	l.writing = false
	l.ended(g, err)
	l.turn.Broadcast()
	l.letGo(g)
}

// seal sets the property checksums of the records of b.
func seal(b []byte) {
	for len(b) > blankSize {
		n := binary.BigEndian.Uint32(b)
		if protocol.EndsInCRC(b[:n]) {
			protocol.SealMessageCRC(b[:n])
		}
		b = b[n:]
	}
}

// ended accounts for the first group, which was written or could not be.
func (l *commitLog) ended(g *group, err error) {
	if l.pool != nil {
		if l.pool.err = err; err != nil {
			return // it is tried again
		}
	}
	if err != nil {
		for _, g := range l.pending {
			l.counts.failed += g.appends
			g.revert(err)
		}
		clear(l.pending)
		l.pending = l.pending[:0]
		l.staged = l.wrote.Load()
		l.unroll()
		return
	}
	if l.pool == nil {
		l.counts.add(g.appends, g.messages, int64(len(g.buf)), g.began)
	}
	g.done.Store(true)
	n := copy(l.pending, l.pending[1:])
	l.pending[n] = nil
	l.pending = l.pending[:n]
}

// settle waits until a group was written, writes it if nobody else does, and
// returns why it could not be. It is called once for each append.
func (l *commitLog) settle(g *group) error {
	if !g.done.Load() {
		l.mu.Lock()
		for !g.done.Load() {
			l.advance()
		}
		l.mu.Unlock()
	}
	err := g.err
	if g.refs.Add(-1) == 0 {
		l.mu.Lock()
		l.reuse(g)
		l.mu.Unlock()
	}
	return err
}

// letGo gives the leader's reference back, mu being held.
func (l *commitLog) letGo(g *group) {
	if g.refs.Add(-1) == 0 && g.done.Load() {
		l.reuse(g)
	}
}

// reuse keeps a group that nobody refers to any more.
func (l *commitLog) reuse(g *group) {
	if len(l.free) >= l.keepFree {
		return
	}
	if !g.direct && cap(g.buf) <= 2*groupBytes {
		g.own = g.buf[:0]
	}
	clear(g.taken)
	*g = group{own: g.own, taken: g.taken[:0]}
	l.free = append(l.free, g)
}

var errQueueGone = errors.New("queue was deleted or closed meanwhile")

type putCounts struct {
	messages, bytes, failed int64
	distribution            [len(putBuckets) + 1]int64
	maxMillis               int64
}

// putBuckets are the upper bounds in ms of Stats.PutDistribution, as Java
// prints them; the last bucket has none.
var putBuckets = [...]int64{0, 10, 50, 100, 200, 500, 1000, 2000, 3000, 4000, 5000, 10_000}

func (c *putCounts) add(appends, messages, bytes int64, began time.Time) {
	c.messages += messages
	c.bytes += bytes
	took := time.Since(began).Milliseconds()
	c.maxMillis = max(c.maxMillis, took)
	i := 0
	for i < len(putBuckets) && took > putBuckets[i] {
		i++
	}
	c.distribution[i] += appends
}
