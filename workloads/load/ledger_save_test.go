package load

import (
	"os"
	"testing"
	"time"
)

// saved saves the ledger and returns how large its file is.
func saved(t testing.TB, l *ledger, path string) int64 {
	t.Helper()
	if err := l.save(path, time.Unix(1_800_000_000, 0)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
