package inspect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"rmqbench/refbroker/protocol"
)

const (
	indexHeader = 40
	indexUnit   = 20
)

// IndexFile is an index file, opened for reading.
type IndexFile struct {
	Path      string `json:"file"`
	BeginTime int64  `json:"beginTimestamp"`
	EndTime   int64  `json:"endTimestamp"`
	BeginPhys int64  `json:"beginPhysicalOffset"`
	EndPhys   int64  `json:"endPhysicalOffset"`
	SlotCount int32  `json:"hashSlotCount"` // slots in use
	Count     int32  `json:"indexCount"`    // number of the next entry

	slots int64 // in the file
	limit int64 // of Count
	file  *os.File
	buf   []byte
	first int64 // number of the entry that buf starts with
}

// Entry is an entry of an index file.
type Entry struct {
	Number  int32 `json:"number"`
	Hash    int32 `json:"keyHash"`
	Phys    int64 `json:"physicalOffset"`
	Seconds int32 `json:"seconds"` // since the file's begin timestamp
	Prev    int32 `json:"previous"`
}

// openIndexes opens the index files, oldest first, for as long as fn runs.
func (f *Folder) indexes() ([]string, error) {
	entries, err := os.ReadDir(f.path("index"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if _, err := strconv.ParseInt(e.Name(), 10, 64); err == nil && !e.IsDir() {
			paths = append(paths, f.path("index", e.Name()))
		}
	}
	return paths, nil
}

func (f *Folder) openIndex(path string) (*IndexFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	x := &IndexFile{Path: path, file: file, slots: int64(f.cfg.MaxHashSlotNum), limit: int64(f.cfg.MaxIndexNum)}
	var b [indexHeader]byte
	if _, err := file.ReadAt(b[:], 0); err != nil && !errors.Is(err, io.EOF) {
		file.Close()
		return nil, err
	}
	be := binary.BigEndian
	x.BeginTime, x.EndTime = int64(be.Uint64(b[:])), int64(be.Uint64(b[8:]))
	x.BeginPhys, x.EndPhys = int64(be.Uint64(b[16:])), int64(be.Uint64(b[24:]))
	x.SlotCount, x.Count = int32(be.Uint32(b[32:])), int32(be.Uint32(b[36:]))
	return x, nil
}

// entry reads an entry by its number.
func (x *IndexFile) entry(n int64) (Entry, error) {
	if n < x.first || n >= x.first+int64(len(x.buf)/indexUnit) {
		if x.buf == nil {
			x.buf = make([]byte, 4096*indexUnit)
		}
		x.buf, x.first = x.buf[:cap(x.buf)], n
		k, err := x.file.ReadAt(x.buf, indexHeader+4*x.slots+n*indexUnit)
		x.buf = x.buf[:k/indexUnit*indexUnit]
		if err != nil && !errors.Is(err, io.EOF) {
			return Entry{}, fmt.Errorf("read index entry %d: %w", n, err)
		}
		if len(x.buf) == 0 {
			return Entry{}, fmt.Errorf("%s ends before entry %d", x.Path, n)
		}
	}
	b, be := x.buf[(n-x.first)*indexUnit:], binary.BigEndian
	return Entry{int32(n), int32(be.Uint32(b)), int64(be.Uint64(b[4:])), int32(be.Uint32(b[12:])), int32(be.Uint32(b[16:]))}, nil
}

// indexCheck goes through all entries beside the log: both are in one order.
type indexCheck struct {
	files    []*IndexFile
	file     int   // of the next entry
	next     int64 // its number
	begin    int64 // records from here on should be in the index ...
	end      int64 // ... and up to here
	missing  int64 // keys of such records that are not
	lossFrom int64
	met      []int32        // hashes of the entries of a record ...
	taken    map[int32]bool // ... and those that its keys have asked for
}

func (v *verifier) loadIndex() error {
	v.index = &indexCheck{next: 1, begin: -1, taken: map[int32]bool{}}
	paths, err := v.f.indexes()
	if err != nil {
		return err
	}
	for i, path := range paths {
		x, err := v.f.openIndex(path)
		if err != nil {
			return err
		}
		ok, err := v.indexFile(x, i == len(paths)-1)
		if err != nil {
			return err
		}
		if ok {
			v.index.files = append(v.index.files, x)
		}
	}
	if files := v.index.files; len(files) > 0 {
		v.index.begin, v.index.end = files[0].BeginPhys, files[len(files)-1].EndPhys
	}
	return nil
}

// indexFile checks header, size and chains of one file.
func (v *verifier) indexFile(x *IndexFile, last bool) (bool, error) {
	info, err := x.file.Stat()
	if err != nil {
		return false, err
	}
	want := indexHeader + 4*x.slots + indexUnit*x.limit
	if info.Size() == 0 && last {
		v.found(Warning, x.Path, -1, "it is empty: a broker that ends between making a file and giving it its size leaves it so, and the next start gives it its size")
		return false, nil
	}
	if info.Size() != want {
		v.found(Error, x.Path, -1, "it has %d bytes, maxHashSlotNum=%d and maxIndexNum=%d make %d: give the broker's file with -c if it sets them", info.Size(), x.slots, x.limit, want)
		return false, nil
	}
	if x.Count < 0 || int64(x.Count) > x.limit || x.EndTime < x.BeginTime || x.EndPhys < x.BeginPhys {
		v.found(v.unsettled(), x.Path, 0, "its header (count %d, times %d to %d, offsets %d to %d) cannot be right: delete the file while the broker is stopped and the broker goes on without its keys", x.Count, x.BeginTime, x.EndTime, x.BeginPhys, x.EndPhys)
		return false, nil
	}
	return true, v.chains(x, last)
}

// chains follows the entries of a file in order and compares slots at the end.
func (v *verifier) chains(x *IndexFile, last bool) error {
	heads := make([]int32, x.slots)
	for n := int64(1); n < int64(x.Count); n++ {
		e, err := x.entry(n)
		if err != nil {
			return err
		}
		if e.Hash < 0 {
			v.found(v.unsettled(), x.Path, x.place(n), "entry %d has the negative key hash %d", n, e.Hash)
			continue
		}
		slot := int64(e.Hash) % x.slots
		if e.Prev != heads[slot] {
			v.found(v.unsettled(), x.Path, x.place(n), "entry %d leads to entry %d, the one before it in its slot is %d: queries miss keys", n, e.Prev, heads[slot])
		}
		heads[slot] = int32(n)
	}
	if last && v.f.Crashed {
		return nil // the slots of the open file are written when it is closed
	}
	return v.slots(x, heads)
}

func (x *IndexFile) place(n int64) int64 { return indexHeader + 4*x.slots + n*indexUnit }

func (v *verifier) slots(x *IndexFile, heads []int32) error {
	b := make([]byte, 64<<10)
	for at := int64(0); at < x.slots; at += int64(len(b) / 4) {
		k, err := x.file.ReadAt(b, indexHeader+4*at)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		for i := int64(0); i < int64(k/4) && at+i < x.slots; i++ {
			n := int32(binary.BigEndian.Uint32(b[4*i:]))
			if n < 0 || n > x.Count {
				n = 0
			}
			if n != heads[at+i] {
				v.found(Error, x.Path, indexHeader+4*(at+i), "slot %d leads to entry %d, its newest is %d: queries miss keys", at+i, n, heads[at+i])
			}
		}
	}
	return nil
}

// keyHash is the hash of a key in the index.
func keyHash(topic, key string) int32 {
	h := protocol.JavaHash(topic + "#" + key)
	if h == math.MinInt32 {
		return 0
	}
	return max(h, -h)
}

// inIndex compares the keys of a record with the index entries that come next.
func (v *verifier) inIndex(rec *Record, p *properties) error {
	x := v.index
	if err := v.meet(rec); err != nil {
		return err
	}
	if rec.At < x.begin || rec.At > x.end || x.begin < 0 {
		return nil
	}
	if p.uniqKey != "" {
		v.expect(rec, p.uniqKey)
	}
	for key := range strings.SplitSeq(p.keys, " ") {
		if key != "" {
			v.expect(rec, key)
		}
	}
	for range x.met {
		file, n := x.files[x.file], x.next-1
		v.found(Error, file.Path, file.place(n), "an entry near number %d points to byte %d of the log, whose record has no such key", n, rec.At)
	}
	return nil
}

// expect takes the entries for a key of the record out of those that were met.
// Java's recovery may enter the last record of a file once more.
func (v *verifier) expect(rec *Record, key string) {
	x := v.index
	hash, met := keyHash(rec.Topic, key), len(x.met)
	x.met = slices.DeleteFunc(x.met, func(h int32) bool { return h == hash })
	if len(x.met) < met || x.taken[hash] {
		x.taken[hash] = true
		v.report.Keys++
		return
	}
	if x.missing == 0 {
		x.lossFrom = rec.At
	}
	x.missing++
}

// meet collects the hashes of the entries that point to a record, and reports
// entries before it that point to none.
func (v *verifier) meet(rec *Record) error {
	x := v.index
	x.met = x.met[:0]
	clear(x.taken)
	for x.file < len(x.files) {
		file := x.files[x.file]
		if x.next >= int64(file.Count) {
			if x.file == len(x.files)-1 {
				return nil
			}
			x.file, x.next = x.file+1, 1
			continue
		}
		e, err := file.entry(x.next)
		if err != nil {
			return err
		}
		switch {
		case e.Phys > rec.At:
			return nil
		case e.Phys == rec.At:
			x.met = append(x.met, e.Hash)
			v.seconds(file, e, rec)
		case e.Phys >= v.f.log.first():
			v.found(Error, file.Path, file.place(x.next), "entry %d points to byte %d of the log, where no record starts", x.next, e.Phys)
		}
		x.next++
	}
	return nil
}

// seconds checks the time of an entry. The first of a file may be reckoned from
// the end of the file before it.
func (v *verifier) seconds(file *IndexFile, e Entry, rec *Record) {
	want := min(max((rec.StoreTimestamp-file.BeginTime)/1000, 0), math.MaxInt32)
	if e.Number > 1 && file.BeginTime > 0 && int64(e.Seconds) != want {
		v.found(Error, file.Path, file.place(int64(e.Number)), "entry %d says %d s after the file's begin, its record was stored %d s after it", e.Number, e.Seconds, want)
	}
}

func (v *verifier) finishIndex() error {
	x := v.index
	for _, file := range x.files {
		defer file.file.Close()
	}
	if x.missing > 0 {
		v.found(Warning, v.f.path("index"), -1, "%d keys of records from byte %d of the log on are not in the index: queries by key miss them", x.missing, x.lossFrom)
	}
	for ; x.file < len(x.files); x.file, x.next = x.file+1, 1 {
		file := x.files[x.file]
		if x.next < int64(file.Count) {
			e, err := file.entry(x.next)
			if err != nil {
				return err
			}
			v.found(v.unsettled(), file.Path, file.place(x.next), "%d entries from number %d on point behind the end of the log, the first to byte %d", int64(file.Count)-x.next, x.next, e.Phys)
		}
	}
	return nil
}
