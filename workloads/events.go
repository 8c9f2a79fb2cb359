package workloads

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// faultActions are what this version does to a node; laterFaults have their
// place in the language.
var (
	faultActions = []string{"restart", "kill", "freeze"}
	laterFaults  = []string{"partition", "delay", "loss", "fullDisk", "slowDisk"}
	nodeName     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	roleTarget   = regexp.MustCompile(`(?i)^(any |the |a )*(master|slave|leader|follower|namesrv|controller|proxy)\s+of\s+\S+$`)
)

// readEvents reads `members` at the start of a phase and the list `events`.
func (d *decoder) readEvents(o *object, p *Phase) {
	if n := o.value("members"); n != nil {
		if m := d.membersOf(n, o.sub("members")); m != nil {
			p.Events = append(p.Events, Event{Members: m})
		}
	}
	n := o.value("events")
	if n == nil {
		return
	}
	const hint = "for example `events: [{at: 5s, members: {fulfilment: 4}}]`"
	if n.kind != listNode {
		d.report(n.at, o.sub("events"), fmt.Sprintf("`events` must be a list, found %s", shown(n)), hint)
		return
	}
	if len(n.items) > maxThings {
		d.report(n.at, o.sub("events"), fmt.Sprintf("more than %d events", maxThings), "")
		return
	}
	for i, item := range n.items {
		if e, ok := d.event(item, fmt.Sprintf("%s.%d", o.sub("events"), i), p); ok {
			p.Events = append(p.Events, e)
		}
	}
	slices.SortStableFunc(p.Events, func(a, b Event) int { return int(min(max(a.At-b.At, -1), 1)) })
}

func (d *decoder) event(n *node, path string, p *Phase) (Event, bool) {
	o := d.object(n, path, "an event", "event")
	actions := without(keysOf("event"), "at")
	e := Event{At: d.inPhase(o, "at")}
	if p.Duration > 0 && e.At > p.Duration {
		d.report(o.fields["at"].at, o.sub("at"), fmt.Sprintf("%s is after the end of the phase (%s)", quoted(o.fields["at"].text), d.unscaled(p.Duration)), "")
	}
	action := o.only(actions...)
	if action == "" {
		if !d.torn && !o.doubt {
			d.report(o.at, path, "the event does nothing", oneOf(actions))
		}
		return e, false
	}
	v := o.value(action)
	if v == nil {
		return e, false
	}
	switch path := o.sub(action); action {
	case "members":
		e.Members = d.membersOf(v, path)
		return e, e.Members != nil
	case "rewind":
		e.Rewind = d.rewind(v, path, p)
	case "pause":
		e.Pause = d.pause(v, path)
	case "fault":
		e.Fault = d.fault(v, path)
	}
	return e, e.Rewind != nil || e.Pause != nil || e.Fault != nil
}

