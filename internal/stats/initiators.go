package stats

import (
	"fmt"
	"sync/atomic"
	"time"
)

// The table of initiators of one lane has fixed places. A pair of initiator and export may be in one of two sets, each of ways
// entries, whichever was emptier when it came; so looking it up touches one or two cache lines, and nothing ever moves.
const (
	ways       = 8
	sets       = 512
	maxEntries = sets * ways
	// IdleAfter is how long an entry must be unused before another initiator may have its place. Its counters are lost then.
	IdleAfter = 10 * time.Minute
)

// Initiator counts what one initiator did with one export, or in a table's last entry what all those did that had no place. It belongs to
// the lane. What a read touches is one cache line of 64 bytes, a write needs two.
type Initiator struct {
	where                Single // number of the interface << 32 | shelf << 8 | slot
	Requests             Single
	LastSeen, LastATA    Single // Unix nanoseconds
	InFlight, BusyNs     Single
	Reads, ReadBytes     Single
	Writes, WriteBytes   Single
	Errors, Rejects      Single
	Denied, Drops        Single
	Retransmits, Limited Single

	gen   atomic.Uint64 // odd while the entry changes hands
	mac   atomic.Uint64 // 48 bits, big-endian; 0: free
	first atomic.Int64  // Unix nanoseconds of the first request
	_     [5]uint64     // up to a whole line
}

// MetOn tells on which interface the initiator was met last, by a number that the table's owner knows.
func (e *Initiator) MetOn(iface uint32) {
	if w := e.where.Load(); uint32(w>>32) != iface {
		e.where.Set(uint64(iface)<<32 | w&(1<<32-1))
	}
}

func (e *Initiator) addr() uint32 { return uint32(e.where.Load()) }

func (e *Initiator) counters() []*Single {
	return []*Single{
		&e.Requests, &e.LastSeen, &e.LastATA, &e.InFlight, &e.BusyNs, &e.Reads, &e.ReadBytes, &e.Writes, &e.WriteBytes,
		&e.Errors, &e.Rejects, &e.Denied, &e.Drops, &e.Retransmits, &e.Limited,
	}
}

// Initiators is the table of one lane. Find belongs to the lane, Snapshots may be called by anybody.
type Initiators struct {
	keys    [maxEntries]uint64 // of the entries, for the lane: mac << 16 | shelf
	entries [maxEntries]Initiator
	others  Initiator
	order   [maxEntries]uint16 // the entries in use, so that readers need not look at all; one that is in it stays
	used    atomic.Int32       // how many
	moves   uint64             // for the lane: how often an entry has changed hands
}

// Places tells whether an entry is that of one initiator, and not the one that stands for all others.
func (t *Initiators) Places(e *Initiator) bool { return e != &t.others }

// Moves tells how often an entry that Find returned before has become another's. It belongs to the lane.
func (t *Initiators) Moves() uint64 { return t.moves }

// NewInitiators makes an empty table. Its memory of less than a megabyte is used as it fills.
func NewInitiators() *Initiators { return new(Initiators) }

// place mixes an initiator and an address into the two sets where they may be.
func place(mac uint64, addr uint32) (a, b int) {
	h := (mac<<16 ^ uint64(addr)*0x9e3779b97f4a7c15) * 0xd6e8feb86659fd93
	return int(h>>55) * ways, int(h>>46&(sets-1)) * ways
}

// Find returns the entry of an initiator (its MAC as a number of 48 bits, big-endian, not 0) and an address (shelf << 8 | slot), made if
// there is none. Without room it is the entry that stands for all others. now is in Unix nanoseconds.
func (t *Initiators) Find(mac uint64, addr uint32, now int64) *Initiator {
	a, b := place(mac, addr)
	key := mac<<16 | uint64(addr>>8)
	for i := a; i < a+ways; i++ {
		if t.keys[i] == key && t.entries[i].addr() == addr {
			return &t.entries[i]
		}
	}
	for i := b; i < b+ways; i++ {
		if t.keys[i] == key && t.entries[i].addr() == addr {
			return &t.entries[i]
		}
	}
	return t.add(a, b, key, addr, now)
}

