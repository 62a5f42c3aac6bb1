package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"goaoe/internal/config"
	"goaoe/internal/daemon"
	"goaoe/internal/logging"
	"goaoe/internal/web"
)

// processFlags are the flags that serve and export have in common.
type processFlags struct {
	busyPoll  time.Duration
	diskPoll  bool
	lanes     int
	ioEngine  string
	stateDir  string
	logLevel  string
	logFormat string
	logTarget string
	socket    string
	noSandbox bool
	linear    bool
	xdp       string
	files     bool
	readNow   bool
	merge     bool
	pprof     config.Pprof
}

func (p *processFlags) register(fs *pflag.FlagSet) {
	fs.DurationVar(&p.busyPoll, "busy-poll", 0, "how long an idle lane watches for the next frame before it sleeps, e.g. 50us")
	fs.BoolVar(&p.diskPoll, "disk-poll", true, "watch for the end of direct I/O instead of sleeping, while disks are quick and nobody else wants the processor")
	fs.IntVar(&p.lanes, "lanes", 1, "threads that serve requests")
	fs.StringVar(&p.ioEngine, "io-engine", "auto", "auto, io_uring or threads")
	fs.BoolVar(&p.linear, "linear-frames", true, "have the kernel keep long frames in one piece while it sends them")
	fs.StringVar(&p.xdp, "xdp-send", string(config.XDPSendAuto), "`WHEN` to send replies by AF_XDP: auto, on or off")
	fs.BoolVar(&p.files, "registered-files", true, "register files and devices with io_uring")
	fs.BoolVar(&p.readNow, "read-now", true, "read what is in the page cache without io_uring when it is for a single request")
	fs.BoolVar(&p.merge, "merge-requests", true, "carry out requests that lie side by side on the disk as one operation")
	fs.StringVar(&p.stateDir, "state-dir", "", "where config strings, masks and reservations are kept (default /var/lib/goaoe)")
	fs.StringVar(&p.logLevel, "log-level", "info", "error, warn, info or debug")
	fs.StringVar(&p.logFormat, "log-format", "text", "text or json")
	fs.StringVar(&p.logTarget, "log-target", "stderr", "stderr, journal, syslog, or the path of a file")
	fs.StringVar(&p.socket, "socket", "", "control socket for goaoe add, ls, set and the like; \"off\" for none")
	fs.StringVar(&p.pprof.Listen, "pprof", config.Off, "serve profiles for go tool pprof, at a loopback HOST:PORT or the path of a Unix socket")
	fs.BoolVar(&p.pprof.Remote, "pprof-remote", false, "let --pprof be an address that other machines can reach")
	fs.BoolVar(&p.noSandbox, "no-sandbox", false, "keep all rights, see [global] sandbox-*")
}

// apply makes flags that were given count in a configuration.
func (p *processFlags) apply(fs *pflag.FlagSet, c *config.Config) {
	set := func(flag string, do func()) {
		if fs.Changed(flag) {
			do()
		}
	}
	set("busy-poll", func() { c.Global.BusyPoll = p.busyPoll })
	set("disk-poll", func() { c.Global.DiskPoll = p.diskPoll })
	set("lanes", func() { c.Global.Lanes = p.lanes })
	set("linear-frames", func() { c.Global.LinearFrames = p.linear })
	set("xdp-send", func() { c.Global.XDPSend = config.XDPSend(p.xdp) })
	set("registered-files", func() { c.Global.RegisteredFiles = p.files })
	set("read-now", func() { c.Global.ReadNow = p.readNow })
	set("merge-requests", func() { c.Global.MergeRequests = p.merge })
	set("state-dir", func() { c.Global.StateDirectory = p.stateDir })
	set("no-sandbox", func() {
		on := !p.noSandbox
		c.Global.SandboxCapabilities, c.Global.SandboxLandlock, c.Global.SandboxSeccomp = on, on, on
	})
	set("pprof", func() { c.Pprof.Listen = p.pprof.Listen })
	set("pprof-remote", func() { c.Pprof.Remote = p.pprof.Remote })
	set("log-level", func() { c.Log.Level = p.logLevel })
	set("log-format", func() { c.Log.Format = p.logFormat })
	set("log-target", func() {
		c.Log.Target = config.LogTarget(p.logTarget)
		if filepath.IsAbs(p.logTarget) {
			c.Log.Target, c.Log.File = config.LogFile, p.logTarget
		}
	})
}

// checkProcess says what is wrong with the values of flags, as far as the configuration does not.
func checkProcess(c *config.Config) error {
	switch {
	case c.Global.Lanes < 1 || c.Global.Lanes > 64:
		return Usagef("--lanes %d: must be 1 to 64", c.Global.Lanes)
	case c.Global.BusyPoll < 0 || c.Global.BusyPoll > 10*time.Millisecond:
		return Usagef("--busy-poll %v: must be 0 to 10ms", c.Global.BusyPoll)
	case !slices.Contains([]config.XDPSend{config.XDPSendAuto, config.XDPSendOn, config.XDPSendOff}, c.Global.XDPSend):
		return Usagef("--xdp-send %q is none of auto, on, off", c.Global.XDPSend)
	case !slices.Contains([]string{"error", "warn", "info", "debug"}, c.Log.Level):
		return Usagef("--log-level %q is none of error, warn, info, debug", c.Log.Level)
	case c.Log.Format != "text" && c.Log.Format != "json":
		return Usagef("--log-format %q is neither text nor json", c.Log.Format)
	case !slices.Contains([]config.LogTarget{config.LogStderr, config.LogJournal, config.LogSyslog, config.LogFile}, c.Log.Target) ||
		c.Log.Target == config.LogFile && c.Log.File == "":
		return Usagef("--log-target %q is neither stderr, journal, syslog, nor the absolute path of a file", c.Log.Target).
			WithHint("e.g. --log-target /var/log/goaoe/goaoe.log")
	}
	if p := c.Pprof; p.Listen != config.Off {
		if err := config.CheckPprof(p.Listen, p.Remote); err != nil {
			hint := "e.g. --pprof 127.0.0.1:6060, or --pprof /run/goaoe/pprof.sock"
			if config.CheckPprof(p.Listen, true) == nil {
				hint = "--pprof-remote allows it"
			}
			return Usagef("--pprof %s: %w", p.Listen, err).WithHint(hint)
		}
	}
	return nil
}

