package netwatch

import (
	"errors"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inNamespace runs f in a network namespace of its own, which ends with the thread.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		defer func() { failed <- err }()
		if err == nil {
			f()
		}
	}()
	if err := <-failed; err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("needs network namespaces: %v", err)
		}
		t.Skipf("needs network namespaces: %v", err)
	}
}

// until waits for a snapshot that suits, as the daemon does: by notifications alone.
func until(t *testing.T, w *Watcher, what string, ok func(map[string]Iface) bool) {
	t.Helper()
	limit := time.After(10 * time.Second)
	for {
		m := map[string]Iface{}
		for _, i := range w.Snapshot() {
			m[i.Name] = i
		}
		if ok(m) {
			return
		}
		select {
		case <-w.Changed():
		case <-limit:
			t.Errorf("%s was not noticed: %+v", what, m)
			return
		}
	}
}

func TestChangesAreSeen(t *testing.T) {
	inNamespace(t, func() {
		w, err := New()
		if err != nil {
			t.Error(err)
			return
		}
		defer w.Close()
		do := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
		}
		until(t, w, "loopback", func(m map[string]Iface) bool { return m["lo"].Loopback && !m["lo"].Ethernet })
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "a0", MTU: 1500}, PeerName: "b0"}
		do(netlink.LinkAdd(veth))
		until(t, w, "new interface", func(m map[string]Iface) bool {
			return m["a0"].MTU == 1500 && m["a0"].Ethernet && !m["a0"].Up && m["b0"].Index != 0
		})
		a, err := netlink.LinkByName("a0")
		do(err)
		b, err := netlink.LinkByName("b0")
		do(err)
		do(netlink.LinkSetUp(a))
		until(t, w, "switched on without carrier", func(m map[string]Iface) bool { return m["a0"].Admin && !m["a0"].Up })
		do(netlink.LinkSetUp(b))
		until(t, w, "up", func(m map[string]Iface) bool { return m["a0"].Up && m["a0"].Ups == 1 })
		do(netlink.LinkSetMTU(a, 9000))
		until(t, w, "MTU", func(m map[string]Iface) bool { return m["a0"].MTU == 9000 })
		do(netlink.LinkSetHardwareAddr(a, net.HardwareAddr{2, 0, 0, 0, 0, 7}))
		until(t, w, "address", func(m map[string]Iface) bool { return m["a0"].MAC.String() == "02:00:00:00:00:07" })
		do(netlink.LinkSetDown(b))
		until(t, w, "carrier lost", func(m map[string]Iface) bool { return m["a0"].Admin && !m["a0"].Up })
		do(netlink.LinkSetUp(b))
		until(t, w, "up again", func(m map[string]Iface) bool { return m["a0"].Up && m["a0"].Ups == 2 })
		do(netlink.LinkSetDown(a))
		do(netlink.LinkSetName(a, "c0"))
		until(t, w, "name", func(m map[string]Iface) bool {
			_, old := m["a0"]
			return !old && m["c0"].Index == a.Attrs().Index
		})
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
		do(netlink.LinkAdd(bridge))
		do(netlink.LinkSetMaster(b, bridge))
		do(netlink.LinkSetNoMaster(b))
		do(netlink.LinkDel(bridge))
		until(t, w, "bridge gone", func(m map[string]Iface) bool {
			_, br := m["br0"]
			return !br
		})
		if _, ok := find(w, "b0"); !ok {
			t.Error("a port that left its bridge was taken for deleted")
		}
		do(netlink.LinkDel(a))
		until(t, w, "deletion", func(m map[string]Iface) bool { return len(m) == 1 })
	})
}

// TestShortUpsAreCounted flaps a carrier faster than anybody looks.
func TestShortUpsAreCounted(t *testing.T) {
	inNamespace(t, func() {
		w, err := New()
		if err != nil {
			t.Error(err)
			return
		}
		defer w.Close()
		do := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
		}
		do(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "a0"}, PeerName: "b0"}))
		a, err := netlink.LinkByName("a0")
		do(err)
		b, err := netlink.LinkByName("b0")
		do(err)
		do(netlink.LinkSetUp(b))
		for range 3 {
			do(netlink.LinkSetUp(a))
			for running := false; !running; time.Sleep(time.Millisecond) { // before that the kernel has told nobody
				l, err := netlink.LinkByName("a0")
				do(err)
				running = err != nil || l.Attrs().RawFlags&unix.IFF_RUNNING != 0
			}
			do(netlink.LinkSetDown(a))
		}
		until(t, w, "three ups", func(m map[string]Iface) bool { return !m["a0"].Up && m["a0"].Ups == 3 })
	})
}

// TestLostMessages makes the socket overflow: the view must be right again afterwards.
func TestLostMessages(t *testing.T) {
	inNamespace(t, func() {
		w, err := New()
		if err != nil {
			t.Error(err)
			return
		}
		defer w.Close()
		if err := errors.Join(w.events.SetReceiveBufferSize(1, true)); err != nil {
			t.Error(err)
		}
		w.mu.Lock() // the listener stands still at its first message
		for range 40 {
			if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "a0"}, PeerName: "b0"}); err != nil {
				t.Error(err)
			}
			l, err := netlink.LinkByName("a0")
			if err == nil {
				err = netlink.LinkDel(l)
			}
			if err != nil {
				t.Error(err)
			}
		}
		err = netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "last0"}, PeerName: "last1"})
		w.mu.Unlock()
		if err != nil {
			t.Error(err)
		}
		until(t, w, "interfaces after a loss", func(m map[string]Iface) bool { return len(m) == 3 && m["last0"].Index != 0 && m["last1"].Index != 0 })
	})
}

func find(w *Watcher, name string) (Iface, bool) {
	for _, i := range w.Snapshot() {
		if i.Name == name {
			return i, true
		}
	}
	return Iface{}, false
}

// TestListingIsNotStale: a change that comes while all interfaces are being listed is not undone by what the list says.
func TestListingIsNotStale(t *testing.T) {
	inNamespace(t, func() {
		w, err := New()
		if err != nil {
			t.Error(err)
			return
		}
		defer w.Close()
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			t.Error(err)
			return
		}
		for round := range 300 {
			listed := make(chan error)
			if err := netlink.LinkSetDown(lo); err != nil {
				t.Error(err)
				return
			}
			go func() { listed <- w.Resync() }()
			if err := errors.Join(netlink.LinkSetUp(lo), <-listed); err != nil {
				t.Error(err)
				return
			}
			end := time.Now().Add(2 * time.Second)
			for i, _ := find(w, "lo"); !i.Admin; i, _ = find(w, "lo") {
				if time.Now().After(end) {
					t.Errorf("round %d: it is up, and the view has it down for good", round)
					return
				}
				time.Sleep(100 * time.Microsecond)
			}
		}
	})
}
