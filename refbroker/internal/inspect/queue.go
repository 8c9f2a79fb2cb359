package inspect

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"rmqbench/refbroker/protocol"
)

// Kinds of consume queues by their folder.
const (
	plainQueues = "consumequeue"
	batchQueues = "batchconsumequeue"
	extFolder   = "consumequeue_ext"

	plainUnit = 20
	batchUnit = 46
)

// scheduleTopic holds delayed messages; the tags code of its units is a time.
const scheduleTopic = "SCHEDULE_TOPIC_XXXX"

type queueKey struct {
	topic string
	id    int32
}

// Unit is a unit of a consume queue or of a batch consume queue.
type Unit struct {
	Offset    int64 `json:"offset"` // of its (first) message in the queue
	Phys      int64 `json:"physicalOffset"`
	Size      int32 `json:"size"`
	Tags      int64 `json:"tagsCode"`
	StoreTime int64 `json:"storeTime,omitempty"` // batch consume queue only, ms
	Count     int16 `json:"count,omitempty"`     // messages of the batch; batch consume queue only
}

func (u Unit) valid() bool { return u.Phys >= 0 && u.Size > 0 && u.Offset >= 0 && u.Count >= 0 }

// blank is a unit before the first message of a queue that does not start at 0.
func (u Unit) blank() bool { return u.Phys == 0 && u.Size == math.MaxInt32 }
func (u Unit) end() int64  { return u.Phys + int64(u.Size) }

// queueFiles are the files of one queue.
type queueFiles struct {
	topic string
	id    int32
	dir   string
	unit  int64 // bytes of a unit
	seq   sequence
	ext   sequence

	buf []byte
	at  int64 // byte in the sequence that buf starts at
}

func (q *queueFiles) batch() bool { return q.unit == batchUnit }

// openQueue opens a queue of one kind.
func (f *Folder) openQueue(kind, topic string, id int32) (*queueFiles, error) {
	name := strconv.Itoa(int(id))
	q := &queueFiles{topic: topic, id: id, dir: f.path(kind, topic, name), unit: plainUnit}
	if kind == batchQueues {
		q.unit = batchUnit
	}
	var err error
	if q.seq, err = openSequence(q.dir); err != nil {
		return nil, err
	}
	q.ext, err = openSequence(f.path(extFolder, topic, name))
	return q, err
}

