package engine

import (
	"encoding/binary"

	"goaoe/aoe"
	"goaoe/internal/stats"
	"goaoe/internal/store"
	"goaoe/internal/sys"
)

// aheadExports is how many exports a lane has at least when it fetches ahead: what it keeps of fewer is in the nearest caches as it is. Measured with a file
// (BenchmarkExports): with 32 exports it costs 60 ns of a request's 1250, with 100 it gains 80, with 1000 it gains 300.
const aheadExports = 64

// ahead has the processor fetch what the frames that came in on a port will need, before the first of them is handled. A request touches a dozen cache lines
// of its export; with many exports none of them is near, and one after the other would be waited for. Fetched for all frames of the batch at the same time they cost a
// fraction of that. Nothing is decided here: a frame that is for nobody, or no request, is passed over, and found out about later.
//
// What is behind a pointer is fetched in a step of its own, for all frames, when the pointer itself should have come.
func (l *lane) ahead(p *lanePort) {
	n := 0
	for i := range p.frames[:p.nf] {
		f := p.frames[i].Data
		if len(f) < reqHeader || aoe.Command(f[19]) != aoe.CmdATA {
			continue
		}
		te, id := p.tab.Find(binary.BigEndian.Uint32(f[15:]) & 0xffffff)
		if te == nil || int(id) >= len(l.exports) || l.exports[id] == nil {
			continue
		}
		x := l.exports[id]
		src := aoe.MAC(f[6:12]).Key()
		sys.Prefetch(&te.ID, 2) // and the counters behind it
		sys.Prefetch(&x.te, 3)
		sys.Prefetch(&x.fair.places[sourceOf(src)], 1)
		sys.Prefetch(&x.recent[seenAt(seenKey(src, f))], 1)
		sys.Prefetch(te.Stats.Latency[stats.ClassRead].At(l.latency[stats.ClassRead]), 1)
		l.near[n] = x
		n++
	}
	for _, x := range l.near[:n] {
		sys.Prefetch(x.ini, 1)
		if x.near != nil {
			x.near.Ahead(false)
		}
	}
	for _, x := range l.near[:n] {
		if x.near != nil {
			x.near.Ahead(true)
		}
	}
}

// aheadDone is ahead for requests that the store is done with: their data went through the caches meanwhile.
func (l *lane) aheadDone(done []*store.Op) {
	for _, op := range done {
		s := l.slots.slots[op.User]
		sys.Prefetch(&s.exp.te, 3)
		sys.Prefetch(s.ini, 1)
		sys.Prefetch(&s.exp.fair.places[s.source], 1)
	}
	for _, op := range done {
		te := l.slots.slots[op.User].exp.te
		sys.Prefetch(&te.ID, 2)
		sys.Prefetch(te.Stats.Latency[stats.ClassRead].At(l.latency[stats.ClassRead]), 1)
	}
}
