package store

import "sync/atomic"

type getCounts struct{ found, miss, messages, bytes atomic.Int64 }

// mostBytes is what one Get returns at most, whatever the caller allows.
const mostBytes = 128 << 20

// Get reads messages of a queue from an offset on, by Java's rules. res is
// released and filled; its segments stay valid until it is released again.
func (s *Store) Get(q GetQuery, res *GetResult) {
	res.Release()
	*res = GetResult{Segments: res.Segments, files: res.files, units: res.units, ext: res.ext, Status: NoMessageInQueue}
	defer s.countGet(res)
	cq := s.queues.find(q.Topic, q.Queue)
	if cq == nil {
		return
	}
	res.Min, res.Max = cq.min.Load(), cq.max.Load()
	res.Next = q.Offset
	switch {
	case res.Max == 0:
		res.Next = 0
	case q.Offset < res.Min:
		res.Status, res.Next = OffsetTooSmall, res.Min
	case q.Offset == res.Max:
		res.Status = OffsetOverflowOne
	case q.Offset > res.Max:
		res.Status, res.Next = OffsetOverflowBadly, res.Max
	default:
		res.Status = NoMatchedMessage
		// First the queue, then the log: nothing that a unit leads to may be behind
		// the end that the getter knows, and nothing is returned behind res.Max.
		g := getter{s: s, query: &q, res: res, cq: cq, units: cq.end.Load()}
		g.end = s.confirmed()
		g.run()
	}
}

func (s *Store) countGet(res *GetResult) {
	if res.Status != Found {
		s.gets.miss.Add(1)
		return
	}
	s.gets.found.Add(1)
	s.gets.messages.Add(int64(res.Messages))
	s.gets.bytes.Add(int64(res.Bytes))
}

// getter is one Get in progress.
type getter struct {
	s        *Store
	query    *GetQuery
	res      *GetResult
	units    int64 // of the queue, counted before end was read
	end      int64 // of the log
	skipTo   int64 // units before it are in a file of the log that is gone
	lastPhys int64
	cq       *queue

	segmentStart, segmentEnd int64 // of the last segment, in the log
	touchedFrom, touchedTo   int64 // of the log, and can be read
}

// chunkUnits is how many units are read at once when a filter may drop some.
const chunkUnits = 128

// run scans units of one consume queue file until a stop rule holds.
func (g *getter) run() {
	from, err := g.cq.locate(g.query.Offset)
	if err != nil {
		g.missing(from, err)
		return
	}
	fileEnd := (from/g.cq.unitsPerFile() + 1) * g.cq.unitsPerFile()
	g.readUnits(from, min(g.units, from+g.mostScanned(), fileEnd))
	g.res.SuggestSlave = g.end-g.lastPhys > g.s.memory
}

// mostScanned is how far behind the offset asked for, in messages, a unit is not looked at any more.
func (g *getter) mostScanned() int64 {
	bytes := int64(g.s.cfg.MaxFilterMessageSize)
	return max((bytes+g.cq.unitSize-1)/g.cq.unitSize, int64(g.query.MaxMessages))
}

// readUnits looks at the units from unit n to unit stop.
func (g *getter) readUnits(n, stop int64) {
	size := g.cq.unitSize
	for n < stop {
		want := min(stop-n, int64(max(g.query.MaxMessages, 1)))
		if g.query.Filter != nil {
			want = min(stop-n, chunkUnits)
		}
		if need := int(want * size); cap(g.res.units) < need {
			g.res.units = make([]byte, need)
		}
		buf := g.res.units[:want*size]
		k, err := g.cq.read(buf, n)
		if err != nil || k == 0 {
			g.missing(n, err)
			return
		}
		for i := range int64(k) {
			if !g.unit(g.cq.kind.decode(buf[i*size:], n+i)) {
				g.stopAt(n + i)
				return
			}
		}
		n += int64(k)
	}
	g.stopAt(n)
}

// stopAt notes where the next Get is likely to begin, for locate.
func (g *getter) stopAt(n int64) {
	if g.cq.kind.batch {
		g.cq.stopped.Store(n)
	}
}

