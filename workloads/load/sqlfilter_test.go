package load

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

// contains is a filter that looks for a text among the properties.
type contains struct {
	text  string
	names []string
}

func (c contains) Match(properties string) bool { return strings.Contains(properties, c.text) }
func (c contains) Properties() []string         { return c.names }

// TestMatcher: a group's expression is evaluated where everything that it asks
// for is known here, on what a broker has of a message.
func TestMatcher(t *testing.T) {
	t.Parallel()
	plan := &workloads.Plan{Producers: []workloads.Producer{
		{Topic: "orders", Properties: []workloads.Property{{Name: "amount"}}},
		{Topic: "others", Properties: []workloads.Property{{Name: "colour"}}},
	}}
	compiled := []string{}
	c := Config{Plan: plan, CompileSQL: func(expression string) (SQLFilter, error) {
		compiled = append(compiled, expression)
		if expression == "(" {
			return nil, errors.New("no expression")
		}
		return contains{"TAGS\x01paid\x02amount\x017\x02", strings.Fields(expression)}, nil
	}}
	for expression, known := range map[string]bool{"amount": true, "TAGS amount": true, "": false, "KEYS": false, "amount colour": false, "(": false} {
		match := c.matcher(&workloads.Consumer{Topic: "orders", SQL: expression})
		if (match != nil) != known {
			t.Errorf("%q: can be told is %v", expression, match != nil)
			continue
		}
		seven := []driver.Property{{Name: "amount", Value: "7"}}
		if known && (!match("paid", seven) || match("", seven) || match("paid", nil)) {
			t.Errorf("%q is evaluated on other properties", expression)
		}
	}
	if slices.Contains(compiled, "") {
		t.Error("a group without an expression has one compiled")
	}
	if c.CompileSQL = nil; c.matcher(&workloads.Consumer{Topic: "orders", SQL: "amount"}) != nil {
		t.Error("an expression is evaluated by nobody")
	}
}
