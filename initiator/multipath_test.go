package initiator

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/link/mem"
	"goaoe/internal/target"
)

// TestSpread: both paths of a disk are used, and evenly.
func TestSpread(t *testing.T) {
	w, _, _, links := pair(t, 9000)
	d := w.open(Options{}, quick(Options{}), links...)
	if p := d.Paths(); len(p) != 2 || p[0].State != Up || p[1].State != Up || p[0].Sectors != 17 || p[0].Interface != "h0" || p[1].Interface != "h1" {
		t.Fatalf("%+v", p)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			buf := make([]byte, 4096)
			for i := range 500 {
				if _, err := d.ReadAt(buf, int64(g*8+i)*512); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	a, b := d.path(0).Stats.Requests, d.path(1).Stats.Requests
	if a+b < 4000 || a < (a+b)/4 || b < (a+b)/4 {
		t.Errorf("%d requests over one path, %d over the other", a, b)
	}
}

// TestFailover: a path is cut and restored under load, then the other one.
func TestFailover(t *testing.T) {
	w, a, b, links := pair(t, 9000)
	d := w.open(Options{}, quick(Options{}), links...)
	l := w.load(d, 8, 6)
	w.goesOn(l, "the start")
	for _, n := range []*node{a, b} {
		w.set(func() { n.mute = true })
		if e := w.wait(PathDown); e.Path.MAC != n.mac || e.Path.State != Down || !errors.Is(e.Err, ErrTimeout) {
			t.Errorf("%+v", e)
		}
		w.goesOn(l, "the loss of a path")
		w.set(func() { n.mute = false })
		if e := w.wait(PathUp); e.Path.MAC != n.mac {
			t.Errorf("%+v", e)
		}
		was := d.Stats().Requests
		w.until("the path is used again", func() bool { return d.Stats().Requests > was+500 })
		w.goesOn(l, "the return of a path")
	}
	before := [2]uint64{d.path(0).Stats.Requests, d.path(1).Stats.Requests}
	w.goesOn(l, "both are back")
	w.until("both paths are used", func() bool {
		return d.path(0).Stats.Requests > before[0]+20 && d.path(1).Stats.Requests > before[1]+20
	})
	l.stop()
}

// TestInterfaceDown: an interface that is down is left at once, and used again when it is up.
func TestInterfaceDown(t *testing.T) {
	w, _, _, links := pair(t, 1500)
	d := w.open(Options{}, quick(Options{}), links...)
	l := w.load(d, 4, 2)
	w.goesOn(l, "the start")
	links[0].(*mem.Link).SetDown(true)
	if e := w.wait(PathDown); e.Path.Interface != "h0" {
		t.Errorf("%+v", e)
	}
	w.goesOn(l, "the loss of an interface")
	links[0].(*mem.Link).SetDown(false)
	if e := w.wait(PathUp); e.Path.Interface != "h0" {
		t.Errorf("%+v", e)
	}
	w.goesOn(l, "its return")
	l.stop()
}

// TestOnlyInterfaceDown: what waits for an interface that is down does so quietly.
func TestOnlyInterfaceDown(t *testing.T) {
	w, _, net := oneNode(t, 1500)
	ours := net.Open("h0", iMAC, 1500)
	d := w.open(Options{}, quick(Options{}), ours)
	l := w.load(d, 4, 2)
	w.goesOn(l, "the start")
	ours.SetDown(true)
	w.wait(Gone)
	d.mu.Lock()
	sent, turns := d.stats.Retransmits, d.turns
	d.mu.Unlock()
	time.Sleep(500 * time.Millisecond)
	d.mu.Lock()
	sent, turns = d.stats.Retransmits-sent, d.turns-turns
	d.mu.Unlock()
	if sent > 500 || turns > 1000 {
		t.Errorf("%d frames in %d turns within half a second while the interface was down", sent, turns)
	}
	ours.SetDown(false)
	w.wait(Back)
	w.goesOn(l, "the return of the interface")
	l.stop()
}

// TestGoneAndBack: without any path I/O waits, and goes on when one is back.
func TestGoneAndBack(t *testing.T) {
	w, a, b, links := pair(t, 1500)
	d := w.open(Options{}, quick(Options{}), links...)
	l := w.load(d, 4, 2)
	w.goesOn(l, "the start")
	w.set(func() { a.mute, b.mute = true, true })
	w.wait(Gone)
	w.set(func() { b.mute = false })
	w.wait(Back)
	w.goesOn(l, "the return")
	l.stop()
	_ = d
}

// TestOtherMAC: a target that comes back with another address is the same disk.
func TestOtherMAC(t *testing.T) {
	w := newWorld(t, 4000)
	net := mem.NewNet(mem.Options{Seed: 1, Auto: true})
	a := w.serve(net, aoe.MAC{2, 0, 0, 0, 0, 0xaa}, 1500, target.ExportConfig{})
	d := w.open(Options{}, quick(Options{}), net.Open("h0", iMAC, 1500))
	l := w.load(d, 4, 2)
	w.goesOn(l, "the start")
	w.set(func() { a.mute = true })
	w.wait(Gone)
	b := w.serve(net, aoe.MAC{2, 0, 0, 0, 0, 0xbb}, 1500, target.ExportConfig{})
	if e := w.wait(PathUp); e.Path.MAC != b.mac {
		t.Errorf("%+v", e)
	}
	w.goesOn(l, "the restart")
	l.stop()
}

// TestRefused: what answers under the address and is another disk is not used, and said so.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		conf  target.ExportConfig
		words string
	}{
		"serial":       {target.ExportConfig{Serial: "another", Model: "a disk"}, `serial "another"; ours is model "a disk", serial "the one"`},
		"model":        {target.ExportConfig{Serial: "the one", Model: "other"}, `model "other", 4000 sectors; ours is model "a disk", 4000 sectors`},
		"size":         {target.ExportConfig{Serial: "the one", Model: "a disk", Sectors: 3999}, "3999 sectors; ours is"},
		"size, larger": {target.ExportConfig{Serial: "the one", Model: "a disk", Sectors: 5000}, "5000 sectors; ours is"},
	} {
		t.Run(name, func(t *testing.T) {
			w, a, b, links := pair(t, 1500)
			w.set(func() { b.mute = true })
			d := w.open(Options{}, quick(Options{}), links...)
			w.set(func() { b.mute = false })
			b.change(func(x *target.ExportConfig) {
				x.Serial, x.Model = c.conf.Serial, c.conf.Model
				if c.conf.Sectors > 0 {
					x.Sectors = c.conf.Sectors
				}
			})
			b.announce()
			e := w.wait(PathRefused)
			if e.Path.MAC != b.mac || e.Path.State != Refused || e.Err == nil || !strings.Contains(e.Err.Error(), c.words) {
				t.Errorf("%+v", e)
			}
			w.set(func() { a.ios, b.ios = 0, 0 })
			for i := range 100 {
				if _, err := d.WriteAt(make([]byte, 512), int64(i)*512); err != nil {
					t.Fatal(err)
				}
			}
			w.set(func() {
				if a.ios < 100 || b.ios != 0 {
					t.Errorf("%d commands to our disk, %d to the other", a.ios, b.ios)
				}
			})
			if d.Size() != 4000*512 {
				t.Errorf("size %d", d.Size())
			}
			// It becomes the right one.
			b.change(func(x *target.ExportConfig) { x.Serial, x.Model, x.Sectors = "the one", "a disk", 4000 })
			b.announce()
			if e := w.wait(PathUp); e.Path.MAC != b.mac {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestChangedUnderUse: a path whose disk becomes another one is left at once, with what is under way.
func TestChangedUnderUse(t *testing.T) {
	w, _, b, links := pair(t, 1500)
	d := w.open(Options{}, quick(Options{}), links...)
	l := w.load(d, 4, 2)
	w.goesOn(l, "the start")
	w.set(func() { b.mute = true })
	b.change(func(x *target.ExportConfig) { x.Serial = "another" })
	w.wait(PathDown)
	w.set(func() { b.mute = false })
	if e := w.wait(PathRefused); e.Path.MAC != b.mac {
		t.Errorf("%+v", e)
	}
	w.set(func() { b.writes = 0 })
	w.goesOn(l, "the change")
	w.set(func() {
		if b.writes != 0 {
			t.Errorf("%d writes to the other disk", b.writes)
		}
	})
	l.stop()
}

// TestGrowth: a new size counts when all paths show it, and is an event.
func TestGrowth(t *testing.T) {
	w, a, b, links := pair(t, 1500)
	w.mu.Lock()
	w.disk = make([]byte, 6000*512)
	w.mu.Unlock()
	d := w.open(Options{}, quick(Options{}), links...)
	if d.Size() != 4000*512 {
		t.Fatal(d.Size())
	}
	for _, n := range []*node{a, b} {
		n.change(func(x *target.ExportConfig) { x.Sectors = 6000 })
	}
	a.announce()
	if e := w.wait(Grown); e.Old != 4000*512 || e.New != 6000*512 || d.Size() != e.New {
		t.Errorf("%+v, size %d", e, d.Size())
	}
	if _, err := d.WriteAt(make([]byte, 512), 5999*512); err != nil {
		t.Error(err)
	}
	for _, n := range []*node{a, b} {
		n.change(func(x *target.ExportConfig) { x.Sectors = 3000 })
	}
	if err := d.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	if e := w.wait(Shrunk); e.Old != 6000*512 || e.New != 3000*512 || d.Size() != e.New {
		t.Errorf("%+v, size %d", e, d.Size())
	}
	if _, err := d.WriteAt(make([]byte, 512), 3000*512); !errors.Is(err, ErrRange) {
		t.Errorf("a write behind the end: %v", err)
	}
	for _, p := range d.Paths() {
		if p.State != Up {
			t.Errorf("%+v", p)
		}
	}
}

// TestShrinks: a target that shrinks without a word is found out when it refuses a range.
func TestShrinks(t *testing.T) {
	w, a, b, links := pair(t, 1500)
	d := w.open(Options{}, quick(Options{}), links...)
	for _, n := range []*node{a, b} {
		n.change(func(x *target.ExportConfig) { x.Sectors = 100 })
	}
	buf := make([]byte, 1024)
	if _, err := d.ReadAt(buf, 99*512); !errors.Is(err, ErrRange) {
		t.Errorf("a read across the new end: %v", err)
	}
	if e := w.wait(Shrunk); e.New != 100*512 {
		t.Errorf("%+v", e)
	}
	if n, err := d.ReadAt(buf, 99*512); n != 512 || err == nil {
		t.Errorf("%d, %v", n, err)
	}
}

// TestModelChanged: a disk in use that gets another name is still the same disk.
func TestModelChanged(t *testing.T) {
	w, a, b, links := pair(t, 1500)
	d := w.open(Options{}, quick(Options{}), links...)
	for _, n := range []*node{a, b} {
		n.change(func(x *target.ExportConfig) { x.Model = "renamed" })
	}
	a.announce()
	w.until("the new name", func() bool { return d.Identity().Model == "renamed" })
	if _, err := d.ReadAt(make([]byte, 512), 0); err != nil {
		t.Error(err)
	}
	for _, p := range d.Paths() {
		if p.State != Up {
			t.Errorf("%+v", p)
		}
	}
}

// TestFlood: made-up announcements cost neither memory nor paths.
func TestFlood(t *testing.T) {
	w, a, _, links := pair(t, 1500)
	d := w.open(Options{}, quick(Options{}), links...)
	b := make([]byte, aoe.MinFrame)
	for i := range 2000 {
		h := aoe.Header{Dst: aoe.Broadcast, Src: aoe.MAC{2, 1, 0, 0, byte(i >> 8), byte(i)}, Version: aoe.Version, Flags: aoe.FlagResponse, Addr: addr, Cmd: aoe.CmdConfig}
		_, _ = h.Encode(b)
		_, _ = (&aoe.Config{BufferCount: 16, Sectors: 2, Version: aoe.Version}).Encode(b)
		links[0].(*mem.Link).Put(b, false, 0)
	}
	want := bytes.Repeat([]byte{9}, 1024)
	for i := range 200 {
		if _, err := d.WriteAt(want, int64(i)*1024); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(d.Paths()); n > maxPaths {
		t.Errorf("%d paths", n)
	}
	up := 0
	for _, p := range d.Paths() {
		if p.State == Up {
			up++
		}
	}
	if up != 2 {
		t.Errorf("%d paths are up", up)
	}
	_ = a
}

// TestTwoTargetsOneWire: Options.Targets chooses.
func TestTwoTargetsOneWire(t *testing.T) {
	w := newWorld(t, 4000)
	net := mem.NewNet(mem.Options{Seed: 1, Auto: true})
	w.serve(net, aoe.MAC{2, 0, 0, 0, 0, 0xaa}, 1500, target.ExportConfig{})
	b := w.serve(net, aoe.MAC{2, 0, 0, 0, 0, 0xbb}, 1500, target.ExportConfig{})
	d := w.open(Options{}, quick(Options{}), net.Open("h0", iMAC, 1500))
	if n := len(d.Paths()); n != 2 {
		t.Errorf("%d paths, want both targets", n)
	}
	only := w.open(Options{Targets: []aoe.MAC{b.mac}}, quick(Options{}), net.Open("h1", aoe.MAC{2, 0, 0, 0, 0, 3}, 1500))
	if p := only.Paths(); len(p) != 1 || p[0].MAC != b.mac {
		t.Errorf("%+v", p)
	}
}

var _ link.Link = (*mem.Link)(nil)
