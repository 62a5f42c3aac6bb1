package logging

import (
	"context"
	"errors"
	"log/slog"
)

// handler hands records to the target that the table names when they come.
type handler struct {
	log   *Log
	steps []step
}

// step is one WithAttrs or one WithGroup.
type step struct {
	group string
	attrs []slog.Attr
}

// Enabled implements slog.Handler. What a line is about is not known yet.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.log.table.Load().min
}

// Handle implements slog.Handler.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	a := h.about(r)
	for range 100 { // a target that was just closed has a successor
		s := h.log.table.Load().route(&a, r.Level)
		if s == nil {
			return nil
		}
		ln := s.format(r, h.steps)
		ln.about = a
		if s.send(ln) {
			return nil
		}
	}
	return errors.New("the targets of the log change too fast")
}

// about reads what a record is about.
func (h *handler) about(r slog.Record) (a about) {
	for _, s := range h.steps {
		if s.group != "" {
			return a // attributes of the record are in the group
		}
		for _, at := range s.attrs {
			a.note(at)
		}
	}
	r.Attrs(func(at slog.Attr) bool {
		a.note(at)
		return true
	})
	return a
}

// note takes over one attribute.
func (a *about) note(at slog.Attr) {
	switch at.Key {
	case "export":
		a.export = at.Value.Resolve().String()
	case "interface":
		a.iface = at.Value.Resolve().String()
	case "initiator":
		a.initiator = at.Value.Resolve().String()
	case "log-target":
		a.target = at.Value.String()
	case "trace":
		a.trace = at.Value.Kind() == slog.KindBool && at.Value.Bool()
	}
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler { return h.with(step{attrs: attrs}) }

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.with(step{group: name})
}

func (h *handler) with(s step) slog.Handler {
	return &handler{log: h.log, steps: append(h.steps[:len(h.steps):len(h.steps)], s)}
}
