package store

import (
	"path/filepath"
	"testing"
)

// TestIndexFileNamesAscend: a file that a wrong clock named must not keep the
// next one from being made.
func TestIndexFileNamesAscend(t *testing.T) {
	t.Parallel()
	for last, want := range map[string]string{
		"29991231235959998": "29991231235959999",
		"99991231235959999": "99991231235960000",
		"99999999999999999": "999999999999999990",
	} {
		x := &index{dir: "index", files: []*indexFile{{path: filepath.Join("index", last)}}}
		if got := filepath.Base(x.nextName()); got != want {
			t.Errorf("behind %s comes %s, want %s", last, got, want)
		}
	}
}
