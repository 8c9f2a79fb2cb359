package store

import "fmt"

// MinPhysical returns where the commit log begins.
func (s *Store) MinPhysical() int64 { return s.log.min() }

// MaxPhysical returns where the commit log ends.
func (s *Store) MaxPhysical() int64 { return s.log.wrote.Load() }

// LastStoreTime returns the store time of the last message that was appended or
// recovered, ms.
func (s *Store) LastStoreTime() int64 {
	_, t := s.log.position()
	return t
}

// Flush makes everything durable that was appended, with ASYNC_FLUSH too. An
// error says that it is not, or not yet after syncFlushTimeout.
func (s *Store) Flush() error {
	end := s.log.wrote.Load()
	if s.log.flushed.Load() >= end {
		return nil
	}
	s.flush.urge()
	done := make(flushWait, 1)
	s.flush.await(end, done)
	if status := <-done; status != PutOK {
		return fmt.Errorf("flush the commit log: %s", status)
	}
	return nil
}

// flushWait is a Waiter for one goroutine.
type flushWait chan Status

func (c flushWait) Stored(s Status) { c <- s }
