package file

import (
	"testing"

	"goaoe/internal/store"
	"goaoe/internal/store/storetest"
)

// TestPrompt: of what is under way in the ring only direct transfers are said to be the disk's alone, and only while there is nothing else: what goes through the page cache,
// and what makes writes durable, may need a thread of the kernel.
func TestPrompt(t *testing.T) {
	read, write, durable := store.Op{Kind: store.Read}, store.Op{Kind: store.Write}, store.Op{Kind: store.Write, Durable: true}
	odd := store.Op{Kind: store.Read, Off: 512}
	for _, c := range []struct {
		what string
		o    Options
		ops  []store.Op
		only bool // while they are under way
		ends uint64
	}{
		{"direct read", Options{Direct: true}, []store.Op{read}, true, 1},
		{"direct write", Options{Direct: true}, []store.Op{write}, true, 1},
		{"direct, durable", Options{Direct: true, Sync: "group"}, []store.Op{durable}, false, 0},
		{"direct, durable each", Options{Direct: true, Sync: "each"}, []store.Op{durable}, false, 0},
		{"direct, durable, and a read", Options{Direct: true}, []store.Op{durable, read}, false, 1},
		{"direct, and a flush", Options{Direct: true}, []store.Op{read, {Kind: store.Flush}}, false, 1},
		{"not aligned for direct I/O", Options{Direct: true}, []store.Op{odd}, false, 0},
		{"buffered read", Options{NoReadNow: true}, []store.Op{read}, false, 0},
		{"buffered write", Options{WriteNow: "off"}, []store.Op{write}, false, 0},
	} {
		c.o.Engine = "io_uring"
		st := mustOpen(t, sparse(t, 1<<20), c.o)
		if c.what == "not aligned for direct I/O" && st.dioMask < 512 {
			st.dioMask = 4095 // as most disks want it
		}
		rig := storetest.NewRig(t, st)
		x := rig.Chan.(*channel).x.(*uring)
		if _, only := x.Prompt(); only {
			t.Errorf("%s: something is under way from the start", c.what)
		}
		for i := range c.ops {
			op := &c.ops[i]
			if op.Kind != store.Flush {
				op.Off += int64(i) * 8192
				op.Buf = rig.Buf(4096)
			}
			rig.Chan.Submit(op)
		}
		x.Flush()
		if _, only := x.Prompt(); only != c.only {
			t.Errorf("%s: only the disk works on it: %v, want %v", c.what, only, c.only)
		}
		for left := len(c.ops); left > 0; {
			done := rig.Wait(1)
			left -= len(done)
			for _, op := range done {
				if op.Errno != 0 {
					t.Errorf("%s: %v", c.what, op.Errno)
				}
			}
		}
		if ended, only := x.Prompt(); only || ended != c.ends || x.disk != 0 || x.other != 0 {
			t.Errorf("%s: at the end %d have ended, want %d; %d and %d under way", c.what, ended, c.ends, x.disk, x.other)
		}
	}
}
