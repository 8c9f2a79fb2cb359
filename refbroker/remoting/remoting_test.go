package remoting

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rmqbench/refbroker/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Codes of the servers in these tests.
const (
	codeEcho   int32 = 1000 // answers with the request's body
	codeLater  int32 = 1001 // is answered when the test says so
	codePanics int32 = 1002
	codeInline int32 = 10 // echo in the reader
)

// rig is a server with handlers for the codes above, and a client.
type rig struct {
	t      *testing.T
	server *Server
	client *Client
	addr   string
	later  chan *Request
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func start(t *testing.T, so ServerOptions, co ClientOptions, setup func(*rig)) *rig {
	t.Helper()
	so.Log, co.Log = quiet(), quiet()
	g := &rig{t: t, server: NewServer(so), client: NewClient(co), later: make(chan *Request, 1000)}
	g.server.Handle(codeEcho, echo)
	g.server.Handle(codeInline, echo, Inline())
	g.server.Handle(codeLater, func(r *Request) { g.later <- r })
	g.server.Handle(codePanics, func(*Request) { panic("as the test wants") })
	if setup != nil {
		setup(g)
	}
	addr, err := g.server.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.addr = addr.String()
	t.Cleanup(func() {
		g.client.Close()
		g.server.Close()
	})
	return g
}

func echo(r *Request) {
	resp := r.Response()
	resp.Body = r.Body
	r.Reply(resp)
}

func (g *rig) invoke(code int32, body string) (*protocol.Command, error) {
	return g.client.Invoke(context.Background(), g.addr, &protocol.Command{Code: code, Body: []byte(body)})
}

func (g *rig) mustEcho(body string) {
	g.t.Helper()
	resp, err := g.invoke(codeEcho, body)
	if err != nil || string(resp.Body) != body {
		g.t.Fatalf("echo %q: %v, %v", body, resp, err)
	}
}

// raw is a plain connection to the server.
func (g *rig) raw() *net.TCPConn {
	g.t.Helper()
	c, err := net.Dial("tcp", g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func frame(t testing.TB, c protocol.Command) []byte {
	t.Helper()
	b, err := protocol.AppendCommand(nil, &c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readFrame reads one command off a plain connection.
func readFrame(t testing.TB, r io.Reader) (*protocol.Command, error) {
	t.Helper()
	if c, ok := r.(net.Conn); ok {
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
	}
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	var c protocol.Command
	return &c, protocol.DecodeCommand(b, &c)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestAnswersOutOfOrder(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{}, ClientOptions{}, nil)
	const n = 100
	answers := make(chan string, n)
	for i := range n {
		err := g.client.Go(g.addr, &protocol.Command{Code: codeLater, Body: fmt.Append(nil, i)}, func(resp *protocol.Command, err error) {
			if err != nil {
				answers <- err.Error()
				return
			}
			answers <- fmt.Sprintf("%d=%s", i, resp.Body)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var held []*Request
	for range n {
		held = append(held, <-g.later)
	}
	for i := range held { // the last first
		echo(held[n-1-i])
	}
	for range n {
		a := <-answers
		if asked, got, ok := strings.Cut(a, "="); !ok || asked != got {
			t.Errorf("answer %s", a)
		}
	}
}

func TestBusy(t *testing.T) {
	t.Parallel()
	pool := NewPool("test", 1, 2)
	entered, leave := make(chan bool, 10), make(chan bool)
	g := start(t, ServerOptions{}, ClientOptions{}, func(g *rig) {
		g.server.Handle(5, func(r *Request) { entered <- true; <-leave; echo(r) }, On(pool))
	})
	codes := make(chan *protocol.Command, 10)
	send := func() {
		t.Helper()
		err := g.client.Go(g.addr, &protocol.Command{Code: 5}, func(resp *protocol.Command, err error) {
			if err != nil {
				t.Error(err)
				resp = &protocol.Command{Code: -1}
			}
			codes <- &protocol.Command{Code: resp.Code, Remark: strings.Clone(resp.Remark)}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	send()
	<-entered // one runs
	send()
	send() // two wait
	eventually(t, "two wait", func() bool { return pool.Len() == 2 && pool.HeadWait() > 0 })
	if pool.Cap() != 2 || pool.Name() != "test" {
		t.Errorf("%s holds %d", pool.Name(), pool.Cap())
	}
	send()
	if c := <-codes; c.Code != protocol.RespSystemBusy || !strings.HasPrefix(c.Remark, "[OVERLOAD]") {
		t.Errorf("the fourth is answered %d %s", c.Code, c.Remark)
	}
	close(leave)
	for range 3 {
		if c := <-codes; c.Code != 0 {
			t.Errorf("one of the others is answered %d %s", c.Code, c.Remark)
		}
	}
	eventually(t, "the pool is idle", func() bool { return pool.Len() == 0 && pool.HeadWait() == 0 })
}

func TestMaxWait(t *testing.T) {
	t.Parallel()
	leave := make(chan bool)
	pool := NewPool("test", 1, 100).MaxWait(20 * time.Millisecond)
	g := start(t, ServerOptions{}, ClientOptions{}, func(g *rig) {
		g.server.Handle(5, func(r *Request) { <-leave; echo(r) }, On(pool))
	})
	codes := make(chan int32, 10)
	for range 3 {
		err := g.client.Go(g.addr, &protocol.Command{Code: 5}, func(resp *protocol.Command, err error) {
			if err != nil {
				t.Error(err)
				resp = &protocol.Command{Code: -1}
			} else if resp.Code != 0 && !strings.HasPrefix(resp.Remark, "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, period in queue: ") {
				t.Errorf("remark %q", resp.Remark)
			}
			codes <- resp.Code
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if a, b := <-codes, <-codes; a != protocol.RespSystemBusy || b != a { // while the first is still at work
		t.Errorf("waiting requests answered %d and %d", a, b)
	}
	close(leave)
	if c := <-codes; c != 0 {
		t.Errorf("the first is answered %d", c)
	}
}

func TestOneway(t *testing.T) {
	t.Parallel()
	var seen atomic.Int32
	g := start(t, ServerOptions{}, ClientOptions{}, func(g *rig) {
		g.server.Handle(5, func(r *Request) { seen.Add(1); echo(r) })
		g.server.Handle(6, func(r *Request) { seen.Add(1) })
		g.server.Handle(7, func(r *Request) { seen.Add(1); r.Error(1, "no") }, Inline())
	})
	c := g.raw()
	var all []byte
	for i, code := range []int32{5, 6, 7, 4711, codePanics} {
		all = append(all, frame(t, protocol.Command{Code: code, Opaque: int32(i), Flag: protocol.FlagOneway})...)
	}
	all = append(all, frame(t, protocol.Command{Code: codeInline, Opaque: 99})...)
	if _, err := c.Write(all); err != nil {
		t.Fatal(err)
	}
	if resp, err := readFrame(t, c); err != nil || resp.Opaque != 99 {
		t.Errorf("first answer %+v, %v: want the one to the only request that asks for it", resp, err)
	}
	eventually(t, "all are seen", func() bool { return seen.Load() == 3 })
	for range 3 {
		if err := g.client.Oneway(g.addr, &protocol.Command{Code: 5}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the client's too", func() bool { return seen.Load() == 6 })
}

func TestUnknownCodeAndPanic(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{}, ClientOptions{}, nil)
	resp, err := g.invoke(4711, "")
	if err != nil || resp.Code != protocol.RespRequestCodeNotSupported || resp.Remark != " request type 4711 not supported" {
		t.Errorf("%+v, %v", resp, err)
	}
	resp, err = g.invoke(codePanics, "")
	if err != nil || resp.Code != protocol.RespSystemError {
		t.Errorf("%+v, %v", resp, err)
	}
	g.mustEcho("alive")
}

func TestServerCallsClient(t *testing.T) {
	t.Parallel()
	told := make(chan string, 1)
	g := start(t, ServerOptions{}, ClientOptions{}, nil)
	g.client.Handle(40, func(r *Request) { told <- string(r.Body) })
	g.client.Handle(41, echo)
	if _, err := g.invoke(codeEcho, "hello"); err != nil {
		t.Fatal(err)
	}
	conn := g.server.Conns()[0]
	if err := conn.Oneway(&protocol.Command{Code: 40, Body: []byte("news")}); err != nil {
		t.Fatal(err)
	}
	if got := <-told; got != "news" {
		t.Errorf("told %s", got)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	resp, err := conn.Invoke(ctx, &protocol.Command{Code: 41, Body: []byte("question")})
	if err != nil || string(resp.Body) != "question" {
		t.Errorf("%+v, %v", resp, err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	if _, err = conn.Invoke(ctx, &protocol.Command{Code: 40, Body: []byte("no answer")}); !errors.Is(err, ErrTimeout) {
		t.Errorf("no answer: %v", err)
	}
	<-told
	if conn.InFlight() != 0 {
		t.Errorf("%d in flight", conn.InFlight())
	}
}

func TestHalfFrames(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{}, ClientOptions{}, nil)
	c := g.raw()
	c.SetNoDelay(true)
	small := frame(t, protocol.Command{Code: codeEcho, Opaque: 1, Body: []byte("small")})
	large := frame(t, protocol.Command{Code: codeEcho, Opaque: 2, Body: make([]byte, 300<<10)})
	for i := range small {
		if _, err := c.Write(small[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if resp, err := readFrame(t, c); err != nil || string(resp.Body) != "small" {
		t.Fatalf("byte by byte: %+v, %v", resp, err)
	}
	all := append(append(append([]byte{}, small...), large...), small...)
	for len(all) > 0 {
		n := min(len(all), 7001)
		if _, err := c.Write(all[:n]); err != nil {
			t.Fatal(err)
		}
		all = all[n:]
	}
	for range 3 {
		resp, err := readFrame(t, c)
		if err != nil || resp.Opaque == 2 != (len(resp.Body) == 300<<10) {
			t.Fatalf("in pieces: opaque %d, %d bytes, %v", resp.Opaque, len(resp.Body), err)
		}
	}
}

func TestBadFramesCloseWithoutAnswer(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{}, ClientOptions{}, nil)
	be := func(n ...uint32) (b []byte) {
		for _, x := range n {
			b = binary.BigEndian.AppendUint32(b, x)
		}
		return b
	}
	for name, bytes := range map[string][]byte{
		"too long":                 be(protocol.MaxFrame - 3),
		"negative":                 be(0xffffffff),
		"too short":                be(3),
		"header longer than frame": be(8, 5, 0),
		"unknown encoding":         append(be(8, 2<<24|4), "{}  "...),
		"garbage header":           append(be(8, 4), "garb"...),
		"text":                     []byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := g.raw()
			if _, err := c.Write(bytes); err != nil {
				t.Fatal(err)
			}
			if resp, err := readFrame(t, c); err == nil {
				t.Errorf("answered %+v", resp)
			} else if errors.Is(err, context.DeadlineExceeded) {
				t.Error("not closed")
			}
		})
	}
}

// greedy is an endless stream that notes the largest buffer it was given.
type greedy struct {
	head    []byte
	left    int
	largest int
}

func (g *greedy) Read(p []byte) (int, error) {
	g.largest = max(g.largest, len(p))
	if n := copy(p, g.head); n > 0 {
		g.head = g.head[n:]
		return n, nil
	}
	n := min(len(p), g.left)
	g.left -= n
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Memory follows the bytes that came, not the length that was announced.
func TestLengthAllocatesNothing(t *testing.T) {
	t.Parallel()
	src := &greedy{head: []byte{0, 0xff, 0, 0}, left: 1 << 20}
	f := frameReader{src: src}
	if _, err := f.next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	if src.largest > 1<<20 {
		t.Errorf("a buffer of %d bytes for 1 MiB of a frame that says 16", src.largest)
	}
}

func TestPeerDies(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{}, ClientOptions{}, nil)
	errs := make(chan error, 10)
	for range 10 {
		if err := g.client.GoTimeout(g.addr, &protocol.Command{Code: codeLater}, time.Hour, func(_ *protocol.Command, err error) { errs <- err }); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		<-g.later
	}
	ended := make(chan bool, 2)
	conn := g.server.Conns()[0]
	conn.OnClose(func() { ended <- true })
	conn.Close()
	for range 10 {
		if err := <-errs; !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), g.addr) {
			t.Errorf("in flight: %v", err)
		}
	}
	<-ended
	conn.OnClose(func() { ended <- true })
	<-ended // at once
	if err := conn.Oneway(&protocol.Command{}); !errors.Is(err, ErrClosed) {
		t.Errorf("on a dead connection: %v", err)
	}
	eventually(t, "the client connects again", func() bool {
		_, err := g.invoke(codeEcho, "again")
		return err == nil
	})
}

func TestReplyAfterDeath(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{}, ClientOptions{}, nil)
	go g.invoke(codeLater, "") //nolint:errcheck // it fails
	r := <-g.later
	r.Conn.Close()
	freed := make(chan bool, 1)
	r.ReplySegments(&protocol.Command{}, [][]byte{make([]byte, copyBelow)}, func() { freed <- true })
	<-freed
}

func TestCannotConnect(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{}, ClientOptions{DialTimeout: time.Second}, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	dead := l.Addr().String()
	for range 3 {
		if _, err := g.client.Invoke(context.Background(), dead, &protocol.Command{Code: codeEcho}); !errors.Is(err, ErrConnect) || !strings.Contains(err.Error(), dead) {
			t.Errorf("invoke: %v", err)
		}
	}
	if _, err := g.client.Dial(context.Background(), dead); !errors.Is(err, ErrConnect) {
		t.Errorf("dial: %v", err)
	}
	g.mustEcho("others work")
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{}, ClientOptions{}, nil)
	began := time.Now()
	errs := make(chan error, 1)
	err := g.client.GoTimeout(g.addr, &protocol.Command{Code: codeLater}, 30*time.Millisecond, func(_ *protocol.Command, err error) { errs <- err })
	if err != nil {
		t.Fatal(err)
	}
	if err := <-errs; !errors.Is(err, ErrTimeout) || time.Since(began) < 30*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	late := <-g.later
	g.mustEcho("next user of the slot")
	echo(late)
	g.mustEcho("after the late answer")

	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-g.later; cancel() }()
	if _, err := g.client.Invoke(ctx, g.addr, &protocol.Command{Code: codeLater}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestTooMany(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{}, ClientOptions{MaxInFlight: 20}, nil)
	var wg sync.WaitGroup
	for range 20 {
		wg.Add(1)
		if err := g.client.Go(g.addr, &protocol.Command{Code: codeLater}, func(*protocol.Command, error) { wg.Done() }); err != nil {
			t.Fatal(err)
		}
	}
	err := g.client.Go(g.addr, &protocol.Command{Code: codeEcho}, func(*protocol.Command, error) { t.Error("called though refused") })
	if !errors.Is(err, ErrTooMany) {
		t.Errorf("the 21st: %v", err)
	}
	for range 20 {
		echo(<-g.later)
	}
	wg.Wait()
	g.mustEcho("room again")
}

func TestManyConnections(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{}, ClientOptions{Conns: 100}, nil)
	const calls = 2000
	var wg sync.WaitGroup
	for i := range calls {
		code := codeEcho
		if i%2 == 0 {
			code = codeInline
		}
		want := strings.Repeat(fmt.Sprint(i, " "), i%700)
		wg.Add(1)
		err := g.client.Go(g.addr, &protocol.Command{Code: code, Body: []byte(want)}, func(resp *protocol.Command, err error) {
			if err != nil || string(resp.Body) != want {
				t.Errorf("call %d: %v", i, err)
			}
			wg.Done()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if n := len(g.server.Conns()); n != 100 {
		t.Errorf("%d connections", n)
	}
}

func TestManyCallersOfOneConnection(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{}, ClientOptions{}, nil)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := range 40 {
				want := fmt.Sprint(i, j, strings.Repeat("x", i*j))
				if resp, err := g.invoke([]int32{codeEcho, codeInline}[j%2], want); err != nil || string(resp.Body) != want {
					t.Errorf("%d %d: %v", i, j, err)
				}
			}
		}()
	}
	wg.Wait()
}

func TestEncodingFollowsRequest(t *testing.T) {
	t.Parallel()
	jsonEncoding := protocol.JSON
	for _, tc := range []struct {
		request, want Encoding
		forced        *Encoding
	}{{protocol.JSON, protocol.JSON, nil}, {protocol.Binary, protocol.Binary, nil}, {protocol.Binary, protocol.JSON, &jsonEncoding}} {
		g := start(t, ServerOptions{Encoding: tc.forced}, ClientOptions{Encoding: tc.request}, nil)
		resp, err := g.invoke(codeEcho, "x")
		if err != nil || resp.Encoding != tc.want || resp.Language != protocol.LanguageGo || resp.Version != protocol.Version || resp.Flag != protocol.FlagResponse {
			t.Errorf("asked in %d: %+v, %v", tc.request, resp, err)
		}
	}
}

// A request that is recycled must stay whole until it is answered, however
// many come and go meanwhile.
func TestRecycledRequestIsHeld(t *testing.T) {
	t.Parallel()
	held := make(chan *Request, 100)
	g := start(t, ServerOptions{}, ClientOptions{}, func(g *rig) {
		g.server.Handle(11, func(r *Request) { held <- r }, Inline())
	})
	var wg sync.WaitGroup
	for i := range 100 {
		want := fmt.Sprintf("held %d", i)
		wg.Add(1)
		err := g.client.Go(g.addr, &protocol.Command{Code: 11, Body: []byte(want), Fields: protocol.Fields{{Key: "k", Value: want}}}, func(resp *protocol.Command, err error) {
			defer wg.Done()
			if err != nil || string(resp.Body) != want+want {
				t.Errorf("%s: %v", want, err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := g.invoke(codeInline, fmt.Sprint("passes by ", i))
		if err != nil || string(resp.Body) != fmt.Sprint("passes by ", i) {
			t.Fatal(resp, err)
		}
	}
	for range 100 {
		r := <-held
		v, _ := r.Fields.Get("k")
		r.Reply(&protocol.Command{Body: append([]byte(v), r.Body...)})
	}
	wg.Wait()
}

func TestShutdownAnswersWhatIsInHand(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{}, ClientOptions{}, nil)
	answer := make(chan error, 1)
	go func() {
		resp, err := g.invoke(codeLater, "in hand")
		if err == nil && string(resp.Body) != "in hand" {
			err = fmt.Errorf("body %q", resp.Body)
		}
		answer <- err
	}()
	r := <-g.later
	down := make(chan error, 1)
	go func() { down <- g.server.Shutdown(context.Background()) }()
	eventually(t, "nobody is let in", func() bool {
		c, err := net.Dial("tcp", g.addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case err := <-down:
		t.Fatalf("down before the answer: %v", err)
	default:
	}
	echo(r)
	if err := <-answer; err != nil {
		t.Error(err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	if _, err := g.server.Listen("127.0.0.1:0"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("listens again: %v", err)
	}
}

func TestShutdownGivesUp(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{}, ClientOptions{}, nil)
	answer := make(chan error, 1)
	go func() { _, err := g.invoke(codeLater, ""); answer <- err }()
	<-g.later
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := g.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown: %v", err)
	}
	if err := <-answer; !errors.Is(err, ErrClosed) {
		t.Errorf("in hand: %v", err)
	}
}

func TestClosedClient(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{}, ClientOptions{}, nil)
	errs := make(chan error, 1)
	if err := g.client.Go(g.addr, &protocol.Command{Code: codeLater}, func(_ *protocol.Command, err error) { errs <- err }); err != nil {
		t.Fatal(err)
	}
	<-g.later
	g.client.Close()
	if err := <-errs; !errors.Is(err, ErrClosed) {
		t.Errorf("in flight: %v", err)
	}
	if _, err := g.invoke(codeEcho, ""); !errors.Is(err, ErrClosed) {
		t.Errorf("after: %v", err)
	}
	g.client.Close() // twice does no harm
}

func TestConnValue(t *testing.T) {
	t.Parallel()
	g := start(t, ServerOptions{}, ClientOptions{}, nil)
	g.mustEcho("x")
	c := g.server.Conns()[0]
	c.SetValue("mine")
	if c.Value() != "mine" || c.Remote() != c.Peer() || c.Local().String() != g.addr || c.Proxy() != nil {
		t.Errorf("%v %v %v %v", c.Value(), c.Remote(), c.Peer(), c.Local())
	}
}
