package inspect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"rmqbench/refbroker/protocol"
)

// Level tells how bad a finding is.
type Level string

// The levels. A folder without errors is sound: every acknowledged message in
// it can be read, and what is only noted or warned of mends itself or is no loss.
const (
	Error   Level = "error"   // something is damaged or lost, or no broker opens the folder
	Warning Level = "warning" // something that the next start mends, or that makes lookups incomplete
	Note    Level = "note"    // worth knowing
)

// Finding is one thing that Verify found.
type Finding struct {
	Level  Level  `json:"level"`
	File   string `json:"file"`             // relative to the store's folder
	Offset *int64 `json:"offset,omitempty"` // byte in the file
	What   string `json:"what"`             // what is wrong and what to do, one sentence
}

// Report is what Verify found.
type Report struct {
	Folder   string    `json:"folder"`
	Sound    bool      `json:"sound"`   // no errors
	Running  bool      `json:"running"` // a broker wrote while we read
	Crashed  bool      `json:"crashed"` // not closed in order
	Begin    int64     `json:"begin"`   // first offset of the commit log
	End      int64     `json:"end"`     // behind its last record
	Records  int64     `json:"records"`
	Bytes    int64     `json:"bytes"` // of the records
	Queues   int       `json:"queues"`
	Units    int64     `json:"units"` // of all consume queues, whose record is in the log
	Keys     int64     `json:"keys"`  // index entries, whose record is in the log
	Errors   int64     `json:"errors"`
	Warnings int64     `json:"warnings"`
	Findings []Finding `json:"findings"` // of each kind the first ones
}

// Progress is told now and then how many bytes of the log have been read.
type Progress func(done, total int64)

