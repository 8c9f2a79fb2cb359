package store

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// progress tells, every second, how far the opening of a store is. One that takes
// less than a second says nothing. Whoever works calls it; it has no goroutine.
type progress struct {
	log    *slog.Logger
	spoke  atomic.Int64 // ns since began
	began  time.Time
	doing  string
	unit   string
	at, of atomic.Int64
}

func newProgress(log *slog.Logger) *progress { return &progress{log: log, began: time.Now()} }

// begin starts a part of the work, of so many units.
func (p *progress) begin(doing, unit string, of int64) {
	p.doing, p.unit = doing, unit
	p.at.Store(0)
	p.of.Store(of)
}

// add is set for workers that go side by side.
func (p *progress) add(n int64) { p.set(p.at.Add(n)) }

// set says how far the part is.
func (p *progress) set(at int64) {
	p.at.Store(at)
	now, last := int64(time.Since(p.began)), p.spoke.Load()
	if now-last < int64(time.Second) || !p.spoke.CompareAndSwap(last, now) {
		return
	}
	of := p.of.Load()
	p.log.Info("recovering the store", "doing", p.doing, p.unit, at, "of", of, "percent", 100*at/max(of, 1))
}
