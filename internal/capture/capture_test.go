package capture

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/testnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sender sends whole frames on an interface of the namespace.
func sender(t *testing.T, ns *testnet.NS, name string) func(frame []byte) {
	t.Helper()
	var fd, index int
	ns.Do(func() {
		var err error
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
		ifi, err := net.InterfaceByName(name)
		if err != nil {
			t.Fatal(err)
		}
		index = ifi.Index
	})
	t.Cleanup(func() { _ = unix.Close(fd) })
	return func(frame []byte) {
		t.Helper()
		if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: index, Protocol: htons(aoe.EtherType)}); err != nil {
			t.Fatal(err)
		}
	}
}

// frame makes an AoE frame of n bytes for a shelf, with VLAN tags in front of its EtherType.
func frame(shelf uint16, n int, tags ...byte) []byte {
	f := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9}, tags...)
	f = append(f, 0x88, 0xa2, 0x10, 0, byte(shelf>>8), byte(shelf), 0, 1)
	for len(f) < n {
		f = append(f, byte(len(f)))
	}
	return f
}

type seen struct {
	Frame
	wire, plain []byte
}

func open(t *testing.T, ns *testnet.NS, o Options) (s *Source) {
	t.Helper()
	ns.Do(func() {
		var err error
		if s, err = Open(o); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// collect runs until n frames came, or a while after.
func collect(t *testing.T, n int, sources ...*Source) (out []seen) {
	t.Helper()
	enough := errors.New("enough")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := Run(ctx, sources, func(f *Frame) error {
		out = append(out, seen{*f, bytes.Clone(f.Wire), bytes.Clone(f.Plain)})
		if len(out) == n {
			return enough
		}
		return nil
	}, nil)
	if !errors.Is(err, enough) {
		t.Fatalf("%d of %d frames came: %v", len(out), n, err)
	}
	return out
}

// TestCapture: what is sent and what is received, with tags of both kinds, whole and cut off; nothing else than AoE.
func TestCapture(t *testing.T) {
	ns, a, b := testnet.Pair(t, 9000)
	s := open(t, ns, Options{Interface: a})
	short := open(t, ns, Options{Interface: a, Snap: 64})
	some := open(t, ns, Options{Interface: a, Filter: Filter{Addrs: []aoe.Addr{{Major: 7, Minor: aoe.WildMinor}}}})
	fromA := sender(t, ns, a)
	fromB := sender(t, ns, b)
	other := frame(1, 60)
	other[13] = 0xa3
	sent := [][]byte{frame(1, 60), frame(2, 9014), frame(7, 104, 0x81, 0x00, 0xa0, 0x64), frame(7, 60, 0x88, 0xa8, 0x00, 0x05)}
	fromB(other)
	for _, f := range sent {
		fromB(f)
	}
	fromA(frame(3, 60))
	sent = append(sent, frame(3, 60))
	before := time.Now()

	for _, src := range []*Source{s, short} {
		got := collect(t, len(sent), src)
		for i, f := range got {
			want := sent[i]
			cut := want
			if src == short {
				cut = want[:min(len(want), 64)]
			}
			if f.Interface != a || f.Length != len(want) || f.Sent != (i == 4) || before.Sub(time.Unix(0, f.Time)).Abs() > time.Minute {
				t.Errorf("frame %d: %+v", i, f.Frame)
			}
			// A tag that the kernel takes off does not count against the snap.
			if n := min(len(f.wire), len(cut)); !bytes.Equal(f.wire[:n], cut[:n]) || len(f.wire) < len(cut) || len(f.wire) > len(cut)+vlanLen {
				t.Errorf("frame %d is % x, not % x", i, f.wire, cut)
			}
			vlan := map[int]uint16{2: 100, 3: 5}[i]
			if f.Tagged != (vlan != 0) || f.VLAN != vlan || f.plain[12] != 0x88 || f.plain[13] != 0xa2 {
				t.Errorf("frame %d: VLAN %d (%v), % x", i, f.VLAN, f.Tagged, f.plain[:16])
			}
		}
		if n, lost := src.Counts(); n != uint64(len(sent)) || lost != 0 {
			t.Errorf("counted %d frames, %d lost; want %d", n, lost, len(sent))
		}
	}
	for _, f := range collect(t, 2, some) {
		if f.plain[17] != 7 {
			t.Errorf("a frame that was not asked for: % x", f.plain[:20])
		}
	}
}

// TestOrder: frames that wait on several interfaces come in the order of their times.
func TestOrder(t *testing.T) {
	ns, a, b := testnet.Pair(t, 1500)
	ns.Veth("vc", "vd", 1500)
	sources := []*Source{open(t, ns, Options{Interface: a}), open(t, ns, Options{Interface: "vc"})}
	one := sender(t, ns, b)
	two := sender(t, ns, "vd")
	for i := range 20 {
		if i%3 == 0 {
			one(frame(uint16(i), 60))
		} else {
			two(frame(uint16(i), 60))
		}
	}
	for i, f := range collect(t, 20, sources...) {
		if int(f.wire[17]) != i {
			t.Fatalf("frame %d is that of shelf %d", i, f.wire[17])
		}
	}
}

// TestDrops: what does not fit is counted, and the end of a context still hands on what was taken.
func TestDrops(t *testing.T) {
	ns, a, b := testnet.Pair(t, 1500)
	s := open(t, ns, Options{Interface: a, RingBytes: 1 << 16})
	room := s.ring.Frames()
	send := sender(t, ns, b)
	for i := range room + 50 {
		send(frame(uint16(i), 60))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	n := 0
	if err := Run(ctx, []*Source{s}, func(*Frame) error { n++; return nil }, nil); err != nil || n != room {
		t.Errorf("%d frames were handed on, want %d: %v", n, room, err)
	}
	if all, lost := s.Counts(); all != uint64(room)+50 || lost != 50 {
		t.Errorf("counted %d frames, %d lost; want %d and 50", all, lost, room+50)
	}
}

// TestInterfaceGoes: an interface that goes down is told and comes back; one that is removed ends it, after what came before.
func TestInterfaceGoes(t *testing.T) {
	ns, a, b := testnet.Pair(t, 1500)
	s := open(t, ns, Options{Interface: a})
	send := sender(t, ns, b)
	frames, downs, over := make(chan byte, 10), make(chan string, 10), make(chan error, 1)
	go func() {
		over <- Run(context.Background(), []*Source{s}, func(f *Frame) error { frames <- f.Wire[17]; return nil }, func(name string) { downs <- name })
	}()
	send(frame(1, 60))
	if got := <-frames; got != 1 {
		t.Errorf("shelf %d", got)
	}
	ns.Down(a)
	if got := <-downs; got != a {
		t.Errorf("%s went down, not %s", a, got)
	}
	ns.Up(a)
	ns.WaitRunning(a)
	send(frame(2, 60))
	if got := <-frames; got != 2 {
		t.Errorf("shelf %d", got)
	}
	ns.Delete(a)
	if err := <-over; !errors.Is(err, ErrGone) {
		t.Errorf("removed: %v", err)
	}
}

// TestRefusals: each error names the interface and says why.
func TestRefusals(t *testing.T) {
	ns, a, _ := testnet.Pair(t, 1500)
	many := Filter{Addrs: make([]aoe.Addr, maxNames+1)}
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Interface: "nosuch0"}, `interface "nosuch0" does not exist here`},
		{Options{Interface: a, Filter: many}, "65 addresses are too many"},
		{Options{Interface: a, RingBytes: 1 << 40}, "receive ring"},
	} {
		ns.Do(func() {
			s, err := Open(c.o)
			if err == nil {
				_ = s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: %v", c.o, err)
			}
		})
	}
}
