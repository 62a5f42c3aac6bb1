package engine

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/stats"
	"goaoe/internal/store"
	"goaoe/internal/store/mem"
	"goaoe/internal/target"
)

// watched is a rig with one export of 64 sectors on a store that a test controls.
type watched struct {
	*rig
	ctl *mem.Control
	x   *Export
	w   *wire
}

func newWatched(t *testing.T, queue, wires int) *watched {
	t.Helper()
	w := &watched{rig: newRig(t, wires), ctl: mem.NewControl(1)}
	w.x = w.export(e11, newStore(t, 64, w.ctl), queue)
	if wires > 0 {
		w.serve(1500, w.x)
		w.w = w.wires[0]
	}
	return w
}

// send hands frames to the lane, as having arrived now, and lets it work.
func (w *watched) send(frames ...[]byte) {
	for _, f := range frames {
		w.w.put(f, time.Now().UnixNano())
	}
	w.run()
}

// initiator returns what the lane counted for the host and an address.
func (w *watched) initiator(a aoe.Addr) stats.InitiatorSnapshot {
	w.t.Helper()
	for _, i := range w.e.Initiators() {
		if i.Addr == a && !i.Others && i.MAC == hostMAC.String() {
			return i.InitiatorSnapshot
		}
	}
	w.t.Fatalf("%v does not know the initiator", a)
	return stats.InitiatorSnapshot{}
}

// bare takes out of a snapshot what depends on time.
func bare(s stats.ExportSnapshot) stats.ExportSnapshot {
	for _, h := range []*stats.HistogramSnapshot{&s.Latency.Read, &s.Latency.Write, &s.Latency.Flush, &s.Latency.Other} {
		h.SumNs, h.Buckets = 0, nil
	}
	return s
}

func query(a aoe.Addr) []byte {
	f := make([]byte, 32)
	copy(f[0:], targetMAC[:])
	copy(f[6:], hostMAC[:])
	f[12], f[13], f[14], f[16], f[17], f[18], f[19] = 0x88, 0xa2, 0x10, byte(a.Major>>8), byte(a.Major), a.Minor, 1
	return f
}

// TestCountsOfAnExport: each kind of request is counted where it belongs, for the export and for who sent it.
func TestCountsOfAnExport(t *testing.T) {
	w := newWatched(t, 8, 1)
	before := time.Now()
	trim := w.ata(e11, 0x06, 0, 1, make([]byte, 512))
	trim[24], trim[25] = 0x41, 1
	trim[36], trim[42] = 3, 2
	set := append(query(e11), 'x')
	set[29], set[31] = 3, 1 // "set config string" to one byte: changes state
	w.send(w.ata(e11, 0x24, 0, 2, nil), w.ata(e11, 0x24, 9, 1, nil), w.ata(e11, 0x34, 4, 1, sector(1, 1)), w.ata(e11, 0xe7, 0, 0, nil), trim,
		w.ata(e11, 0xec, 0, 1, nil), query(e11), w.ata(e11, 0x24, 64, 1, nil), set)
	if len(w.slow) != 1 {
		t.Fatalf("%d requests on the slow path", len(w.slow))
	}
	got := w.x.Snapshot()
	want := stats.ExportSnapshot{
		Reads: 2, ReadBytes: 3 * 512, Writes: 1, WriteBytes: 512, Flushes: 1, Discards: 1, Others: 2, Slow: 1, Limit: 8,
		Rejects: 1, RejectKinds: stats.Counts{"range": 1},
		Storage: stats.StoreSnapshot{Ops: 5},
	}
	want.Latency.Read.Count, want.Latency.Write.Count, want.Latency.Flush.Count, want.Latency.Other.Count = 2, 1, 2, 3
	b := bare(got)
	b.Waits, b.Storage.Batches = 0, 0 // a discard is in order with everything
	if d := cmp.Diff(want, b); d != "" {
		t.Errorf("export (-want +got):\n%s", d)
	}
	if n := got.Storage.Batches; n < 1 || n > 3 {
		t.Errorf("%d batches for 5 operations that came at once", n)
	}
	i := w.initiator(e11)
	if i.FirstSeen.Before(before) || i.LastSeen.Before(before) || i.LastATA.Before(before) {
		t.Errorf("times %v %v %v", i.FirstSeen, i.LastSeen, i.LastATA)
	}
	if i.BusyNs != got.Latency.Read.SumNs+got.Latency.Write.SumNs+got.Latency.Flush.SumNs || i.BusyNs == 0 || got.Busy() != time.Duration(i.BusyNs) {
		t.Errorf("busy for %d ns, the export's latencies are %+v", i.BusyNs, got.Latency)
	}
	i.FirstSeen, i.LastSeen, i.LastATA, i.BusyNs = time.Time{}, time.Time{}, time.Time{}, 0
	wantI := stats.InitiatorSnapshot{
		MAC: hostMAC.String(), Requests: 9, Reads: 2, ReadBytes: 3 * 512, Writes: 1, WriteBytes: 512, Rejects: 1,
	}
	if d := cmp.Diff(wantI, i); d != "" {
		t.Errorf("initiator (-want +got):\n%s", d)
	}
}

