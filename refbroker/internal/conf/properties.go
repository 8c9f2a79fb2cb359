// Package conf reads the configuration files of RocketMQ, which are Java
// properties (java.util.Properties: comments, three kinds of separators,
// escapes, continuation lines), maps them onto structs by tags, prints them
// back, and changes them at run time.
package conf

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Entry is one key with its value and the line it begins on.
type Entry struct {
	Key, Value string
	Line       int
}

// Properties are the entries of a file.
type Properties struct {
	Name    string // of the file, for messages
	Entries []Entry
}

// Get returns the value of key; the last one counts if there are several.
func (p *Properties) Get(key string) (string, bool) {
	if p == nil {
		return "", false
	}
	for i := len(p.Entries) - 1; i >= 0; i-- {
		if p.Entries[i].Key == key {
			return p.Entries[i].Value, true
		}
	}
	return "", false
}

// Set adds an entry that wins over earlier ones of its key.
func (p *Properties) Set(key, value string) {
	p.Entries = append(p.Entries, Entry{Key: key, Value: value})
}

// Load reads a file.
func Load(path string) (*Properties, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, data)
}

// Parse reads data as java.util.Properties does, except that UTF-8 is taken
// for what it is; anything else counts as ISO 8859-1. The only possible error
// is a malformed \u escape, which Java refuses too.
func Parse(name string, data []byte) (*Properties, error) {
	p := &Properties{Name: name}
	lines := logicalLines(text(data))
	for _, l := range lines {
		key, value := cut(l.text)
		k, err1 := unescape(key)
		v, err2 := unescape(value)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf(`%s:%d: malformed \u escape: four hexadecimal digits must follow`, name, l.number)
		}
		p.Entries = append(p.Entries, Entry{k, v, l.number})
	}
	return p, nil
}

func text(data []byte) string {
	if utf8.Valid(data) {
		return string(data)
	}
	runes := make([]rune, len(data))
	for i, b := range data {
		runes[i] = rune(b)
	}
	return string(runes)
}

type line struct {
	text   string
	number int
}

const blanks = " \t\f"

// logicalLines joins continued lines and leaves out comments and blank ones.
// A comment is never continued; a line is when it ends in an odd number of backslashes.
func logicalLines(s string) []line {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	s = strings.ReplaceAll(s, "\r", "\n")
	var lines []line
	var joined strings.Builder
	first := 0
	for i, l := range strings.Split(s, "\n") {
		l = strings.TrimLeft(l, blanks)
		if first == 0 {
			if l == "" || l[0] == '#' || l[0] == '!' {
				continue
			}
			first = i + 1
		}
		if continued(l) {
			joined.WriteString(l[:len(l)-1])
			continue
		}
		joined.WriteString(l)
		lines = append(lines, line{joined.String(), first})
		joined.Reset()
		first = 0
	}
	if first > 0 { // the last line asks for another
		lines = append(lines, line{joined.String(), first})
	}
	return lines
}

func continued(l string) bool {
	return (len(l)-len(strings.TrimRight(l, `\`)))%2 == 1
}

// cut splits at the first separator that is not escaped: blanks, and at most
// one = or : among them. Blanks behind the value belong to it.
func cut(l string) (key, value string) {
	end := len(l)
	for i := 0; i < len(l); i++ {
		if l[i] == '\\' {
			i++
			continue
		}
		if strings.IndexByte(blanks+"=:", l[i]) >= 0 {
			end = i
			break
		}
	}
	key, value = l[:end], strings.TrimLeft(l[end:], blanks)
	if value != "" && (value[0] == '=' || value[0] == ':') {
		value = strings.TrimLeft(value[1:], blanks)
	}
	return key, value
}

// unescape undoes \t \n \r \f \uXXXX; any other escaped character stands for itself.
func unescape(s string) (string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, nil
	}
	var units []uint16
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		i += n
		if r == '\\' {
			if i == len(s) {
				break
			}
			r, n = utf8.DecodeRuneInString(s[i:])
			i += n
			switch r {
			case 't':
				r = '\t'
			case 'n':
				r = '\n'
			case 'r':
				r = '\r'
			case 'f':
				r = '\f'
			case 'u':
				if len(s) < i+4 {
					return "", strconv.ErrSyntax
				}
				u, err := strconv.ParseUint(s[i:i+4], 16, 16)
				if err != nil {
					return "", err
				}
				units = append(units, uint16(u))
				i += 4
				continue
			}
		}
		units = utf16.AppendRune(units, r)
	}
	return string(utf16.Decode(units)), nil
}
