package workloads

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Bounds of the language. They keep a slip of the finger from taking the machine.
const (
	MinSize = 64      // bytes of body; the identity of a message needs most of them
	MaxSize = 4 << 20 // what a broker takes by default

	maxInstances  = 1000
	maxInFlight   = 1 << 16
	maxQueues     = 1024
	maxThreads    = 1000
	maxKeys       = 1_000_000_000
	maxProcessing = 10 * time.Minute
	maxTimeout    = 10 * time.Minute
)

// Defaults of the language.
const (
	defaultSeed      = 1
	defaultQueues    = 8
	defaultSize      = 1 << 10
	defaultInFlight  = 1024
	defaultTimeout   = 3 * time.Second
	defaultThreads   = 20
	defaultKeys      = 10_000
	defaultExponent  = 1.0
	defaultPrefix    = "key-"
	defaultRatio     = 0.5
	defaultSigma     = 0.5
	defaultTemplate  = `{"key":"{{key}}","producer":{{producer}},"sequence":{{sequence}}}`
	defaultTopic     = "rmqbench"
	defaultProducer  = "producer"
	defaultInterval  = time.Second
	defaultLateness  = 10 * time.Millisecond
	defaultDropShare = 0.001
)

var (
	plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
	phaseName = regexp.MustCompile(`^[\pL\pN][\pL\pN_-]{0,63}$`)
	tagName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	keyPrefix = regexp.MustCompile(`^[A-Za-z0-9._:/-]{0,64}$`)
	systemish = regexp.MustCompile(`(?i)^(TBW102|SCHEDULE_TOPIC_XXXX|BenchmarkTest|SELF_TEST_TOPIC|OFFSET_MOVED_EVENT|DefaultCluster|DefaultHeartBeatSyncerTopic|TRANS_CHECK_MAX_TIME_TOPIC|RMQ_SYS_.*|rmq_sys_.*|CID_.*|DEFAULT_CONSUMER|DEFAULT_PRODUCER|TOOLS_CONSUMER|FILTERSRV_CONSUMER|SELF_TEST_C_GROUP|SELF_TEST_P_GROUP|CLIENT_INNER_PRODUCER)$`)
)

var topKeys = []string{"name", "description", "seed", "scale", "topics", "producers", "consumers", "phases", "thresholds", "limits"}

// workload reads the whole tree into d.plan.
func (d *decoder) workload(root *node) {
	o := d.object(root, "", "the workload", topKeys...)
	if root.kind != mapNode && root.kind != nullNode {
		return
	}
	if name, n := o.text("name"); n != nil {
		d.checkName(name, n.at, "name", "a workload's name", plainName)
		d.plan.Name = name
	}
	if text, n := o.text("description"); n != nil {
		d.plan.Description = printable(strings.Join(strings.Fields(text), " "))
	}
	d.plan.Seed = uint64(o.quantity("seed", numbers, defaultSeed, 0, 1<<53))
	d.scale = o.quantity("scale", numbers, 1, 1e-6, 1e6)
	d.readTopics(o)
	d.readProducers(o)
	d.readConsumers(o)
	d.readPhases(o)
	d.readLimits(o)
	d.readThresholds(o)
}

// checkName reports a name that a broker, a file name or a threshold cannot carry.
func (d *decoder) checkName(name string, at span, path, what string, form *regexp.Regexp) {
	if !form.MatchString(name) {
		d.report(at, path, fmt.Sprintf("%s cannot be %s", what, quoted(name)), "use letters, digits, `-` and `_`, at most 64")
	} else if form == plainName && systemish.MatchString(name) {
		d.report(at, path, fmt.Sprintf("%s is a name of RocketMQ's own", quoted(name)), "choose another")
	}
}

func (d *decoder) readTopics(o *object) {
	o.named("topics", "topics", func(name string, at span, n *node) {
		path := "topics." + name
		d.checkName(name, at, path, "a topic's name", plainName)
		t := d.object(n, path, "topic "+quoted(name), "queues")
		d.plan.Topics = append(d.plan.Topics, Topic{Name: name, Queues: t.integer("queues", defaultQueues, 1, maxQueues)})
		d.topics = append(d.topics, name)
	})
	if n := o.fields["topics"]; n != nil && n.kind != mapNode && n.kind != nullNode {
		d.topicsBroken = true
	} else if len(d.topics) == 0 {
		d.plan.Topics = []Topic{{Name: defaultTopic, Queues: defaultQueues}}
		d.topics = []string{defaultTopic}
	}
}

