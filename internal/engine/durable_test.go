package engine

import (
	"testing"

	"goaoe/internal/store/mem"
	"goaoe/internal/target"
	"goaoe/test/conformance"
)

// TestAnsweredWriteSurvivesPowerCut is C90 inside the engine: whatever is answered is on stable storage, unless the user chose
// the write cache, and then after a flush.
func TestAnsweredWriteSurvivesPowerCut(t *testing.T) {
	conformance.Covers(t, "C90")
	for _, c := range []struct {
		name       string
		writeCache bool
		cmd        byte // of the write
		flush      bool
		survives   bool
	}{
		{"durable by default", false, 0x34, false, true},
		{"write cache", true, 0x34, false, false}, // the control: without it the test shows nothing
		{"write cache, then flush", true, 0x34, true, true},
		{"write cache, forced unit access", true, 0x3d, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 1)
			ctl := mem.NewControl(1)
			st := newStore(t, 64, ctl)
			if err := ctl.TrackDurable(); err != nil {
				t.Fatal(err)
			}
			te, err := target.NewExport(target.ExportConfig{Addr: e11, Sectors: 64, WriteCacheAllowed: c.writeCache})
			if err != nil {
				t.Fatal(err)
			}
			x := &Export{Target: te, Store: st, QueueLength: 8}
			if err := r.l.addExport(x); err != nil {
				t.Fatal(err)
			}
			r.serve(1500, x)
			f := r.ata(e11, c.cmd, 5, 1, sector(1, 7))
			f[24] = 0x41
			r.wires[0].put(f, 1)
			r.run()
			if c.flush {
				r.wires[0].put(r.ata(e11, 0xe7, 0, 0, nil), 2)
				r.run()
			}
			for _, g := range r.wires[0].take() {
				if g[27] != 0x40 {
					t.Fatalf("status %#x", g[27])
				}
			}
			ctl.Crash(mem.LoseAll)
			if got := st.Bytes()[5*512] == 7; got != c.survives {
				t.Fatalf("after the power cut the data is there: %v, want %v", got, c.survives)
			}
		})
	}
}
