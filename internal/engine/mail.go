package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

var errStopped = errors.New("the engine has stopped")

// mail is a function for the lane to run between two turns.
type mail struct {
	fn   func(*lane)
	took atomic.Bool   // by the lane, which runs fn, or by the sender, who gave up: then it never runs
	done chan struct{} // closed when fn has run
}

// A lane reads its mail within a millisecond, unless its thread hangs in a disk: a write into the page cache may wait for one (see write-now).
const (
	mailLimit = 5 * time.Second       // how long is waited for it
	lateLimit = 50 * time.Millisecond // when it was held up when it was last tried
)

// post has the lane run fn between two turns, and waits for nothing. It fails when the lane has ended.
func (l *lane) post(fn func(*lane)) (*mail, error) {
	m := &mail{fn: fn, done: make(chan struct{})}
	if l.stepped {
		close(m.done)
		return m, l.callStepped(fn)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		return nil, errStopped
	}
	l.mails = append(l.mails, m)
	l.mail.Store(true)
	l.wake.Signal() // under the lock: the lane closes it under the same one
	return m, nil
}

// call has the lane run fn between two turns, and waits for it. When the lane is held up for long that is an error, and fn never runs.
func (l *lane) call(fn func(*lane)) error {
	m, err := l.post(fn)
	if err != nil || l.await(m) {
		return err
	}
	if !m.took.CompareAndSwap(false, true) {
		<-m.done // it has begun
		return nil
	}
	return fmt.Errorf("lane %d is held up: a write waits for a disk that does not answer", l.n)
}

// await waits until mail was run, and gives up when the lane is held up for long.
func (l *lane) await(m *mail) bool {
	limit := mailLimit
	if l.heldUp.Load() {
		limit = lateLimit
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-m.done:
		return true
	case <-t.C:
		l.heldUp.Store(true)
		return false
	}
}

// halt has the lane take no more frames, and end when nothing is in flight.
func (l *lane) halt() {
	if !l.stepped {
		_, _ = l.post(func(l *lane) { l.stopping = true }) // fails when the lane has ended before
	}
}

// stop drains the lane and ends its thread.
func (l *lane) stop(ctx context.Context) error {
	if l.stepped {
		return l.stopStepped()
	}
	l.halt()
	select {
	case <-l.over:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("lane %d: requests are still in flight on storage: %w", l.n, ctx.Err())
	}
}

// readMail runs what others asked for.
func (l *lane) readMail() {
	l.mu.Lock()
	mails := l.mails
	l.mails = nil
	l.mail.Store(false)
	l.mu.Unlock()
	l.heldUp.Store(false)
	for _, m := range mails {
		if m.took.CompareAndSwap(false, true) {
			m.fn(l)
			close(m.done)
		}
	}
}
