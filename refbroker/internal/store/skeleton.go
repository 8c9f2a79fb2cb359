package store

import "rmqbench/refbroker/protocol"

type Store struct{ cfg Config }
type logFile struct{}

func (f *logFile) release() {}

const cqUnitSize = 20

var putBuckets = [...]int64{0, 10, 50, 100, 200, 500, 1000, 2000, 3000, 4000, 5000, 10000}

func Open(cfg Config, opt Options) (*Store, error)          { return nil, nil }
func (s *Store) Start() error                               { return nil }
func (s *Store) Close() error                               { return nil }
func (s *Store) Append(m *protocol.Message) (res PutResult) { return }
func (s *Store) AppendBatch(ms []protocol.Message) (res PutResult) {
	return
}
func (s *Store) Await(end int64, w Waiter)                                          {}
func (s *Store) Get(q GetQuery, res *GetResult)                                     {}
func (s *Store) MaxOffset(topic string, queue int32) int64                          { return 0 }
func (s *Store) MinOffset(topic string, queue int32) int64                          { return 0 }
func (s *Store) OffsetByTime(topic string, queue int32, ms int64, upper bool) int64 { return 0 }
func (s *Store) StoreTimeAt(topic string, queue int32, offset int64) int64          { return 0 }
func (s *Store) EarliestTime(topic string, queue int32) int64                       { return 0 }
func (s *Store) Lookup(phys int64, f func(record []byte) error) error               { return nil }
func (s *Store) QueryKeys(topic, key string, max int, begin, end int64, f func(record []byte)) (lastTime, lastPhys int64) {
	return
}
func (s *Store) ConsumeQueueUnit(topic string, queue int32, offset int64) (phys int64, size int32, tags int64, ok bool) {
	return
}
func (s *Store) DeleteTopic(topic string) error { return nil }
func (s *Store) Topics() []string               { return nil }
func (s *Store) Queues(topic string) []int32    { return nil }
func (s *Store) Stats() (st Stats)              { return }
func (s *Store) Writable() error                { return nil }