// TestLatency: it counts from the kernel's time stamp until the reply is sent, through waiting and storage.
func TestLatency(t *testing.T) {
	w := newWatched(t, 8, 1)
	const ago = 50 * time.Millisecond
	check := func(name string, h stats.HistogramSnapshot, least, most time.Duration) {
		t.Helper()
		if h.Count != 1 || h.SumNs < uint64(least) || h.SumNs > uint64(most) || h.Quantile(0.5) < int64(least) {
			t.Errorf("%s took %v, want one of %v to %v", name, h, least, most)
		}
	}
	w.w.put(w.ata(e11, 0x24, 0, 1, nil), time.Now().Add(-ago).UnixNano())
	w.run()
	w.w.put(w.ata(e11, 0xec, 0, 1, nil), time.Now().Add(-ago).UnixNano())
	w.run()
	w.w.put(w.ata(e11, 0xe7, 0, 1, nil), time.Now().Add(time.Hour).UnixNano()) // the clock was set back: counts as now
	w.run()
	w.ctl.HoldAll(true)
	w.w.put(w.ata(e11, 0x34, 0, 1, sector(1, 1)), 0) // no time stamp: counts as now
	w.run()
	if n := w.x.Snapshot().Latency.Write.Count; n != 0 {
		t.Errorf("a write on the store has a latency already: %d", n)
	}
	time.Sleep(2 * time.Millisecond)
	w.ctl.Release(-1)
	w.run()
	l := w.x.Snapshot().Latency
	check("read", l.Read, ago, ago+5*time.Second)
	check("identify", l.Other, ago, ago+5*time.Second)
	check("flush", l.Flush, 1, 5*time.Second)
	check("write", l.Write, 2*time.Millisecond, 5*time.Second)
}

