package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// schedule delivers messages with a delay level. They wait in the topic
// SCHEDULE_TOPIC_XXXX, a queue for each level, whose consume queue holds the
// time of delivery where others hold a tags code. As the messages of a queue
// have the same delay they are due in their order: one goroutine per level
// sleeps until the next one is due and stores it once more under its own topic.
//
// A level moves on only behind a message that is stored, so that none is lost;
// Java goes on behind one that could not be stored. How far it is goes to
// delayOffset.json from time to time, so that after a crash some are delivered
// twice.
type schedule struct {
	fs    vfs.FS
	path  string
	step  int64
	store delayStore
	log   *slog.Logger
	count func(topic string, res *store.PutResult)

	levels  []level
	mu      sync.Mutex // of version, steps and saved
	version protocol.DataVersion
	steps   int64
	dirty   bool
	wg      sync.WaitGroup

	loaded map[int32]int64 // what the file had, levels that are no more included
}

// delayStore is what the schedule needs of a store.
type delayStore interface {
	MinOffset(topic string, queue int32) int64
	MaxOffset(topic string, queue int32) int64
	ConsumeQueueUnit(topic string, queue int32, offset int64) (phys int64, size int32, tags int64, ok bool)
	Lookup(phys int64, f func(record []byte) error) error
	Append(m *protocol.Message) store.PutResult
	Await(end int64, w store.Waiter)
}

// level is a delay level with its queue; level 1 has queue 0.
type level struct {
	delay time.Duration
	next  atomic.Int64  // offset in the queue
	bell  chan struct{} // a message has come
}

const (
	scheduleBatch = 64 // messages stored before their flush is waited for
	retryFirst    = 50 * time.Millisecond
	retryMost     = 5 * time.Second
)

func newSchedule(fs vfs.FS, cfg *Config, log *slog.Logger) (*schedule, error) {
	delays, err := store.ParseDelayLevels(cfg.MessageDelayLevel)
	if err != nil {
		return nil, err
	}
	s := &schedule{
		fs: fs, path: filepath.Join(cfg.configDir(), "delayOffset.json"), log: log,
		step: max(cfg.DelayOffsetVersionStep, 1), levels: make([]level, len(delays)),
		version: protocol.DataVersion{Timestamp: time.Now().UnixMilli()},
	}
	for i := range s.levels {
		s.levels[i].delay, s.levels[i].bell = delays[i], make(chan struct{}, 1)
	}
	return s, nil
}

func (s *schedule) maxLevel() int { return len(s.levels) }

// divert sends a message to the queue of its level and notes in its properties
// where it is to go. It only appends to properties.
func (s *schedule) divert(m *protocol.Message, properties []byte, delayLevel int) []byte {
	properties = protocol.AppendProperty(properties, protocol.PropRealTopic, m.Topic)
	var number [12]byte
	queue := strconv.AppendInt(number[:0], int64(m.QueueID), 10)
	properties = protocol.AppendProperty(properties, protocol.PropRealQueueID, alias(queue))
	m.Topic, m.QueueID = topicSchedule, int32(delayLevel-1)
	return properties
}

// arrived wakes the level of a message. It is called by the store's dispatch.
func (s *schedule) arrived(a store.Arrival) {
	if a.Topic == topicSchedule && int(a.Queue) < len(s.levels) {
		ring(s.levels[a.Queue].bell)
	}
}

// start delivers from where the file says until stop is closed.
func (s *schedule) start(stop <-chan struct{}) {
	for i := range s.levels {
		s.clamp(i)
		s.wg.Go(func() { s.run(i, stop) })
	}
}

// clamp brings the offset of a level into the bounds of its queue.
func (s *schedule) clamp(i int) {
	l := &s.levels[i]
	least, most := s.store.MinOffset(topicSchedule, int32(i)), s.store.MaxOffset(topicSchedule, int32(i))
	if at := l.next.Load(); at < least || at > most {
		s.log.Warn("delay level starts elsewhere than saved", "level", i+1, "saved", at, "min", least, "max", most)
		l.next.Store(max(least, min(at, most)))
	}
}

// run delivers the messages of one level.
func (s *schedule) run(i int, stop <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	failures := 0
	for {
		wait, err := s.deliverDue(i, stop)
		if err != nil {
			failures++
			wait = min(retryFirst<<min(failures-1, 10), retryMost)
			s.log.Warn("delayed message is not delivered yet", "level", i+1, "offset", s.levels[i].next.Load(), "retry", wait, "err", err)
		} else {
			failures = 0
		}
		timer.Reset(wait)
		bell := s.levels[i].bell
		if wait > 0 && err != nil {
			bell = nil
		}
		select {
		case <-stop:
			return
		case <-bell:
		case <-timer.C:
		}
	}
}

// idleWait is how long a level sleeps that has no message; its bell wakes it.
const idleWait = time.Minute

// deliverDue stores the messages that are due, waits until they are on disk if
// that is asked for, and returns the time until the next is due.
func (s *schedule) deliverDue(i int, stop <-chan struct{}) (time.Duration, error) {
	l := &s.levels[i]
	for {
		select {
		case <-stop:
			return 0, nil
		default:
		}
		d := delivery{s: s, level: i, at: l.next.Load()}
		err := d.run()
		if d.pending {
			done := make(stored, 1)
			s.store.Await(d.end, done)
			<-done // late is stored too
		}
		if d.at > l.next.Load() {
			l.next.Store(d.at)
			s.moved(d.count)
		}
		if err != nil || d.wait > 0 {
			return d.wait, err
		}
	}
}

