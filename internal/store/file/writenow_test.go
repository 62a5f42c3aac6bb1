package file

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"goaoe/internal/stats"
	"goaoe/internal/store"
	"goaoe/internal/store/mem"
	"goaoe/internal/store/storetest"
)

// TestWriteNow checks by which way writes go: those that need not be durable are done by the end of the turn, unless that is off; all others go by the ring.
func TestWriteNow(t *testing.T) {
	for _, tc := range []struct {
		name         string
		o            Options
		durable, now bool
	}{
		{"on", Options{Engine: "io_uring", WriteNow: "on"}, false, true},
		{"auto", Options{Engine: "io_uring"}, false, true},
		{"auto, durable", Options{Engine: "io_uring"}, true, false},
		{"auto, direct", Options{Engine: "io_uring", WriteNow: "auto", Direct: true}, false, false},
		{"durable", Options{Engine: "io_uring", WriteNow: "on"}, true, false},
		{"direct", Options{Engine: "io_uring", WriteNow: "on", Direct: true}, false, false},
		{"off", Options{Engine: "io_uring", WriteNow: "off"}, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := sparse(t, 1<<20)
			r := storetest.NewRig(t, mustOpen(t, path, tc.o))
			op := &store.Op{Kind: store.Write, Off: 8192, Buf: r.Buf(4096), Durable: tc.durable}
			copy(op.Buf, "now or later")
			r.Chan.Submit(op)
			x := r.Exec.(*uring)
			x.Flush()
			if now := x.fin.head == op && !x.ring.Waiting(); now != tc.now {
				t.Errorf("done when it was handed over: %v, not %v", now, tc.now)
			}
			r.Wait(1)
			got, err := os.ReadFile(path)
			if err != nil || op.Errno != 0 || op.Done != 4096 || !bytes.Equal(got[8192:8192+4096], op.Buf) {
				t.Errorf("%v, %v, %d bytes, or not what was written", err, op.Errno, op.Done)
			}
			// What fails comes back as from the ring.
			r.Chan.Submit(&store.Op{Kind: store.Write, Off: 1 << 20, Buf: r.Buf(512), Durable: tc.durable})
			if op := r.Wait(1)[0]; op.Errno != unix.EIO {
				t.Errorf("behind the end: %v", op.Errno)
			}
		})
	}
}

// wrote submits a write of the channel and tells whether the lane did it itself; it waits for it, and for its success.
func wrote(t *testing.T, r *storetest.Rig, c store.Channel, off int64) bool {
	t.Helper()
	op := &store.Op{Kind: store.Write, Off: off, Buf: r.Buf(4096)}
	c.Submit(op)
	x := r.Exec.(*uring)
	x.Flush()
	now := x.fin.head == op
	if r.Wait(1); op.Errno != 0 || op.Done != 4096 {
		t.Fatalf("a write: %v after %d bytes", op.Errno, op.Done)
	}
	return now
}

