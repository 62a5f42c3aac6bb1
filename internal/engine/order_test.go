package engine

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/internal/stats"
	"goaoe/internal/store"
	"goaoe/internal/store/mem"
	"goaoe/internal/target"
	"goaoe/test/conformance"
)

var e11 = aoe.Addr{Major: 1, Minor: 1}

// TestHeldWriteIsNotOvertaken is C91: a write that hangs in the storage, a newer one to the same sector, a read after both.
func TestHeldWriteIsNotOvertaken(t *testing.T) {
	conformance.Covers(t, "C91")
	r := newRig(t, 1)
	ctl := mem.NewControl(1)
	st := newStore(t, 64, ctl)
	x := r.export(e11, st, 8)
	r.serve(1500, x)
	ctl.HoldAll(true)
	w := r.wires[0]
	w.put(r.ata(e11, 0x34, 5, 1, sector(1, 1)), 1)
	w.put(r.ata(e11, 0x34, 4, 2, sector(2, 2)), 2)
	w.put(r.ata(e11, 0x24, 5, 1, nil), 3)
	r.run()
	if n := len(ctl.InFlight()); n != 1 {
		t.Fatalf("%d operations reached the store, want the first write alone", n)
	}
	if n := len(w.take()); n != 0 {
		t.Fatalf("%d replies while everything hangs", n)
	}
	for i := 0; i < 3; i++ {
		if n := ctl.Release(1); n != 1 {
			t.Fatalf("step %d: nothing to release", i)
		}
		r.run()
	}
	out := w.take()
	if len(out) != 3 {
		t.Fatalf("%d replies, want 3", len(out))
	}
	if got := out[2]; !bytes.Equal(got[36:548], sector(1, 2)) {
		t.Fatalf("the read returned %x..., want the second write's data", got[36:40])
	}
	if got := st.Bytes()[5*512]; got != 2 {
		t.Fatalf("sector 5 holds %d, want the newer write", got)
	}
	if n := x.Target.Stats.Waits.Load(); n != 2 {
		t.Fatalf("Waits = %d, want 2", n)
	}
}

// TestIndependentRequestsRunTogether fails when the order is stricter than it must be.
func TestIndependentRequestsRunTogether(t *testing.T) {
	r := newRig(t, 1)
	ctl := mem.NewControl(1)
	x := r.export(e11, newStore(t, 64, ctl), 8)
	r.serve(1500, x)
	ctl.HoldAll(true)
	w := r.wires[0]
	for i := 0; i < 4; i++ {
		w.put(r.ata(e11, 0x34, uint64(2*i), 2, sector(2, 1)), 1)
		w.put(r.ata(e11, 0x24, uint64(20), 2, nil), 1)
	}
	r.run()
	if n := len(ctl.InFlight()); n != 8 {
		t.Fatalf("%d of 8 independent requests run", n)
	}
	ctl.Release(-1)
	r.run()
	if n := len(w.take()); n != 8 {
		t.Fatalf("%d replies, want 8", n)
	}
}

// TestRandomOrder drives thousands of rounds of overlapping reads and writes against a store that completes in random
// order, over one and two interfaces, and holds every answer and the disk against a model that runs them in order of arrival.
func TestRandomOrder(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	for round := 0; round < rounds; round++ {
		if err := randomOrder(t, seed+uint64(round), true); err != "" {
			t.Fatalf("seed %d: %s", seed+uint64(round), err)
		}
	}
}

// TestRandomOrderBites shows that the check above finds a target without order.
func TestRandomOrderBites(t *testing.T) {
	for seed := uint64(1); seed <= 50; seed++ {
		if randomOrder(t, seed, false) != "" {
			return
		}
	}
	t.Fatal("50 rounds without any order of overlapping requests went unnoticed")
}

