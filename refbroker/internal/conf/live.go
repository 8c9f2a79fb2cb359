package conf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// ErrBlacklisted says that a setting may not be changed at run time.
var ErrBlacklisted = errors.New("can not update config in black list")

// Live is a configuration that changes at run time. Readers get snapshots,
// which never change.
type Live[T any] struct {
	current atomic.Pointer[T]

	mu    sync.Mutex // of writers
	extra map[string]string
}

// NewLive makes a live configuration of a copy of *v. file, which may be nil,
// is where v came from: keys in it that no field has are kept and printed, as
// Java does.
func NewLive[T any](v *T, file *Properties) *Live[T] {
	l := &Live[T]{extra: map[string]string{}}
	own := *v
	l.current.Store(&own)
	if file != nil {
		known := index([]any{&own})
		for _, e := range file.Entries {
			if _, ok := known[e.Key]; !ok {
				l.extra[e.Key] = e.Value
			}
		}
	}
	return l
}

// Get returns the configuration of now, not to be changed.
func (l *Live[T]) Get() *T { return l.current.Load() }

// Update changes the settings that p names. If blacklist has any of them it
// changes nothing and returns ErrBlacklisted. Unknown keys and values that
// cannot be parsed are passed over and returned.
func (l *Live[T]) Update(p *Properties, blacklist ...string) ([]Problem, error) {
	for _, e := range p.Entries {
		if slices.Contains(blacklist, e.Key) {
			return nil, fmt.Errorf("%s: %w", e.Key, ErrBlacklisted)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	next := *l.current.Load()
	var problems []Problem
	for _, problem := range Apply(p, &next) {
		if _, extra := l.extra[problem.Key]; extra {
			l.extra[problem.Key], _ = p.Get(problem.Key)
			continue
		}
		problems = append(problems, problem)
	}
	l.current.Store(&next)
	return problems, nil
}

// Lines returns all settings as sorted lines key=value.
func (l *Live[T]) Lines() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := *l.current.Load()
	return Format(l.extra, &next)
}

// Save writes Lines to a file, through another that takes its place.
func (l *Live[T]) Save(path string) error {
	if path == "" {
		return errors.New("save configuration: no path is set")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("save configuration: %w", err)
	}
	if err := os.WriteFile(path+".tmp", []byte(l.Lines()), 0o644); err != nil {
		return fmt.Errorf("save configuration: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("save configuration: %w", err)
	}
	return nil
}

// BlackList splits the value of configBlackList.
func BlackList(value string, more ...string) []string {
	return append(strings.Split(value, ";"), more...)
}

// Home returns Java's user.home: the folder under which RocketMQ keeps its
// stores and logs unless told otherwise.
func Home() string {
	if home, err := os.UserHomeDir(); err == nil {
		return home
	}
	return "."
}

// NameServers returns the addresses of the environment variable NAMESRV_ADDR, separated by ";".
func NameServers() string { return os.Getenv("NAMESRV_ADDR") }

// RocketMQHome returns the environment variable ROCKETMQ_HOME. Java refuses to
// start without it; nothing of ours lies there, so we do not.
func RocketMQHome() string { return os.Getenv("ROCKETMQ_HOME") }
