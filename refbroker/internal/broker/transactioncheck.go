package broker

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

const (
	checkMost    = 60 * time.Second // for one queue
	opBatchReads = 32
	settleWait   = 2 * time.Second
)

// runChecks looks at the halves from time to time until stop is closed.
func (t *transactions) runChecks(stop <-chan struct{}) {
	for {
		interval := time.Duration(max(t.b.config().TransactionCheckInterval, 1)) * time.Millisecond
		select {
		case <-stop:
			return
		case <-time.After(interval):
		}
		t.check(stop)
	}
}

// check goes through the queues of the half topic once.
func (t *transactions) check(stop <-chan struct{}) {
	half := t.b.topics.get(topicHalf)
	if half == nil {
		return
	}
	for queue := range half.ReadQueueNums {
		c := &checkRun{t: t, queue: queue, began: t.b.now(), removed: map[int64]int64{}, left: map[int64]int{}, stop: stop}
		if err := c.run(); err != nil {
			t.b.log.Error("check of transactions", "queue", queue, "err", err)
		}
	}
}

// checkRun is one look at one queue.
type checkRun struct {
	t     *transactions
	queue int32
	began time.Time
	stop  <-chan struct{}

	half, op   int64           // offsets at the begin
	nextOp     int64           // next record of ends to be read
	removed    map[int64]int64 // offset of a half that ended → offset of the record that says so
	left       map[int64]int   // offset of a record → halves that it has and that were not passed
	done       []int64         // records that are not needed any more
	lastOpBorn int64           // of the last record that was read, ms
}

var errCheckLater = errors.New("to be looked at later")

func (c *checkRun) run() error {
	c.half, c.op = c.position(topicHalf), c.position(topicOpHalf)
	c.nextOp = c.op
	if err := c.readEnds(); err != nil {
		return unlessLater(err)
	}
	at := c.half
	var err error
	for end := c.began.Add(checkMost); c.t.b.now().Before(end) && err == nil; {
		select {
		case <-c.stop:
			err = errCheckLater
			continue
		default:
		}
		if by, ok := c.removed[at]; ok {
			c.passed(at, by)
			at++
			continue
		}
		var next int64
		if next, err = c.look(at); err == nil {
			at = next
		}
	}
	c.commit(at)
	return unlessLater(err)
}

func unlessLater(err error) error {
	if errors.Is(err, errCheckLater) {
		return nil
	}
	return err
}

// position returns how far a queue of one of the topics was read.
func (c *checkRun) position(topic string) int64 {
	at := c.t.b.offsets.query(offsetKey{topic, groupTransactions}, c.queue)
	return max(at, c.t.b.store.MinOffset(topic, c.queue))
}

// readEnds has every end that is known written, and reads them all. From then
// on t.ended has those that come in the meantime.
func (c *checkRun) readEnds() error {
	t := c.t
	t.ending.Lock()
	t.mu.Lock()
	for key := range t.ended {
		if _, ok := t.copyAt(key); !ok {
			delete(t.ended, key)
		}
	}
	t.mu.Unlock()
	t.ending.Unlock()
	if err := t.writeOps(0); err != nil {
		return err
	}
	if err := t.b.store.Flush(); err != nil { // so that it is dispatched, with SYNC_FLUSH too
		return err
	}
	if err := c.awaitDispatch(t.b.store.MaxPhysical()); err != nil {
		return err
	}
	for {
		n, err := c.readOps()
		if n == 0 || err != nil {
			return err
		}
	}
}

// awaitDispatch waits until queues have what is in the log before an offset.
func (c *checkRun) awaitDispatch(before int64) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(settleWait); c.t.b.store.Stats().Dispatched < before; {
		select {
		case <-c.stop:
			return errCheckLater
		case <-tick.C:
		}
		if time.Now().After(end) {
			return errors.New("the consume queues are behind the log; transactions are checked later")
		}
	}
	return nil
}

