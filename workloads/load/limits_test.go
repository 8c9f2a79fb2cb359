package load

import (
	"testing"
	"time"
)

func TestSleepLateness(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	late := SleepLateness(20, 200*time.Microsecond)
	if late.TotalCount() != 20 || time.Since(begin) < 20*200*time.Microsecond {
		t.Errorf("%d sleeps in %s", late.TotalCount(), time.Since(begin))
	}
	if late.ValueAtPercentile(50) > 100_000 {
		t.Errorf("half of them end %d µs late", late.ValueAtPercentile(50))
	}
}

// Recording has a price, and it is not that of an allocation.
func TestRecordNanos(t *testing.T) {
	t.Parallel()
	if ns := RecordNanos(10_000); ns < 1 || ns > 100_000 {
		t.Errorf("%v ns a message", ns)
	}
	if ns := RecordNanos(0); ns < 0 {
		t.Errorf("%v ns for none", ns)
	}
}
