package packet

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/link/linktest"
	"goaoe/internal/sys"
	"goaoe/internal/testnet"
)

// open opens links in a namespace for the time of the test.
func open1(t testing.TB, ns *testnet.NS, name string, o Options) *Link {
	t.Helper()
	var l *Link
	ns.Do(func() {
		var err error
		if l, err = Open(name, o); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestSuite(t *testing.T) {
	for name, c := range map[string]struct {
		mtu int
		o   Options
	}{
		"1500":    {1500, Options{RingFrames: 100}},
		"9000":    {9000, Options{RingFrames: 100}},
		"payload": {9000, Options{RingFrames: 100, PayloadAlign: 4096}},
		"bypass":  {1500, Options{RingFrames: 100, QdiscBypass: true}},
		"linear":  {9000, Options{RingFrames: 100, Linear: true}},
		"aligned": {9000, Options{RingFrames: 100, Linear: true, PayloadAlign: 512}},
		"bigger":  {1500, Options{RingFrames: 100, FrameMTU: 9000}},
	} {
		t.Run(name, func(t *testing.T) {
			linktest.Run(t, func(t testing.TB) (a, b link.Link) {
				ns, na, nb := testnet.Pair(t, c.mtu)
				return open1(t, ns, na, c.o), open1(t, ns, nb, c.o)
			})
		})
	}
}

// plain is an ordinary packet socket that sends what it is given.
func plain(t *testing.T, ns *testnet.NS, ifname string) func(frame []byte) {
	t.Helper()
	fd := -1
	ns.Do(func() {
		l, err := netlink.LinkByName(ifname)
		if err != nil {
			t.Fatal(err)
		}
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: l.Attrs().Index}); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { _ = unix.Close(fd) })
	return func(frame []byte) {
		t.Helper()
		if _, err := unix.Write(fd, frame); err != nil {
			t.Fatal(err)
		}
	}
}

func tagged(frame []byte, tpid, tci uint16) []byte {
	out := append([]byte(nil), frame[:12]...)
	return append(append(out, byte(tpid>>8), byte(tpid), byte(tci>>8), byte(tci)), frame[12:]...)
}

func recv1(t *testing.T, l *Link) link.Frame {
	t.Helper()
	t.Helper()
	var f [1]link.Frame
	for end := time.Now().Add(10 * time.Second); l.Recv(f[:]) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no frame arrived in ten seconds")
		}
	}
	return f[0]
}

// TestVLAN checks that a frame for a VLAN without an interface does not arrive as if it were untagged, whatever the filter;
// and that a tag with a priority only does no harm: such a frame is of the untagged network.
func TestVLAN(t *testing.T) {
	ns, a, b := testnet.Pair(t, 1500)
	send := plain(t, ns, a)
	l := open1(t, ns, b, Options{})
	f := linktest.Frame(l.Info().MAC, aoe.MAC{2, 1, 1, 1, 1, 1}, aoe.Addr{Major: 1}, 7, 100)
	all := linktest.Frame(aoe.Broadcast, aoe.MAC{2, 1, 1, 1, 1, 1}, aoe.Addr{Major: 1}, 8, 100)
	for _, filter := range []*link.Filter{nil, {Addrs: []aoe.Addr{{Major: 1}}}} {
		if err := l.SetFilter(filter); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ tpid, tci uint16 }{{0x8100, 5}, {0x8100, 0x2fff}, {0x88a8, 9}} {
			send(tagged(f, c.tpid, c.tci))
			send(tagged(all, c.tpid, c.tci))
		}
		linktest.Quiet(t, l, "frames of VLANs that have no interface here")
		send(tagged(f, 0x8100, 0xe000))
		send(f)
		for range 2 {
			if got := recv1(t, l); string(got.Data) != string(f) || got.TCI&0xfff != 0 {
				t.Errorf("of the untagged network: Tagged %v, TCI %#x, %x", got.Tagged, got.TCI, got.Data)
			}
			l.Release()
		}
	}
}

