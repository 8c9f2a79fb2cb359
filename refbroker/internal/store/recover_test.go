package store

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
)

// tail is a store that was killed, and what a row of the table does to it.
type tail struct {
	t    *testing.T
	cfg  Config
	ends []int64 // of each record
	size int64   // of a log file
}

func (d *tail) path(name string) string { return filepath.Join(d.cfg.StorePathRootDir, name) }

// last returns where record n from the end begins, 1 being the last.
func (d *tail) last(n int) int64 { return d.ends[len(d.ends)-n-1] }

func (d *tail) end() int64 { return d.ends[len(d.ends)-1] }

// edit changes bytes of a file.
func (d *tail) edit(name string, at int64, change func(b []byte)) {
	d.t.Helper()
	b, err := os.ReadFile(d.path(name))
	if err != nil {
		d.t.Fatal(err)
	}
	change(b[at:])
	if err := os.WriteFile(d.path(name), b, 0o644); err != nil {
		d.t.Fatal(err)
	}
}

// log changes bytes of the log at an offset.
func (d *tail) log(at int64, change func(b []byte)) {
	base := at / d.size * d.size
	d.edit("commitlog/"+fileName(base), at-base, change)
}

func (d *tail) remove(name string) {
	if err := os.RemoveAll(d.path(name)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *tail) index() string {
	entries, err := os.ReadDir(d.path("index"))
	if err != nil || len(entries) == 0 {
		d.t.Fatalf("no index file: %v", err)
	}
	return "index/" + entries[len(entries)-1].Name()
}

const tailMessages = 70

// tailConfig has log files that end after 26 messages.
func tailConfig(dir string) Config {
	cfg := smallConfig(dir)
	cfg.MappedFileSizeCommitLog = 6 << 10
	return cfg
}

// tailRow is a state that a crash, a disk or a person can leave. lost is how
// many of the last messages are gone; those before them never are.
type tailRow struct {
	name   string
	lost   int
	damage func(d *tail)
}

// logTails damage the end of the log.
var logTails = []tailRow{
	{"nothing", 0, func(d *tail) {}},
	{"size 0", 1, func(d *tail) { d.log(d.last(1), func(b []byte) { clear(b[:4]) }) }},
	{"size beyond the file", 1, func(d *tail) { d.log(d.last(1), func(b []byte) { b[0] = 0x40 }) }},
	{"negative size", 1, func(d *tail) { d.log(d.last(1), func(b []byte) { b[0] = 0x80 }) }},
	{"size too small for a record", 1, func(d *tail) { d.log(d.last(1), func(b []byte) { binary.BigEndian.PutUint32(b, 60) }) }},
	{"size off by one", 1, func(d *tail) { d.log(d.last(1)+3, func(b []byte) { b[0]++ }) }},
	{"unknown magic", 1, func(d *tail) { d.log(d.last(1)+protocol.OffMagic, func(b []byte) { b[3] ^= 1 }) }},
	{"flipped bit in a body", 1, func(d *tail) { d.log(d.last(1)+90, func(b []byte) { b[0] ^= 4 }) }},
	{"flipped bit in a checksum", 1, func(d *tail) { d.log(d.last(1)+protocol.OffBodyCRC, func(b []byte) { b[3] ^= 4 }) }},
	{"wrong physical offset", 1, func(d *tail) { d.log(d.last(1)+protocol.OffPhysicalOffset, func(b []byte) { b[7] ^= 4 }) }},
	{"flipped bit three records from the end", 3, func(d *tail) { d.log(d.last(3)+90, func(b []byte) { b[0] ^= 4 }) }},
	{"half a record", 1, func(d *tail) { d.log(d.end()-40, func(b []byte) { clear(b[:40]) }) }},
	{"only the first bytes of a record", 1, func(d *tail) { d.log(d.last(1)+6, func(b []byte) { clear(b[:d.end()-d.last(1)-6]) }) }},
	{"garbage behind the end", 0, func(d *tail) {
		d.log(d.end(), func(b []byte) {
			for i := range b {
				b[i] = byte(i*7 + 1)
			}
		})
	}},
	{"an old record behind the end", 0, func(d *tail) {
		d.log(d.last(1), func(b []byte) { n := d.end() - d.last(1); copy(b[n:2*n], b[:n]) })
	}},
	{"zeros from the last properties on", 1, func(d *tail) { d.log(d.end()-3, func(b []byte) { clear(b[:3]) }) }},
	{"next file made ahead", 0, func(d *tail) {
		os.WriteFile(d.path("commitlog/"+fileName(d.end()/d.size*d.size+d.size)), make([]byte, d.size), 0o644)
	}},
	{"next file without a length", 0, func(d *tail) { os.WriteFile(d.path("commitlog/"+fileName(d.end()/d.size*d.size+d.size)), nil, 0o644) }},
}

// otherTails damage what is trusted after a clean stop.
var otherTails = []tailRow{
	{"flipped bit in the first file", tailMessages - 2, func(d *tail) {
		d.remove("checkpoint")
		d.log(d.ends[2]+90, func(b []byte) { b[0] ^= 4 })
	}},
	{"checkpoint missing", 0, func(d *tail) { d.remove("checkpoint") }},
	{"checkpoint from the future", 0, func(d *tail) {
		// As if all was durable: recovery has to find out that the last file suffices.
		d.edit("checkpoint", 0, func(b []byte) {
			binary.BigEndian.PutUint64(b, 1<<50)
			binary.BigEndian.PutUint64(b[8:], 1<<50)
		})
	}},
	{"no consume queues", 0, func(d *tail) { d.remove("consumequeue"); d.remove("checkpoint") }},
	{"consume queue without its last units", 0, func(d *tail) {
		d.remove("checkpoint")
		d.edit("consumequeue/T/0/"+fileName(0), 20*cqUnitSize, func(b []byte) { clear(b) })
	}},
	{"consume queue with a hole", 0, func(d *tail) {
		d.remove("checkpoint")
		d.edit("consumequeue/T/1/"+fileName(0), 5*cqUnitSize, func(b []byte) { clear(b[:cqUnitSize]) })
	}},
	{"consume queue ahead of the log", 0, func(d *tail) {
		d.edit("consumequeue/T/0/"+fileName(0), tailMessages/2*cqUnitSize, func(b []byte) {
			copy(b, appendUnit(nil, unit{phys: d.end(), size: 200}))
		})
	}},
	{"consume queue file without a length", 0, func(d *tail) { os.WriteFile(d.path("consumequeue/T/0/"+fileName(50*cqUnitSize)), nil, 0o644) }},
	{"no index", 0, func(d *tail) { d.remove("index") }},
	{"index without its last entries", 0, func(d *tail) {
		d.edit(d.index(), indexHeaderSize+400+30*indexEntrySize, func(b []byte) { clear(b) })
	}},
	{"index with half an entry", 0, func(d *tail) {
		d.edit(d.index(), indexHeaderSize+400+30*indexEntrySize+7, func(b []byte) { clear(b) })
	}},
	{"index with garbage in slots and header", 0, func(d *tail) {
		d.edit(d.index(), 16, func(b []byte) { copy(b[:380], "no header, no slots, only words") })
	}},
	{"index with a wrong chain", 0, func(d *tail) {
		d.edit(d.index(), indexHeaderSize+400+9*indexEntrySize+19, func(b []byte) { b[0]++ })
	}},
}

// damagedStore makes a store of messages in two queues that was killed, or
// stopped in order.
func damagedStore(t *testing.T, abort bool) *tail {
	cfg := tailConfig(tempDir(t))
	s := open(t, cfg, Options{})
	d := &tail{t: t, ends: []int64{0}, size: cfg.MappedFileSizeCommitLog}
	for i := range tailMessages {
		m := tailMessage(i)
		s.put(m)
		d.ends = append(d.ends, m.PhysicalOffset+int64(m.StoreSize))
	}
	s.settled()
	if err := s.writeIndex(false); err != nil {
		t.Fatal(err)
	}
	if !abort {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	d.cfg = tailConfig(killImage(t, cfg))
	return d
}

func tailMessage(i int) *protocol.Message {
	return message("T", int32(i%2), fmt.Sprint("message ", i, " of some length, to fill a file or two: ............................................"),
		protocol.PropUniqKey, fmt.Sprint("unique", i), protocol.PropKeys, fmt.Sprint("key", i, " all"), protocol.PropTags, "tag")
}

// holds checks that exactly the first n messages are there, by queue and by key.
func (s *testStore) holds(n int) {
	s.t.Helper()
	want := map[int32][]string{0: nil, 1: nil}
	for i := range n {
		want[int32(i%2)] = append(want[int32(i%2)], string(tailMessage(i).Body))
		equal(s.t, s.byKey("T", fmt.Sprint("unique", i)), []string{string(tailMessage(i).Body)})
		equal(s.t, s.byKey("T", fmt.Sprint("key", i)), []string{string(tailMessage(i).Body)})
	}
	for q, bodies := range want {
		equal(s.t, s.bodies("T", q, 0), bodies)
		equal(s.t, s.MaxOffset("T", q), int64(len(bodies)))
	}
	for i := n; i < tailMessages; i++ {
		equal(s.t, s.byKey("T", fmt.Sprint("unique", i)), []string(nil))
	}
}

// isZeroBehind checks that nothing but zeros follows the end of the log.
func (s *testStore) isZeroBehind() {
	s.t.Helper()
	end := s.log.wrote.Load()
	s.log.view(end, 1<<62, func(b []byte) {
		for i, c := range b {
			if c != 0 {
				s.t.Fatalf("byte %d behind the end of the log is %#x", i, c)
			}
		}
	})
}

func TestRecoveryAfterKill(t *testing.T) {
	t.Parallel()
	for _, row := range slices.Concat(logTails, otherTails) {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			d := damagedStore(t, true)
			row.damage(d)
			d.surviveTwice(tailMessages - row.lost)
		})
	}
}

