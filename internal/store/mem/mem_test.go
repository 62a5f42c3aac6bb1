package mem

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"goaoe/internal/store"
)

func open(t *testing.T, o Options) (*Store, store.Channel, store.Executor) {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	set := new(store.Set)
	c, err := s.Channel(set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		set.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, c, set.Executors()[0]
}

func fill(v byte, n int) []byte { return bytes.Repeat([]byte{v}, n) }

// finish reaps until want operations came back, at most turns times.
func finish(t *testing.T, x store.Executor, want, turns int) []*store.Op {
	t.Helper()
	var got []*store.Op
	done := make([]*store.Op, 8)
	for i := 0; i < turns && len(got) < want; i++ {
		got = append(got, done[:x.Reap(done)]...)
	}
	if len(got) != want {
		t.Fatalf("%d operations completed, want %d", len(got), want)
	}
	return got
}

func TestHeldOperationsWaitForRelease(t *testing.T) {
	ctl := NewControl(1)
	s, c, x := open(t, Options{Size: 8192, Control: ctl})
	ctl.Hold(func(op *store.Op) bool { return op.Off == 0 })
	a := &store.Op{Kind: store.Write, Buf: fill(1, 512), User: 7}
	b := &store.Op{Kind: store.Write, Off: 512, Buf: fill(2, 512)}
	c.Submit(a)
	c.Submit(b)
	if got := finish(t, x, 1, 3); got[0] != b {
		t.Fatal("the held write completed first")
	}
	if x.Pending() || s.Bytes()[0] != 0 {
		t.Fatal("a held write took effect or counts as pending")
	}
	if h := ctl.Held(); len(h) != 1 || h[0].User != 7 || h[0].Seq != 1 {
		t.Fatalf("held: %+v", h)
	}
	if n := ctl.Release(5); n != 1 {
		t.Fatalf("released %d", n)
	}
	p := []unix.PollFd{{Fd: int32(x.FD()), Events: unix.POLLIN}}
	if n, err := unix.Poll(p, 0); n != 1 || err != nil {
		t.Fatalf("the descriptor is not readable after a release: %d %v", n, err)
	}
	if got := finish(t, x, 1, 1); got[0] != a || s.Bytes()[0] != 1 {
		t.Fatal("the released write did not happen")
	}
	if n, _ := unix.Poll(p, 0); n != 0 {
		t.Fatal("the descriptor stays readable")
	}
}

func TestOverlapsAreFound(t *testing.T) {
	ctl := NewControl(1)
	_, c, x := open(t, Options{Size: 8192, Control: ctl})
	ops := []store.Op{
		{Kind: store.Read, Buf: fill(0, 1024)},
		{Kind: store.Read, Buf: fill(0, 1024)},
		{Kind: store.Write, Off: 512, Buf: fill(1, 512)},
		{Kind: store.Discard, Off: 1024, Len: 512},
		{Kind: store.Flush},
	}
	for i := range ops {
		c.Submit(&ops[i])
	}
	finish(t, x, len(ops), 2)
	want := []Overlap{{1, 3}, {2, 3}}
	if got := ctl.Overlaps(); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Fatalf("overlaps %v, want %v", got, want)
	}
}

func TestShuffleIsReproducible(t *testing.T) {
	order := func(seed uint64) (out []uint32) {
		ctl := NewControl(seed)
		_, c, x := open(t, Options{Size: 1 << 16, Control: ctl})
		ctl.Shuffle(10)
		ops := make([]store.Op, 50)
		for i := range ops {
			ops[i] = store.Op{Kind: store.Read, Off: int64(i) * 512, Buf: fill(0, 512), User: uint32(i)}
			c.Submit(&ops[i])
		}
		for _, op := range finish(t, x, len(ops), 40) {
			out = append(out, op.User)
		}
		return out
	}
	a, b, d := order(1), order(1), order(2)
	same := func(x, y []uint32) bool {
		for i := range x {
			if x[i] != y[i] {
				return false
			}
		}
		return true
	}
	if !same(a, b) {
		t.Fatal("one seed gave two orders")
	}
	if same(a, d) {
		t.Fatal("two seeds gave one order")
	}
}

