package store

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Values of Config.FlushDiskType.
const (
	AsyncFlush = "ASYNC_FLUSH"
	SyncFlush  = "SYNC_FLUSH"
)

// Config holds the keys of Java's MessageStoreConfig that the store honours,
// under their Java names. Sizes are bytes, intervals milliseconds.
type Config struct {
	StorePathRootDir   string `conf:"storePathRootDir"`   // default $HOME/store, filled in by the daemon
	StorePathCommitLog string `conf:"storePathCommitLog"` // default <root>/commitlog; several separated by commas
	// Further folders of the log, separated by commas, in which no files are made.
	ReadOnlyCommitLogStorePaths string `conf:"readOnlyCommitLogStorePaths"`

	// The next file is always made ahead. warmMapedFileEnable, which has Java
	// touch its pages before a sender does, is not here: senders write with
	// pwrite and never wait for a page of a mapping.
	MappedFileSizeCommitLog    int64 `conf:"mappedFileSizeCommitLog"`
	MappedFileSizeConsumeQueue int64 `conf:"mappedFileSizeConsumeQueue"` // rounded up to whole units of 20

	EnableConsumeQueueExt           bool  `conf:"enableConsumeQueueExt"`
	MappedFileSizeConsumeQueueExt   int64 `conf:"mappedFileSizeConsumeQueueExt"`
	BitMapLengthConsumeQueueExt     int   `conf:"bitMapLengthConsumeQueueExt"` // bits expected of Options.BitMap
	EnableLmq                       bool  `conf:"enableLmq"`
	EnableMultiDispatch             bool  `conf:"enableMultiDispatch"`
	EnableCalcFilterBitMap          bool  `conf:"enableCalcFilterBitMap"`
	MapperFileSizeBatchConsumeQueue int64 `conf:"mapperFileSizeBatchConsumeQueue"` // rounded up to whole units of 46

	FlushDiskType                  string `conf:"flushDiskType"`
	SyncFlushTimeout               int64  `conf:"syncFlushTimeout"`
	FlushIntervalCommitLog         int64  `conf:"flushIntervalCommitLog"`
	FlushCommitLogLeastPages       int    `conf:"flushCommitLogLeastPages"` // pages of 4 KiB
	FlushCommitLogThoroughInterval int64  `conf:"flushCommitLogThoroughInterval"`
	FlushCommitLogTimed            bool   `conf:"flushCommitLogTimed"`
	WakeFlushWhenPutMessage        bool   `conf:"wakeFlushWhenPutMessage"`

	// With transientStorePoolEnable a message counts as stored once it is in
	// memory; it is copied to the log, and seen by readers, a little later. A
	// process that is killed, not only a machine that dies, loses what was not
	// copied yet. That is Java's promise in this mode, too.
	TransientStorePoolEnable        bool  `conf:"transientStorePoolEnable"`
	TransientStorePoolSize          int   `conf:"transientStorePoolSize"`          // buffers of mappedFileSizeCommitLog; taken as needed
	FastFailIfNoBufferInStorePool   bool  `conf:"fastFailIfNoBufferInStorePool"`   // rather than wait for a copy
	CommitIntervalCommitLog         int64 `conf:"commitIntervalCommitLog"`         // of the copies
	CommitCommitLogLeastPages       int   `conf:"commitCommitLogLeastPages"`       // fewer of 4 KiB wait for the next one
	CommitCommitLogThoroughInterval int64 `conf:"commitCommitLogThoroughInterval"` // after it, any number is copied
	WakeCommitWhenPutMessage        bool  `conf:"wakeCommitWhenPutMessage"`

	FlushIntervalConsumeQueue         int64 `conf:"flushIntervalConsumeQueue"`
	FlushConsumeQueueLeastPages       int   `conf:"flushConsumeQueueLeastPages"`
	FlushConsumeQueueThoroughInterval int64 `conf:"flushConsumeQueueThoroughInterval"`

	MaxMessageSize              int   `conf:"maxMessageSize"`      // of a body
	RecoverConcurrently         bool  `conf:"recoverConcurrently"` // consume queues side by side, however few
	RecoverThreadPoolNums       int   `conf:"recoverThreadPoolNums"`
	CheckCRCOnRecover           bool  `conf:"checkCRCOnRecover"`
	EnabledAppendPropCRC        bool  `conf:"enabledAppendPropCRC"` // a checksum over the whole record, as its last property
	ForceVerifyPropCRC          bool  `conf:"forceVerifyPropCRC"`   // recovery goes by that one; a record without it is damaged
	OSPageCacheBusyTimeOutMills int64 `conf:"osPageCacheBusyTimeOutMills"`

	// Without messageIndexSafe Java loses index entries in a crash; here the index
	// is always made again as far as needed, and this changes nothing.
	MessageIndexSafe   bool `conf:"messageIndexSafe"`
	MessageIndexEnable bool `conf:"messageIndexEnable"`
	MaxHashSlotNum     int  `conf:"maxHashSlotNum"`
	MaxIndexNum        int  `conf:"maxIndexNum"`
	MaxMsgsNumBatch    int  `conf:"maxMsgsNumBatch"`
	DefaultQueryMaxNum int  `conf:"defaultQueryMaxNum"`

	MaxTransferBytesOnMessageInMemory int64 `conf:"maxTransferBytesOnMessageInMemory"`
	MaxTransferCountOnMessageInMemory int   `conf:"maxTransferCountOnMessageInMemory"`
	MaxTransferBytesOnMessageInDisk   int64 `conf:"maxTransferBytesOnMessageInDisk"`
	MaxTransferCountOnMessageInDisk   int   `conf:"maxTransferCountOnMessageInDisk"`
	AccessMessageInMemoryMaxRatio     int   `conf:"accessMessageInMemoryMaxRatio"` // percent of the machine's memory
	MaxFilterMessageSize              int   `conf:"maxFilterMessageSize"`          // bytes of consume queue scanned by one read

	MessageDelayLevel string `conf:"messageDelayLevel"`

	// Disk protection, see disk.go. These may change while the store is open.
	FileReservedTime                       int     `conf:"fileReservedTime"` // hours
	DeleteWhen                             string  `conf:"deleteWhen"`       // hours of the day, separated by semicolons
	DeleteFileBatchMax                     int     `conf:"deleteFileBatchMax"`
	DiskMaxUsedSpaceRatio                  int     `conf:"diskMaxUsedSpaceRatio"`       // percent, 10…95
	DiskSpaceWarningLevelRatio             int     `conf:"diskSpaceWarningLevelRatio"`  // percent, 35…90
	DiskSpaceCleanForciblyRatio            int     `conf:"diskSpaceCleanForciblyRatio"` // percent, 30…85
	CleanFileForciblyEnable                bool    `conf:"cleanFileForciblyEnable"`
	CleanResourceInterval                  int64   `conf:"cleanResourceInterval"`
	DeleteCommitLogFilesInterval           int64   `conf:"deleteCommitLogFilesInterval"`
	DeleteConsumeQueueFilesInterval        int64   `conf:"deleteConsumeQueueFilesInterval"`
	DestroyMapedFileIntervalForcibly       int64   `conf:"destroyMapedFileIntervalForcibly"`
	RedeleteHangedFileInterval             int64   `conf:"redeleteHangedFileInterval"`
	ReplicasPerDiskPartition               int     `conf:"replicasPerDiskPartition"`
	LogicalDiskSpaceCleanForciblyThreshold float64 `conf:"logicalDiskSpaceCleanForciblyThreshold"`
}