// surviveTwice opens the store with n messages left, adds the lost ones again,
// and has it survive another kill and a clean stop.
func (d *tail) surviveTwice(n int) {
	d.t.Helper()
	s := open(d.t, d.cfg, Options{})
	s.holds(n)
	s.isZeroBehind()
	for i := n; i < tailMessages; i++ {
		s.put(tailMessage(i))
	}
	s.settled().holds(tailMessages)
	second := tailConfig(killImage(d.t, d.cfg))
	if err := s.Close(); err != nil {
		d.t.Fatal(err)
	}
	open(d.t, second, Options{}).holds(tailMessages)
	open(d.t, d.cfg, Options{}).holds(tailMessages)
}

func TestRecoveryAfterStop(t *testing.T) {
	t.Parallel()
	for _, row := range logTails {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			d := damagedStore(t, false)
			row.damage(d)
			d.surviveTwice(tailMessages - row.lost)
		})
	}
}

func TestLogIsGone(t *testing.T) {
	t.Parallel()
	d := damagedStore(t, true)
	d.remove("commitlog")
	s := open(t, d.cfg, Options{})
	s.holds(0)
	equal(t, s.Topics(), []string{})
	for i := range tailMessages {
		s.put(tailMessage(i))
	}
	s.settled().holds(tailMessages)
}

