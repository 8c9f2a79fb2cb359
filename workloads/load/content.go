package load

import (
	"encoding/binary"
	"strconv"
	"strings"
	"sync"

	"rmqbench/workloads"
)

// plain appends a body that is not JSON. The identity's place at its head is
// left as random as the rest.
func (g *Generator) plain(b []byte, size int, s *stream) []byte {
	b = grow(b, size)
	switch g.content {
	case workloads.ContentZero:
		clear(b)
	case workloads.ContentFile:
		copyAround(b, g.data, s)
		copy(b, identityMagic) // a file may look like JSON that begins with an identity; no body of this kind does
	case workloads.ContentCompressible:
		compressible(b, noiseFor(size, g.ratio), s)
	default:
		random(b, s)
	}
	return b
}

// random fills a body that no compression makes smaller. A short one is a
// stretch of a store of random bytes, from a random place: copying takes a tenth
// of the time of making it.
func random(b []byte, s *stream) {
	if len(b) > storeBelow {
		noise(b, s)
		return
	}
	copyAround(b, noiseStore(), s)
}

const storeBelow = 16 << 10

// noiseStore is larger than what compression looks back over.
var noiseStore = sync.OnceValue(func() []byte {
	store, s := make([]byte, 64<<10), newStream(purposePadding)
	noise(store, &s)
	return store
})

// copyAround fills b with data from a random place on, around its end.
func copyAround(b, data []byte, s *stream) {
	if len(data) == 0 {
		noise(b, s)
		return
	}
	for at := s.below(uint64(len(data))); len(b) > 0; at = 0 {
		b = b[copy(b, data[at:]):]
	}
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
	at := *s // in a register
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, at.next())
		b = b[8:]
	}
	for u := at.next(); len(b) > 0; b, u = b[1:], u>>8 {
		b[0] = byte(u)
	}
	*s = at
}

// chunk is the period of compressible content: random bytes, then zeros.
// Deflate codes the zeros of one chunk as one match.
const chunk = 256

// compressible fills b, behind the identity's place, with n random bytes spread
// over chunks as evenly as whole bytes allow, and zeros.
func compressible(b []byte, n int, s *stream) {
	clear(b[:min(IdentitySize, len(b))])
	b = b[min(IdentitySize, len(b)):]
	for at, used := 0, 0; at < len(b); at += chunk {
		end := min(at+chunk, len(b))
		upTo := int(int64(n) * int64(end) / int64(len(b)))
		part := b[at:end]
		random := min(upTo-used, len(part))
		noise(part[:random], s)
		clear(part[random:])
		used = upTo
	}
}

// What deflate makes of compressible content, in bytes. A block uses the codes
// that are fixed or brings codes of its own, whichever is shorter.
const (
	costIdentity = 38  // of the identity
	costWrap     = 7   // of header, checksum and end
	costRun      = 3.0 // of the zeros of a chunk
	costFixed    = 1.055
	costCodes    = 75     // of a block's own codes,
	costOwn      = 1.0125 // and then of a random byte
)

// noiseFor returns how many bytes behind the identity must be random for a body
// of that size to be compressed to ratio of it.
func noiseFor(size int, ratio float64) int {
	rest := size - IdentitySize
	if ratio >= 1 || rest <= 0 {
		return max(0, rest)
	}
	left := ratio*float64(size) - costIdentity - costWrap - costRun*float64((rest+chunk-1)/chunk)
	n := max(left/costFixed, (left-costCodes)/costOwn)
	return int(min(max(n, 0), float64(rest)))
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

// fieldStep stands for the step of a key that has a life of several.
const fieldStep = "{{step}}"

// values are what the placeholders of one message stand for.
type values struct {
	key                []byte
	producer, sequence int64
	step               string
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
	fields := []string{workloads.FieldKey, workloads.FieldSequence, workloads.FieldProducer, fieldStep}
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
func (t *template) append(b []byte, of *values, size int, s *stream) []byte {
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
			b = append(b, of.key...)
		case workloads.FieldSequence:
			b = strconv.AppendInt(b, of.sequence, 10)
		case workloads.FieldProducer:
			b = strconv.AppendInt(b, of.producer, 10)
		case fieldStep:
			b = append(b, of.step...)
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
