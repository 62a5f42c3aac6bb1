package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"goaoe/internal/cli/frames"
	"goaoe/internal/cli/plot"
	"goaoe/internal/loadgen"
)

// draw makes the page of --svg: the rate over time, the latency by percentile, and how latencies are distributed.
func (b *benching) draw(disks []*benched, rep *benchReport) string {
	rates := plot.Chart{Title: "Requests per second over time", X: plot.Axis{Label: "seconds"}, Y: plot.Axis{Label: "requests/s", Zero: true, Text: thousands}}
	shares := plot.Chart{Title: "Latency by percentile", X: plot.Axis{Label: "percent of the requests that took no longer", Log: true, Ticks: percentiles},
		Y: plot.Axis{Label: "latency", Log: true, Text: nanoseconds}}
	spread := plot.Chart{Title: "Distribution of latencies", X: plot.Axis{Label: "latency", Log: true, Text: nanoseconds}, Y: plot.Axis{Label: "percent of the requests", Zero: true}}
	var text []string
	for i, d := range disks {
		name := d.addr.String()
		at := 0.0
		line := plot.Series{Name: name}
		for _, r := range d.runs {
			for _, t := range r.Ticks {
				line.X, line.Y = append(line.X, at+t.At.Seconds()), append(line.Y, t.Rate)
			}
			at += r.Seconds
		}
		rates.Series = append(rates.Series, line)
		h := d.all()
		shares.Series = append(shares.Series, byPercentile(name, h))
		spread.Series = append(spread.Series, distribution(name, h))
		text = append(text, fmt.Sprintf("%s: %s requests/s", name, humanize.Comma(int64(math.Round(rep.Disks[i].Rate)))))
	}
	for _, r := range rep.Comparison {
		text = append(text, fmt.Sprintf("%s / %s = %.2f (%.2f to %.2f)", r.Address, r.To, r.Rate, r.RateMin, r.RateMax))
	}
	return plot.Page("goaoe bench: "+b.title(), strings.Join(text, "; "), []plot.Chart{rates, shares, spread})
}

func thousands(v float64) string { return humanize.Comma(int64(math.Round(v))) }

func nanoseconds(v float64) string {
	text := frames.Duration(int64(math.Round(v)))
	number := strings.TrimRight(text, "nums")
	short, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return text
	}
	return strconv.FormatFloat(short, 'g', 4, 64) + " " + text[len(number):]
}

// percentiles are marks at places 1/(1-q), so that each further nine is as wide as the one before.
var percentiles = []plot.Tick{{At: 1, Text: "0"}, {At: 2, Text: "50"}, {At: 10, Text: "90"}, {At: 100, Text: "99"}, {At: 1e3, Text: "99.9"}, {At: 1e4, Text: "99.99"},
	{At: 1e5, Text: "99.999"}, {At: 1e6, Text: "99.9999"}}

// byPercentile is the line of latencies over percentiles, as far as there are requests for them.
func byPercentile(name string, h *loadgen.Histogram) plot.Series {
	s := plot.Series{Name: name}
	for x := 1.0; x <= float64(max(h.Count(), 1)); x *= 1.1 {
		s.X, s.Y = append(s.X, x), append(s.Y, float64(max(h.Quantile(1-1/x), 1)))
	}
	return s
}

// distribution is the share of the requests in steps that grow by a twentieth.
func distribution(name string, h *loadgen.Histogram) plot.Series {
	s := plot.Series{Name: name, Fill: true}
	const factor = 1.08
	counts := map[int]uint64{}
	lo, hi := math.MaxInt, math.MinInt
	h.Each(func(low, high int64, n uint64) {
		i := int(math.Round(math.Log(math.Max(float64(low+high)/2, 1)) / math.Log(factor)))
		counts[i] += n
		lo, hi = min(lo, i), max(hi, i)
	})
	for i := lo - 1; i <= hi+1 && h.Count() > 0; i++ {
		s.X, s.Y = append(s.X, math.Pow(factor, float64(i))), append(s.Y, float64(counts[i])*100/float64(h.Count()))
	}
	return s
}
