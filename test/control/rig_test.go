// Package control_test holds the commands that control a running daemon against a real one: the binary in a network namespace, an
// initiator at the other end of the wire, and the socket between them and goaoe add, rm, ls, set and the others.
package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
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

// rig is a daemon on the interface va of a namespace, whose other end vb is the initiator's.
type rig struct {
	t      *testing.T
	ns     *testnet.NS
	bin    string
	dir    string
	file   string // the configuration
	socket string
	flags  []string // of goaoe serve
	daemon *exec.Cmd
	log    *program.Log
	exited chan error
}

// newRig starts a daemon whose configuration has the rest behind [control] and [defaults].
func newRig(t *testing.T, rest string) *rig {
	t.Helper()
	r := newStage(t)
	r.configure(rest)
	r.start()
	t.Cleanup(func() {
		r.end(unix.SIGTERM)
		if t.Failed() {
			t.Logf("log of the daemon:\n%s", r.log)
		}
	})
	return r
}

// newStage makes everything but the daemon.
func newStage(t *testing.T) *rig {
	t.Helper()
	need.Root(t)
	need.Linux(t, "")
	bin := program.Goaoe(t)
	dir, err := os.MkdirTemp("", "goaoe") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, bin: bin, dir: dir, file: filepath.Join(dir, "goaoe.toml"), socket: filepath.Join(dir, "s"), log: &program.Log{}}
	r.ns, _, _ = testnet.Pair(t, 1500)
	return r
}

// configure writes the configuration file.
func (r *rig) configure(rest string) {
	r.t.Helper()
	head := fmt.Sprintf("[global]\nstate-directory = %q\n[control]\nsocket = %q\n[defaults]\ninterfaces = [\"va\"]\n", r.dir+"/state", r.socket)
	if err := os.WriteFile(r.file, []byte(head+rest), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// start starts the daemon and waits until it is ready.
func (r *rig) start() {
	r.t.Helper()
	r.log, r.exited = &program.Log{}, make(chan error, 1)
	r.daemon = exec.Command(r.bin, append([]string{"serve", "-c", r.file}, r.flags...)...)
	r.daemon.Stderr = r.log
	r.ns.Start(r.daemon)
	d := r.daemon
	exited := r.exited
	go func() { exited <- d.Wait() }()
	r.until("the daemon is ready", func() bool { return strings.Contains(r.log.String(), "goaoe: ready") })
}

// end ends the daemon by a signal.
func (r *rig) end(s syscall.Signal) {
	if r.daemon == nil {
		return
	}
	_ = r.daemon.Process.Signal(s)
	select {
	case <-r.exited:
	case <-time.After(20 * time.Second):
		_ = r.daemon.Process.Kill()
		<-r.exited
		r.t.Errorf("the daemon did not end by %v", s)
	}
	r.daemon = nil
}

// until waits for a condition.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%s: not within 20 s\nlog:\n%s", what, r.log)
		}
	}
}

// result is what a command printed.
type result struct {
	code           int
	stdout, stderr string
}

// try runs a command of goaoe.
func (r *rig) try(args ...string) result {
	r.t.Helper()
	return r.as(nil, args...)
}

