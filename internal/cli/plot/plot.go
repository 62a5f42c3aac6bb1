// Package plot draws line charts as SVG (Scalable Vector Graphics 1.1): a few hundred lines of text, which browsers, converters and
// documents take. It knows what goaoe bench needs and no more; a library for charts would make the program megabytes larger.
package plot

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// Chart is one chart. Charts of a page are below each other.
type Chart struct {
	Title  string
	X, Y   Axis
	Series []Series
}

// Axis is a scale.
type Axis struct {
	Label string
	Log   bool                 // logarithmic; values must be more than 0
	Zero  bool                 // begins at 0
	Ticks []Tick               // nil: chosen
	Text  func(float64) string // of a chosen tick; nil: the number
}

// Tick is a mark on an axis.
type Tick struct {
	At   float64
	Text string
}

// Series is one line. Series of one name have one colour in all charts.
type Series struct {
	Name string
	X, Y []float64
	Fill bool // the area below it, too
	Step bool // horizontal lines between the points
}

const (
	width   = 860
	height  = 250 // of a chart, without what is around it
	left    = 78
	right   = 24
	top     = 40 // above a chart: its title
	bottom  = 52 // below: numbers and label
	heading = 74
)

// colours can be told apart by people who see few colours, too (Okabe and Ito).
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5c00", "#000000"}

// Page draws charts below a title and a line of text.
func Page(title, text string, charts []Chart) string {
	var names []string
	index := map[string]int{}
	for _, c := range charts {
		for _, s := range c.Series {
			if _, ok := index[s.Name]; !ok {
				index[s.Name] = len(names)
				names = append(names, s.Name)
			}
		}
	}
	total := heading + len(charts)*(top+height+bottom) + 10
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#222">`+"\n",
		width, total, width, total)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, total)
	fmt.Fprintf(&b, `<text x="%d" y="28" font-size="17" font-weight="bold">%s</text>`+"\n", left, html.EscapeString(title))
	fmt.Fprintf(&b, `<text x="%d" y="48" fill="#555">%s</text>`+"\n", left, html.EscapeString(text))
	x := left
	for i, n := range names {
		fmt.Fprintf(&b, `<rect x="%d" y="58" width="18" height="4" fill="%s"/><text x="%d" y="64">%s</text>`+"\n", x, colours[i%len(colours)], x+24, html.EscapeString(n))
		x += 24 + 7*len(n) + 24
	}
	for i, c := range charts {
		c.draw(&b, heading+i*(top+height+bottom)+top, index)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// scale maps values to places.
type scale struct {
	lo, hi   float64 // logarithms when log
	from, to float64 // places
	log      bool
}

func (s scale) at(v float64) float64 {
	if s.log {
		v = math.Log10(v)
	}
	if s.hi == s.lo {
		return (s.from + s.to) / 2
	}
	return s.from + (v-s.lo)/(s.hi-s.lo)*(s.to-s.from)
}

// span finds the least and the largest value.
func (a Axis) span(all func(yield func(float64))) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	all(func(v float64) {
		if math.IsNaN(v) || math.IsInf(v, 0) || a.Log && v <= 0 {
			return
		}
		lo, hi = math.Min(lo, v), math.Max(hi, v)
	})
	if math.IsInf(lo, 0) { // nothing is there
		lo, hi = 1, 10
	}
	if a.Zero {
		lo = math.Min(lo, 0)
	}
	if lo == hi {
		if hi == 0 {
			hi = 1
		} else if lo = lo * .9; !a.Log {
			hi *= 1.1
		}
		if lo == hi {
			hi = lo + 1
		}
	}
	return lo, hi
}

// scale makes the scale of an axis and its ticks.
func (a Axis) scale(lo, hi, from, to float64) (scale, []Tick) {
	ticks := a.Ticks
	if a.Log {
		if ticks == nil {
			ticks = a.decades(lo, hi)
		}
		return scale{math.Log10(lo), math.Log10(hi), from, to, true}, ticks
	}
	step := nice((hi - lo) / 5)
	if a.Zero {
		hi = math.Ceil(hi/step-1e-9) * step
	}
	if ticks == nil {
		for i := math.Ceil(lo/step - 1e-9); i*step <= hi+step*1e-9; i++ {
			v := i*step + 0 // without it 0 may be -0
			ticks = append(ticks, Tick{v, a.text(v)})
		}
	}
	return scale{lo, hi, from, to, false}, ticks
}

