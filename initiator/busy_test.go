package initiator

import (
	"testing"
	"time"

	"goaoe/internal/link/mem"
	"goaoe/internal/sys"
	"goaoe/internal/target"
)

// TestBusy: it looks for what came soon the last time, and pauses for longer and longer when others want the processor.
func TestBusy(t *testing.T) {
	b := busy{most: 50_000}
	now := int64(1e9)
	if b.worth(forAsk, now) || b.worth(forAnswer, now) {
		t.Error("it looks before anything came")
	}
	b.came(forAnswer, 49_999)
	if b.worth(forAsk, now) || !b.worth(forAnswer, now) {
		t.Error("an answer that came soon says nothing about requests, and all about answers")
	}
	b.came(forAnswer, 50_000)
	if b.worth(forAnswer, now) {
		t.Error("it looks for what came late")
	}
	b.came(forAnswer, 1)
	for rest := busyRestLeast; rest <= busyRestMost; rest *= 2 {
		b.lost(now)
		if b.worth(forAnswer, now) || b.worth(forAnswer, now+rest-1) || !b.worth(forAnswer, now+rest) {
			t.Fatalf("it does not pause for %v: %+v", time.Duration(rest), b)
		}
		now += rest
	}
	for range 10 {
		b.lost(now)
	}
	if b.off != now+busyRestMost {
		t.Errorf("a pause of %v", time.Duration(b.off-now))
	}
	for range 10_000 {
		b.paid()
	}
	if b.lost(now); b.rest != busyRestLeast {
		t.Errorf("after ten thousand successes a pause of %v", time.Duration(b.rest))
	}
	if off := (busy{quick: [2]bool{true, true}}); off.worth(forAsk, now) {
		t.Error("it looks though it must not")
	}
}

// TestSpin: looking ends with a frame, a descriptor or the time, whichever comes first, and costs no allocation.
func TestSpin(t *testing.T) {
	_, d := rig(t, 9000, mem.Faults{}, target.ExportConfig{}, Options{})
	e, fds := pollable(t)
	d.mu.Lock() // the background stays away once it has gone round
	for d.receiving {
		d.mu.Unlock()
		time.Sleep(time.Millisecond)
		d.mu.Lock()
	}
	defer d.mu.Unlock()
	d.busy = busy{most: int64(200 * time.Millisecond)}
	l := d.ports[0].link
	spin := func(what int) (over, ready bool) {
		for { // on a machine that others use it may be right to give up: again
			begun := time.Now()
			before := d.busy.off
			if over, ready = d.spin(sys.Nanotime(), fds, what); over || d.busy.off == before {
				if !over && time.Since(begun) < 200*time.Millisecond {
					t.Error("it gave up before its time")
				}
				return over, ready
			}
		}
	}
	if over, ready := spin(forAsk); over || ready {
		t.Errorf("nothing came: over %v, ready %v", over, ready)
	}
	e.Signal()
	if over, ready := spin(forAsk); !over || !ready {
		t.Errorf("a descriptor: over %v, ready %v", over, ready)
	}
	if over, ready := spin(forAnswer); over || ready {
		t.Errorf("a descriptor while an answer is waited for: over %v, ready %v", over, ready)
	}
	e.Drain()
	d.query(sys.Nanotime())
	d.flush()
	for _, what := range []int{forAsk, forAnswer} {
		if over, ready := spin(what); !over || ready || !l.Pending() {
			t.Errorf("a frame: over %v, ready %v", over, ready)
		}
	}
	if n := testing.AllocsPerRun(100, func() { spin(forAnswer) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
