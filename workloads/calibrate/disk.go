package calibrate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rmqbench/results"
)

const (
	appendSize = 1 << 20
	syncEvery  = time.Second
	syncSize   = 4 << 10
	syncFile   = 16 << 20 // written round and round
	// spare is the part of the free space that may be taken for the moment, 1/spare.
	spare = 4
)

// disk measures the disk of a folder with files that are gone afterwards.
func disk(ctx context.Context, folder string, how effort, c *results.Calibration) (err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return fmt.Errorf("looking at the disk of %s: %w; name a folder that is there with --data", folder, err)
	}
	room := int64(st.Bavail) * st.Bsize / spare
	if room < 2*syncFile {
		return fmt.Errorf("the disk of %s has only %d MB free: free space, or name a folder elsewhere with --data", folder, room*spare>>20)
	}
	f, err := os.CreateTemp(folder, "calibrate-")
	if err != nil {
		return fmt.Errorf("%w; name a folder that can be written with --data", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := os.Remove(f.Name()); err != nil { // it lives as long as it is open, and no longer when we are killed
		return err
	}
	if c.AppendBytesSec, err = appendRate(ctx, f, how.append, min(how.bytes, room)); err != nil {
		return err
	}
	return syncs(ctx, f, how.sync, c)
}

// appendRate writes sequentially for a time, or so many bytes, and returns the
// bytes a second that had reached the disk. The bytes are random: some disks and
// filesystems compress.
func appendRate(ctx context.Context, f *os.File, length time.Duration, most int64) (float64, error) {
	buf := make([]byte, appendSize)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(buf) // never fails
	began := time.Now()
	synced, written := began, int64(0)
	for written+appendSize <= most && time.Since(began) < length && ctx.Err() == nil {
		if _, err := f.WriteAt(buf, written); err != nil {
			return 0, err
		}
		written += appendSize
		if time.Since(synced) >= syncEvery {
			if err := fdatasync(f); err != nil {
				return 0, err
			}
			synced = time.Now()
		}
	}
	if err := fdatasync(f); err != nil {
		return 0, err
	}
	if ctx.Err() != nil {
		return 0, fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
	return float64(written) / time.Since(began).Seconds(), nil
}

// syncs writes and syncs, one after the other, over the blocks at the start of
// the file.
func syncs(ctx context.Context, f *os.File, length time.Duration, c *results.Calibration) error {
	if err := makeBlocks(f); err != nil {
		return err
	}
	buf := make([]byte, syncSize)
	hist := results.NewHistogram()
	began := time.Now()
	for at := int64(0); time.Since(began) < length && ctx.Err() == nil; at = (at + syncSize) % syncFile {
		one := time.Now()
		buf[0]++
		if _, err := f.WriteAt(buf, at); err != nil {
			return err
		}
		if err := fdatasync(f); err != nil {
			return err
		}
		_ = hist.RecordValue(min(time.Since(one).Microseconds(), hist.HighestTrackableValue())) // cannot fail then
	}
	took := time.Since(began)
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
	c.SyncsPerSec = float64(hist.TotalCount()) / took.Seconds()
	c.SyncP50, c.SyncP99 = hist.ValueAtPercentile(50), hist.ValueAtPercentile(99)
	return nil
}

// makeBlocks makes sure that the first blocks of the file are written and its
// size is settled: a sync has then no metadata to write.
func makeBlocks(f *os.File) error {
	if _, err := f.WriteAt(make([]byte, syncFile), 0); err != nil {
		return err
	}
	return f.Sync()
}

func fdatasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("fdatasync of %s: %w", f.Name(), err)
		}
	}
}
