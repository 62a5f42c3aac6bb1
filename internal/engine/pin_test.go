package engine

import (
	"testing"
	"unsafe"

	"goaoe/internal/link"
	"goaoe/internal/store/mem"
)

// pinWire is a wire that has a use for memory that it knows.
type pinWire struct {
	*wire
	mem     []byte
	asked   int
	forgot  int
	refuses bool
	within  uint64 // messages that lay in it
}

func (p *pinWire) Pin(mem []byte) bool {
	if mem == nil {
		p.forgot++
	} else {
		p.asked++
	}
	if p.mem = mem; p.refuses {
		p.mem = nil
	}
	return !p.refuses
}
func (p *pinWire) PinnedFrames() uint64    { return p.within }
func (p *pinWire) Pinning() (bool, string) { return !p.refuses, "" }
func (p *pinWire) Send(msgs []link.Msg) (int, error) {
	n, err := p.wire.Send(msgs)
	for i := range msgs[:n] {
		m := &msgs[i]
		at := uintptr(unsafe.Pointer(unsafe.SliceData(m.Head))) - uintptr(unsafe.Pointer(unsafe.SliceData(p.mem)))
		if len(m.Body) == 0 && at < uintptr(len(p.mem)) && at+uintptr(len(m.Head)) <= uintptr(len(p.mem)) {
			p.within++
		}
	}
	return n, err
}

// newPinned is a rig with one wire that pins.
func newPinned(t *testing.T, refuses bool) (*rig, *pinWire, *mem.Control) {
	t.Helper()
	r := newRig(t, 1)
	ctl := mem.NewControl(1)
	x := r.export(e11, newStore(t, 64, ctl), 64)
	r.serve(1500, x)
	lp := r.l.ports[0]
	w := &pinWire{wire: r.wires[0], refuses: refuses}
	lp.link, lp.pin = w, w
	return r, w, ctl
}

// reads sends so many reads and lets the lane answer them.
func (p *pinWire) reads(r *rig, n int) {
	p.out = nil
	for i := range n {
		p.put(r.ata(e11, 0x24, uint64(i%32), 1, nil), 1)
	}
	for range 100 {
		r.run()
		if len(p.out) >= n {
			return
		}
	}
	r.t.Fatalf("%d of %d replies", len(p.out), n)
}

// TestPin: a link is told where slots lie when it has enough to send, once, and forgets it before that memory goes.
func TestPin(t *testing.T) {
	r, w, _ := newPinned(t, false)
	w.reads(r, pinReplies-1)
	if w.asked != 0 {
		t.Error("it is pinned for a few replies")
	}
	w.reads(r, 32)
	w.reads(r, 32)
	if w.asked != 1 || len(w.mem) != len(r.l.slots.chunks[0].mem) || &w.mem[0] != &r.l.slots.chunks[0].mem[0] {
		t.Fatalf("asked %d times, %d bytes", w.asked, len(w.mem))
	}
	if got := r.l.ports[0].port.Snapshot().TxXDP; got != w.within || got < 64 {
		t.Errorf("%d frames counted, %d lay in the memory", got, w.within)
	}
	if err := r.l.slots.setPayload(20000); err != nil {
		t.Fatal(err)
	}
	if w.forgot != 1 || w.mem != nil {
		t.Fatalf("forgotten %d times, while the slots moved", w.forgot)
	}
	before := w.within
	w.reads(r, 32)
	if w.asked != 2 || w.within < before+32 || &w.mem[0] != &r.l.slots.chunks[0].mem[0] {
		t.Errorf("asked %d times, %d of 32 replies lay in the memory", w.asked, w.within-before)
	}
}

// TestPinRefused: a link without a use for it is not asked again.
func TestPinRefused(t *testing.T) {
	r, w, _ := newPinned(t, true)
	w.reads(r, 32)
	w.reads(r, 32)
	if w.asked != 1 || r.l.ports[0].port.Snapshot().TxXDP != 0 {
		t.Errorf("asked %d times", w.asked)
	}
}
