package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/initiator"
	"goaoe/internal/attach"
	"goaoe/internal/config"
	"goaoe/internal/logging"
)

const attachLong = `Make the disk of a target a block device of this machine, without the kernel's aoe driver: through the kernel's NBD driver (module
nbd, which is loaded if need be). The device is /dev/nbd0 or whichever is free; /dev/goaoe/ADDRESS leads there. The command returns
when the device can be used, and a process in the background serves it until goaoe detach.

With --server there is no device but an NBD server on a Unix socket, for programs that speak NBD: qemu, nbdcopy, fio, nbd-client. It
needs no NBD driver, and no root: permission for packet sockets is enough.

A target that restarts and a path that fails are waited for: a request is repeated until it is answered, and fails only after
--timeout. A target that is found on several interfaces is used on all of them. Flushes and TRIM are passed on to the target. When
goaoe attach itself died, the same command takes over the device, with what is mounted on it; the kernel waits --timeout for that.

A disk must be written by one machine at a time, unless its file system is made for more. An ended process (SIGTERM) waits until nobody
uses the disk; a second signal ends it at once.

At boot: systemctl enable goaoe-attach@e0.1, with options in /etc/goaoe/attach.d/e0.1.conf.` + "\n"

const attachExample = `  goaoe attach e0.1
  mount /dev/goaoe/e0.1 /mnt

  goaoe attach -i eth1,eth2 --timeout 5m e0.1          two paths, patient
  goaoe attach --server e0.1                           no device, a socket
  qemu-img convert -O qcow2 'nbd+unix:///?socket=/run/goaoe-attach/e0.1.sock' copy.qcow2`

// attachFlags are the flags of attach.
type attachFlags struct {
	wire                                 wireFlags
	wait, busyPoll                       time.Duration
	window, connections                  int
	readOnly, server, foreground         bool
	socket, group, device, dir, loglevel string
}

func newAttachCmd(env *Env) *cobra.Command {
	var f attachFlags
	cmd := &cobra.Command{
		Use:     "attach ADDRESS",
		Short:   "Make a target's disk a local block device, or an NBD server",
		Long:    attachLong + wireExit,
		Example: attachExample,
		GroupID: groupTools,
		Args:    args(cobra.ExactArgs(1), "one ADDRESS"),
		RunE:    func(cmd *cobra.Command, list []string) error { return f.run(env, cmd, list[0]) },
	}
	f.wire.register(cmd)
	fl := cmd.Flags()
	fl.Lookup("timeout").DefValue = "1m0s"
	f.wire.timeout = time.Minute
	fl.Lookup("timeout").Usage = "how long a request is repeated before it fails"
	fl.Lookup("json").Usage = "print what was attached as JSON"
	fl.DurationVar(&f.wait, "wait", 5*time.Second, "how long to look for the target")
	fl.IntVar(&f.window, "window", 0, "requests outstanding at the target at most (default: what it can take, 64 at most)")
	fl.BoolVarP(&f.readOnly, "read-only", "r", false, "refuse writes")
	fl.StringVar(&f.device, "device", "", "the NBD device to use, e.g. /dev/nbd3 (default: one that is free)")
	fl.IntVar(&f.connections, "connections", 1, "connections between the kernel and goaoe, 1 to 16, each with a thread of its own")
	fl.BoolVar(&f.server, "server", false, "serve NBD on a Unix socket, and make no device")
	fl.StringVar(&f.socket, "socket", "", "path of the socket, implies --server (default: ADDRESS.sock in the run directory)")
	fl.StringVar(&f.group, "group", "", "group whose members may use the socket (default: only its owner may)")
	fl.BoolVarP(&f.foreground, "foreground", "f", false, "stay in the foreground, as systemd wants it")
	fl.DurationVar(&f.busyPoll, "busy-poll", attach.BusyPoll, "how long to look for the next request or answer before sleeping, if the last one came so soon and no other program wants the processor; 0 to 1ms, 0: never")
	fl.StringVar(&f.dir, "run-dir", "", "where sockets and state go (default: "+attach.Dir+", or for users goaoe-attach in $XDG_RUNTIME_DIR)")
	fl.StringVar(&f.loglevel, "log-level", "info", "error, warn, info or debug")
	return cmd
}

