package calibrate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"rmqbench/results"
)

// MaxAge is how long a calibration is used: machines get other neighbours,
// disks and kernels.
const MaxAge = 30 * 24 * time.Hour

// FileEnv names the file of calibrations, instead of the one in the user's cache.
const FileEnv = "RMQBENCH_CALIBRATION"

// schema names the layout of the file.
const schema = "rmqbench.calibration/v1"

// kept is the content of the file.
type kept struct {
	Schema   string                         `json:"schema"`
	Machines map[string]results.Calibration `json:"machines"` // by Machine
}

// File returns the path of the file: that of the environment, or
// rmqbench/calibration.json in the user's cache folder.
func File(getenv func(string) string) (string, error) {
	if path := getenv(FileEnv); path != "" {
		return path, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the user's cache folder: %w; name a file with %s", err, FileEnv)
	}
	return filepath.Join(dir, "rmqbench", "calibration.json"), nil
}

// Machine names this machine with the disk of a folder, as far as limits depend
// on them: "2 cores, <model>, Linux <kernel>, ext4".
func Machine(folder string) string { return machine(results.Probe(folder)) }

func machine(e results.Environment) string {
	part := func(s string) string {
		if s == "" {
			return "unknown"
		}
		return s
	}
	return fmt.Sprintf("%d cores, %s, kernel %s, %s", e.Cores, part(e.CPU), part(e.Kernel), part(e.Filesystem))
}

// Load returns the calibration that is kept in a file for this machine and the
// disk of a folder. It is nil when none can be used; why then says so in one
// sentence, with what to do.
func Load(file, folder string, now time.Time) (c *results.Calibration, why string) {
	all, err := read(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "the limits of this machine were never measured: type `rmqbench calibrate` once"
	case err != nil:
		return nil, fmt.Sprintf("%v: type `rmqbench calibrate` to write it anew", err)
	}
	this := Machine(folder)
	found, ok := all.Machines[this]
	if !ok {
		return nil, fmt.Sprintf("limits were measured of another machine or disk, not of this one (%s): type `rmqbench calibrate --data %s`", this, folder)
	}
	if age := now.Sub(found.Measured); age > MaxAge || age < -time.Hour {
		return nil, fmt.Sprintf("the limits of this machine were measured on %s, which is too long ago or in the future: type `rmqbench calibrate` again",
			found.Measured.Format(time.DateOnly))
	}
	return &found, ""
}

func read(file string) (*kept, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the calibration: %w", err)
	}
	var all kept
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("%s is not a calibration: %w", file, err)
	}
	if all.Schema != schema {
		return nil, fmt.Errorf("%s is not a calibration of this version: its schema is %q", file, all.Schema)
	}
	return &all, nil
}

// Save keeps a calibration of this machine in a file, beside those of others. A
// file that cannot be read as one is written anew. The file is complete at every
// moment.
func Save(file string, c *results.Calibration) error {
	all, err := read(file)
	if err != nil || all.Machines == nil {
		all = &kept{Schema: schema, Machines: map[string]results.Calibration{}}
	}
	all.Machines[Machine(c.Folder)] = *c
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the calibration: %w", err)
	}
	if err := replace(file, append(text, '\n')); err != nil {
		return fmt.Errorf("keeping the calibration: %w; name a file that can be written with %s", err, FileEnv)
	}
	return nil
}

// replace writes a file beside the one there and puts it in its place.
func replace(file string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), strings.TrimSuffix(filepath.Base(file), ".json")+"-*.json")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