// stored is a Waiter for one goroutine.
type stored chan store.Status

func (c stored) Stored(s store.Status) { c <- s }

func (s *schedule) moved(by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = true
	before := s.steps / s.step
	if s.steps += int64(by); s.steps/s.step != before {
		s.version.Next(s.version.StateVersion, time.Now().UnixMilli())
	}
}

// delivery stores a run of due messages of one level.
type delivery struct {
	s     *schedule
	level int
	at    int64 // offset of the next message
	count int

	end     int64 // of the last record
	pending bool  // it has to be waited for
	wait    time.Duration
}

func (d *delivery) run() error {
	delay := d.s.levels[d.level].delay
	for d.count < scheduleBatch {
		phys, size, due, ok := d.s.store.ConsumeQueueUnit(topicSchedule, int32(d.level), d.at)
		if !ok {
			if least := d.s.store.MinOffset(topicSchedule, int32(d.level)); d.at < least {
				d.at = least // expired with its file
				continue
			}
			d.wait = idleWait
			return nil
		}
		now := time.Now()
		if wait := time.UnixMilli(due).Sub(now); wait > 0 && wait <= delay { // later than that: the clock was turned
			d.wait = wait
			return nil
		}
		if err := d.deliver(phys, size); err != nil {
			return err
		}
		d.at++
		d.count++
	}
	return nil
}

// deliver stores one message under its own topic. A record that is no message
// for anybody is passed over.
func (d *delivery) deliver(phys int64, size int32) error {
	var m protocol.Message
	var res store.PutResult
	found := false
	err := d.s.store.Lookup(phys, func(record []byte) error {
		if _, err := protocol.DecodeMessage(record, &m); err != nil {
			return err
		}
		if !restore(&m) {
			return nil
		}
		found = true
		res = d.s.store.Append(&m)
		return nil
	})
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, protocol.ErrBadRecord):
		return fmt.Errorf("read the message at %d: %w", phys, err)
	case err != nil || !found:
		d.s.log.Error("delayed message is no message any more and is passed over",
			"level", d.level+1, "offset", d.at, "physical", phys, "size", size, "err", err)
		return nil
	}
	switch _, ok := storedCode(res.Status); {
	case res.Status == store.MessageIllegal || res.Status == store.PropertiesSizeExceeded:
		d.s.log.Error("delayed message can never be stored and is passed over",
			"level", d.level+1, "offset", d.at, "topic", m.Topic, "status", res.Status)
		return nil
	case !ok:
		return fmt.Errorf("store a message of %s: %s", m.Topic, res.Status)
	}
	d.end = max(d.end, res.End)
	d.pending = d.pending || res.Pending
	d.s.count(m.Topic, &res)
	return nil
}

// restore gives a message of the schedule topic its own topic and queue back.
// Its properties stay as they are, as Java leaves them. It reports whether
// there is a topic to go to.
func restore(m *protocol.Message) bool {
	topic, ok := protocol.Property(m.Properties, protocol.PropRealTopic)
	if !ok || topic == topicHalf || topic == topicSchedule {
		return false
	}
	queue, _ := protocol.Property(m.Properties, protocol.PropRealQueueID)
	id, err := strconv.ParseInt(queue, 10, 32)
	if err != nil || id < 0 {
		return false
	}
	m.Topic, m.QueueID = strings.Clone(topic), int32(id)
	m.PreparedTransactionOffset = 0
	return true
}

// offset returns how far a level is and where its queue ends.
func (s *schedule) offset(levelIndex int) (next, end int64) {
	return s.levels[levelIndex].next.Load(), s.store.MaxOffset(topicSchedule, int32(levelIndex))
}

// file returns the offsets as delayOffset.json has them.
func (s *schedule) file() protocol.DelayOffsetTable {
	s.mu.Lock()
	version := s.version
	s.mu.Unlock()
	f := protocol.DelayOffsetTable{DataVersion: &version, OffsetTable: map[int32]int64{}}
	maps.Copy(f.OffsetTable, s.loaded)
	for i := range s.levels {
		at, n := s.levels[i].next.Load(), int32(i+1)
		if _, known := s.loaded[n]; at > 0 || known {
			f.OffsetTable[n] = at
		}
	}
	return f
}

// save writes the file if anything was delivered since the last time.
func (s *schedule) save() error {
	s.mu.Lock()
	changed := s.dirty
	s.dirty = false
	s.mu.Unlock()
	if !changed {
		return nil
	}
	f := s.file()
	if err := saveJSON(s.fs, s.path, &f); err != nil {
		s.mu.Lock()
		s.dirty = true
		s.mu.Unlock()
		return err
	}
	return nil
}

// load reads the file.
func (s *schedule) load() error {
	return loadJSON(s.fs, s.path, func(f *protocol.DelayOffsetTable) {
		s.loaded = f.OffsetTable
		for n, at := range f.OffsetTable {
			if n >= 1 && int(n) <= len(s.levels) {
				s.levels[n-1].next.Store(at)
			}
		}
		if f.DataVersion != nil {
			s.version = *f.DataVersion
		}
	})
}
