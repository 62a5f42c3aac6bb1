package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/internal/link"
	linkmem "goaoe/internal/link/mem"
	"goaoe/internal/stats"
	"goaoe/internal/target"
)

// served is an engine with two lanes on threads of their own, exports on both, one interface, and a host on the same wire.
type served struct {
	t    *testing.T
	e    *Engine
	net  *linkmem.Net
	host *linkmem.Link
	xs   []*Export
	port *Port
	rig  *rig // for its way to build frames
}

func newServed(t *testing.T) *served {
	t.Helper()
	s := &served{t: t, rig: &rig{t: t}, net: linkmem.NewNet(linkmem.Options{})}
	s.host = s.net.Open("host", hostMAC, 9000)
	var err error
	if s.e, err = New(Options{Lanes: 2, BusyPoll: 50 * time.Microsecond, Slow: func(SlowRequest) bool { return false }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.e.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		_ = s.host.Close()
	})
	lanes := map[int]bool{}
	for i := uint8(0); i < 8; i++ {
		te, err := target.NewExport(target.ExportConfig{Addr: aoe.Addr{Major: 2, Minor: i}, Sectors: 64})
		if err != nil {
			t.Fatal(err)
		}
		x := &Export{Target: te, Store: newStore(t, 64, nil), QueueLength: 16}
		if err := s.e.AddExport(x); err != nil {
			t.Fatal(err)
		}
		lanes[x.Lane()] = true
		s.xs = append(s.xs, x)
	}
	if len(lanes) != 2 {
		t.Fatalf("the exports are on lanes %v, want both", lanes)
	}
	s.open()
	return s
}

// open adds the interface.
func (s *served) open() {
	s.t.Helper()
	var tes []*target.Export
	for _, x := range s.xs {
		tes = append(tes, x.Target)
	}
	tab, err := target.NewTable(tes)
	if err != nil {
		s.t.Fatal(err)
	}
	var links []link.Link
	for _, l := range s.net.OpenLanes("eth7", targetMAC, 9000, 2) {
		links = append(links, l)
	}
	if s.port, err = s.e.AddPort(PortConfig{Name: "eth7", Links: links, Ingress: target.Ingress{MAC: targetMAC, MTU: 9000}, Table: tab}); err != nil {
		s.t.Fatal(err)
	}
}

// ask sends rounds batches of reads and writes, one to each export, and waits for all replies of each. It returns how many there were.
func (s *served) ask(rounds int) (n uint64) {
	s.t.Helper()
	batch := make([]link.Frame, 64)
	for round := range rounds {
		for _, x := range s.xs {
			f := s.rig.ata(x.Target.Addr(), 0x24, uint64(round%64), 1, nil)
			if round%2 == 1 {
				f = s.rig.ata(x.Target.Addr(), 0x34, uint64(round%64), 1, sector(1, 1))
			}
			if err := s.host.Inject(f); err != nil {
				s.t.Error(err)
			}
		}
		end := time.Now().Add(20 * time.Second)
		for left := len(s.xs); left > 0; {
			k := s.host.Recv(batch)
			s.host.Release()
			left -= k
			n += uint64(k)
			if k == 0 {
				time.Sleep(10 * time.Microsecond)
			}
			if time.Now().After(end) {
				s.t.Errorf("round %d: %d replies are missing", round, left)
				return n
			}
		}
	}
	for _, l := range s.e.lanes { // a lane counts a reply just after it was sent: wait for the end of its turn
		if err := l.call(func(*lane) {}); err != nil {
			s.t.Error(err)
		}
	}
	return n
}

// sum adds up all exports.
func (s *served) sum() (t stats.ExportSnapshot) {
	for _, x := range s.xs {
		t = t.Add(x.Snapshot())
	}
	return t
}

// TestWatchedWhileItRuns has readers of all counters and taps that come and go beside lanes under load; then all sums must agree.
func TestWatchedWhileItRuns(t *testing.T) {
	s := newServed(t)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var seen atomic.Uint64
	for _, f := range []func(){
		func() { // taps come and go
			tap, err := s.e.NewTap(TapConfig{Export: &aoe.Addr{Major: 2, Minor: 3}})
			if err != nil {
				t.Error(err)
				return
			}
			short, stop := context.WithTimeout(ctx, 25*time.Millisecond)
			defer stop()
			_ = tap.Read(short, func(r *TapRecord) error {
				if r.Data[18] != 3 || r.Interface != "eth7" {
					t.Errorf("a record of another export: %+v", r)
				}
				seen.Add(1)
				return nil
			})
			tap.Close()
		},
		func() { // readers
			before := s.sum()
			_, _ = s.port.Snapshot(), s.e.LaneSnapshots()
			if after := s.sum(); after.Reads < before.Reads || after.Latency.Write.Count < before.Latency.Write.Count {
				t.Error("a counter went back")
			}
			s.e.Initiators()
			time.Sleep(time.Millisecond)
		},
	} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for ctx.Err() == nil {
				f()
			}
		}()
	}
	n := s.ask(500)
	cancel()
	wg.Wait()
	got := s.sum()
	if got.Reads+got.Writes != n || got.Latency.Read.Count+got.Latency.Write.Count != n || got.InFlight+got.Queued != 0 {
		t.Errorf("%d replies: reads %d, writes %d, latencies %d and %d, in flight %d, queued %d", n, got.Reads, got.Writes, got.Latency.Read.Count,
			got.Latency.Write.Count, got.InFlight, got.Queued)
	}
	if p := s.port.Snapshot(); p.TxFrames != n || p.RxFrames != n || p.KernelDrops != 0 {
		t.Errorf("interface: %+v", p)
	}
	var requests uint64
	for _, i := range s.e.Initiators() {
		if i.MAC != hostMAC.String() || i.Interface != "eth7" || i.Addr.Major != 2 {
			t.Errorf("initiator %+v", i)
		}
		requests += i.Requests
	}
	if requests != n || len(s.e.Initiators()) != len(s.xs) {
		t.Errorf("%d requests by %d initiators", requests, len(s.e.Initiators()))
	}
	for i, l := range s.e.LaneSnapshots() {
		if l.Turns == 0 || l.Sleeps == 0 || l.SleepNs == 0 || l.SpinNs == 0 || l.Slots == 0 || l.SlotsUsed != 0 {
			t.Errorf("lane %d: %+v", i, l)
		}
	}
	if seen.Load() == 0 {
		t.Error("no tap saw a frame")
	}
}

// TestCountersOutliveTheInterface: it is closed and opened again under the same name, as on a change of its MTU.
func TestCountersOutliveTheInterface(t *testing.T) {
	s := newServed(t)
	n := s.ask(10)
	first := s.port.Snapshot()
	if err := s.e.RemovePort(s.port); err != nil {
		t.Fatal(err)
	}
	if got := s.port.Snapshot(); got.RxFrames != n || got.TxFrames != first.TxFrames {
		t.Errorf("after it was closed: %+v, before %+v", got, first)
	}
	s.open()
	n += s.ask(10)
	if got := s.port.Snapshot(); got.RxFrames != n || got.TxFrames != n {
		t.Errorf("after it was opened again it has %d and %d frames, want %d", got.RxFrames, got.TxFrames, n)
	}
	if err := s.e.RemovePort(s.port); err != nil {
		t.Fatal(err)
	}
	s.open()
	if got := s.port.Snapshot(); got.RxFrames != n {
		t.Errorf("the third time it has %d frames, want %d", got.RxFrames, n)
	}
}
