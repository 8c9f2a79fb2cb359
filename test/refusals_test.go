package test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
)

// refusalFile has remarks of brokers with their kinds; the load is tested with it.
const refusalFile = "../workloads/load/testdata/refusals.tsv"

// TestRefusals has brokers refuse in many ways and looks for each answer among
// those that the load explains.
func TestRefusals(t *testing.T) {
	t.Parallel()
	known := knownRefusals(t)
	settings := map[string]string{
		"autoCreateTopicEnable": "false", "rejectTransactionMessage": "true", "timerWheelEnable": "true", "brokerFastFailureEnable": "true",
		"sendThreadPoolQueueCapacity": "50", "enableSlaveActingMaster": "true",
		"autoCreateSubscriptionGroup": "false",
	}
	for _, java := range []bool{true, false} {
		t.Run(map[bool]string{true: "Java", false: "Go"}[java], func(t *testing.T) {
			t.Parallel()
			f := newFolder(t, nil, settings)
			if java {
				f.peer = RequireJava(t)
			}
			r := &refuser{node: f.start(java), known: known, seen: map[string]bool{}}
			r.sends()
			r.configured()
			r.floods()
			r.slave()
			if least := map[bool]int{true: 15, false: 13}[java]; len(r.seen) < least {
				t.Errorf("only %d different refusals were seen, want %d", len(r.seen), least)
			}
		})
	}
}

func knownRefusals(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(refusalFile)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if f := strings.SplitN(strings.TrimRight(line, "\n"), "\t", 3); len(f) == 3 {
			known[f[0]+"\t"+sameRefusal(oneLine(f[2]))] = true
		}
	}
	return known
}

var (
	numbers = regexp.MustCompile(`[0-9]+`)
	names   = regexp.MustCompile(`(topic|broker)\[[^\]]*\]|(not exist, )\S+|(retry group )\S+|TopicConfig \[.*`)
)

