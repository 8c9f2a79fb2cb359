package broker

import (
	"bytes"
	"encoding/json"
	"strings"

	"rmqbench/refbroker/internal/filter"
	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/protocol"
)

// sqlFilter selects messages by an expression over their properties.
type sqlFilter struct {
	topic   string      // that is pulled
	data    *filterData // nil: every message
	filters *consumerFilters
	retry   bool // messages of a retry topic are held to the filter for their own topic
}

// MatchUnit looks at the bits that dispatch computed for the message. A missing
// bit counts only if the group was there then, and the bits have today's form.
func (f *sqlFilter) MatchUnit(_ int64, ext *store.ExtUnit) bool {
	d := f.data
	if d == nil || d.compiled == nil || d.BloomFilterData == nil {
		return true
	}
	bits := d.BloomFilterData
	if ext == nil || ext.StoreTime <= d.BornTime || len(ext.BitMap) == 0 || len(ext.BitMap)*8 != bits.BitNum ||
		!f.filters.bloom.Valid(bits.BitNum, bits.BitPos) {
		return true
	}
	return filter.Has(ext.BitMap, bits.BitPos)
}

// MatchRecord evaluates the expression. A record that cannot be read has no
// properties.
func (f *sqlFilter) MatchRecord(record []byte) bool {
	properties, _ := protocol.RecordProperties(record)
	return f.matchProperties(properties)
}

func (f *sqlFilter) matchProperties(properties string) bool {
	d := f.data
	if f.retry && isRetryTopic(f.topic) {
		topic, _ := protocol.Property(properties, protocol.PropRetryTopic)
		d = f.filters.get(topic, groupOfRetry(f.topic))
	}
	return d == nil || d.compiled == nil || d.compiled.Match(properties)
}

// wants reports whether an arrived message may be one for the filter.
func (f *sqlFilter) wants(a *store.Arrival) bool {
	return f.MatchUnit(a.TagsCode, a.Ext) && (a.Properties == "" || f.matchProperties(a.Properties))
}

// groupOfRetry returns the group of a retry topic: %RETRY%group, or, of
// messages that are popped, %RETRY%group+topic.
func groupOfRetry(topic string) string {
	popped, own, _ := strings.Cut(topic, "+")
	if own = strings.TrimRight(own, "+"); own != "" && !strings.Contains(own, "+") {
		topic = popped
	}
	return strings.TrimPrefix(topic, prefixRetry)
}

// tagSeparators reports whether a text has nothing but separators of tags,
// which Java cannot split.
func tagSeparators(expression string) bool {
	return expression != "" && strings.ReplaceAll(expression, "||", "") == ""
}

// unitFilter is the filter of a subscription for units of a consume queue.
func (b *Broker) unitFilter(s *subscription, data *filterData) store.Filter {
	if isTagType(s.ExpressionType) || s.ClassFilterMode {
		return s
	}
	return &sqlFilter{topic: s.Topic, data: data, filters: b.filters}
}

// describe writes a filter, or none, as it is in the file.
func (d *filterData) describe() string {
	if d == nil {
		return "null"
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, protocol.Marshal(&d.ConsumerFilterData), "", "\t"); err != nil {
		return err.Error()
	}
	return pretty.String()
}
