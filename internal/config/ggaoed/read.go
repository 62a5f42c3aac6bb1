// Package ggaoed reads the configuration of ggaoed: a GLib key file with commas between the elements of lists.
//
// Which group is what is ggaoed's own rule: [defaults] and [acls] have fixed names, a group with a key "shelf" is a device, and every
// other group holds the settings of the network interface of that name. What ggaoed passes over in silence (a key it does not
// know, a group that is nothing) is a warning here; what it refuses is an error.
package ggaoed

import (
	"fmt"
	"strconv"
	"strings"

	"goaoe/internal/config"
)

// reader turns a key file into a draft.
type reader struct {
	d       *config.Draft
	file    string
	kf      keyFile
	sysroot string

	stateDirs []string        // where ggaoed may have saved what initiators have set
	warned    map[string]bool // options without an equivalent that were named already
	acls      map[string]*aclState
	broken    bool          // part of the file could not be read
	serial    bool          // a serial number was explained
	allowed   []config.Item // interfaces of [defaults]; nil: all
}

// Read reads a ggaoed.conf. sysroot is put before /etc/ethers; empty but in tests.
func Read(file string, data []byte, sysroot string) *config.Draft {
	r := &reader{d: config.NewDraft(file), file: file, sysroot: sysroot, warned: map[string]bool{}, acls: map[string]*aclState{},
		stateDirs: stateDirs}
	var broken bool
	if r.kf, broken = parseKeyFile(file, data, r.d.Problem); broken {
		r.broken = true
		r.d.Broken()
	}
	for i, g := range r.kf.groups {
		if i == 0 {
			var head []string
			head, g.comments = config.SplitHead(g.comments)
			r.d.Head(config.TrimBlank(head)...)
		}
		g.comments = config.TrimBlank(g.comments)
	}
	r.defaults()
	r.accessLists()
	var devices, interfaces []*group
	for _, g := range r.kf.groups {
		switch r.kindOf(g) {
		case kindDevice:
			devices = append(devices, g)
		case kindInterface:
			interfaces = append(interfaces, g)
		}
	}
	for _, g := range interfaces {
		r.interfaceGroup(g)
	}
	r.interfaceDefaults()
	for _, g := range devices {
		r.device(g)
	}
	r.d.Tail(r.kf.tail...)
	return r.d
}

// kindOf tells what a group is about.
func (r *reader) kindOf(g *group) string {
	switch {
	case g.name == kindDefaults, g.name == kindACLs:
		return g.name
	case g.get("shelf") != nil:
		return kindDevice
	}
	return kindInterface
}

// label is what messages call an entry.
func label(g *group, e *entry) string { return "[" + g.name + "] " + e.key }

// source describes an entry for the draft.
func source(g *group, e *entry) config.Source {
	return config.Source{Pos: e.pos, Label: label(g, e), Raw: e.value, Comments: e.comments}
}

// note notes a problem with an entry.
func (r *reader) note(sev config.Severity, g *group, e *entry, msg, hint string) {
	r.d.Problem(config.Problem{Severity: sev, Position: e.pos, Key: label(g, e), Value: e.value, Message: msg, Hint: hint})
}

// missing notes that a group lacks something; not in a file of which part could not be read, where it may have been.
func (r *reader) missing(g *group, msg, hint string) {
	if !r.broken {
		r.d.Problem(config.Problem{Severity: config.Error, Position: g.pos, Key: "[" + g.name + "]", Message: msg, Hint: hint})
	}
}

// take returns the entry of a key that the reader knows, or nil.
func (r *reader) take(g *group, key string) *entry {
	e := g.get(key)
	if e != nil {
		e.used = true
	}
	return e
}

// number reads an entry as GLib reads integers: decimal, nothing behind it.
func (r *reader) number(g *group, key string) (e *entry, n int64, ok bool) {
	if e = r.take(g, key); e == nil {
		return nil, 0, false
	}
	n, err := strconv.ParseInt(strings.TrimPrefix(e.value, "+"), 10, 64)
	if err != nil {
		r.note(config.Error, g, e, fmt.Sprintf("%q is not a number", e.value), "a decimal number, and nothing behind it: not even a comment")
	}
	return e, n, err == nil
}