// process runs a daemon in the foreground.
type process struct {
	env      *Env
	name     string
	file     string // the main configuration file; empty: there is none
	parse    func(config.Files) (*config.Config, config.Problems)
	socket   socketChoice
	strict   bool // see daemon.Options
	fallback bool
	ready    func(w io.Writer, s daemon.Status)
}

func (p *process) run() error {
	if own.opener != nil {
		return p.openFiles()
	}
	away := takeDetached(p.programName())
	if parse := p.parse; away != nil {
		p.parse = func(f config.Files) (*config.Config, config.Problems) {
			cfg, problems := parse(f)
			away.logElsewhere(cfg)
			return cfg, problems
		}
	}
	files, cfg, problems := p.load()
	for _, x := range problems {
		if x.Severity == config.Warning || problems.Errors() > 1 {
			fmt.Fprintf(p.env.Stderr, "goaoe: %s\n", oneLine(x.String()))
		}
	}
	switch n := problems.Errors(); {
	case n > 1:
		return Failf("%d errors in the configuration: nothing is served", n)
	case n == 1:
		return Failf("%w", problems.Err())
	}
	if err := checkProcess(cfg); err != nil {
		return err
	}
	logs := logging.New(p.env.Stderr)
	if err := logs.Set(cfg); err != nil {
		return Failf("%w", err)
	}
	defer func() { _ = logs.Close() }() // stderr is left, and takes what comes later
	o := daemon.Options{Config: cfg, Log: logs.Logger(), Logs: logs, Strict: p.strict, StateFallback: p.fallback, Version: Version,
		Sysroot: p.env.Sysroot}
	o.Files, o.Parse = files, p.parse
	if p.file != "" {
		o.Read = func() (config.Files, config.Problems) { return config.ReadFiles(p.file) }
		o.DropInDir = config.DropInDir(p.file)
	}
	control, err := listenControl(p.env, cfg.Control, p.socket, logs.Logger())
	if err != nil {
		return err
	}
	var page net.Listener
	if cfg.Web.Listen != config.Off {
		if page, err = web.Listen(cfg.Web.Listen); err != nil {
			return Failf("%w", err)
		}
		defer func() { _ = page.Close() }() // if it is not served in the end
	}
	profiles, err := listenProfiles(cfg.Pprof)
	if err != nil {
		return err
	}
	if profiles != nil {
		defer func() { _ = profiles.Close() }() // if they are not served in the end
	}
	confined := confine(cfg, control, &page, logs.Logger())
	defer confined.close()
	o.Confine = confined.apply
	o.Socket = control.path()
	o.Ready = func(s daemon.Status) {
		defer away.ready()
		if away != nil {
			return // the parent ends without an error: that says it
		}
		if p.ready != nil {
			p.ready(p.env.Stderr, s)
			return
		}
		fmt.Fprintf(p.env.Stderr, "goaoe: ready: %s\n", s)
	}
	d := daemon.New(o)
	stop, err := serveAll(control, page, profiles, d, cfg, logs.Logger())
	if err != nil {
		return err
	}
	defer stop()
	return p.serve(d, logs.Logger())
}

// programName is what the process is called in a log that it does not have for itself.
func (p *process) programName() string {
	if p.env.Program != "" {
		return p.env.Program
	}
	return "goaoe"
}

// load reads the files and makes a configuration of them and the command line.
func (p *process) load() (files config.Files, cfg *config.Config, problems config.Problems) {
	if p.file != "" {
		if files, problems = config.ReadFiles(p.file); problems.Err() != nil {
			return files, nil, problems
		}
	}
	cfg, problems = p.parse(files)
	return files, cfg, problems
}

// serve runs the daemon and handles signals.
func (p *process) serve(d *daemon.Daemon, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGHUP, unix.SIGINT, unix.SIGTERM)
	defer signal.Stop(signals)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		stopping := false
		for {
			select {
			case <-ended:
				return
			case s := <-signals:
				switch {
				case s == unix.SIGHUP && !stopping:
					if p.file == "" {
						log.Warn("SIGHUP: there is no configuration file to read")
						continue
					}
					go d.Reload() //nolint:errcheck // the daemon has logged why
				case s == unix.SIGHUP:
				case stopping:
					fmt.Fprintln(p.env.Stderr, "goaoe: ended at once by a second signal")
					os.Exit(ExitFailure)
				default:
					stopping = true
					cancel()
				}
			}
		}
	}()
	err := d.Run(ctx)
	if err == nil {
		return nil
	}
	return Failf("%w", joinLines(err))
}

// joinLines makes one line of an error that is several.
func joinLines(err error) error {
	lines := strings.Split(err.Error(), "\n")
	if len(lines) == 1 {
		return err
	}
	return errors.New(strings.Join(lines, " | "))
}
