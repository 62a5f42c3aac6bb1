// Package storetest is the suite that every store passes: Run(t, open).
package storetest

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/store"
	"goaoe/internal/sys"
)

// Opener opens a fresh, writable store of at least 1 MiB for one test. It calls t.Cleanup for what is underneath; the
// suite closes the store itself.
type Opener func(t *testing.T) store.Store

// Rig drives one channel of a store as a lane does, on a locked thread. It is meant for other tests of stores as well.
type Rig struct {
	T     *testing.T
	Store store.Store
	Set   *store.Set
	Chan  store.Channel
	Exec  store.Executor
	done  [64]*store.Op
	ready []*store.Op
	bufs  [][]byte
}

// NewRig makes a rig for s and cleans up after it: channel, executor, store, in this order.
func NewRig(t *testing.T, s store.Store) *Rig {
	t.Helper()
	runtime.LockOSThread()
	r := &Rig{T: t, Store: s, Set: new(store.Set)}
	c, err := s.Channel(r.Set)
	if err != nil {
		t.Fatal(err)
	}
	r.Chan, r.Exec = c, r.Set.Executors()[0]
	t.Cleanup(func() {
		r.Chan.Close()
		r.Set.Close()
		for _, b := range r.bufs {
			_ = sys.Free(b)
		}
		if err := s.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
		runtime.UnlockOSThread()
	})
	return r
}

// Buf returns n bytes aligned to a page, freed with the rig.
func (r *Rig) Buf(n int) []byte {
	r.T.Helper()
	b, err := sys.Alloc(n)
	if err != nil {
		r.T.Fatal(err)
	}
	r.bufs = append(r.bufs, b)
	return b
}

// Poll flushes and reaps once, sleeping up to wait for something to reap. It returns what is done, valid until the next call.
func (r *Rig) Poll(wait time.Duration) []*store.Op {
	r.T.Helper()
	r.Exec.Flush()
	n := r.Exec.Reap(r.done[:])
	if n == 0 && wait > 0 && !r.Exec.Pending() {
		if fd := r.Exec.FD(); fd >= 0 && !r.Exec.Pending() {
			p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			woken, err := unix.Poll(p[:], int(wait.Milliseconds()))
			if err != nil && err != unix.EINTR {
				r.T.Fatal(err)
			}
			if woken == 0 && err == nil && r.Exec.Pending() {
				// It may have become so after the time was up: then the descriptor must be readable by now.
				if woken, _ = unix.Poll(p[:], 100); woken == 0 {
					r.T.Fatalf("nothing woke the poll of the executor's descriptor, though Reap has something")
				}
			}
		}
		n = r.Exec.Reap(r.done[:])
	}
	return r.done[:n]
}

// Wait reaps until n operations are done and returns them in the order of completion.
func (r *Rig) Wait(n int) []*store.Op {
	r.T.Helper()
	r.ready = r.ready[:0]
	last := time.Now()
	for len(r.ready) < n {
		got := r.Poll(time.Second)
		if len(got) > 0 {
			last = time.Now()
		}
		if time.Since(last) > time.Minute {
			r.T.Fatalf("%d of %d operations did not complete within a minute", n-len(r.ready), n)
		}
		r.ready = append(r.ready, got...)
	}
	if len(r.ready) > n {
		r.T.Fatalf("%d operations completed, %d were submitted", len(r.ready), n)
	}
	return r.ready
}

// Do runs one operation to its end and returns its result.
func (r *Rig) Do(op *store.Op) unix.Errno {
	r.T.Helper()
	r.Chan.Submit(op)
	if got := r.Wait(1); got[0] != op {
		r.T.Fatal("another operation came back than the one submitted")
	}
	return op.Errno
}

// Must runs one operation that must succeed.
func (r *Rig) Must(op *store.Op) {
	r.T.Helper()
	if e := r.Do(op); e != 0 {
		r.T.Fatalf("operation %d at %d (%d bytes): %v", op.Kind, op.Off, len(op.Buf), e)
	}
}
