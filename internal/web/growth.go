package web

import (
	"time"

	"goaoe/internal/control"
)

// What warnings watch over time.
const (
	recent      = 10 * time.Minute // what happened longer ago is no warning, but a note at most
	growthEvery = time.Minute
)

// counter names one of the counters that warnings watch. who is an interface, an export or an initiator.
type counter struct{ kind, who, export string }

// Kinds of counters.
const (
	ringDrops   = "ring"    // interface: frames lost in the receive ring
	diskErrors  = "errors"  // export: error replies because storage failed
	queueFull   = "full"    // export: requests dropped because too many waited
	tooLarge    = "large"   // export: requests whose data does not fit
	outOfRange  = "range"   // export: requests beyond its end
	repeats     = "repeats" // initiator on an export: requests seen again
	requests    = "requests"
	deniedCount = "denied" // initiator on an export: refused
	sendErrors  = "send"   // interface: frames that could not be sent
)

// growth remembers the counters of the last minutes, those that are not zero, to tell what happened lately from what happened once.
type growth struct {
	now   map[counter]uint64
	marks []mark // ascending, at most recent old, but for the first
}

type mark struct {
	at time.Time
	n  map[counter]uint64
}

// add takes the newest counters.
func (g *growth) add(s *control.Stats) {
	g.now = watched(s)
	if n := len(g.marks); n > 0 && s.At.Sub(g.marks[n-1].at) < growthEvery {
		return
	}
	g.marks = append(g.marks, mark{s.At, g.now})
	for len(g.marks) > 1 && s.At.Sub(g.marks[1].at) >= recent {
		g.marks = g.marks[1:]
	}
}

// lately returns by how much a counter grew in the time that is remembered, and total since it was cleared.
func (g *growth) lately(c counter) (grown, total uint64) {
	total = g.now[c]
	if len(g.marks) == 0 {
		return total, total
	}
	if before := g.marks[0].n[c]; before <= total {
		return total - before, total
	}
	return total, total // it was cleared meanwhile
}

// watched picks the counters that warnings watch.
func watched(s *control.Stats) map[counter]uint64 {
	m := map[counter]uint64{}
	put := func(n uint64, kind, who, export string) {
		if n > 0 {
			m[counter{kind, who, export}] += n
		}
	}
	for i := range s.Interfaces {
		p := &s.Interfaces[i]
		put(p.KernelDrops, ringDrops, p.Name, "")
		put(p.TxErrors, sendErrors, p.Name, "")
	}
	for i := range s.Exports {
		e := &s.Exports[i]
		put(e.Errors, diskErrors, e.Address, "")
		put(e.Drops["full"], queueFull, e.Address, "")
		put(e.RejectKinds["argument"], tooLarge, e.Address, "")
		put(e.RejectKinds["range"], outOfRange, e.Address, "")
	}
	for i := range s.Initiators {
		p := &s.Initiators[i]
		put(p.Retransmits, repeats, p.MAC, p.Export)
		put(p.Requests, requests, p.MAC, p.Export)
		put(p.Denied, deniedCount, p.MAC, p.Export)
	}
	return m
}
