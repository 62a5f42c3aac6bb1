package engine

import (
	"context"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/stats"
	"goaoe/internal/store/mem"
	"goaoe/internal/target"
	"goaoe/test/conformance"
)

type (
	linkMsg  = link.Msg
	linkLink = link.Link
)

// TestHungExportHoldsUpNobody is C93: one disk hangs with all that it may hold, the other export answers all of its requests.
func TestHungExportHoldsUpNobody(t *testing.T) {
	conformance.Covers(t, "C93")
	r := newRig(t, 1)
	ctl := mem.NewControl(1)
	e12 := aoe.Addr{Major: 1, Minor: 2}
	hung := r.export(e11, newStore(t, 4096, ctl), 16)
	good := r.export(e12, newStore(t, 4096, nil), 16)
	r.serve(1500, hung, good)
	ctl.HoldAll(true)
	w := r.wires[0]
	const flood = 5000
	for i := 0; i < flood; i++ {
		w.put(r.ata(e11, 0x24, uint64(i%2000), 1, nil), 1)
	}
	r.run()
	if n := len(ctl.InFlight()); n != 16 {
		t.Fatalf("%d operations on the hung store, want its queue length, 16", n)
	}
	le := r.l.exports[hung.Target.ID]
	const held = 16 * BacklogFactor * 3 / 4 // the last quarter is for other initiators
	if le.held != held {
		t.Fatalf("the hung export holds %d requests, want %d", le.held, held)
	}
	if n := hung.Target.Stats.Drops[stats.DropFull].Load() + hung.Target.Stats.Drops[stats.DropDuplicate].Load(); n != flood-held {
		t.Fatalf("dropped %d, want %d", n, flood-held)
	}
	for i := 0; i < 100; i++ {
		for k := 0; k < 16; k++ {
			w.put(r.ata(e12, 0x34, uint64(k), 1, sector(1, byte(i))), 1)
		}
		r.run()
		if n := len(w.take()); n != 16 {
			t.Fatalf("turn %d: %d replies from the good export, want 16", i, n)
		}
	}
	_ = good
}

// TestReservationOfSlots: many hung exports together cannot take what belongs to another.
func TestReservationOfSlots(t *testing.T) {
	r := newRig(t, 1)
	ctls := []*mem.Control{}
	var xs []*Export
	for i := 0; i < 40; i++ {
		ctl := mem.NewControl(uint64(i))
		ctl.HoldAll(true)
		ctls = append(ctls, ctl)
		xs = append(xs, r.export(aoe.Addr{Major: 2, Minor: uint8(i)}, newStore(t, 4096, ctl), 64))
	}
	free := aoe.Addr{Major: 3, Minor: 0}
	xs = append(xs, r.export(free, newStore(t, 4096, nil), 64))
	r.serve(1500, xs...)
	w := r.wires[0]
	for i := 0; i < 40; i++ {
		for k := 0; k < 300; k++ {
			w.put(r.ata(aoe.Addr{Major: 2, Minor: uint8(i)}, 0x34, uint64(k), 1, sector(1, 1)), 1)
		}
		r.run()
	}
	if r.l.slots.nfree < 64 {
		t.Fatalf("only %d slots are left", r.l.slots.nfree)
	}
	for k := 0; k < 64; k++ {
		w.put(r.ata(free, 0x34, uint64(k), 1, sector(1, 1)), 1)
	}
	r.run()
	if n := len(w.take()); n != 64 {
		t.Fatalf("%d replies of the free export, want 64", n)
	}
	for _, c := range ctls {
		c.HoldAll(false)
		c.Release(-1)
	}
	r.run()
	if r.l.slots.nfree != len(r.l.slots.slots) {
		t.Fatalf("%d of %d slots came back", r.l.slots.nfree, len(r.l.slots.slots))
	}
	for _, x := range xs {
		if le := r.l.exports[x.Target.ID]; le.used != 0 || le.held != 0 || le.waiting != 0 || le.queued != 0 || le.onStore != 0 {
			t.Fatalf("%v: counts are not back to zero: %+v", x.Target.Addr(), *le)
		}
	}
}

