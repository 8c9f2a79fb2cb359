package test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

const (
	laterTopic = "Later" // gets its messages from the timer
	laterCount = 24
	endedTopic = "Ended" // from transactions
	endedCount = 6
)

// TestExchangeLater has one broker take messages that are due later and halves
// of transactions, and the other, on the same folder, deliver the messages when
// they are due and ask for the end of the transactions.
func TestExchangeLater(t *testing.T) {
	t.Parallel()
	peer := RequireJava(t)
	for _, row := range []struct {
		name       string
		java, kill bool // of the first broker
	}{
		{"Go to Java", false, false}, {"Go to Java killed", false, true},
		{"Java to Go", true, false}, {"Java to Go killed", true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f := newFolder(t, peer, map[string]string{"transactionCheckInterval": "1000", "transactionTimeOut": "1000", "transactionCheckMax": "1000"})
			first := f.start(row.java)
			waiting := first.sendLater()
			first.sendHalves()
			first.awaitTimer(uint64(waiting))
			first.stop(row.kill)
			left := len(f.timerRecords())
			second := f.start(!row.java)
			started := time.Now()
			second.answerChecks()
			second.checkLater(started)
			second.checkEnded(row.kill && second.java)
			second.stop(false)
			if left == 0 {
				t.Errorf("the first broker left nothing in its timer log of %d messages", waiting)
			}
		})
	}
}

// sendLater sends messages that are due within ten seconds, in no order, some of
// them in the same second. The first is due when the broker has taken all of
// them in, most times: Java's is slow after its start.
func (n *node) sendLater() (waiting int) {
	n.t.Helper()
	base := time.Now().Add(2 * time.Second)
	if n.java {
		base = time.Now().Add(8 * time.Second)
	}
	for i := range laterCount {
		at := base.Add(time.Duration(i*7%laterCount) * 400 * time.Millisecond).UnixMilli()
		h := n.send(n.addr, message{topic: laterTopic, body: fmt.Sprint("later ", i), props: map[string]string{
			protocol.PropTimerDeliverMs: strconv.FormatInt(at, 10), protocol.PropUniqKey: protocol.NewUniqKey(), protocol.PropTags: "A"}})
		if h.RecallHandle != "" { // else its time had passed already
			waiting++
		}
	}
	return waiting
}

// sendHalves sends halves of transactions that nobody ends for now.
func (n *node) sendHalves() {
	n.t.Helper()
	for i := range endedCount {
		n.send(n.addr, message{topic: endedTopic, body: fmt.Sprint("half ", i), props: map[string]string{
			protocol.PropTransactionPrepared: "true", protocol.PropProducerGroup: "Asked", protocol.PropUniqKey: protocol.NewUniqKey()}})
	}
}

// awaitTimer waits until the timer's checkpoint has n messages: what comes after
// it may be made double by a kill.
func (n *node) awaitTimer(count uint64) {
	n.t.Helper()
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		b, err := os.ReadFile(filepath.Join(n.dir, "config", "timercheck"))
		if err == nil && len(b) >= 32 && binary.BigEndian.Uint64(b[24:]) >= count {
			return
		}
		if time.Now().After(end) {
			n.t.Fatalf("%s broker does not take its timer messages in (%v)\n%s", n, err, n.said)
		}
	}
}

// timerRecords returns the units of the timer log, as bytes.
func (f *folder) timerRecords() (units [][]byte) {
	names, _ := filepath.Glob(filepath.Join(f.dir, "timerlog", "*"))
	for _, name := range names {
		b, _ := os.ReadFile(name) // none has no units
		for ; len(b) >= 52 && binary.BigEndian.Uint32(b) == 52; b = b[52:] {
			units = append(units, b[:52])
		}
	}
	return units
}

