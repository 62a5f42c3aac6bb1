package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"goaoe/aoe"
	"goaoe/internal/target"
)

// model watches what goes into the target and what comes out of it, and holds it against the rules.
//
// It sees frames at the moment at which a lane takes them from its ring, gives them their place in the order of arrival (that of the
// kernel's time stamps), and has the judge say what each means. It sees replies as they leave. Of each sector it keeps what the writes
// that arrived, were acknowledged or failed allow it to hold: see register.
type model struct {
	w       *world
	exports []*mexport
	pos     int // arrivals so far
	rung    [][]taken
	open    map[openKey][]*arrival // unanswered requests; only looked up, never ranged over
	epoch   int                    // counts jumps of the clock
	repeats int                    // arrivals since the daemon started that repeat one that was open, or may be taken to
}

// taken is a frame that a lane took and that has no place in the order yet.
type taken struct {
	p *port
	f frame
}

type openKey struct {
	export int
	src    aoe.MAC
	tag    uint32
}

// arrival is a request that reached an export.
type arrival struct {
	pos   int
	x     *mexport
	p     *port
	acct  *account
	lane  int // that took it
	h     header
	at    int64  // time stamp
	epoch [2]int // jumps of the clock before the frame was stamped, and before it was taken: stamps are compared only where both are the same
	gen   int    // of the export in the engine
	v     verdict
	regs  []byte // bytes 24 to 35
	sum   uint64 // of the payload that counts
	done  bool
	taken bool       // oCommit: the slow path has it
	alts  []*arrival // requests with the same tag, of which one was answered: it may have been this one, and this is that one
}

func (a *arrival) repeats(b *arrival) bool {
	return a.h.src == b.h.src && a.v.what == b.v.what && a.v.lba == b.v.lba && a.v.count == b.v.count && a.sum == b.sum && bytes.Equal(a.regs, b.regs)
}

// mexport is an export as it should be.
type mexport struct {
	w            *world
	n            int
	addr         aoe.Addr
	sectors      uint64
	readOnly     bool
	cacheAllowed bool
	cache        bool // the write cache is on
	discard      bool
	state        target.State // as it is on stable storage
	next         target.State
	denied       []aoe.MAC
	gen          int
	flushFailed  int // when a flush failed since the storage was opened; 0: none
	served       bool

	halves []register // two for each sector
	torn   []int      // by sector: when it may have been torn last; -1 never
	open   []*arrival // unanswered, in the order of arrival
}

func newModel(w *world) *model {
	m := &model{w: w, open: map[openKey][]*arrival{}, rung: make([][]taken, w.plan.Lanes)}
	for i, e := range w.plan.Exports {
		x := &mexport{w: w, n: i, addr: addrOf(i), cacheAllowed: e.WriteCache, cache: e.WriteCache, discard: e.Discard}
		x.grow(e.Sectors)
		m.exports = append(m.exports, x)
	}
	return m
}

// grow adds sectors that nobody wrote.
func (x *mexport) grow(n int) {
	for i := 0; i < n; i++ {
		v := unwritten | uint64(x.n)<<32 | x.sectors
		x.halves = append(x.halves, register{base: []uint64{v}}, register{base: []uint64{v}})
		x.torn = append(x.torn, -1)
		x.sectors++
	}
}

// took is told of a frame that a lane takes.
func (m *model) took(lane int, p *port, f frame) {
	m.rung[lane] = append(m.rung[lane], taken{p, f})
}