// TestQueueGauges: what is in flight and what waits is told while it is so, and for what.
func TestQueueGauges(t *testing.T) {
	w := newWatched(t, 2, 1)
	w.ctl.HoldAll(true)
	w.send(w.ata(e11, 0x24, 0, 1, nil), w.ata(e11, 0x24, 1, 1, nil), w.ata(e11, 0x24, 2, 1, nil), w.ata(e11, 0x24, 3, 1, nil),
		w.ata(e11, 0x34, 1, 1, sector(1, 1)))
	s, i, l := w.x.Snapshot(), w.initiator(e11), w.e.LaneSnapshots()[0]
	if s.InFlight != 2 || s.Queued != 3 || s.Stalls != 2 || s.Waits != 1 || s.Limit != 2 {
		t.Errorf("in flight %d queued %d stalls %d waits %d limit %d, want 2 3 2 1 2", s.InFlight, s.Queued, s.Stalls, s.Waits, s.Limit)
	}
	if i.InFlight != 5 || l.SlotsUsed != 5 || l.Slots != uint64(len(w.l.slots.slots)) {
		t.Errorf("the initiator has %d in flight, the lane %d of %d", i.InFlight, l.SlotsUsed, l.Slots)
	}
	w.ctl.HoldAll(false)
	w.ctl.Release(-1)
	w.run()
	s, i, l = w.x.Snapshot(), w.initiator(e11), w.e.LaneSnapshots()[0]
	if s.InFlight != 0 || s.Queued != 0 || i.InFlight != 0 || l.SlotsUsed != 0 || s.Reads != 4 || s.Writes != 1 {
		t.Errorf("in flight %d queued %d initiator %d lane %d after all was done: %+v", s.InFlight, s.Queued, i.InFlight, l.SlotsUsed, s)
	}
	w.l.setQueueLength(w.x, 5)
	if n := w.x.Snapshot().Limit; n != 5 {
		t.Errorf("limit %d after it was set to 5", n)
	}
}

// TestRetransmits: what is told from a new request, and what cannot be.
func TestRetransmits(t *testing.T) {
	w := newWatched(t, 8, 1)
	tag := func(f []byte, n byte) []byte { f[20], f[21], f[22], f[23] = 9, 9, 9, n; return f }
	read := func(lba uint64, n byte) []byte { return tag(w.ata(e11, 0x24, lba, 1, nil), n) }
	check := func(what string, want uint64) {
		t.Helper()
		if s, i := w.x.Snapshot(), w.initiator(e11); s.Retransmits != want || i.Retransmits != want {
			t.Errorf("%s: export %d, initiator %d retransmissions, want %d", what, s.Retransmits, i.Retransmits, want)
		}
	}
	w.send(read(1, 1), read(1, 2))
	check("new tag in the same batch, the first is not answered", 1)
	w.send(read(1, 3))
	check("new tag after the reply: may be a new read", 1)
	w.send(read(1, 3))
	check("same tag after the reply", 2)
	w.ctl.HoldAll(true)
	w.send(read(1, 90))
	w.send(read(1, 91))
	check("new tag while one that follows an answered one is on the store", 3)
	w.ctl.Release(-1)
	w.run()
	w.send(read(2, 4))
	w.send(read(3, 5))
	check("other sectors", 3)
	w.send(read(2, 6))
	check("new tag while the first is on the store", 4)
	other := read(2, 7)
	other[11] = 99
	w.send(other)
	check("the same sectors for another initiator", 4)
	w.send(tag(w.ata(e11, 0x34, 2, 1, sector(1, 1)), 8))
	check("a write of the same sectors", 4)
	again := tag(w.ata(e11, 0x34, 2, 1, sector(1, 1)), 9)
	w.send(again)
	check("a write that is repeated while it waits", 5)
	if n := w.x.Snapshot().Drops["duplicate"]; n != 1 {
		t.Errorf("%d duplicates dropped, want the repeated write", n)
	}
	w.ctl.HoldAll(false)
	w.ctl.Release(-1)
	w.run()
	w.send(read(2, 10))
	check("new tag after all was answered", 5)
}

// TestErrorsOfAnInitiator: failed storage is counted by kind, for the export and for who asked.
func TestErrorsOfAnInitiator(t *testing.T) {
	for _, c := range []struct {
		errno unix.Errno
		kind  string
	}{{unix.EIO, "media"}, {unix.ENOSPC, "no-space"}, {unix.ENODEV, "gone"}, {unix.EROFS, "read-only"}} {
		w := newWatched(t, 8, 1)
		w.ctl.Fail(store.Write, 0, 512, c.errno, 1)
		w.send(w.ata(e11, 0x34, 0, 1, sector(1, 1)))
		s, i := w.x.Snapshot(), w.initiator(e11)
		if s.Errors != 1 || s.ErrorKinds[c.kind] != 1 || i.Errors != 1 || s.Writes != 0 || i.Writes != 0 || s.Latency.Write.Count != 1 {
			t.Errorf("%v: errors %d %v, of the initiator %d, writes %d %d, latencies %d", c.errno, s.Errors, s.ErrorKinds, i.Errors, s.Writes, i.Writes,
				s.Latency.Write.Count)
		}
	}
}

