package workloads

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

func (d *decoder) readConsumers(o *object) {
	o.named("consumers", "consumer groups", func(name string, at span, n *node) {
		path := "consumers." + name
		d.checkName(name, at, path, "a consumer group's name", plainName)
		d.plan.Consumers = append(d.plan.Consumers, d.readConsumer(name, path, n))
	})
}

func (d *decoder) readConsumer(name, path string, n *node) Consumer {
	o := d.object(n, path, "consumer group "+quoted(name), "consumer")
	c := Consumer{
		Name: name, Topic: d.consumedTopic(o),
		Members:      o.integer("members", 1, 0, maxInstances),
		Mode:         Mode(o.word("mode", string(Push), choices("consumer", "mode")...)),
		Broadcast:    o.flag("broadcast", false),
		Tags:         d.subscription(o),
		SQL:          d.sql(o),
		FromLast:     o.word("from", "first", choices("consumer", "from")...) == "last",
		Processing:   d.dist(o, "processing", times, Dist{Kind: DistFixed}, 0, float64(maxProcessing)/1e3),
		Threads:      o.integer("threads", defaultThreads, 1, maxThreads),
		PullBatch:    o.integer("pullBatch", defaultPullBatch, 1, maxPullBatch),
		Fail:         d.fail(o),
		MaxReconsume: o.integer("maxReconsume", defaultReconsume, 0, 1000),
		Pause:        d.every(o, "pause"),
		Slow:         d.slow(o),
		Churn:        d.every(o, "churn"),
		Reply:        d.dist(o, "reply", sizes, Dist{}, 0, maxReplyBytes),
	}
	if c.SQL != "" {
		c.Tags = ""
	}
	if c.Mode == Pop {
		c.Invisible = o.duration("invisible", defaultInvisible, time.Second, 12*time.Hour)
	}
	d.checkConsumer(o, &c)
	return c
}

// checkConsumer reports what does not go together.
func (d *decoder) checkConsumer(o *object, c *Consumer) {
	const either = "leave one away"
	switch {
	case o.has("sql") && o.has("tags"):
		o.refuse("sql", "`tags` and `sql` exclude each other", "ask for `TAGS` in the expression, or keep `tags` alone")
	case o.has("invisible") && c.Mode != Pop:
		o.refuse("invisible", "`invisible` belongs to `mode: pop`", "write `mode: pop`, or leave it away")
	case c.Broadcast && c.Mode == Pop:
		o.refuse("broadcast", "`mode: pop` and `broadcast` exclude each other: the broker hands a message to one member", either)
	case c.Broadcast && o.has("fail"):
		o.refuse("fail", "`broadcast` and `fail` exclude each other: a broadcast message that fails is not delivered again", either)
	case c.Broadcast && o.has("churn"):
		o.refuse("churn", "`broadcast` and `churn` exclude each other: a member of a broadcast group keeps its place itself, and what it misses while it is away nobody can tell", either)
	case c.Mode == Pull && o.has("fail"):
		o.refuse("fail", "`mode: pull` and `fail` exclude each other: nothing sends a failed message back", "use `mode: push`, or leave `fail` away")
	case o.has("reply") && c.Topic != "" && !d.replied[c.Topic] && !d.torn:
		o.refuse("reply", fmt.Sprintf("no producer group of topic %s sends requests", quoted(c.Topic)), "write `request: true` in the producer group, or leave `reply` away")
	}
}

// fail reads `1%` or `{share: 10%, attempts: 2}`.
func (d *decoder) fail(o *object) Fail {
	n := o.value("fail")
	if n == nil {
		return Fail{}
	}
	if n.kind == scalarNode {
		return Fail{Share: d.quantity(n, o.sub("fail"), "fail", shares, 0, 0, 1), Attempts: 1}
	}
	f := d.object(n, o.sub("fail"), "`fail`", "failForm")
	f.required("share", "for example `fail: {share: 1%, attempts: 2}`")
	out := Fail{Attempts: 1}
	if v := f.fields["share"]; v != nil && v.kind != nullNode {
		out.Share = f.quantity("share", shares, 0, 0, 1)
	}
	if v := f.value("attempts"); v != nil && v.text == "always" {
		out.Attempts = -1
	} else if v != nil {
		out.Attempts = f.integer("attempts", 1, 1, 1000)
	}
	return out
}

