package store

import (
	"errors"
	"sync/atomic"
	"time"

	"rmqbench/refbroker/protocol"
)

// Appends leave in groups. Whoever appends takes the lock for as long as it
// takes to copy its records into the open group, where they get their offsets
// and store time. Then it needs the group written, and either finds that
// somebody has done that, or waits for the write that is under way, or writes
// the group itself, with everything that others have put into it by then:
// leader and followers, without a goroutine of its own and without waiting for
// company. On one connection everything that was read together is staged first
// and needed afterwards, so that it is one write too.
//
// While mu is held, the bytes from wrote to staged are the group that is being
// written, if writing is true, and the open one behind it, if there is one. Only
// the leader, who has set writing, moves wrote and writes to the log.
//
// A write that fails fails everything that is staged: the records behind it
// have offsets that follow from it. Their queues get their offsets back, and the
// next record goes where the first of them should have gone.

// Sizes of groups, in bytes.
const (
	groupBytes  = 512 << 10 // a group takes no more records than that
	directBytes = 64 << 10  // records of that size are a group by themselves, and are not copied
	freeGroups  = 4         // groups kept for use again
)

// group is a run of records of one file that leaves in one write.
type group struct {
	file  *logFile
	at    int64 // of the first record
	buf   []byte
	taken []taken
	alone bool // buf is the appender's

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

func (g *group) end() int64 { return g.at + int64(len(g.buf)) }

// revert ends a group that was not written.
func (g *group) revert(err error) {
	for _, t := range g.taken {
		t.queue.next -= t.count
	}
	g.err = err
	g.done.Store(true)
}

// stage gives e the next offsets of the log and of q, copies it into the open
// group and fills in res. With plain false (prepared and rolled back transaction
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
	g := l.join(f, began)
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

// take moves records into the open group.
func (l *commitLog) take(g *group, e encoded, plain bool, res *PutResult) {
	at := len(g.buf)
	if g.alone = len(e.bytes) >= directBytes; g.alone {
		g.buf = e.bytes
	} else {
		g.buf = append(g.buf, e.bytes...)
	}
	e.bytes = g.buf[at:]
	patch(e, plain, res)
	l.staged += int64(len(e.bytes))
	res.End, res.group = l.staged, g
	g.storeTime = l.storeTime
	g.appends++
	g.messages += int64(res.Count)
	g.refs.Add(1)
	if g.alone {
		l.lead()
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

// join returns the open group, a new one if there is none.
func (l *commitLog) join(f *logFile, began time.Time) *group {
	if l.open != nil {
		return l.open
	}
	var g *group
	if n := len(l.free); n > 0 {
		g, l.free = l.free[n-1], l.free[:n-1]
	} else {
		g = &group{}
	}
	g.file, g.at, g.buf, g.began = f, l.staged, g.own[:0], began
	g.done.Store(false)
	l.open = g
	return g
}

// room returns the file that takes n bytes of records of q at staged. It rolls
// the log, and waits until the open group can take them. mu is held, and given
// up meanwhile.
func (l *commitLog) room(q *queue, n int64) (*logFile, error) {
	for {
		if l.closed {
			return nil, ErrClosed
		}
		if q.deleted {
			return nil, errQueueGone
		}
		files := *l.files.Load()
		fits := len(files) > 0 && l.staged+n+blankSize <= files[len(files)-1].end()
		alone := !fits || n >= directBytes
		switch {
		case l.draining > 0:
			l.turn.Wait()
		case l.open != nil && (alone || len(l.open.buf)+int(n) > groupBytes), alone && l.writing:
			l.advance()
		case fits:
			return files[len(files)-1], nil
		default:
			if err := l.roll(); err != nil {
				return nil, err
			}
		}
	}
}

// advance waits for the write that is under way, or writes the open group. mu
// is held, and given up meanwhile.
func (l *commitLog) advance() {
	if l.writing {
		l.turn.Wait()
	} else if l.open != nil {
		l.lead()
	}
}

// drain has everything written that is staged, and keeps new records out until
// mu, which is held and given up meanwhile, is given up by the caller.
func (l *commitLog) drain() {
	l.draining++
	for l.writing || l.open != nil {
		l.advance()
	}
	l.draining--
	l.turn.Broadcast()
}

// lead writes the open group. mu is held, and given up meanwhile.
func (l *commitLog) lead() {
	g := l.open
	l.open, l.writing = nil, true
	g.refs.Add(1)
	l.locked.Store(nowMillis())
	l.mu.Unlock()
	err := l.write(g.file, g.buf, g.at)
	if err == nil {
		l.wrote.Store(g.end())
		l.wroteTime.Store(g.storeTime)
		l.written()
	}
	l.locked.Store(0)
	l.mu.Lock()
	l.writing = false
	l.ended(g, err)
	l.turn.Broadcast()
	if g.refs.Add(-1) == 0 {
		l.reuse(g)
	}
}

// ended accounts for a group that was written or could not be.
func (l *commitLog) ended(g *group, err error) {
	if err == nil {
		l.counts.add(g)
		g.done.Store(true)
		return
	}
	l.counts.failed += g.appends
	g.revert(err)
	if next := l.open; next != nil {
		l.open = nil
		l.counts.failed += next.appends
		next.revert(err)
	}
	l.staged = l.wrote.Load()
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

// reuse keeps a group that nobody refers to any more.
func (l *commitLog) reuse(g *group) {
	if len(l.free) == freeGroups {
		return
	}
	if !g.alone {
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

func (c *putCounts) add(g *group) {
	c.messages += g.messages
	c.bytes += int64(len(g.buf))
	took := time.Since(g.began).Milliseconds()
	c.maxMillis = max(c.maxMillis, took)
	i := 0
	for i < len(putBuckets) && took > putBuckets[i] {
		i++
	}
	c.distribution[i] += g.appends
}
