// Package mem is a network in memory for tests: links that are joined by a wire which loses, repeats, delays, reorders, cuts
// and damages frames on demand, each decision drawn from a seed. It serves a simulator that steps everything from one
// goroutine as well as lanes that sleep on the descriptors.
//
// What is sent arrives at once and in order unless a fault says otherwise. Without faults a frame costs no allocation once
// as many buffers exist as frames were ever waiting at the same time.
package mem

import (
	"math/rand/v2"
	"sync"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/sys"
)

// headLen is the length of the Ethernet header: an MTU counts what is behind it.
const headLen = 14

// Faults says what the wire does to frames. The probabilities are from 0 to 1 and are drawn independently of each
// other for each frame and receiver; the zero value is a perfect wire.
type Faults struct {
	Loss      float64 // the frame does not arrive
	Duplicate float64 // it arrives twice; the copy meets the faults below on its own
	Truncate  float64 // it is cut to a random length of 14 bytes or more
	Corrupt   float64 // one bit of it, anywhere, is flipped
	Reorder   float64 // it arrives behind 1 to Span of the frames that follow, or at the next Step
	Span      int     // 0 means 4
	Delay     float64 // it arrives after 1 to MaxDelay steps of the clock
	MaxDelay  int     // 0 means 8
}

// Options of a Net. The zero value is a perfect wire.
type Options struct {
	Seed   uint64
	Faults Faults
	// Queue is how many frames may wait at one link before more are dropped, as in a receive ring; 0 means 1024.
	Queue int
	// Auto makes every frame sent also a step of the clock, for users that do not step it.
	Auto bool
	// NoFD makes links without a descriptor (FD is -1), for simulators that never sleep.
	NoFD bool
	// Now gives the receive time of frames in nanoseconds since the Unix epoch; nil is the real time.
	Now func() int64
}

// Counts tells what the wire did since it was made.
type Counts struct {
	Sent, Delivered, Lost, Duplicated, Truncated, Corrupted, Reordered, Delayed uint64
	Overflowed                                                                  uint64 // dropped because the receiver's queue was full
	Filtered                                                                    uint64 // not wanted by the receiver's filter
}

// Net is a wire with any number of links on it. Its methods may be called from any goroutine.
type Net struct {
	mu     sync.Mutex
	opts   Options
	rng    *rand.Rand
	clock  uint64
	ports  []*port
	free   [][]byte // buffers that nobody holds, the last used on top
	held   []held
	counts Counts
}

// port is one interface: its lanes share MAC and MTU.
type port struct {
	info  link.Info
	lanes []*Link
	all   bool // sees frames for others too
}

// held is a frame that the wire keeps back.
type held struct {
	to   *Link
	e    entry
	due  uint64 // step of the clock that releases it; 0 when frames passing by do
	pass int    // how many frames for the same link must pass
}

// NewNet returns a wire without links. The same seed and the same order of calls give the same faults.
func NewNet(o Options) *Net {
	if o.Queue <= 0 {
		o.Queue = 1024
	}
	if o.Now == nil {
		o.Now = sys.Realtime
	}
	return &Net{opts: o, rng: rand.New(rand.NewPCG(o.Seed, 0x88a2))}
}

// Pair returns two links on a perfect wire: addresses 02:00:00:00:00:01 and :02, MTU 9000 when mtu is 0.
func Pair(mtu int) (a, b *Link) {
	n := NewNet(Options{})
	return n.Open("a", aoe.MAC{2, 0, 0, 0, 0, 1}, mtu), n.Open("b", aoe.MAC{2, 0, 0, 0, 0, 2}, mtu)
}

// Open puts a new link on the wire. An mtu of 0 means 9000. It gets what is sent to its address or to a group address
// by other links.
func (n *Net) Open(name string, mac aoe.MAC, mtu int) *Link { return n.OpenLanes(name, mac, mtu, 1)[0] }

// OpenLanes puts one interface on the wire as several links: each frame that arrives goes to lane link.LaneOf its address.
func (n *Net) OpenLanes(name string, mac aoe.MAC, mtu, lanes int) []*Link {
	if mtu <= 0 {
		mtu = 9000
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	p := &port{info: link.Info{Name: name, MAC: mac, MTU: mtu}}
	for range max(lanes, 1) {
		l := &Link{net: n, port: p, queue: make([]entry, n.opts.Queue), taken: make([][]byte, 0, n.opts.Queue), txRoom: -1}
		if !n.opts.NoFD {
			l.wake, _ = sys.NewEventFD() // without one FD is -1, which users must cope with anyway
		}
		p.lanes = append(p.lanes, l)
	}
	n.ports = append(n.ports, p)
	return p.lanes
}

// SetFaults changes the faults from the next frame on.
func (n *Net) SetFaults(f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opts.Faults = f
}

// Step moves the clock on by one and delivers what is due, and what waits for frames to pass.
func (n *Net) Step() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.step(true)
}

