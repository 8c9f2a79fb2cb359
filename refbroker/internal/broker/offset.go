package broker

import (
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// offsetKey names what a group has consumed of a topic. The file writes it
// topic@group; a group may contain @ itself (G@broadcast), a topic may not.
type offsetKey struct{ topic, group string }

func (k offsetKey) String() string { return k.topic + "@" + k.group }

func (k offsetKey) clone() offsetKey {
	return offsetKey{strings.Clone(k.topic), strings.Clone(k.group)}
}

func parseOffsetKey(s string) (offsetKey, bool) {
	topic, group, ok := strings.Cut(s, "@")
	return offsetKey{topic, group}, ok && topic != "" && group != ""
}

// offsets are the positions of consumer groups.
//
//	committed  what a group says it has consumed: consumerOffset.json
//	pulled     where its next pull starts; for statistics, in memory only
//	reset      where an operator sent it: answers queries, hides commits, and is
//	           taken by the next pull; in memory only
//	light      committed offsets of light message queues, see lightqueue.go; nil
//	           without enableLmq
type offsets struct {
	fs   vfs.FS
	path string
	step int64 // commits per version of the data

	mu        sync.RWMutex
	committed map[offsetKey]map[int32]int64
	pulled    map[offsetKey]map[int32]int64
	reset     map[offsetKey]map[int32]int64
	light     map[offsetKey]int64
	version   protocol.DataVersion
	commits   int64
	dirty     bool
}

func newOffsets(fs vfs.FS, cfg *Config) *offsets {
	o := &offsets{
		fs:        fs,
		path:      filepath.Join(cfg.configDir(), offsetFile),
		step:      max(cfg.ConsumerOffsetVersionStep, 1),
		committed: map[offsetKey]map[int32]int64{},
		pulled:    map[offsetKey]map[int32]int64{},
		reset:     map[offsetKey]map[int32]int64{},
		version:   protocol.DataVersion{Timestamp: time.Now().UnixMilli()},
	}
	if cfg.EnableLmq {
		o.path, o.light = filepath.Join(cfg.configDir(), lmqOffsetFile), map[offsetKey]int64{}
	}
	return o
}

func put(table map[offsetKey]map[int32]int64, k offsetKey, queue int32, offset int64) {
	queues := table[k]
	if queues == nil {
		queues = map[int32]int64{}
		table[k.clone()] = queues
	}
	queues[queue] = offset
}

// commit stores what a group has consumed of a queue; smaller offsets too.
func (o *offsets) commit(k offsetKey, queue int32, offset int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dirty = true
	if o.isLight(k) {
		o.light[k.clone()] = offset
		return
	}
	put(o.committed, k, queue, offset)
	if o.commits++; o.commits%o.step == 0 {
		o.version.Next(o.version.StateVersion, time.Now().UnixMilli())
	}
}

// notePull stores where the next pull of a group starts.
func (o *offsets) notePull(k offsetKey, queue int32, next int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	put(o.pulled, k, queue, next)
}

// query returns the pending reset of a queue, else the committed offset, else -1.
func (o *offsets) query(k offsetKey, queue int32) int64 {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if at, ok := o.reset[k][queue]; ok {
		return at
	}
	if at, ok := o.light[k]; ok {
		return at
	}
	if at, ok := o.committed[k][queue]; ok {
		return at
	}
	return -1
}

// queryPull returns where the next pull of a queue starts, else query.
func (o *offsets) queryPull(k offsetKey, queue int32) int64 {
	o.mu.RLock()
	at, ok := o.pulled[k][queue]
	o.mu.RUnlock()
	if ok {
		return at
	}
	return o.query(k, queue)
}

// setReset has the next pull of a queue start at offset.
func (o *offsets) setReset(k offsetKey, queue int32, offset int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	put(o.reset, k, queue, offset)
	put(o.committed, k, queue, offset)
	o.dirty = true
	o.version.Next(o.version.StateVersion, time.Now().UnixMilli())
}

// hasReset reports whether a reset waits for the next pull of a queue.
func (o *offsets) hasReset(k offsetKey, queue int32) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	_, ok := o.reset[k][queue]
	return ok
}