// every reads `{every: 10s, for: 2s}`.
func (d *decoder) every(o *object, key string) Every {
	n := o.value(key)
	if n == nil {
		return Every{}
	}
	hint := fmt.Sprintf("for example `%s: {every: 10s, for: 2s}`", key)
	f := d.object(n, o.sub(key), quoted(key), "every")
	f.required("every", hint)
	f.required("for", hint)
	e := Every{Period: f.span("every", time.Millisecond, maxPhase), For: f.span("for", time.Millisecond, maxPhase)}
	if e.Period > 0 && e.For >= e.Period {
		d.report(f.fields["for"].at, f.sub("for"), fmt.Sprintf("%s is not shorter than the period of %s", quoted(f.fields["for"].text), e.Period), hint)
	}
	return e
}

// span is a duration that required has looked at: 0 when it is not there.
func (o *object) span(key string, least, most time.Duration) time.Duration {
	if n := o.fields[key]; n == nil || n.kind == nullNode {
		return 0
	}
	return o.duration(key, 0, least, most)
}

func (d *decoder) slow(o *object) Slow {
	n := o.value("slow")
	if n == nil {
		return Slow{}
	}
	f := d.object(n, o.sub("slow"), "`slow`", "slow")
	return Slow{Members: f.integer("members", 1, 1, maxInstances), Factor: f.quantity("factor", numbers, defaultSlow, 1, 1e6)}
}

// consumedTopic is topicOf for a reader: somebody must write to the topic.
func (d *decoder) consumedTopic(o *object) string {
	topic := d.topicOf(o)
	if topic != "" && !d.wrote[topic] && !d.torn && !d.wrote[""] {
		n := o.fields["topic"]
		at := o.at
		if n != nil {
			at = n.at
		}
		d.report(at, o.sub("topic"), fmt.Sprintf("no producer group writes to topic %s", quoted(topic)), "read a topic that is written, or add a producer group for it")
	}
	return topic
}

// sql reads a SQL92 expression over properties. The broker parses it; here it
// only must not be cut off.
func (d *decoder) sql(o *object) string {
	text, n := o.text("sql")
	if n == nil {
		return ""
	}
	text = strings.TrimSpace(text)
	switch message := unbalanced(text); {
	case text == "":
		o.refuse("sql", "`sql` is empty", "for example `sql: \"region = 'cn' AND amount > 100\"`")
	case message != "":
		d.report(n.at, o.sub("sql"), message, "for example `sql: \"region = 'cn' AND amount > 100\"`")
	}
	return text
}

// unbalanced says what is open at the end of an expression, or closed too often.
func unbalanced(text string) string {
	depth, inQuotes := 0, false
	for _, r := range text {
		switch {
		case r == '\'':
			inQuotes = !inQuotes // a doubled one closes and opens again
		case inQuotes:
		case r == '(':
			depth++
		case r == ')':
			depth--
		}
		if depth < 0 {
			return "a `)` in the expression closes nothing"
		}
	}
	switch {
	case inQuotes:
		return "a `'` in the expression is not closed"
	case depth > 0:
		return "a `(` in the expression is not closed"
	}
	return ""
}

// subscription reads `"*"`, `paid`, `"paid || refunded"` or `[paid, refunded]`
// into an expression. Each tag must be one that is sent.
func (d *decoder) subscription(o *object) string {
	n := o.value("tags")
	if n == nil {
		return "*"
	}
	var names []string
	check := func(name string, at span) {
		names = append(names, name)
		topic := ""
		if t := o.fields["topic"]; t != nil {
			topic = t.text
		} else if len(d.topics) == 1 {
			topic = d.topics[0]
		}
		sent, known := d.tags[topic]
		if name != "*" && known && !d.torn && !slices.Contains(sent, name) {
			d.report(at, o.sub("tags"), fmt.Sprintf("no producer group of topic %s sets the tag %s", quoted(topic), quoted(name)), tagHint(name, sent))
		}
	}
	switch n.kind {
	case scalarNode:
		for _, name := range strings.Split(n.text, "||") {
			check(strings.TrimSpace(name), n.at)
		}
	case listNode:
		for _, item := range n.items {
			if item.kind != scalarNode {
				d.report(item.at, o.sub("tags"), fmt.Sprintf("a tag must be a single value, found %s", shown(item)), "for example `[created, paid]`")
				continue
			}
			check(item.text, item.at)
		}
	case mapNode:
		d.report(n.at, o.sub("tags"), "`tags` of a consumer group is a list, not a mapping", "for example `[created, paid]`, or `\"*\"` for all")
	}
	if len(names) == 0 || slices.Contains(names, "*") {
		return "*"
	}
	return strings.Join(names, " || ")
}

func tagHint(name string, sent []string) string {
	if len(sent) == 0 {
		return "the group would receive nothing; give the producers `tags`, or leave this away"
	}
	return didYouMean(name, sent)
}
