package broker

import (
	"strings"

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
		protocol.CodeGetBrokerRuntimeInfo:                 b.runtimeInfo,
		protocol.CodeViewBrokerStatsData:                  b.brokerStats,
		protocol.CodeGetTopicStatsInfo:                    b.topicStats,
		protocol.CodeGetConsumeStats:                      b.consumeStats,
		protocol.CodeGetBrokerConsumeStats:                b.brokerConsumeStats,
		protocol.CodeQueryConsumeTimeSpan:                 b.consumeTimeSpan,
		protocol.CodeQueryTopicConsumeByWho:               b.whoConsumes,
		protocol.CodeQueryTopicsByConsumer:                b.topicsOfGroup,
		protocol.CodeQuerySubscriptionByConsumer:          b.subscriptionOfGroup,
		protocol.CodeQueryCorrectionOffset:                b.correctionOffsets,
		protocol.CodeQueryConsumeQueue:                    b.consumeQueue,
		protocol.CodeGetConsumerConnectionList:            b.consumerConnections,
		protocol.CodeGetProducerConnectionList:            b.producerConnections,
		protocol.CodeGetAllProducerInfo:                   b.allProducers,
		protocol.CodeGetConsumerRunningInfo:               b.consumerRunningInfo,
		protocol.CodeConsumeMessageDirectly:               b.consumeDirectly,
		protocol.CodeInvokeBrokerToGetConsumerStatus:      b.consumerStatus,
		protocol.CodeInvokeBrokerToResetOffset:            b.resetOffset,
		protocol.CodeCloneGroupOffset:                     b.cloneOffset,
		protocol.CodeCleanUnusedTopic:                     b.cleanUnusedTopics,
		protocol.CodeCleanExpiredConsumeQueue:             b.cleanExpiredQueues,
		protocol.CodeDeleteExpiredCommitLog:               b.deleteExpiredLog,
		protocol.CodeGetTimerCheckPoint:                   b.timerCheckPoint,
		protocol.CodeGetTimerMetrics:                      b.timerMetrics,
		protocol.CodeRecallMessage:                        b.recall,
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

// cleanUnusedTopics handles CLEAN_UNUSED_TOPIC: the queues of topics that do
// not exist any more are deleted.
func (b *Broker) cleanUnusedTopics(r *remoting.Request) {
	for _, name := range b.store.Topics() {
		if b.topics.get(name) != nil || b.topics.isSystem(name) || strings.HasPrefix(name, lmqPrefix) {
			continue
		}
		if err := b.store.DeleteTopic(name); err != nil {
			r.Error(protocol.RespSystemError, err.Error())
			return
		}
		b.log.Info("queues of an unknown topic deleted", "topic", name)
	}
	r.Reply(r.Response())
}

// lmqPrefix begins the names of light message queues, which have no topic of
// their own in the table.
const lmqPrefix = "%LMQ%"

// cleanExpiredQueues handles CLEAN_EXPIRED_CONSUMEQUEUE: queues of which the log
// has no record any more are deleted.
func (b *Broker) cleanExpiredQueues(r *remoting.Request) {
	if err := b.store.DeleteExpiredQueues(b.topics.isSystem); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	r.Reply(r.Response())
}

// deleteExpiredLog handles DELETE_EXPIRED_COMMITLOG: the next runs of the
// cleaner do not wait for the hours of deleteWhen.
func (b *Broker) deleteExpiredLog(r *remoting.Request) {
	b.store.DeleteExpired()
	b.log.Warn("expired commit log files are to be deleted", "by", r.Conn.Remote())
	r.Reply(r.Response())
}
