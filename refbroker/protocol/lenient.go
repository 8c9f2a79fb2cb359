package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrBadJSON says that bytes are not JSON, not even as fastjson writes it.
var ErrBadJSON = errors.New("bad JSON")

const (
	maxDepth    = 200 // how deep bodies may nest
	maxKeyDepth = 3   // and objects that are keys: each level doubles the escapes
)

// LenientJSON returns src, JSON as fastjson 1.2 writes and accepts it, as
// standard JSON. Keys without quotes get them, so does a key that is itself an
// object or an array: {{"queueId":1}:5} becomes {"{\"queueId\":1}":5}. A
// {"$ref":"$.path"} is replaced by what stands at that path, by null when
// nothing does. Single quotes, surplus commas, raw control characters and
// comments are mended. Errors wrap ErrBadJSON. src is not changed.
func LenientJSON(src []byte) ([]byte, error) {
	l := lenient{src: src, out: make([]byte, 0, len(src)+len(src)/8)}
	l.value(0)
	if l.err == nil && l.peek() != 0 {
		l.fail("more follows the value")
	}
	if l.err != nil {
		return nil, fmt.Errorf("%w: %w at byte %d of %d", ErrBadJSON, l.err, l.i, len(src))
	}
	if l.refs {
		return resolveRefs(l.out)
	}
	return l.out, nil
}

// lenient converts src into out.
type lenient struct {
	src  []byte
	i    int
	out  []byte
	refs bool // a $ref was seen
	keys int  // objects that are keys around this place
	err  error
}

func (l *lenient) fail(what string) {
	if l.err == nil {
		l.err = errors.New(what)
	}
	l.i = len(l.src)
}

// peek skips white space and comments; 0 at the end.
func (l *lenient) peek() byte {
	for l.i < len(l.src) {
		switch c := l.src[l.i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\b':
			l.i++
		case c == '/' && l.skipComment():
		case c == 0:
			l.fail("zero byte")
			return 0
		default:
			return c
		}
	}
	return 0
}

// skipComment skips a comment to the end of the line, or one in /* */.
func (l *lenient) skipComment() bool {
	rest := l.src[l.i:]
	end, skip := []byte("\n"), 1
	switch {
	case bytes.HasPrefix(rest, []byte("/*")):
		end, skip = []byte("*/"), 2
	case !bytes.HasPrefix(rest, []byte("//")):
		return false
	}
	n := bytes.Index(rest[2:], end)
	if n < 0 {
		l.i = len(l.src)
		return true
	}
	l.i += 2 + n + skip
	return true
}

func (l *lenient) value(depth int) {
	switch c := l.peek(); {
	case depth > maxDepth:
		l.fail("nested too deep")
	case c == '{':
		l.object(depth)
	case c == '[':
		l.array(depth)
	case c == '"' || c == '\'':
		l.string()
	case c == 0:
		l.fail("value missing")
	default:
		l.literal()
	}
}

func (l *lenient) object(depth int) {
	l.i++
	l.out = append(l.out, '{')
	for more := false; l.next('}', &more); {
		l.key(depth)
		if l.peek() != ':' {
			l.fail("no colon after a key")
			return
		}
		l.i++
		l.out = append(l.out, ':')
		l.value(depth + 1)
	}
	l.out = append(l.out, '}')
}

func (l *lenient) array(depth int) {
	l.i++
	l.out = append(l.out, '[')
	for more := false; l.next(']', &more); {
		l.value(depth + 1)
	}
	l.out = append(l.out, ']')
}

// next reports whether another element stands before the bracket end, which it
// consumes otherwise. Surplus commas are passed over.
func (l *lenient) next(end byte, more *bool) bool {
	commas := 0
	for l.peek() == ',' {
		l.i++
		commas++
	}
	switch c := l.peek(); {
	case c == 0:
		l.fail("bracket not closed")
		return false
	case c == end:
		l.i++
		return false
	case *more && commas == 0:
		l.fail("comma missing")
		return false
	}
	if *more {
		l.out = append(l.out, ',')
	}
	*more = true
	return true
}

func (l *lenient) key(depth int) {
	switch l.peek() {
	case '"', '\'':
		start := len(l.out)
		l.string()
		l.refs = l.refs || string(l.out[start:]) == `"$ref"`
	case '{', '[':
		l.objectKey(depth)
	default:
		l.out = appendJSONString(l.out, l.token())
	}
}

// objectKey turns a key that is an object or a list into a string.
func (l *lenient) objectKey(depth int) {
	if l.keys++; l.keys > maxKeyDepth {
		l.fail("objects as keys nested too deep")
		return
	}
	start := len(l.out)
	if l.value(depth + 1); l.err == nil {
		text := bytes.Clone(l.out[start:])
		l.out = appendJSONString(l.out[:start], text)
	}
	l.keys--
}

