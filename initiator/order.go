package initiator

import "time"

// The ordering rule. Two requests whose sectors overlap, one of them a write, are never under way at the same time. That is enough as
// long as each request is sent once. A write that was sent more than once leaves copies behind: one of them was answered, and the
// others may still wait in a switch, in the ring of a network card or in front of the target, on any of the paths that carried one. A newer
// write to the same sectors that is answered before such a copy arrives would be undone by it, and nobody would know.
//
// So the sectors of a write that was sent more than once rest after its answer, until it is certain that no copy is left:
// on each path that carried one a READ of the same sectors is sent behind it (a fence). Frames of one path stay in order, and the
// target executes overlapping requests in the order of their arrival; the answer to the fence thus proves that all copies before it
// were executed or lost. The rest lasts a retransmission time-out at least (for networks that do not keep the order) and maxRest at most:
// a path that is cut does not answer, and its frames are lost; one that only stalls may deliver them later. After
// maxRest the bridges of IEEE 802.1D have discarded what they held (4 s), and a goaoe target drops what waited for more than
// 2 s unexecuted.
//
// Reads need not wait: a copy brings nothing but what is there already. They do wait when the write was never answered, because then
// nobody knows which data the sectors have.
//
// Copies on another path than the answer's are the dangerous ones, because nothing keeps two paths in step. Therefore a write is repeated on its
// own path first, and moves to another only when its path is silent as a whole.
const maxRest = 4 * time.Second

// rest is a range of sectors that newer writes must leave alone for a while.
type rest struct {
	start, end uint64
	unknown    bool  // the write was never answered: reads wait too
	after      int64 // until then in any case
	until      int64 // and no longer than that
	fences     int   // that are not answered
}

// conflict tells whether sectors meet a request under way, one of the two being a write, or ones that rest.
func (d *Disk) conflict(write bool, start, end uint64) bool {
	if d.writes == 0 && len(d.rests) == 0 && !write {
		return false
	}
	for i := range d.slots {
		x := &d.slots[i]
		if x.busy && x.purpose == forOp && (write || x.write) && x.start < end && start < x.end {
			return true
		}
	}
	for _, r := range d.rests {
		if (write || r.unknown) && r.start < end && start < r.end {
			return true
		}
	}
	return false
}

// behind tells whether an op that came earlier and still waits overlaps: it must not be overtaken, or a stream of reads could hold up a
// write for ever.
func (d *Disk) behind(o *op, start, end uint64) bool {
	for e := d.waiting.first; e != o && e != nil; e = e.next {
		if (o.changes() || e.changes()) && e.at < end && start < e.end {
			return true
		}
	}
	return false
}

// settle lets the sectors of a write rest when copies of it may be left. It is called when the exchange ends, before its slot is free.
func (d *Disk) settle(x *exchange, answered bool, now int64) {
	if !x.write || d.tune.noRest || answered && x.copies < 2 {
		return
	}
	r := &rest{start: x.start, end: x.end, unknown: !answered, until: x.sent + int64(d.tune.maxRest)}
	r.after = now + x.path.slow.timeout(0)
	if !answered {
		r.until = max(r.until, r.after)
	}
	if !d.tune.noFence {
		for _, w := range d.paths {
			if x.carried&(1<<w.id) != 0 {
				d.fence(r, x, w, now)
			}
		}
	}
	d.rests = append(d.rests, r)
	d.timer = min(d.timer, r.after, r.until)
}

// fence sends a READ behind the copies of x on w.
func (d *Disk) fence(r *rest, of *exchange, w *path, now int64) {
	r.fences++
	x := d.take(forFence, now)
	if x == nil {
		return // never answered: the rest lasts as long as it may
	}
	x.rest, x.at, x.n = r, of.start, 1
	d.data(x, false)
	d.transmit(x, w, now)
}

// fenced notes the answer to a fence.
func (d *Disk) fenced(r *rest, now int64) {
	if r.fences--; r.fences == 0 {
		d.timer = min(d.timer, r.after)
		if r.after <= now {
			d.rouse(now)
		}
	}
}

// rouse ends the rests that are over.
func (d *Disk) rouse(now int64) {
	keep := d.rests[:0]
	for _, r := range d.rests {
		if now < r.until && (r.fences > 0 || now < r.after) {
			keep = append(keep, r)
			if r.fences == 0 {
				d.timer = min(d.timer, r.after)
			}
			d.timer = min(d.timer, r.until)
			continue
		}
		d.roused = now
		for i := range d.slots {
			if x := &d.slots[i]; x.busy && x.rest == r {
				d.free(x)
			}
		}
	}
	clear(d.rests[len(keep):])
	d.rests = keep
}
