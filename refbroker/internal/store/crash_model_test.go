package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"rmqbench/refbroker/protocol"
)

// fate is what the model knows about a message.
type fate uint8

const (
	unknown fate = iota // the store died over it: it may be there, whole
	stored              // the store has said that it is in the log
	refused             // the store has said that it is not
	gone                // was not there after a crash, and must never come back
)

var fateNames = [...]string{"unknown", "stored", "refused", "gone"}

// sent is one message that was given to the store.
type sent struct {
	protocol.Message
	id    string // with which its body begins
	fate  fate
	tag   string
	level int // of a delayed message
	keys  []string
	count int // of messages in an inner batch, else 0
}

// messages is how many queue offsets it takes.
func (m *sent) messages() int64 { return int64(max(m.count, 1)) }

func (m *sent) end() int64   { return m.PhysicalOffset + int64(m.StoreSize) }
func (m *sent) plain() bool  { return plainKind(m.SysFlag) }
func (m *sent) name() string { return m.id }

// tags is the tags code that its unit has to have.
func (m *sent) tags() int64 {
	if m.level > 0 {
		return m.StoreTimestamp + levelDelays[m.level-1].Milliseconds()
	}
	if m.tag == "" {
		return 0
	}
	return protocol.TagsCode(m.tag)
}

func plainKind(flag int32) bool {
	kind := flag & protocol.SysFlagTransaction
	return kind == 0 || kind == protocol.SysFlagCommit
}

func bodyName(body []byte) string {
	name, _, _ := bytes.Cut(body, []byte(";"))
	return string(name)
}

// model is what a store must hold: the messages that were sent, in the order of
// the log where that is known, and the promises about them.
type model struct {
	sent  map[string]*sent
	log   []*sent // those that are stored, by offset
	sure  int64   // records that end before it survive a loss of power
	cache bool    // records that are stored survive a kill
}

func newModel() *model { return &model{sent: map[string]*sent{}, cache: true} }

// note takes in what the store has answered to an append.
func (m *model) note(s *sent, f fate) {
	s.fate = f
	if f == stored {
		m.log = append(m.log, s)
	}
}

// believe takes in that the store says it has synced the log up to an offset.
func (m *model) believe(flushed int64) { m.sure = max(m.sure, flushed) }

// recovered compares a store that was opened with the model: after a kill that
// left the cache, or a loss of power. What it does not have is gone from then on.
func (m *model) recovered(s *Store, power bool) error {
	log, err := readLog(s)
	if err != nil {
		return err
	}
	if err := m.compareLog(s, log, power); err != nil {
		return err
	}
	return m.compareParts(s)
}

// compareLog checks records against what was sent and promised.
func (m *model) compareLog(s *Store, log []protocol.Message, power bool) error {
	before, seen := m.log, map[string]bool{}
	m.log = nil
	for i := range log {
		r := &log[i]
		known := m.sent[bodyName(r.Body)]
		switch {
		case known == nil:
			return fmt.Errorf("log has at %d what nobody sent: %.60q", r.PhysicalOffset, r.Body)
		case seen[known.name()]:
			return fmt.Errorf("log has %s twice, the second time at %d", known.name(), r.PhysicalOffset)
		case known.fate == gone || known.fate == refused:
			return fmt.Errorf("log has %s at %d, which was %s", known.name(), r.PhysicalOffset, fateNames[known.fate])
		}
		if err := known.sameAs(r); err != nil {
			return fmt.Errorf("%s at %d: %w", known.name(), r.PhysicalOffset, err)
		}
		seen[known.name()] = true
		known.fate = stored
		m.log = append(m.log, known)
	}
	for _, old := range before {
		if seen[old.name()] {
			continue
		}
		if old.end() <= m.sure || !power && m.cache {
			return fmt.Errorf("%s at %d…%d is lost; %d was durable, power cut %v, log is %d…%d",
				old.name(), old.PhysicalOffset, old.end(), m.sure, power, s.log.min(), s.log.wrote.Load())
		}
		if old.end() <= s.log.wrote.Load() {
			return fmt.Errorf("%s at %d…%d is missing before the end of the log, %d", old.name(), old.PhysicalOffset, old.end(), s.log.wrote.Load())
		}
	}
	for _, sent := range m.sent {
		if !seen[sent.name()] && sent.fate != refused {
			sent.fate = gone
		}
	}
	return m.compareOffsets()
}

