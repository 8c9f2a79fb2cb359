package calibrate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// echoReady is what the server says once it listens, followed by its address.
const echoReady = "echo listens on "

// echoQueues is how many queues it has of whatever topic it is asked for.
const echoQueues = 8

// Echo is a running server that only answers sends: what it takes, no broker
// on this machine can exceed. It is name server and broker in one.
type Echo struct {
	Address string
	cmd     *exec.Cmd
	hold    io.Closer
}

// StartEcho starts a process that calls ServeEcho. It shares the machine with
// the generator as a broker does. Close ends it; the end of this process does,
// too.
func StartEcho(ctx context.Context, command []string) (*Echo, error) {
	if len(command) == 0 {
		return nil, errors.New("no command is given that starts the server")
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	hold, err := cmd.StdinPipe() // the server ends when this closes
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the server that only answers: %w", err)
	}
	e := &Echo{cmd: cmd, hold: hold}
	line, err := bufio.NewReader(out).ReadString('\n')
	address, ready := strings.CutPrefix(strings.TrimSpace(line), echoReady)
	if err != nil || !ready {
		e.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("interrupted: %w", context.Cause(ctx))
		}
		return nil, fmt.Errorf("the server that only answers did not get ready; it said %q", line)
	}
	e.Address = address
	return e, nil
}

// Close ends the server and waits for its end.
func (e *Echo) Close() {
	_ = e.hold.Close()
	_ = e.cmd.Wait() // its status says nothing
}

// ServeEcho says on out where it listens and answers every send without
// looking at it, until in ends.
func ServeEcho(in io.Reader, out io.Writer) error {
	s := remoting.NewServer(remoting.ServerOptions{})
	address := make(chan string, 1)
	handleEcho(s, sync.OnceValue(func() string { return <-address }))
	bound, err := s.Listen("127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("the server that only answers cannot listen: %w", err)
	}
	defer s.Shutdown(context.Background()) //nolint:errcheck // the process ends
	address <- bound.String()
	if _, err := fmt.Fprintln(out, echoReady+bound.String()); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// handleEcho answers as a name server that knows one broker, and as that broker.
func handleEcho(s *remoting.Server, address func() string) {
	s.Handle(protocol.CodeGetRouteInfoByTopic, func(r *remoting.Request) {
		r.Reply(&protocol.Command{Body: protocol.Marshal(protocol.TopicRouteData{
			BrokerDatas: []protocol.BrokerData{{Cluster: "echo", BrokerName: "echo", BrokerAddrs: map[int64]string{0: address()}}},
			QueueDatas:  []protocol.QueueData{{BrokerName: "echo", ReadQueueNums: echoQueues, WriteQueueNums: echoQueues, Perm: 6}},
		})})
	})
	s.Handle(protocol.CodeHeartBeat, func(r *remoting.Request) { r.Reply(&protocol.Command{}) })
	for _, code := range []int32{protocol.CodeSendMessageV2, protocol.CodeSendBatchMessage} {
		s.Handle(code, func(r *remoting.Request) {
			resp := r.Response()
			resp.Header = stored
			r.Reply(resp)
		}, remoting.Inline())
	}
}

// stored is the header of every answer.
var stored = &protocol.SendMessageResponse{MsgID: strings.Repeat("0", 32), Region: "DefaultRegion", TraceOn: true}
