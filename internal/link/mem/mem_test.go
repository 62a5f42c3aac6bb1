package mem

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/link/linktest"
)

var (
	macA = aoe.MAC{2, 0, 0, 0, 0, 1}
	macB = aoe.MAC{2, 0, 0, 0, 0, 2}
)

func TestSuite(t *testing.T) {
	linktest.Run(t, func(testing.TB) (a, b link.Link) {
		n := NewNet(Options{Queue: 256})
		return n.Open("a", macA, 1500), n.Open("b", macB, 1500)
	})
}

// run sends count numbered frames over a faulty wire and returns what arrived, in order, and what the wire did.
func run(o Options, count int) (tags []uint32, sizes []int, c Counts) {
	n := NewNet(o)
	a, b := n.Open("a", macA, 1500), n.Open("b", macB, 1500)
	defer a.Close()
	defer b.Close()
	var batch [16]link.Frame
	take := func() {
		for k := b.Recv(batch[:]); k > 0; k = b.Recv(batch[:]) {
			for _, f := range batch[:k] {
				sizes = append(sizes, len(f.Data))
				if len(f.Data) >= 24 {
					tags = append(tags, uint32(f.Data[22])<<8|uint32(f.Data[23]))
				}
			}
			b.Release()
		}
	}
	for i := range count {
		_ = a.Inject(linktest.Frame(macB, macA, aoe.Addr{Major: 1}, uint32(i), 100))
		n.Step()
		take()
	}
	for !n.Idle() {
		n.Step()
		take()
	}
	return tags, sizes, n.Counts()
}

func TestFaults(t *testing.T) {
	const count = 2000
	about := func(t *testing.T, what string, n uint64) {
		t.Helper()
		if n < count/10 || n > count/3 {
			t.Errorf("%d frames of %d %s at a probability of 0.2", n, count, what)
		}
	}
	sorted := func(tags []uint32) bool {
		for i := 1; i < len(tags); i++ {
			if tags[i] < tags[i-1] {
				return false
			}
		}
		return true
	}
	t.Run("none", func(t *testing.T) {
		tags, _, c := run(Options{Seed: 1}, count)
		if len(tags) != count || !sorted(tags) || c != (Counts{Sent: count, Delivered: count}) {
			t.Errorf("%d frames, %+v", len(tags), c)
		}
	})
	t.Run("loss", func(t *testing.T) {
		tags, _, c := run(Options{Seed: 1, Faults: Faults{Loss: 0.2}}, count)
		about(t, "lost", c.Lost)
		if uint64(len(tags))+c.Lost != count || !sorted(tags) {
			t.Errorf("%d frames, %+v", len(tags), c)
		}
	})
	t.Run("duplicate", func(t *testing.T) {
		tags, _, c := run(Options{Seed: 1, Faults: Faults{Duplicate: 0.2}}, count)
		about(t, "repeated", c.Duplicated)
		if uint64(len(tags)) != count+c.Duplicated || !sorted(tags) {
			t.Errorf("%d frames, %+v", len(tags), c)
		}
	})
	t.Run("delay", func(t *testing.T) {
		tags, _, c := run(Options{Seed: 1, Faults: Faults{Delay: 0.2, MaxDelay: 5}}, count)
		about(t, "delayed", c.Delayed)
		if len(tags) != count || sorted(tags) {
			t.Errorf("%d frames, in order: %v", len(tags), sorted(tags))
		}
	})
	t.Run("truncate", func(t *testing.T) {
		_, sizes, c := run(Options{Seed: 1, Faults: Faults{Truncate: 0.2}}, count)
		about(t, "cut", c.Truncated)
		short := uint64(0)
		for _, n := range sizes {
			if n < 14 {
				t.Fatalf("a frame of %d bytes arrived", n)
			}
			if n < 100 {
				short++
			}
		}
		if short != c.Truncated {
			t.Errorf("%d frames are short, %d were cut", short, c.Truncated)
		}
	})
}

func TestReorderWithoutSteps(t *testing.T) {
	n := NewNet(Options{Seed: 3, Faults: Faults{Reorder: 0.3, Span: 3}})
	a, b := n.Open("a", macA, 1500), n.Open("b", macB, 1500)
	var sent [][]byte
	for i := range 300 {
		sent = append(sent, linktest.Frame(macB, macA, aoe.Addr{}, uint32(i), 60))
	}
	linktest.SendAll(t, a, sent...)
	n.Step()
	if !n.Idle() {
		t.Fatal("a step did not release what waited for frames to pass")
	}
	got := linktest.Collect(t, b, 300)
	moved := 0
	seen := map[uint32]bool{}
	for i, f := range got {
		tag := uint32(f[22])<<8 | uint32(f[23])
		seen[tag] = true
		if int(tag) != i {
			moved++
		}
		if d := i - int(tag); d > 30 {
			t.Errorf("frame %d came %d places late", tag, d)
		}
	}
	if len(seen) != 300 || moved == 0 {
		t.Errorf("%d different frames, %d moved", len(seen), moved)
	}
}

