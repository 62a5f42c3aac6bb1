package initiator

import (
	"math/bits"
	"time"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/link"
)

// port is one local interface.
type port struct {
	link link.Link
	info link.Info
	out  []link.Msg // frames that leave with the next flush
	from []int32    // the slots that they are of; -1: of none
	down bool       // the interface said so when something was sent last
}

// pathState is what a path is good for.
type pathState uint8

const (
	pathNew     pathState = iota // heard of, not proven to be our disk
	pathUp                       // proven, and answering as far as is known
	pathDown                     // proven once, silent
	pathRefused                  // another disk
)

// small is how many sectors are in a frame that every Ethernet carries.
const small = 2

// path is one way to the disk: a local interface and one of the target's addresses.
type path struct {
	id    uint8 // bit in exchange.carried
	port  *port
	mac   aoe.MAC
	state pathState
	err   error
	told  bool // an event said that it is up; only then its end is one too

	conf    Target // what the last config reply said
	ident   ata.Identity
	known   bool  // ident is there
	asked   int64 // when IDENTIFY left last
	born    int64 // when it was heard of
	ask     int   // slot of the IDENTIFY under way; -1
	again   bool  // another IDENTIFY is wanted when that one is done
	suspect bool  // silent for longer than usual: used only when there is no other
	doubted int64 // since when
	quiet   int64 // since when it owes an answer; 0: it does not
	heard   int64 // when it answered last

	// Congestion.
	limit    int // frames outstanding at most
	window   int // and by what got lost
	thresh   int // up to here the window grows by one for each answer
	grown    int
	cut      int64 // when the window was made smaller last
	inflight int
	rtt      rtt    // of reads and questions
	slow     rtt    // of writes and other commands, which may wait for the disk
	seq      uint32 // of frames sent
	high     uint32 // the newest of them that was answered
	oldest   *exchange
	newest   *exchange

	// Frame size.
	max     int      // what both ends say
	sectors int      // what is used
	big     [2]int64 // when a large read, a large write was answered last
	pr      probe

	stats Stats
}

// maxPaths is how many paths are known at most: whoever sends made-up announcements must not cost more than this.
const maxPaths = 64

// pathOf finds the path by which a frame came.
func (d *Disk) pathOf(p *port, mac aoe.MAC) *path {
	for _, w := range d.paths {
		if w.port == p && w.mac == mac {
			return w
		}
	}
	return nil
}

// addPath notes a new path. It returns nil when there are too many, all of which are worth more.
func (d *Disk) addPath(p *port, mac aoe.MAC, now int64) *path {
	if d.pathIDs == ^uint64(0) || len(d.paths) >= maxPaths {
		for _, w := range d.paths { // the oldest first
			if w.state == pathNew || w.state == pathRefused {
				d.dropPath(w)
				break
			}
		}
		if len(d.paths) >= maxPaths {
			return nil
		}
	}
	id := uint8(bits.TrailingZeros64(^d.pathIDs))
	d.pathIDs |= 1 << id
	w := &path{id: id, port: p, mac: mac, born: now, ask: -1}
	w.pr.slot = -1
	d.paths = append(d.paths, w)
	return w
}

// dropPath forgets a path that nothing is under way on but its own questions.
func (d *Disk) dropPath(w *path) {
	for i := range d.slots {
		if x := &d.slots[i]; x.busy && x.path == w {
			if x.op != nil || !x.bound() {
				return // still needed
			}
			d.free(x)
		}
	}
	for i, v := range d.paths {
		if v == w {
			d.paths = append(d.paths[:i], d.paths[i+1:]...)
			d.pathIDs &^= 1 << w.id
			return
		}
	}
}

// configured takes over what a config reply says.
func (d *Disk) configured(w *path, t Target) {
	w.conf = t
	w.limit = min(max(t.BufferCount, 1), 64) // some say 0, and mean no limit or do not know better: one at a time is safe
	if d.opt.Window > 0 {
		w.limit = min(d.opt.Window, 256)
	}
	if w.window == 0 {
		w.window, w.thresh = max(1, w.limit/2), w.limit
	}
	w.window = min(w.window, w.limit)
	w.max = t.Payload()
	if d.opt.Sectors > 0 {
		w.max = min(w.max, d.opt.Sectors)
	}
	if w.sectors > w.max {
		w.sectors = w.max
	}
}