// Verify reads the whole store and checks each file for itself and against the
// others: records (lengths, checksums, position), consume queues and their
// extensions against records and the other way round, index entries and chains
// against keys, checkpoint, timer files and JSON files. It changes nothing. An
// error is a file that cannot be read, or ctx's.
func Verify(ctx context.Context, f *Folder, progress Progress) (*Report, error) {
	v := &verifier{ctx: ctx, f: f, kinds: map[string]int{}, progress: progress, spoke: time.Now()}
	v.report = &Report{Folder: f.Root, Running: f.Running, Crashed: f.Crashed, Begin: f.log.first(), Findings: []Finding{}}
	for _, step := range []func() error{
		v.state, v.configs, v.loadQueues, v.loadIndex, v.records, v.finishQueues, v.finishIndex, v.checkpoint, v.timer,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	v.report.Sound = v.report.Errors == 0
	return v.report, nil
}

type verifier struct {
	ctx      context.Context
	f        *Folder
	report   *Report
	kinds    map[string]int // findings by format, so that none floods the report
	progress Progress
	spoke    time.Time

	queues   map[queueKey]*queueCheck
	index    *indexCheck
	lastTime int64              // store time of the last record
	orphans  map[string]int64   // records by topic that has no queue
	lost     map[queueKey]int64 // records by queue that is missing beside others
	topics   map[string]int64   // byte of the log of a topic's first unit
}

// mostOfAKind is how many findings of one kind the report shows.
const mostOfAKind = 10

// found adds a finding; at is the byte in the file, or -1.
func (v *verifier) found(level Level, path string, at int64, format string, args ...any) {
	switch level {
	case Error:
		v.report.Errors++
	case Warning:
		v.report.Warnings++
	}
	v.kinds[format]++
	if v.kinds[format] > mostOfAKind {
		return
	}
	finding := Finding{Level: level, File: v.f.rel(path), What: fmt.Sprintf(format, args...)}
	if at >= 0 {
		finding.Offset = &at
	}
	if v.kinds[format] == mostOfAKind {
		finding.What += "; further ones of this kind are counted, not shown"
	}
	v.report.Findings = append(v.report.Findings, finding)
}

// unsettled is the level of what a crash leaves behind and the next start mends.
func (v *verifier) unsettled() Level {
	if v.f.Crashed {
		return Warning
	}
	return Error
}

func (v *verifier) state() error {
	if v.f.Running {
		v.found(Warning, v.f.path("lock"), -1, "a broker has the store open: what it writes meanwhile may look wrong; stop it first")
	} else if v.f.Crashed {
		v.found(Note, v.f.path("abort"), -1, "the store was not closed in order: the next start recovers it")
	}
	v.oddities(v.f.log.odd)
	return nil
}

func (v *verifier) oddities(odd []oddity) {
	for _, o := range odd {
		level := Warning
		if o.fatal {
			level = Error
		}
		v.found(level, o.path, -1, "%s", o.what)
	}
}

// records goes through the log, and past what is no record in it.
func (v *verifier) records() error {
	at := v.f.log.first()
	for {
		end, why, err := v.f.Records(at, v.record)
		if err != nil {
			return err
		}
		v.report.End = max(v.report.End, end)
		if why == nil {
			return nil
		}
		again, ok, err := v.resync(end)
		if err != nil {
			return err
		}
		if !ok {
			return v.tail(end)
		}
		v.hole(end, again, why)
		at = again
	}
}

// hole reports bytes between records that are none.
func (v *verifier) hole(from, to int64, why error) {
	p, _ := v.f.log.find(from)
	v.found(Error, p.path, from-p.base,
		"no record for %d bytes, but readable ones follow (%v): a recovery that comes past here cuts them off; copy the folder before a broker opens it",
		to-from, why)
}

// resync searches for a record behind a bad place, as long as a consume queue
// knows of it: what lies behind the end of the log and is in no queue is what
// an earlier recovery cut off.
func (v *verifier) resync(from int64) (int64, bool, error) {
	known := v.knownEnd()
	var rec Record
	for at := from; at < min(known, v.f.log.end()); {
		p, ok := v.f.log.find(at)
		if !ok {
			return 0, false, nil
		}
		r, err := openReader(p, v.f.log.size)
		if err != nil {
			return 0, false, err
		}
		found, ok, err := r.next(max(at, from+1), &rec)
		r.file.Close()
		if err != nil {
			return 0, false, err
		}
		if ok {
			return found, found < known, nil
		}
		at = r.end()
	}
	return 0, false, nil
}

// knownEnd is the end of the last record that any consume queue knows.
func (v *verifier) knownEnd() int64 {
	end := int64(0)
	for _, q := range v.queues {
		end = max(end, q.lastEnd)
	}
	return end
}

// tail looks at what lies behind the end of the log.
func (v *verifier) tail(end int64) error {
	p, ok := v.f.log.find(end)
	if !ok {
		return nil
	}
	r, err := openReader(p, v.f.log.size)
	if err != nil {
		return err
	}
	defer r.file.Close()
	for at := end; at < r.end(); {
		b, err := r.peek(at, readAhead)
		if err != nil {
			return err
		}
		if i := firstNonZero(b); i >= 0 {
			v.found(Warning, p.path, at+int64(i)-p.base, "not zero behind the end of the log at byte %d: the rest of a record that was never finished, or of what a recovery cut off", end-p.base)
			return nil
		}
		at += int64(len(b))
	}
	return nil
}

func firstNonZero(b []byte) int {
	for i, c := range b {
		if c != 0 {
			return i
		}
	}
	return -1
}

// record checks one record against queues and index.
func (v *verifier) record(rec *Record) error {
	v.report.Records++
	v.report.Bytes += int64(rec.StoreSize)
	v.lastTime = max(v.lastTime, rec.StoreTimestamp)
	if v.report.Records%4096 == 0 {
		if err := v.speak(rec.At); err != nil {
			return err
		}
	}
	p := readProperties(rec.Properties)
	kind := rec.SysFlag & protocol.SysFlagTransaction
	if kind == 0 || kind == protocol.SysFlagCommit {
		if err := v.inQueue(rec, &p); err != nil {
			return err
		}
	}
	if kind == protocol.SysFlagRollback {
		return nil
	}
	return v.inIndex(rec, &p)
}

func (v *verifier) speak(at int64) error {
	if v.progress != nil && time.Since(v.spoke) > time.Second {
		v.spoke = time.Now()
		v.progress(at-v.f.log.first(), v.f.log.end()-v.f.log.first())
	}
	return v.ctx.Err()
}

// properties are those of a record that queues and index go by.
type properties struct{ tags, keys, uniqKey, lmqNames, lmqOffsets string }

func readProperties(s string) (p properties) {
	protocol.EachProperty(s, func(name, value string) bool {
		switch name {
		case protocol.PropTags:
			p.tags = value
		case protocol.PropKeys:
			p.keys = value
		case protocol.PropUniqKey:
			p.uniqKey = value
		case "INNER_MULTI_DISPATCH":
			p.lmqNames = value
		case "INNER_MULTI_QUEUE_OFFSET":
			p.lmqOffsets = value
		}
		return true
	})
	return p
}

// exists reports whether there is something at a path.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}
