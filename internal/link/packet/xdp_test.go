package packet

import (
	"bytes"
	"errors"
	"os"
	"strings"
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

// stride is how much of the pinned memory each message of the tests has.
const stride = 5 * 4096

// inNS is a link whose user is a thread of its namespace, as it has to be for a socket that is opened later.
type inNS struct {
	*Link
	ns *testnet.NS
}

func (l *inNS) Send(msgs []link.Msg) (n int, err error) {
	l.ns.Do(func() { n, err = l.Link.Send(msgs) })
	return n, err
}

func (l *inNS) Pin(mem []byte) (ok bool) {
	l.ns.Do(func() { ok = l.Link.Pin(mem) })
	return ok
}

// pinned opens a link that sends by AF_XDP, and memory for 64 messages that it knows.
func pinned(t testing.TB, ns *testnet.NS, name string, o Options) (*inNS, []byte) {
	t.Helper()
	if o.XDP == "" {
		o.XDP = XDPAuto
	}
	l := open1(t, ns, name, o)
	if would, why := l.Pinning(); !would {
		t.Fatalf("it does not send by AF_XDP: %s", why)
	}
	mem, err := sys.Alloc(64 * stride)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sys.Free(mem) }) // after the link is closed
	if !l.Pin(mem) {
		t.Fatal("Pin: false")
	}
	return &inNS{l, ns}, mem
}

// place makes a message of a frame, in the i-th piece of memory; the header lies in front of a good place for the data, as in internal/engine.
func place(mem []byte, i int, f []byte) link.Msg {
	at := i*stride + 512 - payloadAt
	copy(mem[at:], f)
	return link.Msg{Head: mem[at : at+len(f) : at+len(f)], Room: true}
}

// sendMsgs sends all, and fails when that is not possible at once.
func sendMsgs(t testing.TB, l link.Link, msgs []link.Msg) {
	t.Helper()
	if n, err := l.Send(msgs); n != len(msgs) || err != nil {
		t.Fatalf("Send = %d of %d, %v", n, len(msgs), err)
	}
	for i := range msgs {
		if msgs[i].Err != nil {
			t.Fatalf("message %d: %v", i, msgs[i].Err)
		}
	}
}

func sameFrames(t testing.TB, got, want [][]byte) {
	t.Helper()
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("frame %d of %d bytes arrived as %d bytes, or with other content", i, len(want[i]), len(got[i]))
		}
	}
}

// TestXDPSuite: the suite, on links that send by AF_XDP; its frames lie elsewhere, so this is about all that is beside it.
func TestXDPSuite(t *testing.T) {
	for _, mtu := range []int{1500, 9000} {
		linktest.Run(t, func(t testing.TB) (a, b link.Link) {
			ns, na, nb := testnet.Pair(t, mtu)
			la, _ := pinned(t, ns, na, Options{RingFrames: 100, Linear: true})
			lb, _ := pinned(t, ns, nb, Options{RingFrames: 100, Linear: true})
			return la.Link, lb.Link
		})
	}
}

// pinAll copies what it sends into pinned memory, so that the suite's frames leave by AF_XDP.
type pinAll struct {
	*Link // of any namespace
	mem   []byte
	own   []link.Msg
}

func (p *pinAll) Send(msgs []link.Msg) (int, error) {
	done := 0
	for done < len(msgs) {
		part := msgs[done:min(len(msgs), done+64)]
		p.own = p.own[:0]
		for i, m := range part {
			at := i*stride + 512 - payloadAt
			n := copy(p.mem[at:(i+1)*stride], m.Head)
			n += copy(p.mem[at+n:(i+1)*stride], m.Body)
			p.own = append(p.own, link.Msg{Head: p.mem[at : at+n], Room: true})
		}
		n, err := p.Link.Send(p.own)
		for i := range part[:n] {
			part[i].Err = p.own[i].Err
		}
		clear(p.mem[:len(part)*stride]) // as if it were used for something else at once
		if done += n; err != nil {
			return done, err
		}
	}
	return done, nil
}

