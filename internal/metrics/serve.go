package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"
)

// Path is where the metrics are.
const Path = "/metrics"

// registry holds the metrics of a daemon, and with process also those of this process (go_*, process_*).
func registry(src Source, process bool) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(NewCollector(src))
	if process {
		r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	return r
}

// Handler answers at Path with all metrics of the daemon and its process, and at / with a link there. Everything else is not found.
func Handler(src Source) http.Handler {
	r := registry(src, true)
	mux := http.NewServeMux()
	// More than a few who ask at the same time are turned away: each answer costs a pass over all exports.
	h := promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 2 * askFor, ErrorHandling: promhttp.ContinueOnError})
	mux.Handle("GET "+Path, h)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<!DOCTYPE html><title>goaoe</title><p>goaoe: <a href="`+Path+`">metrics</a>`+"\n")
	})
	return mux
}

// Write writes all metrics of a daemon once, in the text format, without those of its process.
func Write(w io.Writer, src Source) error {
	families, err := registry(src, false).Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
			return err
		}
	}
	return nil
}

// Server is a listener with metrics.
type Server struct {
	l    net.Listener
	http *http.Server
	done chan struct{}
}

// Serve listens on an address ("HOST:PORT") and answers until Close. What goes wrong later is logged.
func Serve(addr string, src Source, log *slog.Logger) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", addr, cause(err))
	}
	s := &Server{l: l, done: make(chan struct{}), http: &http.Server{
		Handler:           Handler(src),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics are no longer served", "error", err)
		}
	}()
	return s, nil
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
	<-s.done
}

// cause strips what package net puts around an error and the caller says already.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
