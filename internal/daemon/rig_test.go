package daemon

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen. It is no measure of speed.
const patience = 20 * time.Second

// rig is a network namespace with a cable between a0, where the daemon serves, and b0, where the test listens.
type rig struct {
	t     *testing.T
	ns    netns.NsHandle
	dir   string
	log   logBuffer
	d     *Daemon
	stop  context.CancelFunc
	ended chan error
	ears  int
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	err := inThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		var err error
		r.ns, err = netns.Get()
		return err
	})
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("needs network namespaces: %v", err)
		}
		t.Skipf("needs network namespaces: %v", err)
	}
	t.Cleanup(func() {
		r.end()
		r.ns.Close()
		if t.Failed() {
			t.Log("log of the daemon:\n" + r.log.String())
		}
	})
	return r
}

// inThread runs f in a thread that ends with it, because its namespace is not the program's.
func inThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// in runs f in the namespace.
func (r *rig) in(f func() error) {
	r.t.Helper()
	err := inThread(func() error {
		if err := netns.Set(r.ns); err != nil {
			return err
		}
		return f()
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// cable makes a pair of interfaces, both up.
func (r *rig) cable(a, b string, mtu int) {
	r.t.Helper()
	r.in(func() error {
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: a, MTU: mtu}, PeerName: b, PeerMTU: uint32(mtu)}); err != nil {
			return err
		}
		for _, n := range []string{b, a} {
			l, err := netlink.LinkByName(n)
			if err == nil {
				err = netlink.LinkSetUp(l)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// change does something to an interface.
func (r *rig) change(name string, f func(l netlink.Link) error) {
	r.t.Helper()
	r.in(func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return f(l)
	})
}

// file makes a file of n sectors and returns its path.
func (r *rig) file(name string, n int) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = errors.Join(f.Truncate(int64(n)*512), f.Close())
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return path
}

// write writes the configuration file; STATE and DIR in it are replaced.
func (r *rig) write(text string) string {
	r.t.Helper()
	path := filepath.Join(r.dir, "goaoe.toml")
	text = "[global]\nstate-directory = \"STATE\"\n" + text
	text = strings.NewReplacer("STATE", filepath.Join(r.dir, "state"), "DIR", r.dir).Replace(text)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// start starts a daemon with a configuration and waits until it is ready. edit may change its options.
func (r *rig) start(text string, edit ...func(*Options)) {
	r.t.Helper()
	if err := r.launch(text, edit...); err != nil {
		r.t.Fatalf("the daemon ended: %v", err)
	}
}

// launch is start for a daemon that may end at the start; then its error is returned.
func (r *rig) launch(text string, edit ...func(*Options)) error {
	r.t.Helper()
	file := r.write(text)
	read := func() (config.Files, config.Problems) { return config.ReadFiles(file) }
	parse := func(f config.Files) (*config.Config, config.Problems) {
		return config.Parse(f.Main.Name, f.Main.Data, config.Options{DropIns: f.DropIns})
	}
	files, problems := read()
	if err := problems.Err(); err != nil {
		r.t.Fatal(err)
	}
	cfg, problems := parse(files)
	if err := problems.Err(); err != nil {
		r.t.Fatal(err)
	}
	ready := make(chan Status, 1)
	o := Options{Config: cfg, Files: files, Read: read, Parse: parse, DropInDir: config.DropInDir(file), Log: slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Version: "test",
		Ready: func(s Status) { ready <- s }}
	for _, f := range edit {
		f(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.d, r.stop, r.ended = New(o), cancel, make(chan error, 1)
	d, ended := r.d, r.ended
	go func() {
		ended <- inThread(func() error {
			if err := netns.Set(r.ns); err != nil {
				return err
			}
			return d.Run(ctx)
		})
	}()
	select {
	case <-ready:
		return nil
	case err := <-r.ended:
		r.stop()
		r.stop = nil
		if err == nil {
			r.t.Fatal("the daemon ended without an error")
		}
		return err
	case <-time.After(patience):
		r.t.Fatal("the daemon did not become ready")
	}
	return nil
}

// end stops the daemon and wants it to end well.
func (r *rig) end() {
	if r.stop == nil {
		return
	}
	r.stop()
	r.stop = nil
	select {
	case err := <-r.ended:
		if err != nil {
			r.t.Errorf("the daemon ended with: %v", err)
		}
	case <-time.After(patience):
		r.t.Error("the daemon did not end")
	}
}

// until waits for a state of the daemon.
func (r *rig) until(what string, ok func(s Status) bool) {
	r.t.Helper()
	var s Status
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(10 * time.Millisecond) {
		var running bool
		if s, running = r.d.Status(); !running {
			r.t.Fatalf("waiting for %s the daemon ended", what)
		}
		if ok(s) {
			return
		}
	}
	r.t.Fatalf("%s did not happen: %+v", what, s)
}

// untilLog waits for a line of the log that contains all of these.
func (r *rig) untilLog(want ...string) {
	r.t.Helper()
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(10 * time.Millisecond) {
	lines:
		for _, l := range strings.Split(r.log.String(), "\n") {
			for _, w := range want {
				if !strings.Contains(l, w) {
					continue lines
				}
			}
			return
		}
	}
	r.t.Fatalf("no line of the log has %q", want)
}

// served returns where an export is served, e.g. "a0".
func (s Status) served(addr string) string {
	for _, e := range s.Exports {
		if e.Address == addr {
			return strings.Join(e.Interfaces, ",")
		}
	}
	return "?"
}

func (s Status) export(addr string) ExportStatus {
	for _, e := range s.Exports {
		if e.Address == addr {
			return e
		}
	}
	return ExportStatus{}
}

// ear is a packet socket of the test.
type ear struct {
	t    *testing.T
	file *os.File
	mac  aoe.MAC
	tag  uint32
}

// listen opens a packet socket on an interface.
func (r *rig) listen(name string) *ear {
	r.t.Helper()
	r.ears++
	e := &ear{t: r.t, tag: uint32(r.ears) << 16} // all hear everything: tags tell whose answer it is
	r.change(name, func(l netlink.Link) error {
		e.mac = aoe.MAC(l.Attrs().HardwareAddr)
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		e.file = os.NewFile(uintptr(fd), "ear")
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: 0xa288, Ifindex: l.Attrs().Index})
	})
	r.t.Cleanup(func() { e.file.Close() })
	return e
}

// send sends a request: everything behind the Ethernet header, the AoE version and tag are filled in.
func (e *ear) send(addr aoe.Addr, cmd byte, arg []byte) uint32 {
	e.t.Helper()
	e.tag++
	f := make([]byte, max(60, 24+len(arg)))
	copy(f, aoe.Broadcast[:])
	copy(f[6:], e.mac[:])
	f[12], f[13], f[14] = 0x88, 0xa2, 0x10
	binary.BigEndian.PutUint16(f[16:], addr.Major)
	f[18], f[19] = addr.Minor, cmd
	binary.BigEndian.PutUint32(f[20:], e.tag)
	copy(f[24:], arg)
	if _, err := e.file.Write(f); err != nil {
		e.t.Fatal(err)
	}
	return e.tag
}

// hear returns the next frame that suits, or nil when there is none within wait.
func (e *ear) hear(wait time.Duration, ok func(f []byte) bool) []byte {
	e.t.Helper()
	if err := e.file.SetReadDeadline(time.Now().Add(wait)); err != nil {
		e.t.Fatal(err)
	}
	buf := make([]byte, 65536)
	for {
		n, err := e.file.Read(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case errors.Is(err, unix.ENETDOWN):
			continue
		case err != nil:
			e.t.Fatal(err)
		}
		if f := buf[:n]; n >= 32 && ok(f) {
			return f
		}
	}
}

// drain forgets what was heard so far.
func (e *ear) drain() {
	e.t.Helper()
	for e.hear(10*time.Millisecond, func([]byte) bool { return true }) != nil {
	}
}

// ask sends a request and returns the reply to it, or nil.
func (e *ear) ask(addr aoe.Addr, cmd byte, arg []byte, wait time.Duration) []byte {
	e.t.Helper()
	tag := e.send(addr, cmd, arg)
	return e.hear(wait, func(f []byte) bool { return f[14]&8 != 0 && binary.BigEndian.Uint32(f[20:]) == tag })
}

// config queries the config string: ok tells whether somebody answered.
func (e *ear) config(addr aoe.Addr, wait time.Duration) (s string, sectors int, ok bool) {
	e.t.Helper()
	f := e.ask(addr, 1, make([]byte, 8), wait)
	if f == nil {
		return "", 0, false
	}
	return string(f[32 : 32+int(binary.BigEndian.Uint16(f[30:]))]), int(f[28]), true
}

// setConfig force-sets the config string.
func (e *ear) setConfig(addr aoe.Addr, s string) {
	e.t.Helper()
	arg := append([]byte{0, 0, 0, 0, 0, 0x14, byte(len(s) >> 8), byte(len(s))}, s...)
	if f := e.ask(addr, 1, arg, patience); f == nil || f[14]&4 != 0 {
		e.t.Fatalf("setting the config string: %x", f)
	}
}

// announced waits for an announcement of addr that advertises this many sectors.
func (e *ear) announced(addr aoe.Addr, sectors int) {
	e.t.Helper()
	f := e.hear(patience, func(f []byte) bool {
		return aoe.MAC(f[0:6]) == aoe.Broadcast && f[14] == 0x18 && f[19] == 1 && binary.BigEndian.Uint32(f[20:]) == 0 &&
			binary.BigEndian.Uint16(f[16:]) == addr.Major && f[18] == addr.Minor && int(f[28]) == sectors
	})
	if f == nil {
		e.t.Fatalf("%v was not announced with %d sectors", addr, sectors)
	}
}

// sectors asks IDENTIFY for the size.
func (e *ear) sectors(addr aoe.Addr) uint64 {
	e.t.Helper()
	f := e.ask(addr, 0, []byte{0, 0, 1, 0xec, 0, 0, 0, 0xa0, 0, 0, 0, 0}, patience)
	if len(f) < 548 {
		e.t.Fatalf("IDENTIFY: %d bytes", len(f))
	}
	return binary.LittleEndian.Uint64(f[36+200:])
}

var (
	e01 = aoe.Addr{Minor: 1}
	e02 = aoe.Addr{Minor: 2}
)

// export is the section of an export.
func exportText(addr, source string, more ...string) string {
	return fmt.Sprintf("\n[[export]]\naddress = %q\nsource = %q\n%s\n", addr, source, strings.Join(more, "\n"))
}

const onA0 = "[defaults]\ninterfaces = [\"a0\"]\n"
