package sys

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestEventFDAndPoll(t *testing.T) {
	e, err := NewEventFD()
	if err != nil {
		t.Fatal(err)
	}
	fds := []unix.PollFd{{Fd: -1}, {Fd: int32(e.FD()), Events: unix.POLLIN}}
	poll := func(timeout int64, want int) {
		t.Helper()
		if n, err := Poll(fds, timeout); err != nil || n != want {
			t.Fatalf("Poll(%d) = %d, %v; want %d", timeout, n, err, want)
		}
	}
	poll(0, 0)
	if e.Drain() {
		t.Fatal("a new flag is up")
	}
	e.Signal()
	e.Signal()
	poll(-1, 1)
	if fds[1].Revents != unix.POLLIN {
		t.Fatalf("Revents = %#x", fds[1].Revents)
	}
	if !e.Drain() || e.Drain() {
		t.Fatal("two signals must be one flag")
	}
	poll(0, 0)
	if fds[1].Revents != 0 {
		t.Fatalf("Revents of a quiet descriptor = %#x", fds[1].Revents)
	}
	start := Nanotime()
	poll(int64(5*time.Millisecond), 0)
	if d := Nanotime() - start; d < int64(5*time.Millisecond) {
		t.Fatalf("a wait of 5 ms took %d ns", d)
	}
	done := make(chan struct{})
	go func() { defer close(done); e.Signal() }()
	poll(-1, 1)
	<-done
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if e.FD() != -1 || e.Close() != nil {
		t.Fatal("a second Close must do nothing")
	}
	if n, err := Poll(nil, 0); n != 0 || err != nil {
		t.Fatalf("Poll of nothing = %d, %v", n, err)
	}
}

func TestPollDoesNotAllocate(t *testing.T) {
	e, err := NewEventFD()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	fds := []unix.PollFd{{Fd: int32(e.FD()), Events: unix.POLLIN}}
	if n := testing.AllocsPerRun(100, func() {
		e.Signal()
		if n, err := Poll(fds, 1000); n != 1 || err != nil {
			t.Errorf("Poll = %d, %v", n, err)
		}
		e.Drain()
		if Nanotime() <= 0 || Realtime() < Nanotime() {
			t.Error("the clocks do not run")
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
