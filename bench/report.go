package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

const (
	noisySpread = 0.15 // of a peer's repetitions: (max - min) / median
	noisyBusy   = 0.5  // CPUs in use by others before a row
	littleIdle  = 0.05 // of the load generator: less, and it may be what limits
)

// entry is one contestant's part of a row. The medians leave out repetitions that are void.
type entry struct {
	Name     string   `json:"name"`
	Command  string   `json:"command"`
	Samples  []sample `json:"samples"`
	Median   sample   `json:"median"` // each figure's own
	Min      float64  `json:"min"`    // of the row's figure: requests per second or microseconds
	Max      float64  `json:"max"`
	Spread   float64  `json:"spread"` // (max - min) / median
	Void     string   `json:"void,omitempty"`
	headline float64
}

// verdict is how a goal came out.
type verdict struct {
	Peer  string  `json:"peer,omitempty"`
	Own   bool    `json:"own_cpu,omitempty"` // CPU time of the client by that of its target: less is better
	Want  float64 `json:"want"`
	Ratio float64 `json:"ratio"` // 0 when void
	Met   bool    `json:"met"`
	Void  string  `json:"void,omitempty"`
}

// outcome is one row of the table.
type outcome struct {
	ID         string    `json:"id"`
	Title      string    `json:"title"`
	MTU        int       `json:"mtu"`
	Entries    []entry   `json:"contestants"`
	Goals      []verdict `json:"goals"`
	Warnings   []string  `json:"warnings,omitempty"`
	BusyBefore float64   `json:"busy_cpus_before"`
	Void       string    `json:"void,omitempty"`
	row        row
}

