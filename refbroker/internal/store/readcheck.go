package store

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"

	"rmqbench/refbroker/protocol"
)

// lightPrefix begins the names of queues whose records belong to another topic.
const lightPrefix = "%LMQ%"

// record returns the record that a unit points to, nil if there is none: unit or
// record are damaged then, which is said, and the reader goes on behind it.
//
// A unit may be read as long as it is not known to be wrong, so what it points to
// must be a record of that place, size and queue. The body is checked where it
// comes from the disk: behind what was there when the store was opened, and not
// too far from the end, it is what this process has written.
func (g *getter) record(f *logFile, u unit) []byte {
	if f == nil || u.size <= 0 || u.end() > min(g.end, f.end()) {
		g.damaged(f, u, "it points to nothing in the log")
		return nil
	}
	b := f.data[u.phys-f.base : u.end()-f.base : u.end()-f.base]
	switch {
	case !isRecord(b, u):
		g.damaged(f, u, "there is no such record")
	case queueID(b) != g.cq.id && !strings.HasPrefix(g.cq.topic, lightPrefix):
		g.damaged(f, u, "the record is one of another queue")
	case g.cold(u) && !sane(b, g.cq.topic):
		g.damaged(f, u, "the record does not match its checksum or its topic")
	default:
		return b
	}
	return nil
}

// cold reports whether a record may have been read from the disk.
func (g *getter) cold(u unit) bool { return u.phys < g.s.opened || g.end-u.phys > g.s.memory }

// sane reports whether a record decodes, its body has its checksum, and it is of
// a topic.
func sane(b []byte, topic string) bool {
	var m protocol.Message
	if _, err := protocol.DecodeMessage(b, &m); err != nil || len(m.Body) > 0 && !m.VerifyBody() {
		return false
	}
	return m.Topic == topic || strings.HasPrefix(topic, lightPrefix)
}

func physicalOffset(b []byte) int64 {
	return int64(binary.BigEndian.Uint64(b[protocol.OffPhysicalOffset:]))
}

func queueID(b []byte) int32 { return int32(binary.BigEndian.Uint32(b[protocol.OffQueueID:])) }

// damaged says, once a second at most, that a message cannot be served.
func (g *getter) damaged(f *logFile, u unit, why string) {
	s, cq := g.s, g.cq
	s.unreadable.Add(1)
	now, last := nowMillis(), s.missed.Load()
	if now-last < 1000 || !s.missed.CompareAndSwap(last, now) {
		return
	}
	at := u.base
	if cq.kind.batch {
		at, _ = cq.locate(u.base) // for the message only
	}
	at *= cq.unitSize
	where := "beyond the log"
	if f != nil {
		where = fmt.Sprintf("%s byte %d", f.path, u.phys-f.base)
	}
	s.logger.Error("A MESSAGE CANNOT BE READ: its consume queue unit or its record is damaged, consumers go on behind it; "+
		"stop the broker and run refbroker store verify on its folder", "because", why, "topic", cq.topic, "queue", cq.id, "offset", u.base,
		"unit", fmt.Sprintf("%s byte %d", filepath.Join(cq.dir, fileName(at/cq.fileSize*cq.fileSize)), at%cq.fileSize),
		"record", where, "size", u.size, "unreadable", s.unreadable.Load())
}