func (a Axis) text(v float64) string {
	if a.Text != nil {
		return a.Text(v)
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

// decades are ticks at 1, 2 and 5 of each power of ten, or at the powers when there are many.
func (a Axis) decades(lo, hi float64) (out []Tick) {
	steps := []float64{1, 2, 5}
	if math.Log10(hi/lo) > 4 {
		steps = steps[:1]
	}
	for e := math.Floor(math.Log10(lo)); e <= math.Log10(hi); e++ {
		for _, m := range steps {
			if v := m * math.Pow(10, e); v >= lo*.999 && v <= hi*1.001 {
				out = append(out, Tick{v, a.text(v)})
			}
		}
	}
	return out
}

// nice rounds a step up to 1, 2 or 5 of a power of ten.
func nice(v float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*p*1.0001 {
			return m * p
		}
	}
	return 10 * p
}

func (c *Chart) draw(b *strings.Builder, y0 int, index map[string]int) {
	each := func(y bool) func(func(float64)) {
		return func(yield func(float64)) {
			for _, s := range c.Series {
				v := s.X
				if y {
					v = s.Y
				}
				for _, n := range v {
					yield(n)
				}
			}
		}
	}
	lo, hi := c.X.span(each(false))
	sx, xticks := c.X.scale(lo, hi, left, width-right)
	lo, hi = c.Y.span(each(true))
	sy, yticks := c.Y.scale(lo, hi, float64(y0+height), float64(y0))
	fmt.Fprintf(b, `<text x="%d" y="%d" font-size="14" font-weight="bold">%s</text>`+"\n", left, y0-12, html.EscapeString(c.Title))
	for _, t := range yticks {
		y := sy.at(t.At)
		fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#555">%s</text>`+"\n",
			left, y, width-right, y, left-8, y+4, html.EscapeString(t.Text))
	}
	last := math.Inf(-1)
	for _, t := range xticks {
		x := sx.at(t.At)
		if x < left-1 || x > width-right+1 {
			continue
		}
		fmt.Fprintf(b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#eee"/>`+"\n", x, y0, x, y0+height)
		if x-last < float64(7*len(t.Text)+8) {
			continue // its text would touch the one before
		}
		last = x
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#555">%s</text>`+"\n", x, y0+height+17, html.EscapeString(t.Text))
	}
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="#999"/>`+"\n", left, y0, width-left-right, height)
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (left+width-right)/2, y0+height+36, html.EscapeString(c.X.Label))
	fmt.Fprintf(b, `<text x="16" y="%d" text-anchor="middle" transform="rotate(-90 16 %d)">%s</text>`+"\n", y0+height/2, y0+height/2, html.EscapeString(c.Y.Label))
	for _, s := range c.Series {
		s.draw(b, sx, sy, y0, colours[index[s.Name]%len(colours)])
	}
}

func (s *Series) draw(b *strings.Builder, sx, sy scale, y0 int, colour string) {
	var p strings.Builder
	var firstX float64
	n := 0
	for i := range s.X {
		if sx.log && s.X[i] <= 0 || sy.log && s.Y[i] <= 0 {
			continue
		}
		x, y := sx.at(s.X[i]), sy.at(s.Y[i])
		switch {
		case n == 0:
			firstX = x
			fmt.Fprintf(&p, "M%.1f %.1f", x, y)
		case s.Step:
			fmt.Fprintf(&p, "H%.1fV%.1f", x, y)
		default:
			fmt.Fprintf(&p, "L%.1f %.1f", x, y)
		}
		n++
	}
	if n == 0 {
		return
	}
	if n == 1 { // a line needs two
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", firstX, sy.at(s.Y[0]), colour)
		return
	}
	if s.Fill {
		fmt.Fprintf(b, `<path d="%sV%dH%.1fZ" fill="%s" fill-opacity="0.15"/>`+"\n", p.String(), y0+height, firstX, colour)
	}
	fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.8" stroke-linejoin="round"/>`+"\n", p.String(), colour)
}
