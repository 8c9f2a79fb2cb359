package load

import (
	"math/bits"

	"github.com/HdrHistogram/hdrhistogram-go"

	"rmqbench/results"
)

// histogram counts times in microseconds in the buckets of
// results.NewHistogram, so that nothing is lost on the way from one to the other.
// Its counts lie in pages that exist once something was counted in them: times
// of one kind are close together, and a whole histogram takes 180 KiB.
//
// Page 0 has the values below 1024, one each; page k has those of k+10 bits,
// the 10 behind the leading one telling the bucket.
type histogram struct {
	pages [numPages]*[pageCounts]int64
	total int64
}

const (
	countBits  = 10
	pageCounts = 1 << countBits
	numPages   = 23
)

// longest is the greatest time that is told apart; longer ones count as that.
var longest = results.NewHistogram().HighestTrackableValue()

// record counts n times of that many microseconds, which are not negative.
func (h *histogram) record(micros, n int64) {
	micros = min(micros, longest)
	h.total += n
	page, slot := 0, micros
	if micros >= pageCounts {
		shift := bits.Len64(uint64(micros)) - countBits - 1
		page, slot = shift+1, micros>>shift-pageCounts
	}
	h.page(page)[slot%pageCounts] += n
}

func (h *histogram) page(i int) *[pageCounts]int64 {
	if h.pages[i] == nil {
		h.pages[i] = new([pageCounts]int64)
	}
	return h.pages[i]
}

// add merges from into h.
func (h *histogram) add(from *histogram) {
	for i, p := range from.pages {
		if p == nil {
			continue
		}
		to := h.page(i)
		for k, n := range p {
			to[k] += n
		}
	}
	h.total += from.total
}

// reset forgets the counts and keeps the pages.
func (h *histogram) reset() {
	if h == nil || h.total == 0 {
		return
	}
	h.total = 0
	for _, p := range h.pages {
		if p != nil {
			clear(p[:])
		}
	}
}

// count returns how many times were recorded; h may be nil, here and below.
func (h *histogram) count() int64 {
	if h == nil {
		return 0
	}
	return h.total
}

// export returns the same counts as a histogram that can answer questions and
// be written down, nil without any.
func (h *histogram) export() *hdrhistogram.Histogram {
	if h.count() == 0 {
		return nil
	}
	out := results.NewHistogram()
	for i, p := range h.pages {
		if p == nil {
			continue
		}
		for k, n := range p {
			if n > 0 {
				_ = out.RecordValues(valueOf(i, int64(k)), n) // cannot fail: within the range
			}
		}
	}
	return out
}

// valueOf returns the least time of a bucket.
func valueOf(page int, slot int64) int64 {
	if page == 0 {
		return slot
	}
	return (pageCounts + slot) << (page - 1)
}

// max returns the greatest time, as the bucket's least.
func (h *histogram) max() int64 {
	if h.count() == 0 {
		return 0
	}
	for i := numPages - 1; i >= 0; i-- {
		if h.pages[i] == nil {
			continue
		}
		for k := int64(pageCounts - 1); k >= 0; k-- {
			if h.pages[i][k] > 0 {
				return valueOf(i, k)
			}
		}
	}
	return 0
}
