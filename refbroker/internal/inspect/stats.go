package inspect

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Stats are the figures of a store, read from file lengths, queues and index,
// without reading the log.
type Stats struct {
	Folder     string       `json:"folder"`
	Running    bool         `json:"running"`
	Crashed    bool         `json:"crashed"`
	Begin      int64        `json:"begin"` // first byte of the commit log
	End        int64        `json:"end"`   // behind the last record that a queue knows
	LogFiles   int          `json:"logFiles"`
	Messages   int64        `json:"messages"` // in all consume queues
	Disk       []Usage      `json:"disk"`
	Indexes    []*IndexFile `json:"indexes"`
	Checkpoint Checkpoint   `json:"checkpoint"`
	Topics     []TopicStats `json:"topics"` // most messages first
	Groups     []GroupStats `json:"groups"` // largest lag first
}

// Usage is the space of a part of the store, in bytes. Files are sparse: Blocks
// is what they occupy.
type Usage struct {
	Part   string `json:"part"`
	Files  int    `json:"files"`
	Length int64  `json:"length"`
	Blocks int64  `json:"blocks"`
}

// TopicStats are the figures of a topic.
type TopicStats struct {
	Topic    string `json:"topic"`
	Kind     string `json:"kind"` // folder of its queues
	Queues   int    `json:"queues"`
	Messages int64  `json:"messages"` // that its queues hold
	Bytes    int64  `json:"bytes"`    // of their records, as far as in the log
	First    int64  `json:"first"`    // store time of the oldest record in ms, 0 if none
	Last     int64  `json:"last"`     // and of the newest
}

// GroupStats are the figures of a consumer group on a topic.
type GroupStats struct {
	Group string `json:"group"`
	Topic string `json:"topic"`
	Lag   int64  `json:"lag"` // messages behind the committed offsets
}

// Stats counts.
func (f *Folder) Stats() (*Stats, error) {
	s := &Stats{Folder: f.Root, Running: f.Running, Crashed: f.Crashed, Begin: f.log.first(), LogFiles: len(f.log.files)}
	topics, ends := map[string]*TopicStats{}, map[queueKey]int64{}
	err := f.eachQueue(func(kind, topic string, id int32) error {
		return s.queue(f, topics, ends, kind, topic, id)
	})
	if err != nil {
		return nil, err
	}
	for _, t := range topics {
		s.Topics = append(s.Topics, *t)
		s.Messages += t.Messages
	}
	slices.SortFunc(s.Topics, func(a, b TopicStats) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Topic, b.Topic))
	})
	s.groups(f, ends)
	if err := s.indexes(f); err != nil {
		return nil, err
	}
	s.disk(f)
	s.Checkpoint, err = f.Checkpoint()
	return s, err
}

func (s *Stats) queue(f *Folder, topics map[string]*TopicStats, ends map[queueKey]int64, kind, topic string, id int32) error {
	q, err := f.openQueue(kind, topic, id)
	if err != nil {
		return err
	}
	t := topics[topic]
	if t == nil {
		t = &TopicStats{Topic: topic, Kind: kind}
		topics[topic] = t
	}
	t.Queues++
	var first, last Unit
	n, end := q.bounds()
	for ; n < end; n++ {
		u, ok, err := q.nth(n)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if u.blank() || u.Phys < s.Begin {
			continue
		}
		if t.Messages += int64(max(u.Count, 1)); first.Size == 0 {
			first = u
		}
		t.Bytes += int64(u.Size)
		last = u
	}
	ends[queueKey{topic, id}] = last.Offset + int64(max(last.Count, 1))
	if last.Size == 0 {
		delete(ends, queueKey{topic, id})
		return nil
	}
	s.End = max(s.End, last.end())
	t.First, t.Last = earlier(t.First, f.storeTime(first)), max(t.Last, f.storeTime(last))
	return nil
}

// earlier is the smaller of two times, 0 being none.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// storeTime reads the store time of a unit's record, 0 when it is not there.
func (f *Folder) storeTime(u Unit) int64 {
	p, ok := f.log.find(u.Phys)
	if !ok {
		return 0
	}
	r, err := openReader(p, f.log.size)
	if err != nil {
		return 0
	}
	defer r.file.Close()
	r.size = min(r.size, u.end()-r.base) // no read-ahead
	var rec Record
	if blank, err := r.record(u.Phys, &rec); err != nil || blank {
		return 0
	}
	return rec.StoreTimestamp
}

func (s *Stats) groups(f *Folder, ends map[queueKey]int64) {
	for key, queues := range f.consumerOffsets() {
		topic, group, _ := strings.Cut(key, "@")
		g := GroupStats{Group: group, Topic: topic}
		for name, offset := range queues {
			if id, err := strconv.ParseInt(name, 10, 32); err == nil {
				g.Lag += max(ends[queueKey{topic, int32(id)}]-offset, 0)
			}
		}
		s.Groups = append(s.Groups, g)
	}
	slices.SortFunc(s.Groups, func(a, b GroupStats) int {
		return cmp.Or(cmp.Compare(b.Lag, a.Lag), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Topic, b.Topic))
	})
}

func (s *Stats) indexes(f *Folder) error {
	paths, err := f.indexes()
	if err != nil {
		return err
	}
	for _, path := range paths {
		x, err := f.openIndex(path)
		if err != nil {
			return err
		}
		x.file.Close()
		x.Path = f.rel(x.Path)
		s.Indexes = append(s.Indexes, x)
	}
	return nil
}

// disk adds up what lies under each part of the store.
func (s *Stats) disk(f *Folder) {
	parts := map[string]*Usage{}
	for _, root := range append(strings.Split(f.cfg.StorePathCommitLog, ","), f.Root) {
		filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error { //nolint:errcheck // what vanishes while we look is not there
			if err == nil && e.Type().IsRegular() {
				s.addFile(f, parts, root, path)
			}
			return nil
		})
	}
	for _, u := range parts {
		s.Disk = append(s.Disk, *u)
	}
	slices.SortFunc(s.Disk, func(a, b Usage) int { return cmp.Compare(a.Part, b.Part) })
}

func (s *Stats) addFile(f *Folder, parts map[string]*Usage, root, path string) {
	part, _, nested := strings.Cut(f.rel(path), string(filepath.Separator))
	switch {
	case root != f.Root:
		part = "commitlog"
	case !nested:
		part = "(root)"
	}
	u := parts[part]
	if u == nil {
		u = &Usage{Part: part}
		parts[part] = u
	}
	info, err := os.Stat(path)
	if err != nil {
		return
	}
	u.Files++
	u.Length += info.Size()
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		u.Blocks += st.Blocks * 512
	}
}