// TestNoMemory: that the machine has no memory is no fault of the disk, and no error for the initiator: it gets no answer, asks again,
// and is served then. What waited for the request goes on.
func TestNoMemory(t *testing.T) {
	w := newWatched(t, 8, 1)
	w.ctl.Fail(store.Write, 0, 512, unix.ENOMEM, 1)
	write := w.ata(e11, 0x34, 0, 1, sector(1, 1))
	read := w.ata(e11, 0x24, 0, 1, nil)
	read[23] = 2 // another tag
	w.send(write, read)
	s, i := w.x.Snapshot(), w.initiator(e11)
	if n := len(w.w.take()); n != 1 || s.Errors != 0 || i.Errors != 0 || s.Drops["memory"] != 1 || i.Drops != 1 || s.Writes != 0 || s.Reads != 1 {
		t.Errorf("%d replies, errors %d %d, drops %v %d, writes %d, reads %d", n, s.Errors, i.Errors, s.Drops, i.Drops, s.Writes, s.Reads)
	}
	if s.InFlight != 0 || s.Queued != 0 {
		t.Errorf("%d on the store, %d queued", s.InFlight, s.Queued)
	}
	w.send(write)
	if s, n := w.x.Snapshot(), len(w.w.take()); n != 1 || s.Writes != 1 {
		t.Errorf("asked again: %d replies, %d writes", n, s.Writes)
	}
}

// TestDenied: refusals by lists and reservations are counted for who was refused, whether there is a reply or silence.
func TestDenied(t *testing.T) {
	nobody := target.NewACL(nil, false)
	other := []aoe.MAC{{2, 0, 0, 0, 0, 9}}
	for _, c := range []struct {
		name   string
		access target.Access
		state  target.State
		frames func(w *watched) [][]byte
		want   stats.InitiatorSnapshot
		kinds  stats.Counts
		drops  stats.Counts
	}{
		{"list for everything", target.Access{All: nobody}, target.State{},
			func(w *watched) [][]byte { return [][]byte{w.ata(e11, 0x24, 0, 1, nil), query(e11)} },
			stats.InitiatorSnapshot{Requests: 2, Denied: 2, Drops: 2}, nil, stats.Counts{"access": 2}},
		{"mask", target.Access{}, target.State{Mask: other},
			func(w *watched) [][]byte { return [][]byte{w.ata(e11, 0x24, 0, 1, nil)} },
			stats.InitiatorSnapshot{Requests: 1, Denied: 1, Drops: 1}, nil, stats.Counts{"mask": 1}},
		{"reads and writes", target.Access{Read: nobody, Write: nobody}, target.State{},
			func(w *watched) [][]byte {
				return [][]byte{w.ata(e11, 0x24, 0, 1, nil), w.ata(e11, 0x34, 0, 1, sector(1, 1)), w.ata(e11, 0xec, 0, 1, nil)}
			},
			stats.InitiatorSnapshot{Requests: 3, Denied: 3, Rejects: 3}, stats.Counts{"access": 3}, nil},
		{"reservation", target.Access{}, target.State{Reserve: other},
			func(w *watched) [][]byte { return [][]byte{w.ata(e11, 0x24, 0, 1, nil)} },
			stats.InitiatorSnapshot{Requests: 1, Denied: 1, Rejects: 1}, stats.Counts{"reserved": 1}, nil},
		{"not denied, but refused", target.Access{}, target.State{},
			func(w *watched) [][]byte { return [][]byte{w.ata(e11, 0x24, 0, 0, nil), w.ata(e11, 0xf3, 0, 0, nil)} },
			stats.InitiatorSnapshot{Requests: 2, Rejects: 2}, stats.Counts{"argument": 1, "command": 1}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWatched(t, 8, 1)
			w.x.Target.SetAccess(c.access)
			w.x.Target.SetState(&c.state)
			w.send(c.frames(w)...)
			i := w.initiator(e11)
			if !i.LastATA.IsZero() {
				t.Error("refused, and yet counted as a user")
			}
			i.MAC, i.FirstSeen, i.LastSeen = "", time.Time{}, time.Time{}
			if d := cmp.Diff(c.want, i); d != "" {
				t.Errorf("initiator (-want +got):\n%s", d)
			}
			s := w.x.Snapshot()
			if d := cmp.Diff([]stats.Counts{c.kinds, c.drops}, []stats.Counts{s.RejectKinds, s.Drops}); d != "" {
				t.Errorf("export: refusals and drops (-want +got):\n%s", d)
			}
		})
	}
}