// DefaultConfig returns Java's defaults, without paths.
func DefaultConfig() Config {
	return Config{
		MappedFileSizeCommitLog:           1 << 30,
		MappedFileSizeConsumeQueue:        300_000 * cqUnitSize,
		MappedFileSizeConsumeQueueExt:     48 << 20,
		BitMapLengthConsumeQueueExt:       64,
		MapperFileSizeBatchConsumeQueue:   300_000 * bcqUnitSize,
		FlushDiskType:                     AsyncFlush,
		SyncFlushTimeout:                  5000,
		FlushIntervalCommitLog:            500,
		FlushCommitLogLeastPages:          4,
		FlushCommitLogThoroughInterval:    10_000,
		FlushCommitLogTimed:               true,
		TransientStorePoolSize:            5,
		CommitIntervalCommitLog:           200,
		CommitCommitLogLeastPages:         4,
		CommitCommitLogThoroughInterval:   200,
		WakeCommitWhenPutMessage:          true,
		FlushIntervalConsumeQueue:         1000,
		FlushConsumeQueueLeastPages:       2,
		FlushConsumeQueueThoroughInterval: 60_000,
		MaxMessageSize:                    4 << 20,
		RecoverThreadPoolNums:             32,
		CheckCRCOnRecover:                 true,
		OSPageCacheBusyTimeOutMills:       1000,
		MessageIndexEnable:                true,
		MaxHashSlotNum:                    5_000_000,
		MaxIndexNum:                       20_000_000,
		MaxMsgsNumBatch:                   64,
		DefaultQueryMaxNum:                32,
		MaxTransferBytesOnMessageInMemory: 256 << 10,
		MaxTransferCountOnMessageInMemory: 32,
		MaxTransferBytesOnMessageInDisk:   64 << 10,
		MaxTransferCountOnMessageInDisk:   8,
		AccessMessageInMemoryMaxRatio:     40,
		MaxFilterMessageSize:              16_000,
		MessageDelayLevel:                 "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h",

		FileReservedTime: 72, DeleteWhen: "04", DeleteFileBatchMax: 10,
		DiskMaxUsedSpaceRatio: 75, DiskSpaceWarningLevelRatio: 90, DiskSpaceCleanForciblyRatio: 85,
		CleanFileForciblyEnable: true, CleanResourceInterval: 10_000,
		DeleteCommitLogFilesInterval: 100, DeleteConsumeQueueFilesInterval: 100,
		DestroyMapedFileIntervalForcibly: 120_000, RedeleteHangedFileInterval: 120_000,
		ReplicasPerDiskPartition: 1, LogicalDiskSpaceCleanForciblyThreshold: 0.8,
	}
}

