package peers

import (
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"goaoe/internal/testnet"
	"goaoe/test/need"
	"goaoe/test/program"
)

// joined makes a rig whose h0 and t0 have something in between: with cable "bridge" two switches with a cable of the MTU given between
// them; with "ports" one whose ports have that MTU, so that the ends' own kernels refuse to send larger frames; else impair with these options, from the
// host (A) to the target (B).
func joined(t *testing.T, mtu int, cable string, bridgeMTU int) *rig {
	t.Helper()
	r := emptyRig(t)
	ports := mtu
	if cable == "ports" {
		ports = bridgeMTU
	}
	for _, e := range []struct{ end, ns, port string }{{"h0", r.host, "m0"}, {"t0", r.target, "m1"}} {
		command(t, "ip", "link", "add", e.end, "netns", e.ns, "mtu", fmt.Sprint(mtu), "type", "veth", "peer", "name", e.port, "netns", r.middle, "mtu", fmt.Sprint(ports))
		command(t, "ip", "-n", e.ns, "link", "set", e.end, "up")
		command(t, "ip", "-n", r.middle, "link", "set", e.port, "up")
	}
	if cable == "ports" {
		command(t, "ip", "-n", r.middle, "link", "add", "br0", "type", "bridge")
		for _, l := range []string{"m0", "m1", "br0"} {
			if l != "br0" {
				command(t, "ip", "-n", r.middle, "link", "set", l, "master", "br0")
			}
			command(t, "ip", "-n", r.middle, "link", "set", l, "up")
		}
		return r
	}
	if cable == "bridge" {
		// Two switches, and between them a cable that has the smaller MTU: so neither end is told that its frames are lost.
		command(t, "ip", "link", "add", "x0", "netns", r.middle, "mtu", fmt.Sprint(bridgeMTU), "type", "veth", "peer", "name", "x1", "netns", r.middle, "mtu", fmt.Sprint(bridgeMTU))
		for i, port := range []string{"m0", "m1"} {
			br, x := fmt.Sprintf("br%d", i), fmt.Sprintf("x%d", i)
			command(t, "ip", "-n", r.middle, "link", "add", br, "type", "bridge")
			for _, l := range []string{port, x} {
				command(t, "ip", "-n", r.middle, "link", "set", l, "master", br)
				command(t, "ip", "-n", r.middle, "link", "set", l, "up")
			}
			command(t, "ip", "-n", r.middle, "link", "set", br, "up")
		}
		return r
	}
	bin := program.Built(t, "goaoe/test/guest/impair")
	r.run(r.middle, append(append([]string{bin}, strings.Fields(cable)...), "m0", "m1")...)
	return r
}

// run starts a program in a namespace; it is ended with the test, or by the function that is returned.
func (r *rig) run(ns string, args ...string) (stop func()) {
	r.t.Helper()
	c := exec.Command("ip", append([]string{"netns", "exec", ns}, args...)...)
	var log program.Log
	c.Stdout, c.Stderr = &log, &log
	if err := testnet.Start(c); err != nil {
		r.t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			_ = c.Process.Signal(syscall.SIGTERM)
			_ = c.Wait() // it ends by the signal
			if r.t.Failed() {
				r.t.Logf("log of %s:\n%s", strings.Join(args, " "), log.String())
			}
		})
	}
	r.t.Cleanup(stop)
	return stop
}

// vblade starts Debian's vblade and waits until it answers.
func (r *rig) vblade(args ...string) (stop func()) {
	r.t.Helper()
	need.Programs(r.t, "vblade")
	stop = r.run(r.target, append([]string{"vblade"}, args...)...)
	time.Sleep(200 * time.Millisecond) // those who ask repeat themselves
	return stop
}

// goaoe runs goaoe on the host and returns its exit status and output.
func (r *rig) goaoe(args ...string) (int, string) {
	return r.do("", append([]string{r.bin}, args...)...)
}

// expect runs goaoe on the host; the status must be code and each text must be in its output.
func (r *rig) expect(code int, texts []string, args ...string) string {
	r.t.Helper()
	got, out := r.goaoe(args...)
	if got != code {
		r.t.Errorf("goaoe %s: exit status %d, want %d\n%s", strings.Join(args, " "), got, code, out)
	}
	for _, s := range texts {
		if !strings.Contains(out, s) {
			r.t.Errorf("goaoe %s: no %q in its output:\n%s", strings.Join(args, " "), s, out)
		}
	}
	return out
}

// into reads JSON.
func into[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&v); err != nil { // a line of stderr may follow
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// fake is a target made up of frames: answer gets each AoE frame on t0 and our MAC, and returns what is sent back.
func (r *rig) fake(answer func(f, mac []byte) [][]byte) {
	t := r.t
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	there, err := netns.GetFromName(r.target)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if err := netns.Set(there); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(home); err != nil {
			panic(err) // nothing else may run in this thread
		}
	}()
	const etherType = 0x88a2<<8&0xffff | 0x88a2>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, etherType)
	if err != nil {
		t.Fatal(err)
	}
	ifi, err := net.InterfaceByName("t0") // asked by this thread, so in that namespace
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: etherType, Ifindex: ifi.Index}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}); err != nil {
		t.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 1<<16)
		for {
			select {
			case <-stop:
				return
			default:
			}
			n, _, err := unix.Recvfrom(fd, buf, 0)
			if err != nil || n < 24 || buf[14]&8 != 0 {
				continue
			}
			for _, f := range answer(append([]byte(nil), buf[:n]...), ifi.HardwareAddr) {
				_, _ = unix.Write(fd, f) // the initiator repeats itself
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-ended; unix.Close(fd) })
}
