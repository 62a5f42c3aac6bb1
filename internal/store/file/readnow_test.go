package file

import (
	"bytes"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/store"
	"goaoe/internal/store/storetest"
)

// TestReadNow checks by which way a single read goes: past the ring when it is in the page cache, and by the ring when it is not, or not wholly; and that
// what it brings is right.
func TestReadNow(t *testing.T) {
	const size = 4 << 20
	path := sparse(t, size)
	want := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name      string
		o         Options
		cold, now bool
	}{
		{"cached", Options{Engine: "io_uring"}, false, true},
		{"off", Options{Engine: "io_uring", NoReadNow: true}, false, false},
		{"direct", Options{Engine: "io_uring", Direct: true}, false, false},
		{"cold", Options{Engine: "io_uring"}, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := mustOpen(t, path, tc.o)
			r := storetest.NewRig(t, s)
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if tc.cold {
				if err := f.Sync(); err != nil {
					t.Fatal(err)
				}
				_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM)
				_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
			} else if _, err := f.ReadAt(make([]byte, size), 0); err != nil {
				t.Fatal(err)
			}
			op := &store.Op{Kind: store.Read, Off: 8192, Buf: r.Buf(4096)}
			r.Chan.Submit(op)
			r.Exec.Flush()
			x := r.Exec.(*uring)
			if now := len(x.free) == len(x.slots); now != tc.now {
				t.Errorf("done without the ring: %v, not %v", now, tc.now)
			}
			r.Wait(1)
			if op.Errno != 0 || !bytes.Equal(op.Buf, want[8192:8192+4096]) {
				t.Fatalf("read: %v, or not what is there", op.Errno)
			}
			// Two at once go by the ring, and both come back.
			two := [2]*store.Op{{Kind: store.Read, Off: 0, Buf: r.Buf(4096)}, {Kind: store.Read, Off: 4096, Buf: r.Buf(4096)}}
			r.Chan.Submit(two[0])
			r.Chan.Submit(two[1])
			for _, op := range r.Wait(2) {
				if op.Errno != 0 || !bytes.Equal(op.Buf, want[op.Off:op.Off+4096]) {
					t.Fatalf("read at %d: %v, or not what is there", op.Off, op.Errno)
				}
			}
		})
	}
}

// TestRegisteredFileIsClosed checks that a store that is closed leaves its file to others, whatever the ring, which lives on, knew of it: a lease for writing
// is only to be had of a file that nobody else has open.
func TestRegisteredFileIsClosed(t *testing.T) {
	path := sparse(t, 1<<20)
	rig := storetest.NewRig(t, mustOpen(t, path, Options{Engine: "io_uring", NoReadNow: true}))
	rig.Must(&store.Op{Kind: store.Read, Buf: rig.Buf(512)})
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lease := func() error {
		_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
		return err
	}
	if lease() == nil {
		need(t, "a file system that gives no lease of a file that is open elsewhere", nil)
	}
	c := rig.Chan.(*channel)
	if c.fixed[0] >= -1 {
		t.Fatalf("the file was not registered: %d", c.fixed[0])
	}
	c.Close()
	if err := c.s.Close(); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		if err = lease(); err == nil {
			return
		}
		if i == 100 {
			t.Fatalf("the file is still open: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
