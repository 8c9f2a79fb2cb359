package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rmqbench/refbroker/protocol"
)

// diskFile is the size of the file that the bare loop writes over and over.
const diskFile = 256 << 20

// bareDisk is the limit of SYNC_FLUSH: a loop of pwrite and fdatasync without a
// broker around it. Each write has the records of everything that is in flight,
// which is what the best of all group commits could do. The file's blocks are
// there and written already: growing a file costs more.
func bareDisk(_ context.Context, b *bench) (*target, error) {
	f, err := os.Create(filepath.Join(b.dir, "disk"))
	if err != nil {
		return nil, err
	}
	t := &target{name: limitName, end: func() { f.Close(); os.Remove(f.Name()) }}
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < diskFile && err == nil; at += int64(len(zeros)) {
		_, err = f.WriteAt(zeros, at)
	}
	if err = errors.Join(err, f.Sync()); err != nil {
		t.end()
		return nil, err
	}
	at := int64(0)
	t.other = func(ctx context.Context, l load, length time.Duration) (sample, error) {
		inFlight := l.conns * l.window * max(1, l.batch)
		buf := make([]byte, inFlight*recordSize(l.size))
		for i := range buf {
			buf[i] = byte(i * 7)
		}
		hist, syncs := newHistogram(), 0
		began := time.Now()
		for time.Since(began) < length && ctx.Err() == nil {
			one := time.Now()
			if at+int64(len(buf)) > diskFile {
				at = 0
			}
			if _, err := f.WriteAt(buf, at); err != nil {
				return sample{}, err
			}
			if err := unix.Fdatasync(int(f.Fd())); err != nil {
				return sample{}, fmt.Errorf("fdatasync: %w", err)
			}
			at += int64(len(buf))
			syncs++
			hist.RecordValue(int64(time.Since(one))) //nolint:errcheck // a minute is more than a sync may take
		}
		s := sample{value: float64(syncs*inFlight) / time.Since(began).Seconds()}
		s.setLatency(hist)
		return s, ctx.Err()
	}
	return t, nil
}

// recordSize is what a message of the bench takes in a commit log.
func recordSize(body int) int {
	m := protocol.Message{Topic: benchTopic, Body: make([]byte, body), Properties: "WAIT\x01true\x02"}
	return m.Size()
}

// logFiles returns the files of the commit log below a folder, in order.
func logFiles(dir string) (paths []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, "/commitlog/") {
			paths = append(paths, path)
		}
		return err
	})
	slices.Sort(paths)
	return paths, err
}

// dropCache asks the kernel to forget the commit log's pages. Those that a
// process has in a mapping stay; everything else goes without privileges.
func dropCache(dir string) error {
	paths, err := logFiles(dir)
	if err != nil {
		return err
	}
	for _, path := range paths {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		err = errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
		f.Close()
		if err != nil {
			return fmt.Errorf("dropping %s from the page cache: %w", path, err)
		}
	}
	return nil
}

// cached returns how much of a part of the log, from one share of its length to
// another, is in the page cache, by mincore.
func cached(dir string, from, to float64) (float64, error) {
	paths, err := logFiles(dir)
	if err != nil {
		return 0, err
	}
	var pages []byte
	for _, path := range paths {
		more, err := residency(path)
		if err != nil {
			return 0, fmt.Errorf("asking what of %s is in the page cache: %w", path, err)
		}
		pages = append(pages, more...)
	}
	for len(pages) > 0 && pages[len(pages)-1]&1 == 0 { // the end of the log, or near it
		pages = pages[:len(pages)-1]
	}
	part := pages[int(from*float64(len(pages))):int(to*float64(len(pages)))]
	in := 0
	for _, p := range part {
		in += int(p & 1)
	}
	return float64(in) / float64(max(1, len(part))), nil
}

// residency returns a byte for each page of a file, whose lowest bit is set when
// the page is in the page cache.
func residency(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0) // mincore tells those who may write
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return nil, err
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	defer unix.Munmap(m) //nolint:errcheck // it was mapped
	pages := make([]byte, (len(m)+os.Getpagesize()-1)/os.Getpagesize())
	_, _, code := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(unsafe.Pointer(&pages[0])))
	if code != 0 {
		return nil, code
	}
	return pages, nil
}
