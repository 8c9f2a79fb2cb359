// Package timer delivers messages at a time (RocketMQ's TimerMessageStore), on
// Java's files.
//
// # Data flow
//
// A message with a time waits in the topic rmq_sys_wheel_timer. Enqueue follows
// its consume queue and notes each message in the timer log, chained to the
// others of its slot in the timer wheel. Dequeue goes through the slots as time
// passes, follows their chains, and stores each message once more under its own
// topic, oldest first. A message that is further away than timerRollWindowSlot
// is put into a nearer slot; when that comes, it is put back into the timer
// topic. A message with TIMER_DEL_UNIQKEY takes another one of its slot away.
//
// # Promise
//
// Every message that the timer topic has is delivered, or passed over with an
// error in the log if it can never be: at least once, and no earlier than the
// first step of the precision at or after its time. Nothing but the store's own
// promise is lost by a kill or a crash of the machine, however long the broker
// was down: Java forgets what became due more than seven days before the start,
// and gives a message up after three failed attempts; here it stays.
//
// Once would need a transaction over two logs. What a kill makes double in Java,
// a second or more of deliveries, is found again here by UNIQ_KEY in the index
// and not delivered twice; what cannot be found (no UNIQ_KEY, no index, an index
// that lost its tail with the machine) is delivered again.
//
// # Order of writes
//
// A flush captures one state, under the lock, and makes it durable in the order
// commit log, timer log, wheel, checkpoint. So a wheel
// never points behind the timer log, and a checkpoint never says of anything
// that is not durable that it is done. Recovery takes the units behind the
// checkpoint from the timer log, cuts it where it is no log or is of messages
// that the commit log lost, and repairs the slots.
//
// # Files of the package
//
//	unit.go, log.go       the timer log     wheel.go    the wheel
//	checkpoint.go         config/timercheck metrics.go  config/timermetrics
//	timer.go              open, start, stop recover.go  what was there
//	enqueue.go            topic to slots    dequeue.go  slots to topics
//	deliver.go            one message       config.go   settings
package timer

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// Topic is where messages wait, in its queue 0.
const Topic = "rmq_sys_wheel_timer"

// Store is what the timer needs of a message store.
type Store interface {
	MinOffset(topic string, queue int32) int64
	MaxOffset(topic string, queue int32) int64
	ConsumeQueueUnit(topic string, queue int32, offset int64) (phys int64, size int32, tags int64, ok bool)
	Lookup(phys int64, f func(record []byte) error) error
	QueryKeys(topic, key string, most int, begin, end int64, f func(record []byte)) (lastTime, lastPhys int64)
	Append(m *protocol.Message) store.PutResult
	Await(end int64, w store.Waiter)
	// MaxPhysical is the end of the commit log.
	MaxPhysical() int64
	// LastStoreTime is the store time of its last message, ms.
	LastStoreTime() int64
	// Flush makes everything that was appended durable.
	Flush() error
}

// Options are what a timer gets from its surroundings.
type Options struct {
	FS       vfs.FS
	Log      *slog.Logger
	Root     string           // the store's folder
	Settings func() *Settings // of now, checked
	Store    Store
	Now      func() time.Time                         // default time.Now
	Stored   func(topic string, res *store.PutResult) // after each delivery; nil allowed

	slots int64 // of the wheel, for tests; 0: Java's
}

// Timer is the timer of one store.
type Timer struct {
	opt       Options
	log       *slog.Logger
	precision int64 // ms
	window    int64 // the furthest slot, ms
	check     *checkFile
	counts    *Counts

	mu         sync.Mutex // of what follows
	wheel      *wheel
	units      *unitLog
	doubtUntil int64   // messages with a time before it may have been delivered before the start
	reread     int64   // messages of the log before it may have been seen before
	known      []int64 // physical offsets that are in the timer log although the checkpoint does not say so, sorted
	readTime   int64   // the slot to be delivered next
	writeTime  int64   // slots before it take no messages
	next       int64   // offset in the timer topic
	delivered  bool    // anything since the last flush
	checkpoint Checkpoint

	slot *slotWork // of the loop that delivers

	flushing sync.Mutex
	flushed  int64 // position of the timer log, durable
	entered  bool  // so are names, and what was found in the wheel
	passed   int64 // read time of the last flush
	broken   atomic.Pointer[error]

	lastEnqueued atomic.Int64 // store time of the last message that was noted
	noticedAt    atomic.Int64 // when
	enqueued     rate
	dequeued     rate

	bell   chan struct{} // a message has come
	stop   chan struct{}
	loops  sync.WaitGroup
	closed bool // guarded by mu
	once   sync.Once
}

