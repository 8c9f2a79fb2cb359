//go:build soak

package filter

import "testing"

// TestSoakExpressions compares many more random expressions with Java's answers.
func TestSoakExpressions(t *testing.T) {
	for range 5 {
		ask(t, randomExpressions(200_000))
	}
}