// copyAt reports whether a place is that of a half that was put back. It is
// called with the lock held.
func (t *transactions) copyAt(key halfKey) (int64, bool) {
	at, ok := t.moved[key]
	return at, ok
}

// readOps reads some records of ends.
func (c *checkRun) readOps() (n int, err error) {
	s := c.t.b.store
	for ; n < opBatchReads; n++ {
		phys, _, _, ok := s.ConsumeQueueUnit(topicOpHalf, c.queue, c.nextOp)
		if !ok {
			if least := s.MinOffset(topicOpHalf, c.queue); c.nextOp < least {
				c.nextOp = least
				continue
			}
			return n, nil
		}
		err := s.Lookup(phys, func(record []byte) error { return c.readOp(record) })
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, protocol.ErrBadRecord) {
			return n, fmt.Errorf("read ends of transactions: %w", err)
		}
		if err != nil {
			c.done = append(c.done, c.nextOp)
		}
		c.nextOp++
	}
	return n, nil
}

func (c *checkRun) readOp(record []byte) error {
	var m protocol.Message
	if _, err := protocol.DecodeMessage(record, &m); err != nil {
		return err
	}
	c.lastOpBorn = m.BornTimestamp
	tag, _ := protocol.Property(m.Properties, protocol.PropTags)
	if tag == opTag {
		for word := range strings.SplitSeq(string(m.Body), ",") {
			at, err := strconv.ParseInt(word, 10, 64)
			if err != nil || at < c.half {
				continue
			}
			if _, ok := c.removed[at]; !ok {
				c.removed[at] = c.nextOp
				c.left[c.nextOp]++
			}
		}
	}
	if c.left[c.nextOp] == 0 {
		c.done = append(c.done, c.nextOp)
	}
	return nil
}

// passed takes note that the check went beyond a half that had ended.
func (c *checkRun) passed(at, by int64) {
	delete(c.removed, at)
	if c.left[by]--; c.left[by] == 0 {
		c.done = append(c.done, by)
	}
}

// commit saves how far the check got: up to a half, and behind the records that
// are not needed any more.
func (c *checkRun) commit(at int64) {
	o := c.t.b.offsets
	if at != c.half {
		o.commit(offsetKey{topicHalf, groupTransactions}, c.queue, at)
	}
	slices.Sort(c.done)
	op := c.op
	for _, n := range c.done {
		if n == op {
			op++
		}
	}
	if op != c.op {
		o.commit(offsetKey{topicOpHalf, groupTransactions}, c.queue, op)
	}
	if at != c.half || op != c.op { // a kill before it is saved has Java ask for halves that were put back
		c.t.b.saved("consumer offsets", o.save())
	}
	c.t.forget(c.queue, at)
}

// forget drops what is known of halves that the check has passed, with all of
// their copies.
func (t *transactions) forget(queue int32, before int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, at := range t.moved {
		if key.queue == queue && at < before {
			delete(t.moved, key)
		}
	}
	for key := range t.ended {
		if key.queue == queue && key.offset < before {
			delete(t.ended, key)
		}
	}
}

// look looks at the half message at an offset that is not known to have ended,
// and returns the offset to go on with, or errCheckLater.
func (c *checkRun) look(at int64) (int64, error) {
	s := c.t.b.store
	phys, _, _, ok := s.ConsumeQueueUnit(topicHalf, c.queue, at)
	if !ok {
		if least := s.MinOffset(topicHalf, c.queue); at < least {
			return least, nil
		}
		return at, errCheckLater
	}
	var m protocol.Message
	if !c.t.lookHalf(phys, &m) {
		c.t.b.log.Error("half message is passed over, it cannot be read", "queue", c.queue, "offset", at, "physical", phys)
		return at + 1, nil
	}
	c.t.ending.Lock()
	defer c.t.ending.Unlock()
	if c.t.endedAt(halfKey{c.queue, at}) || phys < c.t.began && c.t.settledBefore(&m) {
		return at + 1, nil
	}
	return c.judge(at, &m)
}

// endedAt reports whether a half has ended since the check began.
func (t *transactions) endedAt(key halfKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.ended[key]
	return ok
}

