package store

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"time"

	"rmqbench/refbroker/protocol"
)

// Limits of a topic's name, in bytes.
const (
	maxTopic      = 127
	maxRetryTopic = 255
	retryPrefix   = "%RETRY%"
)

// recordSlack is what a record may be longer than the largest body.
const recordSlack = 64 << 10

// buffers holds the buffers that records are encoded into.
var buffers = sync.Pool{New: func() any { return &buffer{make([]byte, 0, 4<<10)} }}

type buffer struct{ b []byte }

// pooledMax is the largest buffer that is kept for the next append.
const pooledMax = 256 << 10

func (b *buffer) free() {
	if cap(b.b) <= pooledMax {
		buffers.Put(b)
	}
}

// Append writes m to the log; queue offset, physical offset, store time and
// size are filled in, the store host if it is missing. It returns at once. With
// SYNC_FLUSH and WAIT not "false" the result is Pending: the message counts as
// stored only when Await says so.
func (s *Store) Append(m *protocol.Message) PutResult {
	res := s.Stage(m)
	s.Settle(&res)
	return res
}

// Stage is the first half of Append: m has its place in the log, and m may be
// used again, but nothing may be told to anybody before Settle, which has to
// follow. Between them the sender can stage more, to be written with it.
func (s *Store) Stage(m *protocol.Message) (res PutResult) {
	s.forgetChecksum(m)
	status := s.check(m)
	var later *late
	if status == PutOK {
		later, status = s.late(m)
	}
	if status != PutOK {
		return s.refuse(status)
	}
	buf := buffers.Get().(*buffer)
	defer buf.free()
	buf.b = buf.b[:0]
	s.encode(buf, m, later == nil)
	if later != nil {
		later.propsAt = len(buf.b) - len(m.Properties) - 2
	}
	if len(buf.b) > s.cfg.MaxMessageSize+recordSlack || int64(len(buf.b)+blankSize)+later.atMost() > s.cfg.MappedFileSizeCommitLog {
		return s.refuse(MessageIllegal)
	}
	s.stage(encoded{bytes: buf.b, summed: s.summed(m), late: later}, m, &res)
	if res.Status == PutOK {
		m.QueueOffset, m.PhysicalOffset = res.QueueOffset, res.PhysicalOffset
		m.StoreTimestamp, m.StoreSize = res.StoreTimestamp, res.Size
	}
	return res
}

// AppendBatch writes messages of one queue next to each other: all of them, in
// one file, or none.
func (s *Store) AppendBatch(ms []protocol.Message) PutResult {
	res := s.StageBatch(ms)
	s.Settle(&res)
	return res
}

// StageBatch is to AppendBatch what Stage is to Append.
func (s *Store) StageBatch(ms []protocol.Message) (res PutResult) {
	if len(ms) == 0 {
		return s.refuse(MessageIllegal)
	}
	buf := buffers.Get().(*buffer)
	defer buf.free()
	buf.b = buf.b[:0]
	e := encoded{starts: make([]int, 0, len(ms))}
	for i := range ms {
		m := &ms[i]
		s.forgetChecksum(m)
		status := s.check(m)
		if status == PutOK && s.contradicts(m) {
			status = MessageIllegal
		}
		if status == PutOK && (m.Topic != ms[0].Topic || m.QueueID != ms[0].QueueID || m.SysFlag != ms[0].SysFlag) {
			status = MessageIllegal
		}
		if status != PutOK {
			return s.refuse(status)
		}
		if i > 0 {
			e.starts = append(e.starts, len(buf.b))
		}
		e.summed = e.summed || s.summed(m)
		s.encode(buf, m, true)
	}
	if int64(len(buf.b)+blankSize) > s.cfg.MappedFileSizeCommitLog { // Java acknowledges it and stores nothing
		return s.refuse(MessageIllegal)
	}
	e.bytes = buf.b
	s.stage(e, &ms[0], &res)
	if res.Status == PutOK {
		fillBatch(ms, &res)
	}
	return res
}

func fillBatch(ms []protocol.Message, res *PutResult) {
	for i := range ms {
		ms[i].QueueOffset, ms[i].PhysicalOffset = res.QueueOffset+int64(i), res.Offsets[i]
		ms[i].StoreTimestamp = res.StoreTimestamp
		end := res.End
		if i+1 < len(ms) {
			end = res.Offsets[i+1]
		}
		ms[i].StoreSize = int32(end - res.Offsets[i])
	}
}

func (s *Store) refuse(status Status) PutResult {
	s.refused.Add(1)
	return PutResult{Status: status}
}

