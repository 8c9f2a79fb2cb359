package timer

import (
	"fmt"
	"math"
)

// Settings are the keys of Java's MessageStoreConfig about timer messages,
// under their Java names. Of these timerWheelEnable, timerPrecisionMs,
// timerRollWindowSlot and mappedFileSizeTimerLog count at start only.
type Settings struct {
	TimerWheelEnable             bool  `conf:"timerWheelEnable"`
	TimerPrecisionMs             int64 `conf:"timerPrecisionMs"` // 100, 200, 500 or 1000; others go down to one of these
	TimerRollWindowSlot          int64 `conf:"timerRollWindowSlot"`
	TimerMaxDelaySec             int64 `conf:"timerMaxDelaySec"`
	TimerFlushIntervalMs         int64 `conf:"timerFlushIntervalMs"`
	TimerCongestNumEachSlot      int64 `conf:"timerCongestNumEachSlot"`
	TimerStopEnqueue             bool  `conf:"timerStopEnqueue"`
	TimerStopDequeue             bool  `conf:"timerStopDequeue"`
	TimerSkipUnknownError        bool  `conf:"timerSkipUnknownError"`
	TimerEnableRetryUntilSuccess bool  `conf:"timerEnableRetryUntilSuccess"`
	MappedFileSizeTimerLog       int64 `conf:"mappedFileSizeTimerLog"` // bytes
}

// DefaultSettings returns Java's defaults.
func DefaultSettings() Settings {
	return Settings{
		TimerWheelEnable: true, TimerPrecisionMs: 1000, TimerRollWindowSlot: 2 * 24 * 3600, TimerMaxDelaySec: 3 * 24 * 3600,
		TimerFlushIntervalMs: 1000, TimerCongestNumEachSlot: math.MaxInt32, MappedFileSizeTimerLog: 100 << 20,
	}
}

// Check reports the first setting that cannot be worked with, and brings the
// others into the form that is used.
func (s *Settings) Check() error {
	switch {
	case s.MappedFileSizeTimerLog < unitSize+blankSize:
		return fmt.Errorf("mappedFileSizeTimerLog is %d, want at least %d", s.MappedFileSizeTimerLog, unitSize+blankSize)
	case s.TimerFlushIntervalMs < 1:
		return fmt.Errorf("timerFlushIntervalMs is %d, want at least 1", s.TimerFlushIntervalMs)
	case s.TimerCongestNumEachSlot < 0:
		return fmt.Errorf("timerCongestNumEachSlot is %d, want at least 0", s.TimerCongestNumEachSlot)
	}
	precision := int64(100)
	for _, p := range []int64{200, 500, 1000} {
		if s.TimerPrecisionMs >= p {
			precision = p
		}
	}
	s.TimerPrecisionMs = precision
	if most := int64(daysSlots - blankSlots); s.TimerRollWindowSlot < 2 || s.TimerRollWindowSlot > most {
		s.TimerRollWindowSlot = most
	}
	return nil
}

// Slots of the wheel, of any precision. A message is never put further ahead
// than half of the wheel, less a margin.
const (
	daysSlots  = 7 * 24 * 3600
	wheelSlots = 2 * daysSlots
	blankSlots = 60
)
