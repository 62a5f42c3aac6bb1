package engine

import "math/bits"

// Fair queueing between the initiators of one export. Two things are shared: the places for requests, and the turns on the store.
//
// Places: while there is room, anybody may take it. When half of what the export can hold is taken, an initiator gets no more than its even part of
// all of it, so the other half is free for those that hold little. Who asked for something within the last tenth of a second has a part, whether it holds anything at
// the moment or not: otherwise one that asks for all there is would take the places of those whose answers went out together, and they would find none when they come back.
// Alone, an initiator may have three quarters. What is refused is not answered, and asked for again: AoE knows no other way to slow an initiator
// down. One that keeps to the buffer count it was told never gets there alone.
//
// Turns: of the requests that may run and wait for room on the store, each initiator's oldest gets its turn in a circle. Bytes count: a request of
// more than 4 KiB costs its initiator as many turns as it has 4 KiB, begun ones included; it is served first and the turns
// are left out afterwards, while others wait (deficit round robin, Shreedhar and Varghese 1995, with the deficit paid later). Requests that overlap are not
// among them until the earlier one is done (order.go), so any choice keeps their order.
//
// Initiators are told apart by their Ethernet address as long as not more of them than there are places hold requests of the export; beyond
// that some share what is one's part. Nothing allocates, and who keeps asking is found at the first look.

const (
	sources      = 64 // how many initiators are told apart
	sourceProbes = 8  // places that an address may be at
)

// sourceOf returns the first place at which an Ethernet address, as in lane.src, may be in the tables.
func sourceOf(mac uint64) uint8 { return uint8(mac * 0x9e3779b97f4a7c15 >> 58) }

// fair is an export's share among its initiators.
type fair struct {
	seen   [2]uint64 // who took a place in this period, and in the one before
	since  int64     // when this one began
	mask   uint64    // who has requests that may run
	next   uint8     // whose turn is next
	active uint8     // how many hold requests
	places [sources]place
}

// place is all that is known of one initiator.
type place struct {
	mac         uint64 // whose place it is, or was last
	first, last *slot  // requests that may run
	held        uint32 // requests that have a slot
	debt        uint8  // turns to leave out, for large requests
}

// place returns an initiator's place: the one it has, else one where nobody holds anything, else one that it shares.
func (f *fair) place(mac uint64) uint8 {
	at := sourceOf(mac)
	if f.places[at].mac == mac {
		return at
	}
	free := uint8(sources)
	for i := range uint8(sourceProbes) {
		n := (at + i) % sources
		if f.places[n].mac == mac {
			return n
		}
		if free == sources && f.places[n].held == 0 {
			free = n
		}
	}
	if free == sources {
		return at
	}
	f.places[free].mac, f.places[free].debt = mac, 0
	return free
}

// took counts a slot that an initiator has got.
func (f *fair) took(s *slot, source uint8) {
	s.source, s.counted = source, true
	f.seen[0] |= 1 << source
	p := &f.places[source]
	if p.held++; p.held == 1 {
		f.active++
	}
}

// gave counts a slot that was given back.
func (f *fair) gave(s *slot) {
	if !s.counted {
		return // it was refused right after it was taken
	}
	s.counted = false
	p := &f.places[s.source]
	if p.held--; p.held == 0 {
		f.active--
	}
}

// sharePeriod is how long who asked for something counts among those who share, at least; twice of it at most.
const sharePeriod = 100_000_000

// sharing is how many initiators share the places: source, and those that asked lately. now is on the clock of sys.Nanotime.
func (f *fair) sharing(source uint8, now int64) int {
	if now-f.since > sharePeriod {
		f.seen[1], f.seen[0], f.since = f.seen[0], 0, now
	}
	return bits.OnesCount64(f.seen[0] | f.seen[1] | 1<<source)
}

// crowded tells whether an initiator has its part of the export's slots, and others may need the rest.
func (x *laneExport) crowded(p *pool, source uint8, now int64) bool {
	room := int(x.backlog)
	if p.nfree <= p.reserved { // nothing beyond the queue length is to be had
		room = int(x.queue)
	}
	if 2*int(x.used) < room {
		return false
	}
	held, n := int(x.fair.places[source].held), x.fair.sharing(source, now)
	if n == 1 {
		return held >= max(int(x.queue), room-room/4)
	}
	return held*n >= room
}

// push queues a request that may run behind the others of its initiator.
func (f *fair) push(s *slot) {
	s.nextReady = nil
	p := &f.places[s.source]
	if p.last != nil {
		p.last.nextReady = s
	} else {
		p.first = s
		f.mask |= 1 << s.source
	}
	p.last = s
}

// any tells whether a request may run.
func (f *fair) any() bool { return f.mask != 0 }

// turn returns whose turn is next of those with requests.
func (f *fair) turn() uint8 {
	return (f.next + uint8(bits.TrailingZeros64(bits.RotateLeft64(f.mask, -int(f.next))))) % sources
}

// turnBytes is how much one turn is good for.
const turnBytes = 4096

// turnsBeyond is how many turns a request costs beyond its own.
func turnsBeyond(s *slot) uint8 {
	return uint8(min(max(s.bytes()-1, 0)/turnBytes, 255))
}

// pop returns the oldest request of the initiator whose turn it is, or nil.
func (f *fair) pop() *slot {
	if f.mask == 0 {
		return nil
	}
	n := f.turn()
	for f.places[n].debt > 0 && f.mask != 1<<n {
		f.places[n].debt--
		f.next = (n + 1) % sources
		n = f.turn()
	}
	p := &f.places[n]
	s := p.first
	p.debt = turnsBeyond(s)
	if p.first = s.nextReady; p.first == nil {
		p.last = nil
		f.mask &^= 1 << n
	}
	s.nextReady = nil
	f.next = (n + 1) % sources
	return s
}
