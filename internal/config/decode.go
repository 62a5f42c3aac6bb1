package config

import (
	"fmt"
	"strings"
)

// setting is the value of one key that passed the table: its type and range are right.
type setting struct {
	pos   Position
	home  string // the section it was written in
	raw   string
	str   string
	num   int64
	yes   bool
	names []item
}

// item is one element of a list of names.
type item struct {
	text string
	pos  Position
}

// section is one section of the file: the values of its keys that passed.
type section struct {
	kind string // name in Sections
	name string // of an access list
	pos  Position
	set  map[string]setting
	bad  map[string]bool // keys that were there but wrong: no follow-up complaints about them
}

// has tells whether the key was written, rightly or wrongly.
func (s *section) has(key string) bool {
	_, ok := s.set[key]
	return ok || s.bad[key]
}

// doc is a whole configuration as sections.
type doc struct {
	global, log, defaults *section
	hosts                 []item // text: name; see hostMACs
	hostMACs              map[string]string
	control, web, metrics *section
	pprof                 *section
	interfaces, lists     []*section
	logTargets            []*section
	exports, changes      []*section
}

// decoder turns the tree into sections and notes problems.
type decoder struct {
	ps  Problems
	doc doc
}

func newSection(kind string, pos Position) *section {
	return &section{kind: kind, pos: pos, set: map[string]setting{}, bad: map[string]bool{}}
}

func newDoc() doc {
	return doc{
		global: newSection("global", Position{}), log: newSection("log", Position{}), defaults: newSection("defaults", Position{}),
		control: newSection("control", Position{}), web: newSection("web", Position{}), metrics: newSection("metrics", Position{}), pprof: newSection("pprof", Position{}),
		hostMACs: map[string]string{},
	}
}

// decode walks the top level of the tree.
func (d *decoder) decode(root *node) {
	for _, n := range root.children {
		switch n.name {
		case "global":
			d.table(n, d.doc.global)
		case "log":
			d.table(n, d.doc.log)
		case "defaults":
			d.table(n, d.doc.defaults)
		case "control":
			d.table(n, d.doc.control)
		case "web":
			d.table(n, d.doc.web)
		case "metrics":
			d.table(n, d.doc.metrics)
		case "pprof":
			d.table(n, d.doc.pprof)
		case "hosts":
			d.hosts(n)
		case "interface":
			d.doc.interfaces = append(d.doc.interfaces, d.tables(n)...)
		case "export":
			d.doc.exports = append(d.doc.exports, d.tables(n)...)
		case "change":
			d.doc.changes = append(d.doc.changes, d.tables(n)...)
		case "access-list":
			d.doc.lists = append(d.doc.lists, d.named(n)...)
		case "log-target":
			d.doc.logTargets = append(d.doc.logTargets, d.named(n)...)
		default:
			d.unknownSection(n)
		}
	}
}

// unknownSection notes a name at the top level that means nothing.
func (d *decoder) unknownSection(n *node) {
	p := Problem{Severity: Error, Position: n.pos, Key: n.name, Message: "there is no such section"}
	var names []string
	for _, s := range Sections {
		names = append(names, s.Name)
	}
	if n.kind != kindTable && n.kind != kindTables {
		p.Message = "a key must stand in a section"
		var in []string
		for _, k := range Keys {
			if k.Name == n.name {
				in = append(in, "["+k.Section+"]")
			}
		}
		if len(in) > 0 {
			p.Hint = fmt.Sprintf("%s belongs into %s", n.name, strings.Join(in, " or "))
		}
	} else if s := foreignSections[strings.ToLower(n.name)]; s != "" {
		p.Hint = "did you mean " + headerOf(s) + "?"
	} else if s := nearest(n.name, names); s != "" {
		p.Hint = "did you mean " + headerOf(s) + "?"
	}
	if p.Hint == "" {
		p.Hint = "the sections are " + strings.Join(names, ", ")
	}
	d.ps.add(p)
}

// headerOf returns how a section is opened.
func headerOf(section string) string {
	for _, s := range Sections {
		if s.Name == section {
			return s.Header
		}
	}
	return section
}

// table decodes the table n into s.
func (d *decoder) table(n *node, s *section) {
	if n.kind == kindTables {
		d.ps.add(Problem{Severity: Error, Position: n.pos, Key: n.name, Message: "there can be only one such section",
			Hint: "write " + headerOf(n.name) + " with single brackets"})
		return
	}
	if n.kind != kindTable {
		d.ps.add(Problem{Severity: Error, Position: n.pos, Key: n.name, Value: n.raw, Message: "this is the name of a section",
			Hint: "open it by a line " + headerOf(n.name)})
		return
	}
	s.pos = n.pos
	for _, c := range n.children {
		d.key(c, s)
	}
}

