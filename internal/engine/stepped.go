package engine

import (
	"errors"
	"fmt"
)

// NewStepped makes an engine whose lanes have no threads: nothing happens until Step is called. It is for simulators, which run
// initiators, network, engine and storage in one goroutine on a clock of their own (Options.Clock). Everything but the waiting is
// the code that New runs. All methods must be called by one goroutine. The links' FD must be -1, and executors are not waited for: the
// caller knows when there is something to do.
//
// Two methods behave differently: RemoveExport and Stop cannot wait. With a context that has ended they do what can be done and
// report what is in flight; call them again after some steps.
func NewStepped(o Options) (*Engine, error) {
	return newEngine(o, func(l *lane) { l.stepped = true })
}

// Step does all the work that a lane has at this moment once, and tells whether there was any. With true there may be more: call it again.
func (e *Engine) Step(lane int) bool {
	l := e.lanes[lane]
	return !l.ended && l.turn()
}

// Blocked tells whether replies of a lane wait for room in a link's send queue.
func (e *Engine) Blocked(lane int) bool {
	for _, p := range e.lanes[lane].ports {
		if p.n > 0 {
			return true
		}
	}
	return false
}

// Kill ends a stepped engine as the end of its process would: nothing is finished, nothing is answered, links and channels are closed as they
// are. Operations that are in flight must not touch their buffers any more.
func (e *Engine) Kill() {
	for _, l := range e.lanes {
		l.finish()
	}
	for p := range e.ports {
		_ = p.close()
	}
	e.ports = map[*Port]bool{}
}

func (l *lane) callStepped(fn func(*lane)) error {
	if l.ended {
		return errStopped
	}
	fn(l)
	return nil
}

func (l *lane) stopStepped() error {
	l.stopping = true
	for !l.ended && l.turn() {
	}
	if !l.ended && !l.idleNow() {
		return fmt.Errorf("lane %d: requests are still in flight on storage", l.n)
	}
	l.finish()
	return nil
}

// finish is end, once.
func (l *lane) finish() {
	if !l.ended {
		l.ended = true
		l.end()
	}
}

// Audit looks through everything that a stepped engine keeps of its requests and returns what does not fit together: slots that are in
// nobody's hands, counts that are not those of the lists, overlapping requests that run at the same time.
func (e *Engine) Audit() error {
	for _, l := range e.lanes {
		if l.ended {
			continue
		}
		if err := l.audit(); err != nil {
			return fmt.Errorf("lane %d: %w", l.n, err)
		}
	}
	return nil
}

func (l *lane) audit() error {
	free := 0
	for s := l.slots.free; s != nil; s = s.nextFree {
		if s.state != slotFree || s.exp != nil {
			return fmt.Errorf("slot %d is free and in use", s.op.User)
		}
		if free++; free > len(l.slots.slots) {
			return errors.New("the list of free slots has a loop")
		}
	}
	queued := map[*slot]bool{}
	for _, p := range l.ports {
		for i := p.sent; i < p.n; i++ {
			if s := p.owner[i]; s != nil {
				queued[s] = true
			}
		}
	}
	used, reserved, onStore := 0, 0, 0
	for _, x := range l.exports {
		if x == nil {
			continue
		}
		used += int(x.used)
		reserved += int(max(0, x.queue-x.used))
		onStore += int(x.onStore)
		if err := x.audit(); err != nil {
			return fmt.Errorf("%v: %w", x.te.Addr(), err)
		}
	}
	if err := l.auditPlaces(); err != nil {
		return err
	}
	replies := 0
	for _, s := range l.slots.slots {
		if s.state == slotReply {
			replies++
			if !queued[s] {
				return fmt.Errorf("slot %d has a reply that is in no send queue", s.op.User)
			}
			if l.exports[s.exp.te.ID] != s.exp { // its export was removed meanwhile
				used++
			}
		}
	}
	switch {
	case free != l.slots.nfree:
		return fmt.Errorf("%d free slots, counted as %d", free, l.slots.nfree)
	case free+used != len(l.slots.slots):
		return fmt.Errorf("%d slots leaked: %d free, %d in use, %d in all", len(l.slots.slots)-free-used, free, used, len(l.slots.slots))
	case reserved != l.slots.reserved:
		return fmt.Errorf("%d slots are reserved, counted as %d", reserved, l.slots.reserved)
	case free < reserved:
		return fmt.Errorf("%d slots are free and %d reserved", free, reserved)
	case onStore != l.onStore:
		return fmt.Errorf("%d operations on stores, counted as %d", onStore, l.onStore)
	}
	return nil
}

// auditPlaces is Audit for the table of where requests lie.
func (l *lane) auditPlaces() error {
	var m places
	for _, x := range l.exports {
		if x == nil {
			continue
		}
		fresh := laneExport{te: x.te}
		for s := x.first; s != nil; s = s.next {
			m.add(&fresh, s)
		}
		if fresh.wide != x.wide {
			return fmt.Errorf("%v: %d requests have no place in the table, counted as %d", x.te.Addr(), fresh.wide, x.wide)
		}
	}
	if m != l.places {
		return errors.New("the table of where requests lie is not that of the requests that are held")
	}
	return nil
}

func (x *laneExport) audit() error {
	var held, writes, waiting, onStore, ready, limited int32
	for s := x.first; s != nil; s = s.next {
		if s.exp != x {
			return fmt.Errorf("slot %d is in the order of another export", s.op.User)
		}
		held++
		if s.write {
			writes++
		}
		blockers := 0
		for o := x.first; o != s; o = o.next {
			if overlaps(o, s) {
				blockers++
			}
		}
		if blockers != s.blockers {
			return fmt.Errorf("slot %d waits for %d requests, counted as %d", s.op.User, blockers, s.blockers)
		}
		switch s.state {
		case slotWaiting:
			waiting++
		case slotReady:
			ready++
		case slotLimited:
			limited++
		case slotStore:
			onStore++
		case slotView:
		default:
			return fmt.Errorf("slot %d is in the order in state %d", s.op.User, s.state)
		}
		if (blockers > 0) != (s.state == slotWaiting) {
			return fmt.Errorf("slot %d runs beside %d requests that overlap it", s.op.User, blockers)
		}
	}
	list := int32(0)
	for n := range x.fair.places {
		for s := x.fair.places[n].first; s != nil; s = s.nextReady {
			list++
		}
	}
	if err := x.auditLimits(limited); err != nil {
		return err
	}
	switch {
	case held != x.held || writes != x.writes || waiting != x.waiting || onStore != x.onStore || ready != x.queued || list != ready:
		return fmt.Errorf("held %d, writes %d, waiting %d, on the store %d, ready %d (%d in the list); counted as %d, %d, %d, %d, %d",
			held, writes, waiting, onStore, ready, list, x.held, x.writes, x.waiting, x.onStore, x.queued)
	case x.used < x.held:
		return fmt.Errorf("%d requests in %d slots", x.held, x.used)
	case ready > 0 && onStore < x.queue && !x.pumping:
		return fmt.Errorf("%d requests may run and do not, with %d on the store and a queue of %d", ready, onStore, x.queue)
	}
	return nil
}
