package control

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// selectHint is how many exports an error of Select names.
const selectHint = 6

// Select returns the exports that the patterns mean, each once, in the order of exports. A pattern is an address with or without
// its e ("e1.0", "1.0"), the name of an export, a glob of either ("e1.*", "1.[0-3]", "mail-*"), or "*" or "all" for every export;
// no pattern at all means every export, too. A pattern that means nothing is an *Error (CodeNotFound, or CodeUsage where it could
// mean nothing ever), and then nothing is selected: it is more likely a slip than a wish.
func Select(patterns []string, exports []Export) ([]Export, error) {
	if len(patterns) == 0 {
		return exports, nil
	}
	chosen := make([]bool, len(exports))
	var without []string
	for _, p := range patterns {
		found, err := choose(p, exports, chosen)
		if err != nil {
			return nil, err
		}
		if !found && !slices.Contains(without, p) {
			without = append(without, p)
		}
	}
	if len(without) > 0 {
		return nil, Errorf(CodeNotFound, "no export is meant by %s", strings.Join(without, ", ")).WithHint(thereIs(without[0], exports))
	}
	var out []Export
	for i, yes := range chosen {
		if yes {
			out = append(out, exports[i])
		}
	}
	return out, nil
}

// choose marks the exports that a pattern means. "*" of a daemon without exports means none of them, and is no slip.
func choose(pattern string, exports []Export, chosen []bool) (found bool, err error) {
	if pattern == "" {
		return false, Errorf(CodeUsage, "an empty pattern means no export").WithHint("an address such as 1.0, a name, or a pattern such as '1.*'")
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return false, Errorf(CodeUsage, "%q is not a valid pattern", pattern).WithHint("a [ needs its ], and something must follow a \\")
	}
	all := pattern == "*" || pattern == "all"
	for i := range exports {
		if all || Matches(pattern, &exports[i]) {
			chosen[i], found = true, true
		}
	}
	return found || all, nil
}

// Matches tells whether a pattern, see Select, means an export.
func Matches(pattern string, e *Export) bool {
	for _, s := range []string{e.Address, strings.TrimPrefix(e.Address, "e"), e.Name} {
		if s == "" {
			continue
		}
		if ok, err := path.Match(pattern, s); pattern == s || ok && err == nil {
			return true
		}
	}
	return false
}

// thereIs names exports that exist, those that are most alike to what was asked for first.
func thereIs(pattern string, exports []Export) string {
	if len(exports) == 0 {
		return "there are no exports; goaoe add makes one"
	}
	names := make([]string, len(exports))
	for i, e := range exports {
		names[i] = e.Address
		if e.Name != "" {
			names[i] += " (" + e.Name + ")"
		}
	}
	order := make([]int, len(exports))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return likeness(pattern, &exports[b]) - likeness(pattern, &exports[a]) })
	var near []string
	for _, i := range order[:min(selectHint, len(order))] {
		near = append(near, names[i])
	}
	text := "there is " + strings.Join(near, ", ")
	if more := len(exports) - len(near); more > 0 {
		text += fmt.Sprintf(" and %d more: goaoe ls", more)
	}
	return text
}

// likeness is how many characters the beginning of an address or name shares with a pattern.
func likeness(pattern string, e *Export) int {
	best := 0
	for _, s := range []string{strings.TrimPrefix(e.Address, "e"), e.Name} {
		n := 0
		for p := strings.TrimPrefix(pattern, "e"); n < len(p) && n < len(s) && p[n] == s[n]; n++ {
		}
		best = max(best, n)
	}
	return best
}
