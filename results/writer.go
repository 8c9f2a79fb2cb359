package results

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Names of the files of a run's folder.
const (
	RunFile      = "run.json"
	TimelineFile = "timeline.jsonl"
	ReportFile   = "report.html"
)

// DefaultRoot is where runs are kept when nobody says otherwise.
const DefaultRoot = "results/runs"

// unfinished is the reason that stands in run.json until the run ends.
const unfinished = "The run did not reach its end: rmqbench was killed, or is still running. " +
	"What was measured until then is kept; run it again for a whole result."

// ID returns the name of a run's folder, <UTC time>-<workload>-<profile>, with
// everything but letters, digits, dots, dashes and underscores replaced.
func ID(start time.Time, workload, profile string) string {
	return start.UTC().Format("20060102T150405Z") + "-" + fileName(workload) + "-" + fileName(profile)
}

func fileName(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '_'
	}, strings.TrimSuffix(filepath.Base(s), ".yaml"))
	return strings.TrimLeft(s[:min(len(s), 80)], ".")
}

// NewDir creates the folder of a run below root and returns its path. A second
// run of the same second gets a number behind its name.
func NewDir(root, id string) (string, error) {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("create the folder for runs: %w", err)
	}
	for n := 1; ; n++ {
		dir := filepath.Join(root, id)
		if n > 1 {
			dir += "-" + strconv.Itoa(n)
		}
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, os.ErrExist) || n == 1000 {
			return "", fmt.Errorf("create the run's folder: %w", err)
		}
	}
}

// Writer keeps the record of a run on disk while the run goes on. Each line
// goes to the operating system before the call returns, so it survives the
// death of this process (not that of the machine, until Close). All methods
// may be called from any goroutine.
type Writer struct {
	dir      string
	mu       sync.Mutex
	timeline *os.File
	logs     map[string]*os.File
	enc      encoder
	base     time.Time     // what the times of the logs count from
	last     time.Duration // end of the last point
}

// Create begins the record of run in dir, which must exist or be creatable and
// hold no run yet. It writes run.json with the status incomplete; run itself is
// not changed, except that an empty ID or Schema is filled in.
func Create(dir string, run *Run) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create the run's folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, RunFile)); err == nil {
		return nil, fmt.Errorf("folder %s holds a run already: choose another with --out", dir)
	}
	if run.ID == "" {
		run.ID = filepath.Base(dir)
	}
	run.Schema = Schema
	timeline, err := create(filepath.Join(dir, TimelineFile))
	if err != nil {
		return nil, fmt.Errorf("create the timeline: %w", err)
	}
	w := &Writer{dir: dir, base: run.Started, timeline: timeline, logs: map[string]*os.File{}}
	if err := w.Save(run); err != nil {
		return nil, errors.Join(err, timeline.Close())
	}
	return w, nil
}

func create(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o644)
}

// Dir returns the run's folder.
func (w *Writer) Dir() string { return w.dir }

// Point appends one line to the timeline.
func (w *Writer) Point(p Point) error {
	line, err := json.Marshal(finitePoint(p))
	if err != nil {
		return fmt.Errorf("encode a point of the timeline: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.timeline.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write the timeline: %w", err)
	}
	w.last = time.Duration(p.EndMillis) * time.Millisecond
	return nil
}

// Interval appends the histogram of one interval to the log called name, and
// creates the log with the first. The tag of h goes along. An empty histogram
// is written too: it says that nothing happened. The first interval, when it
// follows the point that ends with it, tells when the load began; the times of
// all logs count from there, as those of the timeline do.
func (w *Writer) Interval(name string, start, end time.Time, h *hdrhistogram.Histogram) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.logs) == 0 && w.last > 0 {
		w.base = end.Add(-w.last)
	}
	line, err := w.enc.logLine(w.base, start, end, h.Tag(), h)
	if err != nil {
		return fmt.Errorf("histogram log %s: %w", name, err)
	}
	f, err := w.log(name)
	if err != nil {
		return fmt.Errorf("histogram log %s: %w", name, err)
	}
	if _, err := f.Write(line); err != nil {
		return fmt.Errorf("histogram log %s: %w", name, err)
	}
	return nil
}

// log returns the open log called name; w.mu is held.
func (w *Writer) log(name string) (*os.File, error) {
	if f := w.logs[name]; f != nil {
		return f, nil
	}
	if name == "" || name != fileName(name) {
		return nil, fmt.Errorf("%q is no name for a file", name)
	}
	f, err := create(filepath.Join(w.dir, name+".hlog"))
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(logHeader(name, w.base)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	w.logs[name] = f
	return f, nil
}

// Save rewrites run.json in one step: a reader sees the old one or the new one.
// A run whose Finished is zero is saved as incomplete, whatever its verdict.
func (w *Writer) Save(run *Run) error {
	body, err := Encode(run)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := ReplaceFile(filepath.Join(w.dir, RunFile), body); err != nil {
		return fmt.Errorf("save %s: %w", RunFile, err)
	}
	return nil
}

// ReplaceFile puts body at path by way of a temporary file that is on disk
// before it takes the name: a reader sees the whole of the old one, or of the new one.
func ReplaceFile(path string, body []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	err = errors.Join(err, f.Sync(), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Close brings the logs and the timeline to disk and closes them.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	errs := []error{w.timeline.Sync(), w.timeline.Close()}
	for _, f := range w.logs {
		errs = append(errs, f.Sync(), f.Close())
	}
	clear(w.logs)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the run's folder: %w", err)
	}
	return nil
}
