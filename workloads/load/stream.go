package load

import (
	"math"
	"math/bits"
)

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
	purposeFates
	purposeFailing
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