// add finds a place for a new entry: a free one in the emptier set, else that of whoever was not seen for longest, if that is long enough.
func (t *Initiators) add(a, b int, key uint64, addr uint32, now int64) *Initiator {
	freeA, usedA, oldA := t.look(a)
	freeB, usedB, oldB := t.look(b)
	i := freeA
	if i < 0 || freeB >= 0 && usedB < usedA {
		i = freeB
	}
	if i < 0 {
		i = oldA
		if i < 0 || oldB >= 0 && t.entries[oldB].LastSeen.Load() < t.entries[oldA].LastSeen.Load() {
			i = oldB
		}
		if i < 0 || now-int64(t.entries[i].LastSeen.Load()) < int64(IdleAfter) {
			return &t.others
		}
	}
	e := &t.entries[i]
	fresh := t.keys[i] == 0
	e.gen.Add(1)
	for _, c := range e.counters() {
		c.reset(0)
	}
	e.mac.Store(key >> 16)
	e.where.reset(uint64(addr))
	e.first.Store(now)
	t.keys[i] = key
	e.gen.Add(1)
	if !fresh {
		t.moves++
		return e
	}
	n := t.used.Load()
	t.order[n] = uint16(i)
	t.used.Store(n + 1)
	return e
}

// look returns of a set a free place or -1, how many are used, and the used one that was idle for longest and has nothing in flight, or -1.
func (t *Initiators) look(set int) (free, used, oldest int) {
	free, oldest = -1, -1
	for i := set; i < set+ways; i++ {
		if t.keys[i] == 0 {
			free = i
			continue
		}
		used++
		e := &t.entries[i]
		if e.InFlight.Load() == 0 && (oldest < 0 || e.LastSeen.Load() < t.entries[oldest].LastSeen.Load()) {
			oldest = i
		}
	}
	return free, used, oldest
}

// Snapshots calls fn for each entry that is in use, and last for the one of all others, with mac 0, if there were any. iface is what
// MetOn was told.
func (t *Initiators) Snapshots(fn func(mac uint64, addr, iface uint32, s InitiatorSnapshot)) {
	for _, i := range t.order[:t.used.Load()] {
		e := &t.entries[i]
		for range 3 { // it changes hands once in ten minutes at most
			gen := e.gen.Load()
			mac, where, s := e.mac.Load(), e.where.Load(), e.snapshot()
			if gen&1 == 0 && e.gen.Load() == gen {
				s.MAC = macText(mac)
				fn(mac, uint32(where), uint32(where>>32), s)
				break
			}
		}
	}
	if t.others.Requests.Load() > 0 {
		fn(0, 0, 0, t.others.snapshot())
	}
}

func (e *Initiator) snapshot() InitiatorSnapshot {
	return InitiatorSnapshot{
		Requests: e.Requests.Load(), Reads: e.Reads.Load(), Writes: e.Writes.Load(), ReadBytes: e.ReadBytes.Load(), WriteBytes: e.WriteBytes.Load(),
		Errors: e.Errors.Load(), Rejects: e.Rejects.Load(), Denied: e.Denied.Load(), Drops: e.Drops.Load(), Retransmits: e.Retransmits.Load(), Limited: e.Limited.Load(),
		BusyNs: e.BusyNs.Load(), InFlight: e.InFlight.Load(),
		FirstSeen: unix(e.first.Load()), LastSeen: unix(int64(e.LastSeen.Load())), LastATA: unix(int64(e.LastATA.Load())),
	}
}

// unix is the time of so many nanoseconds, the zero time for 0.
func unix(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

func macText(m uint64) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", byte(m>>40), byte(m>>32), byte(m>>24), byte(m>>16), byte(m>>8), byte(m))
}
