package config

import (
	"fmt"
	"net"
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
}

// services reads [control], [web] and [metrics].
func (b *builder) services() {
	c, w, m := b.doc.control, b.doc.web, b.doc.metrics
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
