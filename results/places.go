package results

import (
	"iter"
	"math/bits"
)

// Place is where a broker stored a message; Broker is an index of LedgerState.Brokers.
type Place struct {
	Offset        int64
	Broker, Queue int32
}

// Places remembers the places of messages that some group has yet to receive.
// Those of late are in a table; what stays away moves to a map, of which the
// room is bounded: beyond, places are forgotten. For one goroutine at a time.
type Places struct {
	table []placeSlot // by sequence modulo its length; made when first needed
	slots int
	away  map[int64]Place
	room  int
}

type placeSlot struct {
	sequence int64 // plus one; 0: empty
	place    Place
}

// NewPlaces makes room for slots messages of late and for room others.
func NewPlaces(slots, room int) Places {
	return Places{slots: 1 << bits.Len(uint(max(1, slots)-1)), room: room}
}

// Put remembers the place of a message.
func (p *Places) Put(sequence int64, at Place) {
	if p.table == nil {
		p.table = make([]placeSlot, max(1, p.slots))
	}
	s := &p.table[int(sequence)&(len(p.table)-1)]
	if s.sequence > 0 && s.sequence != sequence+1 {
		p.keep(s.sequence-1, s.place)
	}
	*s = placeSlot{sequence + 1, at}
}

func (p *Places) keep(sequence int64, at Place) {
	if len(p.away) >= p.room {
		return
	}
	if p.away == nil {
		p.away = map[int64]Place{}
	}
	p.away[sequence] = at
}

// Drop forgets a message.
func (p *Places) Drop(sequence int64) {
	if p.table == nil {
		return
	}
	if s := &p.table[int(sequence)&(len(p.table)-1)]; s.sequence == sequence+1 {
		s.sequence = 0
		return
	}
	if len(p.away) > 0 {
		delete(p.away, sequence)
	}
}

// Get returns the place of a message; ok is false when it is not known.
func (p *Places) Get(sequence int64) (at Place, ok bool) {
	if len(p.table) > 0 {
		if s := &p.table[int(sequence)&(len(p.table)-1)]; s.sequence == sequence+1 {
			return s.place, true
		}
	}
	at, ok = p.away[sequence]
	return at, ok
}

// Len returns how many places are known.
func (p *Places) Len() (n int) {
	for range p.All() {
		n++
	}
	return n
}

// All returns the places that are known, in no order.
func (p *Places) All() iter.Seq2[int64, Place] {
	return func(yield func(int64, Place) bool) {
		for _, s := range p.table {
			if s.sequence > 0 && !yield(s.sequence-1, s.place) {
				return
			}
		}
		for sequence, at := range p.away {
			if !yield(sequence, at) {
				return
			}
		}
	}
}
