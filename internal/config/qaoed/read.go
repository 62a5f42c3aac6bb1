// Package qaoed reads the configuration of qaoed: sections in braces with statements that end in semicolons, and comments as in C and
// in the shell.
//
// qaoed refuses a file with a keyword that it does not know, so that is an error here. What is accepted beyond qaoed is said in
// docs/migrating.md: // comments, all characters between quotation marks, and the word allow, which its manual has.
package qaoed

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"goaoe/internal/config"
	"goaoe/internal/privsep"
)

// reader turns statements into a draft.
type reader struct {
	d       *config.Draft
	file    string
	sysroot string
	warned  map[string]bool
	files   int               // included so far
	broken  bool              // part of a file could not be read
	lists   map[string]string // access lists: qaoed's name to ours
	logs    map[string]string // log targets: qaoed's name to ours
	top     []statement
	dflt    *block // the default section; nil: there is none
	devices []*device
}

// block is a section with its statements by name; of two with one name the last counts, as in qaoed.
type block struct {
	kind  string
	label string // for messages
	st    statement
	set   map[string]*statement
	acl   map[string]*statement
}

// Read reads a qaoed.conf. sysroot is put before the paths of included files; empty but in tests.
func Read(file string, data []byte, sysroot string) *config.Draft {
	r := &reader{d: config.NewDraft(file), file: file, sysroot: sysroot, warned: map[string]bool{}, lists: map[string]string{}, logs: map[string]string{}}
	r.top = r.load(file, data, 0)
	if len(r.top) > 0 {
		var head []string
		head, r.top[0].comments = config.SplitHead(r.top[0].comments)
		r.d.Head(config.TrimBlank(head)...)
	}
	blocks := r.blocks()
	r.logging(blocks)
	r.global()
	r.accessLists(blocks)
	r.interfaces(blocks)
	r.defaults(blocks)
	r.exports(blocks)
	return r.d
}

// Limits of include.
const (
	maxInclude  = 8    // files inside files
	maxIncluded = 1000 // files in all
)

// load reads a file and those that it includes. qaoed puts the contents of an included file behind the file that names it.
func (r *reader) load(file string, data []byte, depth int) []statement {
	tokens, bad := lex(file, data, r.d.Problem)
	out, tail, broken := parse(tokens, r.d.Problem)
	if bad || broken {
		r.broken = true
		r.d.Broken()
	}
	r.d.Tail(config.TrimBlank(tail)...)
	for _, s := range slices.Clone(out) {
		if s.name.text == "include" && !s.isBlock {
			out = append(out, r.include(s, depth)...)
		}
	}
	return out
}

// include reads the files of an include statement.
func (r *reader) include(s statement, depth int) (out []statement) {
	if depth >= maxInclude {
		r.problem(config.Error, s.value.pos, "include", s.value.text, "files that include files, too deep", "does a file include itself?")
		return nil
	}
	pattern := s.value.text
	if !filepath.IsAbs(pattern) {
		r.problem(config.Warning, s.value.pos, "include", pattern, "a relative path, which depends on where qaoed was started", "begin with /; it is looked for in /")
	}
	found, err := privsep.Glob(filepath.Join("/", r.sysroot, pattern))
	if err != nil || len(found) == 0 {
		r.problem(config.Error, s.value.pos, "include", pattern, "no such file", "name a file, or a pattern that some match")
		return nil
	}
	for _, name := range found {
		if r.files++; r.files > maxIncluded {
			r.problem(config.Error, s.value.pos, "include", pattern, fmt.Sprintf("more than %d files", maxIncluded), "")
			return out
		}
		data, err := readSmall(name)
		if err != nil {
			r.problem(config.Error, s.value.pos, "include", pattern, err.Error(), "")
			continue
		}
		out = append(out, r.load(name, data, depth+1)...)
	}
	return out
}

// maxFile bounds the size of an included file in bytes.
const maxFile = 1 << 20

// readSmall reads a file of sensible size.
func readSmall(name string) ([]byte, error) {
	st, err := privsep.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !st.Regular() || st.Size > maxFile:
		return nil, fmt.Errorf("%s is no configuration file", name)
	}
	return privsep.ReadFile(name)
}

// problem notes a problem.
func (r *reader) problem(sev config.Severity, pos config.Position, key, value, msg, hint string) {
	r.d.Problem(config.Problem{Severity: sev, Position: pos, Key: key, Value: value, Message: msg, Hint: hint})
}

// missing notes that a section lacks something; not in a file of which part could not be read, where it may have been.
func (r *reader) missing(b *block, msg, hint string) {
	if !r.broken {
		r.problem(config.Error, b.st.name.pos, b.label, "", msg, hint)
	}
}

// note notes a problem with a statement of a section.
func (r *reader) note(sev config.Severity, b *block, s *statement, msg, hint string) {
	r.problem(sev, s.name.pos, b.label+" "+s.name.text, s.value.text, msg, hint)
}

// source describes a statement for the draft.
func source(b *block, s *statement) config.Source {
	return config.Source{Pos: s.name.pos, Label: b.label + " " + s.name.text, Raw: s.value.text, Comments: config.TrimBlank(s.comments), After: s.after}
}

