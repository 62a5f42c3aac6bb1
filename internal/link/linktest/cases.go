package linktest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/internal/link"
)

func overflow(t *testing.T, a, b link.Link) {
	f := Frame(b.Info().MAC, a.Info().MAC, aoe.Addr{}, 1, 60)
	if d := b.Drops(); d != 0 {
		t.Fatalf("a new link has %d drops", d)
	}
	for range 600 {
		SendAll(t, a, f)
	}
	var drops uint64
	for end := time.Now().Add(10 * time.Second); drops == 0; drops = b.Drops() {
		if time.Now().After(end) {
			t.Fatal("600 frames overran the ring, but Drops stayed 0")
		}
		time.Sleep(time.Millisecond)
	}
	if again := b.Drops(); again < drops {
		t.Fatalf("Drops went back from %d to %d", drops, again)
	}
	time.Sleep(50 * time.Millisecond)
	drops = b.Drops()
	got := 0
	var batch [64]link.Frame
	for n := 1; n > 0; {
		n = b.Recv(batch[:])
		got += n
		b.Release()
	}
	if uint64(got)+drops != 600 {
		t.Errorf("%d frames arrived and %d were dropped of 600", got, drops)
	}
	// All is well afterwards.
	SendAll(t, a, f)
	same(t, Collect(t, b, 1), [][]byte{f})
	if d := b.Drops(); d != drops {
		t.Errorf("drops went on from %d to %d", drops, d)
	}
}

func filter(t *testing.T, a, b link.Link) {
	ours, other := aoe.Addr{Major: 7, Minor: 3}, aoe.Addr{Major: 8, Minor: 3}
	to := func(addr aoe.Addr, tag uint32) []byte { return Frame(b.Info().MAC, a.Info().MAC, addr, tag, 60) }
	set := func(f *link.Filter) {
		t.Helper()
		if err := b.SetFilter(f); err != nil {
			t.Fatal(err)
		}
	}
	set(&link.Filter{})
	SendAll(t, a, to(ours, 1), to(aoe.Addr{Major: aoe.WildMajor, Minor: aoe.WildMinor}, 1))
	set(&link.Filter{Addrs: []aoe.Addr{ours}})
	answer := to(ours, 9)
	answer[14] |= 0x08
	SendAll(t, a, to(other, 2), answer)
	all := aoe.Addr{Major: aoe.WildMajor, Minor: aoe.WildMinor}
	want := [][]byte{
		to(ours, 3), to(all, 4), to(aoe.Addr{Major: aoe.WildMajor, Minor: 3}, 5), to(aoe.Addr{Major: 7, Minor: aoe.WildMinor}, 6),
		Frame(aoe.Broadcast, a.Info().MAC, ours, 7, 60),
	}
	want[4][14] |= 0x08
	SendAll(t, a, want...)
	// A link need not filter, but what it lets through must be in order, and what is wanted must be among it.
	for _, w := range want {
		for {
			if f := Collect(t, b, 1)[0]; (&link.Filter{Addrs: []aoe.Addr{ours}}).Wants(f) && string(f) == string(w) {
				break
			}
		}
	}
	set(nil)
	SendAll(t, a, to(other, 8))
	if f := Collect(t, b, 1)[0]; string(f) != string(to(other, 8)) {
		t.Errorf("without a filter the frame arrived as %x", f)
	}
	if d := b.Drops(); d != 0 {
		t.Errorf("frames that are not wanted count as %d drops", d)
	}
}

func inject(t *testing.T, a, b link.Link) {
	const workers, each = 4, 10
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				f := Frame(b.Info().MAC, a.Info().MAC, aoe.Addr{}, uint32(w*each+i), 100)
				if err := a.Inject(f); err != nil {
					t.Errorf("Inject: %v", err)
				}
			}
		})
	}
	for range 3 {
		if n, err := a.Send([]link.Msg{{Head: Frame(b.Info().MAC, a.Info().MAC, aoe.Addr{}, 1000, 100)}}); n != 1 || err != nil {
			t.Errorf("Send beside Inject = %d, %v", n, err)
		}
	}
	wg.Wait()
	seen := map[uint32]int{}
	for _, f := range Collect(t, b, workers*each+3) {
		seen[uint32(f[22])<<8|uint32(f[23])]++
	}
	for tag := range uint32(workers * each) {
		if seen[tag] != 1 {
			t.Errorf("frame %d arrived %d times", tag, seen[tag])
		}
	}
}

func closed(t *testing.T, a, b link.Link) {
	f := Frame(b.Info().MAC, a.Info().MAC, aoe.Addr{}, 1, 60)
	stop, over := make(chan struct{}), make(chan error)
	go func() { // Inject may run while the link is closed
		for {
			if err := a.Inject(f); err != nil && !errors.Is(err, link.ErrFull) {
				over <- err
				return
			}
			select {
			case <-stop:
			default:
			}
		}
	}()
	Collect(t, b, 1)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	close(stop)
	if err := <-over; !errors.Is(err, link.ErrClosed) {
		t.Errorf("Inject after Close: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func allocations(t *testing.T, a, b link.Link) {
	f := Frame(b.Info().MAC, a.Info().MAC, aoe.Addr{}, 1, 1060)
	msgs := make([]link.Msg, 8)
	for i := range msgs {
		msgs[i] = link.Msg{Head: f[:36], Body: f[36:]}
	}
	batch := make([]link.Frame, 16)
	round := func() {
		if n, err := a.Send(msgs); n != len(msgs) || err != nil {
			t.Errorf("Send = %d, %v", n, err)
		}
		for got, spins := 0, 0; got < len(msgs) && spins < 1e8; spins++ {
			if b.Pending() {
				got += b.Recv(batch)
				b.Release()
			}
		}
	}
	round() // first use may fill pools
	if n := testing.AllocsPerRun(200, round); n != 0 {
		t.Errorf("%v allocations for a batch of %d frames", n, len(msgs))
	}
}
