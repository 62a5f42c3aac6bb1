package figures

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"goaoe/internal/cli/frames"
	"goaoe/internal/control"
	"goaoe/internal/stats"
)

// Kinds of subjects of goaoe stats --by.
const (
	ByExport    = "export"
	ByInterface = "interface"
	ByInitiator = "initiator"
	ByLane      = "lane"
)

// Kinds are all of them.
var Kinds = []string{ByExport, ByInterface, ByInitiator, ByLane}

// latencies are the distributions of an export with their names.
func latencies(l *stats.Latency) []struct {
	Op string
	H  *stats.HistogramSnapshot
} {
	return []struct {
		Op string
		H  *stats.HistogramSnapshot
	}{{"read", &l.Read}, {"write", &l.Write}, {"flush", &l.Flush}, {"other", &l.Other}}
}

// Print writes counters and latencies of the kinds as tables.
func Print(w io.Writer, s *control.Stats, kinds []string, histogram bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "since %s (%s)\n", s.Since.Local().Format("2006-01-02 15:04:05"), age(s.At.Sub(s.Since)))
	for _, k := range kinds {
		switch k {
		case ByExport:
			printExports(&b, s)
			if histogram {
				for i := range s.Exports {
					for _, l := range latencies(&s.Exports[i].Latency) {
						Histogram(&b, s.Exports[i].Address+" "+l.Op, l.H, 50)
					}
				}
			}
		case ByInterface:
			printInterfaces(&b, s)
		case ByInitiator:
			printInitiators(&b, s)
		case ByLane:
			printLanes(&b, s)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// table writes rows, columns aligned; numbers to the right.
func table(b *strings.Builder, head string, rows int, row func(i int) []any) {
	if rows == 0 {
		return
	}
	b.WriteByte('\n')
	w := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(head, " ", "\t"))
	for i := range rows {
		for j, v := range row(i) {
			if j > 0 {
				fmt.Fprint(w, "\t")
			}
			if s, ok := v.(string); ok && s == "" {
				v = "-"
			}
			fmt.Fprint(w, v)
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // to memory
}

func printExports(b *strings.Builder, s *control.Stats) {
	table(b, "EXPORT STATE READS READ WRITES WRITTEN FLUSHES TRIMS OTHER ERRORS REJECTS NO-REPLY REPEATS WAITS STALLS LIMITED QUEUE BATCH", len(s.Exports), func(i int) []any {
		e := &s.Exports[i]
		return []any{e.Address, e.State, e.Reads, humanize.IBytes(e.ReadBytes), e.Writes, humanize.IBytes(e.WriteBytes), e.Flushes, e.Discards, e.Others, e.Errors,
			e.Rejects, e.Drops.Total(), e.Retransmits, e.Waits, e.Stalls, e.Limited, fmt.Sprintf("%d/%d", e.InFlight+e.Queued, e.Limit),
			f(ratio(e.Storage.Ops, e.Storage.Batches), 1)}
	})
	type line struct {
		name, op string
		q        *Quantiles
	}
	var lines []line
	for i := range s.Exports {
		for _, l := range latencies(&s.Exports[i].Latency) {
			if q := QuantilesOf(l.H); q != nil {
				lines = append(lines, line{s.Exports[i].Address, l.Op, q})
			}
		}
	}
	table(b, "LATENCY OF COUNT MEAN P50 P90 P99 P99.9 MAX", len(lines), func(i int) []any {
		d, q := frames.Duration, lines[i].q
		return []any{lines[i].name, lines[i].op, q.Count, d(int64(q.Mean)), d(q.P50), d(q.P90), d(q.P99), d(q.P999), d(q.Max)}
	})
	first := true
	for i := range s.Exports {
		e := &s.Exports[i]
		first = reasons(b, first, e.Address, []named{{"errors", e.ErrorKinds}, {"rejects", e.RejectKinds}, {"no reply", e.Drops}})
	}
}

func printInterfaces(b *strings.Builder, s *control.Stats) {
	table(b, "INTERFACE RX-FRAMES RX TX-FRAMES TX RX/BATCH TX/BATCH RING-DROPS TX-ERRORS TX-FULL NO-REPLY", len(s.Interfaces), func(i int) []any {
		p := &s.Interfaces[i]
		return []any{p.Name, p.RxFrames, humanize.IBytes(p.RxBytes), p.TxFrames, humanize.IBytes(p.TxBytes), f(ratio(p.RxFrames, p.RxBatches), 1),
			f(ratio(p.TxFrames, p.TxBatches), 1), p.KernelDrops, p.TxErrors, p.TxFull, p.Drops.Total()}
	})
	first := true
	for i := range s.Interfaces {
		first = reasons(b, first, s.Interfaces[i].Name, []named{{"no reply", s.Interfaces[i].Drops}})
	}
}

func printInitiators(b *strings.Builder, s *control.Stats) {
	table(b, "INITIATOR NAME EXPORT INTERFACE REQUESTS READS READ WRITES WRITTEN MEAN ERRORS REJECTS DENIED NO-REPLY REPEATS LIMITED SEEN", len(s.Initiators), func(i int) []any {
		n := &s.Initiators[i]
		mac, seen := n.MAC, ""
		if mac == "" {
			mac = "others"
		}
		if !n.LastSeen.IsZero() {
			seen = age(s.At.Sub(n.LastSeen)) + " ago"
		}
		return []any{mac, n.Name, n.Export, n.Interface, n.Requests, n.Reads, humanize.IBytes(n.ReadBytes), n.Writes, humanize.IBytes(n.WriteBytes),
			frames.Duration(int64(ratio(n.BusyNs, n.Reads+n.Writes))), n.Errors, n.Rejects, n.Denied, n.Drops, n.Retransmits, n.Limited, seen}
	})
}

func printLanes(b *strings.Builder, s *control.Stats) {
	total := float64(max(s.At.Sub(s.Since), 1))
	table(b, "LANE TURNS SLEEPS SPINS ASLEEP SPINNING SLOTS USED", len(s.Lanes), func(i int) []any {
		l := &s.Lanes[i]
		return []any{l.Lane, l.Turns, l.Sleeps, l.Spins, f(100*float64(l.SleepNs)/total, 1) + "%", f(100*float64(l.SpinNs)/total, 1) + "%", l.Slots, l.SlotsUsed}
	})
}

type named struct {
	what string
	c    stats.Counts
}

// reasons writes counters by kind in one line, if there are any. It returns whether nothing was written yet.
func reasons(b *strings.Builder, first bool, name string, all []named) bool {
	var parts []string
	for _, n := range all {
		if len(n.c) == 0 {
			continue
		}
		parts = append(parts, n.what+": "+Counts(n.c))
	}
	if len(parts) == 0 {
		return first
	}
	if first {
		b.WriteByte('\n')
	}
	fmt.Fprintf(b, "%s  %s\n", name, strings.Join(parts, "; "))
	return false
}

// Counts shows counters by name, the largest first.
func Counts(c stats.Counts) string {
	keys := slices.SortedFunc(maps.Keys(c), func(a, b string) int {
		if c[a] != c[b] {
			return int(min(max(int64(c[b])-int64(c[a]), -1), 1))
		}
		return strings.Compare(a, b)
	})
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%s %d", k, c[k])
	}
	return strings.Join(keys, ", ")
}

// Bar is one row of a histogram for people: how many were not longer than LE nanoseconds and longer than the bar before.
type Bar struct {
	LE int64
	N  uint64
}

// Bars puts the buckets of a distribution together by powers of two, from the first that has any to the last.
func Bars(h *stats.HistogramSnapshot) []Bar {
	var out []Bar
	for _, b := range h.Buckets {
		le := int64(1) << bits.Len64(uint64(b.LE-1))
		for len(out) > 0 && out[len(out)-1].LE < le/2 {
			out = append(out, Bar{LE: 2 * out[len(out)-1].LE})
		}
		if len(out) == 0 || out[len(out)-1].LE != le {
			out = append(out, Bar{LE: le})
		}
		out[len(out)-1].N += b.N
	}
	return out
}

// Histogram draws a distribution with bars of at most width characters; nothing without anything in it.
func Histogram(b *strings.Builder, title string, h *stats.HistogramSnapshot, width int) {
	bars := Bars(h)
	if len(bars) == 0 {
		return
	}
	var most, total uint64
	for _, x := range bars {
		most, total = max(most, x.N), total+x.N
	}
	fmt.Fprintf(b, "\n%s: %d requests\n", title, total)
	for _, x := range bars {
		k := int(float64(width) * float64(x.N) / float64(most))
		if x.N > 0 {
			k = max(k, 1)
		}
		fmt.Fprintf(b, "  <= %7s |%-*s| %9d %5.1f%%\n", frames.Duration(x.LE), width, strings.Repeat("#", k), x.N, 100*float64(x.N)/float64(total))
	}
}

// age shows how long something takes or is ago, roughly.
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < 48*time.Hour:
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// exportJSON is an export with its quantiles.
type exportJSON struct {
	control.ExportStats
	Quantiles map[string]*Quantiles `json:"quantiles"`
}

// JSON writes the counters of the kinds as one object.
func JSON(w io.Writer, s *control.Stats, kinds []string) error {
	out := map[string]any{"at": s.At, "since": s.Since}
	for _, k := range kinds {
		switch k {
		case ByExport:
			list := []exportJSON{}
			for i := range s.Exports {
				e := exportJSON{ExportStats: s.Exports[i], Quantiles: map[string]*Quantiles{}}
				for _, l := range latencies(&e.Latency) {
					if q := QuantilesOf(l.H); q != nil {
						e.Quantiles[l.Op] = q
					}
				}
				list = append(list, e)
			}
			out["exports"] = list
		case ByInterface:
			out["interfaces"] = s.Interfaces
		case ByInitiator:
			out["initiators"] = s.Initiators
		case ByLane:
			out["lanes"] = s.Lanes
		}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}
