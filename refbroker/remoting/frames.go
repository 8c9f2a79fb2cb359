package remoting

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"rmqbench/refbroker/protocol"
)

// Encoding is the encoding of a command's header.
type Encoding = protocol.Encoding

const (
	minReadBuffer = 4 << 10
	maxReadBuffer = 64 << 10
)

// frameClasses are the sizes of pooled frames; larger ones are not pooled.
var frameClasses = [...]int{512, 4 << 10, 64 << 10}

// requestPools hold Requests with a frame buffer of their class's size.
var requestPools [len(frameClasses)]sync.Pool

// newRequest returns a Request whose frame has length min(size, largest class).
func newRequest(size int) *Request {
	for class, limit := range frameClasses {
		if size > limit {
			continue
		}
		r, _ := requestPools[class].Get().(*Request)
		if r == nil {
			r = &Request{frame: make([]byte, limit), class: int8(class)}
		}
		r.frame = r.frame[:size]
		r.state.Store(live)
		return r
	}
	return &Request{frame: make([]byte, frameClasses[len(frameClasses)-1]), class: -1}
}

// recycle gives r back for another frame. Nothing may refer to it any more.
func (r *Request) recycle() {
	if r.class < 0 {
		return
	}
	if cap(r.Fields) > cap(r.fields) {
		r.fields = r.Fields[:0]
	}
	r.Command, r.response, r.Conn = protocol.Command{}, protocol.Command{}, nil
	requestPools[r.class].Put(r)
}

// frameReader cuts a stream into frames. Its buffer grows only when reads fill it.
type frameReader struct {
	src        io.Reader
	buf        []byte
	start, end int
	filled     bool // the last read filled it
	// beforeRead runs whenever the reader is about to wait for the peer.
	beforeRead func() error
	afterRead  func()
}

// next returns the next frame, without its length field, as a Request that is not decoded yet.
func (f *frameReader) next() (*Request, error) {
	if err := f.need(4); err != nil {
		return nil, err
	}
	size, err := protocol.FrameSize(f.buf[f.start:f.end])
	if err != nil {
		return nil, err
	}
	if size <= minReadBuffer/2 { // read on behind it rather than up to its end
		if err := f.need(4 + size); err != nil {
			return nil, err
		}
	}
	f.start += 4
	r := newRequest(size)
	n := copy(r.frame, f.buf[f.start:f.end])
	f.start += n
	if r.frame, err = f.rest(r.frame, n, size); err != nil {
		return nil, fmt.Errorf("frame of %d bytes: %w", size, err)
	}
	return r, nil
}

// rest fills frame, which has got its first n bytes, up to size. Memory follows
// the bytes that have come, not the length that was announced.
func (f *frameReader) rest(frame []byte, n, size int) ([]byte, error) {
	for n < size {
		if n == len(frame) {
			grown := make([]byte, min(2*len(frame), size))
			copy(grown, frame)
			frame = grown
		}
		m, err := f.read(frame[n:])
		if n += m; err != nil && n < size {
			return nil, unexpected(err)
		}
	}
	return frame, nil
}

// need buffers at least n bytes, which fit the smallest buffer.
func (f *frameReader) need(n int) error {
	for f.end-f.start < n {
		f.makeRoom()
		m, err := f.read(f.buf[f.end:])
		f.end += m
		f.filled = f.end == len(f.buf)
		if err != nil && f.end-f.start < n {
			if f.end > f.start {
				err = unexpected(err)
			}
			return err
		}
	}
	return nil
}

// makeRoom moves what is buffered to the front, of a larger buffer if the last
// read filled this one.
func (f *frameReader) makeRoom() {
	buf := f.buf
	switch {
	case buf == nil:
		buf = make([]byte, minReadBuffer)
	case f.filled && len(buf) < maxReadBuffer:
		buf = make([]byte, 4*len(buf))
	case f.start < f.end && f.end < len(buf):
		return
	}
	f.start, f.end, f.buf = 0, copy(buf, f.buf[f.start:f.end]), buf
	f.filled = false
}

func (f *frameReader) read(p []byte) (int, error) {
	if f.beforeRead != nil {
		if err := f.beforeRead(); err != nil {
			return 0, err
		}
	}
	n, err := f.src.Read(p)
	if f.afterRead != nil {
		f.afterRead()
	}
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	return n, err
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