// membersOf reads `{fulfilment: 4}`; nil without a group.
func (d *decoder) membersOf(n *node, path string) map[string]int {
	const hint = "for example `members: {fulfilment: 4}`"
	if n.kind != mapNode || len(n.entries) == 0 {
		d.report(n.at, path, fmt.Sprintf("`members` must be a mapping from consumer groups to numbers, found %s", shown(n)), hint)
		return nil
	}
	o := &object{d: d, path: path, what: "`members`", at: n.at, fields: map[string]*node{}, places: map[string]span{}}
	all := map[string]int{}
	for _, e := range n.entries {
		group := d.consumerAt(e.key, e.at, o.sub(e.key))
		if group == nil {
			continue
		}
		o.fields[e.key], o.places[e.key] = e.value, e.at
		if group.Broadcast {
			o.refuse(e.key, fmt.Sprintf("consumer group %s is broadcast: its members keep their places themselves, and stay as many as they are", quoted(e.key)), "say its `members` in the group alone")
			continue
		}
		all[e.key] = o.integer(e.key, 1, 0, maxInstances)
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// consumerAt finds a consumer group; one that is not there is reported.
func (d *decoder) consumerAt(name string, at span, path string) *Consumer {
	if i := slices.IndexFunc(d.plan.Consumers, func(c Consumer) bool { return c.Name == name }); i >= 0 {
		return &d.plan.Consumers[i]
	}
	if d.torn {
		return nil
	}
	hint := didYouMean(name, d.consumerNames())
	if len(d.plan.Consumers) == 0 {
		hint = "there is none at all; add `consumers`"
	}
	d.report(at, path, fmt.Sprintf("there is no consumer group %s", quoted(name)), hint)
	return nil
}

func (d *decoder) consumerNames() []string {
	names := make([]string, len(d.plan.Consumers))
	for i, c := range d.plan.Consumers {
		names[i] = c.Name
	}
	return names
}

// group reads the consumer group of an event.
func (d *decoder) group(o *object, hint string) *Consumer {
	if o.required("group", hint) == nil {
		return nil
	}
	name, n := o.text("group")
	if n == nil {
		return nil
	}
	return d.consumerAt(name, n.at, o.sub("group"))
}

func (d *decoder) rewind(n *node, path string, p *Phase) *Rewind {
	const hint = "for example `rewind: {group: analytics, to: first}` or `rewind: {group: analytics, back: 30s}`"
	o := d.object(n, path, "`rewind`", "rewind")
	group := d.group(o, hint)
	place := o.only(without(keysOf("rewind"), "group")...)
	if place == "" && !d.torn && !o.doubt {
		d.report(o.at, path, "`rewind` says no place", "one of `to`, `offset`, `back` and `phase`; "+hint)
	}
	if group == nil || place == "" || o.value(place) == nil {
		return nil
	}
	if group.Broadcast {
		o.refuse("group", fmt.Sprintf("consumer group %s is broadcast: its members keep their places themselves", quoted(group.Name)), "only a group that shares its messages can be rewound")
		return nil
	}
	r := &Rewind{Group: group.Name}
	switch place {
	case "to":
		to := o.word("to", "first", choices("rewind", "to")...)
		r.First, r.Last = to == "first", to == "last"
	case "offset":
		offset := int64(o.integer("offset", 0, 0, 1<<53))
		r.Offset = &offset
	case "back":
		r.Back = d.scaled(o.duration("back", time.Second, time.Millisecond, maxPhase))
	case "phase":
		r.Phase = d.phaseBefore(o, p)
	}
	return r
}

// phaseBefore reads the name of a phase that has begun.
func (d *decoder) phaseBefore(o *object, p *Phase) string {
	name, n := o.text("phase")
	if n == nil {
		return ""
	}
	begun := []string{p.Name}
	for _, q := range d.plan.Phases {
		begun = append(begun, q.Name)
	}
	if !slices.Contains(begun, name) && !d.torn {
		d.report(n.at, o.sub("phase"), fmt.Sprintf("no phase %s has begun then", quoted(name)), didYouMean(name, begun))
	}
	return name
}

func (d *decoder) pause(n *node, path string) *Pause {
	const hint = "for example `pause: {group: fulfilment, for: 5s}`"
	o := d.object(n, path, "`pause`", "pauseEvent")
	group, lasts := d.group(o, hint), o.required("for", hint)
	if group == nil || lasts == nil {
		return nil
	}
	return &Pause{Group: group.Name, For: o.duration("for", time.Second, time.Millisecond, maxPhase)}
}

func (d *decoder) fault(n *node, path string) *Fault {
	const hint = "for example `fault: {restart: broker-a, for: 1s}`"
	o := d.object(n, path, "`fault`", "fault")
	for _, action := range laterFaults {
		if o.has(action) {
			o.refuse(action, fmt.Sprintf("the fault %s is not offered by this version", quoted(action)), oneOf(faultActions))
			return nil
		}
	}
	action := o.only(faultActions...)
	if action == "" {
		if !d.torn && !o.doubt {
			d.report(o.at, path, "`fault` says nothing to do", hint)
		}
		return nil
	}
	target, t := o.text(action)
	if t == nil {
		return nil
	}
	switch target = strings.TrimSpace(target); {
	case roleTarget.MatchString(target):
		d.report(t.at, o.sub(action), fmt.Sprintf("a node by its role, %s, is not offered by this version", quoted(target)), "name the node, for example `broker-a`")
	case !nodeName.MatchString(target):
		d.report(t.at, o.sub(action), fmt.Sprintf("a node cannot be called %s", quoted(target)), hint)
	}
	if action == "freeze" && o.required("for", "for example `fault: {freeze: broker-a, for: 1s}`") == nil {
		return nil
	}
	return &Fault{Action: action, Target: target, For: o.duration("for", 0, 0, maxPhase)}
}
