package config

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"goaoe/aoe"
)

// set is a set of Ethernet addresses: the decision for some, and for all others.
type set struct {
	rows  map[aoe.MAC]bool
	other bool
	log   bool
	// logTarget is where refusals are logged; empty: not said
	logTarget string
}

// has tells whether m is in the set.
func (s *set) has(m aoe.MAC) bool {
	if yes, ok := s.rows[m]; ok {
		return yes
	}
	return s.other
}

// member is a resolved member: the set of one address, or of a list.
type member struct {
	accept bool
	set    *set
}

// list is an access list while it is resolved.
type list struct {
	sec   *section
	state uint8 // 0: not looked at, 1: being resolved, 2: done
	set   *set
	used  bool
}

// accessTable resolves the names in access lists.
type accessTable struct {
	lists  map[string]*list
	hosts  map[string]aoe.MAC
	ethers Ethers
}

// access reads [hosts], the ethers file and the access lists, and resolves the lists.
func (b *builder) access() {
	b.names = accessTable{lists: map[string]*list{}, hosts: map[string]aoe.MAC{}}
	b.hosts()
	for _, s := range b.doc.lists {
		if _, err := aoe.ParseMAC(s.name); err == nil || strings.ContainsAny(s.name, " \t\n,") || s.name == "" {
			b.problem(Error, s, "", fmt.Sprintf("%q cannot be the name of an access list", s.name), "it would be taken for an Ethernet address, or for two names")
		} else if _, dup := b.names.hosts[s.name]; dup {
			b.problem(Error, s, "", "a host in [hosts] has the same name", "rename one of the two")
		}
		b.names.lists[s.name] = &list{sec: s}
	}
	if b.namesUsed() {
		var ps Problems
		b.names.ethers, ps = ReadEthers(filepath.Join("/", b.opt.Sysroot, b.cfg.Global.Ethers))
		b.ps = append(b.ps, ps...)
	}
	for _, s := range b.doc.lists {
		b.resolve(b.names.lists[s.name])
	}
}

// namesUsed tells whether any member is a name that the ethers file must explain; without one the file is left alone.
func (b *builder) namesUsed() bool {
	for _, s := range slices.Concat([]*section{b.doc.defaults}, b.doc.lists, b.doc.exports) {
		for key, v := range s.set {
			k := lookup(s.kind, key)
			if k.Type != TypeMembers && k.Type != TypeRules && k.Type != TypeLimits {
				continue
			}
			for _, it := range v.names {
				name := it.text[strings.LastIndexByte(it.text, ' ')+1:]
				if k.Type == TypeLimits {
					name, _, _ = strings.Cut(it.text, " ")
				}
				if _, err := aoe.ParseMAC(name); err != nil && b.names.lists[name] == nil && b.names.hosts[name].IsZero() {
					return true
				}
			}
		}
	}
	return false
}

// hosts reads [hosts].
func (b *builder) hosts() {
	for _, h := range b.doc.hosts {
		text := b.doc.hostMACs[h.text]
		p := Problem{Severity: Error, Position: h.pos, Key: "hosts." + h.text, Value: text}
		mac, err := aoe.ParseMAC(text)
		if err == nil {
			err = checkMember(mac)
		}
		if _, nameErr := aoe.ParseMAC(h.text); err == nil && (nameErr == nil || strings.ContainsAny(h.text, " \t\n,") || h.text == "") {
			err = fmt.Errorf("%q cannot be the name of a host", h.text)
		}
		if err != nil {
			p.Message = err.Error()
			b.ps.add(p)
			continue
		}
		b.names.hosts[h.text] = mac
	}
}

// hostNames collects who is who, for messages. What is wrong with the ethers file matters only where access lists use it.
func (b *builder) hostNames() {
	ethers := b.names.ethers
	if ethers == nil {
		ethers, _ = ReadEthers(filepath.Join("/", b.opt.Sysroot, b.cfg.Global.Ethers))
	}
	b.cfg.Hosts = map[aoe.MAC]string{}
	for _, names := range []map[string]aoe.MAC{ethers, b.names.hosts} { // our own count before those of the system
		for _, name := range slices.Sorted(maps.Keys(names)) {
			b.cfg.Hosts[names[name]] = name
		}
	}
}

// checkMember says why nobody can have the address m.
func checkMember(m aoe.MAC) error {
	switch {
	case m.IsZero():
		return fmt.Errorf("nobody has the address %s", m)
	case m.IsGroup():
		return fmt.Errorf("%s is a group address, nobody sends from it", m)
	}
	return nil
}

