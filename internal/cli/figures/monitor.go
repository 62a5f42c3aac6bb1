package figures

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"goaoe/internal/control"
	"goaoe/internal/stats"
)

// column is a column of goaoe monitor.
type column[T any] struct {
	head  string
	width int
	value func(p *Period, v *T) string
}

// The first twelve columns of exports and the first seven of interfaces are those of ggaoectl monitor, at their places.
const (
	ggaExport    = 11
	ggaInterface = 6
)

func f(v float64, prec int) string { return strconv.FormatFloat(v, 'f', prec, 64) }

func n(v uint64) string { return strconv.FormatUint(v, 10) }

// ms shows nanoseconds as milliseconds.
func ms(ns float64) string { return f(ns/1e6, 2) }

var exportColumns = []column[control.ExportStats]{
	{"rrqm/s", 8, func(p *Period, e *control.ExportStats) string { return f(p.PerSecond(e.Reads), 1) }},
	{"rkB/s", 10, func(p *Period, e *control.ExportStats) string { return f(p.PerSecond(e.ReadBytes)/1024, 2) }},
	{"wrqm/s", 8, func(p *Period, e *control.ExportStats) string { return f(p.PerSecond(e.Writes), 1) }},
	{"wkB/s", 10, func(p *Period, e *control.ExportStats) string { return f(p.PerSecond(e.WriteBytes)/1024, 2) }},
	{"oth", 3, func(_ *Period, e *control.ExportStats) string { return n(e.Flushes + e.Discards + e.Others) }},
	{"avgqsz", 6, func(p *Period, e *control.ExportStats) string { return f(e.Busy().Seconds()/p.Elapsed.Seconds(), 2) }},
	{"qs", 2, func(_ *Period, e *control.ExportStats) string { return n(e.Stalls) }},
	{"qf", 2, func(_ *Period, e *control.ExportStats) string {
		return n(e.Drops[stats.DropFull.String()])
	}},
	{"ae", 2, func(_ *Period, e *control.ExportStats) string { return n(e.Errors) }},
	{"pe", 2, func(_ *Period, e *control.ExportStats) string { return n(e.Rejects) }},
	{"svctm", 8, func(_ *Period, e *control.ExportStats) string { return ms(All(&e.Latency).Mean()) }},
	{"r_p50", 7, func(_ *Period, e *control.ExportStats) string { return ms(float64(e.Latency.Read.Quantile(.5))) }},
	{"r_p99", 7, func(_ *Period, e *control.ExportStats) string { return ms(float64(e.Latency.Read.Quantile(.99))) }},
	{"w_p50", 7, func(_ *Period, e *control.ExportStats) string { return ms(float64(e.Latency.Write.Quantile(.5))) }},
	{"w_p99", 7, func(_ *Period, e *control.ExportStats) string { return ms(float64(e.Latency.Write.Quantile(.99))) }},
	{"rtx", 3, func(_ *Period, e *control.ExportStats) string { return n(e.Retransmits) }},
	{"drop", 4, func(_ *Period, e *control.ExportStats) string { return n(e.Drops.Total()) }},
}

var interfaceColumns = []column[control.InterfaceStats]{
	{"rrqm/s", 8, func(p *Period, i *control.InterfaceStats) string { return f(p.PerSecond(i.RxFrames), 1) }},
	{"rkB/s", 10, func(p *Period, i *control.InterfaceStats) string { return f(p.PerSecond(i.RxBytes)/1024, 2) }},
	{"wrqm/s", 8, func(p *Period, i *control.InterfaceStats) string { return f(p.PerSecond(i.TxFrames), 1) }},
	{"wkB/s", 10, func(p *Period, i *control.InterfaceStats) string { return f(p.PerSecond(i.TxBytes)/1024, 2) }},
	{"drp", 3, func(_ *Period, i *control.InterfaceStats) string { return n(i.KernelDrops) }},
	{"avrun", 6, func(_ *Period, i *control.InterfaceStats) string {
		return f(ratio(i.RxFrames+i.TxFrames, i.RxBatches+i.TxBatches), 2)
	}},
	{"ign", 4, func(_ *Period, i *control.InterfaceStats) string { return n(i.Drops.Total()) }},
	{"txe", 4, func(_ *Period, i *control.InterfaceStats) string { return n(i.TxErrors) }},
	{"txf", 4, func(_ *Period, i *control.InterfaceStats) string { return n(i.TxFull) }},
}

