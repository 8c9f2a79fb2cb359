package workloads

import (
	"fmt"
	"math"
	"strings"
	"text/tabwriter"
	"time"
)

// Duration returns how long the phases take, a drain phase at its longest.
func (p *Plan) Duration() time.Duration {
	var total time.Duration
	for _, phase := range p.Phases {
		total += phase.Duration
	}
	return total
}

// Mean returns the mean of d, in its own unit. Cutting at Min and Max is not
// taken into account.
func (d Dist) Mean() float64 {
	switch d.Kind {
	case DistUniform:
		return (d.A + d.B) / 2
	case DistLogNormal:
		return d.A * math.Exp(d.B*d.B/2)
	}
	return d.A
}

// Summary returns the plan in words, for a person who wants to know what a run
// would do: phases with planned counts and rates, groups, thresholds, duration,
// number of messages and volume.
func (p *Plan) Summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", p.Name)
	if p.Description != "" {
		fmt.Fprintf(&b, ": %s", p.Description)
	}
	b.WriteString("\n\n")
	messages, bytes, peak := p.phaseTable(&b)
	b.WriteString("\n")
	p.groups(&b)
	if len(p.Thresholds) > 0 {
		b.WriteString("thresholds\n")
		for _, t := range p.Thresholds {
			fmt.Fprintf(&b, "  %s\n", t.Text)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "In all %s messages, about %s of bodies, %s at most; peak %s; seed %d.\n",
		formatCount(messages), formatSize(bytes), p.Duration(), formatRate(peak), p.Seed)
	fmt.Fprintf(&b, "The run is invalid when the generator is later than %s (p99) or drops more than %g%% of the messages.\n",
		p.Limits.LatenessP99, p.Limits.DropShare*100)
	return b.String()
}

// phaseTable writes one line a phase and returns the totals.
func (p *Plan) phaseTable(b *strings.Builder) (messages, bytes, peak float64) {
	size := map[string]float64{}
	for _, producer := range p.Producers {
		size[producer.Name] = producer.Size.Mean()
	}
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "phase\tduration\tmessages\tarrivals")
	for _, phase := range p.Phases {
		n, at := 0., 0.
		var demands []string
		for _, a := range phase.Arrivals {
			planned := a.Planned(phase.Duration)
			n += planned
			at += a.Peak()
			bytes += planned * size[a.Producer]
			demands = append(demands, a.describe(len(p.Producers) > 1))
		}
		messages += n
		peak = max(peak, at)
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", phase.Name, phase.length(), formatCount(n), phase.note(demands))
	}
	_ = w.Flush() // into memory
	return messages, bytes, peak
}

func (ph Phase) length() string {
	if ph.Drain {
		return "≤ " + ph.Duration.String()
	}
	return ph.Duration.String()
}

func (ph Phase) note(demands []string) string {
	switch {
	case ph.Drain:
		return "none: waits until the consumers have caught up"
	case len(demands) == 0:
		return "none"
	case ph.Warmup:
		return strings.Join(demands, ", ") + " (warm-up, not judged)"
	}
	return strings.Join(demands, ", ")
}

// describe writes a demand in a few words: "200/s → 2,000/s, poisson".
func (a Arrivals) describe(name bool) string {
	var b strings.Builder
	if name {
		b.WriteString(a.Producer + " ")
	}
	const most = 6
	last := math.NaN()
	for i, shown := 0, 0; i < len(a.Rate); i++ {
		if a.Rate[i].PerSecond == last {
			continue
		}
		if shown == most {
			b.WriteString(" …")
			break
		}
		if shown > 0 {
			b.WriteString(a.arrow(i))
		}
		last = a.Rate[i].PerSecond
		b.WriteString(formatRate(last))
		shown++
	}
	if a.Process == Poisson {
		b.WriteString(", poisson")
	}
	return b.String()
}

// arrow is the way from the point before: a step or a ramp.
func (a Arrivals) arrow(i int) string {
	if a.Rate[i].At == a.Rate[i-1].At {
		return " | "
	}
	return " → "
}

func (p *Plan) groups(b *strings.Builder) {
	queues := map[string]int{}
	for _, t := range p.Topics {
		queues[t.Name] = t.Queues
	}
	for _, g := range p.Producers {
		fmt.Fprintf(b, "producer group %s: %s to %s (%s), %s", g.Name, plural(g.Count, "connection"), g.Topic, plural(queues[g.Topic], "queue"), g.Size.describe(formatSize))
		fmt.Fprintf(b, " of %s", g.Content.Kind)
		if g.Keys.Kind != KeyNone {
			fmt.Fprintf(b, ", %s keys", g.Keys.Kind)
		}
		if len(g.Tags) > 0 {
			fmt.Fprintf(b, ", %s", plural(len(g.Tags), "tag"))
		}
		b.WriteString("\n")
	}
	for _, c := range p.Consumers {
		fmt.Fprintf(b, "consumer group %s: %s of %s, tags %s, processing %s\n", c.Name, plural(c.Members, "member"), c.Topic, c.Tags, c.Processing.describe(formatMicros))
	}
	b.WriteString("\n")
}

func (d Dist) describe(format func(float64) string) string {
	switch d.Kind {
	case DistUniform:
		return format(d.A) + " to " + format(d.B)
	case DistExponential:
		return "exponential, mean " + format(d.A)
	case DistLogNormal:
		return fmt.Sprintf("log-normal, median %s, sigma %g", format(d.A), d.B)
	}
	return format(d.A)
}
