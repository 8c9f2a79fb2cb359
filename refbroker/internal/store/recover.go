package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// recovery finds the end of the log and makes consume queues and index agree
// with it.
//
// After a clean stop it starts in the last file that consume queues know of, and
// only records behind them are dispatched. After a crash it starts in the last
// file whose first record is older than the checkpoint, or where the index ends
// if that is earlier, and dispatches everything; queues and index skip what they
// have. The first thing that is no record is the end. What follows is deleted
// or made zero: a later crash must not bring it back.
type recovery struct {
	s        *Store
	clean    bool
	at       int64 // next record
	from     int64 // the first one
	vouched  int64 // records stored before it, in ms, are durable with their units
	dispatch int64 // records before it are not dispatched
	last     int64 // start of the last record
	time     int64 // its store time
	records  int64
	touched  int64               // the log before it can be read, from the last record on
	aside    map[*logFile]string // files that are cut, and where they go
}

func (s *Store) recover(clean bool) error {
	files := *s.log.files.Load()
	if len(files) == 0 {
		return nil
	}
	began := time.Now()
	r := &recovery{s: s, clean: clean, aside: map[*logFile]string{}}
	trusted, first, err := r.begin()
	if err != nil {
		return err
	}
	r.at, r.from = first.base, first.base
	r.goThrough(r.from)
	if err := r.distrust(trusted.base); err != nil {
		return err
	}
	arrived := s.dispatch.arrived
	s.dispatch.arrived = nil
	err = r.scan()
	s.dispatch.arrived = arrived
	if err != nil {
		return err
	}
	if err := r.settle(first.base); err != nil {
		return err
	}
	if took := time.Since(began); took > time.Second || !clean {
		rate := float64(r.at-r.from) / 1e9 / max(took.Seconds(), 1e-6)
		s.logger.Info("store recovered", "clean", clean, "end", r.at, "records", r.records, "took", took, "GB/s", math.Round(100*rate)/100)
	}
	return nil
}

// distrust takes the units out of all records at or behind a physical offset.
// They are made anew: a loss of power may have torn any that the checkpoint does
// not vouch for, and after a failed sync even one that can be read may never
// reach the disk. What the checkpoint vouches for must not be touched: a crash
// in the next moment would find it gone.
func (r *recovery) distrust(phys int64) error {
	if r.clean {
		return nil
	}
	r.s.times.update(func(t *checkpointTimes) { t.logics = min(t.logics, t.physic) })
	return r.s.queues.each(func(q *queue) error {
		err := q.cut(phys)
		if err == nil && q.ext != nil {
			err = q.ext.follow(q, false)
		}
		return err
	})
}

// forgetLog takes queues and index of a log that is gone out of the store. Java
// deletes them.
func (s *Store) forgetLog() error {
	if err := s.keepFolders(append(s.queues.dirs(), s.path("index"))); err != nil {
		return fmt.Errorf("move away what belongs to a missing commit log: %w", err)
	}
	return nil
}

// begin finds out what queues and index have, and what they need.
func (r *recovery) begin() (trusted, first *logFile, _ error) {
	r.s.checkCheckpoint()
	r.vouched = r.s.times.times.start()
	queueEnd := r.s.queues.maxPhys()
	needed, err := r.repairQueues()
	if err != nil {
		return nil, nil, fmt.Errorf("repair consume queues: %w", err)
	}
	if r.s.index != nil {
		r.s.index.progress = r.s.progress
		r.s.progress.begin("checking the index", "entries", int64(r.s.index.limit))
	}
	indexNeeds, err := r.prepareIndex()
	if err != nil {
		return nil, nil, err
	}
	needed = min(needed, indexNeeds)
	if r.clean {
		r.dispatch = min(needed, queueEnd)
	}
	trusted, first = r.start(queueEnd, needed)
	return trusted, first, nil
}

// checkpointSlack is how far ahead of the clock a checkpoint may be.
const checkpointSlack = time.Hour

// checkCheckpoint takes no notice of times that have not come: they would vouch
// for everything.
func (s *Store) checkCheckpoint() {
	latest := time.Now().Add(checkpointSlack).UnixMilli()
	s.times.update(func(t *checkpointTimes) {
		for _, v := range []*int64{&t.physic, &t.logics, &t.index} {
			if *v < 0 || *v > latest {
				s.logger.Warn("a time in the checkpoint is not believed, more of the log is gone through", "file", s.path("checkpoint"), "time", timeText(*v))
				*v = 0
			}
		}
	})
}