// settledBefore reports whether a half from before the start needs nothing any
// more, although no record says so: it was committed, or put back. Its
// consequences are found by their unique key.
func (t *transactions) settledBefore(half *protocol.Message) bool {
	topic, _ := protocol.Property(half.Properties, protocol.PropRealTopic)
	uniq, _ := protocol.Property(half.Properties, protocol.PropUniqKey)
	if uniq == "" {
		return false
	}
	return t.has(topic, uniq, half, func(m *protocol.Message) bool {
		return m.SysFlag&protocol.SysFlagTransaction == protocol.SysFlagCommit
	}) || t.has(topicHalf, uniq, half, func(m *protocol.Message) bool {
		return m.QueueID == half.QueueID && m.PhysicalOffset > half.PhysicalOffset
	})
}

// has reports whether a topic has a message with the key of a half that is what
// follows from it.
func (t *transactions) has(topic, uniq string, half *protocol.Message, follows func(*protocol.Message) bool) bool {
	const margin = 2000 // the index knows seconds
	found := false
	t.b.store.QueryKeys(topic, uniq, 64, half.StoreTimestamp-margin, t.b.now().UnixMilli()+margin, func(record []byte) {
		var m protocol.Message
		if _, err := protocol.DecodeMessage(record, &m); err != nil || m.Topic != topic {
			return
		}
		id, _ := protocol.Property(m.Properties, protocol.PropUniqKey)
		found = found || id == uniq && follows(&m)
	})
	return found
}

// judge decides about a half that has not ended, in Java's order.
func (c *checkRun) judge(at int64, m *protocol.Message) (int64, error) {
	cfg, now := c.t.b.config(), c.t.b.now().UnixMilli()
	age := now - m.BornTimestamp
	times, _ := protocol.Property(m.Properties, protocol.PropTransactionChecks)
	checks := 0
	if times != "" {
		if n, err := strconv.Atoi(times); err == nil {
			checks = n
		}
	}
	if times != "" && checks >= cfg.TransactionCheckMax || age > int64(cfg.FileReservedTime)*3600*1000 {
		return at + 1, c.discard(m)
	}
	if m.StoreTimestamp >= c.began.UnixMilli() {
		return at, errCheckLater
	}
	immunity, limit := cfg.TransactionTimeOut, false
	if text, ok := protocol.Property(m.Properties, protocol.PropCheckImmunityTime); ok {
		limit = true
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && n != -1 {
			immunity = n * 1000
		}
	}
	switch {
	case limit && age < immunity:
		return c.spare(at, m)
	case age >= 0 && age < immunity:
		return at, errCheckLater
	case age > immunity || age < 0:
		return at + 1, c.ask(at, m, checks+1)
	}
	return at, errCheckLater
}

// spare puts a half back whose producer is not to be asked yet: the queue goes
// on behind it. Its copy knows the offset under which the producer may end it.
// Java counts this as a check, so that it gives up a message whose immunity is
// long before it has asked once; here only checks count.
func (c *checkRun) spare(at int64, m *protocol.Message) (int64, error) {
	origin := at
	if text, ok := protocol.Property(m.Properties, protocol.PropPreparedQueueOffset); ok {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			origin = n
		}
	}
	if by, ok := c.removed[origin]; ok {
		c.passed(origin, by)
		return at + 1, nil
	}
	if c.t.endedAt(halfKey{c.queue, origin}) {
		return at + 1, nil
	}
	m.Properties = protocol.SetProperty(m.Properties, protocol.PropPreparedQueueOffset, strconv.FormatInt(origin, 10))
	if err := c.putBack(at, m); err != nil {
		return at, err
	}
	return at + 1, nil
}

