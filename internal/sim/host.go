package sim

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"goaoe/aoe"
)

// host is a machine with an initiator.
type host struct {
	w     *world
	n     int
	kind  string
	plan  hostPlan
	rng   *rand.Rand
	hab   *habits
	nics  []*nic
	alive bool

	x      int // the export in use
	paths  []*path
	ready  bool
	probe  int // WinAoE: sectors in a frame that are being tried
	most   int // sectors in a frame
	size   int // of the disk
	window int

	left    int // requests to be made yet
	out     []*request
	tags    uint32
	next    int // path for the next frame
	mean    int64
	dev     int64
	ticking bool
	pausing bool
	heard   int
}

// path is a way to the target: one of ours and one of its interfaces.
type path struct {
	nic *nic
	mac aoe.MAC
}

// request is one that waits for its answer.
type request struct {
	cmd         byte // AoE
	op, feature byte
	lba         uint64
	count       int
	data        []byte
	arg         []byte // of commands other than ATA
	tag         uint32
	first, sent int64
	tries       int
	wild        int // 1: to every shelf, 2: to every slot
}

// habits are what tells drivers apart: protocol reference, section 5.
type habits struct {
	newTag   bool  // of a repetition
	tick     int64 // how often the driver looks for what is overdue
	window   int   // outstanding at most
	giveUp   int64
	rto      func(h *host, r *request) int64
	toAll    bool // ATA commands go to the broadcast address
	shrinks  bool // a repetition may ask for less under the same tag
	discover func(h *host)
}

var habitsOf = map[string]*habits{
	"linux": {newTag: true, tick: 100 * ms, window: 64, giveUp: 60 * sec, discover: (*host).queryAll,
		rto: func(h *host, _ *request) int64 { return 2*h.mean + 8*h.dev }},
	"ipxe": {tick: 50 * ms, window: 1, giveUp: 10 * sec, discover: (*host).queryOne,
		rto: func(_ *host, r *request) int64 { return 250 * ms << min(r.tries-1, 5) }},
	// For ever every 20 ms; here that becomes slower after a while, to keep the runs short.
	"winaoe": {tick: 20 * ms, window: 8, giveUp: 30 * sec, toAll: true, discover: (*host).identifyAll,
		rto: func(_ *host, r *request) int64 { return ifInt(r.tries < 20, 20*ms, 300*ms) }},
	"plan9": {tick: 20 * ms, window: 16, giveUp: 45 * sec, shrinks: true, discover: (*host).queryAll,
		rto: func(h *host, r *request) int64 {
			return min(max(2*h.mean, 20*ms), 320*ms) << min(r.tries/8, 4)
		}},
	"illumos": {newTag: true, tick: 100 * ms, window: 8, giveUp: 60 * sec, discover: (*host).queryAll,
		rto: func(_ *host, r *request) int64 { return 500 * ms }},
	"admin": {tick: 100 * ms, window: 2, giveUp: 3 * sec, discover: (*host).noDiscovery,
		rto: func(_ *host, r *request) int64 { return 400 * ms }},
	"fuzz": {tick: 100 * ms, window: 32, giveUp: 50 * ms, discover: (*host).noDiscovery,
		rto: func(_ *host, r *request) int64 { return sec }},
	"none": {},
}

func ifInt(c bool, a, b int64) int64 {
	if c {
		return a
	}
	return b
}

func newHost(w *world, n int, p hostPlan) *host {
	h := &host{w: w, n: n, kind: p.Kind, plan: p, rng: w.stream(0x4057, n), hab: habitsOf[p.Kind], x: p.Export, left: p.Ops, most: 2,
		window: 1, tags: uint32(n+1) << 16, mean: 250 * ms}
	h.size = w.plan.Exports[h.x].Sectors
	if h.kind == "none" {
		return h
	}
	for i, s := range w.segs {
		if i > 0 && h.kind != "linux" && h.kind != "plan9" {
			break // only these use several paths
		}
		c := &nic{h: h, n: i, mac: aoe.MAC{2, 0, 0, 1, byte(n), byte(i)}, seg: s, rng: w.stream(0x41c, n*4+i)}
		s.nics = append(s.nics, c)
		h.nics = append(h.nics, c)
	}
	return h
}

// busy tells whether the host still wants something.
func (h *host) busy() bool { return h.alive && h.ready && (h.left > 0 || len(h.out) > 0) }

