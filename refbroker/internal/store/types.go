package store

import (
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"rmqbench/refbroker/internal/vfs"
)

// Errors of the store.
var (
	// ErrNotFound says that no record lies at an offset.
	ErrNotFound = errors.New("no message there")
	// ErrConfig says that a setting is one that the store cannot work with.
	ErrConfig = errors.New("store configuration")

	// ErrLocked says that another process has the store open.
	ErrLocked = errors.New("Lock failed,MQ already started")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("message store has been shut down")
)

// Options are what a store gets from its surroundings.
type Options struct {
	FS   vfs.FS         // default vfs.OS
	Log  *slog.Logger   // default slog.Default()
	Host netip.AddrPort // storeHost of new records
	// Slave says that a master fills the log, so that transientStorePoolEnable has no effect.
	Slave bool
	// Settings returns the settings in force, for those that may change while the
	// store is open: all of disk protection. nil: those of Open.
	Settings func() *Config
	// CleanAfter is how long after Start the disk is looked at first. 0: a minute, as in Java.
	CleanAfter time.Duration
	// Expired is called after files of the log were removed, with the offset where
	// it begins now.
	Expired func(minPhysical int64)
	// Arrived is called by dispatch once consume queue and index know a
	// message, in the order of the log. It must be quick.
	Arrived func(Arrival)
	// BitMap returns the bits of the filters that let a message through, nil for
	// none. With enableCalcFilterBitMap dispatch calls it once for each message,
	// before the consume queue, and keeps the bits in the queue's extension.
	BitMap func(topic, properties string) []byte
	// BatchQueue reports whether a topic has the attribute queue.type=BatchCQ;
	// nil: none has.
	BatchQueue func(topic string) bool
}

// Arrival tells that a queue has a new message.
type Arrival struct {
	Topic     string
	Queue     int32
	Offset    int64 // the queue's offset behind the message
	TagsCode  int64
	StoreTime int64    // ms
	Ext       *ExtUnit // nil if no bits were computed
	// Properties of the message, valid during the call only.
	Properties string
}

// ExtUnit is what the extension of a consume queue keeps of one message.
type ExtUnit struct {
	Tags      int64  // hash of the tag, as in a unit without extension
	StoreTime int64  // ms
	BitMap    []byte // of Options.BitMap; nil if there is none
}

// Status is the outcome of an append, by the name of Java's PutMessageStatus.
type Status uint8

// The outcomes. A message was written with the first four only.
const (
	PutOK Status = iota
	FlushDiskTimeout
	FlushSlaveTimeout
	SlaveNotAvailable
	ServiceNotAvailable
	CreateMappedFileFailed
	MessageIllegal
	PropertiesSizeExceeded
	PageCacheBusy
	UnknownError
	InSyncReplicasNotEnough
	WheelTimerFlowControl // this and the next two come from the broker
	WheelTimerMsgIllegal
	WheelTimerNotEnable
)

var statusNames = [...]string{
	"PUT_OK", "FLUSH_DISK_TIMEOUT", "FLUSH_SLAVE_TIMEOUT", "SLAVE_NOT_AVAILABLE", "SERVICE_NOT_AVAILABLE",
	"CREATE_MAPPED_FILE_FAILED", "MESSAGE_ILLEGAL", "PROPERTIES_SIZE_EXCEEDED", "OS_PAGE_CACHE_BUSY",
	"UNKNOWN_ERROR", "IN_SYNC_REPLICAS_NOT_ENOUGH",
	"WHEEL_TIMER_FLOW_CONTROL", "WHEEL_TIMER_MSG_ILLEGAL", "WHEEL_TIMER_NOT_ENABLE",
}

// String returns Java's name of the status.
func (s Status) String() string { return statusNames[s] }

// PutResult is what became of an append.
type PutResult struct {
	Status         Status
	PhysicalOffset int64   // of the first record
	End            int64   // behind the last record
	QueueOffset    int64   // of the first message
	StoreTimestamp int64   // ms
	Size           int32   // bytes of all records
	Count          int     // messages
	Offsets        []int64 // physical offset of each message of a batch; nil for a single one
	Pending        bool    // the message counts as stored only after Settle, or Await(End)

	group *group // what Settle waits for
	flush bool   // and who settled has to Await
}

// Waiter is told when what it waits for is on disk.
type Waiter interface {
	// Stored is called once, from any goroutine. It must not block.
	Stored(Status)
}

// Filter selects messages during Get.
type Filter interface {
	// MatchUnit looks at the tags code of a consume queue unit and at its
	// extension, nil if it has none. It must not keep ext.
	MatchUnit(tags int64, ext *ExtUnit) bool
	// MatchRecord looks at the record, if MatchUnit agreed.
	MatchRecord(record []byte) bool
}

// GetQuery asks for messages of one queue.
type GetQuery struct {
	Group, Topic string
	Queue        int32
	Offset       int64
	MaxMessages  int
	MaxBytes     int    // 0: no limit of the caller
	Filter       Filter // nil: every message
}

// GetStatus is the outcome of a Get, by the name of Java's GetMessageStatus.
type GetStatus uint8

// The outcomes of a Get.
const (
	Found GetStatus = iota
	NoMatchedMessage
	MessageWasRemoving
	OffsetFoundNull
	OffsetOverflowBadly
	OffsetOverflowOne
	OffsetTooSmall
	NoMatchedLogicQueue
	NoMessageInQueue
	OffsetReset
)

var getStatusNames = [...]string{
	"FOUND", "NO_MATCHED_MESSAGE", "MESSAGE_WAS_REMOVING", "OFFSET_FOUND_NULL", "OFFSET_OVERFLOW_BADLY",
	"OFFSET_OVERFLOW_ONE", "OFFSET_TOO_SMALL", "NO_MATCHED_LOGIC_QUEUE", "NO_MESSAGE_IN_QUEUE", "OFFSET_RESET",
}

// String returns Java's name of the status.
func (s GetStatus) String() string { return getStatusNames[s] }

// GetResult receives the answer of a Get. It may be used again after Release.
type GetResult struct {
	Status         GetStatus
	Next, Min, Max int64    // queue offsets: to ask for next, and the bounds of the queue
	Segments       [][]byte // views of the log, records back to back, valid until Release
	Messages       int
	Bytes          int
	SuggestSlave   bool

	files []*logFile
	units []byte
	ext   []byte // unit of an extension

	extUnit ExtUnit // what it says
}

// Release gives the views back. It may be called at any time and more than once.
func (r *GetResult) Release() {
	for i, f := range r.files {
		f.release()
		r.files[i] = nil
	}
	clear(r.Segments)
	r.files, r.Segments = r.files[:0], r.Segments[:0]
}

// Stats is a snapshot of what the store knows about itself.
type Stats struct {
	CommitLogMin, CommitLogMax int64 // bytes
	Flushed                    int64 // everything before it is on disk
	Confirmed                  int64 // readers see everything before it
	Dispatched                 int64 // consume queues and index know everything before it
	DispatchBehind             int64 // bytes between Dispatched and Confirmed
	PutLockMillis              int64 // how long the append lock is held by now, ms
	EarliestStoreTime          int64 // of the first message of the log, ms, -1 if none

	PutMessages, PutBytes int64 // since start
	PutFailed             int64
	GetFound, GetMiss     int64 // Gets with and without messages
	GetMessages, GetBytes int64
	Flushes               int64                      // fdatasync calls on the log
	PutDistribution       [len(putBuckets) + 1]int64 // appends by their duration, see PutBuckets
	PutMaxMillis          int64
}
