package engine

import (
	"testing"
	"time"

	"goaoe/internal/sys"
)

// TestGlance: a turn that follows on a look for work has the time of that look, by both clocks, and asks the clocks again in the end, as one of them may have been set.
func TestGlance(t *testing.T) {
	l := &lane{eng: &Engine{}}
	l.lookAtClocks()
	if real, mono := sys.Clocks(); real-l.now > int64(time.Second) || mono-l.mono > int64(time.Second) || l.now > real || l.mono > mono {
		t.Fatalf("%d and %d, it is %d and %d", l.now, l.mono, real, mono)
	}
	apart := l.now - l.mono
	for i := range glanceTurns {
		l.glance = l.mono + 5
		want := l.glance
		if l.lookAtClocks(); l.mono != want || l.now != want+apart {
			t.Fatalf("turn %d: %d and %d, want %d and %d", i, l.now, l.mono, want+apart, want)
		}
	}
	l.glance, l.apart = 7, 8
	if l.lookAtClocks(); l.mono == 7 || l.apart == 8 {
		t.Error("the clocks were not asked again")
	}
	l.glance = 0
	at := l.mono
	time.Sleep(time.Millisecond)
	if l.lookAtClocks(); l.mono < at+int64(time.Millisecond) {
		t.Error("without a look for work the time stands still")
	}
	const fixed = 1234
	l.eng.opts.Clock = func() (int64, int64) { return fixed, fixed }
	l.glance = 7
	if l.lookAtClocks(); l.now != fixed || l.mono != fixed {
		t.Error("the clock that was given was not asked")
	}
}
