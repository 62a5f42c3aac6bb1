package engine

import (
	"bytes"

	"goaoe/internal/link"
	"goaoe/internal/stats"
	"goaoe/internal/store"
	"goaoe/internal/target"
)

// laneExport is an export inside its lane: its channel to the storage and its requests in order of arrival.
//
// What every request touches comes first and fills three cache lines of 64 bytes; of the tables behind them one line each is touched. With many exports each line
// has to come from far away. The Go runtime puts 8 bytes in front of an object of this size, which is why the first line begins 56 bytes behind its start.
type laneExport struct {
	_ [56]byte

	te          *target.Export
	ch          store.Channel
	near        store.Near // nil when the channel has nothing to fetch ahead
	first, last *slot      // arrival order: everything that is not done
	batch       uint64     // the lane's turn in which an operation was last given to the store

	queue   int32 // operations on the store at once
	backlog int32 // requests held at most
	used    int32 // slots in use: in the list, or with a reply that is not sent yet
	held    int32 // requests in the list
	onStore int32
	writes  int32            // requests in the list that write
	waiting int32            // requests in the list that wait for an overlapping one
	queued  int32            // requests that may run but wait for room on the store
	src     uint64           // the MAC of ini
	ini     *stats.Initiator // whoever asked last, so that the next request need not look it up; nil: nobody
	limits  *limiter         // nil: none
	limited int32            // requests that wait for their initiator's limits
	dataAt  uint16           // where the data begins in the buffers of its requests: dataOffset or wholeOffset
	closing bool
	pumping bool // in the list of exports to pump

	places  *places
	wide    int32 // requests in the list that have no place in the lane's table
	borrows bool  // writes may lie in the receive ring until the executors were flushed
	views   bool  // there is a view
	listed  bool  // in the list of exports with requests that wait for their initiators' limits
	_       uint64
	fair    fair // who holds how much, and what may run

	recent    [seenSize]seen
	view      store.Viewer // nil when reads without a copy are not possible
	x         *Export
	log       *writeLog // nil while the lane has had one interface at most
	pumpNext  *laneExport
	limitNext *laneExport
	drained   chan struct{}
}

// overlaps tells whether two requests must keep their order: their sectors meet and one of them writes.
// Both may be reads or empty, then they do not care.
func overlaps(a, b *slot) bool {
	return (a.write || b.write) && a.start < b.end && b.start < a.end
}

// admit appends s to the arrival order and counts the earlier requests that it has to wait for. meets is what the lane's table said of it: false when it
// overlaps none.
func (x *laneExport) admit(s *slot, meets bool) {
	s.blockers = 0
	if meets && (s.write || x.writes > 0) {
		for o := x.first; o != nil; o = o.next {
			if overlaps(o, s) {
				s.blockers++
			}
		}
	}
	s.prev, s.next = x.last, nil
	if x.last != nil {
		x.last.next = s
	} else {
		x.first = s
	}
	x.last = s
	x.places.add(x, s)
	x.held++
	x.te.Stats.Held.Inc()
	if s.write {
		x.writes++
	}
	if s.blockers > 0 {
		s.state = slotWaiting
		x.waiting++
	}
}

// retire takes s, which has had its effect, out of the order. Requests that waited only for it become ready.
func (x *laneExport) retire(s *slot) {
	if x.waiting > 0 {
		for o := s.next; o != nil; o = o.next {
			if o.blockers > 0 && overlaps(s, o) {
				if o.blockers--; o.blockers == 0 {
					x.waiting--
					x.pushReady(o)
				}
			}
		}
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		x.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		x.last = s.prev
	}
	s.prev, s.next = nil, nil
	x.places.remove(x, s)
	x.held--
	x.te.Stats.Held.Dec()
	if s.write {
		x.writes--
	}
}

// pushReady queues a request that may run.
func (x *laneExport) pushReady(s *slot) {
	s.state = slotReady
	x.fair.push(s)
	x.queued++
}

// popReady returns the request that runs next, or nil.
func (x *laneExport) popReady() *slot {
	s := x.fair.pop()
	if s != nil {
		x.queued--
	}
	return s
}

// repetition finds a request that frame repeats and that makes executing frame pointless: one that still waits (the newest
// tag is the one whose answer somebody waits for, so frame takes its place), or, with the same tag, one on the
// store (its reply serves both). It is only asked when the export has a backlog or writes in flight, and something that the frame may overlap.
// turn is the lane's.
func (x *laneExport) repetition(frame []byte, spec *target.IOSpec, turn uint64) *slot {
	for o := x.last; o != nil; o = o.prev {
		if o.io.Kind != spec.Kind || o.io.LBA != spec.LBA || o.io.Count != spec.Count || o.io.Durable != spec.Durable {
			continue
		}
		if !bytes.Equal(o.req[6:12], frame[6:12]) || !bytes.Equal(o.req[24:reqHeader], frame[24:reqHeader]) {
			continue
		}
		if !o.waits() && !bytes.Equal(o.req[20:24], frame[20:24]) {
			continue
		}
		if n := payloadLen(spec); n > 0 {
			data := o.data[:n]
			if o.op.Spare != nil { // it lies in the receive ring
				data = o.op.Buf
			}
			if o.op.Spare != nil && o.lent != turn || !bytes.Equal(data, frame[reqHeader:reqHeader+n]) {
				return nil // same place, other data (or it is written, and its data is gone): not a repetition, and what came before it is older still
			}
		}
		return o
	}
	return nil
}

// payloadLen is how many bytes behind the request's header belong to the operation.
func payloadLen(spec *target.IOSpec) int {
	if spec.Kind == target.IOWrite || spec.Kind == target.IODiscard {
		return spec.Count * store.SectorSize
	}
	return 0
}

// writeLog remembers the latest writes of an export that is served on several interfaces. One interface's frames come
// in order; between two, a frame can be looked at after a newer one from the other interface. A write that arrived before
// an overlapping one that was already let through must not be executed after it.
type writeLog struct {
	newest int64 // largest arrival time logged
	next   int
	n      int
	e      [logSize]logEntry
}

const (
	logSize = 256
	// clockDoubt is in nanoseconds. For that long, at most, writes are refused that come by another interface than one that they overlap.
	clockDoubt = 2_000_000_000
)

type logEntry struct {
	start, end uint64
	time       int64
	port       *lanePort
}

// add remembers a write that is being let through.
func (g *writeLog) add(s *slot) {
	g.e[g.next] = logEntry{s.start, s.end, s.time, s.port}
	g.next = (g.next + 1) % logSize
	g.n = min(g.n+1, logSize)
	g.newest = max(g.newest, s.time)
}

// overtaken tells whether a write that arrived at time t on port p is older than one that was let through and overlaps it,
// or may be. now is the current time. When the clock was set back, what is logged says nothing of writes that came since. One that is stamped later
// than now came before, and is compared; so is every one for as long as the clock was set back by no more than clockDoubt, which none of
// those that were in a ring by then can have waited.
func (g *writeLog) overtaken(f *link.Frame, p *lanePort, start, end uint64, now int64) bool {
	if f.Time == 0 || f.Time >= g.newest {
		return false
	}
	if f.Time <= now && g.newest-now > clockDoubt {
		g.n, g.next, g.newest = 0, 0, 0
		return false
	}
	reaches := g.n < logSize
	for i := 0; i < g.n; i++ {
		e := &g.e[i]
		if e.time <= f.Time {
			reaches = true
			continue
		}
		if e.port != p && e.start < end && start < e.end {
			return true
		}
	}
	return !reaches
}
