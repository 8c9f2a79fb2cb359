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

// groups is the table of subscription groups and its file
// subscriptionGroup.json. A configuration in it never changes; a new one takes
// its place.
type groups struct {
	fs     vfs.FS
	path   string
	cfg    func() *Config
	failed func(what string, err error)

	changing sync.Mutex // held during a change, file included

	mu        sync.RWMutex
	table     map[string]*protocol.SubscriptionGroupConfig
	forbidden map[string]map[string]int32 // group → topic → bits
	version   protocol.DataVersion
}

// forbidRead is the bit of forbidden that stops a group from reading a topic.
const forbidRead int32 = 1 << 0

func newGroups(fs vfs.FS, cfg func() *Config) *groups {
	g := &groups{
		fs: fs, path: filepath.Join(cfg().configDir(), "subscriptionGroup.json"), cfg: cfg,
		failed: func(string, error) {}, table: map[string]*protocol.SubscriptionGroupConfig{},
		forbidden: map[string]map[string]int32{},
		version:   protocol.DataVersion{Timestamp: time.Now().UnixMilli()},
	}
	for _, name := range defaultGroups {
		c := protocol.NewSubscriptionGroupConfig(name)
		g.table[name] = &c
	}
	return g
}

// get returns a group, nil if there is none.
func (g *groups) get(name string) *protocol.SubscriptionGroupConfig {
	g.mu.RLock()
	found := g.table[name]
	g.mu.RUnlock()
	if found == nil {
		return lightGroup(name, g.cfg())
	}
	return found
}

// find returns a group, created if the broker does that; else nil.
func (g *groups) find(name string) *protocol.SubscriptionGroupConfig {
	if c := g.get(name); c != nil {
		return c
	}
	if !g.cfg().AutoCreateSubscription && !isSystemGroup(name) {
		return nil
	}
	if name == "" || len(name) > maxGroupName || hasIllegalRune(name) {
		return nil
	}
	var made *protocol.SubscriptionGroupConfig
	g.change(func() bool {
		if made = g.table[name]; made != nil {
			return false
		}
		c := protocol.NewSubscriptionGroupConfig(strings.Clone(name))
		made = &c
		g.table[c.GroupName] = made
		return true
	})
	return made
}

// change calls f, which changes the table, and makes the change last if f says
// that there is one.
func (g *groups) change(f func() bool) {
	g.changing.Lock()
	defer g.changing.Unlock()
	g.mu.Lock()
	changed := f()
	if changed {
		g.version.Next(g.version.StateVersion, time.Now().UnixMilli())
	}
	g.mu.Unlock()
	if !changed {
		return
	}
	table := g.snapshot()
	if err := saveJSON(g.fs, g.path, &table); err != nil {
		g.failed("subscription groups are not saved", err)
	}
}

// update creates or replaces groups.
func (g *groups) update(all ...protocol.SubscriptionGroupConfig) {
	g.change(func() (changed bool) {
		for _, c := range all {
			if lightGroup(c.GroupName, g.cfg()) == nil {
				g.table[c.GroupName], changed = &c, true
			}
		}
		return changed
	})
}

// remove deletes a group and reports whether it was there.
func (g *groups) remove(name string) (removed bool) {
	g.change(func() bool {
		removed = g.table[name] != nil
		delete(g.table, name)
		delete(g.forbidden, name)
		return removed
	})
	return removed
}

// mayRead reports whether a group may read a topic.
func (g *groups) mayRead(group, topic string) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.forbidden[group][topic]&forbidRead == 0
}

// forbid lets a group read a topic or not.
func (g *groups) forbid(group, topic string, readable bool) {
	g.change(func() bool {
		bits := g.forbidden[group]
		if bits == nil {
			bits = map[string]int32{}
			g.forbidden[group] = bits
		}
		if readable {
			bits[topic] &^= forbidRead
		} else {
			bits[topic] |= forbidRead
		}
		if bits[topic] == 0 {
			delete(bits, topic)
		}
		if len(bits) == 0 {
			delete(g.forbidden, group)
		}
		return true
	})
}

// names returns the names of all groups.
func (g *groups) names() []string {
	g.mu.RLock()
	defer g.mu.RUnlock()
	all := make([]string, 0, len(g.table))
	for name := range g.table {
		all = append(all, name)
	}
	return all
}

// snapshot returns the table as its file and the admin requests have it.
func (g *groups) snapshot() protocol.SubscriptionGroupTable {
	g.mu.RLock()
	defer g.mu.RUnlock()
	f := protocol.SubscriptionGroupTable{
		DataVersion:            g.version,
		ForbiddenTable:         map[string]map[string]int32{},
		SubscriptionGroupTable: make(map[string]protocol.SubscriptionGroupConfig, len(g.table)),
	}
	for name, c := range g.table {
		f.SubscriptionGroupTable[name] = *c
	}
	for group, bits := range g.forbidden {
		f.ForbiddenTable[group] = maps.Clone(bits)
	}
	return f
}

// load reads the file.
func (g *groups) load() error {
	return loadJSON(g.fs, g.path, func(f *protocol.SubscriptionGroupTable) {
		g.mu.Lock()
		defer g.mu.Unlock()
		for name, c := range f.SubscriptionGroupTable {
			c.GroupName = name
			g.table[name] = &c
		}
		if f.ForbiddenTable != nil {
			g.forbidden = f.ForbiddenTable
		}
		g.version = f.DataVersion
	})
}
