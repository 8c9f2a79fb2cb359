package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// limitReady is what the limit says once it listens, followed by its address.
const limitReady = "limit listens on "

// startLimit starts the server that only answers as a process of its own, so
// that it shares the machine with the generator as a broker does.
func startLimit(ctx context.Context, _ *bench) (*target, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "limit")
	hold, err := cmd.StdinPipe() // the limit ends when this closes
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	t := &target{name: limitName}
	t.end = func() {
		hold.Close() //nolint:errcheck // ends it
		cmd.Wait()   //nolint:errcheck // its status says nothing
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, limitReady) {
		t.end()
		return nil, fmt.Errorf("it did not get ready: %q: %w", line, err)
	}
	return t, t.connect([]string{strings.TrimSpace(strings.TrimPrefix(line, limitReady))})
}

// runLimit serves until standard input ends: it is the name server of one
// topic and its broker, and answers every send without looking at it.
func runLimit(out io.Writer) int {
	s := remoting.NewServer(remoting.ServerOptions{})
	var addr string
	s.Handle(protocol.CodeGetRouteInfoByTopic, func(r *remoting.Request) {
		route := protocol.TopicRouteData{
			BrokerDatas: []protocol.BrokerData{{Cluster: "limit", BrokerName: "limit", BrokerAddrs: map[int64]string{0: addr}}},
			QueueDatas:  []protocol.QueueData{{BrokerName: "limit", ReadQueueNums: benchQueues, WriteQueueNums: benchQueues, Perm: 6}},
		}
		r.Reply(&protocol.Command{Body: protocol.Marshal(route)})
	})
	s.Handle(protocol.CodeHeartBeat, func(r *remoting.Request) { r.Reply(&protocol.Command{}) })
	for _, code := range []int32{protocol.CodeSendMessageV2, protocol.CodeSendBatchMessage} {
		s.Handle(code, func(r *remoting.Request) {
			resp := r.Response()
			resp.Header = answer
			r.Reply(resp)
		}, remoting.Inline())
	}
	bound, err := s.Listen("127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "limit:", err)
		return 1
	}
	addr = bound.String()
	fmt.Fprintln(out, limitReady+addr)
	io.Copy(io.Discard, os.Stdin)    //nolint:errcheck // its end is all that matters
	s.Shutdown(context.Background()) //nolint:errcheck // the process ends
	return 0
}

var answer = &protocol.SendMessageResponse{MsgID: strings.Repeat("0", 32), Region: "DefaultRegion", TraceOn: true}
