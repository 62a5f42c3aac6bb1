package logging

import (
	"log/slog"

	"goaoe/internal/config"
)

// spec is what makes up a target. Two targets with equal specs are the same.
type spec struct {
	kind     config.LogTarget
	json     bool
	file     string
	facility string
	tag      string
	level    string // the least important lines that it takes; empty: all that come
}

// specs returns the targets of a configuration by name; "" is that of [log].
func specs(c *config.Config) map[string]spec {
	out := map[string]spec{"": {kind: c.Log.Target, json: c.Log.Format == "json", file: c.Log.File, facility: c.Log.Facility, tag: c.Log.Tag}}
	for _, t := range c.LogTargets {
		out[t.Name] = spec{kind: t.Type, json: t.Format == "json", file: t.File, facility: t.Facility, tag: t.Tag, level: t.Level}
	}
	return out
}

// table says which lines are written, and where. It does not change.
type table struct {
	cfg     *config.Config
	sinks   map[string]*sink
	level   slog.Level            // of the daemon
	min     slog.Level            // the lowest level that any line can be written at
	set     map[string]slog.Level // as SetLevel says, by subject
	exports map[string]*config.Export
}

// newTable makes a table. It copies what may change.
func newTable(c *config.Config, set map[string]slog.Level, sinks map[string]*sink) *table {
	t := &table{cfg: c, sinks: sinks, level: levelOf(c.Log.Level), set: make(map[string]slog.Level, len(set)),
		exports: make(map[string]*config.Export, len(c.Exports))}
	if v, ok := set[""]; ok {
		t.level = v
	}
	t.min = t.level
	for subject, v := range set {
		t.set[subject] = v
		t.min = min(t.min, v)
	}
	for i := range c.Exports {
		e := &c.Exports[i]
		if e.LogLevel != "" {
			t.min = min(t.min, levelOf(e.LogLevel))
		}
		if e.LogLevel != "" || e.LogTarget != "" {
			t.exports[e.Addr.String()] = e
		}
	}
	for _, i := range c.Interfaces {
		if i.LogLevel != "" {
			t.min = min(t.min, levelOf(i.LogLevel))
		}
	}
	return t
}

// about is what a line is about, from its attributes. See the package's description.
type about struct {
	export, iface, initiator, target string
	trace                            bool
}

// subjectLevel returns the level of an export or interface, if it has one of its own.
func (t *table) subjectLevel(subject string) (slog.Level, bool) {
	if v, ok := t.set[subject]; ok {
		return v, true
	}
	if e := t.exports[subject]; e != nil {
		return levelOf(e.LogLevel), e.LogLevel != ""
	}
	i := t.cfg.MatchInterface(subject)
	return levelOf(i.LogLevel), i.LogLevel != ""
}

// route returns the target for a line, or nil when it is not written.
func (t *table) route(a *about, level slog.Level) *sink {
	limit, name := t.level, a.target
	for _, subject := range []string{a.iface, a.export} { // the export has the last word
		if subject == "" {
			continue
		}
		if v, ok := t.subjectLevel(subject); ok {
			limit = v
		}
	}
	if level < limit && !a.trace {
		return nil
	}
	if name == "" && a.export != "" {
		if e := t.exports[a.export]; e != nil {
			name = e.LogTarget
		}
	}
	if name == "" && a.iface != "" {
		name = t.cfg.MatchInterface(a.iface).LogTarget
	}
	s := t.sinks[name]
	if s == nil {
		s = t.sinks[""]
	}
	if s.spec.level != "" && level < levelOf(s.spec.level) && !a.trace {
		return nil
	}
	return s
}
