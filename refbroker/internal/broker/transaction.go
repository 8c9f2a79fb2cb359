package broker

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/internal/timer"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// transactions are the messages that are stored before their producer knows
// whether they count (RocketMQ's TransactionalMessageServiceImpl).
//
// Such a half message is in RMQ_SYS_TRANS_HALF_TOPIC. END_TRANSACTION commits
// it, which stores it once more under its own topic, or rolls it back. Either
// way its offset goes, with others, into a record of
// RMQ_SYS_TRANS_OP_HALF_TOPIC. From time to time the halves that have none are
// looked at: their producer is asked, and they are put back with a higher count
// of checks (transactioncheck.go).
//
// A commit counts at least once. What ended within transactionOpBatchInterval
// before a kill has no record of it yet, and how far the check was is saved from
// time to time only: of those, what was committed or put back is known by its
// UNIQ_KEY, the others are asked for again.
type transactions struct {
	b       *Broker
	metrics *timer.Counts
	began   int64 // end of the log at the start

	// ending is held by who ends a half message, and exclusively by who looks
	// whether one was ended and puts it back.
	ending sync.RWMutex

	writing sync.Mutex // of records

	mu    sync.Mutex
	ops   map[int32]*opBatch   // by queue of the half topic
	ended map[halfKey]struct{} // since the last check began, and those that were put back
	moved map[halfKey]int64    // where a half that was put back is
	bell  chan struct{}        // a batch is full
}

// halfKey is a place in the half topic.
type halfKey struct {
	queue  int32
	offset int64
}

// opBatch are offsets that are to be written into a record, each followed by a comma.
type opBatch struct {
	text  []byte
	wrote time.Time // when the last record was
}

const (
	groupTransactions = "CID_RMQ_SYS_TRANS"
	opTag             = "d"
)

func newTransactions(b *Broker) *transactions {
	t := &transactions{
		b: b, ops: map[int32]*opBatch{}, ended: map[halfKey]struct{}{}, moved: map[halfKey]int64{}, bell: make(chan struct{}, 1),
	}
	var err error
	t.metrics, err = timer.OpenCounts(b.fs, filepath.Join(b.config().configDir(), "transactionMetrics"), "transactionCount")
	if err != nil {
		b.log.Warn("transaction metrics cannot be read and begin at 0", "err", err)
	}
	return t
}

// divertHalf sends a message to the half topic and notes in its properties, to
// which it only appends, where it is to go.
func divertHalf(m *protocol.Message, properties []byte, uniqKey string) []byte {
	properties = protocol.AppendProperty(properties, protocol.PropTransactionID, uniqKey)
	properties = protocol.AppendProperty(properties, protocol.PropRealTopic, m.Topic)
	properties = protocol.AppendProperty(properties, protocol.PropRealQueueID, strconv.FormatInt(int64(m.QueueID), 10))
	m.SysFlag &^= protocol.SysFlagTransaction
	m.Topic, m.QueueID = topicHalf, 0
	return properties
}

// endCall is one END_TRANSACTION.
type endCall struct {
	t       *transactions
	group   string
	offset  int64 // of the half message in its queue
	phys    int64 // and in the log
	verdict int32
	checked bool // the producer was asked
}

// endTransaction handles END_TRANSACTION. As in Java there is no answer to one
// that does not say what is to be done.
func (b *Broker) endTransaction(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	c := endCall{
		t: b.transactions, group: f.String("producerGroup"), offset: f.Int64("tranStateTableOffset"),
		phys: f.Int64("commitLogOffset"), verdict: f.Int32("commitOrRollback"), checked: f.BoolOr("fromTransactionCheck", false),
	}
	if err := f.Err(); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	if b.isSlave() {
		r.Error(protocol.RespSlaveNotAvailable, "")
		return
	}
	if c.verdict != protocol.SysFlagCommit && c.verdict != protocol.SysFlagRollback {
		r.Ignore()
		return
	}
	code, remark := c.run()
	if code != protocol.RespSuccess {
		r.Error(code, remark)
		return
	}
	r.Reply(r.Response())
}

