package load

import (
	"context"
	"runtime"
	"testing"
	"time"

	"rmqbench/results"
	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

// nullDriver acknowledges everything at once.
type nullDriver struct{ *target }

type nullProducer struct {
	done func(*driver.Message, driver.Result)
}

func (nullDriver) NewProducer(_ context.Context, c driver.ProducerConfig) (driver.Producer, error) {
	return nullProducer{c.Done}, nil
}
func (p nullProducer) Send(m *driver.Message)    { p.done(m, driver.Result{}) }
func (nullProducer) Close(context.Context) error { return nil }

// BenchmarkPacing keeps 20,000 messages a second for two seconds with a
// driver that costs nothing and reports how late the generator was.
func BenchmarkPacing(b *testing.B) {
	for range b.N {
		tg, plan := newTarget(), simplePlan(20_000, 2*time.Second)
		plan.Consumers = nil
		plan.Producers[0].Count = 4
		plan.Producers[0].Size.A = 1024
		plan.Phases[0].Arrivals[0].Process = workloads.Poisson
		cfg := configOf(tg, plan)
		cfg.Driver, cfg.Clock = nullDriver{tg}, nil
		r, err := Run(context.Background(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(*r.Generator.Lateness.P50), "p50-late-µs")
		b.ReportMetric(float64(*r.Generator.Lateness.P99), "p99-late-µs")
		b.ReportMetric(float64(r.Generator.Lateness.Max), "max-late-µs")
		b.ReportMetric(r.Generator.CPUSeconds/2, "cores")
		b.ReportMetric(float64(r.Phases[0].Operations[0].Count), "sent")
	}
}

// TestSleepIsPrecise holds the clock to what the pacer needs. The bound is far
// above what it reaches, because other processes share the machine.
func TestSleepIsPrecise(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("precise sleeps are made for Linux")
	}
	defer preciseClock{}.pin()()
	late := results.NewHistogram()
	for range 200 {
		at := time.Now().Add(200 * time.Microsecond)
		preciseClock{}.SleepUntil(at, nil)
		_ = late.RecordValue(time.Since(at).Microseconds())
	}
	if p50 := late.ValueAtPercentile(50); p50 > 500 {
		t.Errorf("half of the sleeps end more than %d µs late", p50)
	}
}

func TestSleepEndsWhenTheRunDoes(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	close(done)
	begin := time.Now()
	preciseClock{}.SleepUntil(begin.Add(time.Minute), done)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
}
