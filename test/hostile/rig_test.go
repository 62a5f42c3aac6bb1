// Package hostile holds the real daemon against what nobody should send: millions of random and mutated frames, and floods, while its memory, its
// descriptors, its processor time and what a well-behaved initiator gets are watched.
//
// GOAOE_SOAK_FRAMES says how many frames (make soak: ten million); without it a short run is made.
package hostile

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/initiator"
	"goaoe/internal/control"
	"goaoe/internal/testnet"
	"goaoe/test/need"
	"goaoe/test/program"
)

func TestMain(m *testing.M) { program.Main(m) }

// rig is a daemon on va, with the two exports e0.1, which only the good initiator may use (on vb), and e0.2, which everybody may.
type rig struct {
	t      *testing.T
	ns     *testnet.NS
	dir    string
	cmd    *exec.Cmd
	log    *program.Log
	exited chan error
	socket string
	target [6]byte // MAC of va
	good   [6]byte // MAC of vb
}

// newRig starts the daemon.
func newRig(t *testing.T) *rig {
	t.Helper()
	need.Root(t)
	bin := program.Goaoe(t)
	r := &rig{t: t, dir: t.TempDir(), log: &program.Log{}, exited: make(chan error, 1)}
	r.ns, _, _ = testnet.Pair(t, 9000)
	short, err := os.MkdirTemp("", "goaoe") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	r.socket = filepath.Join(short, "s")
	copy(r.target[:], r.iface("va").HardwareAddr)
	copy(r.good[:], r.iface("vb").HardwareAddr)
	for _, name := range []string{"disk1", "disk2"} {
		f, err := os.Create(filepath.Join(r.dir, name))
		if err == nil {
			err = f.Truncate(64 << 20)
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	text := fmt.Sprintf("[global]\nstate-directory = %q\n[control]\nsocket = %q\n[[export]]\naddress = \"0.1\"\nsource = %q\ninterfaces = \"va\"\naccept = %q\n"+
		"[[export]]\naddress = \"0.2\"\nsource = %q\ninterfaces = \"va\"\ndiscard = true\n",
		r.dir+"/state", r.socket, r.dir+"/disk1", aoe.MAC(r.good).String(), r.dir+"/disk2")
	if err := os.WriteFile(r.dir+"/goaoe.toml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.Command(bin, "serve", "-c", r.dir+"/goaoe.toml")
	r.cmd.Stderr = r.log
	r.ns.Start(r.cmd)
	go func() { r.exited <- r.cmd.Wait() }()
	t.Cleanup(func() {
		r.end()
		if t.Failed() {
			text := r.log.String()
			t.Logf("log of the daemon, its end:\n%s", text[max(0, len(text)-4000):])
		}
	})
	r.until("the daemon is ready", func() bool { return strings.Contains(r.log.String(), "goaoe: ready") })
	return r
}

// end stops the daemon, which must end by itself and without an error.
func (r *rig) end() {
	r.t.Helper()
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Signal(unix.SIGTERM)
	select {
	case err := <-r.exited:
		if err != nil {
			r.t.Errorf("the daemon ended: %v", err)
		}
	case <-time.After(60 * time.Second):
		_ = r.cmd.Process.Kill()
		<-r.exited
		r.t.Error("the daemon did not end")
	}
	r.cmd = nil
}

func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%s: not within a minute", what)
		}
		r.alive()
	}
}

// alive fails the test when the daemon is gone.
func (r *rig) alive() {
	r.t.Helper()
	select {
	case err := <-r.exited:
		r.exited <- err
		r.t.Fatalf("the daemon ended: %v", err)
	default:
	}
}

func (r *rig) iface(name string) (i net.Interface) {
	r.t.Helper()
	r.ns.Do(func() {
		p, err := net.InterfaceByName(name)
		if err != nil {
			r.t.Fatal(err)
		}
		i = *p
	})
	return i
}

// open opens an export as the well-behaved initiator.
func (r *rig) open(addr aoe.Addr) *initiator.Disk {
	r.t.Helper()
	var d *initiator.Disk
	var err error
	r.ns.Do(func() {
		d, err = initiator.Open(context.Background(), addr, initiator.Options{Interfaces: []string{"vb"}, Timeout: 60 * time.Second})
	})
	if err != nil {
		r.t.Fatalf("opening %v: %v", addr, err)
	}
	r.t.Cleanup(func() { _ = d.Close() })
	return d
}

// counts returns what the daemon has counted on its interface: frames that it took, and frames that were lost because it was not fast enough.
func (r *rig) counts() (taken, lost uint64) {
	r.t.Helper()
	c := control.NewClient(r.socket)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := c.Stats(ctx)
	if err != nil || len(s.Interfaces) != 1 {
		r.alive()
		r.t.Fatalf("statistics: %+v, %v", s, err)
	}
	return s.Interfaces[0].RxFrames, s.Interfaces[0].KernelDrops
}

// configString is what an export's config string is.
func (r *rig) configString(addr aoe.Addr) string {
	r.t.Helper()
	c := control.NewClient(r.socket)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	e, err := c.Export(ctx, addr)
	if err != nil {
		r.t.Fatal(err)
	}
	return e.ConfigString
}

// facts are what is watched of the daemon's process.
type facts struct {
	rss     int64 // bytes
	fds     int
	threads int
	cpu     time.Duration
}

func (r *rig) facts() facts {
	r.t.Helper()
	dir := fmt.Sprintf("/proc/%d/", r.cmd.Process.Pid)
	b, err := os.ReadFile(dir + "stat")
	if err != nil {
		r.alive()
		r.t.Fatal(err)
	}
	stat := string(b)
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+2:]) // f[0] is the third field of proc(5)
	num := func(i int) int64 {
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			r.t.Fatal(err)
		}
		return n
	}
	list, err := os.ReadDir(dir + "fd")
	if err != nil {
		r.t.Fatal(err)
	}
	return facts{rss: num(21) * int64(os.Getpagesize()), fds: len(list), threads: int(num(17)), cpu: time.Duration(num(11)+num(12)) * (time.Second / 100)}
}

func (f facts) String() string {
	return fmt.Sprintf("%.1f MiB, %d descriptors, %d threads, %v of processor time", float64(f.rss)/(1<<20), f.fds, f.threads, f.cpu)
}

// sender sends frames from an interface.
type sender struct {
	fd   int
	to   unix.SockaddrLinklayer
	sent int
}

func (r *rig) sender(name string) *sender {
	r.t.Helper()
	s := &sender{to: unix.SockaddrLinklayer{Ifindex: r.iface(name).Index, Protocol: 0xa288}} // EtherType 0x88a2 in network byte order
	r.ns.Do(func() {
		var err error
		if s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			r.t.Fatal(err)
		}
	})
	r.t.Cleanup(func() { _ = unix.Close(s.fd) })
	return s
}

// send sends a frame, and waits while there is no room.
func (s *sender) send(b []byte) error {
	for {
		err := unix.Sendto(s.fd, b, 0, &s.to)
		switch err {
		case nil:
			s.sent++
			return nil
		case unix.ENOBUFS, unix.EAGAIN, unix.EINTR:
			time.Sleep(50 * time.Microsecond)
		default:
			return fmt.Errorf("sending %d bytes: %w", len(b), err)
		}
	}
}

// json is what docs/evidence.md tells of a process.
func (f facts) json() map[string]any {
	return map[string]any{"mib": float64(f.rss) / (1 << 20), "descriptors": f.fds, "threads": f.threads}
}