// TestOversized sends frames that are longer than the receiver's MTU, some of which do not even fit into a slot.
func TestOversized(t *testing.T) {
	ns, a, b := testnet.Pair(t, 1500)
	l := open1(t, ns, b, Options{})
	// veth drops what is longer than the receiving interface's MTU at the moment: the interface grows, the link does not.
	ns.SetMTU(a, 9000)
	ns.SetMTU(b, 9000)
	send := plain(t, ns, a)
	frame := func(n int) []byte { return linktest.Frame(l.Info().MAC, aoe.MAC{2, 1, 1, 1, 1, 1}, aoe.Addr{}, 1, n) }
	for _, n := range []int{1515, 1530, 1600, 9014} {
		send(frame(n))
	}
	send(frame(1514))
	if got := recv1(t, l); len(got.Data) != 1514 {
		t.Errorf("a frame of %d bytes got through", len(got.Data))
	}
	l.Release()
	if l.Oversized() != 4 {
		t.Errorf("%d frames count as too long, want 4", l.Oversized())
	}
	send(frame(9014))
	for end := time.Now().Add(10 * time.Second); l.Oversized() < 5 && time.Now().Before(end); {
		var f [1]link.Frame
		if l.Recv(f[:]) != 0 {
			t.Fatal("a frame that is too long got through")
		}
	}
	if l.Pending() || l.Oversized() != 5 {
		t.Errorf("a skipped frame stays: pending %v, %d skipped", l.Pending(), l.Oversized())
	}
}

func TestForeignFramesStayInTheKernel(t *testing.T) {
	ns, a, b := testnet.Pair(t, 1500)
	ns.Link(b, "making promiscuous", netlink.SetPromiscOn)
	la := open1(t, ns, a, Options{})
	l := open1(t, ns, b, Options{RingFrames: 100, Filter: &link.Filter{Addrs: []aoe.Addr{{Major: 1, Minor: 2}}}})
	me, you := la.Info().MAC, l.Info().MAC
	frames := [][]byte{
		linktest.Frame(you, me, aoe.Addr{Major: 1, Minor: 3}, 1, 60),
		linktest.Frame(aoe.Broadcast, me, aoe.Addr{Major: 2, Minor: aoe.WildMinor}, 2, 60),
		linktest.Frame(aoe.Broadcast, me, aoe.Addr{Major: aoe.WildMajor, Minor: 7}, 3, 60),
		linktest.Frame(aoe.MAC{2, 9, 9, 9, 9, 9}, me, aoe.Addr{Major: 1, Minor: 2}, 4, 60), // for another host
		linktest.Frame(you, me, aoe.Addr{Major: 1, Minor: 2}, 5, 60),
	}
	frames[4][14] |= 0x08 // a response to us
	for range 200 {       // more than the ring holds
		linktest.SendAll(t, la, frames...)
	}
	linktest.Quiet(t, l, "foreign frames")
	if d := l.Drops(); d != 0 {
		t.Errorf("foreign frames count as %d drops", d)
	}
	if err := l.Inject(linktest.Frame(me, you, aoe.Addr{Major: 1, Minor: 2}, 6, 60)); err != nil {
		t.Fatal(err)
	}
	linktest.Quiet(t, l, "an own frame")
	// The program is swapped while frames flow: nothing that both want is lost.
	want := linktest.Frame(you, me, aoe.Addr{Major: 1, Minor: 2}, 7, 60)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 50 {
			if err := l.SetFilter(&link.Filter{Addrs: []aoe.Addr{{Major: 1, Minor: 2}, {Major: 5, Minor: uint8(i)}}}); err != nil {
				t.Error(err)
			}
		}
	})
	for range 500 {
		linktest.SendAll(t, la, want)
		linktest.Collect(t, l, 1)
	}
	wg.Wait()
}

