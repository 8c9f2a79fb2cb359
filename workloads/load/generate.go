package load

import (
	"strconv"
	"time"
	"unsafe"

	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

// Generator makes the messages of one producer group: size, content, key, tag,
// properties, and what is to become of each. It is pure: message i of the same
// plan is the same message in every run, but for its identity, which is stamped
// afterwards into the place that Fill keeps for it. It is for one goroutine, and
// allocates only while the buffers of the messages grow.
type Generator struct {
	root, fates stream
	batch       int64 // messages of one send
	count       int64 // of producers in the group
	ordered     bool  // keys choose the producer
	size        dist
	tags        []string
	tag         picker
	key         keys
	traits      []trait
	content     workloads.ContentKind
	ratio       float64 // compressible
	data        []byte  // file
	json        template
	delay       workloads.Delay
	after       dist
	transaction workloads.Transaction
	request     bool
	scratch     []byte // the key
}

// trait is a property that every message has.
type trait struct {
	name   string
	values []string
	which  picker // of values
	number dist   // when there are no values
}

// NewGenerator returns the generator of producer group g of the plan.
func NewGenerator(plan *workloads.Plan, g int) *Generator {
	p := &plan.Producers[g]
	gen := &Generator{
		root:  newStream(plan.Seed, purposeMessages, uint64(g)),
		fates: newStream(plan.Seed, purposeFates, uint64(g)),
		batch: int64(batchOf(plan, g)), count: int64(max(1, p.Count)), ordered: p.Ordered,
		size: newDist(p.Size), key: newKeys(p.Keys), content: p.Content.Kind, ratio: p.Content.Ratio, data: p.Content.Data,
		delay: p.Delay, after: newDist(p.Delay.After), transaction: p.Transaction, request: p.Request,
	}
	gen.tags, gen.tag = choice(p.Tags)
	for _, q := range p.Properties {
		t := trait{name: q.Name, number: newDist(q.Number)}
		t.values, t.which = choice(q.Values)
		gen.traits = append(gen.traits, t)
	}
	if p.Content.Kind == workloads.ContentJSON {
		gen.json = newTemplate(p.Content.Template)
	}
	return gen
}

// choice splits things and their weights.
func choice(tags []workloads.Tag) (names []string, which picker) {
	for _, t := range tags {
		names = append(names, t.Name)
		which.add(t.Weight)
	}
	which.close()
	return names, which
}

// Fill makes m the send of message index of the group or, with n > 1, of n
// messages from there on as a batch: bodies, keys, tags and properties, and what
// is to become of it. m.Intended has to be set, which a time of delivery counts
// from. Arrays of m are used again when they are large enough. Key and numbers
// among the properties lie behind the body in its array: like the body, they are
// valid until m is filled again.
func (g *Generator) Fill(m *driver.Message, index int64, n int) {
	g.fate(m, index)
	if n <= 1 {
		one := driver.Item{Body: m.Body, Properties: m.Properties}
		g.item(&one, index)
		m.Body, m.Key, m.Tag, m.Properties, m.Batch = one.Body, one.Key, one.Tag, one.Properties, m.Batch[:0]
		return
	}
	m.Body, m.Key, m.Tag, m.Properties = m.Body[:0], "", "", m.Properties[:0]
	m.Batch = growItems(m.Batch, n)
	for i := range m.Batch {
		g.item(&m.Batch[i], index+int64(i))
	}
}

// growItems returns items with length n, and with the arrays of all that it ever had.
func growItems(items []driver.Item, n int) []driver.Item {
	if cap(items) < n {
		grown := make([]driver.Item, n)
		copy(grown, items[:cap(items)])
		return grown
	}
	return items[:n]
}

// Key returns the key of message index without making the message. It is valid
// until the generator is used again.
func (g *Generator) Key(index int64) string {
	s := g.root.at(uint64(index))
	if g.key.random() { // what is drawn before it
		g.size.draw(&s)
		g.tag.pick(&s)
	}
	g.scratch = g.key.append(g.scratch[:0], &s, index)
	return text(g.scratch)
}

// Owner returns which producer of an ordered group a key belongs to.
func (g *Generator) Owner(key string) int { return int(keyHash(key) >> 32 % uint64(g.count)) }

// keyHash is the same on every machine: FNV-1a, stirred.
func keyHash(key string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	return stir(h)
}

// item makes message index.
func (g *Generator) item(it *driver.Item, index int64) {
	s := g.root.at(uint64(index))
	size := int(g.size.draw(&s))
	step := g.key.step(index)
	it.Tag = step
	if i := g.tag.pick(&s); i >= 0 {
		it.Tag = g.tags[i]
	}
	g.scratch = g.key.append(g.scratch[:0], &s, index)
	b := it.Body[:0]
	if g.content == workloads.ContentJSON {
		v := values{key: g.scratch, step: step}
		v.producer, v.sequence = g.place(index)
		b = g.json.append(b, &v, size, &s)
	} else {
		b = g.plain(b, max(size, IdentitySize), &s)
	}
	end := len(b)
	b = append(b, g.scratch...)
	it.Key = text(b[end:])
	b = g.properties(it, b, index)
	it.Body = b[:end]
}

// properties makes the properties of message index. Numbers are written behind
// what b holds; a string that an append left behind in an older array is as good.
func (g *Generator) properties(it *driver.Item, b []byte, index int64) []byte {
	it.Properties = it.Properties[:0]
	s := g.fates.at(uint64(index)).at(0)
	for i := range g.traits {
		t, value := &g.traits[i], ""
		if k := t.which.pick(&s); k >= 0 {
			value = t.values[k]
		} else {
			from := len(b)
			b = strconv.AppendInt(b, t.number.whole(&s), 10)
			value = text(b[from:])
		}
		it.Properties = append(it.Properties, driver.Property{Name: t.name, Value: value})
	}
	return b
}

// text is b as a string that shares its memory.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// place returns what a template's producer and sequence stand for: where the
// message is in the plan. Where keys choose the producer, messages are counted
// over the whole group.
func (g *Generator) place(index int64) (producer, sequence int64) {
	if g.ordered {
		return int64(g.Owner(text(g.scratch))), index
	}
	number := index / g.batch
	return number % g.count, number/g.count*g.batch + index%g.batch
}

// fate sets what is to become of the send of message index.
func (g *Generator) fate(m *driver.Message, index int64) {
	m.Request = g.request
	m.DelayLevel, m.DeliverAt = 0, time.Time{}
	m.Transaction, m.Check = driver.TxNone, driver.TxNone
	s := g.fates.at(uint64(index)).at(1)
	if g.delay.Share > 0 && s.uniform() < g.delay.Share {
		m.DelayLevel = int32(g.delay.Level)
		if g.delay.After.Kind != "" {
			after := time.Duration(g.after.draw(&s) * float64(time.Microsecond))
			m.DeliverAt = m.Intended.Add(after).Round(time.Millisecond)
		}
	}
	if g.transaction.On() {
		m.Transaction, m.Check = g.end(&s)
	}
}

// end draws how a transaction ends, and what the broker is told when it asks.
func (g *Generator) end(s *stream) (action, check driver.TxAction) {
	t := &g.transaction
	switch u := s.uniform() * (t.Commit + t.Rollback + t.Unknown); {
	case u < t.Commit:
		return driver.TxCommit, driver.TxCommit
	case u < t.Commit+t.Rollback:
		return driver.TxRollback, driver.TxRollback
	}
	if s.uniform() < t.CheckCommit {
		return driver.TxUnknown, driver.TxCommit
	}
	return driver.TxUnknown, driver.TxRollback
}

// failing reports whether a consumer group fails a message that was delivered
// attempt times before. That depends on the message alone.
func failing(f workloads.Fail, seed uint64, group int, id Identity, attempt int) bool {
	if f.Share <= 0 || f.Attempts >= 0 && attempt >= f.Attempts {
		return false
	}
	s := newStream(seed, purposeFailing, uint64(group), uint64(id.Producer), uint64(id.Sequence))
	return s.uniform() < f.Share
}