// pick chooses the path for the next frame: of those with room the one with the fewest outstanding, in turn when there are several. A
// slow path keeps its frames longer and so gets fewer new ones.
func (d *Disk) pick() *path {
	var best, worse *path
	usable := false
	n := len(d.paths)
	if d.turnOf >= n { // paths were forgotten
		d.turnOf = 0
	}
	for i := range n {
		k := d.turnOf + i
		if k >= n {
			k -= n
		}
		w := d.paths[k]
		if w.state != pathUp {
			continue
		}
		room := w.inflight < w.window
		switch {
		case w.suspect || w.port.down:
			if room && (worse == nil || w.inflight < worse.inflight) {
				worse = w
			}
		default:
			usable = true
			if room && (best == nil || w.inflight < best.inflight) {
				best = w
			}
		}
	}
	if !usable {
		best = worse
	}
	if best != nil && n > 1 {
		if d.turnOf++; d.turnOf >= n {
			d.turnOf = 0
		}
	}
	return best
}

// estimate is the round trip of such a request.
func (w *path) estimate(x *exchange) *rtt {
	if x.write || x.purpose == forOp && x.n == 0 {
		return &w.slow
	}
	return &w.rtt
}

// timeout is how long to wait for the answer to the present transmission of x.
func (w *path) timeout(x *exchange) int64 { return w.estimate(x).timeout(x.tries) }

// grace is how long a path that became suspect has to answer the question who it is, before others take over.
func (w *path) grace() int64 { return 2 * w.rtt.timeout(0) }

// measured takes the time of an answer into the estimate. A repeated READ has a tag of its own for each transmission; a repeated write does not, and
// its first transmission counts: too long when that one was lost, which costs a little patience. To measure nothing would be worse: a
// disk that became slow would have all of its writes repeated for ever.
func (w *path) measured(x *exchange, gen uint32, now int64) {
	from := x.sent
	switch {
	case x.tries == 0:
	case x.write || gen == x.first:
		from = x.since
	case gen != x.last:
		return
	}
	if d := time.Duration(now - from); d < 2*maxRTO {
		w.estimate(x).add(d)
	}
}

// enlist puts an exchange at the end of those outstanding on a path, in the order of sending.
func (w *path) enlist(x *exchange) {
	w.seq++
	x.seq = w.seq
	x.older, x.newer = w.newest, nil
	if w.newest != nil {
		w.newest.newer = x
	} else {
		w.oldest = x
	}
	w.newest = x
	x.path = w
}

// delist takes an exchange off its path.
func (w *path) delist(x *exchange) {
	if x.older != nil {
		x.older.newer = x.newer
	} else if w.oldest == x {
		w.oldest = x.newer
	}
	if x.newer != nil {
		x.newer.older = x.older
	} else if w.newest == x {
		w.newest = x.older
	}
	x.older, x.newer = nil, nil
}

// answered notes that the target was heard on the path.
func (w *path) answered(now int64) {
	if w.suspect {
		for x := w.oldest; x != nil; x = x.newer {
			x.discount()
		}
	}
	w.heard, w.suspect, w.port.down = now, false, false
	w.quiet = 0
	if w.oldest != nil {
		w.quiet = now
	}
}

// discount takes an exchange out of the window's count that was repeated again and again on a path that answers others: a request that gets no
// answer must not hold up the rest. Its repetitions come ever more slowly.
func (x *exchange) discount() {
	if x.counted && x.tries >= 2 {
		x.counted = false
		x.path.inflight--
	}
}

// open makes the window larger after an answer.
func (w *path) open() {
	if w.window >= w.limit {
		return
	}
	if w.window < w.thresh {
		w.window++
		return
	}
	if w.grown++; w.grown >= w.window {
		w.window++
		w.grown = 0
	}
}

// shut makes it smaller after a loss, once for all that was under way at that time.
func (w *path) shut(x *exchange, now int64) {
	if x.sent < w.cut {
		return
	}
	w.thresh = max(1, w.window/2)
	w.window, w.grown, w.cut = w.thresh, 0, now
}
