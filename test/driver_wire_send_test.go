package test

import (
	"fmt"
	"slices"
	"time"

	"rmqbench/workloads/driver"
)

func init() {
	wireFeatures["batches"] = (*wireTarget).batches
	wireFeatures["delay levels"] = (*wireTarget).delayLevels
	wireFeatures["timers"] = (*wireTarget).timers
	wireFeatures["transactions"] = (*wireTarget).transactions
	wireFeatures["requests"] = (*wireTarget).requests
	wireFeatures["requests without reply"] = (*wireTarget).requestsWithoutReply
	wireFeatures["refusals"] = (*wireTarget).refusals
}

// batches: every message of a batch has its own tag, key and properties, of
// which a filter sees the last two.
func (w *wireTarget) batches() {
	topic, group := w.setUp(1, driver.GroupConfig{})
	p, box := w.producer(topic, nil), &wireInbox{}
	w.consumer(topic, group, box, func(c *driver.ConsumerConfig) { c.SQL = "size > 1 AND colour = 'red'" })
	m := &driver.Message{Topic: topic, Queue: -1}
	for i := range 4 {
		colour := []string{"red", "blue"}[i/3]
		m.Batch = append(m.Batch, driver.Item{Tag: fmt.Sprint("t", i), Key: fmt.Sprint("k", i), Body: []byte(fmt.Sprint("m", i)),
			Properties: []driver.Property{{Name: "size", Value: fmt.Sprint(i)}, {Name: "colour", Value: colour}}})
	}
	if s := p.send(m); s.Offset != 0 {
		w.Errorf("first offset %d", s.Offset)
	}
	if s := p.send(&driver.Message{Topic: topic, Queue: -1, Batch: m.Batch[2:3]}); s.Offset != 4 {
		w.Errorf("offset behind the batch %d", s.Offset)
	}
	w.until("the one that matches, twice", func() bool { return box.len() == 2 })
	if r := box.get(0); r.Tag != "t2" || r.Key != "k2" || string(r.Body) != "m2" || r.Offset != 2 || r.Topic != topic {
		w.Errorf("received %+v", r)
	}
}

// delayLevels: a message of level 2 comes after the time of that level.
func (w *wireTarget) delayLevels() {
	topic, group := w.setUp(1, driver.GroupConfig{})
	p, box := w.producer(topic, nil), &wireInbox{}
	w.consumer(topic, group, box, nil)
	s := p.send(&driver.Message{Topic: topic, Body: []byte("late"), Queue: -1, DelayLevel: 2})
	w.until("the message comes", func() bool { return box.len() == 1 })
	r := box.get(0)
	if waited := r.Stored.Sub(s.Called); s.Offset != -1 || r.Topic != topic || waited < 2*time.Second-time.Millisecond {
		w.Errorf("sent %+v, received %+v after %s", s.Result, r, waited)
	}
}

// timers: a message comes at the time that it says, give or take the timer's step.
func (w *wireTarget) timers() {
	topic, group := w.setUp(1, driver.GroupConfig{})
	p, box := w.producer(topic, nil), &wireInbox{}
	w.consumer(topic, group, box, nil)
	at := time.Now().Add(3 * time.Second)
	p.send(&driver.Message{Topic: topic, Body: []byte("late"), Queue: -1, DeliverAt: at})
	w.until("the message comes", func() bool { return box.len() == 1 })
	if off := box.get(0).Stored.Sub(at); off < -200*time.Millisecond {
		w.Errorf("stored %s early", -off)
	} else {
		w.Logf("stored %s after its time", off)
	}
}

