package plot

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// parse fails when a page is not well-formed or has a number that is none.
func parse(t *testing.T, page string) (texts []string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, page)
		}
		if c, ok := tok.(xml.CharData); ok {
			if s := strings.TrimSpace(string(c)); s != "" {
				texts = append(texts, s)
			}
		}
	}
	if strings.Contains(page, "NaN") || strings.Contains(page, "Inf") {
		t.Errorf("numbers that are none in\n%s", page)
	}
	return texts
}

// TestPage: a point lies where its value says, and texts are there and escaped.
func TestPage(t *testing.T) {
	page := Page("a <b> & c", "text", []Chart{{Title: "rates", X: Axis{Label: "seconds"}, Y: Axis{Label: "per second", Zero: true},
		Series: []Series{{Name: "one", X: []float64{0, 5, 10}, Y: []float64{0, 50, 100}}, {Name: "two", X: []float64{0, 10}, Y: []float64{100, 100}, Fill: true}}}})
	texts := strings.Join(parse(t, page), "|")
	for _, want := range []string{"a <b> & c", "text", "one", "two", "rates", "seconds", "per second", "|0|", "|100|", "|10|"} {
		if !strings.Contains(texts, want) {
			t.Errorf("no %q in %s", want, texts)
		}
	}
	m := regexp.MustCompile(`<path d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"`).FindStringSubmatch(page)
	if m == nil {
		t.Fatal(page)
	}
	var v [6]float64
	for i := range v {
		v[i], _ = strconv.ParseFloat(m[i+1], 64)
	}
	if v[0] != left || v[4] != width-right || v[2] != (left+width-right)/2 || v[1]-v[5] != height || math.Abs(v[3]-(v[1]+v[5])/2) > .1 {
		t.Errorf("the points are at %v", v)
	}
}

// TestOdd: nothing, one point, equal points and values that a logarithm cannot have make a page.
func TestOdd(t *testing.T) {
	for _, c := range []Chart{
		{},
		{Series: []Series{{Name: "x"}}},
		{Series: []Series{{Name: "x", X: []float64{1}, Y: []float64{0}}}},
		{X: Axis{Log: true}, Y: Axis{Log: true}, Series: []Series{{Name: "x", X: []float64{0, 3, 3}, Y: []float64{5, 0, 5}}}},
		{X: Axis{Log: true}, Series: []Series{{Name: "x", X: []float64{1e-3, 1e9}, Y: []float64{-5, 7}, Step: true, Fill: true}}},
		{Y: Axis{Zero: true}, Series: []Series{{Name: "x", X: []float64{1, 2}, Y: []float64{0, 0}}}},
	} {
		parse(t, Page("", "", []Chart{c}))
	}
}

// TestTicks: marks are at round numbers inside the range.
func TestTicks(t *testing.T) {
	texts := func(a Axis, lo, hi float64) string {
		_, ticks := a.scale(lo, hi, 0, 100)
		var out []string
		for _, k := range ticks {
			out = append(out, k.Text)
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct {
		a      Axis
		lo, hi float64
		want   string
	}{
		{Axis{}, 0, 10, "0 2 4 6 8 10"},
		{Axis{Zero: true}, 0, 73000, "0 20000 40000 60000 80000"},
		{Axis{}, 3.2, 4.1, "3.2 3.4 3.6 3.8 4"},
		{Axis{Log: true}, 30, 3000, "50 100 200 500 1000 2000"},
		{Axis{Log: true}, 1, 1e6, "1 10 100 1000 10000 100000 1e+06"},
	} {
		if got := texts(c.a, c.lo, c.hi); got != c.want {
			t.Errorf("%v to %v: %q, want %q", c.lo, c.hi, got, c.want)
		}
	}
}
