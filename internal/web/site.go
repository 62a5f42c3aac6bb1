package web

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"path"
	"strings"

	"goaoe/aoe"
	"goaoe/internal/control"
)

//go:embed assets
var assets embed.FS

// maxBody bounds what a request may bring, in bytes. A change of some exports is far below.
const maxBody = 64 << 10

// site is the page: its files and its API.
type site struct {
	b       control.Backend
	guard   *guard
	host    string
	samples *sampler
	mux     *http.ServeMux
}

func newSite(b control.Backend, o Options) *site {
	if o.Hostname == "" {
		o.Hostname, _ = os.Hostname()
	}
	s := &site{b: b, guard: newGuard(o), host: o.Hostname, samples: newSampler(b), mux: http.NewServeMux()}
	s.files()
	s.mux.HandleFunc("GET /api/view", s.view)
	s.mux.HandleFunc("GET /api/history", s.history)
	s.mux.HandleFunc("GET /api/exports/{address}", s.export)
	s.mux.HandleFunc("GET /api/token", s.authorized(func(context.Context, *http.Request) (any, error) { return struct{}{}, nil }))
	s.mux.HandleFunc("GET /api/plan", s.authorized(func(ctx context.Context, _ *http.Request) (any, error) { return b.Plan(ctx) }))
	s.mux.HandleFunc("POST /api/changes", s.authorized(with(b.Change)))
	s.mux.HandleFunc("POST /api/clear", s.authorized(with(b.Clear)))
	s.mux.HandleFunc("POST /api/reload", s.authorized(with(b.Reload)))
	s.mux.HandleFunc("POST /api/announce", s.authorized(with(s.announce)))
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, control.Errorf(control.CodeNotFound, "there is nothing at %.100q", r.URL.Path))
	})
	return s
}

// announceRequest names exports by their addresses.
type announceRequest struct {
	Exports []string `json:"exports"`
}

func (s *site) announce(ctx context.Context, q *announceRequest) (*control.ChangeReply, error) {
	var list []aoe.Addr
	for _, text := range q.Exports {
		a, err := aoe.ParseAddr(text)
		if err != nil {
			return nil, control.Errorf(control.CodeUsage, "%.40q is not an address", text)
		}
		list = append(list, a)
	}
	return s.b.Announce(ctx, list)
}

// ServeHTTP implements http.Handler.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.guard.admit(w, r) {
		s.mux.ServeHTTP(w, r)
	}
}

// files registers what is in assets. Browsers keep them, and ask whether they are still the same.
func (s *site) files() {
	list, err := assets.ReadDir("assets")
	if err != nil {
		return // cannot be: it is in the binary
	}
	for _, f := range list {
		b, _ := assets.ReadFile("assets/" + f.Name())
		sum := sha256.Sum256(b)
		etag := `"` + hex.EncodeToString(sum[:8]) + `"`
		kind := mime.TypeByExtension(path.Ext(f.Name()))
		if strings.HasSuffix(f.Name(), ".js") {
			kind = "text/javascript; charset=utf-8" // some systems' tables say otherwise
		}
		where := "GET /" + f.Name()
		if f.Name() == "index.html" {
			where = "GET /{$}"
		}
		s.mux.HandleFunc(where, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Type", kind)
			h.Set("Cache-Control", "no-cache")
			h.Set("ETag", etag)
			if r.Header.Get("If-None-Match") == etag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			_, _ = w.Write(b)
		})
	}
}

// authorized makes a handler of a function that only who has the token may call.
func (s *site) authorized(fn func(context.Context, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.guard.authorize(w, r) {
			return
		}
		if r.Method == http.MethodPost && !isJSON(r) {
			fail(w, http.StatusUnsupportedMediaType, control.Errorf(control.CodeUsage, "the request must be of the type application/json"))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		v, err := fn(r.Context(), r)
		if r.Method == http.MethodPost {
			s.samples.forget()
		}
		reply(w, r, v, err)
	}
}

// with decodes the body of a request for a method of the backend.
func with[Q, A any](call func(context.Context, *Q) (A, error)) func(context.Context, *http.Request) (any, error) {
	return func(ctx context.Context, r *http.Request) (any, error) {
		q := new(Q)
		dec := json.NewDecoder(r.Body)
		dec.DisallowUnknownFields()
		err := dec.Decode(q)
		if err == nil && dec.More() {
			err = errors.New("something follows the request")
		}
		var large *http.MaxBytesError
		switch {
		case errors.As(err, &large):
			return nil, control.Errorf(control.CodeUsage, "the request is larger than %d bytes", maxBody)
		case errors.Is(err, io.EOF):
			return nil, control.Errorf(control.CodeUsage, "the request is empty")
		case err != nil:
			return nil, control.Errorf(control.CodeUsage, "the request is not what it should be: %v", err)
		}
		return call(ctx, q)
	}
}

// reply sends v, or the error.
func reply(w http.ResponseWriter, r *http.Request, v any, err error) {
	if err != nil {
		e := control.AsError(err)
		if errors.Is(err, context.DeadlineExceeded) {
			e = control.Errorf(control.CodeGone, "the daemon did not answer in time")
		}
		fail(w, e.Code.Status(), e)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Add("Vary", "Accept-Encoding")
	var out io.Writer = w
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		defer func() { _ = z.Close() }()
		out = z
	}
	_ = json.NewEncoder(out).Encode(v)
}

// fail sends an error as the API of package control does.
func fail(w http.ResponseWriter, status int, e *control.Error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]*control.Error{"error": e})
}