// TestXDPSuitePinned: the suite, with all its messages in pinned memory that changes as soon as Send has returned.
func TestXDPSuitePinned(t *testing.T) {
	for _, mtu := range []int{1500, 9000} {
		var used uint64
		linktest.Run(t, func(t testing.TB) (a, b link.Link) {
			ns, na, nb := testnet.Pair(t, mtu)
			la, ma := pinned(t, ns, na, Options{RingFrames: 100, Linear: true})
			lb, mb := pinned(t, ns, nb, Options{RingFrames: 100, Linear: true})
			t.Cleanup(func() { used += la.PinnedFrames() })
			return &pinAll{Link: la.Link, mem: ma}, &pinAll{Link: lb.Link, mem: mb}
		})
		if used < 1000 {
			t.Errorf("MTU %d: %d frames left by AF_XDP", mtu, used)
		}
	}
}

// TestXDPBytes: every byte of every length arrives, in order, from wherever the messages lie, and though their memory changes right after Send.
func TestXDPBytes(t *testing.T) {
	ns, na, nb := testnet.Pair(t, 9000)
	l, mem := pinned(t, ns, na, Options{Linear: true})
	r := open1(t, ns, nb, Options{Linear: true})
	var lengths []int
	for n := 60; n <= 9014; n += 97 {
		lengths = append(lengths, n)
	}
	for _, edge := range []int{3500, payloadAt + 4096, payloadAt + 2*4096, 9014} {
		for d := -2; d <= 2; d++ {
			lengths = append(lengths, min(edge+d, 9014))
		}
	}
	sent, tag := 0, uint32(0)
	for len(lengths) > 0 {
		var msgs []link.Msg
		var want [][]byte
		for i := 0; i < 40 && i < len(lengths); i++ {
			f := linktest.Frame(r.Info().MAC, l.Info().MAC, aoe.Addr{}, tag, lengths[i])
			tag++
			want = append(want, f)
			switch i % 11 {
			case 3, 6: // elsewhere
				msgs = append(msgs, link.Msg{Head: bytes.Clone(f)})
			case 4: // two pieces
				m := place(mem, i, f)
				msgs = append(msgs, link.Msg{Head: m.Head[:36:36], Body: m.Head[36:]})
			default: // that of 5 is alone between others
				msgs = append(msgs, place(mem, i, f))
			}
			if k := i % 11; k < 3 || k > 6 {
				sent++
			}
		}
		lengths = lengths[min(40, len(lengths)):]
		sendMsgs(t, l, msgs)
		for i := range mem {
			mem[i] = 0xee
		}
		sameFrames(t, linktest.Collect(t, r, len(want)), want)
	}
	if n := int(l.PinnedFrames()); n < sent-8 || n == 0 { // of a run's end one may be alone
		t.Errorf("%d frames left by AF_XDP, not about %d", n, sent)
	}
}

// TestXDPEdges: what lies partly outside of the memory, or behind what was pinned before, leaves by the packet socket.
func TestXDPEdges(t *testing.T) {
	ns, na, nb := testnet.Pair(t, 1500)
	l, mem := pinned(t, ns, na, Options{})
	r := open1(t, ns, nb, Options{})
	f := linktest.Frame(r.Info().MAC, l.Info().MAC, aoe.Addr{}, 1, 100)
	send := func(half []byte) (left uint64) {
		before := l.PinnedFrames()
		a, b := half[:100], half[len(half)-100:]
		copy(a, f)
		copy(b, f)
		sendMsgs(t, l, []link.Msg{{Head: a}, {Head: b}})
		sameFrames(t, linktest.Collect(t, r, 2), [][]byte{f, f})
		return l.PinnedFrames() - before
	}
	if n := send(mem); n != 2 {
		t.Errorf("first and last bytes of the memory: %d frames by AF_XDP", n)
	}
	inner := mem[4096 : 8*4096]
	if !l.Pin(inner) {
		t.Fatal("Pin: false")
	}
	// The kernel takes a moment to see that the queue is free.
	for end := time.Now().Add(20 * time.Second); send(inner) != 2; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the other memory is not used")
		}
	}
	for _, m := range [][]byte{mem[4095:4300], mem[8*4096-250 : 8*4096+1], mem[3000:3300], mem[8*4096 : 8*4096+200]} {
		if n := send(m); n > 0 {
			t.Errorf("%d frames that do not lie in the memory left by AF_XDP", n)
		}
	}
	if !l.Pin(nil) {
		t.Error("Pin(nil): false")
	}
	if n := send(inner); n != 0 {
		t.Error("memory is used that is not pinned any more")
	}
}

