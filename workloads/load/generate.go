package load

import (
	"math"
	"strconv"
	"strings"
	"unsafe"

	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

// Generator makes the messages of one producer group: size, content, key and
// tag. It is pure: message i of the same plan is the same message in every run,
// but for its identity, which Stamp writes afterwards into the place that Fill
// keeps for it. It is for one goroutine, and allocates only while the buffers of
// the messages grow.
type Generator struct {
	root    stream
	count   int64 // of producers in the group
	size    dist
	tags    []string
	tagCuts []uint64 // tag t is drawn below tagCuts[t]
	prefix  string
	keys    workloads.KeyKind
	uniform uint64
	zipf    zipf
	content workloads.ContentKind
	random  int // compressible: random bytes at the head of each chunk
	json    template
	scratch []byte // the key
}

// NewGenerator returns the generator of producer group g of the plan.
func NewGenerator(plan *workloads.Plan, g int) *Generator {
	p := &plan.Producers[g]
	gen := &Generator{
		root: newStream(plan.Seed, purposeMessages, uint64(g)), count: int64(max(1, p.Count)), size: newDist(p.Size),
		prefix: p.Keys.Prefix, keys: p.Keys.Kind, uniform: uint64(max(1, p.Keys.Count)), content: p.Content.Kind,
	}
	gen.setTags(p.Tags)
	if p.Keys.Kind == workloads.KeyZipf {
		gen.zipf = newZipf(max(1, p.Keys.Count), p.Keys.S)
	}
	switch p.Content.Kind {
	case workloads.ContentCompressible:
		gen.random = randomShare(p.Content.Ratio)
	case workloads.ContentJSON:
		gen.json = newTemplate(p.Content.Template)
	}
	return gen
}

// setTags turns weights into cuts of the 64-bit numbers.
func (g *Generator) setTags(tags []workloads.Tag) {
	total, sum := 0., 0.
	for _, t := range tags {
		total += t.Weight
	}
	for _, t := range tags {
		if t.Weight <= 0 {
			continue
		}
		sum += t.Weight
		cut := uint64(math.MaxUint64)
		if share := sum / total; share < 1 {
			cut = uint64(share * (1 << 63) * 2)
		}
		g.tags, g.tagCuts = append(g.tags, t.Name), append(g.tagCuts, cut)
	}
	if n := len(g.tagCuts); n > 0 {
		g.tagCuts[n-1] = math.MaxUint64
	}
}

// Fill makes message index of the group in m: Body, Key and Tag. The body's
// array is used again when it is large enough, and the key lies behind the body
// in it: like the body, it is valid until m is filled again.
func (g *Generator) Fill(m *driver.Message, index int64) {
	s := g.root.at(uint64(index))
	size := int(g.size.draw(&s))
	m.Tag = g.tag(&s)
	g.scratch = g.appendKey(g.scratch[:0], &s, index)
	b := m.Body[:0]
	if g.content == workloads.ContentJSON {
		b = g.json.append(b, g.scratch, index%g.count, index/g.count, size, &s)
	} else {
		b = g.plain(b, max(size, IdentitySize), &s)
	}
	end := len(b)
	b = append(b, g.scratch...)
	m.Body = b[:end]
	m.Key = ""
	if len(g.scratch) > 0 {
		m.Key = unsafe.String(&b[end : end+1][0], len(g.scratch))
	}
}

func (g *Generator) tag(s *stream) string {
	if len(g.tags) == 0 {
		return ""
	}
	u := s.next()
	for i, cut := range g.tagCuts {
		if u < cut {
			return g.tags[i]
		}
	}
	return g.tags[len(g.tags)-1]
}

func (g *Generator) appendKey(b []byte, s *stream, index int64) []byte {
	var number uint64
	switch g.keys {
	case workloads.KeyUniform:
		number = s.below(g.uniform)
	case workloads.KeyZipf:
		number = g.zipf.draw(s)
	case workloads.KeySequential:
		number = uint64(index)
	default:
		return b
	}
	return strconv.AppendUint(append(b, g.prefix...), number, 10)
}

// plain appends a body that is not JSON. The identity's place at its head is
// left as random as the rest.
func (g *Generator) plain(b []byte, size int, s *stream) []byte {
	b = grow(b, size)
	switch g.content {
	case workloads.ContentZero:
		clear(b)
	case workloads.ContentCompressible:
		for at := 0; at < size; at += chunk {
			part := b[at:min(at+chunk, size)]
			n := min(g.random, len(part))
			noise(part[:n], s)
			clear(part[n:])
		}
	default:
		noise(b, s)
	}
	return b
}

// grow returns b with length n; what is in it is anything.
func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n, n+n/4+64)
	}
	return b[:n]
}

