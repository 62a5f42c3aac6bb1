package ggaoed

import (
	"fmt"
	"strings"

	"goaoe/internal/config"
)

// entry is one "key = value" line of a key file.
type entry struct {
	key      string
	value    string // as written, without the blanks around it
	pos      config.Position
	valuePos config.Position
	comments []string
	used     bool // the reader has looked at it
}

// group is one "[name]" with its entries. A name that comes twice makes one group, a key that comes twice keeps its last value, both
// as GLib has it.
type group struct {
	name     string
	pos      config.Position
	comments []string
	entries  []*entry
}

// get returns the entry of a key, or nil.
func (g *group) get(key string) *entry {
	if g == nil {
		return nil
	}
	for _, e := range g.entries {
		if e.key == key {
			return e
		}
	}
	return nil
}

// keyFile is a parsed GLib key file.
type keyFile struct {
	groups []*group // in the order of their first appearance
	tail   []string // comments behind the last entry
}

// group returns the group of that name, or nil.
func (f *keyFile) group(name string) *group {
	for _, g := range f.groups {
		if g.name == name {
			return g
		}
	}
	return nil
}

// parser reads a key file line by line. Lines that mean nothing are noted, and the next one is read.
type parser struct {
	file    string
	out     keyFile
	current *group
	pending []string // comments that belong to what comes next
	problem func(config.Problem)
	broken  bool
}

// parseKeyFile reads what GLib calls a key file: groups, entries, whole lines of comment.
func parseKeyFile(file string, data []byte, problem func(config.Problem)) (out keyFile, broken bool) {
	p := parser{file: file, problem: problem}
	text := strings.TrimPrefix(string(data), "\ufeff")
	for n := 1; text != ""; n++ {
		line, rest, _ := strings.Cut(text, "\n")
		p.line(n, strings.TrimSuffix(line, "\r"))
		text = rest
	}
	p.out.tail = config.TrimBlank(p.pending)
	return p.out, p.broken
}

// line reads one line.
func (p *parser) line(n int, raw string) {
	text := strings.TrimLeft(raw, " \t\v\f\r")
	pos := config.Position{File: p.file, Line: n, Column: 1 + len(raw) - len(text)}
	switch {
	case text == "":
		if len(p.pending) > 0 {
			p.pending = append(p.pending, "")
		}
	case text[0] == '#':
		p.pending = append(p.pending, strings.TrimPrefix(text[1:], " "))
	case text[0] == '[':
		p.header(pos, strings.TrimRight(text, " \t"))
	default:
		p.entry(pos, text)
	}
}

// bad notes a line that cannot be read. GLib refuses the whole file then.
func (p *parser) bad(pos config.Position, value, msg, hint string) {
	p.broken = true
	p.problem(config.Problem{Severity: config.Error, Position: pos, Value: value, Message: msg, Hint: hint})
}

// header reads "[name]".
func (p *parser) header(pos config.Position, text string) {
	name, ok := strings.CutSuffix(text[1:], "]")
	if !ok || name == "" || strings.ContainsAny(name, "[]") || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		p.bad(pos, text, fmt.Sprintf("%q does not name a group", text), "a group begins with a line [NAME] and nothing behind it")
		p.current = &group{name: name, pos: pos} // what follows is read, for its mistakes, and belongs nowhere
		return
	}
	if p.current = p.out.group(name); p.current == nil {
		p.current = &group{name: name, pos: pos}
		p.out.groups = append(p.out.groups, p.current)
	}
	p.current.comments = append(p.current.comments, p.pending...)
	p.pending = nil
}

// entry reads "key = value".
func (p *parser) entry(pos config.Position, text string) {
	key, value, ok := strings.Cut(text, "=")
	switch key = strings.TrimRight(key, " \t"); {
	case !ok:
		p.bad(pos, text, fmt.Sprintf("%q is no group, no key = value and no comment", text), "comments begin with #")
		return
	case p.current == nil:
		p.bad(pos, text, "a key before the first group", "begin with [defaults], or with the [NAME] of a device")
		return
	case key == "" || strings.ContainsAny(key, "[]"):
		p.bad(pos, text, fmt.Sprintf("%q is no key", key), "write key = value")
		return
	}
	trimmed := strings.TrimLeft(value, " \t\v\f\r")
	e := &entry{key: key, value: strings.TrimRight(trimmed, " \t\v\f\r"), pos: pos, comments: config.TrimBlank(p.pending)}
	e.valuePos = config.Position{File: pos.File, Line: pos.Line, Column: pos.Column + len(text) - len(trimmed)}
	p.pending = nil
	if old := p.current.get(key); old != nil {
		p.problem(config.Problem{Severity: config.Warning, Position: pos, Key: "[" + p.current.name + "] " + key, Value: e.value,
			Message: fmt.Sprintf("is set at %s already: the last one counts", old.pos), Hint: "remove one of them"})
		e.comments = append(old.comments, e.comments...)
		*old = *e
		return
	}
	p.current.entries = append(p.current.entries, e)
}

// unescape decodes a value as GLib does. With list it is split at commas, which a backslash protects, and blanks around the elements are
// dropped; a comma at the end adds none. offsets are the places of the elements in raw, in bytes.
func unescape(raw string, list bool) (out []string, offsets []int, err error) {
	var b strings.Builder
	start := 0
	flush := func(end int) {
		piece := raw[start:end]
		out = append(out, strings.TrimSpace(b.String()))
		offsets = append(offsets, start+len(piece)-len(strings.TrimLeft(piece, " \t")))
		b.Reset()
	}
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '\\' && i+1 < len(raw):
			i++
			switch raw[i] {
			case 's':
				b.WriteByte(' ')
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 'r':
				b.WriteByte('\r')
			case '\\':
				b.WriteByte('\\')
			case ',':
				if !list {
					return nil, nil, fmt.Errorf(`\, means something in a list only`)
				}
				b.WriteByte(',')
			default:
				return nil, nil, fmt.Errorf(`\%c means nothing here; a backslash itself is written \\`, raw[i])
			}
		case c == '\\':
			return nil, nil, fmt.Errorf("a backslash at the end")
		case c == ',' && list:
			flush(i)
			start = i + 1
		default:
			b.WriteByte(c)
		}
	}
	if !list {
		return []string{b.String()}, []int{0}, nil
	}
	if strings.TrimSpace(raw[start:]) != "" {
		flush(len(raw))
	}
	return out, offsets, nil
}