// TestManyAnswersToOneQuestion is C21: a wildcard query to a thousand targets, over a link that is often full.
func TestManyAnswersToOneQuestion(t *testing.T) {
	r := newRig(t, 1)
	var xs []*Export
	for i := 0; i < 1000; i++ {
		xs = append(xs, r.export(aoe.Addr{Major: uint16(i / 200), Minor: uint8(i % 200)}, newStore(t, 16, nil), 2))
	}
	r.serve(1500, xs...)
	w := r.wires[0]
	w.limit = 50
	q := make([]byte, 32)
	for i := 0; i < 6; i++ {
		q[i] = 0xff
	}
	copy(q[6:], hostMAC[:])
	q[12], q[13], q[14], q[16], q[17], q[18], q[19] = 0x88, 0xa2, 0x10, 0xff, 0xff, 0xff, 1
	w.fd = r.l.wake.FD() // pollable, and always writable
	w.put(q, 1)
	r.run()
	seen := map[aoe.Addr]bool{}
	for i := 0; i < 100 && len(seen) < 1000; i++ {
		r.run()
		for _, f := range w.take() {
			seen[aoe.Addr{Major: uint16(f[16])<<8 | uint16(f[17]), Minor: f[18]}] = true
		}
	}
	if len(seen) != 1000 {
		t.Fatalf("%d different targets answered, want 1000", len(seen))
	}
}

// TestLinkDown: replies are lost, counted, and the lane goes on.
func TestLinkDown(t *testing.T) {
	r := newRig(t, 1)
	x := r.export(e11, newStore(t, 64, nil), 4)
	r.serve(1500, x)
	w := r.wires[0]
	w.down = true
	w.put(r.ata(e11, 0x24, 1, 1, nil), 1)
	w.put(r.ata(e11, 0xec, 0, 1, nil), 1)
	r.run()
	if n := r.l.ports[0].st.Drops[stats.DropSend].Load(); n != 2 {
		t.Fatalf("lost replies = %d, want 2", n)
	}
	w.down = false
	w.put(r.ata(e11, 0x24, 1, 1, nil), 1)
	r.run()
	if n := len(w.take()); n != 1 {
		t.Fatalf("%d replies after the link came back, want 1", n)
	}
	if r.l.slots.nfree != len(r.l.slots.slots) {
		t.Fatal("a slot leaked")
	}
}

// TestLargerFramesWhileRequestsRun: buffers grow for a port with a larger MTU while old ones are on the store.
func TestLargerFramesWhileRequestsRun(t *testing.T) {
	r := newRig(t, 1)
	ctl := mem.NewControl(1)
	st := newStore(t, 256, ctl)
	x := r.export(e11, st, 16)
	r.serve(1500, x)
	ctl.HoldAll(true)
	for i := 0; i < 10; i++ {
		r.wires[0].put(r.ata(e11, 0x34, uint64(i), 1, sector(1, byte(i+1))), 1)
	}
	r.run()
	big := &wire{keep: true, fd: -1}
	p := r.port(big, 9000)
	if err := p.SetTable(r.l.ports[0].port.Table()); err != nil {
		t.Fatal(err)
	}
	if err := r.l.addPort(p); err != nil {
		t.Fatal(err)
	}
	ctl.HoldAll(false)
	ctl.Release(-1)
	r.run()
	for i := 0; i < 20; i++ {
		big.put(r.ata(e11, 0x34, uint64(20+i), 17, sector(17, byte(0x40+i))), 2)
		r.run()
	}
	if n := len(r.wires[0].take()) + len(big.take()); n != 30 {
		t.Fatalf("%d replies, want 30", n)
	}
	for i := 0; i < 10; i++ {
		if got := st.Bytes()[i*512]; got != byte(i+1) {
			t.Fatalf("sector %d holds %d", i, got)
		}
	}
	if got := st.Bytes()[(39+16)*512+511]; got != 0x40+19 {
		t.Fatalf("last sector of the large writes holds %#x", got)
	}
	for _, c := range r.l.slots.chunks {
		if len(c.old) != 0 {
			t.Fatal("old buffers were not freed")
		}
	}
}

// TestStaleRequestsAreDropped: what waited longer than the limit in our queues is not executed any more.
func TestStaleRequestsAreDropped(t *testing.T) {
	r := newRig(t, 1)
	r.e.opts.RequestAge = 2 * time.Second
	st := newStore(t, 64, nil)
	x := r.export(e11, st, 4)
	r.serve(1500, x)
	now := time.Now().UnixNano()
	r.wires[0].put(r.ata(e11, 0x34, 1, 1, sector(1, 1)), now-int64(3*time.Second))
	r.wires[0].put(r.ata(e11, 0x34, 2, 1, sector(1, 1)), now)
	r.run()
	if st.Bytes()[512] != 0 || st.Bytes()[1024] != 1 {
		t.Fatal("the old write was executed, or the new one was not")
	}
	if n := x.Target.Stats.Drops[stats.DropStale].Load(); n != 1 {
		t.Fatalf("stale = %d, want 1", n)
	}
}

