package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"

	"rmqbench/refbroker/protocol"
)

// MaxOffset returns the offset behind the last message of a queue that readers
// can see, 0 for a queue without messages.
func (s *Store) MaxOffset(topic string, queue int32) int64 {
	if q := s.queues.find(topic, queue); q != nil {
		return q.max.Load()
	}
	return 0
}

// MinOffset returns the offset of the first message of a queue that is still in
// the log, 0 for a queue without messages.
func (s *Store) MinOffset(topic string, queue int32) int64 {
	if q := s.queues.find(topic, queue); q != nil {
		return q.min.Load()
	}
	if s.queues.kindOf(topic).batch {
		return emptyBatchMin
	}
	return 0
}

// ConsumeQueueUnit returns one unit of a consume queue: where the record is and
// how long, and its tags code.
func (s *Store) ConsumeQueueUnit(topic string, queue int32, offset int64) (phys int64, size int32, tags int64, ok bool) {
	q := s.queues.find(topic, queue)
	if q == nil || offset < q.min.Load() || offset >= q.max.Load() {
		return 0, 0, 0, false
	}
	n, err := q.locate(offset)
	if err != nil {
		return 0, 0, 0, false
	}
	u, err := q.unit(n)
	if err == nil && q.ext != nil && isExtAddress(u.tags) {
		var e ExtUnit
		var buf []byte
		if found, err := q.ext.get(u.tags, &e, &buf); err == nil && found {
			u.tags = e.Tags
		}
	}
	return u.phys, u.size, u.tags, err == nil && u.valid()
}

// Unit is one unit of a consume queue.
type Unit struct {
	Phys   int64 // of the record
	Size   int32
	Tags   int64    // tags code; the address of an extension that is not there
	Offset int64    // of the first message
	Count  int32    // messages
	Ext    *ExtUnit // valid during the call; nil if there is none
}

// NoExt reports whether the unit's extension is lost.
func (u *Unit) NoExt() bool { return u.Ext == nil && isExtAddress(u.Tags) }

// EachUnit calls f with the units of a queue from the one that has the message at
// an offset, until f returns false or the queue's file ends.
func (s *Store) EachUnit(topic string, queue int32, offset int64, f func(*Unit) bool) error {
	q := s.queues.find(topic, queue)
	if q == nil || offset < q.min.Load() || offset >= q.max.Load() {
		return nil
	}
	n, err := q.locate(offset)
	if err != nil {
		return err
	}
	fileEnd := (n/q.unitsPerFile() + 1) * q.unitsPerFile()
	var buf []byte
	for ; n < min(fileEnd, q.end.Load()); n++ {
		u, err := q.unit(n)
		if err != nil {
			return err
		}
		out := Unit{Phys: u.phys, Size: u.size, Tags: u.tags, Offset: u.base, Count: u.count}
		var ext ExtUnit
		if q.ext != nil && isExtAddress(u.tags) {
			found, err := q.ext.get(u.tags, &ext, &buf)
			if err != nil {
				return err
			}
			if found {
				out.Tags, out.Ext = ext.Tags, &ext
			}
		}
		if !f(&out) {
			return nil
		}
	}
	return nil
}

// StoreTimeAt returns the store time of a message of a queue in ms, -1 if there is none.
func (s *Store) StoreTimeAt(topic string, queue int32, offset int64) int64 {
	phys, _, _, ok := s.ConsumeQueueUnit(topic, queue, offset)
	if !ok {
		return -1
	}
	if t, ok := s.log.storeTimeAt(phys); ok {
		return t
	}
	return -1
}

// EarliestTime returns the store time of the first message of a queue in ms, -1 if there is none.
func (s *Store) EarliestTime(topic string, queue int32) int64 {
	return s.StoreTimeAt(topic, queue, s.MinOffset(topic, queue))
}

// OffsetByTime searches a queue by store time in ms. Lower is the first message
// that is not older, or the end of the queue; upper the last message that is
// not newer, or the start. Of several messages of one time lower is the first
// and upper the last. A batch queue is searched by Java's rules for it.
func (s *Store) OffsetByTime(topic string, queue int32, ms int64, upper bool) int64 {
	if q := s.queues.find(topic, queue); q != nil && q.kind.batch {
		return q.offsetByTime(ms, upper)
	}
	lo, hi := s.MinOffset(topic, queue), s.MaxOffset(topic, queue)
	n := lo + int64(sort.Search(int(hi-lo), func(i int) bool {
		t := s.StoreTimeAt(topic, queue, lo+int64(i))
		if upper {
			return t > ms
		}
		return t >= ms
	}))
	if upper {
		return max(n-1, lo)
	}
	return n
}

