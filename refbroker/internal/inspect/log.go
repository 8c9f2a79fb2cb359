package inspect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"rmqbench/refbroker/protocol"
)

// Record is a record of the commit log.
type Record struct {
	protocol.Message
	At    int64  // its offset in the log
	Bytes []byte // all of it; valid during the call it is given to
}

// blankSize is what the end of a log file keeps free: length and magic.
const blankSize = 8

// readAhead is how much of a log file is read at once.
const readAhead = 4 << 20

// reader goes through one file of the log.
type reader struct {
	file *os.File
	base int64
	size int64
	buf  []byte // what was read, from offset at on
	at   int64
}

func openReader(p piece, size int64) (*reader, error) {
	file, err := os.Open(p.path)
	if err != nil {
		return nil, err
	}
	return &reader{file: file, base: p.base, size: size, at: p.base}, nil
}

func (r *reader) end() int64 { return r.base + r.size }

// peek returns the bytes from an offset on: want of them, or what the file has.
func (r *reader) peek(at int64, want int) ([]byte, error) {
	want = int(min(int64(want), r.end()-at))
	if at >= r.at && at+int64(want) <= r.at+int64(len(r.buf)) {
		return r.buf[at-r.at : at-r.at+int64(want)], nil
	}
	n := int(min(int64(max(want, readAhead)), r.end()-at))
	if cap(r.buf) < n {
		r.buf = make([]byte, n)
	}
	r.buf, r.at = r.buf[:n], at
	k, err := r.file.ReadAt(r.buf, at-r.base)
	if k < n {
		clear(r.buf[k:])
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read at byte %d: %w", at-r.base, err)
	}
	return r.buf[:want], nil
}

// record decodes the record at an offset. A blank has size 0 and no error; what
// is no record wraps protocol.ErrBadRecord.
func (r *reader) record(at int64, rec *Record) (blank bool, err error) {
	head, err := r.peek(at, blankSize)
	if err != nil {
		return false, err
	}
	if len(head) < blankSize {
		return false, fmt.Errorf("%w: %d bytes left in the file, no room for the blank that ends it", protocol.ErrBadRecord, len(head))
	}
	if protocol.RecordMagic(head) == protocol.MagicBlank {
		return true, nil
	}
	size := int64(int32(binary.BigEndian.Uint32(head)))
	if size <= 0 || size > r.end()-at {
		return false, fmt.Errorf("%w: size %d with %d bytes left in the file", protocol.ErrBadRecord, size, r.end()-at)
	}
	b, err := r.peek(at, int(size))
	if err != nil {
		return false, err
	}
	if _, err := protocol.DecodeMessage(b, &rec.Message); err != nil {
		return false, err
	}
	rec.At, rec.Bytes = at, b
	return false, rec.check()
}

// check looks at what a decoded record says of itself.
func (r *Record) check() error {
	if r.PhysicalOffset != r.At {
		return fmt.Errorf("%w: it says that it belongs to offset %d", protocol.ErrBadRecord, r.PhysicalOffset)
	}
	if len(r.Body) > 0 && !r.VerifyBody() {
		return fmt.Errorf("%w: checksum of the body is %d, want %d", protocol.ErrBadRecord, protocol.BodyCRC(r.Body), r.BodyCRC)
	}
	if present, ok := protocol.VerifyMessageCRC(r.Bytes); present && !ok {
		return fmt.Errorf("%w: checksum property does not match", protocol.ErrBadRecord)
	}
	return nil
}

// next searches the file from an offset on for a record that belongs where it lies.
func (r *reader) next(at int64, rec *Record) (int64, bool, error) {
	for at < r.end() {
		b, err := r.peek(at, 1<<20)
		if err != nil {
			return 0, false, err
		}
		if len(b) < blankSize {
			break
		}
		i := magicIn(b)
		if i < 0 {
			at += int64(max(len(b)-blankSize+1, 1))
			continue
		}
		found := at + int64(i)
		if blank, err := r.record(found, rec); err == nil && !blank {
			return found, true, nil
		}
		at = found + 1
	}
	return 0, false, nil
}

// magicIn returns where a record could start in b, or -1.
func magicIn(b []byte) int {
	for from := 0; ; {
		i := bytes.Index(b[from:], []byte{0xDA, 0xA3, 0x20})
		if i < 0 || from+i+4 > len(b) {
			return -1
		}
		at := from + i
		if m := b[at+3]; at >= 4 && (m == 0xA7 || m == 0xAB) {
			return at - 4
		}
		from = at + 1
	}
}

// errStop ends a walk early.
var errStop = errors.New("stop")

// Records calls f for each record from an offset, which must be the start of
// one, to the end of the log. It returns where the log ends: the first thing
// that is no record, and why.
func (f *Folder) Records(from int64, fn func(*Record) error) (end int64, why, err error) {
	at := max(from, f.log.first())
	var rec Record
	for p, ok := f.log.find(at); ok; p, ok = f.log.find(at) {
		r, err := openReader(p, f.log.size)
		if err != nil {
			return at, nil, err
		}
		at, why, err = r.walk(at, &rec, fn)
		r.file.Close()
		if err != nil || why != nil {
			return at, why, err
		}
	}
	return at, nil, nil
}

// walk goes from record to record to the end of the file.
func (r *reader) walk(at int64, rec *Record, fn func(*Record) error) (int64, error, error) {
	for at < r.end() {
		blank, err := r.record(at, rec)
		if errors.Is(err, protocol.ErrBadRecord) {
			return at, err, nil
		}
		if err != nil {
			return at, nil, err
		}
		if blank {
			break
		}
		if err := fn(rec); err != nil {
			return at, nil, err
		}
		at += int64(rec.StoreSize)
	}
	return r.end(), nil, nil
}
