package engine

import (
	"encoding/binary"
	"testing"

	"goaoe/aoe"
	"goaoe/internal/stats"
)

// TestManyExports: with so many exports that the lane fetches ahead each request is answered by the right one, whatever lies between: frames cut off anywhere, for nobody, for
// everybody, of other commands, for exports that were removed.
func TestManyExports(t *testing.T) {
	const n = aheadExports + 4
	r := newRig(t, 2)
	var xs []*Export
	for i := range n {
		st := newStore(t, 64, nil)
		for b := range st.Bytes() {
			st.Bytes()[b] = byte(i)
		}
		xs = append(xs, r.export(aoe.Addr{Major: 1, Minor: uint8(i)}, st, 8))
	}
	r.serve(1500, xs...)
	r.l.removeExport(xs[1], make(chan struct{}))
	want := map[uint32]byte{}
	var junk [][]byte
	whole := r.ata(aoe.Addr{Major: 1, Minor: 2}, 0x24, 0, 1, nil)
	for cut := range whole {
		junk = append(junk, whole[:cut])
	}
	for _, a := range []aoe.Addr{{Major: 1, Minor: 1}, {Major: 1, Minor: 200}, {Major: 77, Minor: 1}} {
		junk = append(junk, r.ata(a, 0x24, 0, 1, nil))
	}
	config := r.ata(aoe.Addr{Major: 1, Minor: 3}, 0x24, 0, 1, nil)
	config[19] = 1
	junk = append(junk, config)
	work := func() {
		for i, x := range xs {
			w := r.wires[i%2]
			if i != 1 {
				f := r.ata(x.Target.Addr(), 0x24, uint64(i%32), 2, nil)
				want[tagOf(f)] = byte(i)
				w.put(f, 1)
			}
			w.put(junk[i%len(junk)], 1)
			w.put(junk[(i+n)%len(junk)], 1)
		}
		r.run()
	}
	work()
	got := 0
	for _, w := range r.wires {
		for _, f := range w.take() {
			v, asked := want[tagOf(f)]
			if !asked {
				continue
			}
			got++
			if len(f) != reqHeader+1024 || f[reqHeader] != v || f[len(f)-1] != v || f[18] != v {
				t.Errorf("the answer to what export %d was asked: % x", v, f[:min(len(f), 40)])
			}
		}
	}
	if got != len(want) || got != n-1 {
		t.Errorf("%d answers to %d requests", got, len(want))
	}
}

// TestAheadAllocatesNothing: neither does fetching ahead.
func TestAheadAllocatesNothing(t *testing.T) {
	r := newRig(t, 1)
	var xs []*Export
	for i := range aheadExports {
		xs = append(xs, r.export(aoe.Addr{Major: 1, Minor: uint8(i)}, newStore(t, 64, nil), 8))
	}
	r.serve(1500, xs...)
	r.wires[0].keep = false
	var frames [][]byte
	for _, x := range xs {
		frames = append(frames, r.ata(x.Target.Addr(), 0x24, 0, 1, nil))
	}
	if a := testing.AllocsPerRun(100, func() {
		for _, f := range frames {
			binary.BigEndian.PutUint32(f[20:], binary.BigEndian.Uint32(f[20:])+1)
			r.wires[0].put(f, 1)
		}
		r.run()
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
	if r.wires[0].count < 100*len(frames) {
		t.Errorf("%d replies", r.wires[0].count)
	}
}

// TestInitiatorLosesItsPlace: an export knows the entry of whoever asked it last. When the entry becomes another's, because its owner said nothing for long and the table is full,
// what the owner asks later is not counted for the other.
func TestInitiatorLosesItsPlace(t *testing.T) {
	r := newRig(t, 1)
	now := int64(1e18)
	r.e.opts.Clock = func() (int64, int64) { return now, now }
	x, y := r.export(e11, newStore(t, 64, nil), 8), r.export(aoe.Addr{Major: 1, Minor: 2}, newStore(t, 64, nil), 8)
	r.serve(1500, x, y)
	ask := func(a aoe.Addr, who uint32) {
		f := r.ata(a, 0x24, 0, 1, nil)
		binary.BigEndian.PutUint32(f[8:], who)
		r.wires[0].put(f, 0)
		r.run()
	}
	const first = 7
	ask(e11, first)
	entry := r.l.exports[x.Target.ID].ini
	if entry == nil || r.l.inis.Moves() != 0 {
		t.Fatal("the export does not know who asked it")
	}
	now += int64(stats.IdleAfter) + 1
	who := uint32(1000)
	for ; entry.LastSeen.Load() != uint64(now); who++ {
		if who == 100_000 {
			t.Fatal("nobody took the entry over")
		}
		ask(y.Target.Addr(), who)
	}
	ask(e11, first)
	var all uint64
	for _, i := range r.e.Initiators() {
		if !i.Others && i.Requests != 1 {
			t.Errorf("%s with %v: %d requests", i.MAC, i.Addr, i.Requests)
		}
		all += i.Requests
	}
	if want := uint64(who-1000) + 1; all != want && all != want+1 {
		t.Errorf("%d requests counted of %d", all, want)
	}
}
