package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rmqbench/refbroker/protocol"
)

const scheduleTopic = "SCHEDULE_TOPIC_XXXX"

// A round of dispatch ends after this many messages or bytes of log.
const (
	roundMessages = 2048
	roundBytes    = 4 << 20
)

// dispatcher tails the log into consume queues and index, beside the append
// path and never on it. It works in rounds: whatever has been appended since
// the last one is parsed, each queue that got messages is written once, then
// the arrivals are told.
type dispatcher struct {
	log     *commitLog
	queues  *queueTable
	index   *index // nil with messageIndexEnable=false
	levels  []time.Duration
	logger  *slog.Logger
	arrived func(Arrival)                         // nil during recovery
	bitMap  func(topic, properties string) []byte // nil: no bits of filters
	multi   bool                                  // records go to the queues of INNER_MULTI_DISPATCH too
	lmq     bool                                  // of which the light ones have id 0

	pause time.Duration // between attempts to write
	limit func() int64  // readers may see the log before it
	bell  bell
	at    atomic.Int64 // everything before it is dispatched
	time  atomic.Int64 // store time of the last dispatched record

	// mu is held for a round, and by whoever else changes queues or index.
	mu       sync.Mutex
	touched  []*queue
	arrivals []Arrival
	message  protocol.Message
	next     int64                 // how far the round has come
	stuck    atomic.Pointer[error] // why consume queue or index cannot be written
}

// run dispatches until ctx is done.
func (d *dispatcher) run(ctx context.Context) {
	work := func() bool { return d.at.Load() < d.limit() }
	for d.bell.wait(work, ctx.Done()) {
		for work() && ctx.Err() == nil {
			d.round(ctx)
		}
	}
}

// drain dispatches all there is.
func (d *dispatcher) drain(ctx context.Context) {
	for d.at.Load() < d.limit() && ctx.Err() == nil {
		d.round(ctx)
	}
}

// round dispatches some of the log and then tells of it.
func (d *dispatcher) round(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next = d.at.Load()
	if f := d.log.find(d.next); f != nil {
		defer f.release() // arrivals show properties out of it
	}
	limit := d.limit()
	touch := func() error { return d.touch(limit) }
	if err := touch(); err != nil && d.insist(ctx, err, touch) != nil {
		return
	}
	d.log.view(d.next, limit, func(b []byte) { d.parse(ctx, b) })
	if d.next == d.at.Load() && ctx.Err() == nil {
		d.skip(limit)
	}
	d.finish(ctx)
}

// finish writes the units of the round and publishes how far it came.
func (d *dispatcher) finish(ctx context.Context) {
	for _, q := range d.touched {
		if err := q.flushUnits(); err != nil && d.insist(ctx, err, q.flushUnits) != nil {
			return // stopped; recovery will do it again
		}
		q.touched = false
	}
	clear(d.touched)
	d.touched = d.touched[:0]
	d.at.Store(d.next)
	if d.arrived != nil {
		for _, a := range d.arrivals {
			d.arrived(a)
		}
	}
	clear(d.arrivals)
	d.arrivals = d.arrivals[:0]
}

// skip gets past bytes that are no record, which cannot happen unless memory or
// disk are broken: as in Java the rest of the file is given up.
func (d *dispatcher) skip(limit int64) {
	to := limit
	if f := d.log.find(d.next); f != nil {
		to = min(to, f.end())
		f.release()
	} else {
		to = min(to, max(d.log.min(), d.next))
	}
	if to <= d.next {
		return
	}
	d.logger.Error("commit log is not readable, its messages are skipped", "from", d.next, "to", to)
	d.next = to
}

