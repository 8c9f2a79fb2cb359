package load

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/results"
	"rmqbench/workloads/driver"
)

const (
	fleetShards    = 4
	fleetProducers = 8 // two of each shard
	fleetQueues    = 8
)

// fleet is one run made by several generators, each with its ledger, and beside
// them one ledger that sees it all.
type fleet struct {
	t      *testing.T
	rnd    *rand.Rand
	shards []*ledger
	all    *ledger
	now    time.Time

	next  [fleetProducers]int64
	ends  [fleetQueues]int64
	log   [fleetQueues][]*driver.Received // what is stored in each queue
	retry int64                           // places used in the retry topic
	moved int                             // by how much the queues moved from member to member
}

func newFleet(t *testing.T, seed uint64) *fleet {
	f := &fleet{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_000_000, 0)}
	c := ledgerConfig{Run: 1, Ordered: true, Groups: []ledgerGroup{
		{Name: "g", Topic: "t"}, {Name: "tagged", Topic: "t", Tags: "a"}, {Name: "sql", Topic: "t", SQL: "x > 1"},
		{Name: "fan", Topic: "t", Members: fleetShards},
		{Name: "matched", Topic: "t", SQL: "TAGS = 'b'", Match: func(tag string, _ []driver.Property) bool { return tag == "b" }},
	}}
	for shard := range fleetShards {
		c.Producers = nil
		for p := range fleetProducers {
			c.Producers = append(c.Producers, ledgerProducer{Topic: "t", Remote: p%fleetShards != shard, Life: 1})
		}
		f.shards = append(f.shards, newLedger(c))
	}
	for p := range c.Producers {
		c.Producers[p].Remote = false
	}
	f.all = newLedger(c)
	return f
}

// each calls do with every ledger: for what all generators are told.
func (f *fleet) each(do func(l *ledger)) {
	for _, l := range f.shards {
		do(l)
	}
	do(f.all)
}

func (f *fleet) both(shard int, do func(l *ledger)) {
	do(f.shards[shard%fleetShards])
	do(f.all)
}

func (f *fleet) pass(d time.Duration) {
	for end := f.now.Add(d); f.now.Before(end); {
		f.now = f.now.Add(time.Second)
		f.each(func(l *ledger) { l.tick(f.now) })
	}
}

// send sends a message, or a batch, with any outcome, and stores it.
func (f *fleet) send() {
	p := f.rnd.IntN(fleetProducers)
	q := f.rnd.IntN(fleetQueues)
	m := &driver.Message{Topic: "t", Producer: p, Sequence: f.next[p], Tag: string(rune('a' + f.rnd.IntN(2)))}
	r := driver.Result{Broker: fmt.Sprintf("b%d", q/4), Queue: int32(q % 4), Offset: f.ends[q]}
	if f.rnd.IntN(10) == 0 {
		m.Batch = []driver.Item{{Tag: "a"}, {Tag: "b"}, {Tag: "a"}}
	}
	n := int64(m.Messages())
	f.next[p] += n
	stored := f.rnd.IntN(2) == 0
	switch f.rnd.IntN(20) {
	case 0:
		r.Outcome = driver.Rejected
	case 1:
		r.Outcome = driver.Timeout
	case 2:
		m.Transaction, stored = driver.TxRollback, f.rnd.IntN(4) == 0 && len(m.Batch) == 0
	case 3:
		f.next[p]++ // dropped before it was sent
		stored = true
	default:
		stored = true
	}
	f.both(p, func(l *ledger) {
		l.send(m)
		l.resolve(m, &r)
	})
	for i := int64(0); stored && i < n; i++ {
		tag := m.Tag
		if len(m.Batch) > 0 {
			tag = m.Batch[i].Tag
		}
		body := make([]byte, IdentitySize+1)
		Stamp(body, Identity{Run: 1, Producer: p, Sequence: m.Sequence + i})
		f.log[q] = append(f.log[q], &driver.Received{Topic: "t", Tag: tag, Broker: r.Broker, Queue: r.Queue, Offset: f.ends[q], Body: body})
		f.ends[q]++
	}
}

// views of the groups in newFleet: 0, 1, 2, then four of "fan", then 7.
var fleetViews = []struct {
	view int
	tag  string // "" for all
}{{0, ""}, {1, "a"}, {2, "b"}, {3, ""}, {4, ""}, {5, ""}, {6, ""}, {7, "b"}}

// get delivers a message of a queue to the view's member that has the queue.
func (f *fleet) get(view, q int, r *driver.Received) {
	shard := q + f.moved
	if view >= 3 && view <= 6 {
		shard = view - 3
	}
	f.both(shard, func(l *ledger) { l.receive(view, r) })
}

// consume gives what is stored behind from in each queue to every view, with
// this and that gone wrong.
func (f *fleet) consume(from [fleetQueues]int64) {
	for q := range fleetQueues {
		for _, r := range f.log[q][from[q]:] {
			for _, v := range fleetViews {
				if v.tag == "" || v.tag == r.Tag {
					f.deliver(v.view, q, r)
				}
			}
		}
	}
}

