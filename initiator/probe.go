package initiator

import (
	"time"

	"goaoe/aoe"
	"goaoe/ata"
)

// Frame sizes. What both ends say they can do need not pass: a switch between them may carry ordinary frames only, and drops large ones
// without a word. So a path is believed when a READ with so many sectors was answered in full; it carries as many bytes of zeros, as the
// Linux driver's probe does, so that both directions are tried. When large frames stop passing while small ones do, the path goes
// back to two sectors at once, and from there up again by probes that are no one's data.

// probe is the state of a path's search for its frame size.
type probe struct {
	slot  int   // of the exchange under way; -1
	first bool  // the path waits for it to come up
	check bool  // small frames are tried, because large ones got no answer
	sure  bool  // and then large ones, because small ones passed
	size  int   // sectors
	good  int   // answers in a row
	since int64 // check: when large frames began to be missed
	write bool  // and in which direction
	next  int64 // when the next search for a larger size begins; 0: none is wanted
	gap   int64
}

// sizes are those tried below what both ends say: what fits MTUs of 9000, 8192, 4200.
var sizes = [...]int{17, 15, 8, 4}

// below returns the next smaller size to try, 0 when that is not larger than what is used.
func below(n, used int) int {
	for _, s := range sizes {
		if s < n && s > used {
			return s
		}
	}
	return 0
}

// zeros follow the registers of probes.
var zeros [aoe.MaxCount * SectorSize]byte

// sendProbe sends a READ of n sectors with as many bytes of zeros.
func (d *Disk) sendProbe(w *path, n int, now int64) bool {
	if w.pr.slot >= 0 {
		return false
	}
	x := d.take(forSize, now)
	if x == nil {
		return false
	}
	x.at, x.n = 0, int(min(uint64(n), d.sectors.Load()))
	x.buf = zeros[:x.n*SectorSize]
	d.data(x, false)
	w.pr.slot, w.pr.size = int(x.slot), n
	d.transmit(x, w, now)
	return true
}

// firstProbe tries whether the size that both ends name passes.
func (d *Disk) firstProbe(w *path, now int64) {
	if d.sendProbe(w, w.max, now) {
		w.pr.first = true
	}
}

// closeProbe ends what a path is searching for.
func (d *Disk) closeProbe(w *path) {
	if w.pr.slot >= 0 {
		d.free(&d.slots[w.pr.slot])
	}
	w.pr = probe{slot: -1}
}

// sized takes the answer to a probe.
func (d *Disk) sized(x *exchange, w *path, h aoe.Header, f []byte, now int64) {
	passed := h.Flags&aoe.FlagError != 0 // an error from a target that does not give us data: the way there at least is good
	if !passed && len(f) >= aoe.ATALen {
		regs, data, _ := aoe.DecodeATA(f)
		passed = regs.Command&ata.StatusFailed != 0 || len(data) >= x.n*SectorSize
	}
	if !passed {
		return // cut short: like lost
	}
	if x.tries == 0 && !w.pr.first {
		w.rtt.add(time.Duration(now - x.sent))
	}
	d.free(x)
	pr := &w.pr
	switch {
	case pr.first:
		size := pr.size
		*pr = probe{slot: -1}
		w.sectors = min(size, w.max)
		d.pathIsUp(w, now)
	case pr.check:
		dir := 0
		if pr.write {
			dir = 1
		}
		pr.check = false
		if w.sectors > small && w.big[dir] < pr.since { // not just lost a few times
			pr.sure = d.sendProbe(w, w.sectors, now)
		}
	case pr.sure:
		pr.sure = false // they do pass
	default:
		if pr.good++; pr.good < 2 { // not by chance
			d.sendProbe(w, pr.size, now)
			return
		}
		old := w.sectors
		w.sectors = min(pr.size, w.max)
		*pr = probe{slot: -1}
		if w.sectors > old {
			d.event(Event{Kind: Raised, Path: d.show(w), Old: int64(old), New: int64(w.sectors)})
		}
		if w.sectors < w.max {
			d.laterProbe(w, int64(d.tune.raiseMost), now)
		}
	}
}

// reduce makes a path's frames smaller, and plans to try larger ones again.
func (d *Disk) reduce(w *path, n int, now int64) {
	old := w.sectors
	w.sectors = min(n, w.max)
	d.event(Event{Kind: Reduced, Path: d.show(w), Old: int64(old), New: int64(w.sectors)})
	d.laterProbe(w, int64(d.tune.raise), now)
	for i := range d.slots {
		if x := &d.slots[i]; x.busy && x.purpose == forOp && x.path == w && x.n > w.sectors {
			x.due, x.tries = now, 0 // goes out again in pieces
		}
	}
	d.timer = min(d.timer, now)
}

func (d *Disk) laterProbe(w *path, gap, now int64) {
	w.pr = probe{slot: w.pr.slot, gap: gap, next: now + gap}
	d.timer = min(d.timer, w.pr.next)
}

// missed is called when a frame of more than two sectors got no answer for the third time or more: is the path silent, or are large frames
// lost? A small one tells, and then a large one.
func (d *Disk) missed(w *path, x *exchange, now int64) {
	if w.state != pathUp || w.sectors <= small || w.pr.slot >= 0 || x.n <= small || w.suspect {
		return
	}
	w.pr.check, w.pr.since, w.pr.write = true, x.since, x.write
	if !d.sendProbe(w, small, now) {
		w.pr.check = false
	}
}

// unsized gives up a probe that gets no answer.
func (d *Disk) unsized(x *exchange, w *path, now int64) {
	d.free(x)
	pr := &w.pr
	switch {
	case pr.first:
		*pr = probe{slot: -1}
		w.sectors = min(small, w.max)
		d.event(Event{Kind: Reduced, Path: d.show(w), Old: int64(w.max), New: int64(w.sectors)})
		d.pathIsUp(w, now)
		d.laterProbe(w, int64(d.tune.raise), now)
	case pr.sure:
		d.reduce(w, small, now)
	case pr.check:
		pr.check = false // small ones do not pass either: the path is silent
	default:
		pr.good = 0
		if n := below(pr.size, w.sectors); n > 0 {
			d.sendProbe(w, n, now)
			return
		}
		d.laterProbe(w, min(2*pr.gap, int64(d.tune.raiseMost)), now)
	}
}

// searchSizes begins a search for a larger frame size where one is due.
func (d *Disk) searchSizes(w *path, now int64) {
	pr := &w.pr
	if pr.next == 0 || w.state != pathUp {
		return
	}
	if now < pr.next {
		d.timer = min(d.timer, pr.next)
		return
	}
	if w.max <= w.sectors {
		pr.next = 0
		return
	}
	if d.sendProbe(w, w.max, now) {
		pr.next, pr.good = 0, 0
	} else {
		pr.next = now + pr.gap
		d.timer = min(d.timer, pr.next)
	}
}
