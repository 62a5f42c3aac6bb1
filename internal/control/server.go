package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"goaoe/aoe"
)

// Limits of the server.
const (
	maxBody   = 1 << 20  // bytes of a request
	maxHeader = 64 << 10 // bytes of its head
	maxTraces = 4        // streams of GET /trace at a time: each costs the lanes a little
	maxConns  = 64       // connections at a time
)

// patience is how long the server waits for a client.
type patience struct {
	head  time.Duration // for the head of a request
	body  time.Duration // for the whole of it
	reply time.Duration // for the reply to be taken, but for traces
	idle  time.Duration // between the requests of a connection
}

var patient = patience{head: 5 * time.Second, body: 15 * time.Second, reply: 2 * time.Minute, idle: 2 * time.Minute}

// HandlerOptions are what a handler is made of.
type HandlerOptions struct {
	// ReadOnly refuses everything that changes something.
	ReadOnly bool
	// NoTrace refuses traces, which show what others send.
	NoTrace bool
	Log     *slog.Logger // nil: nothing is logged
}

// handler serves the API.
type handler struct {
	b      Backend
	o      HandlerOptions
	traces chan struct{}
}

// Handler makes the HTTP handler of the API. It serves the paths below /v1.
func Handler(b Backend, o HandlerOptions) http.Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h := &handler{b: b, o: o, traces: make(chan struct{}, maxTraces)}
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, r := range Routes() {
		methods[r.Path] = append(methods[r.Path], r.Method)
		mux.HandleFunc(r.Method+" /"+Version+r.Path, h.wrap(r))
	}
	mux.HandleFunc("GET /"+Version+"/{$}", h.wrap(Routes()[0]))
	for path, allowed := range methods {
		mux.HandleFunc("/"+Version+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			writeError(w, http.StatusMethodNotAllowed, Errorf(CodeUsage, "%s is not for %s", r.Method, r.URL.Path).WithHint("it takes "+strings.Join(allowed, ", ")))
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, http.StatusNotFound, Errorf(CodeNotFound, "there is no %s", r.URL.Path).WithHint("GET /"+Version+" lists what there is"))
	})
	return mux
}

// wrap serves one route: it checks what is allowed, bounds the body, and turns errors and panics into replies.
func (h *handler) wrap(r Route) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so, too
					panic(p)
				}
				h.o.Log.Error(fmt.Sprintf("%s %s: internal error: %v; this is a bug, please report it", r.Method, r.Path, p), "stack", string(debug.Stack()))
				writeError(w, http.StatusInternalServerError, Errorf(CodeFailed, "internal error: %v; this is a bug, please report it", p))
			}
		}()
		if h.o.ReadOnly && r.Writes {
			writeError(w, CodeRefused.Status(), Errorf(CodeRefused, "%s %s changes something, which is not allowed here", r.Method, req.URL.Path).WithHint("use the control socket"))
			return
		}
		if origin := req.Header.Get("Origin"); origin != "" && r.Writes && !sameHost(origin, req.Host) {
			writeError(w, CodeRefused.Status(), Errorf(CodeRefused, "a page of %s may not do this", origin))
			return
		}
		if err := h.answer(r, &request{Request: req, w: w}); err != nil {
			e := AsError(err)
			writeError(w, e.Code.Status(), e)
		}
	}
}

// answer checks the form of a request, and serves it.
func (h *handler) answer(r Route, c *request) (err error) {
	if c.query, err = query(c.Request, r.Query...); err != nil {
		return err
	}
	if r.Body == nil && c.ContentLength != 0 {
		e := Errorf(CodeUsage, "%s %s takes no body", r.Method, c.URL.Path)
		if len(r.Query) > 0 {
			return e.WithHint("it takes parameters: " + strings.Join(r.Query, ", "))
		}
		return e
	}
	c.Body = http.MaxBytesReader(c.w, c.Body, maxBody)
	return r.serve(h, c)
}

// sameHost tells whether a page of an origin was served by host.
func sameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host == host
}

// writeError writes an error. What it repeats of the request makes neither lines nor commands for a terminal.
func writeError(w http.ResponseWriter, status int, e *Error) {
	plain := *e
	plain.Message, plain.Hint = printable(e.Message), printable(e.Hint)
	writeStatus(w, status, map[string]*Error{"error": &plain})
}

// printable returns a text with a space for each control character.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

func writeStatus(w http.ResponseWriter, status int, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		status, b = http.StatusInternalServerError, bytes.Buffer{}
		fmt.Fprintf(&b, `{"error":{"code":%q,"message":"the reply cannot be written"}}`, CodeFailed)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a client that is gone needs no reply
}

// read decodes the body into v. Unknown fields are errors: a misspelt one must not be ignored.
func read(r *http.Request, v any) error {
	if t := r.Header.Get("Content-Type"); t != "" {
		if kind, _, err := mime.ParseMediaType(t); err != nil || kind != "application/json" {
			return Errorf(CodeUsage, "the body is %.100s", t).WithHint("send Content-Type: application/json (curl --json)")
		}
	}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			return Errorf(CodeUsage, "there is something behind the JSON object")
		}
		return nil
	}
	var big *http.MaxBytesError
	var typ *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF):
		return nil // no body: everything has its zero value
	case errors.As(err, &big):
		return Errorf(CodeUsage, "the request has more than %d bytes", maxBody).WithHint("send it in parts")
	case errors.As(err, &typ):
		return Errorf(CodeUsage, "%s: a %s where %s is expected", typ.Field, typ.Value, typ.Type)
	case errors.As(err, &syntax):
		return Errorf(CodeUsage, "this is not JSON, at byte %d: %v", syntax.Offset, err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return Errorf(CodeUsage, "the JSON object ends too early")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Errorf(CodeUsage, "the request did not come in time").WithHint("the whole of it must come within " + patient.body.String())
	}
	return Errorf(CodeUsage, "%s", strings.TrimPrefix(err.Error(), "json: "))
}

// query refuses parameters that the call does not have.
func query(r *http.Request, known ...string) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, Errorf(CodeUsage, "%v", err)
	}
	for k := range q {
		if !slices.Contains(known, k) {
			e := Errorf(CodeUsage, "there is no parameter %q", k)
			if len(known) > 0 {
				return nil, e.WithHint("there is " + strings.Join(known, ", "))
			}
			return nil, e
		}
	}
	return q, nil
}

// Server serves connections of a listener.
type Server struct {
	http *http.Server
	done chan struct{}
}

// Serve answers on l by h, in goroutines of its own, until Close.
func Serve(l net.Listener, h http.Handler, log *slog.Logger) *Server {
	return serve(l, h, log, patient)
}

func serve(l net.Listener, h http.Handler, log *slog.Logger, p patience) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	lim := Limit(l, maxConns)
	s := &Server{done: make(chan struct{}), http: &http.Server{Handler: h, ReadHeaderTimeout: p.head, ReadTimeout: p.body,
		WriteTimeout: p.reply, IdleTimeout: p.idle, MaxHeaderBytes: maxHeader, ConnState: lim.State, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(lim); err != nil && !errors.Is(err, http.ErrServerClosed) {
			log.Error("control: " + err.Error())
		}
	}()
	return s
}

// Close ends the server. Calls that run have a moment to end; traces are broken off.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	<-s.done
	return err
}

// parseAddr reads an address of a path.
func parseAddr(s string) (aoe.Addr, error) {
	a, err := aoe.ParseAddr(s)
	if err != nil {
		return a, Errorf(CodeUsage, "%v", err).WithHint("an address is SHELF.SLOT, e.g. e1.0")
	}
	return a, nil
}
