package load

import "strings"

// filter is a TAG subscription expression; nil matches everything.
type filter []string

func parseFilter(expression string) filter {
	if e := strings.TrimSpace(expression); e == "" || e == "*" {
		return nil
	}
	f := filter{}
	for _, tag := range strings.Split(expression, "||") {
		if tag = strings.TrimSpace(tag); tag != "" {
			f = append(f, tag)
		}
	}
	return f
}

func (f filter) matches(tag string) bool {
	if f == nil {
		return true
	}
	for _, t := range f {
		if t == tag {
			return true
		}
	}
	return false
}
