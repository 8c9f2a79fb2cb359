package workloads

// Feature is something that a plan asks of driver and target beyond sending a
// message and pulling it.
type Feature string

// The features.
const (
	Batches      Feature = "batches"
	DelayLevels  Feature = "delay levels"
	Timers       Feature = "timer messages"
	Transactions Feature = "transactions"
	Requests     Feature = "request-reply"
	OrderlyMode  Feature = "orderly consumers"
	Broadcasts   Feature = "broadcast consumers"
	PullMode     Feature = "pull consumers"
	PopMode      Feature = "pop consumers"
	SQLFilters   Feature = "SQL filters"
	Rewinds      Feature = "rewinds"
	NodeFaults   Feature = "faults" // the run must have started the nodes itself
)

// Need is a feature that a plan asks for, and who asks.
type Need struct {
	Feature Feature
	Who     string // "consumer group `fulfilment`"
}

// Needs lists what the plan asks for, in the order of the file, each feature once.
func (p *Plan) Needs() []Need {
	var all []Need
	add := func(asked bool, f Feature, who string) {
		for _, n := range all {
			asked = asked && n.Feature != f
		}
		if asked {
			all = append(all, Need{f, who})
		}
	}
	for _, g := range p.Producers {
		who := "producer group " + quoted(g.Name)
		add(g.Batch > 1, Batches, who)
		add(g.Delay.Level > 0, DelayLevels, who)
		add(g.Delay.After.Kind != "", Timers, who)
		add(g.Transaction.On(), Transactions, who)
		add(g.Request, Requests, who)
	}
	for _, c := range p.Consumers {
		who := "consumer group " + quoted(c.Name)
		add(c.Mode == Orderly, OrderlyMode, who)
		add(c.Broadcast, Broadcasts, who)
		add(c.Mode == Pull, PullMode, who)
		add(c.Mode == Pop, PopMode, who)
		add(c.SQL != "", SQLFilters, who)
	}
	for _, ph := range p.Phases {
		for _, e := range ph.Events {
			add(e.Rewind != nil, Rewinds, "phase "+quoted(ph.Name))
			add(e.Fault != nil, NodeFaults, "phase "+quoted(ph.Name))
		}
	}
	return all
}
