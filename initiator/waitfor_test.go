package initiator

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/link/mem"
	"goaoe/internal/sys"
	"goaoe/internal/target"
)

// pollable is a descriptor for WaitFor.
func pollable(t *testing.T) (*sys.EventFD, []unix.PollFd) {
	t.Helper()
	e, err := sys.NewEventFD()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e, []unix.PollFd{{Fd: int32(e.FD()), Events: unix.POLLIN}}
}

// polling runs a test without and with busy polling, which must make no difference.
func polling(t *testing.T, f func(t *testing.T, o Options)) {
	for _, o := range []Options{{}, {BusyPoll: time.Millisecond}} {
		t.Run(fmt.Sprintf("busy poll %v", o.BusyPoll), func(t *testing.T) { f(t, o) })
	}
}

// TestWaitFor: a descriptor, a result and the time each end the waiting, and the descriptor is looked at in any case.
func TestWaitFor(t *testing.T) { polling(t, testWaitFor) }

func testWaitFor(t *testing.T, o Options) {
	f, d := rig(t, 9000, mem.Faults{}, target.ExportConfig{}, o)
	q := d.NewQueue(4)
	defer q.Close()
	e, fds := pollable(t)
	done := make([]*Request, 4)
	wait := func(what string, timeout time.Duration, want int, ready bool) {
		t.Helper()
		n, err := q.WaitFor(done, fds, timeout)
		if err != nil || n != want || (fds[0].Revents != 0) != ready {
			t.Fatalf("%s: %d requests, %v, descriptor %#x; want %d, ready %v", what, n, err, fds[0].Revents, want, ready)
		}
	}
	wait("nothing to do", 0, 0, false)
	wait("nothing to do, a while", 20*time.Millisecond, 0, false)
	e.Signal()
	wait("descriptor, nothing outstanding", -1, 0, true)
	f.mu.Lock() // the target holds its answers
	r := &Request{Op: Read, Buf: make([]byte, 512)}
	if err := q.Submit(r); err != nil {
		t.Fatal(err)
	}
	wait("descriptor, a request outstanding", -1, 0, true)
	e.Drain()
	wait("a request outstanding", 20*time.Millisecond, 0, false)
	f.mu.Unlock()
	wait("a result", -1, 1, false)
	if done[0] != r || r.Err != nil {
		t.Errorf("not the request: %v", r.Err)
	}
	e.Signal()
	if err := q.Submit(r); err != nil {
		t.Fatal(err)
	}
	for n := 0; n == 0; { // the descriptor is ready all the time, and the result comes all the same
		var err error
		if n, err = q.WaitFor(done, fds, -1); err != nil || fds[0].Revents == 0 {
			t.Fatal(n, err, fds[0].Revents)
		}
	}
	q.Close()
	if _, err := q.WaitFor(done, fds, -1); err == nil {
		t.Error("a closed queue is waited for")
	}
}

// TestWaitForBesideOthers: queues that wait for descriptors and callers that wait in ReadAt receive for each other, and none sleeps for ever.
func TestWaitForBesideOthers(t *testing.T) { polling(t, testWaitForBesideOthers) }

func testWaitForBesideOthers(t *testing.T, o Options) {
	_, d := rig(t, 9000, mem.Faults{}, target.ExportConfig{}, o)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			q := d.NewQueue(8)
			defer q.Close()
			e, fds := pollable(t)
			done := make([]*Request, 8)
			reqs := make([]Request, 8)
			for k := range reqs {
				reqs[k] = Request{Op: Write, Off: int64(i*100+k) * 512, Buf: bytes.Repeat([]byte{byte(i)}, 512)}
				if err := q.Submit(&reqs[k]); err != nil {
					t.Error(err)
				}
			}
			for left := 2000; left > 0; {
				if left%7 == 0 {
					e.Signal() // work of another kind
				}
				n, err := q.WaitFor(done, fds, -1)
				if err != nil {
					t.Error(err)
					return
				}
				e.Drain()
				for _, r := range done[:n] {
					if r.Err != nil {
						t.Error(r.Err)
					}
					if left--; left >= 8 {
						if err := q.Submit(r); err != nil {
							t.Error(err)
						}
					}
				}
			}
		})
	}
	for i := range 2 {
		wg.Go(func() {
			b := make([]byte, 512)
			for range 500 {
				if _, err := d.ReadAt(b, int64(400+i)*512); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestWaitForAllocatesNothing(t *testing.T) { polling(t, testWaitForAllocatesNothing) }

func testWaitForAllocatesNothing(t *testing.T, o Options) {
	_, d := rig(t, 9000, mem.Faults{}, target.ExportConfig{}, o)
	q := d.NewQueue(4)
	defer q.Close()
	_, fds := pollable(t)
	done := make([]*Request, 4)
	r := &Request{Op: Read, Buf: make([]byte, 512)}
	var before, after uint64
	once := func() {
		if err := q.Submit(r); err != nil {
			t.Fatal(err)
		}
		for n := 0; n == 0; {
			n, _ = q.WaitFor(done, fds, -1)
		}
	}
	once()
	// The made-up target allocates for each answer; so what is counted is the queue with a request that is never answered.
	d.mu.Lock()
	before = d.turns
	d.mu.Unlock()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := q.WaitFor(done, fds, 100*time.Microsecond); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for waiting", n)
	}
	d.mu.Lock()
	after = d.turns
	d.mu.Unlock()
	if after == before {
		t.Error("nothing was waited for")
	}
}
