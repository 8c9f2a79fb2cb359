package load

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"runtime"
	"testing"

	"rmqbench/results"
	"rmqbench/workloads/driver"
)

func bodies() map[string]func() []byte {
	return map[string]func() []byte{
		"binary":   func() []byte { return bytes.Repeat([]byte{7}, 100) },
		"smallest": func() []byte { return make([]byte, IdentitySize) },
		"json": func() []byte {
			return []byte(IdentityJSONPrefix + string(bytes.Repeat([]byte{'0'}, 2*IdentitySize)) + `","sku":"s-1"}`)
		},
	}
}

// raw returns the identity as bytes.
func raw(body []byte) []byte {
	if !isJSON(body) {
		return body[:IdentitySize]
	}
	out, _ := hex.DecodeString(string(body[len(IdentityJSONPrefix) : len(IdentityJSONPrefix)+2*IdentitySize]))
	return out
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	id := Identity{Run: 0xfeedbeef12345678, Producer: 70_000, Sequence: 1 << 40, Intended: 1_800_000_000_123_456_789}
	for name, body := range bodies() {
		b := body()
		Stamp(b, id)
		if got, err := ReadIdentity(b); err != nil || got != id {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		for i := range b {
			for bit := range 8 {
				b[i] ^= 1 << bit
				if got, err := ReadIdentity(b); err == nil && (name != "json" || got != id) { // hex has two cases
					t.Errorf("%s: bit %d of byte %d flipped: %+v and no error", name, bit, i, got)
				}
				b[i] ^= 1 << bit
			}
		}
		if sum := crc32.Checksum(raw(b)[:offSum], castagnoli); sum != binary.BigEndian.Uint32(raw(b)[offSum:]) {
			t.Errorf("%s: the checksum is not the CRC-32C %x", name, sum)
		}
		b[len(b)-1] ^= 1
		if got, err := ReadIdentity(b); len(b) > IdentitySize && (!errors.Is(err, ErrCorrupt) || got != id) {
			t.Errorf("%s: damaged content: %+v, %v", name, got, err)
		}
	}
	small := []byte("too small")
	Stamp(small, id)
	if string(small) != "too small" {
		t.Error("a body without room was written to")
	}
}

func FuzzReadIdentity(f *testing.F) {
	for _, body := range bodies() {
		b := body()
		Stamp(b, Identity{Run: 1, Sequence: 2})
		f.Add(b)
	}
	f.Add([]byte(IdentityJSONPrefix))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := ReadIdentity(b)
		if err != nil {
			return
		}
		again := bytes.Clone(b)
		Stamp(again, id)
		if got, err := ReadIdentity(again); err != nil || got != id {
			t.Errorf("%+v became %+v, %v", id, got, err)
		}
	})
}

// oneLedger is the ledger of run 1 with one producer, and a group for each
// subscription: g, h, i …
func oneLedger(subscriptions ...string) *ledger {
	c := ledgerConfig{Run: 1, Producers: []ledgerProducer{{Topic: "t"}}}
	for i, tags := range subscriptions {
		c.Groups = append(c.Groups, ledgerGroup{Name: string(rune('g' + i)), Topic: "t", Tags: tags})
	}
	return newLedger(c)
}

