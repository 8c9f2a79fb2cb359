package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
)

// The frame of a command, as in RocketMQ's RemotingCommand (integers big-endian):
//
//	offset  bytes  field
//	     0      4  length of what follows: 4 + header + body
//	     4      1  encoding of the header: 0 JSON, 1 binary
//	     5      3  length of the header
//	     8      h  header
//	   8+h      b  body, absent when empty
//
// The binary header, as in RocketMQSerializable:
//
//	   0      2  code
//	   2      1  language
//	   3      2  version
//	   5      4  opaque
//	   9      4  flag
//	  13      4  length of the remark, 0 for none
//	  17      r  remark
//	17+r      4  bytes of the fields
//	21+r         fields: key length (2), key, value length (4), value
const (
	lengthBytes       = 4
	prefixBytes       = 8
	binaryFixed       = 21
	maxHeaderLen      = 1<<24 - 1
	maxBinaryKey      = math.MaxInt16
	binaryFieldPrefix = 6
)

// ErrFrameTooLarge says that a command does not fit into MaxFrame.
var ErrFrameTooLarge = errors.New("frame too large")

// AppendCommand appends c as one whole frame, body included. It fails, and
// returns dst as it was, when the frame would be larger than MaxFrame.
func AppendCommand(dst []byte, c *Command) ([]byte, error) {
	start := len(dst)
	dst = AppendHead(dst, c, len(c.Body))
	if size := len(dst) - start + len(c.Body); size > MaxFrame {
		return dst[:start], fmt.Errorf("encode command %d of %d bytes: %w", c.Code, size, ErrFrameTooLarge)
	}
	return append(dst, c.Body...), nil
}

// AppendHead appends the frame of c up to its body, which the caller sends
// itself and which is bodyLen bytes long; c.Body is not looked at. The caller
// answers for the limit MaxFrame.
func AppendHead(dst []byte, c *Command, bodyLen int) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	if c.Encoding == Binary {
		dst = appendBinaryHeader(dst, c)
	} else {
		dst = appendJSONHeader(dst, c)
	}
	header := len(dst) - start - prefixBytes
	if header > maxHeaderLen { // cannot be said in three bytes, nor sent: far over MaxFrame
		header = maxHeaderLen
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(lengthBytes+len(dst)-start-prefixBytes+bodyLen))
	binary.BigEndian.PutUint32(dst[start+4:], uint32(c.Encoding)<<24|uint32(header))
	return dst
}

func appendJSONHeader(dst []byte, c *Command) []byte {
	dst = append(dst, `{"code":`...)
	dst = strconv.AppendInt(dst, int64(c.Code), 10)
	if c.Fields != nil || c.Header != nil {
		dst = append(dst, `,"extFields":{`...)
		dst = appendFields(dst, c)
		dst = append(dst, '}')
	}
	dst = append(dst, `,"flag":`...)
	dst = strconv.AppendInt(dst, int64(c.Flag), 10)
	dst = append(dst, `,"language":"`...)
	dst = append(dst, c.Language.String()...)
	dst = append(dst, `","opaque":`...)
	dst = strconv.AppendInt(dst, int64(c.Opaque), 10)
	if c.Remark != "" {
		dst = append(dst, `,"remark":`...)
		dst = appendJSONString(dst, c.Remark)
	}
	dst = append(dst, `,"serializeTypeCurrentRPC":"JSON","version":`...)
	dst = strconv.AppendInt(dst, int64(c.Version), 10)
	return append(dst, '}')
}

func appendBinaryHeader(dst []byte, c *Command) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(c.Code))
	dst = append(dst, byte(c.Language))
	dst = binary.BigEndian.AppendUint16(dst, uint16(c.Version))
	dst = binary.BigEndian.AppendUint32(dst, uint32(c.Opaque))
	dst = binary.BigEndian.AppendUint32(dst, uint32(c.Flag))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(c.Remark)))
	dst = append(dst, c.Remark...)
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = appendFields(dst, c)
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// encoders keeps the FieldEncoders: one handed to a Header escapes.
var encoders = sync.Pool{New: func() any { return new(FieldEncoder) }}

func appendFields(dst []byte, c *Command) []byte {
	if len(c.Fields) == 0 && c.Header == nil {
		return dst
	}
	e := encoders.Get().(*FieldEncoder)
	e.buf, e.encoding, e.more = dst, c.Encoding, false
	for i := range c.Fields {
		e.String(c.Fields[i].Key, c.Fields[i].Value)
	}
	if c.Header != nil {
		c.Header.AppendTo(e)
	}
	dst, e.buf = e.buf, nil
	encoders.Put(e)
	return dst
}

// FieldEncoder writes the fields of a command in its encoding. Every value
// travels as text. It never allocates but to grow the frame.
type FieldEncoder struct {
	buf      []byte
	encoding Encoding
	more     bool // a field was written already
}

// String writes a field. A key that is empty or too long for the binary
// encoding (32767 bytes) is left out.
func (e *FieldEncoder) String(key, value string) {
	if !e.key(key) {
		return
	}
	if e.encoding == Binary {
		e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(len(value)))
		e.buf = append(e.buf, value...)
		return
	}
	e.buf = appendJSONString(e.buf, value)
}

// Bytes writes a field whose value is text held in bytes.
func (e *FieldEncoder) Bytes(key string, value []byte) {
	if !e.key(key) {
		return
	}
	if e.encoding == Binary {
		e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(len(value)))
		e.buf = append(e.buf, value...)
		return
	}
	e.buf = appendJSONString(e.buf, value)
}

// Int writes a number in decimal.
func (e *FieldEncoder) Int(key string, value int64) {
	if !e.key(key) {
		return
	}
	if e.encoding == Binary {
		at := len(e.buf)
		e.buf = append(e.buf, 0, 0, 0, 0)
		e.buf = strconv.AppendInt(e.buf, value, 10)
		binary.BigEndian.PutUint32(e.buf[at:], uint32(len(e.buf)-at-4))
		return
	}
	e.buf = append(e.buf, '"')
	e.buf = strconv.AppendInt(e.buf, value, 10)
	e.buf = append(e.buf, '"')
}

// Bool writes true or false.
func (e *FieldEncoder) Bool(key string, value bool) {
	if value {
		e.String(key, "true")
	} else {
		e.String(key, "false")
	}
}

// key writes what stands before a value.
func (e *FieldEncoder) key(key string) bool {
	if key == "" || len(key) > maxBinaryKey {
		return false
	}
	if e.encoding == Binary {
		e.buf = binary.BigEndian.AppendUint16(e.buf, uint16(len(key)))
		e.buf = append(e.buf, key...)
		return true
	}
	if e.more {
		e.buf = append(e.buf, ',')
	}
	e.more = true
	e.buf = appendJSONString(e.buf, key)
	e.buf = append(e.buf, ':')
	return true
}

const hexDigits = "0123456789abcdef"

// mustEscape marks the bytes that cannot stand in a JSON string as they are.
var mustEscape = func() (t [256]bool) {
	for b := range 0x20 {
		t[b] = true
	}
	t['"'], t['\\'] = true, true
	return t
}()

// appendJSONString appends s as a JSON string. Bytes that are not UTF-8 pass
// through: readers replace them, and nothing else is lost.
func appendJSONString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		if !mustEscape[s[i]] {
			continue
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscape(dst, s[i])
		start = i + 1
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, b byte) []byte {
	switch b {
	case '"', '\\':
		return append(dst, '\\', b)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
}
