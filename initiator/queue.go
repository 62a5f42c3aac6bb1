package initiator

import (
	"context"
	"fmt"
	"sync"
	"time"
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

// Request is one piece of work for a Queue. It and Buf belong to the queue from Submit until Wait gives it back.
type Request struct {
	Op   Op
	Off  int64  // bytes, a multiple of SectorSize
	Buf  []byte // Read, Write: a multiple of SectorSize long
	Len  int64  // Trim: bytes, a multiple of SectorSize
	User uint64 // the caller's own
	Err  error  // the result
	Took time.Duration
}

// Queue does many requests from one goroutine.
type Queue struct {
	d           *Disk
	done        chan *Request
	mu          sync.Mutex
	outstanding int
	closed      bool
	ctx         context.Context
	cancel      context.CancelFunc
}

// NewQueue returns a queue for at most depth requests at a time.
func (d *Disk) NewQueue(depth int) *Queue {
	q := &Queue{d: d, done: make(chan *Request, max(depth, 1))}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	return q
}

// Submit begins a request. It fails when the queue is full or closed; then r stays the caller's.
func (q *Queue) Submit(r *Request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	if q.outstanding == cap(q.done) {
		return fmt.Errorf("the queue is full: %d requests are outstanding", q.outstanding)
	}
	q.outstanding++
	begun := time.Now()
	go func() {
		switch r.Op {
		case Read:
			_, r.Err = q.d.ReadAtContext(q.ctx, r.Buf, r.Off)
		case Write:
			_, r.Err = q.d.WriteAtContext(q.ctx, r.Buf, r.Off)
		case Flush:
			r.Err = q.d.Flush(q.ctx)
		case Trim:
			r.Err = q.d.Trim(q.ctx, r.Off, r.Len)
		default:
			r.Err = fmt.Errorf("operation %d: %w", r.Op, ErrUnsupported)
		}
		r.Took = time.Since(begun)
		q.done <- r
	}()
	return nil
}

// Wait puts requests that are finished into done and returns how many: at least one, unless none is outstanding. It fails when
// ctx ends first.
func (q *Queue) Wait(ctx context.Context, done []*Request) (int, error) {
	n := 0
	defer func() {
		q.mu.Lock()
		q.outstanding -= n
		q.mu.Unlock()
	}()
	q.mu.Lock()
	out := q.outstanding
	q.mu.Unlock()
	if out == 0 || len(done) == 0 {
		return 0, nil
	}
	select {
	case r := <-q.done:
		done[0] = r
		n = 1
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	for n < len(done) {
		select {
		case r := <-q.done:
			done[n] = r
			n++
		default:
			return n, nil
		}
	}
	return n, nil
}

// Close ends the use of the queue. Requests that are outstanding are given up.
func (q *Queue) Close() error {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.cancel()
	return nil
}
