package namesrv

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"

	"rmqbench/refbroker/protocol"
)

// Versions of brokers at which the body of their registration changed, as ordinals of Java's MQVersion.
const (
	versionBody    = 37  // 3.0.11: before it the body is a bare TopicConfigTable
	versionMapping = 413 // 5.0.0: static topics in compressed bodies
)

// maxInflated bounds what a compressed registration may grow to.
const maxInflated = 256 << 20

// registerBody is the body of REGISTER_BROKER.
type registerBody struct {
	Topics  protocol.TopicConfigTable `json:"topicConfigSerializeWrapper"`
	Filters []string                  `json:"filterServerList"`
}

// parseRegisterBody reads the body of a registration. A 5.3.2 broker that
// compresses it says that it does not, so the first byte decides.
func parseRegisterBody(body []byte, version int32) (*registerBody, error) {
	b := &registerBody{Filters: []string{}}
	var err error
	switch {
	case len(body) == 0:
	case version < versionBody:
		b.Filters = nil
		err = protocol.Unmarshal(body, &b.Topics)
	case body[0] == '{':
		err = protocol.Unmarshal(body, b)
	default:
		b, err = inflateRegisterBody(body, version)
	}
	if err != nil {
		return nil, fmt.Errorf("read registration of %d bytes: %w", len(body), err)
	}
	return b, nil
}

// inflateRegisterBody reads a zlib stream of length-prefixed texts (lengths
// and counts are 4 bytes, big-endian): data version; number of topics, topics;
// filter servers; since 5.0 number of static topics, their mappings.
func inflateRegisterBody(body []byte, version int32) (*registerBody, error) {
	z, err := zlib.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer z.Close() //nolint:errcheck // only read from
	r := &textReader{r: bufio.NewReader(io.LimitReader(z, maxInflated))}
	b := &registerBody{Filters: []string{}}
	b.Topics.TopicConfigTable = map[string]protocol.TopicConfig{}
	r.json(&b.Topics.DataVersion)
	for n := r.int(); n > 0 && r.err == nil; n-- {
		r.topic(b.Topics.TopicConfigTable)
	}
	r.json(&b.Filters)
	if version >= versionMapping && r.err == nil {
		b.Topics.TopicQueueMappingInfoMap = map[string]protocol.TopicQueueMappingInfo{}
		for n := r.int(); n > 0 && r.err == nil; n-- {
			var m protocol.TopicQueueMappingInfo
			r.json(&m)
			b.Topics.TopicQueueMappingInfoMap[m.Topic] = m
		}
	}
	return b, r.err
}

// textReader reads texts with their length before them.
type textReader struct {
	r   *bufio.Reader
	err error
}

func (t *textReader) int() int {
	var b [4]byte
	if t.err == nil {
		_, t.err = io.ReadFull(t.r, b[:])
	}
	return int(int32(binary.BigEndian.Uint32(b[:])))
}

// text reads one text. Memory follows what is there, not the length given.
func (t *textReader) text() []byte {
	n := t.int()
	if t.err == nil && n < 0 {
		t.err = fmt.Errorf("text of %d bytes", n)
	}
	if t.err != nil {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(t.r, int64(n)))
	if err == nil && len(b) < n {
		err = io.ErrUnexpectedEOF
	}
	t.err = err
	return b
}

func (t *textReader) json(v any) {
	if b := t.text(); t.err == nil {
		t.err = protocol.Unmarshal(b, v)
	}
}

// topic reads "name read write perm filter attributes". Attributes that
// contain a blank cannot be read and are left out, as Java does.
func (t *textReader) topic(table map[string]protocol.TopicConfig) {
	line := string(t.text())
	if t.err != nil {
		return
	}
	words := strings.Split(line, " ")
	if len(words) < 5 {
		return
	}
	c := protocol.NewTopicConfig(words[0])
	for i, to := range []*int32{&c.ReadQueueNums, &c.WriteQueueNums, &c.Perm} {
		n, err := strconv.ParseInt(words[i+1], 10, 32)
		if err != nil {
			t.err = fmt.Errorf("topic %q: %w", line, err)
			return
		}
		*to = int32(n)
	}
	c.TopicFilterType = words[4]
	if len(words) == 6 {
		attributes := map[string]string{}
		if protocol.Unmarshal([]byte(words[5]), &attributes) == nil {
			c.Attributes = attributes
		}
	}
	table[c.TopicName] = c
}
