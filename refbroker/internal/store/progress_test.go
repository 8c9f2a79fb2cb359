package store

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rmqbench/refbroker/internal/vfs"
)

// TestProgressEverySecond: what takes longer than a second says how far it is.
func TestProgressEverySecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, text := logged()
		p := newProgress(log)
		p.begin("going through the log", "byte", 4000)
		for i := range int64(26) {
			p.set(100 * i)
			time.Sleep(100 * time.Millisecond)
		}
		lines := strings.Split(strings.TrimSpace(text.String()), "\n")
		if len(lines) != 2 {
			t.Fatalf("%d lines: %v", len(lines), lines)
		}
		for i, want := range []string{`doing="going through the log" byte=1000 of=4000 percent=25`, "byte=2000 of=4000 percent=50"} {
			if !strings.Contains(lines[i], want) {
				t.Errorf("line %d: %s", i, lines[i])
			}
		}
	})
}

// TestRecoverySaysHowFarItIs: the parts of a recovery count to their ends.
func TestRecoverySaysHowFarItIs(t *testing.T) {
	t.Parallel()
	d := damagedStore(t, true)
	log, text := logged()
	slow := vfs.Inject(unsynced, func(op vfs.Op, path string) error {
		if op == vfs.OpOpen && strings.Contains(path, "consumequeue/T/1") {
			time.Sleep(1100 * time.Millisecond)
		}
		return nil
	})
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(d.cfg, Options{FS: slow, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		s.release()
	})
	if want := `msg="recovering the store" doing="loading consume queues" queues=`; !strings.Contains(text.String(), want) {
		t.Errorf("log has no %s: %s", want, text)
	}
}

// TestCheckpointFromTheFuture: it vouches for nothing, and is not written on.
func TestCheckpointFromTheFuture(t *testing.T) {
	t.Parallel()
	d := damagedStore(t, true)
	d.edit("checkpoint", 0, func(b []byte) { copy(b, strings.Repeat("\x7f", 24)) })
	log, text := logged()
	s := open(t, d.cfg, Options{Log: log})
	s.holds(tailMessages)
	if !strings.Contains(text.String(), "checkpoint is not believed") {
		t.Errorf("log: %s", text)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if now := time.Now().UnixMilli(); s.times.times.physic > now || s.times.times.logics > now {
		t.Errorf("the checkpoint says %+v at %d", s.times.times, now)
	}
}
