// Package workloads is the workload language: a YAML file, parsed strictly, is
// turned into a Plan, which is pure data. A library of workloads is part of the
// binary. The language is described in docs/workloads.md.
package workloads

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strings"
)

// Options change how a workload is loaded.
type Options struct {
	Set []string // "path=value", each replaces or adds one value of the file
	Dir string   // relative names are looked up here; empty: the working directory
}

// Load finds the workload called name and reads it. A file of that name wins
// over the library; a path to a file that does not exist means the entry of the
// library with the same base name, with or without ".yaml".
//
// Every mistake in file and Set is in the *Errors that Load then returns. Other
// errors are those of finding and opening the file. Nothing is ever written.
func Load(name string, opt Options) (*Plan, error) {
	src, text, err := find(name, opt.Dir)
	if err != nil {
		return nil, err
	}
	return load(src, text, opt.Set)
}

// Parse reads a workload from text. file is its name in messages and results;
// its base without extension is the workload's name unless the text gives one.
// Files that the text names are looked up beside file.
func Parse(file string, text []byte, set []string) (*Plan, error) {
	return load(fileSource(file, file), text, set)
}

func load(src *source, text []byte, set []string) (*Plan, error) {
	d := &decoder{sets: set, plan: &Plan{File: src.name, Set: set, Name: baseName(src.name)}}
	d.errs.File = src.name
	root := d.read(src, text)
	d.file = 0
	if root != nil {
		d.apply(root)
		d.variables(root)
		d.workload(root)
		d.checkWhole(root)
	}
	if len(d.errs.List) > 0 {
		return nil, d.found()
	}
	d.plan.Text = string(text)
	if len(set) > 0 || d.rewritten {
		d.plan.Text = written(root)
	}
	sum := sha256.Sum256([]byte(d.plan.Text))
	d.plan.SHA256 = hex.EncodeToString(sum[:])
	return d.plan, nil
}

// baseName is the file's name without folder and extension, as a name that
// files and topics can carry.
func baseName(file string) string {
	base := filepath.Base(filepath.ToSlash(file))
	base = strings.TrimSuffix(strings.TrimSuffix(base, ".yaml"), ".yml")
	name := strings.Map(func(r rune) rune {
		if r < 128 && plainName.MatchString("x"+string(r)) {
			return r
		}
		return '-'
	}, base)
	name = strings.Trim(name, "-_")
	if len(name) > 64 {
		name = name[:64]
	}
	if name == "" {
		return "workload"
	}
	return name
}
