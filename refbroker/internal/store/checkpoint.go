package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"rmqbench/refbroker/internal/vfs"
)

// The checkpoint file tells recovery what is surely on disk (Java's
// StoreCheckpoint; big-endian, 4096 bytes, the rest unused):
//
//	offset  bytes  field
//	     0      8  store time of the last record that is durable, ms
//	     8      8  store time of the last record whose consume queue unit is
//	    16      8  end time of the last full index file
//	    24      8  masterFlushedOffset
//	    32      8  confirmPhyOffset
const checkpointSize = 4096

// checkpointMargin is what Java takes off the times, in ms.
const checkpointMargin = 3000

type checkpointTimes struct {
	physic, logics, index          int64
	masterFlushed, confirmPhysical int64
}

// start is the store time from which on recovery has to replay, ms.
func (t checkpointTimes) start() int64 {
	return max(0, min(t.physic, t.logics)-checkpointMargin)
}

type checkpoint struct {
	file vfs.File

	mu             sync.Mutex
	times, written checkpointTimes
}

func openCheckpoint(fsys vfs.FS, path string) (*checkpoint, error) {
	file, err := fsys.Create(path)
	if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	c := &checkpoint{file: file}
	if err := c.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", path, err), file.Close())
	}
	return c, nil
}

func (c *checkpoint) read() error {
	size, err := c.file.Size()
	if err != nil {
		return err
	}
	if size < checkpointSize {
		if err := c.file.Truncate(checkpointSize); err != nil {
			return err
		}
	}
	var b [40]byte
	if err := readFull(c.file, b[:], 0); err != nil {
		return err
	}
	for i, p := range c.times.fields() {
		*p = int64(binary.BigEndian.Uint64(b[8*i:]))
	}
	c.written = c.times
	return nil
}

func (t *checkpointTimes) fields() [5]*int64 {
	return [5]*int64{&t.physic, &t.logics, &t.index, &t.masterFlushed, &t.confirmPhysical}
}

// update changes the times; write brings them to disk.
func (c *checkpoint) update(f func(*checkpointTimes)) {
	c.mu.Lock()
	f(&c.times)
	c.mu.Unlock()
}

// write makes the times durable if they changed. After a failed sync the next
// call writes and syncs again, which is right here: nothing else is lost, and
// an older checkpoint only makes recovery replay more.
func (c *checkpoint) write() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.times == c.written {
		return nil
	}
	var b []byte
	for _, p := range c.times.fields() {
		b = binary.BigEndian.AppendUint64(b, uint64(*p))
	}
	if _, err := c.file.WriteAt(b, 0); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	if err := c.file.Sync(); err != nil {
		return fmt.Errorf("flush checkpoint: %w", err)
	}
	c.written = c.times
	return nil
}
