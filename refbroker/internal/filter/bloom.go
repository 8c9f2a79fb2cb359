package filter

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// Bloom is the form of the bloom filters in consume queue extensions, as
// Java's class BloomFilter makes them: each consumer that filters by an
// expression has a few bits, which are set for a message that it wants.
type Bloom struct {
	Bits      int // in a filter, a multiple of 8
	Positions int // that a key has in it
}

// NewBloom returns the form for a rate of errors, in percent, at a number of keys.
func NewBloom(errorPercent, keys int) (Bloom, error) {
	switch {
	case errorPercent < 1 || errorPercent >= 100:
		return Bloom{}, fmt.Errorf("the error rate of the bloom filter is %d percent, want 1 to 99", errorPercent)
	case keys < 1 || keys > math.MaxInt32/64:
		return Bloom{}, fmt.Errorf("the bloom filter is to hold %d keys, want 1 to %d", keys, math.MaxInt32/64)
	}
	rate := float64(errorPercent) / 100
	size := math.Ceil(float64(keys) * (math.Log(1/rate) / math.Log(2)) * (math.Log(math.E) / math.Log(2)))
	return Bloom{
		Bits:      8 * int(math.Ceil(size/8)),
		Positions: int(math.Ceil(math.Log(rate) / math.Log(0.5))),
	}, nil
}

// Of returns the positions of a key.
func (b Bloom) Of(key string) []int32 {
	hash := murmur3([]byte(key))
	positions := make([]int32, b.Positions)
	for i := range positions {
		at := int32(hash) + int32(i+1)*int32(hash>>32)
		if at < 0 {
			at = ^at
		}
		positions[i] = at % int32(b.Bits)
	}
	return positions
}

// Valid reports whether positions are those of a key in a filter of this form.
func (b Bloom) Valid(size int, positions []int32) bool {
	if size != b.Bits || len(positions) != b.Positions {
		return false
	}
	for _, p := range positions {
		if p < 0 || int(p) >= size {
			return false
		}
	}
	return true
}

// Set sets valid positions in a filter of b.Bits/8 bytes.
func Set(bitMap []byte, positions []int32) {
	for _, p := range positions {
		bitMap[p/8] |= 1 << (p % 8)
	}
}

// Has reports whether all positions, which must be valid, are set.
func Has(bitMap []byte, positions []int32) bool {
	for _, p := range positions {
		if bitMap[p/8]&(1<<(p%8)) == 0 {
			return false
		}
	}
	return true
}

const (
	murmurC1 = 0x87c37b91114253d5
	murmurC2 = 0x4cf5ad432745937f
)

// murmur3 returns the first half of MurmurHash3_x64_128 with seed 0, which is
// Guava's murmur3_128().hashBytes(b).asLong().
func murmur3(b []byte) uint64 {
	var h1, h2 uint64
	n := uint64(len(b))
	for ; len(b) >= 16; b = b[16:] {
		h1 ^= mixK1(binary.LittleEndian.Uint64(b))
		h1 = (bits.RotateLeft64(h1, 27)+h2)*5 + 0x52dce729
		h2 ^= mixK2(binary.LittleEndian.Uint64(b[8:]))
		h2 = (bits.RotateLeft64(h2, 31)+h1)*5 + 0x38495ab5
	}
	var tail [16]byte
	copy(tail[:], b)
	h1 ^= mixK1(binary.LittleEndian.Uint64(tail[:])) ^ n
	h2 ^= mixK2(binary.LittleEndian.Uint64(tail[8:])) ^ n
	h1 += h2
	h2 += h1
	return avalanche(h1) + avalanche(h2)
}

func mixK1(k uint64) uint64 { return bits.RotateLeft64(k*murmurC1, 31) * murmurC2 }
func mixK2(k uint64) uint64 { return bits.RotateLeft64(k*murmurC2, 33) * murmurC1 }

func avalanche(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
