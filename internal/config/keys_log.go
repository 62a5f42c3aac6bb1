package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// LogTarget says where log lines go.
type LogTarget string

// The kinds of log targets.
const (
	LogStderr  LogTarget = "stderr"
	LogJournal LogTarget = "journal"
	LogSyslog  LogTarget = "syslog"
	LogFile    LogTarget = "file"
)

// DefaultLogTarget is the name that stands for the target of [log] where the name of a log target is expected.
const DefaultLogTarget = "default"

// Log holds the settings of the log.
type Log struct {
	Level    string    `key:"level"`    // "error", "warn", "info" or "debug"
	Format   string    `key:"format"`   // "text" or "json"
	Target   LogTarget `key:"target"`   // where to
	File     string    `key:"file"`     // path for LogFile
	Facility string    `key:"facility"` // for LogSyslog: "daemon", "user", "local0" to "local7"
	Tag      string    `key:"tag"`      // name of the program for LogSyslog and LogJournal
}

// NamedLogTarget is a target of log lines beside that of [log]: a section [log-target.NAME].
type NamedLogTarget struct {
	Name     string    `key:"-"`
	Type     LogTarget `key:"type"`
	Level    string    `key:"level"`    // the least important lines that it takes; empty: all that come
	Format   string    `key:"format"`   // "text" or "json"
	File     string    `key:"file"`     // path for LogFile
	Facility string    `key:"facility"` // for LogSyslog
	Tag      string    `key:"tag"`      // name of the program for LogSyslog and LogJournal
	Pos      Position  `key:"-"`        // of the section
}

var (
	logLevels     = []string{"error", "warn", "info", "debug"}
	logFormats    = []string{"text", "json"}
	logKinds      = []string{"stderr", "journal", "syslog", "file"}
	logFacilities = []string{"daemon", "user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"}
)

// maxTag is the longest tag: what syslogds of all ages take (RFC 3164, 4.1.3).
const maxTag = 32

var logKeys = []Key{
	{Section: "log", Name: "level", Type: TypeEnum, Enum: logLevels, Default: `"info"`,
		Help: "The least important messages that are written. Exports and interfaces can have a log-level of their own."},
	{Section: "log", Name: "format", Type: TypeEnum, Enum: logFormats, Default: `"text"`,
		Help: "One line of key=value pairs per message, or one JSON object."},
	{Section: "log", Name: "target", Type: TypeEnum, Enum: logKinds, Default: `"stderr"`,
		Help: "Where messages go. Under systemd stderr ends in the journal, too; \"journal\" adds fields to search for: GOAOE_EXPORT, GOAOE_INTERFACE, GOAOE_INITIATOR."},
	{Section: "log", Name: "file", Type: TypePath, Example: `"/var/log/goaoe/goaoe.log"`,
		Help: "The file for the target \"file\". It is opened again at SIGHUP and when it was moved away, so that it can be rotated."},
	{Section: "log", Name: "facility", Type: TypeEnum, Default: `"daemon"`, Enum: logFacilities,
		Help: "The facility for the target \"syslog\"."},
	{Section: "log", Name: "tag", Type: TypeText, Max: maxTag, Default: `"goaoe"`,
		Help: "The name of the program in syslog and journal."},
}

var logTargetKeys = []Key{
	{Section: "log-target", Name: "type", Type: TypeEnum, Enum: logKinds, Example: `"file"`,
		Help: "Where messages go. Required."},
	{Section: "log-target", Name: "level", Type: TypeEnum, Enum: logLevels, Example: `"warn"`,
		Help: "The least important messages that this target takes. Default: all that are sent to it."},
	{Section: "log-target", Name: "format", Type: TypeEnum, Enum: logFormats, Default: `"text"`,
		Help: "One line of key=value pairs per message, or one JSON object."},
	{Section: "log-target", Name: "file", Type: TypePath, Example: `"/var/log/goaoe/disks.log"`,
		Help: "The file for the type \"file\"."},
	{Section: "log-target", Name: "facility", Type: TypeEnum, Default: `"daemon"`, Enum: logFacilities,
		Help: "The facility for the type \"syslog\"."},
	{Section: "log-target", Name: "tag", Type: TypeText, Max: maxTag, Default: `"goaoe"`,
		Help: "The name of the program in syslog and journal."},
}

// subjectLogKeys are the log settings that exports and interfaces share.
var subjectLogKeys = []Key{
	{Name: "log-target", Type: TypeString, Example: `"disks"`,
		Help: "Messages go to this target instead of that of [log]: the NAME of a [log-target.NAME], or \"default\"."},
	{Name: "log-level", Type: TypeEnum, Enum: logLevels, Example: `"debug"`,
		Help: "The least important messages that are written. Default: the level of [log]."},
}

// exportLogKeys are the log settings of exports.
var exportLogKeys = append(slices.Clone(subjectLogKeys), Key{Name: "trace", Type: TypeBool, Default: "false",
	Help: "Write one line per request to the log: who, what, where, how it ended. For a look at one export, not for every day."})

// interfaceLogKeys are the log settings of interfaces.
var interfaceLogKeys = inSection("interface", subjectLogKeys)

