package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"rmqbench/results"
)

// A series is the runs of --repeat in a folder, one in each of 1, 2, 3, …. They
// are their own record: a run is complete when its run.json says so, and that
// changes in one step with the last thing that a run does. So nothing is lost
// whenever the generator is killed.

// kept returns the runs of the series that --resume does not make again, by
// number, and moves aside what is not complete. Nothing is moved when a run
// belongs to another series.
func (f *runFlags) kept(own *results.Run) (map[int]*results.Run, error) {
	kept := map[int]*results.Run{}
	if !f.resume {
		return kept, nil
	}
	if _, err := results.Open(f.out); f.repeat > 1 && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s holds a run, not a series of them; begin a new series in another folder with --out", f.out)
	}
	var aside []string
	for i := range f.repeat {
		dir := f.folder(i)
		rec, err := results.Open(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if isFolder(dir) { // its run.json was never written
				aside = append(aside, dir)
			}
			continue
		case err != nil:
			return nil, fmt.Errorf("run %d of the series: %w; begin a new series in another folder with --out", i+1, err)
		}
		if why := otherSeries(own, &rec.Run); why != "" {
			return nil, fmt.Errorf("%s holds a run of another series: it differs in %s; begin a new series in another folder with --out", dir, why)
		}
		if rec.Recovered || rec.Run.Verdict.Status == results.Incomplete {
			aside = append(aside, dir)
			continue
		}
		kept[i] = &rec.Run
	}
	for _, dir := range aside {
		if err := moveAside(dir); err != nil {
			return nil, err
		}
	}
	return kept, nil
}

// otherSeries names what two runs of one series have in common and these do not.
func otherSeries(own, kept *results.Run) string {
	switch {
	case own.Workload.SHA256 != kept.Workload.SHA256 || own.Workload.Seed != kept.Workload.Seed:
		return "its workload"
	case own.Profile.Name != kept.Profile.Name || own.Profile.Kind != kept.Profile.Kind:
		return fmt.Sprintf("its target (%s, asked for %s)", kept.Profile.Name, own.Profile.Name)
	case own.Driver != kept.Driver:
		return fmt.Sprintf("its driver (%s, asked for %s)", kept.Driver, own.Driver)
	case !sameSets(own.Workload.Set, kept.Workload.Set):
		return fmt.Sprintf("its settings (%s, asked for %s)", settingsText(kept.Workload.Set), settingsText(own.Workload.Set))
	}
	return ""
}

func sameSets(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func settingsText(all []string) string {
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, " ")
}

// moveAside gives a folder a name that no run of a series has, and keeps it.
func moveAside(dir string) error {
	for n := 1; ; n++ {
		to := dir + "-incomplete"
		if n > 1 {
			to += "-" + strconv.Itoa(n)
		}
		if _, err := os.Lstat(to); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("moving %s aside: %w", dir, err)
		}
		if err := os.Rename(dir, to); err != nil {
			return fmt.Errorf("moving the incomplete run %s aside: %w", filepath.Base(dir), err)
		}
		return nil
	}
}
