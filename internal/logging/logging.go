// Package logging is where log lines go: it has the handler behind the daemon's *slog.Logger, which looks at what a line is about,
// decides by the configuration whether it is written and where, and hands it to a target: stderr, the journal, syslog, a file.
//
// What a line is about stands in its attributes, outside of groups:
//
//	export      address of an export, e.g. e0.1
//	interface   name of an interface
//	initiator   Ethernet address of an initiator
//	log-target  name of the target that takes this line, whatever the others say; it is not written
//	trace       true: the line was asked for by trace = true, so that no level suppresses it; it is not written
//
// The settings of the export count before those of the interface, and both before those of [log]. In text, attributes that the
// message itself names are left out.
//
// A target never holds up who logs for longer than sendPatience: each has a goroutine and a bounded queue of its own (sink.go).
package logging

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"goaoe/internal/config"
)

// Log is the log of a running goaoe. Its settings can change while it is used; its methods may be called from any goroutine.
type Log struct {
	stderr *stream
	now    func() time.Time
	syslog string // path of syslogd's socket; empty: the system's
	table  atomic.Pointer[table]
	notes  *sink // tells people of trouble with the targets, on stderr

	mu sync.Mutex // guards what follows, and the exchange of table
	// set holds the levels that were set by SetLevel, by subject.
	set map[string]slog.Level
	cfg *config.Config
}

// New makes a log with the default settings: text on stderr, from level info on.
func New(stderr io.Writer) *Log {
	l := &Log{stderr: newStream(stderr), now: time.Now, set: map[string]slog.Level{}, cfg: Defaults(config.Log{})}
	l.notes = l.newSink(spec{kind: config.LogStderr})
	l.table.Store(newTable(l.cfg, l.set, map[string]*sink{"": l.notes}))
	return l
}

// Defaults returns a configuration that has nothing but these log settings; what is empty is as without a file.
func Defaults(c config.Log) *config.Config {
	for _, d := range []struct {
		field *string
		value string
	}{{&c.Level, "info"}, {&c.Format, "text"}, {(*string)(&c.Target), string(config.LogStderr)}, {&c.Facility, "daemon"}, {&c.Tag, "goaoe"}} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	return &config.Config{Log: c}
}

// Logger returns the logger. It follows every change of the settings.
func (l *Log) Logger() *slog.Logger { return slog.New(&handler{log: l}) }

// Set applies the log settings of a configuration, as at the start and at a reload: files are opened again, even when nothing
// changed, so that a rotated one is left alone, and what SetLevel did is forgotten. On an error (a file cannot be opened) the log
// stays as it was. A journal or syslog that is not there is no error: it is said once, and stderr takes its place until it is there.
func (l *Log) Set(c *config.Config) error { return l.apply(c, true) }

// Apply applies the log settings of a configuration that changed while it runs: targets whose settings are the same
// stay open, and what SetLevel did stays. Errors are those of Set.
func (l *Log) Apply(c *config.Config) error { return l.apply(c, false) }

func (l *Log) apply(c *config.Config, anew bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.table.Load()
	sinks := map[string]*sink{}
	var fresh []*sink
	var errs []error
	for name, sp := range specs(c) {
		if s := old.sinks[name]; s != nil && s.spec == sp && !anew && s != l.notes {
			sinks[name] = s
			continue
		}
		s := l.newSink(sp)
		sinks[name], fresh = s, append(fresh, s)
		if err := s.open(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", sectionOf(name), err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		for _, s := range fresh {
			s.close()
		}
		return err
	}
	if anew {
		clear(l.set)
	}
	l.cfg = c
	l.table.Store(newTable(c, l.set, sinks))
	for name, s := range old.sinks {
		if sinks[name] != s && s != l.notes {
			s.close()
		}
	}
	return nil
}

// sectionOf names the section of a target.
func sectionOf(name string) string {
	if name == "" {
		return "[log]"
	}
	return "[log-target." + name + "]"
}

// SetLevel changes the level of a subject until the next Set: the daemon as a whole (""), an export by its address, or an interface by
// its name. An empty level goes back to what the configuration says. It does not know which subjects there are: that is up to the caller.
func (l *Log) SetLevel(subject, level string) error {
	if level != "" && !slices.Contains(levelNames, level) {
		return fmt.Errorf("%q is no log level; use error, warn, info or debug", level)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if level == "" {
		delete(l.set, subject)
	} else {
		l.set[subject] = levelOf(level)
	}
	l.table.Store(newTable(l.cfg, l.set, l.table.Load().sinks))
	return nil
}

// Level returns the level in force for a subject, see SetLevel: "error", "warn", "info" or "debug".
func (l *Log) Level(subject string) string {
	t := l.table.Load()
	switch v, ok := t.subjectLevel(subject); {
	case subject == "" || !ok:
		return levelName(t.level)
	default:
		return levelName(v)
	}
}

// Close writes what waits, for a moment at most, and closes the targets. What is logged afterwards goes to stderr.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.table.Load()
	l.cfg = Defaults(config.Log{})
	clear(l.set)
	last := l.newSink(spec{kind: config.LogStderr})
	last.direct = true
	l.table.Store(newTable(l.cfg, l.set, map[string]*sink{"": last}))
	for _, s := range old.sinks {
		s.close()
	}
	l.notes.close()
	return nil
}

var levelNames = []string{"error", "warn", "info", "debug"}

// levelOf returns slog's level for a setting.
func levelOf(name string) slog.Level {
	switch name {
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}

// levelName is the setting for a level of slog.
func levelName(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "error"
	case l >= slog.LevelWarn:
		return "warn"
	case l >= slog.LevelInfo:
		return "info"
	}
	return "debug"
}

// severity is the number of syslog(3) for a level; sd-daemon and the journal use the same ones.
func severity(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	case l >= slog.LevelInfo:
		return 6
	}
	return 7
}

// warn tells people of trouble with a target, on stderr. It does not wait.
func (l *Log) warn(text string) {
	r := slog.NewRecord(l.now(), slog.LevelWarn, text, 0)
	ln := l.notes.format(r, nil)
	ln.hurry = true
	l.notes.send(ln)
}
