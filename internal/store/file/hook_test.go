package file

import (
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/store"
	"goaoe/internal/store/storetest"
)

// openHooked opens a store on threads whose workers call hook before each operation: a device under the test's control.
func openHooked(t *testing.T, o Options, hook func(*store.Op)) (*Store, *storetest.Rig) {
	t.Helper()
	o.Engine, o.NoMerge = "threads", true // each operation meets the hook by itself
	s := mustOpen(t, sparse(t, 4<<20), o)
	s.hook = hook
	return s, storetest.NewRig(t, s)
}

// A durable write must not come back before a sync that began after its transfer ended has finished.
func TestDurableWaitsForALaterSync(t *testing.T) {
	var mu sync.Mutex
	gate := make(chan unix.Errno)
	syncs := 0
	_, r := openHooked(t, Options{Sync: "group"}, func(op *store.Op) {
		if op.Kind != kindSync {
			return
		}
		mu.Lock()
		syncs++
		mu.Unlock()
		<-gate
	})
	ops := make([]store.Op, 9)
	for i := range ops {
		ops[i] = store.Op{Kind: store.Write, Durable: true, Off: int64(i) * 4096, Buf: r.Buf(4096)}
	}
	r.Chan.Submit(&ops[0])
	count := func(want int) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; {
			mu.Lock()
			n := syncs
			mu.Unlock()
			if n == want {
				return
			}
			if n > want || time.Now().After(end) {
				t.Fatalf("%d syncs, want %d", n, want)
			}
			if got := r.Poll(time.Millisecond); len(got) != 0 {
				t.Fatal("a durable write came back before its sync")
			}
		}
	}
	count(1) // the first write waits in sync 1
	for i := range ops[1:] {
		r.Chan.Submit(&ops[i+1])
	}
	plain := store.Op{Kind: store.Write, Off: 1 << 20, Buf: r.Buf(4096), User: 77}
	r.Chan.Submit(&plain)
	if got := r.Wait(1); got[0] != &plain {
		t.Fatal("a write that need not be durable waited")
	}
	for range 50 {
		if got := r.Poll(time.Millisecond); len(got) != 0 {
			t.Fatal("a durable write came back before its sync")
		}
	}
	gate <- 0
	if got := r.Wait(1); got[0] != &ops[0] || ops[0].Errno != 0 {
		t.Fatal("the first sync must release the first write only")
	}
	count(2) // the other eight share one
	gate <- 0
	r.Wait(8)
	count(2)
}

func TestFailedSyncFailsItsGroupAndLaterFlushes(t *testing.T) {
	s, r := openHooked(t, Options{Sync: "group"}, nil)
	c := r.Chan.(*channel)
	a := store.Op{Kind: store.Write, Durable: true, Buf: r.Buf(4096)}
	b := store.Op{Kind: store.Flush}
	a.X.Chan, b.X.Chan = c, c
	a.X.N = 4096
	c.wait(&a)
	c.wait(&b)
	c.nFlush++
	if !c.wantSync() {
		t.Fatal("no sync though all writes are done")
	}
	c.synced(unix.ENOMEM) // final for those that it covers, whatever the reason
	r.Wait(2)
	if a.Errno != unix.EIO || b.Errno != unix.EIO {
		t.Fatalf("%v %v", a.Errno, b.Errno)
	}
	if e := r.Do(&store.Op{Kind: store.Flush}); e != unix.EIO {
		t.Fatalf("a flush after a failed one: %v", e)
	}
	if e := r.Do(&store.Op{Kind: store.Write, Durable: true, Buf: r.Buf(512)}); e != 0 {
		t.Fatalf("a later write is judged by its own sync: %v", e)
	}
	if s.syncErr.Load() != uint32(unix.EIO) {
		t.Fatal("the error is forgotten")
	}
}

// What io_uring gives back without having run it is no failure of the disk: it may be asked for again, and a flush after it is good.
func TestOperationsThatTheKernelDidNotRun(t *testing.T) {
	s, r := openHooked(t, Options{}, nil)
	c := r.Chan.(*channel)
	a := store.Op{Kind: store.Write, Durable: true, Buf: r.Buf(4096)}
	b := store.Op{Kind: store.Flush}
	a.X.Chan, b.X.Chan = c, c
	a.X.N = 4096
	c.wait(&a)
	c.wait(&b)
	c.nFlush++
	if !c.wantSync() {
		t.Fatal("no sync though all writes are done")
	}
	c.synced(unix.ECANCELED)
	r.Wait(2)
	if a.Errno != unix.ENOMEM || b.Errno != unix.ENOMEM || s.syncErr.Load() != 0 {
		t.Fatalf("%v %v, kept %d", a.Errno, b.Errno, s.syncErr.Load())
	}
	w := store.Op{Kind: store.Read, Buf: r.Buf(4096)}
	w.X.Chan = c
	c.complete(&w, -int32(unix.ECANCELED))
	r.Wait(1)
	if w.Errno != unix.ENOMEM {
		t.Fatal(w.Errno)
	}
	if e := r.Do(&store.Op{Kind: store.Flush}); e != 0 {
		t.Fatalf("a flush afterwards: %v", e)
	}
}