// noise fills b with random bytes.
func noise(b []byte, s *stream) {
	for len(b) >= 8 {
		u := s.next()
		_ = b[7]
		b[0], b[1], b[2], b[3] = byte(u), byte(u>>8), byte(u>>16), byte(u>>24)
		b[4], b[5], b[6], b[7] = byte(u>>32), byte(u>>40), byte(u>>48), byte(u>>56)
		b = b[8:]
	}
	for u := s.next(); len(b) > 0; b, u = b[1:], u>>8 {
		b[0] = byte(u)
	}
}

// chunk is the period of compressible content: random bytes, then zeros.
// Deflate codes the zeros of one chunk as one match.
const chunk = 256

// randomShare returns how many bytes of a chunk must be random for deflate to
// compress to ratio. A random byte costs deflate about 1.04 bytes, the run of
// zeros about three.
func randomShare(ratio float64) int {
	if ratio >= 1 {
		return chunk
	}
	n := math.Round((ratio*chunk - 3) / 1.04)
	return int(min(max(n, 1), chunk))
}

// template is a JSON object cut at its placeholders.
type template struct {
	parts  []part
	empty  bool // no members
	letter []byte
}

type part struct {
	text  string
	field string // placeholder behind text, or ""
}

// letters that pad a JSON body; 64 of them, none needs escaping.
const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// padding is the number of letters kept to pad from.
const padding = 1 << 16

// newTemplate cuts text, a JSON object, into parts. Its own braces are left away.
func newTemplate(text string) template {
	inner := strings.TrimSpace(text)
	inner = strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(inner, "{"), "}"))
	t := template{empty: inner == ""}
	fields := []string{workloads.FieldKey, workloads.FieldSequence, workloads.FieldProducer}
	for inner != "" {
		at, field := len(inner), ""
		for _, f := range fields {
			if i := strings.Index(inner, f); i >= 0 && i < at {
				at, field = i, f
			}
		}
		t.parts = append(t.parts, part{inner[:at], field})
		inner = inner[at+len(field):]
	}
	s := newStream(purposePadding)
	t.letter = make([]byte, padding)
	for i := range t.letter {
		t.letter[i] = letters[s.next()%64]
	}
	return t
}

// append appends a body of size bytes, or of as many as template and identity
// need: `{"id":"<identity>",` the members of the template, and `"pad":"…"}`.
func (t *template) append(b, key []byte, producer, sequence int64, size int, s *stream) []byte {
	start := len(b)
	b = append(b, IdentityJSONPrefix...)
	for range 2 * IdentitySize / 8 {
		b = append(b, "00000000"...)
	}
	b = append(b, '"')
	if !t.empty {
		b = append(b, ',')
	}
	for i := range t.parts {
		b = append(b, t.parts[i].text...)
		switch t.parts[i].field {
		case workloads.FieldKey:
			b = append(b, key...)
		case workloads.FieldSequence:
			b = strconv.AppendInt(b, sequence, 10)
		case workloads.FieldProducer:
			b = strconv.AppendInt(b, producer, 10)
		}
	}
	const open, shut = `,"pad":"`, `"}`
	rest := size - (len(b) - start)
	if rest < len(open)+len(shut) {
		for ; rest > 1; rest-- {
			b = append(b, ' ')
		}
		return append(b, '}')
	}
	b = append(b, open...)
	b = t.pad(b, rest-len(open)-len(shut), s)
	return append(b, shut...)
}

