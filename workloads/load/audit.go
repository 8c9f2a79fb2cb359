package load

import (
	"rmqbench/results"
	"rmqbench/workloads/driver"
)

// Ledger is the engine's ledger for a load that somebody else drives: it is
// told what was sent, what became of it and what was read back, and accounts
// for every message. Its methods may be called from any goroutine.
//
// Messages carry an Identity with the ledger's run in their bodies. What is read
// is one reading of everything there is, once: a second time is a duplicate.
type Ledger struct{ ledger *ledger }

// NewLedger makes the ledger of a run with producers numbered from 0.
func NewLedger(run uint64, topic string, producers int) *Ledger {
	c := ledgerConfig{Run: run, Groups: []ledgerGroup{{Name: "reader", Topic: topic}}, Ordered: true}
	for range producers {
		c.Producers = append(c.Producers, ledgerProducer{Topic: topic})
	}
	return &Ledger{newLedger(c)}
}

// Sent notes that m is about to be sent. It comes before Resolved and Received.
func (l *Ledger) Sent(m *driver.Message) { l.ledger.send(m) }

// Resolved notes what became of m: acknowledged, failed or unknown.
func (l *Ledger) Resolved(m *driver.Message, r *driver.Result) { l.ledger.resolve(m, r) }

// Received notes that r was read. The messages of one producer with one key, or
// without keys in one queue, are held to the order of their sequence. first
// reports that it is one of this run's that had not been read before; id is then good.
func (l *Ledger) Received(r *driver.Received) (id Identity, first bool) {
	id, d := l.ledger.receive(0, r)
	return id, d == deliveryFirst
}

// Settle says how the accounts stand when everything there is was read: what
// was acknowledged and not received is lost. More may be sent afterwards.
func (l *Ledger) Settle() results.Ledger {
	out, _ := l.ledger.close(func(int) bool { return true })
	return out
}