// parse takes in the records of b, which starts at d.next, up to a round's worth.
func (d *dispatcher) parse(ctx context.Context, b []byte) {
	start := d.next
	for n := 0; n < roundMessages && len(b) >= blankSize && d.next-start < roundBytes; n++ {
		if binary.BigEndian.Uint32(b[protocol.OffMagic:]) == protocol.MagicBlank {
			d.next = d.next/d.log.fileSize*d.log.fileSize + d.log.fileSize
			return
		}
		m := &d.message
		size, err := protocol.DecodeMessage(b, m)
		if err != nil {
			return
		}
		m.PhysicalOffset = d.next
		if d.record(ctx, m) != nil {
			return
		}
		d.next += int64(size)
		b = b[size:]
	}
}

// indexed are the properties of a record that queues and index go by.
type indexed struct{ tags, keys, uniqKey, delay, innerNum, innerBase, multi, multiOffsets string }

func (p *indexed) read(properties string) {
	*p = indexed{}
	for properties != "" {
		var pair string
		pair, properties, _ = strings.Cut(properties, "\x02")
		name, value, _ := strings.Cut(pair, "\x01")
		if value == "" {
			continue
		}
		switch name {
		case protocol.PropTags:
			p.tags = value
		case protocol.PropKeys:
			p.keys = value
		case protocol.PropUniqKey:
			p.uniqKey = value
		case protocol.PropDelay:
			p.delay = value
		case protocol.PropInnerNum:
			p.innerNum = value
		case protocol.PropInnerBase:
			p.innerBase = value
		case protocol.PropInnerMultiDispatch:
			p.multi = value
		case protocol.PropInnerMultiQueueOff:
			p.multiOffsets = value
		}
	}
}

// record takes one record in. It fails only when ctx is done.
func (d *dispatcher) record(ctx context.Context, m *protocol.Message) error {
	if !folderName(m.Topic) {
		d.logger.Error("A MESSAGE IS IN NO QUEUE: its topic can be the name of no folder, the record is damaged", "topic", m.Topic, "offset", m.PhysicalOffset)
		return nil
	}
	var p indexed
	p.read(m.Properties)
	q := d.queues.get(m.Topic, m.QueueID)
	if kind := m.SysFlag & protocol.SysFlagTransaction; kind == 0 || kind == protocol.SysFlagCommit {
		if err := d.enqueue(ctx, m, q, &p); err != nil {
			return err
		}
	}
	if d.index != nil {
		if err := d.index.add(m, q.hash, p); err != nil {
			if err := d.insistIndex(ctx, err, m, q.hash, p); err != nil {
				return err
			}
		}
	}
	d.time.Store(m.StoreTimestamp)
	return nil
}

func (d *dispatcher) enqueue(ctx context.Context, m *protocol.Message, q *queue, p *indexed) error {
	u := unit{
		phys: m.PhysicalOffset, size: m.StoreSize, tags: d.tagsCode(m, p), time: m.StoreTimestamp,
		base: m.QueueOffset, count: 1,
	}
	if q.kind.batch {
		if p.inner(&u); u.base < 0 || u.count < 0 {
			d.logger.Warn("a record of a batch queue has an impossible offset or count", "topic", m.Topic, "at", u.phys)
			return nil
		}
	}
	ext := ExtUnit{Tags: u.tags, StoreTime: u.time}
	if d.bitMap != nil {
		ext.BitMap = d.bitMap(q.topic, m.Properties)
	}
	if err := d.put(ctx, m, q, u, &ext); err != nil {
		return err
	}
	if d.multi && p.multi != "" && p.multiOffsets != "" && allowsLMQ(m.Topic) {
		return d.toOthers(ctx, m, u, p)
	}
	return nil
}

