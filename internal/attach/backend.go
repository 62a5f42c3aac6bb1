package attach

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/initiator"
	"goaoe/internal/nbd"
)

// backend serves a disk. It implements nbd.Backend.
type backend struct {
	d    *initiator.Disk
	fail func(r *nbd.Request) // told of each request that failed; must not block
}

func (b *backend) Size() int64 { return b.d.Size() }

// NewQueue implements nbd.Backend.
func (b *backend) NewQueue(depth int) (nbd.Queue, error) {
	q := &queue{b: b, q: b.d.NewQueue(depth), reqs: make([]initiator.Request, depth), whose: make([]*nbd.Request, depth),
		done: make([]*initiator.Request, depth)}
	for i := range q.reqs {
		q.reqs[i].User = uint64(i)
		q.free = append(q.free, i)
	}
	return q, nil
}

// queue is a disk's queue for one connection. One thread receives what the client wants and what the target answers.
type queue struct {
	b     *backend
	q     *initiator.Queue
	reqs  []initiator.Request
	whose []*nbd.Request // by index of reqs
	free  []int
	done  []*initiator.Request
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
	return nil
}

// Wait implements nbd.Queue.
func (q *queue) Wait(done []*nbd.Request, fds []unix.PollFd, timeout time.Duration) (int, error) {
	n, err := q.q.WaitFor(q.done[:min(len(done), len(q.done))], fds, timeout)
	for i, x := range q.done[:n] {
		done[i] = q.back(x)
	}
	return n, err
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
func (q *queue) Close() error { return q.q.Close() }

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
