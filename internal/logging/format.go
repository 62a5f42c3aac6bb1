package logging

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"

	"goaoe/internal/config"
)

// line is one message on its way to a target.
type line struct {
	level slog.Level
	about about
	text  []byte // as for a stream, with its line feed
	msg   string // syslog, journal: without time and level, which travel beside it
	hurry bool   // who logs does not wait for it to be written
	done  chan struct{}
}

// formatter makes lines of records.
type formatter struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	full slog.Handler // as for a stream
	bare slog.Handler // for line.msg; nil: not wanted
	json bool
	// prefix puts the priority in front of the line as the journal reads it from stderr: sd-daemon(3).
	prefix bool
	// noMessage: bare writes the attributes only
	noMessage bool
}

// newFormatter makes the formatter of a target. stampless: who reads puts the time on every line itself.
func newFormatter(sp spec, stampless bool) *formatter {
	f := &formatter{json: sp.json}
	var drop []string
	if stampless && sp.kind != config.LogFile {
		f.prefix, drop = true, []string{slog.TimeKey}
	}
	make1 := func(json bool, drop ...string) slog.Handler {
		opt := &slog.HandlerOptions{Level: slog.Level(-100), ReplaceAttr: dropAttrs(drop...)}
		if json {
			return slog.NewJSONHandler(&f.buf, opt)
		}
		return slog.NewTextHandler(&f.buf, opt)
	}
	f.full = make1(f.json, drop...)
	switch sp.kind {
	case config.LogSyslog:
		f.bare = make1(f.json, slog.TimeKey, slog.LevelKey)
	case config.LogJournal:
		f.bare, f.noMessage = make1(false, slog.TimeKey, slog.LevelKey, slog.MessageKey), true
		f.json = false // it has fields
	}
	return f
}

// dropAttrs leaves out attributes of the record itself.
func dropAttrs(keys ...string) func([]string, slog.Attr) slog.Attr {
	return func(groups []string, a slog.Attr) slog.Attr {
		for _, k := range keys {
			if len(groups) == 0 && a.Key == k {
				return slog.Attr{}
			}
		}
		return a
	}
}

// line makes the line of a record with what With put in front of its attributes.
func (f *formatter) line(r slog.Record, steps []step) *line {
	f.mu.Lock()
	defer f.mu.Unlock()
	ln := &line{level: r.Level, done: make(chan struct{})}
	if f.prefix {
		ln.text = append(ln.text, '<', byte('0'+severity(r.Level)), '>')
	}
	ln.text = append(ln.text, f.render(f.full, r, steps)...)
	if f.bare != nil {
		ln.msg = strings.TrimSuffix(string(f.render(f.bare, r, steps)), "\n")
		if f.noMessage {
			ln.msg = strings.TrimSpace(r.Message + " " + ln.msg)
		}
	}
	return ln
}

// render runs a handler. What it returns is overwritten by the next call.
func (f *formatter) render(h slog.Handler, r slog.Record, steps []step) []byte {
	f.buf.Reset()
	grouped := false
	for _, s := range steps {
		switch {
		case s.group != "":
			h, grouped = h.WithGroup(s.group), true
		case grouped:
			h = h.WithAttrs(s.attrs)
		default:
			var keep []slog.Attr
			for _, a := range s.attrs {
				if f.wanted(a, r.Message) {
					keep = append(keep, a)
				}
			}
			h = h.WithAttrs(keep)
		}
	}
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if grouped || f.wanted(a, r.Message) {
			out.AddAttrs(a)
		}
		return true
	})
	_ = h.Handle(context.Background(), out) // into memory
	return f.buf.Bytes()
}

// wanted tells whether an attribute is written. Programs get them all; people do not get told twice.
func (f *formatter) wanted(a slog.Attr, message string) bool {
	switch a.Key {
	case "log-target", "trace":
		return false
	case "export", "interface", "initiator", "requests":
		return f.json || !strings.Contains(message, a.Value.Resolve().String())
	}
	return true
}
