package workloads

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

func (d *decoder) readProducers(o *object) {
	d.tags, d.producer, d.wrote, d.replied = map[string][]string{}, map[string]span{}, map[string]bool{}, map[string]bool{}
	o.named("producers", "producer groups", func(name string, at span, n *node) {
		path := "producers." + name
		d.checkName(name, at, path, "a producer group's name", plainName)
		if slices.Contains(keysOf("demand"), name) {
			d.report(at, path, fmt.Sprintf("a producer group cannot be called %s", quoted(name)), "the word has a meaning in `arrivals`; choose another")
		}
		d.producer[name] = at
		d.plan.Producers = append(d.plan.Producers, d.readProducer(name, path, n))
	})
	if n := o.fields["producers"]; n == nil || n.kind == nullNode || n.kind == mapNode && len(n.entries) == 0 {
		d.producer[defaultProducer] = o.at
		d.plan.Producers = []Producer{d.readProducer(defaultProducer, "producers."+defaultProducer, &node{at: o.at})}
	}
}

func (d *decoder) readProducer(name, path string, n *node) Producer {
	o := d.object(n, path, "producer group "+quoted(name), "producer")
	p := Producer{
		Name: name, Topic: d.topicOf(o),
		Count:       o.integer("count", 1, 1, maxInstances),
		MaxInFlight: o.integer("maxInFlight", defaultInFlight, 1, maxInFlight),
		Timeout:     o.duration("timeout", defaultTimeout, time.Millisecond, maxTimeout),
		Size:        d.dist(o, "size", sizes, Dist{Kind: DistFixed, A: defaultSize}, MinSize, MaxSize),
		Keys:        d.keys(o),
		Tags:        d.producerTags(o),
		Properties:  d.properties(o),
		Batch:       o.integer("batch", 1, 1, maxBatch),
		Ordered:     o.flag("ordered", false),
		Delay:       d.delay(o),
		Transaction: d.transaction(o),
		Request:     o.flag("request", false),
	}
	p.Content = d.content(o, p.Keys)
	d.checkTogether(o, &p)
	d.wrote[p.Topic] = true
	d.replied[p.Topic] = d.replied[p.Topic] || p.Request
	d.sendsTags(&p)
	return p
}

// sendsTags notes the tags that a group puts on the messages of its topic.
func (d *decoder) sendsTags(p *Producer) {
	if _, seen := d.tags[p.Topic]; !seen {
		d.tags[p.Topic] = []string{}
	}
	for _, t := range p.sent() {
		d.tags[p.Topic] = append(d.tags[p.Topic], t.Name)
	}
}

// sent lists the tags of a group's messages: its own, or those of its steps.
func (p *Producer) sent() []Tag {
	if len(p.Tags) > 0 {
		return p.Tags
	}
	var tags []Tag
	for _, step := range p.Keys.Steps {
		tags = append(tags, Tag{Name: step, Weight: 1})
	}
	return tags
}

// checkTogether reports what RocketMQ cannot do at once.
func (d *decoder) checkTogether(o *object, p *Producer) {
	if p.Ordered && p.Keys.Kind == KeyNone && !d.torn && !o.doubt && !d.wrongIn(o.sub("keys")) {
		o.refuse("ordered", "`ordered` keeps the messages of a key in order, and the group has no keys", "write `keys`, for example `keys: uniform`")
	}
	set := map[string]bool{
		"batch": p.Batch > 1, "ordered": p.Ordered, "request": p.Request, "transaction": p.Transaction.On(),
		"delay": p.Delay.Level > 0 || p.Delay.After.Kind != "",
	}
	for _, c := range []struct{ key, with, why string }{
		{"batch", "delay", "messages of a batch cannot be delayed"},
		{"batch", "transaction", "a batch cannot be a transaction"},
		{"batch", "request", "a batch cannot ask for replies"},
		{"batch", "ordered", "a batch goes to one queue, and the messages of a key to the queue of their key"},
		{"transaction", "delay", "a half message cannot be delayed"},
		{"transaction", "request", "a half message cannot ask for a reply"},
		{"transaction", "ordered", "a half message cannot be sent to the queue of its key"},
		{"request", "delay", "a request that comes late is not answered in time"},
		{"ordered", "delay", "delayed messages do not keep their order"},
	} {
		if set[c.key] && set[c.with] {
			o.refuse(c.with, fmt.Sprintf("%s and %s exclude each other: %s", quoted(c.key), quoted(c.with), c.why), "keep one, or make two producer groups")
			return
		}
	}
}

