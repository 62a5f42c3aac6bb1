package engine

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"goaoe/internal/target"
)

// TestPlaces: whatever requests come and go, the table never denies an overlap, knows of nothing when nothing is there, and few requests that lie far apart do not
// meet in it.
func TestPlaces(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := new(places)
		var exports []*laneExport
		for id := range uint32(3) {
			exports = append(exports, &laneExport{te: &target.Export{ID: id}})
		}
		var held []*slot
		draw := func() *slot {
			s := &slot{exp: rapid.SampledFrom(exports).Draw(rt, "export")}
			switch rapid.IntRange(0, 9).Draw(rt, "kind") {
			case 0: // a flush
			case 1:
				s.end = math.MaxUint64 // a discard
			case 2:
				s.start = math.MaxUint64>>16 - rapid.Uint64Range(1, 300).Draw(rt, "from the end")
				s.end = math.MaxUint64 >> 16
			default:
				s.start = rapid.Uint64Range(0, 400).Draw(rt, "start")
				s.end = s.start + rapid.Uint64Range(1, 256).Draw(rt, "sectors")
			}
			return s
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			if len(held) > 0 && rapid.IntRange(0, 2).Draw(rt, "ends") == 0 {
				i := rapid.IntRange(0, len(held)-1).Draw(rt, "which")
				m.remove(held[i].exp, held[i])
				held = append(held[:i], held[i+1:]...)
				continue
			}
			s := draw()
			meets := m.meets(s.exp, s.start, s.end)
			for _, o := range held {
				if !meets && o.exp == s.exp && o.start < s.end && s.start < o.end {
					rt.Fatalf("[%d,%d) overlaps [%d,%d), and the table denies it", s.start, s.end, o.start, o.end)
				}
			}
			m.add(s.exp, s)
			held = append(held, s)
		}
		for _, s := range held {
			m.remove(s.exp, s)
		}
		if *m != (places{}) {
			rt.Fatal("nothing is held, and the table is not empty")
		}
		for _, x := range exports {
			if x.wide != 0 || m.meets(x, 0, 8) {
				rt.Fatalf("export %d holds nothing: %d wide requests", x.te.ID, x.wide)
			}
		}
	})
	// It would be of no use if it always said yes: of 64 requests for pages all over a disk hardly one meets another by chance.
	m, x, met := new(places), &laneExport{te: &target.Export{}}, 0
	for i := range uint64(64) {
		s := &slot{start: i * 0x9e3779b97f4a7c15 >> 24 &^ 7}
		s.end = s.start + 8
		if m.meets(x, s.start, s.end) {
			met++
		}
		m.add(x, s)
	}
	if met > 6 {
		t.Errorf("%d of 64 requests far apart meet", met)
	}
}
