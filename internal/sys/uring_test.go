package sys

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func ring(t *testing.T, entries int, level uint32) *Ring {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	r, err := newRing(entries, []uint32{level})
	if err != nil {
		if unix.Access("/proc/self", unix.R_OK) == nil && strings.Contains(err.Error(), "5.6 is needed") {
			t.Skipf("flags %#x: %v", level, err) // an older kernel; the lower levels are tested then
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func wait(t *testing.T, r *Ring) (uint64, int32) {
	t.Helper()
	for i := 0; i < 1000; i++ {
		if user, res, ok := r.Next(); ok {
			return user, res
		}
		p := []unix.PollFd{{Fd: int32(r.FD()), Events: unix.POLLIN}}
		if n, err := unix.Poll(p, 10000); err == nil && n == 0 {
			t.Fatal("no completion within 10 s")
		}
		if e := r.Enter(); e != 0 {
			t.Fatal(e)
		}
	}
	t.Fatal("the descriptor is readable, but nothing comes")
	return 0, 0
}

func TestRingOperationsOnEachLevel(t *testing.T) {
	for _, level := range setupLevels {
		t.Run("", func(t *testing.T) {
			r := ring(t, 8, level)
			f, err := os.Create(filepath.Join(t.TempDir(), "f"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			fd := int(f.Fd())
			data := bytes.Repeat([]byte{0xa5}, 8192)
			step := func(queued bool, user uint64, want int32) {
				t.Helper()
				if !queued || r.Queued() != 1 {
					t.Fatalf("operation %d was not queued (%d)", user, r.Queued())
				}
				if e := r.Enter(); e != 0 {
					t.Fatal(e)
				}
				if u, res := wait(t, r); u != user || res != want {
					t.Fatalf("completion %d result %d, want %d %d", u, res, user, want)
				}
			}
			step(r.Nop(1), 1, 0)
			step(r.Write(fd, data, 0, unix.RWF_DSYNC, 2), 2, 8192)
			step(r.Datasync(fd, 3), 3, 0)
			back := make([]byte, 8192)
			step(r.Read(fd, back, 0, 4), 4, 8192)
			if !bytes.Equal(back, data) {
				t.Fatal("read something else than was written")
			}
			step(r.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 4096, 4096, 5), 5, 0)
			step(r.Read(fd, back, 4096, 6), 6, 4096)
			if !bytes.Equal(back[:4096], make([]byte, 4096)) {
				t.Fatal("the hole is not zero")
			}
			step(r.Read(-1, back, 0, 7), 7, -int32(unix.EBADF))
		})
	}
}

func TestRingFullAndOverflow(t *testing.T) {
	for _, level := range setupLevels {
		t.Run("", func(t *testing.T) {
			r := ring(t, 4, level)
			const rounds = 10 // 40 operations, 16 completions fit
			for round := range rounds {
				for i := range 4 {
					if !r.Nop(uint64(round*4 + i)) {
						t.Fatal("the queue is full too early")
					}
				}
				if r.Nop(99) {
					t.Fatal("a full queue took one more")
				}
				if e := r.Enter(); e != 0 && e != unix.EBUSY {
					t.Fatal(e)
				}
				if r.Queued() != 0 {
					t.Skip("this kernel takes nothing while completions are set aside")
				}
			}
			seen := make(map[uint64]bool)
			for len(seen) < rounds*4 {
				user, _ := wait(t, r)
				if seen[user] {
					t.Fatalf("completion %d came twice", user)
				}
				seen[user] = true
			}
			if r.Waiting() {
				t.Fatal("Waiting though all came")
			}
		})
	}
}

// A lane sleeps in poll on the ring's descriptor: a completion that comes later must wake it.
func TestRingWakesPoll(t *testing.T) {
	for _, level := range setupLevels {
		t.Run("", func(t *testing.T) {
			r := ring(t, 4, level)
			var p [2]int
			if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			defer unix.Close(p[0])
			defer unix.Close(p[1])
			buf := make([]byte, 8)
			for range 3 {
				r.Read(p[0], buf, 0, 1)
				if e := r.Enter(); e != 0 {
					t.Fatal(e)
				}
				if r.Waiting() {
					t.Fatal("a read of an empty pipe completed")
				}
				go func() {
					time.Sleep(20 * time.Millisecond)
					_, _ = unix.Write(p[1], buf)
				}()
				fds := []unix.PollFd{{Fd: int32(r.FD()), Events: unix.POLLIN}}
				for {
					n, err := unix.Poll(fds, 5000)
					if err == unix.EINTR {
						continue
					}
					if n != 1 {
						t.Fatalf("poll was not woken: %v", err)
					}
					break
				}
				if !r.Waiting() {
					t.Fatal("poll says readable, Waiting says no")
				}
				if u, res := wait(t, r); u != 1 || res != 8 {
					t.Fatalf("completion %d result %d", u, res)
				}
			}
		})
	}
}

func TestRingAllocatesNothing(t *testing.T) {
	r := ring(t, 8, setupLevels[0])
	if n := testing.AllocsPerRun(1000, func() {
		for i := range 8 {
			r.Nop(uint64(i))
		}
		if r.Enter() != 0 {
			panic("enter")
		}
		for range 8 {
			if _, _, ok := r.Next(); !ok {
				panic("no completion")
			}
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestRingErrorsNameTheCause(t *testing.T) {
	for e, want := range map[unix.Errno]string{
		unix.ENOSYS: "seccomp", unix.EPERM: "seccomp", unix.ENOMEM: "ulimit -l", unix.EMFILE: "ulimit -n", unix.EINVAL: "5.6",
	} {
		if got := uringError(e).Error(); !strings.Contains(got, want) {
			t.Errorf("%v: %q does not name %q", e, got, want)
		}
	}
}
