package driver

import "strconv"

// codeNames are the names of the response codes that a send can be refused
// with, as RocketMQ's ResponseCode has them.
var codeNames = map[int32]string{
	1: "SYSTEM_ERROR", 2: "SYSTEM_BUSY", 3: "REQUEST_CODE_NOT_SUPPORTED",
	10: "FLUSH_DISK_TIMEOUT", 11: "SLAVE_NOT_AVAILABLE", 12: "FLUSH_SLAVE_TIMEOUT",
	13: "MESSAGE_ILLEGAL", 14: "SERVICE_NOT_AVAILABLE", 15: "VERSION_NOT_SUPPORTED",
	16: "NO_PERMISSION", 17: "TOPIC_NOT_EXIST", 18: "TOPIC_EXIST_ALREADY",
	26: "SUBSCRIPTION_GROUP_NOT_EXIST", 29: "INVALID_PARAMETER",
	204: "NO_BUYER_ID", 205: "NOT_IN_CURRENT_UNIT", 215: "FLOW_CONTROL",
	501: "NOT_LEADER_FOR_QUEUE", 604: "ILLEGAL_OPERATION", 1500: "GO_AWAY",
}

// CodeName returns the name of a response code, or "code N".
func CodeName(code int32) string {
	if name, ok := codeNames[code]; ok {
		return name
	}
	return "code " + strconv.Itoa(int(code))
}

// OutcomeOf returns the outcome that a broker's answer to a send stands for.
func OutcomeOf(code int32) Outcome {
	switch code {
	case 0:
		return Acked
	case 2, 215:
		return Busy
	case 10:
		return FlushDiskTimeout
	case 11:
		return SlaveNotAvailable
	case 12:
		return FlushSlaveTimeout
	}
	return Rejected
}