// batch makes n messages in the memory.
func batch(l, r link.Link, mem []byte, tag uint32, n, size int) (msgs []link.Msg, want [][]byte) {
	for i := range n {
		f := linktest.Frame(r.Info().MAC, l.Info().MAC, aoe.Addr{}, tag+uint32(i), size)
		msgs, want = append(msgs, place(mem, i, f)), append(want, f)
	}
	return msgs, want
}

// TestXDPMTU: what is longer than the MTU is refused as by the packet socket, also where the MTU has changed.
func TestXDPMTU(t *testing.T) {
	ns, na, nb := testnet.Pair(t, 9000)
	l, mem := pinned(t, ns, na, Options{})
	r := open1(t, ns, nb, Options{})
	msgs, want := batch(l, r, mem, 1, 4, 3000)
	sendMsgs(t, l, msgs)
	sameFrames(t, linktest.Collect(t, r, 4), want)
	ns.SetMTU(na, 1500)
	l.xdp.looked = 1 // as if a second had passed
	short, want := batch(l, r, mem[8*stride:], 10, 2, 1514)
	both := append(msgs[:4:4], short...)
	if n, err := l.Send(both); n != 6 || err != nil {
		t.Fatalf("Send = %d, %v", n, err)
	}
	for i := range both {
		if err := both[i].Err; (i < 4) != errors.Is(err, unix.EMSGSIZE) {
			t.Errorf("message %d: Err = %v", i, err)
		}
	}
	sameFrames(t, linktest.Collect(t, r, 2), want)
	linktest.Quiet(t, r, "longer than the MTU")
	if n := l.PinnedFrames(); n != 6 {
		t.Errorf("%d frames by AF_XDP, not 6", n)
	}
}

// TestXDPDown: what was not sent as the interface was down never leaves, and after that all is as before.
func TestXDPDown(t *testing.T) {
	ns, na, nb := testnet.Pair(t, 1500)
	l, mem := pinned(t, ns, na, Options{})
	r := open1(t, ns, nb, Options{})
	msgs, want := batch(l, r, mem, 1, 8, 1000)
	sendMsgs(t, l, msgs)
	sameFrames(t, linktest.Collect(t, r, 8), want)
	for range 2 {
		ns.Link(na, "down", netlink.LinkSetDown)
		lost, _ := batch(l, r, mem, 100, 8, 1000)
		if n, err := l.Send(lost); n != 0 || !errors.Is(err, link.ErrDown) {
			t.Fatalf("Send on an interface that is down = %d, %v", n, err)
		}
		ns.Link(na, "up", netlink.LinkSetUp)
		if err := l.Check(); !errors.Is(err, link.ErrDown) {
			t.Errorf("Check: %v", err)
		}
		_ = r.Check()
		before := l.PinnedFrames()
		msgs, want = batch(l, r, mem, 200, 8, 1000)
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if n, err := l.Send(msgs); n == len(msgs) && err == nil {
				break
			} else if n != 0 || time.Now().After(end) {
				t.Fatalf("Send = %d, %v", n, err)
			}
		}
		sameFrames(t, linktest.Collect(t, r, 8), want)
		linktest.Quiet(t, r, "what was not sent")
		for end := time.Now().Add(30 * time.Second); l.PinnedFrames() == before; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("AF_XDP is not used again")
			}
			msgs, want = batch(l, r, mem, 300, 8, 1000)
			sendMsgs(t, l, msgs)
			sameFrames(t, linktest.Collect(t, r, 8), want)
		}
	}
}

