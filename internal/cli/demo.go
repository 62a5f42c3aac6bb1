package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/config"
	"goaoe/internal/daemon"
)

const demoLong = `Show goaoe at work on this machine alone, in a few seconds, without hardware and without configuration: two network
namespaces are joined by a virtual cable, a fresh sparse disk is served in one, and in the other it is discovered, written,
read back and compared, and measured. Nothing of it is seen from outside, and nothing is left behind, even when it is killed.

It runs as root, or as an ordinary user where user namespaces are allowed.`

// demoInside is set for the process that runs inside the namespace.
const demoInside = "GOAOE_DEMO_INSIDE"

const (
	demoTarget    = "goaoe0" // the interface that is served on
	demoInitiator = "goaoe1" // the other end of the cable
	demoMTU       = 9000
	demoDisk      = 256 << 20 // bytes
	demoLimit     = time.Minute
)

var demoAddr = aoe.Addr{Major: 0, Minor: 1}

func newDemoCmd(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:     "demo",
		Short:   "Show it at work, without hardware and configuration",
		Long:    demoLong,
		GroupID: groupServe,
		Args:    args(cobra.NoArgs, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			if os.Getenv(demoInside) != "" {
				return runDemo(env)
			}
			return enterDemo(env)
		},
	}
}

// enterDemo runs the demo in a process of its own, with a network namespace of its own. All that the demo makes belongs to that process
// and goes with it; and that process goes with this one.
func enterDemo(env *Env) error {
	runtime.LockOSThread() // the child is killed when the thread that started it ends
	defer runtime.UnlockOSThread()
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{os.Args[0], "demo"}}
	cmd.Env = append(os.Environ(), demoInside+"=1")
	cmd.Stdout, cmd.Stderr = env.Stdout, env.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	user := os.Geteuid() != 0
	if user {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	// The child gets the signals of the terminal itself and ends; this process waits for it.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, unix.SIGINT)
	defer signal.Stop(signals)
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit):
		if exit.ExitCode() < 0 {
			return Failf("the demo was ended by a signal")
		}
		return Exit(exit.ExitCode())
	case user:
		return Failf("the demo needs namespaces of its own: %w", err).WithHint("run it as root: user namespaces are not allowed here")
	}
	return Failf("the demo needs a network namespace of its own: %w", err).WithHint("a container may forbid it: give it CAP_SYS_ADMIN, or run outside")
}

// runDemo is the demo, inside its network namespace.
func runDemo(env *Env) error {
	ctx, cancel := context.WithTimeout(context.Background(), demoLimit)
	defer cancel()
	other, err := demoNetwork()
	if err != nil {
		return Failf("making the network of the demo: %w", err).WithHint("the kernel needs network namespaces and veth")
	}
	defer other.stop()
	disk, err := demoFile()
	if err != nil {
		return Failf("making the disk of the demo: %w", err).WithHint("set TMPDIR to a directory with 256 MiB of room")
	}
	defer func() { _ = disk.Close() }()

	ctx, stop := context.WithCancel(ctx)
	served := make(chan daemon.Status, 1)
	ended := make(chan error, 1)
	go func() { ended <- other.run(func() error { return demoServe(ctx, env.Stderr, disk, served) }) }()
	select {
	case err := <-ended:
		stop()
		return Failf("serving the disk: %w", err)
	case s := <-served:
		demoServed(env.Stdout, s)
	}
	err = demoUse(ctx, env.Stdout)
	stop()
	if eerr := <-ended; err == nil && eerr != nil {
		err = fmt.Errorf("stopping: %w", eerr)
	}
	if err != nil {
		return Failf("the demo failed: %w", err)
	}
	fmt.Fprint(env.Stdout, demoNext)
	return nil
}

const demoNext = `
Everything is removed again. To export a real disk or file on a real interface (as root):

  goaoe export 0 1 eth0 /dev/sdb             one, as with vblade
  goaoe serve -i eth0 e0.1=/dev/sdb          several
  goaoe init > /etc/goaoe/goaoe.toml         a configuration file to begin with; then: goaoe check, goaoe serve

On the Linux machine at the other end: modprobe aoe; the disk is /dev/etherd/e0.1
`

// demoFile makes a sparse file that has no name any more, so that nobody has to remove it.
func demoFile() (*os.File, error) {
	f, err := os.CreateTemp("", "goaoe-demo-*")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Remove(f.Name()), f.Truncate(demoDisk)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// demoServe serves the disk in the calling thread's namespace until ctx ends.
func demoServe(ctx context.Context, stderr io.Writer, disk *os.File, served chan<- daemon.Status) error {
	cfg, problems := config.FromArgs(config.Args{
		Interfaces: []string{demoTarget},
		Exports:    []string{fmt.Sprintf("%v=/proc/self/fd/%d", demoAddr, disk.Fd())},
	})
	if err := problems.Err(); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	d := daemon.New(daemon.Options{Config: cfg, Log: log, Strict: true, Volatile: true, Version: Version,
		Ready: func(s daemon.Status) { served <- s }})
	return d.Run(ctx)
}

// elsewhere is a thread in another network namespace. The namespace ends with the thread.
type elsewhere struct {
	work chan func()
	done chan struct{}
}

func (e *elsewhere) run(f func() error) error {
	result := make(chan error, 1)
	e.work <- func() { result <- f() }
	return <-result
}

func (e *elsewhere) stop() {
	close(e.work)
	<-e.done
}

// demoNetwork makes the cable: the initiator's end in this process's namespace, the target's in one that belongs to a thread.
// The daemon opens everything in the thread that runs it; the initiator uses many.
func demoNetwork() (*elsewhere, error) {
	e := &elsewhere{work: make(chan func()), done: make(chan struct{})}
	ready := make(chan int, 1) // the thread's number
	failed := make(chan error, 1)
	go func() {
		defer close(e.done)
		runtime.LockOSThread() // and never unlocked: the thread ends here
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			failed <- err
			return
		}
		ready <- unix.Gettid()
		for f := range e.work {
			f()
		}
	}()
	var tid int
	select {
	case err := <-failed:
		return nil, err
	case tid = <-ready:
	}
	ns, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", tid))
	if err == nil {
		err = demoCable(int(ns.Fd()))
		_ = ns.Close()
	}
	if err == nil {
		err = e.run(func() error { return demoUp(demoTarget) })
	}
	if err == nil {
		err = demoCarrier(demoInitiator)
	}
	if err != nil {
		e.stop()
		return nil, err
	}
	return e, nil
}

// demoCable joins this namespace with another by a virtual cable.
func demoCable(other int) error {
	cable := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: demoInitiator, MTU: demoMTU}, PeerName: demoTarget,
		PeerMTU: demoMTU, PeerNamespace: netlink.NsFd(other)}
	if err := netlink.LinkAdd(cable); err != nil {
		return fmt.Errorf("adding a veth pair: %w", err)
	}
	return demoUp(demoInitiator)
}

func demoUp(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// demoCarrier waits until the cable carries frames.
func demoCarrier(name string) error {
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); time.Sleep(time.Millisecond) {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if l.Attrs().RawFlags&unix.IFF_RUNNING != 0 {
			return nil
		}
	}
	return fmt.Errorf("%s has no carrier", name)
}