// settle gives the frames that a lane took in this turn their places: by time stamp, and those of one port in their order.
func (m *model) settle(lane int) {
	batch := m.rung[lane]
	if len(batch) == 0 {
		return
	}
	m.rung[lane] = batch[:0]
	heads := make([]int, 0, 4) // index into batch, one for each port
	var ports []*port
	for i, t := range batch {
		if len(ports) == 0 || ports[len(ports)-1] != t.p {
			ports, heads = append(ports, t.p), append(heads, i)
		}
	}
	for {
		best := -1
		for i, p := range ports {
			if heads[i] < len(batch) && batch[heads[i]].p == p && (best < 0 || batch[heads[i]].f.time < batch[heads[best]].f.time) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		t := batch[heads[best]]
		heads[best]++
		m.arrive(lane, t.p, t.f)
	}
}

// arrive takes the next frame in the order.
func (m *model) arrive(lane int, p *port, f frame) {
	m.pos++
	w := m.w
	if !forUs(f.data, f.tagged, f.tci, p.mac) {
		p.acct.silences++
		w.note(evArrive, uint64(m.pos), uint64(len(f.data)), 0)
		return
	}
	h := readHeader(f.data)
	met := false
	for _, x := range m.exports {
		if !x.served || !h.matches(x.addr) || h.wild() && !p.serves(x.n) {
			continue
		}
		if !p.serves(x.n) {
			continue
		}
		met = true
		p.acct.outcomes++
		v := x.judge(f.data, &h, p.mtu, false)
		w.note(evArrive, uint64(m.pos), uint64(v.what)<<8|uint64(v.code), v.lba<<8|uint64(v.count))
		if w.verbose {
			w.sayf("#%d on port %d from %s tag %08x: %s", m.pos, p.n, w.who(h.src), h.tag, describe(x, f.data, v))
		}
		if v.cache < 0 && x.cache {
			w.saw("write cache off", 1)
		}
		if v.cache != 0 {
			x.cache = v.cache > 0
		}
		if v.what == oSilent {
			continue
		}
		a := &arrival{pos: m.pos, x: x, p: p, acct: p.acct, lane: lane, h: h, at: f.time, epoch: [2]int{f.epoch, m.epoch}, gen: x.gen, v: v}
		if h.cmd == 0 {
			a.regs = bytes.Clone(f.data[24:36])
		}
		switch v.what {
		case oWrite:
			if x.overtaken(a) {
				w.saw("overtaken write", 1)
			}
			a.sum = sum(f.data[36 : 36+v.count*sectorSize])
			for i := range v.count {
				val, ok := readSector(f.data[36+i*sectorSize:])
				if !ok {
					w.failf("simulator: the write at #%d carries data that no initiator made", m.pos)
					return
				}
				for k := range val {
					x.halves[2*(int(v.lba)+i)+k].write(a, val[k])
				}
			}
		case oDiscard:
			a.sum = sum(f.data[36 : 36+sectorSize])
			for i := 0; i < 64; i++ {
				lba, n := trimRange(f.data[36:], i)
				for s := int(lba); s < int(lba)+n; s++ {
					x.halves[2*s].write(a, 0)
					x.halves[2*s+1].write(a, 0)
				}
			}
		}
		if a.v.what == oRead || a.v.what == oWrite || a.v.what == oFlush || a.v.what == oDiscard {
			if slices.ContainsFunc(x.open, a.repeats) {
				m.repeats++
			}
		}
		k := openKey{x.n, h.src, h.tag}
		m.open[k] = append(m.open[k], a)
		x.open = append(x.open, a)
	}
	if !met {
		p.acct.outcomes++
		if w.verbose {
			w.sayf("#%d on port %d from %s tag %08x: for nobody here", m.pos, p.n, w.who(h.src), h.tag)
		}
	}
}

// sum is a checksum of a payload, to compare it with others.
func sum(b []byte) uint64 {
	s := uint64(len(b))
	for i := 0; i+8 <= len(b); i += sectorSize / 2 {
		s = (s ^ binary.LittleEndian.Uint64(b[i:])) * 0x9e3779b97f4a7c15
	}
	return s
}

// answered strikes a request out.
func (m *model) answered(k openKey, a *arrival) {
	a.done = true
	is := func(o *arrival) bool { return o == a }
	if m.open[k] = slices.DeleteFunc(m.open[k], is); len(m.open[k]) == 0 {
		delete(m.open, k)
	}
	a.x.open = slices.DeleteFunc(a.x.open, is)
}

func (m *model) opens(k openKey) string {
	s := ""
	for _, a := range m.open[k] {
		s += fmt.Sprintf(" #%d", a.pos)
	}
	if s == "" {
		return " none"
	}
	return s
}

// find returns the open request that a deferred frame is, for the slow path.
func (m *model) find(x *mexport, p *port, f []byte) *arrival {
	h := readHeader(f)
	for _, a := range m.open[openKey{x.n, h.src, h.tag}] {
		if a.v.what == oCommit && a.p == p && a.h.cmd == h.cmd && !a.taken {
			a.taken = true
			return a
		}
	}
	m.w.failf("the slow path got a frame of %s, tag %08x, that changes nothing", m.w.who(h.src), h.tag)
	return nil
}

// committed takes the result of a change of state: reply is nil when there is none.
func (m *model) committed(a *arrival, v verdict, saved bool, reply []byte) {
	defer m.answered(openKey{a.x.n, a.h.src, a.h.tag}, a)
	if reply == nil {
		if v.what != oSilent {
			m.w.failf("a change of state (#%d) was not answered", a.pos)
		}
		return
	}
	a.acct.answers++
	h := readHeader(reply)
	if !saved {
		v = aoeError(3)
	}
	m.w.note(evReply, uint64(a.pos), uint64(h.err), uint64(len(reply)))
	if m.w.verbose {
		m.w.sayf("   reply to #%d: %s", a.pos, describeReply(reply, &h))
	}
	a.v = v
	if !a.fits(reply, &h) {
		m.w.failf("a change of state (#%d) was answered wrongly: % x", a.pos, reply[:40])
	}
}

// silenced forgets what is still open of an export: its daemon has ended.
func (m *model) silenced(x *mexport) {
	for _, a := range x.open {
		if a.v.what == oWrite {
			for s := int(a.v.lba); s < int(a.v.lba)+a.v.count; s++ {
				x.torn[s] = m.pos
			}
		}
		k := openKey{x.n, a.h.src, a.h.tag}
		delete(m.open, k)
	}
	x.open = nil
}

// idle strikes out what is still open of an export that the engine has nothing of any more: a counter says why it was not answered.
// lane under 0: all lanes.
func (x *mexport) idle(lane int) {
	kept := x.open[:0]
	for _, a := range x.open {
		if a.v.what == oCommit || lane >= 0 && a.lane != lane {
			kept = append(kept, a)
			continue
		}
		a.done = true
		if a.v.what == oWrite { // it may have failed, and its reply was lost
			for s := int(a.v.lba); s < int(a.v.lba)+a.v.count; s++ {
				x.torn[s] = x.w.model.pos
			}
		}
		k := openKey{x.n, a.h.src, a.h.tag}
		m := a.p.w.model
		if m.open[k] = slices.DeleteFunc(m.open[k], func(o *arrival) bool { return o == a }); len(m.open[k]) == 0 {
			delete(m.open, k)
		}
	}
	clear(x.open[len(kept):])
	x.open = kept
}

// powerCut books that of each sector only what was durable is certain.
func (m *model) powerCut(x *mexport) {
	m.pos++
	for s := range x.torn {
		a, b := x.halves[2*s].powerCut(), x.halves[2*s+1].powerCut()
		if a && b && x.halves[2*s].base[0] == x.halves[2*s+1].base[0] {
			x.torn[s] = -1
		} else {
			x.torn[s] = m.pos
		}
	}
}

// onDisk holds what a disk has against what it may hold.
func (m *model) onDisk(x *mexport, b []byte) error {
	m.pos++
	for s := range int(x.sectors) {
		if err := x.sawSector(m.pos, m.pos, s, b[s*sectorSize:]); err != nil {
			return fmt.Errorf("export %v, sector %d: the disk holds something else: %w", x.addr, s, err)
		}
	}
	return nil
}

// dropped strikes out a change of state that the daemon could not take.
func (m *model) dropped(a *arrival) {
	m.answered(openKey{a.x.n, a.h.src, a.h.tag}, a)
}
