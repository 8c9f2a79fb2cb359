package clientgo

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/rocketmq-client-go/v2/rlog"
)

// logger is where the client's global logger writes to.
type logger struct {
	to       atomic.Pointer[slog.Logger]
	pullFail atomic.Int64 // when a pull last failed, ns since 1970
}

// What the client logs before a queue pauses for three seconds; there is no
// other sign of it.
const (
	pullFailed    = "pull message from broker error"
	pullerFailed  = "defaultPullConsumer pull message from broker error"
	pullNotLocked = "pull message later because not locked in broker"
)

var (
	log     logger
	install sync.Once
)

// setLog takes the client off the terminal, once, and has it log to l.
func setLog(l *slog.Logger) {
	log.to.Store(l)
	install.Do(func() { rlog.SetLogger(&log) })
}

// What the client calls a warning or an error is no news to a load tool: the
// outcomes tell. So everything is debug, its own level beside it.
func (l *logger) write(level, msg string, fields map[string]any) {
	to := l.to.Load()
	if !to.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	args := make([]any, 0, 2*len(fields)+2)
	args = append(args, "clientLevel", level)
	for k, v := range fields {
		args = append(args, k, v)
	}
	to.Debug("client-go: "+msg, args...)
}

// noted is write, and keeps when a pull has failed.
func (l *logger) noted(level, msg string, fields map[string]any) {
	switch msg {
	case pullFailed, pullerFailed, pullNotLocked:
		l.pullFail.Store(time.Now().UnixNano())
	}
	l.write(level, msg, fields)
}

func (l *logger) Debug(string, map[string]any)              {} // a line for each pull
func (l *logger) Info(msg string, fields map[string]any)    { l.noted("info", msg, fields) }
func (l *logger) Warning(msg string, fields map[string]any) { l.noted("warning", msg, fields) }
func (l *logger) Error(msg string, fields map[string]any)   { l.write("error", msg, fields) }
func (l *logger) Fatal(msg string, fields map[string]any)   { l.write("fatal", msg, fields) }
func (l *logger) Level(string)                              {}
func (l *logger) OutputPath(string) error                   { return nil }
