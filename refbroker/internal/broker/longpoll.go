package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"rmqbench/refbroker/internal/store"
)

// holds are the pull requests that wait for messages.
//
// A request is in queues until one of these takes it out and has it run again:
// a message that its filter wants arrives; its time is over; or, looked at
// every recheck, its queue has messages that it does not know of. Whoever takes
// it out runs it, so it runs once.
type holds struct {
	store interface{ MaxOffset(string, int32) int64 }
	cfg   func() *Config

	count  atomic.Int64 // requests held, so that arrivals without any cost nothing
	mu     sync.Mutex
	queues map[holdKey][]*pullCall
	next   int64 // earliest deadline, ns since 1970
	closed bool
	alarm  chan struct{}

	ready wakeList
}

type holdKey struct {
	topic string
	queue int32
}

const (
	holdRecheck = 5 * time.Second
	holdTick    = 20 * time.Millisecond // deadlines are met this late at most
	wakeWorkers = 8
)

func newHolds(s *store.Store, cfg func() *Config) *holds {
	return &holds{store: s, cfg: cfg, queues: map[holdKey][]*pullCall{}, alarm: make(chan struct{}, 1)}
}

// hold keeps a request until there is something for it. The request may be
// answered before hold returns.
func (w *holds) hold(c *pullCall) {
	wait := time.Duration(c.h.SuspendTimeoutMillis) * time.Millisecond
	if cfg := w.cfg(); !cfg.LongPollingEnable {
		wait = time.Duration(cfg.ShortPollingTimeMills) * time.Millisecond
	}
	wait = min(max(wait, 0), time.Hour)
	key := holdKey{c.key.topic, c.h.QueueID}
	offset := c.h.QueueOffset
	deadline := time.Now().Add(wait).UnixNano()
	c.deadline = deadline

	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		w.ready.add(c)
		return
	}
	w.count.Add(1)
	w.queues[key] = append(w.queues[key], c)
	early := w.next == 0 || deadline < w.next
	if early {
		w.next = deadline
	}
	w.mu.Unlock()
	if early {
		ring(w.alarm)
	}
	// A message that came between the search and now woke nobody.
	if w.store.MaxOffset(key.topic, key.queue) > offset && w.take(key, c) {
		w.ready.add(c)
	}
}

func ring(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take takes one request out, unless somebody else did.
func (w *holds) take(key holdKey, c *pullCall) bool {
	taken := w.takeIf(key, func(other *pullCall) bool { return other == c })
	return len(taken) > 0
}

// takeIf takes those requests of a queue out that match.
func (w *holds) takeIf(key holdKey, match func(*pullCall) bool) []*pullCall {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.takeLocked(key, match)
}

func (w *holds) takeLocked(key holdKey, match func(*pullCall) bool) []*pullCall {
	waiting := w.queues[key]
	var taken []*pullCall
	kept := waiting[:0]
	for _, c := range waiting {
		if match(c) {
			taken = append(taken, c)
		} else {
			kept = append(kept, c)
		}
	}
	clear(waiting[len(kept):])
	switch {
	case len(taken) == 0:
	case len(kept) == 0:
		delete(w.queues, key)
	default:
		w.queues[key] = kept
	}
	w.count.Add(-int64(len(taken)))
	return taken
}

// arrived wakes the requests that want a message. It is called by the
// dispatch of the store and only hands them on.
func (w *holds) arrived(a store.Arrival) {
	if w.count.Load() == 0 {
		return
	}
	w.ready.add(w.takeIf(holdKey{a.Topic, a.Queue}, func(c *pullCall) bool {
		return a.Offset > c.h.QueueOffset && c.wants(&a)
	})...)
}

// wakeGroup runs the requests of a group on a queue again: its offset was reset.
func (w *holds) wakeGroup(key holdKey, group string) {
	w.ready.add(w.takeIf(key, func(c *pullCall) bool { return c.key.group == group })...)
}

// watch meets the deadlines until stop is closed.
func (w *holds) watch(stop <-chan struct{}) {
	timer := time.NewTimer(holdRecheck)
	defer timer.Stop()
	recheck := time.Now().Add(holdRecheck)
	for {
		select {
		case <-stop:
			return
		case <-w.alarm:
		case <-timer.C:
		}
		now := time.Now()
		full := !now.Before(recheck)
		if full {
			recheck = now.Add(holdRecheck)
		}
		wait := min(max(w.expire(now, full), holdTick), time.Until(recheck))
		timer.Reset(max(wait, 0))
	}
}

// expire wakes the requests whose time is over, with newer also those whose
// queue has more than they know. It returns the time to the next deadline.
func (w *holds) expire(now time.Time, newer bool) time.Duration {
	limits := map[holdKey]int64{}
	if newer {
		limits = w.limits()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !newer && w.next > now.UnixNano() {
		return time.Duration(w.next - now.UnixNano())
	}
	w.next = now.Add(holdRecheck).UnixNano()
	for key := range w.queues {
		limit := limits[key]
		w.ready.add(w.takeLocked(key, func(c *pullCall) bool {
			if c.deadline <= now.UnixNano() || limit > c.h.QueueOffset {
				return true
			}
			w.next = min(w.next, c.deadline)
			return false
		})...)
	}
	return time.Duration(w.next - now.UnixNano())
}

// limits returns the end of every queue that is waited for. The store is asked
// without the lock, because it calls arrived.
func (w *holds) limits() map[holdKey]int64 {
	w.mu.Lock()
	limits := make(map[holdKey]int64, len(w.queues))
	for key := range w.queues {
		limits[key] = 0
	}
	w.mu.Unlock()
	for key := range limits {
		limits[key] = w.store.MaxOffset(key.topic, key.queue)
	}
	return limits
}

// close answers all requests that wait and lets none wait any more.
func (w *holds) close() {
	w.mu.Lock()
	w.closed = true
	for key := range w.queues {
		w.ready.add(w.takeLocked(key, func(*pullCall) bool { return true })...)
	}
	w.mu.Unlock()
	w.ready.wait()
}

// wakeList runs woken requests on a few goroutines, which exist only while
// there are some.
type wakeList struct {
	mu      sync.Mutex
	calls   []*pullCall
	running int
	idle    chan struct{} // closed when nothing runs any more; nil: nobody waits
}

func (l *wakeList) add(calls ...*pullCall) {
	if len(calls) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, calls...)
	for range min(len(calls), wakeWorkers-l.running) {
		l.running++
		go l.work()
	}
}

// wait returns once nothing runs. Requests may be added meanwhile, also after
// it: clients pull again as soon as they are answered.
func (l *wakeList) wait() {
	l.mu.Lock()
	if l.running == 0 {
		l.mu.Unlock()
		return
	}
	if l.idle == nil {
		l.idle = make(chan struct{})
	}
	idle := l.idle
	l.mu.Unlock()
	<-idle
}

func (l *wakeList) work() {
	for {
		l.mu.Lock()
		if len(l.calls) == 0 {
			if l.running--; l.running == 0 && l.idle != nil {
				close(l.idle)
				l.idle = nil
			}
			l.mu.Unlock()
			return
		}
		c := l.calls[0]
		l.calls[0] = nil
		l.calls = l.calls[1:]
		l.mu.Unlock()
		c.woken = true
		c.run()
	}
}
