package workloads

import (
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
