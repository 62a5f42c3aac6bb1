package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/internal/link"
	linkmem "goaoe/internal/link/mem"
	"goaoe/internal/target"
)

// hold has the thread of a lane wait, as a disk does that hangs in a write, until free is called.
func hold(t *testing.T, l *lane) (free func()) {
	t.Helper()
	in, out := make(chan struct{}), make(chan struct{})
	if _, err := l.post(func(*lane) { close(in); <-out }); err != nil {
		t.Fatal(err)
	}
	<-in
	return func() { close(out) }
}

// TestHeldUpLane: a lane whose thread hangs holds up nobody for ever who asks something of the engine, takes no part in what was given up, and nothing is closed under it.
func TestHeldUpLane(t *testing.T) {
	s := newServed(t)
	s.ask(2)
	x, l := s.xs[0], s.e.lanes[s.xs[0].Lane()]
	free := hold(t, l)
	held := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "held up") {
			t.Errorf("%s: %v", what, err)
		}
	}
	begun := time.Now()
	held("SetQueueLength", s.e.SetQueueLength(x, 7))
	if took := time.Since(begun); took < mailLimit {
		t.Errorf("it was given up after %v", took)
	}
	// From now on it is known to be held up: nobody waits long. Readers do not wait at all, also not for those who do.
	for i := uint8(100); ; i++ {
		te, err := target.NewExport(target.ExportConfig{Addr: aoe.Addr{Major: 2, Minor: i}, Sectors: 64})
		if err != nil {
			t.Fatal(err)
		}
		y := &Export{Target: te, Store: newStore(t, 64, nil), QueueLength: 16}
		if link.LaneOf(te.Addr(), 2) != l.n {
			if err := s.e.AddExport(y); err != nil {
				t.Errorf("an export of the other lane: %v", err)
			}
			if err := s.e.RemoveExport(context.Background(), y); err != nil {
				t.Error(err)
			}
			continue
		}
		held("AddExport", s.e.AddExport(y))
		if s.e.ids[te.ID] != nil {
			t.Error("an export that was not added has an ID")
		}
		break
	}
	held("SetLimits", s.e.SetLimits(x, nil))
	s.e.Initiators()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := s.e.RemoveExport(ctx, s.xs[1]); s.xs[1].Lane() == l.n && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("RemoveExport: %v", err)
	}
	in := target.Ingress{MAC: aoe.MAC{2, 0, 0, 0, 0, 9}, MTU: 9000}
	var links []link.Link
	var opened []*linkmem.Link
	for _, k := range s.net.OpenLanes("eth8", in.MAC, 9000, 2) {
		links, opened = append(links, k), append(opened, k)
	}
	_, err := s.e.AddPort(PortConfig{Name: "eth8", Links: links, Ingress: in})
	held("AddPort", err)
	for i, k := range opened {
		if k.Inject(make([]byte, 60)) == nil {
			t.Errorf("link %d of an interface that was not added is open", i)
		}
	}
	if err := s.e.RemovePort(s.port); err == nil || !strings.Contains(err.Error(), "stay open") {
		t.Errorf("RemovePort: %v", err)
	}
	if err := s.port.Inject(make([]byte, 60)); err != nil {
		t.Errorf("a link was closed that a lane may use: %v", err)
	}
	if err := s.e.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stop: %v", err)
	}
	if len(l.exports) == 0 || l.exports[x.Target.ID] == nil {
		t.Error("the lane lost an export")
	}
	queue := l.exports[x.Target.ID].queue // it hangs: nobody else looks
	free()
	<-l.over // it was told to stop
	if queue != 16 {
		t.Errorf("the queue length is %d: what was given up took place", queue)
	}
	for end := time.Now().Add(20 * time.Second); s.port.Inject(make([]byte, 60)) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the links of the interface are still open")
		}
	}
}

// TestGivenUpMailNeverRuns: what was given up does not take place when the lane goes on, and what is asked for then does.
func TestGivenUpMailNeverRuns(t *testing.T) {
	s := newServed(t)
	x, l := s.xs[0], s.e.lanes[s.xs[0].Lane()]
	l.heldUp.Store(true) // do not wait long
	free := hold(t, l)
	l.heldUp.Store(true)
	ran := false
	if err := l.call(func(*lane) { ran = true }); err == nil {
		t.Error("the lane hangs, and the call succeeds")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.e.RemoveExport(ctx, x); !errors.Is(err, context.Canceled) {
		t.Errorf("RemoveExport: %v", err)
	}
	free()
	if err := s.e.RemoveExport(context.Background(), x); err != nil {
		t.Error(err)
	}
	if ran || l.heldUp.Load() {
		t.Errorf("it ran: %v; the lane counts as held up: %v", ran, l.heldUp.Load())
	}
}
