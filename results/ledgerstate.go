package results

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// MaxViolations is how many violations a ledger names; it counts all.
const MaxViolations = 100

// Kinds of violations.
const (
	KindLost         = "lost"
	KindDuplicated   = "duplicated"
	KindOutOfOrder   = "outOfOrder"
	KindCorrupt      = "corrupt"
	KindForeign      = "foreign"
	KindUnsubscribed = "unsubscribed" // ours, but the group did not subscribe to it; counted as foreign
	KindVisible      = "visible"      // rolled back, and received nevertheless
	KindEarly        = "early"        // received before it was due
	KindNotReplayed  = "notReplayed"  // behind the place of a rewind, and not delivered again
)

// overtaking is how far a consumer may be ahead in a queue while it still has
// an earlier message in its hands.
const overtaking = 2000

// LedgerState is all that a ledger knows, as it is while a run goes on, in the
// file of a run, and put together from several generators. Its parts are locked
// one by one, for callers that change them while others read: queues before
// accounts before the state itself.
type LedgerState struct {
	sync.Mutex
	Run      uint64
	Saved    time.Time // when the file was written; zero for one in memory
	Brokers  []string
	Views    []*LedgerView
	Accounts []*LedgerAccount // of every producer of the run, by number

	Foreign    int64 // not of this run
	Corrupt    int64 // those whose producer nobody can tell
	Violations []Violation
}

// LedgerView is what one consumer group is to receive, or one member of a
// group that broadcasts.
type LedgerView struct {
	sync.Mutex // of the list of queues
	Group      string
	Member     int64 // -1 for a whole group
	// Open says that nobody knows what the view is to receive: the broker
	// filters by an expression that is not evaluated here.
	Open bool
	// Consumed says that everything there was had been consumed when the run ended.
	Consumed bool
	Queues   []*LedgerQueue

	Replayed, Redelivered, Duplicated int64 // found by merging
	Explained                         int64 // of its accounts' Deferred: what merging found the cause of
}

// Name returns the group, and the member of one that broadcasts: "fanout/2".
func (v *LedgerView) Name() string {
	if v.Member < 0 {
		return v.Group
	}
	return fmt.Sprintf("%s/%d", v.Group, v.Member)
}

// LedgerQueue is what a view received from one queue.
type LedgerQueue struct {
	sync.Mutex
	Broker  string
	Queue   int64
	Retry   bool        // a queue of the group's retry topic
	Got     SequenceSet // offsets that were delivered
	Highest int64       // of them; -1 none
	Skipped SequenceSet // offsets that a rewind forward left out

	Windows []LedgerWindow
	Rewinds []LedgerRewind

	Replayed, Redelivered int64
	Duplicated            int64 // second deliveries that turned out to have no cause
	NotReplayed           int64 // of rewinds that are no longer listed
}

// LedgerWindow holds the offsets Lo < o ≤ Hi which may be delivered once more,
// because something happened while they were perhaps not committed.
type LedgerWindow struct {
	Event  int64 // number of the event, of those of the view
	Lo, Hi int64
	Until  int64 // Unix nanoseconds until which Hi grows; 0: it does not
	Came   SequenceSet
	// Before are the offsets behind Lo that had been delivered at the event: kept
	// where other generators have consumers too, to tell what they got later.
	Before SequenceSet

	blocked SequenceSet // while merging: both had been delivered before the event
}

// LedgerRewind is a rewind of one queue to From: what had been delivered of
// From ≤ o < To is to be delivered once more.
type LedgerRewind struct {
	Event    int64
	From, To int64
	Pending  bool        // From is not known yet
	Again    SequenceSet // delivered once more
	Fresh    SequenceSet // delivered for the first time since, also behind To

	blocked SequenceSet // while merging: both had been delivered before
}

// LedgerAccount is the ledger of one producer instance. A number is in at most
// one of Acked, Failed, Unknown and RolledBack.
type LedgerAccount struct {
	sync.Mutex
	Number int64
	Own    bool // its messages were sent here, so that Next is known
	// Next is one past the last sequence number sent. Gaps are the numbers below
	// that were not sent. Next alone is not under the lock.
	Next atomic.Int64
	Gaps int64

	Acked, Failed, Unknown, RolledBack SequenceSet

	Stored                          SequenceSet // of Failed, Unknown and RolledBack: received by some group
	FailedReceived, UnknownReceived int64
	Visible, Corrupt, Early         int64

	Places Places
	Views  []LedgerAccountView // of the views that read the producer's topic
}

// LedgerAccountView is what one view received of one producer.
type LedgerAccountView struct {
	View int64 // index of LedgerState.Views
	// Seen are the messages received, and those not to be received by their tag.
	Seen     SequenceSet
	Filtered SequenceSet // of Seen: not to be received, by an expression
	Again    SequenceSet // the handler failed them, and the retry may come
	Twice    SequenceSet // of those: it failed them again before the retry came, which brings another
	Owed     SequenceSet // of those: nothing came since
	Strays   SequenceSet // came first as a retry: other generators' members had failed them
	Dead     SequenceSet // found in the dead letter queue

	Expected, Received, Duplicated, OutOfOrder, Retried int64
	// Deferred are second deliveries from a place that is new here, where other
	// generators have consumers too: only they may know the cause. Without it, they
	// are duplicates.
	Deferred int64
}

// Fail notes that the handler failed a message: it may come once more.
func (v *LedgerAccountView) Fail(sequence int64) {
	if !v.Again.Add(sequence) {
		v.Twice.Add(sequence)
	}
}

// Retry reports whether a retry of the message may come, and takes it.
func (v *LedgerAccountView) Retry(sequence int64) bool {
	return v.Twice.Remove(sequence) || v.Again.Remove(sequence)
}

// Send notes that the n messages from sequence on are about to be sent. It
// takes the lock only when they do not follow the one before.
func (a *LedgerAccount) Send(sequence, n int64) {
	if a.Next.CompareAndSwap(sequence, sequence+n) {
		return
	}
	a.Lock()
	defer a.Unlock()
	for {
		next := a.Next.Load()
		if a.Next.CompareAndSwap(next, max(next, sequence+n)) {
			a.Gaps += max(next, sequence+n) - next - n
			return
		}
	}
}

// Sent returns how many messages were sent.
func (a *LedgerAccount) Sent() int64 { return a.Next.Load() - a.Gaps }

// Note names a violation while there is room.
func (s *LedgerState) Note(v Violation) {
	s.Lock()
	defer s.Unlock()
	if len(s.Violations) < MaxViolations {
		s.Violations = append(s.Violations, v)
	}
}
