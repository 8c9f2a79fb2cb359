package conf

import (
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Problem is an entry that could not be used. Java passes over such entries in
// silence; we pass over them and say so.
type Problem struct {
	File   string
	Line   int // 0: not from a file
	Key    string
	Reason string
}

// Error says where and why.
func (p Problem) Error() string {
	where := p.File
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s: %s: %s", where, p.Key, p.Reason)
}

// Warn logs one line for each problem.
func Warn(log *slog.Logger, problems []Problem) {
	for _, p := range problems {
		log.Warn("configuration entry ignored", "file", p.File, "line", p.Line, "key", p.Key, "reason", p.Reason)
	}
}

// Apply sets the fields of targets, pointers to structs, from p. A field says
// its key with a tag `conf:"listenPort"`, and the values that it may have, if
// not all, with `oneof:"A|B"`; structs in structs are looked into. Values are
// parsed as Java does (Integer.parseInt and the like: no blanks around
// numbers; a bool is true when it says so in any case, else false; text is
// trimmed). What no target knows and what cannot be parsed is left alone and
// returned.
func Apply(p *Properties, targets ...any) []Problem {
	if p == nil {
		return nil
	}
	known := index(targets)
	var problems []Problem
	for _, e := range p.Entries {
		fields, ok := known[e.Key]
		if !ok {
			problems = append(problems, Problem{p.Name, e.Line, e.Key, "not a setting of this version"})
			continue
		}
		for _, f := range fields {
			if err := f.set(e.Value); err != nil {
				problems = append(problems, Problem{p.Name, e.Line, e.Key, err.Error()})
				break
			}
		}
	}
	return problems
}

// Format returns the settings of targets as sorted lines key=value, in the
// form in which the GET_…_CONFIG requests answer. extra adds keys that no
// target has.
func Format(extra map[string]string, targets ...any) string {
	values := maps.Clone(extra)
	if values == nil {
		values = map[string]string{}
	}
	for key, fields := range index(targets) {
		values[key] = fields[0].String()
	}
	return lines(values)
}

// FormatOnly is Format for those of the keys that a target has.
func FormatOnly(keys []string, targets ...any) string {
	values := map[string]string{}
	known := index(targets)
	for _, key := range keys {
		if fields, ok := known[key]; ok {
			values[key] = fields[0].String()
		}
	}
	return lines(values)
}

func lines(values map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(values)) {
		b.WriteString(k + "=" + values[k] + "\n")
	}
	return b.String()
}

// field is one setting of a target.
type field struct {
	value reflect.Value
	tag   reflect.StructTag
}

// index finds the fields of a key in all targets.
func index(targets []any) map[string][]field {
	known := map[string][]field{}
	for _, t := range targets {
		collect(reflect.ValueOf(t).Elem(), known)
	}
	return known
}

func collect(v reflect.Value, known map[string][]field) {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		key, tagged := f.Tag.Lookup("conf")
		switch {
		case tagged:
			known[key] = append(known[key], field{v.Field(i), f.Tag})
		case f.Type.Kind() == reflect.Struct && f.IsExported():
			collect(v.Field(i), known)
		}
	}
}

func (f field) set(s string) error {
	switch f.value.Kind() {
	case reflect.Bool:
		return f.setBool(s)
	case reflect.String:
		return f.setString(strings.TrimSpace(s))
	case reflect.Int, reflect.Int32:
		n, err := strconv.ParseInt(s, 10, 32)
		return f.setNumber(s, err, "a whole number of 32 bits", func() { f.value.SetInt(n) })
	case reflect.Int64:
		n, err := strconv.ParseInt(s, 10, 64)
		return f.setNumber(s, err, "a whole number", func() { f.value.SetInt(n) })
	case reflect.Float64, reflect.Float32:
		x, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		return f.setNumber(s, err, "a number", func() { f.value.SetFloat(x) })
	}
	return fmt.Errorf("settings of type %s cannot be set", f.value.Type())
}

func (f field) setNumber(s string, err error, want string, set func()) error {
	if err != nil {
		return fmt.Errorf("%q is not %s", s, want)
	}
	set()
	return nil
}

func (f field) setBool(s string) error {
	f.value.SetBool(strings.EqualFold(s, "true"))
	if !strings.EqualFold(s, "true") && !strings.EqualFold(s, "false") {
		return fmt.Errorf("%q is neither true nor false and counts as false", s)
	}
	return nil
}

func (f field) setString(s string) error {
	if allowed, ok := f.tag.Lookup("oneof"); ok && !slices.Contains(strings.Split(allowed, "|"), s) {
		return fmt.Errorf("%q is none of %s", s, strings.ReplaceAll(allowed, "|", ", "))
	}
	f.value.SetString(s)
	return nil
}

// String returns the value as Java prints it.
func (f field) String() string {
	if f.value.Kind() == reflect.Float64 || f.value.Kind() == reflect.Float32 {
		s := strconv.FormatFloat(f.value.Float(), 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	return fmt.Sprint(f.value.Interface())
}