// Open loads and recovers the timer of a store that is open.
func Open(opt Options) (*Timer, error) {
	if opt.FS == nil {
		opt.FS = vfs.OS
	}
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	set := opt.Settings()
	t := &Timer{
		opt: opt, log: opt.Log, precision: set.TimerPrecisionMs, window: set.TimerRollWindowSlot * set.TimerPrecisionMs,
		bell: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	if err := t.open(set); err != nil {
		t.release()
		return nil, fmt.Errorf("open the timer of %s: %w", opt.Root, err)
	}
	return t, nil
}

func (t *Timer) open(set *Settings) (err error) {
	config := filepath.Join(t.opt.Root, "config")
	if err = t.opt.FS.MkdirAll(config); err != nil {
		return err
	}
	if t.check, t.checkpoint, err = openCheck(t.opt.FS, filepath.Join(config, "timercheck")); err != nil {
		return err
	}
	var uncounted error
	t.counts, uncounted = OpenCounts(t.opt.FS, filepath.Join(config, "timermetrics"), "timingCount")
	var fresh bool
	if t.wheel, fresh, err = openWheel(t.opt.FS, filepath.Join(t.opt.Root, "timerwheel"), t.precision, cmp.Or(t.opt.slots, wheelSlots)); err != nil {
		return err
	}
	if t.units, err = openLog(t.opt.FS, filepath.Join(t.opt.Root, "timerlog"), set.MappedFileSizeTimerLog); err != nil {
		return err
	}
	if err = t.recover(fresh); err != nil || uncounted == nil {
		return err
	}
	t.log.Warn("timer metrics cannot be read and are counted again", "err", uncounted)
	return t.recount()
}

func (t *Timer) release() {
	if t.units != nil {
		t.units.close()
	}
	if t.wheel != nil {
		t.wheel.file.Close()
	}
	if t.check != nil {
		t.check.file.Close()
	}
}

// Start delivers from now on.
func (t *Timer) Start() {
	t.loops.Go(t.runEnqueue)
	t.loops.Go(t.runDequeue)
	t.loops.Go(t.runFlush)
}

// Close ends the loops, flushes and closes the files. The store must be open still.
func (t *Timer) Close() (err error) {
	t.once.Do(func() {
		close(t.stop)
		t.loops.Wait()
		err = t.flush(true)
		t.flushing.Lock() // the store, which is open still, may call Expired
		defer t.flushing.Unlock()
		t.mu.Lock()
		defer t.mu.Unlock()
		t.closed = true
		t.release()
	})
	return err
}

// Arrived tells that the timer topic has a new message.
func (t *Timer) Arrived() {
	select {
	case t.bell <- struct{}{}:
	default:
	}
}

// Expired removes the files of the timer log whose messages are before the
// start of the commit log.
func (t *Timer) Expired(minPhys int64) {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	n, err := t.units.expire(minPhys)
	if err != nil {
		t.log.Error("files of the timer log are not removed", "err", err)
	}
	if n > 0 {
		t.log.Info("files of the timer log removed: their messages expired with the commit log", "files", n, "from", t.units.min())
	}
}

// Refuses reports whether a slot has so many messages that one more, to be
// delivered at ms, is refused: never up to timerCongestNumEachSlot, always from
// twice that on, by chance between.
func (t *Timer) Refuses(ms int64) bool {
	limit := t.opt.Settings().TimerCongestNumEachSlot
	if limit >= congestNever {
		return false
	}
	t.mu.Lock()
	s, _ := t.wheel.get(ms)
	t.mu.Unlock()
	n := int64(s.num)
	switch {
	case n <= limit:
		return false
	case n >= 2*limit:
		return true
	}
	return float64(rand.IntN(1000)) > float64(1000*(n-limit))/(float64(limit)+0.1)
}

// congestNever is the default of timerCongestNumEachSlot, which no slot gets to.
const congestNever = 1<<31 - 1

// Broken tells why the timer has stopped, or nil.
func (t *Timer) Broken() error {
	if err := t.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// fail stops the timer: what a failed flush lost is not known, and is recovered
// from the commit log by the next start.
func (t *Timer) fail(err error) {
	err = fmt.Errorf("the timer has stopped after a failed flush: %w", err)
	if t.broken.CompareAndSwap(nil, &err) {
		t.log.Error("timer messages are not delivered any more; restart the broker when the disk is well", "err", err)
	}
}

func (t *Timer) now() int64 { return t.opt.Now().UnixMilli() }

func (t *Timer) floor(ms int64) int64 { return ms / t.precision * t.precision }

func (t *Timer) runFlush() {
	for {
		select {
		case <-t.stop:
			return
		case <-time.After(time.Duration(max(t.opt.Settings().TimerFlushIntervalMs, 1)) * time.Millisecond):
		}
		if err := t.flush(false); err != nil {
			t.log.Warn("the timer is not flushed yet", "err", err)
		}
	}
}

// flush makes what was done up to now durable. A checkpoint that only says that
// time has passed is not synced, unless final.
func (t *Timer) flush(final bool) error {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	if err := t.Broken(); err != nil {
		return err
	}
	c, moved := t.capture()
	if moved {
		if err := t.opt.Store.Flush(); err != nil {
			t.mu.Lock()
			t.delivered = true
			t.mu.Unlock()
			return fmt.Errorf("flush what the timer took and delivered: %w", err)
		}
	}
	worked, err := t.flushFiles()
	if err != nil {
		t.fail(err)
		return err
	}
	c.LastTimerLogFlushPos = t.flushed
	if err := t.check.write(c, moved || worked || final); err != nil {
		return err
	}
	t.mu.Lock()
	t.checkpoint = c
	t.wheel.forget(t.passed, c.LastReadTimeMs)
	t.mu.Unlock()
	t.passed = c.LastReadTimeMs
	return t.counts.Save()
}

// capture returns the checkpoint of now, and whether messages were taken or
// delivered since the last one: the commit log has to be durable before it then,
// as messages that it loses have their places taken by others.
func (t *Timer) capture() (Checkpoint, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.checkpoint
	moved := t.delivered || c.MasterTimerQueueOffset != t.next || t.units.wrote > t.flushed
	t.delivered = false
	if c.LastReadTimeMs != t.readTime || c.MasterTimerQueueOffset != t.next {
		c.DataVersion.Next(0, t.now())
	}
	c.LastReadTimeMs, c.LastTimerQueueOffset, c.MasterTimerQueueOffset = t.readTime, t.next, t.next
	return c, moved
}

// flushFiles makes timer log and wheel durable, of which some of what came
// after the checkpoint was captured may be part: recovery knows how to take it.
func (t *Timer) flushFiles() (worked bool, err error) {
	t.mu.Lock()
	wrote, slots := t.units.wrote, t.wheel.changes()
	sync := t.units.syncFrom(t.flushed)
	t.mu.Unlock()
	if wrote > t.flushed {
		if err := sync(); err != nil {
			return false, err
		}
		t.flushed, worked = wrote, true
	}
	if err := t.wheel.write(slots, !t.entered); err != nil {
		return false, err
	}
	if !t.entered {
		if err := t.enter(); err != nil {
			return false, err
		}
		t.entered, worked = true, true
	}
	return worked || len(slots) > 0, nil
}

// enter makes the names of the files durable.
func (t *Timer) enter() error {
	for _, dir := range []string{t.opt.Root, filepath.Join(t.opt.Root, "config")} {
		if err := t.opt.FS.SyncDir(dir); err != nil {
			return fmt.Errorf("flush the timer's folders: %w", err)
		}
	}
	return nil
}

// State is what a broker shows of its timer.
type State struct {
	ReadBehind    time.Duration // age of the slot that is delivered next
	EnqueueBehind time.Duration // age of the message that was noted last, while messages come
	QueueBehind   int64         // messages of the timer topic that are not noted yet
	Waiting       int64         // messages in the wheel
	EnqueueTPS    float64
	DequeueTPS    float64
}

// State returns the state of now.
func (t *Timer) State() State {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	s := State{
		ReadBehind:  time.Duration(now-t.readTime) * time.Millisecond,
		QueueBehind: t.opt.Store.MaxOffset(Topic, 0) - t.next,
		Waiting:     t.wheel.count(t.readTime),
		EnqueueTPS:  t.enqueued.perSecond(now),
		DequeueTPS:  t.dequeued.perSecond(now),
	}
	if now-t.noticedAt.Load() < 2000 {
		s.EnqueueBehind = time.Duration(now-t.lastEnqueued.Load()) * time.Millisecond
	}
	return s
}

// Checkpoint returns how far the timer is.
func (t *Timer) Checkpoint() Checkpoint {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.checkpoint
}

// Metrics returns how many messages of each topic wait.
func (t *Timer) Metrics() *Counts { return t.counts }

// rate counts events of the last whole seconds.
type rate struct {
	mu          sync.Mutex
	from, count int64 // the second that is counted
	last        float64
}

func (r *rate) add(now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	r.count++
}

// turn ends the count of a second.
func (r *rate) turn(now int64) {
	if passed := now - r.from; passed >= 1000 {
		r.last = 0
		if passed < 10_000 {
			r.last = float64(r.count) * 1000 / float64(passed)
		}
		r.from, r.count = now, 0
	}
}

func (r *rate) perSecond(now int64) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	return r.last
}

var errStopped = errors.New("stopped")
