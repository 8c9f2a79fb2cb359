package store

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func equal[T any](t *testing.T, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("-want +got:\n%s", d)
	}
}

func errorsIs(err, target error) bool { return errors.Is(err, target) }
