package load

import (
	"slices"
	"sync"

	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

// SQLFilter is a compiled SQL92 expression, which tells as a broker does which
// messages it lets through.
type SQLFilter interface {
	// Match gets the properties as a broker has them: name \x01 value \x02 name …
	Match(properties string) bool
	// Properties are the names that the expression asks for.
	Properties() []string
}

// tagsProperty is the property in which RocketMQ keeps the tag.
const tagsProperty = "TAGS"

// matcher returns what tells whether a group is to receive a message; nil when
// it has no expression, or one that asks for what brokers and clients add:
// then nobody knows before the broker does.
func (c *Config) matcher(group *workloads.Consumer) func(tag string, properties []driver.Property) bool {
	if group.SQL == "" || c.CompileSQL == nil {
		return nil
	}
	f, err := c.CompileSQL(group.SQL)
	if err != nil || !ownProperties(c.Plan, group.Topic, f.Properties()) {
		return nil
	}
	buffers := sync.Pool{New: func() any { return new([]byte) }}
	return func(tag string, properties []driver.Property) bool {
		b := buffers.Get().(*[]byte)
		defer buffers.Put(b)
		*b = appendProperties((*b)[:0], tag, properties)
		return f.Match(text(*b))
	}
}

// ownProperties reports whether all names are the tag's or those of properties
// that producers of the topic set.
func ownProperties(plan *workloads.Plan, topic string, names []string) bool {
	known := []string{tagsProperty}
	for i := range plan.Producers {
		if p := &plan.Producers[i]; p.Topic == topic {
			for _, q := range p.Properties {
				known = append(known, q.Name)
			}
		}
	}
	return !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(known, name) })
}

func appendProperties(b []byte, tag string, properties []driver.Property) []byte {
	if tag != "" {
		b = append(append(append(append(b, tagsProperty...), 1), tag...), 2)
	}
	for _, p := range properties {
		b = append(append(append(append(b, p.Name...), 1), p.Value...), 2)
	}
	return b
}
