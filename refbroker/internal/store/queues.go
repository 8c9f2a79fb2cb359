package store

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
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
	cfg      *Config
	log      *commitLog
	progress *progress
	batch    func(topic string) bool // nil: no topic has batch queues
	opened   *openFiles
	failed   func(error) // a sync failed

	mu      sync.RWMutex
	queues  map[queueKey]*queue
	deleted map[string]int64 // end of the log when a topic was deleted
}

func newQueueTable(cfg *Config, fsys vfs.FS, batch func(topic string) bool) *queueTable {
	return &queueTable{
		fs: fsys, cfg: cfg, batch: batch, opened: newOpenFiles(), failed: func(error) {},
		queues: map[queueKey]*queue{}, deleted: map[string]int64{},
	}
}

// kindOf is the kind that the queues of a topic have to be of.
func (t *queueTable) kindOf(topic string) *queueKind {
	if t.batch != nil && t.batch(topic) {
		return batchQueue
	}
	return simpleQueue
}

// dir returns the folder of the queues of a kind.
func (t *queueTable) dir(k *queueKind) string { return filepath.Join(t.cfg.StorePathRootDir, k.folder) }

// extDir returns the folder of the extensions of queues.
func (t *queueTable) extDir() string {
	return filepath.Join(t.cfg.StorePathRootDir, "consumequeue_ext")
}

// dirs returns all folders that belong to queues.
func (t *queueTable) dirs() []string {
	return []string{t.dir(simpleQueue), t.dir(batchQueue), t.extDir()}
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
	kind := t.kindOf(topic)
	t.mu.Lock()
	defer t.mu.Unlock()
	if q := t.queues[queueKey{topic, id}]; q != nil {
		return q
	}
	return t.make(kind, strings.Clone(topic), id)
}

func (t *queueTable) make(kind *queueKind, topic string, id int32) *queue {
	q := &queue{topic: topic, id: id, kind: kind, log: t.log, hash: protocol.JavaHash(topic + "#"), since: t.deleted[topic]}
	fileSize := t.cfg.MappedFileSizeConsumeQueue
	if kind.batch {
		fileSize = t.cfg.MapperFileSizeBatchConsumeQueue
		q.min.Store(emptyBatchMin)
	} else if t.cfg.EnableConsumeQueueExt {
		q.ext = &extension{}
		t.place(&q.ext.unitFiles, t.extDir(), q, 1, t.cfg.MappedFileSizeConsumeQueueExt)
	}
	t.place(&q.unitFiles, t.dir(kind), q, kind.size, fileSize)
	t.queues[queueKey{topic, id}] = q
	return q
}

func (t *queueTable) place(u *unitFiles, dir string, q *queue, unitSize, fileSize int64) {
	u.fs, u.opened, u.failed = t.fs, t.opened, t.failed
	u.dir = filepath.Join(dir, q.topic, strconv.Itoa(int(q.id)))
	u.unitSize, u.fileSize = unitSize, fileSize
}

// load takes in what lies in the folders. Names that are no queue are left alone, as in Java.
func (t *queueTable) load(clean bool) error {
	var queues []*queue
	for _, kind := range []*queueKind{simpleQueue, batchQueue} {
		found, err := t.list(kind)
		if err != nil {
			return fmt.Errorf("load consume queues: %w", err)
		}
		queues = append(queues, found...)
	}
	workers := 0
	if t.cfg.RecoverConcurrently {
		workers = max(t.cfg.RecoverThreadPoolNums, 1)
	}
	t.progress.begin("loading consume queues", "queues", int64(len(queues)))
	load := func(q *queue) error {
		defer t.progress.add(1)
		return q.load(clean)
	}
	if err := forAll(workers, queues, load); err != nil {
		return fmt.Errorf("load consume queues: %w", err)
	}
	return nil
}

// list makes the queues that have a folder.
func (t *queueTable) list(kind *queueKind) ([]*queue, error) {
	topics, err := t.fs.ReadDir(t.dir(kind))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var queues []*queue
	for _, topic := range topics {
		if !topic.IsDir() {
			continue
		}
		dirs, err := t.fs.ReadDir(filepath.Join(t.dir(kind), topic.Name()))
		if err != nil {
			return nil, err
		}
		for _, dir := range dirs {
			id, err := strconv.ParseInt(dir.Name(), 10, 32)
			if !dir.IsDir() || err != nil {
				continue
			}
			if want := t.kindOf(topic.Name()); want != kind {
				return nil, fmt.Errorf("%s holds queues of kind %s, but topic %s has queue.type=%s: move the folder away or correct the topic in topics.json",
					filepath.Join(t.dir(kind), topic.Name()), kind.name, topic.Name(), want.name)
			}
			queues = append(queues, t.make(kind, topic.Name(), int32(id)))
		}
	}
	return queues, nil
}

// Many queues are dealt with side by side, so that the disk has more to do at a
// time; few one after the other, in order.
const (
	sideBySide = 16
	few        = 64
)

// forAll calls f for all, until it fails, on that many goroutines; 0: on as many
// as suit the number.
func forAll[T any](workers int, all []T, f func(T) error) error {
	switch {
	case workers > 0:
	case len(all) > few:
		workers = sideBySide
	default:
		workers = 1
	}
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(all) && errs[w] == nil; i += workers {
				errs[w] = f(all[i])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// sync makes the units of all queues durable that have at least leastPages pages
// of 4 KiB that are not.
func (t *queueTable) sync(leastPages int) error {
	var behind []*queue
	for _, q := range t.all() {
		if q.synced.Load() < q.end.Load() {
			behind = append(behind, q)
		}
	}
	dirs := dirSet{dirs: map[string]struct{}{}}
	if err := forAll(0, behind, func(q *queue) error { return q.sync(leastPages, &dirs) }); err != nil {
		return err
	}
	return dirs.sync(t.fs)
}

// all returns every queue, sorted, so that what is done to them comes in an
// order that can be repeated.
func (t *queueTable) all() []*queue {
	t.mu.RLock()
	queues := slices.Collect(maps.Values(t.queues))
	t.mu.RUnlock()
	slices.SortFunc(queues, func(a, b *queue) int {
		return cmp.Or(strings.Compare(a.topic, b.topic), cmp.Compare(a.id, b.id))
	})
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
	if err := s.log.drain(); err != nil {
		s.log.mu.Unlock()
		return fmt.Errorf("delete topic %s: %w", topic, err)
	}
	gone := s.queues.drop(topic, s.log.wrote.Load())
	s.log.mu.Unlock()
	for _, q := range gone {
		q.close()
	}
	for _, dir := range s.queues.dirs() {
		if err := vfs.RemoveAll(s.fs, filepath.Join(dir, topic)); err != nil {
			return fmt.Errorf("delete topic %s: %w", topic, err)
		}
	}
	return nil
}
