package initiator

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"goaoe/ata"
	"goaoe/internal/link/mem"
	"goaoe/internal/target"
)

// stale plays the dangerous case: a write waits on a path that stalls, is repeated on another and answered there; then a newer write to the same
// sectors. It returns what the disk holds when the first path has come to life again.
func stale(t *testing.T, tune tuning) byte {
	w, a, b, links := pair(t, 1500)
	d := w.open(Options{}, tune, links...)
	warm(t, d)
	// b says nothing until the write is on a.
	w.set(func() { a.frozen, b.mute = true, true })
	first := make(chan error, 1)
	go func() {
		_, err := d.WriteAt(bytes.Repeat([]byte{1}, 512), 50*512)
		first <- err
	}()
	has := func(n *node) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, h := range n.queue {
			if opcode(h.frame) == ata.OpWriteExt && h.frame[36] == 1 {
				return true
			}
		}
		return false
	}
	w.until("the write waits on the path that stalls", func() bool {
		if has(a) {
			return true
		}
		d.mu.Lock() // it went over b: let it move
		defer d.mu.Unlock()
		return false
	})
	w.set(func() { b.mute = false })
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	second := make(chan error, 1)
	go func() {
		_, err := d.WriteAt(bytes.Repeat([]byte{2}, 512), 50*512)
		second <- err
	}()
	select {
	case err := <-second: // it did not wait: the copy undoes it
		second <- err
	case <-time.After(300 * time.Millisecond):
	}
	w.set(func() { a.frozen = false })
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	w.until("nothing waits", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(a.queue) == 0
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.disk[50*512]
}

// warm lets the disk find out how short a round trip is.
func warm(t *testing.T, d *Disk) {
	t.Helper()
	for i := range 200 {
		if _, err := d.ReadAt(make([]byte, 512), int64(i)*512); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStaleCopy: a copy of a write that waits on another path does not undo a newer write; without each part of the rule it does.
func TestStaleCopy(t *testing.T) {
	for name, c := range map[string]struct {
		off  func(*tuning)
		want byte
	}{
		"with the rule":  {func(*tuning) {}, 2},
		"without rests":  {func(x *tuning) { x.noRest = true }, 1},
		"without fences": {func(x *tuning) { x.noFence = true }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			tune := quick(Options{})
			tune.down, tune.maxRest = 5*time.Second, 30*time.Second
			c.off(&tune)
			if got := stale(t, tune); got != c.want {
				t.Errorf("the disk holds write %d, want %d", got, c.want)
			}
		})
	}
}

// TestRestEnds: a path that never comes back does not hold up writes for ever.
func TestRestEnds(t *testing.T) {
	w, a, b, links := pair(t, 1500)
	tune := quick(Options{})
	tune.maxRest = 500 * time.Millisecond
	d := w.open(Options{}, tune, links...)
	warm(t, d)
	w.set(func() { a.frozen = true })
	for i := range 4 { // over both paths
		if _, err := d.WriteAt([]byte(fmt.Sprintf("%0512d", i)), 50*512); err != nil {
			t.Fatal(err)
		}
	}
	d.mu.Lock()
	n := len(d.rests)
	d.mu.Unlock()
	if n > 2 {
		t.Errorf("%d ranges rest", n)
	}
	w.until("the rest is over", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return len(d.rests) == 0 })
	_ = b
}

