package load

import (
	"strconv"
	"strings"
	"time"

	"rmqbench/workloads/driver"
)

// refusal is a kind of answer by which a broker turned a send away.
type refusal struct {
	code int32
	kind string // "[TIMEOUT_CLEAN_QUEUE]": what the remark begins with, "" for others
}

// String is how a kind is written in a timeline: "2 [TIMEOUT_CLEAN_QUEUE]".
func (r refusal) String() string {
	return strings.TrimSpace(strconv.Itoa(int(r.code)) + " " + r.kind)
}

// refused is what is known of the refusals of one kind.
type refused struct {
	count       int64
	first, last time.Time
	remark      string // of the first
}

// maxKinds bounds how many kinds are told apart: remarks come from outside.
// Beyond, those of a code are put together.
const maxKinds = 64

// kindOf returns the first word in brackets and capitals of a remark, as part
// of it. Clients put something before it that tells the code once more.
func kindOf(remark string) string {
	for from := strings.IndexByte(remark, '['); from >= 0; {
		end := from + 1
		for end < len(remark) && (remark[end] >= 'A' && remark[end] <= 'Z' || remark[end] == '_' || remark[end] >= '0' && remark[end] <= '9') {
			end++
		}
		if end > from+1 && end < len(remark) && remark[end] == ']' {
			return remark[from : end+1]
		}
		next := strings.IndexByte(remark[from+1:], '[')
		if next < 0 {
			return ""
		}
		from += 1 + next
	}
	return ""
}

// refuse counts n sends that were turned away. A kind that was seen before costs
// no allocation.
func (t *tally) refuse(r *driver.Result, n int64, now time.Time) {
	t.refusal(refusal{r.Code, kindOf(r.Remark)}, refused{count: n, first: now, last: now, remark: r.Remark})
}

// refusal adds what is known of a kind.
func (t *tally) refusal(kind refusal, more refused) {
	known, ok := t.refusals[kind]
	if !ok && len(t.refusals) >= maxKinds {
		kind.kind = ""
		known, ok = t.refusals[kind]
	}
	if !ok {
		if t.refusals == nil {
			t.refusals = map[refusal]refused{}
		}
		kind.kind, more.remark = strings.Clone(kind.kind), strings.Clone(more.remark)
		t.refusals[kind] = more
		return
	}
	known.count += more.count
	if more.first.Before(known.first) {
		known.first, known.remark = more.first, strings.Clone(more.remark)
	}
	if more.last.After(known.last) {
		known.last = more.last
	}
	t.refusals[kind] = known
}
