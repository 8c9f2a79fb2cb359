package load

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

// generatorOf is the generator of a group of one workload.
func generatorOf(p workloads.Producer, seed uint64) *Generator {
	return NewGenerator(&workloads.Plan{Seed: seed, Producers: []workloads.Producer{p}}, 0)
}

func fixed(n float64) workloads.Dist { return workloads.Dist{Kind: workloads.DistFixed, A: n} }

const order = `{"sku":"{{key}}","order":{{sequence}},"server":{{producer}},"items":[{"n":1}]}`

// everything is a group that uses all that a generator can do.
func everything() workloads.Producer {
	return workloads.Producer{
		Name: "p", Count: 3,
		Size:    workloads.Dist{Kind: workloads.DistLogNormal, A: 1024, B: .5, Min: 256, Max: 8192},
		Content: workloads.Content{Kind: workloads.ContentJSON, Template: order},
		Keys:    workloads.Keys{Kind: workloads.KeyZipf, Count: 1000, S: 1.1, Prefix: "sku-"},
		Tags:    []workloads.Tag{{Name: "a", Weight: 8}, {Name: "b", Weight: 1.5}, {Name: "c", Weight: .5}, {Name: "never", Weight: 0}},
	}
}

func TestMessagesArePure(t *testing.T) {
	t.Parallel()
	for _, p := range []workloads.Producer{everything(), lively()} {
		messagesArePure(t, p)
	}
}

func messagesArePure(t *testing.T, p workloads.Producer) {
	one, other := generatorOf(p, 1), generatorOf(p, 1)
	at := time.Unix(1_800_000_000, 0)
	m, n := driver.Message{Intended: at}, driver.Message{Intended: at}
	for i := range int64(500) {
		one.Fill(&m, i, 1)
		other.Fill(&n, 499-i, 1)
		other.Fill(&n, i, 1) // the order in which messages are made does not matter
		if diff := cmp.Diff(m, n); diff != "" {
			t.Fatalf("message %d differs: %s", i, diff)
		}
	}
	generatorOf(p, 2).Fill(&n, 499, 1)
	if bytes.Equal(m.Body, n.Body) {
		t.Error("another seed gives the same message")
	}
}

// TestMessagesArePinned holds messages to what they have always been.
func TestMessagesArePinned(t *testing.T) {
	t.Parallel()
	p := everything()
	for _, c := range []struct {
		kind workloads.ContentKind
		want string
	}{
		{workloads.ContentJSON, "713 4eb4382c sku-0 a"},
		{workloads.ContentRandom, "713 8da8d74c sku-0 a"},
		{workloads.ContentCompressible, "713 fcd633c2 sku-0 a"},
	} {
		p.Content.Kind, p.Content.Ratio = c.kind, .5
		var m driver.Message
		g := generatorOf(p, 1)
		g.Fill(&m, 8, 1)
		if got := fmt.Sprintf("%d %08x %s %s", len(m.Body), crc32.ChecksumIEEE(m.Body), m.Key, m.Tag); got != c.want {
			t.Errorf("%s: message 8 is %q, was %q", c.kind, got, c.want)
		}
	}
}

func TestFillAllocatesNothing(t *testing.T) {
	p := everything()
	for _, kind := range []workloads.ContentKind{workloads.ContentJSON, workloads.ContentRandom, workloads.ContentCompressible, workloads.ContentZero} {
		p.Content.Kind, p.Content.Ratio = kind, .5
		g := generatorOf(p, 1)
		m := driver.Message{Body: make([]byte, 0, 16<<10)}
		i := int64(0)
		g.Fill(&m, i, 1)
		if n := testing.AllocsPerRun(2000, func() { i++; g.Fill(&m, i, 1) }); n != 0 {
			t.Errorf("%s: %g allocations a message", kind, n)
		}
	}
}

