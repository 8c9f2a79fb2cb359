package load

import (
	"math"
	"sort"
	"time"

	"rmqbench/workloads"
)

// Arrival is one planned send of a producer group: a message, or a batch of them.
type Arrival struct {
	Number   int64         // of the send, from 0 over the whole run; producer Number mod Count sends it
	Index    int64         // of its message, of a batch the first; the others follow
	Messages int           // that it carries
	At       time.Duration // intended time since the start of the run
	Phase    int           // of the plan
}

// Schedule lists the arrivals of one producer group in their order. It is pure:
// the same plan and group give the same arrivals on every machine, whatever
// happens while they are sent. The next arrival costs the same wherever it is,
// nothing is allocated, and there is no drift: a time is computed from the start
// of its phase, never from the time of the arrival before.
//
// A phase has a rate r(t), piecewise linear, and its integral
//
//	Λ(t) = ∫ r   from the start of the phase to t,   arrivals expected until t.
//
// Constant arrivals lie where Λ is c, c+1, c+2 …, so that as many arrivals fall
// into each stretch of time as the rate says; c, below 1, is what the constant
// phase before left over. Poisson arrivals lie where Λ is E₁, E₁+E₂, …, with
// independent exponential Eᵢ of mean 1: a unit process stretched in time is the
// process of rate r (time rescaling theorem). Being memoryless, it starts anew
// in each phase. With batches of n messages Λ counts messages, so all steps in Λ
// are n times as long, and what a constant phase sent too much the next lacks.
// The arrivals of a trace lie where it says, each of them a batch. A closed loop
// has none: its messages have indices of their own, from ClosedIndex on.
//
// The way back from Λ to t is closed. On a piece of length L where the rate goes
// from p to q, with k = (q−p)/L, the time x into the piece where its Λ is a solves
//
//	p·x + k·x²/2 = a      ⟹      x = 2a / (p + √(p² + 2·k·a)),
//
// the form of the root that neither cancels nor divides by k.
type Schedule struct {
	phases []demandPhase
	phase  int     // current
	piece  int     // current, within the phase
	sum    float64 // Λ of the next arrival within the phase
	gaps   stream  // of the current Poisson phase
	traced int     // arrivals of the current trace
	number int64
	last   time.Duration
	batch  int
	share  int64 // Number mod shares of the arrivals that are listed
	shares int64
}

// demandPhase is what one phase asks of the group.
type demandPhase struct {
	start, length time.Duration
	pieces        []piece
	total         float64 // Λ at the end
	poisson       bool
	seed          stream
	trace         []time.Duration // within the phase
}

// piece is a stretch of straight rate.
type piece struct {
	start, length float64 // seconds, within the phase
	from, slope   float64 // per second, per second²
	before, area  float64 // Λ at its start, and of itself
}

// hair is a part of an arrival too small to be meant: a rate of 0.3/s for ten
// seconds means three arrivals, whatever 0.3 is in binary.
const hair = 1e-6

// NewSchedule returns the arrivals of producer group g of the plan.
func NewSchedule(plan *workloads.Plan, g int) *Schedule { return NewShardSchedule(plan, g, 0, 1) }

// NewShardSchedule returns what one of several generators sends: every of'th
// arrival of producer group g, beginning with number shard, with the times and
// indices that it has in the whole. All shards together are the whole.
func NewShardSchedule(plan *workloads.Plan, g, shard, of int) *Schedule {
	s := &Schedule{batch: batchOf(plan, g), share: int64(shard), shares: int64(max(1, of))}
	start := time.Duration(0)
	for i := range plan.Phases {
		p := &plan.Phases[i]
		d := demandPhase{start: start, length: p.Duration, seed: newStream(plan.Seed, purposeGaps, uint64(g), uint64(i))}
		start += p.Duration
		if a := arrivalsFor(plan, g, p); a != nil {
			d.demand(a)
		}
		s.phases = append(s.phases, d)
	}
	s.enter(0, 0)
	return s
}

func batchOf(plan *workloads.Plan, g int) int { return max(1, plan.Producers[g].Batch) }

// arrivalsFor returns what phase p asks of group g, nil for nothing.
func arrivalsFor(plan *workloads.Plan, g int, p *workloads.Phase) *workloads.Arrivals {
	for i := range p.Arrivals {
		if p.Arrivals[i].Producer == plan.Producers[g].Name && !p.Drain {
			return &p.Arrivals[i]
		}
	}
	return nil
}

func (d *demandPhase) demand(a *workloads.Arrivals) {
	switch a.Process {
	case workloads.Closed:
	case workloads.Trace:
		n := sort.Search(len(a.Times), func(i int) bool { return a.Times[i] >= d.length })
		d.trace = a.Times[:n]
	default:
		d.poisson = a.Process == workloads.Poisson
		d.setRate(a.Rate)
	}
}

