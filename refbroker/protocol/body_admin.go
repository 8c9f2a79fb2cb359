package protocol

// ConsumeStats is the answer to GET_CONSUME_STATS.
type ConsumeStats struct {
	OffsetTable map[MessageQueue]OffsetWrapper `json:"offsetTable"`
	ConsumeTPS  float64                        `json:"consumeTps"`
}

// OffsetWrapper tells how far a group is in a queue.
type OffsetWrapper struct {
	BrokerOffset   int64 `json:"brokerOffset"`
	ConsumerOffset int64 `json:"consumerOffset"`
	PullOffset     int64 `json:"pullOffset"`
	LastTimestamp  int64 `json:"lastTimestamp"` // ms since 1970, of the last message consumed
}

// ConsumeStatsList is the answer to GET_BROKER_CONSUME_STATS.
type ConsumeStatsList struct {
	ConsumeStatsList  []map[string][]ConsumeStats `json:"consumeStatsList"` // one group each
	BrokerAddr        string                      `json:"brokerAddr,omitempty"`
	TotalDiff         int64                       `json:"totalDiff"`
	TotalInflightDiff int64                       `json:"totalInflightDiff"`
}

// ResetOffsetBody tells a consumer, or its administrator, where each queue goes on.
type ResetOffsetBody struct {
	OffsetTable map[MessageQueue]int64 `json:"offsetTable"`
}

// ResetOffsetBodyForC is ResetOffsetBody for clients in C++.
type ResetOffsetBodyForC struct {
	OffsetTable []MessageQueueForC `json:"offsetTable"`
}

// MessageQueueForC is a queue with its offset.
type MessageQueueForC struct {
	Topic      string `json:"topic"`
	BrokerName string `json:"brokerName"`
	QueueID    int32  `json:"queueId"`
	Offset     int64  `json:"offset"`
}

// ConsumerStatusBody is the answer to GET_CONSUMER_STATUS_FROM_CLIENT (the
// first table) and to INVOKE_BROKER_TO_GET_CONSUMER_STATUS (the second, by client).
type ConsumerStatusBody struct {
	MessageQueueTable map[MessageQueue]int64            `json:"messageQueueTable,omitempty"`
	ConsumerTable     map[string]map[MessageQueue]int64 `json:"consumerTable,omitempty"`
}

// ConsumeTimeSpanBody is the answer to QUERY_CONSUME_TIME_SPAN.
type ConsumeTimeSpanBody struct {
	ConsumeTimeSpanSet []QueueTimeSpan `json:"consumeTimeSpanSet"`
}

// QueueTimeSpan are times of a queue's messages in ms since 1970, and the delay in ms.
type QueueTimeSpan struct {
	MessageQueue     *MessageQueue `json:"messageQueue,omitempty"`
	MinTimeStamp     int64         `json:"minTimeStamp"`
	MaxTimeStamp     int64         `json:"maxTimeStamp"`
	ConsumeTimeStamp int64         `json:"consumeTimeStamp"`
	DelayTime        int64         `json:"delayTime"`
}

// SubscriptionBody is the answer to QUERY_SUBSCRIPTION_BY_CONSUMER.
type SubscriptionBody struct {
	Group            string            `json:"group"`
	Topic            string            `json:"topic"`
	SubscriptionData *SubscriptionData `json:"subscriptionData,omitempty"`
}

// BrokerStatsData is the answer to VIEW_BROKER_STATS_DATA.
type BrokerStatsData struct {
	StatsMinute *BrokerStatsItem `json:"statsMinute,omitempty"`
	StatsHour   *BrokerStatsItem `json:"statsHour,omitempty"`
	StatsDay    *BrokerStatsItem `json:"statsDay,omitempty"`
}

// BrokerStatsItem is one statistic over one span of time.
type BrokerStatsItem struct {
	Sum   int64   `json:"sum"`
	TPS   float64 `json:"tps"`
	AvgPt float64 `json:"avgpt"`
}

