package initiator

import (
	"fmt"
	"time"

	"goaoe/aoe"
)

// tuning holds the times that tests shorten, and the rules that tests switch off to see that they are needed.
type tuning struct {
	timeout   time.Duration // of a request
	tick      time.Duration // how long nobody may receive before the background does
	suspect   time.Duration // silence after which other paths are preferred, at least
	down      time.Duration // silence after which a path is down
	again     time.Duration // between two IDENTIFYs for announcements
	maxRest   time.Duration
	raise     time.Duration // from a reduced frame size to the first attempt at a larger one
	raiseMost time.Duration // and at most between two
	askUp     time.Duration // between two config queries when all paths are up
	askSome   time.Duration // when some are
	askNone   time.Duration // when none is
	forget    time.Duration // after which a path that is down and not needed is forgotten

	noRest, noFence bool
}

func defaults(o Options) tuning {
	t := tuning{timeout: o.Timeout, tick: 20 * time.Millisecond, suspect: 100 * time.Millisecond, down: 2 * time.Second,
		again: 500 * time.Millisecond, maxRest: maxRest, raise: time.Second, raiseMost: time.Minute,
		askUp: time.Minute, askSome: 5 * time.Second, askNone: time.Second, forget: 10 * time.Minute}
	if t.timeout <= 0 {
		t.timeout = defaultTimeout
	}
	return t
}

const (
	defaultTimeout = 60 * time.Second
	// fastBehind is how many younger requests of the same path must be answered before a READ counts as lost ahead of its time. Disks
	// answer out of order; a small number would repeat what is merely slow.
	fastBehind = 8
	fastLeast  = time.Millisecond
	// probeTries is how often a probe of the frame size is sent.
	probeTries  = 5
	identifyRTO = time.Second // at most between two IDENTIFYs on a silent path
)

// timers does what is due, and sets the time of the next.
func (d *Disk) timers(now int64) {
	d.timer = never
	for i := range d.slots {
		x := &d.slots[i]
		if x.busy {
			d.timeOf(x, now)
		}
	}
	if len(d.rests) > 0 {
		d.rouse(now)
	}
	d.timePaths(now)
	d.timeOps(now)
	every := d.tune.askNone
	switch {
	case !d.anyUp():
	case d.allUp():
		every = d.tune.askUp
	default:
		every = d.tune.askSome
	}
	if !d.opened {
		every = askAgain
	}
	if now-d.asked >= int64(every) {
		d.query(now)
	}
	d.timer = min(d.timer, d.asked+int64(every))
	if d.change != nil {
		if now-d.change.at >= int64(d.tune.down) {
			d.checkChange(now)
		} else {
			d.timer = min(d.timer, d.change.at+int64(d.tune.down))
		}
	}
	if d.doubt && d.identKnown {
		d.doubt = false
		for _, w := range d.paths {
			if w.state == pathUp && now-w.asked > int64(d.tune.again) {
				d.identify(w, now)
			}
		}
	}
	d.reopen(now)
}

func (d *Disk) allUp() bool {
	for _, w := range d.paths {
		if w.state == pathDown || w.state == pathNew || w.suspect {
			return false
		}
	}
	return true
}

// timeOf does what is due for one exchange.
func (d *Disk) timeOf(x *exchange, now int64) {
	if x.purpose == forOp {
		if now-x.begun >= int64(d.tune.timeout) {
			d.finish(x, false, d.timeoutError(x, now), now)
			return
		}
		d.timer = min(d.timer, x.begun+int64(d.tune.timeout))
		if x.stray {
			return
		}
	}
	if x.due > now {
		d.timer = min(d.timer, x.due)
		return
	}
	w := x.path
	switch x.purpose {
	case forFence:
		d.repeat(x, w, now)
	case forSize:
		if x.tries+1 >= probeTries {
			d.unsized(x, w, now)
			return
		}
		d.repeat(x, w, now)
	case forIdentity:
		d.repeat(x, w, now)
		x.due = min(x.due, now+int64(identifyRTO))
		d.timer = min(d.timer, x.due)
	case forOp:
		d.overdue(x, w, now)
	}
}

