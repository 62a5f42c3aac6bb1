package engine

import (
	"math"

	"golang.org/x/sys/unix"

	"goaoe/internal/link"
	"goaoe/internal/stats"
	"goaoe/internal/store"
	"goaoe/internal/target"
)

// begin takes a validated storage request into the export's order and starts it if nothing holds it up.
func (l *lane) begin(p *lanePort, f *link.Frame, te *target.Export, spec target.IOSpec) {
	x := l.laneExport(te)
	if x == nil || x.closing {
		l.lose(p, stats.DropClosing) // being removed, or steered to the wrong lane while lanes were joining
		return
	}
	if age := l.eng.opts.RequestAge; age > 0 && f.Time != 0 && l.now-f.Time > int64(age) {
		l.drop(p, x, stats.DropStale)
		return
	}
	old, again := x.look(&l.slots, seenKey(l.src, f.Data), l.req.Tag, spec.Kind)
	if again {
		te.Stats.Retransmits.Inc()
		l.ini.Retransmits.Inc()
	}
	start, end := spec.LBA, spec.LBA+uint64(spec.Count)
	write := spec.Kind == target.IOWrite
	switch spec.Kind {
	case target.IODiscard: // its ranges may lie anywhere: in order with everything
		start, end, write = 0, math.MaxUint64, true
	case target.IOFlush: // covers what was acknowledged before it, nothing else waits
		start, end = 0, 0
	}
	meets := l.places.meets(x, start, end)
	if (meets || spec.Kind == target.IOFlush) && (x.queued+x.waiting+x.limited > 0 || x.writes > 0) {
		if o := x.repetition(f.Data, &spec, l.nth); o != nil {
			silent := p // the interface of the one of the two that gets no reply
			if o.waits() {
				silent = o.port
				copy(o.req, f.Data[:reqHeader])
				o.port, o.time = p, f.Time
			}
			if !again {
				te.Stats.Retransmits.Inc()
				l.ini.Retransmits.Inc()
			}
			l.drop(silent, x, stats.DropDuplicate)
			return
		}
	}
	if write && len(l.ports) > 1 && x.log.overtaken(f, p, start, end, l.now) {
		l.drop(p, x, stats.DropStale)
		return
	}
	source := x.fair.place(l.src)
	var s *slot
	if !x.crowded(&l.slots, source, l.mono) {
		s = l.slots.take(x)
	}
	if s == nil || len(s.data) < payloadLen(&spec) || spec.Kind == target.IORead && len(s.data) < spec.Count*store.SectorSize {
		if s != nil {
			l.slots.put(s)
		}
		l.drop(p, x, stats.DropFull)
		return
	}
	x.fair.took(s, source)
	copy(s.req, f.Data[:reqHeader])
	data, lend := f.Data[reqHeader:reqHeader+payloadLen(&spec)], x.borrows && spec.Kind == target.IOWrite
	if lend {
		s.op.Buf, s.op.Spare, s.lent = data, s.data[:len(data)], l.nth
	} else {
		copy(s.data, data)
		s.op.Spare = nil
	}
	s.port, s.io, s.time, s.at = p, spec, f.Time, l.arrived(f.Time)
	s.start, s.end, s.write = start, end, write
	s.ini = l.ini
	s.ini.InFlight.Inc()
	old.keep(s)
	l.answered = true // it will be
	x.admit(s, meets)
	if write && len(l.ports) > 1 {
		x.log.add(s)
	}
	if s.state == slotWaiting {
		te.Stats.Waits.Inc()
	} else {
		l.start(s)
	}
	if lend && s.state != slotStore { // it begins when the frame is gone
		copy(s.op.Spare, data)
		s.op.Spare = nil
	}
}

// drop counts a request that gets no reply.
func (l *lane) drop(p *lanePort, x *laneExport, d stats.Drop) {
	l.lose(p, d)
	x.te.Stats.Drops[d].Inc()
}

