package protocol

import "encoding/json"

// Bits of a topic's perm.
const (
	PermInherit  int32 = 1 // new topics may take this one as a template
	PermWrite    int32 = 2
	PermRead     int32 = 4
	PermPriority int32 = 8
)

// Topic filter types.
const (
	SingleTag = "SINGLE_TAG"
	MultiTag  = "MULTI_TAG"
)

// TopicConfig is a topic as its broker knows it.
type TopicConfig struct {
	TopicName       string            `json:"topicName"`
	ReadQueueNums   int32             `json:"readQueueNums"`
	WriteQueueNums  int32             `json:"writeQueueNums"`
	Perm            int32             `json:"perm"`
	TopicFilterType string            `json:"topicFilterType"`
	TopicSysFlag    int32             `json:"topicSysFlag"`
	Order           bool              `json:"order"`
	Attributes      map[string]string `json:"attributes"`
}

// NewTopicConfig returns a topic with Java's defaults: 16 queues to read and write.
func NewTopicConfig(name string) TopicConfig {
	return TopicConfig{
		TopicName: name, ReadQueueNums: 16, WriteQueueNums: 16, Perm: PermRead | PermWrite,
		TopicFilterType: SingleTag, Attributes: map[string]string{},
	}
}

// UnmarshalJSON gives members that are missing their defaults.
func (c *TopicConfig) UnmarshalJSON(text []byte) error {
	type plain TopicConfig
	*c = NewTopicConfig("")
	return json.Unmarshal(text, (*plain)(c))
}

// TopicConfigAndMapping is the answer to GET_TOPIC_CONFIG.
type TopicConfigAndMapping struct {
	TopicConfig
	MappingDetail *TopicQueueMappingDetail `json:"mappingDetail,omitempty"`
}

// UnmarshalJSON reads the topic and, beside its members, the mapping.
func (c *TopicConfigAndMapping) UnmarshalJSON(text []byte) error {
	var mapping struct {
		MappingDetail *TopicQueueMappingDetail `json:"mappingDetail"`
	}
	if err := json.Unmarshal(text, &mapping); err != nil {
		return err
	}
	c.MappingDetail = mapping.MappingDetail
	return c.TopicConfig.UnmarshalJSON(text)
}

// TopicConfigTable is the answer to GET_ALL_TOPIC_CONFIG, the topics of a
// registration, and (without the mappings) the file topics.json.
type TopicConfigTable struct {
	DataVersion                DataVersion                        `json:"dataVersion"`
	TopicConfigTable           map[string]TopicConfig             `json:"topicConfigTable"`
	MappingDataVersion         *DataVersion                       `json:"mappingDataVersion,omitempty"`
	TopicQueueMappingDetailMap map[string]TopicQueueMappingDetail `json:"topicQueueMappingDetailMap,omitempty"`
	TopicQueueMappingInfoMap   map[string]TopicQueueMappingInfo   `json:"topicQueueMappingInfoMap,omitempty"`
}

// TopicConfigList is the body of UPDATE_AND_CREATE_TOPIC_LIST.
type TopicConfigList struct {
	TopicConfigList []TopicConfig `json:"topicConfigList"`
}

// TopicQueueMappingInfo says which logical queues of a static topic a broker hosts.
type TopicQueueMappingInfo struct {
	Topic       string          `json:"topic"`
	Scope       string          `json:"scope"`
	TotalQueues int32           `json:"totalQueues"`
	BrokerName  string          `json:"bname"`
	Epoch       int64           `json:"epoch"`
	Dirty       bool            `json:"dirty"`
	CurrIDMap   map[int32]int32 `json:"currIdMap"`
}

// TopicQueueMappingDetail is TopicQueueMappingInfo with the history of each queue.
type TopicQueueMappingDetail struct {
	TopicQueueMappingInfo
	HostedQueues map[int32][]LogicQueueMappingItem `json:"hostedQueues"`
}

// TopicQueueMappingTable is the file topicQueueMapping.json.
type TopicQueueMappingTable struct {
	DataVersion              DataVersion                        `json:"dataVersion"`
	TopicQueueMappingInfoMap map[string]TopicQueueMappingDetail `json:"topicQueueMappingInfoMap"`
}

// LogicQueueMappingItem is one stretch of a logical queue on one broker.
type LogicQueueMappingItem struct {
	Gen         int32  `json:"gen"`
	QueueID     int32  `json:"queueId"`
	BrokerName  string `json:"bname"`
	LogicOffset int64  `json:"logicOffset"`
	StartOffset int64  `json:"startOffset"`
	EndOffset   int64  `json:"endOffset"`   // -1 open
	TimeOfStart int64  `json:"timeOfStart"` // -1 unknown
	TimeOfEnd   int64  `json:"timeOfEnd"`   // -1 unknown
}

// UnmarshalJSON gives members that are missing their defaults.
func (i *LogicQueueMappingItem) UnmarshalJSON(text []byte) error {
	type plain LogicQueueMappingItem
	*i = LogicQueueMappingItem{EndOffset: -1, TimeOfStart: -1, TimeOfEnd: -1}
	return json.Unmarshal(text, (*plain)(i))
}

// TopicStatsTable is the answer to GET_TOPIC_STATS_INFO.
type TopicStatsTable struct {
	TopicPutTPS *float64                     `json:"topicPutTps,omitempty"` // 5.3.3 and later
	OffsetTable map[MessageQueue]TopicOffset `json:"offsetTable"`
}

// TopicOffset is the extent of one queue.
type TopicOffset struct {
	MinOffset           int64 `json:"minOffset"`
	MaxOffset           int64 `json:"maxOffset"`
	LastUpdateTimestamp int64 `json:"lastUpdateTimestamp"` // ms since 1970
}

// ConsumeQueueData is one unit of a consume queue.
type ConsumeQueueData struct {
	PhysicOffset   int64  `json:"physicOffset"`
	PhysicSize     int32  `json:"physicSize"`
	TagsCode       int64  `json:"tagsCode"`
	ExtendDataJSON string `json:"extendDataJson,omitempty"`
	BitMap         string `json:"bitMap,omitempty"`
	Eval           bool   `json:"eval"`
	Msg            string `json:"msg,omitempty"`
}

// ConsumeQueueBody is the answer to QUERY_CONSUME_QUEUE.
type ConsumeQueueBody struct {
	SubscriptionData *SubscriptionData  `json:"subscriptionData,omitempty"`
	FilterData       string             `json:"filterData,omitempty"`
	QueueData        []ConsumeQueueData `json:"queueData"`
	MaxQueueIndex    int64              `json:"maxQueueIndex"`
	MinQueueIndex    int64              `json:"minQueueIndex"`
}
