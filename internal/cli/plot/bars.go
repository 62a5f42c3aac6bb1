package plot

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Bars is a chart of horizontal bars, each with a mark for what it should reach.
type Bars struct {
	Title string
	All   []Bar
}

// Bar is one of them, with two lines of text on its left.
type Bar struct {
	Label, Note string
	Value       float64 // 0 draws no bar
	Low, High   float64 // a thin line from the one to the other, unless they are equal
	Mark        float64 // a line across the bar; 0: none
	Text        string  // behind the bar
	Good, Doubt bool    // the colour: reached; nobody knows. Neither: not reached
}

const (
	barsWidth = 1060
	barsLeft  = 430 // the texts
	barsRight = 250 // the texts behind the bars
	barStep   = 34
	barHeight = 14
	labelMost = 70 // characters
)

// Colours of bars; texts say the same, for people who see few colours.
const (
	colourGood  = "#009e73"
	colourBad   = "#d55e00"
	colourDoubt = "#999999"
)

// BarPage draws charts of bars below a title and a line of text.
func BarPage(title, text string, charts []Bars) string {
	total := heading
	for _, c := range charts {
		total += top + len(c.All)*barStep + 30
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#222">`+"\n",
		barsWidth, total, barsWidth, total)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", barsWidth, total)
	fmt.Fprintf(&b, `<text x="20" y="28" font-size="17" font-weight="bold">%s</text>`+"\n", html.EscapeString(title))
	fmt.Fprintf(&b, `<text x="20" y="48" fill="#555">%s</text>`+"\n", html.EscapeString(text))
	y := heading - 10
	for i := range charts {
		y = charts[i].draw(&b, y)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// draw draws a chart from y on and returns where it ends.
func (c *Bars) draw(b *strings.Builder, y int) int {
	most := 0.0
	for _, x := range c.All {
		for _, v := range []float64{x.Value, x.Mark, x.High} {
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				most = math.Max(most, v)
			}
		}
	}
	if most == 0 {
		most = 1
	}
	sx, ticks := Axis{Zero: true}.scale(0, most, barsLeft, barsWidth-barsRight)
	end := y + top + len(c.All)*barStep
	fmt.Fprintf(b, `<text x="20" y="%d" font-size="14" font-weight="bold">%s</text>`+"\n", y+top-14, html.EscapeString(c.Title))
	for _, t := range ticks {
		fmt.Fprintf(b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle" fill="#555">%s</text>`+"\n",
			sx.at(t.At), y+top-4, sx.at(t.At), end, sx.at(t.At), end+16, html.EscapeString(t.Text))
	}
	for i, x := range c.All {
		x.draw(b, sx, y+top+i*barStep)
	}
	return end + 30
}

func (x *Bar) draw(b *strings.Builder, sx scale, y int) {
	fmt.Fprintf(b, `<text x="20" y="%d">%s</text><text x="20" y="%d" font-size="11" fill="#666">%s</text>`+"\n",
		y+11, html.EscapeString(cut(x.Label)), y+25, html.EscapeString(cut(x.Note)))
	colour := colourBad
	switch {
	case x.Doubt:
		colour = colourDoubt
	case x.Good:
		colour = colourGood
	}
	at, top := float64(barsLeft), y+6
	ok := x.Value > 0 && !math.IsInf(x.Value, 0)
	if ok {
		at = sx.at(x.Value)
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", barsLeft, top, at-barsLeft, barHeight, colour)
	}
	if ok && x.Low != x.High {
		fmt.Fprintf(b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#222"/>`+"\n", sx.at(x.Low), top+barHeight/2, sx.at(x.High), top+barHeight/2)
		at = math.Max(at, sx.at(x.High))
	}
	if x.Mark > 0 {
		fmt.Fprintf(b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#000" stroke-width="2"/>`+"\n", sx.at(x.Mark), top-4, sx.at(x.Mark), top+barHeight+4)
		at = math.Max(at, sx.at(x.Mark))
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`+"\n", at+8, top+barHeight-3, html.EscapeString(x.Text))
}

// cut makes a text fit on the left.
func cut(s string) string {
	if r := []rune(s); len(r) > labelMost {
		return string(r[:labelMost-1]) + "…"
	}
	return s
}