// onShm makes a file on another file system than sparse.
func onShm(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "goaoe-file-")
	if err != nil {
		need(t, "/dev/shm", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "disk")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestWriteNowAlone: a write that may wait is done by the lane only while nothing on another disk would wait with it, whatever kind of store that is, also as exports
// come and go. With "on" it does not matter.
func TestWriteNowAlone(t *testing.T) {
	for _, tc := range []struct {
		name  string
		other func(t *testing.T) store.Store
		alone bool // as before: it lies on the same disk
	}{
		{"the same file system", func(t *testing.T) store.Store { return mustOpen(t, sparse(t, 1<<20), Options{Engine: "io_uring"}) }, true},
		{"the same, by threads", func(t *testing.T) store.Store { return mustOpen(t, sparse(t, 1<<20), Options{Engine: "threads"}) }, true},
		{"another file system", func(t *testing.T) store.Store { return mustOpen(t, onShm(t), Options{Engine: "io_uring"}) }, false},
		{"another, by threads", func(t *testing.T) store.Store { return mustOpen(t, onShm(t), Options{Engine: "threads"}) }, false},
		{"another, read only, direct", func(t *testing.T) store.Store {
			return mustOpen(t, loop(t, sparse(t, 1<<20), 512), Options{Engine: "io_uring", ReadOnly: true, Direct: true})
		}, false},
		{"memory", func(t *testing.T) store.Store {
			s, err := mem.Open(mem.Options{Size: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for how, forced := range map[string]bool{"auto": false, "on": true} {
				r := storetest.NewRig(t, mustOpen(t, sparse(t, 1<<20), Options{Engine: "io_uring", WriteNow: how}))
				if !wrote(t, r, r.Chan, 0) {
					t.Fatal("alone it went by the ring")
				}
				other := tc.other(t)
				var cs [2]store.Channel
				for i := range cs {
					var err error
					if cs[i], err = other.Channel(r.Set); err != nil {
						t.Fatal(err)
					}
				}
				if now := wrote(t, r, r.Chan, 4096); now != (tc.alone || forced) {
					t.Errorf("%s: beside another export the lane did it: %v", how, now)
				}
				cs[0].Close()
				if now := wrote(t, r, r.Chan, 8192); now != (tc.alone || forced) {
					t.Errorf("%s: beside one channel of two the lane did it: %v", how, now)
				}
				cs[1].Close()
				if err := other.Close(); err != nil {
					t.Fatal(err)
				}
				if !wrote(t, r, r.Chan, 0) {
					t.Errorf("%s: alone again it went by the ring", how)
				}
			}
		})
	}
}

// TestWriteNowDevices: block devices are disks of their own, though their nodes lie in one folder.
func TestWriteNowDevices(t *testing.T) {
	open := func(path string) *Store { return mustOpen(t, path, Options{Engine: "io_uring"}) }
	one, two := loop(t, sparse(t, 1<<20), 512), loop(t, sparse(t, 1<<20), 512)
	for other, alone := range map[string]bool{one: true, two: false} {
		r := storetest.NewRig(t, open(one))
		if !wrote(t, r, r.Chan, 0) {
			t.Error("alone it went by the ring")
		}
		s := open(other)
		c, err := s.Channel(r.Set)
		if err != nil {
			t.Fatal(err)
		}
		if now := wrote(t, r, r.Chan, 0); now != alone {
			t.Errorf("%s beside %s: the lane did it: %v", one, other, now)
		}
		c.Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWriteNowPaces: a write that took long gives the writes to the ring, for longer and longer while the disk stays as it is.
func TestWriteNowPaces(t *testing.T) {
	r := storetest.NewRig(t, mustOpen(t, sparse(t, 1<<20), Options{Engine: "io_uring", WriteNow: "auto"}))
	var n stats.Store
	r.Chan.(store.Counting).CountTo(&n)
	x := r.Exec.(*uring)
	now, slow := int64(5e9), int64(0)
	x.lane.pace.clock = func() int64 { return now }
	x.lane.put = func(c *channel, op *store.Op, flags uint32) (int32, bool) {
		if flags == 0 {
			now += slow
		}
		return x.put(c, op, flags)
	}
	writes := uint64(0)
	at := func(ms int64, took int64, want bool) {
		t.Helper()
		now, slow = now+ms*1e6, took*1e6
		if want {
			writes++
		}
		if got := wrote(t, r, r.Chan, 0); got != want {
			t.Errorf("at %.3f s: by the lane %v, want %v", float64(now)/1e9, got, want)
		}
	}
	at(0, 20, true) // not too long
	at(0, 21, true) // too long
	at(0, 0, false)
	at(999, 0, false)
	at(1, 0, true)
	pauses := uint64(1)
	for pause := int64(2000); pause <= 64000; pause *= 2 { // again soon after each pause
		at(500, 30, true)
		pauses++
		at(pause-1, 0, false)
		at(1, 0, true)
	}
	at(63000, 30, true) // not long enough without
	at(63999, 0, false)
	at(1, 0, true)
	at(64000, 30, true)
	at(999, 0, false)
	at(1, 0, true)
	if pauses += 2; n.WriteNowPauses.Load() != pauses {
		t.Errorf("%d pauses counted, not %d", n.WriteNowPauses.Load(), pauses)
	}
	if n.WriteNow.Load() != writes {
		t.Errorf("%d writes by the lane counted, not %d", n.WriteNow.Load(), writes)
	}
	// Who wants it always has no pauses.
	x.lane.pace.pause, x.lane.pace.until = 1e9, now+1e9
	r.Chan.(*channel).s.now = writeByLane
	at(0, 30, true)
	at(0, 0, true)
}

// TestWriteNowRefused: what a file system writes in part, or not at all, without waiting is finished by the ring, with every byte in its place; after that it is asked
// again. One that cannot be asked is not asked again.
func TestWriteNowRefused(t *testing.T) {
	const area = 1 << 20
	for _, merged := range []bool{true, false} {
		path := sparse(t, area)
		r := storetest.NewRig(t, mustOpen(t, path, Options{Engine: "io_uring", NoMerge: !merged}))
		x, c := r.Exec.(*uring), r.Chan.(*channel)
		rng := rand.New(rand.NewPCG(17, 4))
		answers, asked, plain := []int32{}, 0, 0
		x.lane.put = func(c *channel, op *store.Op, flags uint32) (int32, bool) {
			if flags == 0 {
				plain++
				return x.put(c, op, 0)
			}
			asked++
			answer := answers[0]
			answers = append(answers[1:], answer)
			if answer <= 0 {
				return answer, true
			}
			var all []byte
			_, buf, off := c.s.rest(op)
			if all = buf; op.X.Run != nil {
				for all = nil; op != nil; op = op.X.Run {
					all = append(all, op.Buf...)
				}
			}
			n, err := unix.Pwrite(c.s.fd, all[:min(len(all), int(answer))], off)
			if err != nil {
				t.Fatal(err)
			}
			return int32(n), true
		}
		want := make([]byte, area)
		round := func(cases ...int32) {
			t.Helper()
			answers = cases
			ops := make([]store.Op, 64)
			for i := range ops {
				at := int64(i/4)*65536 + int64(i%4)*4096
				if i%4 == 3 { // three of four lie side by side
					at += 16384
				}
				ops[i] = store.Op{Kind: store.Write, Off: at, Buf: r.Buf(4096)}
				for j := range ops[i].Buf {
					ops[i].Buf[j] = byte(rng.Uint32())
				}
				copy(want[at:], ops[i].Buf)
				r.Chan.Submit(&ops[i])
			}
			r.Wait(len(ops))
			for i := range ops {
				if ops[i].Errno != 0 || ops[i].Done != 4096 {
					t.Errorf("answers %v: write %d: %v after %d bytes", cases, i, ops[i].Errno, ops[i].Done)
				}
			}
			got, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("answers %v, merged %v: %v, or the file is not what was written", cases, merged, err)
			}
		}
		for _, cases := range [][]int32{{1 << 20}, {-int32(unix.EAGAIN)}, {1}, {4095}, {512, 6000, 1 << 20}, {4096, -int32(unix.EAGAIN), 8192, 7}, {0, -int32(unix.EINTR)}, {-int32(unix.EIO), -int32(unix.ENOSPC)}} {
			before := asked
			round(cases...)
			if want := map[bool]int{true: 32, false: 64}[merged]; asked-before != want || plain != 0 || c.mayWait {
				t.Errorf("answers %v: asked %d times, want once for each of %d; written plainly %d times", cases, asked-before, want, plain)
			}
		}
		for _, e := range []unix.Errno{unix.EOPNOTSUPP, unix.EINVAL} {
			asked, plain, c.mayWait = 0, 0, false
			round(-int32(e))
			if want := map[bool]int{true: 32, false: 64}[merged]; asked != 1 || plain != want {
				t.Errorf("%v: asked %d times, %d times written plainly, not once and %d times", e, asked, plain, want)
			}
		}
	}
}

// TestWriteNowWithoutWaiting: on XFS, which can refuse, the lane writes also beside other disks, and what the file system refuses, since it must read first, is written all the
// same.
func TestWriteNowWithoutWaiting(t *testing.T) {
	image := sparse(t, 512<<20)
	dir := t.TempDir()
	if out, err := exec.Command("mkfs.xfs", "-q", "-f", image).CombinedOutput(); err != nil {
		need(t, "mkfs.xfs", fmt.Errorf("%w: %s", err, out))
	}
	if err := unix.Mount(loop(t, image, 512), dir, "xfs", 0, ""); err != nil {
		need(t, "a kernel with XFS", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	const size = 8 << 20
	path := filepath.Join(dir, "disk")
	want := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	r := storetest.NewRig(t, mustOpen(t, path, Options{Engine: "io_uring"}))
	other := mustOpen(t, sparse(t, 1<<20), Options{Engine: "io_uring"})
	oc, err := other.Channel(r.Set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		oc.Close()
		_ = other.Close()
	})
	ready := func() bool { // the first write of each tick is refused: it sets the time of the file
		for range 1000 {
			if wrote(t, r, r.Chan, 0) {
				return true
			}
		}
		return false
	}
	if !ready() {
		need(t, "a kernel whose XFS writes into its page cache without waiting (6.0)", nil)
	}
	clear(want[:4096])
	if wrote(t, r, oc, 0) {
		t.Error("a write that may wait was done by the lane beside another disk")
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// Parts of pages that are not in memory, and three of which the last is such a part.
	ops := make([]store.Op, 0, 128)
	for at := int64(1 << 20); at < 5<<20; at += 1 << 16 {
		ops = append(ops, store.Op{Kind: store.Write, Off: at + 512, Buf: r.Buf(1024)})
	}
	for at := int64(5 << 20); at < 6<<20; at += 1 << 16 {
		for i := range int64(3) {
			ops = append(ops, store.Op{Kind: store.Write, Off: at + i*4096, Buf: r.Buf(4096 - int(i/2)*1024)})
		}
	}
	var n stats.Store
	r.Chan.(store.Counting).CountTo(&n)
	refused := 0
	for round := 0; round < 50 && (refused == 0 || refused == len(ops)); round++ {
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM)
		_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		for i := range ops {
			for j := range ops[i].Buf {
				ops[i].Buf[j] = byte(round + i + j)
			}
			copy(want[ops[i].Off:], ops[i].Buf)
		}
		ready()
		before := n.WriteNow.Load()
		for i := range ops {
			r.Chan.Submit(&ops[i])
		}
		r.Exec.Flush()
		refused = len(ops) - int(n.WriteNow.Load()-before)
		r.Wait(len(ops))
		for i := range ops {
			if ops[i].Errno != 0 || ops[i].Done != len(ops[i].Buf) {
				t.Errorf("write %d: %v after %d bytes", i, ops[i].Errno, ops[i].Done)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%v, or the file is not what was written", err)
		}
	}
	if t.Logf("%d of %d writes were refused", refused, len(ops)); refused == 0 || refused == len(ops) {
		t.Error("all or nothing: this tests nothing")
	}
	if r.Chan.(*channel).mayWait {
		t.Error("a refusal was taken for one of every write")
	}
}