// overdue deals with a request that got no answer in time.
func (d *Disk) overdue(x *exchange, w *path, now int64) {
	if x.op == nil && !x.write {
		d.free(x) // nobody waits for it any more
		return
	}
	if x.tries < 2 {
		w.shut(x, now)
	}
	if w.state == pathUp && w.quiet != 0 && now-w.quiet > max(8*w.estimate(x).timeout(0), int64(d.tune.suspect)) {
		if !w.suspect {
			w.suspect, w.window, w.doubted = true, 1, now
		}
		d.identify(w, now)
	}
	if end := w.doubted + w.grace(); w.suspect && w.state == pathUp && !w.port.down && now < end && d.better(w) {
		x.due = end // a slow disk leaves its requests unanswered, not this question
		d.timer = min(d.timer, x.due)
		return
	}
	if (w.suspect || w.state != pathUp || w.port.down) && d.better(w) {
		d.astray(x)
		return
	}
	if w.state == pathRefused {
		x.due = now + w.timeout(x) // nowhere to go
		d.timer = min(d.timer, x.due)
		return
	}
	if x.tries >= 2 {
		d.missed(w, x, now)
	}
	d.repeat(x, w, now)
	if w.heard > x.since {
		x.discount()
	}
}

// better tells whether there is a path that is worth more than w.
func (d *Disk) better(w *path) bool {
	for _, v := range d.paths {
		if v != w && v.state == pathUp && (!v.suspect && !v.port.down || w.state != pathUp) {
			return true
		}
	}
	return false
}

// astray takes an exchange off its path: it leaves by another as soon as there is room.
func (d *Disk) astray(x *exchange) {
	if x.queued {
		d.unqueue(x)
	}
	x.path.delist(x)
	if x.counted {
		x.path.inflight--
		x.counted = false
	}
	x.stray = true
	d.strays = append(d.strays, x.slot)
}

// timePaths looks after the paths.
func (d *Disk) timePaths(now int64) {
	for i := 0; i < len(d.paths); i++ {
		w := d.paths[i]
		if w.oldest == nil {
			w.quiet = 0 // nobody is asked, so nobody is silent
		}
		if w.state == pathUp && w.quiet != 0 {
			if now-w.quiet >= int64(d.tune.down) {
				d.pathIsDown(w, fmt.Errorf("%w for %v", ErrTimeout, span(now-w.quiet)), now)
			} else {
				d.timer = min(d.timer, w.quiet+int64(d.tune.down))
			}
		}
		d.searchSizes(w, now)
		old := w.state == pathNew && !w.known && now-w.born > int64(d.tune.timeout) ||
			w.state == pathDown && now-w.heard > int64(d.tune.forget) && d.anyUp()
		if old {
			d.dropPath(w)
			if i < len(d.paths) && d.paths[i] != w {
				i--
			}
		}
	}
}

// timeOps fails those that wait in vain: while nothing at all was answered for the whole time limit.
func (d *Disk) timeOps(now int64) {
	for o := d.waiting.first; o != nil; {
		next := o.next
		end := max(o.begun, d.lastDone, d.roused) + int64(d.tune.timeout)
		switch {
		case len(d.rests) > 0 || o.pending > 0:
		case now >= end:
			d.fail(o, fmt.Errorf("%w: no path to it for %v", ErrTimeout, d.tune.timeout), now)
		default:
			d.timer = min(d.timer, end)
		}
		o = next
	}
}

// fast repeats READs that were overtaken by many younger ones: they are lost, and the time-out has a floor far above a round trip.
func (d *Disk) fast(now int64) {
	for _, w := range d.paths {
		for x := w.oldest; x != nil && int32(w.high-x.seq) >= fastBehind; {
			next := x.newer
			if x.purpose == forOp && x.tries == 0 && x.regs.Flags&aoe.ATAWrite == 0 && x.n > 0 && now-x.sent > int64(w.rtt.fast()) {
				w.shut(x, now)
				d.repeat(x, w, now)
			}
			x = next
		}
	}
}