func TestFilterOfManyIsTakenByTheKernel(t *testing.T) {
	ns, a, b := testnet.Pair(t, 1500)
	la, l := open1(t, ns, a, Options{}), open1(t, ns, b, Options{})
	f := &link.Filter{}
	for i := range 20000 {
		f.Addrs = append(f.Addrs, aoe.Addr{Major: uint16(i * 3), Minor: uint8(i * 7 % 255)})
	}
	f.Addrs = sortAddrs(f.Addrs)
	for range 3 { // the old program's memory counts while the new one comes in
		if err := l.SetFilter(f); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < len(f.Addrs); i += 997 {
		want := linktest.Frame(l.Info().MAC, la.Info().MAC, f.Addrs[i], uint32(i), 60)
		linktest.SendAll(t, la, want)
		if got := linktest.Collect(t, l, 1)[0]; string(got) != string(want) {
			t.Fatalf("%v: got %x", f.Addrs[i], got)
		}
	}
}

func TestLanes(t *testing.T) {
	ns, a, b := testnet.Pair(t, 1500)
	la := open1(t, ns, a, Options{})
	for lanes := 1; lanes <= 4; lanes++ {
		var links, other []link.Link
		ns.Do(func() {
			var err error
			if links, err = OpenAll(b, Options{Lanes: lanes}); err != nil {
				t.Fatal(err)
			}
			// A second group on the same interface is independent.
			if other, err = OpenAll(b, Options{Lanes: lanes}); err != nil {
				t.Fatal(err)
			}
		})
		if len(links) != lanes {
			t.Fatalf("%d links, want %d", len(links), lanes)
		}
		check := func(why string) {
			t.Helper()
			tag := uint32(0)
			for _, major := range []uint16{0, 1, 2, 3, 4095, 0xfffe, aoe.WildMajor} {
				for _, minor := range []uint8{0, 1, 2, 3, 15, 254, aoe.WildMinor} {
					addr := aoe.Addr{Major: major, Minor: minor}
					for _, dst := range []aoe.MAC{links[0].Info().MAC, aoe.Broadcast} {
						tag++
						f := linktest.Frame(dst, la.Info().MAC, addr, tag, 60)
						linktest.SendAll(t, la, f)
						for _, group := range [][]link.Link{links, other} {
							want := group[link.LaneOf(addr, lanes)]
							if got := linktest.Collect(t, want, 1)[0]; string(got) != string(f) {
								t.Fatalf("%s: %v: got %x", why, addr, got)
							}
						}
					}
				}
			}
			for i := range links {
				if links[i].Pending() || other[i].Pending() {
					t.Errorf("%s: lane %d of %d got a frame twice", why, i, lanes)
				}
			}
		}
		check("fresh")
		ns.Down(b)
		ns.Up(b)
		ns.WaitRunning(b)
		ns.WaitRunning(a)
		for _, l := range append(links, other...) {
			if err := l.(link.Checker).Check(); !errors.Is(err, link.ErrDown) {
				t.Errorf("Check after the interface was down: %v", err)
			}
		}
		check("after down and up")
		for _, l := range append(links, other...) {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestDownAndUp(t *testing.T) {
	ns, a, b := testnet.Pair(t, 1500)
	la, lb := open1(t, ns, a, Options{}), open1(t, ns, b, Options{})
	f := linktest.Frame(lb.Info().MAC, la.Info().MAC, aoe.Addr{}, 1, 60)
	revents := func() int16 {
		t.Helper()
		fds := []unix.PollFd{{Fd: int32(la.FD()), Events: unix.POLLIN}}
		if _, err := sys.Poll(fds, 0); err != nil {
			t.Fatal(err)
		}
		return fds[0].Revents
	}
	if err := la.Check(); err != nil {
		t.Errorf("Check of a healthy link: %v", err)
	}
	ns.Down(a)
	if ev := revents(); ev&unix.POLLERR == 0 {
		t.Errorf("poll of a link that went down says %#x", ev)
	}
	if err := la.Check(); !errors.Is(err, link.ErrDown) {
		t.Errorf("Check of a link that went down: %v", err)
	}
	if ev := revents(); ev != 0 {
		t.Errorf("poll after Check says %#x: a lane would spin", ev)
	}
	msgs := []link.Msg{{Head: f}, {Head: f}}
	if n, err := la.Send(msgs); n != 0 || !errors.Is(err, link.ErrDown) {
		t.Errorf("Send while down = %d, %v", n, err)
	}
	if err := la.Inject(f); !errors.Is(err, link.ErrDown) {
		t.Errorf("Inject while down: %v", err)
	}
	var batch [4]link.Frame
	if n := la.Recv(batch[:]); n != 0 {
		t.Errorf("Recv while down = %d", n)
	}
	if err := la.Check(); !errors.Is(err, link.ErrDown) {
		t.Errorf("Check after Send failed: %v", err)
	}
	ns.Up(a)
	ns.WaitRunning(a)
	ns.WaitRunning(b)
	linktest.SendAll(t, la, f)
	linktest.Collect(t, lb, 1)
	g := linktest.Frame(la.Info().MAC, lb.Info().MAC, aoe.Addr{}, 1, 60)
	linktest.SendAll(t, lb, g)
	linktest.Collect(t, la, 1)

	ns.Delete(a)
	if err := la.Check(); !errors.Is(err, link.ErrDown) {
		t.Errorf("Check after the interface was removed: %v", err)
	}
	for range 2 {
		if _, err := la.Send(msgs); !errors.Is(err, link.ErrDown) {
			t.Errorf("Send after the interface was removed: %v", err)
		}
	}
	_ = la.Check()
	if ev := revents(); ev != 0 {
		t.Errorf("poll after the interface was removed says %#x: a lane would spin", ev)
	}
}

// TestUnreadableMemory sends from memory that is gone, as a mapped file that was cut short is.
func TestUnreadableMemory(t *testing.T) {
	ns, a, b := testnet.Pair(t, 9000)
	la, lb := open1(t, ns, a, Options{}), open1(t, ns, b, Options{})
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(8192); err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(int(file.Fd()), 0, 8192, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	if err := file.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	ok := linktest.Frame(lb.Info().MAC, la.Info().MAC, aoe.Addr{}, 1, 60)
	msgs := []link.Msg{{Head: ok}, {Head: ok[:36], Body: mem[4096:5120]}, {Head: ok[:36], Body: mem[:1024]}}
	n, err := la.Send(msgs)
	if n != 3 || err != nil || msgs[0].Err != nil || !errors.Is(msgs[1].Err, unix.EFAULT) || msgs[2].Err != nil {
		t.Fatalf("Send = %d, %v; %v, %v, %v", n, err, msgs[0].Err, msgs[1].Err, msgs[2].Err)
	}
	got := linktest.Collect(t, lb, 2)
	if len(got[0]) != 60 || len(got[1]) != 1060 {
		t.Errorf("frames of %d and %d bytes arrived", len(got[0]), len(got[1]))
	}
}

func TestPayloadAlign(t *testing.T) {
	for _, align := range []int{16, 512, 4096} {
		ns, a, b := testnet.Pair(t, 9000)
		la, lb := open1(t, ns, a, Options{}), open1(t, ns, b, Options{PayloadAlign: align})
		for i := range 100 {
			linktest.SendAll(t, la, linktest.Frame(lb.Info().MAC, la.Info().MAC, aoe.Addr{}, uint32(i), 36+512*(i%17)+24))
			f := recv1(t, lb)
			if off := sys.Alignment(f.Data[36:]); align > 16 && off < align {
				t.Fatalf("alignment %d: the payload of frame %d is aligned to %d", align, i, off)
			}
			lb.Release()
		}
	}
}

func TestDefaultRingIsLarge(t *testing.T) {
	ns, a, _ := testnet.Pair(t, 1500)
	if n := open1(t, ns, a, Options{}).RingFrames(); n < 4096 {
		t.Errorf("at MTU 1500 the ring holds %d frames", n)
	}
	ns.SetMTU(a, 9000)
	if n := open1(t, ns, a, Options{}).RingFrames(); n < minRingFrames {
		t.Errorf("at MTU 9000 the ring holds %d frames", n)
	}
	l := open1(t, ns, a, Options{})
	if v, err := unix.GetsockoptInt(l.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF); err != nil || v < defaultSndBuf {
		t.Errorf("the send buffer has %d bytes, %v", v, err)
	}
}

func TestRefusals(t *testing.T) {
	ns, a, _ := testnet.Pair(t, 1500)
	ns.Do(func() {
		tun := netlink.NewLinkAttrs()
		tun.Name = "tun0"
		haveTun := netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: tun, Mode: netlink.TUNTAP_MODE_TUN}) == nil
		for _, c := range []struct {
			name string
			o    Options
			mtu  int
			want string
			skip bool
		}{
			{name: "nosuch", want: `interface "nosuch" does not exist here`},
			{name: "", want: "does not exist"},
			{name: "lo", want: "loopback"},
			{name: "tun0", want: "not an Ethernet interface", skip: !haveTun},
			{name: a, mtu: 1041, want: "MTU 1041: AoE needs at least 1042"},
			{name: a, o: Options{PayloadAlign: 100}, want: "alignment 100"},
			{name: a, o: Options{Lanes: 65}, want: "65 lanes"},
			{name: a, o: Options{RingFrames: 1 << 30}, want: "a smaller ring may fit"},
		} {
			if c.skip {
				continue
			}
			if c.mtu != 0 {
				l, err := netlink.LinkByName(c.name)
				if err == nil {
					err = netlink.LinkSetMTU(l, c.mtu)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			links, err := OpenAll(c.name, c.o)
			if err == nil || links != nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.name) {
				t.Errorf("%q %+v: %v, %v; want %q", c.name, c.o, links, err, c.want)
			}
			if c.mtu != 0 {
				if l, err := netlink.LinkByName(c.name); err != nil || netlink.LinkSetMTU(l, 1500) != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// TestNoPermission runs on a thread that gave up CAP_NET_RAW and ends with the goroutine.
func TestNoPermission(t *testing.T) {
	ns, a, _ := testnet.Pair(t, 1500)
	ns.Do(func() {
		runtime.LockOSThread()
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&hdr, &data[0]); err != nil {
			t.Fatal(err)
		}
		data[0].Effective &^= 1 << unix.CAP_NET_RAW
		data[0].Permitted &^= 1 << unix.CAP_NET_RAW
		if err := unix.Capset(&hdr, &data[0]); err != nil {
			t.Fatal(err)
		}
		_, err := Open(a, Options{})
		if !errors.Is(err, unix.EPERM) {
			t.Fatalf("Open without CAP_NET_RAW: %v", err)
		}
		for _, w := range []string{a, "CAP_NET_RAW", "root", "setcap", "AmbientCapabilities"} {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("the error does not name %q: %v", w, err)
			}
		}
	})
}

// TestDeafUntilFiltered checks that a socket takes nothing before it has its filter, not even in the moment of its making.
func TestDeafUntilFiltered(t *testing.T) {
	ns, a, b := testnet.Pair(t, 1500)
	la := open1(t, ns, a, Options{})
	var l *Link
	ns.Do(func() {
		info, err := inspect(b)
		if err != nil {
			t.Fatal(err)
		}
		if l, err = socket(info, Options{}); err != nil {
			t.Fatal(err)
		}
	})
	defer l.Close()
	f := linktest.Frame(l.Info().MAC, la.Info().MAC, aoe.Addr{Major: 1}, 1, 60)
	linktest.SendAll(t, la, f)
	linktest.Quiet(t, l, "before the first filter")
	if err := l.SetFilter(nil); err != nil {
		t.Fatal(err)
	}
	linktest.SendAll(t, la, f)
	linktest.Collect(t, l, 1)
}

// TestLinear checks where frames are sent out of one piece: where they can be longer than a page, and only when asked for.
func TestLinear(t *testing.T) {
	for _, c := range []struct {
		mtu    int
		linear bool
		want   int
	}{{9000, true, sys.VnetLen}, {9000, false, 0}, {1500, true, 0}} {
		ns, a, _ := testnet.Pair(t, c.mtu)
		if l := open1(t, ns, a, Options{Linear: c.linear}); l.vnet != c.want {
			t.Errorf("MTU %d, asked %v: %d bytes in front of a frame, not %d", c.mtu, c.linear, l.vnet, c.want)
		}
	}
}
