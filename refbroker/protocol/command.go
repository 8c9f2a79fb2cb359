// Package protocol holds the bytes of RocketMQ's remoting protocol: frames,
// commands with both header encodings, codes, request and response headers,
// JSON bodies and the message record. It does no input or output.
//
// A frame: FrameSize bounds it, DecodeCommand and AppendCommand (AppendHead for
// a body sent apart) read and write it. Its fields are read through FieldReader
// or, where each message pays for it, through SendMessageHeader,
// SendMessageResponse, PullMessageHeader and PullMessageResponse. A body in JSON
// is one of the structs of the body_*.go files, read by Unmarshal and written by
// Marshal; LenientJSON makes standard JSON of what fastjson wrote. Messages are
// read and written by DecodeMessage and AppendMessage, batches by DecodeBatch
// and AppendBatchItem, properties by Property and its like.
//
// The layouts stand beside their code: frames in encode.go, records in
// message.go, batches in record.go, registrations in body_register.go.
// testdata/golden holds frames of the real programs; test/capture recorded them.
//
// Decoding never copies and never trusts a length: strings and bodies of a
// decoded Command alias the frame that they came from, and live as long as it.
// Whoever keeps one longer clones it.
package protocol

// MaxFrame is the largest frame accepted, its length field included.
const MaxFrame = 16 << 20

// Encoding is the form of a command's header.
type Encoding uint8

// The header encodings.
const (
	JSON   Encoding = 0
	Binary Encoding = 1 // "ROCKETMQ"
)

// Flag bits of a command.
const (
	FlagResponse int32 = 1
	FlagOneway   int32 = 2
)

// Version is what this implementation says it is: V5_3_2.
const Version int32 = 477

// VersionDesc names Version.
const VersionDesc = "V5_3_2"

// Command is one remoting command, a request or a response.
type Command struct {
	Code     int32
	Language Language
	Version  int32
	Opaque   int32
	Flag     int32
	Remark   string
	Fields   Fields // extFields as decoded, or to be encoded
	Header   Header // encoded after Fields; never set by decoding
	Body     []byte
	Encoding Encoding
}

// IsResponse reports whether c answers a request.
func (c *Command) IsResponse() bool { return c.Flag&FlagResponse != 0 }

// IsOneway reports whether the sender of c wants no response.
func (c *Command) IsOneway() bool { return c.Flag&FlagOneway != 0 }

// Field is one entry of a command's extFields; values travel as text.
type Field struct{ Key, Value string }

// Fields are the extFields of a command in the order of the wire. Null values are absent.
type Fields []Field

// Get returns the value of key and whether it is there. Of a key that was sent
// twice the last value counts, as in Java's map.
func (f Fields) Get(key string) (string, bool) {
	for i := len(f) - 1; i >= 0; i-- {
		if f[i].Key == key {
			return f[i].Value, true
		}
	}
	return "", false
}

// Set replaces or appends the value of key.
func (f *Fields) Set(key, value string) {
	for i := len(*f) - 1; i >= 0; i-- {
		if (*f)[i].Key == key {
			(*f)[i].Value = value
			return
		}
	}
	*f = append(*f, Field{key, value})
}

// Header is a typed header that writes its fields in either encoding without allocating.
type Header interface {
	AppendTo(e *FieldEncoder)
}