// sameRefusal takes away what differs from one refusal of a kind to the next:
// numbers, names, and what is behind an exception.
func sameRefusal(remark string) string {
	if strings.HasPrefix(remark, "java.") {
		remark, _, _ = strings.Cut(remark, ",")
	}
	return numbers.ReplaceAllString(names.ReplaceAllString(remark, "$1$2$3"), "0")
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// refuser has one broker refuse.
type refuser struct {
	*node
	known map[string]bool
	mu    sync.Mutex
	seen  map[string]bool
}

// take notes an answer; one that the load does not know is an error.
func (r *refuser) take(name string, resp *protocol.Command) {
	if resp.Code == protocol.RespSuccess {
		return
	}
	remark := oneLine(resp.Remark)
	key := fmt.Sprintf("%d\t%s", resp.Code, sameRefusal(remark))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[key] {
		return
	}
	r.seen[key] = true
	r.t.Logf("%s: %d\t%s", name, resp.Code, remark)
	if !r.known[key] {
		r.t.Errorf("%s: %d %q is not in %s", name, resp.Code, remark, refusalFile)
	}
}

// refuse sends what has to be refused.
func (r *refuser) refuse(name string, cmd *protocol.Command) {
	r.t.Helper()
	resp, err := r.call(cmd)
	switch {
	case err != nil:
		r.t.Errorf("%s: %v", name, err)
	case resp.Code == protocol.RespSuccess:
		r.t.Errorf("%s: the broker took it", name)
	default:
		r.take(name, resp)
	}
}

const refusalTopic = "Orders"

// refusedSend is a send with properties, wire form, and a body of so many bytes.
func refusedSend(topic, properties string, size int) *protocol.Command {
	return &protocol.Command{
		Code: protocol.CodeSendMessageV2, Body: []byte(strings.Repeat("b", size)),
		Header: &protocol.SendMessageHeader{
			ProducerGroup: "P", Topic: topic, DefaultTopic: "TBW102", DefaultTopicQueueNums: 1,
			BornTimestamp: time.Now().UnixMilli(), Properties: properties,
		},
	}
}

func (r *refuser) sends() {
	r.topic(refusalTopic, false)
	r.refuse("no topic", refusedSend("Absent", "", 1))
	r.refuse("bad topic", refusedSend("a b", "", 1))
	r.refuse("system topic", refusedSend("SCHEDULE_TOPIC_XXXX", "", 1))
	r.refuse("no group", refusedSend("%RETRY%nobody", "", 1))
	r.refuse("large body", refusedSend(refusalTopic, "", 65537))
	r.refuse("transaction", refusedSend(refusalTopic, "TRAN_MSG\x01true\x02", 1))
	r.refuse("late timer", refusedSend(refusalTopic, fmt.Sprintf("TIMER_DELIVER_MS\x01%d\x02", time.Now().Add(1000*time.Hour).UnixMilli()), 1))
	queue := refusedSend(refusalTopic, "", 1)
	queue.Header.(*protocol.SendMessageHeader).QueueID = 9
	r.refuse("no queue", queue)
	for name, size := range map[string]int{"%RETRY%nobody": 10, refusalTopic: 70_000} {
		batch := refusedSend(name, "", 0)
		batch.Code, batch.Body = protocol.CodeSendBatchMessage, protocol.AppendBatchItem(nil, 0, make([]byte, size), "")
		batch.Header.(*protocol.SendMessageHeader).Batch = true
		r.refuse("batch", batch)
	}
	r.refuse("no such request", &protocol.Command{Code: 9999, Fields: fieldsOf()})
	r.refuse("no half message", &protocol.Command{Code: protocol.CodeEndTransaction, Fields: fieldsOf("producerGroup", "P",
		"tranStateTableOffset", "0", "commitLogOffset", "999999", "commitOrRollback", "8", "fromTransactionCheck", "false",
		"msgId", "7F000001000C18B4AAC27E3A5B6C0001", "transactionId", "7F000001000C18B4AAC27E3A5B6C0001", "topic", refusalTopic)})
}

func (r *refuser) topic(name string, order bool) {
	r.ok(&protocol.Command{Code: protocol.CodeUpdateAndCreateTopic, Fields: fieldsOf("topic", name, "defaultTopic", "TBW102",
		"readQueueNums", "1", "writeQueueNums", "1", "perm", "6", "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order", fmt.Sprint(order))})
}

func (r *refuser) configure(text string) {
	r.ok(&protocol.Command{Code: protocol.CodeUpdateBrokerConfig, Fields: fieldsOf(), Body: []byte(text + "\n")})
}

// configured refuses what settings forbid that may change while the broker runs.
func (r *refuser) configured() {
	r.configure(fmt.Sprintf("startAcceptSendRequestTimeStamp=%d", time.Now().Add(time.Hour).UnixMilli()))
	r.refuse("not open yet", refusedSend(refusalTopic, "", 1))
	r.configure("startAcceptSendRequestTimeStamp=0")
	r.topic("Ordered", true)
	r.configure("brokerPermission=4")
	r.refuse("write protected", refusedSend("Ordered", "", 1))
	r.configure("brokerPermission=6")
	r.configure("timerWheelEnable=false")
	r.refuse("no timer", refusedSend(refusalTopic, fmt.Sprintf("TIMER_DELIVER_MS\x01%d\x02", time.Now().Add(time.Hour).UnixMilli()), 1))
	r.configure("timerWheelEnable=true")
}

// floods sends more at once than the broker lets wait, for as long as it lets
// it: first its queue is full, then waiting is too long, then every append is.
func (r *refuser) floods() {
	for _, settings := range []string{"waitTimeMillsInSendQueue=1", "osPageCacheBusyTimeOutMills=-1"} {
		r.configure(settings)
		r.flood(settings, 3000)
	}
	r.configure("osPageCacheBusyTimeOutMills=1000")
	busy := false
	for key := range r.seen {
		busy = busy || strings.HasPrefix(key, "2\t[")
	}
	if r.java && !busy {
		r.t.Error("the flood was not refused")
	}
}

func (r *refuser) flood(name string, n int) {
	var answered sync.WaitGroup
	for range n {
		answered.Add(1)
		err := r.client.GoTimeout(r.addr, refusedSend(refusalTopic, "", 1024), time.Minute, func(resp *protocol.Command, err error) {
			defer answered.Done()
			if err == nil {
				r.take(name, resp)
			}
		})
		if err != nil {
			r.t.Errorf("flood: %v", err)
			answered.Done()
		}
	}
	answered.Wait()
}

// slave has the broker believe that it is one.
func (r *refuser) slave() {
	if !r.java {
		return // ours does not change its role while it runs
	}
	r.configure("brokerRole=SLAVE")
	r.refuse("slave", refusedSend(refusalTopic, "", 1))
	r.configure("brokerRole=ASYNC_MASTER")
}
