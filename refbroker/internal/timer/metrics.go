package timer

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"sync"
	"unicode/utf16"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// Metrics is the content of config/timermetrics (RocketMQ's TimerMetrics): how
// many messages of each topic wait.
type Metrics struct {
	DataVersion protocol.DataVersion `json:"dataVersion"`
	TimingCount map[string]Metric    `json:"timingCount"`
}

// Metric is the number of one topic.
type Metric struct {
	Count     int64 `json:"count"`
	TimeStamp int64 `json:"timeStamp"` // of the last change, ms
}

// counts are the metrics with their file.
type counts struct {
	fs   vfs.FS
	path string

	mu    sync.Mutex
	m     Metrics
	dirty bool
}

// openCounts reads the file or its backup. An error says that neither can be
// read: the counts are to be made again then, as nothing but they is lost.
func openCounts(fsys vfs.FS, path string) (*counts, error) {
	c := &counts{fs: fsys, path: path}
	err := store.LoadJSON(fsys, path, func(b []byte) error {
		c.m = Metrics{}
		return protocol.Unmarshal(b, &c.m)
	})
	if err != nil {
		c.m = Metrics{}
	}
	if c.m.TimingCount == nil {
		c.m.TimingCount = map[string]Metric{}
	}
	return c, err
}

// recount makes the counts from the messages that wait.
func (t *Timer) recount() error {
	var last error
	t.wheel.each(t.readTime, func(ms int64, s slot) {
		units, err := t.follow(ms, s)
		if err != nil {
			last = err
		}
		for i := range units {
			var c call
			if ok, err := t.load(&units[i], &c); ok && err == nil {
				t.count(&c, units[i].deletes(), 1)
			}
		}
	})
	return last
}

func (c *counts) add(topic string, n, now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m.TimingCount[topic] = Metric{Count: c.m.TimingCount[topic].Count + n, TimeStamp: now}
	c.m.DataVersion.Next(0, now)
	c.dirty = true
}

func (c *counts) get() Metrics {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Metrics{DataVersion: c.m.DataVersion, TimingCount: maps.Clone(c.m.TimingCount)}
}

// save writes the file, in one line, if anything changed.
func (c *counts) save() error {
	c.mu.Lock()
	changed := c.dirty
	c.dirty = false
	c.mu.Unlock()
	if !changed {
		return nil
	}
	m := c.get()
	err := c.replace(escape(protocol.Marshal(&m)))
	if err != nil {
		c.mu.Lock()
		c.dirty = true
		c.mu.Unlock()
	}
	return err
}

// replace moves what is there to .bak and puts new content in its place.
func (c *counts) replace(b []byte) error {
	old, err := vfs.ReadFile(c.fs, c.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("save timer metrics: %w", err)
	}
	if len(old) > 0 {
		err = vfs.WriteFile(c.fs, c.path+".bak", old, false)
	} else {
		err = nil
	}
	if err == nil {
		err = vfs.WriteFile(c.fs, c.path, b, false)
	}
	if err != nil {
		return fmt.Errorf("save timer metrics: %w", err)
	}
	return nil
}

// escape writes what is beyond ASCII as \uXXXX, as Java does here.
func escape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for _, r := range string(b) {
		if r < 0x80 {
			out = append(out, byte(r))
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			out = fmt.Appendf(out, "\\u%04X", unit)
		}
	}
	return out
}