func TestStrangeFilesAreRefused(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, file string
		size       int64
	}{
		{"log file of another size", "commitlog/" + fileName(0), 999},
		{"stray file in the log", "commitlog/notes", 6 << 10},
		{"missing log file", "commitlog/" + fileName(5*6<<10), 6 << 10},
		{"consume queue file of another size", "consumequeue/T/0/" + fileName(0), 7},
		{"missing consume queue file", "consumequeue/T/0/" + fileName(3000), 1000},
		{"consume queue file between two", "consumequeue/T/1/" + fileName(1010), 1000},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			d := damagedStore(t, true)
			if err := os.WriteFile(d.path(row.file), make([]byte, row.size), 0o644); err != nil {
				t.Fatal(err)
			}
			if s, err := tryOpen(t, d.cfg, Options{}); err == nil {
				s.Close()
				t.Fatal("store opens")
			}
			os.Remove(d.path(row.file)) // and the lock is free again
			if row.size >= 1000 {       // what was overwritten stays lost
				open(t, d.cfg, Options{}).holds(tailMessages)
			}
		})
	}
}

// TestFirstOffsetOfALostQueue: consume queues are gone and the log begins late.
func TestFirstOffsetOfALostQueue(t *testing.T) {
	t.Parallel()
	d := damagedStore(t, true)
	d.remove("consumequeue")
	d.remove("index")
	d.remove("checkpoint")
	d.remove("commitlog/" + fileName(0))
	s := open(t, d.cfg, Options{})
	for q := range int32(2) {
		first := s.MinOffset("T", q)
		if first == 0 {
			t.Fatal("queue begins at 0 although the log does not")
		}
		bodies := s.bodies("T", q, first)
		equal(t, bodies[0], string(tailMessage(int(2*first)+int(q)).Body))
		equal(t, first+int64(len(bodies)), int64(tailMessages/2))
		var res GetResult
		s.Get(GetQuery{Topic: "T", Queue: q, MaxMessages: 1}, &res)
		equal(t, res.Status, OffsetTooSmall)
		equal(t, res.Next, first)
	}
}

