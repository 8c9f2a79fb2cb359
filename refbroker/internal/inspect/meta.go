package inspect

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"rmqbench/refbroker/protocol"
)

// Checkpoint is the checkpoint file. Times are store times in ms.
type Checkpoint struct {
	Log                 int64 `json:"physicMsgTimestamp"`
	Queues              int64 `json:"logicsMsgTimestamp"`
	Index               int64 `json:"indexMsgTimestamp"`
	MasterFlushedOffset int64 `json:"masterFlushedOffset"`
	ConfirmOffset       int64 `json:"confirmPhyOffset"`
}

// Checkpoint reads the checkpoint file; a missing one is all zero.
func (f *Folder) Checkpoint() (c Checkpoint, err error) {
	b, err := os.ReadFile(f.path("checkpoint"))
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	if len(b) < 40 {
		return c, fmt.Errorf("%s has %d bytes, want 4096: delete it while the broker is stopped, and the next start replays the whole log", f.path("checkpoint"), len(b))
	}
	be := binary.BigEndian
	for i, p := range []*int64{&c.Log, &c.Queues, &c.Index, &c.MasterFlushedOffset, &c.ConfirmOffset} {
		*p = int64(be.Uint64(b[8*i:]))
	}
	return c, nil
}

func (v *verifier) checkpoint() error {
	c, err := v.f.Checkpoint()
	if err != nil {
		v.found(Warning, v.f.path("checkpoint"), 0, "%v", err)
		return nil
	}
	if v.report.Records > 0 && !v.f.Running && c.Log > v.lastTime {
		v.found(v.unsettled(), v.f.path("checkpoint"), 0, "it says that records up to %d ms are on disk, the last one in the log is of %d ms: records behind it are gone", c.Log, v.lastTime)
	}
	if c.ConfirmOffset > v.f.log.end() {
		v.found(Warning, v.f.path("checkpoint"), 32, "it confirms the log up to byte %d, the log's files end at %d", c.ConfirmOffset, v.f.log.end())
	}
	return nil
}

// configFiles are the JSON files of the folder config. A missing one is fine.
var configFiles = []string{
	"topics.json", "subscriptionGroup.json", "consumerOffset.json", "lmqConsumerOffset.json", "delayOffset.json", "consumerFilter.json",
	"consumerOrderInfo.json", "topicQueueMapping.json", "messageRequestMode.json", "timermetrics", "transactionMetrics",
}

func (v *verifier) configs() error {
	for _, name := range configFiles {
		path := v.f.path("config", name)
		if !exists(path) && !exists(path+".bak") {
			continue
		}
		main, bak := readable(path), readable(path+".bak")
		switch {
		case main == nil:
		case bak == nil:
			v.found(Warning, path, -1, "not readable (%v): brokers take %s.bak instead, which is older", main, name)
		case errors.Is(main, errEmpty) && !exists(path+".bak"):
			v.found(Warning, path, -1, "it is empty and has no .bak: brokers start without what it held")
		default:
			v.found(Error, path, -1, "neither it (%v) nor its .bak (%v) is readable: mend it, or move both away to start without what they hold", main, bak)
		}
	}
	return v.offsets()
}

var errEmpty = errors.New("it is empty")

// readable tells why a JSON file cannot be read by a broker, or nil.
func readable(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return errors.Unwrap(err)
	}
	if len(b) == 0 {
		return errEmpty
	}
	if b, err = protocol.LenientJSON(b); err != nil {
		return err
	}
	return json.Unmarshal(b, new(map[string]json.RawMessage)) // all of them are objects
}

// loadConfig reads a JSON file or its .bak into to; false when there is none.
func (f *Folder) loadConfig(name string, to any) bool {
	for _, path := range []string{f.path("config", name), f.path("config", name+".bak")} {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if b, err = protocol.LenientJSON(b); err == nil && json.Unmarshal(b, to) == nil {
			return true
		}
	}
	return false
}

// consumerOffsets are the positions of groups: "topic@group" to queue to offset.
func (f *Folder) consumerOffsets() map[string]map[string]int64 {
	var file struct {
		OffsetTable map[string]map[string]int64 `json:"offsetTable"`
	}
	f.loadConfig("consumerOffset.json", &file)
	return file.OffsetTable
}

// offsets checks that no group stands behind the end of a queue.
func (v *verifier) offsets() error {
	for key, queues := range v.f.consumerOffsets() {
		topic, group, _ := strings.Cut(key, "@")
		for name, offset := range queues {
			if err := v.offset(topic, group, name, offset); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *verifier) offset(topic, group, name string, offset int64) error {
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return nil //nolint:nilerr // LMQ and other odd keys
	}
	max, ok, err := v.f.queueEnd(topic, int32(id))
	if err == nil && ok && offset > max {
		v.found(v.unsettled(), v.f.path("config", "consumerOffset.json"), -1,
			"group %s stands at offset %d of queue %d of %s, which ends at %d: messages may be missing, or the file is of another store", group, offset, id, topic, max)
	}
	return err
}

// queueEnd returns the offset behind the last message of a queue.
func (f *Folder) queueEnd(topic string, id int32) (int64, bool, error) {
	for _, kind := range []string{plainQueues, batchQueues} {
		if !exists(f.path(kind, topic, strconv.Itoa(int(id)))) {
			continue
		}
		q, err := f.openQueue(kind, topic, id)
		if err != nil {
			return 0, false, err
		}
		end, err := q.endOffset()
		return end, true, err
	}
	return 0, false, nil
}

// endOffset searches the end of a queue from its last file on.
func (q *queueFiles) endOffset() (int64, error) {
	first, end := q.bounds()
	from := first
	if n := len(q.seq.files); n > 0 {
		from = q.seq.files[max(n-3, 0)].base / q.unit
	}
	last := first // a queue whose records have all expired may have nothing but an empty file
	if q.batch() {
		last = 0
	}
	for n := from; n < end; n++ {
		u, ok, err := q.nth(n)
		if err != nil || !ok {
			return last, err
		}
		last = u.Offset + int64(max(u.Count, 1))
	}
	return last, nil
}
