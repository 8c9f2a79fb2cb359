package workloads

import (
	"fmt"
	"math"
	"slices"
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
	case DistEmpirical:
		sum, weights := 0., 0.
		for _, v := range d.Values {
			sum += v.Value * v.Weight
			weights += v.Weight
		}
		return sum / max(weights, math.SmallestNonzeroFloat64)
	}
	return d.A
}

// Summary returns the plan in words, for a person who wants to know what a run
// would do: phases with planned counts and rates, what happens in them, groups,
// settings of brokers, thresholds, duration, number of messages and volume.
func (p *Plan) Summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", p.Name)
	if p.Description != "" {
		fmt.Fprintf(&b, ": %s", p.Description)
	}
	b.WriteString("\n\n")
	messages, bytes, peak := p.phaseTable(&b)
	b.WriteString("\n")
	p.happenings(&b)
	p.groups(&b)
	if len(p.Thresholds) > 0 {
		b.WriteString("thresholds\n")
		for _, t := range p.Thresholds {
			fmt.Fprintf(&b, "  %s\n", t.Text)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "In all %s messages%s, about %s of bodies, %s at most; peak %s; seed %d.\n",
		formatCount(messages), p.loopsToo(), formatSize(bytes), p.Duration(), formatRate(peak), p.Seed)
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
			demands = append(demands, a.describe(len(p.Producers) > 1, phase.Duration))
		}
		messages += n
		peak = max(peak, at)
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", phase.Name, phase.length(), phase.counted(n), phase.note(demands))
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

// closed reports whether answers decide how many messages the phase has.
func (ph Phase) closed() bool {
	return slices.ContainsFunc(ph.Arrivals, func(a Arrivals) bool { return a.Process == Closed })
}

// counted writes the messages of a phase: those of closed loops are not known.
func (ph Phase) counted(n float64) string {
	switch {
	case !ph.closed():
		return formatCount(n)
	case n == 0:
		return "unknown"
	}
	return formatCount(n) + " +"
}

// loopsToo is the rest of the sentence about how many messages there are.
func (p *Plan) loopsToo() string {
	if slices.ContainsFunc(p.Phases, Phase.closed) {
		return " and those of the closed loops"
	}
	return ""
}

// describe writes a demand in a few words: "200/s → 2,000/s, poisson".
func (a Arrivals) describe(name bool, length time.Duration) string {
	var b strings.Builder
	if name {
		b.WriteString(a.Producer + " ")
	}
	switch {
	case a.Process == Closed:
		fmt.Fprintf(&b, "closed loop of %s", plural(a.Concurrency, "sender"))
		if a.Think.Kind != "" {
			b.WriteString(", think " + a.Think.describe(formatMicros))
		}
		return b.String()
	case a.Process == Trace:
		fmt.Fprintf(&b, "a recorded trace, up to %s", formatRate(a.Peak()))
		return b.String()
	case !a.few():
		fmt.Fprintf(&b, "%s to %s in %d points, mean %s", formatRate(a.least()), formatRate(a.Peak()), len(a.Rate), formatRate(a.Planned(length)/length.Seconds()))
	default:
		a.rates(&b)
	}
	if a.Process == Poisson {
		b.WriteString(", poisson")
	}
	return b.String()
}

// fewRates is how many rates of a demand are written out.
const fewRates = 6

// few reports whether the rates can be written out.
func (a Arrivals) few() bool {
	changes, last := 0, math.NaN()
	for _, r := range a.Rate {
		if r.PerSecond != last {
			changes++
		}
		last = r.PerSecond
	}
	return changes <= fewRates
}

func (a Arrivals) rates(b *strings.Builder) {
	last := math.NaN()
	for i, r := range a.Rate {
		if r.PerSecond == last {
			continue
		}
		if i > 0 {
			b.WriteString(a.arrow(i))
		}
		last = r.PerSecond
		b.WriteString(formatRate(last))
	}
}

func (a Arrivals) least() float64 {
	least := math.Inf(1)
	for _, r := range a.Rate {
		least = min(least, r.PerSecond)
	}
	return least
}

// arrow is the way from the point before: a step or a ramp.
func (a Arrivals) arrow(i int) string {
	if a.Rate[i].At == a.Rate[i-1].At {
		return " | "
	}
	return " → "
}

func (d Dist) describe(format func(float64) string) string {
	switch d.Kind {
	case DistUniform:
		return format(d.A) + " to " + format(d.B)
	case DistExponential:
		return "exponential, mean " + format(d.A)
	case DistLogNormal:
		return fmt.Sprintf("log-normal, median %s, sigma %g", format(d.A), d.B)
	case DistEmpirical:
		least, most := math.Inf(1), 0.
		for _, v := range d.Values {
			least, most = min(least, v.Value), max(most, v.Value)
		}
		return fmt.Sprintf("%s from %s to %s", plural(len(d.Values), "measured value"), format(least), format(most))
	}
	return format(d.A)
}