// answerChecks makes the node's client a producer that commits every other transaction.
func (n *node) answerChecks() {
	n.t.Helper()
	n.client.Handle(protocol.CodeCheckTransactionState, func(r *remoting.Request) {
		var m protocol.Message
		if _, err := protocol.DecodeMessage(r.Body, &m); err != nil {
			n.t.Errorf("%s broker asks about no message: %v", n, err)
			return
		}
		f := protocol.FieldReader{Fields: r.Fields}
		fields := fieldsOf("topic", endedTopic, "producerGroup", "Asked", "tranStateTableOffset", f.String("tranStateTableOffset"),
			"commitLogOffset", f.String("commitLogOffset"), "commitOrRollback", strconv.Itoa(int(verdictOf(string(m.Body)))),
			"fromTransactionCheck", "true", "msgId", f.String("msgId"), "transactionId", f.String("transactionId"))
		go n.client.Oneway(n.addr, &protocol.Command{Code: protocol.CodeEndTransaction, Language: protocol.LanguageGo, //nolint:errcheck // it is asked again
			Version: protocol.Version, Fields: fields})
	})
	n.ok(&protocol.Command{Code: protocol.CodeHeartBeat, Body: protocol.Marshal(&protocol.HeartbeatData{
		ClientID: "asked", ProducerDataSet: []protocol.ProducerData{{GroupName: "Asked"}}})})
}

func verdictOf(body string) int32 {
	if i, _ := strconv.Atoi(strings.TrimPrefix(body, "half ")); i%2 == 0 {
		return protocol.SysFlagCommit
	}
	return protocol.SysFlagRollback
}

// awaitQueue waits until a queue has n messages and returns them.
func (n *node) awaitQueue(topic string, count int64) []record {
	n.t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		extent := ask[protocol.TopicStatsTable](n, protocol.CodeGetTopicStatsInfo, "topic", topic).OffsetTable
		for q, at := range extent {
			if q.QueueID == 0 && at.MaxOffset >= count {
				return n.readQueue(topic, 0, at)
			}
		}
		if time.Now().After(end) {
			n.t.Fatalf("%s broker has not %d messages of %s: %v\n%s", n, count, topic, extent, n.said)
		}
	}
}

// checkLater checks that each message was delivered once, in the second after
// its time or as soon as the broker had started.
func (n *node) checkLater(started time.Time) {
	n.t.Helper()
	const late = 3 * time.Second // of a busy machine
	all := n.awaitQueue(laterTopic, laterCount)
	seen := map[string]int{}
	for i := range all {
		m := &all[i]
		seen[string(m.Body)]++
		value, _ := protocol.Property(m.Properties, protocol.PropTimerDeliverMs)
		due, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			n.t.Errorf("%s: %v", m.Body, err)
		}
		if m.StoreTimestamp < due {
			n.t.Errorf("%s broker: %s came %d ms early", n, m.Body, due-m.StoreTimestamp)
		}
		if last := max(due, started.UnixMilli()) + (time.Second + late).Milliseconds(); m.StoreTimestamp > last {
			n.t.Errorf("%s broker: %s came %d ms after its time", n, m.Body, m.StoreTimestamp-due)
		}
	}
	for i := range laterCount {
		if k := seen[fmt.Sprint("later ", i)]; k != 1 {
			n.t.Errorf("%s broker delivered message %d %d times", n, i, k)
		}
	}
}

// checkEnded checks that what the producer committed is there: once, but a Java
// broker may ask twice for what another one was about when it was killed.
func (n *node) checkEnded(twice bool) {
	n.t.Helper()
	for end := time.Now().Add(30 * time.Second); n.asksStill() && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
	seen := map[string]int{}
	for _, m := range n.awaitQueue(endedTopic, endedCount/2) {
		seen[string(m.Body)]++
	}
	for i := range endedCount {
		got, want := seen[fmt.Sprint("half ", i)], 1-i%2
		if got != want && !(twice && want == 1 && got == 2) {
			n.t.Errorf("%s broker: half %d was committed %d times, want %d", n, i, got, want)
		}
	}
}

// asksStill reports whether halves are left that the check has not passed.
func (n *node) asksStill() bool {
	offsets := ask[protocol.ConsumerOffsetTable](n, protocol.CodeGetAllConsumerOffset).OffsetTable
	stats := ask[protocol.TopicStatsTable](n, protocol.CodeGetTopicStatsInfo, "topic", "RMQ_SYS_TRANS_HALF_TOPIC").OffsetTable
	for q, at := range stats {
		if offsets["RMQ_SYS_TRANS_HALF_TOPIC@CID_RMQ_SYS_TRANS"][q.QueueID] < at.MaxOffset {
			return true
		}
	}
	return false
}
