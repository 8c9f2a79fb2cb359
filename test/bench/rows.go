package main

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
)

// unit is what a row's figures are in.
type unit struct {
	name   string
	lower  bool // the lower, the better
	digits int  // behind the point
}

var (
	perSecond = unit{name: "msg/s"}
	queries   = unit{name: "queries/s"}
	gigabytes = unit{name: "GB/s", digits: 2}
	megabytes = unit{name: "MB", lower: true}
	millis    = unit{name: "ms", lower: true}
)

// sample is what one target did in one turn at a row.
type sample struct {
	value    float64
	p50, p99 time.Duration // of one request; 0: the row has none
	refused  int64         // requests refused with SYSTEM_BUSY, which are made again
	note     string        // what the reader of the table has to know
}

// row is one line of the table.
type row struct {
	name    string // for -rows
	title   string
	unit    unit
	once    bool // the figure is a state, which turns would not change
	limited bool // the stage's limit takes turns at it, too
	measure func(ctx context.Context, b *bench, t *target, round int) (sample, error)
}

// stage is a way to set the brokers up. Its rows take turns on the same
// processes, or start them themselves.
type stage struct {
	name     string
	settings map[string]string // of both brokers, besides the defaults
	limit    func(ctx context.Context, b *bench) (*target, error)
	prepare  func(ctx context.Context, b *bench, t *target) error // once a broker, before its first turn
	rows     []row
}

// sends is a row of sends.
func sends(name, title string, l load) row {
	return row{name: name, title: title, unit: perSecond, limited: true,
		measure: func(ctx context.Context, b *bench, t *target, _ int) (sample, error) {
			return t.drive(ctx, l, b.turn)
		}}
}

var stages = []stage{
	{
		name: "boot",
		rows: []row{{name: "boot", title: "start to `boot success`, empty store", unit: millis, measure: measureBoot}},
	},
	{
		name: "sync", settings: map[string]string{"flushDiskType": "SYNC_FLUSH"}, limit: bareDisk, prepare: warmSends,
		rows: []row{
			sends("sync-1", "SYNC_FLUSH, 1 KiB, 1 in flight", load{shape{1, 1}, 1024, 0}),
			sends("sync-16", "SYNC_FLUSH, 1 KiB, 16 in flight", load{shape{16, 1}, 1024, 0}),
			sends("sync-256", "SYNC_FLUSH, 1 KiB, 256 in flight", load{shape{8, 32}, 1024, 0}),
		},
	},
	{
		name: "async", settings: map[string]string{"flushDiskType": "ASYNC_FLUSH"}, limit: startLimit, prepare: warmSends,
		rows: []row{
			sends("async-1", "ASYNC_FLUSH, 1 KiB, 1 in flight", load{shape{1, 1}, 1024, 0}),
			sends("async-16", "ASYNC_FLUSH, 1 KiB, 16 in flight", load{shape{16, 1}, 1024, 0}),
			sends("async-256", "ASYNC_FLUSH, 1 KiB, 256 in flight", load{shape{8, 32}, 1024, 0}),
			sends("async-128B", "ASYNC_FLUSH, 128 B, 256 in flight", load{shape{8, 32}, 128, 0}),
			sends("async-16K", "ASYNC_FLUSH, 16 KiB, 256 in flight", load{shape{8, 32}, 16 << 10, 0}),
			sends("batch", "ASYNC_FLUSH, batches of 32 × 128 B, 32 in flight", load{shape{8, 4}, 128, 32}),
		},
	},
	{
		// Files of 64 MiB, because a start reads the last three of them.
		name: "backlog", settings: map[string]string{"mappedFileSizeCommitLog": fmt.Sprint(64 << 20)}, prepare: prepareBacklog,
		rows: []row{
			{name: "pull-cold", title: "pull of a cold backlog, 1 KiB, 8 queues", unit: perSecond, measure: pullCold},
			{name: "pull-warm", title: "pull of a warm backlog, 1 KiB, 8 queues", unit: perSecond, measure: pullWarm},
			{name: "lookup", title: "look-up by key, 8 at once", unit: queries, measure: lookUp},
		},
	},
	{
		name: "recovery", prepare: prepareRecovery,
		rows: []row{
			{name: "recovery", title: "recovery after kill -9 of 1 GiB, start to readable", unit: gigabytes, measure: recovery},
			{name: "recovery-net", title: "… an empty broker's start taken off", unit: gigabytes, measure: recoveryNet},
		},
	},
	{
		name: "million", prepare: prepareMillion,
		rows: []row{
			{name: "million-anon", title: "own memory (RssAnon) at 1,000,000 messages", unit: megabytes, once: true, measure: ownMemory},
			{name: "million-file", title: "mapped files (RssFile) at 1,000,000 messages", unit: megabytes, once: true, measure: mappedMemory},
		},
	},
	{
		name: "queues", prepare: prepareQueues,
		rows: []row{
			{name: "queues-anon", title: "own memory (RssAnon) at 5,000 queues", unit: megabytes, once: true, measure: ownMemory},
			{name: "queues-file", title: "mapped files (RssFile) at 5,000 queues", unit: megabytes, once: true, measure: mappedMemory},
		},
	},
}

// choose returns the stages with those of their rows whose names match.
func choose(all []stage, patterns string) ([]stage, error) {
	var chosen []stage
	unmatched := strings.Split(patterns, ",")
	for _, s := range all {
		rows := s.rows
		s.rows = nil
		for _, r := range rows {
			matches := func(pattern string) bool { ok, _ := path.Match(pattern, r.name); return ok }
			if slices.ContainsFunc(strings.Split(patterns, ","), matches) {
				s.rows = append(s.rows, r)
			}
			unmatched = slices.DeleteFunc(unmatched, matches)
		}
		if len(s.rows) > 0 {
			chosen = append(chosen, s)
		}
	}
	if len(unmatched) > 0 {
		return nil, fmt.Errorf("no row is called %q; -list names them all", unmatched[0])
	}
	return chosen, nil
}

func listRows(w io.Writer, all []stage) {
	for _, s := range all {
		for _, r := range s.rows {
			fmt.Fprintf(w, "%-13s %s\n", r.name, r.title)
		}
	}
}