// pad appends n letters from a random place of the store of letters.
func (t *template) pad(b []byte, n int, s *stream) []byte {
	for at := int(s.next() % padding); n > 0; at = 0 {
		run := t.letter[at:min(padding, at+n)]
		b, n = append(b, run...), n-len(run)
	}
	return b
}

// dist draws from a distribution.
type dist struct {
	workloads.Dist
	mu float64 // lognormal: ln of the median
}

func newDist(d workloads.Dist) dist { return dist{Dist: d, mu: math.Log(d.A)} }

// tries is how often a sample outside the bounds is drawn again before it is
// put onto the bound: a plan with bounds that hold next to nothing still ends.
const tries = 100

// draw returns one sample within Min…Max.
func (d *dist) draw(s *stream) float64 {
	v := 0.
	for range tries {
		if v = d.once(s); v >= d.Min && (d.Max == 0 || v <= d.Max) {
			return v
		}
	}
	if v < d.Min {
		return d.Min
	}
	return d.Max
}

func (d *dist) once(s *stream) float64 {
	switch d.Kind {
	case workloads.DistUniform:
		return d.A + (d.B-d.A)*s.uniform()
	case workloads.DistExponential:
		return d.A * s.exponential()
	case workloads.DistLogNormal:
		return math.Exp(d.mu + d.B*math.Sqrt2*math.Erfinv(2*s.uniform()-1))
	}
	return d.A
}

// Sampler draws a sequence of samples from one distribution.
type Sampler struct {
	dist dist
	s    stream
}

// NewSampler returns the sequence of samples of d that belongs to seed.
func NewSampler(d workloads.Dist, seed uint64) *Sampler {
	return &Sampler{dist: newDist(d), s: newStream(seed, purposeSamples)}
}

// Next returns the next sample, in the unit of the distribution.
func (s *Sampler) Next() float64 { return s.dist.draw(&s.s) }

// zipf draws numbers k in [0, n) with a probability proportional to
// 1/(k+1)^s, exactly, in constant time and memory, for every s > 0: rejection
// inversion (Hörmann and Derflinger, "Rejection-inversion to generate variates
// from monotone discrete distributions", 1996). With h(x) = x^−s and its integral H,
// u is drawn uniformly from the area under h between ½ and n+½ (where the first
// bar is cut to its height), x = H⁻¹(u) is rounded to k, and k is kept unless u
// lies between the bar and the curve. At most about one draw in nine is repeated.
type zipf struct {
	n, s        float64
	first, last float64 // H at both ends
	sure        float64 // k−x up to here needs no look at H
}

func newZipf(n int, s float64) zipf {
	z := zipf{n: float64(n), s: s}
	z.first = z.area(1.5) - 1
	z.last = z.area(z.n + 0.5)
	z.sure = 2 - z.inverse(z.area(2.5)-z.height(2))
	return z
}

func (z *zipf) draw(s *stream) uint64 {
	for {
		u := z.last + s.uniform()*(z.first-z.last)
		x := z.inverse(u)
		k := min(max(math.Floor(x+0.5), 1), z.n)
		if k-x <= z.sure || u >= z.area(k+0.5)-z.height(k) {
			return uint64(k) - 1
		}
	}
}

func (z *zipf) height(x float64) float64 { return math.Exp(-z.s * math.Log(x)) }

// area is H(x) = (x^(1−s) − 1) / (1−s), which is ln x at s = 1, and smooth there.
func (z *zipf) area(x float64) float64 {
	l := math.Log(x)
	t := (1 - z.s) * l
	if math.Abs(t) < 1e-8 {
		return l * (1 + t/2)
	}
	return l * math.Expm1(t) / t
}

// inverse is H⁻¹.
func (z *zipf) inverse(y float64) float64 {
	t := max((1-z.s)*y, -1)
	if math.Abs(t) < 1e-8 {
		return math.Exp(y * (1 - t/2))
	}
	return math.Exp(y * math.Log1p(t) / t)
}