func randomOrder(t *testing.T, seed uint64, ordered bool) string {
	const sectors = 32
	rng := rand.New(rand.NewPCG(seed, 1))
	r := newRig(t, 1+int(seed%2))
	defer r.end()
	ctl := mem.NewControl(seed)
	st := newStore(t, sectors, ctl)
	x := r.export(e11, st, 64)
	r.serve(9000, x)
	r.l.exports[x.Target.ID].queue = int32(1 + rng.IntN(16)) // less room on the store, as much in the export
	ctl.Shuffle(1 + rng.IntN(6))
	model := make([]byte, sectors*512)
	want := map[uint32][]byte{}
	now := int64(0)
	for i := 0; i < 40; i++ {
		for n := rng.IntN(5); n > 0; n-- {
			lba, count := rng.IntN(sectors-4), 1+rng.IntN(4)
			w := r.wires[rng.IntN(len(r.wires))]
			now++
			if rng.IntN(2) == 0 {
				data := make([]byte, count*512)
				for k := range data {
					data[k] = byte(rng.Uint32())
				}
				w.put(alone(r.ata(e11, 0x34, uint64(lba), count, data)), now)
				copy(model[lba*512:], data)
				want[r.tag] = nil
			} else {
				w.put(alone(r.ata(e11, 0x24, uint64(lba), count, nil)), now)
				want[r.tag] = append([]byte(nil), model[lba*512:(lba+count)*512]...)
			}
		}
		if !ordered {
			r.l.receive()
			r.l.giveBack()
			forgetOrder(r.l, x)
		}
		r.l.turn()
	}
	r.run()
	for _, w := range r.wires {
		for _, f := range w.take() {
			data, ok := want[tagOf(f)]
			if !ok {
				return "a reply that nobody waits for"
			}
			delete(want, tagOf(f))
			if f[14] != 0x18 || f[27] != 0x40 {
				return "an error reply"
			}
			if data != nil && !bytes.Equal(f[36:], data) {
				return "a read returned something else than the writes before it left"
			}
		}
	}
	if len(want) > 0 {
		return "requests without a reply"
	}
	if !bytes.Equal(model, st.Bytes()) {
		return "the disk holds something else than the last writes"
	}
	return ""
}

// alone makes a request that of its own initiator, so that none is taken for a repetition of another.
func alone(f []byte) []byte {
	copy(f[8:12], f[20:24])
	return f
}

// forgetOrder makes the lane's export behave as if nothing overlapped.
func forgetOrder(l *lane, x *Export) {
	le := l.exports[x.Target.ID]
	for s := le.first; s != nil; s = s.next {
		if s.state == slotWaiting {
			s.blockers = 0
			le.waiting--
			le.pushReady(s)
		}
	}
	l.pump(le)
}

// TestRepetitionReplacesWaiting: of a request and its repetitions that wait, only the newest is run and answered.
func TestRepetitionReplacesWaiting(t *testing.T) {
	r := newRig(t, 1)
	ctl := mem.NewControl(1)
	x := r.export(e11, newStore(t, 64, ctl), 2)
	r.serve(1500, x)
	ctl.HoldAll(true)
	w := r.wires[0]
	first := r.ata(e11, 0x34, 1, 1, sector(1, 7))
	w.put(first, 1)
	w.put(append([]byte(nil), first...), 2) // same tag while it runs: dropped, the first one's reply serves both
	old := r.ata(e11, 0x34, 1, 1, sector(1, 8))
	w.put(old, 3)
	again := append([]byte(nil), old...)
	binary.BigEndian.PutUint32(again[20:], 0x7777)
	w.put(again, 4)
	other := append([]byte(nil), old...)
	other[36] = 9 // other data: not a repetition
	binary.BigEndian.PutUint32(other[20:], 0x8888)
	w.put(other, 5)
	r.run()
	for ctl.Release(-1) > 0 {
		r.run()
	}
	var tags []uint32
	for _, f := range w.take() {
		tags = append(tags, tagOf(f))
	}
	if len(tags) != 3 || tags[0] != tagOf(first) || tags[1] != 0x7777 || tags[2] != 0x8888 {
		t.Fatalf("answered tags %x, want the first, the newest repetition, and the different one", tags)
	}
	if n := x.Target.Stats.Drops[stats.DropDuplicate].Load(); n != 2 {
		t.Fatalf("duplicates = %d, want 2", n)
	}
}