// prepareIndex finds out which records the index already has, and returns the
// offset from which on those have to be dispatched that it lacks.
func (r *recovery) prepareIndex() (int64, error) {
	x := r.s.index
	switch {
	case x == nil:
		return math.MaxInt64, nil
	case r.clean && len(x.files) == 0:
		r.s.logger.Info("there is no index, it is made from the whole log", "dir", x.dir)
		return 0, nil
	case r.clean && x.sound(r.s.log):
		return math.MaxInt64, x.resume(r.s.log)
	}
	if !r.clean {
		err := x.repair(r.s.log)
		return x.from, err
	}
	if err := r.markCrashed(); err != nil {
		return 0, err
	}
	err := x.remake()
	return x.from, err
}

// start returns the file before which consume queues are surely right, and the
// one where to start: the same, or the earlier one that has the first record that
// queues or index need.
func (r *recovery) start(queueEnd, needed int64) (trusted, first *logFile) {
	files := *r.s.log.files.Load()
	i := len(files) - 1
	for i > 0 && (r.clean && files[i].base > queueEnd || !r.clean && !r.vouchedFor(files[i])) {
		i--
	}
	trusted = files[i]
	for i > 0 && files[i].base > needed {
		i--
	}
	return trusted, files[i]
}

// vouchedFor reports whether the checkpoint says that everything before f is durable.
func (r *recovery) vouchedFor(f *logFile) bool {
	var m protocol.Message
	err := f.touchRecord(f.base, f.end()) // if not, it will be told when it is recovered
	if err == nil {
		_, err = protocol.DecodeMessage(f.data, &m)
	}
	return err == nil && m.StoreTimestamp != 0 && m.StoreTimestamp <= r.vouched
}

// scan goes through the records up to the first thing that is none.
func (r *recovery) scan() error {
	d := r.s.dispatch
	d.next = r.at
	for f := r.s.log.find(r.at); f != nil; f = r.s.log.find(r.at) {
		err := r.scanFile(f)
		more := err == nil && r.at == f.end()
		f.release()
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	return r.flush()
}

// flush writes the units of the records so far.
func (r *recovery) flush() error {
	for _, q := range r.s.dispatch.touched {
		if err := q.flushUnits(); err != nil {
			return err
		}
	}
	r.s.dispatch.next = r.at
	r.s.dispatch.finish(context.Background())
	return nil
}

func (r *recovery) scanFile(f *logFile) error {
	for {
		b := f.data[r.at-f.base:]
		if len(b) < blankSize {
			return nil
		}
		if err := r.reach(f); err != nil {
			return err
		}
		if binary.BigEndian.Uint32(b[protocol.OffMagic:]) == protocol.MagicBlank {
			r.at = f.end()
			return nil
		}
		ok, err := r.record(b)
		if err != nil || !ok {
			return err
		}
	}
}

// record takes the record at the start of b in, if it is one.
func (r *recovery) record(b []byte) (bool, error) {
	m := &r.s.dispatch.message
	size := r.decode(b, m)
	if size == 0 {
		return false, nil
	}
	if r.at >= r.dispatch {
		if err := r.dispatchOne(m); err != nil {
			return false, err
		}
	}
	r.last, r.time = r.at, max(r.time, m.StoreTimestamp)
	r.at += int64(size)
	r.records++
	if r.records%roundMessages == 0 {
		r.speak(r.from)
		return true, r.flush()
	}
	return true, nil
}

// decode decodes the record at the start of b, if it is a whole and undamaged
// one that belongs there, and returns its size.
func (r *recovery) decode(b []byte, m *protocol.Message) int {
	size, err := protocol.DecodeMessage(b, m)
	if err != nil || m.PhysicalOffset != r.at || !folderName(m.Topic) {
		return 0
	}
	if r.s.cfg.CheckCRCOnRecover && !r.s.cfg.intact(b[:size], m) {
		return 0
	}
	if hasZeros(m) && r.holed(b[:size], b[size:], m) {
		return 0
	}
	return size
}

// intact reports whether a record matches the checksum that counts.
func (c *Config) intact(record []byte, m *protocol.Message) bool {
	if c.ForceVerifyPropCRC {
		_, ok := protocol.VerifyMessageCRC(record)
		return ok
	}
	return len(m.Body) == 0 || m.VerifyBody()
}

// sectorSize is the least that a disk writes at once.
const sectorSize = 512

// holed reports whether zeros in the topic or the properties of a record are a
// place that never reached the disk. The checksum of the body does not cover
// them. Append gives a record that has zeros there a checksum for the whole. In
// one of another broker they are a hole if they are at a border of a sector or
// at the end, unless the checkpoint says that the record is durable and the log
// goes on behind it.
func (r *recovery) holed(record, after []byte, m *protocol.Message) bool {
	if present, ok := protocol.VerifyMessageCRC(record); present {
		return !ok
	}
	if m.StoreTimestamp < r.s.times.times.physic && startsRecord(after, r.at+int64(len(record))) {
		return false
	}
	n := len(record)
	at := r.at % r.s.log.fileSize
	for i := protocol.OffBodyLength(m.SysFlag) + 4 + len(m.Body); i < n; i++ {
		border := (at+int64(i))%sectorSize == 0 || (at+int64(i)+1)%sectorSize == 0 || i == n-1
		if border && record[i] == 0 {
			return true
		}
	}
	return false
}

// startsRecord reports whether the log goes on with b at an offset.
func startsRecord(b []byte, at int64) bool {
	if len(b) >= blankSize && binary.BigEndian.Uint32(b[protocol.OffMagic:]) == protocol.MagicBlank {
		return true
	}
	return recordAt(b, at) != nil
}

// dispatchOne puts a record into queue and index; an error is not tried again.
func (r *recovery) dispatchOne(m *protocol.Message) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // insist only once
	if err := r.s.dispatch.record(ctx, m); err != nil {
		return fmt.Errorf("recover consume queue and index: %w", err)
	}
	return nil
}