// HARuntimeInfo is the answer to GET_BROKER_HA_STATUS.
type HARuntimeInfo struct {
	Master                   bool                      `json:"master"`
	MasterCommitLogMaxOffset int64                     `json:"masterCommitLogMaxOffset"`
	InSyncSlaveNums          int32                     `json:"inSyncSlaveNums"`
	HAConnectionInfo         []HAConnectionRuntimeInfo `json:"haConnectionInfo"`
	HAClientRuntimeInfo      *HAClientRuntimeInfo      `json:"haClientRuntimeInfo,omitempty"`
}

// HAConnectionRuntimeInfo is a slave as its master sees it.
type HAConnectionRuntimeInfo struct {
	Addr                    string `json:"addr"`
	SlaveAckOffset          int64  `json:"slaveAckOffset"`
	Diff                    int64  `json:"diff"`
	InSync                  bool   `json:"inSync"`
	TransferredByteInSecond int64  `json:"transferredByteInSecond"`
	TransferFromWhere       int64  `json:"transferFromWhere"`
}

// HAClientRuntimeInfo is a master as its slave sees it.
type HAClientRuntimeInfo struct {
	MasterAddr              string `json:"masterAddr,omitempty"`
	TransferredByteInSecond int64  `json:"transferredByteInSecond"`
	MaxOffset               int64  `json:"maxOffset"`
	LastReadTimestamp       int64  `json:"lastReadTimestamp"`
	LastWriteTimestamp      int64  `json:"lastWriteTimestamp"`
	MasterFlushOffset       int64  `json:"masterFlushOffset"`
	Activated               bool   `json:"activated"`
}

// SyncStateSet is the set of replicas that hold all that was acknowledged.
type SyncStateSet struct {
	SyncStateSet      []int64 `json:"syncStateSet"`
	SyncStateSetEpoch int32   `json:"syncStateSetEpoch"`
}

// ElectMasterBody is the answer to CONTROLLER_ELECT_MASTER.
type ElectMasterBody struct {
	BrokerMemberGroup *BrokerMemberGroup `json:"brokerMemberGroup,omitempty"`
	SyncStateSet      []int64            `json:"syncStateSet"`
}

// EpochEntryCache is the answer to GET_BROKER_EPOCH_CACHE.
type EpochEntryCache struct {
	ClusterName string       `json:"clusterName"`
	BrokerName  string       `json:"brokerName"`
	BrokerID    int64        `json:"brokerId"`
	EpochList   []EpochEntry `json:"epochList"`
	MaxOffset   int64        `json:"maxOffset"`
}

// EpochEntry is the stretch of the commit log that one master wrote.
type EpochEntry struct {
	Epoch       int32 `json:"epoch"`
	StartOffset int64 `json:"startOffset"`
	EndOffset   int64 `json:"endOffset"` // exclusive; the largest number while it lasts
}

// CheckRocksDBResult is the answer to CHECK_ROCKSDB_CQ_WRITE_PROGRESS.
type CheckRocksDBResult struct {
	CheckResult string `json:"checkResult,omitempty"`
	CheckStatus int32  `json:"checkStatus"`
}

// BrokerReplicasInfo is the answer to CONTROLLER_GET_SYNC_STATE_DATA, by broker name.
type BrokerReplicasInfo struct {
	ReplicasInfoTable map[string]ReplicasInfo `json:"replicasInfoTable"`
}

// ReplicasInfo are the replicas of one broker name.
type ReplicasInfo struct {
	MasterBrokerID    *int64            `json:"masterBrokerId,omitempty"`
	MasterAddress     string            `json:"masterAddress,omitempty"`
	MasterEpoch       int32             `json:"masterEpoch"`
	SyncStateSetEpoch int32             `json:"syncStateSetEpoch"`
	InSyncReplicas    []ReplicaIdentity `json:"inSyncReplicas"`
	NotInSyncReplicas []ReplicaIdentity `json:"notInSyncReplicas"`
}

// ReplicaIdentity is one replica as the controller knows it.
type ReplicaIdentity struct {
	BrokerName    string `json:"brokerName"`
	BrokerID      int64  `json:"brokerId"`
	BrokerAddress string `json:"brokerAddress"`
	Alive         bool   `json:"alive"`
}