// check applies Java's rules, in its order.
func (s *Store) check(m *protocol.Message) Status {
	limit := maxTopic
	if strings.HasPrefix(m.Topic, retryPrefix) {
		limit = maxRetryTopic
	}
	switch {
	case s.Writable() != nil:
		return ServiceNotAvailable
	case m.Topic == "" || len(m.Topic) > limit || m.QueueID < 0:
		return MessageIllegal
	case m.Body == nil || len(m.Body) > s.cfg.MaxMessageSize:
		return MessageIllegal
	case len(m.Properties)+s.propertiesTail(m) > protocol.MaxPropertiesLen:
		return PropertiesSizeExceeded
	case s.Busy():
		return PageCacheBusy
	}
	return PutOK
}

// Busy reports whether an append has held the lock for longer than
// osPageCacheBusyTimeOutMills: the disk cannot keep up.
func (s *Store) Busy() bool {
	since := s.log.locked.Load()
	return since != 0 && nowMillis()-since > s.cfg.OSPageCacheBusyTimeOutMills
}

// nowMillis is the clock of records: ms since 1970.
func nowMillis() int64 { return time.Now().UnixMilli() }

// encode appends the record of m; one that is not whole yet gets its checksum
// when it is.
func (s *Store) encode(buf *buffer, m *protocol.Message, whole bool) {
	if !m.StoreHost.IsValid() {
		m.StoreHost = s.host
	}
	if whole && s.summed(m) {
		buf.b = protocol.AppendMessageCRC(buf.b, m)
		return
	}
	buf.b = protocol.AppendMessage(buf.b, m)
}

// propertiesTail is how many bytes are stored behind the properties of m.
func (s *Store) propertiesTail(m *protocol.Message) int {
	if s.summed(m) {
		return protocol.MessageCRCRoom(m.Properties)
	}
	return 0
}

// summed reports whether a record gets the checksum property: with
// enabledAppendPropCRC each, otherwise one whose topic or properties have a zero
// byte. Recovery takes zeros there for a page that never reached the disk, and
// the checksum of the body does not tell.
func (s *Store) summed(m *protocol.Message) bool {
	return s.cfg.EnabledAppendPropCRC || hasZeros(m)
}

func hasZeros(m *protocol.Message) bool {
	return strings.IndexByte(m.Properties, 0) >= 0 || strings.IndexByte(m.Topic, 0) >= 0
}

// forgetChecksum removes the checksum that a message had elsewhere.
func (s *Store) forgetChecksum(m *protocol.Message) {
	if s.summed(m) && strings.Contains(m.Properties, protocol.PropCRC32) {
		m.Properties = protocol.RemoveProperty(m.Properties, protocol.PropCRC32)
	}
}

// stage gives encoded records their place in the log and in the queue of m.
func (s *Store) stage(e encoded, m *protocol.Message, res *PutResult) {
	kind := m.SysFlag & protocol.SysFlagTransaction
	plain := kind == 0 || kind == protocol.SysFlagCommit
	err := errQueueGone
	for errors.Is(err, errQueueGone) {
		if e.late != nil {
			e.late.find(s.queues)
		}
		err = s.log.stage(e, s.queues.get(m.Topic, m.QueueID), plain, res)
	}
	if err != nil {
		s.complain(err, "topic", m.Topic, "queue", m.QueueID, "bytes", len(e.bytes))
		*res = PutResult{Status: failure(err)}
		return
	}
	res.Pending = true
	if s.syncMode {
		wait, _ := protocol.Property(m.Properties, protocol.PropWait)
		res.flush = wait != "false"
	}
}

// Settle ends an append that Stage or StageBatch began: it returns when the
// records are in the log, or could not be written. With SYNC_FLUSH and WAIT not
// "false" res is Pending: it counts as stored only when Await says so.
func (s *Store) Settle(res *PutResult) {
	if !res.Pending {
		return
	}
	g := res.group
	res.group, res.Pending = nil, res.flush
	if g == nil {
		return // in memory: that is enough with transientStorePoolEnable
	}
	if err := s.log.settle(g); err != nil {
		s.complain(err, "bytes", res.Size)
		*res = PutResult{Status: failure(err)}
	}
}

// complain logs a failed append, once a second: a full disk fails all of them.
func (s *Store) complain(err error, about ...any) {
	now, last := nowMillis(), s.complained.Load()
	if now-last < 1000 || !s.complained.CompareAndSwap(last, now) {
		return
	}
	s.logger.Error("append failed", append(about, "err", err)...)
}

// failure is the status of an append that could not be written.
func failure(err error) Status {
	var noFile errNoFile
	switch {
	case errors.Is(err, ErrClosed), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return ServiceNotAvailable
	case errors.As(err, &noFile):
		return CreateMappedFileFailed
	}
	return UnknownError
}

// Await calls w.Stored once, from any goroutine: with PutOK when the log before
// end is on disk, with FlushDiskTimeout after syncFlushTimeout or when a flush
// failed. With ASYNC_FLUSH it is PutOK at once.
func (s *Store) Await(end int64, w Waiter) {
	if !s.syncMode {
		w.Stored(PutOK)
		return
	}
	s.flush.await(end, w)
}
