package cli

import (
	"log/slog"

	"goaoe/internal/config"
	"goaoe/internal/daemon"
)

// socketChoice says which control socket a process has.
type socketChoice struct {
	given    string // by --socket; config.Off: none
	off      bool   // none unless given
	optional bool   // a socket that another daemon has is no reason not to start
}

// controlSocket is an open control socket; nil: there is none.
type controlSocket struct{ name string }

// path returns where the socket is, or "".
func (c *controlSocket) path() string {
	if c == nil {
		return ""
	}
	return c.name
}

func listenControl(*Env, config.Control, socketChoice, *slog.Logger) (*controlSocket, error) {
	return nil, nil
}

func serveAll(*controlSocket, *daemon.Daemon, *config.Config, *slog.Logger) (stop func(), err error) {
	return func() {}, nil
}