// sameAs compares a record with the message that was sent.
func (m *sent) sameAs(r *protocol.Message) error {
	if m.fate == unknown {
		m.QueueOffset, m.PhysicalOffset, m.StoreTimestamp, m.StoreSize = r.QueueOffset, r.PhysicalOffset, r.StoreTimestamp, r.StoreSize
	}
	for _, field := range []struct {
		name      string
		want, got any
	}{
		{"topic", m.Topic, r.Topic}, {"queue", m.QueueID, r.QueueID}, {"flag", m.Flag, r.Flag},
		{"system flag", m.SysFlag, r.SysFlag}, {"queue offset", m.QueueOffset, r.QueueOffset},
		{"physical offset", m.PhysicalOffset, r.PhysicalOffset}, {"size", m.StoreSize, r.StoreSize},
		{"store time", m.StoreTimestamp, r.StoreTimestamp}, {"born time", m.BornTimestamp, r.BornTimestamp},
		{"born host", m.BornHost, r.BornHost}, {"prepared offset", m.PreparedTransactionOffset, r.PreparedTransactionOffset},
		{"reconsume times", m.ReconsumeTimes, r.ReconsumeTimes},
		{"body", string(m.Body), string(r.Body)},
		{"properties", strings.TrimSuffix(m.Properties, "\x02"), strings.TrimSuffix(withoutBase(r), "\x02")},
	} {
		if field.want != field.got {
			return fmt.Errorf("%s is %.80q, was sent as %.80q", field.name, fmt.Sprint(field.got), fmt.Sprint(field.want))
		}
	}
	return nil
}

// withoutBase returns the properties of a record without what the store adds to
// those of an inner batch, if that is right.
func withoutBase(r *protocol.Message) string {
	if !r.IsInnerBatch() {
		return r.Properties
	}
	if base, _ := protocol.Property(r.Properties, protocol.PropInnerBase); base != fmt.Sprint(r.QueueOffset) {
		return "wrong " + protocol.PropInnerBase + " " + base
	}
	return protocol.RemoveProperty(r.Properties, protocol.PropInnerBase)
}

// crashBits are bits of filters that depend on the message.
func crashBits(_, properties string) []byte {
	h := fnv.New64a()
	h.Write([]byte(properties))
	n := h.Sum64()
	return binary.BigEndian.AppendUint64(nil, n)[:n%9]
}

// compareOffsets checks that the messages of each queue are numbered without
// gaps, in the order of the log.
func (m *model) compareOffsets() error {
	next := map[queueKey]int64{}
	for _, s := range m.log {
		key := queueKey{s.Topic, s.QueueID}
		want := next[key]
		if !s.plain() {
			want = 0
		} else {
			next[key] += s.messages()
		}
		if s.QueueOffset != want {
			return fmt.Errorf("%s has queue offset %d, want %d in %v", s.name(), s.QueueOffset, want, key)
		}
	}
	return nil
}

// readLog reads the whole log and checks that it is one sequence of records
// with nothing but zeros behind it.
func readLog(s *Store) (log []protocol.Message, err error) {
	end := s.log.wrote.Load()
	at := s.log.min()
	for err == nil && at < end {
		ok := s.log.view(at, 1<<62, func(b []byte) {
			var got []protocol.Message
			got, at, err = readFile(b, at, end, s.log.fileSize)
			log = append(log, got...)
		})
		if !ok {
			return nil, fmt.Errorf("log cannot be read at %d of %d", at, end)
		}
	}
	if err != nil {
		return nil, err
	}
	s.log.view(end, 1<<62, func(b []byte) {
		if n := slices.IndexFunc(b, func(c byte) bool { return c != 0 }); n >= 0 {
			err = fmt.Errorf("byte %d behind the end of the log, %d, is %#x", n, end, b[n])
		}
	})
	return log, err
}

