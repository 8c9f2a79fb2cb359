package protocol

import (
	"encoding/binary"
	"fmt"
)

// ConsumerFilterTable is the file consumerFilter.json: what consumer groups
// filter by expressions.
type ConsumerFilterTable struct {
	FilterDataByTopic map[string]*ConsumerFilterTopic `json:"filterDataByTopic"`
}

// ConsumerFilterTopic are the filters of the groups that subscribe to a topic.
type ConsumerFilterTopic struct {
	GroupFilterData map[string]*ConsumerFilterData `json:"groupFilterData"`
	Topic           string                         `json:"topic"`
}

// ConsumerFilterData is the filter of one group for one topic. Times are ms
// since 1970.
type ConsumerFilterData struct {
	BloomFilterData *BloomFilterData `json:"bloomFilterData,omitempty"`
	BornTime        int64            `json:"bornTime"`      // messages stored later have its bits
	ClientVersion   int64            `json:"clientVersion"` // of the subscription
	ConsumerGroup   string           `json:"consumerGroup"`
	Dead            bool             `json:"dead"`     // derived: DeadTime ≥ BornTime
	DeadTime        int64            `json:"deadTime"` // when the group went, 0 while it is there
	Expression      string           `json:"expression"`
	ExpressionType  string           `json:"expressionType"`
	Topic           string           `json:"topic"`
}

// BloomFilterData are the positions of a group in the bit maps of messages.
type BloomFilterData struct {
	BitNum int     `json:"bitNum"` // bits of a map
	BitPos []int32 `json:"bitPos"`
}

// RecordProperties returns the properties of the record at the start of b, a
// view of it. Errors wrap ErrBadRecord.
func RecordProperties(b []byte) (string, error) {
	size, err := RecordSize(b)
	if err != nil {
		return "", err
	}
	sysFlag := int32(binary.BigEndian.Uint32(b[OffSysFlag:]))
	at := OffBodyLength(sysFlag)
	if at > size {
		return "", fmt.Errorf("%w: size %d", ErrBadRecord, size)
	}
	version := versionOf(binary.BigEndian.Uint32(b[OffMagic:]))
	_, rest, ok := cutSized(b[at:size], 4)
	if ok && version != 0 {
		if _, rest, ok = cutSized(rest, int(version)); ok {
			if properties, _, ok := cutSized(rest, 2); ok {
				return alias(properties), nil
			}
		}
	}
	return "", fmt.Errorf("%w: no properties in %d bytes", ErrBadRecord, size)
}