// config reads the flags.
func (f *attachFlags) config(address string) (attach.Config, error) {
	var c attach.Config
	if err := f.wire.check(); err != nil {
		return c, err
	}
	addrs, err := parseAddrs([]string{address}, false)
	if err != nil {
		return c, err
	}
	c = attach.Config{Addr: addrs[0], Kernel: !f.server && f.socket == "", Device: -1, Connections: f.connections, Socket: f.socket, Group: -1,
		ReadOnly: f.readOnly, Dir: f.dir,
		Disk: initiator.Options{Interfaces: f.wire.interfaces, Targets: f.wire.targets, Timeout: f.wire.timeout, Wait: f.wait, Window: f.window, BusyPoll: f.busyPoll}}
	switch {
	case f.wait <= 0:
		return c, Usagef("--wait %v: must be more than 0", f.wait)
	case f.window < 0 || f.window > 128:
		return c, Usagef("--window %d: must be 1 to 128", f.window)
	case f.busyPoll < 0 || f.busyPoll > time.Millisecond:
		return c, Usagef("--busy-poll %v: must be 0 to 1ms", f.busyPoll)
	case f.connections < 1 || f.connections > 16:
		return c, Usagef("--connections %d: must be 1 to 16", f.connections)
	case f.device != "" && !c.Kernel:
		return c, Usagef("--device and --server contradict each other").WithHint("give one of them")
	case f.group != "" && c.Kernel:
		return c, Usagef("--group is about a socket").WithHint("give --server with it")
	}
	if f.device != "" {
		if c.Device, err = attach.ParseDevice(f.device); err != nil {
			return c, Usagef("--device: %w", err)
		}
	}
	if f.group != "" {
		g, err := user.LookupGroup(f.group)
		if err != nil {
			return c, Usagef("--group %s: %w", f.group, err)
		}
		if c.Group, err = strconv.Atoi(g.Gid); err != nil {
			return c, Usagef("--group %s: %w", f.group, err)
		}
	}
	if c.Dir == "" {
		c.Dir = attach.DefaultDir()
	}
	if c.Socket != "" {
		if c.Socket, err = filepath.Abs(c.Socket); err != nil {
			return c, Failf("%w", err)
		}
	}
	return c, nil
}

func (f *attachFlags) run(env *Env, cmd *cobra.Command, address string) error {
	c, err := f.config(address)
	if err != nil {
		return err
	}
	if !f.foreground && !isDetached() {
		if code := detach(env, "goaoe", os.Args[1:]); code != ExitOK {
			return Exit(code)
		}
		s, err := attach.Find(c.Dir, c.Addr.String())
		if err != nil || s == nil {
			return Failf("%v was attached, and is gone again: %v", c.Addr, err)
		}
		return f.print(env, s)
	}
	away := takeDetached("goaoe")
	logs, err := f.logs(env, away)
	if err != nil {
		return err
	}
	defer func() { _ = logs.Close() }() // stderr is left, and takes what comes later
	c.Log = logs.Logger()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	defer signal.Stop(signals)
	c.Signals = signals
	c.Ready = func(s *attach.Status) {
		if away != nil {
			away.ready()
			return
		}
		_ = f.print(env, s) // the disk is served, whoever reads of it
		notify(c.Log, sd.SdNotifyReady+"\nSTATUS="+c.Addr.String()+" as "+s.Name())
	}
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	return attachError(attach.Run(ctx, c), c.Addr)
}

// notify tells systemd, where it wants to know.
func notify(log *slog.Logger, state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		log.Debug("telling systemd failed", "error", err)
	}
}

// logs makes the log: stderr, or where it goes when that is gone.
func (f *attachFlags) logs(env *Env, away *detached) (*logging.Log, error) {
	cfg := logging.Defaults(config.Log{Level: f.loglevel})
	away.logElsewhere(cfg)
	logs := logging.New(env.Stderr)
	if err := logs.Set(cfg); err != nil {
		return nil, Failf("%w", err)
	}
	return logs, nil
}

// print tells where the disk is.
func (f *attachFlags) print(env *Env, s *attach.Status) error {
	if f.wire.json {
		return jsonIndented(env.Stdout, s)
	}
	more := ""
	if s.ReadOnly {
		more = ", read-only"
	}
	if !s.Flush {
		more += ", without flushes"
	}
	name := s.Name()
	if s.Link != "" {
		name += " (" + s.Link + ")"
	}
	_, err := fmt.Fprintf(env.Stdout, "%s is %s: %s%s\n", s.Address, name, humanize.IBytes(uint64(s.Size)), more)
	return err
}

// attachError is an error of attaching as a command ends with it.
func attachError(err error, a aoe.Addr) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, attach.ErrNoDriver):
		return Failf("%w", joinLines(err)).WithHint("install the module nbd (Debian: the usual linux-image has it; cloud kernels do not), or use --server")
	case errors.Is(err, attach.ErrAttached):
		return (&ExitError{Code: ExitConflict, Err: joinLines(err)}).WithHint("goaoe attached shows it, goaoe detach ends it")
	case errors.Is(err, initiator.ErrNotFound):
		return (&ExitError{Code: ExitNoAnswer, Err: joinLines(err)}).WithHint("goaoe discover lists who answers")
	case errors.Is(err, fs.ErrPermission):
		return (&ExitError{Code: ExitRefused, Err: fmt.Errorf("attaching %v: %w", a, joinLines(err))}).WithHint(
			"root may, and for --server who has CAP_NET_RAW: setcap cap_net_raw+ep /usr/bin/goaoe")
	}
	return wireError(joinLines(err))
}
