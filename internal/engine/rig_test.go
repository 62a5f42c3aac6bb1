package engine

import (
	"encoding/binary"
	"sync/atomic"
	"testing"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/store"
	"goaoe/internal/store/mem"
	"goaoe/internal/target"
)

var (
	targetMAC = aoe.MAC{2, 0, 0, 0, 0, 0xaa}
	hostMAC   = aoe.MAC{2, 0, 0, 0, 0, 0x01}
)

// wire is a link that a test feeds and empties by hand, in the lane's own goroutine.
type wire struct {
	in      []link.Frame
	out     [][]byte
	full    int // this many Sends take nothing and say ErrFull
	limit   int // messages that one Send takes; 0: all
	down    bool
	refuse  func(m *link.Msg) error
	never   func(m *link.Msg) bool // messages that are answered ErrFull for ever
	taken   int
	filters atomic.Int32
	keep    bool
	copies  []byte // when not nil what is sent is copied here, as the kernel copies it, each frame behind the one before
	copied  int
	count   int
	fd      int
	drops   uint64
}

func (w *wire) Info() link.Info { return link.Info{Name: "w0", MAC: targetMAC, MTU: 9000} }
func (w *wire) Recv(batch []link.Frame) int {
	w.taken = copy(batch, w.in)
	return w.taken
}

func (w *wire) Release() {
	n := copy(w.in, w.in[w.taken:])
	w.in = w.in[:n]
	w.taken = 0
}
func (w *wire) Pending() bool { return len(w.in) > 0 }
func (w *wire) Send(msgs []link.Msg) (int, error) {
	if w.down {
		return 0, link.ErrDown
	}
	if w.full > 0 {
		w.full--
		return 0, link.ErrFull
	}
	for i := range msgs {
		if w.limit > 0 && i == w.limit {
			return i, link.ErrFull
		}
		m := &msgs[i]
		if w.never != nil && w.never(m) {
			return i, link.ErrFull
		}
		if w.refuse != nil {
			if m.Err = w.refuse(m); m.Err != nil {
				continue
			}
		}
		w.count++
		if n := len(m.Head) + len(m.Body); len(w.copies) >= n {
			if w.copied+n > len(w.copies) {
				w.copied = 0
			}
			copy(w.copies[w.copied+copy(w.copies[w.copied:], m.Head):], m.Body)
			w.copied += n
		}
		if w.keep {
			w.out = append(w.out, append(append([]byte(nil), m.Head...), m.Body...))
		}
	}
	return len(msgs), nil
}
func (w *wire) Inject(f []byte) error          { return nil }
func (w *wire) FD() int                        { return w.fd }
func (w *wire) SetFilter(f *link.Filter) error { w.filters.Add(1); return nil }
func (w *wire) Drops() uint64                  { return w.drops }
func (w *wire) Close() error                   { return nil }
func (w *wire) put(frame []byte, time int64) {
	w.in = append(w.in, link.Frame{Data: frame, Time: time})
}
func (w *wire) take() [][]byte { o := w.out; w.out = nil; return o }

// rig is a lane that a test turns by hand, with wires and memory stores.
type rig struct {
	t     testing.TB
	e     *Engine
	l     *lane
	wires []*wire
	slow  []SlowRequest
	tag   uint32
	ended bool
}

func newRig(t testing.TB, wires int) *rig {
	t.Helper()
	r := &rig{t: t}
	r.e = &Engine{ports: map[*Port]bool{}}
	r.e.opts.Slow = func(s SlowRequest) bool { r.slow = append(r.slow, s); return true }
	l, err := newLane(r.e, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.l = l
	r.e.lanes = []*lane{l}
	for i := 0; i < wires; i++ {
		r.wires = append(r.wires, &wire{keep: true, fd: -1})
	}
	t.Cleanup(r.end)
	return r
}

// export adds a memory export; sectors long, with the given queue length.
func (r *rig) export(addr aoe.Addr, st store.Store, queue int) *Export {
	r.t.Helper()
	te, err := target.NewExport(target.ExportConfig{
		Addr: addr, Serial: "serial-" + addr.String(), Model: "goaoe test", BufferCount: uint16(max(2, queue)),
		Sectors: uint64(st.Info().Size / store.SectorSize), PhysicalSize: 512, Discard: true,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	te.ID = uint32(len(r.l.exports))
	x := &Export{Target: te, Store: st, QueueLength: queue}
	if err := r.l.addExport(x); err != nil {
		r.t.Fatal(err)
	}
	return x
}

// serve makes all exports reachable on all wires.
func (r *rig) serve(mtu int, xs ...*Export) {
	r.t.Helper()
	var tes []*target.Export
	for _, x := range xs {
		tes = append(tes, x.Target)
	}
	tab, err := target.NewTable(tes)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, w := range r.wires {
		p := r.port(w, mtu)
		if err := p.SetTable(tab); err != nil {
			r.t.Fatal(err)
		}
		if err := r.l.addPort(p); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) port(w *wire, mtu int) *Port {
	p := newPort(PortConfig{Name: "w", Links: []link.Link{w}})
	p.SetIngress(target.Ingress{MAC: targetMAC, MTU: mtu, MaxSectors: (mtu - 36) / 512})
	return p
}

// end frees the lane, once.
func (r *rig) end() {
	if !r.ended {
		r.ended = true
		r.l.end()
	}
}

// run turns the lane until it has nothing to do.
func (r *rig) run() {
	for i := 0; r.l.turn() || r.l.pending(); i++ {
		if i > 1_000_000 {
			r.t.Fatal("the lane never comes to rest")
		}
	}
}

// ata builds an ATA request of the host.
func (r *rig) ata(addr aoe.Addr, cmd byte, lba uint64, count int, data []byte) []byte {
	r.tag++
	f := make([]byte, 36, 36+len(data))
	copy(f[0:], targetMAC[:])
	copy(f[6:], hostMAC[:])
	f[12], f[13], f[14] = 0x88, 0xa2, 0x10
	binary.BigEndian.PutUint16(f[16:], addr.Major)
	f[18] = addr.Minor
	binary.BigEndian.PutUint32(f[20:], r.tag)
	f[24] = 0x40
	if cmd == 0x34 {
		f[24] |= 1
	}
	f[26], f[27] = byte(count), cmd
	for i := 0; i < 6; i++ {
		f[28+i] = byte(lba >> (8 * i))
	}
	return append(f, data...)
}

func tagOf(f []byte) uint32 { return binary.BigEndian.Uint32(f[20:]) }

func newStore(t testing.TB, sectors int, ctl *mem.Control) *mem.Store {
	t.Helper()
	st, err := mem.Open(mem.Options{Size: int64(sectors) * 512, Control: ctl})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func sector(n int, v byte) []byte {
	b := make([]byte, n*512)
	for i := range b {
		b[i] = v
	}
	return b
}
