package remoting

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/refbroker/protocol"
)

func TestSlowReader(t *testing.T) {
	t.Parallel()
	const body = 256 << 10
	large := make([]byte, body)
	var served atomic.Int32
	g := start(t, ServerOptions{Pending: 1 << 20}, ClientOptions{}, func(g *rig) {
		g.server.Handle(5, func(r *Request) {
			served.Add(1)
			r.Reply(&protocol.Command{Body: large})
		}, Inline())
	})
	const n = 200
	slow := g.raw()
	for i := range n {
		if _, err := slow.Write(frame(t, protocol.Command{Code: 5, Opaque: int32(i)})); err != nil {
			t.Fatal(err)
		}
	}
	steady := func() bool { // the server has stopped: two looks apart see the same
		before := served.Load()
		g.mustEcho("others are served")
		time.Sleep(20 * time.Millisecond)
		return before > 0 && served.Load() == before
	}
	eventually(t, "the server waits", steady)
	if s := served.Load(); s == n {
		t.Errorf("all %d requests of a peer that does not read were served", s)
	}
	for i := range n {
		resp, err := readFrame(t, slow)
		if err != nil || int(resp.Opaque) != i || len(resp.Body) != body {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
}

// hold waits for n requests of codeLater. It gets them all before one is
// answered: a server whose peer does not read its answers reads no requests.
func (g *rig) hold(n int) []*Request {
	held := make([]*Request, n)
	for i := range held {
		held[i] = <-g.later
	}
	return held
}

func TestAsyncRepliesToSlowReader(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{Pending: 1 << 20, MaxPending: 8 << 20}, ClientOptions{}, nil)
	slow := g.raw()
	for i := range 300 {
		if _, err := slow.Write(frame(t, protocol.Command{Code: codeLater, Opaque: int32(i)})); err != nil {
			t.Fatal(err)
		}
	}
	body := make([]byte, 256<<10)
	for _, r := range g.hold(300) { // 75 MB in all: no reply may wait for the peer
		r.Reply(&protocol.Command{Body: body})
	}
	eventually(t, "the connection is closed", func() bool {
		return !slices.ContainsFunc(g.server.Conns(), func(c *Conn) bool { return c.Peer() == addrPort(slow.LocalAddr()) })
	})
	g.mustEcho("others are served")
}

func TestSegments(t *testing.T) {
	t.Parallel()
	var freed atomic.Int32
	mapped := make([]byte, 64<<10)
	for i := range mapped {
		mapped[i] = byte(i * 7)
	}
	free := func() { freed.Add(1) }
	g := start(t, ServerOptions{}, ClientOptions{}, func(g *rig) {
		for code, opts := range map[int32][]RouteOption{5: nil, 6: {Inline()}} {
			g.server.Handle(code, func(r *Request) {
				size := int(binary.BigEndian.Uint32(r.Body))
				r.ReplySegments(&protocol.Command{Remark: "r"}, [][]byte{mapped[:size/3], nil, mapped[size/3 : size]}, free)
			}, opts...)
		}
	})
	sizes := []int{0, 1, 100, copyBelow - 1, copyBelow, copyBelow + 1, 20000, len(mapped)}
	for _, code := range []int32{5, 6} {
		freed.Store(0)
		done := make(chan bool, 1000)
		for i := range 10 * len(sizes) {
			size := sizes[i%len(sizes)]
			cmd := &protocol.Command{Code: code, Body: binary.BigEndian.AppendUint32(nil, uint32(size))}
			err := g.client.Go(g.addr, cmd, func(resp *protocol.Command, err error) {
				if err != nil || resp.Remark != "r" || !bytes.Equal(resp.Body, mapped[:size]) {
					t.Errorf("code %d, %d bytes: %v", code, size, err)
				}
				done <- true
			})
			if err != nil {
				t.Fatal(err)
			}
			if i%3 == 0 { // answers of both kinds in one batch
				g.mustEcho("between")
			}
		}
		for range 10 * len(sizes) {
			<-done
		}
		eventually(t, "every one is released", func() bool { return int(freed.Load()) == 10*len(sizes) })
	}
}

func TestSegmentsTooLarge(t *testing.T) {
	t.Parallel()
	freed := make(chan bool, 1)
	g := start(t, ServerOptions{}, ClientOptions{}, func(g *rig) {
		g.server.Handle(5, func(r *Request) {
			r.ReplySegments(&protocol.Command{}, [][]byte{make([]byte, protocol.MaxFrame+1)}, func() { freed <- true })
		})
		g.server.Handle(6, func(r *Request) { r.Reply(&protocol.Command{Body: make([]byte, protocol.MaxFrame)}) })
	})
	for _, code := range []int32{5, 6} {
		if resp, err := g.invoke(code, ""); err != nil || resp.Code != protocol.RespSystemError || !strings.Contains(resp.Remark, "frame too large") {
			t.Errorf("code %d: %+v, %v", code, resp, err)
		}
	}
	<-freed
	_, err := g.client.Invoke(context.Background(), g.addr, &protocol.Command{Code: codeEcho, Body: make([]byte, protocol.MaxFrame)})
	if !errors.Is(err, protocol.ErrFrameTooLarge) {
		t.Errorf("request: %v", err)
	}
	g.mustEcho("still in step")
}

func TestSegmentsReleasedWhenPeerDies(t *testing.T) {
	t.Parallel()
	var freed atomic.Int32
	g := start(t, ServerOptions{}, ClientOptions{}, nil)
	slow := g.raw()
	const n = 100
	for i := range n {
		if _, err := slow.Write(frame(t, protocol.Command{Code: codeLater, Opaque: int32(i)})); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range g.hold(n) {
		r.ReplySegments(&protocol.Command{}, [][]byte{make([]byte, 1<<20)}, func() { freed.Add(1) })
	}
	slow.Close()
	eventually(t, "every one is released", func() bool { return freed.Load() == n })
}

func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	v2 := func(command, family byte, rest ...byte) string {
		return string(proxyV2Start) + string([]byte{0x20 | command, family}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(rest)))) + string(rest)
	}
	v4 := []byte{10, 1, 2, 3, 10, 4, 5, 6, 0x1f, 0x90, 0x23, 0x28}
	v6 := append(append(netip.MustParseAddr("2001:db8::1").AsSlice(), netip.MustParseAddr("2001:db8::2").AsSlice()...), 0, 1, 0, 2)
	source := netip.MustParseAddrPort("10.1.2.3:8080")
	destination := netip.MustParseAddrPort("10.4.5.6:9000")
	six := &ProxyHeader{Source: netip.MustParseAddrPort("[2001:db8::1]:1"), Destination: netip.MustParseAddrPort("[2001:db8::2]:2")}
	for _, tc := range []struct {
		name, head string
		want       *ProxyHeader // nil: the connection is closed
	}{
		{"v1", "PROXY TCP4 10.1.2.3 10.4.5.6 8080 9000\r\n", &ProxyHeader{Source: source, Destination: destination}},
		{"v1 IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", six},
		{"v1 unknown", "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", &ProxyHeader{}},
		{"v1 damaged", "PROXY TCP4 10.1.2 10.4.5.6 8080 9000\r\n", nil},
		{"v1 without an end", "PROXY TCP4 " + strings.Repeat("1", 200), nil},
		{"v1 of something else", "POST / HTTP/1.1\r\n", nil},
		{"v2", v2(1, 0x11, v4...), &ProxyHeader{Source: source, Destination: destination}},
		{"v2 with TLVs", v2(1, 0x11, append(v4, 4, 0, 0, 0xEA, 0, 2, 'v', 'p')...),
			&ProxyHeader{Source: source, Destination: destination, TLVs: []TLV{{4, []byte{}}, {0xEA, []byte("vp")}}}},
		{"v2 IPv6", v2(1, 0x21, v6...), six},
		{"v2 local", v2(0, 0), &ProxyHeader{}},
		{"v2 UNIX", v2(1, 0x31, make([]byte, 216)...), &ProxyHeader{}},
		{"v2 too short", v2(1, 0x11, v4[:8]...), nil},
		{"v2 TLV cut short", v2(1, 0x11, append(v4, 4, 0, 9, 1)...), nil},
		{"v2 too long", v2(1, 0x11, make([]byte, 5000)...), nil},
		{"v2 of another version", "\r\n\r\n\x00\r\nQUIT\n\x11\x11\x00\x00", nil},
		{"v2 of something else", "\r\n\r\nquit\r\nquit\r\nquit\r\n", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			seen := make(chan *Conn, 1)
			g := start(t, ServerOptions{}, ClientOptions{}, func(g *rig) {
				g.server.Handle(5, func(r *Request) { seen <- r.Conn; echo(r) })
			})
			c := g.raw()
			request := frame(t, protocol.Command{Code: 5})
			if _, err := io.WriteString(c, tc.head+string(request)); err != nil {
				t.Fatal(err)
			}
			resp, err := readFrame(t, c)
			if tc.want == nil {
				if err == nil {
					t.Errorf("answered %+v", resp)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			conn := <-seen
			if diff := cmp.Diff(tc.want, conn.Proxy(), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
			remote := addrPort(c.LocalAddr())
			if conn.Peer() != remote {
				t.Errorf("peer %v, want the socket's %v", conn.Peer(), remote)
			}
			if tc.want.Source.IsValid() {
				remote = tc.want.Source
			}
			if conn.Remote() != remote {
				t.Errorf("remote %v, want %v", conn.Remote(), remote)
			}
		})
	}
}

func TestProxyHeaderByteByByte(t *testing.T) {
	t.Parallel()
	for _, head := range []string{
		"PROXY TCP4 10.1.2.3 10.4.5.6 8080 9000\r\n",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x0a\x01\x02\x03\x0a\x04\x05\x06\x1f\x90\x23\x28",
	} {
		f := frameReader{src: iotest.OneByteReader(strings.NewReader(head + "rest"))}
		h, err := f.proxyV1()
		if head[0] != 'P' {
			f = frameReader{src: iotest.OneByteReader(strings.NewReader(head + "rest"))}
			h, err = f.proxyV2()
		}
		if err != nil || h.Source.String() != "10.1.2.3:8080" {
			t.Errorf("%q: %+v, %v", head, h, err)
		}
		if err := f.need(4); err != nil || string(f.buf[f.start:f.end]) != "rest" {
			t.Errorf("%q: left %q, %v", head, f.buf[f.start:f.end], err)
		}
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	config := &tls.Config{InsecureSkipVerify: true}
	for _, tc := range []struct {
		name          string
		mode          TLSMode
		plain, secure bool
	}{
		{"permissive", TLSPermissive, true, true},
		{"disabled", TLSDisabled, true, false},
		{"enforcing", TLSEnforcing, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, secure := range []bool{false, true} {
				co, want := ClientOptions{}, tc.plain
				if secure {
					co.TLS, want = config, tc.secure
				}
				g := start(t, ServerOptions{TLS: tc.mode}, co, nil)
				body := strings.Repeat("secret ", 30000)
				resp, err := g.invoke(codeEcho, body)
				if (err == nil) != want || err == nil && string(resp.Body) != body {
					t.Errorf("secure %v: %v, want success %v", secure, err, want)
				}
			}
		})
	}
}

func TestTLSSegmentsAndProxy(t *testing.T) {
	t.Parallel()
	remote := make(chan netip.AddrPort, 1)
	g := start(t, ServerOptions{}, ClientOptions{}, func(g *rig) {
		g.server.Handle(5, func(r *Request) {
			remote <- r.Conn.Remote()
			r.ReplySegments(&protocol.Command{}, [][]byte{make([]byte, 100<<10), []byte("end")}, nil)
		}, Inline())
	})
	c := g.raw()
	if _, err := io.WriteString(c, "PROXY TCP4 10.1.2.3 10.4.5.6 8080 9000\r\n"); err != nil {
		t.Fatal(err)
	}
	secure := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	if _, err := secure.Write(frame(t, protocol.Command{Code: 5})); err != nil {
		t.Fatal(err)
	}
	resp, err := readFrame(t, secure)
	if err != nil || len(resp.Body) != 100<<10+3 || !bytes.HasSuffix(resp.Body, []byte("end")) {
		t.Errorf("%v, %v", resp, err)
	}
	if got := (<-remote).String(); got != "10.1.2.3:8080" {
		t.Errorf("remote %s", got)
	}
}

// pair serves one end of a connection without the server's own sweeper, and
// returns both ends.
func (g *rig) pair(wrap func(net.Conn) net.Conn) (server *Conn, client net.Conn) {
	g.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { client.Close() })
	accepted, err := l.Accept()
	if err != nil {
		g.t.Fatal(err)
	}
	s := NewServer(ServerOptions{Log: quiet()})
	s.Handle(codeInline, echo, Inline())
	g.t.Cleanup(func() { s.Close() })
	s.begin(wrap(accepted))
	return s.Conns()[0], client
}

