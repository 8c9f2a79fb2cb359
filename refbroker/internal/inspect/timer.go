package inspect

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// The timer's files: a wheel of slots, each with the places of the first and
// the last unit of its chain in the timer log (Java's TimerWheel and TimerLog).
const (
	wheelSlot  = 32
	wheelSize  = 2 * 7 * 86400 * wheelSlot
	timerUnit  = 52
	timerMagic = 0xF // bits that a unit's magic may have
)

// Timer is a unit of the timer log.
type Timer struct {
	At       int64 `json:"at"` // in the timer log
	Prev     int64 `json:"previous"`
	Magic    int32 `json:"magic"` // 1 plain, 2 rolled, 4 deletes
	Written  int64 `json:"writeTime"`
	Deliver  int64 `json:"deliverTime"`
	Phys     int64 `json:"physicalOffset"`
	Size     int32 `json:"size"`
	HashCode int32 `json:"topicHash"`
}

// Timers calls fn for each unit of the timer log and returns its end.
func (f *Folder) Timers(fn func(Timer) error) (end int64, err error) {
	seq, err := openSequence(f.path("timerlog"))
	if err != nil || seq.size == 0 {
		return 0, err
	}
	var b [timerUnit]byte
	for at := seq.first(); at < seq.end(); {
		if k, err := seq.read(b[:], at); err != nil {
			return at, err
		} else if k < timerUnit || binary.BigEndian.Uint32(b[12:]) == 0xCBD43194 {
			at = at/seq.size*seq.size + seq.size
			continue
		}
		t, ok := timerAt(b[:], at)
		if !ok {
			return at, nil
		}
		if err := fn(t); err != nil {
			return at, err
		}
		at += timerUnit
	}
	return seq.end(), nil
}

func timerAt(b []byte, at int64) (Timer, bool) {
	be := binary.BigEndian
	t := Timer{
		At: at, Prev: int64(be.Uint64(b[4:])), Magic: int32(be.Uint32(b[12:])), Written: int64(be.Uint64(b[16:])),
		Phys: int64(be.Uint64(b[28:])), Size: int32(be.Uint32(b[36:])), HashCode: int32(be.Uint32(b[40:])),
	}
	t.Deliver = t.Written + int64(int32(be.Uint32(b[24:])))
	return t, be.Uint32(b) == timerUnit && t.Magic|timerMagic == timerMagic && t.Magic != 0
}

// timer checks the wheel and its log.
func (v *verifier) timer() error {
	seq, err := openSequence(v.f.path("timerlog"))
	if err != nil {
		return err
	}
	v.oddities(seq.odd)
	end, err := v.f.Timers(func(t Timer) error {
		p, _ := seq.find(t.At)
		if t.Prev >= t.At {
			v.found(v.unsettled(), p.path, t.At-p.base, "timer unit leads to byte %d of the timer log, which is not before it", t.Prev)
		}
		if t.Phys+int64(t.Size) > v.report.End {
			v.found(v.unsettled(), p.path, t.At-p.base, "timer unit points to bytes %d to %d of the commit log, which ends at %d", t.Phys, t.Phys+int64(t.Size), v.report.End)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.wheel(seq.first(), end)
}

// wheel checks that slots point into the timer log.
func (v *verifier) wheel(first, end int64) error {
	path := v.f.path("timerwheel")
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(b) != 0 && len(b) != wheelSize {
		v.found(Error, path, -1, "it has %d bytes, want %d: no broker opens it; move it away and timers are read again from the timer log", len(b), wheelSize)
		return nil
	}
	for at := 0; at < len(b); at += wheelSlot {
		s := b[at : at+wheelSlot]
		last, n := int64(binary.BigEndian.Uint64(s[16:])), int32(binary.BigEndian.Uint32(s[24:]))
		if n > 0 && last >= end && last >= first {
			v.found(v.unsettled(), path, int64(at), "slot leads to byte %d of the timer log, which ends at %d", last, end)
		}
	}
	return nil
}
