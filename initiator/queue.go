package initiator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/sys"
)

// Op is what a Request asks for.
type Op uint8

// The operations of a Request.
const (
	Read  Op = iota + 1 // len(Buf) bytes at Off into Buf
	Write               // Buf to Off
	Flush               // what was answered comes to stable storage
	Trim                // Len bytes at Off are not needed any more
)

// String returns "read", "write", "flush" or "trim".
func (o Op) String() string {
	switch o {
	case Read:
		return "read"
	case Write:
		return "write"
	case Flush:
		return "flush"
	case Trim:
		return "trim"
	}
	return "unknown operation"
}

// Request is one piece of work for a Queue. It and Buf belong to the queue from Submit until Wait gives it back (or Close returns); then it can be
// used again. Its fields mean what the arguments of the methods of Disk mean, except that a Read beyond the end fails with ErrRange.
type Request struct {
	Op   Op
	Off  int64         // bytes, a multiple of SectorSize
	Buf  []byte        // Read, Write: a multiple of SectorSize long
	Len  int64         // Trim: bytes, a multiple of SectorSize
	User uint64        // the caller's own
	Err  error         // the result: nil when all of it is done
	Took time.Duration // the result: from Submit until the last answer was received

	o    op
	next *Request
}

// Queue does many requests from one goroutine without a hand-over to another: Submit sends, and Wait receives. It allocates nothing per
// request. Requests on the same sectors, one of them a write, take effect in the order of their submission; others in any order.
//
// Submit and Close may be called from any goroutine, Wait from one at a time.
type Queue struct {
	d           *Disk
	depth       int
	w           waiter
	outstanding int      // submitted, not given back
	first, last *Request // done, not given back
	closed      bool
	fds         []unix.PollFd // of park
}

// NewQueue returns a queue for at most depth requests at a time (1 when depth is less). How many of them are on the wire is the matter of the
// paths' windows; the others wait for their turn.
func (d *Disk) NewQueue(depth int) *Queue {
	return &Queue{d: d, depth: max(depth, 1), w: waiter{wake: make(chan struct{}, 1)}}
}

// Submit begins a request. It fails, and r stays the caller's, when r is no range of the disk, when the queue is full, and when queue or disk are
// closed. What it sends leaves together with what other calls send, when Wait is called or a few milliseconds later at the latest.
func (q *Queue) Submit(r *Request) error {
	d := q.d
	k, n := opRead, int64(len(r.Buf))
	switch r.Op {
	case Read:
	case Write:
		k = opWrite
	case Flush:
		k = opCommand
	case Trim:
		k, n = opTrim, r.Len
	default:
		return fmt.Errorf("%v: operation %d: %w", d.addr, r.Op, ErrUnsupported)
	}
	if k != opCommand {
		if err := d.checkRange(k, n, r.Off); err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%v: %s 0 bytes at %d: nothing to do", d.addr, verbs[k], r.Off)
		}
		if k == opTrim && !d.Identity().Trim {
			return fmt.Errorf("%v: trimming %d bytes at %d: %w", d.addr, n, r.Off, ErrUnsupported)
		}
	}
	now := sys.Nanotime()
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed || q.closed:
		return fmt.Errorf("%v: %w", d.addr, ErrClosed)
	case q.outstanding >= q.depth:
		return fmt.Errorf("%v: the queue is full: %d requests are outstanding", d.addr, q.outstanding)
	}
	q.outstanding++
	r.Err, r.Took, r.next = nil, 0, nil
	o := &r.o
	o.reset()
	o.kind, o.req, o.q = k, r, q
	if k == opCommand {
		if o.regs = flushExt; d.oldFlush {
			o.regs = flush
		}
	} else {
		o.buf = r.Buf
		o.start = uint64(r.Off) / SectorSize
		o.at, o.end = o.start, o.start+uint64(n)/SectorSize
	}
	d.submit(o, now)
	if d.receiving { // whoever waits does not see what is queued
		d.flush()
		d.nudge()
	}
	return nil
}

// finished takes an op of the queue that is done.
func (q *Queue) finished(o *op, now int64) {
	r := o.req
	if o.kind == opCommand && errors.Is(o.err, ErrRefused) && o.regs == flushExt {
		// No FLUSH CACHE EXT: there is an older one.
		begun := o.begun
		q.d.oldFlush = true
		o.err, o.done, o.regs = nil, false, flush
		q.d.waiting.push(o)
		o.begun = begun
		return // the pump that follows every answer starts it
	}
	if o.err != nil {
		r.Err = fmt.Errorf("%v: %v of %d bytes at %d: %w", q.d.addr, r.Op, max(int64(len(r.Buf)), r.Len), r.Off, q.d.shrunk(o.err, r.Off+max(int64(len(r.Buf)), r.Len)))
	}
	r.Took = time.Duration(now - o.begun)
	if q.last != nil {
		q.last.next = r
	} else {
		q.first = r
	}
	q.last = r
	q.w.tell()
}

func (q *Queue) ready() bool { return q.first != nil || q.outstanding == 0 || q.closed }

// Wait puts requests that are finished into done and returns how many: at least one, unless none is outstanding or done has no room. It
// fails when ctx ends first; the requests then stay outstanding.
func (q *Queue) Wait(ctx context.Context, done []*Request) (int, error) {
	if len(done) == 0 {
		return 0, nil
	}
	d := q.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if q.first == nil {
		if err := d.await(ctx, &q.w, q); err != nil && q.first == nil {
			return 0, err
		}
	}
	n := q.take(done)
	if n == 0 && q.closed {
		return 0, fmt.Errorf("%v: %w", d.addr, ErrClosed)
	}
	return n, nil
}

// take moves finished requests to done.
func (q *Queue) take(done []*Request) int {
	n := 0
	for ; n < len(done) && q.first != nil; n++ {
		r := q.first
		q.first = r.next
		r.next = nil
		done[n] = r
	}
	if q.first == nil {
		q.last = nil
	}
	q.outstanding -= n
	return n
}

// Close ends the use of the queue, not of the disk. Requests that are outstanding are given up: they are the caller's again, with ErrClosed; what
// became of writes is not known.
func (q *Queue) Close() error {
	d := q.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if q.closed {
		return nil
	}
	q.closed = true
	err := fmt.Errorf("%v: %w", d.addr, ErrClosed)
	giveUp := func(o *op) {
		if o != nil && o.q == q {
			d.abandon(o)
			o.req.Err = err
			q.outstanding--
		}
	}
	for o := d.waiting.first; o != nil; {
		next := o.next
		giveUp(o)
		o = next
	}
	for i := range d.slots {
		if d.slots[i].busy {
			giveUp(d.slots[i].op)
		}
	}
	q.w.tell()
	if q.w.event != nil && !q.w.parked { // a waiter that is parked may poll it
		e := q.w.event
		q.w.event = nil
		return e.Close()
	}
	return nil
}
