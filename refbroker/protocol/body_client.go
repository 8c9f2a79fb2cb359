package protocol

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// HeartbeatData is the body of HEART_BEAT.
type HeartbeatData struct {
	ClientID             string         `json:"clientID"`
	ProducerDataSet      []ProducerData `json:"producerDataSet"`
	ConsumerDataSet      []ConsumerData `json:"consumerDataSet"`
	HeartbeatFingerprint int32          `json:"heartbeatFingerprint"`
	WithoutSub           bool           `json:"withoutSub"`
}

// ProducerData is a producer group that a client belongs to.
type ProducerData struct {
	GroupName string `json:"groupName"`
}

// ConsumerData is a consumer group that a client belongs to.
type ConsumerData struct {
	GroupName           string             `json:"groupName"`
	ConsumeType         string             `json:"consumeType"`      // CONSUME_PASSIVELY, CONSUME_ACTIVELY, CONSUME_POP
	MessageModel        string             `json:"messageModel"`     // CLUSTERING, BROADCASTING
	ConsumeFromWhere    string             `json:"consumeFromWhere"` // CONSUME_FROM_LAST_OFFSET, …
	SubscriptionDataSet []SubscriptionData `json:"subscriptionDataSet"`
	UnitMode            bool               `json:"unitMode"`
}

// SubscriptionData is a consumer's subscription of a topic.
type SubscriptionData struct {
	Topic           string   `json:"topic"`
	SubString       string   `json:"subString"`
	TagsSet         []string `json:"tagsSet"`
	CodeSet         TagCodes `json:"codeSet"`    // hashes of the tags; see RecomputeCodes
	SubVersion      int64    `json:"subVersion"` // grows with each change
	ExpressionType  string   `json:"expressionType"`
	ClassFilterMode bool     `json:"classFilterMode"`
}

// UnmarshalJSON gives members that are missing their defaults.
func (d *SubscriptionData) UnmarshalJSON(text []byte) error {
	type plain SubscriptionData
	*d = SubscriptionData{ExpressionType: ExpressionTag}
	return json.Unmarshal(text, (*plain)(d))
}

// RecomputeCodes sets CodeSet from TagsSet: client-go hashes tags that are not
// ASCII in another way than Java.
func (d *SubscriptionData) RecomputeCodes() {
	d.CodeSet = make(TagCodes, len(d.TagsSet))
	for i, tag := range d.TagsSet {
		d.CodeSet[i] = JavaHash(tag)
	}
}

// TagCodes are hashes of tags. client-go sends them as text.
type TagCodes []int32

// UnmarshalJSON accepts numbers and numbers in quotes.
func (c *TagCodes) UnmarshalJSON(text []byte) error {
	var raw []json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		return err
	}
	*c = make(TagCodes, len(raw))
	for i, code := range raw {
		n, err := strconv.ParseInt(strings.Trim(string(code), `"`), 10, 32)
		if err != nil {
			return fmt.Errorf("code of a tag: %w", err)
		}
		(*c)[i] = int32(n)
	}
	return nil
}

// CheckClientBody is the body of CHECK_CLIENT_CONFIG.
type CheckClientBody struct {
	ClientID         string            `json:"clientId"`
	Group            string            `json:"group"`
	Namespace        string            `json:"namespace,omitempty"`
	SubscriptionData *SubscriptionData `json:"subscriptionData,omitempty"`
}

// Connection is one connected client.
type Connection struct {
	ClientID   string   `json:"clientId"`
	ClientAddr string   `json:"clientAddr"`
	Language   Language `json:"language"`
	Version    int32    `json:"version"`
}

// ProducerConnection is the answer to GET_PRODUCER_CONNECTION_LIST.
type ProducerConnection struct {
	ConnectionSet []Connection `json:"connectionSet"`
}

