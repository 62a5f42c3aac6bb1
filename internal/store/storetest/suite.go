package storetest

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/store"
)

// Run runs the suite.
func Run(t *testing.T, open Opener) {
	for _, tc := range []struct {
		name string
		run  func(*testing.T, *Rig)
	}{
		{"Info", testInfo},
		{"Model", testModel},
		{"LastSector", testLastSector},
		{"Refused", testRefused},
		{"Durable", testDurable},
		{"Flush", testFlush},
		{"Discard", testDiscard},
		{"View", testView},
		{"Burst", testBurst},
		{"NoAllocation", testNoAllocation},
		{"SecondChannel", testSecondChannel},
		{"Refresh", testRefresh},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.run(t, NewRig(t, open(t))) })
	}
}

func testInfo(t *testing.T, r *Rig) {
	i := r.Store.Info()
	if n := r.Set.Disks(); n != 1 {
		t.Errorf("the lane has one channel, on %d disks", n)
	}
	if i.Size < 1<<20 || i.Size%store.SectorSize != 0 {
		t.Errorf("size %d", i.Size)
	}
	if i.Physical < store.SectorSize || i.Physical&(i.Physical-1) != 0 {
		t.Errorf("physical sector %d", i.Physical)
	}
	if i.AlignOff < 0 || i.AlignOff >= i.Physical || i.MemAlign < 1 || i.MemAlign > 4096 {
		t.Errorf("alignment offset %d, memory alignment %d", i.AlignOff, i.MemAlign)
	}
	if i.Tail < 0 || i.Tail >= store.SectorSize || i.End-i.Start != i.Size || i.ID == "" || i.ReadOnly {
		t.Errorf("%+v", i)
	}
}

// job is one operation of testModel with what it should do.
type job struct {
	op   store.Op
	buf  []byte
	want []byte
	busy bool
}

// testModel keeps many random operations in flight that do not overlap, and compares every read with a model.
func testModel(t *testing.T, r *Rig) {
	r.lend()
	const area, depth, total = 1 << 20, 32, 4000
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	model, all := make([]byte, area), r.Buf(area)
	copy(model, all)
	r.Must(&store.Op{Kind: store.Write, Buf: all})
	jobs := make([]job, depth)
	for i := range jobs {
		jobs[i].buf = r.Buf(16384)
		jobs[i].want = make([]byte, 16384)
		jobs[i].op.User = uint32(i)
	}
	free := func(off, n int64) bool {
		for i := range jobs {
			if j := &jobs[i]; j.busy && off < j.op.Off+int64(len(j.op.Buf)) && j.op.Off < off+n {
				return false
			}
		}
		return true
	}
	submitted, inflight := 0, 0
	var last store.Op // many operations go on where the one before ended
	for submitted < total || inflight > 0 {
		for i := range jobs {
			j := &jobs[i]
			n := int64(rng.IntN(32)+1) * store.SectorSize
			if rng.IntN(2) == 0 {
				n = 4096
			}
			off := rng.Int64N((area-n)/store.SectorSize+1) * store.SectorSize
			if rng.IntN(2) == 0 {
				off &^= 4095
			}
			goesOn := last.Kind != 0 && rng.IntN(3) > 0 && last.Off+int64(len(last.Buf))+n <= area
			if goesOn {
				off = last.Off + int64(len(last.Buf))
			}
			if j.busy || submitted == total || !free(off, n) {
				continue
			}
			j.op.Off, j.op.Buf, j.op.Durable, j.busy = off, j.buf[:n], false, true
			write, durable := rng.IntN(2) == 0, rng.IntN(4) == 0
			if goesOn {
				write, durable = last.Kind == store.Write, last.Durable
			}
			if write {
				j.op.Kind, j.op.Durable = store.Write, durable
				for k := range j.op.Buf {
					j.op.Buf[k] = byte(rng.Uint32())
				}
				copy(model[off:], j.op.Buf)
			} else {
				j.op.Kind = store.Read
				copy(j.want, model[off:off+n])
				clear(j.op.Buf)
			}
			r.Chan.Submit(&j.op)
			last = j.op
			submitted++
			inflight++
		}
		for _, op := range r.Poll(time.Second) {
			j := &jobs[op.User]
			if !j.busy || op != &j.op {
				t.Fatalf("operation %d came back twice", op.User)
			}
			if op.Errno != 0 {
				t.Fatalf("operation %d at %d, %d bytes: %v", op.Kind, op.Off, len(op.Buf), op.Errno)
			}
			if op.Kind == store.Read && !bytes.Equal(op.Buf, j.want[:len(op.Buf)]) {
				t.Fatalf("read of %d bytes at %d differs from what was written", len(op.Buf), op.Off)
			}
			j.busy = false
			inflight--
		}
	}
	r.Must(&store.Op{Kind: store.Read, Buf: all})
	if !bytes.Equal(all, model) {
		t.Fatal("the content differs from the model at the end")
	}
}

