package initiator

import (
	"goaoe/aoe"
	"goaoe/internal/sys"
)

// kind is what an op does.
type kind uint8

const (
	opRead kind = iota
	opWrite
	opTrim    // like a write that sends its range in place of data
	opCommand // one frame that touches no sectors
)

// waiter is somebody who waits until something is done, and receives for all meanwhile if nobody else does.
type waiter struct {
	wake       chan struct{} // holds one word: done, or it is your turn to receive
	event      *sys.EventFD  // of who polls descriptors of its own (WaitFor), raised with the word while it is parked
	parked     bool
	next, prev *waiter
}

// tell wakes a waiter; several words are one.
func (w *waiter) tell() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
	if w.event != nil && w.parked {
		w.event.Signal()
	}
}

// op is one call of a user: done when all its frames are. It is in the list of those that wait (Disk.first) until all of them have left.
type op struct {
	kind       kind
	at, end    uint64 // sectors that have not left yet
	start      uint64
	buf        []byte // data of sectors start to end, or what a command sends
	into       []byte // what a command returns
	regs       aoe.ATA
	reply      aoe.ATA // of a command: the registers that came back
	pending    int     // frames under way
	err        error
	done       bool
	listed     bool
	begun      int64
	next, prev *op
	w          waiter
	req        *Request // of a queue; nil for a call that waits by itself
	q          *Queue
}

func (o *op) changes() bool { return o.kind == opWrite || o.kind == opTrim }

// reset makes the op ready for its next use.
func (o *op) reset() {
	wake := o.w.wake
	*o = op{}
	o.w.wake = wake
}

// list is a list of ops in the order in which they came.
type list struct{ first, last *op }

func (l *list) push(o *op) {
	o.prev, o.next = l.last, nil
	if l.last != nil {
		l.last.next = o
	} else {
		l.first = o
	}
	l.last = o
	o.listed = true
}

func (l *list) remove(o *op) {
	if !o.listed {
		return
	}
	if o.prev != nil {
		o.prev.next = o.next
	} else {
		l.first = o.next
	}
	if o.next != nil {
		o.next.prev = o.prev
	} else {
		l.last = o.prev
	}
	o.next, o.prev, o.listed = nil, nil, false
}

// waiters is a list of those who wait and do not receive, the newest first: its stack and caches are the warmest.
type waiters struct{ first *waiter }

func (l *waiters) push(w *waiter) {
	w.next, w.prev = l.first, nil
	if l.first != nil {
		l.first.prev = w
	}
	l.first = w
	w.parked = true
}

func (l *waiters) remove(w *waiter) {
	if !w.parked {
		return
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.next, w.prev, w.parked = nil, nil, false
}
