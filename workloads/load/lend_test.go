package load

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"rmqbench/results"
	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

// copier is a target that copies what it is given before Send returns.
type copier struct {
	*target
	mu     sync.Mutex
	arrays map[*byte]bool // that bodies were in
}

type copyingProducer struct {
	driver.Producer
	c *copier
}

func (c *copier) NewProducer(ctx context.Context, cfg driver.ProducerConfig) (driver.Producer, error) {
	done := cfg.Done
	cfg.Done = func(m *driver.Message, r driver.Result) { done(m.Token.(*driver.Message), r) }
	p, err := c.target.NewProducer(ctx, cfg)
	return copyingProducer{p, c}, err
}

func (copyingProducer) Copies() {}

func (p copyingProducer) Send(m *driver.Message) {
	p.c.mu.Lock()
	if len(m.Body) > 0 {
		p.c.arrays[&m.Body[0]] = true
	}
	p.c.mu.Unlock()
	own := *m
	own.Body, own.Token = slices.Clone(m.Body), m
	p.Producer.Send(&own)
}

// TestBodiesAreLent: where the driver copies, messages in flight have their
// bodies in one array, and what arrives is right all the same; where the
// engine looks into them later, each has its own.
func TestBodiesAreLent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*workloads.Plan)
		lent   bool
	}{
		"usual":   {func(*workloads.Plan) {}, true},
		"ordered": {func(p *workloads.Plan) { p.Producers[0].Ordered = true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := simplePlan(5000, time.Second)
			plan.Producers[0].Keys = workloads.Keys{Kind: workloads.KeySequential}
			c.change(plan)
			tg := &copier{target: newTarget(), arrays: map[*byte]bool{}}
			cfg := configOf(tg.target, plan)
			cfg.Driver = tg
			run(t, cfg, tg.target, func(r *results.Run) {
				if l := r.Ledger; l.Acked != 5000 || l.Received != l.Acked || l.Corrupt+l.Foreign+l.Duplicated+l.Lost > 0 {
					t.Errorf("ledger %+v", l)
				}
				if lent := len(tg.arrays) == 1; lent != c.lent {
					t.Errorf("bodies were in %d arrays", len(tg.arrays))
				}
			})
		})
	}
}