// delay reads `5s`, `{level: 3}` or `{after: DIST, share: 20%}`.
func (d *decoder) delay(o *object) Delay {
	n := o.value("delay")
	if n == nil {
		return Delay{}
	}
	const least = 1e3 // to the millisecond
	most := float64(maxTimer) / 1e3
	if n.kind == scalarNode {
		return Delay{Share: 1, After: Dist{Kind: DistFixed, A: d.quantity(n, o.sub("delay"), "delay", times, least, least, most)}}
	}
	f := d.object(n, o.sub("delay"), "`delay`", "delayForm")
	out := Delay{Share: f.quantity("share", shares, 1, 0, 1)}
	switch f.only("level", "after") {
	case "level":
		out.Level = f.integer("level", 1, 1, maxLevel)
	case "after":
		out.After = d.dist(f, "after", times, Dist{Kind: DistFixed, A: least}, least, most)
	default:
		f.required("after", "for example `delay: 5s`, `delay: {level: 3}` or `delay: {after: 5s, share: 20%}`")
	}
	return out
}

// transaction reads `true` or the shares of the outcomes.
func (d *decoder) transaction(o *object) Transaction {
	n := o.value("transaction")
	if n == nil {
		return Transaction{}
	}
	if n.kind == scalarNode {
		if o.flag("transaction", false) {
			return Transaction{Commit: 1}
		}
		return Transaction{}
	}
	f := d.object(n, o.sub("transaction"), "`transaction`", "transactionForm")
	weight := func(f *object, key string) float64 { return f.quantity(key, shares, 0, 0, 1e6) }
	t := Transaction{Commit: weight(f, "commit"), Rollback: weight(f, "rollback"), Unknown: weight(f, "unknown")}
	sum := t.Commit + t.Rollback + t.Unknown
	if sum == 0 {
		if !d.torn && !f.doubt && !d.wrongIn(f.path) {
			d.report(f.at, f.path, "no outcome of `transaction` has a share", "for example `transaction: {commit: 90%, rollback: 10%}`")
		}
		return Transaction{}
	}
	t.Commit, t.Rollback, t.Unknown = t.Commit/sum, t.Rollback/sum, t.Unknown/sum
	if t.Unknown > 0 {
		t.CheckCommit = 1
	}
	if c := f.value("check"); c != nil && t.Unknown == 0 {
		f.refuse("check", "`check` is asked about `unknown` messages, and there are none", "give `unknown` a share, or leave `check` away")
	} else if c != nil {
		g := d.object(c, f.sub("check"), "`check`", "check")
		commit, rollback := weight(g, "commit"), weight(g, "rollback")
		if commit+rollback == 0 && !d.torn && !g.doubt && !d.wrongIn(g.path) {
			d.report(g.at, g.path, "no answer of `check` has a share", "for example `check: {commit: 50%, rollback: 50%}`")
		} else if commit+rollback > 0 {
			t.CheckCommit = commit / (commit + rollback)
		}
	}
	return t
}

// producerTags reads `created`, `[created, paid]` or `{created: 70%, paid: 30%}`.
func (d *decoder) producerTags(o *object) []Tag {
	n := o.value("tags")
	if n == nil {
		return nil
	}
	return d.weighted(n, o.sub("tags"), "tag", "for example `[created, paid]`", func(name string, at span) {
		if !tagName.MatchString(name) {
			d.report(at, o.sub("tags"), fmt.Sprintf("a tag cannot be %s", quoted(name)), "use letters, digits and `._-`, at most 64")
		}
	})
}

// weighted reads one word, a list of words with equal shares, or shares by
// word. what is one of them.
func (d *decoder) weighted(n *node, path, what, example string, check func(name string, at span)) []Tag {
	var tags []Tag
	add := func(name string, at span, weight float64) {
		check(name, at)
		if slices.ContainsFunc(tags, func(t Tag) bool { return t.Name == name }) {
			d.report(at, path, fmt.Sprintf("%s %s is here twice", what, quoted(name)), "leave one away")
		}
		tags = append(tags, Tag{Name: name, Weight: weight})
	}
	switch n.kind {
	case scalarNode:
		add(n.text, n.at, 1)
	case listNode:
		if len(n.items) > maxThings {
			break // reported below
		}
		for _, item := range n.items {
			if item.kind != scalarNode {
				d.report(item.at, path, fmt.Sprintf("a %s must be a single value, found %s", what, shown(item)), example)
				continue
			}
			add(item.text, item.at, 1)
		}
	case mapNode:
		if len(n.entries) > maxThings {
			break
		}
		for _, e := range n.entries {
			add(e.key, e.at, d.weight(e, path, what))
		}
	}
	d.checkWeights(tags, n, path, what)
	return tags
}

func (d *decoder) weight(e entry, path, what string) float64 {
	if e.value.kind == nullNode {
		d.report(e.at, path+"."+e.key, fmt.Sprintf("%s %s has no weight", what, quoted(e.key)), fmt.Sprintf("write a share such as `70%%`, or a list of %ss for equal shares", what))
		return 1
	}
	return d.quantity(e.value, path+"."+e.key, e.key, shares, 1, 0, 1e6)
}