// tables decodes an array of tables.
func (d *decoder) tables(n *node) []*section {
	if n.kind == kindArray && len(n.children) > 0 { // export = [{...}, {...}]
		for _, c := range n.children {
			if c.kind != kindTable {
				n = &node{kind: kindOther, name: n.name, pos: n.pos, raw: n.raw}
				break
			}
		}
		if n.kind == kindArray {
			n = &node{kind: kindTables, name: n.name, pos: n.pos, children: n.children}
		}
	}
	if n.kind != kindTables {
		d.ps.add(Problem{Severity: Error, Position: n.pos, Key: n.name, Message: "there can be many such sections, so each begins with double brackets",
			Hint: "write " + headerOf(n.name)})
		if n.kind != kindTable {
			return nil
		}
		n = &node{kind: kindTables, name: n.name, children: []*node{n}}
	}
	var out []*section
	for _, c := range n.children {
		s := newSection(n.name, c.pos)
		for _, k := range c.children {
			d.key(k, s)
		}
		out = append(out, s)
	}
	return out
}

// named decodes [access-list.NAME] and [log-target.NAME] tables.
func (d *decoder) named(n *node) (out []*section) {
	what := map[string]string{"access-list": "an access list", "log-target": "a log target"}[n.name]
	if n.kind != kindTable {
		d.ps.add(Problem{Severity: Error, Position: n.pos, Key: n.name, Message: what + " needs a name",
			Hint: "write " + headerOf(n.name) + " with single brackets"})
		return nil
	}
	for _, c := range n.children {
		if c.kind != kindTable {
			d.ps.add(Problem{Severity: Error, Position: c.pos, Key: n.name + "." + c.name, Value: c.raw, Message: what + " needs a name",
				Hint: "write " + headerOf(n.name) + " above this line"})
			continue
		}
		s := newSection(n.name, c.pos)
		s.name = c.name
		for _, k := range c.children {
			d.key(k, s)
		}
		out = append(out, s)
	}
	return out
}

// hosts decodes [hosts]. The addresses are judged with those of /etc/ethers, see names of access lists.
func (d *decoder) hosts(n *node) {
	if n.kind != kindTable {
		d.table(n, newSection("hosts", n.pos))
		return
	}
	for _, c := range n.children {
		if c.kind != kindString {
			d.ps.add(Problem{Severity: Error, Position: c.pos, Key: "hosts." + c.name, Value: c.raw,
				Message: fmt.Sprintf("%s where an Ethernet address is expected", c.kind), Hint: `e.g. "02:00:00:00:00:01"`})
			continue
		}
		d.doc.hosts = append(d.doc.hosts, item{c.name, c.pos})
		d.doc.hostMACs[c.name] = c.str
	}
}

// key holds one key against the table.
func (d *decoder) key(n *node, s *section) {
	if n.wrong {
		s.bad[n.name] = true
		return
	}
	key := keyIndex[keyID{s.kind, n.name}]
	if key == nil {
		var names []string
		for _, k := range Keys {
			if k.Section == s.kind {
				names = append(names, k.Name)
			}
		}
		d.ps.add(Problem{Severity: Error, Position: n.pos, Key: s.kind + "." + n.name, Value: n.raw,
			Message: "there is no such key in this section", Hint: keyHint(n.name, s.kind, names)})
		return
	}
	v, msg, hint := convert(key, n)
	if msg != "" {
		s.bad[n.name] = true
		d.ps.add(Problem{Severity: Error, Position: n.pos, Key: s.kind + "." + n.name, Value: n.raw, Message: msg, Hint: hint})
		return
	}
	v.home = s.kind
	s.set[n.name] = v
}

// keyHint says what an unknown key was probably meant to be.
func keyHint(name, section string, names []string) string {
	if k := foreignNames[strings.ToLower(name)]; k != "" && contains(names, k) {
		return "did you mean " + k + "?"
	}
	if k := nearest(name, names); k != "" {
		return "did you mean " + k + "?"
	}
	var in []string
	for _, k := range Keys {
		if k.Name == name && k.Section != section {
			in = append(in, headerOf(k.Section))
		}
	}
	if len(in) > 0 {
		return "it belongs into " + strings.Join(in, " or ")
	}
	return "the keys are " + strings.Join(names, ", ")
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
