package attach

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/initiator"
	"goaoe/internal/nbd"
)

// Config says what to attach, and how.
type Config struct {
	Addr aoe.Addr
	Disk initiator.Options // OnEvent is set here

	Kernel      bool   // a block device of the kernel's NBD driver; otherwise a server on a socket
	Device      int    // which NBD device; -1: the kernel chooses
	Connections int    // between the kernel and here, 1 to 16; 0 means 1
	Socket      string // path of the socket; empty: in Dir
	Group       int    // group that may use the socket; -1: its owner only

	ReadOnly bool
	Dir      string // run directory; empty means DefaultDir
	LinkDir  string // where the link to the device goes; empty means /dev/goaoe
	Log      *slog.Logger

	// Signals end it: the first as soon as nobody uses the disk, a second at once.
	Signals <-chan os.Signal
	Ready   func(*Status) // called when the disk can be used
}

// BusyPoll is a good initiator.Options.BusyPoll for Config.Disk: about the way to a near target that has the data in memory, and back.
const BusyPoll = 50 * time.Microsecond

// attached is a disk that is being served.
type attached struct {
	Config
	f      files
	d      *initiator.Disk
	server *nbd.Server
	k      *driver // nil: a socket
	dev    device
	link   string
	since  time.Time
	flush  bool // the target takes flushes

	events chan initiator.Event
	fails  chan string
	stop   chan bool // the end is asked for; true: by force
	ended  chan error
	wg     sync.WaitGroup
}

// margin is how much longer than a request may take here the kernel waits for its answer, where it has several connections: the end of
// waiting belongs to this process.
const margin = 30 * time.Second

// Run attaches a disk and serves it until it is asked to end. The error says why it could not be attached, or what ended it before its time.
func Run(ctx context.Context, c Config) (err error) {
	if c.Dir == "" {
		c.Dir = DefaultDir()
	}
	if c.LinkDir == "" {
		c.LinkDir = "/dev/goaoe"
	}
	if c.Disk.Timeout <= 0 {
		c.Disk.Timeout = 60 * time.Second
	}
	c.Connections = min(max(c.Connections, 1), 16)
	// Each connection keeps one of the scheduler's processors to itself; with one to spare it is not taken away in each system call.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), c.Connections+2))
	a := &attached{Config: c, f: filesOf(c.Dir, c.Addr), since: time.Now(), events: make(chan initiator.Event, 64), fails: make(chan string, 64),
		stop: make(chan bool, 2), ended: make(chan error, c.Connections+1)}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	lock, err := a.f.take()
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // last of all: the address is free
	if c.Kernel {
		if a.k, err = openDriver(); err != nil {
			return err
		}
	}
	if err := a.open(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.d.Close()) }()
	old, err := a.f.read()
	if err != nil {
		return err
	}
	if err := a.serve(old); err != nil {
		return err
	}
	return a.run()
}

// open opens the disk and finds out what it can.
func (a *attached) open(ctx context.Context) error {
	a.Disk.OnEvent = func(e initiator.Event) { a.events <- e } // it has a goroutine of its own
	var err error
	if a.d, err = initiator.Open(ctx, a.Addr, a.Disk); err != nil {
		return err
	}
	probe, cancel := context.WithTimeout(ctx, min(a.Disk.Timeout, 10*time.Second))
	defer cancel()
	switch err := a.d.Flush(probe); {
	case err == nil:
		a.flush = true
	case errors.Is(err, initiator.ErrRefused):
		a.Log.Warn("the target refuses to flush: what it answers is taken as written; whether it is on stable storage only the target knows", "address", a.Addr.String())
	default:
		return errors.Join(err, a.d.Close())
	}
	return nil
}

// flags is what clients are told.
func (a *attached) flags() nbd.Flags {
	id := a.d.Identity()
	f := nbd.HasFlags | nbd.CanMultiConn | nbd.CanWriteZeroes
	if a.flush {
		f |= nbd.CanFlush | nbd.CanFUA
	}
	if id.Trim {
		f |= nbd.CanTrim
	}
	if a.ReadOnly {
		f |= nbd.ReadOnly
	}
	if id.Rotation > 1 {
		f |= nbd.Rotational
	}
	return f
}

// serve starts the server, and makes the device or the socket. old is what a process that died has left.
func (a *attached) serve(old *record) error {
	id := a.d.Identity()
	b := &backend{d: a.d, fail: a.failed}
	e := nbd.Export{Name: a.Addr.String(), Description: strings.TrimSpace(id.Model + " " + id.Serial), Flags: a.flags(), TrimZeroes: id.TrimZero,
		Preferred: 4096}
	s, err := nbd.NewServer(b, e, nbd.Options{MaxConns: 16 + a.Connections, OnConn: a.client})
	if err != nil {
		return err
	}
	a.server = s
	a.dev.index = -1
	if a.k != nil {
		err = a.makeDevice(old)
	} else {
		if old != nil && old.Device >= 0 { // it was a device before
			if e := Clear(a.Dir, a.Addr.String(), false); e != nil && !errors.Is(e, ErrAttached) {
				a.Log.Warn(e.Error())
			}
		}
		err = a.makeSocket()
	}
	if err == nil {
		err = a.f.write(record{Address: a.Addr.String(), PID: os.Getpid(), Device: a.dev.index, Backend: a.dev.backend, Socket: a.Socket, Link: a.link, Since: a.since})
	}
	if err == nil {
		err = a.control()
	}
	if err != nil {
		if a.k != nil && a.dev.index >= 0 {
			_ = a.k.disconnect(a.dev.index) // the first error counts
		}
		a.server.Stop()
		return errors.Join(err, a.server.Close())
	}
	return nil
}