// TestRepetitionOnOtherInterface: a repetition that came in by another interface takes the place of its older self, and is answered there. The
// one of the two without a reply is counted as dropped where it came in.
func TestRepetitionOnOtherInterface(t *testing.T) {
	r := newRig(t, 2)
	ctl := mem.NewControl(1)
	x := r.export(e11, newStore(t, 64, ctl), 8)
	r.serve(1500, x)
	ctl.HoldAll(true)
	r.wires[0].put(r.ata(e11, 0x34, 1, 1, sector(1, 1)), 1)
	write := r.ata(e11, 0x34, 1, 1, sector(1, 2)) // waits for the first
	r.wires[0].put(write, 2)
	again := append([]byte(nil), write...)
	binary.BigEndian.PutUint32(again[20:], 0x7777)
	r.wires[1].put(again, 3)
	r.run()
	for ctl.Release(-1) > 0 {
		r.run()
	}
	if out := r.wires[1].take(); len(out) != 1 || tagOf(out[0]) != 0x7777 {
		t.Fatalf("%d replies on the interface of the repetition, want its own", len(out))
	}
	for i, want := range []uint64{1, 0} {
		st := r.l.ports[i].st
		if got := st.Drops[stats.DropDuplicate].Load(); got != want || st.RxFrames.Load() != st.TxFrames.Load()+got {
			t.Errorf("interface %d: %d frames, %d replies, %d duplicates, want %d duplicates", i, st.RxFrames.Load(), st.TxFrames.Load(), got, want)
		}
	}
}

// TestRepetitionOfView: a repetition of a read whose reply is in the send queue already changes nothing of it: the reply leaves by the
// interface that it was made for, and that one counts it.
func TestRepetitionOfView(t *testing.T) {
	r := newRig(t, 2)
	x := r.export(e11, newStore(t, 64, nil), 8)
	r.serve(1500, x)
	r.wires[0].full = 1
	read := r.ata(e11, 0x24, 1, 1, nil)
	r.wires[0].put(read, 1)
	r.wires[0].put(r.ata(e11, 0x34, 1, 1, sector(1, 1)), 2) // so that the export looks for repetitions
	r.l.turn()
	s := r.l.exports[0].first
	if s == nil || s.state != slotView {
		t.Fatal("the read does not wait in the send queue: this test shows nothing")
	}
	r.wires[1].put(read, 3)
	r.l.receive()
	r.l.giveBack()
	if s.port != r.l.ports[0] {
		t.Error("the reply in the send queue of one interface belongs to the other now")
	}
	r.run()
	for i, want := range [][3]uint64{{2, 2, 0}, {1, 0, 1}} {
		st := r.l.ports[i].st
		if got := [3]uint64{st.RxFrames.Load(), st.TxFrames.Load(), st.Drops[stats.DropDuplicate].Load()}; got != want {
			t.Errorf("interface %d: frames, replies, duplicates %v, want %v", i, got, want)
		}
	}
}

// TestLateWriteOfOtherInterface: a write that was received before an overlapping one on another interface, but is looked at
// after it, must not be executed.
func TestLateWriteOfOtherInterface(t *testing.T) {
	r := newRig(t, 2)
	st := newStore(t, 64, nil)
	x := r.export(e11, st, 8)
	r.serve(1500, x)
	base := time.Now().UnixNano()
	r.wires[1].put(r.ata(e11, 0x34, 5, 1, sector(1, 2)), base+10)
	r.run()
	r.wires[0].put(r.ata(e11, 0x34, 4, 2, sector(2, 1)), base) // arrived earlier: stale
	r.wires[0].put(r.ata(e11, 0x34, 8, 2, sector(2, 3)), base) // earlier as well, but in nobody's way
	r.run()
	b := st.Bytes()
	if b[5*512] != 2 || b[4*512] != 0 || b[8*512] != 3 {
		t.Fatalf("sectors 4, 5, 8 hold %d %d %d, want 0 2 3", b[4*512], b[5*512], b[8*512])
	}
	if n := x.Target.Stats.Drops[stats.DropStale].Load(); n != 1 {
		t.Fatalf("stale = %d, want 1", n)
	}
	// Set the clock back by an hour: nothing may be held to be stale for that.
	r.wires[1].put(r.ata(e11, 0x34, 5, 1, sector(1, 4)), base+int64(time.Hour))
	r.run()
	r.wires[0].put(r.ata(e11, 0x34, 5, 1, sector(1, 5)), time.Now().UnixNano())
	r.run()
	if b[5*512] != 5 {
		t.Fatalf("sector 5 holds %d after the clock was set back, want 5", b[5*512])
	}
}