// start runs a request that nothing is in the way of but its initiator's limits: from memory if possible, else on the store, else when
// the store has room.
func (l *lane) start(s *slot) {
	x := s.exp
	if x.limits != nil && !l.within(s) {
		return
	}
	if s.io.Kind == target.IORead && x.views {
		if v := x.view.View(int64(s.io.LBA)*store.SectorSize, s.io.Count*store.SectorSize); v != nil {
			l.replyView(s, v)
			return
		}
	}
	l.toStore(s)
}

// replyView answers a read out of the storage's own memory. The request stays in the order until the data is sent.
func (l *lane) replyView(s *slot, v []byte) {
	s.state = slotView
	te := s.exp.te
	h, d := te.Finish(s.req, s.port.in, s.io, target.OK, 0, false, s.buf)
	te.Stats.Views.Inc()
	l.count(s)
	if !l.queueSlot(s, s.buf[:h], v[:d]) {
		l.late(s, stats.DropSend)
		l.release(s)
	}
}

// toStore runs a request on the store as soon as that has room: at once, or later by pump.
func (l *lane) toStore(s *slot) {
	x := s.exp
	if x.onStore >= x.queue {
		x.te.Stats.Stalls.Inc()
		x.pushReady(s)
		return
	}
	x.onStore++
	x.te.Stats.OnStore.Inc()
	l.onStore++
	l.submit(s)
}

// submit hands a request to the store.
func (l *lane) submit(s *slot) {
	s.state = slotStore
	op := &s.op
	op.Off = int64(s.io.LBA) * store.SectorSize
	op.Durable, op.Len = s.io.Durable, 0
	op.Errno, op.Done = 0, 0
	switch s.io.Kind {
	case target.IORead:
		op.Kind, op.Buf = store.Read, s.data[:s.io.Count*store.SectorSize]
	case target.IOWrite:
		if op.Kind = store.Write; op.Spare == nil {
			op.Buf = s.data[:s.io.Count*store.SectorSize]
		}
	case target.IOFlush:
		op.Kind, op.Off, op.Buf = store.Flush, 0, nil
	case target.IODiscard:
		op.Buf = nil
		if !l.nextRange(s) { // nothing to discard at all: a flush has the same effect and comes back the same way
			op.Kind, op.Off = store.Flush, 0
		}
	}
	l.give(s)
	l.acts = true
}

// give counts an operation and gives it to the store.
func (l *lane) give(s *slot) {
	x := s.exp
	st := &x.te.Stats
	st.Ops.Inc()
	if x.batch != l.nth {
		x.batch = l.nth
		st.Batches.Inc()
	}
	x.ch.Submit(&s.op)
}

// nextRange prepares the next range of a discard, and tells whether there was one.
func (l *lane) nextRange(s *slot) bool {
	for {
		lba, n, ok := target.DiscardRange(s.data[:payloadLen(&s.io)], s.part)
		if !ok {
			return false
		}
		s.part++
		if n > 0 {
			s.op.Kind, s.op.Off, s.op.Len = store.Discard, int64(lba)*store.SectorSize, int64(n)*store.SectorSize
			return true
		}
	}
}

// reap collects what the executors have done, until they have nothing more; but of a disk only once in a turn: what it is still at work on can wait for the next turn,
// the replies that are ready cannot.
func (l *lane) reap() {
	for again := true; again; {
		again = false
		for _, x := range l.set.Executors() {
			n := x.Reap(l.done[:])
			if len(l.exports) >= aheadExports {
				l.aheadDone(l.done[:n])
			}
			for _, op := range l.done[:n] {
				l.complete(l.slots.slots[op.User])
			}
			if n > 0 {
				l.acts = true
				x.Flush() // what was waiting for these
				again = !l.paced
			}
		}
	}
}

