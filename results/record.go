package results

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Record is a run's folder, read.
type Record struct {
	Dir    string
	Run    Run
	Points []Point // the timeline, in order
	// Problems names what of the record could not be read: a torn last line, a
	// log that is missing. Each is a sentence.
	Problems []string
	// Recovered is set when the generator died and its summary with it: the
	// phases of Run were then put together from the timeline and the logs, and
	// the ledger is what its file has.
	Recovered bool
	// LedgerAsOf is when the ledger of a Recovered run was written last, zero when
	// there is none: what became of messages after it is not known.
	LedgerAsOf time.Time
}

// ErrSchema reports a run.json that this version cannot read.
var ErrSchema = errors.New("not a run that this rmqbench can read")

// maxRunFile bounds run.json, which holds a hundred violations and a hundred
// phases at most, and the text of a workload.
const maxRunFile = 64 << 20

// Open reads the run in dir (or, given the path of a run.json, beside it). A
// timeline or a log that is missing or torn is a problem of the record, no
// error: what can be read is kept. A run that never ended is incomplete, and
// when its summary is missing it is recovered from the timeline and the logs.
func Open(dir string) (*Record, error) {
	if filepath.Base(dir) == RunFile {
		dir = filepath.Dir(dir)
	}
	run, err := readRun(filepath.Join(dir, RunFile))
	if err != nil {
		return nil, err
	}
	r := &Record{Dir: dir, Run: run}
	r.readTimeline()
	if r.Run.Finished.IsZero() {
		r.recoverPhases()
	}
	return r, nil
}

// Save rewrites the run.json of the record in one step, as Writer.Save does.
func (r *Record) Save() error {
	body, err := Encode(&r.Run)
	if err != nil {
		return err
	}
	if err := ReplaceFile(filepath.Join(r.Dir, RunFile), body); err != nil {
		return fmt.Errorf("save %s: %w", RunFile, err)
	}
	return nil
}

func readRun(path string) (Run, error) {
	var run Run
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return run, fmt.Errorf("%s is not the folder of a run: it has no %s: %w", filepath.Dir(path), RunFile, err)
	}
	if err != nil {
		return run, fmt.Errorf("open the run: %w", err)
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, maxRunFile))
	if err != nil {
		return run, fmt.Errorf("read the run: %w", err)
	}
	if err := Decode(body, &run); err != nil {
		return run, fmt.Errorf("%s: %w", path, err)
	}
	return run, nil
}

// Decode reads the text of a run.json. Fields that it does not know are left
// out; another schema is ErrSchema.
func Decode(body []byte, run *Run) error {
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(body, &head); err != nil {
		return fmt.Errorf("%w: %w", ErrSchema, err)
	}
	if head.Schema != Schema {
		return fmt.Errorf("%w: its schema is %q, wanted %q", ErrSchema, head.Schema, Schema)
	}
	*run = Run{}
	if err := json.Unmarshal(body, run); err != nil {
		return fmt.Errorf("%w: %w", ErrSchema, err)
	}
	*run = normal(*run)
	return nil
}

func (r *Record) problem(format string, args ...any) {
	if p := fmt.Sprintf(format, args...); !slices.Contains(r.Problems, p) {
		r.Problems = append(r.Problems, p)
	}
}

func (r *Record) readTimeline() {
	body, err := os.ReadFile(filepath.Join(r.Dir, TimelineFile))
	if err != nil {
		r.problem("The timeline is missing: %v.", err)
		return
	}
	s := bufio.NewScanner(bytes.NewReader(body))
	s.Buffer(make([]byte, 0, 64<<10), maxLogLine)
	s.Split(wholeLines)
	n := 1
	for ; s.Scan(); n++ {
		var p Point
		if err := json.Unmarshal(s.Bytes(), &p); err != nil {
			r.problem("Line %d of the timeline is not readable and is left out: %v.", n, err)
			continue
		}
		r.Points = append(r.Points, p)
	}
	if err := s.Err(); err != nil {
		r.problem("The timeline ends early at line %d: %v.", n, err)
	}
}

