package ggaoed

import (
	"fmt"
	"strings"

	"goaoe/internal/config"
)

// maxSerial is the length of the serial number in IDENTIFY.
const maxSerial = 20

// device reads the group of a device.
func (r *reader) device(g *group) {
	name := "[" + g.name + "]"
	p := r.d.Add("export", g.pos, name)
	p.Comment(g.comments...)
	for _, key := range []string{"shelf", "slot"} {
		e, n, ok := r.number(g, key)
		switch {
		case ok:
			p.Int(key, n, source(g, e))
			continue
		case e == nil:
			r.missing(g, key+" is missing", "add "+key+" = NUMBER")
		}
		p.Wrong(key, config.Source{Pos: g.pos})
	}
	r.what(p, g)
	if config.UsableName(g.name) {
		p.String("name", g.name, config.Source{Pos: g.pos, Label: name})
	}
	if s := serial(g.name); s != "" {
		src := config.Source{Pos: g.pos, Label: name}
		if !r.serial {
			src.Comments = []string{"ggaoed's serial number is the name of the group: initiators know the disk by it."}
		}
		r.serial = true
		p.String("serial", s, src)
	}
	r.where(p, g)
	r.queueLength(p, g)
	r.flag(p, "direct-io", g, "direct-io")
	r.flag(p, "trace", g, "trace-io")
	r.flag(p, "read-only", g, "read-only")
	r.access(p, g)
	r.flag(p, "broadcast", g, "broadcast")
	r.rest(p, g, kindDevice)
	r.saved(p, g)
}

// serial makes a serial number of a group's name; empty where that cannot be one.
func serial(name string) string {
	s := name[:min(len(name), maxSerial)]
	if strings.TrimSpace(s) == "" || strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c > 0x7e }) {
		return ""
	}
	return s
}

// what reads path or uuid.
func (r *reader) what(p *config.Part, g *group) {
	path, file, isPath := r.text(g, "path")
	uuid, id, isUUID := r.text(g, "uuid")
	if path != nil == (uuid != nil) || path != nil && (!isPath || file == "") || uuid != nil && !isUUID {
		p.Wrong("source", config.Source{Pos: g.pos})
	}
	switch {
	case path != nil && uuid != nil:
		r.note(config.Error, g, uuid, fmt.Sprintf("the device has a path at line %d already", path.pos.Line), "give path or uuid")
	case path == nil && uuid == nil:
		r.missing(g, "path or uuid is missing", "say what to export: path = /dev/sdb")
	case isPath && file == "":
		r.note(config.Error, g, path, "names nothing", "say what to export: path = /dev/sdb")
	case isPath:
		p.String("source", r.absolute(g, path, file), source(g, path))
	case isUUID:
		p.String("source", "UUID="+id, source(g, uuid))
	}
}

// where reads on which interfaces the device is served: of those that the daemon listens on, the ones that match.
func (r *reader) where(p *config.Part, g *group) {
	e, items, ok := r.list(g, "interfaces")
	if !ok || len(items) == 0 {
		return
	}
	if r.allowed == nil {
		p.List("interfaces", patterns(items), source(g, e))
		return
	}
	var both []config.Item
	cut := false
	for _, it := range items {
		some, exact := r.common(it)
		cut = cut || !exact
		both = append(both, some...)
	}
	s := source(g, e)
	switch {
	case len(both) == 0:
		r.note(config.Warning, g, e, "the daemon listens on none of these, so the device is served nowhere", "add them to interfaces of [defaults]")
		p.List("interfaces", patterns(items), s)
		p.Bool("disabled", true, config.Source{Pos: e.pos, Label: label(g, e), Comments: []string{"ggaoed listened on none of these."}})
		return
	case cut:
		r.note(config.Warning, g, e, "is taken as it stands, also where [defaults] does not listen", "write the names of the interfaces, or one pattern in both places")
	case len(both) != len(items):
		s.Comments = append(s.Comments, "Those of "+e.value+" that the daemon listened on.")
	}
	p.List("interfaces", patterns(both), s)
}

// common returns which interfaces match a pattern of a device and one of [defaults]; exact is false when no list of patterns says it.
func (r *reader) common(it config.Item) (out []config.Item, exact bool) {
	exact = true
	for _, d := range r.allowed {
		switch {
		case it.Text == d.Text, matches(d.Text, it.Text):
			return []config.Item{it}, true
		case matches(it.Text, d.Text):
			out = append(out, config.Item{Text: d.Text, Pos: it.Pos})
		case isPattern(it.Text) && isPattern(d.Text) && overlap(it.Text, d.Text):
			exact = false
		}
	}
	if !exact {
		return []config.Item{it}, false
	}
	return out, true
}

// isPattern tells whether s has a * or ?.
func isPattern(s string) bool { return strings.ContainsAny(s, "*?") }

// matches tells whether all names that narrow stands for match wide; narrow may be a pattern itself: its * and ? are then letters that
// only a * (or for ?, a ?) matches.
func matches(wide, narrow string) bool {
	w, n, star, mark := 0, 0, -1, 0
	for n < len(narrow) {
		switch {
		case w < len(wide) && wide[w] == '*':
			star, mark = w, n
			w++
		case w < len(wide) && (wide[w] == narrow[n] || wide[w] == '?' && narrow[n] != '*'):
			w++
			n++
		case star >= 0:
			mark++
			w, n = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(wide[w:], "*") == ""
}

// overlap tells whether two patterns can match one name, by what they begin and end with.
func overlap(a, b string) bool {
	for a != "" && b != "" && !isPattern(a[:1]) && !isPattern(b[:1]) {
		if a[0] != b[0] {
			return false
		}
		a, b = a[1:], b[1:]
	}
	for a != "" && b != "" && !isPattern(a[len(a)-1:]) && !isPattern(b[len(b)-1:]) {
		if a[len(a)-1] != b[len(b)-1] {
			return false
		}
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return true
}
