package load

import (
	"hash/maphash"

	"rmqbench/workloads/driver"
)

// maxKeys is how many keys of one producer, of those whose life is not known, are
// remembered for sure: those that were not seen for longest are forgotten.
const maxKeys = 1 << 18

// keyOrder holds the messages of one producer with one key, or without keys those
// of one queue, to the order of their sequence, in one view. Only first deliveries
// count, from whichever member: so a rebalance does not matter, and neither does a
// message in between that is missing. A key is remembered until its life is over.
type keyOrder struct {
	life       int // messages of a key; 0: not known
	limit      int
	young, old map[uint64]lastOfKey
}

type lastOfKey struct {
	sequence int64
	n        int // messages so far
}

func newOrder(life int) *keyOrder {
	return &keyOrder{life: life, limit: maxKeys, young: map[uint64]lastOfKey{}}
}

var orderSeed = maphash.MakeSeed()

// check reports whether a message comes in its turn.
func (o *keyOrder) check(seq int64, r *driver.Received) bool {
	key := maphash.String(orderSeed, r.Key)
	if r.Key == "" {
		key = maphash.String(orderSeed, r.Broker) + uint64(r.Queue)
	}
	last, ok := o.young[key]
	if !ok {
		if last, ok = o.old[key]; ok {
			delete(o.old, key)
		} else {
			last.sequence = -1
		}
	}
	turn := seq > last.sequence
	last.n++
	last.sequence = max(last.sequence, seq)
	switch {
	case r.Key != "" && last.n == o.life:
		delete(o.young, key)
	default:
		o.young[key] = last
		o.grow()
	}
	return turn
}

// grow keeps the keys of which nobody knows when they end within bounds.
func (o *keyOrder) grow() {
	if o.life == 0 && len(o.young) >= o.limit {
		o.old, o.young = o.young, map[uint64]lastOfKey{}
	}
}
