package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
)

// Off is the value that switches a service off.
const Off = "off"

// Control holds the settings of the control socket.
type Control struct {
	Socket string `key:"socket"` // absolute path, or Off
	Group  string `key:"group"`  // name or number of the group that may use it; empty: the daemon's own
	Mode   string `key:"mode"`   // octal permissions
}

// Web holds the settings of the web page.
type Web struct {
	Listen    string `key:"listen"`     // HOST:PORT, or Off
	TokenFile string `key:"token-file"` // absolute path of the file with the token; empty: the page is read-only
}

// Metrics holds the settings of the listener for Prometheus.
type Metrics struct {
	Listen string `key:"listen"` // HOST:PORT, or Off
}

// Pprof holds the settings of the listener for profiles.
type Pprof struct {
	Listen string `key:"listen"` // HOST:PORT, the absolute path of a socket, or Off
	Remote bool   `key:"remote"` // HOST may be an address that others can reach
}

var serviceKeys = []Key{
	{Section: "control", Name: "socket", Type: TypeString, Default: `"/run/goaoe/control.sock"`,
		Help: "Where the daemon listens for goaoe add, ls, set and the like; \"off\" for nowhere."},
	{Section: "control", Name: "group", Type: TypeString, Example: `"goaoe"`,
		Help: "Group that may use the socket, by name or number. Who may use it can export everything that the daemon can read. Default: the daemon's own group."},
	{Section: "control", Name: "mode", Type: TypeString, Default: `"0660"`,
		Help: "Permissions of the socket, octal."},
	{Section: "web", Name: "listen", Type: TypeString, Default: `"off"`, Example: `"127.0.0.1:8480"`,
		Help: "Address and port of the web page, e.g. \"127.0.0.1:8480\"; \"off\" for none."},
	{Section: "web", Name: "token-file", Type: TypePath, Example: `"/etc/goaoe/web.token"`,
		Help: "File with the token that allows to change exports by the web page. Default: nothing can be changed there."},
	{Section: "metrics", Name: "listen", Type: TypeString, Default: `"off"`, Example: `"127.0.0.1:9480"`,
		Help: "Address and port of the metrics for Prometheus, e.g. \"127.0.0.1:9480\"; \"off\" for none."},
	{Section: "pprof", Name: "listen", Type: TypeString, Default: `"off"`, Example: `"/run/goaoe/pprof.sock"`,
		Help: "Where profiles are served: the absolute path of a Unix socket, or a loopback address and port, e.g. \"127.0.0.1:6060\"; \"off\" for nowhere."},
	{Section: "pprof", Name: "remote", Type: TypeBool, Default: "false",
		Help: "Let listen be an address that other machines can reach. Whoever connects sees stacks and the command line, and can keep the daemon busy."},
}

// services reads [control], [web], [metrics] and [pprof].
func (b *builder) services() {
	c, w, m, p := b.doc.control, b.doc.web, b.doc.metrics, b.doc.pprof
	b.cfg.Control = Control{Socket: c.text("socket"), Group: c.text("group"), Mode: c.text("mode")}
	if s := b.cfg.Control.Socket; s != Off && !filepath.IsAbs(s) {
		b.problem(Error, c, "socket", fmt.Sprintf("%q is not an absolute path", s), `e.g. "/run/goaoe/control.sock", or "off"`)
	} else if len(s) > maxSocketPath {
		b.problem(Error, c, "socket", fmt.Sprintf("has %d characters, a socket's path can have %d", len(s), maxSocketPath), "choose a shorter one")
	}
	if n, err := strconv.ParseUint(b.cfg.Control.Mode, 8, 32); err != nil || n > 0o777 {
		b.problem(Error, c, "mode", fmt.Sprintf("%q are no permissions", b.cfg.Control.Mode), `three octal digits, e.g. "0660"`)
	}
	b.cfg.Web = Web{Listen: w.text("listen"), TokenFile: w.text("token-file")}
	b.cfg.Metrics = Metrics{Listen: m.text("listen")}
	b.listen(w, b.cfg.Web.Listen)
	b.listen(m, b.cfg.Metrics.Listen)
	b.cfg.Pprof = Pprof{Listen: p.text("listen"), Remote: p.yes("remote")}
	b.pprof(p)
	if b.cfg.Web.Listen == Off && w.has("token-file") && !w.bad["listen"] {
		b.problem(Warning, w, "token-file", "has no effect", `the page needs listen = "127.0.0.1:8480"`)
	}
	if l := b.cfg.Web.Listen; l != Off && l == b.cfg.Metrics.Listen {
		b.problem(Error, m, "listen", l+" is the address of the web page already", "choose another port")
	}
}

// maxSocketPath is the longest path of a Unix socket in bytes (sockaddr_un, unix(7)).
const maxSocketPath = 107

// listen checks the key listen of a section.
func (b *builder) listen(s *section, v string) {
	if v == Off || s.bad["listen"] {
		return
	}
	_, port, err := net.SplitHostPort(v)
	if err == nil {
		if n, perr := strconv.ParseUint(port, 10, 16); perr != nil || n == 0 {
			err = fmt.Errorf("%q is not a port", port)
		}
	}
	if err != nil {
		b.problem(Error, s, "listen", fmt.Sprintf("%q is not HOST:PORT", v), `e.g. "127.0.0.1:8480", ":8480" for all addresses, or "off"`)
	}
}

// pprof checks [pprof].
func (b *builder) pprof(s *section) {
	v := b.cfg.Pprof.Listen
	if v == Off || s.bad["listen"] {
		if b.cfg.Pprof.Remote && v == Off {
			b.problem(Warning, s, "remote", "has no effect", `profiles need listen = "HOST:PORT"`)
		}
		return
	}
	if err := CheckPprof(v, b.cfg.Pprof.Remote); err != nil {
		hint := `e.g. "127.0.0.1:6060", "/run/goaoe/pprof.sock", or "off"`
		if CheckPprof(v, true) == nil {
			hint = "127.0.0.1, a socket, or remote = true if others are to see profiles"
		}
		b.problem(Error, s, "listen", err.Error(), hint)
		return
	}
	if v == b.cfg.Web.Listen || v == b.cfg.Metrics.Listen {
		b.problem(Error, s, "listen", v+" is the address of another listener already", "choose another port")
	}
	if v == b.cfg.Control.Socket {
		b.problem(Error, s, "listen", v+" is the control socket", "choose another path")
	}
}

// CheckPprof says what is wrong with a place to serve profiles at: HOST:PORT, or the absolute path of a socket. Without remote HOST has to be an address of the
// loopback interface, or "localhost".
func CheckPprof(where string, remote bool) error {
	if filepath.IsAbs(where) {
		if len(where) > maxSocketPath {
			return fmt.Errorf("has %d characters, a socket's path can have %d", len(where), maxSocketPath)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(where)
	if err != nil {
		return fmt.Errorf("%q is neither HOST:PORT nor the absolute path of a socket", where)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q is not a port", port)
	}
	if a, err := netip.ParseAddr(host); !remote && host != "localhost" && (err != nil || !a.Unmap().IsLoopback()) {
		return fmt.Errorf("other machines can reach %s", where)
	}
	return nil
}
