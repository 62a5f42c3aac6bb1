package qaoed

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"goaoe/internal/config"
)

// maxSlot is the highest slot that can be served.
const maxSlot = 254

// device is a device section with its address.
type device struct {
	*block
	shelf, slot int64
	auto        bool // the slot was numbered
	ok          bool // shelf and slot are numbers
	iface       string
	ifacePos    config.Position
	others      []*device // further sections of the same target: paths
}

// interfaces reads the interface sections.
func (r *reader) interfaces(blocks []*block) {
	seen := map[string]int{}
	for _, b := range blocks {
		if b.kind != secInterface {
			continue
		}
		name := b.set["interface"]
		if name == nil {
			r.missing(b, "interface is missing", "say which one this is about: interface = eth0;")
			continue
		}
		if at := seen[name.value.text]; at > 0 {
			r.note(config.Warning, b, name, fmt.Sprintf("has a section at line %d already, and the first one counts", at), "make one section of the two")
			continue
		}
		seen[name.value.text] = b.st.name.pos.Line
		p := r.d.Add("interface", b.st.name.pos, b.label)
		p.Comment(b.comment()...)
		p.String("name", config.EscapeGlob(name.value.text), source(b, name))
		if s := b.set["mtu"]; s != nil {
			if s.value.text == "auto" {
				p.Remark(config.TrimBlank(s.comments)...)
				p.Remark("mtu = auto: as the interface has it")
			} else if n, ok := r.number(b, s); ok {
				p.Int("mtu", n, source(b, s))
			}
		}
		r.logKeys(p, b)
		p.Remark(config.TrimBlank(b.st.inner)...)
	}
}

// defaults reads the default section.
func (r *reader) defaults(blocks []*block) {
	for _, b := range blocks {
		if b.kind != secDefault {
			continue
		}
		if r.dflt != nil {
			r.problem(config.Warning, b.st.name.pos, b.label, "", fmt.Sprintf("has no effect: there is a default section at line %d", r.dflt.st.name.pos.Line), "make one section of the two")
			continue
		}
		r.dflt = b
	}
	if r.dflt == nil {
		r.dflt = &block{kind: secDefault, label: secDefault, st: statement{name: token{pos: config.Position{File: r.file}}}}
	}
	b := r.dflt
	p := r.d.Section("defaults", b.st.name.pos, b.label)
	p.Comment(b.comment()...)
	if s := b.set["shelf"]; s != nil {
		if n, ok := r.number(b, s); ok {
			p.Int("shelf", n, source(b, s))
		}
	}
	if s := b.set["interface"]; s != nil {
		p.List("interfaces", []config.Item{{Text: config.EscapeGlob(s.value.text), Pos: s.value.pos}}, source(b, s))
	}
	r.switches(p, b)
	r.defaultCache(p, blocks)
	r.logKeys(p, b)
	r.acl(p, b)
	if s := b.set["slot"]; s != nil {
		p.Remark(config.TrimBlank(s.comments)...)
		p.Remark("slot = " + s.value.text + ": the exports below have been numbered from there.")
	}
	p.Remark(config.TrimBlank(b.st.inner)...)
}

// defaultCache makes qaoed's default of writecache count: on. As that is not safe, it is said when a device depends on it.
func (r *reader) defaultCache(p *config.Part, blocks []*block) {
	if p.Has("write-cache") {
		return
	}
	for _, b := range blocks {
		if b.kind != secDevice || b.set["writecache"] != nil {
			continue
		}
		r.problem(config.Warning, b.st.name.pos, b.label+" writecache", "", "is on where the file does not say, as in qaoed: writes are acknowledged before they are durable",
			"add writecache = off; to default { } for safety, or writecache = on; to choose speed")
		p.Bool("write-cache", true, config.Source{Pos: b.st.name.pos, Label: b.label, Comments: []string{"qaoed's default; goaoe's is false, which loses nothing at a power failure."}})
		return
	}
}