// TestXDPRemoved: an interface that is gone is told as by the packet socket, and costs nothing afterwards.
func TestXDPRemoved(t *testing.T) {
	ns, na, nb := testnet.Pair(t, 1500)
	l, mem := pinned(t, ns, na, Options{})
	r := open1(t, ns, nb, Options{})
	msgs, _ := batch(l, r, mem, 1, 8, 1000)
	sendMsgs(t, l, msgs)
	ns.Link(na, "removing", netlink.LinkDel)
	for range 3 {
		msgs, _ = batch(l, r, mem, 1, 8, 1000)
		if n, err := l.Send(msgs); n != 0 || !errors.Is(err, link.ErrDown) {
			t.Fatalf("Send on an interface that is gone = %d, %v", n, err)
		}
	}
	if l.xdp.out != nil {
		t.Error("the socket is kept")
	}
}

// TestXDPRefused: a frame that the other end of a veth pair does not take is not told as sent, and neither are those behind it; none of them arrives later.
func TestXDPRefused(t *testing.T) {
	ns, na, nb := testnet.Pair(t, 9000)
	l, mem := pinned(t, ns, na, Options{Linear: true})
	r := open1(t, ns, nb, Options{})
	ns.SetMTU(nb, 1500)
	for _, at := range []int{0, 1, 5, 7} {
		end := time.Now().Add(30 * time.Second)
		for before := l.PinnedFrames(); l.PinnedFrames() == before; time.Sleep(20 * time.Millisecond) { // until it is used (again)
			l.xdp.again = 0
			msgs, want := batch(l, r, mem, 1, 2, 1000)
			sendMsgs(t, l, msgs)
			sameFrames(t, linktest.Collect(t, r, 2), want)
			if time.Now().After(end) {
				t.Fatal("AF_XDP is not used")
			}
		}
		msgs, want := batch(l, r, mem, 10, 8, 1000)
		f := linktest.Frame(r.Info().MAC, l.Info().MAC, aoe.Addr{}, 99, 5000)
		msgs[at] = place(mem, at, f)
		n, err := l.Send(msgs)
		if n != at || !errors.Is(err, link.ErrFull) {
			t.Errorf("frame %d is too long for the other end: Send = %d, %v", at, n, err)
		}
		sameFrames(t, linktest.Collect(t, r, at), want[:at])
		linktest.Quiet(t, r, "frames that were not sent")
		if l.xdp.out != nil || l.xdp.again == 0 {
			t.Error("the socket with what was not sent is kept")
		}
	}
	if l.xdp.pause <= xdpPause {
		t.Error("what does not work is tried again as often as ever")
	}
}

// TestXDPTaken: with another socket on the queue it does without, and takes the queue when that is free.
func TestXDPTaken(t *testing.T) {
	ns, na, nb := testnet.Pair(t, 1500)
	first, mem := pinned(t, ns, na, Options{})
	r := open1(t, ns, nb, Options{})
	l, mem2 := pinned(t, ns, na, Options{})
	send := func(l *inNS, mem []byte) uint64 {
		before := l.PinnedFrames()
		msgs, want := batch(l, r, mem, 1, 8, 1000)
		sendMsgs(t, l, msgs)
		sameFrames(t, linktest.Collect(t, r, 8), want)
		return l.PinnedFrames() - before
	}
	if n := send(first, mem); n != 8 {
		t.Errorf("the first: %d by AF_XDP", n)
	}
	if n := send(l, mem2); n != 0 {
		t.Errorf("the second: %d by AF_XDP", n)
	}
	first.Pin(nil)
	for end := time.Now().Add(30 * time.Second); send(l, mem2) != 8; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the queue is not taken when it is free")
		}
	}
}

// tap opens a socket that gets all frames of an interface, or of all with "".
func tap(t *testing.T, ns *testnet.NS, name string) int {
	t.Helper()
	fd := -1
	ns.Do(func() {
		var err error
		index := 0
		if name != "" {
			i, err := netlink.LinkByName(name)
			if err != nil {
				t.Fatal(err)
			}
			index = i.Attrs().Index
		}
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			t.Fatal(err)
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index}); err != nil {
			t.Fatal(err)
		}
	})
	return fd
}

