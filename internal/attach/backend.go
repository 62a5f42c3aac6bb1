package attach

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/initiator"
	"goaoe/internal/nbd"
	"goaoe/internal/sys"
)

// backend serves a disk. It implements nbd.Backend.
type backend struct {
	d    *initiator.Disk
	fail func(r *nbd.Request) // told of each request that failed; must not block
}

func (b *backend) Size() int64 { return b.d.Size() }

// NewQueue implements nbd.Backend.
func (b *backend) NewQueue(depth int) (nbd.Queue, error) {
	wake, err := sys.NewEventFD()
	if err != nil {
		return nil, err
	}
	q := &queue{b: b, q: b.d.NewQueue(depth), wake: wake, reqs: make([]initiator.Request, depth), whose: make([]*nbd.Request, depth),
		done: make([]*initiator.Request, 0, depth), fds: make([]unix.PollFd, 0, 8), work: make(chan struct{}, 1), over: make(chan struct{})}
	for i := range q.reqs {
		q.reqs[i].User = uint64(i)
		q.free = append(q.free, i)
	}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	go q.pump()
	return q, nil
}

// queue is a disk's queue for one connection.
type queue struct {
	b      *backend
	q      *initiator.Queue
	wake   *sys.EventFD
	reqs   []initiator.Request
	whose  []*nbd.Request // by index of reqs
	free   []int
	fds    []unix.PollFd
	ctx    context.Context
	cancel context.CancelFunc
	work   chan struct{}
	over   chan struct{}

	mu   sync.Mutex
	done []*initiator.Request
}

func (q *queue) pump() {
	defer close(q.over)
	batch := make([]*initiator.Request, 64)
	for {
		n, err := q.q.Wait(q.ctx, batch)
		if n == 0 && err == nil {
			select {
			case <-q.work:
				continue
			case <-q.ctx.Done():
				return
			}
		}
		if err != nil && q.ctx.Err() != nil {
			return
		}
		q.mu.Lock()
		q.done = append(q.done, batch[:n]...)
		q.mu.Unlock()
		q.wake.Signal()
	}
}

var ops = [...]initiator.Op{nbd.OpRead: initiator.Read, nbd.OpWrite: initiator.Write, nbd.OpFlush: initiator.Flush, nbd.OpTrim: initiator.Trim}

// Submit implements nbd.Queue.
func (q *queue) Submit(r *nbd.Request) error {
	i := q.free[len(q.free)-1]
	x := &q.reqs[i]
	x.Op, x.Off, x.Buf, x.Len = ops[r.Op], r.Off, r.Buf, r.Len
	if err := q.q.Submit(x); err != nil {
		r.Err = err
		q.b.fail(r)
		return fmt.Errorf("%w: %w", errno(r.Op, err), err)
	}
	q.free = q.free[:len(q.free)-1]
	q.whose[i] = r
	select {
	case q.work <- struct{}{}:
	default:
	}
	return nil
}

// Wait implements nbd.Queue.
func (q *queue) Wait(done []*nbd.Request, fds []unix.PollFd, timeout time.Duration) (int, error) {
	q.mu.Lock()
	if len(q.done) > 0 {
		timeout = 0
	}
	q.mu.Unlock()
	q.fds = append(append(q.fds[:0], fds...), unix.PollFd{Fd: int32(q.wake.FD()), Events: unix.POLLIN})
	if _, err := sys.Poll(q.fds, int64(timeout)); err != nil {
		return 0, err
	}
	copy(fds, q.fds)
	q.wake.Drain()
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(done), len(q.done))
	for i, x := range q.done[:n] {
		done[i] = q.back(x)
	}
	q.done = q.done[:copy(q.done, q.done[n:])]
	return n, nil
}

// back gives the request back that x was made for.
func (q *queue) back(x *initiator.Request) *nbd.Request {
	r := q.whose[x.User]
	q.whose[x.User] = nil
	q.free = append(q.free, int(x.User))
	if x.Err != nil {
		r.Err = x.Err
		q.b.fail(r)
		r.Err = fmt.Errorf("%w: %w", errno(r.Op, x.Err), x.Err)
	}
	x.Buf = nil
	return r
}

// Close implements nbd.Queue.
func (q *queue) Close() error {
	q.cancel()
	<-q.over
	return errors.Join(q.q.Close(), q.wake.Close())
}

// errno is what the client is told of an error of the disk.
func errno(op nbd.Op, err error) nbd.Errno {
	switch {
	case errors.Is(err, initiator.ErrReserved):
		return nbd.EPERM
	case errors.Is(err, initiator.ErrUnsupported):
		return nbd.ENOTSUP
	case errors.Is(err, initiator.ErrClosed):
		return nbd.ESHUTDOWN
	case op != nbd.OpRead && (errors.Is(err, initiator.ErrRange) || errors.Is(err, initiator.ErrShrunk)):
		return nbd.ENOSPC
	}
	return nbd.EIO
}
