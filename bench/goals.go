package main

import (
	"fmt"
	"math"
	"slices"
)

// figure is what a goal is about.
type figure string

const (
	rate    figure = "requests/s"
	cpu     figure = "target CPU per request"
	p50     figure = "median latency"
	p999    figure = "99.9 % latency"
	share   figure = "client CPU / target CPU" // of one contestant
	fair    figure = "fewest / most requests"  // of one contestant's streams
	idleCPU figure = "% CPU while idle"        // of one contestant
	memMiB  figure = "MiB resident while idle" // of one contestant
)

// atMost tells whether less is better.
func (f figure) atMost() bool { return f != rate && f != fair }

// of takes the figure out of a sample.
func (f figure) of(s *sample) float64 {
	switch f {
	case rate:
		return s.PerSecond
	case cpu:
		return s.TargetCPU
	case p50:
		return s.P50
	case p999:
		return s.P999
	case share:
		if s.TargetCPU > 0 {
			return s.ClientCPU / s.TargetCPU
		}
	case fair:
		return s.Fair
	case idleCPU:
		return s.IdleCPU
	case memMiB:
		return s.RSS
	}
	return 0
}

// goal is what a contestant must reach.
type goal struct {
	what figure
	ours string  // the contestant; "" is the first of the row
	peer string  // what it is divided by: the same figure of this contestant; "" is nothing
	want float64 // at least, or at most; 0: the figure is only told
	or   *goal   // of the same contestant: the one that asks for less is the goal
	// limits do the same work without a target around it. Who misses the goal and comes close to the best of them is at the limit.
	limits []limit
}

// Results of a goal.
const (
	met     = "met"
	atLimit = "at the limit" // the goal was missed, or nobody knows; what does nothing but the work is not faster: Why says how much
	missed  = "missed"
	unclear = "no verdict" // Why says why
	told    = "-"          // there is no goal
)

// verdict is how a goal came out.
type verdict struct {
	Figure  figure  `json:"figure"`
	Ours    string  `json:"ours"`
	Peer    string  `json:"peer,omitempty"` // the value is ours divided by this contestant's
	Want    float64 `json:"want,omitempty"`
	AtMost  bool    `json:"at_most,omitempty"`
	Value   float64 `json:"value"` // 0 when it is not known
	Low     float64 `json:"low"`   // of single repetitions, see bounds
	High    float64 `json:"high"`
	Result  string  `json:"result"`
	Why     string  `json:"why,omitempty"`
	Limit   *bound  `json:"limit,omitempty"` // how far the limit is, when there is one and the goal was not clearly met
	asks    float64 // what the contestant must reach, in the unit of the figure
	between bool    // there is no verdict because the repetitions lie on both sides of the goal
}

// reached tells whether a value is good enough.
func (v *verdict) reached(value float64) bool {
	if v.AtMost {
		return value <= v.Want
	}
	return value >= v.Want
}

// judge tells how a goal came out in a row whose medians are there.
func (o *outcome) judge(g goal) verdict {
	v := o.judgeOne(g)
	if g.or != nil {
		if w := o.judgeOne(*g.or); v.Value == 0 || w.Value > 0 && w.asks < v.asks {
			v = w
		}
	}
	if len(g.limits) > 0 && (v.Result == missed || v.between) {
		o.weigh(g, &v)
	}
	return v
}

func (o *outcome) judgeOne(g goal) verdict {
	v := verdict{Figure: g.what, Ours: g.ours, Peer: g.peer, Want: g.want, AtMost: g.what.atMost(), Result: unclear}
	if v.Ours == "" {
		v.Ours = o.Entries[0].Name
	}
	ours := o.entry(v.Ours)
	peer := o.entry(g.peer) // nil without one
	if v.Why = why(o, ours, peer); v.Why != "" {
		return v
	}
	x, whose := compare(g.what, ours, peer)
	if whose != "" {
		v.Why = whose + ": the figure is not known"
		return v
	}
	v.Value, v.asks = x.value, v.Want
	if peer != nil {
		v.asks *= g.what.of(&peer.Median)
	}
	v.Low, v.High = bounds(x.known())
	switch {
	case v.Want == 0:
		v.Result = told
	case o.disturbed(ours, peer) != "":
		v.Why = o.disturbed(ours, peer)
	case v.reached(v.Low) != v.reached(v.High) && (v.High-v.Low)/v.Value > closeEnough:
		v.Why, v.between = fmt.Sprintf("the repetitions say %s to %s", digits(v.Low), digits(v.High)), true
	case v.reached(v.Value):
		v.Result = met
	default:
		v.Result = missed
	}
	return v
}

