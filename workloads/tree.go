package workloads

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// What a workload file may be at most. A workload is a page of text.
const (
	maxFileSize = 64 << 10
	maxDepth    = 24 // the language needs seven levels
)

type nodeKind uint8

const (
	nullNode nodeKind = iota
	scalarNode
	mapNode
	listNode
)

func (k nodeKind) String() string {
	return [...]string{"nothing", "a single value", "a mapping (`key: value`)", "a list"}[k]
}

// span is a place in one of the files (set 0) or in the set-th --set.
type span struct{ set, file, line, column, width int }

// node is a YAML value without the liberties of YAML: no anchors, tags or types.
type node struct {
	kind    nodeKind
	at      span
	text    string // scalar, as written, quotes undone
	quoted  bool   // it was quoted, and must be again
	broken  bool   // a mistake in it has been reported
	entries []entry
	items   []*node
}

type entry struct {
	key   string
	at    span
	value *node
}

func (n *node) get(key string) *node {
	if i := n.index(key); i >= 0 {
		return n.entries[i].value
	}
	return nil
}

func (n *node) index(key string) int {
	return slices.IndexFunc(n.entries, func(e entry) bool { return e.key == key })
}

// parseTree reads one YAML document. set and column say where text stands when
// it is the value of a --set. Mistakes go to d; the tree is nil when nothing
// could be read.
func (d *decoder) parseTree(text string, set, column int) *node {
	place := func(at span) span {
		at.set, at.file = set, d.file
		if set > 0 {
			at.line, at.column = 0, at.column+column-1
		}
		return at
	}
	tokens, ok := d.tokens(masked(text), place)
	if !ok {
		return nil
	}
	file, err := parseTokens(tokens)
	if err != nil {
		d.syntaxError(err, tokens, place)
		return nil
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return &node{at: place(span{line: 1, column: 1, width: 1})}
	}
	b := treeBuilder{d: d, place: place}
	return b.build(file.Docs[0].Body, place(span{line: 1, column: 1, width: 1}), 0)
}

// parseTokens shields us from panics of the parser: the file is a stranger's.
func parseTokens(tokens token.Tokens) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			file, err = nil, fmt.Errorf("this is not YAML that can be read (%v)", r)
		}
	}()
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

func tokenize(text string) (tokens token.Tokens, err error) {
	defer func() {
		if r := recover(); r != nil {
			tokens, err = nil, fmt.Errorf("this is not YAML that can be read (%v)", r)
		}
	}()
	return lexer.Tokenize(text), nil
}

// tokens splits text and refuses what the language leaves out of YAML, before
// the recursive parser sees it: whatever nests or multiplies without end.
func (d *decoder) tokens(text string, place func(span) span) (token.Tokens, bool) {
	tokens, err := tokenize(text)
	if err != nil {
		d.report(place(span{line: 1, column: 1, width: 1}), "", err.Error(), "")
		return nil, false
	}
	before, started := len(d.errs.List), false
	depth, dashes, colons, line := 0, 0, 0, 0
	for i, tk := range tokens {
		at := place(tokenSpan(tk))
		if tk.Position.Line != line {
			line, dashes, colons = tk.Position.Line, 0, 0
		}
		switch tk.Type {
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth = max(depth-1, 0)
		case token.SequenceEntryType:
			dashes++
		case token.MappingValueType:
			if depth == 0 {
				colons++
			}
		}
		if depth > maxDepth || dashes > maxDepth || colons > maxDepth {
			d.report(at, "", "nested too deeply", "a workload needs no more than seven levels")
			return nil, false
		}
		if len(d.errs.List)-before >= maxErrors {
			return nil, false
		}
		if message, hint := foreign(tk, i, tokens, started); message != "" {
			d.report(at, "", message, hint)
			d.last().mend = map[token.Type]func([]string, int){token.DocumentHeaderType: cutOff, token.MappingKeyType: dropComplex}[tk.Type]
		}
		started = started || tk.Type != token.CommentType
		if first, more := severalLines(tk, i, tokens); more {
			d.runOn(first, tk, tokens[i:], at)
			return nil, false // what follows may be split wrongly because of it
		}
	}
	return tokens, len(d.errs.List) == before
}

// foreign says what is wrong with a token that YAML has and the language has not.
func foreign(tk *token.Token, i int, tokens token.Tokens, started bool) (message, hint string) {
	switch tk.Type {
	case token.AnchorType, token.AliasType:
		if tk.Type == token.AliasType && i+1 < len(tokens) {
			return "anchors (`&`) and aliases (`*`) are not part of the language", "to write an asterisk, quote it: `\"*\"`"
		}
		return "anchors (`&`) and aliases (`*`) are not part of the language", "write the value out where it is needed"
	case token.TagType:
		return "YAML tags (`!`) are not part of the language", "leave the tag away, or quote the value"
	case token.DirectiveType:
		return "YAML directives (`%`) are not part of the language", "leave the line away"
	case token.MergeKeyType:
		return "merge keys (`<<`) are not part of the language", "write the values out where they are needed"
	case token.MappingKeyType:
		return "complex keys (`?`) are not part of the language", "write `key: value`"
	case token.DocumentHeaderType:
		if started {
			return "a second YAML document starts here", "one file holds one workload"
		}
	}
	return "", ""
}

// severalLines returns the first line of an unquoted value when it has more.
func severalLines(tk *token.Token, i int, tokens token.Tokens) (first string, more bool) {
	if tk.Type != token.StringType || inBlock(i, tokens) {
		return "", false
	}
	first, _, more = strings.Cut(strings.TrimSpace(tk.Origin), "\n")
	first = strings.TrimSpace(first)
	return first, more && first != strings.TrimSpace(tk.Value)
}