// TestJSON: every body is a JSON object with the right members, as long as asked
// for, before and after it has got its identity.
func TestJSON(t *testing.T) {
	t.Parallel()
	least := len(IdentityJSONPrefix) + 2*IdentitySize
	for _, text := range []string{order, "{}", " { } ", `{"a":[{"b":"}"}]}`, `{"k":"{{key}}{{key}}-{{sequence}}"}`} {
		p := everything()
		p.Content.Template = text
		for size := workloads.MinSize; size < least+220; size++ {
			p.Size = fixed(float64(size))
			var m driver.Message
			generatorOf(p, 1).Fill(&m, int64(size), 1)
			checkJSON(t, m.Body, text)
			id := Identity{Run: 5, Producer: 1, Sequence: int64(size), Intended: 99}
			Stamp(m.Body, id)
			checkJSON(t, m.Body, text)
			if got, err := ReadIdentity(m.Body); err != nil || got != id {
				t.Fatalf("identity of %s is %+v, %v", m.Body, got, err)
			}
			if len(m.Body) != size && (len(m.Body) < size || bytes.Contains(m.Body, []byte(`"pad"`)) || bytes.Contains(m.Body, []byte("  "))) {
				t.Fatalf("template %s: body has %d bytes, asked for %d: %s", text, len(m.Body), size, m.Body)
			}
		}
	}
}

func checkJSON(t *testing.T, body []byte, text string) {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal(body, &members); err != nil {
		t.Fatalf("template %s: %v: %s", text, err, body)
	}
	if id, ok := members["id"].(string); !ok || len(id) != 2*IdentitySize {
		t.Fatalf("template %s: no identity in %s", text, body)
	}
}

func TestJSONFields(t *testing.T) {
	t.Parallel()
	p := everything()
	g := generatorOf(p, 1)
	for i := range int64(30) {
		var m driver.Message
		g.Fill(&m, i, 1)
		var o struct {
			Sku           string
			Order, Server int64
			Pad           string
		}
		if err := json.Unmarshal(m.Body, &o); err != nil {
			t.Fatal(err)
		}
		if o.Sku != m.Key || o.Order != i/3 || o.Server != i%3 || !strings.HasPrefix(m.Key, "sku-") || len(o.Pad) == 0 {
			t.Errorf("message %d with key %s is %+v", i, m.Key, o)
		}
	}
}

func TestKeyAndBodyShareNothing(t *testing.T) {
	t.Parallel()
	p := everything()
	p.Content.Kind = workloads.ContentRandom
	g := generatorOf(p, 1)
	var m driver.Message
	g.Fill(&m, 1, 1)
	key := strings.Clone(m.Key)
	for i := range m.Body {
		m.Body[i] = 0xff
	}
	if m.Key != key {
		t.Errorf("writing the body changed the key from %q to %q", key, m.Key)
	}
}

func TestCompressible(t *testing.T) {
	t.Parallel()
	for _, size := range []int{256, 512, 1 << 10, 2 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10} {
		for _, ratio := range []float64{.05, .1, .25, .5, .75, .9, .97, 1} {
			if ratio*float64(size) < IdentitySize {
				continue // the identity alone takes more
			}
			p := workloads.Producer{Size: fixed(float64(size)), Content: workloads.Content{Kind: workloads.ContentCompressible, Ratio: ratio}}
			g, in, out := generatorOf(p, 1), 0, 0
			var m driver.Message
			for i := range int64(3) {
				g.Fill(&m, i, 1)
				Stamp(m.Body, Identity{Run: 0x1234567812345678, Sequence: i, Intended: 1_800_000_000_123_456_789 + i*77_001})
				in, out = in+len(m.Body), out+deflated(t, m.Body)
			}
			if got := float64(out) / float64(in); math.Abs(got-ratio) > max(.032*ratio, .006) {
				t.Errorf("%d bytes asked to compress to %g of their size compress to %.3f", size, ratio, got)
			}
		}
	}
}

// deflated is the size at level 5, which RocketMQ's clients use.
func deflated(t *testing.T, body []byte) int {
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, 5)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(body)
	w.Close()
	return b.Len()
}

