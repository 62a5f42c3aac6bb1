package config

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"goaoe/aoe"
)

// ForeignOption is one option of another target's configuration file. The readers of foreign files recognise exactly what is in
// their tables of these; docs/migrating.md is held against the tables.
type ForeignOption struct {
	Section string // where it stands there
	Name    string // as it is written there
	Manual  bool   // named in that program's manual; else only its source knows it
	Native  string // what it becomes: "[interface] mtu"; empty: there is no equivalent, and it is warned of
	Instead string // what to use when there is no equivalent: the hint of the warning
}

// Source says where a setting of a Draft comes from.
type Source struct {
	Pos      Position // of the key in the foreign file
	Label    string   // what the key is called there, for messages: "[sdc] path"
	Raw      string   // the value as it is written there; empty: as it becomes
	Comments []string // the user's comment lines in front of it, without the comment sign
	After    string   // the user's comment behind it on the same line
}

// Item is one element of a list with its place.
type Item struct {
	Text string
	Pos  Position
}

// Draft is a configuration that a reader of a foreign file puts together, section by section. From there it goes the way of a TOML
// file: Parse checks it by the same table and the same rules, with the places and the names of the foreign file in the messages. TOML
// writes it as a native file.
type Draft struct {
	file   string
	root   *node
	ps     Problems
	labels map[Position]string
	broken bool
	head   []string
	tail   []string
	nobody string // see Nobody
}

// Part is one section of a Draft.
type Part struct {
	d *Draft
	n *node
}

// NewDraft begins a configuration. file is the foreign file's name for messages.
func NewDraft(file string) *Draft {
	return &Draft{file: file, root: &node{kind: kindTable, pos: Position{File: file}}, labels: map[Position]string{}}
}

// Problem notes something that is wrong with the foreign file.
func (d *Draft) Problem(p Problem) { d.ps.add(p) }

// Broken says that part of the foreign file could not be understood at all, after a Problem of that: the draft is then judged
// setting by setting, but not as a whole, which would only complain about what is missing in consequence.
func (d *Draft) Broken() { d.broken = true }

// Errors returns how many errors were noted so far.
func (d *Draft) Errors() int { return d.ps.Errors() }

// Head adds comment lines to the beginning of the native file, Tail to its end.
func (d *Draft) Head(lines ...string) { d.head = append(d.head, lines...) }

// Tail adds comment lines to the end of the native file.
func (d *Draft) Tail(lines ...string) { d.tail = append(d.tail, lines...) }

// Section returns the section of a kind that there is only one of ("global", "defaults", ...), making it when it is not there yet.
func (d *Draft) Section(kind string, pos Position, label string) *Part {
	n := d.root.child(kind)
	if n == nil {
		n = d.child(d.root, kindTable, kind, pos, label)
	}
	return &Part{d, n}
}

// Add begins another section of a kind that there can be many of ("export", "interface").
func (d *Draft) Add(kind string, pos Position, label string) *Part {
	list := d.root.child(kind)
	if list == nil {
		list = d.child(d.root, kindTables, kind, pos, "")
	}
	return &Part{d, d.child(list, kindTable, kind, pos, label)}
}

// Named begins a section of a kind whose sections have names ("access-list", "log-target"). The caller sees to it that the name
// is new.
func (d *Draft) Named(kind, name string, pos Position, label string) *Part {
	list := d.root.child(kind)
	if list == nil {
		list = d.child(d.root, kindTable, kind, pos, "")
	}
	return &Part{d, d.child(list, kindTable, name, pos, label)}
}

// child adds a node below another one.
func (d *Draft) child(to *node, k kind, name string, pos Position, label string) *node {
	n := &node{kind: k, name: name, pos: pos}
	to.children = append(to.children, n)
	d.label(pos, label)
	return n
}

// label remembers what the foreign file calls what stands at a place.
func (d *Draft) label(pos Position, label string) {
	if label != "" && pos.Line > 0 {
		d.labels[pos] = label
	}
}

// Has tells whether the section has the key.
func (p *Part) Has(key string) bool { return p.n.child(key) != nil }

// Comment adds comment lines above the section.
func (p *Part) Comment(lines ...string) { p.n.before = append(p.n.before, lines...) }

// Remark adds comment lines inside the section, at the place where the next key goes.
func (p *Part) Remark(lines ...string) { p.n.pending = append(p.n.pending, lines...) }

// String sets a key to a text.
func (p *Part) String(key, value string, s Source) {
	p.add(&node{kind: kindString, name: key, str: value, raw: value}, s)
	if !utf8.ValidString(value) {
		p.d.ps.add(Problem{Severity: Error, Position: s.Pos, Key: s.Label, Value: strings.ToValidUTF8(value, "?"),
			Message: "is not UTF-8, which goaoe's file has to be", Hint: "rename it, or use a link of another name"})
	}
}

