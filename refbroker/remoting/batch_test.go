package remoting

import (
	"fmt"
	"io"
	"net"
	"slices"
	"testing"

	"rmqbench/refbroker/protocol"
)

const codeBatched int32 = 11

// putOff answers after its batch.
type putOff struct {
	r     *Request
	event func(string)
}

func (p *putOff) Finish() {
	body := string(p.r.Body)
	p.event("finish " + body)
	if body == "panics" {
		panic("as the test wants")
	}
	resp := p.r.Response()
	resp.Body = []byte(body)
	p.r.Reply(resp)
}

// TestAfterBatch: what is read together is handled first and finished then, by
// a connection that ends, too, and in spite of one that panics.
func TestAfterBatch(t *testing.T) {
	t.Parallel()
	events := make(chan string, 20)
	event := func(s string) { events <- s }
	g := start(t, ServerOptions{}, ClientOptions{}, func(g *rig) {
		g.server.Handle(codeBatched, func(r *Request) {
			event("handle " + string(r.Body))
			r.Conn.AfterBatch(&putOff{r, event})
		}, Inline())
	})
	nc, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close() //nolint:errcheck // the test is over
	var frames []byte
	for i, body := range []string{"a", "panics", "b"} {
		frames, err = protocol.AppendCommand(frames, &protocol.Command{Code: codeBatched, Opaque: int32(i), Body: []byte(body)})
		if err != nil {
			t.Fatal(err)
		}
	}
	frames = append(frames, "\xff\xff\xff\xff no frame"...)
	if _, err := nc.Write(frames); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, nc) //nolint:errcheck // the server ends the connection
	var got []string
	for range 6 {
		got = append(got, <-events)
	}
	want := []string{"handle a", "handle panics", "handle b", "finish a", "finish panics", "finish b"}
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant %s", fmt.Sprint(got), want)
	}
	for range 3 { // and of a batch of one the answer comes
		resp, err := g.invoke(codeBatched, "alone")
		if err != nil || string(resp.Body) != "alone" {
			t.Errorf("%v, %v", resp, err)
		}
	}
}