// TestReadOnlyIsToldFromAccess: both are ABRT on the wire.
func TestReadOnlyIsToldFromAccess(t *testing.T) {
	w := newWatched(t, 8, 1)
	w.x.Target.SetReadOnly(true)
	w.send(w.ata(e11, 0x34, 0, 1, sector(1, 1)))
	if s, i := w.x.Snapshot(), w.initiator(e11); s.RejectKinds["read-only"] != 1 || i.Denied != 0 || i.Rejects != 1 {
		t.Errorf("refusals %v, of the initiator %d, denied %d", s.RejectKinds, i.Rejects, i.Denied)
	}
}

// TestWildcardQueries: one to all exports is one request of its sender, under the wildcard, and one of each export.
func TestWildcardQueries(t *testing.T) {
	r := newRig(t, 1)
	w := &watched{rig: r, w: r.wires[0]}
	var xs []*Export
	for i := range 3 {
		xs = append(xs, r.export(aoe.Addr{Major: 1, Minor: uint8(i)}, newStore(t, 16, nil), 2))
	}
	r.serve(1500, xs...)
	xs[1].Target.SetAccess(target.Access{All: target.NewACL(nil, false)})
	all := aoe.Addr{Major: aoe.WildMajor, Minor: aoe.WildMinor}
	w.send(query(all))
	if i := w.initiator(all); i.Requests != 1 || i.Drops != 0 || i.Denied != 0 {
		t.Errorf("a query that two of three answer: %+v", i)
	}
	for n, x := range xs {
		want := stats.ExportSnapshot{Limit: 2, Others: 1}
		want.Latency.Other.Count = 1
		if n == 1 {
			want = stats.ExportSnapshot{Limit: 2, Drops: stats.Counts{"access": 1}}
		}
		if d := cmp.Diff(want, bare(x.Snapshot())); d != "" {
			t.Errorf("export %d (-want +got):\n%s", n, d)
		}
	}
	if n := len(r.e.Initiators()); n != 1 {
		t.Errorf("%d entries for one wildcard query, want 1", n)
	}
	for _, x := range xs {
		x.Target.SetAccess(target.Access{All: target.NewACL(nil, false)})
	}
	w.send(query(all))
	if i := w.initiator(all); i.Requests != 2 || i.Drops != 1 || i.Denied != 1 {
		t.Errorf("a query that nobody may see: %+v", i)
	}
}