// ConsumerConnection is the answer to GET_CONSUMER_CONNECTION_LIST.
type ConsumerConnection struct {
	ConnectionSet     []Connection                `json:"connectionSet"`
	SubscriptionTable map[string]SubscriptionData `json:"subscriptionTable"`
	ConsumeType       string                      `json:"consumeType,omitempty"`
	MessageModel      string                      `json:"messageModel,omitempty"`
	ConsumeFromWhere  string                      `json:"consumeFromWhere,omitempty"`
}

// ProducerTable is the answer to GET_ALL_PRODUCER_INFO, by group.
type ProducerTable struct {
	Data map[string][]ProducerInfo `json:"data"`
}

// ProducerInfo is one producer of a ProducerTable.
type ProducerInfo struct {
	ClientID            string   `json:"clientId"`
	RemoteIP            string   `json:"remoteIP"`
	Language            Language `json:"language"`
	Version             int32    `json:"version"`
	LastUpdateTimestamp int64    `json:"lastUpdateTimestamp"` // ms since 1970
}

// ConsumerRunningInfo is a client's answer to GET_CONSUMER_RUNNING_INFO.
type ConsumerRunningInfo struct {
	Properties       map[string]string                    `json:"properties"`
	SubscriptionSet  []SubscriptionData                   `json:"subscriptionSet"`
	MQTable          map[MessageQueue]ProcessQueueInfo    `json:"mqTable"`
	MQPopTable       map[MessageQueue]PopProcessQueueInfo `json:"mqPopTable,omitempty"`
	StatusTable      map[string]ConsumeStatus             `json:"statusTable"`
	UserConsumerInfo map[string]string                    `json:"userConsumerInfo,omitempty"`
	Jstack           string                               `json:"jstack,omitempty"`
}

// ProcessQueueInfo is the state of a queue inside a consumer. Offsets are
// queue offsets, times ms since 1970.
type ProcessQueueInfo struct {
	CommitOffset            int64 `json:"commitOffset"`
	CachedMsgMinOffset      int64 `json:"cachedMsgMinOffset"`
	CachedMsgMaxOffset      int64 `json:"cachedMsgMaxOffset"`
	CachedMsgCount          int32 `json:"cachedMsgCount"`
	CachedMsgSizeInMiB      int32 `json:"cachedMsgSizeInMiB"`
	TransactionMsgMinOffset int64 `json:"transactionMsgMinOffset"`
	TransactionMsgMaxOffset int64 `json:"transactionMsgMaxOffset"`
	TransactionMsgCount     int32 `json:"transactionMsgCount"`
	Locked                  bool  `json:"locked"`
	TryUnlockTimes          int64 `json:"tryUnlockTimes"`
	LastLockTimestamp       int64 `json:"lastLockTimestamp"`
	Dropped                 bool  `json:"droped"`
	LastPullTimestamp       int64 `json:"lastPullTimestamp"`
	LastConsumeTimestamp    int64 `json:"lastConsumeTimestamp"`
}

// PopProcessQueueInfo is the state of a popped queue inside a consumer.
type PopProcessQueueInfo struct {
	WaitAckCount     int32 `json:"waitAckCount"`
	Dropped          bool  `json:"droped"`
	LastPopTimestamp int64 `json:"lastPopTimestamp"`
}

// ConsumeStatus are a consumer's own rates (per second) and times (ms).
type ConsumeStatus struct {
	PullRT            float64 `json:"pullRT"`
	PullTPS           float64 `json:"pullTPS"`
	ConsumeRT         float64 `json:"consumeRT"`
	ConsumeOKTPS      float64 `json:"consumeOKTPS"`
	ConsumeFailedTPS  float64 `json:"consumeFailedTPS"`
	ConsumeFailedMsgs int64   `json:"consumeFailedMsgs"`
}

// ConsumeDirectlyResult is a client's answer to CONSUME_MESSAGE_DIRECTLY.
type ConsumeDirectlyResult struct {
	Order          bool   `json:"order"`
	AutoCommit     bool   `json:"autoCommit"`
	ConsumeResult  string `json:"consumeResult,omitempty"` // CR_SUCCESS, CR_LATER, …
	Remark         string `json:"remark,omitempty"`
	SpentTimeMills int64  `json:"spentTimeMills"`
}
