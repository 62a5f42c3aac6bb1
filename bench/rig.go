package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wire makes pair n of interfaces; undo removes it.
func wire(n, mtu int) (undo func(), err error) {
	attrs := netlink.NewLinkAttrs()
	near, far := realName(targetIf, n), realName(clientIf, n)
	attrs.Name, attrs.MTU, attrs.HardwareAddr = near, mtu, []byte{2, 0, 0, 0xbe, byte(n), 1}
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: far, PeerMTU: uint32(mtu), PeerHardwareAddr: []byte{2, 0, 0, 0xbe, byte(n), 2}}
	if err := netlink.LinkAdd(pair); err != nil {
		return nil, fmt.Errorf("making the veth pair %s-%s: %w", near, far, err)
	}
	undo = func() { _ = netlink.LinkDel(pair) } // the namespace ends soon anyway
	for _, name := range []string{near, far} {
		// A kernel without IPv6 has no such file, and then nothing sends.
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
		l, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetUp(l)
		}
		if err != nil {
			undo()
			return nil, fmt.Errorf("taking up %s: %w", name, err)
		}
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		l, err := netlink.LinkByName(near)
		if err == nil && l.Attrs().OperState == netlink.OperUp {
			return undo, nil
		}
		if time.Now().After(end) {
			undo()
			return nil, fmt.Errorf("interface %s has no carrier after five seconds", near)
		}
	}
}

// onCPU runs f with the calling thread, which must be locked, on one CPU: programs that f starts inherit it. A negative cpu
// changes nothing.
func onCPU(cpu int, f func() error) error {
	if cpu < 0 {
		return f()
	}
	var old, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		return err
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("running on CPU %d: %w", cpu, err)
	}
	err := f()
	return errors.Join(err, unix.SchedSetaffinity(0, &old))
}

// process is a target that runs.
type process struct {
	cmd  *exec.Cmd
	what string
	log  string // file with what it says
	done chan struct{}
}

// start starts a target on a CPU, with its output in the file log.
func start(cpu int, log string, argv []string, env ...string) (*process, error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // the child has its own
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it must not outlive us
	if err := onCPU(cpu, cmd.Start); err != nil {
		return nil, fmt.Errorf("starting %s: %w", argv[0], err)
	}
	p := &process{cmd: cmd, what: filepath.Base(argv[0]), log: log, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is asked from ProcessState
		close(p.done)
	}()
	return p, nil
}

// gone is an error when the process ended by itself.
func (p *process) gone() error {
	select {
	case <-p.done:
		b, _ := os.ReadFile(p.log)
		return fmt.Errorf("%s ended by itself (%v); the end of its output: %s", p.what, p.cmd.ProcessState, tail(b))
	default:
		return nil
	}
}

// stop ends the process.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails when it is gone, which is fine
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// tail returns the last 300 bytes in one line.
func tail(b []byte) string {
	b = bytes.TrimSpace(b)
	b = b[max(0, len(b)-300):]
	return strings.Join(strings.Fields(string(b)), " ")
}

// argv replaces the placeholders. The interfaces are those of the pairs from number first on.
func argv(program string, args []string, image, state string, first int) []string {
	out := []string{program}
	for _, a := range args {
		a = strings.ReplaceAll(strings.ReplaceAll(a, "%image", image), "%state", state)
		out = append(out, interfaces(a, first))
	}
	return out
}

// placeholder is one for an interface.
var placeholder = regexp.MustCompile("(" + targetIf + "|" + clientIf + ")[0-9]")

// interfaces replaces the placeholders of interfaces by names: those of the pairs from number first on.
func interfaces(s string, first int) string {
	return placeholder.ReplaceAllStringFunc(s, func(name string) string {
		end := len(name) - 1
		return realName(name[:end], first+int(name[end]-'0'))
	})
}

// realName is what an interface is called: "t12" or "h12".
func realName(which string, n int) string { return fmt.Sprint(which[1:], n) }
