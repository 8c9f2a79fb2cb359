package broker

import (
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"rmqbench/refbroker/internal/filter"
	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

const (
	consumerFilterFile = "consumerFilter.json"

	saveFiltersEvery = 10 * time.Second // as Java
	deadSinceLoad    = 30 * time.Second // groups of the file count as gone for that long
)

// filterData is the filter of a group for a topic: an entry of the file, and
// its expression, compiled; nil if it cannot be. It is never changed.
type filterData struct {
	protocol.ConsumerFilterData
	compiled *filter.Filter
}

// groupFilters are the filters of a topic by group, never changed.
type groupFilters map[string]*filterData

// consumerFilters are the expressions that consumer groups subscribe with.
//
// Heartbeats bring them. They stay when the group goes, marked as dead, so that
// the bit maps of messages go on having its bits, and leave with a save when
// that is long ago. Pulls and dispatch only read.
type consumerFilters struct {
	fs    vfs.FS
	path  string
	log   *slog.Logger
	now   func() time.Time
	life  func() time.Duration // of the dead
	bloom filter.Bloom

	changes sync.Mutex // held by who changes topics
	mu      sync.RWMutex
	topics  map[string]groupFilters
	dirty   bool
}

func newConsumerFilters(fs vfs.FS, cfg func() *Config, log *slog.Logger) (*consumerFilters, error) {
	c := cfg()
	bloom, err := c.bloom()
	if err != nil {
		return nil, err
	}
	return &consumerFilters{
		fs: fs, path: filepath.Join(c.configDir(), consumerFilterFile), log: log, now: time.Now, bloom: bloom,
		life:   func() time.Duration { return time.Duration(cfg().FilterDataCleanTimeSpan) * time.Millisecond },
		topics: map[string]groupFilters{}, dirty: true,
	}, nil
}

// bloom returns the form of the bit maps.
func (c *Config) bloom() (filter.Bloom, error) {
	b, err := filter.NewBloom(c.MaxErrorRateOfBloomFilter, c.ExpectConsumerNumUseFilter)
	if err != nil {
		return b, fmt.Errorf("maxErrorRateOfBloomFilter=%d, expectConsumerNumUseFilter=%d: %w",
			c.MaxErrorRateOfBloomFilter, c.ExpectConsumerNumUseFilter, err)
	}
	return b, nil
}

// compileFilter compiles an expression of a type, as Java's FilterFactory.
func compileFilter(kind, expression string) (*filter.Filter, error) {
	if kind != protocol.ExpressionSQL92 {
		return nil, fmt.Errorf("there is no filter of type %q, want %s or %s", kind, protocol.ExpressionTag, protocol.ExpressionSQL92)
	}
	return filter.Compile(expression)
}

// get returns the filter of a group for a topic, nil if there is none.
func (t *consumerFilters) get(topic, group string) *filterData {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.topics[topic][group]
}

// of returns the filters for a topic.
func (t *consumerFilters) of(topic string) groupFilters {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.topics[topic]
}

// set puts a filter in the place of another; nil takes it away.
func (t *consumerFilters) set(topic, group string, d *filterData) {
	t.mu.Lock()
	defer t.mu.Unlock()
	groups := maps.Clone(t.topics[topic])
	if groups == nil {
		groups = groupFilters{}
	}
	if groups[group] = d; d == nil {
		delete(groups, group)
	}
	if t.topics[topic] = groups; len(groups) == 0 {
		delete(t.topics, topic)
	}
	t.dirty = true
}

// register takes the filters out of the subscriptions of a group. Those for
// other topics are dead from now on.
func (t *consumerFilters) register(group string, subs []protocol.SubscriptionData) {
	t.changes.Lock()
	defer t.changes.Unlock()
	for i := range subs {
		if s := &subs[i]; !isTagType(s.ExpressionType) && s.SubString != "" {
			t.registerOne(group, s)
		}
	}
	t.bury(group, func(topic string) bool {
		return !slices.ContainsFunc(subs, func(s protocol.SubscriptionData) bool { return s.Topic == topic })
	})
}

// registerOne has the filter of the newest version win. An expression that
// cannot be compiled takes the old one away: the next pull says so.
func (t *consumerFilters) registerOne(group string, s *protocol.SubscriptionData) {
	old := t.get(s.Topic, group)
	switch {
	case old == nil:
	case s.SubVersion < old.ClientVersion:
		return
	case s.SubVersion == old.ClientVersion:
		if old.Dead {
			t.set(s.Topic, group, old.alive(s.SubVersion))
		}
		return
	case old.Expression == s.SubString && old.ExpressionType == s.ExpressionType:
		t.set(s.Topic, group, old.alive(s.SubVersion))
		return
	}
	compiled, err := compileFilter(s.ExpressionType, s.SubString)
	if err != nil {
		t.log.Warn("consumer group has a filter that is not one", "group", group, "topic", s.Topic, "filter", s.SubString, "err", err)
		if old != nil {
			t.set(s.Topic, group, nil)
		}
		return
	}
	t.set(s.Topic, group, &filterData{compiled: compiled, ConsumerFilterData: protocol.ConsumerFilterData{
		Topic: s.Topic, ConsumerGroup: group, Expression: s.SubString, ExpressionType: s.ExpressionType,
		ClientVersion: s.SubVersion, BornTime: t.now().UnixMilli(),
		BloomFilterData: &protocol.BloomFilterData{BitNum: t.bloom.Bits, BitPos: t.bloom.Of(group + "#" + s.Topic)},
	}})
}

func (d *filterData) alive(version int64) *filterData {
	again := *d
	again.ClientVersion, again.Dead, again.DeadTime = version, false, 0
	return &again
}

// unregister is called when the last member of a group goes.
func (t *consumerFilters) unregister(group string) {
	t.changes.Lock()
	defer t.changes.Unlock()
	t.bury(group, func(string) bool { return true })
}

// bury marks filters of a group as dead, changes held.
func (t *consumerFilters) bury(group string, which func(topic string) bool) {
	t.mu.RLock()
	var dead []*filterData
	for topic, groups := range t.topics {
		if d := groups[group]; d != nil && !d.Dead && which(topic) {
			dead = append(dead, d)
		}
	}
	t.mu.RUnlock()
	for _, d := range dead {
		again := *d
		again.Dead, again.DeadTime = true, t.now().UnixMilli()
		t.set(d.Topic, group, &again)
	}
}

// bitMap returns the bits of the groups whose filter lets a message through,
// nil for a topic without filters.
func (t *consumerFilters) bitMap(topic, properties string) []byte {
	groups := t.of(topic)
	if len(groups) == 0 {
		return nil
	}
	bits := make([]byte, t.bloom.Bits/8)
	for _, d := range groups {
		if d.compiled != nil && d.compiled.Match(properties) {
			filter.Set(bits, d.BloomFilterData.BitPos)
		}
	}
	return bits
}

// clean forgets the filters of groups that are dead for too long.
func (t *consumerFilters) clean() {
	t.changes.Lock()
	defer t.changes.Unlock()
	limit := t.now().Add(-t.life()).UnixMilli()
	t.mu.RLock()
	var old []*filterData
	for _, groups := range t.topics {
		for _, d := range groups {
			if d.Dead && d.DeadTime <= limit {
				old = append(old, d)
			}
		}
	}
	t.mu.RUnlock()
	for _, d := range old {
		t.set(d.Topic, d.ConsumerGroup, nil)
	}
}

// save writes the file if something changed.
func (t *consumerFilters) save() error {
	t.clean()
	t.mu.Lock()
	changed, file := t.dirty, t.file()
	t.dirty = false
	t.mu.Unlock()
	if !changed {
		return nil
	}
	if err := saveJSON(t.fs, t.path, file); err != nil {
		t.mu.Lock()
		t.dirty = true
		t.mu.Unlock()
		return err
	}
	return nil
}

// file returns what is saved, mu held.
func (t *consumerFilters) file() *protocol.ConsumerFilterTable {
	f := &protocol.ConsumerFilterTable{FilterDataByTopic: map[string]*protocol.ConsumerFilterTopic{}}
	for topic, groups := range t.topics {
		data := map[string]*protocol.ConsumerFilterData{}
		for group, d := range groups {
			data[group] = &d.ConsumerFilterData
		}
		f.FilterDataByTopic[topic] = &protocol.ConsumerFilterTopic{Topic: topic, GroupFilterData: data}
	}
	return f
}

// load reads the file. All of it is left alone if the bit maps have another
// form now; the groups in it are dead until they come back.
func (t *consumerFilters) load() error {
	return loadJSON(t.fs, t.path, func(f *protocol.ConsumerFilterTable) {
		topics := map[string]groupFilters{}
		for topic, groups := range f.FilterDataByTopic {
			if groups == nil {
				continue
			}
			for group, d := range groups.GroupFilterData {
				if d == nil {
					continue
				}
				if b := d.BloomFilterData; b == nil || !t.bloom.Valid(b.BitNum, b.BitPos) {
					t.log.Info("the bit maps of filters have another form: all filters of the file are left alone", "path", t.path, "bits", t.bloom.Bits)
					return
				}
				if topics[topic] == nil {
					topics[topic] = groupFilters{}
				}
				d.Topic, d.ConsumerGroup = topic, group
				topics[topic][group] = t.loaded(d)
			}
		}
		t.topics = topics
	})
}

func (t *consumerFilters) loaded(d *protocol.ConsumerFilterData) *filterData {
	if d.DeadTime == 0 {
		d.DeadTime = max(t.now().Add(-deadSinceLoad).UnixMilli(), d.BornTime)
	}
	d.Dead = d.DeadTime >= d.BornTime
	compiled, err := compileFilter(d.ExpressionType, d.Expression)
	if err != nil {
		t.log.Error("a filter of the file is not one", "path", t.path, "group", d.ConsumerGroup, "topic", d.Topic, "filter", d.Expression, "err", err)
	}
	return &filterData{*d, compiled}
}
