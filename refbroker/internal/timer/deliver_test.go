package timer

import (
	"fmt"
	"testing"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/protocol"
)

// bodies returns what was delivered, in order.
func (w *world) bodies() (all []string) {
	for i := range w.store.records {
		if m := &w.store.records[i].m; m.Topic != Topic {
			all = append(all, string(m.Body))
		}
	}
	return all
}

// TestRefusedDelivery has the store refuse in the middle of a slot: what was
// stored is not stored again, and nothing is given up that may be stored later.
func TestRefusedDelivery(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		status store.Status
		skip   bool // timerSkipUnknownError
		tries  int  // until it returns
		lost   bool
	}{
		{store.ServiceNotAvailable, false, 3, false},
		{store.PageCacheBusy, false, 3, false},
		{store.UnknownError, false, 3, false},
		{store.UnknownError, true, 1, true},
		{store.MessageIllegal, false, 1, true},
		{store.PropertiesSizeExceeded, false, 1, true},
	} {
		t.Run(fmt.Sprint(tc.status, tc.skip), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			w.timer.precision, w.set.TimerSkipUnknownError = 100, tc.skip
			w.timer.wheel.precision = 100
			for i := range 3 {
				w.putAt(start+1000, fmt.Sprint("m", i), "")
			}
			w.putAt(start+2000, "next", "")
			if _, err := w.timer.enqueue(); err != nil {
				t.Fatal(err)
			}
			w.now = start + 1100
			w.store.refuseAfter(1, tc.status)
			before := w.store.appends
			_, err := w.timer.dequeue()
			wantTries := 1 + tc.tries
			if tc.lost {
				wantTries = 3 // each is tried once
			}
			if tries := w.store.appends - before; (err == nil) != tc.lost || tries != wantTries {
				t.Errorf("dequeue: %v after %d appends, want %d", err, tries, wantTries)
			}
			w.store.fail, w.store.spare = store.PutOK, 0
			w.now = start + 2100
			if _, err := w.timer.dequeue(); err != nil {
				t.Fatal(err)
			}
			want := "[m0 m1 m2 next]"
			if tc.lost {
				want = "[m0 next]"
			}
			if got := fmt.Sprint(w.bodies()); got != want {
				t.Errorf("delivered %s, want %s", got, want)
			}
			if n := w.timer.Metrics().Of("T"); n != 0 {
				t.Errorf("%d messages count as waiting", n)
			}
		})
	}
}

// TestDeletions has messages take others of their slot away, and only those.
func TestDeletions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.putAt(start+1000, "stays", "")
	w.putAt(start+1000, "goes", "")
	w.putAt(start+1000, "d1", "T+goes")
	w.putAt(start+2000, "elsewhere", "")
	w.putAt(start+1000, "d2", "T+elsewhere") // of another slot
	w.putAt(start+1000, "d3", "U+stays")     // of another topic
	if _, err := w.timer.enqueue(); err != nil {
		t.Fatal(err)
	}
	w.now = start + 3000
	if _, err := w.timer.dequeue(); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(w.bodies()); got != "[stays elsewhere]" {
		t.Errorf("delivered %s", got)
	}
	if n := w.timer.Metrics().Of("T"); n != 0 {
		t.Errorf("%d messages count as waiting", n)
	}
}

// TestUnreadable passes over what is in the timer topic and is no timer message.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	for _, props := range []string{"", "TIMER_OUT_MS\x01soon\x02", "TIMER_OUT_MS\x015\x02REAL_TOPIC\x01T\x02", "TIMER_OUT_MS\x015\x02REAL_TOPIC\x01" + Topic + "\x02REAL_QID\x010\x02"} {
		w.store.Append(&protocol.Message{Topic: Topic, Body: []byte("?"), Properties: props})
	}
	w.putAt(start-1, "late", "")
	if n, err := w.timer.enqueue(); n != 5 || err != nil {
		t.Errorf("%d messages, %v", n, err)
	}
	if got := fmt.Sprint(w.bodies()); got != "[late]" {
		t.Errorf("delivered %s", got)
	}
}
