package config

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"goaoe/aoe"
)

// builder makes the Config of the sections.
type builder struct {
	ps       Problems
	doc      doc
	opt      Options
	cfg      *Config
	names    accessTable
	logsUsed map[string]bool // names of log targets that something is sent to; "?": a name was not known
	high     struct {        // exports at slots that old Linux drivers do not have
		count int
		first *section
		addr  aoe.Addr
	}
}

// build is the last step of reading: sections to Config.
func build(file string, d decoder, opt Options) (*Config, Problems) {
	for _, f := range opt.DropIns {
		d.dropIn(f)
	}
	d.args(opt.Args)
	b := &builder{ps: d.ps, doc: d.doc, opt: opt, cfg: &Config{File: file}}
	b.global()
	b.log()
	b.services()
	b.interfaces()
	b.changes()
	b.access()
	b.exports()
	b.unused()
	b.hostNames()
	return b.cfg, b.ps.unique().Sorted()
}

// problem notes a problem with a key of a section.
func (b *builder) problem(sev Severity, s *section, key, msg, hint string) {
	p := Problem{Severity: sev, Position: s.pos, Key: s.kind + "." + key, Message: msg, Hint: hint}
	if s.name != "" {
		p.Key = s.kind + "." + s.name + "." + key
	}
	if key == "" {
		p.Key = strings.TrimSuffix(p.Key, ".")
	}
	if v, ok := s.set[key]; ok {
		p.Position, p.Value = v.pos, v.raw
		if v.home != s.kind && v.home != "" {
			p.Key = v.home + "." + key
		}
	}
	b.ps.add(p)
}

// keyID names an entry of the table.
type keyID struct{ section, name string }

// keyIndex finds entries of the table.
var keyIndex = func() map[keyID]*Key {
	index := make(map[keyID]*Key, len(Keys))
	for i := range Keys {
		index[keyID{Keys[i].Section, Keys[i].Name}] = &Keys[i]
	}
	return index
}()

// lookup finds the table's entry. A key that is not there is a programmer's mistake, which every test finds.
func lookup(section, name string) *Key {
	k := keyIndex[keyID{section, name}]
	if k == nil {
		panic("config: the table has no key " + section + "." + name)
	}
	return k
}

// The getters return what was written, else the table's default.

func (s *section) text(key string) string {
	if v, ok := s.set[key]; ok {
		return v.str
	}
	def, _ := strconv.Unquote(lookup(s.kind, key).Default)
	return def
}

func (s *section) num(key string) int64 {
	if v, ok := s.set[key]; ok {
		return v.num
	}
	n, _ := strconv.ParseInt(lookup(s.kind, key).Default, 10, 64)
	return n
}

func (s *section) yes(key string) bool {
	if v, ok := s.set[key]; ok {
		return v.yes
	}
	return lookup(s.kind, key).Default == "true"
}

func (s *section) duration(key string) time.Duration {
	if v, ok := s.set[key]; ok {
		return time.Duration(v.num)
	}
	def, _ := strconv.Unquote(lookup(s.kind, key).Default)
	d, _ := parseDuration(def)
	return d
}

// global reads [global].
func (b *builder) global() {
	s := b.doc.global
	b.cfg.Global = Global{
		StateDirectory:  filepath.Clean(s.text("state-directory")),
		Lanes:           int(s.num("lanes")),
		BusyPoll:        s.duration("busy-poll"),
		DiskPoll:        s.yes("disk-poll"),
		RequestAgeLimit: s.duration("request-age-limit"),
		DuplicateCheck:  s.yes("duplicate-check"),
		IOThreads:       int(s.num("io-threads")),
		LinearFrames:    s.yes("linear-frames"),
		XDPSend:         XDPSend(s.text("xdp-send")),
		RegisteredFiles: s.yes("registered-files"),
		ReadNow:         s.yes("read-now"),
		MergeRequests:   s.yes("merge-requests"),
		Ethers:          s.text("ethers"),

		SandboxCapabilities: s.yes("sandbox-capabilities"), SandboxLandlock: s.yes("sandbox-landlock"), SandboxSeccomp: s.yes("sandbox-seccomp"),
	}
}

// interfaces reads the [[interface]] sections.
func (b *builder) interfaces() {
	for _, s := range b.doc.interfaces {
		if s.bad["name"] {
			continue
		}
		if !s.has("name") {
			b.problem(Error, s, "name", "is missing", `say which interface this is about: name = "eth1"`)
			continue
		}
		i := Interface{
			Pattern: s.text("name"), Pos: s.pos,
			MTU: int(s.num("mtu")), RingFrames: int(s.num("ring-frames")), SendBuffer: int(s.num("send-buffer")),
			LogTarget: b.logTarget(s), LogLevel: s.text("log-level"),
		}
		if err := checkPattern(i.Pattern); err != nil {
			b.problem(Error, s, "name", err.Error(), "")
			continue
		}
		for _, o := range b.cfg.Interfaces {
			if o.Pattern == i.Pattern {
				b.problem(Error, s, "name", fmt.Sprintf("%q has a section already, at %s", i.Pattern, o.Pos), "make one section of the two")
			} else if MatchName(o.Pattern, i.Pattern) {
				b.problem(Warning, s, "name", fmt.Sprintf("%q has no effect: the section %q at %s matches first", i.Pattern, o.Pattern, o.Pos),
					"put the more special section first")
			} else {
				continue
			}
			break
		}
		b.cfg.Interfaces = append(b.cfg.Interfaces, i)
	}
}

// unused warns of sections without effect.
func (b *builder) unused() {
	for _, i := range b.cfg.Interfaces {
		if IsGlob(i.Pattern) || len(b.cfg.Exports) == 0 {
			continue
		}
		used := false
		for e := range b.cfg.Exports {
			used = used || b.cfg.Exports[e].Wants(i.Pattern)
		}
		if !used {
			b.ps.add(Problem{Severity: Warning, Position: i.Pos, Key: "interface.name", Value: i.Pattern,
				Message: fmt.Sprintf("no export is served on %q", i.Pattern), Hint: "name it in interfaces of [defaults] or of an [[export]]"})
		}
	}
	for _, s := range b.doc.lists {
		if l := b.names.lists[s.name]; l != nil && !l.used {
			b.problem(Warning, s, "", "is not used", "name it in accept, deny, config-read, config-set, read or write")
		}
	}
	b.unusedLogTargets()
	if len(b.doc.exports) == 0 && !b.opt.Idle {
		b.ps.add(Problem{Severity: Warning, Position: Position{File: b.cfg.File}, Message: "there is nothing to export",
			Hint: "add an [[export]] section, or an argument such as e0.1=/dev/sda5"})
	}
}