// flag sets a key from an entry that GLib takes for a boolean.
func (r *reader) flag(p *config.Part, native string, g *group, key string) {
	e := r.take(g, key)
	if e == nil {
		return
	}
	switch e.value {
	case "true", "1":
		p.Bool(native, true, source(g, e))
	case "false", "0":
		p.Bool(native, false, source(g, e))
	default:
		r.note(config.Error, g, e, fmt.Sprintf("%q is neither true nor false", e.value), "")
	}
}

// text reads an entry as a string.
func (r *reader) text(g *group, key string) (e *entry, s string, ok bool) {
	if e = r.take(g, key); e == nil {
		return nil, "", false
	}
	v, _, err := unescape(e.value, false)
	if err != nil {
		r.note(config.Error, g, e, err.Error(), "")
		return e, "", false
	}
	if strings.Contains(v[0], " #") {
		r.note(config.Warning, g, e, "what follows # is part of the value", "put the comment on a line of its own")
	}
	return e, v[0], true
}

// list reads an entry as a list.
func (r *reader) list(g *group, key string) (e *entry, items []config.Item, ok bool) {
	if e = r.take(g, key); e == nil {
		return nil, nil, false
	}
	vs, offsets, err := unescape(e.value, true)
	if err != nil {
		r.note(config.Error, g, e, err.Error(), "")
		return e, nil, false
	}
	for i, v := range vs {
		if v == "" {
			r.note(config.Warning, g, e, "has an empty element, which means nothing", "remove one of the commas")
			continue
		}
		if strings.ContainsAny(v, "; ") {
			r.note(config.Warning, g, e, fmt.Sprintf("%q is one name, as elements are separated by commas", v), "write commas")
		}
		pos := e.valuePos
		pos.Column += offsets[i]
		items = append(items, config.Item{Text: v, Pos: pos})
	}
	return e, items, true
}

// rest deals with the entries of a group that have no equivalent or that nobody knows.
func (r *reader) rest(p *config.Part, g *group, kind string) {
	for _, e := range g.entries {
		o := option(kind, e.key)
		switch {
		case e.used:
			continue
		case o != nil && o.Native == "":
			r.instead(p, g, e, o.Instead)
			continue
		case o != nil:
			continue // of a group that is given up
		}
		hint := "ggaoed passes over it in silence"
		var all []string
		for _, o := range Options {
			all = append(all, o.Name)
		}
		near := config.Nearest(e.key, names(kind))
		if near == "" {
			near = config.Nearest(e.key, all)
		}
		switch in := elsewhere(near, kind); {
		case in != "" && near == e.key:
			hint += "; it belongs into " + in
		case in != "":
			hint += fmt.Sprintf("; did you mean %s? It belongs into %s", near, in)
		case near != "":
			hint += fmt.Sprintf("; did you mean %s?", near)
		default:
			hint += "; the options are " + strings.Join(names(kind), ", ")
		}
		r.note(config.Warning, g, e, "there is no such option in this group", hint)
		remark(p, e, "not known to ggaoed")
	}
}

// instead names an option that has no equivalent: in one line however often it is written.
func (r *reader) instead(p *config.Part, g *group, e *entry, why string) {
	e.used = true
	if !r.warned[e.key] {
		r.warned[e.key] = true
		msg := "has no equivalent in goaoe"
		if n := r.count(e.key); n > 1 {
			msg += fmt.Sprintf(" (here and in %d more groups)", n-1)
		}
		r.note(config.Warning, g, e, msg, why)
	}
	remark(p, e, why)
}

// count tells in how many groups an option stands.
func (r *reader) count(key string) (n int) {
	for _, g := range r.kf.groups {
		if kind := r.kindOf(g); kind != kindACLs && g.get(key) != nil && option(kind, key) != nil {
			n++
		}
	}
	return n
}

// remark keeps an entry that has no effect as a comment.
func remark(p *config.Part, e *entry, why string) {
	if p == nil {
		return
	}
	p.Remark(e.comments...)
	p.Remark(e.key + " = " + e.value + "  (" + why + ")")
}

// elsewhere tells which groups know an option that this kind of groups does not know.
func elsewhere(key, kind string) string {
	if option(kind, key) != nil {
		return ""
	}
	for _, o := range Options {
		if o.Name == key && o.Section != kind {
			return map[string]string{kindDefaults: "[defaults]", kindInterface: "the group of an interface", kindDevice: "the group of a device"}[o.Section]
		}
	}
	return ""
}
