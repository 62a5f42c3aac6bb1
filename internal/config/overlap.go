package config

import (
	"cmp"
	"fmt"
	"slices"

	"goaoe/aoe"
)

// Window is what an export uses of an underlying object (a file, a device).
type Window struct {
	Addr       aoe.Addr
	ID         string // names the object; equal for two exports of one object
	Start, End int64  // bytes inside the object: [Start, End)
	ReadOnly   bool
	Pos        Position // to complain about
}

// CheckOverlaps finds exports that share bytes of an object while one of them writes: two initiators would destroy each
// other's file systems. It is an error when both write, a warning when one does.
func CheckOverlaps(windows []Window) Problems {
	var ps Problems
	byID := slices.Clone(windows)
	slices.SortStableFunc(byID, func(a, b Window) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Start, b.Start), cmp.Compare(a.Addr.Key(), b.Addr.Key()))
	})
	for i, a := range byID {
		for _, b := range byID[i+1:] {
			if b.ID != a.ID || b.Start >= a.End {
				break // sorted: nothing further begins inside a
			}
			if a.End <= a.Start || b.End <= b.Start || a.ReadOnly && b.ReadOnly {
				continue
			}
			ps.add(overlap(a, b))
		}
	}
	return ps.Sorted()
}

// overlap describes one overlap at the place of the later export.
func overlap(a, b Window) Problem {
	if b.Addr.Less(a.Addr) {
		a, b = b, a
	}
	p := Problem{Severity: Error, Position: b.Pos, Key: "export.source",
		Message: fmt.Sprintf("%s and %s (%s) write to the same bytes %d to %d of %s", b.Addr, a.Addr, a.Pos, max(a.Start, b.Start), min(a.End, b.End)-1, a.ID),
		Hint:    "make one of them read-only, or give them separate windows by offset and length"}
	if a.ReadOnly || b.ReadOnly {
		p.Severity = Warning
		p.Message = fmt.Sprintf("%s and %s (%s) use the same bytes %d to %d of %s, and one of them writes", b.Addr, a.Addr, a.Pos, max(a.Start, b.Start), min(a.End, b.End)-1, a.ID)
		p.Hint = "a reader with a cache (every file system) sees changes late or torn; fine for a snapshot-like use only"
	}
	return p
}
