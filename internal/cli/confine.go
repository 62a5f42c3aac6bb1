package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/config"
	"goaoe/internal/control"
	"goaoe/internal/opener"
	"goaoe/internal/privsep"
	"goaoe/internal/sandbox"
	"goaoe/internal/web"
)

// own is what a process has that runs goaoe and nothing else: only such a one may confine itself. Tests run commands in theirs.
var own struct {
	argv   []string       // with the program's name; nil: this process is not goaoe's own
	opener *opener.Server // not nil: this process is the opener of a daemon
}

// Process is MainAs for a process that is goaoe's own from its start to its end.
func Process(argv []string, stdout, stderr io.Writer) int {
	if argv[0] != opener.Name {
		own.argv = argv
		return MainAs(argv[0], argv[1:], stdout, stderr)
	}
	s, err := opener.Inherited()
	if err != nil {
		fmt.Fprintf(stderr, "%s is a part of goaoe that goaoe serve starts; it is of no use alone: %v\n", opener.Name, err)
		return ExitFailure
	}
	own.opener = s
	var said lastLine
	args := s.Hello().Args
	code := MainAs(args[0], args[1:], io.Discard, &said) // it gets to openFiles
	s.Refuse(errors.New(said.text))                      // unless it failed before; else nobody listens any more
	return code
}

// lastLine keeps the last that was written.
type lastLine struct{ text string }

func (l *lastLine) Write(p []byte) (int, error) {
	l.text = oneLine(string(p))
	return len(p), nil
}

// openFiles is what the opener does in place of serving: it has the command line of the daemon, and so comes to the same configuration.
func (p *process) openFiles() error {
	sandbox.Apply(sandbox.Policy{Keep: []string{"dac_override", "dac_read_search", "net_admin"},
		Off: map[string]string{sandbox.Landlock: "it opens files", sandbox.Seccomp: "it runs blkid"}})
	if _, cfg, _ := p.load(); cfg != nil && cfg.Web.Listen != config.Off && cfg.Web.TokenFile != "" {
		if token, err := web.ReadToken(cfg.Web.TokenFile); err == nil { // an error is the daemon's to tell
			own.opener.Vouch(web.KnowsToken(token))
		}
	}
	dropIns := ""
	if p.file != "" {
		dropIns = config.DropInDir(p.file)
	}
	return own.opener.Serve(opener.NewRules(func() *config.Config {
		_, cfg, _ := p.load()
		return cfg
	}, dropIns))
}

// switchedOff is why a part of the sandbox is not in force that the configuration does not want.
const switchedOff = "switched off"

// confinement is a daemon's opener, and what becomes of the daemon's rights.
type confinement struct {
	off     map[string]string // parts of the sandbox that are not to be applied, and why
	opener  *opener.Client    // nil: the daemon opens files itself
	why     error             // there is no opener, but there should be
	log     *slog.Logger
	profile bool // profiles are collected, which takes timers
}

// confine prepares the confinement that a configuration wants: while the process may still do everything it starts the opener. The connections of the control
// socket and of the page's listener (nil: there is none) come by the opener from then on.
func confine(c *config.Config, socket *controlSocket, page *net.Listener, log *slog.Logger) *confinement {
	x := &confinement{off: map[string]string{}, log: log, profile: c.Pprof.Listen != config.Off}
	for name, on := range map[string]bool{sandbox.Capabilities: c.Global.SandboxCapabilities, sandbox.Landlock: c.Global.SandboxLandlock, sandbox.Seccomp: c.Global.SandboxSeccomp} {
		if !on {
			x.off[name] = switchedOff
		}
	}
	if own.argv == nil {
		for _, name := range []string{sandbox.Capabilities, sandbox.Landlock, sandbox.Seccomp} {
			x.off[name] = "the process is not goaoe's own"
		}
	}
	if len(x.off) == 3 {
		return x
	}
	h := opener.Hello{Args: own.argv, PID: os.Getpid()}
	if filepath.IsAbs(c.Pprof.Listen) {
		h.Profiles = c.Pprof.Listen
	}
	var l *net.UnixListener
	if socket != nil {
		h.Socket = socket.path()
		l, _ = socket.Listener.(*net.UnixListener)
	}
	tcp, _ := (*page).(*net.TCPListener)
	if x.opener, x.why = opener.Start(h, l, tcp); x.why != nil {
		log.Warn("the daemon keeps its rights: " + x.why.Error())
		return x
	}
	if l != nil {
		socket.Listener = x.opener.Listener(l)
	}
	if tcp != nil {
		*page = x.opener.PageListener(tcp)
	}
	privsep.Use(x.opener)
	return x
}

// apply confines the process. state is the state directory, or "". It returns what is in force, for the status.
func (x *confinement) apply(state string) []control.Confinement {
	p := sandbox.Policy{Off: x.off, Profile: x.profile, Keep: []string{"net_raw", "ipc_lock"}, Read: []string{"/sys", "/proc/self", "/proc/stat", "/proc/sys/kernel/io_uring_disabled"}, ReadWrite: []string{os.DevNull}}
	if x.why != nil {
		p.Off = map[string]string{}
		for _, part := range sandbox.Available() {
			p.Off[part.Name] = x.why.Error()
		}
	}
	if state != "" {
		p.Write = []string{state}
		if !mineOnly(state) { // e.g. root runs what the service of the packages has run before
			p.Keep = append(p.Keep, "dac_override")
		}
	}
	_ = time.Now().Local().String() // reads the time zone's file now
	var out []control.Confinement
	for _, part := range sandbox.Apply(p) {
		level := slog.LevelDebug
		if _, off := p.Off[part.Name]; !part.InForce && !off {
			level = slog.LevelWarn
		}
		x.log.Log(nil, level, "sandbox: "+part.String()) //nolint:staticcheck // a handler needs no context
		out = append(out, control.Confinement{Name: part.Name, InForce: part.InForce, Text: part.Text})
	}
	return out
}

// mineOnly tells whether a folder and what is in it belong to the process's user.
func mineOnly(dir string) bool {
	mine := func(path string) bool {
		var st unix.Stat_t
		return unix.Lstat(path, &st) != nil || int(st.Uid) == os.Geteuid()
	}
	entries, _ := os.ReadDir(dir) // an error: then there is nothing to be seen of others
	for _, e := range entries {
		if !mine(filepath.Join(dir, e.Name())) {
			return false
		}
	}
	return mine(dir)
}

// close ends the opener.
func (x *confinement) close() {
	if x.opener != nil {
		privsep.Use(nil)
		x.opener.Close()
	}
}