// One device hangs, with more operations than it has workers: the lane goes on, and so does every other store.
func TestHangingDeviceHoldsUpItselfOnly(t *testing.T) {
	hang := make(chan struct{})
	_, r := openHooked(t, Options{Workers: 2}, func(*store.Op) { <-hang })
	other := mustOpen(t, sparse(t, 4<<20), Options{Engine: "threads", Workers: 2})
	defer other.Close()
	c, err := other.Channel(r.Set)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	stuck := make([]store.Op, 8)
	for i := range stuck {
		stuck[i] = store.Op{Kind: store.Read, Off: int64(i) * 4096, Buf: r.Buf(4096), User: 1}
		r.Chan.Submit(&stuck[i])
	}
	for i := range 100 {
		op := store.Op{Kind: store.Write, Durable: i%10 == 0, Off: int64(i) * 4096, Buf: r.Buf(4096)}
		c.Submit(&op)
		if got := r.Wait(1); got[0] != &op || op.Errno != 0 {
			t.Fatalf("write %d of the healthy store: %v", i, op.Errno)
		}
	}
	close(hang)
	for _, op := range r.Wait(len(stuck)) {
		if op.Errno != 0 || op.User != 1 {
			t.Fatal(op.Errno)
		}
	}
}

// The same on io_uring: a store whose descriptor is an empty pipe hangs for good until somebody writes into it.
func TestHangingDeviceOnRing(t *testing.T) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	healthy := mustOpen(t, sparse(t, 4<<20), Options{Engine: "io_uring"})
	r := storetest.NewRig(t, healthy)
	dead := &Store{path: "pipe", fd: p[0], bufFD: p[0], uring: true}
	dead.size.Store(4 << 20)
	c, err := dead.Channel(r.Set)
	if err != nil {
		t.Fatal(err)
	}
	stuck := make([]store.Op, 64)
	for i := range stuck {
		stuck[i] = store.Op{Kind: store.Read, Buf: r.Buf(512), User: 1}
		c.Submit(&stuck[i])
	}
	for i := range 100 {
		op := store.Op{Kind: store.Write, Durable: true, Off: int64(i) * 4096, Buf: r.Buf(4096)}
		r.Must(&op)
	}
	go func() {
		data := make([]byte, 512)
		for range stuck {
			_, _ = unix.Write(p[1], data)
		}
		_ = unix.Close(p[1])
	}()
	for _, op := range r.Wait(len(stuck)) {
		if op.Errno != 0 {
			t.Fatal(op.Errno)
		}
	}
	c.Close()
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
}

// A full disk and a file that was cut short are errors of the operation and nothing more.
func TestErrorsOfTheSystemComeBack(t *testing.T) {
	for _, engine := range []string{"io_uring", "threads"} {
		t.Run(engine, func(t *testing.T) {
			path := sparse(t, 4<<20)
			s := mustOpen(t, path, Options{Engine: engine})
			r := storetest.NewRig(t, s)
			if err := unix.Truncate(path, 1<<20+100); err != nil {
				t.Fatal(err)
			}
			buf := r.Buf(4096)
			if e := r.Do(&store.Op{Kind: store.Read, Off: 2 << 20, Buf: buf}); e != unix.EIO {
				t.Errorf("a read behind the end of a file that was cut: %v", e)
			}
			op := store.Op{Kind: store.Read, Off: 1 << 20, Buf: buf}
			if e := r.Do(&op); e != unix.EIO || op.Done != 100 {
				t.Errorf("a read across the end: %v after %d bytes", e, op.Done)
			}
			i, err := s.Refresh()
			if err != nil || i.Size != 1<<20 || i.Tail != 100 {
				t.Errorf("%+v %v", i, err)
			}
		})
	}
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("goaoe", dir, "tmpfs", 0, "size=1m"); err != nil {
		need(t, "a tmpfs of one megabyte", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	path := dir + "/disk"
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(fd, 8<<20); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fd)
	for _, engine := range []string{"io_uring", "threads"} {
		t.Run(engine, func(t *testing.T) {
			r := storetest.NewRig(t, mustOpen(t, path, Options{Engine: engine}))
			buf := r.Buf(65536)
			full := false
			for off := int64(0); off < 8<<20; off += 65536 {
				switch e := r.Do(&store.Op{Kind: store.Write, Durable: true, Off: off, Buf: buf}); e {
				case 0:
				case unix.ENOSPC:
					full = true
				default:
					t.Fatalf("write at %d: %v", off, e)
				}
			}
			if !full {
				t.Error("8 MiB fitted into 1 MiB")
			}
			r.Must(&store.Op{Kind: store.Read, Buf: buf})
		})
	}
}
