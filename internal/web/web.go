package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"goaoe/internal/control"
	"goaoe/internal/httpd"
)

// Options say how the page is served.
type Options struct {
	// Token allows changes to who knows it. Empty: the page only shows.
	Token string
	// Listen is where the listener is ("127.0.0.1:8480", ":8480"). On a loopback address only names of the machine itself are
	// taken in the header Host; see allowedHost.
	Listen string
	// Hosts are more names under which browsers reach the page, e.g. that of a proxy in front of it. Without a port.
	Hosts []string
	// Hostname is the machine's own name, for the title and the header Host; empty: os.Hostname.
	Hostname string
}

// Handler serves the page and its API. It samples the daemon when somebody asks.
func Handler(b control.Backend, o Options) http.Handler { return newSite(b, o) }

// The bounds of the listener. A page keeps at most six connections open, so this is enough for ten that look at once.
const (
	maxConns   = 64
	maxHeader  = 16 << 10         // bytes
	readFor    = 10 * time.Second // a whole request
	writeFor   = 60 * time.Second // a reply, with what the daemon does for it
	idleFor    = 30 * time.Second
	sampleIdle = 5 * time.Second // between samples when nobody looks
)

// Server is a listener with the page.
type Server struct {
	l    net.Listener
	http *http.Server
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// Listen opens the page's listener on an address ("HOST:PORT"), for ServeOn.
func Listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("[web] listen %s: %w", addr, httpd.Cause(err))
	}
	return l, nil
}

// Serve listens on an address ("HOST:PORT") and serves the page until Close. What goes wrong later is logged.
func Serve(addr string, b control.Backend, o Options, log *slog.Logger) (*Server, error) {
	l, err := Listen(addr)
	if err != nil {
		return nil, err
	}
	o.Listen = addr
	return ServeOn(l, b, o, log), nil
}

// ServeOn serves the page on a listener, which it closes, until Close. Options.Listen is the address that the listener was opened with.
func ServeOn(l net.Listener, b control.Backend, o Options, log *slog.Logger) *Server {
	st := newSite(b, o)
	ctx, stop := context.WithCancel(context.Background())
	lim := control.Limit(l, maxConns)
	s := &Server{l: l, stop: stop, http: &http.Server{
		Handler:           st,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       readFor,
		WriteTimeout:      writeFor,
		IdleTimeout:       idleFor,
		MaxHeaderBytes:    maxHeader,
		ConnState:         lim.State,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}}
	s.wg.Go(func() { st.samples.run(ctx, sampleIdle) })
	s.wg.Go(func() {
		if err := s.http.Serve(lim); err != nil && !errors.Is(err, http.ErrServerClosed) {
			log.Error("the web page is no longer served", "error", err)
		}
	})
	return s
}

// Addr returns where the server listens.
func (s *Server) Addr() net.Addr { return s.l.Addr() }

// Close stops listening, and ends what is being answered after at most a second.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	s.stop()
	s.wg.Wait()
}

// minToken is the shortest token that is taken, in characters: 16 of base64 are 96 bits, which nobody guesses.
const minToken = 16

// ReadToken reads the token from a file: its first line, without spaces around it. A token that is too short to be safe, or a
// file that everybody on the machine can read, is an error.
func ReadToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("[web] token-file: %w; make one: (umask 077; openssl rand -base64 24 > %s)", err, path)
	}
	defer func() { _ = f.Close() }()
	if st, err := f.Stat(); err != nil {
		return "", fmt.Errorf("[web] token-file %s: %w", path, err)
	} else if !st.Mode().IsRegular() {
		return "", fmt.Errorf("[web] token-file %s is not a file", path)
	} else if st.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("[web] token-file %s can be used by everybody on this machine (mode %04o); chmod o= %s", path, st.Mode().Perm(), path)
	}
	b := make([]byte, 4096)
	n, _ := f.Read(b) // an empty file is told below
	token, _, _ := strings.Cut(string(b[:n]), "\n")
	token = strings.TrimSpace(token)
	for _, c := range token {
		if c <= ' ' || c > '~' {
			return "", fmt.Errorf("[web] token-file %s: the token has a character that is not printable ASCII; make a new one: openssl rand -base64 24", path)
		}
	}
	if len(token) < minToken {
		return "", fmt.Errorf("[web] token-file %s: the token has %d characters, %d are the least; make one: openssl rand -base64 24", path, len(token), minToken)
	}
	return token, nil
}