// TestLedgerMemory: 200,000 messages, received up to ten thousand late
// and out of order, one in 40,000 lost, leave next to nothing behind.
func TestLedgerMemory(t *testing.T) {
	const n, window = 200_000, 10_000
	l := oneLedger("*")
	body := make([]byte, IdentitySize)
	receive := func(seq int64) {
		if seq%40_000 == 77 {
			return
		}
		Stamp(body, Identity{Run: 1, Sequence: seq})
		if _, d := l.receive(0, &driver.Received{Body: body, Broker: "b", Offset: seq}); d != deliveryFirst {
			t.Fatalf("message %d is not new", seq)
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	m := &driver.Message{}
	var late []int64
	for seq := range int64(n) {
		m.Sequence = seq
		l.send(m)
		l.resolve(m, &driver.Result{Broker: "b", Queue: 1, Offset: seq})
		if late = append(late, seq); len(late) == window {
			rnd.Shuffle(window, func(i, j int) { late[i], late[j] = late[j], late[i] })
			for _, s := range late {
				receive(s)
			}
			late = late[:0]
		}
	}
	if n := l.accounts[0].Places.Len(); n != 5 {
		t.Errorf("%d places for 5 lost messages", n)
	}
	got, _ := l.close(func(int) bool { return true })
	if got.Lost != 5 || got.Received != n-5 || got.Violations[2].Sequence != 80_077 || got.Violations[2].Offset != 80_077 {
		t.Errorf("lost %d, received %d, violations %+v", got.Lost, got.Received, got.Violations)
	}
}

// TestPlacesAreBounded: with everything acknowledged and nothing received, the
// ledger forgets places, not messages.
func TestPlacesAreBounded(t *testing.T) {
	t.Parallel()
	l := oneLedger("*")
	l.accounts[0].Places = results.NewPlaces(64, 36)
	for seq := range int64(1000) {
		m := &driver.Message{Sequence: seq}
		l.send(m)
		l.resolve(m, &driver.Result{Broker: "b", Offset: seq})
	}
	got, _ := l.close(func(int) bool { return true })
	if got.Lost != 1000 || len(got.Violations) != maxViolations || l.accounts[0].Places.Len() != 100 {
		t.Errorf("lost %d, %d named, %d places", got.Lost, len(got.Violations), l.accounts[0].Places.Len())
	}
}

// TestLostOrNotReached: a message that a group never got is lost when the
// group has consumed everything, or is well past it; else it may still come.
func TestLostOrNotReached(t *testing.T) {
	t.Parallel()
	const n = 5000
	for _, all := range []bool{false, true} {
		l := oneLedger("*")
		body := make([]byte, IdentitySize)
		for seq := range int64(n) {
			m := &driver.Message{Sequence: seq}
			l.send(m)
			l.resolve(m, &driver.Result{Broker: "b", Offset: seq})
			if Stamp(body, Identity{Run: 1, Sequence: seq}); seq < 4500 && seq != 100 && seq != 4000 {
				l.receive(0, &driver.Received{Body: body, Broker: "b", Offset: seq})
			}
		}
		got, _ := l.close(func(int) bool { return all })
		if want := map[bool]int64{false: 1, true: 502}[all]; got.Lost != want || got.Left != 502-want || got.Violations[0].Sequence != 100 {
			t.Errorf("consumed all %v: lost %d, left %d, first %+v", all, got.Lost, got.Left, got.Violations[0])
		}
	}
}

// TestReceivedBeforeAcknowledged: the consumer is often faster than the answer.
func TestReceivedBeforeAcknowledged(t *testing.T) {
	t.Parallel()
	l := oneLedger("*", "a || b")
	body := make([]byte, IdentitySize)
	Stamp(body, Identity{Run: 1})
	m := &driver.Message{Tag: "b"}
	l.send(m)
	l.receive(0, &driver.Received{Body: body, Tag: "b"})
	if expected := l.resolve(m, &driver.Result{}); expected != 2 {
		t.Errorf("expected by %d groups, want 2", expected)
	}
	if _, st := l.counts(); st != (ledgerState{inFlight: 0, outstanding: 1}) {
		t.Errorf("state %+v", st)
	}
	l.receive(1, &driver.Received{Body: body, Tag: "b"})
	if _, st := l.counts(); st != (ledgerState{}) || l.accounts[0].Places.Len() != 0 {
		t.Errorf("state %+v, places %v", st, l.accounts[0].Places.Len())
	}
}

// TestNoAllocationPerMessage: the generator's own garbage stays out of the latency.
func TestNoAllocationPerMessage(t *testing.T) {
	tg, plan := newTarget(), simplePlan(1, 1)
	plan.Producers[0].Size.A = 1024
	cfg := configOf(tg, plan)
	cfg.Driver = nullDriver{tg}
	e, err := newEngine(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.startProducers(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.start = e.clock.Now()
	p := e.pacers()[0]
	member := newMember(e.groups[0], 0)
	body := make([]byte, 1024)
	var r driver.Received
	seq := int64(0)
	one := func() {
		p.send(Arrival{Number: seq, Index: seq, Messages: 1}, false)
		Stamp(body, Identity{Run: e.runID, Sequence: seq, Intended: e.start.UnixNano()})
		r = driver.Received{Body: body, Broker: "b"}
		if err := member.handle(&r); err != nil {
			t.Fatal(err)
		}
		seq++
	}
	for range 5000 { // every slot's body and the first pages exist now
		one()
	}
	if n := testing.AllocsPerRun(20_000, one); n > 0 {
		t.Errorf("%.3f allocations a message, want none", n)
	}
	if got, _ := e.ledger.counts(); got.Received != seq || got.Acked != seq {
		t.Errorf("ledger %+v", got)
	}
	runtime.KeepAlive(e)
}

func BenchmarkIdentity(b *testing.B) {
	for name, body := range map[string][]byte{"binary": make([]byte, 1024), "json": append(bodies()["json"](), make([]byte, 900)...)} {
		b.Run(name+"/stamp", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Stamp(body, Identity{Run: 1})
			}
		})
		b.Run(name+"/read", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ReadIdentity(body)
			}
		})
	}
}