// TestDropsOfAnInitiator: requests that get no reply for reasons of the engine.
func TestDropsOfAnInitiator(t *testing.T) {
	w := newWatched(t, 1, 1)
	w.e.opts.RequestAge = time.Second
	w.w.put(w.ata(e11, 0x24, 0, 1, nil), time.Now().Add(-2*time.Second).UnixNano())
	w.run()
	w.w.down = true
	w.send(w.ata(e11, 0x24, 0, 1, nil))
	w.w.down = false
	w.w.refuse = func(*linkMsg) error { return unix.EIO }
	w.send(w.ata(e11, 0x24, 1, 1, nil))
	w.w.refuse = nil
	if i := w.initiator(e11); i.Requests != 3 || i.Drops != 3 {
		t.Errorf("%d requests, %d drops, want 3: too old, interface down, refused by the link", i.Requests, i.Drops)
	}
	if s := w.x.Snapshot(); s.Drops["stale"] != 1 || s.Latency.Read.Count != 0 {
		t.Errorf("drops %v, %d latencies of requests without a reply", s.Drops, s.Latency.Read.Count)
	}
	w.e.opts.RequestAge = 10 * time.Millisecond
	w.ctl.HoldAll(true)
	w.send(w.ata(e11, 0x24, 3, 1, nil), w.ata(e11, 0x24, 4, 1, nil)) // the second waits for room on the store, and gets too old there
	time.Sleep(20 * time.Millisecond)
	w.send(query(e11)) // the time is taken with frames
	w.ctl.HoldAll(false)
	w.ctl.Release(-1)
	w.run()
	if i, s := w.initiator(e11), w.x.Snapshot(); i.Drops != 4 || s.Drops["stale"] != 2 || i.InFlight != 0 {
		t.Errorf("drops %d, of the export %v, in flight %d; want one more", i.Drops, s.Drops, i.InFlight)
	}
	p := w.l.ports[0].port.Snapshot()
	if p.Drops["stale"] != 2 || p.Drops["send"] != 2 || p.TxErrors != 2 {
		t.Errorf("interface: %+v", p)
	}
	w.x.Target.SetAccess(target.Access{})
	w.l.exports[w.x.Target.ID].closing = true
	w.send(w.ata(e11, 0x24, 0, 1, nil))
	w.l.exports[w.x.Target.ID].closing = false
	if i := w.initiator(e11); i.Drops != 5 {
		t.Errorf("drops %d after a request to an export that goes", i.Drops)
	}
}

// TestCountsOfAPort: frames, bytes, batches, and a full send queue.
func TestCountsOfAPort(t *testing.T) {
	w := newWatched(t, 8, 1)
	w.w.full = 2
	w.send(w.ata(e11, 0x24, 0, 2, nil), w.ata(e11, 0x34, 8, 1, sector(1, 1)), []byte{1, 2, 3})
	for w.l.ports[0].n > 0 {
		w.run()
	}
	w.send(w.ata(aoe.Addr{Major: 7, Minor: 7}, 0x24, 0, 1, nil))
	got := w.l.ports[0].port.Snapshot()
	want := stats.PortSnapshot{
		RxFrames: 4, RxBytes: 36 + 36 + 512 + 3 + 36, RxBatches: 2, TxFrames: 2, TxBytes: 36 + 1024 + 60, TxBatches: 1, TxFull: 2,
		Drops: stats.Counts{"short": 1, "address": 1},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("interface (-want +got):\n%s", d)
	}
	if n := len(w.e.Initiators()); n != 1 {
		t.Errorf("%d initiators; one that asks for what is not here has no entry", n)
	}
}

// TestInterfaceOfAnInitiator: the one that its latest request came in by.
func TestInterfaceOfAnInitiator(t *testing.T) {
	w := newWatched(t, 8, 2)
	for i, p := range w.l.ports {
		p.port.id = w.e.name([]string{"eth7", "eth8"}[i])
	}
	for i, want := range []string{"eth7", "eth8", "eth7"} {
		w.w = w.wires[i%2]
		w.send(w.ata(e11, 0x24, uint64(i), 1, nil))
		if got := w.initiator(e11).Interface; got != want {
			t.Errorf("request %d: on %q, want %s", i, got, want)
		}
	}
	now := time.Now().UnixNano()
	w.wires[0].put(w.ata(e11, 0x24, 9, 1, nil), now)
	w.wires[1].put(w.ata(e11, 0x24, 10, 1, nil), now+1)
	w.run()
	if got := w.initiator(e11).Interface; got != "eth8" {
		t.Errorf("of two requests in one turn the later came by eth8, and the interface is %q", got)
	}
}

