package ggaoed

import (
	"fmt"
	"path/filepath"
	"strings"

	"goaoe/aoe"
	"goaoe/internal/config"
)

// ethersFile is where ggaoed (by ether_hostton(3)) looks for names.
const ethersFile = "/etc/ethers"

// aclState is one list of [acls].
type aclState struct {
	index int  // of its line in the group
	empty bool // it comes to no address at all
}

// accessLists reads [acls]. A list may name lists above it; a name that is none of those is looked up in /etc/ethers.
func (r *reader) accessLists() {
	g := r.kf.group(kindACLs)
	if g == nil {
		return
	}
	for i, e := range g.entries {
		if r.acls[e.key] == nil {
			r.acls[e.key] = &aclState{index: i}
		}
	}
	for i, e := range g.entries {
		p := r.d.Named("access-list", e.key, e.pos, label(g, e))
		if i == 0 {
			p.Comment(g.comments...)
		}
		_, items, ok := r.list(g, e.key)
		members, silent := r.members(g, e, items, i)
		r.acls[e.key].empty = ok && len(members)+silent == 0
		if len(members) > 0 {
			p.List("members", members, source(g, e))
		} else {
			p.Remark(e.comments...)
		}
	}
}

// members resolves what goaoe would read otherwise than ggaoed. before is the number of lists that can be named; silent is how many of the
// elements are addresses that nobody can have: for ggaoed a list of them is no empty one.
func (r *reader) members(g *group, e *entry, items []config.Item, before int) (out []config.Item, silent int) {
	for _, it := range items {
		a := r.acls[it.Text]
		mac, err := aoe.ParseMAC(it.Text)
		if err == nil && config.CannotSend(mac) != "" {
			r.note(config.Warning, g, e, config.CannotSend(mac), "remove it")
			silent++
			continue
		}
		if err == nil || a == nil {
			out = append(out, it)
			continue
		}
		if a.index < before {
			if a.empty {
				r.note(config.Warning, g, e, fmt.Sprintf("the list %q is empty and adds nobody", it.Text), "")
				continue
			}
			out = append(out, it)
			continue
		}
		// not defined yet: ggaoed looks for a host
		ethers, _ := config.ReadEthers(filepath.Join("/", r.sysroot, ethersFile))
		host, ok := ethers[it.Text]
		if !ok {
			r.note(config.Error, g, e, fmt.Sprintf("the list %q is defined further down, and %s has no host of that name", it.Text, ethersFile),
				"ggaoed knows the lists above only: move it up")
			continue
		}
		r.note(config.Warning, g, e, fmt.Sprintf("%q is the host %s of %s here, not the list, which is defined further down", it.Text, host, ethersFile), "")
		out = append(out, config.Item{Text: host.String(), Pos: it.Pos})
	}
	return out, silent
}

// access reads accept and deny of a device. A list that comes to nobody is no list at all, in ggaoed.
func (r *reader) access(p *config.Part, g *group) {
	for _, key := range []string{"accept", "deny"} {
		e, items, ok := r.list(g, key)
		if !ok {
			continue
		}
		members, silent := r.members(g, e, items, len(r.acls))
		if len(members) == 0 && silent > 0 {
			members = []config.Item{{Text: r.d.Nobody(), Pos: e.valuePos}}
		}
		if len(members) > 0 {
			p.List(key, members, source(g, e))
			continue
		}
		if key == "accept" {
			r.note(config.Warning, g, e, "names nobody, which is no restriction at all: everybody is served", "name who is accepted, or remove it")
		}
		remark(p, e, "names nobody: no restriction")
	}
}

// patterns turns ggaoed's interface patterns, which know * and ?, into goaoe's, which know more.
func patterns(items []config.Item) []config.Item {
	out := make([]config.Item, len(items))
	for i, it := range items {
		out[i] = config.Item{Text: escapeBrackets(it.Text), Pos: it.Pos}
	}
	return out
}

// escapeBrackets protects what is a letter like others in ggaoed's patterns.
func escapeBrackets(s string) string { return strings.NewReplacer(`\`, `\\`, "[", `\[`).Replace(s) }
