package load

import (
	"math"
	"math/bits"
	"time"

	"rmqbench/workloads"
)

// Arrival is one planned message of a producer group.
type Arrival struct {
	Index int64         // from 0, over the whole run; producer Index mod Count sends it
	At    time.Duration // intended time since the start of the run
	Phase int           // of the plan
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
// in each phase.
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
	index  int64
	last   time.Duration
}

// demandPhase is what one phase asks of the group.
type demandPhase struct {
	start, length time.Duration
	pieces        []piece
	total         float64 // Λ at the end
	poisson       bool
	seed          stream
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
func NewSchedule(plan *workloads.Plan, g int) *Schedule {
	s := &Schedule{}
	start := time.Duration(0)
	for i := range plan.Phases {
		p := &plan.Phases[i]
		d := demandPhase{start: start, length: p.Duration, seed: newStream(plan.Seed, purposeGaps, uint64(g), uint64(i))}
		start += p.Duration
		for _, a := range p.Arrivals {
			if a.Producer == plan.Producers[g].Name && !p.Drain {
				d.poisson = a.Process == workloads.Poisson
				d.setRate(a.Rate)
			}
		}
		s.phases = append(s.phases, d)
	}
	s.enter(0, 0)
	return s
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
	s.phase, s.piece, s.sum = i, 0, carry
	if i < len(s.phases) && s.phases[i].poisson {
		s.gaps = s.phases[i].seed
		s.sum = s.gaps.exponential()
	}
}

// Next returns the next arrival; ok is false when there are no more.
func (s *Schedule) Next() (a Arrival, ok bool) {
	for s.phase < len(s.phases) {
		p := &s.phases[s.phase]
		if s.sum < p.total-hair || p.poisson && s.sum < p.total {
			a = Arrival{Index: s.index, At: s.time(p), Phase: s.phase}
			s.index++
			if p.poisson {
				s.sum += s.gaps.exponential()
			} else {
				s.sum++
			}
			return a, true
		}
		carry := 0.
		if !p.poisson && s.sum-p.total > hair {
			carry = s.sum - p.total
		}
		s.enter(s.phase+1, carry)
	}
	return Arrival{}, false
}

// time inverts Λ at s.sum.
func (s *Schedule) time(p *demandPhase) time.Duration {
	for s.piece+1 < len(p.pieces) && s.sum >= p.pieces[s.piece+1].before {
		s.piece++
	}
	q := &p.pieces[s.piece]
	x := q.start + q.at(s.sum-q.before)
	at := p.start + min(time.Duration(x*1e9), p.length-1)
	s.last = max(at, s.last)
	return s.last
}

// at returns how far into the piece its Λ reaches a.
func (q *piece) at(a float64) float64 {
	if a <= 0 {
		return 0
	}
	root := math.Sqrt(max(0, float64(q.from*q.from)+float64(2*q.slope*a)))
	return min(2*a/(q.from+root), q.length)
}

// stream is a sequence of random numbers that belongs to a few coordinates:
// seed, purpose, and for example a message's index. It is SplitMix64 (Steele,
// Lea, Flood 2014): a counter, stirred. Copying one copies its future.
type stream uint64

const golden = 0x9e3779b97f4a7c15

// Purposes keep the streams of one plan apart.
const (
	purposeGaps = iota + 1
	purposeMessages
	purposeSamples
	purposePadding
)

func newStream(coordinates ...uint64) stream {
	s := stream(0)
	for _, c := range coordinates {
		s = s.at(c)
	}
	return s
}

// at returns the i-th of the streams below s.
func (s stream) at(i uint64) stream { return stream(stir(uint64(s) + golden*(i+1))) }

func (s *stream) next() uint64 {
	*s += golden
	return stir(uint64(*s))
}

func stir(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// uniform returns a number in (0, 1), neither end included.
func (s *stream) uniform() float64 { return (float64(s.next()>>11) + 0.5) / (1 << 53) }

// below returns a number in [0, n).
func (s *stream) below(n uint64) uint64 {
	for {
		hi, lo := bits.Mul64(s.next(), n)
		if lo >= n || lo >= -n%n {
			return hi
		}
	}
}

// exponential returns a number of the exponential distribution of mean 1.
func (s *stream) exponential() float64 { return -logarithm(s.uniform()) }

// logarithm is ln x for 0 < x < 1. It uses nothing but the four operations,
// each rounded on its own, so that the result has the same bits on every
// machine; math.Log differs in the last one. With m in [√½, √2) and
// z = (m−1)/(m+1), ln m = 2·(z + z³/3 + z⁵/5 + …); |z| < 0.172 makes eleven terms
// enough.
func logarithm(x float64) float64 {
	m, e := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m, e = m*2, e-1
	}
	z := (m - 1) / (m + 1)
	w := float64(z * z)
	sum := 0.
	for k := 21; k >= 1; k -= 2 {
		sum = float64(sum*w) + inverse[k]
	}
	return float64(2*z*sum) + float64(float64(e)*math.Ln2)
}

// inverse[k] is 1/k: a division is slow.
var inverse = func() (t [22]float64) {
	for k := 1; k < len(t); k++ {
		t[k] = 1 / float64(k)
	}
	return t
}()
