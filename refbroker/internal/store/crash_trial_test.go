package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// trial is one random history of a store: several lives on one disk, each ended
// by a stop, a kill or a loss of power, and after each the comparison with the
// model. Everything in it is drawn from one seed. It runs in one goroutine, in
// the place of the store's loops, and on the clock of a synctest bubble, so that
// a seed always takes the same way.
type trial struct {
	r     *rand.Rand
	disk  *vfs.Disk
	model *model
	cfg   Config

	s      *Store
	fault  *fault
	ctx    context.Context
	cancel context.CancelFunc
	power  bool     // it was cut since the last comparison
	did    []string // for the failure message
	counts trialCounts
}

// trialCounts are what many trials have gone through.
type trialCounts struct {
	lives, stops, kills, cuts, recoveryCrashes, faults, messages, lost int
}

func (c *trialCounts) add(o trialCounts) {
	c.lives += o.lives
	c.stops += o.stops
	c.kills += o.kills
	c.cuts += o.cuts
	c.recoveryCrashes += o.recoveryCrashes
	c.faults += o.faults
	c.messages += o.messages
	c.lost += o.lost
}

func (c trialCounts) String() string {
	return fmt.Sprintf("%d lives ended by %d stops, %d kills and %d power cuts, %d of these in a recovery; %d faults; %d messages, %d lost without a promise",
		c.lives, c.stops, c.kills, c.cuts, c.recoveryCrashes, c.faults, c.messages, c.lost)
}

// fault makes the n-th operation of a kind fail, and all after it with forever.
type fault struct {
	op      vfs.Op
	n       int
	forever bool
	err     error
	hit     bool
	synced  bool // it was a sync
	healed  atomic.Bool
}

func newTrial(seed uint64) *trial {
	r := rand.New(rand.NewPCG(seed, 1))
	c := &trial{r: r, model: newModel(), disk: vfs.NewDisk(seed, []float64{0, 0.05, 0.5}[r.IntN(3)])}
	c.cfg = crashConfig(r)
	return c
}

// crashConfig has small files of many sizes, so that everything rolls often.
func crashConfig(r *rand.Rand) Config {
	cfg := smallConfig("/store")
	cfg.MappedFileSizeCommitLog = 20<<10 + r.Int64N(30<<10)
	cfg.MappedFileSizeConsumeQueue = (3 + r.Int64N(40)) * cqUnitSize
	if r.IntN(3) == 0 {
		cfg.MappedFileSizeConsumeQueue = (200 + r.Int64N(800)) * cqUnitSize
	}
	cfg.MaxHashSlotNum = 5 + r.IntN(200)
	cfg.MaxIndexNum = 5 + r.IntN(400)
	if r.IntN(2) == 0 {
		cfg.FlushDiskType = SyncFlush
	}
	cfg.MapperFileSizeBatchConsumeQueue = (3 + r.Int64N(40)) * bcqUnitSize
	if r.IntN(3) == 0 {
		cfg.EnableConsumeQueueExt, cfg.EnableCalcFilterBitMap = true, true
		cfg.MappedFileSizeConsumeQueueExt = 100 + r.Int64N(5000)
	}
	return cfg
}

func (c *trial) say(format string, args ...any) {
	c.did = append(c.did, fmt.Sprintf(format, args...))
}

// run goes through the lives.
func (c *trial) run() error {
	for range 2 + c.r.IntN(4) {
		if err := c.begin(); err != nil {
			return err
		}
		c.load()
		if err := c.end(); err != nil {
			return err
		}
		c.counts.lives++
	}
	if err := c.begin(); err != nil {
		return err
	}
	c.counts.messages = len(c.model.sent)
	for _, s := range c.model.sent {
		if s.fate == gone {
			c.counts.lost++
		}
	}
	return nil
}