// model holds a disk under random load over two bad paths against the rule that no sector ever goes back: what the disk holds is at
// no time older than what was answered. It returns what broke the rule.
func model(t *testing.T, tune tuning, seed uint64, dur time.Duration) (faults []string) {
	w := newWorld(t, 64)
	one, two := mem.NewNet(mem.Options{Seed: seed, Auto: true}), mem.NewNet(mem.Options{Seed: seed + 1, Auto: true})
	a := w.serve(one, tMAC, 1500, target.ExportConfig{})
	b := w.serve(two, tMAC, 1500, target.ExportConfig{})
	l1, l2 := one.Open("h0", iMAC, 1500), two.Open("h1", iMAC, 1500)
	var mu sync.Mutex
	var answered [64]uint64 // the newest write of each sector that was answered
	w.wrote = func(lba uint64, data []byte) {
		mu.Lock()
		defer mu.Unlock()
		for s := range len(data) / 512 {
			v := binary.LittleEndian.Uint64(data[s*512:])
			if k := lba + uint64(s); v < answered[k] && len(faults) < 3 {
				faults = append(faults, fmt.Sprintf("sector %d: write %d was executed after %d had been answered", k, v, answered[k]))
			}
		}
	}
	d := w.open(Options{Timeout: patience}, tune, l1, l2)
	warmUp := make([]byte, 512)
	for i := range 200 {
		if _, err := d.ReadAt(warmUp, int64(i%64)*512); err != nil {
			t.Fatal(err)
		}
	}
	one.SetFaults(mem.Faults{Loss: 0.02})
	two.SetFaults(mem.Faults{Loss: 0.02})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // paths stall, one at a time, and then bring what they held
		rng := rand.New(rand.NewPCG(seed, 7))
		for k := 0; ; k++ {
			n := []*node{a, b}[k%2]
			w.set(func() { n.frozen = true })
			select {
			case <-stop:
			case <-time.After(time.Duration(50+rng.IntN(400)) * time.Millisecond):
			}
			w.set(func() { n.frozen = false })
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(20+rng.IntN(60)) * time.Millisecond):
			}
		}
	})
	end := time.Now().Add(dur)
	var load sync.WaitGroup
	for g := range 8 { // each has 8 sectors, which it writes over and over
		load.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(g)))
			for n := uint64(1); time.Now().Before(end); n++ {
				from := rng.IntN(7)
				count := 1 + rng.IntN(min(2, 8-from))
				buf := make([]byte, count*512)
				for s := range count {
					binary.LittleEndian.PutUint64(buf[s*512:], n)
				}
				base := uint64(g*8 + from)
				if _, err := d.WriteAt(buf, int64(base)*512); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for s := range count {
					answered[base+uint64(s)] = n
				}
				mu.Unlock()
				if _, err := d.ReadAt(buf, int64(base)*512); err != nil {
					t.Error(err)
					return
				}
				if got := binary.LittleEndian.Uint64(buf); got != n {
					mu.Lock()
					faults = append(faults, fmt.Sprintf("sector %d reads as %d, %d was written", base, got, n))
					mu.Unlock()
				}
			}
		})
	}
	load.Wait()
	close(stop)
	wg.Wait()
	w.until("nothing waits", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(a.queue)+len(b.queue) == 0
	})
	if d.Stats().Retransmits == 0 {
		t.Error("nothing was sent again: the test shows nothing")
	}
	return faults
}

// TestOrderModel: no copy of a write, however late on whatever path, undoes a newer one; with the rules off some do.
func TestOrderModel(t *testing.T) {
	for _, c := range []struct {
		name   string
		off    func(*tuning)
		broken bool
	}{
		{"with all rules", func(*tuning) {}, false},
		{"without rests", func(x *tuning) { x.noRest = true }, true},
		{"without fences", func(x *tuning) { x.noFence = true }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tune := quick(Options{})
			tune.maxRest, tune.down = time.Minute, 5*time.Second
			c.off(&tune)
			var faults []string
			for seed := range uint64(8) { // a broken rule shows at the latest then
				if faults = append(faults, model(t, tune, 10*seed, 3*time.Second)...); len(faults) > 0 || !c.broken {
					break
				}
			}
			if broken := len(faults) > 0; broken != c.broken {
				t.Errorf("faults: %v", faults)
			}
		})
	}
}

// TestNoOvertaking: a stream of reads does not hold up a write to the same sectors for ever, and requests on the same sectors take effect in the
// order of submission.
func TestNoOvertaking(t *testing.T) {
	w := newWorld(t, 4000)
	net := mem.NewNet(mem.Options{Seed: 1, Auto: true})
	w.serve(net, tMAC, 1500, target.ExportConfig{})
	d := w.open(Options{}, quick(Options{}), net.Open("h0", iMAC, 1500))
	q := d.NewQueue(100)
	defer func() { _ = q.Close() }()
	var reqs []*Request
	for i := range 100 {
		r := &Request{Op: Read, Off: 512, Buf: make([]byte, 1024), User: uint64(i)}
		if i%7 == 3 {
			r.Op = Write
			for k := range r.Buf {
				r.Buf[k] = byte(i)
			}
		}
		reqs = append(reqs, r)
		if err := q.Submit(r); err != nil {
			t.Fatal(err)
		}
	}
	done := make([]*Request, 16)
	for left := 100; left > 0; {
		n, err := q.Wait(context.Background(), done)
		if err != nil {
			t.Fatal(err)
		}
		left -= n
	}
	want := byte(0)
	for i, r := range reqs {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if r.Op == Write {
			want = byte(i)
		} else if r.Buf[0] != want || r.Buf[1023] != want {
			t.Errorf("read %d saw write %d and %d, want %d", i, r.Buf[0], r.Buf[1023], want)
		}
	}
}
