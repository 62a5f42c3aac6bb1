package mem

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"goaoe/internal/store"
)

// channel is one lane's way to one store.
type channel struct {
	s   *Store
	x   *exec
	set *store.Set
}

// viewChannel is a channel of a store that offers zero-copy reads.
type viewChannel struct{ channel }

// Submit queues op; it takes effect when it is reaped, or when the Control lets it.
func (c *channel) Submit(op *store.Op) {
	op.X.Chan = c
	op.X.Next = nil
	op.X.State = 0
	op.Errno, op.Done = 0, 0
	if c.s.ctl != nil {
		c.s.ctl.submit(c, op)
		return
	}
	c.x.push(op)
}

// Close releases the channel, which holds nothing of its own.
func (c *channel) Close() { c.set.Leave(store.Memory) }

// View returns the bytes themselves.
func (c *viewChannel) View(off int64, n int) []byte {
	if off < 0 || n <= 0 || int64(n) > c.s.size.Load()-off {
		return nil
	}
	return c.s.data[off : off+int64(n)]
}

// exec runs the operations of all memory stores of one lane. What nobody delays is finished at the next Reap.
type exec struct {
	head, tail *store.Op // ready, in order
	slow       []slowOp  // delayed by some turns or waiting to be shuffled; only with a Control

	mu    sync.Mutex // guards inbox, which other goroutines fill (release of held operations, timers)
	inbox []*store.Op
	n     atomic.Int32 // len(inbox), to look without the lock
	fd    int
	event [8]byte // what was read from fd
}

type slowOp struct {
	op    *store.Op
	turns int
}

func newExec() (store.Executor, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &exec{fd: fd}, nil
}

func (x *exec) push(op *store.Op) {
	if x.tail == nil {
		x.head = op
	} else {
		x.tail.X.Next = op
	}
	x.tail = op
}

// post hands op to the executor from any goroutine and wakes the lane.
func (x *exec) post(op *store.Op) {
	x.mu.Lock()
	x.inbox = append(x.inbox, op)
	x.n.Store(int32(len(x.inbox)))
	x.mu.Unlock()
	_, _ = unix.Write(x.fd, wake[:])
}

// wake is what is written to an eventfd. A local array would be allocated under the race detector.
var wake = [8]byte{1}

// Flush does nothing.
func (x *exec) Flush() {}

// Pending tells whether Reap has something to do.
func (x *exec) Pending() bool { return x.head != nil || len(x.slow) > 0 || x.n.Load() > 0 }

// FD is readable when held or timed operations were let go meanwhile. What can be finished without such an event makes
// Pending true and never waits for the descriptor: a lane looks at Pending before it sleeps.
func (x *exec) FD() int { return x.fd }

// Reap finishes operations.
func (x *exec) Reap(done []*store.Op) int {
	if x.n.Load() > 0 {
		x.collect()
	}
	if len(x.slow) > 0 {
		x.age()
	}
	n := 0
	for n < len(done) && x.head != nil {
		op := x.head
		x.head = op.X.Next
		if x.head == nil {
			x.tail = nil
		}
		op.X.Next = nil
		c := op.X.Chan.(interface{ run(op *store.Op) })
		c.run(op)
		done[n] = op
		n++
	}
	return n
}

// collect takes what other goroutines let go.
func (x *exec) collect() {
	_, _ = unix.Read(x.fd, x.event[:])
	x.mu.Lock()
	for i, op := range x.inbox {
		x.push(op)
		x.inbox[i] = nil
	}
	x.inbox = x.inbox[:0]
	x.n.Store(0)
	x.mu.Unlock()
}

// age counts delayed operations down and makes those ready whose turn has come, in the order their Control draws.
func (x *exec) age() {
	kept := x.slow[:0]
	for _, s := range x.slow {
		if s.turns > 0 {
			s.turns--
			kept = append(kept, s)
			continue
		}
		x.push(s.op)
	}
	x.slow = kept
}

// Close frees the executor.
func (x *exec) Close() { _ = unix.Close(x.fd) }

// run lets op take effect.
func (c *channel) run(op *store.Op) {
	if c.s.ctl != nil {
		c.s.ctl.run(c.s, op)
		return
	}
	c.s.apply(op)
}

// check returns the errno of an operation that must not touch anything.
func (s *Store) check(op *store.Op) unix.Errno {
	n := op.Len
	switch op.Kind {
	case store.Read, store.Write:
		n = int64(len(op.Buf))
	case store.Flush:
		return 0
	case store.Discard:
	default:
		return unix.EINVAL
	}
	if n <= 0 || n%store.SectorSize != 0 || op.Off%store.SectorSize != 0 {
		return unix.EINVAL
	}
	if op.Off < 0 || n > s.size.Load()-op.Off {
		return unix.EIO
	}
	if op.Kind != store.Read && s.info.ReadOnly {
		return unix.EROFS
	}
	return 0
}

// apply does what op says on the bytes.
func (s *Store) apply(op *store.Op) {
	if op.Errno = s.check(op); op.Errno != 0 {
		return
	}
	switch op.Kind {
	case store.Read:
		op.Done = copy(op.Buf, s.data[op.Off:])
	case store.Write:
		op.Done = copy(s.data[op.Off:], op.Buf)
	case store.Discard:
		clear(s.data[op.Off : op.Off+op.Len])
	}
}
