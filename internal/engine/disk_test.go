package engine

import (
	"bytes"
	"slices"
	"testing"

	"goaoe/aoe"
	"goaoe/internal/store"
	"goaoe/internal/store/mem"
	"goaoe/internal/sys"
	"goaoe/internal/target"
)

// TestRepliesOfADiskLeaveInParts: when a disk ends many requests at once and the lane had nothing to do, the first four replies leave before the others, so that the disk has something to
// do again; so do the next seven times, and from then on each part may have one more, up to 16, and stays so until it is idle again. What needs no disk leaves together.
func TestRepliesOfADiskLeaveInParts(t *testing.T) {
	r := newRig(t, 1)
	ctl := mem.NewControl(1)
	r.serve(1500, r.export(e11, newStore(t, 4096, ctl), 64), r.export(aoe.Addr{Major: 1, Minor: 2}, newStore(t, 4096, nil), 64))
	r.run()
	w := r.wires[0]
	for _, c := range []struct {
		what       string
		disk, idle bool
		want       []int
	}{
		{"the first", true, false, []int{4, 4, 4, 4, 4, 4, 4, 4, 5, 3}},
		{"at once after that", true, false, []int{6, 7, 8, 9, 10}},
		{"after it was idle", true, true, []int{4, 4, 4, 4, 4, 4, 4, 4, 5, 3}},
		{"out of memory, after it was idle", false, true, []int{40}},
	} {
		if c.idle {
			r.l.idle()
		}
		ctl.HoldAll(true)
		for i := range 40 {
			addr := e11
			if !c.disk {
				addr = aoe.Addr{Major: 1, Minor: 2}
			}
			w.put(r.ata(addr, 0x24, uint64(i), 1, nil), 1)
		}
		if c.disk {
			r.run()
			ctl.HoldAll(false)
			ctl.Release(40)
		}
		var got []int
		for range 20 {
			before := w.count
			r.l.turn()
			if n := w.count - before; n > 0 {
				got = append(got, n)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: replies left in parts of %v, want %v", c.what, got, c.want)
		}
	}
}

// pages is a store that wants whole pages.
type pages struct{ *mem.Store }

func (p pages) Info() store.Info {
	i := p.Store.Info()
	i.WholePages = true
	return i
}

// TestWholePages: the data of a request begins a page for a store that wants it so, and elsewhere where sending it is fast; both on one lane, through the same slots, and
// whatever comes first, the exports, the interface or longer frames.
func TestWholePages(t *testing.T) {
	for _, mtus := range [][]int{{1500}, {1500, 9000}} {
		r := newRig(t, len(mtus))
		e12 := aoe.Addr{Major: 1, Minor: 2}
		var buf []byte
		ctl := [2]*mem.Control{mem.NewControl(1), mem.NewControl(2)}
		for _, c := range ctl {
			c.Hold(func(op *store.Op) bool { buf = op.Buf; return false })
		}
		plain, whole := r.export(e11, newStore(t, 4096, ctl[0]), 4), r.export(e12, pages{newStore(t, 4096, ctl[1])}, 4)
		for i, mtu := range mtus {
			tab, err := target.NewTable([]*target.Export{plain.Target, whole.Target})
			if err != nil {
				t.Fatal(err)
			}
			p := r.port(r.wires[i], mtu)
			if err := p.SetTable(tab); err != nil {
				t.Fatal(err)
			}
			if err := r.l.addPort(p); err != nil {
				t.Fatal(err)
			}
			n := (mtu - 36) / 512
			for round := range 20 {
				at, addr := uint64(dataOffset), e11
				if round%3 == 0 {
					at, addr = 0, e12
				}
				data := sector(n, byte(round+1))
				r.wires[i].put(r.ata(addr, 0x34, uint64(round)*20, n, data), 1)
				r.run()
				if got := uint64(sys.Addr(buf)) % 4096; got != at {
					t.Fatalf("MTU %d, %v: the data begins at %d in its page, want %d", mtu, addr, got, at)
				}
				r.wires[i].put(r.ata(addr, 0x24, uint64(round)*20, n, nil), 1)
				r.run()
				out := r.wires[i].take()
				if len(out) != 2 || !bytes.Equal(out[1][36:], data) {
					t.Fatalf("MTU %d, %v: read something else than was written (%d replies)", mtu, addr, len(out))
				}
			}
		}
		r.end()
	}
}