// begin opens the store, through crashes during recovery, and compares it.
func (c *trial) begin() error {
	for attempts := 0; ; attempts++ {
		if attempts < 3 && c.r.IntN(3) == 0 {
			c.disk.DieAfter(c.r.Int64N(40))
		}
		c.fault = nil
		err := c.open()
		if err == nil {
			break
		}
		if !errors.Is(err, vfs.ErrDown) {
			return fmt.Errorf("open: %w", err)
		}
		c.counts.recoveryCrashes++
		c.die()
	}
	c.disk.DieAfter(-1)
	if err := c.model.recovered(c.s, c.power); err != nil {
		return err
	}
	c.say("recovered %d messages, log %d…%d", len(c.model.log), c.s.log.min(), c.s.log.wrote.Load())
	c.power, c.model.cache = false, true
	c.model.believe(c.s.log.flushed.Load())
	if c.r.IntN(2) == 0 {
		return nil
	}
	return c.openAgain()
}

func crashOptions(fsys vfs.FS) Options {
	return Options{
		FS: fsys, Host: testHost, Log: slog.New(slog.DiscardHandler), BatchQueue: batchTopic, BitMap: crashBits,
	}
}

func (c *trial) open() (err error) {
	c.ctx, c.cancel = context.WithCancel(context.Background())
	fsys := vfs.Inject(c.disk, c.ask)
	c.s, err = Open(c.cfg, crashOptions(fsys))
	return err
}

// ask ends the wait of whoever tries again on a disk that is down, and fails
// what is to fail.
func (c *trial) ask(op vfs.Op, path string) error {
	if c.disk.Down() {
		c.cancel()
		return nil
	}
	f := c.fault
	if f == nil || f.op != op || f.healed.Load() {
		return nil
	}
	if f.n--; f.n == 0 || f.n < 0 && f.forever {
		f.hit = true
		f.synced = f.synced || op == vfs.OpSync || op == vfs.OpSyncDir
		c.say("%v of %s fails", op, strings.TrimPrefix(path, "/store"))
		return f.err
	}
	return nil
}

// openAgain opens a copy of what was just opened, which must change nothing.
// Of the index only what it knows counts: its newest entries are in memory.
func (c *trial) openAgain() error {
	before := c.disk.Files()
	disk := c.disk.Clone()
	s, err := Open(c.cfg, crashOptions(disk))
	if err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	after := disk.Files()
	err = c.model.recovered(s, false)
	if err := errors.Join(err, s.release()); err != nil {
		return fmt.Errorf("second open: %w", err)
	}
	for path, b := range after {
		if strings.HasPrefix(path, "/store/index/") {
			continue
		}
		if old, ok := before[path]; !ok || string(old) != string(b) {
			return fmt.Errorf("a second open changes %s (%d to %d bytes, was there %v)", path, len(old), len(b), ok)
		}
	}
	for path := range before {
		if _, ok := after[path]; !ok && !strings.HasPrefix(path, "/store/index/") {
			return fmt.Errorf("a second open deletes %s", path)
		}
	}
	return nil
}

// load starts the store and does random things until something ends it.
func (c *trial) load() {
	defer c.disk.SetSpace(1 << 40)
	if c.r.IntN(2) == 0 {
		c.disk.DieAfter(c.r.Int64N(250))
	}
	if c.r.IntN(4) == 0 {
		c.fault = c.newFault()
	}
	if err := c.s.startQuiet(); err != nil {
		c.say("start: %v", err)
		return
	}
	for range 5 + c.r.IntN(120) {
		if c.disk.Down() {
			return
		}
		c.step()
	}
}

func (c *trial) newFault() *fault {
	c.counts.faults++
	ops := vfs.Ops()
	f := &fault{op: ops[c.r.IntN(len(ops))], n: 1 + c.r.IntN(30), forever: c.r.IntN(4) == 0, err: syscall.EIO}
	if f.op == vfs.OpWrite {
		f.n = 1 + c.r.IntN(100)
		f.err = vfs.Torn{N: c.r.IntN(2000), Err: syscall.ENOSPC}
	}
	return f
}

// startQuiet is Start without the loops.
func (s *Store) startQuiet() error {
	if err := s.enter(); err != nil {
		return err
	}
	s.log.staged = s.log.wrote.Load()
	s.stop, s.started = func() {}, true
	return nil
}