// TestDiscardRanges: every range of a TRIM is discarded, in order with other requests.
func TestDiscardRanges(t *testing.T) {
	r := newRig(t, 1)
	st := newStore(t, 64, nil)
	x := r.export(e11, st, 4)
	r.serve(1500, x)
	for i := range st.Bytes() {
		st.Bytes()[i] = 0xff
	}
	ranges := make([]byte, 512)
	ranges[0], ranges[6] = 3, 2  // LBA 3, 2 sectors
	ranges[8], ranges[14] = 9, 0 // empty: skipped
	ranges[16], ranges[22] = 20, 1
	f := r.ata(e11, 0x06, 0, 1, ranges)
	f[24], f[25] = 0x41, 1
	r.wires[0].put(f, 1)
	r.wires[0].put(r.ata(e11, 0x34, 4, 1, sector(1, 7)), 2)
	r.run()
	b := st.Bytes()
	if b[3*512] != 0 || b[4*512] != 7 || b[20*512] != 0 || b[9*512] != 0xff || b[5*512] != 0xff || b[21*512] != 0xff {
		t.Fatalf("sectors 3 4 20 9 5 21: %x %x %x %x %x %x", b[3*512], b[4*512], b[20*512], b[9*512], b[5*512], b[21*512])
	}
	if n := len(r.wires[0].take()); n != 2 {
		t.Fatalf("%d replies, want 2", n)
	}
}

// TestNoAllocation: nothing is allocated per request, neither for a read, nor a write, nor what is dropped; neither with all of it being
// copied to taps, whether they have room or not, nor without.
func TestNoAllocation(t *testing.T) {
	r := newRig(t, 2)
	x := r.export(e11, newStore(t, 1024, nil), 64)
	y := r.export(aoe.Addr{Major: 1, Minor: 2}, func() *mem.Store {
		st, err := mem.Open(mem.Options{Size: 1 << 20, NoView: true})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}(), 64)
	r.serve(9000, x, y)
	var frames [][]byte
	for i := 0; i < 16; i++ {
		for _, e := range []*Export{x, y} {
			frames = append(frames, r.ata(e.Target.Addr(), 0x24, uint64(i*8), 8, nil), r.ata(e.Target.Addr(), 0x34, uint64(i*8), 8, sector(8, 1)),
				r.ata(e.Target.Addr(), 0xec, 0, 1, nil), r.ata(e.Target.Addr(), 0xe7, 0, 0, nil), r.ata(e.Target.Addr(), 0x24, 1<<40, 8, nil))
		}
		frames = append(frames, r.ata(aoe.Addr{Major: 9, Minor: 9}, 0x24, 0, 1, nil), []byte{1, 2, 3})
	}
	for _, w := range r.wires {
		w.keep = false
		w.in = make([]link.Frame, 0, 2*len(frames))
	}
	n := 0
	work := func() {
		for i, f := range frames {
			r.wires[i%2].put(f, 1)
		}
		r.run()
		n++
	}
	work()
	sent := r.wires[0].count + r.wires[1].count
	if sent < len(frames)*8/10 {
		t.Fatalf("only %d replies to %d frames", sent, len(frames))
	}
	check := func(when string) {
		t.Helper()
		if a := testing.AllocsPerRun(200, work); a != 0 {
			t.Fatalf("%s: %.1f allocations for %d requests, want none", when, a, len(frames))
		}
	}
	check("without a tap")
	plain := work
	taps := []*Tap{newTap(t, r.e, TapConfig{}), newTap(t, r.e, TapConfig{Snap: 9014, Initiator: hostMAC})}
	work = func() {
		plain()
		for _, tap := range taps { // as a reader that keeps up
			tap.rings[0].tail.Store(tap.rings[0].head.Load())
		}
	}
	check("with taps")
	if taps[0].Lost() != 0 || taps[0].rings[0].head.Load() < 200*uint64(len(frames)) {
		t.Fatalf("the tap saw %d frames, lost %d", taps[0].rings[0].head.Load(), taps[0].Lost())
	}
	work = plain
	check("with taps that are full")
	if taps[1].Lost() == 0 {
		t.Fatal("the tap never was full")
	}
}

