package daemon

import (
	"testing"
	"time"
)

// TestPace: a burst goes through at once, and then one change in each pause, however they come; what was not used comes back.
func TestPace(t *testing.T) {
	p := pace{left: slowBurst}
	now := time.Unix(1_000_000, 0)
	for i := range slowBurst {
		if d := p.wait(now); d != 0 {
			t.Fatalf("change %d of a burst waits for %v", i, d)
		}
	}
	for i := 1; i <= 100; i++ {
		d := p.wait(now)
		if d <= 0 || d > slowPause {
			t.Fatalf("change %d after the burst waits for %v", i, d)
		}
		now = now.Add(d)
	}
	if took := now.Sub(time.Unix(1_000_000, 0)); took < 99*slowPause || took > 101*slowPause {
		t.Errorf("100 changes after the burst take %v", took)
	}
	now = now.Add(time.Hour)
	for i := range slowBurst {
		if d := p.wait(now); d != 0 {
			t.Fatalf("change %d of a later burst waits for %v", i, d)
		}
	}
	if d := p.wait(now); d <= 0 || d > slowPause {
		t.Errorf("the one behind it waits for %v", d)
	}
}
