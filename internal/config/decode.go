package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
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
	interfaces, lists     []*section
	exports               []*section
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
		case "hosts":
			d.hosts(n)
		case "interface":
			d.doc.interfaces = d.tables(n)
		case "export":
			d.doc.exports = d.tables(n)
		case "access-list":
			d.accessLists(n)
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

// accessLists decodes [access-list.NAME] tables.
func (d *decoder) accessLists(n *node) {
	if n.kind != kindTable {
		d.ps.add(Problem{Severity: Error, Position: n.pos, Key: n.name, Message: "an access list needs a name",
			Hint: "write [access-list.NAME] with single brackets"})
		return
	}
	for _, c := range n.children {
		if c.kind != kindTable {
			d.ps.add(Problem{Severity: Error, Position: c.pos, Key: "access-list." + c.name, Value: c.raw, Message: "an access list needs a name",
				Hint: "write [access-list.NAME] above this line"})
			continue
		}
		s := newSection("access-list", c.pos)
		s.name = c.name
		for _, k := range c.children {
			d.key(k, s)
		}
		d.doc.lists = append(d.doc.lists, s)
	}
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
	var key *Key
	var names []string
	for i := range Keys {
		if Keys[i].Section != s.kind {
			continue
		}
		if Keys[i].Name == n.name {
			key = &Keys[i]
		}
		names = append(names, Keys[i].Name)
	}
	if key == nil {
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

// convert checks the value of a key. It returns a message and a hint when the value is wrong.
func convert(k *Key, n *node) (v setting, msg, hint string) {
	v = setting{pos: n.pos, raw: n.raw, str: n.str}
	wrong := func(want string) (setting, string, string) {
		return v, fmt.Sprintf("%s where %s is expected", n.kind, want), example(k)
	}
	switch k.Type {
	case TypeBool:
		if n.kind != kindBool {
			return wrong("true or false")
		}
		v.yes = n.raw == "true"
	case TypeInt:
		if n.kind != kindInt {
			return wrong("an integer")
		}
		return convertInt(k, n, v)
	case TypeSize:
		if n.kind != kindInt && n.kind != kindString {
			return wrong("a size")
		}
		return convertSize(k, n, v)
	case TypeDuration:
		return convertDuration(k, n, v)
	case TypeNames, TypeMembers, TypeRules:
		return convertNames(k, n, v)
	default:
		if n.kind != kindString {
			return wrong("a string")
		}
		return convertString(k, v)
	}
	return v, "", ""
}

// example returns a hint that shows a right value.
func example(k *Key) string {
	e := k.Example
	if e == "" {
		e = k.Default
	}
	if e == "" {
		return ""
	}
	return "e.g. " + k.Name + " = " + e
}

func convertInt(k *Key, n *node, v setting) (setting, string, string) {
	i, err := strconv.ParseInt(strings.ReplaceAll(n.raw, "_", ""), 0, 64)
	if err != nil {
		i = math.MaxInt64
	}
	v.num = i
	if i < k.Min || i > k.Max {
		return v, fmt.Sprintf("%s is out of range", n.raw), fmt.Sprintf("from %d to %d", k.Min, k.Max)
	}
	return v, "", ""
}

func convertSize(k *Key, n *node, v setting) (setting, string, string) {
	text := n.str
	if n.kind == kindInt {
		text = n.raw
		if i, err := strconv.ParseInt(strings.ReplaceAll(n.raw, "_", ""), 0, 64); err == nil && i >= 0 {
			text = strconv.FormatInt(i, 10)
		}
	}
	i, err := ParseSize(text)
	if err != nil {
		return v, err.Error(), ""
	}
	v.num = i
	if i%512 != 0 {
		return v, fmt.Sprintf("%d bytes are not a whole number of sectors", i), "use a multiple of 512, or count in sectors as in \"2048s\""
	}
	if i < k.Min || k.Max > 0 && i > k.Max {
		return v, fmt.Sprintf("%s is out of range", text), fmt.Sprintf("from %s to %s", FormatSize(k.Min), FormatSize(k.Max))
	}
	return v, "", ""
}

func convertDuration(k *Key, n *node, v setting) (setting, string, string) {
	if n.kind == kindBool && n.raw == "false" || n.kind == kindInt && n.raw == "0" {
		return v, "", "" // off
	}
	if n.kind != kindString {
		return v, fmt.Sprintf("%s where a duration is expected", n.kind), example(k)
	}
	dur, err := parseDuration(n.str)
	if err != nil {
		return v, err.Error(), ""
	}
	v.num = int64(dur)
	if v.num < k.Min || v.num > k.Max {
		return v, fmt.Sprintf("%q is out of range", n.str), fmt.Sprintf("from %q to %q", formatDuration(time.Duration(k.Min)), formatDuration(time.Duration(k.Max)))
	}
	return v, "", ""
}

// convertNames reads a string or an array of strings.
func convertNames(k *Key, n *node, v setting) (setting, string, string) {
	list := n.children
	if n.kind == kindString {
		one := *n
		list = []*node{&one}
	} else if n.kind != kindArray {
		return v, fmt.Sprintf("%s where a name or a list of names is expected", n.kind), example(k)
	}
	seen := map[string]bool{}
	for _, c := range list {
		if c.kind != kindString {
			return v, fmt.Sprintf("%s in a list of names", c.kind), example(k)
		}
		if strings.TrimSpace(c.str) == "" {
			return v, "an empty name", "leave it out"
		}
		pos := c.pos
		if pos.Line == 0 {
			pos = n.pos
		}
		if !seen[c.str] {
			v.names = append(v.names, item{c.str, pos})
		}
		seen[c.str] = true
	}
	return v, "", ""
}

// convertString checks values that are written as one string.
func convertString(k *Key, v setting) (setting, string, string) {
	switch k.Type {
	case TypeEnum:
		if contains(k.Enum, v.str) {
			return v, "", ""
		}
		hint := "one of " + strings.Join(k.Enum, ", ")
		if e := nearest(v.str, k.Enum); e != "" {
			hint = fmt.Sprintf("did you mean %q?", e)
		}
		return v, fmt.Sprintf("%q is not known here", v.str), hint
	case TypeText:
		if int64(len(v.str)) > k.Max {
			return v, fmt.Sprintf("%d characters are too many", len(v.str)), fmt.Sprintf("at most %d", k.Max)
		}
		if !printable(v.str) {
			return v, fmt.Sprintf("%q cannot stand in IDENTIFY", v.str), "printable ASCII characters, not only spaces"
		}
	case TypePath:
		if !strings.HasPrefix(v.str, "/") || strings.ContainsRune(v.str, 0) {
			return v, fmt.Sprintf("%q is not an absolute path", v.str), "a daemon has no useful current directory: begin with /"
		}
	case TypeString:
		if v.str == "" {
			return v, "an empty string", example(k)
		}
	}
	return v, "", ""
}
