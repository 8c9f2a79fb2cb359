package load

import (
	"math"

	"rmqbench/workloads"
)

// dist draws from a distribution.
type dist struct {
	workloads.Dist
	mu    float64 // lognormal: ln of the median
	which picker  // empirical: of Values
}

func newDist(d workloads.Dist) dist {
	out := dist{Dist: d, mu: math.Log(d.A)}
	for _, v := range d.Values {
		out.which.add(v.Weight)
	}
	out.which.close()
	return out
}

// tries is how often a sample outside the bounds is drawn again before it is
// put onto the bound: a plan with bounds that hold next to nothing still ends.
const tries = 100

// draw returns one sample within Min…Max.
func (d *dist) draw(s *stream) float64 {
	v := 0.
	for range tries {
		if v = d.once(s); v >= d.Min && (d.Max == 0 || v <= d.Max) {
			return v
		}
	}
	if v < d.Min {
		return d.Min
	}
	return d.Max
}

func (d *dist) once(s *stream) float64 {
	switch d.Kind {
	case workloads.DistUniform:
		return d.A + (d.B-d.A)*s.uniform()
	case workloads.DistExponential:
		return d.A * s.exponential()
	case workloads.DistLogNormal:
		return math.Exp(d.mu + d.B*math.Sqrt2*math.Erfinv(2*s.uniform()-1))
	case workloads.DistEmpirical:
		if i := d.which.pick(s); i >= 0 {
			return d.Values[i].Value
		}
		return 0
	}
	return d.A
}

// whole draws a whole number. Every one of A…B is as likely as the others where
// the distribution is uniform; others are rounded.
func (d *dist) whole(s *stream) int64 {
	if d.Kind == workloads.DistUniform && d.B >= d.A {
		return int64(d.A) + int64(s.below(uint64(int64(d.B)-int64(d.A))+1))
	}
	return int64(math.Round(d.draw(s)))
}

// picker chooses one of some things by weight.
type picker struct {
	weights []float64
	cuts    []uint64 // thing i is meant below cuts[i]
}

func (p *picker) add(weight float64) { p.weights = append(p.weights, max(0, weight)) }

// close turns the weights into cuts of the 64-bit numbers. A thing without
// weight has the cut of the one before it, and is never meant.
func (p *picker) close() {
	total, sum, last := 0., 0., -1
	for i, w := range p.weights {
		total += w
		if w > 0 {
			last = i
		}
	}
	for i, w := range p.weights {
		sum += w
		cut := uint64(math.MaxUint64)
		if share := sum / total; share < 1 && i < last {
			cut = uint64(share * (1 << 63) * 2)
		}
		p.cuts = append(p.cuts, cut)
	}
	p.cuts = p.cuts[:last+1]
}

// pick returns the number of a thing, -1 when there is none.
func (p *picker) pick(s *stream) int {
	if len(p.cuts) == 0 {
		return -1
	}
	u, low, high := s.next(), 0, len(p.cuts)-1
	for low < high {
		if mid := (low + high) / 2; u < p.cuts[mid] {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}

// Sampler draws a sequence of samples from one distribution.
type Sampler struct {
	dist dist
	s    stream
}

// NewSampler returns the sequence of samples of d that belongs to seed.
func NewSampler(d workloads.Dist, seed uint64) *Sampler {
	return &Sampler{dist: newDist(d), s: newStream(seed, purposeSamples)}
}

// Next returns the next sample, in the unit of the distribution.
func (s *Sampler) Next() float64 { return s.dist.draw(&s.s) }

// zipf draws numbers k in [0, n) with a probability proportional to
// 1/(k+1)^s, exactly, in constant time and memory, for every s > 0: rejection
// inversion (Hörmann and Derflinger, "Rejection-inversion to generate variates
// from monotone discrete distributions", 1996). With h(x) = x^−s and its integral H,
// u is drawn uniformly from the area under h between ½ and n+½ (where the first
// bar is cut to its height), x = H⁻¹(u) is rounded to k, and k is kept unless u
// lies between the bar and the curve. At most about one draw in nine is repeated.
type zipf struct {
	n, s        float64
	first, last float64 // H at both ends
	sure        float64 // k−x up to here needs no look at H
}

func newZipf(n int, s float64) zipf {
	z := zipf{n: float64(n), s: s}
	z.first = z.area(1.5) - 1
	z.last = z.area(z.n + 0.5)
	z.sure = 2 - z.inverse(z.area(2.5)-z.height(2))
	return z
}

func (z *zipf) draw(s *stream) uint64 {
	for {
		u := z.last + s.uniform()*(z.first-z.last)
		x := z.inverse(u)
		k := min(max(math.Floor(x+0.5), 1), z.n)
		if k-x <= z.sure || u >= z.area(k+0.5)-z.height(k) {
			return uint64(k) - 1
		}
	}
}

func (z *zipf) height(x float64) float64 { return math.Exp(-z.s * math.Log(x)) }

// area is H(x) = (x^(1−s) − 1) / (1−s), which is ln x at s = 1, and smooth there.
func (z *zipf) area(x float64) float64 {
	l := math.Log(x)
	t := (1 - z.s) * l
	if math.Abs(t) < 1e-8 {
		return l * (1 + t/2)
	}
	return l * math.Expm1(t) / t
}

// inverse is H⁻¹.
func (z *zipf) inverse(y float64) float64 {
	t := max((1-z.s)*y, -1)
	if math.Abs(t) < 1e-8 {
		return math.Exp(y * (1 - t/2))
	}
	return math.Exp(y * math.Log1p(t) / t)
}