func (h *host) start() {
	h.alive = true
	h.hab.discover(h)
	h.discoverLater()
}

func (h *host) discoverLater() {
	every := 2 * sec
	if h.ready {
		every = 10 * sec
	}
	h.w.after(every, func() {
		if h.alive && (h.left > 0 || len(h.out) > 0) {
			h.hab.discover(h)
			h.discoverLater()
		}
	})
}

func (h *host) addr() aoe.Addr { return addrOf(h.x) }

// head builds a header.
func (h *host) head(n *nic, dst aoe.MAC, major, minor int, cmd byte, tag uint32, size int) []byte {
	f := make([]byte, size)
	copy(f, dst[:])
	copy(f[6:], n.mac[:])
	f[12], f[13], f[14] = 0x88, 0xa2, 0x10
	binary.BigEndian.PutUint16(f[16:], uint16(major))
	f[18], f[19] = byte(minor), cmd
	binary.BigEndian.PutUint32(f[20:], tag)
	return f
}

func (h *host) queryAll() {
	for _, n := range h.nics {
		n.send(h.head(n, aoe.Broadcast, 0xffff, 0xff, 1, 0, 32))
	}
}

func (h *host) queryOne() {
	a := h.addr()
	h.nics[0].send(h.head(h.nics[0], aoe.Broadcast, int(a.Major), int(a.Minor), 1, 0x18ae0000, 32))
}

func (h *host) identifyAll() {
	f := h.head(h.nics[0], aoe.Broadcast, 0xffff, 0xff, 0, 0x77000001, 36)
	f[26], f[27] = 1, 0xec
	h.nics[0].send(f)
}

// noDiscovery is for those that know where the target is.
func (h *host) noDiscovery() {
	if !h.ready {
		for _, p := range h.nics[0].seg.ports {
			h.paths = append(h.paths, &path{h.nics[0], p.mac})
		}
		h.ready, h.window = true, min(h.hab.window, h.plan.Window)
		h.pump()
	}
}

func (h *host) tag() uint32 {
	h.tags++
	return h.tags
}

// hears takes a frame from the wire.
func (h *host) hears(n *nic, f []byte) {
	if len(f) < 36 || f[12] != 0x88 || f[13] != 0xa2 {
		return
	}
	hd := readHeader(f)
	if hd.flags&8 == 0 {
		return
	}
	h.heard++
	h.w.note(evHear, uint64(h.n), uint64(hd.tag), uint64(len(f)))
	a := h.addr()
	if hd.major != int(a.Major) || hd.minor != int(a.Minor) {
		return
	}
	switch {
	case hd.cmd == 1 && hd.flags&4 == 0 && h.kind != "admin":
		h.heardConfig(n, hd.src, f)
		return
	case hd.cmd == 0 && hd.tag == 0x77000001:
		h.addPath(n, hd.src, 64)
		return
	}
	i := slices.IndexFunc(h.out, func(r *request) bool { return r.tag == hd.tag && r.cmd == hd.cmd })
	if i < 0 || hd.flags&4 != 0 && h.kind != "plan9" && h.kind != "ipxe" && h.kind != "admin" {
		return // an unexpected reply; AoE errors are as good as none to most
	}
	r := h.out[i]
	if hd.cmd == 0 && hd.flags&4 == 0 && f[27]&0xa9 == 0 && r.op&0xfc == 0x24 && len(f) < 36+r.count*sectorSize {
		return // too short: misread
	}
	h.out = slices.Delete(h.out, i, i+1)
	h.measure(h.w.now - r.sent)
	if r.op == 0xec && hd.flags&4 == 0 && len(f) >= 548 {
		h.size = int(binary.LittleEndian.Uint64(f[236:]))
		switch {
		case h.ready:
		case h.kind == "winaoe":
			h.probe = 1
			h.tryCount()
			return
		default:
			h.ready = true
		}
	}
	if h.probe > 0 { // WinAoE looks for the largest frame
		if f[27] == 0x40 && h.probe < 4 {
			h.most = h.probe
			h.probe++
			h.tryCount()
			return
		}
		h.probe, h.ready = 0, true
	}
	h.window = min(h.window+1, h.hab.window, max(1, h.plan.Window))
	h.pump()
}

func (h *host) tryCount() {
	h.issue(&request{op: 0x24, count: h.probe})
}