func TestOtherContent(t *testing.T) {
	t.Parallel()
	m := driver.Message{Body: bytes.Repeat([]byte{7}, 4096)}
	generatorOf(workloads.Producer{Size: fixed(4096), Content: workloads.Content{Kind: workloads.ContentZero}}, 1).Fill(&m, 3, 1)
	if len(m.Body) != 4096 || len(bytes.Trim(m.Body, "\x00")) != 0 || m.Key != "" || m.Tag != "" {
		t.Errorf("zero content is %d bytes with %d others, key %q, tag %q", len(m.Body), len(bytes.Trim(m.Body, "\x00")), m.Key, m.Tag)
	}
	generatorOf(workloads.Producer{Size: fixed(4096), Content: workloads.Content{Kind: workloads.ContentRandom}}, 1).Fill(&m, 3, 1)
	if n := deflated(t, m.Body); n < 4096 {
		t.Errorf("random content compresses to %d of 4096 bytes", n)
	}
	generatorOf(workloads.Producer{Size: fixed(1)}, 1).Fill(&m, 3, 1)
	if len(m.Body) != IdentitySize {
		t.Errorf("a body of 1 byte has %d, the identity needs %d", len(m.Body), IdentitySize)
	}
}

// TestZipf compares draws with the exact distribution by chi-square.
func TestZipf(t *testing.T) {
	t.Parallel()
	const draws = 200_000
	for _, c := range []struct {
		n int
		s float64
	}{{10, 1}, {100, .5}, {1000, 1.1}, {50, 2.5}, {1, 1}, {2, .01}, {500, 1 + 1e-10}, {20, 10}} {
		counts := make([]float64, c.n)
		z, s := newZipf(c.n, c.s), newStream(11, uint64(c.n))
		for range draws {
			counts[z.draw(&s)]++
		}
		total := 0.
		for k := range c.n {
			total += math.Pow(float64(k+1), -c.s)
		}
		expected := make([]float64, c.n)
		for k := range expected {
			expected[k] = draws * math.Pow(float64(k+1), -c.s) / total
		}
		if chi, limit := chiSquare(counts, expected); chi > limit {
			t.Errorf("n=%d s=%g: chi-square is %.1f, limit %.1f", c.n, c.s, chi, limit)
		}
	}
}

// chiSquare pools cells that expect fewer than ten and returns the statistic
// and the value that one in some ten thousand exceeds (Wilson and Hilferty).
func chiSquare(counts, expected []float64) (chi, limit float64) {
	cells, c, e := 0., 0., 0.
	for i := range counts {
		c, e = c+counts[i], e+expected[i]
		if e >= 10 {
			chi += (c - e) * (c - e) / e
			cells, c, e = cells+1, 0, 0
		}
	}
	if e > 0 {
		chi += (c - e) * (c - e) / max(e, 1)
		cells++
	}
	k := max(cells-1, 1)
	f := 2 / (9 * k)
	return chi, k * math.Pow(1-f+3.8*math.Sqrt(f), 3)
}

