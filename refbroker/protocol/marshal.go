package protocol

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Marshal returns the JSON of a body in the form that Java's fastjson and
// client-go read: no white space, members in alphabetical order, null pointers
// left out, nil slices and maps written empty unless they are omitempty, byte
// slices in base64, a map keyed by MessageQueue with objects for keys
// ({{"brokerName":…}:5}, which is not standard JSON). Keys that are numbers are
// quoted. The tags of encoding/json name the members.
func Marshal(v any) []byte { return AppendJSON(nil, v) }

// MarshalUnquoted is Marshal with numbers as keys left without quotes, as
// fastjson writes them to old clients.
func MarshalUnquoted(v any) []byte {
	w := bodyWriter{bare: true}
	w.value(reflect.ValueOf(v))
	return w.out
}

// AppendJSON appends Marshal(v).
func AppendJSON(dst []byte, v any) []byte {
	w := bodyWriter{out: dst}
	w.value(reflect.ValueOf(v))
	return w.out
}

// Unmarshal reads a body that fastjson, client-go or Marshal wrote into v,
// which encoding/json has to be able to fill. Errors wrap ErrBadJSON.
func Unmarshal(body []byte, v any) error {
	standard, err := LenientJSON(body)
	if err != nil {
		return fmt.Errorf("read %T: %w", v, err)
	}
	if err := json.Unmarshal(standard, v); err != nil {
		return fmt.Errorf("read %T: %w: %w", v, ErrBadJSON, err)
	}
	return nil
}

type bodyWriter struct {
	out  []byte
	bare bool // numbers as keys stay without quotes
}

var (
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	rawMessage    = reflect.TypeFor[json.RawMessage]()
	queueKey      = reflect.TypeFor[MessageQueue]()
)

func (w *bodyWriter) value(v reflect.Value) {
	if !v.IsValid() {
		w.out = append(w.out, "null"...)
		return
	}
	if v.Kind() != reflect.Struct && v.Kind() != reflect.Pointer && v.Type().Implements(textMarshaler) {
		w.text(v)
		return
	}
	switch v.Kind() {
	case reflect.String:
		w.out = appendJSONString(w.out, v.String())
	case reflect.Bool:
		w.out = strconv.AppendBool(w.out, v.Bool())
	case reflect.Float32, reflect.Float64:
		w.float(v.Float())
	case reflect.Struct:
		w.object(v)
	case reflect.Map:
		w.table(v)
	case reflect.Slice, reflect.Array:
		w.list(v)
	case reflect.Pointer, reflect.Interface:
		w.value(v.Elem())
	default:
		w.integer(v)
	}
}

func (w *bodyWriter) text(v reflect.Value) {
	text, _ := v.Interface().(encoding.TextMarshaler).MarshalText() // an enum without a name has none
	w.out = appendJSONString(w.out, text)
}

// integer writes a number; anything else has no form in a body and becomes null.
func (w *bodyWriter) integer(v reflect.Value) {
	switch {
	case v.CanInt():
		w.out = strconv.AppendInt(w.out, v.Int(), 10)
	case v.CanUint():
		w.out = strconv.AppendUint(w.out, v.Uint(), 10)
	default:
		w.out = append(w.out, "null"...)
	}
}

func (w *bodyWriter) float(f float64) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		w.out = append(w.out, "null"...)
		return
	}
	start := len(w.out)
	w.out = strconv.AppendFloat(w.out, f, 'f', -1, 64)
	if !strings.Contains(alias(w.out[start:]), ".") {
		w.out = append(w.out, ".0"...)
	}
}

// member is one field of a struct.
type member struct {
	name      string
	index     []int
	omitEmpty bool
}

var memberPlans sync.Map // reflect.Type → []member

// membersOf returns the members of a struct by name.
func membersOf(t reflect.Type) []member {
	if plan, ok := memberPlans.Load(t); ok {
		return plan.([]member)
	}
	var plan []member
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" || !f.IsExported() {
			continue
		}
		plan = append(plan, member{name, f.Index, options == "omitempty"})
	}
	slices.SortFunc(plan, func(a, b member) int { return strings.Compare(a.name, b.name) })
	memberPlans.Store(t, plan)
	return plan
}

func (w *bodyWriter) object(v reflect.Value) {
	w.out = append(w.out, '{')
	more := false
	for _, m := range membersOf(v.Type()) {
		f := v.FieldByIndex(m.index)
		if m.omitEmpty && isEmpty(f) || isNull(f) {
			continue
		}
		w.comma(&more)
		w.out = append(appendJSONString(w.out, m.name), ':')
		w.value(f)
	}
	w.out = append(w.out, '}')
}

func (w *bodyWriter) comma(more *bool) {
	if *more {
		w.out = append(w.out, ',')
	}
	*more = true
}

func isNull(v reflect.Value) bool {
	return (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) && v.IsNil()
}

func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Map, reflect.Slice:
		return v.Len() == 0
	}
	return v.IsZero()
}

func (w *bodyWriter) table(v reflect.Value) {
	keys := v.MapKeys()
	slices.SortFunc(keys, compareKeys)
	w.out = append(w.out, '{')
	more := false
	for _, k := range keys {
		w.comma(&more)
		w.key(k)
		w.out = append(w.out, ':')
		w.value(v.MapIndex(k))
	}
	w.out = append(w.out, '}')
}

func (w *bodyWriter) key(k reflect.Value) {
	switch {
	case k.Type() == queueKey || k.Kind() == reflect.String:
		w.value(k)
	case w.bare:
		w.integer(k)
	default:
		w.out = append(w.out, '"')
		w.integer(k)
		w.out = append(w.out, '"')
	}
}

func compareKeys(a, b reflect.Value) int {
	switch {
	case a.CanInt():
		return int(min(max(a.Int()-b.Int(), -1), 1))
	case a.Type() == queueKey:
		return a.Interface().(MessageQueue).Compare(b.Interface().(MessageQueue))
	}
	return strings.Compare(a.String(), b.String())
}

func (w *bodyWriter) list(v reflect.Value) {
	switch {
	case v.Type() == rawMessage:
		w.out = append(w.out, v.Bytes()...)
		return
	case v.Type().Elem().Kind() == reflect.Uint8:
		w.out = append(w.out, '"')
		w.out = base64.StdEncoding.AppendEncode(w.out, v.Bytes())
		w.out = append(w.out, '"')
		return
	}
	w.out = append(w.out, '[')
	for i := range v.Len() {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.value(v.Index(i))
	}
	w.out = append(w.out, ']')
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