func (f *fleet) deliver(view, q int, r *driver.Received) {
	id, _ := ReadIdentity(r.Body)
	switch f.rnd.IntN(40) {
	case 0: // lost
	case 1: // twice, to one member
		f.get(view, q, r)
		f.get(view, q, r)
	case 2: // twice, to two members
		f.get(view, q, r)
		f.get(view, q+f.rnd.IntN(3), r)
	case 3: // failed, and tried again, elsewhere
		f.get(view, q, r)
		f.both(f.shardOf(view, q), func(l *ledger) { l.failedAttempt(view, id) })
		again := *r
		again.Retry, again.Attempt, again.Queue, again.Offset = true, 1, 0, f.retry
		f.retry++
		switch f.rnd.IntN(3) {
		case 0:
			f.get(view, q+1, &again)
		case 1: // comes, is failed again and is dead; every generator reads the dead letters
			f.get(view, q+2, &again)
			f.both(f.shardOf(view, q+2), func(l *ledger) { l.failedAttempt(view, id) })
			f.each(func(l *ledger) { l.dead(l.groupOf(view), r) })
		}
	case 4: // content is damaged
		bad := *r
		bad.Body = append([]byte{}, r.Body...)
		bad.Body[IdentitySize] ^= 1
		f.get(view, q, &bad)
	case 5: // so early, and one that is foreign
		f.get(view, q, r)
		f.both(f.shardOf(view, q), func(l *ledger) { l.early(view, id, r) })
		f.get(view, q, &driver.Received{Topic: "t", Tag: "a", Body: []byte("what")})
	case 6: // one that was never sent
		body := make([]byte, IdentitySize)
		Stamp(body, Identity{Run: 1, Producer: id.Producer, Sequence: 1<<30 + f.rnd.Int64N(1<<30)})
		f.get(view, q, &driver.Received{Topic: "t", Tag: r.Tag, Broker: "b9", Queue: 0, Offset: f.rnd.Int64(), Body: body})
		f.get(view, q, r)
	default:
		f.get(view, q, r)
	}
}

func (f *fleet) shardOf(view, q int) int {
	if view >= 3 && view <= 6 {
		return view - 3
	}
	return q + f.moved
}

// run is the story: load, a rebalance with redeliveries, a rewind with replays.
func (f *fleet) run() {
	for range 2000 {
		f.send()
	}
	f.consume([fleetQueues]int64{})
	f.pass(40 * time.Second)
	from := f.ends
	for range 500 {
		f.send()
	}
	f.consume(from)
	f.each(func(l *ledger) { l.unsettled(0, f.now) })
	f.moved++
	for q := range fleetQueues { // the new member gets the last ones again
		for _, r := range f.log[q][f.ends[q]-20:] {
			f.get(0, q, r)
		}
	}
	f.pass(40 * time.Second)
	f.rewind(0, 30)
}

func (f *fleet) rewind(group int, back int64) {
	set := map[driver.Queue]int64{}
	for q := range fleetQueues {
		set[driver.Queue{Broker: fmt.Sprintf("b%d", q/4), ID: int32(q % 4)}] = f.ends[q] - back
	}
	f.each(func(l *ledger) { l.rewinding(group, f.now) })
	f.moved++
	for q := range fleetQueues {
		for i, r := range f.log[q][f.ends[q]-back:] {
			if i == 10 {
				f.each(func(l *ledger) { l.rewound(group, set, nil) })
			}
			if i != 5 || q%2 == 0 { // what had been lost comes now; every other queue misses one
				f.get(group, q, r)
			}
		}
	}
}

// TestMergedLedgersAreOne: four generators' ledgers, by way of their files, say
// what one says that saw it all.
func TestMergedLedgersAreOne(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		f := newFleet(t, seed)
		f.run()
		dir := t.TempDir()
		var states []*results.LedgerState
		for _, i := range f.rnd.Perm(fleetShards) { // in any order
			l := f.shards[i]
			l.close(func(int) bool { return true })
			path := filepath.Join(dir, fmt.Sprint(i), results.LedgerFile)
			if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			saved(t, l, path)
			s, err := results.ReadLedger(filepath.Dir(path))
			if err != nil {
				t.Fatal(err)
			}
			states = append(states, s)
		}
		merged, err := results.MergeLedgers(states...)
		if err != nil {
			t.Fatal(err)
		}
		want, wantRest := f.all.close(func(int) bool { return true })
		got, rest := merged.Settled()
		for _, n := range []int64{
			want.Lost, want.Duplicated, want.Corrupt, want.Foreign, want.Failed, want.Retried, want.Replayed, want.Redelivered, want.NotReplayed,
			want.Dead, want.Early, want.RolledBack, want.Visible, want.UnknownReceived, want.FailedReceived,
		} {
			if n == 0 {
				t.Fatalf("not everything went wrong: %+v", want)
			}
		}
		want.Violations, got.Violations = nil, nil
		if d := cmp.Diff(want, got); d != "" || rest != wantRest {
			t.Errorf("seed %d: (-one +merged):\n%s%+v, want %+v", seed, d, rest, wantRest)
		}
	}
}

// TestMergeRefuses: what does not belong together.
func TestMergeRefuses(t *testing.T) {
	t.Parallel()
	c := ledgerConfig{Run: 1, Producers: []ledgerProducer{{Topic: "t"}}, Groups: []ledgerGroup{{Name: "g", Topic: "t"}}}
	remote, run, more, group := c, c, c, c
	remote.Producers = []ledgerProducer{{Topic: "t", Remote: true}}
	run.Run = 2
	more.Producers = []ledgerProducer{{Topic: "t"}, {Topic: "t"}}
	group.Producers = remote.Producers
	group.Groups = []ledgerGroup{{Name: "h", Topic: "t"}}
	for _, tt := range []struct {
		other ledgerConfig
		want  string
	}{{remote, ""}, {c, "producer 0 is in two"}, {run, "run 2"}, {more, "producers"}, {group, "consumer groups"}} {
		_, err := results.MergeLedgers(newLedger(c).state, newLedger(tt.other).state)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	if _, err := results.MergeLedgers(); err == nil {
		t.Error("nothing was merged without an error")
	}
}
