package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"goaoe/aoe"
)

// Limits of addresses that initiators have.
const (
	linuxRefusedShelf = 4095 // the Linux driver throws config replies of this shelf away
	linuxStaticSlots  = 15   // highest slot of a Linux driver without dynamic device numbers
)

// effective merges the settings of an export with those of [defaults].
func (b *builder) effective(own *section) *section {
	s := newSection("export", own.pos)
	for key, v := range b.doc.defaults.set {
		s.set[key] = v
	}
	maps.Copy(s.bad, b.doc.defaults.bad)
	for key := range own.bad {
		delete(s.set, key)
		s.bad[key] = true
	}
	for key, v := range own.set {
		s.set[key] = v
		delete(s.bad, key)
	}
	return s
}

// exports reads the [[export]] sections.
func (b *builder) exports() {
	taken := map[aoe.Addr]Position{}
	for _, own := range b.doc.exports {
		s := b.effective(own)
		e := b.export(own, s)
		b.checkExport(own, s, &e)
		b.cfg.Exports = append(b.cfg.Exports, e)
		if e.AutoSlot || own.bad["address"] || own.bad["shelf"] || own.bad["slot"] {
			continue
		}
		if at, dup := taken[e.Addr]; dup {
			b.problem(Error, own, addressKey(own), fmt.Sprintf("%s is the address of another export already, at %s", e.Addr, at), "give each export an address of its own")
			continue
		}
		taken[e.Addr] = e.At(addressKey(own))
	}
	for i, own := range b.doc.exports {
		e := &b.cfg.Exports[i]
		if !e.AutoSlot || b.number(own, e, taken) {
			b.checkAddress(own, e)
		}
	}
	b.highSlots()
	b.checkSerials()
	b.checkNames()
	if len(b.doc.exports) == 0 {
		b.checkDefaults()
	}
	slices.SortStableFunc(b.cfg.Exports, func(x, y Export) int { return int(x.Addr.Key()) - int(y.Addr.Key()) })
	for _, e := range b.cfg.Exports {
		if e.Disabled {
			b.cfg.Disabled = append(b.cfg.Disabled, e)
		}
	}
	b.cfg.Exports = slices.DeleteFunc(b.cfg.Exports, func(e Export) bool { return e.Disabled })
}

// number gives an export the first free slot of its shelf, from the default slot on. It comes after all addresses
// that were written, so that none of them is taken.
func (b *builder) number(own *section, e *Export, taken map[aoe.Addr]Position) bool {
	first := int(b.doc.defaults.num("slot"))
	for slot := first; slot < aoe.WildMinor; slot++ {
		e.Addr.Minor = uint8(slot)
		if _, used := taken[e.Addr]; !used {
			taken[e.Addr] = e.Pos
			return true
		}
	}
	b.problem(Error, own, "", fmt.Sprintf("shelf %d has no free slot left from %d on", e.Addr.Major, first), "use another shelf, or give an address")
	return false
}

// checkDefaults resolves what [defaults] names when there is no export to do it.
func (b *builder) checkDefaults() {
	for _, key := range []string{"accept", "deny", "config-read", "config-set", "read", "write"} {
		b.listOf(b.doc.defaults, key)
	}
	b.initiatorLimits(b.doc.defaults, Export{})
	b.logTarget(b.doc.defaults)
}

// addressKey is the key of a section that its address comes from; "" when none was written.
func addressKey(s *section) string {
	for _, k := range []string{"address", "slot", "shelf"} {
		if s.has(k) {
			return k
		}
	}
	return ""
}