func testLastSector(t *testing.T, r *Rig) {
	end := r.Store.Info().Size
	buf := r.Buf(4096)
	for _, n := range []int64{512, 1024, 4096} {
		for i := range buf[:n] {
			buf[i] = byte(n >> 8)
		}
		r.Must(&store.Op{Kind: store.Write, Off: end - n, Buf: buf[:n], Durable: true})
		clear(buf)
		r.Must(&store.Op{Kind: store.Read, Off: end - n, Buf: buf[:n]})
		if want := bytes.Repeat([]byte{byte(n >> 8)}, int(n)); !bytes.Equal(buf[:n], want) {
			t.Fatalf("the last %d bytes differ from what was written", n)
		}
	}
}

func testRefused(t *testing.T, r *Rig) {
	end := r.Store.Info().Size
	mark := r.Buf(8192)
	for i := range mark {
		mark[i] = 0x77
	}
	r.Must(&store.Op{Kind: store.Write, Off: end - 8192, Buf: mark})
	buf := r.Buf(8192)
	for i := range buf {
		buf[i] = 0x11
	}
	for _, op := range []store.Op{
		{Kind: store.Read, Off: end, Buf: buf[:512]},
		{Kind: store.Read, Off: end - 512, Buf: buf[:1024]},
		{Kind: store.Read, Off: -512, Buf: buf[:512]},
		{Kind: store.Read, Off: 1 << 62, Buf: buf[:512]},
		{Kind: store.Read, Off: 256, Buf: buf[:512]},
		{Kind: store.Read, Off: 0, Buf: buf[:100]},
		{Kind: store.Read, Off: 0},
		{Kind: store.Write, Off: end, Buf: buf[:512]},
		{Kind: store.Write, Off: end - 4096, Buf: buf, Durable: true},
		{Kind: store.Write, Off: -512, Buf: buf[:1024]},
		{Kind: store.Write, Off: end - 700, Buf: buf[:512]},
		{Kind: store.Write, Off: end - 512, Buf: buf[:511]},
		{Kind: store.Discard, Off: end - 512, Len: 1024},
		{Kind: store.Discard, Off: -512, Len: 1024},
		{Kind: store.Discard, Off: end - 512, Len: 0},
		{Kind: store.Discard, Off: end - 512, Len: 1 << 62},
		{Kind: 0, Off: 0, Buf: buf[:512]},
		{Kind: 200, Off: 0, Buf: buf[:512]},
	} {
		switch e := r.Do(&op); e {
		case unix.EIO, unix.EINVAL:
		case unix.EOPNOTSUPP:
			if op.Kind != store.Discard || r.Store.Info().CanDiscard {
				t.Errorf("kind %d at %d: %v", op.Kind, op.Off, e)
			}
		default:
			t.Errorf("kind %d at %d, %d bytes: errno %d, want EIO or EINVAL", op.Kind, op.Off, len(op.Buf), e)
		}
	}
	for _, v := range buf {
		if v != 0x11 {
			t.Fatal("a refused read touched the buffer")
		}
	}
	r.Must(&store.Op{Kind: store.Read, Off: end - 8192, Buf: buf})
	if !bytes.Equal(buf, mark) {
		t.Fatal("a refused write touched the store")
	}
	if r.Store.Info().Size != end {
		t.Fatal("the size changed")
	}
}