// put gives a unit to a queue, and notes that there is something new.
func (d *dispatcher) put(ctx context.Context, m *protocol.Message, q *queue, u unit, ext *ExtUnit) error {
	if q.restarts(u) {
		d.logger.Error("a queue begins again at offset 0 and its units so far are dropped: "+
			"its topic was deleted and made again, or the record is damaged",
			"topic", q.topic, "queue", q.id, "messages", q.max.Load(), "record", u.phys)
	}
	added, err := q.add(u, ext)
	if err != nil {
		added, err = d.insistUnit(ctx, err, q, u, ext)
	}
	if err != nil || !added {
		return err
	}
	if !q.touched {
		q.touched = true
		d.touched = append(d.touched, q)
	}
	if d.arrived == nil {
		return nil
	}
	a := Arrival{
		Topic: q.topic, Queue: q.id, Offset: q.ahead, TagsCode: u.tags, StoreTime: m.StoreTimestamp, Properties: m.Properties,
	}
	if ext != nil && ext.BitMap != nil {
		a.Ext = &ExtUnit{Tags: ext.Tags, StoreTime: ext.StoreTime, BitMap: ext.BitMap}
	}
	d.arrivals = append(d.arrivals, a)
	return nil
}

// toOthers gives the unit of a record to the queues that it names besides its
// own. A name with a slash, and one without an offset, is left out.
func (d *dispatcher) toOthers(ctx context.Context, m *protocol.Message, u unit, p *indexed) error {
	names, offsets := strings.Split(p.multi, lmqSeparator), strings.Split(p.multiOffsets, lmqSeparator)
	if len(names) != len(offsets) {
		d.logger.Error("a record names queues and other offsets", "topic", m.Topic, "at", u.phys, "queues", p.multi, "offsets", p.multiOffsets)
		return nil
	}
	for i, name := range names {
		offset, err := strconv.ParseInt(offsets[i], 10, 64)
		if err != nil || offset < 0 || name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
			continue
		}
		id := m.QueueID
		if d.lmq && strings.HasPrefix(name, lmqPrefix) {
			id = lmqQueue
		}
		u.base = offset
		if err := d.put(ctx, m, d.queues.get(name, id), u, nil); err != nil {
			return err
		}
	}
	return nil
}

// inner sets which messages a record holds, if it says so itself.
func (p *indexed) inner(u *unit) {
	if p.innerNum == "" || p.innerBase == "" {
		return
	}
	base, err := strconv.ParseInt(p.innerBase, 10, 64)
	count, err2 := strconv.ParseInt(p.innerNum, 10, 16)
	if err == nil && err2 == nil {
		u.base, u.count = base, int32(count)
	}
}

// tagsCode is the hash of the tag, or the delivery time of a delayed message.
func (d *dispatcher) tagsCode(m *protocol.Message, p *indexed) int64 {
	if m.Topic == scheduleTopic && p.delay != "" {
		if level, err := strconv.Atoi(p.delay); err == nil && level > 0 && len(d.levels) > 0 {
			return m.StoreTimestamp + d.levels[min(level, len(d.levels))-1].Milliseconds()
		}
	}
	if p.tags == "" {
		return 0
	}
	return protocol.TagsCode(p.tags)
}

// insistAfter is how often writing consume queue or index may fail, once a
// second, before the store refuses messages.
const insistAfter = 30

// insist does again what failed with err, and must not be left out, until it
// succeeds or ctx is done.
func (d *dispatcher) insist(ctx context.Context, err error, do func() error) error {
	for failures := 1; err != nil; failures++ {
		d.logger.Error("dispatch cannot go on, will try again", "err", err, "failures", failures)
		if failures >= insistAfter {
			reason := fmt.Errorf("consume queue or index cannot be written: %w", err)
			d.stuck.Store(&reason)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(d.pause):
		}
		err = do()
	}
	d.stuck.Store(nil)
	return nil
}

func (d *dispatcher) insistUnit(ctx context.Context, err error, q *queue, u unit, ext *ExtUnit) (added bool, _ error) {
	err = d.insist(ctx, err, func() (err error) {
		added, err = q.add(u, ext)
		return err
	})
	return added, err
}

func (d *dispatcher) insistIndex(ctx context.Context, err error, m *protocol.Message, hash int32, p indexed) error {
	return d.insist(ctx, err, func() error { return d.index.add(m, hash, p) })
}