// rare is by how many standard deviations a Poisson process is believed never
// to exceed its mean: once in 10³² runs.
const rare = 12

// FirstClosed returns the number of the first send of the closed loops of
// producer group g; the k-th has number FirstClosed+k, and with batches of n
// messages index n·number, as arrivals have. Those numbers lie behind all that the
// schedule can reach, so that neither depends on how fast the target answered;
// the gap between is small. FirstClosed is a multiple of the group's Count: a
// sender of producer p that counts p, p+Count, p+2·Count … sends what is p's.
func FirstClosed(plan *workloads.Plan, g int) int64 {
	batch := float64(batchOf(plan, g))
	most := 0.
	for i := range plan.Phases {
		p := &plan.Phases[i]
		a := arrivalsFor(plan, g, p)
		if a == nil || a.Process == workloads.Closed {
			continue
		}
		sends := a.Planned(p.Duration) / batch
		if a.Process == workloads.Trace {
			sends = float64(len(a.Times))
		}
		most += math.Ceil(sends) + 1
		if a.Process == workloads.Poisson {
			most += rare * (math.Sqrt(sends) + rare)
		}
	}
	count := int64(max(1, plan.Producers[g].Count))
	return (int64(most)/count + 1) * count
}

// setRate cuts the points into pieces. The first rate also holds before its
// point, the last one after it.
func (d *demandPhase) setRate(points []workloads.RatePoint) {
	for i, p := range points {
		from, end, rate := p.At, d.length, p.PerSecond
		if i == 0 {
			d.add(0, min(from, d.length), d.length, rate, rate)
		}
		if i+1 < len(points) {
			end, rate = points[i+1].At, points[i+1].PerSecond
		}
		d.add(from, end, d.length, p.PerSecond, rate)
	}
}

// add appends the piece from a to b, cut at limit, where the rate goes from p to q.
func (d *demandPhase) add(a, b, limit time.Duration, p, q float64) {
	if a >= b || a >= limit {
		return
	}
	seg := piece{start: a.Seconds(), from: p, slope: (q - p) / (b - a).Seconds(), before: d.total}
	seg.length = (min(b, limit) - a).Seconds()
	end := p + float64(seg.slope*seg.length)
	seg.area = float64((p+end)/2) * seg.length
	d.total += seg.area
	d.pieces = append(d.pieces, seg)
}

// enter makes phase i the current one. carry is how far in Λ its first constant
// arrival is away.
func (s *Schedule) enter(i int, carry float64) {
	s.phase, s.piece, s.traced, s.sum = i, 0, 0, carry
	if i < len(s.phases) && s.phases[i].poisson {
		s.gaps = s.phases[i].seed
		s.sum = s.gap()
	}
}

// gap is the way in Λ between two Poisson arrivals.
func (s *Schedule) gap() float64 { return float64(s.batch) * s.gaps.exponential() }

// Next returns the next arrival; ok is false when there are no more.
func (s *Schedule) Next() (a Arrival, ok bool) {
	for {
		if a, ok = s.step(); !ok || a.Number%s.shares == s.share {
			return a, ok
		}
	}
}

// step returns the next arrival of the whole.
func (s *Schedule) step() (a Arrival, ok bool) {
	for s.phase < len(s.phases) {
		p := &s.phases[s.phase]
		if s.traced < len(p.trace) {
			at := p.start + max(0, p.trace[s.traced])
			s.traced++
			return s.arrival(at), true
		}
		if s.sum < p.total-hair || p.poisson && s.sum < p.total {
			at := s.time(p)
			if p.poisson {
				s.sum += s.gap()
			} else {
				s.sum += float64(s.batch)
			}
			return s.arrival(at), true
		}
		carry := 0.
		if !p.poisson && s.sum-p.total > hair {
			carry = s.sum - p.total
		}
		s.enter(s.phase+1, carry)
	}
	return Arrival{}, false
}

// arrival numbers the arrival at that time. Rounding never puts one before
// another.
func (s *Schedule) arrival(at time.Duration) Arrival {
	s.last = max(at, s.last)
	a := Arrival{Number: s.number, Index: s.number * int64(s.batch), Messages: s.batch, At: s.last, Phase: s.phase}
	s.number++
	return a
}

// time inverts Λ at s.sum.
func (s *Schedule) time(p *demandPhase) time.Duration {
	for s.piece+1 < len(p.pieces) && s.sum >= p.pieces[s.piece+1].before {
		s.piece++
	}
	q := &p.pieces[s.piece]
	x := q.start + q.at(s.sum-q.before)
	return p.start + min(time.Duration(x*1e9), p.length-1)
}

// at returns how far into the piece its Λ reaches a.
func (q *piece) at(a float64) float64 {
	if a <= 0 {
		return 0
	}
	root := math.Sqrt(max(0, float64(q.from*q.from)+float64(2*q.slope*a)))
	return min(2*a/(q.from+root), q.length)
}
