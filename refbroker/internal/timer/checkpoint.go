package timer

import (
	"errors"
	"fmt"
	"io"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// Checkpoint is the content of config/timercheck, how far the timer is
// (RocketMQ's TimerCheckpoint): seven long integers in a file of 4096 bytes, in
// the order of the fields.
type Checkpoint struct {
	LastReadTimeMs         int64 // slots before it are delivered
	LastTimerLogFlushPos   int64 // the timer log before it is durable
	LastTimerQueueOffset   int64 // messages of the timer topic before it are in the timer log, or delivered
	MasterTimerQueueOffset int64 // the same on the master
	DataVersion            protocol.DataVersion
}

const (
	checkpointFileSize = 4096
	checkpointSize     = 56
)

func (c *Checkpoint) fields() [7]*int64 {
	return [7]*int64{
		&c.LastReadTimeMs, &c.LastTimerLogFlushPos, &c.LastTimerQueueOffset, &c.MasterTimerQueueOffset,
		&c.DataVersion.StateVersion, &c.DataVersion.Timestamp, &c.DataVersion.Counter,
	}
}

// Append appends the checkpoint as the file has it, and as slaves ask for it.
func (c *Checkpoint) Append(b []byte) []byte {
	for _, p := range c.fields() {
		b = be.AppendUint64(b, uint64(*p))
	}
	return b
}

// checkFile is the file of a checkpoint.
type checkFile struct {
	file    vfs.File
	written Checkpoint
	durable bool // written is
}

// openCheck opens the file, making it if it is missing, and returns what it says.
func openCheck(fsys vfs.FS, path string) (*checkFile, Checkpoint, error) {
	var c Checkpoint
	f, err := fsys.Create(path)
	if err != nil {
		return nil, c, err
	}
	size, err := f.Size()
	if err == nil && size < checkpointFileSize {
		err = f.Truncate(checkpointFileSize)
	}
	b := make([]byte, checkpointSize)
	if err == nil {
		_, err = f.ReadAt(b, 0)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, c, errors.Join(fmt.Errorf("read %s: %w", path, err), f.Close())
	}
	for i, p := range c.fields() {
		*p = int64(be.Uint64(b[8*i:]))
	}
	return &checkFile{file: f, written: c, durable: true}, c, nil
}

// write replaces the checkpoint, and makes it durable with sync.
func (f *checkFile) write(c Checkpoint, sync bool) error {
	if c != f.written {
		f.durable = false
		if _, err := f.file.WriteAt(c.Append(nil), 0); err != nil {
			return fmt.Errorf("write the timer's checkpoint: %w", err)
		}
		f.written = c
	}
	if f.durable || !sync {
		return nil
	}
	if err := f.file.Sync(); err != nil {
		return fmt.Errorf("flush the timer's checkpoint: %w", err)
	}
	f.durable = true
	return nil
}