// transactions: what is committed comes, at once or when the broker asks, what
// is rolled back does not. The broker's question is answered by whoever of the
// group is there.
func (w *wireTarget) transactions() {
	topic, group := w.setUp(1, driver.GroupConfig{})
	box := &wireInbox{}
	w.consumer(topic, group, box, nil)
	first := w.producer(topic, func(c *driver.ProducerConfig) { c.Transaction, c.Instance = true, w.name("first") })
	for _, tx := range []struct {
		body      string
		do, check driver.TxAction
	}{
		{"committed", driver.TxCommit, driver.TxRollback}, {"rolled back", driver.TxRollback, driver.TxCommit},
		{"committed later", driver.TxUnknown, driver.TxCommit}, {"rolled back later", driver.TxUnknown, driver.TxRollback},
	} {
		s := first.send(&driver.Message{Topic: topic, Body: []byte(tx.body), Queue: -1, Transaction: tx.do, Check: tx.check})
		if s.Offset != -1 {
			w.Errorf("%s: a half message has no offset in the topic, yet %+v", tx.body, s.Result)
		}
	}
	w.close(first.Producer) // before the broker asks
	second := w.producer(topic, func(c *driver.ProducerConfig) { c.Transaction, c.Instance = true, w.name("second") })
	w.until("both that are committed", func() bool { return box.len() >= 2 })
	second.send(&driver.Message{Topic: topic, Body: []byte("last"), Queue: -1, Transaction: driver.TxUnknown, Check: driver.TxCommit})
	w.until("the last one, asked for after the others", func() bool { return box.len() >= 3 })
	if got := box.bodies(); !slices.Equal(got, []string{"committed", "committed later", "last"}) {
		w.Errorf("received %q", got)
	}
}

// requests: a request ends when its reply is there.
func (w *wireTarget) requests() {
	topic, group := w.setUp(2, driver.GroupConfig{})
	box := &wireInbox{}
	w.consumer(topic, group, box, func(c *driver.ConsumerConfig) {
		c.Threads, c.Reply = 4, func(r *driver.Received) []byte { return append([]byte("re: "), r.Body...) }
	})
	p := w.producer(topic, func(c *driver.ProducerConfig) { c.Request = true })
	for i := range 20 {
		p.Send(&driver.Message{Topic: topic, Body: []byte(fmt.Sprint("m", i)), Queue: -1, Request: true, Called: time.Now()})
	}
	for range 20 {
		if s := p.finish(); s.Outcome != driver.Acked || s.Offset < 0 {
			w.Errorf("request %q: %+v", s.Body, s.Result)
		}
	}
	if n := box.len(); n != 20 {
		w.Errorf("%d requests were handled", n)
	}
	p.send(&driver.Message{Topic: topic, Body: []byte("no request"), Queue: -1})
}

// requestsWithoutReply: nobody is there.
func (w *wireTarget) requestsWithoutReply() {
	topic, _ := w.setUp(1, driver.GroupConfig{})
	p := w.producer(topic, func(c *driver.ProducerConfig) { c.Request, c.Timeout = true, time.Second })
	began := time.Now()
	p.Send(&driver.Message{Topic: topic, Body: []byte("hello?"), Queue: -1, Request: true, Called: began})
	if s := p.finish(); s.Outcome != driver.NoReply || s.Offset != 0 || s.at.Sub(began) < time.Second {
		w.Errorf("after %s: %+v", s.at.Sub(began), s.Result)
	}
}

// refusals: the broker's no is the outcome, of a request too.
func (w *wireTarget) refusals() {
	topic, _ := w.setUp(1, driver.GroupConfig{})
	p := w.producer(topic, func(c *driver.ProducerConfig) { c.Request = true })
	far := time.Now().Add(30 * 24 * time.Hour)
	for _, m := range []*driver.Message{
		{Topic: topic, Body: []byte("x"), DeliverAt: far}, {Topic: topic, Body: []byte("x"), DeliverAt: far, Request: true},
	} {
		m.Queue, m.Called = -1, time.Now()
		p.Send(m)
		if s := p.finish(); s.Outcome != driver.Rejected || s.Code != 13 {
			w.Errorf("a timer that is too far away: %+v", s.Result)
		}
	}
}
