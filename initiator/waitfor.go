package initiator

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/sys"
)

// WaitFor is Wait for programs that wait for descriptors of their own as well, in one goroutine: it puts requests that are finished into done
// and returns how many, which may be none. It returns when there is one, or one of fds is ready as by poll(2), or timeout has passed; 0
// only looks, and below 0 there is no limit. The Revents of fds are set in any case. With no request outstanding it waits for fds
// alone. It does not allocate. A queue uses either Wait or WaitFor.
func (q *Queue) WaitFor(done []*Request, fds []unix.PollFd, timeout time.Duration) (int, error) {
	d := q.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if q.closed && q.first == nil {
		return 0, fmt.Errorf("%v: %w", d.addr, ErrClosed)
	}
	if q.w.event == nil {
		e, err := sys.NewEventFD()
		if err != nil {
			return 0, err
		}
		q.w.event = e
	}
	limit := never
	if timeout >= 0 {
		limit = sys.Nanotime() + int64(timeout)
	}
	ready := false
	if q.first != nil {
		ready = look(fds)
	}
	for q.first == nil && !ready {
		if !d.receiving && !d.closed {
			ready = d.turn(limit, fds)
		} else {
			ready = q.park(limit, fds)
		}
		if limit < never && sys.Nanotime() >= limit {
			break
		}
	}
	d.promote()
	return q.take(done), nil
}

// park waits for fds while somebody else receives, and until that one says something.
func (q *Queue) park(limit int64, fds []unix.PollFd) (ready bool) {
	d := q.d
	d.flush()
	d.parked.push(&q.w)
	d.mu.Unlock()
	wait := int64(-1)
	if limit < never {
		wait = max(limit-sys.Nanotime(), 0)
	}
	q.fds = append(append(q.fds[:0], unix.PollFd{Fd: int32(q.w.event.FD()), Events: unix.POLLIN}), fds...)
	if _, err := sys.Poll(q.fds, wait); err != nil {
		time.Sleep(time.Millisecond) // no memory; it is tried again
	}
	for i := range fds {
		fds[i].Revents = q.fds[1+i].Revents
		ready = ready || fds[i].Revents != 0
	}
	d.mu.Lock()
	d.parked.remove(&q.w)
	q.w.event.Drain()
	select {
	case <-q.w.wake:
	default:
	}
	return ready
}

// look sets the Revents of fds without waiting, and tells whether there are any.
func look(fds []unix.PollFd) bool {
	n, err := sys.Poll(fds, 0)
	return err == nil && n > 0
}