// goThrough begins the part of the work that goes through the log.
func (r *recovery) goThrough(from int64) {
	r.s.progress.begin("going through the log", "byte", r.s.log.fileEnd()-from)
}

func (r *recovery) speak(from int64) { r.s.progress.set(r.at - from) }

// settle makes r.at the end of everything.
func (r *recovery) settle(first int64) error {
	s := r.s
	if err := vfs.Guard(r.keepCut); err != nil {
		return fmt.Errorf("keep what is cut off the commit log: %w", err)
	}
	if err := s.log.truncate(r.at, r.remove); err != nil {
		return err
	}
	s.log.storeTime = r.time
	s.log.wroteTime.Store(r.time)
	s.log.flushed.Store(r.at)
	if !r.clean {
		// What a killed process wrote is in the page cache only.
		s.log.flushed.Store(first)
		if s.syncMode {
			if err := s.log.sync(r.at); err != nil {
				return err
			}
		}
	}
	s.opened = r.at
	s.dispatch.at.Store(r.at)
	if s.index != nil {
		if err := s.index.cut(r.at, s.log); err != nil {
			return fmt.Errorf("recover index: %w", err)
		}
		if len(s.index.files) == 0 { // so that the next start need not look for keys again
			if _, err := s.index.writable(); err != nil {
				return fmt.Errorf("make index: %w", err)
			}
		}
	}
	logMin := s.log.min()
	err := s.queues.each(func(q *queue) error {
		if !r.clean || q.maxPhys > r.at {
			if err := q.cut(r.at); err != nil {
				return err
			}
		}
		if err := q.place(); err != nil {
			return err
		}
		q.next = q.max.Load()
		if !r.clean {
			q.forgetSynced()
		}
		return q.setMin(logMin)
	})
	s.times.update(func(t *checkpointTimes) { t.confirmPhysical = r.last })
	return err
}

// truncate makes end the end of the log: later files are removed, newest first,
// and the rest of its file is made zero.
func (l *commitLog) truncate(end int64, remove func(*logFile) error) error {
	files := *l.files.Load()
	n := len(files)
	for ; n > 1 && files[n-1].base > end; n-- {
		if err := remove(files[n-1]); err != nil {
			return fmt.Errorf("truncate commit log: %w", err)
		}
		files[n-1].release()
	}
	kept := files[:n:n]
	l.files.Store(&kept)
	l.wrote.Store(end)
	last := kept[n-1]
	if end < last.end() {
		if err := last.file.PunchHole(end-last.base, last.end()-end); err != nil {
			return fmt.Errorf("truncate commit log: %w", err)
		}
	}
	// What was cut may not come back behind records that are yet to come.
	if err := last.file.Sync(); err != nil {
		return fmt.Errorf("flush truncated commit log: %w", err)
	}
	return nil
}
