package broker

import "strings"

// Names of topics and groups that mean something to a broker (RocketMQ's
// TopicValidator and MixAll).
const (
	topicAutoCreate   = "TBW102"
	topicSchedule     = "SCHEDULE_TOPIC_XXXX"
	topicBenchmark    = "BenchmarkTest"
	topicHalf         = "RMQ_SYS_TRANS_HALF_TOPIC"
	topicOpHalf       = "RMQ_SYS_TRANS_OP_HALF_TOPIC"
	topicTrace        = "RMQ_SYS_TRACE_TOPIC"
	topicMaxChecks    = "TRANS_CHECK_MAX_TIME_TOPIC"
	topicSelfTest     = "SELF_TEST_TOPIC"
	topicOffsetMoved  = "OFFSET_MOVED_EVENT"
	topicCheckpoint   = "CHECKPOINT_TOPIC"
	topicTimer        = "rmq_sys_wheel_timer"
	prefixSystemTopic = "rmq_sys_"
	prefixReviveLog   = "rmq_sys_REVIVE_LOG_"
	prefixBrokerGroup = "rmq_sys_SYNC_BROKER_MEMBER_"
	suffixReplyTopic  = "_REPLY_TOPIC"

	prefixRetry    = "%RETRY%"
	prefixDLQ      = "%DLQ%"
	prefixSysGroup = "CID_RMQ_SYS_"

	maxNameLength = 127 // of a topic that clients name, and of a group: 255
	maxGroupName  = 255
)

// defaultGroups exist on every broker.
var defaultGroups = []string{
	"TOOLS_CONSUMER", "FILTERSRV_CONSUMER", "SELF_TEST_C_GROUP", "CID_ONS-HTTP-PROXY",
	"CID_ONSAPI_PULL", "CID_ONSAPI_PERMISSION", "CID_ONSAPI_OWNER", "CID_RMQ_SYS_TRANS",
}

// Remark of the documentation that Java appends to some errors.
const seeFAQ = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."

// badTopicName returns why clients may not use a topic name, or nothing.
func badTopicName(topic string) string {
	switch {
	case strings.TrimSpace(topic) == "":
		return "The specified topic is blank."
	case hasIllegalRune(topic):
		return "The specified topic contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"
	case len(topic) > maxNameLength:
		return "The specified topic is longer than topic max length."
	}
	return ""
}

// hasIllegalRune reports whether s has a character that names may not have.
func hasIllegalRune(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '%' && c != '|' && c != '_' && c != '-' {
			return true
		}
	}
	return false
}

// sendForbidden reports whether clients may not send to a topic.
func sendForbidden(topic string) bool {
	switch topic {
	case topicSchedule, topicHalf, topicOpHalf, topicMaxChecks, topicSelfTest, topicOffsetMoved:
		return true
	}
	return false
}

func isRetryTopic(topic string) bool { return strings.HasPrefix(topic, prefixRetry) }

func retryTopic(group string) string { return prefixRetry + group }

func dlqTopic(group string) string { return prefixDLQ + group }

// isSystemGroup reports whether a group is the broker's own.
func isSystemGroup(group string) bool { return strings.HasPrefix(group, prefixSysGroup) }
