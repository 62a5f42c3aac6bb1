// Package testnet makes networks for tests: a namespace of its own with Ethernet interfaces joined in pairs (veth), so that
// no test touches an interface of the machine. Tests only.
package testnet

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// NS is a network namespace that exists as long as the test.
type NS struct {
	t      testing.TB
	handle netns.NsHandle
}

// New makes an empty namespace with its loopback up. Where there is no permission for it the test is skipped; in CI it fails.
// The namespace goes away at the end of the test, with everything in it, once the test has closed its sockets.
func New(t testing.TB) *NS {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := netns.Get()
	if err != nil {
		t.Fatalf("this thread's network namespace: %v", err)
	}
	defer func() { _ = here.Close() }()
	h, err := netns.New()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("making a network namespace: %v", err)
		}
		t.Skipf("needs root to make a network namespace: %v", err)
	}
	if err := netns.Set(here); err != nil {
		_ = h.Close()
		panic(fmt.Sprintf("a thread is stuck in the wrong network namespace: %v", err)) // no test after it could be trusted
	}
	ns := &NS{t: t, handle: h}
	t.Cleanup(func() { _ = ns.handle.Close() })
	ns.Up("lo")
	return ns
}

// Pair makes a namespace with two interfaces a and b that are joined, up and ready, with the addresses MACs(a and b).
func Pair(t testing.TB, mtu int) (ns *NS, a, b string) {
	t.Helper()
	ns = New(t)
	a, b = "va", "vb"
	ns.Veth(a, b, mtu)
	return ns, a, b
}

// Do runs f on a thread that is in the namespace: sockets that f opens belong to it for good. f may call t.Fatal. Goroutines that
// f starts are elsewhere; programs that f starts (os/exec) are inside.
func (ns *NS) Do(f func()) {
	ns.t.Helper()
	done := make(chan bool)
	go func() {
		ok := false
		defer func() { done <- ok }() // also when f ends the goroutine by t.Fatal
		// The thread is not unlocked: it ends with this goroutine, and nobody else ever runs in the namespace by mistake.
		runtime.LockOSThread()
		if err := netns.Set(ns.handle); err != nil {
			ns.t.Errorf("entering the network namespace: %v", err)
			return
		}
		f()
		ok = true
	}()
	if !<-done {
		ns.t.FailNow()
	}
}

// Veth adds a pair of joined interfaces with an MTU (0 means 1500), takes them up and waits until both can carry frames.
// IPv6 is off on them, so that nothing but the test sends. The addresses are 02:00:5e:10 and two bytes made of the names.
func (ns *NS) Veth(a, b string, mtu int) {
	ns.t.Helper()
	if mtu == 0 {
		mtu = 1500
	}
	ns.Do(func() {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.HardwareAddr = a, mtu, mac(a)
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: b, PeerMTU: uint32(mtu), PeerHardwareAddr: mac(b)}); err != nil {
			ns.t.Fatalf("adding the interfaces %s and %s: %v", a, b, err)
		}
		for _, name := range []string{a, b} {
			// A kernel without IPv6 has no such file, and then needs none.
			_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
		}
	})
	ns.Up(a)
	ns.Up(b)
	ns.WaitRunning(a)
	ns.WaitRunning(b)
}

func mac(name string) []byte {
	m := []byte{0x02, 0x00, 0x5e, 0x10, 0, 0}
	for _, c := range []byte(name) {
		m[4], m[5] = m[4]*31+m[5], m[5]*17+c
	}
	return m
}

// Link calls f with the interface and fails the test when f does.
func (ns *NS) Link(name, doing string, f func(l netlink.Link) error) {
	ns.t.Helper()
	ns.Do(func() {
		l, err := netlink.LinkByName(name)
		if err == nil {
			err = f(l)
		}
		if err != nil {
			ns.t.Fatalf("%s the interface %s: %v", doing, name, err)
		}
	})
}

// Up takes an interface up.
func (ns *NS) Up(name string) {
	ns.t.Helper()
	ns.Link(name, "taking up", netlink.LinkSetUp)
}

// Down takes an interface down.
func (ns *NS) Down(name string) {
	ns.t.Helper()
	ns.Link(name, "taking down", netlink.LinkSetDown)
}

// SetMTU changes an interface's MTU.
func (ns *NS) SetMTU(name string, mtu int) {
	ns.t.Helper()
	ns.Link(name, "setting the MTU of", func(l netlink.Link) error { return netlink.LinkSetMTU(l, mtu) })
}

// Delete removes an interface; the other end of a pair goes with it.
func (ns *NS) Delete(name string) {
	ns.t.Helper()
	ns.Link(name, "removing", netlink.LinkDel)
}

// WaitRunning waits until an interface is up with a carrier; it fails the test after ten seconds.
func (ns *NS) WaitRunning(name string) {
	ns.t.Helper()
	ns.Link(name, "waiting for", func(netlink.Link) error {
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			l, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			if l.Attrs().OperState == netlink.OperUp {
				return nil
			}
			if time.Now().After(end) {
				return fmt.Errorf("no carrier after ten seconds: state %v", l.Attrs().OperState)
			}
		}
	})
}
