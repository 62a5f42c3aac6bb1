package file

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"goaoe/internal/store"
)

// handDisk is a Device whose operations a test ends by hand, oldest first.
type handDisk struct {
	transfers, syncs []func(int32)
	what             []string // what each of the transfers is, from the first
	bufs             [][]byte
}

func (d *handDisk) Transfer(write bool, off int64, buf []byte, _ bool, done func(int32)) {
	d.transfers = append(d.transfers, done)
	d.what = append(d.what, fmt.Sprintf("%s %d+%d", map[bool]string{false: "read", true: "write"}[write], off/512, len(buf)/512))
	d.bufs = append(d.bufs, buf)
}
func (d *handDisk) Punch(int64, int64, func(int32)) {}
func (d *handDisk) Datasync(done func(int32))       { d.syncs = append(d.syncs, done) }

func end(list *[]func(int32), res int32) {
	done := (*list)[0]
	*list = (*list)[1:]
	done(res)
}

// TestFailedSyncBelowAWriteInFlight: a sync that fails may have lost what a write in flight had in the page cache already. The kernel says so
// once, to that sync; the next one succeeds, and must not count for the write. One that begins later is not concerned.
func TestFailedSyncBelowAWriteInFlight(t *testing.T) {
	d := &handDisk{}
	var set store.Set
	ch, err := NewStepped(1<<20, false, d).Channel(&set)
	if err != nil {
		t.Fatal(err)
	}
	x := set.Executors()[0]
	var done [4]*store.Op
	reap := func(want ...*store.Op) {
		t.Helper()
		n := x.Reap(done[:])
		if n != len(want) {
			t.Fatalf("%d operations are done, want %d", n, len(want))
		}
		for i := range want {
			if done[i] != want[i] {
				t.Fatal("another operation is done")
			}
		}
	}
	write := func(n int) *store.Op {
		return &store.Op{Kind: store.Write, Durable: true, Buf: make([]byte, n)}
	}
	a, b, c := write(512), write(1024), write(512)
	ch.Submit(a)
	ch.Submit(b)
	x.Flush()
	end(&d.transfers, 512)
	end(&d.transfers, 512) // half of b
	reap()
	end(&d.syncs, -int32(unix.EIO)) // of a
	reap(a)
	end(&d.transfers, 512) // the rest of b
	reap()
	ch.Submit(c)
	x.Flush()
	end(&d.transfers, 512)
	reap()
	end(&d.syncs, 0) // of b
	reap(b)
	end(&d.syncs, 0) // of c
	reap(c)
	if a.Errno != unix.EIO || b.Errno != unix.EIO || c.Errno != 0 {
		t.Errorf("errors %v, %v, %v; want EIO, EIO and none", a.Errno, b.Errno, c.Errno)
	}
}