// report is everything.
type report struct {
	Machine  []string  `json:"machine"`
	Warnings []string  `json:"warnings,omitempty"`
	Rows     []outcome `json:"rows"`
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// sum makes the medians. One void repetition makes the entry void, and says why: the others would hide what was wrong.
func (e *entry) sum(latency bool) {
	var rate, p50, p999, cpu, own, idle []float64
	for i, s := range e.Samples {
		if s.Void != "" {
			if e.Void == "" {
				e.Void = fmt.Sprintf("repetition %d: %s", i+1, s.Void)
			}
			continue
		}
		rate, p50, p999 = append(rate, s.PerSecond), append(p50, s.P50), append(p999, s.P999)
		cpu, own, idle = append(cpu, s.TargetCPU), append(own, s.ClientCPU), append(idle, s.ClientIdle)
	}
	if len(rate) == 0 {
		if e.Void == "" {
			e.Void = "no repetition"
		}
		return
	}
	e.Median = sample{PerSecond: median(rate), P50: median(p50), P999: median(p999), TargetCPU: median(cpu), ClientCPU: median(own), ClientIdle: median(idle)}
	of := rate
	if e.headline = e.Median.PerSecond; latency {
		of, e.headline = p50, e.Median.P50
	}
	e.Min, e.Max = slices.Min(of), slices.Max(of)
	if e.headline > 0 {
		e.Spread = (e.Max - e.Min) / e.headline
	}
}

// sum makes medians, verdicts and warnings of a row that was measured.
func (o *outcome) sum() {
	for i := range o.Entries {
		o.Entries[i].Command = describe(o.row.contestants[i])
		o.Entries[i].sum(o.row.latency)
	}
	ours := &o.Entries[0]
	for _, g := range o.row.goals {
		v := verdict{Peer: g.peer, Want: g.factor}
		i := slices.IndexFunc(o.Entries, func(e entry) bool { return e.Name == g.peer })
		peer := &o.Entries[i]
		switch {
		case o.Void != "":
			v.Void = o.Void
		case ours.Void != "":
			v.Void = ours.Name + ": " + ours.Void
		case peer.Void != "":
			v.Void = peer.Name + ": " + peer.Void
		case o.row.latency:
			v.Ratio = peer.headline / ours.headline
		default:
			v.Ratio = ours.headline / peer.headline
		}
		v.Met = v.Void == "" && v.Ratio >= g.factor
		o.Goals = append(o.Goals, v)
		if peer.Spread > noisySpread {
			o.Warnings = append(o.Warnings, fmt.Sprintf("noisy: the repetitions of %s differ by %.0f %%", peer.Name, peer.Spread*100))
		}
	}
	if o.row.frugal {
		v := verdict{Own: true, Want: 1, Void: o.Void}
		if v.Void == "" {
			v.Void = ours.Void
		}
		if v.Void == "" {
			v.Ratio = ours.Median.ClientCPU / ours.Median.TargetCPU
		}
		v.Met = v.Void == "" && v.Ratio < v.Want
		o.Goals = append(o.Goals, v)
	}
	for i, e := range o.Entries {
		if c := o.row.contestants[i]; c.kind != fio && !isNBD(c.kind) && c.client == nil && e.Void == "" && e.Median.ClientIdle < littleIdle {
			o.Warnings = append(o.Warnings, fmt.Sprintf("the load generator waited for %.0f %% of the time only: %s may be faster than it could ask",
				e.Median.ClientIdle*100, e.Name))
		}
	}
	if o.BusyBefore > noisyBusy {
		o.Warnings = append(o.Warnings, fmt.Sprintf("noisy: other processes used %.1f CPUs before this row", o.BusyBefore))
	}
}

// text writes the table for people.
func (r *report) text(w io.Writer) {
	for _, s := range r.Machine {
		fmt.Fprintln(w, s)
	}
	for _, s := range r.Warnings {
		fmt.Fprintln(w, "WARNING:", s)
	}
	for i := range r.Rows {
		o := &r.Rows[i]
		fmt.Fprintf(w, "\n%s) %s, MTU %d\n", o.ID, o.Title, o.MTU)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		unit := "requests/s"
		if o.row.latency {
			unit = "p50 us"
		}
		fmt.Fprintf(t, "  \tmedian/s\tp50 us\tp99.9 us\ttarget CPU us\tclient CPU us\tclient idle\t%s min..max\tspread\t\n", unit)
		for j, e := range o.Entries {
			if e.Median.PerSecond == 0 {
				fmt.Fprintf(t, "  %s\t-\t-\t-\t-\t-\t-\t-\t-\t\n", e.Name)
				continue
			}
			cpu, own, idle := "-", "-", "-" // fio has no target
			if e.Median.TargetCPU > 0 {
				cpu, own, idle = fmt.Sprintf("%.2f", e.Median.TargetCPU), fmt.Sprintf("%.2f", e.Median.ClientCPU), fmt.Sprintf("%.0f %%", e.Median.ClientIdle*100)
			}
			if o.row.contestants[j].client != nil { // it sleeps when there is nothing to do
				idle = "-"
			}
			fmt.Fprintf(t, "  %s\t%.0f\t%.1f\t%.1f\t%s\t%s\t%s\t%s..%s\t%.0f %%\t\n", e.Name, e.Median.PerSecond, e.Median.P50, e.Median.P999, cpu, own, idle,
				short(e.Min), short(e.Max), e.Spread*100)
		}
		t.Flush()
		for _, v := range o.Goals {
			fmt.Fprintln(w, "  "+v.line(o.Entries[0].Name, o.row.latency))
		}
		for _, e := range o.Entries {
			if e.Void != "" {
				fmt.Fprintf(w, "  VOID, %s: %s\n", e.Name, e.Void)
			}
		}
		if o.Void != "" {
			fmt.Fprintf(w, "  VOID: %s\n", o.Void)
		}
		for _, s := range o.Warnings {
			fmt.Fprintln(w, "  WARNING:", s)
		}
	}
}

// line is a verdict in words.
func (v *verdict) line(ours string, latency bool) string {
	what := fmt.Sprintf("%s / %s", ours, v.Peer)
	if latency {
		what = fmt.Sprintf("median latency %s / %s", v.Peer, ours)
	}
	if v.Own {
		what = "CPU time for a request, " + ours + " / its target"
	}
	if v.Void != "" {
		return fmt.Sprintf("%s: void, goal %.2f", what, v.Want)
	}
	met := "met"
	if !v.Met {
		met = "MISSED"
	}
	goal := "goal"
	if v.Own {
		goal = "goal below"
	}
	return fmt.Sprintf("%s = %.2f, %s %.2f: %s", what, v.Ratio, goal, v.Want, met)
}

func short(v float64) string {
	if v < 1000 {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
	}
	return fmt.Sprintf("%.0f", v)
}

// save writes both forms into the directory, and the JSON into the file more, too, unless that is empty.
func (r *report) save(dir, more string) error {
	var text strings.Builder
	r.text(&text)
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(dir+"/bench.txt", []byte(text.String()), 0o644); err != nil {
		return err
	}
	b = append(b, '\n')
	if more != "" {
		if err := os.WriteFile(more, b, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(dir+"/bench.json", b, 0o644)
}
