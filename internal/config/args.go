package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"goaoe/aoe"
)

// Args is what the command line says.
type Args struct {
	// Interfaces (names or globs) are for exports that do not name their own; they take the place of those in [defaults].
	Interfaces []string
	// Exports are "e0.1=SOURCE", "0.1=SOURCE" or "SOURCE" (which gets an automatic address). Relative paths count from
	// the current directory.
	Exports []string
	// Settings are "KEY=VALUE" for the exports of this Args, with the keys and values of [[export]], lists separated by commas
	// and texts without quotes: "read-only=true", "accept=02:00:00:00:00:01,node2".
	Settings []string
}

var tagForm = regexp.MustCompile(`^(UUID|LABEL|PARTUUID|PARTLABEL)$`)

// args adds the command line to what was read of the file.
func (d *decoder) args(a Args) {
	pos := Position{File: CommandLine}
	if len(a.Interfaces) > 0 {
		v := setting{pos: pos, raw: strings.Join(a.Interfaces, ",")}
		for _, name := range a.Interfaces {
			v.names = append(v.names, item{name, pos})
		}
		d.doc.defaults.set["interfaces"] = v
		delete(d.doc.defaults.bad, "interfaces")
	}
	for _, spec := range a.Exports {
		s := newSection("export", pos)
		addr, source := splitExport(spec)
		if a, err := aoe.ParseAddr(spec); err == nil {
			d.ps.add(Problem{Severity: Error, Position: pos, Key: "source", Value: spec, Message: "this is an address, and no storage is named with it",
				Hint: fmt.Sprintf("%s=SOURCE serves storage there; ./%s is a file of that name", a, spec)})
			continue
		}
		if addr != "" {
			d.key(&node{kind: kindString, name: "address", str: strings.ToLower(addr), raw: addr, pos: pos}, s)
		}
		if strings.Contains(source, "/") && !strings.Contains(source, "=") && !strings.HasPrefix(source, "mem:") || isPlainFile(source) {
			if abs, err := filepath.Abs(source); err == nil {
				source = abs
			}
		}
		d.key(&node{kind: kindString, name: "source", str: source, raw: spec, pos: pos}, s)
		for _, kv := range a.Settings {
			d.argSetting(kv, s)
		}
		d.doc.exports = append(d.doc.exports, s)
	}
}

// splitExport takes "e0.1=SOURCE" apart; addr is "" when there is none. What stands before a = and is neither a tag nor
// part of a path is taken for an address, so that a misspelt one is not taken for a file.
func splitExport(spec string) (addr, source string) {
	left, right, ok := strings.Cut(spec, "=")
	switch {
	case !ok || tagForm.MatchString(left) || strings.Contains(left, "/"):
		return "", spec
	case left == "":
		return "", right
	}
	return left, right
}

// isPlainFile tells whether a source of the command line is the name of a file in the current directory.
func isPlainFile(source string) bool {
	if strings.HasPrefix(source, "mem:") || source == "" {
		return false
	}
	tag, _, ok := strings.Cut(source, "=")
	return !filepath.IsAbs(source) && (!ok || !tagForm.MatchString(tag))
}

// argSetting adds one KEY=VALUE to the section.
func (d *decoder) argSetting(kv string, s *section) {
	pos := Position{File: CommandLine}
	name, value, ok := strings.Cut(kv, "=")
	if !ok {
		d.ps.add(Problem{Severity: Error, Position: pos, Value: kv, Message: fmt.Sprintf("%q is not of the form KEY=VALUE", kv)})
		return
	}
	n := &node{kind: kindString, name: name, str: value, raw: value, pos: pos}
	for _, k := range Keys {
		if k.Section != s.kind || k.Name != name {
			continue
		}
		switch k.Type {
		case TypeBool:
			if value == "true" || value == "false" {
				n.kind = kindBool
			}
		case TypeInt:
			if isNumber(value) {
				n.kind = kindInt
			}
		case TypeNames, TypeMembers, TypeLimits:
			n.kind = kindArray
			for _, v := range strings.Split(value, ",") {
				n.children = append(n.children, &node{kind: kindString, str: v, raw: v, pos: pos})
			}
		}
	}
	d.key(n, s)
}

func isNumber(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