// TestInitiatorsOfABatch: each request counts where it belongs, also when several of different kinds come in one turn.
func TestInitiatorsOfABatch(t *testing.T) {
	w := newWatched(t, 8, 0)
	e12 := aoe.Addr{Major: 1, Minor: 2}
	y := w.export(e12, newStore(t, 64, nil), 8)
	w.wires = append(w.wires, &wire{keep: true, fd: -1})
	w.w = w.wires[0]
	w.serve(1500, w.x, y)
	foreign := w.ata(e12, 0x24, 2, 1, nil)
	foreign[11] = 99
	w.send(w.ata(e11, 0x24, 0, 1, nil), w.ata(e12, 0x24, 0, 1, nil), w.ata(e12, 0x24, 1, 1, nil), foreign)
	if n := len(w.e.Initiators()); n != 3 {
		t.Errorf("%d entries for two initiators, one of which used two exports", n)
	}
	first, second := w.initiator(e11), w.initiator(e12)
	if first.Requests != 1 || second.Requests != 2 || first.Reads != 1 || second.Reads != 2 {
		t.Errorf("requests %d and %d, reads %d and %d, want 1 and 2", first.Requests, second.Requests, first.Reads, second.Reads)
	}
	time.Sleep(time.Millisecond)
	w.send(w.ata(e12, 0xec, 0, 1, nil))
	if i := w.initiator(e12); !i.LastSeen.After(second.LastSeen) || !i.LastATA.After(second.LastATA) {
		t.Errorf("seen %v and %v, before %v and %v", i.LastSeen, i.LastATA, second.LastSeen, second.LastATA)
	}
	before := w.initiator(e12)
	time.Sleep(time.Millisecond)
	w.send(query(e12))
	if i := w.initiator(e12); !i.LastSeen.After(before.LastSeen) || !i.LastATA.Equal(before.LastATA) {
		t.Errorf("a config query is no use of the disk: seen %v and %v, before %v and %v", i.LastSeen, i.LastATA, before.LastSeen, before.LastATA)
	}
}

// TestRingDrops: what the kernel lost stays known after the link was closed.
func TestRingDrops(t *testing.T) {
	p := newPort(PortConfig{Name: "eth7", Links: []link.Link{&wire{drops: 3}, &wire{drops: 4}}})
	for _, when := range []string{"open", "closed"} {
		if n := p.Snapshot().KernelDrops; n != 7 {
			t.Errorf("%s: %d drops, want 7", when, n)
		}
		if err := p.close(); err != nil {
			t.Fatal(err)
		}
		p.links[0].(*wire).drops = 0
	}
}

// syncing is a store whose channel counts, as that of files does.
type syncing struct {
	*mem.Store
	to **stats.Store
}

type syncingChannel struct {
	store.Channel
	to **stats.Store
}

func (s syncing) Channel(set *store.Set) (store.Channel, error) {
	c, err := s.Store.Channel(set)
	return syncingChannel{c, s.to}, err
}

func (c syncingChannel) CountTo(s *stats.Store) { *c.to = s }

// TestSyncsOfTheStore: what the store counts shows in the export.
func TestSyncsOfTheStore(t *testing.T) {
	r := newRig(t, 1)
	te, err := target.NewExport(target.ExportConfig{Addr: e11, Sectors: 64})
	if err != nil {
		t.Fatal(err)
	}
	var to *stats.Store
	x := &Export{Target: te, Store: syncing{newStore(t, 64, nil), &to}, QueueLength: 4}
	if err := r.l.addExport(x); err != nil {
		t.Fatal(err)
	}
	to.Syncs.Add(2)
	to.SyncWrites.Add(5)
	if s := x.Snapshot().Storage; s.Syncs != 2 || s.SyncWrites != 5 {
		t.Errorf("syncs %d of %d writes, want 2 of 5", s.Syncs, s.SyncWrites)
	}
}