// TestXDPTap: while somebody captures frames of the interface, or of all, they leave so that they are seen.
func TestXDPTap(t *testing.T) {
	ns, na, nb := testnet.Pair(t, 1500)
	l, mem := pinned(t, ns, na, Options{})
	r := open1(t, ns, nb, Options{})
	send := func() uint64 {
		before := l.PinnedFrames()
		msgs, want := batch(l, r, mem, 1, 8, 1000)
		sendMsgs(t, l, msgs)
		sameFrames(t, linktest.Collect(t, r, 8), want)
		return l.PinnedFrames() - before
	}
	if n := send(); n != 8 {
		t.Errorf("%d by AF_XDP", n)
	}
	for _, name := range []string{na, ""} {
		fd := tap(t, ns, name)
		for end := time.Now().Add(30 * time.Second); send() != 0; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("tap %q is not noticed", name)
			}
		}
		outgoing := func() (n int) {
			for buf := make([]byte, 2000); ; {
				size, from, err := unix.Recvfrom(fd, buf, 0)
				if err != nil {
					return n
				}
				if a := from.(*unix.SockaddrLinklayer); size == 1000 && a.Pkttype == unix.PACKET_OUTGOING {
					n++
				}
			}
		}
		outgoing() // what came before it was noticed may have filled it
		send()
		seen := outgoing()
		if seen != 8 {
			t.Errorf("tap %q saw %d replies", name, seen)
		}
		_ = unix.Close(fd)
		for end := time.Now().Add(30 * time.Second); send() != 8; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("tap %q is gone, and that is not noticed", name)
			}
		}
	}
	fd := tap(t, ns, nb) // of another interface
	defer unix.Close(fd)
	l.xdp.looked = 0
	if n := send(); n != 8 {
		t.Error("a tap on another interface counts")
	}
}

// TestTapLines: what the kernel's list says, and what is no such list.
func TestTapLines(t *testing.T) {
	for line, want := range map[string]bool{
		"ALL  eth1     packet_rcv": true, "ALL           tpacket_rcv": true, "ALL  eth10    packet_rcv": false, "ALL  eth      packet_rcv": false,
		"88a2 eth1     packet_rcv": false, "0800          ip_rcv": false, "Type Device      Function": false, "ALL": false, "": false,
	} {
		if isTap([]byte(line), "eth1") != want {
			t.Errorf("%q: not %v", line, want)
		}
	}
	for text, want := range map[string]bool{
		"": false, "Type Device      Function\n0800          ip_rcv\n": false,
		strings.Repeat("88a2 eth1     packet_rcv\n", 999):                                false,
		strings.Repeat("88a2 eth1     packet_rcv\n", 999) + "ALL  eth1     packet_rcv\n": true,
		"0800          ip_rcv": true, strings.Repeat("x", 5000): true,
	} {
		f, err := os.CreateTemp(t.TempDir(), "list")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		x := xdpSend{taps: int(f.Fd()), list: make([]byte, 4096)}
		if got := x.listened("eth1"); got != want {
			t.Errorf("%.40q...: %v", text, got)
		}
		_ = f.Close()
	}
	if x := (xdpSend{taps: -1, list: make([]byte, 10)}); !x.listened("eth1") {
		t.Error("a list that cannot be read says that nobody listens")
	}
}