// runOn reports a value that goes on in the next line, which is nearly always a
// wrong indentation or a missing space. The scanner gives one of its lines.
func (d *decoder) runOn(first string, tk *token.Token, rest token.Tokens, at span) {
	before, lines := "", d.current().lines
	first = unmasked(first)
	for l := min(tk.Position.Line, len(lines)); at.set == 0 && l > 0; l-- {
		if i := strings.Index(lines[l-1], first); i >= 0 {
			before = lines[l-1][:i]
			at = span{file: d.file, line: l, column: utf8.RuneCountInString(before) + 1, width: max(utf8.RuneCountInString(first), 1)}
			break
		}
	}
	isKey := len(rest) > 1 && rest[1].Type == token.MappingValueType && strings.TrimSpace(before) == ""
	switch {
	case tightColon.MatchString(first):
		d.tight(at, first)
	case isKey && strings.Count(first, " ") < 2:
		d.report(at, "", "a colon is missing", "write `"+printable(withColon(first))+"`")
		d.last().mend = addColon
	default:
		d.report(at, "", "this value runs over several lines", "check the indentation of the line below; a text of several lines needs quotes")
	}
}

// inBlock reports whether token i is the text of a `|` or `>`.
func inBlock(i int, tokens token.Tokens) bool {
	for i--; i >= 0 && tokens[i].Type == token.CommentType; i-- {
	}
	return i >= 0 && (tokens[i].Type == token.LiteralType || tokens[i].Type == token.FoldedType)
}

func tokenSpan(tk *token.Token) span {
	width := utf8.RuneCountInString(tk.Value)
	switch tk.Type {
	case token.SingleQuoteType, token.DoubleQuoteType:
		width += 2
	}
	return span{line: tk.Position.Line, column: tk.Position.Column, width: max(width, 1)}
}

// syntaxHint turns the commonest complaints of the parser into advice.
func syntaxHint(message string) string {
	for _, h := range []struct{ part, hint string }{
		{"non-map value", "write `key: value`, with a colon and a space"},
		{"unexpected key name", "write `key: value`, with a space behind the colon"},
		{"mapping value is not allowed", "check the indentation of this line, and quote a value that has `: ` in it"},
		{"value is not allowed in this context", "check the indentation: lines of one level start in one column"},
		{"must be specified", "a `{` or `[` before this place is not closed"},
		{"not found", "close what was opened here"},
		{"end character", "close the quotes on the same line"},
		{"reserved character", "quote the value"},
		{"cannot start any token", "indent with spaces and quote unusual characters"},
	} {
		if strings.Contains(message, h.part) {
			return h.hint
		}
	}
	return "check the indentation and the quotes around this place"
}

// treeBuilder turns the AST into nodes.
type treeBuilder struct {
	d     *decoder
	place func(span) span
}

func (b treeBuilder) build(n ast.Node, at span, depth int) *node {
	if depth > maxDepth {
		b.d.report(at, "", "nested too deeply", "a workload needs no more than seven levels")
		return &node{at: at}
	}
	switch n := n.(type) {
	case nil:
		return &node{at: at}
	case *ast.NullNode:
		return &node{at: at}
	case *ast.MappingNode:
		return b.mapping(n.Values, b.mappingSpan(n, at), depth)
	case *ast.MappingValueNode:
		return b.mapping([]*ast.MappingValueNode{n}, at, depth)
	case *ast.SequenceNode:
		list := &node{kind: listNode, at: at}
		if n.Start != nil && n.IsFlowStyle {
			list.at = b.place(tokenSpan(n.Start))
		}
		for _, v := range n.Values {
			list.items = append(list.items, b.build(v, list.at, depth+1))
		}
		return list
	case *ast.LiteralNode:
		return &node{kind: scalarNode, at: b.place(tokenSpan(n.Start)), text: unmasked(n.Value.Value), quoted: true}
	}
	return b.scalar(n, at)
}

func (b treeBuilder) mappingSpan(n *ast.MappingNode, at span) span {
	if n.IsFlowStyle && n.Start != nil {
		return b.place(tokenSpan(n.Start))
	}
	return at
}

func (b treeBuilder) scalar(n ast.Node, at span) *node {
	tk := n.GetToken()
	if tk == nil {
		return &node{at: at}
	}
	quoted := tk.Type == token.SingleQuoteType || tk.Type == token.DoubleQuoteType
	if tk.Position != nil {
		at = b.place(tokenSpan(tk))
	}
	return &node{kind: scalarNode, at: at, text: unmasked(tk.Value), quoted: quoted}
}

func (b treeBuilder) mapping(values []*ast.MappingValueNode, at span, depth int) *node {
	m := &node{kind: mapNode, at: at}
	seen := map[string]int{}
	for _, v := range values {
		key := b.scalar(v.Key, at)
		if key.kind != scalarNode {
			b.d.report(key.at, "", "this key cannot be read", "write `key: value`")
			continue
		}
		value := b.build(v.Value, key.at, depth+1)
		if line, twice := seen[key.text]; twice {
			b.d.report(key.at, key.text, fmt.Sprintf("%s is here twice", quoted(key.text)), firstUse(line))
			continue
		}
		seen[key.text] = key.at.line
		m.entries = append(m.entries, entry{key: key.text, at: key.at, value: value})
	}
	return m
}

func firstUse(line int) string {
	if line == 0 {
		return "keep one of the two"
	}
	return fmt.Sprintf("it is first used in line %d; give this one another name, or leave one away", line)
}
