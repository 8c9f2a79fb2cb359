package remoting

import (
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"rmqbench/refbroker/protocol"
)

const (
	copyBelow   = 8 << 10   // bodies smaller than it are copied rather than written apart
	writeChunk  = 1 << 20   // most bytes given to the system in one write
	keepBuffer  = 256 << 10 // output buffers larger than it are not kept
	directBelow = 32 << 10  // most bytes written by the caller itself
	directCalls = 2         // most calls in flight for that
	gatherMost  = 64 << 10  // bytes that are gathered before they are written all the same
)

// output is what waits to be written on a connection, guarded by its mutex.
//
// Whoever sets writing owns the socket's write side until it clears it, and
// clears it only once nothing waits. held says that the reader is busy with a
// batch of frames and will flush when it is through; gather, that somebody has
// several calls to make and will flush after them.
type output struct {
	buf     []byte // encoded commands
	parts   []part // bodies that go between them
	spare   []byte // the buffer last written, to be used again
	spares  []part
	head    []byte // rest of a write that was cut short; goes first
	held    bool
	gather  bool
	writing bool
	waiting bool // the reader waits for space
	writer  bool // the writer goroutine runs
	pending atomic.Int64
	space   sync.Cond
	wake    chan struct{}
	command protocol.Command // the one being encoded
	vector  net.Buffers      // what the one that is writing has left
	vectors net.Buffers      // its memory
	direct  directWrite
}

// part is a body that is written after the first end bytes of a buffer.
type part struct {
	end     int
	segs    [][]byte
	release func()
}

func (p *part) size() (n int64) {
	for _, s := range p.segs {
		n += int64(len(s))
	}
	return n
}

func (p *part) free() {
	if p.release != nil {
		p.release()
	}
}

func (o *output) empty() bool { return len(o.buf) == 0 && len(o.parts) == 0 && len(o.head) == 0 }

// append encodes cmd, with segs for a body if there are any.
func (o *output) append(cmd *protocol.Command, segs [][]byte, release func()) error {
	before := len(o.buf)
	if segs == nil {
		buf, err := protocol.AppendCommand(o.buf, cmd)
		if err != nil {
			return err
		}
		o.buf = buf
		o.pending.Add(int64(len(buf) - before))
		return nil
	}
	size := 0
	for _, s := range segs {
		size += len(s)
	}
	if size > protocol.MaxFrame {
		return fmt.Errorf("body of %d bytes: %w", size, protocol.ErrFrameTooLarge)
	}
	o.buf = protocol.AppendHead(o.buf, cmd, size)
	if size < copyBelow {
		for _, s := range segs {
			o.buf = append(o.buf, s...)
		}
		o.pending.Add(int64(len(o.buf) - before))
		return nil
	}
	o.parts = append(o.parts, part{len(o.buf), segs, release})
	o.pending.Add(int64(len(o.buf) - before + size))
	return nil
}

// drop forgets what waits and returns the parts to be freed.
func (o *output) drop() []part {
	parts := o.parts
	o.buf, o.parts, o.head, o.spare, o.spares = nil, nil, nil, nil, nil
	return parts
}

// send queues a response.
func (c *Conn) send(out *protocol.Command, segs [][]byte, release func()) {
	c.mu.Lock()
	o := &c.output
	if c.closed {
		c.mu.Unlock()
		if release != nil {
			release()
		}
		return
	}
	parts := len(o.parts)
	if err := o.append(out, segs, release); err != nil {
		*out = protocol.Command{Code: protocol.RespSystemError, Remark: err.Error(), Opaque: out.Opaque, Flag: out.Flag,
			Language: out.Language, Version: out.Version, Encoding: out.Encoding}
		o.append(out, nil, nil) //nolint:errcheck // a few bytes always fit
	}
	copied := len(o.parts) == parts
	tooMuch := o.pending.Load() > c.limits.pending
	if !o.held && !o.writing && c.nc != nil {
		c.wakeWriter()
	}
	c.mu.Unlock()
	if copied && release != nil {
		release()
	}
	if tooMuch {
		c.shut(errSlow)
	}
}

// flushSoon sees to it that what waits is written, without blocking. It is
// called with c.mu held and gives it up. A lone call is written by its caller,
// which saves it a change of goroutine; of many, the writer makes one write.
func (c *Conn) flushSoon(reader bool) {
	o := &c.output
	switch {
	case o.held || o.writing || c.nc == nil || o.empty() || o.gather && len(o.buf) < gatherMost:
		c.mu.Unlock()
	case c.raw == nil || len(o.parts) > 0 || len(o.head) > 0,
		!reader && (c.calls.inFlight > directCalls || len(o.buf) > directBelow):
		c.wakeWriter()
		c.mu.Unlock()
	default:
		c.writeDirect()
	}
}

// Gather has calls wait for Release, so that several of them leave in one write.
// Those of others wait too: Release has to follow soon.
func (c *Conn) Gather() {
	c.mu.Lock()
	c.output.gather = true
	c.mu.Unlock()
}

// Release writes what was gathered.
func (c *Conn) Release() {
	c.mu.Lock()
	c.output.gather = false
	c.flushSoon(len(c.output.buf) < gatherMost)
}

