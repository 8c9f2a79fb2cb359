package results

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// someLedger has something of everything.
func someLedger() *LedgerState {
	a := &LedgerAccount{Own: true, Places: NewPlaces(8, 8), Views: []LedgerAccountView{{Expected: 5, Received: 4}}}
	a.Send(0, 7)
	a.Acked.AddRange(0, 5)
	a.Failed.Add(5)
	a.Unknown.Add(6)
	a.Places.Put(3, Place{Offset: 33, Queue: 1})
	a.Views[0].Seen.AddRange(0, 3)
	a.Views[0].Seen.Add(4)
	for i := int64(100_000); i < 110_000; i += 3 {
		a.Views[0].Filtered.Add(i)
	}
	q := &LedgerQueue{Broker: "b", Queue: 1, Highest: 40, Windows: []LedgerWindow{{Event: 1, Hi: 3}}, Rewinds: []LedgerRewind{{Event: 2, From: 1, To: 2}}}
	q.Got.AddRange(30, 41)
	return &LedgerState{
		Run: 1<<63 + 5, Brokers: []string{"b"}, Accounts: []*LedgerAccount{a}, Foreign: 2, Corrupt: 1,
		Views:      []*LedgerView{{Group: "g", Member: -1, Consumed: true, Queues: []*LedgerQueue{q}}},
		Violations: []Violation{{Kind: KindForeign, Group: "g", Producer: -1, Sequence: -1, Broker: "b", Queue: 3, Offset: 4}},
	}
}

func TestLedgerFile(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), time.Unix(1_700_000_000, 5).UTC()
	s := someLedger()
	if err := s.Save(filepath.Join(dir, LedgerFile), now); err != nil {
		t.Fatal(err)
	}
	got, err := ReadLedger(dir)
	if err != nil {
		t.Fatal(err)
	}
	w, again := &writer{}, &writer{}
	s.code(w)
	got.code(again)
	if string(w.b) != string(again.b) || got.Saved != now || got.Run != s.Run {
		t.Errorf("%d bytes became %d, saved %v, run %x", len(w.b), len(again.b), got.Saved, got.Run)
	}
	l, rest := got.Settled()
	if l.Sent != 7 || l.Acked != 5 || l.Lost != 1 || l.Foreign != 2 || rest != (LedgerRest{}) || l.Violations[1] != (Violation{Kind: KindLost, Group: "g", Sequence: 3, Broker: "b", Queue: 1, Offset: 33}) {
		t.Errorf("ledger %+v, %+v", l, rest)
	}
	if asOf, at, err := LedgerAsOf(dir); err != nil || at != now || asOf.Lost != l.Lost {
		t.Errorf("as of %v lost %d, %v", at, asOf.Lost, err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%d files are there after one was saved", len(files))
	}
	if _, err := ReadLedger(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a folder that is not there: %v", err)
	}
}

// encodedLedger is a file as Save writes it.
func encodedLedger(body []byte) []byte {
	b := append([]byte(ledgerMagic), body...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// TestDamagedLedgerFiles: each is refused with a sentence.
func TestDamagedLedgerFiles(t *testing.T) {
	t.Parallel()
	w := &writer{}
	someLedger().code(w)
	whole := encodedLedger(w.b)
	flipped := append([]byte{}, whole...)
	flipped[len(flipped)/2] ^= 4
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":                {nil, "does not begin"},
		"other magic":          {[]byte("RMQBLDG9 and more"), "does not begin"},
		"torn":                 {whole[:len(whole)-1], "checksum"},
		"a flipped bit":        {flipped, "checksum"},
		"cut, with a checksum": {encodedLedger(w.b[:len(w.b)/3]), "damaged"},
		"more than a ledger":   {encodedLedger(append(append([]byte{}, w.b...), 0)), "more than a ledger"},
		"huge length":          {encodedLedger([]byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}), "are said to follow"},
	} {
		path := filepath.Join(t.TempDir(), LedgerFile)
		if err := os.WriteFile(path, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadLedger(path); !errors.Is(err, ErrLedger) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzReadLedger: whatever is in a file, reading and settling it ends, and what
// was read is written the same way again.
func FuzzReadLedger(f *testing.F) {
	w := &writer{}
	someLedger().code(w)
	f.Add(w.b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := decodeLedger(encodedLedger(body))
		if err != nil {
			return
		}
		first, second := &writer{}, &writer{}
		s.code(first)
		again, err := decodeLedger(encodedLedger(first.b))
		if err != nil {
			t.Fatal(err)
		}
		again.code(second)
		if len(first.b) != len(second.b) {
			t.Errorf("%d bytes became %d", len(first.b), len(second.b))
		}
	})
}
