package load

// instanceOf returns the producer with a number of the ledger's.
func (e *engine) instanceOf(number int) *instance {
	return e.instances[number-e.cfg.Shard.Index*len(e.instances)]
}

func (e *engine) sharded() bool { return e.cfg.Shard.Of > 1 }

func (e *engine) shards() int { return max(1, e.cfg.Shard.Of) }

// share is how many of n this generator has when the n are dealt out in turn.
func (e *engine) share(n int) int {
	return (n + e.shards() - 1 - e.cfg.Shard.Index) / e.shards()
}

// own is the number, among those of all generators, of the n-th of this one.
func (e *engine) own(n int) int { return n*e.shards() + e.cfg.Shard.Index }
