package protocol

import "testing"

// Golden and what follows let the tests that start Java, which are outside of
// the package, use the goldens.
type Golden = golden

// Goldens returns all golden frames.
func Goldens(t testing.TB) []Golden { return goldens(t) }

// Command decodes the frame.
func (g *golden) Command(t testing.TB) *Command { return g.command(t) }

// HoldsMessages reports whether the body is message records.
func (g *golden) HoldsMessages() bool { return holdsMessages(g) }

// BodyType returns a value of the type of the body.
func (g *golden) BodyType() (any, bool) {
	code := g.Request
	if g.Kind == "response" {
		code = -code
	}
	v, ok := bodyTypes[code]
	return v, ok
}
