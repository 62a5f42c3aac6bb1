package config

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// kind is the kind of a TOML value.
type kind uint8

const (
	kindTable kind = iota + 1
	kindTables
	kindString
	kindInt
	kindBool
	kindArray
	kindOther // floats and dates: no setting has such a value
)

// String returns what a user calls such a value.
func (k kind) String() string {
	return [...]string{"?", "a table", "an array of tables", "a string", "an integer", "true or false", "an array", "a number with a fraction or a date"}[k]
}

// node is one value of the file with its place. Tables keep their keys in the order of the file.
type node struct {
	kind     kind
	name     string   // the key that holds it
	pos      Position // of the key; of the value for elements of an array
	raw      string   // as written (scalars)
	str      string   // strings: decoded
	explicit bool     // table: has its own header
	children []*node  // table: its values; array: its elements; array of tables: its tables

	// Comments, of drafts only (see Draft): lines above, on the same line, and at the end of a table.
	before  []string
	after   string
	pending []string
	wrong   bool // of drafts: the reader has said what is wrong with it
}

// child returns the value of key, or nil.
func (n *node) child(key string) *node {
	for _, c := range n.children {
		if c.name == key {
			return c
		}
	}
	return nil
}

// treeBuilder turns the parser's expressions into nodes.
type treeBuilder struct {
	file  string
	lines []int // where each line begins, in bytes
	p     unstable.Parser
}

// maxFileBytes bounds what is read: a configuration is small, and a mistaken path (a disk) must not fill the memory.
const maxFileBytes = 16 << 20

// parseTree parses a TOML document. After a syntax error the tree holds what stands before it.
func parseTree(file string, data []byte) (*node, *Problem) {
	root := &node{kind: kindTable, pos: Position{File: file}}
	// The library's decoder checks what its bare parser does not: keys and tables that are defined twice, and UTF-8.
	var scratch map[string]any
	var problem *Problem
	if err := toml.Unmarshal(data, &scratch); err != nil {
		problem = syntaxProblem(file, err)
	}
	b := &treeBuilder{file: file, lines: lineStarts(data)}
	b.p.Reset(data)
	current := root
	for b.p.NextExpression() {
		e := b.p.Expression()
		if problem != nil && b.at(firstKey(e)).Line >= problem.Line {
			break
		}
		switch e.Kind {
		case unstable.Table:
			current = b.descend(root, e.Key(), false)
			current.explicit = true
		case unstable.ArrayTable:
			current = b.descend(root, e.Key(), true)
			current.explicit = true
		case unstable.KeyValue:
			b.keyValue(current, e)
		}
	}
	if err := b.p.Error(); err != nil && problem == nil {
		problem = syntaxProblem(file, err)
	}
	return root, problem
}

// firstKey returns the first part of the key of an expression.
func firstKey(e *unstable.Node) *unstable.Node {
	switch e.Kind {
	case unstable.Table, unstable.ArrayTable, unstable.KeyValue:
		if it := e.Key(); it.Next() {
			return it.Node()
		}
	}
	return e
}

// syntaxProblem makes a Problem of an error of the TOML library.
func syntaxProblem(file string, err error) *Problem {
	p := &Problem{Severity: Error, Position: Position{File: file}}
	var de *toml.DecodeError
	if errors.As(err, &de) {
		p.Line, p.Column = de.Position()
		p.Key = strings.Join(de.Key(), ".")
	}
	p.Message = strings.TrimPrefix(err.Error(), "toml: ")
	p.Hint = "this is not valid TOML; what follows was not looked at"
	return p
}

// at returns the place of a piece of the document.
func (b *treeBuilder) at(n *unstable.Node) Position {
	if n.Raw.Length == 0 {
		return Position{File: b.file}
	}
	// The library's own Shape counts the lines from the beginning each time, which is quadratic.
	offset := int(n.Raw.Offset)
	line := sort.SearchInts(b.lines, offset+1) // the number of lines that begin at or before offset
	return Position{File: b.file, Line: line, Column: offset - b.lines[line-1] + 1}
}

// lineStarts returns where each line begins.
func lineStarts(data []byte) []int {
	starts := []int{0}
	for i, c := range data {
		if c == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}

// descend walks a dotted key from the table n, making what is missing. With last an array of tables gets a new table.
func (b *treeBuilder) descend(n *node, key unstable.Iterator, array bool) *node {
	for key.Next() {
		k := key.Node()
		name, pos := string(k.Data), b.at(k)
		c := n.child(name)
		if array && key.IsLast() {
			if c == nil {
				c = &node{kind: kindTables, name: name, pos: pos}
				n.children = append(n.children, c)
			}
			t := &node{kind: kindTable, name: name, pos: pos}
			c.children = append(c.children, t)
			return t
		}
		if c == nil {
			c = &node{kind: kindTable, name: name, pos: pos}
			n.children = append(n.children, c)
		}
		if c.kind == kindTables && len(c.children) > 0 {
			c = c.children[len(c.children)-1]
		}
		n = c
	}
	return n
}

// keyValue adds "key = value" or "a.b.key = value" to the table n.
func (b *treeBuilder) keyValue(n *node, e *unstable.Node) {
	key := e.Key()
	for key.Next() {
		k := key.Node()
		name, pos := string(k.Data), b.at(k)
		if key.IsLast() {
			v := b.value(e.Value())
			v.name, v.pos = name, pos
			n.children = append(n.children, v)
			return
		}
		c := n.child(name)
		if c == nil {
			c = &node{kind: kindTable, name: name, pos: pos}
			n.children = append(n.children, c)
		}
		n = c
	}
}

// value turns a value of the parser into a node.
func (b *treeBuilder) value(v *unstable.Node) *node {
	n := &node{pos: b.at(v)}
	if v.Raw.Length > 0 {
		n.raw = string(b.p.Raw(v.Raw))
	} else {
		n.raw = string(v.Data)
	}
	switch v.Kind {
	case unstable.String:
		n.kind, n.str = kindString, string(v.Data)
	case unstable.Integer:
		n.kind = kindInt
		if v.Raw.Length == 0 {
			n.raw = string(v.Data)
		}
	case unstable.Bool:
		n.kind, n.raw = kindBool, string(v.Data)
	case unstable.Array:
		n.kind = kindArray
		for it := v.Children(); it.Next(); {
			n.children = append(n.children, b.value(it.Node()))
		}
		n.raw = fmt.Sprintf("[%d values]", len(n.children))
	case unstable.InlineTable:
		n.kind = kindTable
		for it := v.Children(); it.Next(); {
			b.keyValue(n, it.Node())
		}
		n.raw = "{...}"
	default:
		n.kind = kindOther
	}
	return n
}