// TestEngineOnThreads runs real lanes: ports and exports come and go, requests are drained, Stop ends everything.
func TestEngineOnThreads(t *testing.T) {
	e, err := New(Options{Lanes: 2, BusyPoll: time.Millisecond, Slow: func(SlowRequest) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	ctl := mem.NewControl(1)
	st := newStore(t, 64, ctl)
	te, err := target.NewExport(target.ExportConfig{Addr: e11, Serial: "s", Model: "m", BufferCount: 16, Sectors: 64, PhysicalSize: 512})
	if err != nil {
		t.Fatal(err)
	}
	x := &Export{Target: te, Store: st, QueueLength: 4}
	if err := e.AddExport(x); err != nil {
		t.Fatal(err)
	}
	if err := e.AddExport(&Export{Target: te, Store: st, QueueLength: 0}); err == nil {
		t.Fatal("queue-length 0 was accepted")
	}
	if err := e.SetQueueLength(x, 8); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := e.RemoveExport(ctx, x); err != nil {
		t.Fatalf("nothing is in flight: %v", err)
	}
	if err := e.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := e.AddExport(x); err == nil {
		t.Fatal("a stopped engine took an export")
	}
}

// TestWildcardForNobody: a request to a wildcard that matches no export is counted like one to an address that is not served.
func TestWildcardForNobody(t *testing.T) {
	r := newRig(t, 1)
	x := r.export(e11, newStore(t, 64, nil), 8)
	r.serve(1500, x)
	r.wires[0].put(r.ata(aoe.Addr{Major: 2, Minor: aoe.WildMinor}, 0xec, 0, 1, nil), 1)
	r.wires[0].put(r.ata(aoe.Addr{Major: 1, Minor: aoe.WildMinor}, 0xec, 0, 1, nil), 2)
	r.run()
	if n, out := r.l.ports[0].st.Drops[stats.DropAddress].Load(), r.wires[0].take(); n != 1 || len(out) != 1 {
		t.Errorf("%d counted as for no export, %d replies; want 1 and 1", n, len(out))
	}
}

// TestStatsAfterLinkWentDown: replies that wait for room when the interface goes down are given up, and the statistics say so at once and
// not only when there is traffic again.
func TestStatsAfterLinkWentDown(t *testing.T) {
	r := newRig(t, 1)
	ctl := mem.NewControl(1)
	x := r.export(e11, newStore(t, 64, ctl), 8)
	r.serve(1500, x)
	w := r.wires[0]
	w.full = 1000
	w.put(r.ata(e11, 0x24, 1, 1, nil), 1)
	r.l.turn()
	if n := r.l.stats.SlotsUsed.Load(); n != 1 {
		t.Fatalf("%d slots are in use while the reply waits, want 1", n)
	}
	w.full, w.down = 0, true
	r.run()
	if n, drops := r.l.stats.SlotsUsed.Load(), r.l.ports[0].st.Drops[stats.DropSend].Load(); n != 0 || drops != 1 {
		t.Errorf("%d slots are in use, %d replies counted as lost; want 0 and 1", n, drops)
	}
	w.full, w.down = 1000, false
	w.put(r.ata(e11, 0x24, 1, 1, nil), 1)
	r.l.turn()
	p := r.l.ports[0]
	r.l.removePort(p.port)
	if n, drops := r.l.stats.SlotsUsed.Load(), p.st.Drops[stats.DropSend].Load(); n != 0 || drops != 2 {
		t.Errorf("when the interface was removed: %d slots are in use, %d replies counted as lost; want 0 and 2", n, drops)
	}
}

// TestReplyThatIsNeverTaken: an interface that says "full" of one size of reply for ever (a virtual one whose other end has a smaller
// MTU) gets those behind them all the same; they are counted as drops, and their slots are free again.
func TestReplyThatIsNeverTaken(t *testing.T) {
	r := newRig(t, 1)
	e := r.export(e11, newStore(t, 4096, nil), 16)
	r.serve(9000, e)
	w := r.wires[0]
	w.never = func(m *link.Msg) bool { return len(m.Head)+len(m.Body) > 1514 }
	const large = 10
	for round := range 3 {
		for i := range large {
			w.put(r.ata(e11, 0x24, uint64(100*i), 8, nil), 1)
		}
		w.put(r.ata(e11, 0x24, 5, 1, nil), 1)
		got := 0
		for limit := time.Now().Add(10 * time.Second); got == 0 && time.Now().Before(limit); {
			r.run()
			for _, f := range w.take() {
				if len(f) != 36+512 {
					t.Fatalf("round %d: a reply of %d bytes", round, len(f))
				}
				got++
			}
		}
		if got != 1 {
			t.Fatalf("round %d: %d small replies, want 1: the large ones hold them up", round, got)
		}
	}
	for limit := time.Now().Add(10 * time.Second); r.l.ports[0].st.Drops[stats.DropSend].Load() < 3*large && time.Now().Before(limit); {
		r.run()
	}
	if n := r.l.ports[0].st.Drops[stats.DropSend].Load(); n != 3*large {
		t.Errorf("%d replies counted as dropped, want %d", n, 3*large)
	}
	w.never = nil
	w.put(r.ata(e11, 0x24, 100, 8, nil), 1)
	r.run()
	if out := w.take(); len(out) != 1 || len(out[0]) != 36+8*512 {
		t.Errorf("afterwards a large reply does not leave: %d replies", len(out))
	}
}
