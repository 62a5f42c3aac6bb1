package plot

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestBars: a bar is as long as its value, its mark stands where it should, and texts are there and escaped.
func TestBars(t *testing.T) {
	page := BarPage("a <b>", "text", []Bars{{Title: "more", All: []Bar{
		{Label: "one & only", Note: "note", Value: 2, Low: 1.5, High: 2.5, Mark: 1, Text: "2.0 met", Good: true}, {Label: "two", Value: 1, Mark: 4, Text: "1.0 missed"}, {Label: "none", Text: "-", Doubt: true}}},
		{Title: "less"}})
	texts := strings.Join(parse(t, page), "|")
	for _, want := range []string{"a <b>", "text", "more", "less", "one & only", "note", "2.0 met", "1.0 missed", "none"} {
		if !strings.Contains(texts, want) {
			t.Errorf("no %q in %s", want, texts)
		}
	}
	var widths []float64
	for _, m := range regexp.MustCompile(`width="([\d.]+)" height="14" fill="(#\w+)"`).FindAllStringSubmatch(page, -1) {
		w, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		widths = append(widths, w)
	}
	if len(widths) != 2 || math.Abs(widths[0]-2*widths[1]) > .2 || widths[0] > barsWidth-barsLeft-barsRight {
		t.Errorf("bars of 2, 1 and 0 are %v wide", widths)
	}
	if !strings.Contains(page, colourGood) || !strings.Contains(page, colourBad) || strings.Count(page, `stroke-width="2"`) != 2 {
		t.Error("colours or marks")
	}
}

// TestOddBars: values that are none draw nothing.
func TestOddBars(t *testing.T) {
	for _, v := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		page := BarPage("", "", []Bars{{All: []Bar{{Label: strings.Repeat("long ", 100), Value: v, Low: v, High: v}}}})
		parse(t, page)
		if strings.Contains(page, `height="14" fill`) {
			t.Errorf("%v has a bar", v)
		}
	}
}