// Idle tells whether the wire keeps no frame back.
func (n *Net) Idle() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.held) == 0
}

// Counts returns what the wire did so far.
func (n *Net) Counts() Counts {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.counts
}

func (n *Net) step(release bool) {
	n.clock++
	n.release(func(h *held) bool {
		if h.due == 0 {
			return release
		}
		return h.due <= n.clock
	})
}

// release delivers the held frames for which ready says so, in the order in which they were sent.
func (n *Net) release(ready func(h *held) bool) {
	if len(n.held) == 0 {
		return
	}
	keep := n.held[:0]
	for i := range n.held {
		h := n.held[i]
		if ready(&h) {
			h.to.push(h.e)
		} else {
			keep = append(keep, h)
		}
	}
	clear(n.held[len(keep):])
	n.held = keep
}

// buffer returns memory for a frame of size bytes.
func (n *Net) buffer(size int) []byte {
	if k := len(n.free); k > 0 && cap(n.free[k-1]) >= size {
		b := n.free[k-1]
		n.free = n.free[:k-1]
		return b[:size]
	}
	return make([]byte, size, max(size, 9000+headLen))
}

// recycle takes memory back and spoils what was in it, so that a use after Release shows.
func (n *Net) recycle(b []byte) {
	for i := range b {
		b[i] = 0xa5
	}
	n.free = append(n.free, b)
}

// send puts one frame on the wire.
func (n *Net) send(from *port, head, body []byte) {
	n.counts.Sent++
	if n.opts.Auto {
		n.step(false)
	}
	var dst aoe.MAC
	copy(dst[:], head)
	for _, p := range n.ports {
		if p != from && (p.all || dst.IsGroup() || dst == p.info.MAC) {
			n.arrive(p, head, body)
		}
	}
}

// arrive runs one frame through the faults on its way to p.
func (n *Net) arrive(p *port, head, body []byte) {
	f := &n.opts.Faults
	if n.hit(f.Loss) {
		n.counts.Lost++
		return
	}
	copies := 1
	if n.hit(f.Duplicate) {
		n.counts.Duplicated++
		copies = 2
	}
	for range copies {
		b := n.buffer(len(head) + len(body))
		copy(b[copy(b, head):], body)
		if len(b) > headLen && n.hit(f.Truncate) {
			n.counts.Truncated++
			b = b[:headLen+n.rng.IntN(len(b)-headLen)]
		}
		if n.hit(f.Corrupt) {
			n.counts.Corrupted++
			b[n.rng.IntN(len(b))] ^= 1 << n.rng.IntN(8)
		}
		n.route(p, entry{data: b})
	}
}

// route chooses the lane and the moment of arrival.
func (n *Net) route(p *port, e entry) {
	l := p.lanes[0]
	if len(p.lanes) > 1 && len(e.data) > 18 {
		a := aoe.Addr{Major: uint16(e.data[16])<<8 | uint16(e.data[17]), Minor: e.data[18]}
		l = p.lanes[link.LaneOf(a, len(p.lanes))]
	}
	f := &n.opts.Faults
	switch {
	case n.hit(f.Delay):
		n.counts.Delayed++
		n.held = append(n.held, held{to: l, e: e, due: n.clock + 1 + uint64(n.rng.IntN(or(f.MaxDelay, 8)))})
	case n.hit(f.Reorder):
		n.counts.Reordered++
		n.held = append(n.held, held{to: l, e: e, pass: 1 + n.rng.IntN(or(f.Span, 4))})
	default:
		l.push(e)
		if len(n.held) > 0 {
			n.release(func(h *held) bool {
				if h.to != l || h.due != 0 {
					return false
				}
				h.pass--
				return h.pass <= 0
			})
		}
	}
}

func (n *Net) hit(p float64) bool { return p > 0 && n.rng.Float64() < p }

func or(v, def int) int {
	if v > 0 {
		return v
	}
	return def
}
