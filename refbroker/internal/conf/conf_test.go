package conf

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, in string
		want     []Entry
	}{
		{"plain", "a=1\nb=2\n", []Entry{{"a", "1", 1}, {"b", "2", 2}}},
		{"separators", "a = 1\nb:2\nc 3\nd\t: 4\ne", []Entry{{"a", "1", 1}, {"b", "2", 2}, {"c", "3", 3}, {"d", "4", 4}, {"e", "", 5}}},
		{"only one separator is eaten", "a == 1\nb=:2\nc : = 3", []Entry{{"a", "= 1", 1}, {"b", ":2", 2}, {"c", "= 3", 3}}},
		{"comments", "# x=1\n  ! y=2\n\n\t\na=1#2\n", []Entry{{"a", "1#2", 5}}},
		{"blanks behind a value stay", "a = 1 \t", []Entry{{"a", "1 \t", 1}}},
		{"continued", "a=1,\\\n   2,\\\n\t3\nb=4", []Entry{{"a", "1,2,3", 1}, {"b", "4", 4}}},
		{"continued by what looks like a comment", "a=1\\\n#2", []Entry{{"a", "1#2", 1}}},
		{"a comment is not continued", "# a\\\nb=1", []Entry{{"b", "1", 2}}},
		{"two backslashes do not continue", `a=1\\` + "\nb=2", []Entry{{"a", `1\`, 1}, {"b", "2", 2}}},
		{"continued by the end", `a=1\`, []Entry{{"a", "1", 1}}},
		{"escapes", `a\ b\=c\:d = \ x\ty\n\\z\q`, []Entry{{"a b=c:d", " x\ty\n\\zq", 1}}},
		{"unicode", `a=\u4e2d\u6587 \ud83d\ude00`, []Entry{{"a", "中文 😀", 1}}},
		{"utf-8", "a=中文", []Entry{{"a", "中文", 1}}},
		{"latin-1", "a=caf\xe9", []Entry{{"a", "café", 1}}},
		{"carriage returns", "a=1\r\nb=2\rc=3", []Entry{{"a", "1", 1}, {"b", "2", 2}, {"c", "3", 3}}},
		{"empty", "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p, err := Parse("f", []byte(tc.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, p.Entries); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefusesBadUnicode(t *testing.T) {
	t.Parallel()
	for _, in := range []string{`a=\u12`, `a=\u12g4`, `\u=1`} {
		if _, err := Parse("broker.conf", []byte("x=1\n"+in)); err == nil || !strings.Contains(err.Error(), "broker.conf:2") {
			t.Errorf("%s: %v", in, err)
		}
	}
}

type sample struct {
	Name   string  `conf:"brokerName"`
	Role   string  `conf:"brokerRole" oneof:"ASYNC_MASTER|SLAVE"`
	Port   int     `conf:"listenPort"`
	Size   int64   `conf:"fileSize"`
	On     bool    `conf:"enabled"`
	Ratio  float64 `conf:"ratio"`
	Inner  inner
	Hidden int
}

type inner struct {
	Path string `conf:"path"`
	Port int    `conf:"listenPort"` // one key, two objects, as with Java's netty and broker configuration
}

func TestApply(t *testing.T) {
	t.Parallel()
	p, err := Parse("b.conf", []byte(`
brokerName = a \

brokerRole=MASTER
listenPort=10911
fileSize=99999999999
enabled=TRUE
ratio=0.25
path=/x
hidden=3
unknown=1
`))
	if err != nil {
		t.Fatal(err)
	}
	s := sample{Role: "ASYNC_MASTER"}
	problems := Apply(p, &s)
	want := sample{Name: "a", Role: "ASYNC_MASTER", Port: 10911, Size: 99999999999, On: true, Ratio: 0.25, Inner: inner{"/x", 10911}}
	if diff := cmp.Diff(want, s, cmp.AllowUnexported(sample{}, inner{})); diff != "" {
		t.Error(diff)
	}
	var got []string
	for _, pr := range problems {
		got = append(got, pr.Error())
	}
	wantProblems := []string{
		`b.conf:4: brokerRole: "MASTER" is none of ASYNC_MASTER, SLAVE`,
		"b.conf:10: hidden: not a setting of this version",
		"b.conf:11: unknown: not a setting of this version",
	}
	if diff := cmp.Diff(wantProblems, got); diff != "" {
		t.Error(diff)
	}
}

func TestApplyKeepsWhatCannotBeParsed(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"listenPort=1 ", "listenPort=0x10", "listenPort=99999999999", "listenPort=", "fileSize=1.5", "ratio=much"} {
		s := sample{Port: 7, Size: 8, Ratio: 9, Inner: inner{Port: 6}}
		want := s
		p, _ := Parse("f", []byte(in))
		if problems := Apply(p, &s); len(problems) != 1 || s != want {
			t.Errorf("%q: %v, %+v", in, problems, s)
		}
	}
	s := sample{On: true}
	p, _ := Parse("f", []byte("enabled=yes"))
	if problems := Apply(p, &s); len(problems) != 1 || s.On {
		t.Errorf("enabled=yes: %v, %+v; Java takes it for false", problems, s)
	}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	s := sample{Name: "a", Port: 1, Size: 2, On: true, Ratio: 3}
	want := "brokerName=a\nbrokerRole=\nenabled=true\nfileSize=2\nlistenPort=1\npath=\nratio=3.0\nzz=top\n"
	if got := Format(map[string]string{"zz": "top"}, &s); got != want {
		t.Errorf("got %s", got)
	}
	if got := FormatOnly([]string{"brokerName", "elsewhere"}, &s); got != "brokerName=a\n" {
		t.Errorf("only: %s", got)
	}
}

func TestLive(t *testing.T) {
	t.Parallel()
	file, _ := Parse("f", []byte("listenPort=1\nstrange=x"))
	s := sample{}
	Apply(file, &s)
	l := NewLive(&s, file)
	before := l.Get()
	p, _ := Parse("request", []byte("brokerName=n\nstrange=y\nother=z\nlistenPort=no"))
	problems, err := l.Update(p, "configBlackList")
	if err != nil || len(problems) != 2 {
		t.Fatalf("%v, %v", problems, err)
	}
	if before.Name != "" || l.Get().Name != "n" || l.Get().Port != 1 {
		t.Errorf("snapshot %+v, now %+v", before, l.Get())
	}
	if !strings.Contains(l.Lines(), "strange=y\n") || strings.Contains(l.Lines(), "other") {
		t.Errorf("lines %s", l.Lines())
	}
	if _, err := l.Update(p, BlackList("a;brokerName")...); !errors.Is(err, ErrBlacklisted) {
		t.Errorf("blacklisted: %v", err)
	}
	path := filepath.Join(t.TempDir(), "deep", "f.properties")
	if err := l.Save(path); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != l.Lines() {
		t.Errorf("saved %s", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("a=1\\\n b\\u0041 : c\n#x"))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := Parse("f", in)
		if err != nil {
			return
		}
		for _, e := range p.Entries {
			if e.Line < 1 {
				t.Errorf("line %d", e.Line)
			}
		}
	})
}
