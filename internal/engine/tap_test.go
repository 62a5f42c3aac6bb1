package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goaoe/aoe"
	"goaoe/internal/stats"
	"goaoe/internal/store/mem"
	"goaoe/internal/target"
)

// drain closes a tap and returns what it had, with data of its own.
func drain(t *testing.T, tap *Tap) []TapRecord {
	t.Helper()
	tap.Close()
	tap.Close()
	var recs []TapRecord
	err := tap.Read(context.Background(), func(r *TapRecord) error {
		c := *r
		c.Data = bytes.Clone(r.Data)
		recs = append(recs, c)
		return nil
	})
	if !errors.Is(err, ErrTapClosed) {
		t.Fatalf("Read of a closed tap: %v", err)
	}
	return recs
}

func newTap(t *testing.T, e *Engine, c TapConfig) *Tap {
	t.Helper()
	tap, err := e.NewTap(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tap.Close)
	return tap
}

// text is a record in short: direction, tag or "-", reason.
func text(r TapRecord) string {
	dir := "in"
	if r.Out {
		dir = "out"
	}
	tag := "-"
	if len(r.Data) >= 24 {
		tag = fmt.Sprint(tagOf(r.Data))
	}
	return fmt.Sprintf("%s %s %v", dir, tag, r.Drop)
}

func texts(recs []TapRecord) (s []string) {
	for _, r := range recs {
		s = append(s, text(r))
	}
	return s
}

// TestTapSees: frames in the order in which they came and went, with the reason of those that got no reply, as long as asked for.
func TestTapSees(t *testing.T) {
	w := newWatched(t, 8, 1)
	small, large := newTap(t, w.e, TapConfig{}), newTap(t, w.e, TapConfig{Snap: 4096})
	before := time.Now().UnixNano()
	read, write, bad := w.ata(e11, 0x24, 0, 2, nil), w.ata(e11, 0x34, 5, 2, sector(2, 7)), w.ata(aoe.Addr{Major: 5, Minor: 5}, 0x24, 0, 1, nil)
	w.send(read, write, bad, []byte{1, 2, 3})
	w.w.refuse = func(*linkMsg) error { return errors.New("no") }
	w.send(w.ata(e11, 0xec, 0, 1, nil))
	w.w.refuse = nil
	got := drain(t, large)
	want := []string{"in 1 none", "in 2 none", "in 3 address", "in - short", "out 1 none", "out 2 none", "in 4 none", "out 4 send"}
	if d := cmp.Diff(want, texts(got)); d != "" {
		t.Fatalf("records (-want +got):\n%s", d)
	}
	sent := w.w.take()
	if !bytes.Equal(got[0].Data, read) || !bytes.Equal(got[1].Data, write) || !bytes.Equal(got[4].Data, sent[0]) || !bytes.Equal(got[5].Data, sent[1]) {
		t.Error("the records do not hold the frames")
	}
	for i, r := range got {
		if r.Interface != "w" || r.Time < before || r.Time > time.Now().UnixNano() || r.Missed != 0 {
			t.Errorf("record %d: %+v", i, r)
		}
		if i > 0 && r.Time < got[i-1].Time && r.Out == got[i-1].Out {
			t.Errorf("record %d is older than the one before", i)
		}
	}
	for i, r := range drain(t, small) {
		if r.Length != got[i].Length || !bytes.Equal(r.Data, got[i].Data[:min(DefaultSnap, r.Length)]) {
			t.Errorf("record %d: %d of %d bytes, want the first %d of %d", i, len(r.Data), r.Length, DefaultSnap, got[i].Length)
		}
	}
	w.send(w.ata(e11, 0x24, 0, 2, nil))
	if n := len(drain(t, small)) + len(drain(t, large)); n != 0 {
		t.Errorf("%d records after Close", n)
	}
}

// TestTapOfMemory: data that leaves out of a store's own memory is not touched; its length is told.
func TestTapOfMemory(t *testing.T) {
	r := newRig(t, 1)
	x := r.export(e11, newStore(t, 64, nil), 4)
	r.serve(1500, x)
	tap := newTap(t, r.e, TapConfig{Snap: 2000})
	r.wires[0].put(r.ata(e11, 0x24, 0, 2, nil), 1)
	r.run()
	got := drain(t, tap)
	if x.Snapshot().Views != 1 || len(got) != 2 || got[1].Length != 36+1024 || len(got[1].Data) != 36 {
		t.Errorf("views %d, records %+v", x.Snapshot().Views, got)
	}
}

func TestTapFilter(t *testing.T) {
	e12 := aoe.Addr{Major: 1, Minor: 2}
	other := aoe.MAC{2, 0, 0, 0, 0, 9}
	for _, c := range []struct {
		name string
		cfg  TapConfig
		want []string
	}{
		{"everything", TapConfig{}, []string{"in 1 none", "in 2 none", "in 3 none", "in 4 none", "in - short", "out 1 none", "out 2 none", "out 3 none", "out 4 none", "out 4 none"}},
		{"export", TapConfig{Export: &e12}, []string{"in 2 none", "in 4 none", "out 2 none", "out 4 none"}},
		{"initiator", TapConfig{Initiator: other}, []string{"in 3 none", "out 3 none"}},
		{"both", TapConfig{Initiator: hostMAC, Export: &e11}, []string{"in 1 none", "in 4 none", "out 1 none", "out 4 none"}},
		{"interface", TapConfig{Interface: "w", Initiator: other}, []string{"in 3 none", "out 3 none"}},
		{"other interface", TapConfig{Interface: "w2"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWatched(t, 8, 0)
			y := w.export(e12, newStore(t, 64, mem.NewControl(1)), 4)
			w.wires = append(w.wires, &wire{keep: true, fd: -1})
			w.w = w.wires[0]
			w.serve(1500, w.x, y)
			tap := newTap(t, w.e, c.cfg)
			foreign := w.ata(e11, 0x24, 2, 1, nil)
			foreign[11], foreign[23] = 9, 3
			w.tag = 0
			wild := query(aoe.Addr{Major: aoe.WildMajor, Minor: aoe.WildMinor})
			wild[23] = 4
			w.send(w.ata(e11, 0x24, 0, 1, nil), w.ata(e12, 0x24, 1, 1, nil), foreign, wild, []byte{1})
			got := texts(drain(t, tap))
			// Replies without storage leave before those that have to wait for it.
			slices.Sort(got)
			slices.Sort(c.want)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("records (-want +got):\n%s", d)
			}
		})
	}
}

