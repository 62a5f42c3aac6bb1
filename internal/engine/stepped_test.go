package engine

import (
	"context"
	"strings"
	"testing"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/store/mem"
	"goaoe/internal/target"
)

// TestStepped drives an engine without threads through a request that hangs, the removal of its export, a kill and a stop.
func TestStepped(t *testing.T) {
	var now int64 = 1e18
	e, err := NewStepped(Options{Lanes: 2, Slow: func(SlowRequest) bool { return false },
		Clock: func() (int64, int64) { return now, now - 1e18 }})
	if err != nil {
		t.Fatal(err)
	}
	ctl := mem.NewControl(1)
	addr := aoe.Addr{Major: 1, Minor: 0} // lane 1
	te, err := target.NewExport(target.ExportConfig{Addr: addr, Sectors: 64})
	if err != nil {
		t.Fatal(err)
	}
	x := &Export{Target: te, Store: newStore(t, 64, ctl), QueueLength: 4}
	if err := e.AddExport(x); err != nil {
		t.Fatal(err)
	}
	wires := []*wire{{keep: true, fd: -1}, {keep: true, fd: -1}}
	tab, err := target.NewTable([]*target.Export{te})
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.AddPort(PortConfig{Name: "w", Links: []link.Link{wires[0], wires[1]}, Table: tab,
		Ingress: target.Ingress{MAC: targetMAC, MTU: 1500}})
	if err != nil {
		t.Fatal(err)
	}
	run := func() {
		for e.Step(0) || e.Step(1) {
		}
		if err := e.Audit(); err != nil {
			t.Fatal(err)
		}
	}
	rig := &rig{t: t}
	ctl.HoldAll(true)
	wires[1].put(rig.ata(addr, 0x34, 5, 1, sector(1, 1)), now)
	wires[1].put(rig.ata(addr, 0x24, 5, 1, nil), now)
	run()
	now += 7000
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.SetTable(mustTable(t)); err != nil {
		t.Fatal(err)
	}
	if err := e.RemoveExport(ended, x); err == nil || !strings.Contains(err.Error(), "still in flight") {
		t.Fatalf("removed with a request on its storage: %v", err)
	}
	if err := e.Stop(ended); err == nil {
		t.Fatal("stopped with a request on its storage")
	}
	ctl.HoldAll(false)
	ctl.Release(-1)
	run()
	if err := e.RemoveExport(ended, x); err != nil {
		t.Fatal(err)
	}
	out := wires[1].take()
	if len(out) != 2 || tagOf(out[1]) != 2 || out[1][36] != 1 {
		t.Fatalf("%d replies, want that of the write and that of the read", len(out))
	}
	if ns := x.Snapshot().Latency; ns.Read.SumNs != 7000 || ns.Write.SumNs != 7000 {
		t.Fatalf("latencies %v and %v ns, want 7000 by the engine's own clock", ns.Read.SumNs, ns.Write.SumNs)
	}
	if err := e.Stop(ended); err != nil {
		t.Fatal(err)
	}
	e.Kill() // does nothing any more
	if e.Step(1) || e.AddExport(x) == nil {
		t.Fatal("an engine that was stopped works")
	}
}

func mustTable(t *testing.T, es ...*target.Export) *target.Table {
	t.Helper()
	tab, err := target.NewTable(es)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// TestAuditBites: what Audit is there to find.
func TestAuditBites(t *testing.T) {
	for what, spoil := range map[string]func(l *lane, x *laneExport){
		"leaked":          func(l *lane, x *laneExport) { l.slots.take(x); x.used-- },
		"counted as":      func(l *lane, x *laneExport) { x.waiting++ },
		"may run":         func(l *lane, x *laneExport) { x.queue = 8; l.slots.reserved += 6 },
		"overlap it":      func(l *lane, x *laneExport) { x.last.state = slotStore },
		"are reserved":    func(l *lane, x *laneExport) { l.slots.reserved++ },
		"free and in use": func(l *lane, x *laneExport) { l.slots.free.exp = x },
		"has a loop":      func(l *lane, x *laneExport) { l.slots.free.nextFree = l.slots.free },
		"no send queue": func(l *lane, x *laneExport) {
			l.slots.free.nextFree.state = slotReply
			l.slots.free.nextFree.exp = x
			l.slots.free.nextFree = nil
		},
		"another export":   func(l *lane, x *laneExport) { x.first.exp = nil },
		"in the order in ": func(l *lane, x *laneExport) { x.first.state = slotFree },
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, 1)
			ctl := mem.NewControl(1)
			x := r.export(e11, newStore(t, 64, ctl), 2)
			r.serve(1500, x)
			ctl.HoldAll(true)
			for i := range 3 {
				r.wires[0].put(alone(r.ata(e11, 0x24, uint64(i), 1, nil)), 1)
			}
			r.wires[0].put(alone(r.ata(e11, 0x34, 0, 1, sector(1, 1))), 1)
			r.run()
			if err := r.e.Audit(); err != nil {
				t.Fatal(err)
			}
			spoil(r.l, r.l.exports[0])
			if err := r.e.Audit(); err == nil || !strings.Contains(err.Error(), what) {
				t.Errorf("%v", err)
			}
			r.l.exports = nil
		})
	}
}