// takeReset returns and forgets the pending reset of a queue.
func (o *offsets) takeReset(k offsetKey, queue int32) (int64, bool) {
	o.mu.RLock()
	none := len(o.reset) == 0
	o.mu.RUnlock()
	if none {
		return 0, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	at, ok := o.reset[k][queue]
	if ok {
		delete(o.reset[k], queue)
		if len(o.reset[k]) == 0 {
			delete(o.reset, k)
		}
	}
	return at, ok
}

// ofGroup returns the committed offsets of a group by topic.
func (o *offsets) ofGroup(group string) map[string]map[int32]int64 {
	o.mu.RLock()
	defer o.mu.RUnlock()
	topics := map[string]map[int32]int64{}
	for k, queues := range o.committed {
		if k.group == group {
			topics[k.topic] = maps.Clone(queues)
		}
	}
	for k, at := range o.light {
		if k.group == group {
			topics[k.topic] = map[int32]int64{0: at}
		}
	}
	return topics
}

// groupsOf returns the groups that have committed offsets of a topic.
func (o *offsets) groupsOf(topic string) []string {
	o.mu.RLock()
	defer o.mu.RUnlock()
	var groups []string
	for k := range o.committed {
		if k.topic == topic && !strings.Contains(k.group, "@") {
			groups = append(groups, k.group)
		}
	}
	return groups
}

// committedOf returns the committed offsets of a group on a topic.
func (o *offsets) committedOf(k offsetKey) map[int32]int64 {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if at, ok := o.light[k]; ok {
		return map[int32]int64{0: at}
	}
	return maps.Clone(o.committed[k])
}

// copyTo gives group to the offsets that group from has on a topic.
func (o *offsets) copyTo(topic, from, to string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	queues, ok := o.committed[offsetKey{topic, from}]
	if !ok {
		return
	}
	o.committed[offsetKey{topic, to}.clone()] = maps.Clone(queues)
	o.dirty = true
}

// drop forgets the offsets that match.
func (o *offsets) drop(match func(offsetKey) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, table := range []map[offsetKey]map[int32]int64{o.committed, o.pulled, o.reset} {
		maps.DeleteFunc(table, func(k offsetKey, _ map[int32]int64) bool { return match(k) })
	}
	maps.DeleteFunc(o.light, func(k offsetKey, _ int64) bool { return match(k) })
	o.dirty = true
}

// file returns the committed offsets as the file has them.
func (o *offsets) file() protocol.ConsumerOffsetTable {
	o.mu.RLock()
	defer o.mu.RUnlock()
	version := o.version
	f := protocol.ConsumerOffsetTable{DataVersion: &version, OffsetTable: make(map[string]map[int32]int64, len(o.committed))}
	for k, queues := range o.committed {
		f.OffsetTable[k.String()] = maps.Clone(queues)
	}
	f.LmqOffsetTable = o.lightTable()
	return f
}

// save writes the file if anything has changed since the last time.
func (o *offsets) save() error {
	o.mu.Lock()
	changed := o.dirty
	o.dirty = false
	o.mu.Unlock()
	if !changed {
		return nil
	}
	f := o.file()
	if err := saveJSON(o.fs, o.path, &f); err != nil {
		o.mu.Lock()
		o.dirty = true
		o.mu.Unlock()
		return err
	}
	return nil
}

// load reads the file. A broker that has had no light message queues so far has
// its offsets in the other file.
func (o *offsets) load() error {
	found, err := o.loadFrom(o.path)
	if err == nil && !found && o.light != nil {
		_, err = o.loadFrom(filepath.Join(filepath.Dir(o.path), offsetFile))
	}
	return err
}

func (o *offsets) loadFrom(path string) (found bool, err error) {
	err = loadJSON(o.fs, path, func(f *protocol.ConsumerOffsetTable) {
		o.mu.Lock()
		defer o.mu.Unlock()
		found = true
		for name, queues := range f.OffsetTable {
			if k, ok := parseOffsetKey(name); ok && queues != nil {
				o.committed[k] = queues
			}
		}
		o.takeLight(f.LmqOffsetTable)
		if f.DataVersion != nil {
			o.version = *f.DataVersion
		}
	})
	return found, err
}