func ratio(a, b uint64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// Layout says how a report looks.
type Layout struct {
	Name    int  // width of the first column
	Columns int  // of the terminal: columns beyond those of ggaoectl that do not fit it are left out; 0: all are there
	Head    bool // with headers
}

// NameWidth is the width that the names need.
func NameWidth(s *control.Stats) int {
	w := 4
	for i := range s.Exports {
		w = max(w, len(s.Exports[i].Address))
	}
	for i := range s.Interfaces {
		w = max(w, len(s.Interfaces[i].Name))
	}
	return w
}

// Lines is how many lines a report has without headers.
func (p *Period) Lines() int { return len(p.Exports) + len(p.Interfaces) }

// Report writes what happened as a table: exports, then interfaces.
func (p *Period) Report(w io.Writer, l Layout) error {
	var b strings.Builder
	section(&b, p, l, "dev", exportColumns, ggaExport, p.Exports, func(e *control.ExportStats) string { return e.Address })
	if len(p.Exports) > 0 && len(p.Interfaces) > 0 && l.Head {
		b.WriteByte('\n')
	}
	section(&b, p, l, "net", interfaceColumns, ggaInterface, p.Interfaces, func(i *control.InterfaceStats) string { return i.Name })
	if l.Head && p.Lines() > 1 {
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// section writes the table of one kind.
func section[T any](b *strings.Builder, p *Period, l Layout, title string, all []column[T], least int, rows []T, name func(*T) string) {
	if len(rows) == 0 {
		return
	}
	cols := all
	if l.Columns > 0 {
		used := l.Name
		for i, c := range all {
			if used += 1 + c.width; used >= l.Columns && i >= least {
				cols = all[:i]
				break
			}
		}
	}
	if l.Head {
		fmt.Fprintf(b, "%-*s", l.Name, title)
		for _, c := range cols {
			fmt.Fprintf(b, " %*s", c.width, c.head)
		}
		b.WriteByte('\n')
	}
	for i := range rows {
		fmt.Fprintf(b, "%-*s", l.Name, name(&rows[i]))
		for _, c := range cols {
			fmt.Fprintf(b, " %*s", c.width, c.value(p, &rows[i]))
		}
		b.WriteByte('\n')
	}
}

// Quantiles are those that are shown, in nanoseconds. Each is the upper bound of its bucket: the true value is at most a quarter below.
type Quantiles struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean_ns"`
	P50   int64   `json:"p50_ns"`
	P90   int64   `json:"p90_ns"`
	P99   int64   `json:"p99_ns"`
	P999  int64   `json:"p99.9_ns"`
	Max   int64   `json:"max_ns"`
}

// QuantilesOf makes them of a distribution; nil without anything in it.
func QuantilesOf(h *stats.HistogramSnapshot) *Quantiles {
	if h.Count == 0 {
		return nil
	}
	return &Quantiles{Count: h.Count, Mean: h.Mean(), P50: h.Quantile(.5), P90: h.Quantile(.9), P99: h.Quantile(.99), P999: h.Quantile(.999), Max: h.Quantile(1)}
}

// Row is one line of goaoe monitor --json. Rates are per second, the rest is what happened in the interval.
type Row struct {
	Time     time.Time `json:"time"`
	Interval float64   `json:"interval_s"`
	Kind     string    `json:"kind"` // "export", "interface"
	Name     string    `json:"name"`

	Reads      *float64   `json:"reads_per_s,omitempty"`
	ReadBytes  *float64   `json:"read_bytes_per_s,omitempty"`
	Writes     *float64   `json:"writes_per_s,omitempty"`
	WriteBytes *float64   `json:"write_bytes_per_s,omitempty"`
	Other      *uint64    `json:"other,omitempty"`      // flush, discard and requests answered without storage
	QueueMean  *float64   `json:"queue_mean,omitempty"` // requests for storage under way, on average
	Stalls     *uint64    `json:"stalls,omitempty"`
	QueueFull  *uint64    `json:"queue_full,omitempty"`
	Errors     *uint64    `json:"errors,omitempty"`
	Rejects    *uint64    `json:"rejects,omitempty"`
	Latency    *float64   `json:"latency_mean_ns,omitempty"`
	Read       *Quantiles `json:"read_latency,omitempty"`
	Write      *Quantiles `json:"write_latency,omitempty"`
	Flush      *Quantiles `json:"flush_latency,omitempty"`
	Retransmit *uint64    `json:"retransmits,omitempty"`

	RxFrames    *float64     `json:"rx_frames_per_s,omitempty"`
	RxBytes     *float64     `json:"rx_bytes_per_s,omitempty"`
	TxFrames    *float64     `json:"tx_frames_per_s,omitempty"`
	TxBytes     *float64     `json:"tx_bytes_per_s,omitempty"`
	Batch       *float64     `json:"batch_mean,omitempty"` // frames
	KernelDrops *uint64      `json:"kernel_drops,omitempty"`
	TxErrors    *uint64      `json:"tx_errors,omitempty"`
	TxFull      *uint64      `json:"tx_full,omitempty"`
	Drops       stats.Counts `json:"drops"` // requests or frames without a reply, by reason
}

// JSON writes what happened, one object per line.
func (p *Period) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	rate := func(n uint64) *float64 { v := p.PerSecond(n); return &v }
	drops := func(c stats.Counts) stats.Counts {
		if c == nil {
			return stats.Counts{}
		}
		return c
	}
	for i := range p.Exports {
		e := &p.Exports[i]
		other, queue, full := e.Flushes+e.Discards+e.Others, e.Busy().Seconds()/p.Elapsed.Seconds(), e.Drops[stats.DropFull.String()]
		all := All(&e.Latency)
		mean := all.Mean()
		err := enc.Encode(&Row{Time: p.At, Interval: p.Elapsed.Seconds(), Kind: "export", Name: e.Address, Reads: rate(e.Reads), ReadBytes: rate(e.ReadBytes),
			Writes: rate(e.Writes), WriteBytes: rate(e.WriteBytes), Other: &other, QueueMean: &queue, Stalls: &e.Stalls, QueueFull: &full, Errors: &e.Errors,
			Rejects: &e.Rejects, Latency: &mean, Read: QuantilesOf(&e.Latency.Read), Write: QuantilesOf(&e.Latency.Write), Flush: QuantilesOf(&e.Latency.Flush),
			Retransmit: &e.Retransmits, Drops: drops(e.Drops)})
		if err != nil {
			return err
		}
	}
	for i := range p.Interfaces {
		t := &p.Interfaces[i]
		batch := ratio(t.RxFrames+t.TxFrames, t.RxBatches+t.TxBatches)
		err := enc.Encode(&Row{Time: p.At, Interval: p.Elapsed.Seconds(), Kind: "interface", Name: t.Name, RxFrames: rate(t.RxFrames), RxBytes: rate(t.RxBytes),
			TxFrames: rate(t.TxFrames), TxBytes: rate(t.TxBytes), Batch: &batch, KernelDrops: &t.KernelDrops, TxErrors: &t.TxErrors, TxFull: &t.TxFull,
			Drops: drops(t.Drops)})
		if err != nil {
			return err
		}
	}
	return nil
}
