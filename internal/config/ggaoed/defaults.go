package ggaoed

import (
	"fmt"
	"strings"

	"goaoe/internal/config"
)

// The limits of queue-length: ggaoed's manual names 1 and 65535, goaoe can do less.
const (
	queueMin, queueMax             = 1, 65535
	queueMinNative, queueMaxNative = 2, 1024
)

// defaults reads [defaults]. Where ggaoed's default differs from goaoe's, it is written down.
func (r *reader) defaults() {
	g := r.kf.group(kindDefaults)
	if g == nil {
		g = &group{name: kindDefaults, pos: config.Position{File: r.file}}
	}
	p := r.d.Section("defaults", g.pos, "[defaults]")
	p.Comment(g.comments...)
	r.interfaces(p, g)
	r.queueLength(p, g)
	r.flag(p, "direct-io", g, "direct-io")
	if !p.Has("direct-io") {
		p.Bool("direct-io", true, config.Source{Pos: g.pos, Comments: []string{"ggaoed's default; goaoe's is false."}})
	}
	r.flag(p, "trace", g, "trace-io")
	if e, s, ok := r.text(g, "state-directory"); ok {
		dir := r.absolute(g, e, s)
		r.stateDirs = []string{dir}
		r.d.Section("global", e.pos, label(g, e)).String("state-directory", dir, source(g, e))
	}
	if e, s, ok := r.text(g, "control-socket"); ok {
		r.d.Section("control", e.pos, label(g, e)).String("socket", r.absolute(g, e, s), source(g, e))
	}
	for _, key := range interfaceKeys {
		r.take(g, key) // see interfaceDefaults
	}
	r.rest(p, g, kindDefaults)
}

// interfaces reads where the daemon listens.
func (r *reader) interfaces(p *config.Part, g *group) {
	e, items, ok := r.list(g, "interfaces")
	if !ok || len(items) == 0 {
		all := []config.Item{{Text: "*", Pos: g.pos}}
		s := config.Source{Pos: g.pos, Comments: []string{"Without interfaces ggaoed listens on all Ethernet interfaces."}}
		if e != nil {
			s.Comments = append(e.comments, s.Comments...)
		}
		p.List("interfaces", all, s)
		return
	}
	r.allowed = items
	p.List("interfaces", patterns(items), source(g, e))
}

// queueLength reads the option of that name, which [defaults] and devices have.
func (r *reader) queueLength(p *config.Part, g *group) {
	e, n, ok := r.number(g, "queue-length")
	if !ok {
		return
	}
	s := source(g, e)
	switch {
	case n < queueMin || n > queueMax:
		r.note(config.Error, g, e, fmt.Sprintf("%d is out of range", n), fmt.Sprintf("from %d to %d", queueMin, queueMax))
		return
	case n < queueMinNative || n > queueMaxNative:
		was := n
		n = min(max(n, queueMinNative), queueMaxNative)
		r.note(config.Warning, g, e, fmt.Sprintf("%d becomes %d", was, n), fmt.Sprintf("goaoe has queues of %d to %d requests", queueMinNative, queueMaxNative))
		s.Comments = append(s.Comments, fmt.Sprintf("queue-length was %d.", was))
	}
	p.Int("queue-length", n, s)
}

// absolute makes a path that does not begin with / one that does: ggaoed's working directory is /.
func (r *reader) absolute(g *group, e *entry, path string) string {
	if path == "" || path[0] == '/' {
		return path
	}
	r.note(config.Warning, g, e, fmt.Sprintf("%q is taken for /%s", path, path), "ggaoed works in the directory /: begin with / to be clear")
	return "/" + path
}

// interfaceKeys are the options that [defaults] and the groups of interfaces share.
var interfaceKeys = []string{"mtu", "ring-buffer-size", "buffers", "send-buffer-size"}

// interfaceDefaults makes a section for all interfaces of what [defaults] says about them. It comes after those for one interface,
// because the first section that matches counts.
func (r *reader) interfaceDefaults() {
	g := r.kf.group(kindDefaults)
	for _, key := range interfaceKeys {
		if e := g.get(key); e != nil {
			p := r.d.Add("interface", e.pos, label(g, e))
			p.String("name", "*", config.Source{Pos: e.pos, Label: label(g, e), Comments: []string{"What [defaults] said about all interfaces."}})
			r.interfaceKeys(p, g, nil)
			return
		}
	}
}

