package control

import (
	"log/slog"
	"net"
	"net/http"
	"time"
)

// ServeWithin is Serve with less patience.
func ServeWithin(l net.Listener, h http.Handler, log *slog.Logger, head, body time.Duration) *Server {
	return serve(l, h, log, patience{head: head, body: body, reply: 10 * time.Second, idle: 10 * time.Second})
}

// The limits, for tests.
const (
	MaxBody   = maxBody
	MaxHeader = maxHeader
	MaxConns  = maxConns
	MaxTraces = maxTraces
)