// eachQueue calls fn for every queue that has a folder.
func (f *Folder) eachQueue(fn func(kind, topic string, id int32) error) error {
	for _, kind := range []string{plainQueues, batchQueues} {
		topics, err := os.ReadDir(f.path(kind))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, topic := range topics {
			if err := f.eachOf(kind, topic.Name(), fn); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *Folder) eachOf(kind, topic string, fn func(kind, topic string, id int32) error) error {
	dirs, err := os.ReadDir(f.path(kind, topic))
	if err != nil {
		return nil //nolint:nilerr // a file among the folders, which brokers leave alone
	}
	for _, dir := range dirs {
		id, err := strconv.ParseInt(dir.Name(), 10, 32)
		if err != nil || !dir.IsDir() {
			continue
		}
		if err := fn(kind, topic, int32(id)); err != nil {
			return err
		}
	}
	return nil
}

// windowUnits is how many units are read at once.
const windowUnits = 204

// nth returns the unit at a place of the file sequence, counted in units from
// byte 0 of the queue; false where there is none or it is not valid.
func (q *queueFiles) nth(n int64) (Unit, bool, error) {
	at := n * q.unit
	if at < q.at || at+q.unit > q.at+int64(len(q.buf)) {
		if err := q.fill(at); err != nil {
			return Unit{}, false, err
		}
	}
	if at+q.unit > q.at+int64(len(q.buf)) {
		return Unit{}, false, nil
	}
	u := q.decode(q.buf[at-q.at:], n)
	return u, u.valid(), nil
}

func (q *queueFiles) fill(at int64) error {
	if want := int(windowUnits * q.unit); cap(q.buf) < want {
		q.buf = make([]byte, want)
	}
	q.buf, q.at = q.buf[:cap(q.buf)], at
	k, err := q.seq.read(q.buf, at)
	q.buf = q.buf[:int64(k)/q.unit*q.unit]
	return err
}

func (q *queueFiles) decode(b []byte, n int64) Unit {
	be := binary.BigEndian
	u := Unit{Offset: n, Phys: int64(be.Uint64(b)), Size: int32(be.Uint32(b[8:])), Tags: int64(be.Uint64(b[12:]))}
	if q.batch() {
		u.StoreTime, u.Offset, u.Count = int64(be.Uint64(b[20:])), int64(be.Uint64(b[28:])), int16(be.Uint16(b[36:]))
	}
	return u
}

// bounds are the places of the first unit and behind the last file.
func (q *queueFiles) bounds() (first, end int64) { return q.seq.first() / q.unit, q.seq.end() / q.unit }

// place names the file and byte of a unit.
func (q *queueFiles) place(n int64) (path string, at int64) {
	if p, ok := q.seq.find(n * q.unit); ok {
		return p.path, n*q.unit - p.base
	}
	return q.dir, -1
}

// queueCheck is a queue while the log is read.
type queueCheck struct {
	*queueFiles
	lastEnd int64 // of the last record that it knows
	last    int64 // place behind the last unit
	begin   int64 // place of the first unit that is not blank
	cursor  int64 // of a batch queue: place of the next record's unit
	matched int64 // units whose record was seen
	missing int64 // records without a unit, at the end of the queue
	before  int64 // records of the log whose units would be before the first one
}

func (v *verifier) loadQueues() error {
	v.queues = map[queueKey]*queueCheck{}
	v.orphans, v.lost, v.topics = map[string]int64{}, map[queueKey]int64{}, map[string]int64{}
	return v.f.eachQueue(func(kind, topic string, id int32) error {
		files, err := v.f.openQueue(kind, topic, id)
		if err != nil {
			return err
		}
		if _, twice := v.queues[queueKey{topic, id}]; twice {
			v.found(Error, files.dir, -1, "topic %s has a folder under both %s and %s: no broker opens that; move away the one that its queue.type does not name", topic, plainQueues, batchQueues)
			return nil
		}
		q := &queueCheck{queueFiles: files}
		v.queues[queueKey{topic, id}] = q
		v.oddities(q.seq.odd)
		v.oddities(q.ext.odd)
		return v.scanUnits(q)
	})
}

// scanUnits goes through the units of a queue for themselves.
func (v *verifier) scanUnits(q *queueCheck) error {
	n, end := q.bounds()
	before := Unit{Phys: -1, Offset: -1}
	q.begin = n
	for ; n < end; n++ {
		u, ok, err := q.nth(n)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if u.blank() {
			q.begin = n + 1
			continue
		}
		v.follows(q, n, before, u)
		before = u
	}
	if u, ok, err := q.nth(q.begin); err == nil && ok {
		if first, known := v.topics[q.topic]; !known || u.Phys < first {
			v.topics[q.topic] = u.Phys
		}
	}
	q.last, q.cursor, q.lastEnd = n, q.begin, max(before.end(), 0)
	if before.Phys < 0 {
		q.lastEnd = 0
	}
	return v.restOfQueue(q)
}

func (v *verifier) follows(q *queueCheck, n int64, before, u Unit) {
	path, at := q.place(n)
	if u.Phys <= before.Phys {
		v.found(Error, path, at, "unit points to byte %d of the log, the one before it to %d: units must follow the log", u.Phys, before.Phys)
	}
	if q.batch() && before.Offset >= 0 && u.Offset != before.Offset+int64(before.Count) {
		v.found(Error, path, at, "batch unit starts at queue offset %d, want %d", u.Offset, before.Offset+int64(before.Count))
	}
	if u.end() > v.f.log.end() {
		v.found(v.unsettled(), path, at, "unit points to bytes %d to %d of the log, which ends at %d", u.Phys, u.end(), v.f.log.end())
	}
}

// restOfQueue looks at what lies behind the last unit: units that a recovery
// cut off may stand there, but a valid one must not come back.
func (v *verifier) restOfQueue(q *queueCheck) error {
	_, end := q.bounds()
	for n := q.last; n < end; n++ {
		u, ok, err := q.nth(n)
		if err != nil {
			return err
		}
		if ok && !u.blank() {
			path, at := q.place(n)
			v.found(Warning, path, at, "a unit stands behind the end of the queue at offset %d: left by a recovery, or the one before it is damaged", q.last)
			return nil
		}
		if !ok && n%windowUnits == 0 && q.zeroWindow() {
			n += int64(len(q.buf))/q.unit - 1
		}
	}
	return nil
}

func (q *queueFiles) zeroWindow() bool { return len(q.buf) > 0 && firstNonZero(q.buf) < 0 }

// inQueue checks the units of a record.
func (v *verifier) inQueue(rec *Record, p *properties) error {
	if err := v.inOne(rec, p, queueKey{rec.Topic, rec.QueueID}, rec.QueueOffset); err != nil {
		return err
	}
	if p.lmqNames == "" || p.lmqOffsets == "" {
		return nil
	}
	offsets := strings.Split(p.lmqOffsets, ",")
	for i, name := range strings.Split(p.lmqNames, ",") {
		if i >= len(offsets) || v.queues[queueKey{name, 0}] == nil {
			continue
		}
		offset, err := strconv.ParseInt(offsets[i], 10, 64)
		if err != nil {
			continue
		}
		if err := v.inOne(rec, p, queueKey{name, 0}, offset); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) inOne(rec *Record, p *properties, key queueKey, offset int64) error {
	q := v.queues[key]
	if q == nil {
		v.orphan(rec, key)
		return nil
	}
	n := offset
	if q.batch() {
		n = q.cursor
	}
	if n < q.begin && !q.batch() {
		q.before++
		return nil
	}
	u, ok, err := q.nth(n)
	switch {
	case err != nil:
		return err
	case n >= q.last || !ok:
		q.missing++
	case u.Phys == rec.At:
		v.match(q, n, u, rec, p, offset)
	case u.Phys < rec.At:
		path, at := q.place(n)
		v.found(Error, path, at, "unit of queue offset %d points to byte %d of the log, its record lies at %d", offset, u.Phys, rec.At)
	default: // the record of a topic that was deleted and made again
	}
	return nil
}

// orphan counts a record whose queue has no folder. If another queue of the
// topic has older records, the topic was not deleted since.
func (v *verifier) orphan(rec *Record, key queueKey) {
	if first, ok := v.topics[key.topic]; ok && first < rec.At {
		v.lost[queueKey{strings.Clone(key.topic), key.id}]++
		return
	}
	v.orphans[strings.Clone(key.topic)]++
}

// match compares a unit with the record that it points to.
func (v *verifier) match(q *queueCheck, n int64, u Unit, rec *Record, p *properties, offset int64) {
	q.matched++
	v.report.Units++
	q.cursor = n + 1
	path, at := q.place(n)
	if u.Size != rec.StoreSize {
		v.found(Error, path, at, "unit says that its record has %d bytes, it has %d", u.Size, rec.StoreSize)
	}
	if u.Offset != offset {
		v.found(Error, path, at, "batch unit says queue offset %d, its record %d", u.Offset, offset)
	}
	v.tagsOf(q, n, u, rec, p)
}

// firstExtAddress is the largest tags code that is an address in the extension.
const firstExtAddress = -2147483649

func (v *verifier) tagsOf(q *queueCheck, n int64, u Unit, rec *Record, p *properties) {
	path, at := q.place(n)
	want, tags := int64(0), u.Tags
	if p.tags != "" {
		want = protocol.TagsCode(p.tags)
	}
	if tags <= firstExtAddress {
		ext, ok, err := q.extUnit(tags)
		if err != nil || !ok {
			v.found(Error, path, at, "unit points to byte %d of the extension, where no unit is: filters by tag pass its message on", tags-math.MinInt64)
			return
		}
		tags = ext.Tags
	}
	if rec.Topic == scheduleTopic {
		if tags != want && tags < rec.StoreTimestamp {
			v.found(Error, path, at, "unit says delivery at %d ms, before its record was stored at %d", tags, rec.StoreTimestamp)
		}
		return
	}
	if tags != want {
		v.found(Error, path, at, "unit has tags code %d, the tag %q of its record has %d", tags, p.tags, want)
	}
}

// Ext is a unit of the extension of a consume queue.
type Ext struct {
	Tags      int64  `json:"tagsCode"`
	StoreTime int64  `json:"storeTime"` // ms
	Bits      []byte `json:"bitMap,omitempty"`
}

// extUnit reads the extension's unit at an address.
func (q *queueFiles) extUnit(address int64) (e Ext, ok bool, err error) {
	at := address - math.MinInt64
	head := make([]byte, 20)
	if k, err := q.ext.read(head, at); err != nil || k < len(head) {
		return e, false, err
	}
	be := binary.BigEndian
	size, bits := int(int16(be.Uint16(head))), int(int16(be.Uint16(head[18:])))
	e.Tags, e.StoreTime = int64(be.Uint64(head[2:])), int64(be.Uint64(head[10:]))
	if size < 20 || bits < 0 || size != 20+bits {
		return e, false, nil
	}
	e.Bits = make([]byte, bits)
	k, err := q.ext.read(e.Bits, at+20)
	return e, k == bits, err
}

// finishQueues compares the units that were met with those that are there.
func (v *verifier) finishQueues() error {
	v.report.Queues = len(v.queues)
	for _, q := range v.queues {
		if q.missing > 0 {
			v.found(v.unsettled(), q.dir, -1, "%d records at the end of queue %d of %s have no unit: no consumer gets them until a recovery builds the units", q.missing, q.id, q.topic)
		}
		if q.before > 0 {
			v.found(Error, q.dir, -1, "%d records of queue %d of %s are in the log, but lie before the queue's first unit: no consumer gets them; files of the queue are missing", q.before, q.id, q.topic)
		}
		if err := v.lostUnits(q); err != nil {
			return err
		}
	}
	for key, n := range v.lost {
		v.found(v.unsettled(), v.f.path(plainQueues, key.topic, strconv.Itoa(int(key.id))), -1, "%d records belong to this queue, which has no folder, though other queues of %s are older than they: no consumer gets them; "+
			"move the folder %s away while the broker is stopped, and the next start makes all queues again", n, key.topic, plainQueues)
	}
	for topic, n := range v.orphans {
		v.found(Note, v.f.path(plainQueues, topic), -1, "%d records belong to topic %s, which has no consume queue: it was deleted, or the next recovery builds it", n, topic)
	}
	return nil
}

// lostUnits names the units that no record answered to.
func (v *verifier) lostUnits(q *queueCheck) error {
	first, live := q.begin, int64(0)
	for n := q.last; n > first; n-- {
		u, _, err := q.nth(n - 1)
		if err != nil {
			return err
		}
		if u.Phys < v.f.log.first() {
			break
		}
		live, q.cursor = live+1, n-1
	}
	if live <= q.matched {
		return nil
	}
	for n := q.cursor; n < q.last; n++ {
		if err := v.lostUnit(q, n); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) lostUnit(q *queueCheck, n int64) error {
	u, _, err := q.nth(n)
	if err != nil {
		return err
	}
	p, ok := v.f.log.find(u.Phys)
	if ok {
		r, err := openReader(p, v.f.log.size)
		if err != nil {
			return err
		}
		defer r.file.Close()
		var rec Record
		blank, err := r.record(u.Phys, &rec)
		ok = err == nil && !blank && (strings.HasPrefix(q.topic, "%LMQ%") ||
			rec.Topic == q.topic && rec.QueueID == q.id && rec.QueueOffset == u.Offset)
	}
	if !ok {
		path, at := q.place(n)
		v.found(v.unsettled(), path, at, "unit of queue offset %d points to byte %d of the log, where no record of that offset of queue %d of %s is", u.Offset, u.Phys, q.id, filepath.Base(q.topic))
	}
	return nil
}
