package protocol

import (
	"cmp"
	"encoding/json"
	"strings"
)

// DataVersion orders the states of a table that is replicated as a whole.
type DataVersion struct {
	StateVersion int64 `json:"stateVersion"`
	Timestamp    int64 `json:"timestamp"` // ms since 1970
	Counter      int64 `json:"counter"`
}

// Next moves v on: a change at now (ms since 1970) in the term stateVersion.
func (v *DataVersion) Next(stateVersion, now int64) {
	v.StateVersion, v.Timestamp = stateVersion, now
	v.Counter++
}

// Compare orders by state version, counter and timestamp.
func (v DataVersion) Compare(o DataVersion) int {
	return cmp.Or(cmp.Compare(v.StateVersion, o.StateVersion),
		cmp.Compare(v.Counter, o.Counter), cmp.Compare(v.Timestamp, o.Timestamp))
}

// MessageQueue names one queue of a topic on a broker.
type MessageQueue struct {
	Topic      string `json:"topic"`
	BrokerName string `json:"brokerName"`
	QueueID    int32  `json:"queueId"`
}

// Compare orders queues as Java does: topic, broker, number.
func (q MessageQueue) Compare(o MessageQueue) int {
	return cmp.Or(strings.Compare(q.Topic, o.Topic),
		strings.Compare(q.BrokerName, o.BrokerName), cmp.Compare(q.QueueID, o.QueueID))
}

type plainQueue MessageQueue

// MarshalText lets encoding/json write a queue as a key: its JSON as a string.
func (q MessageQueue) MarshalText() ([]byte, error) { return AppendJSON(nil, plainQueue(q)), nil }

// UnmarshalText reads a queue that was a key.
func (q *MessageQueue) UnmarshalText(text []byte) error {
	return json.Unmarshal(text, (*plainQueue)(q))
}

// MarshalJSON writes a queue that is a value.
func (q MessageQueue) MarshalJSON() ([]byte, error) { return AppendJSON(nil, plainQueue(q)), nil }

// UnmarshalJSON reads a queue that is a value. encoding/json comes here with
// keys too, in their quotes.
func (q *MessageQueue) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		var key string
		if err := json.Unmarshal(text, &key); err != nil {
			return err
		}
		text = []byte(key)
	}
	return json.Unmarshal(text, (*plainQueue)(q))
}

// MarshalText returns the language's name.
func (l Language) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads a name; one that is not known is LanguageUnknown.
func (l *Language) UnmarshalText(text []byte) error {
	*l = ParseLanguage(string(text))
	return nil
}

// KVTable is a table of text: runtime information, a NameServer's namespace.
type KVTable struct {
	Table map[string]string `json:"table"`
}

// TopicList lists topics.
type TopicList struct {
	TopicList  []string `json:"topicList"`
	BrokerAddr string   `json:"brokerAddr,omitempty"`
}

// GroupList lists groups.
type GroupList struct {
	GroupList []string `json:"groupList"`
}

// ConsumerList lists the clients of a group, in answer to GET_CONSUMER_LIST_BY_GROUP.
type ConsumerList struct {
	ConsumerIDList []string `json:"consumerIdList"`
}

// LockBatchBody asks for queues to be locked or unlocked.
type LockBatchBody struct {
	ConsumerGroup  string         `json:"consumerGroup"`
	ClientID       string         `json:"clientId"`
	OnlyThisBroker bool           `json:"onlyThisBroker"`
	MQSet          []MessageQueue `json:"mqSet"`
}

// LockBatchResult tells which queues the client now holds.
type LockBatchResult struct {
	LockOKMQSet []MessageQueue `json:"lockOKMQSet"`
}

// UserInfo is a user of authentication.
type UserInfo struct {
	Username   string `json:"username"`
	Password   string `json:"password,omitempty"`
	UserType   string `json:"userType,omitempty"`
	UserStatus string `json:"userStatus,omitempty"`
}

// AclInfo lists what a subject may do.
type AclInfo struct {
	Subject  string       `json:"subject"`
	Policies []PolicyInfo `json:"policies"`
}

// PolicyInfo is one policy of an AclInfo.
type PolicyInfo struct {
	PolicyType string            `json:"policyType,omitempty"`
	Entries    []PolicyEntryInfo `json:"entries"`
}

// PolicyEntryInfo is one entry of a policy.
type PolicyEntryInfo struct {
	Resource  string   `json:"resource"`
	Actions   []string `json:"actions"`
	SourceIPs []string `json:"sourceIps,omitempty"`
	Decision  string   `json:"decision,omitempty"`
}
