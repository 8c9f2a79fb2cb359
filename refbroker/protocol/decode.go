package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"
)

// maxFields bounds the fields of one command, so that a frame cannot make its
// reader allocate several times its size. Real commands carry fewer than 40.
const maxFields = 1024

// ErrBadFrame says that bytes are not a frame; the connection cannot be read any further.
var ErrBadFrame = errors.New("bad frame")

// FrameSize returns how many bytes of a frame follow its length field, the
// first four bytes of prefix. It refuses lengths that no frame can have, so
// that what it returns may be allocated.
func FrameSize(prefix []byte) (int, error) {
	if len(prefix) < lengthBytes {
		return 0, fmt.Errorf("%w: length field of %d bytes", ErrBadFrame, len(prefix))
	}
	n := int32(binary.BigEndian.Uint32(prefix))
	if n < lengthBytes || n > MaxFrame-lengthBytes {
		return 0, fmt.Errorf("%w: length %d outside [%d, %d]", ErrBadFrame, n, lengthBytes, MaxFrame-lengthBytes)
	}
	return int(n), nil
}

// DecodeCommand decodes a frame without its length field into c, which it
// resets; the memory of c.Fields is used again. Strings and body of c alias
// frame, in which escapes of JSON are undone in place. Fields are nil when the
// command has none at all; an empty body is nil. Any error wraps ErrBadFrame.
func DecodeCommand(frame []byte, c *Command) error {
	fields := c.Fields
	*c = Command{Fields: fields[:0]}
	if len(frame) < 4 {
		return fmt.Errorf("%w: %d bytes", ErrBadFrame, len(frame))
	}
	mark := binary.BigEndian.Uint32(frame)
	header, frame := int(mark&maxHeaderLen), frame[4:]
	if header > len(frame) {
		return fmt.Errorf("%w: header of %d bytes in %d", ErrBadFrame, header, len(frame))
	}
	if header < len(frame) {
		c.Body = frame[header:]
	}
	c.Encoding = Encoding(mark >> 24)
	switch c.Encoding {
	case JSON:
		return decodeJSONHeader(frame[:header:header], c)
	case Binary:
		return decodeBinaryHeader(frame[:header:header], c)
	}
	return fmt.Errorf("%w: header encoding %d", ErrBadFrame, mark>>24)
}

func decodeBinaryHeader(b []byte, c *Command) error {
	if len(b) < binaryFixed {
		return fmt.Errorf("%w: binary header of %d bytes", ErrBadFrame, len(b))
	}
	c.Code = int32(int16(binary.BigEndian.Uint16(b)))
	c.Language = Language(b[2])
	c.Version = int32(int16(binary.BigEndian.Uint16(b[3:])))
	c.Opaque = int32(binary.BigEndian.Uint32(b[5:]))
	c.Flag = int32(binary.BigEndian.Uint32(b[9:]))
	if !c.IsResponse() {
		c.Code = wideCode(c.Code)
	}
	remark := binary.BigEndian.Uint32(b[13:])
	b = b[17:]
	if uint64(remark) > uint64(len(b)-4) {
		return fmt.Errorf("%w: remark of %d bytes in %d", ErrBadFrame, remark, len(b))
	}
	c.Remark = alias(b[:remark])
	return decodeBinaryFields(b[remark:], c)
}

// wideCode undoes the truncation to 16 bits that the binary header does to the
// request codes of the POP family.
func wideCode(code int32) int32 {
	const gap = 200050 - 3442
	switch wide := code + gap; wide {
	case CodePopMessage, CodeAckMessage, CodeBatchAckMessage, CodePeekMessage,
		CodeChangeMessageInvisibleTime, CodeNotification, CodePollingInfo, CodePopRollback:
		return wide
	}
	return code
}

func decodeBinaryFields(b []byte, c *Command) error {
	size := binary.BigEndian.Uint32(b)
	b = b[4:]
	if uint64(size) > uint64(len(b)) {
		return fmt.Errorf("%w: fields of %d bytes in %d", ErrBadFrame, size, len(b))
	}
	if size == 0 {
		c.Fields = nil
		return nil
	}
	for b = b[:size]; len(b) > 0; {
		key, value, rest, ok := cutBinaryField(b)
		if !ok {
			return fmt.Errorf("%w: field cut short after %d fields", ErrBadFrame, len(c.Fields))
		}
		b = rest
		if len(key) == 0 || len(value) == 0 { // a null of the sender
			continue
		}
		if len(c.Fields) == maxFields {
			return fmt.Errorf("%w: more than %d fields", ErrBadFrame, maxFields)
		}
		c.Fields = append(c.Fields, Field{alias(key), alias(value)})
	}
	return nil
}

func cutBinaryField(b []byte) (key, value, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	if n > maxBinaryKey || n+4 > len(b) {
		return nil, nil, nil, false
	}
	key, b = b[:n], b[n:]
	v := binary.BigEndian.Uint32(b)
	b = b[4:]
	if uint64(v) > uint64(len(b)) {
		return nil, nil, nil, false
	}
	return key, b[:v], b[v:], true
}

// alias returns b as a string without copying it.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// decodeJSONHeader reads the header leniently, as fastjson does: any order, any
// white space, unknown members skipped.
func decodeJSONHeader(b []byte, c *Command) error {
	s := scanner{b: b}
	fields := false
	c.Language = LanguageUnknown
	err := s.object(func(key string) bool {
		switch key {
		case "code":
			c.Code = s.int32()
		case "language":
			c.Language = ParseLanguage(s.text())
		case "version":
			c.Version = s.int32()
		case "opaque":
			c.Opaque = s.int32()
		case "flag":
			c.Flag = s.int32()
		case "remark":
			c.Remark = s.text()
		case "extFields":
			fields = s.fields(c)
		default:
			s.skip()
		}
		return !s.failed
	})
	if err != nil {
		return fmt.Errorf("%w: JSON header: %w", ErrBadFrame, err)
	}
	if !fields {
		c.Fields = nil
	}
	return nil
}
