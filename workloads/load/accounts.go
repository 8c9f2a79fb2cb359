package load

import (
	"slices"

	"rmqbench/workloads"
)

// ledgerProducers lists every producer instance of all generators, in their
// numbering: those of the first generator come first. Where some groups keep
// their messages in order, the others are not asked for it.
func (e *engine) ledgerProducers() []ledgerProducer {
	var all []ledgerProducer
	ordered := slices.ContainsFunc(e.plan.Producers, func(p workloads.Producer) bool { return p.Ordered })
	for shard := range e.shards() {
		for g := range e.plan.Producers {
			p := &e.plan.Producers[g]
			one := ledgerProducer{Topic: p.Topic, Remote: shard != e.cfg.Shard.Index, Unordered: ordered && !p.Ordered}
			one.Life, one.Steps = life(p)
			for range max(1, p.Count) {
				all = append(all, one)
			}
		}
	}
	return all
}

// life returns how many messages each key of a group has, where that is known,
// and their tags.
func life(p *workloads.Producer) (messages int, steps []string) {
	switch p.Keys.Kind {
	case workloads.KeySequential:
		return 1, nil
	case workloads.KeyFlow:
		if len(p.Tags) == 0 {
			steps = p.Keys.Steps
		}
		return len(p.Keys.Steps), steps
	}
	return 0, nil
}

func consumerGroups(cfg *Config) []ledgerGroup {
	var out []ledgerGroup
	for i := range cfg.Plan.Consumers {
		c := &cfg.Plan.Consumers[i]
		g := ledgerGroup{Name: c.Name, Topic: c.Topic, Tags: c.Tags, SQL: c.SQL, Match: cfg.matcher(c)}
		if c.Broadcast {
			g.Members = max(1, c.Members)
		}
		out = append(out, g)
	}
	return out
}

// asksForOrder reports whether a threshold of the plan is about order: then
// messages of a key share a queue, and their order is checked.
func asksForOrder(plan *workloads.Plan) bool {
	return slices.ContainsFunc(plan.Thresholds, func(t workloads.Threshold) bool { return t.Op == "" && t.Metric == "outOfOrder" }) ||
		slices.ContainsFunc(plan.Producers, func(p workloads.Producer) bool { return p.Ordered })
}
