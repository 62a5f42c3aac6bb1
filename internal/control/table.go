package control

import (
	"net/http"
	"net/url"
	"reflect"
)

// Route is one call of the API. What it takes and gives is in it, so that the documentation can be held against it.
type Route struct {
	Method, Path string // the path without the version: "/exports/{address}"
	Writes       bool   // it changes something
	Help         string
	Query        []string     // parameters that it takes; others are refused
	Body         reflect.Type // of the JSON object that it takes; nil: none
	Reply        reflect.Type // of the JSON value that it gives
	Stream       bool         // it gives a Reply in each line, until somebody ends it
	serve        func(h *handler, c *request) error
}

// request is one on its way.
type request struct {
	*http.Request
	w     http.ResponseWriter
	query url.Values
}

// shows makes a Route that changes nothing.
func shows[A any](path, help string, fn func(h *handler, c *request) (A, error)) Route {
	return Route{Method: http.MethodGet, Path: path, Help: help, Reply: reflect.TypeFor[A](), serve: func(h *handler, c *request) error {
		v, err := fn(h, c)
		return reply(c.w, v, err)
	}}
}

// does makes a Route that takes a Q and changes something.
func does[Q, A any](method, path, help string, fn func(h *handler, c *request, q *Q) (A, error)) Route {
	return Route{Method: method, Path: path, Writes: true, Help: help, Body: reflect.TypeFor[Q](), Reply: reflect.TypeFor[A](), serve: func(h *handler, c *request) error {
		q := new(Q)
		if err := read(c.Request, q); err != nil {
			return err
		}
		v, err := fn(h, c, q)
		return reply(c.w, v, err)
	}}
}

// reply writes v unless there was an error.
func reply[T any](w http.ResponseWriter, v T, err error) error {
	if err != nil {
		return err
	}
	writeStatus(w, http.StatusOK, v)
	return nil
}

// Routes lists all calls.
func Routes() []Route {
	return []Route{
		shows("", "the calls that there are", (*handler).index),
		shows("/status", "how the daemon is", func(h *handler, c *request) (*Status, error) { return h.b.Status(c.Context()) }),
		shows("/exports", "all exports", func(h *handler, c *request) ([]Export, error) { return h.b.Exports(c.Context()) }),
		shows("/exports/{address}", "one export", (*handler).export),
		does(http.MethodPut, "/exports/{address}", "add an export", func(h *handler, c *request, q *oneRequest) (*Result, error) { return h.change(c, q, OpAdd) }),
		does(http.MethodPatch, "/exports/{address}", "change an export", func(h *handler, c *request, q *oneRequest) (*Result, error) { return h.change(c, q, OpSet) }),
		{Method: http.MethodDelete, Path: "/exports/{address}", Writes: true, Help: "remove an export", Query: []string{"force", "save", "dry_run"},
			Reply: reflect.TypeFor[*Result](), serve: (*handler).remove},
		shows("/interfaces", "the interfaces", func(h *handler, c *request) ([]Interface, error) { return h.b.Interfaces(c.Context()) }),
		shows("/stats", "all counters", func(h *handler, c *request) (*Stats, error) { return h.b.Stats(c.Context()) }),
		does(http.MethodPost, "/changes", "add, change and remove exports", (*handler).changes),
		does(http.MethodPost, "/announce", "announce exports", (*handler).announce),
		shows("/plan", "what a reload would do", func(h *handler, c *request) (*Plan, error) { return h.b.Plan(c.Context()) }),
		does(http.MethodPost, "/reload", "read the configuration anew", func(h *handler, c *request, q *ReloadRequest) (*Plan, error) { return h.b.Reload(c.Context(), q) }),
		does(http.MethodPost, "/clear", "clear a config string, mask, reservation, or statistics",
			func(h *handler, c *request, q *ClearRequest) (*ChangeReply, error) { return h.b.Clear(c.Context(), q) }),
		does(http.MethodPost, "/log", "change a log level", func(h *handler, c *request, q *LogRequest) (struct{}, error) {
			return struct{}{}, h.b.SetLog(c.Context(), q)
		}),
		shows("/config", "the configuration in force", (*handler).config),
		{Method: http.MethodGet, Path: "/trace", Help: "frames as they come and go, one JSON object a line", Stream: true,
			Query: []string{"export", "initiator", "interface", "command", "snap", "count"}, Reply: reflect.TypeFor[TraceRecord](), serve: (*handler).trace},
	}
}