func testDurable(t *testing.T, r *Rig) {
	const depth, total = 16, 200
	ops, next, done := make([]store.Op, depth), 0, 0
	submit := func(i int) {
		for k := range ops[i].Buf {
			ops[i].Buf[k] = byte(next)
		}
		ops[i].Off = int64(next) * 4096
		r.Chan.Submit(&ops[i])
		next++
	}
	for i := range ops {
		ops[i] = store.Op{Kind: store.Write, Durable: true, Buf: r.Buf(4096), User: uint32(i)}
		submit(i)
	}
	for done < total {
		for _, op := range r.Poll(time.Second) {
			if op.Errno != 0 || op.Done != 4096 {
				t.Fatalf("%v, %d bytes", op.Errno, op.Done)
			}
			if done++; next < total {
				submit(int(op.User))
			}
		}
	}
	buf := r.Buf(4096)
	for i := range total {
		r.Must(&store.Op{Kind: store.Read, Off: int64(i) * 4096, Buf: buf})
		if buf[0] != byte(i) || buf[4095] != byte(i) {
			t.Fatalf("block %d holds %d", i, buf[0])
		}
	}
}

func testFlush(t *testing.T, r *Rig) {
	ops := make([]store.Op, 24)
	for i := range ops {
		switch i % 3 {
		case 0:
			ops[i] = store.Op{Kind: store.Flush}
		default:
			ops[i] = store.Op{Kind: store.Write, Durable: i%3 == 1, Off: int64(i) * 4096, Buf: r.Buf(4096)}
		}
		r.Chan.Submit(&ops[i])
	}
	for _, op := range r.Wait(len(ops)) {
		if op.Errno != 0 {
			t.Fatalf("kind %d: %v", op.Kind, op.Errno)
		}
	}
	r.Must(&store.Op{Kind: store.Flush})
}

func testDiscard(t *testing.T, r *Rig) {
	op := store.Op{Kind: store.Discard, Off: 65536, Len: 65536}
	if !r.Store.Info().CanDiscard {
		if e := r.Do(&op); e != unix.EOPNOTSUPP {
			t.Fatalf("discard where it is not offered: %v", e)
		}
		return
	}
	buf := r.Buf(3 * 65536)
	for i := range buf {
		buf[i] = 0x5a
	}
	r.Must(&store.Op{Kind: store.Write, Buf: buf})
	r.Must(&op)
	clear(buf)
	r.Must(&store.Op{Kind: store.Read, Buf: buf})
	for i, v := range buf {
		inside := i >= 65536 && i < 131072
		if v != 0x5a && (!inside || v != 0) || inside && v != 0 && r.Store.Info().DiscardZeroes {
			t.Fatalf("byte %d is %#x after the discard", i, v)
		}
	}
	r.Must(&store.Op{Kind: store.Discard, Off: 512, Len: 512}) // may be less than the device's own block
	r.Must(&store.Op{Kind: store.Read, Buf: buf[:2048]})
	if buf[0] != 0x5a || buf[1024] != 0x5a {
		t.Fatal("a small discard touched its neighbours")
	}
	if r.Store.Info().DiscardZeroes && (buf[512] != 0 || buf[1023] != 0) {
		t.Fatal("a small discard does not read as zeros")
	}
}

func testView(t *testing.T, r *Rig) {
	v, ok := r.Chan.(store.Viewer)
	if !ok {
		return // an optional ability
	}
	end := r.Store.Info().Size
	buf := r.Buf(8192)
	for i := range buf {
		buf[i] = byte(i >> 8)
	}
	r.Must(&store.Op{Kind: store.Write, Off: end - 8192, Buf: buf})
	r.Must(&store.Op{Kind: store.Write, Off: 0, Buf: buf})
	for _, at := range []int64{end - 512, end - 4096, 512, 0} {
		n := min(4096, int(end-at))
		got := v.View(at, n)
		if got == nil {
			t.Logf("no view of %d bytes at %d", n, at)
			continue
		}
		if from := at - (end - 8192); from >= 0 && !bytes.Equal(got, buf[from:from+int64(n)]) {
			t.Fatalf("the view of %d bytes at %d differs", n, at)
		}
		if at < 8192 && !bytes.Equal(got, buf[at:at+int64(n)]) {
			t.Fatalf("the view of %d bytes at %d differs", n, at)
		}
	}
	for _, at := range []int64{end, end - 512, -512, 1 << 62} {
		if v.View(at, 1024) != nil {
			t.Fatalf("a view of 1024 bytes at %d of %d", at, end)
		}
	}
}