func (c *endCall) run() (int32, string) {
	c.t.ending.RLock()
	defer c.t.ending.RUnlock()
	var half protocol.Message
	if !c.t.lookHalf(c.phys, &half) {
		return protocol.RespSystemError, "Find prepared transaction message failed"
	}
	if code, remark := c.check(&half); code != protocol.RespSuccess {
		return code, remark
	}
	key := halfKey{half.QueueID, c.offset}
	if c.t.endedCopy(key) {
		return protocol.RespSuccess, ""
	}
	if c.verdict == protocol.SysFlagCommit {
		if code, remark := c.t.commit(&half, c.phys); code != protocol.RespSuccess {
			return code, remark
		}
	}
	topic, _ := protocol.Property(half.Properties, protocol.PropRealTopic)
	c.t.metrics.Add(topic, -1, c.t.b.now().UnixMilli())
	c.t.end(key)
	return protocol.RespSuccess, ""
}

// lookHalf reads the half message at an offset of the log.
func (t *transactions) lookHalf(phys int64, m *protocol.Message) bool {
	err := t.b.store.Lookup(phys, func(record []byte) error {
		_, err := protocol.DecodeMessage(slices.Clone(record), m)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.b.log.Warn("half message cannot be read", "physical", phys, "err", err)
	}
	return err == nil && m.Topic == topicHalf
}

// check makes Java's checks in Java's order.
func (c *endCall) check(half *protocol.Message) (int32, string) {
	age := c.t.b.now().UnixMilli() - half.BornTimestamp
	immunity, _ := protocol.Property(half.Properties, protocol.PropCheckImmunityTime)
	if !c.checked && immunity != "" && age > immunityTime(immunity, c.t.b.config().TransactionTimeOut) {
		return protocol.RespIllegalOperation, ""
	}
	group, _ := protocol.Property(half.Properties, protocol.PropProducerGroup)
	switch {
	case group != c.group:
		return protocol.RespSystemError, "The producer group wrong"
	case half.QueueOffset != c.offset:
		return protocol.RespSystemError, "The transaction state table offset wrong"
	case half.PhysicalOffset != c.phys:
		return protocol.RespSystemError, "The commit log offset wrong"
	}
	return protocol.RespSuccess, ""
}

// immunityTime returns how long a producer is left alone, ms: the seconds that
// the message says, but no less than transactionTimeOut.
func immunityTime(text string, timeout int64) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return timeout
	}
	return max(n*1000, timeout)
}

// commit stores a half message under its own topic, where a delay level or a
// time may divert it. As in Java its other properties stay.
func (t *transactions) commit(half *protocol.Message, phys int64) (int32, string) {
	m := *half
	if !restoreTopic(&m) {
		return protocol.RespSystemError, "Find prepared transaction message failed"
	}
	m.SysFlag = m.SysFlag&^protocol.SysFlagTransaction | protocol.SysFlagCommit
	m.PreparedTransactionOffset = phys
	if status := t.b.divertCommit(&m); status != store.PutOK {
		return endRefusal(t.b, status)
	}
	res := t.b.store.Append(&m)
	if _, ok := storedCode(res.Status); !ok {
		return endRefusal(t.b, res.Status)
	}
	t.b.await(&res)
	t.b.countPut(m.Topic, &res)
	return protocol.RespSuccess, ""
}

// restoreTopic gives a message of the half topic its own topic and queue back.
func restoreTopic(m *protocol.Message) bool {
	topic, _ := protocol.Property(m.Properties, protocol.PropRealTopic)
	queue, _ := protocol.Property(m.Properties, protocol.PropRealQueueID)
	id, err := strconv.ParseInt(queue, 10, 32)
	if topic == "" || topic == topicHalf || err != nil || id < 0 {
		return false
	}
	m.Topic, m.QueueID = topic, int32(id)
	return true
}

// divertCommit does for a message that is committed what a send does.
func (b *Broker) divertCommit(m *protocol.Message) store.Status {
	var p sendProps
	p.read(m.Properties)
	if p.delay > 0 {
		p.capDelay(b.schedule.maxLevel())
		m.Properties = string(b.schedule.divert(m, []byte(m.Properties), p.delay))
		return store.PutOK
	}
	text, out, status := b.divertTimer(&p.when, m, []byte(m.Properties))
	if out > 0 {
		m.Properties = string(text)
	}
	return status
}

// await returns when a message is on disk that has to be, or cannot be for now.
func (b *Broker) await(res *store.PutResult) {
	if !res.Pending {
		return
	}
	done := make(stored, 1)
	b.store.Await(res.End, done)
	<-done
}