// Int sets a key to a number.
func (p *Part) Int(key string, value int64, s Source) {
	p.add(&node{kind: kindInt, name: key, raw: strconv.FormatInt(value, 10)}, s)
}

// Bool sets a key to true or false.
func (p *Part) Bool(key string, value bool, s Source) {
	p.add(&node{kind: kindBool, name: key, raw: strconv.FormatBool(value)}, s)
}

// List sets a key to a list of names.
func (p *Part) List(key string, items []Item, s Source) {
	n := &node{kind: kindArray, name: key, raw: "[" + strconv.Itoa(len(items)) + " values]"}
	for _, it := range items {
		c := &node{kind: kindString, str: it.Text, raw: it.Text, pos: it.Pos}
		n.children = append(n.children, c)
		p.d.label(it.Pos, s.Label)
		if !utf8.ValidString(it.Text) {
			p.d.ps.add(Problem{Severity: Error, Position: it.Pos, Key: s.Label, Value: strings.ToValidUTF8(it.Text, "?"), Message: "is not UTF-8"})
		}
	}
	p.add(n, s)
}

// Wrong says that the reader has noted what is wrong with a key, or that it is missing, so that nobody complains again.
func (p *Part) Wrong(key string, s Source) {
	p.add(&node{kind: kindOther, name: key, wrong: true}, s)
}

// add puts a value into the section, in the place of an earlier one of that key.
func (p *Part) add(n *node, s Source) {
	n.pos = s.Pos
	n.before = slices.Concat(p.n.pending, s.Comments)
	n.after = s.After
	p.n.pending = nil
	if old := p.n.child(n.name); old != nil {
		n.before = slices.Concat(old.before, n.before)
		*old = *n
	} else {
		p.n.children = append(p.n.children, n)
	}
	p.d.label(s.Pos, s.Label)
}

// Parse checks the draft and makes a Config of it, as the function Parse does with a TOML file.
func (d *Draft) Parse(opt Options) (*Config, Problems) {
	dec := decoder{doc: newDoc(), ps: slices.Clone(d.ps)}
	dec.decode(d.root)
	if d.broken {
		return &Config{File: d.file}, d.relabel(dec.ps.unique().Sorted())
	}
	cfg, ps := build(d.file, dec, opt)
	cfg.Words = d.labels
	return cfg, d.relabel(ps)
}

// relabel puts the foreign file's names into the messages that the reader did not write itself.
func (d *Draft) relabel(ps Problems) Problems {
	own := map[Problem]bool{}
	for _, p := range d.ps {
		own[p] = true
	}
	for i := range ps {
		if l := d.labels[ps[i].Position]; l != "" && !own[ps[i]] {
			ps[i].Key = l
		}
	}
	return ps
}

// UsableName tells whether an export can have the name.
func UsableName(name string) bool {
	return len(name) <= maxExportName && printable(name) && !misleadingName(name)
}

// SplitHead cuts the comment lines in front of the first statement of a file in two: what ends with an empty line is about the file as a
// whole, the rest about the statement.
func SplitHead(lines []string) (head, rest []string) {
	for i := len(lines) - 1; i >= 0; i-- {
		if lines[i] == "" {
			return lines[:i], lines[i+1:]
		}
	}
	return nil, lines
}

// Nobody returns the name of an access list that is empty, making it when it is not there yet. Lists of the file must be there before.
func (d *Draft) Nobody() string {
	if d.nobody != "" {
		return d.nobody
	}
	d.nobody = "nobody"
	if list := d.root.child("access-list"); list != nil {
		for list.child(d.nobody) != nil {
			d.nobody += "-else"
		}
	}
	d.Named("access-list", d.nobody, Position{File: d.file}, "").String("policy", "reject", Source{Pos: Position{File: d.file}})
	return d.nobody
}

// CannotSend says why no initiator can have an Ethernet address; empty when one can.
func CannotSend(m aoe.MAC) string {
	if err := checkMember(m); err != nil {
		return err.Error()
	}
	return ""
}

// TrimBlank drops empty comment lines at both ends.
func TrimBlank(lines []string) []string {
	for len(lines) > 0 && lines[0] == "" {
		lines = lines[1:]
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// EscapeGlob makes a pattern that matches a name and nothing else: of an interface of a program whose names are not patterns.
func EscapeGlob(name string) string { return globEscaper.Replace(name) }

var globEscaper = strings.NewReplacer(`\`, `\\`, "[", `\[`, "*", `\*`, "?", `\?`)

// Nearest returns the candidate that s was probably meant to be, or "" when none is close.
func Nearest(s string, candidates []string) string { return nearest(s, candidates) }
