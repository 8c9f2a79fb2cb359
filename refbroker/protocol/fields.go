package protocol

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrBadField says that a field of a command is missing or cannot be read; the
// error that wraps it names the field.
var ErrBadField = errors.New("bad field")

// FieldReader reads the fields of a command one by one and remembers the first
// that is missing or unreadable:
//
//	r := protocol.FieldReader{Fields: c.Fields}
//	topic, queue := r.String("topic"), r.Int32("queueId")
//	if err := r.Err(); err != nil { … }
//
// What cannot be read is zero. Java logs such fields and goes on with null;
// who wants that ignores Err.
type FieldReader struct {
	Fields Fields
	err    error
}

// Err returns the first error, which wraps ErrBadField and names the field.
func (r *FieldReader) Err() error { return r.err }

func (r *FieldReader) required(key string) (string, bool) {
	v, ok := r.Fields.Get(key)
	if !ok && r.err == nil {
		r.err = fmt.Errorf("%w: %s is missing", ErrBadField, key)
	}
	return v, ok
}

func (r *FieldReader) number(key, v string, bits int) int64 {
	n, err := strconv.ParseInt(v, 10, bits)
	if err == nil {
		return n
	}
	if r.err == nil {
		r.err = unreadable(key, v)
	}
	return 0
}

func unreadable(key, v string) error {
	return fmt.Errorf("%w: %s %q is not a number that fits", ErrBadField, key, v)
}

// String returns a field that has to be there.
func (r *FieldReader) String(key string) string {
	v, _ := r.required(key)
	return v
}

// StringOr returns a field, or def when it is missing.
func (r *FieldReader) StringOr(key, def string) string {
	if v, ok := r.Fields.Get(key); ok {
		return v
	}
	return def
}

// Int32 returns a number that has to be there.
func (r *FieldReader) Int32(key string) int32 {
	if v, ok := r.required(key); ok {
		return int32(r.number(key, v, 32))
	}
	return 0
}

// Int32Or returns a number, or def when it is missing.
func (r *FieldReader) Int32Or(key string, def int32) int32 {
	if v, ok := r.Fields.Get(key); ok {
		return int32(r.number(key, v, 32))
	}
	return def
}

// Int64 returns a number that has to be there.
func (r *FieldReader) Int64(key string) int64 {
	if v, ok := r.required(key); ok {
		return r.number(key, v, 64)
	}
	return 0
}

// Int64Or returns a number, or def when it is missing.
func (r *FieldReader) Int64Or(key string, def int64) int64 {
	if v, ok := r.Fields.Get(key); ok {
		return r.number(key, v, 64)
	}
	return def
}

// Bool returns a truth value that has to be there.
func (r *FieldReader) Bool(key string) bool {
	v, _ := r.required(key)
	return isTrue(v)
}

// BoolOr returns a truth value, or def when it is missing.
func (r *FieldReader) BoolOr(key string, def bool) bool {
	if v, ok := r.Fields.Get(key); ok {
		return isTrue(v)
	}
	return def
}

// isTrue is Java's Boolean.parseBoolean: anything that is not true is false.
func isTrue(v string) bool { return v == "true" || strings.EqualFold(v, "true") }

// headerFields is the state of decoding a typed header: the required fields
// still missing, a bit each, and the first that could not be read.
type headerFields struct {
	missing uint32
	badKey  string
	badText string
}

// have notes that a required field is there.
func (d *headerFields) have(bit int) { d.missing &^= 1 << bit }

func (d *headerFields) int32(f *Field) int32 { return int32(d.number(f, 32)) }
func (d *headerFields) int64(f *Field) int64 { return d.number(f, 64) }

func (d *headerFields) number(f *Field, bits int) int64 {
	n, err := strconv.ParseInt(f.Value, 10, bits)
	if err == nil {
		return n
	}
	if d.badKey == "" {
		d.badKey, d.badText = f.Key, f.Value
	}
	return 0
}

// err names the first unreadable field, else the first missing one of required.
func (d *headerFields) err(required []string) error {
	if d.badKey != "" {
		return unreadable(d.badKey, d.badText)
	}
	for i, key := range required {
		if d.missing&(1<<i) != 0 {
			return fmt.Errorf("%w: %s is missing", ErrBadField, key)
		}
	}
	return nil
}