func TestIdleBySweep(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{}, ClientOptions{}, nil)
	conn, client := g.pair(func(c net.Conn) net.Conn { return c })
	now := time.Now()
	sweep := func(after time.Duration) bool {
		now = now.Add(after)
		conn.sweep(now.UnixNano())
		return conn.Closed()
	}
	talk := func() {
		t.Helper()
		if _, err := client.Write(frame(t, protocol.Command{Code: codeInline})); err != nil {
			t.Fatal(err)
		}
		if _, err := readFrame(t, client); err != nil {
			t.Fatal(err)
		}
	}
	talk()
	for i, step := range []struct {
		talk  bool
		after time.Duration
		want  bool
	}{
		{false, time.Second, false}, // sees that it talked
		{false, 119 * time.Second, false},
		{true, time.Second, false}, // it would have been too long
		{false, 119 * time.Second, false},
		{false, time.Second, true},
	} {
		if step.talk {
			talk()
		}
		if got := sweep(step.after); got != step.want {
			t.Errorf("step %d: closed %v, want %v", i, got, step.want)
		}
	}
	if _, err := readFrame(t, client); !errors.Is(err, io.EOF) {
		t.Errorf("the client sees %v", err)
	}
}

func TestIdle(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{Idle: 30 * time.Millisecond}, ClientOptions{}, nil)
	silent, half := g.raw(), g.raw()
	if _, err := half.Write([]byte{0, 0}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]net.Conn{"silent": silent, "half a frame": half} {
		if _, err := readFrame(t, c); !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v, want it to be closed", name, err)
		}
	}
	eventually(t, "nobody is left", func() bool { return len(g.server.Conns()) == 0 })
}