// global reads the statements outside of all sections.
func (r *reader) global() {
	for i := range r.top {
		s := &r.top[i]
		b := &block{kind: secGlobal, label: secGlobal}
		switch {
		case s.isBlock:
		case s.name.text == "log-level":
			src := source(b, s)
			if level, ok := r.level(b, s, &src); ok {
				r.d.Section("log", s.name.pos, secGlobal).String("level", level, src)
			}
		case s.name.text == "apisocket":
			r.d.Section("control", s.name.pos, secGlobal).String("socket", s.value.text, source(b, s))
		case s.name.text == "include":
			r.d.Head(config.TrimBlank(s.comments)...)
			r.d.Head("include = " + s.value.text + ": the sections of these files are in this one.")
		default:
			r.unknown(b, s)
		}
	}
}

// unknown notes a keyword that means nothing where it stands.
func (r *reader) unknown(b *block, s *statement) {
	known := names(b.kind)
	if b.kind == secGlobal {
		known = slices.Concat(known, sections)
	}
	hint := "known here are " + strings.Join(known, ", ")
	if n := config.Nearest(s.name.text, known); n != "" {
		hint = fmt.Sprintf("did you mean %s?", n)
	} else if in := elsewhere(s.name.text); in != "" {
		hint = "it belongs into " + in + " { }"
	}
	r.note(config.Error, b, s, "there is no such keyword here", hint)
}

// elsewhere tells which section knows a keyword.
func elsewhere(name string) string {
	for _, o := range Options {
		if o.Name == name && o.Section != secGlobal {
			return o.Section
		}
	}
	return ""
}

// blocks sorts the statements of all sections.
func (r *reader) blocks() (out []*block) {
	count := map[string]int{}
	for _, s := range r.top {
		if !s.isBlock {
			continue
		}
		if !slices.Contains(sections, s.name.text) {
			hint := "the sections are " + strings.Join(sections, ", ")
			if n := config.Nearest(s.name.text, sections); n != "" {
				hint = fmt.Sprintf("did you mean %s?", n)
			} else if s.name.text == secACL {
				hint = "it belongs into device { } or default { }"
			}
			r.problem(config.Error, s.name.pos, s.name.text, "", "there is no such section", hint)
			continue
		}
		count[s.name.text]++
		b := &block{kind: s.name.text, st: s, label: s.name.text, set: map[string]*statement{}, acl: map[string]*statement{}}
		if count[s.name.text] > 1 {
			b.label = fmt.Sprintf("%s %d", s.name.text, count[s.name.text])
		}
		r.sort(b)
		out = append(out, b)
	}
	return out
}

// sort puts the statements of a section into its map.
func (r *reader) sort(b *block) {
	for i := range b.st.block {
		s := &b.st.block[i]
		o := option(b.kind, s.name.text)
		switch {
		case o == nil:
			if s.isBlock && slices.Contains(sections, s.name.text) && s.name.text != secInterface {
				r.note(config.Error, b, s, "a section inside of another one", "is a } missing above?")
			} else if s.name.text == "target" && b.kind == secDefault {
				r.note(config.Warning, b, s, "has no effect in default", "each device names its own")
			} else {
				r.unknown(b, s)
			}
		case s.isBlock != (s.name.text == secACL):
			want := s.name.text + " = value;"
			if !s.isBlock {
				want = s.name.text + " { ... }"
			}
			r.note(config.Error, b, s, "is written in another way", "write "+want)
		case s.isBlock:
			r.sortACL(b, s)
		case o.Native == "":
			if !r.warned[s.name.text] {
				r.warned[s.name.text] = true
				r.note(config.Warning, b, s, "has no equivalent in goaoe", o.Instead)
			}
			b.set[s.name.text] = s
		case slices.Contains([]string{"accept", "reject", "allow"}, s.name.text): // all of them count: see accessLists
		default:
			if old := b.set[s.name.text]; old != nil {
				r.note(config.Warning, b, s, fmt.Sprintf("is set at line %d already: the last one counts", old.name.pos.Line), "remove one of them")
			}
			b.set[s.name.text] = s
		}
	}
}

// sortACL puts the statements of acl { } into their map.
func (r *reader) sortACL(b *block, acl *statement) {
	in := &block{kind: secACL, label: b.label + " acl"}
	for i := range acl.block {
		s := &acl.block[i]
		if s.isBlock || option(secACL, s.name.text) == nil {
			r.unknown(in, s)
			continue
		}
		if i == 0 {
			s.comments = slices.Concat(acl.comments, s.comments)
		}
		key := s.name.text
		if key == "discover" {
			key = "cfgread"
		}
		if old := b.acl[key]; old != nil {
			r.note(config.Warning, in, s, fmt.Sprintf("is set at line %d already: the last one counts", old.name.pos.Line), "remove one of them")
		}
		b.acl[key] = s
	}
}

// number reads a number as a decimal one.
func (r *reader) number(b *block, s *statement) (int64, bool) {
	n, err := strconv.ParseInt(s.value.text, 10, 64)
	if err != nil {
		r.note(config.Error, b, s, fmt.Sprintf("%q is not a number", s.value.text), "")
	}
	return n, err == nil
}

// onOff reads on or off.
func (r *reader) onOff(b *block, s *statement) (yes, ok bool) {
	switch s.value.text {
	case "on":
		return true, true
	case "off":
		return false, true
	}
	r.note(config.Error, b, s, fmt.Sprintf("%q is neither on nor off", s.value.text), "")
	return false, false
}

// comment returns the comments of a section: above it, and behind its brace.
func (b *block) comment() []string {
	lines := config.TrimBlank(b.st.comments)
	if b.st.after != "" {
		lines = append(slices.Clone(lines), b.st.after)
	}
	return lines
}