// export makes the Export of a section; s has the effective settings, own those of the section itself.
func (b *builder) export(own, s *section) Export {
	e := Export{
		Source: s.text("source"), Name: s.text("name"), Pos: own.pos, Keys: map[string]Position{},
		Offset: s.num("offset"), Length: s.num("length"), SizeRound: s.num("size-round"),
		QueueLength: int(s.num("queue-length")), BufferCount: int(s.num("buffer-count")),
		Direct: s.yes("direct-io"), WriteCache: s.yes("write-cache"), WriteNow: WriteNow(s.text("write-now")), ReadOnly: s.yes("read-only"), Broadcast: s.yes("broadcast"), Announce: s.yes("announce"),
		Discard: s.yes("discard"), Smart: s.yes("smart"), IOEngine: IOEngine(s.text("io-engine")),
		Model: s.text("model"), Serial: s.text("serial"), Firmware: s.text("firmware"), PhysicalSector: int(s.num("physical-sector")),
		AcceptAnyVersion: s.yes("accept-any-version"), Force: s.yes("force"), Disabled: s.yes("disabled"),
		LogTarget: b.logTarget(s), LogLevel: s.text("log-level"), Trace: s.yes("trace"),
	}
	for key, v := range s.set {
		e.Keys[key] = v.pos
	}
	for _, it := range s.set["interfaces"].names {
		e.Interfaces = append(e.Interfaces, it.text)
	}
	if !s.has("buffer-count") {
		e.BufferCount = e.QueueLength
	}
	e.Addr.Major, e.Addr.Minor = uint16(s.num("shelf")), uint8(s.num("slot"))
	e.AutoSlot = !own.has("slot") && !own.has("address")
	if own.has("address") {
		b.address(own, &e)
	}
	b.exportLists(own, s, &e)
	b.exportLimits(s, &e)
	return e
}

// address reads the key address.
func (b *builder) address(own *section, e *Export) {
	for _, k := range []string{"shelf", "slot"} {
		if own.has(k) {
			b.problem(Error, own, k, "address says it already", "write address, or shelf and slot")
		}
	}
	v, ok := own.set["address"]
	if !ok {
		return
	}
	addr, err := aoe.ParseAddr(v.str)
	if err != nil {
		hint := `e.g. address = "0.1"`
		if strings.Contains(v.str, "65535") || strings.HasSuffix(v.str, ".255") {
			hint = "shelf 65535 and slot 255 mean \"all\" on the wire and cannot be served"
		}
		b.problem(Error, own, "address", err.Error(), hint)
		own.bad["address"] = true
		return
	}
	e.Addr = addr
}

// exportLists reads the access lists of an export.
func (b *builder) exportLists(own, s *section, e *Export) {
	accept, accepts := b.listOf(s, "accept")
	deny, denies := b.listOf(s, "deny")
	if accepts || denies {
		var names []string
		if accepts {
			names = append(names, "accept "+joinNames(s.set["accept"].names))
		}
		if denies {
			names = append(names, "deny "+joinNames(s.set["deny"].names))
		}
		e.Access = acl(accept, accepts, deny, strings.Join(names, ", "))
		if len(deny) == 0 && !accepts { // deny = [] undoes a deny of the defaults
			e.Access = nil
		}
	}
	for _, l := range []struct {
		key string
		to  **ACL
	}{{"config-read", &e.ConfigRead}, {"config-set", &e.ConfigSet}, {"read", &e.Read}, {"write", &e.Write}} {
		if sets, ok := b.listOf(s, l.key); ok {
			*l.to = acl(sets, true, nil, joinNames(s.set[l.key].names))
		}
	}
	for _, key := range []string{"accept", "config-read", "config-set", "read", "write"} {
		if v, ok := s.set[key]; ok && len(v.names) == 0 {
			b.problem(Error, s, key, "an empty list would serve nobody", "leave the key out; to undo one of [defaults], name an access list with policy = \"accept\"")
		}
	}
	if e.WriteNow == WriteNowOn && own.has("write-now") && (!e.WriteCache || e.Direct) {
		b.problem(Warning, own, "write-now", "has no effect", "it is for write-cache = true without direct-io")
	}
	if e.ReadOnly && own.has("write") {
		b.problem(Warning, own, "write", "has no effect", "the export is read-only")
	}
}