// writeDirect writes what the socket takes at once, and leaves the rest to the
// writer. It is called with c.mu held and gives it up.
func (c *Conn) writeDirect() {
	o := &c.output
	o.writing = true
	buf := o.buf
	o.buf, o.spare = o.spare[:0], nil
	c.mu.Unlock()
	n, err := o.direct.write(c.raw, buf)
	c.active.Store(true)
	c.mu.Lock()
	o.writing = false
	if n < len(buf) {
		o.head = buf[n:]
		buf = nil
	}
	c.written(int64(n), buf, nil)
	if err == nil && (len(o.head) > 0 || !o.held && !o.empty()) {
		c.wakeWriter()
	}
	c.mu.Unlock()
	if err != nil {
		c.shut(err)
	}
}

// wakeWriter has the writer goroutine flush, c.mu held.
func (c *Conn) wakeWriter() {
	if !c.output.writer {
		c.output.writer = true
		go c.writeLoop()
	}
	select {
	case c.output.wake <- struct{}{}:
	default:
	}
}

func (c *Conn) writeLoop() {
	for {
		select {
		case <-c.output.wake:
			c.flush()
		case <-c.done:
			return
		}
	}
}

// flush writes until nothing waits, unless somebody else is doing that already.
func (c *Conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := &c.output
	if o.writing || c.nc == nil {
		return
	}
	o.writing = true
	for !c.closed && !o.empty() {
		c.writeOnce()
	}
	o.writing = false
}

// writeOnce takes what waits and writes it. It gives c.mu up meanwhile.
func (c *Conn) writeOnce() {
	o := &c.output
	buf, parts := o.head, []part(nil)
	if len(buf) > 0 {
		o.head = nil
	} else {
		buf, parts = o.buf, o.parts
		o.buf, o.parts = o.spare[:0], o.spares[:0]
		o.spare, o.spares = nil, nil
	}
	c.mu.Unlock()
	err := c.write(buf, parts)
	n := int64(len(buf))
	for i := range parts {
		n += parts[i].size()
		parts[i].free()
	}
	c.mu.Lock()
	clear(parts)
	c.written(n, buf, parts)
	if err != nil {
		c.mu.Unlock()
		c.shut(err)
		c.mu.Lock()
	}
}

// waitForSpace waits until the peer has read enough. The writer, or whoever
// writes, is at work meanwhile.
func (c *Conn) waitForSpace() {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := &c.output
	o.waiting = true
	for !c.closed && o.pending.Load() > c.limits.pause {
		if !o.writing {
			c.wakeWriter()
		}
		o.space.Wait()
	}
	o.waiting = false
}

// written accounts for n bytes and keeps the buffers, c.mu held.
func (c *Conn) written(n int64, buf []byte, parts []part) {
	o := &c.output
	if cap(buf) <= keepBuffer && o.spare == nil {
		o.spare = buf[:0]
	}
	if parts != nil {
		o.spares = parts[:0]
	}
	if o.pending.Add(-n) <= c.limits.pause && o.waiting {
		o.space.Broadcast()
	}
}

// write writes buf with parts in between.
func (c *Conn) write(buf []byte, parts []part) error {
	o := &c.output
	v, size, from := o.vectors[:0], 0, 0
	for i := range parts {
		p := &parts[i]
		v = append(v, buf[from:p.end])
		size += p.end - from
		from = p.end
		for _, s := range p.segs {
			v = append(v, s)
			size += len(s)
		}
		if size < writeChunk {
			continue
		}
		if err := c.writeVector(v); err != nil {
			return err
		}
		v, size = v[:0], 0
	}
	o.vectors = v
	if len(v) > 0 {
		if err := c.writeVector(v); err != nil {
			return err
		}
	}
	return c.writeBuffer(buf[from:])
}

// writeVector writes all of v in as few writes as it takes.
func (c *Conn) writeVector(v net.Buffers) error {
	c.output.vector = v
	_, err := c.output.vector.WriteTo(c.nc)
	c.active.Store(true)
	return err
}

// writeBuffer writes all of buf, in pieces that show that there is progress.
func (c *Conn) writeBuffer(buf []byte) error {
	for len(buf) > 0 {
		n, err := c.nc.Write(buf[:min(len(buf), writeChunk)])
		if err != nil {
			return err
		}
		c.active.Store(true)
		buf = buf[n:]
	}
	return nil
}

// directWrite writes to a socket without ever waiting for it.
type directWrite struct {
	buf  []byte
	n    int
	err  error
	call func(fd uintptr) bool // made once, because making it allocates
}

// write returns how much the socket took.
func (d *directWrite) write(raw syscall.RawConn, buf []byte) (int, error) {
	if d.call == nil {
		d.call = d.attempt
	}
	d.buf, d.n, d.err = buf, 0, nil
	if err := raw.Write(d.call); err != nil {
		return 0, err
	}
	d.buf = nil
	return d.n, d.err
}

func (d *directWrite) attempt(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), d.buf)
		switch err {
		case nil:
			d.n = n
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
		default:
			d.err = os.NewSyscallError("write", err)
		}
		return true
	}
}
