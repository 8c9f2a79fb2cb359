package load

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"rmqbench/results"
	"rmqbench/workloads/driver"
)

const (
	maxRefusals = 64  // kinds that are kept apart in one run; what comes behind them is otherKind
	maxKind     = 40  // bytes of a kind that the table does not know
	maxRemark   = 200 // bytes kept of a remark
	otherKind   = "other"
)

// refusalKey tells refusals apart.
type refusalKey struct {
	code int32
	kind string
}

// overflow counts what found maxRefusals others before it. Nothing is refused with code 0.
var overflow = refusalKey{0, otherKind}

// refusals counts what brokers turned away. Producers' answers come in from any
// goroutine; a kind that was seen before costs no allocation.
type refusals struct {
	mu    sync.Mutex
	kinds map[refusalKey]*refusal
}

// refusal is one kind of them.
type refusal struct {
	label       string // in Point.Refusals
	count       int64
	interval    int64 // of count, since the last take
	first, last time.Duration
	remark      string
}

// add counts n messages that were refused at a time of the run. Code and remark
// are as the broker sent them.
func (r *refusals) add(at time.Duration, code int32, remark string, n int64) {
	key := refusalKey{code, kindOf(code, remark)}
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.kinds[key]
	if one == nil {
		one = r.keep(key, at, remark)
	}
	one.count += n
	one.interval += n
	one.first, one.last = min(one.first, at), max(one.last, at)
}

// keep makes room for a kind that is new. The key is copied: it may be part of
// a remark.
func (r *refusals) keep(key refusalKey, at time.Duration, remark string) *refusal {
	if r.kinds == nil {
		r.kinds = map[refusalKey]*refusal{}
	}
	if len(r.kinds) >= maxRefusals {
		key = overflow
		if one := r.kinds[key]; one != nil {
			return one
		}
	}
	key.kind = strings.Clone(key.kind)
	one := &refusal{label: key.label(), first: at, last: at, remark: cleanRemark(remark)}
	r.kinds[key] = one
	return one
}

// label names a kind in one word or a few: "2 [TIMEOUT_CLEAN_QUEUE]", "17".
func (k refusalKey) label() string {
	if k == overflow {
		return otherKind
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", k.code, k.kind))
}

// take returns what was refused since the last take, by label; nil when nothing was.
func (r *refusals) take() map[string]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out map[string]int64
	for _, one := range r.kinds {
		if one.interval == 0 {
			continue
		}
		if out == nil {
			out = map[string]int64{}
		}
		out[one.label] = one.interval
		one.interval = 0
	}
	return out
}

// list returns every kind with its explanation, the most frequent first.
func (r *refusals) list() []results.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := []results.Refusal{}
	for key, one := range r.kinds {
		name := driver.CodeName(key.code)
		if key == overflow {
			name = otherKind
		}
		meaning, setting, help := explain(key.code, key.kind)
		out = append(out, results.Refusal{
			Code: key.code, Name: name, Kind: key.kind, Remark: one.remark, Count: one.count,
			First: one.first.Milliseconds(), Last: one.last.Milliseconds(),
			Meaning: meaning, Setting: setting, Help: help,
		})
	}
	slices.SortFunc(out, func(a, b results.Refusal) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.First, b.First),
			cmp.Compare(a.Code, b.Code), cmp.Compare(a.Kind, b.Kind))
	})
	return out
}

// kindOf returns the kind of a remark: the table's, or the bracketed word that
// the remark begins with, or "". Names of topics and addresses are never part of it.
func kindOf(code int32, remark string) string {
	if row := rowOf(code, remark); row != nil {
		return row.kind
	}
	return bracketed(remark)
}

// rowOf returns the row of the table that a remark falls under; a row without
// words is that of a code's other remarks, and has no kind.
func rowOf(code int32, remark string) *explanation {
	for i := range explanations {
		if e := &explanations[i]; e.code == code && e.words != "" && strings.Contains(remark, e.words) {
			return e
		}
	}
	return nil
}

// bracketed returns the word in brackets that s begins with, when it is one
// such as Java's brokers use: capitals, digits and underscores.
func bracketed(s string) string {
	if !strings.HasPrefix(s, "[") {
		return ""
	}
	end := strings.IndexByte(s, ']')
	if end < 2 || end >= maxKind {
		return ""
	}
	for _, c := range []byte(s[1:end]) {
		if c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return ""
		}
	}
	return s[:end+1]
}

// explain says in a line what a kind of refusal means, which setting governs it
// (with its default; "" when none does), and what usually helps.
func explain(code int32, kind string) (meaning, setting, help string) {
	var general *explanation
	for i := range explanations {
		e := &explanations[i]
		switch {
		case e.code != code:
		case e.kind == kind:
			return e.meaning, e.setting, e.help
		case e.kind == "":
			general = e
		}
	}
	if general != nil {
		return general.meaning, general.setting, general.help
	}
	if (refusalKey{code, kind}) == overflow {
		return fmt.Sprintf("brokers refused in more than %d different ways; these are the ones behind the first", maxRefusals), "",
			"look into broker.log"
	}
	return "this program does not know this kind of refusal", "", "look for the remark in broker.log"
}

// cleanRemark makes a remark fit for a report: on one line, and not long.
func cleanRemark(s string) string {
	s = s[:min(len(s), 4*maxRemark)] // a remark may be a stack trace
	s = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || c == utf8.RuneError {
			return ' '
		}
		return c
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= maxRemark {
		return s
	}
	end := maxRemark
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
