package vbladeconf

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"goaoe/aoe"
	"goaoe/internal/config"
)

// source describes an assignment for the draft.
func source(a assignment) config.Source {
	return config.Source{Pos: a.pos, Label: a.name, Raw: a.value, Comments: a.comments}
}

// note notes a problem with an assignment.
func (r *reader) note(sev config.Severity, a assignment, msg, hint string) {
	r.d.Problem(config.Problem{Severity: sev, Position: a.pos, Key: a.name, Value: a.value, Message: msg, Hint: hint})
}

// export writes one instance.
func (r *reader) export(in *instance) {
	pos := config.Position{File: in.file}
	p := r.d.Add("export", pos, in.name)
	p.Comment("From " + in.file + ".")
	for _, o := range in.others {
		p.Comment("And " + o.file + ".")
	}
	for _, name := range []string{"shelf", "slot"} {
		a := in.vars[name]
		n, err := strconv.ParseInt(a.value, 10, 64)
		if err != nil {
			r.note(config.Error, a, fmt.Sprintf("%q is not a number", a.value), "vblade takes what is none for 0")
			p.Wrong(name, source(a))
			continue
		}
		p.Int(name, n, source(a))
	}
	file := in.vars["filename"]
	path := file.value
	if !strings.HasPrefix(path, "/") {
		r.note(config.Warning, file, fmt.Sprintf("%q is taken for /%s", path, path), "services work in the directory /: begin with / to be clear")
		path = "/" + path
	}
	p.String("source", path, source(file))
	netif := in.vars["netif"]
	items := []config.Item{{Text: config.EscapeGlob(netif.value), Pos: netif.at}}
	for _, o := range in.others {
		items = append(items, config.Item{Text: config.EscapeGlob(o.vars["netif"].value), Pos: o.vars["netif"].at})
	}
	p.List("interfaces", items, source(netif))
	if config.UsableName(in.name) {
		p.String("name", in.name, config.Source{Pos: pos})
	}
	r.options(p, in)
	if len(in.macs) > 0 {
		p.List("accept", in.macs, config.Source{Pos: in.macs[0].Pos, Label: "macs"})
	}
	if in.down {
		p.Bool("disabled", true, config.Source{Pos: pos, Label: "down", Comments: []string{"It was not started (file down)."}})
		r.d.Problem(config.Problem{Severity: config.Warning, Position: pos, Key: in.name, Message: "has a file down, so it was not started, and is converted as disabled", Hint: "remove disabled = true to serve it"})
	}
	if a, ok := in.vars["ionice"]; ok {
		p.Remark(a.comments...)
		p.Remark("ionice = " + a.value + "  (" + noIonice + ")")
		if !r.warned {
			r.warned = true
			r.note(config.Warning, a, "has no equivalent for one export", noIonice)
		}
	}
	p.Remark(in.tail...)
}

// options reads the variable of that name: the flags of vblade, as getopt(3) takes them.
func (r *reader) options(p *config.Part, in *instance) {
	a, ok := in.vars["options"]
	if !ok {
		return
	}
	words := strings.Fields(a.value)
	s := source(a)
	for i := 0; i < len(words); i++ {
		w := words[i]
		if w == "--" {
			continue
		}
		if len(w) < 2 || w[0] != '-' {
			r.note(config.Error, a, fmt.Sprintf("%q is no option of vblade", w), "options begin with -")
			return
		}
		for j := 1; j < len(w); j++ {
			flag := w[j]
			if strings.IndexByte("dsr", flag) >= 0 {
				r.flag(p, flag, s)
				s.Comments = nil
				continue
			}
			if strings.IndexByte("bmol", flag) < 0 {
				r.note(config.Error, a, fmt.Sprintf("-%c is no option of vblade", flag), "the options are -b, -d, -s, -r, -m, -o, -l")
				return
			}
			value := w[j+1:]
			if value == "" {
				if i++; i >= len(words) {
					r.note(config.Error, a, fmt.Sprintf("-%c has no value", flag), "")
					return
				}
				value = words[i]
			}
			r.valued(p, flag, value, a, s)
			s.Comments = nil
			break
		}
	}
}

// flag sets what an option without a value stands for.
func (r *reader) flag(p *config.Part, flag byte, s config.Source) {
	switch flag {
	case 'd':
		p.Bool("direct-io", true, s)
	case 'r':
		p.Bool("read-only", true, s)
	case 's':
		s.Comments = append(slices.Clone(s.Comments), "vblade's -s.")
		p.Bool("write-cache", false, s)
	}
}

// valued sets what an option with a value stands for.
func (r *reader) valued(p *config.Part, flag byte, value string, a assignment, s config.Source) {
	if flag == 'm' {
		var items []config.Item
		for _, m := range strings.Split(value, ",") {
			if m == "" {
				continue
			}
			mac, err := aoe.ParseMAC(m)
			if err != nil {
				r.note(config.Error, a, "-m: "+err.Error(), "")
				continue
			}
			if why := config.CannotSend(mac); why != "" {
				r.note(config.Warning, a, "-m: "+why, "remove it")
				continue
			}
			items = append(items, config.Item{Text: mac.String(), Pos: a.at})
		}
		if len(items) == 0 { // of addresses that nobody has, or wrong
			items = []config.Item{{Text: r.d.Nobody(), Pos: a.at}}
		}
		p.List("accept", items, s)
		return
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/512 {
		r.note(config.Error, a, fmt.Sprintf("-%c %q is not a number", flag, value), "")
		return
	}
	switch flag {
	case 'o':
		p.String("offset", fmt.Sprintf("%ds", n), s)
	case 'l':
		if n > 0 { // vblade takes 0 for the whole rest
			p.String("length", fmt.Sprintf("%ds", n), s)
		}
	case 'b':
		if n < 2 || n > 1024 {
			r.note(config.Warning, a, fmt.Sprintf("-b %d becomes %d", n, min(max(n, 2), 1024)), "goaoe has queues of 2 to 1024 requests")
			n = min(max(n, 2), 1024)
		}
		p.Int("queue-length", n, s)
		s.Comments = nil
		p.Int("buffer-count", n, s)
	}
}
