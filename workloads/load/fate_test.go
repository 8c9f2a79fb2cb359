package load

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

// shareOf holds a count of draws to a share of them.
var usualLevels = delayLevels(&workloads.Plan{})

func shareOf(t *testing.T, what string, count, draws int, share float64) {
	t.Helper()
	if sd := math.Sqrt(float64(draws) * share * (1 - share)); math.Abs(float64(count)-float64(draws)*share) > 4*sd {
		t.Errorf("%s: %d of %d, expected %g ± %g", what, count, draws, float64(draws)*share, sd)
	}
}

// lively is a group whose messages have all that a generator can give them.
func lively() workloads.Producer {
	p := everything()
	p.Content = workloads.Content{Kind: workloads.ContentJSON, Template: `{"order":"{{key}}","step":"{{step}}","n":{{sequence}}}`}
	p.Keys = workloads.Keys{Kind: workloads.KeyFlow, Prefix: "o-", Steps: []string{"create", "pay", "ship", "receive"}, Open: 5}
	p.Tags = nil
	p.Properties = []workloads.Property{
		{Name: "region", Values: []workloads.Tag{{Name: "north", Weight: 3}, {Name: "south", Weight: 1}}},
		{Name: "amount", Number: workloads.Dist{Kind: workloads.DistUniform, A: -2, B: 3}},
		{Name: "weight", Number: workloads.Dist{Kind: workloads.DistExponential, A: 1000, Max: 1e6}},
	}
	p.Delay = workloads.Delay{After: workloads.Dist{Kind: workloads.DistUniform, A: 1e6, B: 5e6}, Share: .25}
	p.Transaction = workloads.Transaction{Commit: .5, Rollback: .2, Unknown: .3, CheckCommit: .75}
	p.Request = true
	return p
}

// TestFlow: each key has its steps in their order, as far apart as was asked.
func TestFlow(t *testing.T) {
	t.Parallel()
	p := lively()
	g, next, at := generatorOf(p, 1), map[string]int{}, map[string]int{}
	var m driver.Message
	const messages = 400
	whole := 0
	for i := range messages {
		g.Fill(&m, int64(i), 1)
		step := i % 4
		if m.Tag != p.Keys.Steps[step] {
			t.Fatalf("message %d has tag %s", i, m.Tag)
		}
		was, known := next[m.Key]
		if known && (was != step || i-at[m.Key] != 5*4+1) || !known && step > 0 && i >= 3*20+4 {
			t.Fatalf("message %d is step %d of %s, whose next was %d; %d messages after the last", i, step, m.Key, was, i-at[m.Key])
		}
		key := strings.Clone(m.Key)
		next[key], at[key] = step+1, i
		if step == 3 && i >= 3*21 {
			whole++
		}
		var o struct{ Order, Step string }
		if err := json.Unmarshal(m.Body, &o); err != nil || o.Order != m.Key || o.Step != m.Tag {
			t.Fatalf("message %d: %s, %v", i, m.Body, err)
		}
	}
	if whole < messages/4-20 {
		t.Errorf("%d keys lived their whole life", whole)
	}
	p.Tags = []workloads.Tag{{Name: "own", Weight: 1}}
	if generatorOf(p, 1).Fill(&m, 3, 1); m.Tag != "own" {
		t.Errorf("a group with tags of its own has tag %s", m.Tag)
	}
}