// TestTapOverflow: without a reader the ring fills; what does not fit is counted, and told by the next record that does.
func TestTapOverflow(t *testing.T) {
	w := newWatched(t, 8, 1)
	tap := newTap(t, w.e, TapConfig{Snap: MaxSnap})
	size := len(tap.rings[0].recs)
	if size != tapLeast {
		t.Fatalf("a ring for whole frames has %d records", size)
	}
	const extra = 5
	for range size + extra {
		w.send([]byte{1, 2, 3})
	}
	if n := tap.Lost(); n != extra {
		t.Errorf("lost %d, want %d", n, extra)
	}
	stop := errors.New("enough")
	for range 2 {
		if err := tap.Read(context.Background(), func(*TapRecord) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("Read: %v, want what the function returned", err)
		}
	}
	w.send([]byte{1, 2}, []byte{1, 2, 3})
	recs := drain(t, tap)
	if len(recs) != size {
		t.Fatalf("%d records, want %d", len(recs), size)
	}
	for i, r := range recs {
		if first := i == size-2; first && (r.Missed != extra || r.Length != 2) || !first && (r.Missed != 0 || r.Length != 3) {
			t.Errorf("record %d: %+v", i, r)
		}
	}
}

// TestTapOfLateDrops: a request that is given up after it was taken in.
func TestTapOfLateDrops(t *testing.T) {
	w := newWatched(t, 1, 1)
	w.e.opts.RequestAge = 10 * time.Millisecond
	tap := newTap(t, w.e, TapConfig{})
	w.ctl.HoldAll(true)
	w.send(w.ata(e11, 0x24, 3, 1, nil), w.ata(e11, 0x34, 4, 2, sector(2, 1)))
	time.Sleep(20 * time.Millisecond)
	w.send(query(e11))
	w.ctl.HoldAll(false)
	w.ctl.Release(-1)
	w.run()
	recs := drain(t, tap)
	want := []string{"in 1 none", "in 2 none", "in 0 none", "out 0 none", "in 2 stale", "out 1 none"}
	if d := cmp.Diff(want, texts(recs)); d != "" {
		t.Fatalf("records (-want +got):\n%s", d)
	}
	if r := recs[4]; r.Length != 36+1024 || len(r.Data) != 36 {
		t.Errorf("the dropped write has %d of %d bytes", len(r.Data), r.Length)
	}
}

func TestTapLimits(t *testing.T) {
	w := newWatched(t, 8, 1)
	for _, snap := range []int{-1, MaxSnap + 1} {
		if _, err := w.e.NewTap(TapConfig{Snap: snap}); err == nil {
			t.Errorf("snap %d was taken", snap)
		}
	}
	var taps []*Tap
	for range MaxTaps {
		taps = append(taps, newTap(t, w.e, TapConfig{Snap: 4096}))
	}
	if _, err := w.e.NewTap(TapConfig{}); err == nil {
		t.Error("one tap too many was made")
	}
	w.send(w.ata(e11, 0x24, 0, 1, nil))
	for i, tap := range taps {
		if n := len(drain(t, tap)); n != 2 {
			t.Errorf("tap %d has %d records, want 2", i, n)
		}
	}
	if w.l.taps.Load() != nil {
		t.Error("the lane has taps after the last was closed")
	}
	tap := newTap(t, w.e, TapConfig{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := tap.Read(ctx, func(*TapRecord) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Read with an ended context: %v", err)
	}
}

// TestTapOfInjected: what is sent outside of the lanes is seen, too.
func TestTapOfInjected(t *testing.T) {
	w := newWatched(t, 8, 0)
	e, err := New(Options{Slow: func(SlowRequest) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Stop(context.Background()) }()
	p, err := e.AddPort(PortConfig{Name: "eth7", Links: []linkLink{&wire{fd: -1}}, Ingress: target.Ingress{MAC: targetMAC, MTU: 1500}})
	if err != nil {
		t.Fatal(err)
	}
	tap := newTap(t, e, TapConfig{Export: &e11})
	f := w.ata(e11, 0xec, 0, 1, nil)
	if err := errors.Join(p.Inject(f), p.Inject(w.ata(aoe.Addr{Major: 3}, 0xec, 0, 1, nil))); err != nil {
		t.Fatal(err)
	}
	recs := drain(t, tap)
	if len(recs) != 1 || !recs[0].Out || recs[0].Interface != "eth7" || !bytes.Equal(recs[0].Data, f) || recs[0].Drop != stats.NoDrop {
		t.Errorf("records %+v", recs)
	}
}
