package sim

import (
	"math/rand/v2"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/engine"
	"goaoe/internal/link"
)

// frame is one frame on its way to the target.
type frame struct {
	data   []byte
	time   int64 // time stamp of the target's kernel
	epoch  int   // jumps of the clock before it
	tagged bool
	tci    uint16
}

// segment is an Ethernet: what is on it hears each other.
type segment struct {
	nics  []*nic
	ports []*port
}

// nic is an interface of an initiator.
type nic struct {
	h   *host
	n   int // of the host's
	mac aoe.MAC
	seg *segment
	rng *rand.Rand
	// When what was sent last in either direction arrives: nothing overtakes but by a fault.
	lastOut, lastIn int64
}

// port is an interface of the target. It outlives the daemon; links are what a daemon has open of it.
type port struct {
	w      *world
	n      int
	mac    aoe.MAC
	mtu    int // in force
	mtuMax int // ever
	opened int // when the links were opened
	seg    *segment
	rng    *rand.Rand
	down   bool
	stuck  bool // the send queue takes nothing
	cut    bool // the cable
	seen   int64
	tab    []bool // exports served here, as the daemon has set it

	links []*tlink
	ep    *engine.Port

	queued int // frames in the send queue

	acct *account
}

// account counts what became of the frames that arrived since the port was opened.
type account struct {
	silences int // not for us: a counter each
	outcomes int // requests, one for each export that a frame is for
	answers  int
	injected int // of them, those that the slow path sent
}

func (p *port) serves(n int) bool { return n < len(p.tab) && p.tab[n] }

// send puts a frame of an initiator on the wire.
func (n *nic) send(f []byte) {
	w := n.h.w
	w.counts.Sent++
	w.note(evSend, uint64(n.h.n), uint64(len(f)), uint64(f[20])<<24|uint64(f[21])<<16|uint64(f[22])<<8|uint64(f[23]))
	for _, p := range n.seg.ports {
		dst := aoe.MAC(f[:6])
		if dst != p.mac && dst != aoe.Broadcast && n.rng.IntN(50) != 0 { // now and then a switch floods
			continue
		}
		if p.cut || p.down {
			continue
		}
		w.transmit(n.rng, &n.lastOut, f, true, func(b []byte) { p.receive(b, n.rng) })
	}
}

// transmit takes a frame through the faults of the wire.
func (w *world) transmit(r *rand.Rand, last *int64, f []byte, toTarget bool, deliver func([]byte)) {
	net := &w.plan.Net
	if w.healed {
		net = &netPlan{Latency: net.Latency}
	}
	copies := 1
	if hit(r, net.Loss) {
		w.counts.Lost++
		return
	}
	if hit(r, net.Dup) {
		copies = 2
	}
	for range copies {
		b := append([]byte(nil), f...)
		if hit(r, net.Truncate) {
			b = b[:14+r.IntN(len(b)-13)]
		}
		if toTarget && hit(r, net.Corrupt) && len(b) >= 36 {
			// Whatever flips a bit on the wire is caught by the checksum of the frame, which is a loss. What is not caught was damaged before the
			// checksum was made; headers and lengths are tried.
			for range 1 + r.IntN(2) {
				i := r.IntN(36)
				if b[19] != 0 {
					i %= 19 // a string must not become data: the model knows data by its stamps
				}
				b[i] ^= 1 << r.IntN(8)
			}
		}
		at := w.now + net.Latency + r.Int64N(net.Latency/4+1)
		switch {
		case hit(r, net.Late):
			at += r.Int64N(4 * sec)
		case hit(r, net.Reorder):
			at += r.Int64N(5 * ms)
		default:
			at = max(at, *last)
			*last = at
		}
		w.at(at, func() { deliver(b) })
	}
}

func hit(r *rand.Rand, p float64) bool { return p > 0 && r.Float64() < p }

// receive is the arrival of a frame at the target's interface: the kernel stamps it and puts it into the ring of the lane that its
// address says. The lane sees it a moment later.
func (p *port) receive(b []byte, r *rand.Rand) {
	if p.down || p.cut || len(p.links) == 0 || len(b) < 14 {
		return
	}
	w := p.w
	f := frame{data: b, time: w.realtime(), epoch: w.model.epoch}
	if !w.healed && r.IntN(200) == 0 {
		f.tagged, f.tci = true, uint16(r.IntN(3))
	}
	l := p.links[0]
	if len(b) > 18 && len(p.links) > 1 {
		l = p.links[link.LaneOf(aoe.Addr{Major: uint16(b[16])<<8 | uint16(b[17]), Minor: b[18]}, len(p.links))]
	}
	if (b[12] != 0x88 || b[13] != 0xa2 || !l.filter.Wants(b)) && r.IntN(4) != 0 {
		return // the kernel's filter need not catch everything
	}
	p.seen = max(p.seen, w.now+r.Int64N(w.plan.Net.Gather))
	w.at(p.seen, func() { l.push(f) })
}