func (a *attached) makeSocket() error {
	if a.Socket == "" {
		a.Socket = a.f.socket()
	}
	if c, err := net.DialTimeout("unix", a.Socket, time.Second); err == nil {
		_ = c.Close()
		return fmt.Errorf("somebody serves the socket %s already", a.Socket)
	}
	if st, err := os.Lstat(a.Socket); err == nil && st.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("%s is there already, and no socket", a.Socket)
	}
	_ = os.Remove(a.Socket) // of a process that died
	mode := 0o600
	if a.Group >= 0 {
		mode = 0o660
	}
	mask := unix.Umask(0o777 &^ mode)
	l, err := net.Listen("unix", a.Socket)
	unix.Umask(mask)
	if err != nil {
		return err
	}
	if a.Group >= 0 {
		if err := os.Chown(a.Socket, -1, a.Group); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	a.wg.Go(func() {
		if err := a.server.Serve(l); !errors.Is(err, nbd.ErrStopped) {
			a.ended <- err
		}
	})
	return nil
}

// makeDevice makes the block device, or takes over the one whose process died.
func (a *attached) makeDevice(old *record) error {
	size := a.d.Size()
	id := a.d.Identity()
	a.dev = device{index: a.Device, size: size, flags: a.flags(), dead: a.Disk.Timeout, backend: mark(a.Addr, id.Serial)}
	if a.Connections > 1 { // of one connection the kernel waits without a limit, and takes an answer whenever it comes
		a.dev.timeout = a.Disk.Timeout + margin
	}
	prepare()
	ends, err := pairs(a.Connections)
	if err != nil {
		return err
	}
	for _, p := range ends {
		a.dev.sockets = append(a.dev.sockets, p[1])
		fd := p[0]
		a.wg.Go(func() { a.ended <- a.server.ServeFD(fd, size) })
	}
	defer func() {
		for _, fd := range a.dev.sockets {
			_ = unix.Close(fd) // the kernel has its own references
		}
	}()
	takeover := old != nil && old.Device >= 0 && (a.Device < 0 || a.Device == old.Device) && a.k.backendOf(old.Device) == a.dev.backend
	switch {
	case takeover:
		a.dev.index = old.Device
		if err := a.k.reconnect(a.dev); err != nil {
			a.dev.index = -1 // it is not ours to end
			return err
		}
		a.Log.Info("took over the device of a process that died", "device", a.deviceName())
	default:
		if old != nil && old.Device >= 0 && old.Backend != "" && a.k.backendOf(old.Device) == old.Backend { // of other settings, or another disk
			_ = a.k.disconnect(old.Device)
		}
		i, err := a.k.connect(a.dev)
		if err != nil {
			a.dev.index = -1
			return err
		}
		a.dev.index = i
	}
	if err := a.k.settle(a.dev); err != nil {
		return err
	}
	return a.makeLink()
}

// mark is how the kernel and udev know a device as ours: "goaoe:e0.1:SERIAL". The serial number comes from the wire, and goes to other programs.
func mark(a aoe.Addr, serial string) string {
	return fmt.Sprintf("goaoe:%v:%s", a, strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, serial))
}

func (a *attached) deviceName() string { return fmt.Sprintf("/dev/nbd%d", a.dev.index) }

// makeLink makes the name that stays the same whatever device the kernel chose. udev's rule makes the same one.
func (a *attached) makeLink() error {
	if err := os.MkdirAll(a.LinkDir, 0o755); err != nil {
		return err
	}
	name := filepath.Join(a.LinkDir, a.Addr.String())
	tmp := name + ".new"
	_ = os.Remove(tmp)
	if err := os.Symlink(a.deviceName(), tmp); err != nil {
		return err
	}
	a.link = name
	return os.Rename(tmp, name)
}

// pairs makes pairs of connected sockets.
func pairs(n int) ([][2]int, error) {
	var out [][2]int
	for range n {
		p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			for _, p := range out {
				_, _ = unix.Close(p[0]), unix.Close(p[1])
			}
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// prepare makes the process one that the kernel can rely on for writing out memory: it is not swapped out, and not killed when memory is
// short. What is not allowed is left.
func prepare() {
	const onFault = 4 // MCL_ONFAULT
	_ = unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | onFault)
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0)
}

// client is told of connections, on their threads.
func (a *attached) client(c *nbd.Client, over bool, err error) {
	if !over && c.Kernel() {
		_ = unix.Prctl(unix.PR_SET_IO_FLUSHER, 1, 0, 0, 0) // memory that this thread asks for must not wait for its own device
	}
	who := "the kernel"
	if !c.Kernel() {
		who = fmt.Sprintf("%s (pid %d)", comm(c.PID), c.PID)
	}
	switch {
	case err != nil:
		a.Log.Warn("a client's connection ended", "client", who, "error", err)
	case over:
		a.Log.Debug("a client left", "client", who)
	default:
		a.Log.Debug("a client came", "client", who)
	}
}

func comm(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return "a process"
	}
	return strings.TrimSpace(string(b))
}

// failed is told of requests that failed, on the thread that serves.
func (a *attached) failed(r *nbd.Request) {
	select {
	case a.fails <- r.Err.Error():
	default: // there are too many to tell each
	}
}
