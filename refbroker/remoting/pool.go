package remoting

import (
	"fmt"
	"sync"
	"time"

	"rmqbench/refbroker/protocol"
)

// Pool runs handlers on a bounded number of goroutines, behind a bounded
// queue. Goroutines exist only while there is work; a Pool needs no closing.
type Pool struct {
	name    string
	workers int
	maxWait time.Duration

	mu      sync.Mutex
	ring    []*Request // grows up to limit
	limit   int
	head    int
	count   int
	running int
	cleaner *time.Timer // armed while requests wait and maxWait is set
	armed   bool
}

// NewPool makes a pool of as many goroutines as workers, with room for queue
// waiting requests.
func NewPool(name string, workers, queue int) *Pool {
	return &Pool{name: name, workers: max(workers, 1), limit: max(queue, 1)}
}

// MaxWait sets how long a request may wait before it is answered SYSTEM_BUSY
// instead of being run; 0 for no limit. It returns p, and is to be called before
// the pool is used.
func (p *Pool) MaxWait(d time.Duration) *Pool {
	p.maxWait = d
	return p
}

// Name returns the name given to NewPool.
func (p *Pool) Name() string { return p.name }

// Len returns how many requests wait.
func (p *Pool) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// Cap returns how many requests may wait.
func (p *Pool) Cap() int { return p.limit }

// HeadWait returns how long the oldest waiting request has been waiting.
func (p *Pool) HeadWait() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count == 0 {
		return 0
	}
	return p.headAge(time.Now().UnixNano())
}

func (p *Pool) headAge(now int64) time.Duration {
	return max(0, time.Duration(now-p.ring[p.head].queued))
}

// put queues r; it reports false when the queue is full.
func (p *Pool) put(r *Request) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count == p.limit {
		return false
	}
	if p.count == len(p.ring) {
		p.grow()
	}
	p.ring[(p.head+p.count)%len(p.ring)] = r
	p.count++
	if p.running < p.workers {
		p.running++
		go p.work()
	} else {
		p.arm()
	}
	return true
}

func (p *Pool) grow() {
	ring := make([]*Request, min(max(16, 2*len(p.ring)), p.limit))
	for i := range p.count {
		ring[i] = p.ring[(p.head+i)%len(p.ring)]
	}
	p.ring, p.head = ring, 0
}

// take removes the oldest request, nil when there is none.
func (p *Pool) take() *Request {
	if p.count == 0 {
		return nil
	}
	r := p.ring[p.head]
	p.ring[p.head] = nil
	p.head = (p.head + 1) % len(p.ring)
	p.count--
	return r
}

func (p *Pool) work() {
	for {
		p.mu.Lock()
		r := p.take()
		if r == nil {
			p.running--
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		r.run()
	}
}

// arm starts the clock of the oldest request, p.mu held.
func (p *Pool) arm() {
	if p.maxWait <= 0 || p.armed || p.count == 0 {
		return
	}
	p.armed = true
	wait := max(time.Millisecond, p.maxWait-p.headAge(time.Now().UnixNano()))
	if p.cleaner == nil {
		p.cleaner = time.AfterFunc(wait, p.clean)
		return
	}
	p.cleaner.Reset(wait)
}

// clean refuses the requests that have waited too long.
func (p *Pool) clean() {
	for {
		p.mu.Lock()
		if p.count == 0 || p.headAge(time.Now().UnixNano()) < p.maxWait {
			p.armed = false
			p.arm()
			p.mu.Unlock()
			return
		}
		age, waiting := p.headAge(time.Now().UnixNano()), p.count
		r := p.take()
		p.mu.Unlock()
		r.Error(protocol.RespSystemBusy, fmt.Sprintf(remarkCleanQueue, age.Milliseconds(), waiting))
	}
}