// tlink is a port as one lane of a daemon has it open: a link.Link.
type tlink struct {
	p      *port
	lane   int
	ring   []frame
	taken  [][]byte
	filter *link.Filter
	closed bool
	drops  uint64
}

const ringSize = 256

func (l *tlink) push(f frame) {
	if l.closed {
		return
	}
	if len(l.ring)+len(l.taken) >= ringSize {
		l.drops++
		return
	}
	l.ring = append(l.ring, f)
	l.p.w.site.wake(l.lane, 0)
}

// Info implements link.Link.
func (l *tlink) Info() link.Info {
	return link.Info{Name: "sim", MAC: l.p.mac, MTU: l.p.mtu}
}

// Recv implements link.Link.
func (l *tlink) Recv(batch []link.Frame) int {
	n := min(len(batch), len(l.ring))
	for i, f := range l.ring[:n] {
		b := append([]byte(nil), f.data...)
		batch[i] = link.Frame{Data: b[:len(b):len(b)], Time: f.time, TCI: f.tci, Tagged: f.tagged}
		l.taken = append(l.taken, b)
		l.p.w.model.took(l.lane, l.p, f)
	}
	l.ring = append(l.ring[:0], l.ring[n:]...)
	return n
}

// Release implements link.Link. It spoils the frames, so that a use after it shows.
func (l *tlink) Release() {
	for _, b := range l.taken {
		for i := range b {
			b[i] = 0xa5
		}
	}
	l.taken = l.taken[:0]
}

// Pending implements link.Link.
func (l *tlink) Pending() bool { return len(l.ring) > 0 }

// Send implements link.Link.
func (l *tlink) Send(msgs []link.Msg) (int, error) {
	p := l.p
	w := p.w
	w.model.settle(l.lane)
	for i := range msgs {
		m := &msgs[i]
		m.Err = nil
		if err := p.room(l.closed); err != nil {
			return i, err
		}
		if !w.healed && hit(p.rng, w.plan.Net.Refuse) {
			m.Err = unix.EFAULT
			continue
		}
		f := append(append(make([]byte, 0, len(m.Head)+len(m.Body)), m.Head...), m.Body...)
		if len(f) > 14+p.mtuMax {
			w.failf("port %d: a frame of %d bytes is sent", p.n, len(f))
		}
		w.model.reply(p, f)
		p.emit(f)
	}
	return len(msgs), nil
}

// room tells why nothing can be sent, or nil.
func (p *port) room(closed bool) error {
	switch {
	case closed:
		return link.ErrClosed
	case p.down:
		return link.ErrDown
	case p.stuck || p.w.plan.Net.TxRoom > 0 && p.queued >= p.w.plan.Net.TxRoom:
		return link.ErrFull
	}
	return nil
}

// emit lets a frame leave.
func (p *port) emit(f []byte) {
	w := p.w
	w.counts.Replies++
	if w.plan.Net.TxRoom > 0 {
		p.queued++
		w.after(5*us+p.rng.Int64N(800*us), func() {
			p.queued--
			for _, l := range p.links {
				w.site.wake(l.lane, 0)
			}
		})
	}
	if p.cut {
		return
	}
	for _, n := range p.seg.nics {
		if dst := aoe.MAC(f[:6]); dst != n.mac && dst != aoe.Broadcast {
			continue
		}
		w.transmit(n.rng, &n.lastIn, f, false, func(b []byte) {
			if n.h.alive {
				n.h.hears(n, b)
			}
		})
	}
}

// Inject implements link.Link.
func (l *tlink) Inject(f []byte) error {
	if err := l.p.room(l.closed); err != nil {
		return err
	}
	l.p.emit(f)
	return nil
}

// FD implements link.Link.
func (l *tlink) FD() int { return -1 }

// SetFilter implements link.Link.
func (l *tlink) SetFilter(f *link.Filter) error {
	l.filter = f
	return nil
}

// Drops implements link.Link.
func (l *tlink) Drops() uint64 { return l.drops }

// Close implements link.Link.
func (l *tlink) Close() error {
	l.closed = true
	l.ring = nil
	return nil
}
