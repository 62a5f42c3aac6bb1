package cli

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"goaoe/internal/cli/frames"
	"goaoe/internal/loadgen"
	"goaoe/internal/measure"
)

// benchReport is the result as JSON.
type benchReport struct {
	Work       benchWork    `json:"work"`
	Disks      []benchDisk  `json:"disks"`
	Comparison []benchRatio `json:"comparison,omitempty"` // with the first disk
}

type benchWork struct {
	Size       int     `json:"size"`
	Depth      int     `json:"depth"`
	Writes     int     `json:"writes_percent"`
	Sequential bool    `json:"sequential"`
	Verified   bool    `json:"verified"`
	Offset     int64   `json:"offset"`
	Length     int64   `json:"length"` // 0: up to the end
	Duration   float64 `json:"duration_seconds"`
	Count      uint64  `json:"count,omitempty"`
}

// benchDisk is one disk: the figures of its runs together, and each run.
type benchDisk struct {
	Address string     `json:"address"`
	Size    int64      `json:"size"`
	Model   string     `json:"model"`
	Sectors int        `json:"sectors_per_frame"`
	Paths   []string   `json:"paths"`
	Rate    float64    `json:"requests_per_second"` // the median of the runs
	Bytes   float64    `json:"bytes_per_second"`
	Latency *benchLat  `json:"latency"` // of all runs
	Reads   *benchLat  `json:"reads,omitempty"`
	Writes  *benchLat  `json:"writes,omitempty"`
	OwnCPU  float64    `json:"own_cpu_us_per_request"`
	CPU     float64    `json:"target_cpu_us_per_request,omitempty"`
	Again   uint64     `json:"retransmits"`
	Runs    []benchRun `json:"runs"`
}

