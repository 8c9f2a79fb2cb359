package clientgo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	clienterrors "github.com/apache/rocketmq-client-go/v2/errors"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"rmqbench/workloads/driver"
)

// resultOf tells what became of a send. An answer with another code than those
// of a SendStatus comes as an error text.
func resultOf(res *primitive.SendResult, err error) driver.Result {
	if err != nil {
		return failure(err)
	}
	out := driver.Result{Offset: res.QueueOffset}
	if q := res.MessageQueue; q != nil {
		out.Broker, out.Queue = q.BrokerName, int32(q.QueueId)
	}
	switch res.Status {
	case primitive.SendOK:
		out.Outcome = driver.Acked
	case primitive.SendFlushDiskTimeout:
		out.Outcome, out.Code = driver.FlushDiskTimeout, 10
	case primitive.SendFlushSlaveTimeout:
		out.Outcome, out.Code = driver.FlushSlaveTimeout, 12
	case primitive.SendSlaveNotAvailable:
		out.Outcome, out.Code = driver.SlaveNotAvailable, 11
	default:
		out.Outcome, out.Remark = driver.Broken, "the client does not know what became of it"
	}
	return out
}

func failure(err error) driver.Result {
	out := driver.Result{Outcome: driver.Broken, Offset: -1, Remark: err.Error()}
	var op *net.OpError
	switch {
	case brokerCode(err, &out.Code):
		out.Outcome = driver.OutcomeOf(out.Code)
		if _, remark, found := strings.Cut(out.Remark, ", DESC: "); found {
			out.Remark = remark
		}
	case errors.Is(err, clienterrors.ErrRequestTimeout), errors.Is(err, context.DeadlineExceeded):
		out.Outcome = driver.Timeout
	case errors.Is(err, context.Canceled):
	case errors.As(err, &op) && op.Op == "dial":
		out.Outcome = driver.Unsent
	case errors.As(err, &op) && op.Timeout():
		out.Outcome = driver.Timeout // the write took all the time there was
	case op == nil: // not of the network: no route, client not running
		out.Outcome = driver.Unsent
	}
	return out
}

// brokerCode reads the code out of "CODE: 14, DESC: …".
func brokerCode(err error, code *int32) bool {
	n, _ := fmt.Sscanf(err.Error(), "CODE: %d,", code)
	return n == 1
}

func unsent(why string) driver.Result {
	return driver.Result{Outcome: driver.Unsent, Offset: -1, Remark: why}
}

func broken(why string) driver.Result {
	return driver.Result{Outcome: driver.Broken, Offset: -1, Remark: why}
}