func (d *decoder) checkWeights(tags []Tag, n *node, path, what string) {
	sum := 0.
	for _, t := range tags {
		sum += t.Weight
	}
	if len(tags) > 0 && sum == 0 {
		d.report(n.at, path, fmt.Sprintf("no %s has a share", what), "give at least one a weight above 0")
	}
	if max(len(n.items), len(n.entries)) > maxThings {
		d.report(n.at, path, fmt.Sprintf("more than %d %ss", maxThings, what), "")
	}
}

var propertyName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)

// ownProperties are names that RocketMQ uses itself.
var ownProperties = strings.Fields(`KEYS TAGS WAIT DELAY RETRY_TOPIC REAL_TOPIC REAL_QID TRAN_MSG PGROUP MIN_OFFSET MAX_OFFSET BUYER_ID
	ORIGIN_MESSAGE_ID TRANSFER_FLAG CORRECTION_FLAG MQ2_FLAG RECONSUME_TIME MSG_REGION TRACE_ON UNIQ_KEY EXTEND_UNIQ_INFO
	MAX_RECONSUME_TIMES CONSUME_START_TIME INNER_NUM INNER_BASE INNER_MULTI_DISPATCH INNER_MULTI_QUEUE_OFFSET DUP_INFO
	CHECK_IMMUNITY_TIME_IN_SECONDS TRANSACTION_PREPARED_QUEUE_OFFSET __transactionId__ TRANSACTION_CHECK_TIMES INSTANCE_ID
	CORRELATION_ID REPLY_TO_CLIENT TTL ARRIVE_TIME PUSH_REPLY_TIME CLUSTER MSG_TYPE POP_CK POP_CK_OFFSET 1ST_POP_TIME __SHARDINGKEY
	TIMER_DELIVER_MS TIMER_DELAY_SEC TIMER_DELAY_MS TIMER_IN_MS TIMER_OUT_MS TIMER_ENQUEUE_MS TIMER_DEQUEUE_MS TIMER_ROLL_TIMES
	TIMER_DEL_UNIQKEY TIMER_DELAY_LEVEL TIMER_LOG_ENABLE DLQ_ORIGIN_TOPIC DLQ_ORIGIN_MESSAGE_ID CRC32 __CRC32#`)

const maxProperties = 32

// properties reads the user properties of a group's messages.
func (d *decoder) properties(o *object) []Property {
	n := o.value("properties")
	if n == nil {
		return nil
	}
	if n.kind != mapNode {
		d.report(n.at, o.sub("properties"), fmt.Sprintf("`properties` must be a mapping from names to values, found %s", shown(n)), "for example `properties: {region: [cn, us]}`")
		return nil
	}
	if len(n.entries) > maxProperties {
		d.report(n.at, o.sub("properties"), fmt.Sprintf("more than %d properties", maxProperties), "")
		return nil
	}
	var all []Property
	// A property is read like a key of an object that has all of them.
	f := &object{d: d, path: o.sub("properties"), what: "`properties`", at: n.at, fields: map[string]*node{}, places: map[string]span{}}
	for _, e := range n.entries {
		f.fields[e.key], f.places[e.key] = e.value, e.at
		if !propertyName.MatchString(e.key) {
			d.report(e.at, f.sub(e.key), fmt.Sprintf("a property cannot be called %s", quoted(e.key)), "use letters, digits and `._-`, a letter first, at most 64")
		} else if slices.Contains(ownProperties, e.key) {
			d.report(e.at, f.sub(e.key), fmt.Sprintf("%s is a property of RocketMQ's own", quoted(e.key)), "choose another name")
		}
		if v := f.value(e.key); v != nil {
			all = append(all, d.property(f, e.key, v))
		}
	}
	return all
}

func (d *decoder) property(f *object, key string, v *node) Property {
	if v.kind == mapNode && isDistribution(v) {
		return Property{Name: key, Number: d.dist(f, key, numbers, Dist{Kind: DistFixed}, 0, 1e15)}
	}
	const most = 255
	values := d.weighted(v, f.sub(key), "value", "for example `[cn, us]`", func(value string, at span) {
		if value == "" || len(value) > most || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			d.report(at, f.sub(key), fmt.Sprintf("a property cannot have the value %s", quoted(value)), fmt.Sprintf("use one line of text, at most %d bytes", most))
		}
	})
	if len(values) == 0 && len(d.errs.List) == 0 {
		d.report(v.at, f.sub(key), fmt.Sprintf("property %s has no value", quoted(key)), "for example `[cn, us]`")
	}
	return Property{Name: key, Values: values}
}

// isDistribution tells a distribution from values with their shares.
func isDistribution(n *node) bool {
	return slices.ContainsFunc(n.entries, func(e entry) bool {
		return nearest(e.key, []string{"distribution"}) != "" || slices.ContainsFunc(telling, func(t tell) bool { return t.key == e.key })
	})
}