// TestDamagedQueuesAreMadeAgain damages consume queues of stores that were killed
// or stopped, with an up to date checkpoint: nothing else would have them looked at.
func TestDamagedQueuesAreMadeAgain(t *testing.T) {
	t.Parallel()
	queueFile := "consumequeue/T/1/" + fileName(0)
	for _, row := range []struct {
		name   string
		damage func(d *tail)
	}{
		{"zeros in the middle", func(d *tail) { d.edit(queueFile, 5*cqUnitSize, func(b []byte) { clear(b[:2*cqUnitSize]) }) }},
		{"zeros at the start", func(d *tail) { d.edit(queueFile, 0, func(b []byte) { clear(b[:cqUnitSize]) }) }},
		{"negative size", func(d *tail) { d.edit(queueFile, 17*cqUnitSize+8, func(b []byte) { b[0] = 0x80 }) }},
		{"last unit points elsewhere", func(d *tail) {
			d.edit(queueFile, (tailMessages/2-1)*cqUnitSize, func(b []byte) { b[7] ^= 4 })
		}},
		{"last unit points beyond the log", func(d *tail) {
			d.edit(queueFile, (tailMessages/2-1)*cqUnitSize, func(b []byte) { b[2] ^= 4 })
		}},
		{"garbage behind the last unit", func(d *tail) { d.edit(queueFile, 40*cqUnitSize, func(b []byte) { b[3] = 7 }) }},
	} {
		for _, abort := range []bool{true, false} {
			t.Run(fmt.Sprint(row.name, "/abort=", abort), func(t *testing.T) {
				t.Parallel()
				d := damagedStore(t, abort)
				row.damage(d)
				log, text := logged()
				s := open(t, d.cfg, Options{Log: log})
				s.holds(tailMessages)
				if !strings.Contains(text.String(), "consume queue is damaged") || !strings.Contains(text.String(), queueFile) {
					t.Errorf("nobody says so: %s", text.String())
				}
				s.put(message("T", 1, "next"))
				equal(t, s.settled().bodies("T", 1, tailMessages/2), []string{"next"})
			})
		}
	}
}

// TestDamagedQueueOfExpiredRecords: a queue that the log knows nothing of any more
// does not hand out its offsets again.
func TestDamagedQueueOfExpiredRecords(t *testing.T) {
	t.Parallel()
	cfg := tailConfig(tempDir(t))
	s := open(t, cfg, Options{CleanAfter: time.Hour})
	for range 10 {
		s.put(message("Old", 0, "x"))
	}
	for i := range tailMessages {
		s.put(tailMessage(i))
	}
	s.settled().flushedAll().age(1)
	s.DeleteExpired()
	s.clean.clean(t.Context())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	d := &tail{t: t, cfg: cfg, size: cfg.MappedFileSizeCommitLog}
	d.edit("consumequeue/Old/0/"+fileName(0), 4*cqUnitSize, func(b []byte) { clear(b[:cqUnitSize]) })
	again := open(t, cfg, Options{})
	m := message("Old", 0, "new")
	again.put(m)
	equal(t, m.QueueOffset, 10)
	equal(t, again.settled().bodies("Old", 0, 10), []string{"new"})
}

// TestDamagedIndexAfterAStop: the newest index file is made again if header, slots
// and entries do not agree, or it is not there.
func TestDamagedIndexAfterAStop(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(d *tail){
		"no index":   func(d *tail) { d.remove("index") },
		"count":      func(d *tail) { d.edit(d.index(), 39, func(b []byte) { b[0] ^= 1 }) },
		"no count":   func(d *tail) { d.edit(d.index(), 36, func(b []byte) { clear(b[:4]) }) },
		"end offset": func(d *tail) { d.edit(d.index(), 26, func(b []byte) { b[0] ^= 0x40 }) },
		"end time":   func(d *tail) { d.edit(d.index(), 13, func(b []byte) { b[0] ^= 1 }) },
		"begin time": func(d *tail) { d.edit(d.index(), 5, func(b []byte) { b[0] ^= 1 }) },
		"slots":      func(d *tail) { d.edit(d.index(), indexHeaderSize, func(b []byte) { clear(b[:400]) }) },
		"key hash":   func(d *tail) { d.edit(d.index(), indexHeaderSize+400+indexEntrySize+2, func(b []byte) { b[0] ^= 1 }) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := damagedStore(t, false)
			damage(d)
			s := open(t, d.cfg, Options{})
			s.holds(tailMessages)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			open(t, d.cfg, Options{}).holds(tailMessages)
		})
	}
}
