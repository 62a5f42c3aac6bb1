package initiator

import (
	"testing"

	"goaoe/internal/link/mem"
	"goaoe/internal/target"
)

// TestHole: large frames stop passing while small ones do. I/O goes on with small ones, and with large ones again when they pass.
func TestHole(t *testing.T) {
	for name, dig := range map[string]func(n *node, size int){
		"both directions": func(n *node, size int) { n.hole = size },
		"to the target":   func(n *node, size int) { n.toHole = size },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 4000)
			net := mem.NewNet(mem.Options{Seed: 1, Auto: true})
			n := w.serve(net, tMAC, 9000, target.ExportConfig{})
			d := w.open(Options{}, quick(Options{}), net.Open("h0", iMAC, 9000))
			if d.FrameSectors() != 17 {
				t.Fatalf("%d sectors a frame", d.FrameSectors())
			}
			l := w.load(d, 4, 20)
			w.goesOn(l, "the start")
			w.set(func() { dig(n, 1514) })
			if e := w.wait(Reduced); e.Old != 17 || e.New != small || e.Path.Sectors != small {
				t.Errorf("%+v", e)
			}
			w.goesOn(l, "the hole")
			w.set(func() { dig(n, 5000) }) // a switch with another limit
			if e := w.wait(Raised); e.New != 8 {
				t.Errorf("%+v", e)
			}
			w.goesOn(l, "a larger hole")
			w.set(func() { dig(n, 0) })
			for w.wait(Raised).New != 17 { // a search that was under way may find less first
			}
			w.goesOn(l, "the end of the hole")
			l.stop()
			if s := d.path(0); s.Sectors != 17 || s.State != Up {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestHoleFromTheStart: what both ends say they can do is not believed.
func TestHoleFromTheStart(t *testing.T) {
	w := newWorld(t, 4000)
	net := mem.NewNet(mem.Options{Seed: 1, Auto: true})
	n := w.serve(net, tMAC, 9000, target.ExportConfig{})
	w.set(func() { n.hole = 1514 })
	d := w.open(Options{}, quick(Options{}), net.Open("h0", iMAC, 9000))
	if d.FrameSectors() != small {
		t.Fatalf("%d sectors a frame", d.FrameSectors())
	}
	if e := w.wait(Reduced); e.Old != 17 || e.New != small {
		t.Errorf("%+v", e)
	}
	l := w.load(d, 4, 20)
	w.goesOn(l, "the start")
	w.set(func() { n.hole = 0 })
	for w.wait(Raised).New != 17 { // a search that was under way may find less first
	}
	w.goesOn(l, "the end of the hole")
	l.stop()
}

// TestHoleOnOnePath: the other path keeps its large frames, and what fails over is cut as its new path needs it.
func TestHoleOnOnePath(t *testing.T) {
	w, a, b, links := pair(t, 9000)
	d := w.open(Options{}, quick(Options{}), links...)
	l := w.load(d, 8, 20)
	w.goesOn(l, "the start")
	w.set(func() { a.hole = 1514 })
	if e := w.wait(Reduced); e.Path.MAC != a.mac {
		t.Errorf("%+v", e)
	}
	w.goesOn(l, "the hole")
	if s := d.path(1).Sectors; s != 17 {
		t.Errorf("the other path has %d sectors", s)
	}
	w.set(func() { b.mute = true })
	w.wait(PathDown)
	w.goesOn(l, "failover to small frames")
	l.stop()
}

// TestPauseIsNoHole: a target that says nothing for a while is not one that loses large frames.
func TestPauseIsNoHole(t *testing.T) {
	w := newWorld(t, 4000)
	net := mem.NewNet(mem.Options{Seed: 1, Auto: true})
	n := w.serve(net, tMAC, 9000, target.ExportConfig{})
	tune := quick(Options{})
	d := w.open(Options{}, tune, net.Open("h0", iMAC, 9000))
	l := w.load(d, 4, 20)
	w.goesOn(l, "the start")
	for range 3 {
		w.set(func() { n.frozen = true })
		w.until("repetitions", func() bool { return d.Stats().Retransmits > 0 && d.path(0).Window == 1 })
		w.set(func() { n.frozen = false })
		w.goesOn(l, "a pause")
	}
	l.stop()
	if d.FrameSectors() != 17 {
		t.Errorf("%d sectors a frame after pauses", d.FrameSectors())
	}
}
