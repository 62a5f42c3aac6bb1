package qaoed

import (
	"fmt"
	"slices"

	"goaoe/aoe"
	"goaoe/internal/config"
)

// hooks are the four places where qaoed asks an access list, with goaoe's keys for them.
var hooks = []struct{ name, native string }{{"cfgread", "config-read"}, {"cfgset", "config-set"}, {"read", "read"}, {"write", "write"}}

// accessLists reads the access-list sections: rows from top to bottom, then the policy.
func (r *reader) accessLists(blocks []*block) {
	taken := map[string]bool{}
	for _, b := range blocks {
		if b.kind != secAccess {
			continue
		}
		name := b.set["name"]
		if name == nil {
			r.missing(b, "name is missing", "devices name it by that")
			continue
		}
		if r.lists[name.value.text] != "" {
			r.note(config.Warning, b, name, "is the name of an access-list already, and the first one counts", "rename one of them")
			continue
		}
		ours := nativeName(name.value.text, taken)
		r.lists[name.value.text] = ours
		p := r.d.Named("access-list", ours, b.st.name.pos, b.label)
		p.Comment(b.comment()...)
		p.Remark(nameComments(name, ours)...)
		rejects := r.policy(p, b)
		rejects = r.rows(p, b) || rejects
		if s := b.set["log"]; s != nil {
			src := source(b, s)
			p.Bool("log", true, src)
			if target, ok := r.logName(b, s); ok && target != logDefault {
				p.String("log-target", target, config.Source{Pos: src.Pos, Label: src.Label})
			}
			if !rejects {
				r.note(config.Warning, b, s, "the list rejects nobody, and goaoe logs refusals only, so nothing is logged", "for a line per request set trace = true in the export")
			}
		}
		p.Remark(config.TrimBlank(b.st.inner)...)
	}
}

// policy reads the policy, and tells whether it rejects.
func (r *reader) policy(p *config.Part, b *block) (rejects bool) {
	s := b.set["policy"]
	if s == nil {
		r.problem(config.Warning, b.st.name.pos, b.label, "", "has no policy: who is in no row is rejected", "add policy = reject;")
		p.String("policy", "reject", config.Source{Pos: b.st.name.pos, Label: b.label})
		return true
	}
	if v := s.value.text; v != "accept" && v != "reject" {
		r.note(config.Error, b, s, fmt.Sprintf("%q is neither accept nor reject", v), "")
		return true
	}
	p.String("policy", s.value.text, source(b, s))
	return s.value.text == "reject"
}

// rows reads the accept and reject rows in their order, and tells whether one rejects.
func (r *reader) rows(p *config.Part, b *block) (rejects bool) {
	var rules []config.Item
	var src *config.Source
	for i := range b.st.block {
		s := &b.st.block[i]
		verb := s.name.text
		if s.isBlock || verb != "accept" && verb != "reject" && verb != "allow" {
			continue
		}
		if verb == "allow" {
			verb = "accept"
			if !r.warned["allow"] {
				r.warned["allow"] = true
				r.note(config.Warning, b, s, "is taken for accept", "qaoed's manual has an example with allow, its parser refuses it")
			}
		}
		mac, err := aoe.ParseMAC(s.value.text)
		if err != nil {
			r.note(config.Error, b, s, err.Error(), "e.g. "+s.name.text+` = "00:16:3E:2F:E1:17";`)
			continue
		}
		if why := config.CannotSend(mac); why != "" {
			r.note(config.Warning, b, s, why, "remove the row")
			continue
		}
		rejects = rejects || verb == "reject"
		rules = append(rules, config.Item{Text: verb + " " + mac.String(), Pos: s.name.pos})
		one := source(b, s)
		if one.After != "" {
			one.Comments = append(slices.Clone(one.Comments), mac.String()+": "+one.After)
		}
		if src == nil {
			one.After = ""
			src = &one
		} else {
			src.Comments = append(slices.Clone(src.Comments), one.Comments...)
		}
	}
	if src != nil {
		p.List("rules", rules, *src)
	}
	return rejects
}

// acl reads the four hooks of a device or of default.
func (r *reader) acl(p *config.Part, b *block) {
	in := &block{kind: secACL, label: b.label + " acl"}
	for _, h := range hooks {
		s := b.acl[h.name]
		if s == nil {
			continue
		}
		ours := r.lists[s.value.text]
		if ours == "" {
			var known []string
			for n := range r.lists {
				known = append(known, n)
			}
			slices.Sort(known)
			hint := fmt.Sprintf("add access-list { name = %q; ... }; qaoed would let everybody in", s.value.text)
			if n := config.Nearest(s.value.text, known); n != "" {
				hint = fmt.Sprintf("did you mean %q?", n)
			}
			r.note(config.Error, in, s, fmt.Sprintf("there is no access-list called %q", s.value.text), hint)
			continue
		}
		p.List(h.native, []config.Item{{Text: ours, Pos: s.value.pos}}, source(in, s))
	}
}