func TestClientIdle(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{}, ClientOptions{Idle: 50 * time.Millisecond}, nil)
	g.mustEcho("x")
	eventually(t, "the client closes", func() bool { return len(g.server.Conns()) == 0 })
	g.mustEcho("and connects again")
}

// countingConn counts writes.
type countingConn struct {
	net.Conn
	writes atomic.Int32
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func TestOneWritePerBatch(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{}, ClientOptions{}, nil)
	var counted *countingConn
	_, client := g.pair(func(c net.Conn) net.Conn {
		counted = &countingConn{Conn: c}
		return counted
	})
	var batch []byte
	n := int32(0)
	for len(batch) < minReadBuffer-200 {
		batch = append(batch, frame(t, protocol.Command{Code: codeInline, Opaque: n, Body: []byte("x")})...)
		n++
	}
	if _, err := client.Write(batch); err != nil { // one segment of the loopback: it comes in one read
		t.Fatal(err)
	}
	for i := range n {
		if resp, err := readFrame(t, client); err != nil || resp.Opaque != i {
			t.Fatalf("answer %d: %+v, %v", i, resp, err)
		}
	}
	if w := counted.writes.Load(); w != 1 || n < 20 {
		t.Errorf("%d writes for %d answers", w, n)
	}
}

func TestForcedEncoding(t *testing.T) {
	t.Setenv("ROCKETMQ_SERIALIZE_TYPE", "ROCKETMQ")
	g := start(t, ServerOptions{}, ClientOptions{}, nil)
	resp, err := g.invoke(codeEcho, "x")
	if err != nil || resp.Encoding != protocol.Binary {
		t.Errorf("%+v, %v", resp, err)
	}
}

