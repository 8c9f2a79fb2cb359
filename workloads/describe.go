package workloads

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// groups describes settings, producer groups and consumer groups, one a line.
func (p *Plan) groups(b *strings.Builder) {
	if len(p.Broker) > 0 {
		var all []string
		for _, key := range slices.Sorted(maps.Keys(p.Broker)) {
			all = append(all, key+"="+printable(p.Broker[key]))
		}
		fmt.Fprintf(b, "brokers of the run's own: %s\n", strings.Join(all, ", "))
	}
	queues := map[string]int{}
	for _, t := range p.Topics {
		queues[t.Name] = t.Queues
	}
	for _, g := range p.Producers {
		fmt.Fprintf(b, "producer group %s: %s to %s (%s), %s\n", g.Name, plural(g.Count, "connection"), g.Topic, plural(queues[g.Topic], "queue"), strings.Join(g.traits(), ", "))
	}
	for _, c := range p.Consumers {
		fmt.Fprintf(b, "consumer group %s: %s of %s, %s\n", c.Name, plural(c.Members, "member"), c.Topic, strings.Join(c.traits(), ", "))
	}
	b.WriteString("\n")
}

// traits says what the messages of a group are like.
func (g *Producer) traits() []string {
	all := []string{g.Size.describe(formatSize) + " of " + g.Content.describe()}
	add := func(there bool, format string, args ...any) {
		if there {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	switch g.Keys.Kind {
	case KeyNone:
	case KeyFlow:
		add(true, "keys that go through %s, %s at a time", strings.Join(g.Keys.Steps, " → "), formatCount(float64(g.Keys.Open)))
	default:
		add(true, "%s keys", g.Keys.Kind)
	}
	add(g.Ordered, "in order of their keys")
	add(len(g.Tags) > 0, "%s", plural(len(g.Tags), "tag"))
	for _, q := range g.Properties {
		add(true, "property %s", q.describe())
	}
	add(g.Batch > 1, "batches of %d", g.Batch)
	add(g.Delay.Level > 0 || g.Delay.After.Kind != "", "%s", g.Delay.describe())
	add(g.Transaction.On(), "%s", g.Transaction.describe())
	add(g.Request, "each asks for a reply")
	return all
}

func (c *Content) describe() string {
	if c.Kind == ContentFile {
		return "file " + printable(c.Path)
	}
	return string(c.Kind)
}

func (q *Property) describe() string {
	if q.Number.Kind != "" {
		return q.Name + " " + q.Number.describe(numbers.format)
	}
	if len(q.Values) == 1 {
		return q.Name + " " + printable(q.Values[0].Name)
	}
	return fmt.Sprintf("%s of %d values", q.Name, len(q.Values))
}

func (d Delay) describe() string {
	text := fmt.Sprintf("delayed by level %d", d.Level)
	if d.Level == 0 {
		text = "delayed by " + d.After.describe(formatMicros)
	}
	if d.Share < 1 {
		text = percent(d.Share) + " of them " + text
	}
	return text
}

func (t Transaction) describe() string {
	var all []string
	for _, o := range []struct {
		share float64
		what  string
	}{{t.Commit, "committed"}, {t.Rollback, "rolled back"}, {t.Unknown, "left open"}} {
		if o.share > 0 {
			all = append(all, percent(o.share)+" "+o.what)
		}
	}
	text := "in transactions: " + strings.Join(all, ", ")
	if t.Unknown > 0 {
		text += fmt.Sprintf(" (%s of these committed when asked)", percent(t.CheckCommit))
	}
	return text
}

func percent(share float64) string { return fmt.Sprintf("%.4g%%", share*100) }

// traits says how a group consumes: what is not as usual only.
func (c *Consumer) traits() []string {
	all := []string{"tags " + c.Tags}
	if c.SQL != "" {
		all[0] = "messages where " + printable(c.SQL)
	}
	all = append(all, "processing "+c.Processing.describe(formatMicros))
	add := func(there bool, format string, args ...any) {
		if there {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	add(c.Mode != Push, "mode %s", c.Mode)
	add(c.Mode == Pop, "held for %s", c.Invisible)
	add(c.Broadcast, "each member gets all")
	add(c.FromLast, "from the last message on")
	add(c.PullBatch != defaultPullBatch, "%d at a time", c.PullBatch)
	add(c.Fail.Share > 0, "%s", c.Fail.describe())
	add(c.MaxReconsume != defaultReconsume, "dead after %s", retries(c.MaxReconsume))
	add(c.Pause.Period > 0, "all pause for %s every %s", c.Pause.For, c.Pause.Period)
	add(c.Slow.Members > 0, "%s %g times as slow", plural(c.Slow.Members, "member"), c.Slow.Factor)
	add(c.Churn.Period > 0, "one member away for %s every %s", c.Churn.For, c.Churn.Period)
	add(c.Reply.Kind != "", "replies with %s", c.Reply.describe(formatSize))
	return all
}

func (f Fail) describe() string {
	switch f.Attempts {
	case -1:
		return "fails " + percent(f.Share) + " for good"
	case 1:
		return "fails " + percent(f.Share) + " once"
	}
	return fmt.Sprintf("fails %s, %d times each", percent(f.Share), f.Attempts)
}

// happenings lists the events of the phases.
func (p *Plan) happenings(b *strings.Builder) {
	before := b.Len()
	for _, ph := range p.Phases {
		for _, e := range ph.Events {
			when := "at the start of " + ph.Name
			if e.At > 0 {
				when = fmt.Sprintf("%s into %s", e.At, ph.Name)
			}
			fmt.Fprintf(b, "%s: %s\n", when, e.describe())
		}
	}
	if b.Len() > before {
		b.WriteString("\n")
	}
}

func (e Event) describe() string {
	switch {
	case e.Rewind != nil:
		return "consumer group " + e.Rewind.Group + " is set " + e.Rewind.place()
	case e.Pause != nil:
		return fmt.Sprintf("consumer group %s pauses for %s", e.Pause.Group, e.Pause.For)
	case e.Fault != nil:
		return e.Fault.describe()
	}
	var all []string
	for _, group := range slices.Sorted(maps.Keys(e.Members)) {
		all = append(all, fmt.Sprintf("consumer group %s has %s", group, plural(e.Members[group], "member")))
	}
	return strings.Join(all, ", ")
}

func (r *Rewind) place() string {
	switch {
	case r.First:
		return "to the first message"
	case r.Last:
		return "behind the last message"
	case r.Offset != nil:
		return fmt.Sprintf("to offset %d of each queue", *r.Offset)
	case r.Phase != "":
		return "to the start of " + r.Phase
	}
	return "to where it was " + r.Back.String() + " before"
}

func (f *Fault) describe() string {
	switch f.Action {
	case "freeze":
		return fmt.Sprintf("%s stands still for %s", f.Target, f.For)
	case "kill":
		return fmt.Sprintf("%s is killed, and started again after %s", f.Target, f.For)
	}
	return fmt.Sprintf("%s is stopped, and started again after %s", f.Target, f.For)
}

func retries(n int) string {
	if n == 1 {
		return "1 retry"
	}
	return fmt.Sprintf("%d retries", n)
}
