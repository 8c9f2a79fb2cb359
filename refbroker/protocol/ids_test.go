package protocol

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestJavaHash(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int32{
		"": 0, "TagA": 2598919, "T#K": 81884, "标签": 857175, "BenchmarkTest": 1141318415,
		"polygenelubricants": -2147483648, "😀": 1772899,
	} {
		if got := JavaHash(s); got != want {
			t.Errorf("JavaHash(%q) = %d, want %d", s, got, want)
		}
	}
	if TagsCode("polygenelubricants") != -2147483648 || TagsCode("") != 0 {
		t.Error("codes of tags are not sign-extended hashes")
	}
}

func TestOffsetMsgID(t *testing.T) {
	t.Parallel()
	tests := []struct {
		host   string
		offset int64
		want   string
	}{
		{"127.0.0.1:10911", 0x1234, "7F00000100002A9F0000000000001234"},
		{"[::ffff:127.0.0.1]:10911", 0x1234, "7F00000100002A9F0000000000001234"},
		{"[2001:db8::1]:65535", 1, "20010DB80000000000000000000000010000FFFF0000000000000001"},
	}
	for _, tt := range tests {
		host := netip.MustParseAddrPort(tt.host)
		id := OffsetMsgID(host, tt.offset)
		if id != tt.want {
			t.Errorf("%s: %s", tt.host, id)
		}
		for _, text := range []string{id, strings.ToLower(id)} {
			gotHost, gotOffset, err := ParseOffsetMsgID(text)
			if err != nil || gotOffset != tt.offset || gotHost.Addr() != host.Addr().Unmap() || gotHost.Port() != host.Port() {
				t.Errorf("%s came back as %v %d %v", text, gotHost, gotOffset, err)
			}
		}
	}
	for _, bad := range []string{"", "7F", strings.Repeat("G", 32), strings.Repeat("0", 31), strings.Repeat("0", 34), "7F0000010100000F0000000000001234"} {
		if _, _, err := ParseOffsetMsgID(bad); !errors.Is(err, ErrBadMsgID) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestUniqKeysAreUnique makes more keys within a millisecond than a 16-bit
// counter holds, from many goroutines.
func TestUniqKeysAreUnique(t *testing.T) {
	t.Parallel()
	const goroutines, each = 8, 25_000
	k := newUniqKeys(netip.MustParseAddr("10.0.0.1"), 77, 5)
	made := make([][]string, goroutines)
	var wg sync.WaitGroup
	for g := range made {
		wg.Go(func() {
			for range each {
				made[g] = append(made[g], string(k.append(nil, 1700000000000)))
			}
		})
	}
	wg.Wait()
	seen := make(map[string]bool, goroutines*each)
	for _, keys := range made {
		for _, key := range keys {
			if seen[key] {
				t.Fatalf("%s was made twice", key)
			}
			seen[key] = true
		}
	}
}

func TestUniqKeyLayout(t *testing.T) {
	t.Parallel()
	now := time.Date(2024, time.March, 1, 0, 0, 1, 0, time.Local).UnixMilli()
	k := newUniqKeys(netip.MustParseAddr("10.0.0.1"), 0x12345, 0)
	first := string(k.append(nil, now))
	// address, low half of the process id, 2024*12+3, 1000 ms into the month, counter
	if want := "0A000001" + "2345" + "00005EE3" + "000003E8" + "0000"; first != want {
		t.Errorf("got %s, want %s", first, want)
	}
	if second := string(k.append(nil, now)); second != first[:28]+"0001" {
		t.Errorf("the second is %s", second)
	}
	if back := string(k.append(nil, now-5000)); back <= first || back[:28] != first[:28] {
		t.Errorf("after the clock was set back: %s", back)
	}
	next := string(k.append(nil, time.Date(2024, time.April, 1, 0, 0, 1, 0, time.Local).UnixMilli()))
	if next[12:20] != "00005EE4" || next[20:28] != "000003E8" {
		t.Errorf("a month later: %s", next)
	}
	if key := NewUniqKey(); len(key) != UniqKeyLen || key == NewUniqKey() || strings.ToUpper(key) != key {
		t.Errorf("NewUniqKey made %q", key)
	}
}

func TestProperties(t *testing.T) {
	t.Parallel()
	type pair struct{ Name, Value string }
	tests := []struct {
		name, properties string
		want             []pair
	}{
		{"empty", "", nil},
		{"two", "a\x011\x02b\x012\x02", []pair{{"a", "1"}, {"b", "2"}}},
		{"last separator missing", "a\x011\x02b\x012", []pair{{"a", "1"}, {"b", "2"}}},
		{"empty value", "a\x01\x02b\x012\x02", []pair{{"b", "2"}}},
		{"empty name", "\x011\x02b\x012\x02", []pair{{"b", "2"}}},
		{"no value", "abc\x02b\x012\x02", []pair{{"b", "2"}}},
		{"stray separators", "\x02\x02b\x012\x02\x02", []pair{{"b", "2"}}},
		{"separator in the value", "a\x011\x012\x02", []pair{{"a", "1\x012"}}},
		{"name twice", "a\x011\x02a\x012\x02", []pair{{"a", "1"}, {"a", "2"}}},
	}
	for _, tt := range tests {
		var got []pair
		last := map[string]string{}
		EachProperty(tt.properties, func(n, v string) bool { got = append(got, pair{n, v}); last[n] = v; return true })
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		for _, name := range []string{"a", "b", "c", ""} {
			v, ok := Property(tt.properties, name)
			if want, there := last[name]; v != want || ok != there {
				t.Errorf("%s: Property(%q) = %q, %v", tt.name, name, v, ok)
			}
		}
	}
	calls := 0
	EachProperty("a\x011\x02b\x012\x02", func(string, string) bool { calls++; return false })
	if calls != 1 {
		t.Errorf("EachProperty went on for %d calls", calls)
	}
}

func TestPropertyEdits(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, got, want string }{
		{"append to nothing", string(AppendProperty(nil, "k", "v")), "k\x01v\x02"},
		{"append inserts the separator", string(AppendProperty([]byte("a\x011"), "k", "v")), "a\x011\x02k\x01v\x02"},
		{"remove", RemoveProperty("a\x011\x02b\x012\x02a\x013\x02", "a"), "b\x012\x02"},
		{"remove an empty value", RemoveProperty("a\x01\x02b\x012\x02", "a"), "b\x012\x02"},
		{"remove none", RemoveProperty("a\x011\x02b\x012", "c"), "a\x011\x02b\x012"},
		{"remove takes whole names", RemoveProperty("ab\x011\x02", "b"), "ab\x011\x02"},
		{"set", SetProperty("a\x011\x02b\x012", "a", "3"), "b\x012\x02a\x013\x02"},
		{"set a new one", SetProperty("", "a", "3"), "a\x013\x02"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, tt.got, tt.want)
		}
	}
}