// TestLateWriteWhenTheClockJumps: a write that was overtaken while it waited in the ring of the other interface stays where it is when the clock is set
// back just then, and what comes afterwards is not held to be late.
func TestLateWriteWhenTheClockJumps(t *testing.T) {
	for _, c := range []struct {
		name       string
		back, late time.Duration // by how much the clock is set back; for how long the late write has waited
	}{
		{"hour", time.Hour, time.Millisecond}, {"second", time.Second, time.Millisecond}, {"second, long wait", time.Second, 1500 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 2)
			st := newStore(t, 64, nil)
			x := r.export(e11, st, 8)
			r.serve(1500, x)
			now := time.Now()
			r.l.eng.opts.Clock = func() (int64, int64) { return now.UnixNano(), now.UnixNano() }
			put := func(wire int, at time.Time, fill byte) {
				r.wires[wire].put(r.ata(e11, 0x34, 5, 1, sector(1, fill)), at.UnixNano())
				r.run()
			}
			put(1, now, 2)
			late := now.Add(-c.late)
			now = now.Add(-c.back)
			put(0, late, 1)
			if b := st.Bytes()[5*512]; b != 2 {
				t.Fatalf("the sector holds %d: a late write was let through", b)
			}
			if n := x.Target.Stats.Drops[stats.DropStale].Load(); n != 1 {
				t.Errorf("stale = %d, want 1", n)
			}
			if c.back < clockDoubt {
				now = now.Add(clockDoubt)
			}
			put(0, now, 3)
			if b := st.Bytes()[5*512]; b != 3 {
				t.Errorf("the sector holds %d: a write in the new time was not let through", b)
			}
		})
	}
}

// TestMergeByArrival: frames of two interfaces run in the order in which they came.
func TestMergeByArrival(t *testing.T) {
	r := newRig(t, 2)
	st := newStore(t, 64, nil)
	x := r.export(e11, st, 8)
	r.serve(1500, x)
	for i := 0; i < 10; i++ {
		r.wires[(i+1)%2].put(r.ata(e11, 0x34, 5, 1, sector(1, byte(i))), int64(100+i))
	}
	r.run()
	if got := st.Bytes()[5*512]; got != 9 {
		t.Fatalf("sector 5 holds %d, want 9, the last to arrive", got)
	}
}

// TestViewIsSentBeforeTheNextWrite: a read that is answered out of mapped memory shows what was there before a write
// that came behind it in the same batch.
func TestViewIsSentBeforeTheNextWrite(t *testing.T) {
	r := newRig(t, 1)
	st := newStore(t, 64, nil)
	x := r.export(e11, st, 8)
	r.serve(1500, x)
	w := r.wires[0]
	w.put(r.ata(e11, 0x34, 5, 1, sector(1, 1)), 1)
	r.run()
	w.take()
	w.put(r.ata(e11, 0x24, 5, 1, nil), 2)
	w.put(r.ata(e11, 0x34, 5, 1, sector(1, 2)), 3)
	w.put(r.ata(e11, 0x24, 5, 1, nil), 4)
	r.run()
	out := w.take()
	if len(out) != 3 {
		t.Fatalf("%d replies, want 3", len(out))
	}
	if x.Target.Stats.Views.Load() == 0 {
		t.Fatal("no read was answered from memory: this test shows nothing")
	}
	reads := map[uint32]byte{}
	for _, f := range out {
		if len(f) == 548 {
			reads[tagOf(f)] = f[36]
		}
	}
	if reads[2] != 1 || reads[4] != 2 {
		t.Fatalf("reads returned %v, want 1 before the write and 2 after it", reads)
	}
}

