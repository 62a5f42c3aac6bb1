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
	loans map[*store.Op]*loan
}

// lender lends the data of each second write to its channel, a store.Borrower. Poll spoils what was lent once it has called Flush.
type lender struct {
	store.Channel
	r *Rig
	n int
}

// loan is a write whose data is lent.
type loan struct {
	data, lent []byte // what it writes, and where that lies until Flush
	own        []byte // the buffer that it was submitted with
}

// lend makes the rig lend data if the channel takes that.
func (r *Rig) lend() {
	if b, ok := r.Chan.(store.Borrower); ok && b.Borrows() {
		r.Chan = &lender{Channel: r.Chan, r: r}
		r.loans = map[*store.Op]*loan{}
	}
}

// Submit implements store.Channel.
func (l *lender) Submit(op *store.Op) {
	if l.n++; op.Kind == store.Write && l.n%2 == 0 {
		o := &loan{data: append([]byte(nil), op.Buf...), lent: append([]byte{0}, op.Buf...)[1:], own: op.Buf} // what is lent need not be aligned
		l.r.loans[op] = o
		spoil(op.Buf)
		op.Buf, op.Spare = o.lent, op.Buf
	}
	l.Channel.Submit(op)
}

func spoil(b []byte) {
	for i := range b {
		b[i] = 0xa5
	}
}

// flush calls Flush of the executor and takes back what was lent.
func (r *Rig) flush() {
	r.Exec.Flush()
	for _, o := range r.loans {
		spoil(o.lent)
	}
}

// returned makes operations that came back what they were when they were submitted.
func (r *Rig) returned(ops []*store.Op) []*store.Op {
	for _, op := range ops {
		if o := r.loans[op]; o != nil {
			copy(o.own, o.data)
			op.Buf, op.Spare = o.own, nil
			delete(r.loans, op)
		}
	}
	return ops
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
		if n := r.Set.Disks(); n != 0 {
			t.Errorf("the lane has no channel, and those are on %d disks", n)
		}
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
	r.flush()
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
	return r.returned(r.done[:n])
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
