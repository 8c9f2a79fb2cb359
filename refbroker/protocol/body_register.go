package protocol

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// RegisterBrokerBody is the body of REGISTER_BROKER. It has two forms. The
// plain one is JSON. The compressed one is a zlib stream of (lengths and counts
// in 4 bytes):
//
//	length, data version as JSON
//	count, then for each topic: length, text "name read write perm filterType attributes"
//	length, filter servers as a JSON array
//	count, then for each mapping: length, mapping as JSON    (brokers from 5.0.0 on)
//
// The compressed form loses order and topicSysFlag, and attributes with a space
// in them.
type RegisterBrokerBody struct {
	TopicConfigs     TopicConfigTable `json:"topicConfigSerializeWrapper"`
	FilterServerList []string         `json:"filterServerList"`
}

// RegisterBrokerResult is the header of the answer to REGISTER_BROKER; its body
// is a KVTable or nothing.
type RegisterBrokerResult struct {
	HAServerAddr string
	MasterAddr   string
}

// Decode fills r from fields; both may be missing.
func (r *RegisterBrokerResult) Decode(fields Fields) error {
	r.HAServerAddr, _ = fields.Get("haServerAddr")
	r.MasterAddr, _ = fields.Get("masterAddr")
	return nil
}

// AppendTo writes r.
func (r *RegisterBrokerResult) AppendTo(e *FieldEncoder) {
	if r.HAServerAddr != "" {
		e.String("haServerAddr", r.HAServerAddr)
	}
	if r.MasterAddr != "" {
		e.String("masterAddr", r.MasterAddr)
	}
}

const (
	version3011     int32 = 37  // Java's NameServer draws the line here
	version500      int32 = 413 // brokers send mappings from here on
	maxRegistration       = 32 << 20
	zlibMark              = 0x78
	topicTextParts        = 6
)

// ErrBadRegistration says that bytes are not the body of a registration.
var ErrBadRegistration = errors.New("bad registration body")

// DecodeRegisterBrokerBody reads either form, told apart by the first byte
// since brokers of 5.3 say uncompressed of what they compress. version is that
// of the request: before 3.0.11 the body is the bare table of topics. A stream
// that grows past 32 MiB is refused.
func DecodeRegisterBrokerBody(body []byte, version int32) (*RegisterBrokerBody, error) {
	b := new(RegisterBrokerBody)
	var err error
	switch {
	case len(body) == 0:
		return b, nil
	case body[0] == zlibMark:
		err = b.inflate(body, version)
	case version < version3011:
		err = Unmarshal(body, &b.TopicConfigs)
	default:
		err = Unmarshal(body, b)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadRegistration, err)
	}
	return b, nil
}

func (b *RegisterBrokerBody) inflate(body []byte, version int32) error {
	z, err := zlib.NewReader(bytes.NewReader(body))
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(z, maxRegistration+1))
	if err != nil {
		return err
	}
	if len(text) > maxRegistration {
		return fmt.Errorf("more than %d bytes", maxRegistration)
	}
	return b.decodeParts(text, version)
}

// decodeParts reads the inflated form.
func (b *RegisterBrokerBody) decodeParts(text []byte, version int32) error {
	part, text, ok := cutSized(text, 4)
	if !ok {
		return errors.New("data version cut short")
	}
	if err := Unmarshal(part, &b.TopicConfigs.DataVersion); err != nil {
		return err
	}
	b.TopicConfigs.TopicConfigTable = map[string]TopicConfig{}
	text, err := eachPart(text, "topics", func(part []byte) error {
		c, err := parseTopicText(string(part))
		b.TopicConfigs.TopicConfigTable[c.TopicName] = c
		return err
	})
	if err != nil {
		return err
	}
	part, text, ok = cutSized(text, 4)
	if !ok {
		return errors.New("filter servers cut short")
	}
	if err := Unmarshal(part, &b.FilterServerList); err != nil || version < version500 {
		return err
	}
	b.TopicConfigs.TopicQueueMappingInfoMap = map[string]TopicQueueMappingInfo{}
	_, err = eachPart(text, "mappings", func(part []byte) error {
		var info TopicQueueMappingInfo
		err := Unmarshal(part, &info)
		b.TopicConfigs.TopicQueueMappingInfoMap[info.Topic] = info
		return err
	})
	return err
}

// eachPart reads a count and calls f for as many sized parts; it returns what follows.
func eachPart(text []byte, what string, f func(part []byte) error) ([]byte, error) {
	if len(text) < 4 {
		return nil, fmt.Errorf("count of %s cut short", what)
	}
	n := binary.BigEndian.Uint32(text)
	text = text[4:]
	for i := range n {
		part, rest, ok := cutSized(text, 4)
		if !ok {
			return nil, fmt.Errorf("%s cut short after %d of %d", what, i, n)
		}
		if err := f(part); err != nil {
			return nil, err
		}
		text = rest
	}
	return text, nil
}

// parseTopicText reads "name read write perm filterType attributes". Attributes
// that cannot be read are none.
func parseTopicText(text string) (TopicConfig, error) {
	c := NewTopicConfig("")
	parts := strings.SplitN(text, " ", topicTextParts)
	if len(parts) < topicTextParts-1 {
		return c, fmt.Errorf("topic %q has %d parts", text, len(parts))
	}
	var numbers [3]int32
	for i := range numbers {
		n, err := strconv.ParseInt(parts[1+i], 10, 32)
		if err != nil {
			return c, fmt.Errorf("topic %q: %w", text, err)
		}
		numbers[i] = int32(n)
	}
	c.TopicName, c.TopicFilterType = parts[0], parts[4]
	c.ReadQueueNums, c.WriteQueueNums, c.Perm = numbers[0], numbers[1], numbers[2]
	if len(parts) == topicTextParts {
		attributes := map[string]string{}
		if json.Unmarshal([]byte(parts[5]), &attributes) == nil && attributes != nil {
			c.Attributes = attributes
		}
	}
	return c, nil
}

// Encode returns the plain form, or the compressed one with mappings.
func (b *RegisterBrokerBody) Encode(compressed bool) []byte {
	if !compressed {
		return Marshal(b)
	}
	var out bytes.Buffer
	z, _ := zlib.NewWriterLevel(&out, zlib.BestCompression) // the level exists
	_, _ = z.Write(b.appendParts(nil))                      // a Buffer takes all
	_ = z.Close()
	return out.Bytes()
}

func (b *RegisterBrokerBody) appendParts(dst []byte) []byte {
	t := &b.TopicConfigs
	dst = appendSized(dst, Marshal(t.DataVersion))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(t.TopicConfigTable)))
	for _, name := range sortedKeys(t.TopicConfigTable) {
		c := t.TopicConfigTable[name]
		dst = appendSized(dst, fmt.Appendf(nil, "%s %d %d %d %s %s", c.TopicName,
			c.ReadQueueNums, c.WriteQueueNums, c.Perm, c.TopicFilterType, Marshal(c.Attributes)))
	}
	servers := b.FilterServerList
	if servers == nil {
		servers = []string{}
	}
	dst = appendSized(dst, Marshal(servers))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(t.TopicQueueMappingInfoMap)))
	for _, name := range sortedKeys(t.TopicQueueMappingInfoMap) {
		dst = appendSized(dst, Marshal(t.TopicQueueMappingInfoMap[name]))
	}
	return dst
}

func appendSized(dst, part []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(part)))
	return append(dst, part...)
}