// as is try by another user.
func (r *rig) as(user *syscall.Credential, args ...string) result {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	c := exec.CommandContext(ctx, r.bin, args...)
	c.Dir, c.Stdout, c.Stderr = r.dir, &stdout, &stderr
	c.Env = append(os.Environ(), control.SocketEnv+"="+r.socket)
	if user != nil {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	}
	var exit *exec.ExitError
	if err := c.Run(); err != nil && !errors.As(err, &exit) {
		r.t.Fatalf("goaoe %s: %v", strings.Join(args, " "), err)
	}
	return result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// want runs a command and checks its exit status and what it prints; the patterns are regular expressions, "" is nothing at all.
func (r *rig) want(code int, stdout, stderr string, args ...string) result {
	r.t.Helper()
	got := r.try(args...)
	r.check(got, code, stdout, stderr, args...)
	return got
}

func (r *rig) check(got result, code int, stdout, stderr string, args ...string) {
	r.t.Helper()
	fits := func(pattern, text string) bool {
		if pattern == "" {
			return text == ""
		}
		return regexp.MustCompile(pattern).MatchString(text)
	}
	if got.code != code || !fits(stdout, got.stdout) || !fits(stderr, got.stderr) {
		r.t.Errorf("goaoe %s: status %d, want %d\nstdout %q\n  want %q\nstderr %q\n  want %q", strings.Join(args, " "), got.code, code, got.stdout, stdout,
			got.stderr, stderr)
	}
}

// exports returns what goaoe ls --json prints, by address.
func (r *rig) exports() map[string]control.Export {
	r.t.Helper()
	got := r.try("ls", "--json")
	var list []control.Export
	if err := json.Unmarshal([]byte(got.stdout), &list); err != nil || got.code != 0 {
		r.t.Fatalf("goaoe ls --json: status %d, %v, stdout %q, stderr %q", got.code, err, got.stdout, got.stderr)
	}
	out := map[string]control.Export{}
	for _, e := range list {
		out[e.Address] = e
	}
	return out
}

// image makes a file of a size in bytes.
func (r *rig) image(name string, size int64) string {
	r.t.Helper()
	name = filepath.Join(r.dir, name)
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Truncate(name, size); err != nil {
		r.t.Fatal(err)
	}
	return name
}

// open opens an export at the initiator's end.
func (r *rig) open(address string) *initiator.Disk {
	r.t.Helper()
	return r.openFor(address, 20*time.Second)
}

// openFor is open with a time after which a request that is not answered fails.
func (r *rig) openFor(address string, timeout time.Duration) *initiator.Disk {
	r.t.Helper()
	addr, err := aoe.ParseAddr(address)
	if err != nil {
		r.t.Fatal(err)
	}
	var d *initiator.Disk
	r.ns.Do(func() {
		d, err = initiator.Open(context.Background(), addr, initiator.Options{Interfaces: []string{"vb"}, Timeout: timeout})
	})
	if err != nil {
		r.t.Fatalf("opening %s: %v", address, err)
	}
	r.t.Cleanup(func() { _ = d.Close() })
	return d
}

// send sends a request to a target from vb and returns the reply.
func (r *rig) send(address string, cmd aoe.Command, body func(b []byte) (int, error)) []byte {
	r.t.Helper()
	addr, _ := aoe.ParseAddr(address)
	var reply []byte
	r.ns.Do(func() {
		protocol := bits.ReverseBytes16(aoe.EtherType)
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(protocol))
		if err != nil {
			r.t.Fatal(err)
		}
		defer unix.Close(fd)
		vb, err := net.InterfaceByName("vb")
		if err != nil {
			r.t.Fatal(err)
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: vb.Index}); err != nil {
			r.t.Fatal(err)
		}
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
		frame := make([]byte, 1514)
		h := aoe.Header{Dst: aoe.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, Src: aoe.MAC(vb.HardwareAddr), Version: aoe.Version, Addr: addr, Cmd: cmd, Tag: 0x60a0e}
		if _, err := h.Encode(frame); err != nil {
			r.t.Fatal(err)
		}
		n, err := body(frame)
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err := unix.Write(fd, frame[:max(n, 60)]); err != nil {
			r.t.Fatal(err)
		}
		for {
			b := make([]byte, 2048)
			n, err := unix.Read(fd, b)
			if err != nil {
				r.t.Fatalf("%v of %s: no reply: %v", cmd, address, err)
			}
			got, err := aoe.DecodeHeader(b[:n])
			if err == nil && got.Flags&aoe.FlagResponse != 0 && got.Tag == h.Tag && got.Addr == addr {
				reply = b[:n]
				return
			}
		}
	})
	return reply
}
