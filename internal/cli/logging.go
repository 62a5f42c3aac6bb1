package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"sync"

	"goaoe/internal/config"
)

// Logging is the log of a running goaoe. Its settings can change while it is used.
type Logging struct {
	stderr io.Writer
	mu     sync.Mutex
	cur    slog.Handler
	close  io.Closer // of the current target; may be nil
}

// NewLogging makes a log with the default settings: text on stderr, from level info on.
func NewLogging(stderr io.Writer) *Logging {
	l := &Logging{stderr: stderr}
	l.cur = formatHandler(config.Log{Level: "info", Format: "text"}, stderr, stampless())
	return l
}

// Logger returns the logger. It follows every Set.
func (l *Logging) Logger() *slog.Logger { return slog.New(&logHandler{log: l}) }

// Set applies settings. On an error the log stays as it was. A log file is opened again, even when nothing changed,
// so that a rotated one is left alone.
func (l *Logging) Set(c config.Log) error {
	var h slog.Handler
	var closer io.Closer
	switch c.Target {
	case config.LogFile:
		f, err := os.OpenFile(c.File, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
		if err != nil {
			return fmt.Errorf("log.file: %w; make its directory, or let the log go to stderr", err)
		}
		h, closer = formatHandler(c, f, false), f
	case config.LogSyslog:
		w, err := syslog.New(facility(c.Facility)|syslog.LOG_INFO, "goaoe")
		if err != nil {
			return fmt.Errorf("log.target: no syslog: %w; is a syslog daemon running? under systemd use the target stderr", err)
		}
		h, closer = newSyslogHandler(c, w), w
	default:
		h = formatHandler(c, l.stderr, stampless())
	}
	l.mu.Lock()
	old := l.close
	l.cur, l.close = h, closer
	l.mu.Unlock()
	if old != nil {
		return old.Close()
	}
	return nil
}

// Close closes the log's file or connection. What is logged afterwards goes to stderr.
func (l *Logging) Close() error { return l.Set(config.Log{Level: "info", Format: "text"}) }

// stampless tells whether stderr is read by the journal, which puts a time on every line itself.
func stampless() bool { return os.Getenv("JOURNAL_STREAM") != "" }

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

// formatHandler makes the handler for a stream.
func formatHandler(c config.Log, w io.Writer, noTime bool) slog.Handler {
	opt := &slog.HandlerOptions{Level: levelOf(c.Level)}
	if noTime {
		opt.ReplaceAttr = dropAttrs(slog.TimeKey)
	}
	if c.Format == "json" {
		return slog.NewJSONHandler(w, opt)
	}
	return slog.NewTextHandler(w, opt)
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

// logHandler hands records to the handler that is current when they come.
type logHandler struct {
	log   *Logging
	steps []func(slog.Handler) slog.Handler // attributes and groups, in order
}

// Enabled implements slog.Handler.
func (h *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	return h.log.cur.Enabled(ctx, level)
}

// Handle implements slog.Handler. The lock keeps the target open until the line is written.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	to := h.log.cur
	for _, step := range h.steps {
		to = step(to)
	}
	return to.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func(to slog.Handler) slog.Handler { return to.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	return h.with(func(to slog.Handler) slog.Handler { return to.WithGroup(name) })
}

func (h *logHandler) with(step func(slog.Handler) slog.Handler) slog.Handler {
	steps := append(append([]func(slog.Handler) slog.Handler{}, h.steps...), step)
	return &logHandler{log: h.log, steps: steps}
}

// facilities are the names of syslog's facilities that make sense for a daemon.
var facilities = map[string]syslog.Priority{
	"daemon": syslog.LOG_DAEMON, "user": syslog.LOG_USER,
	"local0": syslog.LOG_LOCAL0, "local1": syslog.LOG_LOCAL1, "local2": syslog.LOG_LOCAL2, "local3": syslog.LOG_LOCAL3,
	"local4": syslog.LOG_LOCAL4, "local5": syslog.LOG_LOCAL5, "local6": syslog.LOG_LOCAL6, "local7": syslog.LOG_LOCAL7,
}

func facility(name string) syslog.Priority {
	if p, ok := facilities[name]; ok {
		return p
	}
	return syslog.LOG_DAEMON
}

// syslogWriter is the part of syslog.Writer that is used.
type syslogWriter interface {
	Debug(string) error
	Info(string) error
	Warning(string) error
	Err(string) error
}

// syslogHandler formats a record without time and level, which syslog adds, and sends it with the right severity.
type syslogHandler struct {
	inner slog.Handler
	buf   *bytes.Buffer // that inner writes to; guarded by Logging.mu
	to    syslogWriter
}

func newSyslogHandler(c config.Log, to syslogWriter) *syslogHandler {
	buf := &bytes.Buffer{}
	opt := &slog.HandlerOptions{Level: levelOf(c.Level), ReplaceAttr: dropAttrs(slog.TimeKey, slog.LevelKey)}
	if c.Format == "json" {
		return &syslogHandler{slog.NewJSONHandler(buf, opt), buf, to}
	}
	return &syslogHandler{slog.NewTextHandler(buf, opt), buf, to}
}

// Enabled implements slog.Handler.
func (h *syslogHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.inner.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *syslogHandler) Handle(ctx context.Context, r slog.Record) error {
	h.buf.Reset()
	if err := h.inner.Handle(ctx, r); err != nil {
		return err
	}
	line := h.buf.String()
	switch {
	case r.Level >= slog.LevelError:
		return h.to.Err(line)
	case r.Level >= slog.LevelWarn:
		return h.to.Warning(line)
	case r.Level >= slog.LevelInfo:
		return h.to.Info(line)
	}
	return h.to.Debug(line)
}

// WithAttrs implements slog.Handler.
func (h *syslogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &syslogHandler{h.inner.WithAttrs(attrs), h.buf, h.to}
}

// WithGroup implements slog.Handler.
func (h *syslogHandler) WithGroup(name string) slog.Handler {
	return &syslogHandler{h.inner.WithGroup(name), h.buf, h.to}
}