// step does one thing.
func (c *trial) step() {
	s := c.s
	switch n := c.r.IntN(100); {
	case n < 45:
		c.append()
	case n < 55:
		c.appendBatch()
	case n < 68:
		c.flush()
	case n < 82:
		c.dispatch()
	case n < 86:
		s.flushQueues(false)
		c.say("flushed queues with many pages")
	case n < 89:
		s.flushQueues(true)
		c.say("flushed queues")
	case n < 92:
		s.keep(s.times.write())
		c.say("wrote checkpoint")
	case n < 94:
		s.keep(s.writeIndex(false))
	case n < 98:
		time.Sleep(time.Duration(c.r.Int64N(3000)) * time.Millisecond)
	case n < 99:
		room := c.r.Int64N(40 << 10)
		c.disk.SetSpace(c.disk.Used() + room)
		c.say("space for %d bytes", room)
	default:
		c.disk.SetSpace(1 << 40)
	}
}

func (c *trial) append() {
	m := c.model.newMessage(c.r)
	if batchTopic(m.Topic) && c.r.IntN(2) == 0 {
		m.count = 1 + c.r.IntN(20)
		protocol.MarkInnerBatch(&m.Message, m.count)
	}
	before := c.s.Writable()
	res := c.s.Append(&m.Message)
	c.noted(m, &res, before)
	c.await(&res)
}

// noted tells the model of an append's result.
func (c *trial) noted(m *sent, res *PutResult, before error) {
	switch {
	case res.Status == PutOK:
		if before != nil {
			c.say("%s was taken although %v", m.name(), before)
			m.fate = refused // which the comparison will find
			return
		}
		c.model.note(m, stored)
		c.say("%s at %d…%d", m.name(), m.PhysicalOffset, m.end())
	case c.disk.Down():
		c.say("%s is under way", m.name())
	default:
		c.model.note(m, refused)
		c.say("%s: %v", m.name(), res.Status)
	}
}

// promised is a sender of SYNC_FLUSH that waits.
type promised struct {
	c   *trial
	end int64
}

func (p promised) Stored(status Status) {
	if status == PutOK {
		p.c.model.believe(p.end)
	}
}

func (c *trial) await(res *PutResult) {
	if res.Status == PutOK && res.Pending {
		c.s.Await(res.End, promised{c, res.End})
	}
}

func (c *trial) appendBatch() {
	first := c.model.newMessage(c.r)
	first.SysFlag = 0 // there are no batches in transactions
	batch := []*sent{first}
	for range c.r.IntN(5) {
		m := c.model.newMessage(c.r)
		if m.Topic != first.Topic && (m.Topic == scheduleTopic || first.Topic == scheduleTopic) {
			delete(c.model.sent, m.name())
			break
		}
		m.Topic, m.QueueID, m.SysFlag = first.Topic, first.QueueID, first.SysFlag
		batch = append(batch, m)
	}
	messages := make([]protocol.Message, len(batch))
	for i, m := range batch {
		messages[i] = m.Message
	}
	before := c.s.Writable()
	res := c.s.AppendBatch(messages)
	for i, m := range batch {
		m.Message = messages[i]
		c.noted(m, &res, before)
	}
	c.await(&res)
}

func (c *trial) flush() {
	if c.s.flush.dirty() {
		c.s.flush.once()
		c.say("flushed to %d", c.s.log.flushed.Load())
	}
	c.model.believe(c.s.log.flushed.Load())
}

func (c *trial) dispatch() {
	defer c.heal().Stop()
	if d := c.s.dispatch; d.at.Load() < d.limit() {
		d.round(c.ctx)
		c.say("dispatched to %d", d.at.Load())
	}
}

// heal ends a lasting fault and lack of space while somebody tries again and again.
func (c *trial) heal() *time.Timer {
	fault := c.fault
	return time.AfterFunc(39500*time.Millisecond, func() { // between two attempts
		c.disk.SetSpace(1 << 40)
		if fault != nil {
			fault.healed.Store(true)
		}
	})
}