// missing is the case of a consume queue file that cannot be read.
func (g *getter) missing(n int64, err error) {
	if g.res.Messages > 0 {
		return
	}
	cq := g.cq
	g.s.logger.Warn("consume queue not readable", "topic", cq.topic, "queue", cq.id, "offset", g.res.Next, "err", err)
	g.res.Status = OffsetFoundNull
	if err != nil {
		return // the disk does not give them; they are asked for again
	}
	if cq.kind.batch {
		g.res.Next = 0 // as in Java
		return
	}
	g.res.Next = (n/cq.unitsPerFile() + 1) * cq.unitsPerFile()
}

// wanted asks the filter about a unit. A unit whose extension cannot be found
// is wanted: the filter sees the record, or the consumer does.
func (g *getter) wanted(u unit) bool {
	f := g.query.Filter
	if f == nil {
		return true
	}
	if !isExtAddress(u.tags) {
		return f.MatchUnit(u.tags, nil)
	}
	if g.cq.ext == nil {
		return true
	}
	found, err := g.cq.ext.get(u.tags, &g.res.extUnit, &g.res.ext)
	if err != nil || !found {
		return true
	}
	return f.MatchUnit(g.res.extUnit.Tags, &g.res.extUnit)
}

// unit looks at the next unit; false ends the Get before it.
func (g *getter) unit(u unit) bool {
	res := g.res
	if g.full(u) || u.base >= res.Max || u.base-g.query.Offset >= g.mostScanned() {
		return false
	}
	res.Next = u.after()
	g.lastPhys = u.phys
	if u.phys >= 0 && u.phys < g.skipTo {
		return true
	}
	if !g.wanted(u) {
		return true
	}
	f := g.s.log.find(u.phys)
	if f == nil && u.valid() && u.phys < g.s.log.min() {
		g.gone(u)
		return true
	}
	if f != nil {
		if err := g.reach(f, u); err != nil {
			f.release()
			g.unread(u, err)
			return false
		}
	}
	record := g.record(f, u)
	if record == nil {
		if f != nil {
			f.release()
		}
		return true
	}
	if g.query.Filter != nil && !g.query.Filter.MatchRecord(record) {
		f.release()
		return true
	}
	g.take(f, u)
	return true
}

// gone is the case of a unit whose record is not in the log any more.
func (g *getter) gone(u unit) {
	if g.res.Messages == 0 {
		g.res.Status = MessageWasRemoving
	}
	g.skipTo = (u.phys/g.s.log.fileSize + 1) * g.s.log.fileSize
}

// take adds a record, to the segment before it if it is its continuation.
func (g *getter) take(f *logFile, u unit) {
	res := g.res
	res.Status = Found
	res.Messages += int(u.count)
	res.Bytes += int(u.size)
	g.skipTo = 0
	from, n := u.phys, len(res.files)
	switch {
	case n == 0 || res.files[n-1] != f:
		res.files = append(res.files, f)
		res.Segments = append(res.Segments, nil)
	case g.segmentEnd == u.phys:
		f.release()
		from = g.segmentStart
	default:
		f.release()
		res.Segments = append(res.Segments, nil)
	}
	g.segmentStart, g.segmentEnd = from, u.end()
	res.Segments[len(res.Segments)-1] = f.data[from-f.base : u.end()-f.base : u.end()-f.base]
}

// full is Java's isTheBatchFull: the first message is always returned.
func (g *getter) full(u unit) bool {
	res, cfg := g.res, &g.s.cfg
	if res.Messages == 0 {
		return false
	}
	allowed := int64(mostBytes)
	if g.query.MaxBytes > 0 {
		allowed = min(allowed, int64(max(g.query.MaxBytes, 100)))
	}
	bytes, count := cfg.MaxTransferBytesOnMessageInDisk, cfg.MaxTransferCountOnMessageInDisk
	if g.end-u.phys <= g.s.memory {
		bytes, count = cfg.MaxTransferBytesOnMessageInMemory, cfg.MaxTransferCountOnMessageInMemory
	}
	return res.Messages+int(u.count) > g.query.MaxMessages || res.Messages >= count || int64(res.Bytes)+int64(u.size) > min(allowed, bytes)
}
