package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// queueDamage is a place of a queue's files that cannot be right. Its units from
// there on are made again from the log, as far as the log still has the records.
type queueDamage struct {
	at  int64 // unit
	was int64 // behind the last unit that was there
}

// findEnd returns the unit behind the last one.
//
// After a clean stop that is where the zeros begin, which bisection finds; if
// something lies behind that place, or the unit before it does not point to its
// record, the files are gone through like after a crash. There the units must be
// valid, ascending and within the log, and the last one must point to a record.
// The first one that is not so is the end, and what follows it is damage.
func (q *queue) findEnd(from int64, clean bool) (int64, error) {
	if clean {
		if n, ok, err := q.findCleanEnd(from); err != nil || ok {
			return n, err
		}
	}
	q.maxPhys = 0
	end, err := q.scan(from)
	if err != nil {
		return 0, err
	}
	was, err := q.usedBehind(end)
	if err != nil {
		return 0, err
	}
	if end, err = q.pointing(end); err != nil {
		return 0, err
	}
	if was > end {
		q.damage = &queueDamage{end, was}
		return end, nil // repairQueues truncates
	}
	return end, q.unitFiles.truncate(end)
}

// pointing goes back from unit end to the one behind the last that points to its
// record, and sets maxPhys.
func (q *queue) pointing(end int64) (int64, error) {
	q.maxPhys = 0
	for first := q.firstUnit(); end > first; end-- {
		last, err := q.unit(end - 1)
		if err != nil {
			return 0, err
		}
		if q.log.holds(last) {
			q.maxPhys = last.endOrZero()
			break
		}
	}
	return end, nil
}

// checkedUnits is up to how many units are looked at one by one after a clean
// stop; damage in a longer queue is found when it is read, or by store verify.
const checkedUnits = 1024

// findCleanEnd reports whether what it found can be believed.
func (q *queue) findCleanEnd(from int64) (n int64, ok bool, err error) {
	_, limit := q.bounds()
	n, err = q.bisect(from, limit, func(u unit) bool { return !u.valid() })
	if err != nil {
		return 0, false, err
	}
	if was, err := q.usedBehind(n); err != nil || was > n {
		return 0, false, err
	}
	if n-from <= checkedUnits {
		if end, err := q.scan(from); err != nil || end != n {
			return 0, false, err
		}
	}
	q.synced.Store(n)
	if limit-n > q.unitsPerFile() {
		err = q.unitFiles.truncate(n)
	}
	if err != nil || n == from {
		return n, true, err
	}
	last, err := q.unit(n - 1)
	q.maxPhys = last.endOrZero()
	return n, q.log.holds(last), err
}

// holds reports whether a unit points to a record, as far as the log still goes
// back to it.
func (l *commitLog) holds(u unit) bool {
	if u.blank() || u.phys < l.min() {
		return true
	}
	f := l.find(u.phys)
	if f == nil {
		return false
	}
	defer f.release()
	return u.end() <= f.end() && f.touch(u.phys, u.end()) == nil && isRecord(f.data[u.phys-f.base:u.end()-f.base], u)
}

// isRecord reports whether the bytes that a unit points to are those of a record
// of that place and size.
func isRecord(b []byte, u unit) bool {
	size, err := protocol.RecordSize(b)
	if err != nil || size != int(u.size) || physicalOffset(b) != u.phys {
		return false
	}
	magic := binary.BigEndian.Uint32(b[protocol.OffMagic:])
	return magic == protocol.MagicV1 || magic == protocol.MagicV2
}

// usedBehind returns the unit behind the last byte from unit n on that is not
// zero, n if all are.
func (q *queue) usedBehind(n int64) (int64, error) {
	_, limit := q.bounds()
	used := n
	for at := n * q.unitSize; at < limit*q.unitSize; at = (at/q.fileSize + 1) * q.fileSize {
		f, err := q.share(at, false)
		if f == nil {
			return used, err
		}
		last, err := lastUsed(f.file, at-f.base, q.fileSize)
		q.mu.RUnlock()
		if err != nil {
			return 0, err
		}
		if last >= 0 {
			used = (f.base+last)/q.unitSize + 1
		}
	}
	return used, nil
}