func readFile(b []byte, at, end, fileSize int64) (log []protocol.Message, next int64, err error) {
	for at < end && len(b) > 0 {
		if len(b) >= blankSize && binary.BigEndian.Uint32(b[protocol.OffMagic:]) == protocol.MagicBlank {
			return log, at/fileSize*fileSize + fileSize, nil
		}
		var m protocol.Message
		n, err := protocol.DecodeMessage(b, &m)
		if err == nil && (m.PhysicalOffset != at || !m.VerifyBody()) {
			err = errors.New("offset or checksum is wrong")
		}
		if err != nil {
			return nil, at, fmt.Errorf("log has no record at %d: %w", at, err)
		}
		m.Body = slices.Clone(m.Body)
		m.Topic, m.Properties = strings.Clone(m.Topic), strings.Clone(m.Properties)
		log = append(log, m)
		b, at = b[n:], at+int64(n)
	}
	return log, at, nil
}

// compareParts checks that everything beside the log agrees with it.
func (m *model) compareParts(s *Store) error {
	if at, end := s.dispatch.at.Load(), s.log.wrote.Load(); at != end {
		return fmt.Errorf("dispatched up to %d of %d", at, end)
	}
	if err := m.compareQueues(s); err != nil {
		return err
	}
	return m.compareIndex(s)
}

// compareQueues checks consume queues and what consumers get from them.
func (m *model) compareQueues(s *Store) error {
	queues := map[queueKey][]*sent{}
	for _, msg := range m.log {
		key := queueKey{msg.Topic, msg.QueueID}
		if msg.plain() {
			queues[key] = append(queues[key], msg)
		}
	}
	for _, q := range s.queues.all() {
		if key := (queueKey{q.topic, q.id}); queues[key] == nil && q.max.Load() != 0 {
			return fmt.Errorf("queue %v has %d units, no message is in it", key, q.max.Load())
		}
	}
	for key, want := range queues {
		if err := compareQueue(s, key, want); err != nil {
			return fmt.Errorf("queue %.40v: %w", key, err)
		}
	}
	return nil
}

func compareQueue(s *Store, key queueKey, want []*sent) error {
	last := want[len(want)-1]
	end := last.QueueOffset + last.messages()
	if got := s.MaxOffset(key.topic, key.id); got != end {
		return fmt.Errorf("max offset is %d, want %d", got, end)
	}
	if got := s.queues.find(key.topic, key.id).next; got != end {
		return fmt.Errorf("next offset is %d, want %d", got, end)
	}
	for i, m := range want {
		phys, size, tags, ok := s.ConsumeQueueUnit(key.topic, key.id, m.QueueOffset+m.messages()-1)
		if !ok || phys != m.PhysicalOffset || size != m.StoreSize || tags != m.tags() {
			return fmt.Errorf("unit %d is %d+%d tags %d (%v), want %d+%d tags %d", i, phys, size, tags, ok, m.PhysicalOffset, m.StoreSize, m.tags())
		}
		if err := compareBits(s, key, m); err != nil {
			return err
		}
	}
	var res GetResult
	defer res.Release()
	n := 0
	for at := int64(0); at < end; at = res.Next {
		s.Get(GetQuery{Topic: key.topic, Queue: key.id, Offset: at, MaxMessages: 32}, &res)
		if res.Status != Found || res.Next <= at {
			return fmt.Errorf("get at %d of %d: %v, next is %d", at, end, res.Status, res.Next)
		}
		for _, segment := range res.Segments {
			err := protocol.DecodeMessages(segment, func(r *protocol.Message) error {
				n++
				return want[n-1].sameAs(r)
			})
			if err != nil {
				return fmt.Errorf("get before %d: %w", at, err)
			}
		}
	}
	return nil
}