// topicOf reads the topic of a group; the only topic is the default.
func (d *decoder) topicOf(o *object) string {
	if !o.has("topic") && len(d.topics) == 1 {
		return d.topics[0]
	}
	if d.topicsBroken && !o.has("topic") || o.required("topic", "there are several topics; "+oneOf(d.topics)) == nil {
		return ""
	}
	name, n := o.text("topic")
	if n != nil && !slices.Contains(d.topics, name) {
		hint := didYouMean(name, d.topics)
		if nearest(name, d.topics) == "" {
			hint = fmt.Sprintf("declare it: `topics: {%s: {queues: %d}}`", printable(name), defaultQueues)
		}
		if !d.torn && !d.topicsBroken {
			d.report(n.at, o.sub("topic"), fmt.Sprintf("there is no topic %s", quoted(name)), hint)
		}
		return ""
	}
	return name
}

func (d *decoder) readProducers(o *object) {
	d.tags, d.producer, d.wrote = map[string][]string{}, map[string]span{}, map[string]bool{}
	o.named("producers", "producer groups", func(name string, at span, n *node) {
		path := "producers." + name
		d.checkName(name, at, path, "a producer group's name", plainName)
		if slices.Contains(arrivalKeys, name) {
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
	o := d.object(n, path, "producer group "+quoted(name), "topic", "count", "maxInFlight", "timeout", "size", "content", "keys", "tags")
	p := Producer{
		Name: name, Topic: d.topicOf(o),
		Count:       o.integer("count", 1, 1, maxInstances),
		MaxInFlight: o.integer("maxInFlight", defaultInFlight, 1, maxInFlight),
		Timeout:     o.duration("timeout", defaultTimeout, time.Millisecond, maxTimeout),
		Size:        d.dist(o, "size", sizes, Dist{Kind: DistFixed, A: defaultSize}, MinSize, MaxSize),
		Keys:        d.keys(o),
		Tags:        d.producerTags(o),
	}
	p.Content = d.content(o, p.Keys)
	d.wrote[p.Topic] = true
	if _, seen := d.tags[p.Topic]; !seen {
		d.tags[p.Topic] = []string{}
	}
	for _, t := range p.Tags {
		d.tags[p.Topic] = append(d.tags[p.Topic], t.Name)
	}
	return p
}

func (d *decoder) readConsumers(o *object) {
	o.named("consumers", "consumer groups", func(name string, at span, n *node) {
		path := "consumers." + name
		d.checkName(name, at, path, "a consumer group's name", plainName)
		c := d.object(n, path, "consumer group "+quoted(name), "topic", "members", "tags", "processing", "threads")
		d.plan.Consumers = append(d.plan.Consumers, Consumer{
			Name: name, Topic: d.consumedTopic(c),
			Members:    c.integer("members", 1, 1, maxInstances),
			Tags:       d.subscription(c),
			Processing: d.dist(c, "processing", times, Dist{Kind: DistFixed}, 0, float64(maxProcessing)/1e3),
			Threads:    c.integer("threads", defaultThreads, 1, maxThreads),
		})
	})
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

// distKeys are the keys of each distribution beside `distribution`.
var distKeys = map[string][]string{
	"fixed": {"value"}, "uniform": {"from", "to"},
	"exponential": {"mean", "min", "max"}, "lognormal": {"median", "sigma", "min", "max"},
}

var distNames = []string{"fixed", "uniform", "exponential", "lognormal"}

// dist reads a distribution of a measure between least and most.
func (d *decoder) dist(o *object, key string, m measure, def Dist, least, most float64) Dist {
	n := o.value(key)
	switch {
	case n == nil:
		return def
	case n.kind == scalarNode:
		return Dist{Kind: DistFixed, A: d.quantity(n, o.sub(key), key, m, def.A, least, most)}
	case n.kind != mapNode:
		d.report(n.at, o.sub(key), fmt.Sprintf("%s must be %s or a distribution, found %s", quoted(key), m.name, shown(n)), distHint(m))
		return def
	}
	kind := d.distKind(n, o.sub(key), key, m)
	if kind == "" {
		return def
	}
	f := d.object(n, o.sub(key), fmt.Sprintf("%s (%s)", quoted(key), kind), append([]string{"distribution"}, distKeys[kind]...)...)
	need := func(name string, def float64) float64 {
		f.required(name, fmt.Sprintf("a %s distribution needs it, for example %s", kind, m.example))
		if n := f.fields[name]; n == nil || n.kind == nullNode {
			return def
		}
		return f.quantity(name, m, def, least, most)
	}
	out := Dist{Kind: DistKind(kind)}
	switch out.Kind {
	case DistFixed:
		out.A = need("value", def.A)
	case DistUniform:
		out.A, out.B = need("from", least), need("to", most)
		d.inOrder(f, "from", "to", out.A, out.B)
	case DistExponential:
		out.A = need("mean", def.A)
		d.cut(f, m, &out, "mean", least, most)
	case DistLogNormal:
		out.A = need("median", def.A)
		out.B = f.quantity("sigma", numbers, defaultSigma, 0, 5)
		d.cut(f, m, &out, "median", least, most)
	}
	return out
}

func distHint(m measure) string {
	return "for example " + m.example + ", or `{distribution: lognormal, median: …, sigma: 0.5, max: …}`"
}

// telling keys say which distribution is meant when `distribution` is not there.
var telling = []struct{ key, kind string }{{"median", "lognormal"}, {"sigma", "lognormal"}, {"mean", "exponential"}, {"from", "uniform"}, {"to", "uniform"}, {"value", "fixed"}}

// distKind reads `distribution` out of n before its other keys are known to be right.
func (d *decoder) distKind(n *node, path, key string, m measure) string {
	for _, e := range n.entries {
		if e.key != "distribution" && nearest(e.key, []string{"distribution"}) == "" {
			continue
		}
		if e.value.kind == scalarNode && slices.Contains(distNames, e.value.text) {
			return e.value.text
		}
		at := e.value.at
		d.report(at, path+".distribution", fmt.Sprintf("there is no distribution %s", shown(e.value)), didYouMean(e.value.text, distNames))
		return ""
	}
	for _, t := range telling {
		if n.index(t.key) >= 0 {
			return t.kind
		}
	}
	if !d.torn {
		d.report(n.at, path+".distribution", fmt.Sprintf("%s has no `distribution`", quoted(key)), distHint(m))
	}
	return ""
}

// cut reads min and max, which samples never leave, around the middle.
func (d *decoder) cut(f *object, m measure, out *Dist, middle string, least, most float64) {
	out.Min = f.quantity("min", m, least, least, most)
	out.Max = f.quantity("max", m, most, least, most)
	d.inOrder(f, "min", middle, out.Min, out.A)
	d.inOrder(f, middle, "max", out.A, out.Max)
}

// inOrder reports the later of two keys when their values are the wrong way round.
func (d *decoder) inOrder(f *object, low, high string, a, b float64) {
	if a <= b {
		return
	}
	at := f.at
	for _, key := range []string{low, high} {
		if n := f.fields[key]; n != nil {
			at = n.at
		}
	}
	d.report(at, f.sub(high), fmt.Sprintf("%s is greater than %s", quoted(low), quoted(high)), "samples lie between the two")
}

// kinded reads a value that is either a kind or a mapping with `kind`.
func (d *decoder) kinded(o *object, key, def string, kinds []string, keys map[string][]string) (string, *object) {
	n := o.value(key)
	if n == nil {
		return def, nil
	}
	if n.kind == scalarNode {
		return o.word(key, def, kinds...), nil
	}
	if n.kind != mapNode {
		d.report(n.at, o.sub(key), fmt.Sprintf("%s cannot be %s", quoted(key), shown(n)), oneOf(kinds))
		return def, nil
	}
	all := []string{"kind"}
	for _, kind := range kinds {
		all = append(all, keys[kind]...)
	}
	if k := n.get("kind"); k != nil && slices.Contains(kinds, k.text) {
		all = append([]string{"kind"}, keys[k.text]...)
	}
	slices.Sort(all)
	f := d.object(n, o.sub(key), quoted(key), slices.Compact(all)...)
	if f.required("kind", oneOf(kinds)) == nil {
		return def, f
	}
	return f.word("kind", def, kinds...), f
}

func (d *decoder) content(o *object, keys Keys) Content {
	kinds := []string{"random", "compressible", "zero", "json"}
	kind, f := d.kinded(o, "content", "random", kinds, map[string][]string{"compressible": {"ratio"}, "json": {"template"}})
	c := Content{Kind: ContentKind(kind)}
	switch c.Kind {
	case ContentCompressible:
		c.Ratio = defaultRatio
		if f != nil {
			c.Ratio = f.quantity("ratio", shares, defaultRatio, 0.05, 1)
		}
	case ContentJSON:
		c.Template = defaultTemplate
		if f != nil && f.has("template") {
			if text, n := f.text("template"); n != nil && d.checkTemplate(text, keys, n, f.sub("template")) {
				c.Template = strings.TrimSpace(text)
			}
		}
	}
	return c
}

// Placeholders of a JSON template.
const (
	FieldKey      = "{{key}}"
	FieldSequence = "{{sequence}}"
	FieldProducer = "{{producer}}"
)

var (
	anyField  = regexp.MustCompile(`\{\{[^{}]*\}\}`)
	theFields = []string{FieldKey, FieldSequence, FieldProducer}
)

// checkTemplate reports a template whose messages would not be JSON objects.
func (d *decoder) checkTemplate(text string, keys Keys, n *node, path string) bool {
	before := len(d.errs.List)
	for _, field := range anyField.FindAllString(text, -1) {
		if !slices.Contains(theFields, field) {
			d.report(n.at, path, fmt.Sprintf("the template has no placeholder %s", quoted(field)), oneOf(theFields))
		}
	}
	if keys.Kind == KeyNone && strings.Contains(text, FieldKey) && !d.torn {
		d.report(n.at, path, fmt.Sprintf("the template uses %s, and the group has no keys", quoted(FieldKey)), "write `keys: uniform` or `keys: zipf`, or leave it away")
	}
	if len(d.errs.List) > before {
		return false
	}
	filled := strings.NewReplacer(FieldKey, keys.Prefix+"1", FieldSequence, "1", FieldProducer, "1").Replace(strings.TrimSpace(text))
	if json.Valid([]byte(filled)) && !strings.HasPrefix(filled, "{") {
		d.report(n.at, path, "the template is JSON, but not an object", "for example '"+defaultTemplate+"'")
		return false
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(filled), &members); err != nil || members == nil {
		d.report(n.at, path, fmt.Sprintf("the template is not JSON: %v", err), "for example '"+defaultTemplate+"'")
		return false
	}
	for _, name := range []string{"id", "pad"} {
		if _, taken := members[name]; taken {
			d.report(n.at, path, fmt.Sprintf("the template cannot have a member %s", quoted(name)), "`id` carries the identity of the message and `pad` fills it up; choose another name")
		}
	}
	return len(d.errs.List) == before
}

func (d *decoder) keys(o *object) Keys {
	counted := []string{"count", "prefix"}
	kind, f := d.kinded(o, "keys", "none", []string{"none", "uniform", "zipf", "sequential"},
		map[string][]string{"uniform": counted, "zipf": {"count", "exponent", "prefix"}, "sequential": {"prefix"}})
	k := Keys{Kind: KeyKind(kind)}
	if k.Kind == KeyNone {
		return k
	}
	k.Prefix, k.Count = defaultPrefix, defaultKeys
	if k.Kind == KeyZipf {
		k.S = defaultExponent
	}
	if k.Kind == KeySequential {
		k.Count = 0
	}
	if f == nil {
		return k
	}
	if k.Kind != KeySequential {
		k.Count = f.integer("count", defaultKeys, 1, maxKeys)
	}
	if k.Kind == KeyZipf {
		k.S = f.quantity("exponent", numbers, defaultExponent, 0.01, 10)
	}
	if prefix, n := f.text("prefix"); n != nil {
		if !keyPrefix.MatchString(prefix) {
			d.report(n.at, f.sub("prefix"), fmt.Sprintf("a key cannot begin with %s", quoted(prefix)), "use letters, digits and `._:/-`, at most 64")
		}
		k.Prefix = prefix
	}
	return k
}

// producerTags reads `created`, `[created, paid]` or `{created: 70%, paid: 30%}`.
func (d *decoder) producerTags(o *object) []Tag {
	n := o.value("tags")
	if n == nil {
		return nil
	}
	path := o.sub("tags")
	var tags []Tag
	add := func(name string, at span, weight float64) {
		if !tagName.MatchString(name) {
			d.report(at, path, fmt.Sprintf("a tag cannot be %s", quoted(name)), "use letters, digits and `._-`, at most 64")
		}
		if slices.ContainsFunc(tags, func(t Tag) bool { return t.Name == name }) {
			d.report(at, path, fmt.Sprintf("tag %s is here twice", quoted(name)), "leave one away")
		}
		tags = append(tags, Tag{Name: name, Weight: weight})
	}
	switch n.kind {
	case scalarNode:
		add(n.text, n.at, 1)
	case listNode:
		for _, item := range n.items {
			if item.kind != scalarNode {
				d.report(item.at, path, fmt.Sprintf("a tag must be a single value, found %s", shown(item)), "for example `[created, paid]`")
				continue
			}
			add(item.text, item.at, 1)
		}
	case mapNode:
		for _, e := range n.entries {
			add(e.key, e.at, d.weight(e, path))
		}
	}
	d.checkWeights(tags, n, path)
	return tags
}

func (d *decoder) weight(e entry, path string) float64 {
	if e.value.kind == nullNode {
		d.report(e.at, path+"."+e.key, fmt.Sprintf("tag %s has no weight", quoted(e.key)), "write a share such as `70%`, or a list of tags for equal shares")
		return 1
	}
	return d.quantity(e.value, path+"."+e.key, e.key, shares, 1, 0, 1e6)
}

func (d *decoder) checkWeights(tags []Tag, n *node, path string) {
	sum := 0.
	for _, t := range tags {
		sum += t.Weight
	}
	if len(tags) > 0 && sum == 0 {
		d.report(n.at, path, "no tag has a share", "give at least one a weight above 0")
	}
	if len(tags) > maxThings {
		d.report(n.at, path, fmt.Sprintf("more than %d tags", maxThings), "")
	}
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
