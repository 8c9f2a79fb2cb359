package timer

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// goldenStop is a time at which the Java broker of testdata had stopped, before
// anything else was due.
func goldenStop(t *testing.T, dir string) int64 {
	_, c, err := openCheck(vfs.OS, filepath.Join(dir, "config", "timercheck"))
	if err != nil {
		t.Fatal(err)
	}
	return c.LastReadTimeMs + 1000
}

// openGolden opens the timer that Java left, at a time that now tells.
func openGolden(t *testing.T, dir string, s Store, now *int64) *Timer {
	t.Helper()
	set := javaSettings()
	tm, err := Open(Options{Root: dir, Log: testLog(t), Store: s, Settings: func() *Settings { return &set },
		Now: func() time.Time { return time.UnixMilli(*now) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tm.Close(); err != nil {
			t.Error(err)
		}
	})
	return tm
}

// TestWeOpenJavas delivers what a Java broker was given, from its own files and
// from what is left when some of them are lost.
func TestWeOpenJavas(t *testing.T) {
	t.Parallel()
	remove := func(names ...string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			for _, name := range names {
				if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, tc := range []struct {
		name string
		late bool // some come behind their time
		lose func(t *testing.T, dir string)
	}{
		{"whole", false, remove()},
		{"no wheel", false, remove("timerwheel")},
		{"wheel of noise", false, func(t *testing.T, dir string) {
			b := make([]byte, wheelSlots*slotSize)
			for i := range b {
				b[i] = byte(i*131 + i>>8)
			}
			if err := os.WriteFile(filepath.Join(dir, "timerwheel"), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		{"no log", false, remove("timerlog")},
		{"no checkpoint", false, remove("config/timercheck")},
		{"nothing", false, remove("timerwheel", "timerlog", "config")},
		{"log cut", true, func(t *testing.T, dir string) {
			overwrite(t, filepath.Join(dir, "timerlog", fmt.Sprintf("%020d", 1040)), 150, 0)
		}},
		{"log with a wrong byte", true, func(t *testing.T, dir string) {
			overwrite(t, filepath.Join(dir, "timerlog", fmt.Sprintf("%020d", 1040)), 52*3+12, 0x55)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := unpack(t, golden)
			stop := goldenStop(t, dir)
			tc.lose(t, dir)
			s := javaStore(t, dir)
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			// What Java delivered, the last two, is in the store: nothing makes it double.
			tm := openGolden(t, dir, s, &stop)
			begin := s.MaxPhysical()
			for range 200 {
				if _, err := tm.enqueue(); err != nil {
					t.Fatal(err)
				}
				if _, err := tm.dequeue(); err != nil {
					t.Fatal(err)
				}
				stop += 1000
				waitDispatch(t, s)
			}
			checkGolden(t, s, begin, tc.late)
			if n := tm.State().Waiting; n != 0 {
				t.Errorf("%d messages still wait", n)
			}
		})
	}
}

func waitDispatch(t *testing.T, s *store.Store) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); s.Stats().Dispatched < s.MaxPhysical(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("dispatch does not come along")
		}
	}
}

// overwrite replaces a byte of a file, or, with zero, all from it on.
func overwrite(t *testing.T, path string, at int, with byte) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b[at] = with; with == 0 {
		clear(b[at:])
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// checkGolden checks that every message is delivered once, but for those that
// others delete, and those after begin in the order of their times unless late.
func checkGolden(t *testing.T, s *store.Store, begin int64, late bool) {
	t.Helper()
	var want []string
	for i := range goldenMessages {
		if i != 2 && i%20 != 9 { // the others that are to be deleted have another slot
			want = append(want, fmt.Sprint("message ", i))
		}
	}
	var got []string
	var before int64
	for at, n := int64(0), 0; at < s.MaxPhysical(); at += int64(n) {
		var m protocol.Message
		err := s.Lookup(at, func(b []byte) (err error) {
			n, err = protocol.DecodeMessage(slices.Clone(b), &m)
			return err
		})
		if err != nil {
			n = int(65536 - at%65536) // the rest of a file
			continue
		}
		if !strings.HasPrefix(m.Topic, "T") || strings.Contains(m.Topic, "_") {
			continue
		}
		got = append(got, string(m.Body))
		value, _ := protocol.Property(m.Properties, protocol.PropTimerOutMs)
		out, err := strconv.ParseInt(value, 10, 64)
		if err != nil || at >= begin && out < before && !late {
			t.Errorf("%s is for %d (%v), the one before it for %d", m.Body, out, err, before)
		}
		if at >= begin {
			before = out
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("delivered %q\nwant %q", got, want)
	}
}