// interfaceGroup reads the settings of one interface.
func (r *reader) interfaceGroup(g *group) {
	if why, hint := r.notInterface(g); why != "" {
		r.d.Problem(config.Problem{Severity: config.Warning, Position: g.pos, Key: "[" + g.name + "]", Value: g.name, Message: why, Hint: hint})
		r.d.Tail(g.comments...)
		r.d.Tail("[" + g.name + "]  (without effect: " + why + ")")
		for _, e := range g.entries {
			r.d.Tail(e.comments...)
			r.d.Tail(e.key + " = " + e.value)
		}
		return
	}
	p := r.d.Add("interface", g.pos, "["+g.name+"]")
	p.Comment(g.comments...)
	p.String("name", config.EscapeGlob(g.name), config.Source{Pos: g.pos, Label: "[" + g.name + "]"})
	r.interfaceKeys(p, g, r.kf.group(kindDefaults))
	r.rest(p, g, kindInterface)
}

// notInterface tells why a group without shelf cannot be about an interface either; empty when it can.
func (r *reader) notInterface(g *group) (why, hint string) {
	for _, e := range g.entries {
		if config.Nearest(e.key, []string{"shelf"}) != "" && option(kindDevice, e.key) == nil {
			return "has no shelf, so that ggaoed takes it for a network interface and exports nothing",
				fmt.Sprintf("did you mean shelf where line %d says %s?", e.pos.Line, e.key)
		}
	}
	for _, e := range g.entries {
		if o := option(kindDevice, e.key); o != nil && option(kindInterface, e.key) == nil {
			return "has no shelf, so that ggaoed takes it for a network interface and exports nothing", "add shelf = NUMBER to export it, or remove the group"
		}
	}
	switch {
	case config.IsGlob(g.name):
		return "is no interface, because ggaoed takes the names of groups literally",
			fmt.Sprintf("goaoe can do it: [[interface]] with name = %q in a native file", g.name)
	case len(g.name) > 15 || strings.ContainsAny(g.name, "/ \t"):
		return "has no shelf, and no interface can have this name", "add shelf = NUMBER to export it, or remove the group"
	}
	return "", ""
}

// interfaceKeys reads the options of an interface from g, else from what is behind it.
func (r *reader) interfaceKeys(p *config.Part, g, behind *group) {
	pick := func(key string) (*group, *entry, int64) {
		for _, from := range []*group{g, behind} {
			if e, n, ok := r.number(from, key); ok {
				return from, e, n
			} else if e != nil {
				break // noted as wrong
			}
		}
		return nil, nil, 0
	}
	frame := int64(9000)
	if from, e, n := pick("mtu"); e != nil {
		s := r.inherited(from, behind, e)
		if n == 0 {
			s.Comments = append(s.Comments, "mtu = 0: as the interface has it")
			p.Remark(s.Comments...)
		} else {
			p.Int("mtu", n, s)
			frame = max(n, 1)
		}
	}
	if from, e, n := pick("buffers"); e != nil && n > 0 {
		p.Int("ring-frames", max(n, 16), r.inherited(from, behind, e))
	}
	if from, e, n := pick("ring-buffer-size"); e != nil {
		s := r.inherited(from, behind, e)
		switch {
		case n == 0:
			r.instead(p, from, e, "goaoe always receives by a memory-mapped ring, and does not send by one")
		case n < 0 || n > 128*1024:
			r.note(config.Error, from, e, fmt.Sprintf("%d is out of range", n), "KiB, from 0 to 131072")
		default:
			s.Comments = append(s.Comments, fmt.Sprintf("ring-buffer-size = %d (KiB), counted in frames of %d bytes.", n, frame))
			p.Int("ring-frames", min(max(n*1024/frame, 16), 65536), s)
		}
	}
	if from, e, n := pick("send-buffer-size"); e != nil && n > 0 {
		s := r.inherited(from, behind, e)
		if n < 64 {
			s.Comments = append(s.Comments, fmt.Sprintf("send-buffer-size was %d (KiB); 64 is the least.", n))
		}
		p.String("send-buffer", config.FormatSize(max(min(n, 1<<20), 64)*1024), s)
	}
}

// inherited describes an entry for the section of one interface; what comes from [defaults] says so.
func (r *reader) inherited(from, behind *group, e *entry) config.Source {
	s := source(from, e)
	if from == behind {
		s.Comments = []string{"From [defaults]."}
	}
	return s
}
