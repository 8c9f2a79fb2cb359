package namesrv

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"rmqbench/refbroker/protocol"
)

// orderTopics is the namespace that tells which topics are ordered, and how.
const orderTopics = "ORDER_TOPIC_CONFIG"

// kv is the table of namespaces, keys and values that kvConfig.json keeps.
type kv struct {
	path string
	log  *slog.Logger

	mu    sync.RWMutex
	table map[string]map[string]string
}

// loadKV reads the file, which need not exist.
func loadKV(path string, log *slog.Logger) (*kv, error) {
	k := &kv{path: path, log: log, table: map[string]map[string]string{}}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(bytes.TrimSpace(data)) == 0 {
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read kvConfigPath: %w", err)
	}
	var file protocol.KVConfig
	if err := protocol.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("kvConfigPath %s holds something else than a key-value table, mend it or move it away: %w", path, err)
	}
	for namespace, values := range file.ConfigTable {
		if values != nil {
			k.table[namespace] = values
		}
	}
	return k, nil
}

func (k *kv) get(namespace, key string) (string, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	v, ok := k.table[namespace][key]
	return v, ok
}

// namespace returns a copy of all of a namespace, nil if there is none.
func (k *kv) namespace(namespace string) map[string]string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return maps.Clone(k.table[namespace])
}

func (k *kv) put(namespace, key, value string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.table[namespace] == nil {
		k.table[namespace] = map[string]string{}
	}
	k.table[namespace][key] = value
	k.save()
}

func (k *kv) delete(namespace, key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.table[namespace], key)
	k.save()
}

// save writes the file; like Java's it only logs when that fails, since what
// was asked for holds until the process ends.
func (k *kv) save() {
	data := protocol.Marshal(&protocol.KVConfig{ConfigTable: k.table})
	if err := replaceFile(k.path, data); err != nil {
		k.log.Error("key-value table not saved", "path", k.path, "err", err)
	}
}

// replaceFile writes a file beside path and lets it take path's place.
func replaceFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name()) //nolint:errcheck // best effort
	}
	return err
}
