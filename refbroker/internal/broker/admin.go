package broker

import (
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// adminHandlers are the requests of Java's default processor, by code.
func (b *Broker) adminHandlers() map[int32]remoting.Handler {
	return map[int32]remoting.Handler{
		protocol.CodeUpdateAndCreateTopic:                 b.updateTopic,
		protocol.CodeUpdateAndCreateTopicList:             b.updateTopicList,
		protocol.CodeDeleteTopicInBroker:                  b.deleteTopic,
		protocol.CodeGetAllTopicConfig:                    b.allTopics,
		protocol.CodeGetTopicConfig:                       b.topicConfig,
		protocol.CodeGetSystemTopicListFromBroker:         b.systemTopicList,
		protocol.CodeUpdateAndCreateSubscriptionGroup:     b.updateGroup,
		protocol.CodeUpdateAndCreateSubscriptionGroupList: b.updateGroupList,
		protocol.CodeGetAllSubscriptionGroupConfig:        b.allGroups,
		protocol.CodeGetSubscriptionGroupConfig:           b.groupConfig,
		protocol.CodeDeleteSubscriptionGroup:              b.deleteGroup,
		protocol.CodeUpdateAndGetGroupForbidden:           b.forbidGroup,
		protocol.CodeUpdateBrokerConfig:                   b.updateConfig,
		protocol.CodeGetBrokerConfig:                      b.showConfig,
		protocol.CodeSearchOffsetByTimestamp:              b.searchOffset,
		protocol.CodeGetMaxOffset:                         b.maxOffset,
		protocol.CodeGetMinOffset:                         b.minOffset,
		protocol.CodeGetEarliestMsgStoreTime:              b.earliestTime,
		protocol.CodeLockBatchMQ:                          b.lockQueues,
		protocol.CodeUnlockBatchMQ:                        b.unlockQueues,
		protocol.CodeGetAllConsumerOffset:                 b.allOffsets,
		protocol.CodeGetAllDelayOffset:                    b.allDelayOffsets,
		protocol.CodeGetAllMessageRequestMode:             b.allRequestModes,
	}
}

// allOffsets handles GET_ALL_CONSUMER_OFFSET.
func (b *Broker) allOffsets(r *remoting.Request) {
	f := b.offsets.file()
	replyJSON(r, &f)
}

// allDelayOffsets handles GET_ALL_DELAY_OFFSET.
func (b *Broker) allDelayOffsets(r *remoting.Request) {
	f := b.schedule.file()
	replyJSON(r, &f)
}