// resolve computes the set of a list. It returns nil for a list that includes itself.
func (b *builder) resolve(l *list) *set {
	switch l.state {
	case 1:
		return nil
	case 2:
		return l.set
	}
	l.state = 1
	s := l.sec
	var rows []member
	for _, it := range s.set["rules"].names {
		verb, name, _ := strings.Cut(strings.TrimSpace(it.text), " ")
		if verb != "accept" && verb != "reject" || strings.TrimSpace(name) == "" {
			b.memberProblem(s, "rules", it, fmt.Sprintf("%q is not a rule", it.text), `write "accept MEMBER" or "reject MEMBER"`)
			continue
		}
		if m := b.member(s, "rules", item{strings.TrimSpace(name), it.pos}); m != nil {
			rows = append(rows, member{verb == "accept", m})
		}
	}
	for _, it := range s.set["members"].names {
		if m := b.member(s, "members", it); m != nil {
			rows = append(rows, member{true, m})
		}
	}
	l.set = combine(rows, s.text("policy") == "accept")
	l.set.log = l.set.log || s.yes("log")
	if t := b.logTarget(s); t != "" {
		l.set.logTarget = t
	}
	l.state = 2
	return l.set
}

// memberProblem notes a problem with one element of a list.
func (b *builder) memberProblem(s *section, key string, it item, msg, hint string) {
	p := Problem{Severity: Error, Position: it.pos, Key: s.kind + "." + key, Value: it.text, Message: msg, Hint: hint}
	if s.name != "" {
		p.Key = s.kind + "." + s.name + "." + key
	} else if home := s.set[key].home; home != "" {
		p.Key = home + "." + key
	}
	b.ps.add(p)
}

// member resolves one name: an access list, an address, a host of [hosts] or of the ethers file, in this order.
func (b *builder) member(s *section, key string, it item) *set {
	if l := b.names.lists[it.text]; l != nil {
		l.used = true
		m := b.resolve(l)
		if m == nil {
			b.memberProblem(s, key, it, fmt.Sprintf("the access list %q includes itself by way of this", it.text), "take it out on one side")
		}
		return m
	}
	mac, err := aoe.ParseMAC(it.text)
	if err != nil {
		var ok bool
		if mac, ok = b.names.hosts[it.text]; !ok {
			mac, ok = b.names.ethers[it.text]
		}
		if !ok {
			b.unknownMember(s, key, it)
			return nil
		}
	} else if err := checkMember(mac); err != nil {
		b.memberProblem(s, key, it, err.Error(), "")
		return nil
	}
	return &set{rows: map[aoe.MAC]bool{mac: true}}
}

// unknownMember notes a name that nobody knows.
func (b *builder) unknownMember(s *section, key string, it item) {
	hint := fmt.Sprintf("add it to [hosts] or to %s, or make an access list of that name", b.cfg.Global.Ethers)
	known := slices.Concat(slices.Sorted(maps.Keys(b.names.lists)), slices.Sorted(maps.Keys(b.names.hosts)), slices.Sorted(maps.Keys(b.names.ethers)))
	if n := nearest(it.text, known); n != "" {
		hint = fmt.Sprintf("did you mean %q?", n)
	}
	b.memberProblem(s, key, it, fmt.Sprintf("%q is no Ethernet address, and no access list or host of that name is known", it.text), hint)
}

// combine makes one set of rows: the first row that has an address decides, else policy.
func combine(rows []member, policy bool) *set {
	out := &set{rows: map[aoe.MAC]bool{}, other: policy}
	for _, r := range slices.Backward(rows) {
		out.log = out.log || r.set.log
		if r.set.log && r.set.logTarget != "" {
			out.logTarget = r.set.logTarget // of the first row that names one
		}
		for m := range r.set.rows {
			out.rows[m] = false // decided below
		}
		if r.set.other {
			out.other = r.accept
		}
	}
	for m := range out.rows {
		out.rows[m] = policy
		for _, r := range rows {
			if r.set.has(m) {
				out.rows[m] = r.accept
				break
			}
		}
	}
	return out
}

// listOf resolves a key of an export that lists members; ok tells whether it was written. What could not be resolved is a
// problem and left out.
func (b *builder) listOf(s *section, key string) (sets []*set, ok bool) {
	v, ok := s.set[key]
	if !ok {
		return nil, false
	}
	for _, it := range v.names {
		if m := b.member(s, key, it); m != nil {
			sets = append(sets, m)
		}
	}
	return sets, true
}

// acl makes the ACL of an accept and a deny list (either may be absent).
func acl(accept []*set, accepts bool, deny []*set, names string) *ACL {
	var rows []member
	for _, d := range deny {
		rows = append(rows, member{false, d})
	}
	for _, a := range accept {
		rows = append(rows, member{true, a})
	}
	s := combine(rows, !accepts)
	out := &ACL{Names: names, Policy: s.other, Log: s.log, LogTarget: s.logTarget}
	for m, yes := range s.rows {
		if yes != s.other {
			out.Rows = append(out.Rows, ACLRow{m, yes})
		}
	}
	slices.SortFunc(out.Rows, func(a, b ACLRow) int { return cmp.Compare(a.MAC.Key(), b.MAC.Key()) })
	return out
}

// joinNames returns the members as the user wrote them.
func joinNames(items []item) string {
	var out []string
	for _, it := range items {
		out = append(out, it.text)
	}
	return strings.Join(out, ", ")
}
