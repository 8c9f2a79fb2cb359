package results

import (
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The histograms of a run hold microseconds from 1 µs to one hour with three
// significant digits. A time above that is recorded as the highest by its
// recorder, never left out.
const (
	lowestMicros  = 1
	highestMicros = 3_600_000_000
	digits        = 3
)

// NewHistogram returns an empty histogram of the geometry that all histograms
// of a run share, so that any two can be merged without loss.
func NewHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(lowestMicros, highestMicros, digits)
}

// MinSamples returns how many samples percentile q (0…100) needs before it says
// anything: at least one sample must lie beyond it. p99 needs 100, p99.9 1,000
// and p99.99 10,000.
func MinSamples(q float64) int64 {
	if q <= 50 {
		return 1
	}
	return int64(math.Round(100 / (100 - q)))
}

// LatencyOf sums up a histogram of microseconds. Percentiles whose sample is
// too small (see MinSamples) are nil. A nil histogram is an empty one.
func LatencyOf(h *hdrhistogram.Histogram) Latency {
	if h == nil || h.TotalCount() == 0 {
		return Latency{}
	}
	return Latency{
		Count: h.TotalCount(), Min: h.Min(), Mean: h.Mean(), Max: h.Max(),
		P50: percentile(h, 50), P90: percentile(h, 90), P99: percentile(h, 99),
		P999: percentile(h, 99.9), P9999: percentile(h, 99.99),
	}
}

func percentile(h *hdrhistogram.Histogram, q float64) *int64 {
	if h.TotalCount() < MinSamples(q) {
		return nil
	}
	v := h.ValueAtPercentile(q)
	return &v
}