func TestProperties(t *testing.T) {
	t.Parallel()
	const draws = 50_000
	g, counts := generatorOf(lively(), 1), map[string]int{}
	var m driver.Message
	weight := 0.
	for i := range int64(draws) {
		g.Fill(&m, i, 1)
		if len(m.Properties) != 3 || m.Properties[0].Name != "region" || m.Properties[1].Name != "amount" {
			t.Fatalf("message %d has properties %v", i, m.Properties)
		}
		counts[strings.Clone(m.Properties[0].Value)]++
		counts[strings.Clone(m.Properties[1].Value)]++
		n, err := strconv.Atoi(m.Properties[2].Value)
		if err != nil || n < 0 || n > 1e6 {
			t.Fatalf("message %d has weight %q", i, m.Properties[2].Value)
		}
		weight += float64(n)
	}
	shareOf(t, "north", counts["north"], draws, .75)
	for n := -2; n <= 3; n++ {
		shareOf(t, fmt.Sprint("amount ", n), counts[strconv.Itoa(n)], draws, 1./6)
	}
	if len(counts) != 2+6 {
		t.Errorf("%d values", len(counts))
	}
	if mean := weight / draws; math.Abs(mean-1000) > 4*1000/math.Sqrt(draws) {
		t.Errorf("mean weight is %g, expected 1000", mean)
	}
}

func TestTransactions(t *testing.T) {
	t.Parallel()
	const draws = 50_000
	g, counts := generatorOf(lively(), 1), map[[2]driver.TxAction]int{}
	var m driver.Message
	out := 0
	for i := range int64(draws) {
		g.Fill(&m, i, 1)
		counts[[2]driver.TxAction{m.Transaction, m.Check}]++
		if hidden(&m) {
			out++
		}
		if !m.Request {
			t.Fatalf("message %d asks for no reply", i)
		}
	}
	for deed, share := range map[[2]driver.TxAction]float64{
		{driver.TxCommit, driver.TxCommit}: .5, {driver.TxRollback, driver.TxRollback}: .2,
		{driver.TxUnknown, driver.TxCommit}: .3 * .75, {driver.TxUnknown, driver.TxRollback}: .3 * .25,
	} {
		shareOf(t, fmt.Sprint("actions ", deed), counts[deed], draws, share)
	}
	if len(counts) != 4 {
		t.Errorf("actions %v", counts)
	}
	shareOf(t, "never to be seen", out, draws, .2+.3*.25)
	p := lively()
	p.Transaction = workloads.Transaction{}
	if generatorOf(p, 1).Fill(&m, 7, 1); m.Transaction != driver.TxNone || m.Check != driver.TxNone || hidden(&m) {
		t.Errorf("without transactions: %+v", m)
	}
}

func TestDelays(t *testing.T) {
	t.Parallel()
	const draws = 20_000
	p := lively()
	g, late := generatorOf(p, 1), 0
	m := driver.Message{Intended: time.Unix(1_800_000_000, 123_456_789)}
	for i := range int64(draws) {
		g.Fill(&m, i, 1)
		if m.DeliverAt.IsZero() {
			continue
		}
		late++
		after := m.DeliverAt.Sub(m.Intended)
		if after < time.Second-time.Millisecond || after > 5*time.Second+time.Millisecond || m.DeliverAt.Nanosecond()%1e6 != 0 || m.DelayLevel != 0 {
			t.Fatalf("message %d is due at %s, level %d", i, m.DeliverAt, m.DelayLevel)
		}
		stamp(&m, 1, usualLevels)
		if id, err := ReadIdentity(m.Body); err != nil || id.Due != m.DeliverAt.UnixMilli() || id.Hidden != hidden(&m) {
			t.Fatalf("identity %+v, %v", id, err)
		}
	}
	shareOf(t, "delayed", late, draws, .25)
	p.Delay = workloads.Delay{Level: 3, Share: 1}
	generatorOf(p, 1).Fill(&m, 1, 1)
	if due := dueTime(&m, usualLevels).Sub(m.Intended); m.DelayLevel != 3 || due != 10*time.Second {
		t.Errorf("level %d is due after %s", m.DelayLevel, due)
	}
	p.Delay = workloads.Delay{}
	if generatorOf(p, 1).Fill(&m, 1, 1); m.DelayLevel != 0 || !dueTime(&m, usualLevels).IsZero() {
		t.Errorf("a message without delay has level %d, due %s", m.DelayLevel, dueTime(&m, usualLevels))
	}
}

