package workloads

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// Schema is the JSON Schema (draft 2020-12) of a workload file. Editors complete
// and check with it; the keys and choices that Load knows are read from it.
//
//go:embed workload.schema.json
var Schema []byte

// schemaNode is a JSON value that has kept the order of its members.
type schemaNode struct {
	value   any // string, json.Number, bool or nil
	keys    []string
	members map[string]*schemaNode
	items   []*schemaNode
}

// theSchema is Schema, read once.
var theSchema = sync.OnceValue(func() *schemaNode {
	dec := json.NewDecoder(bytes.NewReader(Schema))
	dec.UseNumber()
	root, err := readSchema(dec)
	if err != nil {
		// The file is part of the binary, and tests read it.
		panic(fmt.Sprintf("workload.schema.json: %v", err))
	}
	return root
})

func readSchema(dec *json.Decoder) (*schemaNode, error) {
	tk, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch tk {
	case json.Delim('{'):
		return readMembers(dec)
	case json.Delim('['):
		n := &schemaNode{}
		for dec.More() {
			item, err := readSchema(dec)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
		}
		_, err := dec.Token()
		return n, err
	}
	return &schemaNode{value: tk}, nil
}

func readMembers(dec *json.Decoder) (*schemaNode, error) {
	n := &schemaNode{members: map[string]*schemaNode{}}
	for dec.More() {
		tk, err := dec.Token()
		if err != nil {
			return nil, err
		}
		key, ok := tk.(string)
		if !ok {
			return nil, io.ErrUnexpectedEOF
		}
		value, err := readSchema(dec)
		if err != nil {
			return nil, err
		}
		n.keys = append(n.keys, key)
		n.members[key] = value
	}
	_, err := dec.Token()
	return n, err
}

// at follows a path of members; nil when there is no such place.
func (n *schemaNode) at(path ...string) *schemaNode {
	for _, key := range path {
		if n == nil {
			return nil
		}
		n = n.members[key]
	}
	return n
}

// text is a string of the schema, "" for anything else.
func (n *schemaNode) text() string {
	if n == nil {
		return ""
	}
	s, _ := n.value.(string)
	return s
}

// definition returns the object that a name stands for, "" for the whole file.
func definition(name string) *schemaNode {
	if name == "" {
		return theSchema()
	}
	return theSchema().at("$defs", name)
}

// keysOf lists the keys of an object, in the order of the schema.
func keysOf(name string) []string {
	p := definition(name).at("properties")
	if p == nil {
		return nil
	}
	return p.keys
}

// choices lists the words that a key of an object takes.
func choices(name, key string) []string { return words(definition(name).at("properties", key)) }

// kinds lists the values of `kind` in the forms of a definition.
func kinds(name string) []string {
	var all []string
	for _, form := range definition(name).at("anyOf").items {
		if kind := referred(form).at("properties", "kind", "const"); kind != nil {
			all = append(all, kind.text())
		}
	}
	return all
}

// words are the constants that a schema allows, those of its alternatives too.
func words(n *schemaNode) []string {
	if n == nil {
		return nil
	}
	var all []string
	if one := n.at("const"); one != nil {
		all = append(all, one.text())
	}
	if list := n.at("enum"); list != nil {
		for _, v := range list.items {
			all = append(all, v.text())
		}
	}
	if forms := n.at("anyOf"); forms != nil {
		for _, f := range forms.items {
			all = append(all, words(f)...)
		}
	}
	return all
}

// referred follows a $ref of the schema's own.
func referred(n *schemaNode) *schemaNode {
	if name, ok := strings.CutPrefix(n.at("$ref").text(), "#/$defs/"); ok {
		return definition(name)
	}
	return n
}

// without returns words but one.
func without(words []string, word string) []string {
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == word })
}