// log reads [log] and the [log-target.NAME] sections.
func (b *builder) log() {
	s := b.doc.log
	l := Log{Level: s.text("level"), Format: s.text("format"), Target: LogTarget(s.text("target")),
		File: s.text("file"), Facility: s.text("facility"), Tag: s.text("tag")}
	b.cfg.Log = l
	b.checkLogTarget(s, "target", l.Target)
	for _, s := range b.doc.logTargets {
		if s.name == DefaultLogTarget || s.name == "" || strings.ContainsAny(s.name, " \t\n,") {
			b.problem(Error, s, "", fmt.Sprintf("%q cannot be the name of a log target", s.name),
				"\"default\" is the target of [log]; other names have no blanks and commas")
		}
		t := NamedLogTarget{Name: s.name, Type: LogTarget(s.text("type")), Level: s.text("level"), Format: s.text("format"),
			File: s.text("file"), Facility: s.text("facility"), Tag: s.text("tag"), Pos: s.pos}
		if !s.has("type") {
			b.problem(Error, s, "type", "is missing", `say where the messages go: type = "file", "journal", "syslog" or "stderr"`)
		} else {
			b.checkLogTarget(s, "type", t.Type)
		}
		b.cfg.LogTargets = append(b.cfg.LogTargets, t)
	}
	slices.SortFunc(b.cfg.LogTargets, func(x, y NamedLogTarget) int { return cmp.Compare(x.Name, y.Name) })
	for _, s := range b.doc.lists {
		if b.logTarget(s); s.has("log-target") && !s.yes("log") && !s.bad["log"] {
			b.problem(Warning, s, "log-target", "has no effect", "it needs log = true")
		}
	}
}

// checkLogTarget checks that the keys of a target fit each other. key is the one that says which kind it is.
func (b *builder) checkLogTarget(s *section, key string, kind LogTarget) {
	if s.bad[key] {
		return
	}
	if kind == LogFile && !s.has("file") {
		b.problem(Error, s, key, "the log is to go to a file, but none is named", `add file = "/var/log/goaoe/goaoe.log"`)
	}
	for _, u := range []struct {
		key, hint string
		used      bool
	}{
		{"file", `it needs ` + key + ` = "file"`, kind == LogFile},
		{"facility", `it needs ` + key + ` = "syslog"`, kind == LogSyslog},
		{"tag", `it needs ` + key + ` = "syslog" or "journal"`, kind == LogSyslog || kind == LogJournal},
		{"format", "the journal gets fields: journalctl -o json shows them", kind != LogJournal},
	} {
		if !u.used && s.has(u.key) {
			b.problem(Warning, s, u.key, "has no effect", u.hint)
		}
	}
}

// logTarget returns the key log-target of a section: the name of a target that exists, or "" for that of [log].
func (b *builder) logTarget(s *section) string {
	v, ok := s.set["log-target"]
	if !ok || v.str == DefaultLogTarget {
		return ""
	}
	names := []string{DefaultLogTarget}
	for i := range b.cfg.LogTargets {
		if t := &b.cfg.LogTargets[i]; t.Name == v.str {
			b.noteLogTarget(v.str)
			return v.str
		}
		names = append(names, b.cfg.LogTargets[i].Name)
	}
	b.noteLogTarget("?")
	hint := fmt.Sprintf("add a section [log-target.%s]", tomlKey(v.str))
	if n := nearest(v.str, names); n != "" {
		hint = fmt.Sprintf("did you mean %q?", n)
	}
	b.problem(Error, s, "log-target", fmt.Sprintf("there is no log target %q", v.str), hint)
	return ""
}

// noteLogTarget notes that a target is used, or by "?" that a name was misspelt, which may have meant any of them.
func (b *builder) noteLogTarget(name string) {
	if b.logsUsed == nil {
		b.logsUsed = map[string]bool{}
	}
	b.logsUsed[name] = true
}

// unusedLogTargets warns of targets that nothing is sent to.
func (b *builder) unusedLogTargets() {
	for _, s := range b.doc.logTargets {
		if !b.logsUsed[s.name] && !b.logsUsed["?"] {
			b.problem(Warning, s, "", "is not used", fmt.Sprintf("name it by log-target = %q in [defaults], an [[export]], [[interface]] or [access-list.NAME]", s.name))
		}
	}
}

// changedLogTargets returns what differs between two lists of named targets, by "log-target.NAME".
func changedLogTargets(old, now []NamedLogTarget) []string {
	var out []string
	byName := map[string]NamedLogTarget{}
	for _, t := range old {
		byName[t.Name] = t
	}
	for _, t := range now {
		o, ok := byName[t.Name]
		delete(byName, t.Name)
		if !ok || len(changedKeys(o, t)) > 0 {
			out = append(out, "log-target."+t.Name)
		}
	}
	for name := range byName {
		out = append(out, "log-target."+name)
	}
	slices.Sort(out)
	return out
}

// used returns the settings without the defaults that do not matter with this target, which would be warned of.
func (l Log) used() Log {
	t := NamedLogTarget{Type: l.Target, Format: l.Format, Facility: l.Facility, Tag: l.Tag}.used()
	l.Format, l.Facility, l.Tag = t.Format, t.Facility, t.Tag
	return l
}

// used does for a named target what Log.used does.
func (t NamedLogTarget) used() NamedLogTarget {
	drop := func(s *string, def string) {
		if *s == def {
			*s = ""
		}
	}
	if t.Type != LogSyslog {
		drop(&t.Facility, "daemon")
		if t.Type != LogJournal {
			drop(&t.Tag, "goaoe")
		}
	}
	if t.Type == LogJournal {
		drop(&t.Format, "text")
	}
	return t
}

// tomlKey writes a name as a key: bare where TOML allows it.
func tomlKey(name string) string {
	for _, c := range name {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", c) {
			return Quote(name)
		}
	}
	return name
}