// TestBatchItems: the messages of a batch are those that would have been sent
// one by one, each with its own identity.
func TestBatchItems(t *testing.T) {
	t.Parallel()
	p := lively()
	p.Batch = 3
	g, one := generatorOf(p, 1), generatorOf(p, 1)
	var m, single driver.Message
	g.Fill(&m, 0, 3)
	g.Fill(&m, 0, 1) // the batch's arrays survive
	for _, index := range []int64{0, 3, 300} {
		m.Producer, m.Sequence = 2, index
		g.Fill(&m, index, 3)
		if m.Messages() != 3 || len(m.Body) != 0 || m.Key != "" || m.Tag != "" || len(m.Properties) != 0 {
			t.Errorf("a batch is %+v", m)
		}
		stamp(&m, 9, usualLevels)
		for i, item := range m.Batch {
			id, err := ReadIdentity(item.Body)
			if err != nil || id.Sequence != index+int64(i) || id.Producer != 2 || id.Run != 9 {
				t.Errorf("item %d has identity %+v, %v", i, id, err)
			}
			one.Fill(&single, index+int64(i), 1)
			Stamp(single.Body, id)
			if !bytes.Equal(single.Body, item.Body) || single.Key != item.Key || single.Tag != item.Tag {
				t.Errorf("item %d of batch %d is not message %d", i, index, index+int64(i))
			}
			if diff := cmp.Diff(single.Properties, item.Properties); diff != "" {
				t.Errorf("properties (-message +item):\n%s", diff)
			}
		}
	}
	if n := payload(&m); n != int64(len(m.Batch[0].Body)+len(m.Batch[1].Body)+len(m.Batch[2].Body)) {
		t.Errorf("payload %d", n)
	}
	var o struct{ N int64 }
	if err := json.Unmarshal(m.Batch[1].Body, &o); err != nil || o.N != 300/3/3*3+1 {
		t.Errorf("message 301 of three producers and batches of three has sequence %d, %v", o.N, err)
	}
}

// TestFileContent: bodies are stretches of the file from anywhere, around its
// end, and never look as if they were JSON of ours.
func TestFileContent(t *testing.T) {
	t.Parallel()
	data := []byte(strings.Repeat(IdentityJSONPrefix, 40))
	for i := range data[:200] {
		data[i] = byte(i)
	}
	p := workloads.Producer{Size: fixed(1000), Content: workloads.Content{Kind: workloads.ContentFile, Data: data}}
	g, starts := generatorOf(p, 1), map[int]bool{}
	endless := bytes.Repeat(data, 6)
	var m driver.Message
	for i := range int64(2000) {
		g.Fill(&m, i, 1)
		Stamp(m.Body, Identity{Run: 1, Sequence: i})
		if id, err := ReadIdentity(m.Body); err != nil || id.Sequence != i || len(m.Body) != 1000 {
			t.Fatalf("message %d of %d bytes: %+v, %v", i, len(m.Body), id, err)
		}
		at := bytes.Index(endless, m.Body[IdentitySize:])
		if at < 0 {
			t.Fatalf("message %d is no stretch of the file", i)
		}
		starts[at%len(data)] = true
	}
	if len(starts) < len(data)*9/10 {
		t.Errorf("stretches begin at %d of %d places", len(starts), len(data))
	}
	p.Content.Data = nil
	if generatorOf(p, 1).Fill(&m, 1, 1); len(m.Body) != 1000 {
		t.Errorf("without data a body has %d bytes", len(m.Body))
	}
}

func TestEmpirical(t *testing.T) {
	t.Parallel()
	const draws = 100_000
	values := []workloads.Weighted{{Value: 64, Weight: 0}, {Value: 100, Weight: 6}, {Value: 5000, Weight: 3}, {Value: 200, Weight: 1}, {Value: 7, Weight: 0}}
	s, counts := NewSampler(workloads.Dist{Kind: workloads.DistEmpirical, Values: values}, 3), map[float64]float64{}
	for range draws {
		counts[s.Next()]++
	}
	got, want := []float64{counts[100], counts[5000], counts[200]}, []float64{.6 * draws, .3 * draws, .1 * draws}
	if chi, limit := chiSquare(got, want); chi > limit || len(counts) != 3 {
		t.Errorf("drew %v: chi-square is %.1f, limit %.1f", counts, chi, limit)
	}
	if v := NewSampler(workloads.Dist{Kind: workloads.DistEmpirical}, 3).Next(); v != 0 {
		t.Errorf("nothing to choose from gives %g", v)
	}
}

