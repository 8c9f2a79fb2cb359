package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"rmqbench/refbroker/protocol"
)

const maxKeptSize = 128 << 10 // bytes of a frame worth keeping

// maxKept is how many frames of a kind are kept: more where messages are in them.
func maxKept(g golden) int {
	switch g.Request {
	case protocol.CodeSendMessage, protocol.CodeSendMessageV2, protocol.CodePullMessage, protocol.CodeHeartBeat:
		return 3
	}
	return 1
}

// sender makes one sender of all that share their code: what the Java client
// and mqadmin send has one form.
func sender(name string) string {
	if strings.HasPrefix(name, "java client") || name == "mqadmin" {
		return "java"
	}
	return name
}

// golden describes one recorded frame; index.json lists them.
type golden struct {
	File     string `json:"file"`
	From     string `json:"from"`
	To       string `json:"to"`
	Kind     string `json:"kind"`    // request, oneway or response
	Request  int32  `json:"request"` // code of the request, or of the one answered
	Code     int32  `json:"code"`
	Encoding string `json:"encoding"`

	frame []byte
}

// recorder keeps the first frames of each kind.
type recorder struct {
	mu    sync.Mutex
	kept  []golden
	count map[string]int
	label string // who opens connections now
	work  string // folder of the session, and what is written for it
	home  string
}

// newRecorder returns a recorder that keeps the folder work out of the frames.
func newRecorder(work string) *recorder {
	return &recorder{count: map[string]int{}, work: work, home: (anyHome + strings.Repeat("_", len(work)))[:len(work)]}
}

// anyHome stands for the folder of the session: cut or padded to its length, so
// that the lengths in the frames stay true.
const anyHome = "/home/rocketmq"

func (r *recorder) setLabel(label string) {
	r.mu.Lock()
	r.label = label
	r.mu.Unlock()
}

func (r *recorder) getLabel() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.label
}

// add keeps frame unless there are enough like it; one with a body is not like
// one without.
func (r *recorder) add(g golden, frame []byte, hasBody bool) {
	kind := fmt.Sprint(sender(g.From), g.Kind, g.Request, g.Code, g.Encoding, hasBody)
	if g.Request == protocol.CodeGetRouteInfoByTopic { // the form of the answer depends on who asks
		kind += g.To
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count[kind] == maxKept(g) || len(frame) > maxKeptSize {
		return
	}
	r.count[kind]++
	g.frame = bytes.ReplaceAll(frame, []byte(r.work), []byte(r.home))
	r.kept = append(r.kept, g)
}

// write stores the frames, sorted by what they are, and their index.
func (r *recorder) write(dir string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortStableFunc(r.kept, func(a, b golden) int {
		return cmp.Or(cmp.Compare(a.Encoding, b.Encoding), cmp.Compare(a.Request, b.Request),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.From, b.From), cmp.Compare(a.Code, b.Code))
	})
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := range r.kept {
		g := &r.kept[i]
		g.File = fmt.Sprintf("%03d-%s-%d-%s.bin", i, g.Encoding, g.Request, g.Kind)
		if err := os.WriteFile(filepath.Join(dir, g.File), g.frame, 0o644); err != nil {
			return err
		}
	}
	index, err := json.MarshalIndent(r.kept, "", " ")
	if err != nil {
		return err
	}
	fmt.Printf("%d frames in %s\n", len(r.kept), dir)
	return os.WriteFile(filepath.Join(dir, "index.json"), append(index, '\n'), 0o644)
}

// proxy passes connections on to target and records their frames.
type proxy struct {
	name   string // of the server behind
	target string
	rec    *recorder
	wg     sync.WaitGroup
}

// serve accepts until l is closed.
func (p *proxy) serve(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		c := &conversation{proxy: p, client: p.rec.getLabel(), asked: [2]map[int32]int32{{}, {}}}
		p.wg.Go(func() { c.pump(client, server, 0) })
		p.wg.Go(func() { c.pump(server, client, 1) })
	}
}

// conversation is one connection; direction 0 is from the client to the server.
type conversation struct {
	*proxy
	client string
	mu     sync.Mutex
	asked  [2]map[int32]int32 // by direction of the request: opaque → code
}

// pump copies whole frames until either side is gone.
func (c *conversation) pump(from, to net.Conn, direction int) {
	defer from.Close()
	defer to.Close()
	var length [4]byte
	for {
		if _, err := io.ReadFull(from, length[:]); err != nil {
			return
		}
		n, err := protocol.FrameSize(length[:])
		if err != nil {
			fmt.Fprintln(os.Stderr, c.client, c.name, err)
			return
		}
		frame := make([]byte, 4+n)
		copy(frame, length[:])
		if _, err := io.ReadFull(from, frame[4:]); err != nil {
			return
		}
		c.record(frame, direction)
		if _, err := to.Write(frame); err != nil {
			return
		}
	}
}

func (c *conversation) record(frame []byte, direction int) {
	var cmd protocol.Command
	if err := protocol.DecodeCommand(bytes.Clone(frame[4:]), &cmd); err != nil {
		fmt.Fprintln(os.Stderr, c.client, c.name, err)
	}
	g := golden{From: c.client, To: c.name, Kind: "request", Request: cmd.Code, Code: cmd.Code, Encoding: "json"}
	if binary.BigEndian.Uint32(frame[4:])>>24 == uint32(protocol.Binary) {
		g.Encoding = "rocketmq"
	}
	if direction == 1 {
		g.From, g.To = g.To, g.From
	}
	c.mu.Lock()
	switch {
	case cmd.IsResponse():
		g.Kind, g.Request = "response", c.asked[1-direction][cmd.Opaque]
	case cmd.IsOneway():
		g.Kind = "oneway"
	default:
		c.asked[direction][cmd.Opaque] = cmd.Code
	}
	c.mu.Unlock()
	c.rec.add(g, frame, len(cmd.Body) > 0)
}