// ratio is a figure of a contestant, by that of another if there is one.
type ratio struct {
	value float64   // the median of each. Of repetitions, not of medians: the two of one repetition ran one after the other, and the machine was as fast
	each  []float64 // of single repetitions; NaN for what does not count
}

// known are the repetitions that count.
func (r *ratio) known() []float64 {
	return slices.DeleteFunc(slices.Clone(r.each), math.IsNaN)
}

// compare makes the ratio of a figure; peer may be nil. When that cannot be had, unknown tells whose figure is missing.
func compare(what figure, ours, peer *entry) (r ratio, unknown string) {
	for i := range ours.Samples {
		x := what.of(&ours.Samples[i])
		if ours.unused(i) {
			x = math.NaN()
		}
		if peer != nil {
			y := 0.0
			if i < len(peer.Samples) && !peer.unused(i) {
				y = what.of(&peer.Samples[i])
			}
			if x /= y; y == 0 {
				x = math.NaN()
			}
		}
		r.each = append(r.each, x)
	}
	if peer != nil && what.of(&peer.Median) == 0 {
		return r, peer.Name
	}
	r.value = median(r.known())
	if r.value == 0 && what != idleCPU || len(r.known()) == 0 || math.IsInf(r.value, 0) {
		return r, ours.Name
	}
	return r, ""
}

// closeEnough: repetitions that agree this well give a verdict although the goal lies between them.
const closeEnough = 0.02

// why tells what makes figures useless.
func why(o *outcome, all ...*entry) string {
	if o.Void != "" {
		return "void: " + o.Void
	}
	for _, e := range all {
		if e != nil && e.Void != "" {
			return "void: " + e.Name + ": " + e.Void
		}
	}
	return ""
}

// disturbed says what disturbed one of the contestants so often that its figures give no verdict; "" when they do. Those that are nil do not count.
func (o *outcome) disturbed(all ...*entry) string {
	for _, e := range all {
		if e == nil || e.Quiet >= min(enough, len(e.Samples)) {
			continue
		}
		for i := range e.Samples {
			if n := e.Samples[i].Noise; n != "" {
				return fmt.Sprintf("noise: %d of %d repetitions of %s were disturbed, e.g. %s", len(e.Samples)-e.Quiet, len(e.Samples), e.Name, n)
			}
		}
	}
	return ""
}

// sure is how certain it has to be that the median of ever so many repetitions lies between the bounds.
const sure = .85

// bounds are between which of the values the median of ever so many repetitions lies, when that of each lies above it as often as below: by the binomial distribution, the
// inner ones where there are many. Of fewer than seven it takes all; of seven it leaves out one at each end, of fifteen four.
func bounds(v []float64) (low, high float64) {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	out, ways := 0, 1.0                // how many are left out at each end; in how many ways so many of n lie below the median
	beyond := math.Pow(.5, float64(n)) // the chance that fewer than out + 1 do
	for p := beyond; out < (n-1)/2; out++ {
		ways *= float64(n-out) / float64(out+1)
		if p += ways * beyond; 1-2*p < sure {
			break
		}
	}
	return v[out], v[n-1-out]
}

// value is the figure in words.
func (v *verdict) value() string {
	if v.Value == 0 && v.Why != "" {
		return "-"
	}
	return digits(v.Value)
}

// goal is what was asked for in words.
func (v *verdict) goal() string {
	if v.Want == 0 {
		return "-"
	}
	sign := "≥"
	if v.AtMost {
		sign = "≤"
	}
	return sign + " " + digits(v.Want)
}

// what is what the value is.
func (v *verdict) what() string {
	if v.Peer == "" {
		return fmt.Sprintf("%s, %s", v.Ours, v.Figure)
	}
	return fmt.Sprintf("%s, %s / %s", v.Figure, v.Ours, v.Peer)
}

// digits writes a number with as many digits as it is worth.
func digits(v float64) string {
	switch {
	case v == 0 || v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v < .1:
		return fmt.Sprintf("%.2g", v)
	}
	return fmt.Sprintf("%.2f", v)
}