// testBurst submits more at once than any queue holds.
func testBurst(t *testing.T, r *Rig) {
	r.lend()
	ops := make([]store.Op, 5000)
	buf := r.Buf(512 * 5000)
	for i := range ops {
		b := buf[i*512 : i*512+512]
		b[0], b[1] = byte(i), byte(i>>8)
		ops[i] = store.Op{Kind: store.Write, Off: int64(i%2000) * 512, Buf: b}
		if i >= 2000 {
			ops[i].Kind = store.Read
			ops[i].Buf = b
		}
	}
	for i := range ops[:2000] {
		r.Chan.Submit(&ops[i])
	}
	for _, op := range r.Wait(2000) {
		if op.Errno != 0 {
			t.Fatal(op.Errno)
		}
	}
	for i := range ops[2000:] {
		r.Chan.Submit(&ops[2000+i])
	}
	for _, op := range r.Wait(3000) {
		i := op.Off / 512
		if op.Errno != 0 || op.Buf[0] != byte(i) || op.Buf[1] != byte(i>>8) {
			t.Fatalf("sector %d: %v, %d", i, op.Errno, op.Buf[:2])
		}
	}
}

func testNoAllocation(t *testing.T, r *Rig) {
	const depth = 16
	ops := make([]store.Op, depth)
	for i := range ops {
		ops[i] = store.Op{Kind: store.Read, Off: int64(i) * 8192, Buf: r.Buf(4096)}
		if i%4 == 1 {
			ops[i].Kind, ops[i].Durable = store.Write, i == 1
		}
	}
	ops[0] = store.Op{Kind: store.Flush}
	round := func() {
		for i := range ops {
			r.Chan.Submit(&ops[i])
		}
		for n := 0; n < depth; {
			for _, op := range r.Poll(time.Second) {
				if op.Errno != 0 {
					panic(op.Errno)
				}
				n++
			}
		}
	}
	for range 20 {
		round()
	}
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Fatalf("%v allocations for %d operations", n, depth)
	}
	for i := range ops { // side by side
		ops[i] = store.Op{Kind: store.Read, Off: int64(i) * 4096, Buf: ops[max(i, 1)].Buf}
		if i >= depth/2 {
			ops[i].Kind = store.Write
		}
	}
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Fatalf("%v allocations for %d operations side by side", n, depth)
	}
	v, ok := r.Chan.(store.Viewer)
	if !ok {
		return
	}
	if n := testing.AllocsPerRun(100, func() { v.View(8192, 4096) }); n != 0 {
		t.Fatalf("%v allocations for a view", n)
	}
}

// testSecondChannel uses two channels of one lane: they share the executor and do not mix up their operations.
func testSecondChannel(t *testing.T, r *Rig) {
	c, err := r.Store.Channel(r.Set)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Set.Executors()) != 1 {
		t.Fatalf("%d executors", len(r.Set.Executors()))
	}
	a := store.Op{Kind: store.Write, Durable: true, Buf: r.Buf(4096), User: 1}
	b := store.Op{Kind: store.Write, Durable: true, Off: 4096, Buf: r.Buf(4096), User: 2}
	r.Chan.Submit(&a)
	c.Submit(&b)
	got := r.Wait(2)
	if got[0].User+got[1].User != 3 || a.Errno != 0 || b.Errno != 0 {
		t.Fatalf("%+v %+v", a, b)
	}
	c.Close()
}

func testRefresh(t *testing.T, r *Rig) {
	before := r.Store.Info()
	after, err := r.Store.Refresh()
	if err != nil || after != before {
		t.Fatalf("%+v, %v; was %+v", after, err, before)
	}
}
