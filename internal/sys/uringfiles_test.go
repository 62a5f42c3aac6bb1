package sys

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRegisteredFiles reads and writes through registered files, and checks that the ring holds on to them as long as it should and no longer: the other end of a
// pipe sees whether this one is open.
func TestRegisteredFiles(t *testing.T) {
	for _, level := range setupLevels {
		t.Run("", func(t *testing.T) {
			r := ring(t, 8, level)
			f, err := os.Create(filepath.Join(t.TempDir(), "f"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			n := r.FixFile(int(f.Fd()))
			if n >= -1 {
				t.Fatalf("FixFile returned %d: the file is not registered", n)
			}
			out, in := bytes.Repeat([]byte("goaoe"), 100), make([]byte, 500)
			for _, op := range []func() bool{func() bool { return r.Write(n, out, 4096, 0, 7) }, func() bool { return r.Read(n, in, 4096, 7) }} {
				if !op() {
					t.Fatal("no room in the queue")
				}
				if e := r.Enter(); e != 0 {
					t.Fatal(e)
				}
				if user, res := wait(t, r); user != 7 || res != 500 {
					t.Fatalf("completion %d with the result %d", user, res)
				}
			}
			if !bytes.Equal(out, in) {
				t.Fatal("what was read is not what was written")
			}

			var p [2]int
			if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			defer unix.Close(p[0])
			second := r.FixFile(p[1])
			if second == n || second >= -1 {
				t.Fatalf("the second file is %d, the first %d", second, n)
			}
			if err := unix.Close(p[1]); err != nil {
				t.Fatal(err)
			}
			look := func(ms int) int16 {
				fds := []unix.PollFd{{Fd: int32(p[0]), Events: unix.POLLIN}}
				if _, err := unix.Poll(fds, ms); err != nil && err != unix.EINTR {
					t.Fatal(err)
				}
				return fds[0].Revents
			}
			if look(0)&unix.POLLHUP != 0 {
				t.Fatal("a registered file was closed with its descriptor")
			}
			r.FreeFile(second)
			for i := 0; look(100)&unix.POLLHUP == 0; i++ {
				if i == 100 {
					t.Fatal("the ring keeps a file open that was given back")
				}
			}
			if again := r.FixFile(int(f.Fd())); again != second {
				t.Errorf("the place %d was not used again, but %d", second, again)
			}
		})
	}
}

// TestManyRegisteredFiles checks that a full table is no error.
func TestManyRegisteredFiles(t *testing.T) {
	r := ring(t, 8, setupLevels[0])
	f, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, places := int(f.Fd()), 0
	for r.FixFile(fd) < -1 {
		if places++; places > fileTables[0] {
			t.Fatal("more places than the largest table has")
		}
	}
	if places < fileTables[len(fileTables)-1] {
		t.Fatalf("only %d places", places)
	}
	in := []byte{1, 1}
	if n := r.FixFile(fd); n != fd || !r.Read(n, in, 0, 1) {
		t.Fatalf("a file beyond the table is %d and not its descriptor %d, or cannot be read", n, fd)
	}
	if e := r.Enter(); e != 0 {
		t.Fatal(e)
	}
	if _, res := wait(t, r); res != 2 || in[0] != 0 {
		t.Fatalf("read %d: %v", res, in)
	}
}
