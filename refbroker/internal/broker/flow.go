package broker

import (
	"fmt"
	"time"

	"rmqbench/refbroker/remoting"
)

// What Java answers instead of storing when it is too busy, with code 2.
const (
	remarkReject  = "[REJECTREQUEST]system busy, start flow control for a while"
	remarkTimeout = "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, period in queue: %dms, size of queue: %d"
	remarkBusy    = "[PCBUSY_CLEAN_QUEUE]broker busy, start flow control for a while, period in queue: %dms, size of queue: %d"
)

// sweepInterval is how often Java looks for requests that wait in vain.
const sweepInterval = 10 * time.Millisecond

// flowControl returns the remark with which a request to store something is
// refused, or "".
//
// Java refuses a request when it comes (SendMessageProcessor.rejectRequest), and
// its BrokerFastFailure sweeps the queue of those that came and wait for a thread:
// all of them while the page cache is busy, and else those that have waited for
// waitTimeMillsInSendQueue. Sends have no queue here. What takes its place is
// what was read from a connection together: the requests of a batch wait for
// those before them, which can be long only when the store blocks. They are
// looked at when their turn comes, and told the same.
func (b *Broker) flowControl(r *remoting.Request) string {
	cfg := b.config()
	waited := time.Duration(time.Now().UnixNano() - r.Arrived)
	switch {
	case b.isSlave(), b.store.PoolEmpty():
		return remarkReject
	case b.store.Busy():
		if cfg.BrokerFastFailureEnable && waited >= sweepInterval {
			return fmt.Sprintf(remarkBusy, waited.Milliseconds(), r.Conn.Owed())
		}
		return remarkReject
	case cfg.BrokerFastFailureEnable && waited >= time.Duration(cfg.WaitTimeMillsInSendQueue)*time.Millisecond:
		return fmt.Sprintf(remarkTimeout, waited.Milliseconds(), r.Conn.Owed())
	}
	return ""
}
