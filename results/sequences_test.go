package results

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// numbers draws something to do to a set: one number, a stretch, every eighth of
// a stretch, and far jumps.
func numbers(t *rapid.T) (from, to, step int64) {
	from = rapid.Int64Range(-2, 12*pageSize).Draw(t, "from")
	if rapid.IntRange(0, 9).Draw(t, "far") == 0 {
		from += 1 << 40
	}
	to = from + 1
	if rapid.Bool().Draw(t, "stretch") {
		to = from + rapid.Int64Range(1, 3*pageSize).Draw(t, "n")
	}
	return from, to, rapid.SampledFrom([]int64{1, 1, 1, 2, 8}).Draw(t, "step")
}

func flat(ranges iter.Seq2[int64, int64]) (out []int64) {
	last := int64(-1)
	for from, to := range ranges {
		if from <= last {
			panic(fmt.Sprintf("a stretch begins at %d, where one ended at %d", from, last))
		}
		for last = to; from < to; from++ {
			out = append(out, from)
		}
	}
	return out
}

func sorted(m map[int64]bool) []int64 { return slices.Sorted(maps.Keys(m)) }

func draw(t *rapid.T) (*SequenceSet, map[int64]bool) {
	s, model := new(SequenceSet), map[int64]bool{}
	for range rapid.IntRange(0, 30).Draw(t, "deeds") {
		from, to, step := numbers(t)
		switch rapid.IntRange(0, 4).Draw(t, "deed") {
		case 0:
			for i := from; i < to; i += step {
				if s.Remove(i) != model[i] {
					t.Fatalf("Remove(%d): was there %v", i, model[i])
				}
				delete(model, i)
			}
		case 1:
			want := int64(0)
			for i := max(0, from); i < to; i++ {
				want += count(!model[i])
				model[i] = true
			}
			if got := s.AddRange(from, to); got != want {
				t.Fatalf("AddRange(%d, %d) is %d, want %d", from, to, got, want)
			}
		default:
			for i := from; i < to; i += step {
				if s.Add(i) != (i >= 0 && !model[i]) {
					t.Fatalf("Add(%d): was there %v", i, model[i])
				}
				if i >= 0 {
					model[i] = true
				}
			}
		}
		s.sweepAt = rapid.IntRange(0, 3).Draw(t, "sweep") // lists come early
		if s.bitmaps >= s.sweepAt {
			for j := range s.pieces {
				if p := &s.pieces[j]; p.kind == isBitmap {
					s.compact(p)
				}
			}
			s.cache = [8]cached{}
		}
	}
	return s, model
}

func TestSequenceSetIsASet(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, model := draw(t)
		o, other := draw(t)
		want := sorted(model)
		if got := flat(s.Ranges()); !slices.Equal(got, want) || s.Len() != int64(len(want)) {
			t.Fatalf("%d numbers (Len %d), want %d", len(got), s.Len(), len(want))
		}
		for i := range int64(16 * pageSize) {
			if s.Has(i-1) != model[i-1] {
				t.Fatalf("Has(%d) is %v", i-1, !model[i-1])
			}
		}
		both, minus := map[int64]bool{}, map[int64]bool{}
		for i := range model {
			if other[i] {
				both[i] = true
			} else {
				minus[i] = true
			}
		}
		if got := flat(s.And(o)); !slices.Equal(got, sorted(both)) {
			t.Fatalf("%d in both, want %d", len(got), len(both))
		}
		if got := flat(s.Minus(o)); !slices.Equal(got, sorted(minus)) {
			t.Fatalf("%d in the first alone, want %d", len(got), len(minus))
		}
		from, to, _ := numbers(t)
		n := int64(0)
		for i := range model {
			n += count(from <= i && i < to)
		}
		if got := s.CountBetween(from, to); got != n {
			t.Fatalf("%d between %d and %d, want %d", got, from, to, n)
		}
		b := appendSet(nil, s)
		c, again := cursor{b: b}, new(SequenceSet)
		c.set(again)
		if c.err != nil || len(c.b) != 0 || !slices.Equal(flat(again.Ranges()), want) {
			t.Fatalf("read back: %d numbers, want %d, %d bytes left, %v", again.Len(), len(want), len(c.b), c.err)
		}
		if twice := s.Union(o); twice != int64(len(both)) {
			t.Fatalf("%d twice, want %d", twice, len(both))
		}
		maps.Copy(model, other)
		if got := flat(s.Ranges()); !slices.Equal(got, sorted(model)) {
			t.Fatalf("the union has %d, want %d", len(got), len(model))
		}
	})
}

func FuzzReadSet(f *testing.F) {
	s := new(SequenceSet)
	s.AddRange(3, 9000)
	for i := int64(20_000); i < 30_000; i += 3 {
		s.Add(i)
	}
	f.Add(appendSet(nil, s))
	f.Add([]byte{2, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 5, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, s := cursor{b: b}, new(SequenceSet)
		c.set(s)
		if c.err != nil {
			return
		}
		again := new(SequenceSet)
		if c := (cursor{b: appendSet(nil, s)}); c.err == nil {
			c.set(again)
		}
		if again.Len() != s.Len() || len(slices.Collect(keys(s.Minus(again)))) != 0 {
			t.Errorf("%d numbers became %d", s.Len(), again.Len())
		}
	})
}

func keys(s iter.Seq2[int64, int64]) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for a := range s {
			if !yield(a) {
				return
			}
		}
	}
}

// heap returns what is in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestSequenceSetMemory: what stays away costs, what there is does not. The
// numbers come in eight streams, as from queues, each ahead of the others at times.
func TestSequenceSetMemory(t *testing.T) {
	const n, missing = 4_000_000, 400 // 0.01 %
	rnd := rand.New(rand.NewPCG(1, 2))
	away := map[int64]bool{}
	for len(away) < missing {
		away[rnd.Int64N(n)] = true
	}
	before := heap()
	s := new(SequenceSet)
	var next [8]int64
	for s.Len() < n-missing {
		q := rnd.IntN(8)
		for range rnd.IntN(2000) {
			i := next[q]*8 + int64(q)
			if i >= n || i > 8*slices.Min(next[:])+50_000 {
				break
			}
			if next[q]++; !away[i] {
				s.Add(i)
			}
		}
	}
	if used := heap() - before; used > 256<<10 || s.Len() != n-missing {
		t.Errorf("%d bytes for %d numbers of %d: %d pieces, %d bitmaps", used, s.Len(), n, len(s.pieces), s.bitmaps)
	}
	runtime.KeepAlive(s)
}

func BenchmarkSequenceSetAdd(b *testing.B) {
	for _, streams := range []int64{1, 8} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) {
			s := new(SequenceSet)
			b.ReportAllocs()
			for i := range int64(b.N) {
				s.Add(i - i%streams*8*375) // each stream is 3,000 numbers behind the one before
			}
		})
	}
}
