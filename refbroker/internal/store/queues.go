package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

type queueKey struct {
	topic string
	id    int32
}

// queueTable holds all queues. Files of a queue come with its first message.
type queueTable struct {
	fs       vfs.FS
	dir      string
	fileSize int64

	mu      sync.RWMutex
	queues  map[queueKey]*queue
	deleted map[string]int64 // end of the log when a topic was deleted
}

func newQueueTable(cfg *Config, fsys vfs.FS) *queueTable {
	return &queueTable{
		fs: fsys, dir: filepath.Join(cfg.StorePathRootDir, "consumequeue"), fileSize: cfg.MappedFileSizeConsumeQueue,
		queues: map[queueKey]*queue{}, deleted: map[string]int64{},
	}
}

// find returns a queue or nil.
func (t *queueTable) find(topic string, id int32) *queue {
	t.mu.RLock()
	q := t.queues[queueKey{topic, id}]
	t.mu.RUnlock()
	return q
}

// get returns a queue, a new one if there is none. topic may alias a buffer.
func (t *queueTable) get(topic string, id int32) *queue {
	if q := t.find(topic, id); q != nil {
		return q
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if q := t.queues[queueKey{topic, id}]; q != nil {
		return q
	}
	return t.make(strings.Clone(topic), id)
}

func (t *queueTable) make(topic string, id int32) *queue {
	q := &queue{
		topic: topic, id: id, hash: protocol.JavaHash(topic + "#"), since: t.deleted[topic],
		fs: t.fs, dir: filepath.Join(t.dir, topic, strconv.Itoa(int(id))), fileSize: t.fileSize,
	}
	t.queues[queueKey{topic, id}] = q
	return q
}

// load takes in what lies in the folder. Names that are no queue are left alone, as in Java.
func (t *queueTable) load() error {
	topics, err := t.fs.ReadDir(t.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load consume queues: %w", err)
	}
	for _, topic := range topics {
		if !topic.IsDir() {
			continue
		}
		if err := t.loadTopic(topic.Name()); err != nil {
			return fmt.Errorf("load consume queues: %w", err)
		}
	}
	return nil
}

func (t *queueTable) loadTopic(topic string) error {
	dirs, err := t.fs.ReadDir(filepath.Join(t.dir, topic))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		id, err := strconv.ParseInt(dir.Name(), 10, 32)
		if !dir.IsDir() || err != nil {
			continue
		}
		if err := t.make(topic, int32(id)).load(); err != nil {
			return err
		}
	}
	return nil
}

// all returns every queue.
func (t *queueTable) all() []*queue {
	t.mu.RLock()
	defer t.mu.RUnlock()
	queues := make([]*queue, 0, len(t.queues))
	for _, q := range t.queues {
		queues = append(queues, q)
	}
	return queues
}

// each calls f for every queue until an error.
func (t *queueTable) each(f func(*queue) error) error {
	for _, q := range t.all() {
		if err := f(q); err != nil {
			return err
		}
	}
	return nil
}

// maxPhys returns the end of the last record that any queue knows.
func (t *queueTable) maxPhys() int64 {
	end := int64(0)
	for _, q := range t.all() {
		end = max(end, q.maxPhys)
	}
	return end
}

// drop takes a topic out. Records before end that dispatch has yet to see are
// not its successor's.
func (t *queueTable) drop(topic string, end int64) []*queue {
	t.mu.Lock()
	defer t.mu.Unlock()
	var gone []*queue
	for key, q := range t.queues {
		if key.topic == topic {
			q.deleted = true
			gone = append(gone, q)
			delete(t.queues, key)
		}
	}
	t.deleted[strings.Clone(topic)] = end
	return gone
}

func (t *queueTable) close() {
	for _, q := range t.all() {
		q.close()
	}
}

// Topics returns the topics that have a queue with messages, sorted.
func (s *Store) Topics() []string {
	seen := map[string]bool{}
	for _, q := range s.queues.all() {
		if q.max.Load() > 0 {
			seen[q.topic] = true
		}
	}
	topics := make([]string, 0, len(seen))
	for topic := range seen {
		topics = append(topics, topic)
	}
	slices.Sort(topics)
	return topics
}

// Queues returns the queues of a topic that have had messages, sorted.
func (s *Store) Queues(topic string) []int32 {
	var ids []int32
	for _, q := range s.queues.all() {
		if q.topic == topic && q.max.Load() > 0 {
			ids = append(ids, q.id)
		}
	}
	slices.Sort(ids)
	return ids
}

// DeleteTopic removes the consume queues of a topic; its records stay in the
// log, unreachable but by their offset.
func (s *Store) DeleteTopic(topic string) error {
	s.dispatch.mu.Lock()
	defer s.dispatch.mu.Unlock()
	s.log.mu.Lock()
	gone := s.queues.drop(topic, s.log.wrote.Load())
	s.log.mu.Unlock()
	for _, q := range gone {
		q.close()
	}
	if err := vfs.RemoveAll(s.fs, filepath.Join(s.queues.dir, topic)); err != nil {
		return fmt.Errorf("delete topic %s: %w", topic, err)
	}
	return nil
}
