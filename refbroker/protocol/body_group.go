package protocol

import "encoding/json"

// SubscriptionGroupConfig is a consumer group as its broker knows it.
type SubscriptionGroupConfig struct {
	GroupName                      string                   `json:"groupName"`
	ConsumeEnable                  bool                     `json:"consumeEnable"`
	ConsumeFromMinEnable           bool                     `json:"consumeFromMinEnable"`
	ConsumeBroadcastEnable         bool                     `json:"consumeBroadcastEnable"`
	ConsumeMessageOrderly          bool                     `json:"consumeMessageOrderly"`
	RetryQueueNums                 int32                    `json:"retryQueueNums"`
	RetryMaxTimes                  int32                    `json:"retryMaxTimes"`
	GroupRetryPolicy               GroupRetryPolicy         `json:"groupRetryPolicy"`
	BrokerID                       int64                    `json:"brokerId"`
	WhichBrokerWhenConsumeSlowly   int64                    `json:"whichBrokerWhenConsumeSlowly"`
	NotifyConsumerIDsChangedEnable bool                     `json:"notifyConsumerIdsChangedEnable"`
	GroupSysFlag                   int32                    `json:"groupSysFlag"`
	ConsumeTimeoutMinute           int32                    `json:"consumeTimeoutMinute"`
	SubscriptionDataSet            []SimpleSubscriptionData `json:"subscriptionDataSet,omitempty"`
	Attributes                     map[string]string        `json:"attributes"`
}

// NewSubscriptionGroupConfig returns a group with Java's defaults.
func NewSubscriptionGroupConfig(name string) SubscriptionGroupConfig {
	return SubscriptionGroupConfig{
		GroupName: name, ConsumeEnable: true, ConsumeFromMinEnable: true, ConsumeBroadcastEnable: true,
		RetryQueueNums: 1, RetryMaxTimes: 16, GroupRetryPolicy: GroupRetryPolicy{Type: "CUSTOMIZED"},
		WhichBrokerWhenConsumeSlowly: 1, NotifyConsumerIDsChangedEnable: true, ConsumeTimeoutMinute: 15,
		Attributes: map[string]string{},
	}
}

// UnmarshalJSON gives members that are missing their defaults.
func (c *SubscriptionGroupConfig) UnmarshalJSON(text []byte) error {
	type plain SubscriptionGroupConfig
	*c = NewSubscriptionGroupConfig("")
	return json.Unmarshal(text, (*plain)(c))
}

// GroupRetryPolicy says how long a message waits before each new attempt.
type GroupRetryPolicy struct {
	Type                   string                  `json:"type"` // CUSTOMIZED or EXPONENTIAL
	ExponentialRetryPolicy *ExponentialRetryPolicy `json:"exponentialRetryPolicy,omitempty"`
	CustomizedRetryPolicy  *CustomizedRetryPolicy  `json:"customizedRetryPolicy,omitempty"`
}

// ExponentialRetryPolicy waits Initial ms, then Multiplier times longer each time, at most Max ms.
type ExponentialRetryPolicy struct {
	Initial    int64 `json:"initial"`
	Max        int64 `json:"max"`
	Multiplier int64 `json:"multiplier"`
}

// UnmarshalJSON gives members that are missing their defaults.
func (p *ExponentialRetryPolicy) UnmarshalJSON(text []byte) error {
	type plain ExponentialRetryPolicy
	*p = ExponentialRetryPolicy{Initial: 5_000, Max: 7_200_000, Multiplier: 2}
	return json.Unmarshal(text, (*plain)(p))
}

// CustomizedRetryPolicy lists the waits in ms.
type CustomizedRetryPolicy struct {
	Next []int64 `json:"next"`
}

// SimpleSubscriptionData is a subscription that is part of a group's configuration.
type SimpleSubscriptionData struct {
	Topic          string `json:"topic"`
	ExpressionType string `json:"expressionType"`
	Expression     string `json:"expression"`
	Version        int64  `json:"version"`
}

// SubscriptionGroupTable is the answer to GET_ALL_SUBSCRIPTIONGROUP_CONFIG and
// the file subscriptionGroup.json.
type SubscriptionGroupTable struct {
	DataVersion            DataVersion                        `json:"dataVersion"`
	ForbiddenTable         map[string]map[string]int32        `json:"forbiddenTable"`
	SubscriptionGroupTable map[string]SubscriptionGroupConfig `json:"subscriptionGroupTable"`
}

// SubscriptionGroupList is the body of UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST.
type SubscriptionGroupList struct {
	GroupConfigList []SubscriptionGroupConfig `json:"groupConfigList"`
}

