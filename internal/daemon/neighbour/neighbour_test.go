package neighbour

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"goaoe/aoe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onPair runs f in a network namespace that has the two ends of a cable, a0 and b0.
func onPair(t *testing.T, f func(a, b *netlink.LinkAttrs)) {
	t.Helper()
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the namespace ends with the thread
		var err error
		defer func() { failed <- err }()
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		if err = netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "a0"}, PeerName: "b0"}); err != nil {
			return
		}
		var at [2]*netlink.LinkAttrs
		for i, n := range []string{"a0", "b0"} {
			l, lerr := netlink.LinkByName(n)
			if err = errors.Join(lerr, netlink.LinkSetUp(l)); err != nil {
				return
			}
			at[i] = l.Attrs()
		}
		for _, a := range at { // what is sent before there is a carrier is lost
			for running := false; !running; time.Sleep(time.Millisecond) {
				l, lerr := netlink.LinkByName(a.Name)
				if err = lerr; err != nil {
					return
				}
				running = l.Attrs().RawFlags&unix.IFF_RUNNING != 0
			}
		}
		f(at[0], at[1])
	}()
	if err := <-failed; err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("needs network namespaces: %v", err)
		}
		t.Skipf("needs network namespaces: %v", err)
	}
}

func TestProbeHearsTheOther(t *testing.T) {
	onPair(t, func(a, b *netlink.LinkAttrs) {
		ask, err := Open(a.Index, aoe.MAC(a.HardwareAddr))
		if err != nil {
			t.Error(err)
			return
		}
		defer ask.Close()
		other, err := Open(b.Index, aoe.MAC(b.HardwareAddr))
		if err != nil {
			t.Error(err)
			return
		}
		done := make(chan struct{})
		defer func() { _ = other.Close(); <-done }()
		served := aoe.Addr{Major: 258, Minor: 3}
		go func() { // a target of one address that answers twice, and to queries with wrong tags and flags, too
			defer close(done)
			buf := make([]byte, 2048)
			for {
				n, err := other.file.Read(buf)
				if err != nil {
					return
				}
				f := slices.Clone(buf[:n])
				if n < frameMin || f[14] != 0x10 || binary.BigEndian.Uint32(f[20:])>>31 != 1 {
					t.Errorf("a query that is not one: % x", f)
					continue
				}
				copy(f[6:], b.HardwareAddr)
				if (aoe.Addr{Major: binary.BigEndian.Uint16(f[16:]), Minor: f[18]}) != served {
					f[23]++ // an answer to somebody else
				}
				f[14] = 0x18
				for range 2 {
					if _, err := other.file.Write(f); err != nil {
						t.Error(err)
					}
				}
				_, _ = other.file.Write(f[:20])
			}
		}()
		got, err := ask.Ask([]aoe.Addr{{Major: 1, Minor: 1}, served, {Major: 258, Minor: 4}}, Wait)
		want := []Answer{{served, aoe.MAC(b.HardwareAddr)}}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("answers %v, %v; want %v", got, err, want)
		}
	})
}

func TestProbeOfASilentWire(t *testing.T) {
	onPair(t, func(a, b *netlink.LinkAttrs) {
		p, err := Open(a.Index, aoe.MAC(a.HardwareAddr))
		if err != nil {
			t.Error(err)
			return
		}
		defer p.Close()
		l, _ := netlink.LinkByName("a0")
		if err := netlink.LinkSetDown(l); err != nil {
			t.Error(err)
		}
		if got, err := p.Ask([]aoe.Addr{{Major: 1, Minor: 1}}, 20*time.Millisecond); err != nil || len(got) != 0 {
			t.Errorf("on an interface that is down: %v, %v", got, err)
		}
		if _, err := Open(12345, aoe.MAC{}); err == nil {
			t.Error("a socket was bound to an interface that does not exist")
		}
	})
}

func TestParse(t *testing.T) {
	q := query(aoe.MAC{2, 0, 0, 0, 0, 1}, aoe.Addr{Major: 7, Minor: 1}, 0x80000001)
	if _, ok := parse(q, 0x80000001); ok {
		t.Error("a query was taken for an answer")
	}
	q[14] |= flagR
	for n := range q {
		if _, ok := parse(q[:n], 0x80000001); ok != (n >= headerLen) {
			t.Errorf("%d bytes: %v", n, ok)
		}
	}
	if _, ok := parse(q, 0x80000002); ok {
		t.Error("an answer to another query was taken")
	}
}

func TestClaim(t *testing.T) {
	onPair(t, func(a, b *netlink.LinkAttrs) {
		addr := aoe.Addr{Major: 0, Minor: 1}
		c, err := NewClaim(a.Index, addr)
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := NewClaim(a.Index, addr); !errors.Is(err, ErrClaimed) {
			t.Errorf("a second claim: %v", err)
		}
		d, err := NewClaim(b.Index, addr)
		if err != nil {
			t.Errorf("the same address on another interface: %v", err)
		} else {
			d.Close()
		}
		// Another namespace is another machine, as far as this goes.
		onPair(t, func(*netlink.LinkAttrs, *netlink.LinkAttrs) {
			e, err := NewClaim(a.Index, addr)
			if err != nil {
				t.Errorf("in another namespace: %v", err)
				return
			}
			e.Close()
		})
		c.Close()
		if c, err = NewClaim(a.Index, addr); err != nil {
			t.Errorf("a claim that was given back: %v", err)
		} else {
			c.Close()
		}
	})
}