// Logs returns the names of the interval logs of the run, in order.
func (r *Record) Logs() []string {
	paths, _ := filepath.Glob(filepath.Join(r.Dir, "*.hlog")) // only fails on a bad pattern
	names := make([]string, 0, len(paths))
	for _, p := range paths {
		names = append(names, strings.TrimSuffix(filepath.Base(p), ".hlog"))
	}
	slices.Sort(names)
	return names
}

// lookForLogs makes a problem of every log that the run's figures are of, and
// that is not there. whole says that there has to be one of whole phases.
func (r *Record) lookForLogs(whole bool) {
	have, want := r.Logs(), map[string]bool{}
	for _, p := range r.Run.Phases {
		for _, o := range p.Operations {
			if o.Group == "" && o.Latency.Count > 0 {
				want[o.Name] = true
			}
		}
	}
	if whole && len(want) > 0 {
		want[LogPhases] = true
	}
	for _, name := range sortedKeys(want) {
		if !slices.Contains(have, name) {
			r.problem("The log %s.hlog is not there.", name)
		}
	}
	if len(want) > 0 && len(r.Points) == 0 {
		r.problem("The timeline is not there.")
	}
}

// Intervals gives each interval of the log called name to f, in order. A log
// that is not there has none; of a torn one, all whole lines are given and the
// error is ErrTorn.
func (r *Record) Intervals(name string, f func(Interval) error) error {
	err := readLogFile(filepath.Join(r.Dir, name+".hlog"), f)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Histogram returns the sum of a log over the phases that keep accepts, nil for
// all. A line without a tag belongs to the phase that its interval began in.
// What cannot be read is left out and becomes a problem of the record.
func (r *Record) Histogram(name string, keep func(phase string) bool) *hdrhistogram.Histogram {
	sum := NewHistogram()
	for phase, h := range r.byPhase(name) {
		if keep == nil || keep(phase) {
			sum.Merge(h)
		}
	}
	return sum
}

// Samples returns what was measured in the phases that keep accepts, nil for
// all: from the log of whole phases when there is one, else as Histogram does.
func (r *Record) Samples(log, group string, keep func(phase string) bool) *hdrhistogram.Histogram {
	sum, tags := NewHistogram(), map[string]bool{}
	for _, p := range r.Run.Phases {
		if keep == nil || keep(p.Name) {
			tags[PhaseTag(log, group, p.Name)] = true
		}
	}
	err := r.Intervals(LogPhases, func(i Interval) error {
		if tags[i.Tag] {
			sum.Merge(i.Histogram)
		}
		return nil
	})
	if err != nil {
		r.problem("The log %s.hlog is not whole: %v.", LogPhases, err)
	}
	if err != nil || sum.TotalCount() == 0 {
		return r.Histogram(GroupLog(log, group), keep)
	}
	return sum
}

// byPhase returns the sums of a log by phase.
func (r *Record) byPhase(name string) map[string]*hdrhistogram.Histogram {
	sums := map[string]*hdrhistogram.Histogram{}
	err := r.Intervals(name, func(i Interval) error {
		phase := r.PhaseOf(i)
		if sums[phase] == nil {
			sums[phase] = NewHistogram()
		}
		sums[phase].Merge(i.Histogram)
		return nil
	})
	if err != nil {
		r.problem("The log %s.hlog is not whole: %v.", name, err)
	}
	return sums
}

// PhaseOf returns the name of the phase that an interval belongs to: its tag, or
// the phase that it began in.
func (r *Record) PhaseOf(i Interval) string {
	if i.Tag != "" {
		for _, p := range r.Run.Phases {
			if cleanTag(p.Name) == i.Tag {
				return p.Name
			}
		}
		return i.Tag
	}
	return r.phaseAt(i.Offset.Milliseconds())
}

// phaseAt returns the name of the phase at ms since the start, from the summary
// or else from the timeline.
func (r *Record) phaseAt(ms int64) string {
	for _, p := range r.Run.Phases {
		if ms >= p.StartMillis && ms < p.EndMillis {
			return p.Name
		}
	}
	i, _ := slices.BinarySearchFunc(r.Points, ms, func(p Point, ms int64) int {
		if p.EndMillis > ms {
			return 1
		}
		return -1
	})
	if i < len(r.Points) {
		return r.Points[i].Phase
	}
	return ""
}
