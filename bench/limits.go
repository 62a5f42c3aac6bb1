package main

import "fmt"

// limit is a contestant that does the work of a row and nothing else, so that no target can be much faster. Where the goal is about how a figure changes with the
// number of something, by is the limit's own figure to divide by; "" where the goal's peer would divide both.
type limit struct{ name, by string }

// bound is how a contestant came out beside a limit.
type bound struct {
	Name  string  `json:"name"`
	By    string  `json:"by,omitempty"`
	Want  float64 `json:"want"`  // at least, or at most as the verdict says
	Value float64 `json:"value"` // the contestant's figure by the limit's
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// nearLimit is how far from its limit a contestant may be, to be at it. What is further beyond it than that shows that it is none.
const nearLimit = .1

// weigh changes the verdict on a goal that was not met to what the limits of the goal say.
func (o *outcome) weigh(g goal, v *verdict) {
	var best *bound
	var of limit
	doubt := ""
	for _, l := range g.limits {
		b, bad := o.beside(g, v, l)
		if bad != "" {
			doubt = bad
			continue
		}
		// The best of the limits is the one that leaves us looking worst.
		if best == nil || v.AtMost && b.Value > best.Value || !v.AtMost && b.Value < best.Value {
			best, of = b, l
		}
	}
	if best == nil {
		v.Why = join(v.Why, "the limit is not known: "+doubt)
		return
	}
	v.Limit = best
	edges := func(near func(x float64) bool) bool { // the repetitions lie on both sides
		return near(best.Low) != near(best.High) && (best.High-best.Low)/best.Value > closeEnough
	}
	near := func(x float64) bool { return x >= best.Want }
	beyond := min(best.Value, best.Low) > 1+nearLimit // so do the repetitions, or it would be chance
	if v.AtMost {
		near = func(x float64) bool { return x <= best.Want }
		beyond = max(best.Value, best.High) < 1-nearLimit
	}
	noise := o.disturbed(o.entry(of.name), o.entry(of.by))
	switch {
	case beyond:
		v.Why = join(v.Why, "faster than what should be the limit: "+best.String())
	case noise != "":
		v.Result, v.Why = unclear, join(v.Why, noise)
	case edges(near):
		v.Result, v.Why = unclear, join(v.Why, best.String())
	case near(best.Value) && doubt != "": // which may be the better limit
		v.Result, v.Why = unclear, join(v.Why, best.String()+", but "+doubt)
	case near(best.Value):
		v.Result, v.Why = atLimit, join(v.Why, best.String())
	default:
		v.Why = join(v.Why, best.String())
	}
}

// beside compares with one limit; bad tells why that cannot be.
func (o *outcome) beside(g goal, v *verdict, l limit) (b *bound, bad string) {
	ours, peer, it, by := o.entry(v.Ours), o.entry(g.peer), o.entry(l.name), o.entry(l.by)
	if bad = why(o, it, by); bad != "" {
		return nil, bad
	}
	var x ratio
	if by == nil {
		if x, bad = compare(g.what, ours, it); bad != "" {
			return nil, bad + ": the figure is not known"
		}
	} else {
		y, whose := compare(g.what, it, by)
		if x, bad = compare(g.what, ours, peer); bad == "" {
			bad = whose
		}
		if bad != "" {
			return nil, bad + ": the figure is not known"
		}
		for i := range x.each {
			if i < len(y.each) {
				x.each[i] /= y.each[i]
			}
		}
		if x.value = median(x.known()); len(x.known()) == 0 {
			return nil, l.name + ": the figure is not known"
		}
	}
	b = &bound{Name: l.name, By: l.by, Want: 1 - nearLimit, Value: x.value}
	if v.AtMost {
		b.Want = 1 + nearLimit
	}
	b.Low, b.High = bounds(x.known())
	return b, ""
}

// String is e.g. "0.93 (0.91 to 0.95) of the plain loop".
func (b *bound) String() string {
	s := digits(b.Value)
	if b.Low != b.High {
		s += fmt.Sprintf(" (%s to %s)", digits(b.Low), digits(b.High))
	}
	s += " of " + b.Name
	if b.By != "" {
		s += " / " + b.By
	}
	return s
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}
