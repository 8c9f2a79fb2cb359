package test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/refbroker/protocol"
)

// turn is one life of a broker on the folder.
type turn struct {
	java  bool
	write bool
	kill  bool // ends as in a crash, else by SIGTERM
}

// TestExchange has Go and Java brokers open the same folder in turn. Each has
// to recover what the one before left, serve every message of all before it by
// queue, key, id and time, byte for byte, and go on writing.
func TestExchange(t *testing.T) {
	t.Parallel()
	peer := RequireJava(t)
	for _, row := range []struct {
		name     string
		settings map[string]string
		turns    []turn
	}{
		{"clean stops", map[string]string{"transientStorePoolEnable": "true", "transientStorePoolSize": "16"}, []turn{
			{write: true}, {java: true, write: true}, {write: true}, {java: true, kill: true},
		}},
		{"killed", map[string]string{"flushDiskType": "SYNC_FLUSH"}, []turn{
			{write: true, kill: true}, {java: true, write: true, kill: true}, {write: true, kill: true}, {java: true, kill: true},
		}},
		{"everything on", map[string]string{
			"enabledAppendPropCRC": "true", "forceVerifyPropCRC": "true", "enableConsumeQueueExt": "true", "enableCalcFilterBitMap": "true",
			"enableLmq": "true", "enableMultiDispatch": "true", "brokerIP1": "::1",
			"storePathCommitLog": "{}/commitlog,{}/more",
		}, []turn{
			{write: true}, {java: true, write: true, kill: true}, {write: true, kill: true}, {java: true, kill: true},
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f := newFolder(t, peer, row.settings)
			l := newLedger()
			var before *contents
			for i, turn := range row.turns {
				begin := time.Now()
				before = f.turn(l, before, turn)
				t.Logf("turn %d, %+v: %d messages in %d files, %s", i, turn, before.count(), before.files(131072), time.Since(begin).Round(time.Millisecond))
			}
		})
	}
}

// turn runs a broker on the folder: it has to serve what the one before it
// served, and writes more.
func (f *folder) turn(l *ledger, before *contents, turn turn) *contents {
	f.t.Helper()
	n := f.start(turn.java)
	c := n.read()
	n.agrees(before, c)
	l.awaitCrossing(n)
	if turn.write {
		l.write(n)
		c = n.read()
	}
	l.check(n, c)
	if more, _ := filepath.Glob(filepath.Join(f.dir, "more", "0*")); f.all && len(more) == 0 {
		f.t.Errorf("%s broker: the second path of the log has no files", n)
	}
	if q := queueName(plainTopic, 0); f.all && c.extended(q) < len(c.Queues[q])-1 {
		f.t.Errorf("%s broker: only %d of %d messages of %s have an extension with a bit map", n, c.extended(q), len(c.Queues[q]), q)
	}
	for _, s := range c.Complaints {
		f.t.Errorf("%s broker: %s", n, s)
	}
	if turn.kill && turn.write {
		n.awaitFiles(c)
	}
	n.stop(turn.kill)
	n.checkLog()
	n.verify()
	return c
}

// agrees compares what a broker found with what the one before it served.
func (n *node) agrees(before, after *contents) {
	n.t.Helper()
	if before == nil {
		return
	}
	d := cmp.Diff(before, after, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }))
	if d != "" {
		n.t.Errorf("%s broker serves (+) what the one before it did not (-):\n%s", n, shorten(d))
	}
}

func shorten(s string) string {
	const most = 6000
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// awaitFiles waits until offsets and how far the timer is are in the files,
// which happens from time to time: a kill before that takes them back, as it may.
func (n *node) awaitFiles(c *contents) {
	n.t.Helper()
	now := time.Now().UnixMilli()
	n.await(func() string {
		var offsets protocol.ConsumerOffsetTable
		var delays protocol.DelayOffsetTable
		n.configFile(map[bool]string{false: "consumerOffset.json", true: "lmqConsumerOffset.json"}[n.all], &offsets)
		n.configFile("delayOffset.json", &delays)
		delays.OffsetTable = withoutZeros(delays.OffsetTable)
		at := n.timerAt()
		if cmp.Equal(offsets.OffsetTable, c.Offsets) && maps.Equal(offsets.LmqOffsetTable, c.Light) && maps.Equal(delays.OffsetTable, c.Delayed) && at >= now {
			return ""
		}
		return fmt.Sprintf("its offsets in files: %v\n%v\ntimer at %d", cmp.Diff(offsets.OffsetTable, c.Offsets), cmp.Diff(delays.OffsetTable, c.Delayed), at)
	})
}

// timerAt returns up to which time messages of the timer count as delivered, ms.
func (n *node) timerAt() int64 {
	b, err := os.ReadFile(filepath.Join(n.dir, "config", "timercheck"))
	if err != nil || len(b) < 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b))
}

// configFile reads a file of the folder config; a file that is being written is read again later.
func (n *node) configFile(name string, into any) {
	text, err := os.ReadFile(filepath.Join(n.dir, "config", name))
	if err == nil {
		_ = protocol.Unmarshal(text, into)
	}
}

// harmless is what brokers log of a store in good order. That the last record is
// where the log ends is among it: Java says so when it stops reading there.
var harmless = regexp.MustCompile(strings.Join([]string{
	"Load default HA Service", "Maybe try to build consume queue repeatedly", "found a illegal magic code 0x0",
	"Over index file capacity", "is full, trying to create another one", "The commitlog files are deleted, and delete",
	"take flush disk commit request, but interrupted", "AllocateMappedFileService interrupted, possibly by shutdown",
	"message store has shutdown, so getMessage is forbidden", "AllocateMappedFileService - Use default implementation",
	"configuration entry ignored", `\b(cost|costs|spent|elapsed|eclipse)\b`, // slow disks and machines
}, "|"))

// equalOffsets is harmless too when the offsets are equal: queues are cut where
// they end, and dispatch is at the start of a file that is only being made.
var equalOffsets = regexp.MustCompile(`maxPhyOffsetOfConsumeQueue\((\d+)\) >= processOffset\((\d+)\), truncate dirty logic files|` +
	`Offset not matched. Request offset: (\d+), firstOffset: \d+, lastOffset: (\d+),`)

// checkLog looks for complaints in what the broker logged of its store, of
// recovery above all.
func (n *node) checkLog() {
	n.t.Helper()
	for line := range strings.Lines(n.storeLog()) {
		if m := equalOffsets.FindStringSubmatch(line); m != nil && m[1]+m[3] == m[2]+m[4] {
			continue
		}
		if (strings.Contains(line, "WARN") || strings.Contains(line, "ERROR")) && !harmless.MatchString(line) {
			n.t.Errorf("%s broker logged: %s", n, line)
		}
	}
}

func (n *node) storeLog() string {
	if !n.java {
		return n.said.String()
	}
	var all strings.Builder
	for _, name := range []string{"store.log", "storeerror.log"} {
		text, _ := os.ReadFile(filepath.Join(n.home, "logs", "rocketmqlogs", name)) // none, nothing to complain about
		all.Write(text)
	}
	return all.String()
}