func TestZipfLarge(t *testing.T) {
	t.Parallel()
	for _, exponent := range []float64{.01, .99, 1, 1.5, 10} {
		z, s := newZipf(1_000_000_000, exponent), newStream(1)
		for range 10_000 {
			if k := z.draw(&s); k >= 1_000_000_000 {
				t.Fatalf("s=%g: drew %d", exponent, k)
			}
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	const draws, keys = 100_000, 50
	p := workloads.Producer{Size: fixed(64), Content: workloads.Content{Kind: workloads.ContentZero}, Keys: workloads.Keys{Kind: workloads.KeyUniform, Count: keys, Prefix: "k:"}}
	g, counts, expected := generatorOf(p, 1), make([]float64, keys), make([]float64, keys)
	var m driver.Message
	for i := range int64(draws) {
		g.Fill(&m, i, 1)
		n, err := strconv.Atoi(strings.TrimPrefix(m.Key, "k:"))
		if err != nil || n < 0 || n >= keys {
			t.Fatalf("key %q", m.Key)
		}
		counts[n]++
	}
	for i := range expected {
		expected[i] = draws / keys
	}
	if chi, limit := chiSquare(counts, expected); chi > limit {
		t.Errorf("uniform keys: chi-square is %.1f, limit %.1f", chi, limit)
	}
	p.Keys.Kind = workloads.KeySequential
	if generatorOf(p, 1).Fill(&m, 4711, 1); m.Key != "k:4711" {
		t.Errorf("sequential key of message 4711 is %q", m.Key)
	}
}

func TestTagShares(t *testing.T) {
	t.Parallel()
	const draws = 100_000
	g, counts := generatorOf(everything(), 1), map[string]float64{}
	var m driver.Message
	for i := range int64(draws) {
		g.Fill(&m, i, 1)
		counts[m.Tag]++
	}
	for tag, share := range map[string]float64{"a": .8, "b": .15, "c": .05, "never": 0} {
		if sd := math.Sqrt(draws * share * (1 - share)); math.Abs(counts[tag]-draws*share) > 4*sd {
			t.Errorf("tag %s: %g of %d, expected %g ± %g", tag, counts[tag], draws, draws*share, sd)
		}
	}
	if len(counts) != 3 {
		t.Errorf("tags drawn: %v", counts)
	}
}

// TestMoments compares mean, median and bounds of samples with theory.
func TestMoments(t *testing.T) {
	t.Parallel()
	const n = 200_000
	for _, c := range []struct {
		name       string
		dist       workloads.Dist
		mean, sd   float64 // of the distribution
		belowA     float64 // share of samples below A
		low, above float64 // no sample lies outside
	}{
		{"fixed", fixed(42), 42, 0, 0, 42, 42},
		{"uniform", workloads.Dist{Kind: workloads.DistUniform, A: 100, B: 300}, 200, 200 / math.Sqrt(12), 0, 100, 300},
		{"exponential", workloads.Dist{Kind: workloads.DistExponential, A: 500}, 500, 500, 1 - 1/math.E, 0, math.Inf(1)},
		{"lognormal", workloads.Dist{Kind: workloads.DistLogNormal, A: 1000, B: .5}, 1000 * math.Exp(.125), 1000 * math.Exp(.125) * math.Sqrt(math.Exp(.25)-1), .5, 0, math.Inf(1)},
		{"lognormal, cut on both sides alike", workloads.Dist{Kind: workloads.DistLogNormal, A: 1000, B: 1, Min: 500, Max: 2000}, 1076.7, 408, .5, 500, 2000},
		{"nothing fits", workloads.Dist{Kind: workloads.DistLogNormal, A: 1000, B: .1, Min: 1e6, Max: 2e6}, 1e6, 0, 0, 1e6, 1e6},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, sum, below := NewSampler(c.dist, 9), 0., 0.
			for range n {
				v := s.Next()
				if v < c.low || v > c.above {
					t.Fatalf("sample %g is outside %g…%g", v, c.low, c.above)
				}
				sum += v
				if v < c.dist.A {
					below++
				}
			}
			if mean := sum / n; math.Abs(mean-c.mean) > 4*c.sd/math.Sqrt(n)+1e-9*c.mean {
				t.Errorf("mean is %g, expected %g", mean, c.mean)
			}
			if share := below / n; math.Abs(share-c.belowA) > 4*math.Sqrt(.25/n) {
				t.Errorf("%g of the samples are below %g, expected %g", share, c.dist.A, c.belowA)
			}
		})
	}
}

func TestSamplersAreTheirSeeds(t *testing.T) {
	t.Parallel()
	d := workloads.Dist{Kind: workloads.DistExponential, A: 1}
	a, b, c := NewSampler(d, 1), NewSampler(d, 1), NewSampler(d, 2)
	if x, y, z := a.Next(), b.Next(), c.Next(); x != y || x == z {
		t.Errorf("first samples of seeds 1, 1, 2 are %g, %g, %g", x, y, z)
	}
}

func TestBelow(t *testing.T) {
	t.Parallel()
	s := newStream(1)
	counts := map[uint64]float64{}
	for range 30_000 {
		counts[s.below(3)]++
	}
	if len(counts) != 3 || math.Abs(counts[0]-10_000) > 400 || math.Abs(counts[2]-10_000) > 400 {
		t.Errorf("below(3) drew %v", counts)
	}
}

func BenchmarkFill(b *testing.B) {
	for _, kind := range []workloads.ContentKind{workloads.ContentJSON, workloads.ContentRandom, workloads.ContentCompressible, workloads.ContentZero} {
		b.Run(string(kind), func(b *testing.B) {
			p := everything()
			p.Content.Kind, p.Content.Ratio = kind, .5
			g, m, i := generatorOf(p, 1), driver.Message{}, int64(0)
			b.ReportAllocs()
			for b.Loop() {
				i++
				g.Fill(&m, i, 1)
			}
		})
	}
}
