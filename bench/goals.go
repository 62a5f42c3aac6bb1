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
}

// Results of a goal.
const (
	met     = "met"
	missed  = "missed"
	unclear = "no verdict" // Why says why
	told    = "-"          // there is no goal
)

// verdict is how a goal came out.
type verdict struct {
	Figure figure  `json:"figure"`
	Ours   string  `json:"ours"`
	Peer   string  `json:"peer,omitempty"` // the value is ours divided by this contestant's
	Want   float64 `json:"want,omitempty"`
	AtMost bool    `json:"at_most,omitempty"`
	Value  float64 `json:"value"` // 0 when it is not known
	Low    float64 `json:"low"`   // of single repetitions, without the lowest and the highest where there are five or more
	High   float64 `json:"high"`
	Result string  `json:"result"`
	Why    string  `json:"why,omitempty"`
	asks   float64 // what the contestant must reach, in the unit of the figure
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
			return w
		}
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
	v.Value, v.asks = g.what.of(&ours.Median), v.Want
	var each []float64
	for i := range ours.Samples {
		x := g.what.of(&ours.Samples[i])
		if peer != nil {
			y := 0.0
			if i < len(peer.Samples) && !peer.unused(i) {
				y = g.what.of(&peer.Samples[i])
			}
			if y == 0 {
				continue
			}
			x /= y
		}
		if !ours.unused(i) {
			each = append(each, x)
		}
	}
	if peer != nil {
		p := g.what.of(&peer.Median)
		if p == 0 {
			v.Value, v.Why = 0, peer.Name+": the figure is not known"
			return v
		}
		v.Value, v.asks = v.Value/p, v.Want*p
	}
	if v.Value == 0 && g.what != idleCPU || len(each) == 0 || math.IsInf(v.Value, 0) {
		v.Why = v.Ours + ": the figure is not known"
		return v
	}
	v.Low, v.High = bounds(each)
	switch {
	case v.Want == 0:
		v.Result = told
	case o.disturbed(ours) != "":
		v.Why = o.disturbed(ours)
	case peer != nil && o.disturbed(peer) != "":
		v.Why = o.disturbed(peer)
	case v.reached(v.Low) != v.reached(v.High) && (v.High-v.Low)/v.Value > closeEnough:
		v.Why = fmt.Sprintf("the repetitions say %s to %s", digits(v.Low), digits(v.High))
	case v.reached(v.Value):
		v.Result = met
	default:
		v.Result = missed
	}
	return v
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

// disturbed says what disturbed a contestant so often that its figures give no verdict; "" when they do.
func (o *outcome) disturbed(e *entry) string {
	if e.Quiet >= min(enough, len(e.Samples)) {
		return ""
	}
	for i := range e.Samples {
		if n := e.Samples[i].Noise; n != "" {
			return fmt.Sprintf("noise: %d of %d repetitions of %s were disturbed, e.g. %s", len(e.Samples)-e.Quiet, len(e.Samples), e.Name, n)
		}
	}
	return ""
}

// bounds are the lowest and the highest value; of five or more, those behind the extremes, as one repetition in five may go wrong.
func bounds(v []float64) (low, high float64) {
	v = slices.Sorted(slices.Values(v))
	if len(v) >= 5 {
		v = v[1 : len(v)-1]
	}
	return v[0], v[len(v)-1]
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
