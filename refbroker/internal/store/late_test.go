package store

import (
	"testing"

	"rmqbench/refbroker/protocol"
)

// light returns the bodies of a light queue.
func (s *testStore) light(name string) (bodies []string) {
	s.t.Helper()
	var res GetResult
	s.Get(GetQuery{Topic: name, MaxMessages: 32}, &res)
	defer res.Release()
	for _, b := range res.Segments {
		for len(b) > 0 {
			var m protocol.Message
			n, err := protocol.DecodeMessage(b, &m)
			if err != nil {
				s.t.Fatal(err)
			}
			bodies, b = append(bodies, string(m.Body)), b[n:]
		}
	}
	return bodies
}

// TestLightQueues gives messages to the light queues that they name.
func TestLightQueues(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	cfg.EnableLmq, cfg.EnableMultiDispatch = true, true
	s := open(t, cfg, Options{})
	put := func(names string, want string) {
		m := message("T", 1, "to "+names, protocol.PropInnerMultiDispatch, names, protocol.PropInnerMultiQueueOff, "9")
		s.put(m)
		s.Lookup(m.PhysicalOffset, func(record []byte) error {
			var m protocol.Message
			_, err := protocol.DecodeMessage(record, &m)
			got, _ := protocol.Property(m.Properties, protocol.PropInnerMultiQueueOff)
			equal(t, got, want)
			return err
		})
	}
	put("%LMQ%a,%LMQ%b", "0,0")
	put("%LMQ%b", "1")
	put("plain,%LMQ%b", ",2")
	put("%LMQ%a/x,%LMQ%a", "0,1")
	s.settled()
	check := func(s *testStore) {
		equal(t, s.light("%LMQ%a"), []string{"to %LMQ%a,%LMQ%b", "to %LMQ%a/x,%LMQ%a"})
		equal(t, s.light("%LMQ%b"), []string{"to %LMQ%a,%LMQ%b", "to %LMQ%b", "to plain,%LMQ%b"})
		equal(t, len(s.bodies("T", 1, 0)), 4)
		equal(t, s.Topics(), []string{"%LMQ%a", "%LMQ%b", "T"})
	}
	check(s)
	killed := cfg
	killed.StorePathRootDir, killed.StorePathCommitLog = killImage(t, cfg), ""
	again := open(t, killed, Options{})
	check(again)
	m := message("T", 0, "more", protocol.PropInnerMultiDispatch, "%LMQ%b")
	again.put(m)
	again.settled()
	equal(t, again.MaxOffset("%LMQ%b", 0), 4)
}
