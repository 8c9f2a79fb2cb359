package test

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"rmqbench/profiles"
	"rmqbench/workloads/driver"
	"rmqbench/workloads/driver/wire"
)

// Java's mqadmin against the Go cluster: every command of the first milestone,
// in an order in which each leaves what the next looks at.
func TestMqadminOnGo(t *testing.T) {
	t.Parallel()
	peer := RequireJava(t)
	mqadminTranscript(t, goCluster(t), peer)
}

// The oracle: the same transcript holds for Apache RocketMQ itself.
func TestMqadminOnJava(t *testing.T) {
	t.Parallel()
	peer := RequireJava(t)
	p, err := profiles.Load("java-single")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Java.SetHeap("512m"); err != nil {
		t.Fatal(err)
	}
	mqadminTranscript(t, startProfile(t, p), peer)
}

const (
	adminTopic = "AdminTopic"
	adminGroup = "AdminGroup"
)

// 32 digits with an IPv4 address in it, more with IPv6.
var uniqKeyForm = regexp.MustCompile(`\b[0-9A-F]{32,}\b`)

func mqadminTranscript(t *testing.T, c profiles.Cluster, peer *profiles.Peer) {
	t.Helper()
	ns, addr := c.NameServers()[0], broker(t, c)
	a := startAdmin(t, peer)
	all := func(words ...string) []string { return words }

	list := a.await(addr, "clusterList", "-n", ns)
	if !strings.Contains(list, "DefaultCluster") || !strings.Contains(list, "broker-a") || !strings.Contains(list, "#BID") {
		t.Errorf("clusterList:\n%s", list)
	}
	a.want(all("bootTimestamp", "commitLogDirCapacity", "putMessageTimesTotal"), "brokerStatus", "-n", ns, "-b", addr)
	a.want(all("create topic to "+addr+" success."), "updateTopic", "-n", ns, "-b", addr, "-t", adminTopic, "-r", "4", "-w", "4")
	batches := adminTopic + "Batches"
	a.want(all("create topic to "+addr+" success."), "updateTopic", "-n", ns, "-b", addr, "-t", batches, "-a", "+queue.type=BatchCQ")
	if out := a.run("updateTopic", "-n", ns, "-b", addr, "-t", batches, "-a", "+queue.type=SimpleCQ"); !strings.Contains(out, "unchangeable") {
		t.Errorf("the kind of a topic's queues was changed:\n%s", out)
	}
	a.await(adminTopic, "topicList", "-n", ns)
	a.want(all(`"brokerName":"broker-a"`, addr, `"writeQueueNums":4`), "topicRoute", "-n", ns, "-t", adminTopic)
	a.want(all("create subscription group to "+addr+" success."), "updateSubGroup", "-n", ns, "-b", addr, "-g", adminGroup)

	sent := a.want(all("SEND_OK", "broker-a"), "sendMessage", "-n", ns, "-t", adminTopic, "-p", "hello", "-k", "key-1", "-c", "TagA",
		"-b", "broker-a", "-i", "2")
	id := uniqKeyForm.FindString(sent)
	if id == "" {
		t.Fatalf("sendMessage printed no id:\n%s", sent)
	}
	a.await("broker-a", "topicStatus", "-n", ns, "-t", adminTopic)
	a.want(all("hello", "key-1", "TagA"), "consumeMessage", "-n", ns, "-t", adminTopic, "-b", "broker-a", "-i", "2", "-o", "0", "-c", "1")
	a.await(id, "queryMsgByKey", "-n", ns, "-t", adminTopic, "-k", "key-1")
	a.want(all("key-1", "TagA", "Queue ID:            2"), "queryMsgById", "-n", ns, "-t", adminTopic, "-i", id)

	consumed := consumeOne(t, c)
	a.want(all("wire", "CONSUME_PASSIVELY", adminTopic), "consumerConnection", "-n", ns, "-g", adminGroup)
	consumed()
	progress := a.await("Consume Diff Total: 0", "consumerProgress", "-n", ns, "-g", adminGroup)
	if !strings.Contains(progress, adminTopic) {
		t.Errorf("consumerProgress:\n%s", progress)
	}
	past := strconv.FormatInt(time.Now().Add(-time.Hour).UnixMilli(), 10)
	a.want(all("broker-a"), "resetOffsetByTime", "-n", ns, "-g", adminGroup, "-t", adminTopic, "-s", past)
	a.await("Consume Diff Total: 1", "consumerProgress", "-n", ns, "-g", adminGroup)

	a.want(all("commitLogDiskRatio ", "commitLogDiskRatio_", "consumeQueueDiskRatio "), "brokerStatus", "-n", ns, "-b", addr)
	for _, command := range []string{"deleteExpiredCommitLog", "cleanExpiredCQ", "cleanUnusedTopic"} {
		a.want(all("success"), command, "-n", ns, "-b", addr)
	}
	a.want(all("success"), "deleteTopic", "-n", ns, "-c", "DefaultCluster", "-t", adminTopic)
	if out := a.run("topicList", "-n", ns); strings.Contains(out, adminTopic+"\n") {
		t.Errorf("the topic is still listed:\n%s", out)
	}
}

// await repeats a command until it prints the word: registration with the name
// server, dispatch and offset commits take their moment, on the Java broker too.
func (a *mqadmin) await(word string, args ...string) string {
	a.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		out := a.run(args...)
		if strings.Contains(out, word) {
			return out
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("mqadmin %s: lacks %q:\n%s", strings.Join(args, " "), word, out)
		}
	}
}

// consumeOne starts a member of the group, waits until it has the message, and
// returns how to end it.
func consumeOne(t *testing.T, c profiles.Cluster) (end func()) {
	t.Helper()
	d, err := wire.New(wire.Options{NameServers: c.NameServers()})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 10)
	member, err := d.NewConsumer(t.Context(), driver.ConsumerConfig{
		Group: adminGroup, Instance: "wire", Topic: adminTopic, Tags: "*", Threads: 1,
		Handle: func(r *driver.Received) error { got <- string(r.Body); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case body := <-got:
		if body != "hello" {
			t.Errorf("consumed %q", body)
		}
	case <-time.After(30 * time.Second):
		t.Error("the message was not consumed")
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := member.Close(ctx); err != nil {
			t.Error(err)
		}
		_ = d.Close()
	}
}
