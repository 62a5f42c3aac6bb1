package target

import (
	"cmp"
	"slices"
	"sync"
	"testing"

	"goaoe/aoe"
)

func TestTakeRefusals(t *testing.T) {
	if got := (*ACL)(nil).TakeRefusals(nil); got != nil {
		t.Errorf("nil has refused %v", got)
	}
	a := NewACL([]Rule{{macI, true}}, false)
	a.check(macI)
	for range 3 {
		a.check(macJ)
	}
	a.check(macA)
	take := func() []Refusal {
		got := a.TakeRefusals(nil)
		slices.SortFunc(got, func(x, y Refusal) int { return cmp.Compare(x.MAC.Key(), y.MAC.Key()) })
		return got
	}
	want := []Refusal{{macJ, 3}, {macA, 1}}
	slices.SortFunc(want, func(x, y Refusal) int { return cmp.Compare(x.MAC.Key(), y.MAC.Key()) })
	if got := take(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := take(); len(got) != 0 {
		t.Errorf("taken twice: %v", got)
	}

	// More addresses than there are rows, and nobody's address: nothing is lost.
	for i := range 100 {
		a.check(aoe.MAC{2, 9, 9, 9, 9, byte(i)})
	}
	a.check(aoe.MAC{})
	var n uint64
	got := take()
	for _, r := range got {
		n += r.N
	}
	if n != 101 || len(got) != refusalRows+1 || got[0].MAC != (aoe.MAC{}) || got[0].N != 101-refusalRows {
		t.Errorf("%d counted in %d rows: %v", n, len(got), got)
	}
	take() // those who stopped make room
	a.check(macJ)
	if got := take(); !slices.Equal(got, []Refusal{{macJ, 1}}) {
		t.Errorf("after the flood: %v", got)
	}
	if n := testing.AllocsPerRun(100, func() { a.check(macJ) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestTakeRefusalsWhileRefusing: what lanes count meanwhile is told once.
func TestTakeRefusalsWhileRefusing(t *testing.T) {
	a := NewACL(nil, false)
	const lanes, each = 4, 20000
	var wg sync.WaitGroup
	for l := range lanes {
		wg.Go(func() {
			for range each {
				a.check(aoe.MAC{2, 0, 0, 0, 0, byte(l)})
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	var n uint64
	add := func() {
		for _, r := range a.TakeRefusals(nil) {
			n += r.N
		}
	}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		add()
	}
	add()
	if n != lanes*each {
		t.Errorf("%d of %d", n, lanes*each)
	}
}
