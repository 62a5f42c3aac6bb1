package stats

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// fill gives each number inside v, which must be addressable, a value of its own, and returns how many there were.
func fill(v reflect.Value, n uint64) uint64 {
	switch v.Type() {
	case reflect.TypeFor[Single]():
		n++
		v.Addr().Interface().(*Single).Add(n)
		return n
	case reflect.TypeFor[Counter]():
		n++
		v.Addr().Interface().(*Counter).Add(n)
		return n
	case reflect.TypeFor[Histogram]():
		h := v.Addr().Interface().(*Histogram)
		for range 3 {
			n++
			h.Observe(int64(n) * 1000)
		}
		return n
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			n = fill(v.Field(i), n)
		}
	case reflect.Array:
		for i := range v.Len() {
			n = fill(v.Index(i), n)
		}
	case reflect.Uint64:
		if !v.CanSet() { // inside a time
			break
		}
		n++
		v.SetUint(n)
	}
	return n
}

// TestCarry: a restarted export goes on where it was, in every counter, and what it holds at the moment is its own.
func TestCarry(t *testing.T) {
	var from, to Export
	fill(reflect.ValueOf(&from).Elem(), 0)
	from.Held.Add(100)
	to.Carry(&from)
	want, got := from.Snapshot(), to.Snapshot()
	want.InFlight, want.Queued, want.Limit = 0, 0, 0
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("after Carry (-want +got):\n%s", d)
	}
	for i, v := range flat(t, from.Snapshot()) {
		if v == 0 && !strings.Contains(i, "none") {
			t.Errorf("%s is 0 in the snapshot: it does not reach the readers", i)
		}
	}
}

// flat returns all numbers of a snapshot by their path in JSON.
func flat(t *testing.T, s any) map[string]float64 {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	m := map[string]float64{}
	var walk func(string, any)
	walk = func(p string, v any) {
		switch v := v.(type) {
		case float64:
			m[p] = v
		case map[string]any:
			for k, x := range v {
				walk(p+"."+k, x)
			}
		}
	}
	walk("", v)
	return m
}

// TestSubtractAll: no counter of a snapshot is forgotten by Sub and Add. What says how much there is now stays.
func TestSubtractAll(t *testing.T) {
	var e Export
	fill(reflect.ValueOf(&e).Elem(), 0)
	e.Held.Add(100)
	var p Port
	fill(reflect.ValueOf(&p).Elem(), 0)
	ps := p.Snapshot()
	ps.KernelDrops = 7
	var l Lane
	fill(reflect.ValueOf(&l).Elem(), 0)
	var i InitiatorSnapshot
	fill(reflect.ValueOf(&i).Elem(), 0)
	gauges := []string{".in_flight", ".queued", ".limit", ".slots", ".slots_used"}
	for _, c := range []struct {
		name        string
		one         any
		nothing     any
		twice, back any
	}{
		{"export", e.Snapshot(), e.Snapshot().Sub(e.Snapshot()), e.Snapshot().Add(e.Snapshot()), e.Snapshot().Add(e.Snapshot()).Sub(e.Snapshot())},
		{"port", ps, ps.Sub(ps), ps.Add(ps), ps.Add(ps).Sub(ps)},
		{"lane", l.Snapshot(), l.Snapshot().Sub(l.Snapshot()), nil, nil},
		{"initiator", i, i.Sub(i), i.Add(i), i.Add(i).Sub(i)},
	} {
		one := flat(t, c.one)
		for k, v := range flat(t, c.nothing) {
			if gauge := slices.Contains(gauges, k); gauge && v != one[k] || !gauge && v != 0 {
				t.Errorf("%s: %s minus itself: %v, was %v", c.name, k, v, one[k])
			}
		}
		if c.twice == nil {
			continue
		}
		twice := flat(t, c.twice)
		for k, v := range one {
			if v == 0 || twice[k] != 2*v {
				t.Errorf("%s: %s is %v, and added to itself %v", c.name, k, v, twice[k])
			}
		}
		back := flat(t, c.back)
		for k, v := range one {
			if back[k] != v && !slices.Contains(gauges, k) {
				t.Errorf("%s: %s is %v after adding and subtracting, want %v", c.name, k, back[k], v)
			}
		}
	}
}

// TestSubOfRestarted: counters that went back count from zero and never wrap around.
func TestSubOfRestarted(t *testing.T) {
	now, before := ExportSnapshot{Reads: 3, Drops: Counts{"full": 1}}, ExportSnapshot{Reads: 10, Drops: Counts{"full": 9, "stale": 1}}
	if d := now.Sub(before); d.Reads != 0 || len(d.Drops) != 0 {
		t.Errorf("reads %d drops %v, want none", d.Reads, d.Drops)
	}
	a, b := InitiatorSnapshot{Requests: 5, FirstSeen: unix(2)}, InitiatorSnapshot{Requests: 50, FirstSeen: unix(1)}
	if d := a.Sub(b); d.Requests != 5 {
		t.Errorf("an initiator whose counters began anew has %d requests, want its 5", d.Requests)
	}
}