// token reads up to a delimiter.
func (l *lenient) token() []byte {
	start := l.i
	for l.i < len(l.src) && !delimiter[l.src[l.i]] {
		l.i++
	}
	if l.i == start {
		l.fail("unexpected " + strconv.QuoteRune(rune(l.peek())))
	}
	return l.src[start:l.i]
}

func (l *lenient) literal() {
	switch t := l.token(); {
	case l.err != nil:
	case string(t) == "NaN" || string(t) == "undefined":
		l.out = append(l.out, "null"...)
	case json.Valid(t):
		l.out = append(l.out, t...)
	default:
		l.fail(fmt.Sprintf("unknown literal %.20q", t))
	}
}

// string copies a string, its escapes made standard.
func (l *lenient) string() {
	quote := l.src[l.i]
	l.i++
	l.out = append(l.out, '"')
	for l.i < len(l.src) {
		switch c := l.src[l.i]; {
		case c == quote:
			l.i++
			l.out = append(l.out, '"')
			return
		case c == '\\':
			l.escape()
		case mustEscape[c]:
			l.out = appendEscape(l.out, c)
			l.i++
		default:
			l.out = append(l.out, c)
			l.i++
		}
	}
	l.fail("string not closed")
}

func (l *lenient) escape() {
	rest := l.src[l.i+1:]
	s := scanner{b: l.src}
	switch {
	case len(rest) == 0:
		l.fail("string not closed")
	case rest[0] == 'u' && s.hex4(l.i+2) >= 0:
		l.out = append(l.out, l.src[l.i:l.i+6]...)
		l.i += 6
	case plainEscape[rest[0]] == 0:
		l.fail(`unknown escape \` + string(rune(rest[0])))
	default:
		if c := plainEscape[rest[0]]; mustEscape[c] {
			l.out = appendEscape(l.out, c)
		} else {
			l.out = append(l.out, c)
		}
		l.i += 2
	}
}

// resolveRefs replaces the references of standard JSON.
func resolveRefs(src []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(src))
	d.UseNumber()
	var root any
	if err := d.Decode(&root); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadJSON, err)
	}
	r := refWriter{root: root, limit: max(1<<20, 16*len(src))}
	if err := r.write(root, 0); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadJSON, err)
	}
	return r.out, nil
}

// refWriter writes a tree and what its references stand for, up to a limit:
// references to references grow without one.
type refWriter struct {
	root  any
	out   []byte
	limit int
}

func (r *refWriter) write(v any, depth int) error {
	switch {
	case depth > maxDepth:
		return errors.New("references nested too deep")
	case len(r.out) > r.limit:
		return errors.New("references grow too large")
	}
	switch v := v.(type) {
	case map[string]any:
		if path, ok := v["$ref"].(string); ok && len(v) == 1 {
			return r.write(lookup(r.root, path), depth+1)
		}
		return r.writeMap(v, depth)
	case []any:
		return r.writeList(v, depth)
	case json.Number:
		r.out = append(r.out, v...)
	case string:
		r.out = appendJSONString(r.out, v)
	case bool:
		r.out = strconv.AppendBool(r.out, v)
	default:
		r.out = append(r.out, "null"...)
	}
	return nil
}

func (r *refWriter) writeMap(m map[string]any, depth int) error {
	r.out = append(r.out, '{')
	for i, k := range sortedKeys(m) {
		if i > 0 {
			r.out = append(r.out, ',')
		}
		r.out = append(appendJSONString(r.out, k), ':')
		if err := r.write(m[k], depth+1); err != nil {
			return err
		}
	}
	r.out = append(r.out, '}')
	return nil
}

func (r *refWriter) writeList(list []any, depth int) error {
	r.out = append(r.out, '[')
	for i, v := range list {
		if i > 0 {
			r.out = append(r.out, ',')
		}
		if err := r.write(v, depth+1); err != nil {
			return err
		}
	}
	r.out = append(r.out, ']')
	return nil
}

// lookup finds a path such as $.table.a\-b[0]: a backslash takes the sign of a
// special character behind it. References to the parent or the root itself
// describe a cycle and find nothing.
func lookup(v any, path string) any {
	path, ok := strings.CutPrefix(path, "$")
	if !ok || path == "" {
		return nil
	}
	for path != "" && v != nil {
		var step string
		step, path = cutStep(path)
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			n, err := strconv.Atoi(step)
			if err != nil || n < 0 || n >= len(at) {
				return nil
			}
			v = at[n]
		default:
			return nil
		}
	}
	return v
}

// cutStep cuts .name or [index] off a path.
func cutStep(path string) (step, rest string) {
	if path[0] == '[' {
		step, rest, _ = strings.Cut(path[1:], "]")
		return strings.Trim(step, `"'`), rest
	}
	var name []byte
	for i := 1; i < len(path); i++ {
		switch c := path[i]; {
		case c == '\\' && i+1 < len(path):
			i++
			name = append(name, path[i])
		case c == '.' || c == '[':
			return string(name), path[i:]
		default:
			name = append(name, c)
		}
	}
	return string(name), ""
}