// switches reads what is on or off.
func (r *reader) switches(p *config.Part, b *block) {
	for _, k := range []struct{ name, native string }{{"writecache", "write-cache"}, {"broadcast", "announce"}} {
		if s := b.set[k.name]; s != nil {
			if yes, ok := r.onOff(b, s); ok {
				p.Bool(k.native, yes, source(b, s))
			}
		}
	}
	if s := b.set["persistent-cfg"]; s != nil {
		p.Remark("persistent-cfg = " + s.value.text + "  (" + option(secDevice, "persistent-cfg").Instead + ")")
	}
}

// exports reads the device sections. qaoed numbers those without a slot one after the other, whatever their shelf, and does not look
// which numbers are taken; so the numbers are written down.
func (r *reader) exports(blocks []*block) {
	next := int64(0)
	if s := r.dflt.set["slot"]; s != nil {
		if n, ok := r.number(r.dflt, s); ok && (n < 0 || n > maxSlot) {
			r.note(config.Error, r.dflt, s, fmt.Sprintf("%d is out of range", n), fmt.Sprintf("from 0 to %d", maxSlot))
		} else {
			next = n
		}
	}
	for _, b := range blocks {
		if b.kind != secDevice {
			continue
		}
		d := &device{block: b, ok: true}
		if s := b.set["slot"]; s != nil {
			d.slot, d.ok = r.number(b, s)
		} else {
			d.slot, d.auto = next, true
			if next++; d.slot > maxSlot {
				r.problem(config.Error, b.st.name.pos, b.label, "", "no slot is left to number it with", fmt.Sprintf("slots go up to %d: give some devices another shelf and a slot", maxSlot))
				d.ok = false
			}
		}
		r.address(d)
		if !r.path(d) {
			r.devices = append(r.devices, d)
		}
	}
	for _, d := range r.devices {
		r.export(d)
	}
}

// address reads shelf and interface of a device, its own or those of default.
func (r *reader) address(d *device) {
	for _, b := range []*block{d.block, r.dflt} {
		if s := b.set["shelf"]; s != nil {
			var n int64
			var ok bool
			if b == d.block {
				n, ok = r.number(b, s)
			} else {
				n, ok = quietNumber(s)
			}
			d.shelf, d.ok = n, d.ok && ok
			break
		}
	}
	for _, b := range []*block{d.block, r.dflt} {
		if s := b.set["interface"]; s != nil {
			d.iface, d.ifacePos = s.value.text, s.value.pos
			break
		}
	}
	if d.iface == "" {
		r.missing(d.block, "interface is missing", "add interface = eth0; to the device, or to default { }")
	}
}

// path tells whether a device is one more path to an earlier one: the same address and target on another interface. It is noted there.
func (r *reader) path(d *device) bool {
	if !d.ok {
		return false
	}
	for _, o := range r.devices {
		if !o.ok || o.shelf != d.shelf || o.slot != d.slot {
			continue
		}
		used := []string{o.iface}
		for _, x := range o.others {
			used = append(used, x.iface)
		}
		if text(d.block, "target") != text(o.block, "target") || slices.Contains(used, d.iface) {
			r.problem(config.Error, d.st.name.pos, d.label, "", fmt.Sprintf("e%d.%d is the address of the device at line %d already", d.shelf, d.slot, o.st.name.pos.Line),
				"another address; or, for one more path to the same disk, the same target and another interface")
			d.ok = false
			return true
		}
		r.differences(o, d)
		o.others = append(o.others, d)
		return true
	}
	return false
}

