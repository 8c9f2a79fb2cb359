package store

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// fuzzFiles are the files of a small store that was killed, by name.
var fuzzFiles = sync.OnceValues(func() (map[string][]byte, []string) {
	t := &testing.T{}
	dir, err := os.MkdirTemp("", "fuzz")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	s, err := tryOpen(t, tailConfig(dir), Options{})
	if err != nil {
		panic(err)
	}
	for i := range tailMessages {
		s.Append(tailMessage(i))
	}
	s.settled().writeIndex(false)
	content := map[string][]byte{}
	var names []string
	filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			name, _ := filepath.Rel(dir, path)
			content[name], _ = os.ReadFile(path)
			names = append(names, name)
		}
		return nil
	})
	s.kill()
	slices.Sort(names)
	return content, names
})

// FuzzRecovery opens a store one of whose files was overwritten in part or cut.
// It may be refused, but nothing panics, hangs or grows without bound, and what
// opens can be read, written and closed.
func FuzzRecovery(f *testing.F) {
	_, names := fuzzFiles()
	for i := range names {
		f.Add(uint8(i), uint16(0), []byte{0, 0, 0, 0, 0, 0, 0, 0}, false)
		f.Add(uint8(i), uint16(450), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, true)
		f.Add(uint8(i), uint16(20), []byte{0x7f, 0xff, 0xff, 0xff, 0xff, 0xff}, false)
	}
	f.Fuzz(func(t *testing.T, file uint8, at uint16, with []byte, abort bool) {
		content, names := fuzzFiles()
		name := names[int(file)%len(names)]
		changed := slices.Clone(content[name])
		switch {
		case len(with) == 0:
			changed = changed[:min(int(at), len(changed))]
		case len(changed) > 0:
			copy(changed[int(at)%len(changed):], with)
		}
		dir := tempDir(t)
		for n, b := range content {
			if n == name {
				b = changed
			}
			if n == "abort" && !abort {
				continue
			}
			path := filepath.Join(dir, n)
			os.MkdirAll(filepath.Dir(path), 0o755)
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		useAnyhow(t, tailConfig(dir))
	})
}

func useAnyhow(t *testing.T, cfg Config) {
	s, err := tryOpen(t, cfg, Options{})
	if err != nil {
		return
	}
	defer s.Close()
	var res GetResult
	for _, topic := range s.Topics() {
		for _, q := range s.Queues(topic) {
			for at := s.MinOffset(topic, q); at < min(s.MaxOffset(topic, q), 500); at++ {
				s.Get(GetQuery{Topic: topic, Queue: q, Offset: at, MaxMessages: 3}, &res)
			}
			s.OffsetByTime(topic, q, 1, false)
		}
	}
	res.Release()
	for _, key := range []string{"all", "unique3"} {
		s.QueryKeys("T", key, 32, 0, 1<<62, func([]byte) {})
	}
	for at := int64(0); at < 1000; at += 7 {
		s.Lookup(at, func([]byte) error { return nil })
	}
	m := tailMessage(0)
	if res := s.Append(m); res.Status != PutOK {
		t.Fatalf("append: %v", res.Status)
	}
	s.settled()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}
