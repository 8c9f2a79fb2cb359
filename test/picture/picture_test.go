package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"regexp"
)

func TestScreen(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, written, want string }{
		{"lines", "a\r\nb\r\n", "a\nb\n"},
		{"redrawn", "a\r\nbb\r\n\x1b[2A\rc\x1b[K\r\nd\x1b[K\r\n", "c\nd\n"},
		{"erased", "a\r\nb\r\nc\r\n\x1b[2A\r\x1b[Jx\r\n", "a\nx\n"},
		{"wrapped", strings.Repeat("x", 12), "xxxxxxxxxx\nxx\n"},
		{"coloured", "\x1b[31mred\x1b[0m plain", "red plain\n"},
	}
	for _, tt := range tests {
		for _, size := range []int{1, 3, 1000} { // sequences and characters may come in pieces
			s := &screen{columns: 10, redraw: func() {}}
			for b := []byte(tt.written); len(b) > 0; b = b[min(size, len(b)):] {
				s.write(b[:min(size, len(b))])
			}
			if got := text(s.visible(5)); got != tt.want {
				t.Errorf("%s in pieces of %d: %q, want %q", tt.name, size, got, tt.want)
			}
		}
	}
}

func TestDraw(t *testing.T) {
	t.Parallel()
	o := options{out: filepath.Join(t.TempDir(), "p.svg"), at: regexp.MustCompile("<ready>"), columns: 40, rows: 5}
	err := o.draw([]string{"sh", "-c", `printf 'phase <ready> ▄█\r\n'; printf '\033[1A\r\033[Jover\r\n'`})
	if err != nil && errors.Is(err, os.ErrNotExist) {
		t.Skipf("no pseudo terminal here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	picture, err := os.ReadFile(o.out)
	if err != nil || !bytes.Contains(picture, []byte("phase &lt;ready&gt; ▄█</text>")) {
		t.Errorf("%v\n%s", err, picture)
	}
	for d := xml.NewDecoder(bytes.NewReader(picture)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
