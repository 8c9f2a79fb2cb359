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
	maxPullBatch  = 1024
	maxBatch      = 1000
	maxTimer      = 3 * 24 * time.Hour // timerMaxDelaySec of a broker
	maxLevel      = 18
	maxReplyBytes = MaxSize
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

	defaultPullBatch = 32
	defaultReconsume = 16
	defaultInvisible = 60 * time.Second
	defaultOpen      = 1000
	defaultSlow      = 10.0
)

var (
	plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
	phaseName = regexp.MustCompile(`^[\pL\pN][\pL\pN_-]{0,63}$`)
	tagName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	keyPrefix = regexp.MustCompile(`^[A-Za-z0-9._:/-]{0,64}$`)
	brokerKey = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.]{0,127}$`)
	systemish = regexp.MustCompile(`(?i)^(TBW102|SCHEDULE_TOPIC_XXXX|BenchmarkTest|SELF_TEST_TOPIC|OFFSET_MOVED_EVENT|DefaultCluster|DefaultHeartBeatSyncerTopic|TRANS_CHECK_MAX_TIME_TOPIC|RMQ_SYS_.*|rmq_sys_.*|CID_.*|DEFAULT_CONSUMER|DEFAULT_PRODUCER|TOOLS_CONSUMER|FILTERSRV_CONSUMER|SELF_TEST_C_GROUP|SELF_TEST_P_GROUP|CLIENT_INNER_PRODUCER)$`)
)

// workload reads the whole tree into d.plan.
func (d *decoder) workload(root *node) {
	o := d.object(root, "", "the workload", "")
	if root.kind != mapNode && root.kind != nullNode {
		return
	}
	if n := o.fields["extends"]; n != nil && n.at.set > 0 {
		d.report(o.places["extends"], "extends", "`extends` cannot be set", "write it into the file")
	}
	if name, n := o.text("name"); n != nil {
		d.checkName(name, n.at, "name", "a workload's name", plainName)
		d.plan.Name = name
	}
	if text, n := o.text("description"); n != nil {
		d.plan.Description = printable(strings.Join(strings.Fields(text), " "))
	}
	d.plan.Seed = uint64(o.integer("seed", defaultSeed, 0, 1<<53))
	d.stretch = o.quantity("scale", numbers, 1, 1e-6, 1e6)
	d.intensity = o.quantity("intensity", numbers, 1, 1e-6, 1e6)
	d.readBroker(o)
	d.readTopics(o)
	d.readProducers(o)
	d.readConsumers(o)
	d.offerFilters()
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
		t := d.object(n, path, "topic "+quoted(name), "topic")
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

// readBroker reads settings for brokers that the run starts.
func (d *decoder) readBroker(o *object) {
	n := o.fields["broker"]
	if n == nil || n.kind == nullNode {
		return
	}
	if n.kind != mapNode {
		d.report(n.at, "broker", fmt.Sprintf("`broker` must be a mapping from settings to values, found %s", shown(n)), "for example `broker: {flushDiskType: SYNC_FLUSH}`")
		return
	}
	for _, e := range n.entries {
		path := "broker." + e.key
		switch {
		case !brokerKey.MatchString(e.key):
			d.report(e.at, path, fmt.Sprintf("a setting of a broker cannot be called %s", quoted(e.key)), "use the key of Java's configuration, for example `flushDiskType`")
		case e.value.kind != scalarNode:
			d.report(e.at, path, fmt.Sprintf("%s must be a single value, found %s", quoted(e.key), shown(e.value)), "")
		case strings.ContainsAny(e.value.text, "\n\r\x00"):
			d.report(e.value.at, path, fmt.Sprintf("the value of %s must be one line", quoted(e.key)), "")
		default:
			d.setBroker(e.key, e.value.text)
		}
	}
}

func (d *decoder) setBroker(key, value string) {
	if d.plan.Broker == nil {
		d.plan.Broker = map[string]string{}
	}
	d.plan.Broker[key] = value
}

// offerFilters switches SQL filters on in brokers of our own: they are off by default.
func (d *decoder) offerFilters() {
	const key = "enablePropertyFilter"
	for _, c := range d.plan.Consumers {
		if _, set := d.plan.Broker[key]; c.SQL != "" && !set {
			d.setBroker(key, "true")
		}
	}
}
