// Package httpd answers HTTP on a listener, with the patience that clients of a daemon get: metrics and profiles are served by it. The control socket and
// the page have servers of their own, which limit connections, too.
package httpd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Server answers on a listener.
type Server struct {
	l     net.Listener
	http  *http.Server
	grace time.Duration
	done  chan struct{}
}

// Options say how a Server differs from others.
type Options struct {
	What   string        // what is served, for the log, e.g. "metrics are"
	Answer time.Duration // how long an answer may take, from the end of the request's header on
	Grace  time.Duration // how long Close waits for what is being answered
}

// Serve answers on a listener, which it closes, until Close. What goes wrong later is logged.
func Serve(l net.Listener, h http.Handler, o Options, log *slog.Logger) *Server {
	s := &Server{l: l, grace: o.Grace, done: make(chan struct{}), http: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      o.Answer,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			log.Error(o.What+" no longer served", "error", err)
		}
	}()
	return s
}

// Addr returns where the server listens.
func (s *Server) Addr() net.Addr { return s.l.Addr() }

// Close stops listening, and breaks off what is still being answered after the grace.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), s.grace)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	<-s.done
}

// Cause strips what package net puts around an error and the caller says already.
func Cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
