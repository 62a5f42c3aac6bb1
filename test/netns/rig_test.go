// Package netns holds the conformance list against the real binary: every frame goes over a veth pair in a network namespace
// that the test makes, and the answer is looked at byte by byte.
package netns

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"goaoe/test/need"
	"goaoe/test/program"
)

type mac = [6]byte

var (
	broadcast = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	hostI     = mac{2, 0, 0, 0, 0, 0x01} // the initiator I of the list
	hostJ     = mac{2, 0, 0, 0, 0, 0x0b}
	hostA     = mac{2, 0, 0, 0, 0, 0x0c}
	hostB     = mac{2, 0, 0, 0, 0, 0x0d}
	hostC     = mac{2, 0, 0, 0, 0, 0x0e}
	hostD     = mac{2, 0, 0, 0, 0, 0x0f}
	targetT   = mac{2, 0, 0, 0, 0, 0xaa}
)

func TestMain(m *testing.M) {
	os.Setenv("GOAOE_SOCKET", "off") // several targets run at the same time
	program.Main(m)
}

// rig is a namespace with veth pairs (t0-h0, t1-h1: the target's and the host's ends) and goaoe serving in it.
type rig struct {
	t     *testing.T
	dir   string
	do    chan func()
	hosts []*host
	cmd   *exec.Cmd
	log   *program.Log
	cfg   string
	exit  chan error
	tag   uint32
}

// host is the other end of one of the target's interfaces.
type host struct {
	r    *rig
	fd   int
	name string
	t    mac // the target's MAC there
	mtu  int
}

// newRig makes the namespace with n veth pairs of the given MTU. Nothing is served yet.
func newRig(t *testing.T, n, mtu int) *rig {
	t.Helper()
	need.Root(t)
	r := &rig{t: t, dir: t.TempDir(), do: make(chan func()), log: &program.Log{}}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread and the namespace end together
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ready <- fmt.Errorf("unshare: %w", err)
			return
		}
		ready <- nil
		for f := range r.do {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.stop(); close(r.do) })
	r.in(func() error {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0o644); err != nil && !os.IsNotExist(err) {
			return err
		}
		for i := 0; i < n; i++ {
			tm := targetT
			tm[5] += byte(i)
			h := &host{r: r, name: fmt.Sprintf("h%d", i), t: tm, mtu: mtu}
			if err := veth(fmt.Sprintf("t%d", i), h.name, tm, mtu); err != nil {
				return err
			}
			if err := h.open(); err != nil {
				return err
			}
			r.hosts = append(r.hosts, h)
		}
		return nil
	})
	return r
}

func veth(a, b string, m mac, mtu int) error {
	la := netlink.NewLinkAttrs()
	la.Name, la.MTU, la.HardwareAddr = a, mtu, m[:]
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: la, PeerName: b}); err != nil {
		return fmt.Errorf("veth %s: %w", a, err)
	}
	for _, name := range []string{a, b} {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetMTU(l, mtu); err != nil {
			return err
		}
		if err := netlink.LinkSetUp(l); err != nil {
			return err
		}
	}
	return nil
}

// in runs f in the namespace.
func (r *rig) in(f func() error) {
	r.t.Helper()
	err := make(chan error)
	r.do <- func() { err <- f() }
	if e := <-err; e != nil {
		r.t.Fatal(e)
	}
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

func (h *host) open() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
	if err != nil {
		return err
	}
	l, err := netlink.LinkByName(h.name)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20)
	h.fd = fd
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: l.Attrs().Index})
}

// image makes a file of the given size in the rig's folder and returns its path; each sector starts with its number.
func (r *rig) image(name string, bytes int64) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	f, err := os.Create(path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(bytes); err != nil {
		r.t.Fatal(err)
	}
	var b [512]byte
	for i := int64(0); i < min(bytes/512, 4096); i++ {
		binary.BigEndian.PutUint64(b[:], uint64(i)|1<<60)
		if _, err := f.WriteAt(b[:], i*512); err != nil {
			r.t.Fatal(err)
		}
	}
	return path
}

// serve starts goaoe with a configuration file (STATE is replaced by the state directory) and waits until it is ready.
func (r *rig) serve(config string) {
	r.t.Helper()
	r.write(config)
	r.start("serve", "-c", r.cfg)
	r.waitLog("goaoe: ready")
	r.drain()
}