func TestJSONRoundTrip(t *testing.T) {
	var e Export
	fill(reflect.ValueOf(&e).Elem(), 0)
	want := e.Snapshot()
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got ExportSnapshot
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("by way of JSON (-want +got):\n%s", d)
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	check := func(kind, name string) {
		if name == "" || name == "unknown" || seen[kind+name] {
			t.Errorf("%s: name %q is missing or used twice", kind, name)
		}
		seen[kind+name] = true
	}
	for d := range NumDrops {
		check("drop ", d.String())
	}
	for r := range NumRejects {
		check("reject ", r.String())
	}
	for e := range NumErrors {
		check("error ", e.String())
	}
	if NumDrops.String() != "unknown" || NumRejects.String() != "unknown" || NumErrors.String() != "unknown" {
		t.Error("a number beyond the last has a name")
	}
}

// TestReadWhileCounting has readers beside the one writer; the race detector and the order of the values judge.
func TestReadWhileCounting(t *testing.T) {
	var e Export
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var last ExportSnapshot
			for {
				s := e.Snapshot()
				if s.Reads < last.Reads || s.Latency.Read.Count < last.Latency.Read.Count {
					t.Error("a counter went back")
				}
				last = s
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
	}
	for i := range 20000 {
		e.Reads.Inc()
		e.Latency[ClassRead].Observe(int64(i))
		e.OtherLatency.ObserveShared(int64(i))
	}
	close(stop)
	wg.Wait()
	if s := e.Snapshot(); s.Reads != 20000 || s.Latency.Read.Count != 20000 || s.Latency.Other.Count != 20000 {
		t.Errorf("reads %d, latencies %d and %d, want 20000 each", s.Reads, s.Latency.Read.Count, s.Latency.Other.Count)
	}
}

func TestBuckets(t *testing.T) {
	bounds := BucketBounds()
	if bounds[0] != 1024 || bounds[len(bounds)-1] != 1<<36 || !slices.IsSorted(bounds) {
		t.Fatalf("bounds %v", bounds)
	}
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Int64Range(-5, 1<<36).Draw(t, "v")
		i := bucketOf(v)
		if v > bounds[i] || i > 0 && v <= bounds[i-1] {
			t.Fatalf("%d ns is in bucket %d, up to %d", v, i, bounds[i])
		}
		if v > 1024 && float64(bounds[i]) > 1.25*float64(v) {
			t.Fatalf("bound %d is more than a quarter above %d", bounds[i], v)
		}
	})
	if i := bucketOf(1 << 60); i != NumBuckets-1 {
		t.Errorf("a year is in bucket %d", i)
	}
}

func TestQuantiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vs := rapid.SliceOfN(rapid.Int64Range(1, 1<<36), 1, 200).Draw(t, "values")
		p := rapid.Float64Range(0, 1).Draw(t, "p")
		var h Histogram
		var sum int64
		for _, v := range vs {
			h.Observe(v)
			sum += v
		}
		s := h.Snapshot()
		if s.Count != uint64(len(vs)) || s.SumNs != uint64(sum) || s.AtMost(1<<36) != s.Count {
			t.Fatalf("count %d sum %d of %d values, %d in all", s.Count, s.SumNs, len(vs), sum)
		}
		slices.Sort(vs)
		rank := int(p * float64(len(vs)))
		if float64(rank) == p*float64(len(vs)) && rank > 0 {
			rank--
		}
		rank = min(rank, len(vs)-1)
		q, want := s.Quantile(p), vs[rank]
		if q < want || float64(q) > max(1.25*float64(want), 1024) {
			t.Fatalf("quantile %v of %v is %d, want %d or up to a quarter more", p, vs, q, want)
		}
		if m := s.Mean(); m < float64(vs[0]) || m > float64(vs[len(vs)-1]) {
			t.Fatalf("mean %v of %v", m, vs)
		}
	})
	if q := (HistogramSnapshot{}).Quantile(0.5); q != 0 {
		t.Errorf("quantile of nothing is %d", q)
	}
}

func TestHistogramSub(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gen := rapid.SliceOfN(rapid.Int64Range(0, 1<<36), 0, 50)
		var all, later Histogram
		for _, v := range gen.Draw(t, "before") {
			all.Observe(v)
		}
		before := all.Snapshot()
		for _, v := range gen.Draw(t, "later") {
			all.Observe(v)
			later.Observe(v)
		}
		if d := cmp.Diff(later.Snapshot(), all.Snapshot().Sub(before)); d != "" {
			t.Fatalf("difference (-want +got):\n%s", d)
		}
		if d := cmp.Diff(all.Snapshot(), before.Add(later.Snapshot())); d != "" {
			t.Fatalf("sum (-want +got):\n%s", d)
		}
	})
}