// TestKeyOfAMessage: the key is known without making the message, and the
// producer that it belongs to is the same on every machine.
func TestKeyOfAMessage(t *testing.T) {
	t.Parallel()
	for _, kind := range []workloads.KeyKind{workloads.KeyNone, workloads.KeyUniform, workloads.KeyZipf, workloads.KeySequential, workloads.KeyFlow} {
		p := lively()
		p.Tags = everything().Tags
		p.Keys.Kind, p.Keys.Count, p.Keys.S, p.Ordered, p.Count = kind, 1000, 1.1, true, 4
		g := generatorOf(p, 1)
		owners := make([]int, p.Count)
		var m driver.Message
		for i := range int64(2000) {
			g.Fill(&m, i, 1)
			if key := g.Key(i); key != m.Key {
				t.Fatalf("%s: the key of message %d is %q, Key says %q", kind, i, m.Key, key)
			}
			owners[g.Owner(m.Key)]++
		}
		if kind == workloads.KeySequential {
			for o, n := range owners {
				shareOf(t, fmt.Sprint("owner ", o), n, 2000, .25)
			}
		}
	}
	if h := keyHash("o-4711"); h != 0x731744908e2c449a {
		t.Errorf("the hash of a key was never %#x", h)
	}
}

// TestFailing: a consumer fails the stated share of the messages, each as often
// as was said, whoever asks and in which order.
func TestFailing(t *testing.T) {
	t.Parallel()
	const messages = 50_000
	count := func(f workloads.Fail, seed uint64, group, attempt int) (n int) {
		for i := range messages {
			if failing(f, seed, group, Identity{Run: uint64(i), Producer: i % 7, Sequence: int64(i / 7), Intended: int64(i)}, attempt) {
				n++
			}
		}
		return n
	}
	f := workloads.Fail{Share: .1, Attempts: 2}
	shareOf(t, "first attempt", count(f, 1, 0, 0), messages, .1)
	shareOf(t, "all fail", count(workloads.Fail{Share: 1, Attempts: 1}, 1, 0, 0), messages, 1)
	if n := count(f, 1, 0, 2) + count(workloads.Fail{Attempts: -1}, 1, 0, 0); n != 0 {
		t.Errorf("%d failed that should not", n)
	}
	forever := workloads.Fail{Share: .1, Attempts: -1}
	both, other := 0, 0
	for i := range int64(messages) {
		id := Identity{Sequence: i}
		again := failing(f, 1, 0, Identity{Sequence: i, Run: 99, Intended: 5, Due: 7}, 1)
		if first := failing(f, 1, 0, id, 0); first != again || first != failing(forever, 1, 0, id, 100) {
			t.Fatalf("message %d fails once and not again", i)
		} else if first && failing(f, 1, 1, id, 0) {
			both++
		} else if first && failing(f, 2, 0, id, 0) {
			other++
		}
	}
	shareOf(t, "failed by two groups", both, messages, .01)
	shareOf(t, "failed with two seeds", other, messages, .09*.1)
}

func TestFillAllocatesNothingWithAll(t *testing.T) {
	p := lively()
	for name, n := range map[string]int{"single": 1, "batch": 8} {
		p.Batch = n
		g := generatorOf(p, 1)
		m := driver.Message{Intended: time.Unix(1, 0)}
		i := int64(0)
		one := func() { g.Fill(&m, i, n); stamp(&m, 1, usualLevels); i += int64(n) }
		for range 5000 {
			one()
		}
		if got := testing.AllocsPerRun(2000, one); got != 0 {
			t.Errorf("%s: %g allocations a send", name, got)
		}
	}
}