// check reports the first setting that the store cannot work with, and brings
// the others into the form that the store uses.
func (c *Config) check() error {
	if c.StorePathRootDir == "" {
		return fmt.Errorf("storePathRootDir is empty")
	}
	if c.StorePathCommitLog == "" {
		if strings.Contains(c.StorePathRootDir, pathSplitter) {
			return fmt.Errorf("storePathRootDir is %q: with a comma in it the path of the commit log would count as several; use a folder without one, or set storePathCommitLog", c.StorePathRootDir)
		}
		c.StorePathCommitLog = c.StorePathRootDir + "/commitlog"
	}
	if c.FlushDiskType != AsyncFlush && c.FlushDiskType != SyncFlush {
		return fmt.Errorf("flushDiskType is %q, want %s or %s", c.FlushDiskType, AsyncFlush, SyncFlush)
	}
	c.MappedFileSizeConsumeQueue = (c.MappedFileSizeConsumeQueue + cqUnitSize - 1) / cqUnitSize * cqUnitSize
	c.MapperFileSizeBatchConsumeQueue = (c.MapperFileSizeBatchConsumeQueue + bcqUnitSize - 1) / bcqUnitSize * bcqUnitSize
	for _, v := range []struct {
		key    string
		n, min int64
	}{
		{"mappedFileSizeCommitLog", c.MappedFileSizeCommitLog, 1 << 10},
		{"mappedFileSizeConsumeQueue", c.MappedFileSizeConsumeQueue, cqUnitSize},
		{"mapperFileSizeBatchConsumeQueue", c.MapperFileSizeBatchConsumeQueue, bcqUnitSize},
		{"mappedFileSizeConsumeQueueExt", c.MappedFileSizeConsumeQueueExt, ExtHeaderSize + extFree},
		{"maxHashSlotNum", int64(c.MaxHashSlotNum), 1},
		{"maxIndexNum", int64(c.MaxIndexNum), 2},
		{"maxMessageSize", int64(c.MaxMessageSize), 1},
		{"flushIntervalCommitLog", c.FlushIntervalCommitLog, 1},
		{"flushIntervalConsumeQueue", c.FlushIntervalConsumeQueue, 1},
		{"syncFlushTimeout", c.SyncFlushTimeout, 1},
		{"commitIntervalCommitLog", c.CommitIntervalCommitLog, 1},
		{"cleanResourceInterval", c.CleanResourceInterval, 1},
	} {
		if v.n < v.min {
			return fmt.Errorf("%s is %d, want at least %d", v.key, v.n, v.min)
		}
	}
	if len(newLogPaths(c).write) == 0 {
		return fmt.Errorf("storePathCommitLog is %q: every path of it is one of readOnlyCommitLogStorePaths too, want one for new files", c.StorePathCommitLog)
	}
	if _, err := parseHours(c.DeleteWhen); err != nil {
		return err
	}
	if c.TransientStorePoolEnable && c.TransientStorePoolSize < 3 {
		return fmt.Errorf("transientStorePoolSize is %d, want at least 3: the file that is written and the one made ahead "+
			"have a buffer each, and messages are refused when none is left", c.TransientStorePoolSize)
	}
	_, err := ParseDelayLevels(c.MessageDelayLevel)
	return err
}

// ParseDelayLevels returns the delay of each level; level 1 is the first.
func ParseDelayLevels(s string) ([]time.Duration, error) {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}
	var levels []time.Duration
	for _, word := range strings.Fields(s) {
		unit, ok := units[word[len(word)-1]]
		n, err := strconv.ParseInt(word[:len(word)-1], 10, 32)
		if !ok || err != nil || n < 0 {
			return nil, fmt.Errorf("messageDelayLevel has %q, want a number and one of s, m, h, d", word)
		}
		levels = append(levels, time.Duration(n)*unit)
	}
	return levels, nil
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
