package engine

import (
	"goaoe/internal/store"
)

// What the daemon asks of a lane between two turns. These run in the lane's thread.

func (l *lane) addExport(x *Export) error {
	ch, err := x.Store.Channel(&l.set)
	if err != nil {
		return err
	}
	le := &laneExport{x: x, te: x.Target, ch: ch, places: &l.places, queue: int32(x.QueueLength), backlog: BacklogFactor * int32(x.QueueLength), dataAt: dataOffset, limits: newLimiter(x.Limits)}
	le.view, le.views = ch.(store.Viewer)
	le.near, _ = ch.(store.Near)
	if b, ok := ch.(store.Borrower); ok {
		le.borrows = b.Borrows()
	}
	if x.Store.Info().WholePages {
		le.dataAt, err = wholeOffset, l.slots.setWhole()
	}
	if err == nil {
		err = l.slots.grow(l.slotsNeeded(le))
	}
	if err != nil {
		ch.Close()
		return err
	}
	l.slots.reserved += int(le.queue)
	x.Target.Stats.Limit.Set(uint64(le.queue))
	l.stats.Slots.Set(uint64(len(l.slots.slots)))
	if c, ok := ch.(store.Counting); ok {
		c.CountTo(&x.Target.Stats.Store)
	}
	if len(l.ports) > 1 {
		le.log = &writeLog{}
	}
	for int(x.Target.ID) >= len(l.exports) {
		l.exports = append(l.exports, nil)
	}
	l.exports[x.Target.ID] = le
	return nil
}

func (l *lane) removeExport(x *Export, drained chan struct{}) {
	id := int(x.Target.ID)
	if id >= len(l.exports) || l.exports[id] == nil || l.exports[id].x != x {
		close(drained)
		return
	}
	le := l.exports[id]
	if le.drained != nil { // asked again after a time limit: the earlier one is not waited for any more
		le.drained = nil
	}
	le.closing, le.drained = true, drained
	l.setLimits(le, nil) // what waits for them must not hold up the end
	l.settle(le)
}

// settle ends an export that is being removed once nothing of it is in flight.
func (l *lane) settle(x *laneExport) {
	if !x.closing || x.held > 0 {
		return
	}
	if l.exports[x.te.ID] != x { // it is done already
		return
	}
	x.ch.Close()
	l.slots.reserved -= int(max(0, x.queue-x.used))
	x.queue = 0 // replies still to be sent must not count again
	l.exports[x.te.ID] = nil
	close(x.drained)
}

func (l *lane) setQueueLength(x *Export, n int) {
	id := int(x.Target.ID)
	if id >= len(l.exports) || l.exports[id] == nil || l.exports[id].x != x {
		return
	}
	le := l.exports[id]
	l.slots.reserved += max(0, n-int(le.used)) - int(max(0, le.queue-le.used))
	le.queue, le.backlog = int32(n), BacklogFactor*int32(n)
	// Without memory for more the export has what it had: frames past that are dropped and counted.
	_ = l.slots.grow(l.slotsNeeded(nil))
	le.te.Stats.Limit.Set(uint64(n))
	l.stats.Slots.Set(uint64(len(l.slots.slots)))
	l.pump(le)
}

// slotsNeeded is how many slots the exports of this lane need, with one more export if that is not nil.
func (l *lane) slotsNeeded(more *laneExport) int {
	queues, beyond := 0, 0
	add := func(x *laneExport) {
		if x != nil {
			queues += int(x.queue)
			beyond += int(x.backlog - x.queue)
		}
	}
	add(more)
	for _, x := range l.exports {
		add(x)
	}
	return queues + min(beyond, surplusSlots)
}

func (l *lane) addPort(p *Port) error {
	if err := l.slots.setPayload(p.Ingress().MTU + 14 - reqHeader); err != nil {
		return err
	}
	lp, err := newLanePort(p, l.n)
	if err != nil {
		return err
	}
	l.ports = append(l.ports, lp)
	for _, x := range l.exports {
		if x != nil && x.log == nil && len(l.ports) > 1 {
			x.log = &writeLog{}
		}
	}
	return nil
}

func (l *lane) removePort(p *Port) {
	for i, lp := range l.ports {
		if lp.port != p {
			continue
		}
		l.flush(lp, txBatch)
		l.discard(lp)
		lp.gone = true
		l.ports = append(l.ports[:i:i], l.ports[i+1:]...)
		lp.close()
		l.countSlots()
		return
	}
}