// differences says which settings of a further path do not count: an export has one set for all its interfaces.
func (r *reader) differences(first, d *device) {
	for _, key := range []string{"writecache", "broadcast", "log", "log-level"} {
		if s := d.set[key]; s != nil && r.value(first.block, key) != s.value.text {
			r.note(config.Warning, d.block, s, fmt.Sprintf("differs from the other path, at line %d, whose setting counts for both", first.st.name.pos.Line), "write the same in both")
		}
	}
	for _, h := range hooks {
		a, b := r.hook(first.block, h.name), r.hook(d.block, h.name)
		if a == b {
			continue
		}
		pos := d.st.name.pos
		if s := d.acl[h.name]; s != nil {
			pos = s.name.pos
		}
		r.problem(config.Error, pos, d.label+" acl "+h.name, b, fmt.Sprintf("differs from the other path, at line %d, and goaoe has one list for all interfaces of an export", first.st.name.pos.Line),
			"write the same access-list in both")
	}
}

// value returns the value of a setting of a device, its own or that of default.
func (r *reader) value(b *block, key string) string {
	if v := text(b, key); v != "" {
		return v
	}
	if v := text(r.dflt, key); v != "" {
		return v
	}
	return map[string]string{"writecache": "on", "broadcast": "on", "log": logDefault}[key]
}

// hook returns the access list of a hook of a device, its own or that of default.
func (r *reader) hook(b *block, name string) string {
	for _, from := range []*block{b, r.dflt} {
		if s := from.acl[name]; s != nil {
			return s.value.text
		}
	}
	return ""
}

// text returns the value of a statement; empty when it is not there.
func text(b *block, key string) string {
	if s := b.set[key]; s != nil {
		return s.value.text
	}
	return ""
}

// quietNumber reads a number whose mistakes were noted elsewhere.
func quietNumber(s *statement) (int64, bool) {
	n, err := strconv.ParseInt(s.value.text, 10, 64)
	return n, err == nil
}

// export writes a device.
func (r *reader) export(d *device) {
	b := d.block
	p := r.d.Add("export", b.st.name.pos, b.label)
	p.Comment(b.comment()...)
	if !d.ok {
		p.Wrong("shelf", config.Source{Pos: b.st.name.pos})
		p.Wrong("slot", config.Source{Pos: b.st.name.pos})
	} else if s := b.set["shelf"]; s != nil {
		p.Int("shelf", d.shelf, source(b, s))
	}
	switch s := b.set["slot"]; {
	case s != nil && d.ok:
		p.Int("slot", d.slot, source(b, s))
	case s == nil && d.ok:
		p.Int("slot", d.slot, config.Source{Pos: b.st.name.pos, Label: b.label, After: "numbered as by qaoed"})
	}
	if s := b.set["target"]; s != nil {
		p.String("source", s.value.text, source(b, s))
	} else {
		r.missing(b, "target is missing", "say what to export: target = /dev/sdb;")
		p.Wrong("source", config.Source{Pos: b.st.name.pos})
	}
	r.paths(p, d)
	r.switches(p, b)
	r.logKeys(p, b)
	r.acl(p, b)
	p.Remark(config.TrimBlank(b.st.inner)...)
}

// paths writes the interfaces of a device and of its further paths.
func (r *reader) paths(p *config.Part, d *device) {
	if d.iface == "" {
		p.Wrong("interfaces", config.Source{Pos: d.st.name.pos})
		return
	}
	own := d.set["interface"]
	if own == nil && len(d.others) == 0 {
		return // that of default, or none
	}
	var items []config.Item
	src := config.Source{Pos: d.st.name.pos, Label: d.label}
	if own != nil {
		src = source(d.block, own)
	}
	add := func(x *device) {
		if x.iface != "" {
			items = append(items, config.Item{Text: config.EscapeGlob(x.iface), Pos: x.ifacePos})
		}
	}
	add(d)
	for _, x := range d.others {
		add(x)
		for _, c := range x.comment() {
			src.Comments = append(slices.Clone(src.Comments), x.iface+": "+c)
		}
		for _, key := range slices.Sorted(maps.Keys(x.set)) {
			src.Comments = append(slices.Clone(src.Comments), config.TrimBlank(x.set[key].comments)...)
		}
	}
	p.List("interfaces", items, src)
}