// lastUsed returns the last byte of a file from at on that is not zero, -1 if all are.
func lastUsed(f vfs.File, at, size int64) (int64, error) {
	last := int64(-1)
	buf := make([]byte, 4<<10)
	for at = vfs.NextData(f, at, size); at < size; at = vfs.NextData(f, at, size) {
		b := buf[:min(int64(len(buf))-at%int64(len(buf)), size-at)]
		if err := readFull(f, b, at); err != nil {
			return 0, err
		}
		if n := len(bytes.TrimRight(b, "\x00")); n > 0 {
			last = at + int64(n) - 1
		}
		at += int64(len(b))
	}
	return last, nil
}

// ordered reports whether a unit can follow one that ends at a physical offset.
func (q *queue) ordered(u unit, before int64) bool {
	return u.blank() || u.phys >= before && u.end() > u.phys && u.end() <= q.log.fileEnd()
}

// fileEnd is the end of the last file of the log.
func (l *commitLog) fileEnd() int64 {
	files := *l.files.Load()
	if len(files) == 0 {
		return 0
	}
	return files[len(files)-1].end()
}

// repairQueues prepares damaged queues for being made again from the log, and
// returns the physical offset from which that has to begin.
//
// A crash in the middle of it must not make the next recovery believe that
// nothing is missing: it is made to go through the whole log first.
func (r *recovery) repairQueues() (int64, error) {
	from := int64(math.MaxInt64)
	var damaged []*queue
	for _, q := range r.s.queues.all() {
		if q.damage != nil {
			damaged = append(damaged, q)
			from = min(from, q.maxPhys)
			r.s.logger.Warn("consume queue is damaged, its units from there on are made again from the log", q.damaged()...)
		}
	}
	if len(damaged) == 0 {
		return from, nil
	}
	r.s.times.update(func(t *checkpointTimes) { t.physic, t.logics = 0, 0 })
	if err := errors.Join(r.markCrashed(), r.s.times.write()); err != nil {
		return 0, err
	}
	for _, q := range damaged {
		end := q.end.Load()
		if q.maxPhys <= r.s.log.min() {
			end, q.maxPhys = 0, 0 // the log says where it starts now
		}
		if err := q.truncate(end); err != nil {
			return 0, err
		}
	}
	return from, nil
}

// damaged says where a queue is damaged.
func (q *queue) damaged() []any {
	at := q.damage.at * q.unitSize
	return []any{"file", filepath.Join(q.dir, fileName(at/q.fileSize*q.fileSize)), "offset", at % q.fileSize,
		"topic", q.topic, "queue", q.id, "unit", q.damage.at, "unitsBehind", q.damage.was - q.damage.at}
}

// markCrashed has the next recovery be one after a crash if this one does not
// come to its end.
func (r *recovery) markCrashed() error {
	if !r.clean {
		return nil
	}
	if err := vfs.WriteFile(r.s.fs, r.s.path("abort"), []byte(strconv.Itoa(os.Getpid())), true); err != nil {
		return err
	}
	return r.s.fs.SyncDir(r.s.cfg.StorePathRootDir)
}

// place gives a damaged queue that the log has no record of the end that it had,
// so that no offset is used again. A log that still has its beginning knows all
// offsets: there the records were lost with the power.
func (q *queue) place() error {
	if q.damage == nil || q.log.min() == 0 || q.end.Load() > 0 || q.kind.batch || q.damage.was >= maxQueueOffset {
		return nil
	}
	return q.startAt(q.damage.was)
}

// backToExpired goes back from unit n to the one behind the last whose record the
// log has no more: a search that met a damaged unit may have gone too far.
func (q *queue) backToExpired(n, logMin int64) (int64, error) {
	for first := q.firstUnit(); n > first; n-- {
		u, err := q.unit(n - 1)
		if err != nil || u.blank() || u.phys >= 0 && u.phys < logMin {
			return n, err
		}
	}
	return n, nil
}

// folderName reports whether a topic from a record can name the folder of its
// queues, and nothing else: no checksum guards it.
func folderName(topic string) bool {
	unfit := func(r rune) bool { return r == '/' || r < ' ' || r == 0x7F || r == utf8.RuneError }
	return topic != "" && topic != "." && topic != ".." && len(topic) <= maxRetryTopic && strings.IndexFunc(topic, unfit) < 0
}