// complete answers a request that the store is done with.
func (l *lane) complete(s *slot) {
	x := s.exp
	if s.io.Kind == target.IODiscard && s.op.Errno == 0 && s.op.Kind == store.Discard && l.nextRange(s) {
		s.op.Errno, s.op.Done = 0, 0
		l.give(s)
		return
	}
	if s.op.Errno == unix.ENOMEM {
		// Nothing is wrong with the disk. An error would be final for the initiator's file system; silence makes it ask again.
		l.late(s, stats.DropMemory)
		x.te.Stats.Drops[stats.DropMemory].Inc()
		l.leave(x, s)
		l.slots.put(s)
		l.pump(x)
		return
	}
	res := result(s.op.Errno)
	failed, known := s.io.LBA, false
	if res != target.OK {
		x.te.Stats.Errors[errorOf(res)].Inc()
		x.te.Stats.LastErrno.Set(uint64(s.op.Errno))
		s.ini.Errors.Inc()
		if s.op.Done > 0 {
			failed, known = s.io.LBA+uint64(s.op.Done/store.SectorSize), true
		}
	} else {
		l.count(s)
	}
	h, d := x.te.Finish(s.req, s.port.in, s.io, res, failed, known, s.buf)
	l.leave(x, s)
	if !l.queueSlot(s, s.buf[:h+d], nil) { // the data lies right behind the header
		l.late(s, stats.DropSend)
		l.slots.put(s)
	}
	l.pump(x)
}

// leave takes a request off the store: what waited for it may run.
func (l *lane) leave(x *laneExport, s *slot) {
	x.onStore--
	x.te.Stats.OnStore.Dec()
	l.onStore--
	s.state = slotReply
	x.retire(s)
}

// release frees a request whose reply was sent or given up. What waited for it starts at the end of the turn: this
// runs in the middle of a send.
func (l *lane) release(s *slot) {
	if s.state == slotView {
		x := s.exp
		x.retire(s)
		if !x.pumping && (x.fair.any() || x.closing) {
			x.pumping = true
			x.pumpNext, l.pumpList = l.pumpList, x
		}
	}
	l.slots.put(s)
}

// pumpAll starts what release has left to do.
func (l *lane) pumpAll() {
	for l.pumpList != nil {
		x := l.pumpList
		l.pumpList, x.pumpNext, x.pumping = x.pumpNext, nil, false
		l.acts = true
		l.pump(x)
	}
}

// pump starts what may run while the store has room.
func (l *lane) pump(x *laneExport) {
	for x.fair.any() && x.onStore < x.queue {
		s := x.popReady()
		if age := l.eng.opts.RequestAge; age > 0 && s.time != 0 && l.now-s.time > int64(age) {
			l.late(s, stats.DropStale)
			x.te.Stats.Drops[stats.DropStale].Inc()
			x.retire(s)
			l.slots.put(s)
			continue
		}
		l.start(s)
	}
	l.settle(x)
}

// count adds a request that is done to its export's counters.
func (l *lane) count(s *slot) {
	st := &s.exp.te.Stats
	n := uint64(s.io.Count) * store.SectorSize
	switch s.io.Kind {
	case target.IORead:
		st.Reads.Inc()
		st.ReadBytes.Add(n)
		s.ini.Reads.Inc()
		s.ini.ReadBytes.Add(n)
	case target.IOWrite:
		st.Writes.Inc()
		st.WriteBytes.Add(n)
		s.ini.Writes.Inc()
		s.ini.WriteBytes.Add(n)
	case target.IOFlush:
		st.Flushes.Inc()
	case target.IODiscard:
		st.Discards.Inc()
	}
}

// errorOf is the kind under which a failure is counted.
func errorOf(r target.Result) stats.Error {
	switch r {
	case target.OK:
		return stats.NoError
	case target.NoSpace:
		return stats.ErrorNoSpace
	case target.Gone:
		return stats.ErrorGone
	case target.ReadOnly:
		return stats.ErrorReadOnly
	}
	return stats.ErrorMedia
}

// result turns what the store says into what the target tells.
func result(e unix.Errno) target.Result {
	switch e {
	case 0:
		return target.OK
	case unix.ENOSPC, unix.EDQUOT, unix.EFBIG:
		return target.NoSpace
	case unix.ENODEV, unix.ENXIO:
		return target.Gone
	case unix.EROFS, unix.EPERM, unix.EACCES:
		return target.ReadOnly
	}
	return target.Media
}
