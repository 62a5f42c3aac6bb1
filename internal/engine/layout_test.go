package engine

import (
	"testing"
	"unsafe"

	"goaoe/internal/stats"
	"goaoe/internal/target"
)

// TestHotFieldsLieTogether: what a request touches of its export fills whole cache lines from their first byte, in objects as the Go runtime makes them. Where
// it does not, every answer is as right, and only later: see BenchmarkExports.
func TestHotFieldsLieTogether(t *testing.T) {
	const line = 64
	r := newRig(t, 1)
	x := r.export(e11, newStore(t, 8, nil), 4)
	le := r.l.exports[x.Target.ID]
	for what, at := range map[string]unsafe.Pointer{
		"the lane's export":      unsafe.Pointer(&le.te),
		"places of initiators":   unsafe.Pointer(&le.fair.places),
		"remembered requests":    unsafe.Pointer(&le.recent),
		"the target":             unsafe.Pointer(&x.Target.ID),
		"the counters":           unsafe.Pointer(&x.Target.Stats),
		"the histograms":         unsafe.Pointer(&x.Target.Stats.Latency),
		"an entry of initiators": unsafe.Pointer(r.l.inis.Find(1, 1, 1)),
		"another such entry":     unsafe.Pointer(r.l.inis.Find(2, 1, 1)),
	} {
		if off := uintptr(at) % line; off != 0 {
			t.Errorf("%s: %d bytes behind the start of a cache line", what, off)
		}
	}
	if n := uintptr(unsafe.Pointer(&le.fair.places)) - uintptr(unsafe.Pointer(&le.te)); n != 3*line {
		t.Errorf("the lane's export has %d bytes in front of its tables, want three lines", n)
	}
	if n := unsafe.Sizeof(stats.Histogram{}) % line; n != 0 {
		t.Errorf("a histogram ends %d bytes behind the start of a line", n)
	}
	if n, most := unsafe.Sizeof(*le), uintptr(4864-8); n > most {
		t.Errorf("the lane's export has %d bytes, of which %d fit its size class", n, most)
	}
	if n, most := unsafe.Sizeof(target.Export{}), uintptr(4864-8); n > most {
		t.Errorf("a target has %d bytes, of which %d fit its size class", n, most)
	}
}