// checkExport checks what concerns one export alone.
func (b *builder) checkExport(own, s *section, e *Export) {
	if !s.has("source") {
		b.problem(Error, own, "source", "is missing", `say what to export: source = "/dev/sda5"`)
	} else if !s.bad["source"] {
		if err := CheckSource(e.Source); err != nil {
			b.problem(Error, own, "source", err.Error(), "a path, UUID=, LABEL=, PARTUUID=, PARTLABEL= or mem:SIZE")
		} else if size, ok := MemSize(e.Source); ok && e.Offset+e.Length > size || e.Offset+e.Length < 0 {
			b.problem(Error, own, "length", "offset and length reach beyond the source", "the memory has "+FormatSize(size))
		}
	}
	if len(e.Interfaces) == 0 && !s.bad["interfaces"] {
		b.problem(Error, own, "interfaces", "no interface to serve on",
			`add interfaces = ["eth1"] to [defaults] or to the export, or start with -i eth1`)
	}
	for _, it := range s.set["interfaces"].names {
		if err := checkPattern(it.text); err != nil {
			b.memberProblem(s, "interfaces", it, err.Error(), "")
		}
	}
	if e.BufferCount > e.QueueLength && own.has("buffer-count") && !s.bad["queue-length"] {
		b.problem(Warning, own, "buffer-count", fmt.Sprintf("initiators are told %d, but %d are queued: the excess gets lost and repeated", e.BufferCount, e.QueueLength),
			"raise queue-length to the same value")
	}
	if n := e.PhysicalSector; n&(n-1) != 0 {
		b.problem(Error, s, "physical-sector", fmt.Sprintf("%d is not a power of two", n), "usually 512 or 4096")
	}
	for key, a := range map[string]*ACL{"accept": e.Access, "config-read": e.ConfigRead} {
		if a != nil && !a.Policy && len(a.Rows) == 0 && b.ps.Errors() == 0 {
			b.problem(Warning, s, key, "nobody is accepted", "")
		}
	}
}

// checkAddress warns of addresses that initiators do not take. High slots are only counted here: see highSlots.
func (b *builder) checkAddress(own *section, e *Export) {
	if e.Addr.Major == linuxRefusedShelf {
		b.problem(Warning, own, addressKey(own), fmt.Sprintf("Linux ignores shelf %d", linuxRefusedShelf), "use another shelf for Linux initiators")
	}
	if e.Addr.Minor <= linuxStaticSlots {
		return
	}
	b.high.count++
	if b.high.first == nil {
		b.high.first, b.high.addr = own, e.Addr
	}
}

// highSlots warns once of all slots that old Linux drivers do not have: a big shelf is no mistake.
func (b *builder) highSlots() {
	if b.high.count == 0 {
		return
	}
	which := b.high.addr.String()
	if n := b.high.count - 1; n > 0 {
		which = fmt.Sprintf("%s and %d more", which, n)
	}
	b.problem(Warning, b.high.first, addressKey(b.high.first), fmt.Sprintf("%s: Linux drivers without aoe_dyndevs know no slot above %d", which, linuxStaticSlots),
		"current kernels have it; for old ones use another shelf")
}

// checkNames refuses names that do not tell one export from another: two of a kind, and what looks like an address or a pattern.
func (b *builder) checkNames() {
	seen := map[string]aoe.Addr{}
	for i := range b.cfg.Exports {
		e := &b.cfg.Exports[i]
		if e.Name == "" {
			continue
		}
		if misleadingName(e.Name) {
			b.problem(Error, b.doc.exports[i], "name", fmt.Sprintf("%q would be taken for an address, a pattern or several names", e.Name), "letters, digits, . - and _ are fine")
		}
		if o, dup := seen[e.Name]; dup {
			b.problem(Error, b.doc.exports[i], "name", fmt.Sprintf("%s has the name already", o), "give each export a name of its own, or none")
		}
		seen[e.Name] = e.Addr
	}
}

// misleadingName tells whether the name of an export would be taken for something else.
func misleadingName(name string) bool {
	_, err := aoe.ParseAddr(name)
	return err == nil || strings.ContainsAny(name, "*?[] ,=")
}

// checkSerials warns of two exports with one serial number: initiators may take them for one disk.
func (b *builder) checkSerials() {
	seen := map[string]*Export{}
	for i := range b.cfg.Exports {
		e := &b.cfg.Exports[i]
		if e.Serial == "" {
			continue
		}
		if o := seen[e.Serial]; o != nil {
			b.problem(Warning, b.doc.exports[i], "serial", fmt.Sprintf("%s has the same serial number", o.Addr), "initiators may take both for one disk")
		}
		seen[e.Serial] = e
	}
}