// GroupForbidden is the answer to UPDATE_AND_GET_GROUP_FORBIDDEN.
type GroupForbidden struct {
	Topic    string `json:"topic"`
	Group    string `json:"group"`
	Readable *bool  `json:"readable,omitempty"`
}

// ConsumerOffsetTable is the answer to GET_ALL_CONSUMER_OFFSET and the file
// consumerOffset.json: by topic@group, the offset of each queue.
type ConsumerOffsetTable struct {
	DataVersion    *DataVersion               `json:"dataVersion,omitempty"`
	OffsetTable    map[string]map[int32]int64 `json:"offsetTable"`
	LmqOffsetTable map[string]int64           `json:"lmqOffsetTable,omitempty"` // only in lmqConsumerOffset.json
}

// DelayOffsetTable is the answer to GET_ALL_DELAY_OFFSET and the file
// delayOffset.json: by delay level, the offset of its queue.
type DelayOffsetTable struct {
	DataVersion *DataVersion    `json:"dataVersion,omitempty"`
	OffsetTable map[int32]int64 `json:"offsetTable"`
}

// CorrectionOffsets is the answer to QUERY_CORRECTION_OFFSET, by queue.
type CorrectionOffsets struct {
	CorrectionOffsets map[int32]int64 `json:"correctionOffsets"`
}

// MessageRequestModeTable is the answer to GET_ALL_MESSAGE_REQUEST_MODE and the
// file messageRequestMode.json: by topic and group.
type MessageRequestModeTable struct {
	MessageRequestModeMap map[string]map[string]MessageRequestMode `json:"messageRequestModeMap"`
}

// MessageRequestMode says how a group gets a topic's messages; body of SET_MESSAGE_REQUEST_MODE.
type MessageRequestMode struct {
	Topic            string `json:"topic"`
	ConsumerGroup    string `json:"consumerGroup"`
	Mode             string `json:"mode"` // PULL or POP
	PopShareQueueNum int32  `json:"popShareQueueNum"`
}

// QueryAssignmentBody is the body of QUERY_ASSIGNMENT.
type QueryAssignmentBody struct {
	Topic         string `json:"topic"`
	ConsumerGroup string `json:"consumerGroup"`
	ClientID      string `json:"clientId"`
	StrategyName  string `json:"strategyName"` // AVG or AVG_BY_CIRCLE
	MessageModel  string `json:"messageModel"`
}

// AssignmentResult is the answer to QUERY_ASSIGNMENT; a nil set means that the
// client keeps what it has.
type AssignmentResult struct {
	MessageQueueAssignments *[]MessageQueueAssignment `json:"messageQueueAssignments,omitempty"`
}

// MessageQueueAssignment is a queue and how to get its messages.
type MessageQueueAssignment struct {
	MessageQueue *MessageQueue     `json:"messageQueue,omitempty"`
	Mode         string            `json:"mode"` // PULL or POP
	Attachments  map[string]string `json:"attachments,omitempty"`
}

// BatchAckBody is the body of BATCH_ACK_MESSAGE.
type BatchAckBody struct {
	BrokerName string     `json:"brokerName"`
	Acks       []BatchAck `json:"acks"`
}

// BatchAck acknowledges messages of one pop. BitSet holds a bit for each offset
// behind StartOffset, lowest first, in bytes as Java's BitSet has them.
type BatchAck struct {
	ConsumerGroup string `json:"c"`
	Topic         string `json:"t"`
	Retry         string `json:"r"` // "0", "1" or "2": retry topic of that version
	StartOffset   int64  `json:"so"`
	QueueID       int32  `json:"q"`
	ReviveQueueID int32  `json:"rq"`
	PopTime       int64  `json:"pt"` // ms since 1970
	InvisibleTime int64  `json:"it"` // ms
	BitSet        []byte `json:"b"`
}

// UnmarshalJSON accepts the long names of the members too.
func (a *BatchAck) UnmarshalJSON(text []byte) error {
	type plain BatchAck
	long := struct {
		*plain
		ConsumerGroup *string `json:"consumerGroup"`
		Topic         *string `json:"topic"`
		Retry         *string `json:"retry"`
		StartOffset   *int64  `json:"startOffset"`
		QueueID       *int32  `json:"queueId"`
		ReviveQueueID *int32  `json:"reviveQueueId"`
		PopTime       *int64  `json:"popTime"`
		InvisibleTime *int64  `json:"invisibleTime"`
		BitSet        *[]byte `json:"bitSet"`
	}{(*plain)(a), &a.ConsumerGroup, &a.Topic, &a.Retry, &a.StartOffset, &a.QueueID,
		&a.ReviveQueueID, &a.PopTime, &a.InvisibleTime, &a.BitSet}
	return json.Unmarshal(text, &long)
}