func TestIgnoredRequest(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{}, ClientOptions{}, func(g *rig) {
		g.server.Handle(5, (*Request).Ignore)
		g.server.Handle(6, (*Request).Ignore, Inline())
	})
	c := g.raw()
	for i, code := range []int32{5, 6, codeInline} {
		if _, err := c.Write(frame(t, protocol.Command{Code: code, Opaque: int32(i)})); err != nil {
			t.Fatal(err)
		}
	}
	if resp, err := readFrame(t, c); err != nil || resp.Opaque != 2 {
		t.Errorf("answer %+v, %v", resp, err)
	}
	if err := g.server.Shutdown(context.Background()); err != nil { // it waits for nothing
		t.Error(err)
	}
}

// The steady state allocates nothing, neither in the server nor in the client.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget things: nothing to be measured")
	}
	const warm, n = 5000, 20000
	g := start(t, ServerOptions{}, ClientOptions{}, nil)
	c, err := g.client.Dial(context.Background(), g.addr)
	if err != nil {
		t.Fatal(err)
	}
	run := func(n int) {
		done := make(chan error, 1)
		left, flight := n, 0
		cmd := &protocol.Command{Code: codeInline, Header: sendRequest, Body: make([]byte, 1024)}
		tokens := make(chan bool, 32)
		var cb Callback = func(_ *protocol.Command, err error) {
			if err != nil {
				done <- err
			}
			tokens <- true
		}
		for left > 0 {
			for flight < cap(tokens) && left > 0 {
				if err := c.Go(cmd, time.Minute, cb); err != nil {
					t.Fatal(err)
				}
				flight++
				left--
			}
			<-tokens
			flight--
		}
		for ; flight > 0; flight-- {
			<-tokens
		}
		select {
		case err := <-done:
			t.Fatal(err)
		default:
		}
	}
	run(warm)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run(n)
	runtime.ReadMemStats(&after)
	if per := float64(after.Mallocs-before.Mallocs) / n; per > 0.05 {
		t.Errorf("%.3f allocations a message", per)
	}
}