func (h *host) heardConfig(n *nic, src aoe.MAC, f []byte) {
	count := int(f[24])<<8 | int(f[25])
	if s := int(f[28]); h.kind != "ipxe" {
		h.most = max(1, min(s, 17))
	}
	h.addPath(n, src, count)
}

func (h *host) addPath(n *nic, mac aoe.MAC, count int) {
	if !slices.ContainsFunc(h.paths, func(p *path) bool { return p.nic == n && p.mac == mac }) {
		h.paths = append(h.paths, &path{n, mac})
	}
	if h.kind == "linux" {
		h.window = min(max(1, count/2), h.hab.window, max(1, h.plan.Window))
	}
	if !h.ready && !slices.ContainsFunc(h.out, func(r *request) bool { return r.op == 0xec }) {
		h.issue(&request{op: 0xec, count: 1})
	}
}

// measure is the estimate of the round trip time, as the Linux driver makes it.
func (h *host) measure(rtt int64) {
	d := rtt - h.mean
	h.mean += d >> 3
	if d < 0 {
		d = -d
	}
	h.dev += (d - h.dev) >> 2
}

// pump makes new requests while there is room.
func (h *host) pump() {
	for h.alive && h.ready && h.left > 0 && len(h.out) < h.window && !h.pausing {
		h.left--
		h.issue(h.draw())
		if h.plan.Pause > 0 && h.rng.IntN(3) == 0 {
			h.pausing = true
			h.w.after(h.rng.Int64N(h.plan.Pause), func() {
				h.pausing = false
				h.pump()
			})
		}
	}
}

// issue sends a request for the first time.
func (h *host) issue(r *request) {
	r.tag, r.first = h.tag(), h.w.now
	h.out = append(h.out, r)
	h.transmit(r)
	h.tickLater()
}

// transmit sends a request by the next path.
func (h *host) transmit(r *request) {
	r.tries++
	r.sent = h.w.now
	if len(h.paths) == 0 {
		return
	}
	p := h.paths[h.next%len(h.paths)]
	h.next++
	dst, a := p.mac, h.addr()
	if h.hab.toAll {
		dst = aoe.Broadcast
	}
	if r.cmd != 0 {
		f := h.head(p.nic, dst, int(a.Major), int(a.Minor), r.cmd, r.tag, 24)
		p.nic.send(append(f, r.arg...))
		return
	}
	f := h.head(p.nic, dst, int(a.Major), int(a.Minor), 0, r.tag, 36)
	switch r.wild {
	case 1:
		f[16], f[17] = 0xff, 0xff
	case 2:
		f[18] = 0xff
	}
	putATA(f, r)
	p.nic.send(append(f, r.data...))
}

func putATA(f []byte, r *request) {
	f[24], f[25], f[26], f[27] = 0x40, r.feature, byte(r.count), r.op
	if r.op == 0x34 || r.op == 0x06 {
		f[24] |= 1
	}
	for i := range 6 {
		f[28+i] = byte(r.lba >> (8 * i))
	}
}

func (h *host) tickLater() {
	if h.ticking {
		return
	}
	h.ticking = true
	h.w.after(h.hab.tick, func() {
		h.ticking = false
		if h.alive && len(h.out) > 0 {
			h.overdue()
			if len(h.out) > 0 {
				h.tickLater()
			}
		}
	})
}

// overdue repeats what was not answered in time.
func (h *host) overdue() {
	now := h.w.now
	for i := 0; i < len(h.out); i++ {
		r := h.out[i]
		switch {
		case now-r.first > h.hab.giveUp:
			h.out = slices.Delete(h.out, i, i+1)
			i--
			if !h.ready && h.kind == "ipxe" {
				h.paths = nil // it starts all over
			}
		case h.probe > 0 && now-r.sent > 250*ms:
			h.out = slices.Delete(h.out, i, i+1)
			i--
			h.probe, h.ready = 0, true
		case now-r.sent > h.hab.rto(h, r):
			if h.hab.newTag {
				r.tag = h.tag()
				h.window = 1
			}
			if h.hab.shrinks && r.tries >= 3 && r.count > 2 && r.op != 0xec {
				r.count = 2 // the same tag, and less
				r.data = r.data[:min(len(r.data), 2*sectorSize)]
			}
			h.transmit(r)
		}
	}
	h.pump()
}