// TestViewThatCannotBeSent becomes a read of its own.
func TestViewThatCannotBeSent(t *testing.T) {
	r := newRig(t, 1)
	st := newStore(t, 64, nil)
	x := r.export(e11, st, 8)
	r.serve(1500, x)
	w := r.wires[0]
	refused := 0
	w.refuse = func(m *linkMsg) error {
		if len(m.Body) > 0 && refused == 0 {
			refused++
			return errStopped
		}
		return nil
	}
	st.Bytes()[5*512] = 42
	w.put(r.ata(e11, 0x24, 5, 1, nil), 1)
	w.put(r.ata(e11, 0x34, 5, 1, sector(1, 2)), 2)
	r.run()
	out := w.take()
	if refused != 1 || len(out) != 2 || len(out[0]) != 548 || out[0][36] != 42 {
		t.Fatalf("refused %d, %d replies; want the read's data by another way, then the write's reply", refused, len(out))
	}
}

// TestErrorsReachTheInitiator: C70, C71.
func TestErrorsReachTheInitiator(t *testing.T) {
	conformance.Covers(t, "C70", "C71")
	r := newRig(t, 1)
	ctl := mem.NewControl(1)
	x := r.export(e11, newStore(t, 64, ctl), 8)
	r.serve(1500, x)
	ctl.Fail(store.Read, 5*512, 512, 5 /* EIO */, 1)
	ctl.Fail(store.Write, 6*512, 512, 28 /* ENOSPC */, 1)
	w := r.wires[0]
	w.put(r.ata(e11, 0x24, 5, 1, nil), 1)
	w.put(r.ata(e11, 0x34, 6, 1, sector(1, 2)), 1)
	w.put(r.ata(e11, 0x24, 5, 1, nil), 2)
	r.run()
	got := map[uint32][2]byte{}
	size := map[uint32]int{}
	for _, f := range w.take() {
		got[tagOf(f)] = [2]byte{f[27], f[25]}
		size[tagOf(f)] = len(f)
	}
	if got[1] != [2]byte{0x41, 0x40} || got[2] != [2]byte{0x61, 0x04} || got[3] != [2]byte{0x40, 0} {
		t.Fatalf("status and error %x, want UNC, ABRT with DF, success", got)
	}
	if size[1] != 60 || size[2] != 60 || size[3] != 548 {
		t.Fatalf("sizes %v, want 60, 60, 548", size)
	}
	if st := x.Target.Stats.Snapshot(); st.Errors != 2 || st.ErrorKinds["media"] != 1 || st.ErrorKinds["no-space"] != 1 {
		t.Fatalf("errors %d %v, want 2: one media, one no-space", st.Errors, st.ErrorKinds)
	}
}

// TestRepetitionOfLentData: a write whose data lies in the receive ring is compared with what repeats it in the same turn. Later there is something else in
// the ring, which must not make a new write a repetition.
func TestRepetitionOfLentData(t *testing.T) {
	r := newRig(t, 1)
	x := r.export(e11, newStore(t, 64, nil), 8)
	r.serve(1500, x)
	frame := r.ata(e11, 0x34, 5, 1, sector(1, 7))
	le := r.l.exports[0]
	s := r.l.slots.take(le)
	copy(s.req, frame)
	s.state, s.io = slotStore, target.IOSpec{Kind: target.IOWrite, LBA: 5, Count: 1}
	s.op.Buf, s.op.Spare, s.lent = append([]byte(nil), frame[reqHeader:]...), s.data[:512], 9
	le.first, le.last = s, s
	if got := le.repetition(frame, &s.io, 9); got != s {
		t.Error("a repetition in the same turn is not found")
	}
	if got := le.repetition(frame, &s.io, 10); got != nil {
		t.Error("in the next turn a write is compared with what the ring holds by then")
	}
	other := append([]byte(nil), frame...)
	other[reqHeader+100] ^= 1
	if got := le.repetition(other, &s.io, 9); got != nil {
		t.Error("a write of other data is taken for a repetition")
	}
	le.first, le.last = nil, nil
	r.l.slots.put(s)
}
