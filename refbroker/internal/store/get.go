package store

import "sync/atomic"

type getCounts struct{ found, miss, messages, bytes atomic.Int64 }

// mostBytes is what one Get returns at most, whatever the caller allows.
const mostBytes = 128 << 20

// Get reads messages of a queue from an offset on, by Java's rules. res is
// released and filled; its segments stay valid until it is released again.
func (s *Store) Get(q GetQuery, res *GetResult) {
	res.Release()
	*res = GetResult{Segments: res.Segments, files: res.files, units: res.units, Status: NoMessageInQueue}
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
		g := getter{s: s, query: &q, res: res, end: s.confirmed()}
		g.run(cq)
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
	end      int64 // of the log
	skipTo   int64 // units before it are in a file of the log that is gone
	lastPhys int64

	segmentStart, segmentEnd int64 // of the last segment, in the log
}

// chunkUnits is how many units are read at once when a filter may drop some.
const chunkUnits = 128

// run scans units of one consume queue file until a stop rule holds.
func (g *getter) run(cq *queue) {
	scanned := int64(max(g.s.cfg.MaxFilterMessageSize/cqUnitSize, g.query.MaxMessages))
	fileEnd := (g.query.Offset/cq.unitsPerFile() + 1) * cq.unitsPerFile()
	g.readUnits(cq, min(g.res.Max, g.query.Offset+scanned, fileEnd))
	g.res.SuggestSlave = g.end-g.lastPhys > g.s.memory
}

func (g *getter) readUnits(cq *queue, stop int64) {
	for g.res.Next < stop {
		n := min(stop-g.res.Next, int64(max(g.query.MaxMessages, 1)))
		if g.query.Filter != nil {
			n = min(stop-g.res.Next, chunkUnits)
		}
		if need := int(n) * cqUnitSize; cap(g.res.units) < need {
			g.res.units = make([]byte, need)
		}
		buf := g.res.units[:n*cqUnitSize]
		k, err := cq.read(buf, g.res.Next)
		if err != nil || k == 0 {
			g.missing(cq, err)
			return
		}
		for i := range k {
			if !g.unit(unitAt(buf[i*cqUnitSize:])) {
				return
			}
		}
	}
}

// missing is the case of a consume queue file that cannot be read.
func (g *getter) missing(cq *queue, err error) {
	if g.res.Messages > 0 {
		return
	}
	g.s.logger.Warn("consume queue not readable", "topic", cq.topic, "queue", cq.id, "offset", g.res.Next, "err", err)
	g.res.Status = OffsetFoundNull
	g.res.Next = (g.res.Next/cq.unitsPerFile() + 1) * cq.unitsPerFile()
}

// unit looks at the next unit; false ends the Get before it.
func (g *getter) unit(u unit) bool {
	res := g.res
	if g.full(u) {
		return false
	}
	res.Next++
	g.lastPhys = u.phys
	if u.phys < g.skipTo {
		return true
	}
	if g.query.Filter != nil && !g.query.Filter.MatchUnit(u.tags, nil) {
		return true
	}
	f := g.s.log.find(u.phys)
	if f == nil || u.end() > min(g.end, f.end()) || u.size <= 0 {
		g.gone(f, u)
		return true
	}
	record := f.data[u.phys-f.base : u.end()-f.base : u.end()-f.base]
	if g.query.Filter != nil && !g.query.Filter.MatchRecord(record) {
		f.release()
		return true
	}
	g.take(f, u)
	return true
}

// gone is the case of a unit whose record is not in the log any more.
func (g *getter) gone(f *logFile, u unit) {
	if f != nil {
		f.release()
	}
	if g.res.Messages == 0 {
		g.res.Status = MessageWasRemoving
	}
	g.skipTo = (u.phys/g.s.log.fileSize + 1) * g.s.log.fileSize
}

// take adds a record, to the segment before it if it is its continuation.
func (g *getter) take(f *logFile, u unit) {
	res := g.res
	res.Status = Found
	res.Messages++
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
	return res.Messages >= min(g.query.MaxMessages, count) || int64(res.Bytes)+int64(u.size) > min(allowed, bytes)
}