// write writes the configuration file.
func (r *rig) write(config string) {
	r.t.Helper()
	if !strings.Contains(config, "[global]") {
		config = "[global]\n" + config
	}
	if !strings.Contains(config, "[defaults]\n") {
		config += "\n[defaults]\n"
	}
	config = strings.Replace(config, "[defaults]\n", "[defaults]\n"+settings.defaults, 1)
	config = strings.Replace(config, "[global]\n", "[global]\n"+settings.global, 1)
	config = strings.Replace(config, "[global]\n", fmt.Sprintf("[global]\nstate-directory = %q\nduplicate-check = false\n", filepath.Join(r.dir, "state")), 1)
	r.cfg = filepath.Join(r.dir, "goaoe.toml")
	if err := os.WriteFile(r.cfg, []byte(config), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// start starts goaoe in the namespace.
func (r *rig) start(args ...string) {
	r.t.Helper()
	bin := program.Goaoe(r.t)
	c := exec.Command(bin, args...)
	c.Stderr, c.Stdout = r.log, r.log
	c.Env = append(os.Environ(), "GOTRACEBACK=all")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r.in(c.Start)
	r.cmd, r.exit = c, make(chan error, 1)
	go func(c *exec.Cmd, exit chan error) { exit <- c.Wait() }(c, r.exit)
}

// waitLog waits until the log has a text.
func (r *rig) waitLog(text string) {
	r.t.Helper()
	r.waitLogFor(text, 20*time.Second)
}

// waitLogFor is waitLog with a patience of its own.
func (r *rig) waitLogFor(text string, patience time.Duration) {
	r.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if strings.Contains(r.log.String(), text) {
			return
		}
		select {
		case err := <-r.exit:
			r.exit <- err
			r.t.Fatalf("goaoe ended (%v):\n%s", err, r.log.String())
		default:
		}
	}
	r.t.Fatalf("%q does not appear in the log:\n%s", text, r.log.String())
}

// kill ends goaoe at once.
func (r *rig) kill() {
	if r.cmd != nil {
		_ = r.cmd.Process.Kill()
		<-r.exit
		r.cmd = nil
	}
}

// stop ends goaoe properly; it must exit with 0 and must not have printed a panic.
func (r *rig) stop() {
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-r.exit:
		if err != nil {
			r.t.Errorf("goaoe ended with %v:\n%s", err, r.log.String())
		}
	case <-time.After(20 * time.Second):
		r.t.Errorf("goaoe does not end:\n%s", r.log.String())
		_ = r.cmd.Process.Kill()
		<-r.exit
	}
	r.cmd = nil
	if strings.Contains(r.log.String(), "panic") {
		r.t.Errorf("a panic reached the user:\n%s", r.log.String())
	}
	for _, h := range r.hosts {
		unix.Close(h.fd)
	}
	r.hosts = nil
}

// restart ends goaoe (at once, or properly) and starts it again with the same configuration.
func (r *rig) restart(atOnce bool) {
	r.t.Helper()
	if atOnce {
		r.kill()
	} else {
		_ = r.cmd.Process.Signal(syscall.SIGTERM)
		if err := <-r.exit; err != nil {
			r.t.Fatalf("goaoe ended with %v:\n%s", err, r.log.String())
		}
		r.cmd = nil
	}
	r.log = &program.Log{}
	r.start("serve", "-c", r.cfg)
	r.waitLog("goaoe: ready")
	r.drain()
}

// drain throws away what waits at all hosts (announcements).
func (r *rig) drain() {
	for _, h := range r.hosts {
		for h.read(30*time.Millisecond) != nil {
		}
	}
}

// send sends a frame as it is.
func (h *host) send(f []byte) {
	h.r.t.Helper()
	if _, err := unix.Write(h.fd, f); err != nil {
		h.r.t.Fatalf("sending %d bytes: %v", len(f), err)
	}
}

// read returns the next frame of EtherType 0x88A2 (tagged or not) that somebody else sent, or nil after the time. A tag that the
// kernel took off is put back.
func (h *host) read(d time.Duration) []byte {
	buf := make([]byte, 70000)
	oob := make([]byte, 256)
	for end := time.Now().Add(d); ; {
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(h.fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if err != nil || n == 0 {
			continue
		}
		n, on, _, from, err := unix.Recvmsg(h.fd, buf, oob, unix.MSG_DONTWAIT)
		if err != nil {
			continue
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		f := append([]byte(nil), buf[:n]...)
		if msgs, err := unix.ParseSocketControlMessage(oob[:on]); err == nil {
			for _, m := range msgs {
				if m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= 20 {
					status := binary.NativeEndian.Uint32(m.Data)
					if status&unix.TP_STATUS_VLAN_VALID != 0 {
						tci := binary.NativeEndian.Uint16(m.Data[16:])
						f = append(f[:12:12], append([]byte{0x81, 0, byte(tci >> 8), byte(tci)}, f[12:]...)...)
					}
				}
			}
		}
		if len(f) >= 18 && (f[12] == 0x88 && f[13] == 0xa2 || f[12] == 0x81 && f[13] == 0) {
			return f
		}
	}
}

// ask sends a request and returns the reply with its tag, or nil when there is silence. After the request it sends a question
// that is always answered: when that answer is there and a moment has passed, silence is silence.
func (h *host) ask(f []byte) []byte {
	h.r.t.Helper()
	all := h.askAll(f)
	if len(all) > 1 {
		h.r.t.Fatalf("%d replies to one request", len(all))
	}
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

// askAll is ask for a request that several targets answer.
func (h *host) askAll(f []byte) [][]byte {
	h.r.t.Helper()
	h.send(f)
	var out [][]byte
	wait := 300 * time.Millisecond
	for {
		g := h.read(wait)
		if g == nil {
			return out
		}
		if len(g) >= 24 && bytes.Equal(g[20:24], f[20:24]) {
			out = append(out, g)
			wait = 40 * time.Millisecond // replies to one request come together
		}
	}
}