// FuzzFrameReader feeds a stream in pieces of all sizes and compares with cutting it at once.
func FuzzFrameReader(f *testing.F) {
	one := frame(f, protocol.Command{Code: 5, Body: []byte("body")})
	f.Add(append(append([]byte{}, one...), one...), uint16(1))
	f.Add(frame(f, protocol.Command{Code: 5, Body: make([]byte, 5000)}), uint16(700))
	f.Add([]byte{0, 0, 0, 3}, uint16(9))
	f.Fuzz(func(t *testing.T, stream []byte, step uint16) {
		var want [][]byte
		for rest := stream; ; {
			if len(rest) < 4 {
				break
			}
			n, err := protocol.FrameSize(rest)
			if err != nil || len(rest) < 4+n {
				break
			}
			want = append(want, rest[4:4+n])
			rest = rest[4+n:]
		}
		r := frameReader{src: &stepReader{stream, int(step) + 1}}
		for i := 0; ; i++ {
			req, err := r.next()
			if err != nil {
				if i != len(want) {
					t.Fatalf("%d frames, want %d: %v", i, len(want), err)
				}
				return
			}
			if i >= len(want) || !bytes.Equal(req.frame, want[i]) {
				t.Fatalf("frame %d differs", i)
			}
			_ = protocol.DecodeCommand(req.frame, &req.Command) // must not panic
			req.recycle()
		}
	})
}

type stepReader struct {
	left []byte
	step int
}

func (s *stepReader) Read(p []byte) (int, error) {
	if len(s.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.step)], s.left)
	s.left = s.left[n:]
	return n, nil
}

func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 10.1.2.3 10.4.5.6 8080 9000\r\n"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x0a\x01\x02\x03\x0a\x04\x05\x06\x1f\x90\x23\x28"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, parse := range []func(*frameReader) (*ProxyHeader, error){(*frameReader).proxyV1, (*frameReader).proxyV2} {
			h, err := parse(&frameReader{src: bytes.NewReader(in)})
			if err == nil && h == nil {
				t.Error("neither header nor error")
			}
		}
	})
}