// TestXDPChoice: where it is used, and why not elsewhere.
func TestXDPChoice(t *testing.T) {
	ns, na, nb := testnet.Pair(t, 1500)
	check := func(name string, mode XDPMode, lanes, lane int, want string) {
		t.Helper()
		var all []*Link
		ns.Do(func() {
			var err error
			if all, err = open(name, Options{XDP: mode, Lanes: lanes}); err != nil {
				t.Fatal(err)
			}
		})
		for _, l := range all {
			defer l.Close()
		}
		would, why := all[lane].Pinning()
		if would != (want == "") || want != "" && !strings.Contains(why, want) && why != want {
			t.Errorf("%s, %s: %v, %q; want %q", name, mode, would, why, want)
		}
		if !would && all[lane].Pin(make([]byte, 4096)) {
			t.Error("Pin: true")
		}
	}
	check(na, XDPAuto, 1, 0, "")
	check(na, XDPOn, 1, 0, "")
	if l := open1(t, ns, na, Options{XDP: XDPOff}); l.xdp.ok || l.xdp.out != nil || l.xdp.why != "" {
		t.Errorf("off: %+v", l.xdp)
	}
	ns.Do(func() {
		dev, err := netlink.LinkByName(na)
		if err != nil {
			t.Fatal(err)
		}
		if n := dev.Attrs().NumTxQueues; n < 60 {
			defer check(na, XDPAuto, 64, 63, "queue")
		}
		peer, err := netlink.LinkByName(nb)
		if err != nil {
			t.Fatal(err)
		}
		q := &netlink.GenericQdisc{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: peer.Attrs().Index, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(1, 0)}, QdiscType: "pfifo"}
		if err := netlink.QdiscAdd(q); err != nil {
			t.Fatal(err)
		}
	})
	check(nb, XDPAuto, 1, 0, "pfifo")
	check(nb, XDPOn, 1, 0, "")
	ns.Do(func() {
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}); err != nil {
			t.Fatal(err)
		}
		br, err := netlink.LinkByName("br0")
		if err == nil {
			err = netlink.LinkSetUp(br)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	check("br0", XDPAuto, 1, 0, "bridge")
}

// TestXDPAllocations: sending allocates nothing.
func TestXDPAllocations(t *testing.T) {
	ns, na, nb := testnet.Pair(t, 9000)
	in, mem := pinned(t, ns, na, Options{Linear: true})
	l, r := in.Link, open1(t, ns, nb, Options{})
	msgs, _ := batch(l, r, mem, 1, 32, 9014)
	sendMsgs(t, l, msgs)
	before := l.PinnedFrames()
	if n := testing.AllocsPerRun(100, func() {
		l.xdp.looked = 0
		if n, err := l.Send(msgs); n != len(msgs) || err != nil {
			t.Fatalf("Send = %d, %v", n, err)
		}
	}); n > 1 { // the name for the question after the MTU, once a second
		t.Errorf("%v allocations", n)
	}
	if l.PinnedFrames()-before < 3200 {
		t.Error("it did not leave by AF_XDP")
	}
}

// TestXDPNamespace: a socket that is opened later, by a thread of another network namespace, is not used: an interface's index means another interface there.
func TestXDPNamespace(t *testing.T) {
	ns, na, nb := testnet.Pair(t, 1500)
	in, mem := pinned(t, ns, na, Options{})
	l, r := in.Link, open1(t, ns, nb, Options{})
	l.Pin(nil) // the next one is opened by this thread
	if l.Pin(mem) {
		t.Error("Pin: true")
	}
	msgs, want := batch(l, r, mem, 1, 8, 1000)
	sendMsgs(t, l, msgs)
	sameFrames(t, linktest.Collect(t, r, 8), want)
	if l.PinnedFrames() != 0 || l.xdp.out != nil {
		t.Error("the socket is used")
	}
}

// TestXDPNoSocket: where no AF_XDP socket can be had the link says so and does without, and closing it closes nothing that belongs to somebody else.
func TestXDPNoSocket(t *testing.T) {
	ns, na, _ := testnet.Pair(t, 1500)
	l := open1(t, ns, na, Options{})
	ns.Do(func() {
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		if err := unix.Capget(&head, &caps[0]); err != nil {
			t.Fatal(err)
		}
		less := caps
		less[0].Effective &^= 1 << unix.CAP_NET_RAW
		if err := unix.Capset(&head, &less[0]); err != nil {
			t.Fatal(err)
		}
		openXDP([]*Link{l}, Options{XDP: XDPOn})
		if err := unix.Capset(&head, &caps[0]); err != nil {
			t.Fatal(err)
		}
	})
	if would, why := l.Pinning(); would || !strings.Contains(why, "opening an AF_XDP socket") || l.Pin(make([]byte, 4096)) {
		t.Fatalf("%t, %q", would, why)
	}
	// These have the numbers that were in use for a moment.
	var others []*os.File
	for range 4 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, f)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	for _, f := range others {
		if err := f.Close(); err != nil {
			t.Errorf("a file of somebody else was closed: %v", err)
		}
	}
}
