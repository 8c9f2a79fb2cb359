package store

// SYNC_FLUSH flushes after every few records, and an fdatasync is two to four
// times as fast where it finds the file's blocks allocated and written before:
// it has no change of the file's own structure to make durable as well. So the
// writer of the log writes zeros a little ahead of the records. It is the only
// writer, which is why nothing can come between; and zeros are what a file of
// the log holds behind its end anyway, so that neither readers nor recovery see
// a difference. Java has warmMapedFileEnable, which writes whole files ahead.
const (
	aheadPage  = 4096
	aheadChunk = 1 << 20   // bytes written ahead at a time
	aheadLow   = 256 << 10 // when fewer than these are left, the next chunk is written
	// aheadMost is up to how many bytes that wait for a flush it is worth it:
	// with more, the bytes cost more time than the blocks.
	aheadMost = 192 << 10
)

var zeros [aheadChunk]byte

const aheadFailed = "cannot write ahead in the commit log: flushes will take longer"

// writeAhead sees to it that blocks of f behind end, the end of the log, are
// written. It is for the log's writer to call. When it fails no record is worse
// off, and it is not tried again on this file.
func (l *commitLog) writeAhead(f *logFile, end int64) {
	if !l.ahead || end+aheadLow <= f.blocks || end-l.flushed.Load() > aheadMost {
		return
	}
	from := max(f.blocks, (end+aheadPage-1)/aheadPage*aheadPage)
	to := min(from+aheadChunk, f.end())
	if from >= to {
		return
	}
	f.blocks = to
	if _, err := f.file.WriteAt(zeros[:to-from], from-f.base); err != nil {
		f.blocks = f.end()
		l.log.Warn(aheadFailed, "err", err)
	}
}