// compareBits checks the extension of a unit, if queues have extensions.
func compareBits(s *Store, key queueKey, m *sent) error {
	if !s.cfg.EnableConsumeQueueExt || batchTopic(key.topic) {
		return nil
	}
	var record []byte
	if err := s.Lookup(m.PhysicalOffset, func(b []byte) error { record = slices.Clone(b); return nil }); err != nil {
		return err
	}
	var r protocol.Message
	if _, err := protocol.DecodeMessage(record, &r); err != nil {
		return err
	}
	want := fmt.Sprint(ExtUnit{Tags: m.tags(), StoreTime: m.StoreTimestamp, BitMap: crashBits("", r.Properties)})
	got := "none"
	err := s.EachUnit(key.topic, key.id, m.QueueOffset, func(u *Unit) bool {
		if u.Ext != nil {
			got = fmt.Sprint(*u.Ext)
		}
		return false
	})
	if err != nil {
		return fmt.Errorf("extension of unit %d: %w", m.QueueOffset, err)
	}
	if got != want {
		return fmt.Errorf("extension of unit %d is %s, want %s", m.QueueOffset, got, want)
	}
	return nil
}

// compareIndex looks for every message by its keys.
func (m *model) compareIndex(s *Store) error {
	in := map[string]bool{}
	for _, msg := range m.log {
		in[msg.name()] = true
	}
	for name, msg := range m.sent {
		for _, key := range msg.keys {
			var got []string
			s.QueryKeys(msg.Topic, key, 32, 0, 1<<62, func(record []byte) {
				var r protocol.Message
				if _, err := protocol.DecodeMessage(record, &r); err == nil && (hasKey(&r, key)) {
					got = append(got, bodyName(r.Body))
				}
			})
			indexed := in[name] && msg.SysFlag&protocol.SysFlagTransaction != protocol.SysFlagRollback
			if indexed && !slices.Equal(got, []string{name}) || !indexed && len(got) > 0 {
				return fmt.Errorf("index has %q for key %s of %s, which is %s", got, key, name, fateNames[msg.fate])
			}
		}
	}
	return nil
}

// hasKey tells a key's message from others that share its hash.
func hasKey(r *protocol.Message, key string) bool {
	uniq, _ := protocol.Property(r.Properties, protocol.PropUniqKey)
	keys, _ := protocol.Property(r.Properties, protocol.PropKeys)
	return uniq == key || slices.Contains(strings.Fields(keys), key)
}

// Messages of the random load.

var crashTopics = []string{"T", "Batches", "Other", scheduleTopic, "%RETRY%" + strings.Repeat("group-", 25), strings.Repeat("L", 127)}

// newMessage makes up a message.
func (m *model) newMessage(r *rand.Rand) *sent {
	name := "m" + strconv.Itoa(len(m.sent))
	s := &sent{id: name, Message: *message(crashTopics[r.IntN(len(crashTopics))], r.Int32N(3), name+";"+filler(r, sizeOf(r, 6000)))}
	var p []byte
	if r.IntN(4) > 0 {
		s.keys = append(s.keys, "u"+name)
		p = protocol.AppendProperty(p, protocol.PropUniqKey, "u"+name)
	}
	if n := r.IntN(4); n > 0 {
		var keys []string
		for i := range n {
			keys = append(keys, fmt.Sprint(name, "k", i))
		}
		s.keys = append(s.keys, keys...)
		p = protocol.AppendProperty(p, protocol.PropKeys, strings.Join(keys, " "))
	}
	if r.IntN(2) == 0 {
		s.tag = fmt.Sprint("tag", r.IntN(5))
		p = protocol.AppendProperty(p, protocol.PropTags, s.tag)
	}
	if s.Topic == scheduleTopic {
		s.level = 1 + r.IntN(18)
		p = protocol.AppendProperty(p, protocol.PropDelay, strconv.Itoa(s.level))
	} else if r.IntN(4) == 0 {
		s.SysFlag = []int32{protocol.SysFlagPrepared, protocol.SysFlagCommit, protocol.SysFlagRollback}[r.IntN(3)]
		s.PreparedTransactionOffset = r.Int64N(1 << 40)
	}
	if r.IntN(3) == 0 {
		p = protocol.AppendProperty(p, "filler", filler(r, sizeOf(r, 9000)))
	}
	s.Properties = string(p)
	m.sent[name] = s
	return s
}

// sizeOf is mostly small, at times several pages.
func sizeOf(r *rand.Rand, most int) int {
	if r.IntN(5) > 0 {
		most = 200
	}
	return r.IntN(most)
}

func filler(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + r.IntN(26))
	}
	return string(b)
}

var levelDelays, _ = ParseDelayLevels(DefaultConfig().MessageDelayLevel)
