// Package profile serves the profiles of this process over HTTP (net/http/pprof), on a loopback address or a Unix socket.
//
// Who may connect sees stacks, the command line and how much memory is used for what, never what is in it; and can make the process work, for a
// profile or a trace takes its time. So it is off unless asked for, and open to the machine itself only unless that is forced.
package profile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/httpd"
	"goaoe/internal/privsep"
)

// Path is where the profiles are.
const Path = "/debug/pprof/"

// longest is how long a profile or a trace may take: its answer has to be written by then.
const longest = 10 * time.Minute

// loopback tells whether only this machine can reach a host.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// Listen opens the address HOST:PORT, or the absolute path of a socket (see config.CheckPprof). A socket is for the process's own user (mode 0600); one that nobody listens on any more is
// taken over, and anything else that has its path is an error.
func Listen(where string) (net.Listener, error) {
	if !filepath.IsAbs(where) {
		l, err := net.Listen("tcp", where)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, httpd.Cause(err))
		}
		return l, nil
	}
	if err := removeStale(where); err != nil {
		return nil, err
	}
	old := unix.Umask(0o177) // the socket must never be there with more; nothing else runs yet that makes files
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: where, Net: "unix"})
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, httpd.Cause(err))
	}
	l.SetUnlinkOnClose(false) // a confined process has it removed
	return l, nil
}

// removeStale removes a socket that nobody listens on.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s is there already and is no socket", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("%s is used by another process", path)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("%s: %w", path, httpd.Cause(err))
	}
	return os.Remove(path)
}

// Handler answers below Path. With strict, requests that were made for another host's name are refused: that is what the browser of somebody on this
// machine sends when a page from elsewhere makes it (its own name then leads to the loopback address).
func Handler(strict bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path, pprof.Index)
	mux.HandleFunc("GET "+Path+"cmdline", pprof.Cmdline)
	mux.HandleFunc("GET "+Path+"profile", pprof.Profile)
	mux.HandleFunc("GET "+Path+"symbol", pprof.Symbol)
	mux.HandleFunc("POST "+Path+"symbol", pprof.Symbol)
	mux.HandleFunc("GET "+Path+"trace", pprof.Trace)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<!DOCTYPE html><title>goaoe</title><p>goaoe: <a href="`+Path+`">profiles</a>`+"\n")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strict && (!loopback(hostOf(r.Host)) || r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") == "cross-site") {
			http.Error(w, "profiles are for this machine alone", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// hostOf returns the host of a request's Host header.
func hostOf(s string) string {
	if h, _, err := net.SplitHostPort(s); err == nil {
		return h
	}
	return strings.Trim(s, "[]")
}

// Server answers on a listener.
type Server struct {
	l    net.Listener
	http *httpd.Server
}

// Serve answers on a listener until Close. What goes wrong later is logged.
func Serve(l net.Listener, log *slog.Logger) *Server {
	tcp, ok := l.Addr().(*net.TCPAddr)
	h := Handler(ok && tcp.IP.IsLoopback())
	return &Server{l: l, http: httpd.Serve(l, h, httpd.Options{What: "profiles are", Answer: longest, Grace: 100 * time.Millisecond}, log)}
}

// URL says where the profiles of a listener are, as curl takes it.
func URL(l net.Listener) string {
	if a, ok := l.Addr().(*net.UnixAddr); ok {
		return "--unix-socket " + a.Name + " http://localhost" + Path
	}
	return "http://" + l.Addr().String() + Path
}

// Close stops listening, and ends what is being answered, such as a profile that is being collected.
func (s *Server) Close() error {
	s.http.Close()
	a, ok := s.l.Addr().(*net.UnixAddr)
	if !ok {
		return nil
	}
	if err := privsep.Remove(a.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
