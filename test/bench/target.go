package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"rmqbench/profiles"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads/driver"
	"rmqbench/workloads/driver/wire"
)

const (
	benchTopic  = "bench"
	benchQueues = 8
)

// target is one broker, or the limit.
type target struct {
	name     string
	dir      string // its data
	settings map[string]string
	cluster  profiles.Cluster // nil while it does not run
	broker   profiles.Node
	driver   driver.Driver
	admin    driver.Admin
	client   *remoting.Client // for questions beside the load
	other    func(ctx context.Context, l load, length time.Duration) (sample, error)
	end      func() // of the limit

	history history
}

// start starts the broker and its name server on the target's folder.
func (t *target) start(ctx context.Context) error {
	p, err := profiles.Load(t.name + "-single")
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	t.cluster, err = p.Start(ctx, profiles.Options{
		Command: []string{self, "node"}, Data: t.dir, Overrides: t.settings,
		Notice: func(string) {}, // the bench says itself that Java is warmed
	})
	if err != nil {
		return err
	}
	for _, n := range t.cluster.Nodes() {
		if n.Role == profiles.RoleBroker {
			t.broker = n
		}
	}
	return t.connect(t.cluster.NameServers())
}

func (t *target) connect(names []string) (err error) {
	t.client = remoting.NewClient(remoting.ClientOptions{Encoding: protocol.Binary, Timeout: time.Minute})
	if t.driver, err = wire.New(wire.Options{NameServers: names}); err != nil {
		return err
	}
	t.admin, err = wire.NewAdmin(wire.Options{NameServers: names})
	return err
}

// stopTimeout bounds a clean stop, which writes out what a broker holds.
const stopTimeout = 60 * time.Second

// stop stops the broker in order. Its data stays.
func (t *target) stop() error {
	if t.client != nil {
		t.client.Close()
		t.driver.Close() //nolint:errcheck // nothing is asked any more
		t.admin.Close()  //nolint:errcheck // the same
		t.client = nil
	}
	if t.cluster == nil {
		return nil
	}
	over, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := t.cluster.Stop(over)
	t.cluster = nil
	return err
}

// kill ends the broker with SIGKILL. Its data stays.
func (t *target) kill() error {
	if err := syscall.Kill(t.broker.PID, syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing the broker: %w", err)
	}
	return t.stop()
}

// remove puts the target away, with its data.
func (t *target) remove() {
	t.stop() //nolint:errcheck // the stage is over
	if t.end != nil {
		t.end()
	}
	if t.dir != "" {
		os.RemoveAll(t.dir) //nolint:errcheck // it lies in a temporary folder
	}
}

// patience is how long a broker may take to register with its name server, or to
// show what it has: Java's takes a while.
const patience = 60 * time.Second

// topic makes a topic.
func (t *target) topic(ctx context.Context, name string, queues int) error {
	return until(ctx, patience, func() (bool, error) {
		_, err := t.admin.CreateTopic(ctx, name, queues)
		return !errors.Is(err, driver.ErrNoBroker), err
	})
}

// ask puts one question to the broker.
func (t *target) ask(ctx context.Context, code int32, fields protocol.Fields) (*protocol.Command, error) {
	resp, err := t.client.Invoke(ctx, t.broker.Address, &protocol.Command{Code: code, Fields: fields})
	if err == nil && resp.Code != protocol.RespSuccess {
		err = fmt.Errorf("request %d: the broker answered %d %s", code, resp.Code, resp.Remark)
	}
	return resp, err
}

// ends returns one past the last offset of each queue of a topic.
func (t *target) ends(ctx context.Context, topic string, queues int) (ends []int64, sum int64, err error) {
	for q := range queues {
		resp, err := t.ask(ctx, protocol.CodeGetMaxOffset, protocol.Fields{
			{Key: "topic", Value: topic}, {Key: "queueId", Value: strconv.Itoa(q)},
		})
		if err != nil {
			return nil, 0, err
		}
		f := protocol.FieldReader{Fields: resp.Fields}
		end := f.Int64("offset")
		if err := f.Err(); err != nil {
			return nil, 0, err
		}
		ends, sum = append(ends, end), sum+end
	}
	return ends, sum, nil
}

// readable waits until a topic shows so many messages.
func (t *target) readable(ctx context.Context, topic string, queues int, messages int64) error {
	err := until(ctx, patience, func() (bool, error) {
		_, sum, err := t.ends(ctx, topic, queues)
		return err == nil && sum == messages, errors.Join(err, fmt.Errorf("%d of %d messages", sum, messages))
	})
	if err != nil {
		return fmt.Errorf("waiting until everything of %s can be read: %w", topic, err)
	}
	return nil
}

// memory returns a figure of /proc/PID/status of the broker, in MB.
func (t *target) memory(key string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", t.broker.PID))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("the kernel does not tell %s", key)
}
