package results

// Cause is why a message is delivered to a group once more.
type Cause uint8

// The causes that the place of a message can give.
const (
	NoCause Cause = iota
	Replayed
	Redelivered
	Undecided // there is a rewind, and nobody knows yet to where
)

// Cause finds why offset, which had been delivered before, is delivered once
// more, and uses the cause up: one rewind, or one event, is the cause of one more
// delivery. The newest rewind counts first, then the oldest event.
func (q *LedgerQueue) Cause(offset int64) Cause {
	for i := len(q.Rewinds) - 1; i >= 0; i-- {
		r := &q.Rewinds[i]
		if r.From <= offset && offset < r.To && !r.Fresh.Has(offset) && r.Again.Add(offset) {
			if r.Pending {
				return Undecided
			}
			return Replayed
		}
	}
	for i := range q.Windows {
		if w := &q.Windows[i]; w.Lo < offset && offset <= w.Hi && w.Came.Add(offset) {
			return Redelivered
		}
	}
	return NoCause
}