// putBack stores a half message once more, at the end of its queue.
func (c *checkRun) putBack(at int64, m *protocol.Message) error {
	res := c.t.b.store.Append(m)
	if _, ok := storedCode(res.Status); !ok {
		return fmt.Errorf("put a half message back: %s", res.Status)
	}
	c.t.b.countPut(m.Topic, &res)
	m.QueueOffset, m.PhysicalOffset, m.StoreTimestamp = res.QueueOffset, res.PhysicalOffset, res.StoreTimestamp
	t := c.t
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, to := range t.moved {
		if key.queue == c.queue && to == at {
			t.moved[key] = res.QueueOffset
		}
	}
	t.moved[halfKey{c.queue, at}] = res.QueueOffset
	t.moved[halfKey{c.queue, res.QueueOffset}] = res.QueueOffset
	return nil
}

// ask puts a half back with its number of checks, and asks its producer.
func (c *checkRun) ask(at int64, m *protocol.Message, checks int) error {
	m.Properties = protocol.SetProperty(m.Properties, protocol.PropTransactionChecks, strconv.Itoa(checks))
	if err := c.putBack(at, m); err != nil {
		return err
	}
	c.t.b.askProducer(m)
	return nil
}

// askProducer sends CHECK_TRANSACTION_STATE to a producer of the group of a
// half message; an answer comes as END_TRANSACTION.
func (b *Broker) askProducer(half *protocol.Message) {
	group, _ := protocol.Property(half.Properties, protocol.PropProducerGroup)
	uniq, _ := protocol.Property(half.Properties, protocol.PropUniqKey)
	conn := b.clients.producer(group)
	m := *half
	if conn == nil || !restoreTopic(&m) {
		b.log.Warn("no producer to be asked about a transaction", "group", group, "uniqKey", uniq)
		return
	}
	record := protocol.AppendMessage(nil, &m)
	protocol.PatchMessage(record, m.QueueOffset, m.PhysicalOffset, m.StoreTimestamp)
	err := conn.Oneway(&protocol.Command{
		Code: protocol.CodeCheckTransactionState, Language: protocol.LanguageGo, Version: protocol.Version, Body: record,
		Fields: protocol.Fields{
			{Key: "topic", Value: topicHalf},
			{Key: "tranStateTableOffset", Value: number(half.QueueOffset)},
			{Key: "commitLogOffset", Value: number(half.PhysicalOffset)},
			{Key: "msgId", Value: uniq},
			{Key: "transactionId", Value: uniq},
			{Key: "offsetMsgId", Value: protocol.OffsetMsgID(half.StoreHost, half.PhysicalOffset)},
			{Key: "bname", Value: b.Name()},
		},
	})
	if err != nil {
		b.log.Warn("producer is not asked about a transaction", "group", group, "uniqKey", uniq, "err", err)
	}
}

// producer returns the connection of a member of a producer group, of each in
// turn, nil if there is none.
func (t *clients) producer(group string) *remoting.Conn {
	t.mu.RLock()
	defer t.mu.RUnlock()
	members := t.producers[group]
	if len(members) == 0 {
		return nil
	}
	skip := int(t.asked.Add(1) % uint32(len(members)))
	conns := slices.SortedFunc(maps.Keys(members), func(a, b *remoting.Conn) int { return strings.Compare(members[a].id, members[b].id) })
	return conns[skip]
}

// discard moves a half that was checked too often, or is too old, out of the way.
func (c *checkRun) discard(m *protocol.Message) error {
	b := c.t.b
	topic, _ := b.topics.ensure(topicMaxChecks, 1, protocol.PermRead|protocol.PermWrite, false, 0)
	moved := *m
	moved.Topic, moved.QueueID = topic.TopicName, 0
	res := b.store.Append(&moved)
	if _, ok := storedCode(res.Status); !ok {
		return fmt.Errorf("move a half message to %s: %s", topic.TopicName, res.Status)
	}
	real, _ := protocol.Property(m.Properties, protocol.PropRealTopic)
	c.t.metrics.Add(real, -1, b.now().UnixMilli())
	b.log.Warn("transaction is given up", "topic", real, "queueOffset", m.QueueOffset, "storedIn", topic.TopicName)
	b.countPut(moved.Topic, &res)
	return nil
}