// endRefusal returns code and remark of a commit that was not stored.
func endRefusal(b *Broker, s store.Status) (int32, string) {
	switch s {
	case store.CreateMappedFileFailed:
		return protocol.RespSystemError, "Create mapped file failed."
	case store.MessageIllegal, store.PropertiesSizeExceeded:
		return protocol.RespMessageIllegal, strings.Replace(illegalMessage(b.config()), "the message", "The message", 1)
	case store.ServiceNotAvailable:
		return protocol.RespServiceNotAvailable, "Service not available now."
	case store.PageCacheBusy:
		return protocol.RespSystemError, "OS page cache busy, please try another machine"
	}
	return b.refusal(s)
}

// end notes that a half message has ended, for the next record.
func (t *transactions) end(key halfKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, ok := t.moved[key]; ok {
		key.offset = at
	}
	t.ended[key] = struct{}{}
	batch := t.ops[key.queue]
	if batch == nil {
		batch = &opBatch{wrote: t.b.now()}
		t.ops[key.queue] = batch
	}
	batch.text = append(strconv.AppendInt(batch.text, key.offset, 10), ',')
	if len(batch.text) > t.b.config().TransactionOpMsgMaxSize {
		ring(t.bell)
	}
}

// endedCopy reports whether a half message that was put back has ended already,
// under its old offset or its new one: it must not be committed twice.
func (t *transactions) endedCopy(key halfKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.moved[key]
	if !ok {
		return false
	}
	key.offset = at
	_, ended := t.ended[key]
	return ended
}

// runOps writes the records until stop is closed.
func (t *transactions) runOps(stop <-chan struct{}) {
	for {
		interval := time.Duration(max(t.b.config().TransactionOpBatchInterval, 1)) * time.Millisecond
		select {
		case <-stop:
			return
		case <-t.bell:
		case <-time.After(interval):
		}
		t.saved(t.writeOps(interval))
	}
}

// saved logs what will be tried again.
func (t *transactions) saved(err error) {
	if err != nil {
		t.b.log.Error("ends of transactions are not written yet", "err", err)
	}
}

// close writes what is left, when no request comes any more.
func (t *transactions) close() error {
	return errors.Join(t.writeOps(0), t.metrics.Save())
}

// writeOps writes a record for each queue that has been without for an
// interval, or has offsets enough. Without an interval it writes all there is.
func (t *transactions) writeOps(interval time.Duration) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	for queue, text := t.takeOps(interval); text != nil; queue, text = t.takeOps(interval) {
		if err := t.writeOp(queue, text); err != nil {
			t.mu.Lock()
			t.ops[queue].text = append(text, t.ops[queue].text...)
			t.mu.Unlock()
			return fmt.Errorf("store ends of transactions: %w", err)
		}
	}
	return nil
}

// takeOps takes the offsets of one record.
func (t *transactions) takeOps(interval time.Duration) (queue int32, text []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, limit := t.b.now(), max(t.b.config().TransactionOpMsgMaxSize, 1)
	for queue, batch := range t.ops {
		if len(batch.text) == 0 || len(batch.text) < limit && now.Sub(batch.wrote) < interval {
			continue
		}
		n := len(batch.text)
		if n > limit { // up to the end of the number that crosses the limit
			n = limit + slices.Index(batch.text[limit-1:], ',')
		}
		text = slices.Clone(batch.text[:n])
		batch.text, batch.wrote = slices.Delete(batch.text, 0, n), now
		return queue, text
	}
	return 0, nil
}

func (t *transactions) writeOp(queue int32, text []byte) error {
	now := t.b.now().UnixMilli()
	props := protocol.AppendProperty(nil, protocol.PropTags, opTag)
	props = append(append(props, protocol.PropUniqKey...), 1)
	props = append(protocol.AppendUniqKey(props), 2)
	m := &protocol.Message{
		Topic: topicOpHalf, QueueID: queue, Body: text, Properties: string(props),
		BornTimestamp: now, BornHost: t.b.storeHost,
	}
	res := t.b.store.Append(m)
	if _, ok := storedCode(res.Status); !ok {
		return errors.New(res.Status.String())
	}
	t.b.countPut(m.Topic, &res)
	return nil
}