type benchRun struct {
	Requests uint64  `json:"requests"`
	Seconds  float64 `json:"seconds"`
	Rate     float64 `json:"requests_per_second"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
	OwnCPU   float64 `json:"own_cpu_us_per_request"`
	CPU      float64 `json:"target_cpu_us_per_request,omitempty"`
	Again    uint64  `json:"retransmits"`
}

// benchLat is a distribution in microseconds.
type benchLat struct {
	Count     uint64       `json:"count"`
	Min       float64      `json:"min_us"`
	Mean      float64      `json:"mean_us"`
	P50       float64      `json:"p50_us"`
	P90       float64      `json:"p90_us"`
	P95       float64      `json:"p95_us"`
	P99       float64      `json:"p99_us"`
	P999      float64      `json:"p99_9_us"`
	P9999     float64      `json:"p99_99_us"`
	Max       float64      `json:"max_us"`
	Histogram [][3]float64 `json:"histogram"` // from, to (microseconds), requests
}

// benchRatio compares a disk with the first one: its figure by that of the first.
type benchRatio struct {
	Address string  `json:"address"`
	To      string  `json:"to"`
	Rate    float64 `json:"rate"` // of the rates: the median of the rounds
	RateMin float64 `json:"rate_min"`
	RateMax float64 `json:"rate_max"`
	P50     float64 `json:"p50"` // of the median latencies
	P50Min  float64 `json:"p50_min"`
	P50Max  float64 `json:"p50_max"`
}

func us(d time.Duration) float64 { return math.Round(float64(d)/10) / 100 }

func latency(h *loadgen.Histogram) *benchLat {
	if h.Count() == 0 {
		return nil
	}
	l := &benchLat{Count: h.Count(), Mean: us(h.Mean()), P50: us(h.Quantile(.5)), P90: us(h.Quantile(.9)), P95: us(h.Quantile(.95)), P99: us(h.Quantile(.99)),
		P999: us(h.Quantile(.999)), P9999: us(h.Quantile(.9999)), Max: us(h.Max())}
	first := true
	h.Each(func(low, high int64, n uint64) {
		if first {
			l.Min, first = us(time.Duration(low)), false
		}
		l.Histogram = append(l.Histogram, [3]float64{us(time.Duration(low)), us(time.Duration(high)), float64(n)})
	})
	return l
}

// all is the histogram of all requests of a disk.
func (d *benched) all() *loadgen.Histogram {
	h := &loadgen.Histogram{}
	for _, r := range d.runs {
		h.Merge(&r.Read)
		h.Merge(&r.Write)
	}
	return h
}

func middle(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if len(v) == 0 {
		return 0
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// of takes a figure of each run.
func of(runs []*measure.Result, f func(*measure.Result) float64) []float64 {
	out := make([]float64, len(runs))
	for i, r := range runs {
		out[i] = f(r)
	}
	return out
}

func rateOf(r *measure.Result) float64 { return r.PerSecond }

func p50Of(r *measure.Result) float64 {
	h := r.Read
	h.Merge(&r.Write)
	return float64(h.Quantile(.5))
}

func (b *benching) report(disks []*benched) *benchReport {
	w := &b.work
	rep := &benchReport{Work: benchWork{w.Size, w.Depth, w.Writes, w.Sequential, w.Verify, w.Offset, w.Length, w.Duration.Seconds(), w.Count}}
	for _, d := range disks {
		x := benchDisk{Address: d.addr.String(), Size: d.disk.Size(), Model: d.disk.Identity().Model, Sectors: d.disk.FrameSectors(), Rate: middle(of(d.runs, rateOf))}
		x.Bytes = x.Rate * float64(w.Size)
		for _, p := range d.disk.Paths() {
			x.Paths = append(x.Paths, fmt.Sprintf("%v on %s", p.MAC, p.Interface))
		}
		x.OwnCPU = middle(of(d.runs, func(r *measure.Result) float64 { return us(r.OwnCPU) }))
		x.CPU = middle(of(d.runs, func(r *measure.Result) float64 { return us(r.TargetCPU) }))
		x.Latency = latency(d.all())
		var reads, writes loadgen.Histogram
		for _, r := range d.runs {
			reads.Merge(&r.Read)
			writes.Merge(&r.Write)
			x.Again += r.Retransmits
			h := r.Read
			h.Merge(&r.Write)
			x.Runs = append(x.Runs, benchRun{r.Requests, r.Seconds, r.PerSecond, us(h.Quantile(.5)), us(h.Quantile(.99)), us(r.OwnCPU), us(r.TargetCPU), r.Retransmits})
		}
		if reads.Count() > 0 && writes.Count() > 0 {
			x.Reads, x.Writes = latency(&reads), latency(&writes)
		}
		rep.Disks = append(rep.Disks, x)
	}
	if b.compare {
		for _, d := range disks[1:] {
			rep.Comparison = append(rep.Comparison, ratios(disks[0], d))
		}
	}
	return rep
}

// ratios compares round by round.
func ratios(base, d *benched) benchRatio {
	var rate, p50 []float64
	for i, r := range d.runs {
		o := base.runs[i]
		rate = append(rate, r.PerSecond/o.PerSecond)
		p50 = append(p50, p50Of(r)/max(p50Of(o), 1))
	}
	return benchRatio{d.addr.String(), base.addr.String(), middle(rate), slices.Min(rate), slices.Max(rate), middle(p50), slices.Min(p50), slices.Max(p50)}
}

func duration(us float64) string { return frames.Duration(int64(us * 1e3)) }

// print shows it to people.
func (b *benching) print(disks []*benched, rep *benchReport) {
	out := b.env.Stdout
	fmt.Fprintln(out, b.title())
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "ADDRESS\tREQUESTS/S\tBYTES/S\tMEAN\tP50\tP90\tP99\tP99.9\tMAX\tAGAIN\tOWN CPU\t")
	row := func(name string, rate, bytes string, l *benchLat, again, cpu string) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", name, rate, bytes, duration(l.Mean), duration(l.P50), duration(l.P90), duration(l.P99), duration(l.P999),
			duration(l.Max), again, cpu)
	}
	for _, d := range rep.Disks {
		if d.Latency == nil {
			fmt.Fprintf(w, "%s\t-\t-\t-\t-\t-\t-\t-\t-\t%d\t-\t\n", d.Address, d.Again)
			continue
		}
		row(d.Address, humanize.Comma(int64(math.Round(d.Rate))), humanize.IBytes(uint64(d.Bytes)), d.Latency, fmt.Sprint(d.Again), duration(d.OwnCPU))
		if d.Reads != nil {
			row("reads", "", "", d.Reads, "", "")
			row("writes", "", "", d.Writes, "", "")
		}
	}
	w.Flush()
	for _, d := range rep.Disks {
		if d.CPU > 0 {
			fmt.Fprintf(out, "%s: the target used %s of CPU time for a request\n", d.Address, duration(d.CPU))
		}
		if len(d.Runs) > 1 {
			lo := slices.MinFunc(d.Runs, func(a, b benchRun) int { return cmp.Compare(a.Rate, b.Rate) }).Rate
			hi := slices.MaxFunc(d.Runs, func(a, b benchRun) int { return cmp.Compare(a.Rate, b.Rate) }).Rate
			fmt.Fprintf(out, "%s: %d runs of %s to %s requests/s\n", d.Address, len(d.Runs), humanize.Comma(int64(lo)), humanize.Comma(int64(hi)))
		}
	}
	for _, r := range rep.Comparison {
		fmt.Fprintf(out, "%s / %s: %.2f times the requests (rounds: %.2f to %.2f), %.2f times the median latency (%.2f to %.2f)\n", r.Address, r.To, r.Rate, r.RateMin, r.RateMax,
			r.P50, r.P50Min, r.P50Max)
	}
	for _, d := range disks {
		if h := d.all(); h.Count() > 0 {
			fmt.Fprintf(out, "\nlatency of %v\n%s", d.addr, bars(h, 16, 40))
		}
	}
}

// bars draws a histogram: at most rows lines, of which the longest has width characters. Most of the steps grow by one factor; the last
// line is everything longer.
func bars(h *loadgen.Histogram, rows, width int) string {
	lo, hi := float64(max(h.Quantile(.001), 1)), float64(h.Quantile(.999))
	n := rows - 1
	factor := math.Max(math.Pow(hi/lo, 1/float64(n)), 1.1)
	limits := []float64{lo * factor}
	for len(limits) < n && limits[len(limits)-1] < hi {
		limits = append(limits, limits[len(limits)-1]*factor)
	}
	limits = append(limits, math.Inf(1))
	counts := make([]uint64, len(limits))
	h.Each(func(low, high int64, k uint64) {
		i, _ := slices.BinarySearch(limits, float64(low+high)/2)
		counts[i] += k
	})
	if counts[len(counts)-1] == 0 {
		counts, limits = counts[:len(counts)-1], limits[:len(limits)-1]
	}
	most := slices.Max(counts)
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 8, 1, ' ', tabwriter.AlignRight)
	for i, c := range counts {
		text := "up to " + frames.Duration(int64(limits[min(i, len(limits)-1)]))
		if math.IsInf(limits[i], 1) {
			text = "longer"
		}
		bar := int(math.Round(float64(c) / float64(most) * float64(width)))
		if c > 0 && bar == 0 {
			fmt.Fprintf(w, "%s\t%.2f %%\t .\n", text, float64(c)*100/float64(h.Count()))
			continue
		}
		fmt.Fprintf(w, "%s\t%.2f %%\t %s\n", text, float64(c)*100/float64(h.Count()), strings.Repeat("#", bar))
	}
	w.Flush()
	return out.String()
}