// Lookup calls f with the record at an offset of the log, a view that is valid
// during the call. ErrNotFound means that no record begins there.
func (s *Store) Lookup(phys int64, f func(record []byte) error) error {
	err := ErrNotFound
	end := s.confirmed()
	if f := s.log.find(phys); f != nil && phys < end {
		touched := f.touchRecord(phys, end)
		f.release()
		if touched != nil {
			return touched
		}
	}
	s.log.view(phys, end, func(b []byte) {
		record := recordAt(b, phys)
		switch {
		case record == nil:
		case phys < s.opened && !intact(record):
			err = errDamaged
		default:
			err = f(record)
		}
	})
	return err
}

// errDamaged says that what lies at an offset was a message once.
var errDamaged = fmt.Errorf("%w: the record there does not match its checksum", ErrNotFound)

// intact reports whether the body of a record has its checksum.
func intact(record []byte) bool {
	var m protocol.Message
	_, err := protocol.DecodeMessage(record, &m)
	return err == nil && (len(m.Body) == 0 || m.VerifyBody())
}

// recordAt returns the record at the start of b, nil if b is none that says it
// lies at phys.
func recordAt(b []byte, phys int64) []byte {
	size, err := protocol.RecordSize(b)
	if err != nil || int64(binary.BigEndian.Uint64(b[protocol.OffPhysicalOffset:])) != phys {
		return nil
	}
	var m protocol.Message
	if _, err := protocol.DecodeMessage(b, &m); err != nil {
		return nil
	}
	return b[:size]
}

// QueryKeys calls f for up to most messages with a key, or a unique key, that
// were stored from begin to end (ms), in the order of the log. Keys that share a
// hash are not told apart, as in Java. It returns store time and offset of the
// last message that the index knows.
func (s *Store) QueryKeys(topic, key string, most int, begin, end int64, f func(record []byte)) (lastTime, lastPhys int64) {
	if s.index == nil {
		return 0, 0
	}
	most = min(most, s.cfg.MaxMsgsNumBatch)
	found, lastTime, lastPhys, err := s.index.query(topic, key, most, begin, end)
	if err != nil {
		s.logger.Error("query by key", "topic", topic, "key", key, "err", err)
	}
	for _, phys := range found {
		err := s.Lookup(phys, func(record []byte) error { f(record); return nil })
		// A record that expired is not there any more, as if it had not been found.
		if err != nil && phys >= s.log.min() {
			s.logger.Error("query by key", "topic", topic, "key", key, "record", phys, "err", errors.Join(err, errIndexDamaged))
		}
	}
	return lastTime, lastPhys
}

// Stats returns a snapshot of figures.
func (s *Store) Stats() Stats {
	st := Stats{
		CommitLogMin: s.log.min(), CommitLogMax: s.log.wrote.Load(), Flushed: s.log.flushed.Load(),
		Confirmed: s.confirmed(), Dispatched: s.dispatch.at.Load(), Flushes: s.flush.count.Load(),
		EarliestStoreTime: -1,
		GetFound:          s.gets.found.Load(), GetMiss: s.gets.miss.Load(),
		GetMessages: s.gets.messages.Load(), GetBytes: s.gets.bytes.Load(),
	}
	st.DispatchBehind = max(st.Confirmed-st.Dispatched, 0)
	if since := s.log.locked.Load(); since != 0 {
		st.PutLockMillis = max(nowMillis()-since, 0)
	}
	if t, ok := s.log.storeTimeAt(st.CommitLogMin); ok {
		st.EarliestStoreTime = t
	}
	s.log.mu.Lock()
	c := s.log.counts
	s.log.mu.Unlock()
	st.PutMessages, st.PutBytes, st.PutFailed = c.messages, c.bytes, c.failed+s.refused.Load()
	st.PutDistribution, st.PutMaxMillis = c.distribution, c.maxMillis
	return st
}