func TestFailuresHitTheirRange(t *testing.T) {
	ctl := NewControl(1)
	s, c, x := open(t, Options{Size: 8192, Control: ctl})
	ctl.Fail(store.Write, 1024, 512, unix.ENOSPC, 1)
	ctl.Fail(store.Flush, 0, 0, unix.EIO, 0)
	run := func(op store.Op) unix.Errno {
		c.Submit(&op)
		return finish(t, x, 1, 1)[0].Errno
	}
	if e := run(store.Op{Kind: store.Write, Off: 512, Buf: fill(1, 1024)}); e != unix.ENOSPC || s.Bytes()[512] != 0 {
		t.Fatalf("errno %v, byte %d", e, s.Bytes()[512])
	}
	if e := run(store.Op{Kind: store.Write, Off: 512, Buf: fill(1, 1024)}); e != 0 {
		t.Fatalf("the failure was for once: %v", e)
	}
	if e := run(store.Op{Kind: store.Flush}); e != unix.EIO {
		t.Fatalf("flush: %v", e)
	}
	ctl.Heal()
	if e := run(store.Op{Kind: store.Flush}); e != 0 {
		t.Fatalf("healed flush: %v", e)
	}
}

func TestCrashLosesWhatWasNotDurable(t *testing.T) {
	ctl := NewControl(1)
	s, c, x := open(t, Options{Size: 8192, Control: ctl})
	if err := ctl.TrackDurable(); err != nil {
		t.Fatal(err)
	}
	defer ctl.Untrack()
	run := func(op store.Op) {
		c.Submit(&op)
		if e := finish(t, x, 1, 1)[0].Errno; e != 0 {
			t.Fatal(e)
		}
	}
	run(store.Op{Kind: store.Write, Off: 0, Buf: fill(1, 512)})
	run(store.Op{Kind: store.Write, Off: 512, Buf: fill(2, 512), Durable: true})
	ctl.Crash(LoseAll)
	if s.Bytes()[0] != 0 || s.Bytes()[512] != 2 {
		t.Fatalf("after the crash: %d %d", s.Bytes()[0], s.Bytes()[512])
	}
	run(store.Op{Kind: store.Write, Off: 1024, Buf: fill(3, 512)})
	flush, late := &store.Op{Kind: store.Flush}, &store.Op{Kind: store.Write, Off: 2048, Buf: fill(4, 512)}
	ctl.Hold(func(op *store.Op) bool { return op == flush })
	c.Submit(flush)
	c.Submit(late)
	finish(t, x, 1, 1)
	ctl.Release(-1)
	finish(t, x, 1, 1)
	ctl.Crash(LoseAll)
	if s.Bytes()[1024] != 3 {
		t.Fatal("a flushed write was lost")
	}
	if s.Bytes()[2048] != 0 {
		t.Fatal("a flush covered a write that completed after it was asked for")
	}
}

func TestResizeShowsAfterRefresh(t *testing.T) {
	s, c, x := open(t, Options{Size: 1024 + 100, MaxSize: 4096})
	if i := s.Info(); i.Size != 1024 || i.Tail != 100 {
		t.Fatalf("%+v", i)
	}
	if err := s.Resize(4096); err != nil {
		t.Fatal(err)
	}
	op := &store.Op{Kind: store.Read, Off: 2048, Buf: fill(9, 512)}
	c.Submit(op)
	if finish(t, x, 1, 1); op.Errno != unix.EIO || op.Buf[0] != 9 {
		t.Fatalf("a read behind the end: %v", op.Errno)
	}
	if i, err := s.Refresh(); err != nil || i.Size != 4096 || i.Tail != 0 {
		t.Fatalf("%+v %v", i, err)
	}
	c.Submit(op)
	if finish(t, x, 1, 1); op.Errno != 0 || op.Buf[0] != 0 {
		t.Fatalf("after Refresh: %v", op.Errno)
	}
}

func TestParseSource(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want int64
		ok   bool
		bad  bool
	}{
		{"mem:512", 512, true, false}, {"mem:64M", 64 << 20, true, false}, {"mem:2g", 2 << 30, true, false},
		{"mem:", 0, true, true}, {"mem:K", 0, true, true}, {"mem:-1", 0, true, true}, {"mem:99999999T", 0, true, true},
		{"/dev/sda", 0, false, false},
	} {
		got, ok, err := ParseSource(tc.in)
		if got != tc.want || ok != tc.ok || (err != nil) != tc.bad {
			t.Errorf("ParseSource(%q) = %d, %v, %v", tc.in, got, ok, err)
		}
	}
}
