package timer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"unicode/utf16"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// Counts is a file of numbers by topic, as config/timermetrics (RocketMQ's
// TimerMetrics: how many messages wait for their time) and
// config/transactionMetrics are: one line of JSON, {"dataVersion":…,
// "timingCount":{"T":{"count":1,"timeStamp":…}}}.
type Counts struct {
	fs    vfs.FS
	path  string
	field string

	mu      sync.Mutex
	version protocol.DataVersion
	table   map[string]Count
	dirty   bool
}

// Count is the number of one topic.
type Count struct {
	Count     int64 `json:"count"`
	TimeStamp int64 `json:"timeStamp"` // of the last change, ms
}

// OpenCounts reads a file, whose table has the name field, or its backup. An
// error says that neither can be read; the counts are empty then, and can be used.
func OpenCounts(fsys vfs.FS, path, field string) (*Counts, error) {
	c := &Counts{fs: fsys, path: path, field: field, table: map[string]Count{}}
	err := store.LoadJSON(fsys, path, func(b []byte) error {
		var parts map[string]json.RawMessage
		if err := protocol.Unmarshal(b, &parts); err != nil {
			return err
		}
		version, table := protocol.DataVersion{}, map[string]Count{}
		for name, into := range map[string]any{"dataVersion": &version, field: &table} {
			if text := parts[name]; text != nil {
				if err := protocol.Unmarshal(text, into); err != nil {
					return err
				}
			}
		}
		c.version, c.table = version, table
		return nil
	})
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

// Add changes the number of a topic at now, ms.
func (c *Counts) Add(topic string, n, now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, ok := c.table[topic]
	if !ok {
		topic = strings.Clone(topic) // it may be part of a request or a record
	}
	c.table[topic] = Count{Count: old.Count + n, TimeStamp: now}
	c.version.Next(0, now)
	c.dirty = true
}

// Of returns the number of a topic.
func (c *Counts) Of(topic string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.table[topic].Count
}

// JSON returns the numbers as the file has them.
func (c *Counts) JSON() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := protocol.AppendJSON([]byte(`{"dataVersion":`), &c.version)
	b = append(append(append(b, `,"`...), c.field...), `":`...)
	return append(protocol.AppendJSON(b, c.table), '}')
}

// Save writes the file if anything changed.
func (c *Counts) Save() error {
	c.mu.Lock()
	changed := c.dirty
	c.dirty = false
	c.mu.Unlock()
	if !changed {
		return nil
	}
	err := c.replace(escape(c.JSON()))
	if err != nil {
		c.mu.Lock()
		c.dirty = true
		c.mu.Unlock()
	}
	return err
}

// replace moves what is there to .bak and puts new content in its place.
func (c *Counts) replace(b []byte) error {
	old, err := vfs.ReadFile(c.fs, c.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("save metrics: %w", err)
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
		return fmt.Errorf("save metrics: %w", err)
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