// end ends the life of the store in one way or the other.
func (c *trial) end() error {
	defer c.cancel()
	c.model.believe(c.s.log.flushed.Load())
	if err := c.checkFault(); err != nil {
		return err
	}
	if err := c.checkCheckpoint(); err != nil {
		return err
	}
	if !c.disk.Down() && c.r.IntN(3) == 0 {
		timer := c.heal()
		err := c.s.Close()
		timer.Stop()
		c.say("closed: %v", err)
		c.model.believe(c.s.log.flushed.Load())
		if err == nil {
			c.counts.stops++
			c.model.believe(c.s.log.wrote.Load())
		} else if (c.fault == nil || !c.fault.hit) && !c.disk.Down() {
			return fmt.Errorf("close: %w", err)
		}
		if err := c.checkCheckpoint(); err != nil {
			return err
		}
		if err == nil && c.r.IntN(2) == 0 {
			c.disk.Kill()
			return nil
		}
	}
	if c.fault != nil && c.fault.synced {
		c.model.cache = false // what a sync gave up may fall out of the cache
		if c.disk.Down() {
			c.cut() // perhaps before the failure was noted: a process alone does not tell then
			return nil
		}
	}
	c.die()
	return nil
}

// checkFault: after a failed sync the store must not take messages any more.
func (c *trial) checkFault() error {
	if c.fault == nil || !c.fault.hit || c.fault.op != vfs.OpSync || c.disk.Down() {
		return nil
	}
	last := c.did[len(c.did)-1]
	if c.s.Writable() == nil && !strings.Contains(strings.Join(c.did, "\n"), "sync of /checkpoint fails") {
		return fmt.Errorf("a sync failed and the store goes on; last: %s", last)
	}
	return nil
}

// die kills the process or cuts the power.
func (c *trial) die() {
	c.cancel()
	if c.r.IntN(2) == 0 {
		c.counts.kills++
		c.say("killed")
		c.disk.Kill()
		return
	}
	c.cut()
}

func (c *trial) cut() {
	c.cancel()
	c.counts.cuts++
	c.say("power cut")
	c.power = true
	c.disk.Crash()
}

// checkCheckpoint: what recovery does not look at again because of the checkpoint
// on the medium is on the medium itself.
func (c *trial) checkCheckpoint() error {
	hard := c.disk.Clone()
	hard.CrashHard()
	durable, seen := hard.Files(), c.disk.Files()
	b := durable["/store/checkpoint"]
	if len(b) < 40 {
		return nil
	}
	times := checkpointTimes{physic: int64(binary.BigEndian.Uint64(b)), logics: int64(binary.BigEndian.Uint64(b[8:]))}
	size, trusted := c.cfg.MappedFileSizeCommitLog, int64(0)
	for _, m := range c.model.log {
		if m.PhysicalOffset%size == 0 && m.StoreTimestamp <= times.start() {
			trusted = m.PhysicalOffset
		}
	}
	units := map[queueKey]int64{}
	for _, m := range c.model.log {
		at := m.PhysicalOffset % size
		vouched := m.StoreTimestamp < times.physic || m.PhysicalOffset < trusted
		if vouched && !sameRange(durable, seen, filepath.Join("/store/commitlog", fileName(m.PhysicalOffset-at)), at, int64(m.StoreSize)) {
			return fmt.Errorf("checkpoint says %+v, %s of %d at %d is not durable", times, m.name(), m.StoreTimestamp, m.PhysicalOffset)
		}
		if !m.plain() || m.PhysicalOffset >= trusted {
			continue
		}
		kind, file := simpleQueue, c.cfg.MappedFileSizeConsumeQueue
		if batchTopic(m.Topic) {
			kind, file = batchQueue, c.cfg.MapperFileSizeBatchConsumeQueue
		}
		key := queueKey{m.Topic, m.QueueID}
		unit := units[key] * kind.size
		units[key]++
		path := filepath.Join("/store", kind.folder, m.Topic, fmt.Sprint(m.QueueID), fileName(unit/file*file))
		if !sameRange(durable, seen, path, unit%file, kind.size) {
			return fmt.Errorf("checkpoint says %+v and recovery starts at %d, unit %d of %s at %d is not durable",
				times, trusted, m.QueueOffset, m.name(), m.PhysicalOffset)
		}
	}
	return nil
}

func sameRange(a, b map[string][]byte, path string, at, n int64) bool {
	x, y := a[path], b[path]
	return int64(len(x)) >= at+n && int64(len(y)) >= at+n && slices.Equal(x[at:at+n], y[at:at+n])
}
