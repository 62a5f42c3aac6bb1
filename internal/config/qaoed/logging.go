package qaoed

import (
	"fmt"
	"slices"
	"strings"

	"goaoe/aoe"
	"goaoe/internal/config"
)

// logDefault is the log target that counts where none is named: [log].
const logDefault = config.DefaultLogTarget

// logging reads the logging sections. The one called default becomes [log], the others log targets. Without it qaoed logs to syslog;
// goaoe does as it always does: to stderr, which under systemd is the journal.
func (r *reader) logging(blocks []*block) {
	taken := map[string]bool{}
	for _, b := range blocks {
		if b.kind != secLogging {
			continue
		}
		name := b.set["name"]
		if name == nil {
			r.missing(b, "name is missing", `add name = "disks";`)
			continue
		}
		if r.logs[name.value.text] != "" {
			r.note(config.Warning, b, name, "is the name of a logging section already, and the first one counts", "rename one of them")
			continue
		}
		ours := logDefault
		if name.value.text != logDefault {
			ours = nativeName(name.value.text, taken)
		}
		r.logs[name.value.text] = ours
		r.logTarget(b, name, ours)
	}
}

// logTarget reads one logging section.
func (r *reader) logTarget(b *block, name *statement, ours string) {
	var p *config.Part
	key := "type"
	if ours == logDefault {
		p, key = r.d.Section("log", b.st.name.pos, b.label), "target"
	} else {
		p = r.d.Named("log-target", ours, b.st.name.pos, b.label)
	}
	p.Comment(b.comment()...)
	p.Remark(nameComments(name, ours)...)
	kind := "syslog"
	src := config.Source{Pos: b.st.name.pos, Label: b.label}
	if s := b.set["type"]; s != nil {
		src = source(b, s)
		if kind = s.value.text; kind != "syslog" && kind != "file" {
			r.note(config.Error, b, s, fmt.Sprintf("%q is neither syslog nor file", kind), "")
			kind = "syslog"
		}
	}
	p.String(key, kind, src)
	if s := b.set["filename"]; s != nil {
		p.String("file", s.value.text, source(b, s))
	} else if kind == "file" {
		r.missing(b, "filename is missing", `type = file needs filename = "/var/log/qaoed.log";`)
		p.Wrong(key, src)
	}
	if s := b.set["syslog-facility"]; s != nil {
		facility, ok := strings.CutPrefix(strings.ToLower(s.value.text), "log_")
		if !ok || !slices.Contains(facilities, facility) {
			r.note(config.Error, b, s, fmt.Sprintf("%q is no facility that qaoed knows", s.value.text), "LOG_DAEMON, LOG_USER or LOG_LOCAL0 to LOG_LOCAL7")
		} else {
			p.String("facility", facility, source(b, s))
		}
	}
	if s := b.set["syslog-level"]; s != nil {
		if !slices.Contains(syslogLevels, strings.ToUpper(s.value.text)) {
			r.note(config.Error, b, s, fmt.Sprintf("%q is no level of syslog", s.value.text), "one of "+strings.Join(syslogLevels, ", "))
		}
		p.Remark(config.TrimBlank(s.comments)...)
		p.Remark("syslog-level = " + s.value.text + "  (" + option(secLogging, "syslog-level").Instead + ")")
	}
	p.Remark(config.TrimBlank(b.st.inner)...)
}

// What qaoed.conf(5) allows.
var (
	facilities   = []string{"daemon", "user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"}
	syslogLevels = []string{"LOG_EMERG", "LOG_ALERT", "LOG_CRIT", "LOG_ERR", "LOG_WARNING", "LOG_NOTICE", "LOG_INFO", "LOG_DEBUG"}
)

// nameComments are the comments at the name of a section, and its old name if that had to change.
func nameComments(name *statement, ours string) []string {
	out := slices.Clone(config.TrimBlank(name.comments))
	if name.after != "" {
		out = append(out, name.after)
	}
	if name.value.text != ours {
		out = append(out, fmt.Sprintf("Its name was %q.", name.value.text))
	}
	return out
}

// level reads a log level. goaoe has no level that is silent about errors.
func (r *reader) level(b *block, s *statement, src *config.Source) (string, bool) {
	switch v := s.value.text; v {
	case "error", "info", "debug":
		return v, true
	case "none":
		if !r.warned["none"] {
			r.warned["none"] = true
			r.note(config.Warning, b, s, "none becomes error", "goaoe always logs errors; to get rid of them set a log target of their own")
		}
		src.Comments = append(slices.Clone(src.Comments), "log-level was none.")
		return "error", true
	}
	r.note(config.Error, b, s, fmt.Sprintf("%q is no level", s.value.text), "one of error, info, none")
	return "", false
}

// logKeys reads log and log-level of a section.
func (r *reader) logKeys(p *config.Part, b *block) {
	if s := b.set["log"]; s != nil {
		if target, ok := r.logName(b, s); ok {
			p.String("log-target", target, source(b, s))
		}
	}
	if s := b.set["log-level"]; s != nil {
		src := source(b, s)
		if level, ok := r.level(b, s, &src); ok {
			p.String("log-level", level, src)
		}
	}
}

// logName resolves the name of a logging section. There is always one called default.
func (r *reader) logName(b *block, s *statement) (string, bool) {
	if s.value.text == logDefault {
		return logDefault, true
	}
	if ours := r.logs[s.value.text]; ours != "" {
		return ours, true
	}
	var known []string
	for n := range r.logs {
		known = append(known, n)
	}
	slices.Sort(known)
	hint := fmt.Sprintf("add logging { name = %q; ... }", s.value.text)
	if n := config.Nearest(s.value.text, known); n != "" {
		hint = fmt.Sprintf("did you mean %q?", n)
	}
	r.note(config.Error, b, s, fmt.Sprintf("there is no logging section called %q", s.value.text), hint)
	return "", false
}

// nativeName makes a name that goaoe takes for a section of one that qaoed takes: without blanks and commas, not an Ethernet address,
// not taken.
func nativeName(name string, taken map[string]bool) string {
	ours := strings.Map(func(c rune) rune {
		if c <= ' ' || c == ',' || c == 0x7f || c == '\ufffd' {
			return '-'
		}
		return c
	}, name)
	if _, err := aoe.ParseMAC(ours); err == nil || ours == "" || ours == logDefault {
		ours = "list-" + ours
	}
	for base, n := ours, 2; taken[ours]; n++ {
		ours = fmt.Sprintf("%s-%d", base, n)
	}
	taken[ours] = true
	return ours
}
