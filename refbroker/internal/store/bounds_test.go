package store

import "testing"

// TestBounds checks what a store says of its log, before and after a restart.
func TestBounds(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	s := open(t, cfg, Options{})
	s.put(message("T", 0, "one"))
	m := message("T", 0, "two")
	s.put(m)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	end := m.PhysicalOffset + int64(m.StoreSize)
	if s.MinPhysical() != 0 || s.MaxPhysical() != end || s.LastStoreTime() != m.StoreTimestamp || s.Stats().Flushed != end {
		t.Errorf("log from %d to %d, flushed to %d, last message of %d; want 0, %d, %d", s.MinPhysical(), s.MaxPhysical(),
			s.Stats().Flushed, s.LastStoreTime(), end, m.StoreTimestamp)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if again := open(t, cfg, Options{}); again.MaxPhysical() != end || again.LastStoreTime() != m.StoreTimestamp {
		t.Errorf("after a restart the log ends at %d with a message of %d, want %d of %d", again.MaxPhysical(), again.LastStoreTime(), end, m.StoreTimestamp)
	}
}
