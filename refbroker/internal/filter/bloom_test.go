package filter

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
)

// bloomKeys are hashed by TestBloom: of every length around the blocks of the hash.
func bloomKeys() []string {
	keys := []string{"G#T", "group#topic", "消费组#主题", "", "\x00", "😀"}
	for n := range 40 {
		keys = append(keys, strings.Repeat("key#", 10)[:n])
	}
	return keys
}

// bloomLines are Bloom's answers to the lines that FilterOracle.java is asked.
func bloomLines(t *testing.T) (asked, answers []string) {
	for _, form := range [][2]int{{20, 32}, {10, 128}, {1, 1}, {50, 7}, {25, 64}, {99, 5}, {5, 1000}} {
		b, err := NewBloom(form[0], form[1])
		if err != nil {
			t.Fatal(err)
		}
		ask, say := fmt.Sprint("bloom ", form[0], " ", form[1]), fmt.Sprint(b.Bits, " ", b.Positions)
		for _, key := range bloomKeys() {
			if key == "" {
				continue // is no word
			}
			positions, bits := b.Of(key), make([]byte, b.Bits/8)
			Set(bits, positions)
			if !Has(bits, positions) || !b.Valid(b.Bits, positions) {
				t.Errorf("%q is not in its own filter", key)
			}
			ask += " " + encoded(key)
			say += " " + strings.ReplaceAll(strings.Trim(fmt.Sprint(positions), "[]"), " ", ",") + "/" + hex.EncodeToString(bits)
		}
		asked, answers = append(asked, ask), append(answers, say)
	}
	for percent := 1; percent < 100; percent++ {
		for _, n := range []int{1, 2, 3, 8, 31, 32, 100, 4096} {
			b, err := NewBloom(percent, n)
			if err != nil {
				t.Fatal(err)
			}
			asked = append(asked, fmt.Sprint("bloom ", percent, " ", n))
			answers = append(answers, fmt.Sprint(b.Bits, " ", b.Positions))
		}
	}
	return asked, answers
}

const bloomGolden = "testdata/bloom.txt"

// TestBloom holds sizes, positions and bits to those of Java's BloomFilter.
func TestBloom(t *testing.T) {
	t.Parallel()
	asked, got := bloomLines(t)
	if *update {
		text := strings.Join(oracle(t, asked), "\n") + "\n"
		if err := os.WriteFile(bloomGolden, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(bloomGolden)
	if err != nil {
		t.Fatal(err)
	}
	sameLines(t, asked, got, strings.Split(strings.TrimSpace(string(golden)), "\n"))
}

func bloomQuestions(t *testing.T) questions {
	asked, got := bloomLines(t)
	return questions{"bloom", asked, len(asked), func(t *testing.T, answers []string) { sameLines(t, asked, got, answers) }}
}

func sameLines(t *testing.T, asked, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d lines, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s\n got %s\nwant %s", asked[i], got[i], want[i])
		}
	}
}

// TestBloomDefault has the numbers of a broker with default settings.
func TestBloomDefault(t *testing.T) {
	t.Parallel()
	b, err := NewBloom(20, 32)
	if err != nil || b.Bits != 112 || fmt.Sprint(b.Of("G#T")) != "[24 26 83]" {
		t.Errorf("%+v, %v, %v; want 112 bits, [24 26 83]", b, b.Of("G#T"), err)
	}
	bits := make([]byte, 14)
	Set(bits, b.Of("G#T"))
	if Has(bits, b.Of("G#U")) {
		t.Error("another key is in the filter")
	}
	for _, wrong := range [][2]int{{0, 1}, {100, 1}, {-1, 5}, {20, 0}, {20, 1 << 30}} {
		if _, err := NewBloom(wrong[0], wrong[1]); err == nil {
			t.Errorf("NewBloom%v succeeded", wrong)
		}
	}
	for _, positions := range [][]int32{nil, {1, 2}, {1, 2, 112}, {-1, 2, 3}, {1, 2, 3, 4}} {
		if b.Valid(112, positions) {
			t.Errorf("%v are valid", positions)
		}
	}
	if b.Valid(120, []int32{1, 2, 3}) {
		t.Error("positions of another size are valid")
	}
}
