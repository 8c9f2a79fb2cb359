package store

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestCrashAtEveryOperation ends the same life at its k-th operation on the disk,
// by a kill and by a loss of power, for every k until it ends by itself: open,
// appends and batches over several files, both kinds of flush, dispatch into
// queues and an index that gets full, checkpoint, and the stop in order.
func TestCrashAtEveryOperation(t *testing.T) {
	t.Parallel()
	step := int64(1)
	if raceEnabled {
		step = 7
	}
	for _, mode := range []string{AsyncFlush, SyncFlush} {
		for _, power := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/power=%v", mode, power), func(t *testing.T) {
				t.Parallel()
				for k := int64(0); ; k += step {
					ended, err := false, error(nil)
					synctest.Test(t, func(*testing.T) { ended, err = crashAt(mode, power, k) })
					if err != nil {
						t.Fatalf("operation %d: %v", k, err)
					}
					if ended {
						t.Logf("%d operations", k)
						return
					}
				}
			})
		}
	}
}

// crashAt reports whether the life ended before its k-th operation.
func crashAt(mode string, power bool, k int64) (ended bool, err error) {
	c := newTrial(1) // the same load each time
	c.cfg.FlushDiskType, c.cfg.MaxIndexNum, c.cfg.MaxHashSlotNum = mode, 20, 10
	c.disk.DieAfter(k)
	if err = c.open(); err == nil {
		err = c.wholeLife()
	}
	if ended = !c.disk.Down(); ended && err != nil {
		return ended, err
	}
	if c.s != nil {
		c.model.believe(c.s.log.flushed.Load())
	}
	if power {
		c.cut()
	} else {
		c.cancel()
		c.disk.Kill()
	}
	if err := c.begin(); err != nil {
		return ended, fmt.Errorf("%w, after:\n%s", err, strings.Join(c.did, "\n"))
	}
	return ended, nil
}

// wholeLife does a little of everything and stops in order.
func (c *trial) wholeLife() error {
	if err := c.s.startQuiet(); err != nil {
		return err
	}
	for i := 0; i < 24 && !c.disk.Down(); i++ {
		c.append()
		switch i % 6 {
		case 1:
			c.appendBatch()
		case 2:
			c.flush()
		case 3:
			c.dispatch()
		case 4:
			c.s.flushQueues(i%12 == 4)
		case 5:
			c.s.keep(c.s.times.write())
			time.Sleep(1500 * time.Millisecond)
		}
	}
	if c.disk.Down() {
		return nil
	}
	return c.s.Close()
}
