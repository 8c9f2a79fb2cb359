//go:build !race

package filter

import (
	"testing"
)

// TestMatchAllocates nothing.
func TestMatchAllocates(t *testing.T) {
	f, err := Compile("(a > 3 OR b BETWEEN 1.0 AND 9.5) AND c IN ('x', 'y') AND d IS NOT NULL AND e NOT CONTAINS 'q' AND f = TRUE AND g > h")
	if err != nil {
		t.Fatal(err)
	}
	properties := "TAGS\x01T\x02a\x012\x02b\x017.5\x02c\x01y\x02d\x01D\x02e\x01E\x02f\x01true\x02g\x0110\x02h\x019"
	if !f.Match(properties) {
		t.Fatal("no match")
	}
	if n := testing.AllocsPerRun(1000, func() { f.Match(properties) }); n > 0.1 {
		t.Errorf("%v allocations for each match", n)
	}
}
