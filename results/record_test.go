package results

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// write feeds w three seconds of two phases: calm (two) and rush (one). Every
// second 200 sends of 1 ms and one failure, of which the generator was 10 µs late.
func write(w *Writer) error {
	for i := range 3 {
		phase := "calm"
		if i == 2 {
			phase = "rush"
		}
		p := Point{EndMillis: int64(i+1) * 1000, SpanMillis: 1000, Phase: phase, Ops: map[string]OpPoint{
			OpReceive: {Planned: 200, Count: 190},
			OpSend:    {Planned: 201, Count: 200, Errors: 1},
		}}
		if err := w.Point(p); err != nil {
			return err
		}
		for name, values := range map[string][2]int64{
			LogSend: {1000, 200}, LogSendService: {900, 200}, LogSendError: {5000, 1}, LogReceive: {2000, 190}, LogLateness: {10, 201},
		} {
			h := NewHistogram()
			if err := h.RecordValues(values[0], values[1]); err != nil {
				return err
			}
			if i > 0 { // the first goes without a tag: found by its time
				h.SetTag(phase)
			}
			if err := w.Interval(name, second(i), second(i+1), h); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkRecovered holds a record of what write wrote to it.
func checkRecovered(t *testing.T, r *Record) {
	t.Helper()
	if r.Run.Verdict.Status != Incomplete || len(r.Run.Verdict.Reasons) == 0 || !r.Recovered {
		t.Errorf("verdict %+v, recovered %v", r.Run.Verdict, r.Recovered)
	}
	var got []string
	for _, p := range r.Run.Phases {
		for _, o := range p.Operations {
			got = append(got, fmt.Sprintf("%s %d-%d %s planned %d count %d errors %v rate %.0f latency %d/%d service %d error latency %d",
				p.Name, p.StartMillis, p.EndMillis, o.Name, o.Planned, o.Count, o.Errors, o.Rate,
				o.Latency.Count, o.Latency.Max, o.ServiceTime.Max, o.ErrorLatency.Max))
		}
	}
	want := []string{
		"calm 0-2000 send planned 402 count 400 errors map[failed (kind not known):2] rate 200 latency 400/1000 service 900 error latency 5003",
		"calm 0-2000 receive planned 400 count 380 errors map[] rate 190 latency 380/2000 service 0 error latency 0",
		"rush 2000-3000 send planned 201 count 200 errors map[failed (kind not known):1] rate 200 latency 200/1000 service 900 error latency 5003",
		"rush 2000-3000 receive planned 200 count 190 errors map[] rate 190 latency 190/2000 service 0 error latency 0",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if l := r.Run.Generator.Lateness; l.Count != 603 || l.Max != 10 {
		t.Errorf("lateness %+v", l)
	}
	if !r.Run.Started.Equal(t0) || !r.Run.Finished.Equal(second(3)) {
		t.Errorf("from %v to %v", r.Run.Started, r.Run.Finished)
	}
}

// TestKilledWriter writes a run in a process of its own that is killed without
// warning, and reads what is left.
func TestKilledWriter(t *testing.T) {
	if dir := os.Getenv("RESULTS_TEST_KILLED"); dir != "" {
		killedWriter(dir)
		return
	}
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	cmd := exec.Command(exe, "-test.run=^TestKilledWriter$")
	cmd.Env = append(os.Environ(), "RESULTS_TEST_KILLED="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "written\n" {
		t.Errorf("writer said %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("writer ended with %v", err)
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	checkRecovered(t, r)
	if len(r.Problems) != 0 {
		t.Errorf("problems: %v", r.Problems)
	}
}

func killedWriter(dir string) {
	// The folder is made a while before the load begins.
	w, err := Create(dir, &Run{Started: t0.Add(-1700 * time.Millisecond)})
	if err == nil {
		err = write(w)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("written")
	<-time.After(time.Hour) // until killed; a select without cases would end as a deadlock
}

func TestOpenTornFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, err := Create(dir, &Run{Started: t0})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(write(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	for name, tail := range map[string]string{TimelineFile: `{"end":40`, "send.hlog": "Tag=rush,3.0", "receive.hlog": "1,2\n"} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString(tail)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Open(filepath.Join(dir, RunFile))
	if err != nil {
		t.Fatal(err)
	}
	checkRecovered(t, r)
	all := strings.Join(r.Problems, "\n")
	for _, want := range []string{"timeline ends early at line 4", "send.hlog is not whole", "receive.hlog is not whole"} {
		if !strings.Contains(all, want) {
			t.Errorf("no problem %q in\n%s", want, all)
		}
	}
	if err := r.Intervals(LogSend, func(Interval) error { return nil }); !errors.Is(err, ErrTorn) {
		t.Errorf("send log: %v", err)
	}
}

func TestOpenKeepsWhatTheSummarySays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := fullRun()
	run.Started, run.Finished, run.Schema = t0, second(3), Schema
	w, err := Create(dir, run)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(write(w), w.Save(run), w.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(*run, r.Run); d != "" || r.Recovered || len(r.Problems) != 0 || len(r.Points) != 3 {
		t.Errorf("%v %d %s", r.Problems, len(r.Points), d)
	}
	if got := r.Logs(); len(got) != 5 || got[0] != LogLateness {
		t.Errorf("logs %v", got)
	}
	if n := r.Histogram(LogSend, func(p string) bool { return p == "rush" }).TotalCount(); n != 200 {
		t.Errorf("%d sends in rush", n)
	}
	if n := r.Histogram("nothing", nil).TotalCount(); n != 0 {
		t.Errorf("%d samples of nothing", n)
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := Open(dir); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "not the folder of a run") {
		t.Errorf("empty folder: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, RunFile), []byte(`{"schema":"other"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !errors.Is(err, ErrSchema) {
		t.Errorf("other schema: %v", err)
	}
	body, err := Encode(&Run{Started: t0})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, RunFile), body, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(dir)
	if err != nil || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "timeline is missing") {
		t.Errorf("%+v %v", r, err)
	}
}
