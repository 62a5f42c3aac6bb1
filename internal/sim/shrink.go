package sim

import (
	"fmt"
	"slices"
)

// Shrink looks for the smallest run that still breaks a rule: without initiators, faults and events that are not needed, and with as few
// requests as possible. It need not be the same rule. runs is how many runs that took.
func Shrink(f *BrokenError) (least *BrokenError, runs int) {
	least = f
	try := func(without []string) bool {
		runs++
		res, err := Run(Options{Seed: f.Seed, Without: without})
		if err != nil || res.Failure == nil {
			return false
		}
		least = res.Failure
		return true
	}
	for again := true; again; {
		again = false
		for _, part := range newPlan(f.Seed).parts() {
			if slices.Contains(least.Without, part) {
				continue
			}
			if with := append(slices.Clone(least.Without), part); try(with) {
				again = again || runs < 200
			}
		}
	}
	base := slices.Clone(least.Without)
	for _, n := range []int{1, 2, 3, 4, 6, 8, 11, 15, 20, 30, 45} {
		if try(append(slices.Clone(base), fmt.Sprintf("ops:%d", n))) {
			break
		}
	}
	return least, runs
}
