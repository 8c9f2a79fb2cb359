package protocol

import "strings"

// Properties of a message travel as one string: name 0x01 value 0x02, repeated,
// in any order, the last 0x02 left out at will. A pair without name or value
// counts as absent, and of two pairs of one name the last counts.
const (
	nameEnd = '\x01'
	pairEnd = '\x02'
)

// Names of properties (RocketMQ's MessageConst).
const (
	PropKeys                = "KEYS" // separated by single spaces
	PropTags                = "TAGS"
	PropUniqKey             = "UNIQ_KEY"
	PropWait                = "WAIT" // "false": do not wait for disk and replicas
	PropDelay               = "DELAY"
	PropTimerDelaySec       = "TIMER_DELAY_SEC"
	PropTimerDelayMs        = "TIMER_DELAY_MS"
	PropTimerDeliverMs      = "TIMER_DELIVER_MS"
	PropTimerOutMs          = "TIMER_OUT_MS"
	PropTimerEnqueueMs      = "TIMER_ENQUEUE_MS"
	PropTimerDequeueMs      = "TIMER_DEQUEUE_MS"
	PropTimerRollTimes      = "TIMER_ROLL_TIMES"
	PropTimerDelUniqKey     = "TIMER_DEL_UNIQKEY"
	PropTimerDelayLevel     = "TIMER_DELAY_LEVEL"
	PropRealTopic           = "REAL_TOPIC"
	PropRealQueueID         = "REAL_QID"
	PropRetryTopic          = "RETRY_TOPIC"
	PropOriginMessageID     = "ORIGIN_MESSAGE_ID"
	PropReconsumeTime       = "RECONSUME_TIME"
	PropMaxReconsumeTimes   = "MAX_RECONSUME_TIMES"
	PropDLQOriginTopic      = "DLQ_ORIGIN_TOPIC"
	PropDLQOriginMessageID  = "DLQ_ORIGIN_MESSAGE_ID"
	PropTransactionPrepared = "TRAN_MSG"
	PropProducerGroup       = "PGROUP"
	PropCheckImmunityTime   = "CHECK_IMMUNITY_TIME_IN_SECONDS"
	PropTransactionID       = "__transactionId__"
	PropTransactionChecks   = "TRANSACTION_CHECK_TIMES"
	PropPreparedQueueOffset = "TRAN_PREPARED_QUEUE_OFFSET"
	PropMsgRegion           = "MSG_REGION"
	PropTraceOn             = "TRACE_ON"
	PropCluster             = "CLUSTER"
	PropMessageType         = "MSG_TYPE"
	PropCorrelationID       = "CORRELATION_ID"
	PropReplyToClient       = "REPLY_TO_CLIENT"
	PropTTL                 = "TTL"
	PropArriveTime          = "ARRIVE_TIME"
	PropPushReplyTime       = "PUSH_REPLY_TIME"
	PropPopCK               = "POP_CK"
	PropPopCKOffset         = "POP_CK_OFFSET"
	PropFirstPopTime        = "1ST_POP_TIME"
	PropInnerNum            = "INNER_NUM"
	PropInnerBase           = "INNER_BASE"
	PropInnerMultiDispatch  = "INNER_MULTI_DISPATCH"
	PropInnerMultiQueueOff  = "INNER_MULTI_QUEUE_OFFSET"
	PropMinOffset           = "MIN_OFFSET"
	PropMaxOffset           = "MAX_OFFSET"
	PropConsumeStartTime    = "CONSUME_START_TIME"
	PropShardingKey         = "__SHARDINGKEY"
	PropShardingKeyClientGo = "SHARDING_KEY" // client-go's own name for it
	PropBornTimestamp       = "BORN_TIMESTAMP"
	PropTraceContext        = "TRACE_CONTEXT"
	PropBornHost            = "__BORNHOST"
	PropInstanceID          = "INSTANCE_ID"
	PropDupInfo             = "DUP_INFO"
	PropCRC32               = "__CRC32#"
	PropTransientTopicFlag  = "__RMQ.TRANSIENT.TOPIC_SYS_FLAG"
	PropTransientGroupFlag  = "__RMQ.TRANSIENT.GROUP_SYS_FLAG"
	FieldUniqueKeyQuery     = "_UNIQUE_KEY_QUERY" // field of QUERY_MESSAGE, not a property
	ReplyMessageType        = "reply"             // value of PropMessageType
)

// cutPair splits the pair that ends s from what stands before it.
func cutPair(s string) (rest, pair string) {
	s = strings.TrimSuffix(s, "\x02")
	if at := strings.LastIndexByte(s, pairEnd); at >= 0 {
		return s[:at+1], s[at+1:]
	}
	return "", s
}

// splitPair returns name and value of a pair, ok if it has both.
func splitPair(pair string) (name, value string, ok bool) {
	name, value, _ = strings.Cut(pair, "\x01")
	return name, value, name != "" && value != ""
}

// Property returns the value of a property and whether it is there.
func Property(properties, name string) (string, bool) {
	for properties != "" {
		var pair string
		properties, pair = cutPair(properties)
		if n, v, ok := splitPair(pair); ok && n == name {
			return v, true
		}
	}
	return "", false
}

// EachProperty calls f for each pair in the order of the string, twice for a
// name that stands there twice, until f returns false.
func EachProperty(properties string, f func(name, value string) bool) {
	for properties != "" {
		var pair string
		pair, properties, _ = strings.Cut(properties, "\x02")
		if n, v, ok := splitPair(pair); ok && !f(n, v) {
			return
		}
	}
}

// AppendProperty appends a property to properties, with the separator between
// if it is missing. It does not look for an earlier one of that name; the new
// one counts.
func AppendProperty(properties []byte, name, value string) []byte {
	if n := len(properties); n > 0 && properties[n-1] != pairEnd {
		properties = append(properties, pairEnd)
	}
	properties = append(properties, name...)
	properties = append(properties, nameEnd)
	properties = append(properties, value...)
	return append(properties, pairEnd)
}

// RemoveProperty returns properties without those of a name: the string itself
// when it has none.
func RemoveProperty(properties, name string) string {
	if !hasPair(properties, name) {
		return properties
	}
	kept := make([]byte, 0, len(properties))
	for properties != "" {
		var pair string
		pair, properties, _ = strings.Cut(properties, "\x02")
		if n, _, _ := strings.Cut(pair, "\x01"); n == name || pair == "" {
			continue
		}
		kept = append(append(kept, pair...), pairEnd)
	}
	return alias(kept)
}

// hasPair reports whether any pair has the name, be its value empty.
func hasPair(properties, name string) bool {
	for properties != "" {
		var pair string
		pair, properties, _ = strings.Cut(properties, "\x02")
		if n, _, _ := strings.Cut(pair, "\x01"); n == name {
			return true
		}
	}
	return false
}

// SetProperty returns properties with one value for name, put at the end.
func SetProperty(properties, name, value string) string {
	properties = RemoveProperty(properties, name)
	dst := make([]byte, 0, len(properties)+len(name)+len(value)+3)
	return alias(AppendProperty(append(dst, properties...), name, value))
}
