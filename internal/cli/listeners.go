package cli

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"goaoe/internal/config"
	"goaoe/internal/control"
	"goaoe/internal/daemon"
	"goaoe/internal/metrics"
	"goaoe/internal/profile"
	"goaoe/internal/web"
)

// socketChoice says which control socket a process has.
type socketChoice struct {
	given    string // by --socket; config.Off: none
	off      bool   // none unless given
	optional bool   // a socket that another daemon has, or a folder that cannot be written, is no reason not to start
}

// controlSocket is an open control socket; nil: there is none.
type controlSocket struct{ *control.Socket }

// path returns where the socket is, or "".
func (c *controlSocket) path() string {
	if c == nil {
		return ""
	}
	return c.Path()
}

// listenControl opens the control socket that configuration and command line want. Nothing is answered before serveAll.
func listenControl(env *Env, c config.Control, choice socketChoice, log *slog.Logger) (*controlSocket, error) {
	path := c.Socket
	usual := path == control.DefaultSocket && choice.given == ""
	switch {
	case choice.given != "":
		path = choice.given
	case choice.off:
		return nil, nil //nolint:nilnil // no socket is wanted
	case usual:
		if s := os.Getenv(control.SocketEnv); s != "" {
			path = s
		} else {
			path = filepath.Join("/", env.Sysroot, path)
		}
	}
	if path == config.Off {
		return nil, nil //nolint:nilnil // no socket is wanted
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	mode, err := strconv.ParseUint(c.Mode, 8, 32)
	if err != nil {
		return nil, Failf("[control] mode %q: %w", c.Mode, err)
	}
	o := control.SocketOptions{Path: path, Mode: fs.FileMode(mode), Group: c.Group}
	s, err := control.Listen(o)
	if errors.Is(err, fs.ErrPermission) && usual {
		if own := control.UserSocket(); own != "" {
			o.Path = own
			s, err = control.Listen(o)
		}
	}
	switch {
	case err == nil:
		return &controlSocket{s}, nil
	case choice.optional && choice.given == "" && (errors.Is(err, control.ErrInUse) || errors.Is(err, fs.ErrPermission)):
		log.Warn("this daemon cannot be controlled by goaoe ls and the like: " + err.Error())
		return nil, nil //nolint:nilnil // it works without
	}
	return nil, Failf("%w", err)
}

// serveAll answers on the control socket, and for the web page, the metrics and the profiles where they are configured. stop ends all of it.
// page is the page's listener, profiles that of the profiles, where there is one.
func serveAll(socket *controlSocket, page, profiles net.Listener, d *daemon.Daemon, c *config.Config, log *slog.Logger) (stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, f := range stops {
			f()
		}
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	b := d.Control()
	if socket != nil {
		s := control.Serve(socket, control.Handler(b, control.HandlerOptions{Log: log}), log)
		stops = append(stops, func() {
			_ = s.Close()
			if err := socket.Close(); err != nil {
				log.Warn("closing the control socket: " + err.Error())
			}
		})
	}
	if c.Metrics.Listen != config.Off {
		m, err := metrics.Serve(c.Metrics.Listen, b, log)
		if err != nil {
			return stop, Failf("[metrics] listen: %w", err)
		}
		stops = append(stops, m.Close)
	}
	if profiles != nil {
		log.Warn("profiles of this daemon are served, for this is asked for by --pprof or [pprof] listen: whoever may connect sees its stacks and its command line, and can keep it busy",
			"at", profile.URL(profiles))
		p := profile.Serve(profiles, log)
		stops = append(stops, func() {
			if err := p.Close(); err != nil {
				log.Warn("closing the profiles' socket: " + err.Error())
			}
		})
	}
	if page != nil {
		token := ""
		if c.Web.TokenFile != "" {
			if token, err = web.ReadToken(c.Web.TokenFile); err != nil {
				return stop, Failf("%w", err)
			}
		}
		stops = append(stops, web.ServeOn(page, b, web.Options{Token: token, Listen: c.Web.Listen}, log).Close)
	}
	return stop, nil
}

// listenProfiles opens what the profiles are served on; nil: they are not.
func listenProfiles(c config.Pprof) (net.Listener, error) {
	if c.Listen == config.Off {
		return nil, nil //nolint:nilnil // no profiles are wanted
	}
	l, err := profile.Listen(c.Listen)
	if err != nil {
		return nil, Failf("profiles: %w", err)
	}
	return l, nil
}