func TestCorrupt(t *testing.T) {
	n := NewNet(Options{Seed: 1, Faults: Faults{Corrupt: 1}})
	a, b := n.Open("a", macA, 1500), n.Open("b", macB, 1500)
	f := linktest.Frame(macB, macA, aoe.Addr{}, 1, 200)
	linktest.SendAll(t, a, f)
	diff := 0
	for i, v := range linktest.Collect(t, b, 1)[0] {
		for x := v ^ f[i]; x != 0; x &= x - 1 {
			diff++
		}
	}
	if diff != 1 {
		t.Errorf("%d bits differ, want 1", diff)
	}
}

func TestSeedDecides(t *testing.T) {
	o := Options{Faults: Faults{Loss: 0.1, Duplicate: 0.1, Delay: 0.3, Reorder: 0.2, Truncate: 0.1, Corrupt: 0.1}}
	result := func(seed uint64) string {
		o.Seed = seed
		tags, sizes, c := run(o, 500)
		return fmt.Sprint(tags, sizes, c)
	}
	if d := cmp.Diff(result(7), result(7)); d != "" {
		t.Errorf("the same seed gave something else:\n%s", d)
	}
	if result(7) == result(8) {
		t.Error("two seeds gave the same")
	}
}

func TestControls(t *testing.T) {
	n := NewNet(Options{NoFD: true, Now: func() int64 { return 42 }})
	a, b := n.Open("a", macA, 0), n.Open("b", macB, 0)
	if a.FD() != -1 || a.Info().MTU != 9000 {
		t.Errorf("FD %d, MTU %d", a.FD(), a.Info().MTU)
	}
	f := linktest.Frame(macB, macA, aoe.Addr{}, 1, 60)
	msgs := []link.Msg{{Head: f}, {Head: f}}

	a.SetRoom(1)
	if k, err := a.Send(msgs); k != 1 || !errors.Is(err, link.ErrFull) {
		t.Errorf("full: %d, %v", k, err)
	}
	a.SetRoom(-1)

	a.SetRefuse(func([]byte) error { return unix.EFAULT })
	if k, err := a.Send(msgs); k != 2 || err != nil || !errors.Is(msgs[1].Err, unix.EFAULT) {
		t.Errorf("refused: %d, %v, %v", k, err, msgs[1].Err)
	}
	a.SetRefuse(nil)

	b.SetDown(true)
	if err := a.Inject(f); err != nil {
		t.Errorf("sending to an interface that is down: %v", err)
	}
	if err := b.Inject(f); !errors.Is(err, link.ErrDown) {
		t.Errorf("sending from an interface that is down: %v", err)
	}
	if err := b.Check(); !errors.Is(err, link.ErrDown) {
		t.Errorf("Check: %v", err)
	}
	if err := b.Check(); err != nil {
		t.Errorf("a second Check: %v", err)
	}
	b.SetDown(false)

	b.Put(f, true, 5)
	var batch [4]link.Frame
	k := b.Recv(batch[:])
	if k != 2 || batch[0].Tagged || !batch[1].Tagged || batch[1].TCI != 5 || batch[1].Time != 42 {
		t.Fatalf("%d frames, %+v", k, batch[:k])
	}
	held := batch[1].Data
	b.Release()
	if bytes.Equal(held, f) {
		t.Error("a frame is still there after its release")
	}

	c := n.Open("c", aoe.MAC{2, 0, 0, 0, 0, 3}, 0)
	c.SetPromiscuous(true)
	linktest.SendAll(t, a, f)
	linktest.Collect(t, c, 1)
}

func TestLanes(t *testing.T) {
	n := NewNet(Options{})
	a := n.Open("a", macA, 1500)
	lanes := n.OpenLanes("b", macB, 1500, 3)
	for _, addr := range []aoe.Addr{{}, {Major: 1}, {Minor: 2}, {Major: 5, Minor: 3}, {Major: aoe.WildMajor, Minor: 1}, {Major: 2, Minor: aoe.WildMinor}} {
		linktest.SendAll(t, a, linktest.Frame(macB, macA, addr, 1, 60))
		for i, l := range lanes {
			if got, want := l.Pending(), i == link.LaneOf(addr, 3); got != want {
				t.Errorf("%v at lane %d: %v, want %v", addr, i, got, want)
			}
		}
		linktest.Collect(t, lanes[link.LaneOf(addr, 3)], 1)
	}
}

func TestAuto(t *testing.T) {
	n := NewNet(Options{Auto: true, Faults: Faults{Delay: 1, MaxDelay: 1}})
	a, b := n.Open("a", macA, 1500), n.Open("b", macB, 1500)
	for i := range 10 {
		linktest.SendAll(t, a, linktest.Frame(macB, macA, aoe.Addr{}, uint32(i), 60))
	}
	linktest.Collect(t, b, 9) // each frame moves the one before it
	if b.Pending() {
		t.Error("the last frame has nothing that moves it")
	}
}
