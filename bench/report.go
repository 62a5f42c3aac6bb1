package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

const (
	fullyBusy  = 0.9  // of a CPU: the target has no more to give
	littleIdle = 0.05 // of the load generator: less, and it has no more to give
)

// entry is one contestant's part of a row. The medians are of the repetitions that nothing disturbed, when there are enough of them; else of all.
type entry struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"`
	Command string   `json:"command"`
	Samples []sample `json:"samples"`
	Quiet   int      `json:"undisturbed"` // repetitions
	Median  sample   `json:"median"`      // each figure's own
	Min     float64  `json:"min"`         // of the row's figure: requests per second or microseconds
	Max     float64  `json:"max"`
	Spread  float64  `json:"spread"`                // (max - min) / median
	Busy    float64  `json:"target_busy,omitempty"` // CPUs that the target used
	Limit   string   `json:"limit,omitempty"`       // what had no more to give: target, client, both; "neither": they waited for something
	Void    string   `json:"void,omitempty"`
}

// outcome is one row of the table.
type outcome struct {
	ID       string    `json:"id"`
	Title    string    `json:"title"`
	MTU      int       `json:"mtu"`
	Latency  bool      `json:"latency,omitempty"` // repetitions are compared by it
	Entries  []entry   `json:"contestants"`
	Goals    []verdict `json:"goals"`
	Warnings []string  `json:"warnings,omitempty"`
	Repeated int       `json:"disturbed_and_repeated,omitempty"`
	Void     string    `json:"void,omitempty"`
	row      row
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

// unused tells whether repetition i does not count because it was disturbed.
func (e *entry) unused(i int) bool {
	return e.Samples[i].Noise != "" && e.Quiet >= min(enough, len(e.Samples))
}

// sum makes the medians. One void repetition makes the entry void, and says why: the others would hide what was wrong.
func (e *entry) sum(latency bool) {
	for i, s := range e.Samples {
		if s.Void != "" && e.Void == "" {
			e.Void = fmt.Sprintf("repetition %d: %s", i+1, s.Void)
		}
		if s.Void == "" && s.Noise == "" {
			e.Quiet++
		}
	}
	var of []float64
	all := map[*float64][]float64{}
	m := &e.Median
	for i, s := range e.Samples {
		if s.Void != "" || e.unused(i) {
			continue
		}
		for to, v := range map[*float64]float64{&m.PerSecond: s.PerSecond, &m.P50: s.P50, &m.P999: s.P999, &m.TargetCPU: s.TargetCPU, &m.ClientCPU: s.ClientCPU,
			&m.ClientIdle: s.ClientIdle, &m.Fair: s.Fair, &m.IdleCPU: s.IdleCPU, &m.RSS: s.RSS} {
			all[to] = append(all[to], v)
		}
		if latency {
			of = append(of, s.P50)
		} else {
			of = append(of, s.PerSecond)
		}
	}
	if len(of) == 0 {
		if e.Void == "" {
			e.Void = "no repetition"
		}
		return
	}
	for to, v := range all {
		*to = median(v)
	}
	e.Min, e.Max = slices.Min(of), slices.Max(of)
	if middle := median(of); middle > 0 {
		e.Spread = (e.Max - e.Min) / middle
	}
	e.Busy = m.TargetCPU * m.PerSecond / 1e6
}

// limit tells what had no more to give, for a target on one CPU and the load generator on another.
func (e *entry) limit() string {
	target, client := e.Busy >= fullyBusy, e.Median.ClientIdle < littleIdle
	switch {
	case target && client:
		return "both"
	case target:
		return "target"
	case client:
		return "client"
	}
	return "neither"
}

// sum makes medians, verdicts and warnings of a row that was measured.
func (o *outcome) sum() {
	for i := range o.Entries {
		e := &o.Entries[i]
		e.sum(o.Latency)
		if c := o.row.contestants[i]; c.kind != fio && !isNBD(c.kind) && c.client == nil && o.row.run == nil && e.Void == "" {
			e.Limit = e.limit()
		}
		if e.Limit == "client" {
			o.Warnings = append(o.Warnings, fmt.Sprintf("the load generator waited for %.0f %% of the time only: %s may be faster than it could ask",
				e.Median.ClientIdle*100, e.Name))
		}
	}
	if o.Repeated > 0 {
		o.Warnings = append(o.Warnings, fmt.Sprintf("%d repetitions were disturbed and measured again", o.Repeated))
	}
	for _, g := range o.row.goals {
		o.Goals = append(o.Goals, o.judge(g))
	}
}

// entry returns the contestant with a name, or nil.
func (o *outcome) entry(name string) *entry {
	for i := range o.Entries {
		if o.Entries[i].Name == name {
			return &o.Entries[i]
		}
	}
	return nil
}

// cells are the figures of an entry in words: rate, latencies, CPU time at both ends, CPUs of the target, idle time of the client, limit, extremes, spread.
func (e *entry) cells() []string {
	m := &e.Median
	if m.PerSecond == 0 {
		if m.RSS > 0 {
			return []string{"idle", "-", "-", fmt.Sprintf("%.3f %%", m.IdleCPU), fmt.Sprintf("%.0f MiB", m.RSS), "-", "-", "-", "-", "-"}
		}
		return slices.Repeat([]string{"-"}, 10)
	}
	out := []string{fmt.Sprintf("%.0f", m.PerSecond), fmt.Sprintf("%.1f", m.P50), fmt.Sprintf("%.1f", m.P999), "-", "-", "-", "-", "-", short(e.Min) + ".." + short(e.Max), fmt.Sprintf("%.0f %%", e.Spread*100)}
	if m.P999 == 0 { // of fio that was stopped in between
		out[2] = "-"
	}
	if m.TargetCPU > 0 { // fio alone has no target
		out[3], out[5] = fmt.Sprintf("%.2f", m.TargetCPU), fmt.Sprintf("%.0f %%", e.Busy*100)
	}
	if m.ClientCPU > 0 {
		out[4] = fmt.Sprintf("%.2f", m.ClientCPU)
	}
	if e.Limit != "" {
		out[6], out[7] = fmt.Sprintf("%.0f %%", m.ClientIdle*100), e.Limit
	}
	return out
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
		if o.Latency {
			unit = "p50 us"
		}
		fmt.Fprintf(t, "  \tmedian/s\tp50 us\tp99.9 us\ttarget CPU us\tclient CPU us\ttarget busy\tclient idle\tlimit\t%s min..max\tspread\t\n", unit)
		for _, e := range o.Entries {
			fmt.Fprintf(t, "  %s\t%s\t\n", e.Name, strings.Join(e.cells(), "\t"))
		}
		t.Flush()
		for _, v := range o.Goals {
			fmt.Fprintln(w, "  "+v.line())
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
	fmt.Fprintln(w, "\n"+r.count())
}

// line is a verdict in words.
func (v *verdict) line() string {
	s := v.what() + " = " + v.value()
	if v.Low != v.High {
		s += fmt.Sprintf(" (%s to %s)", digits(v.Low), digits(v.High))
	}
	if v.Result == told {
		return s
	}
	s += fmt.Sprintf(", goal %s: %s", v.goal(), shout(v.Result))
	if v.Why != "" {
		s += ": " + v.Why
	}
	return s
}

func shout(result string) string {
	if result == missed {
		return strings.ToUpper(result)
	}
	return result
}

// count sums the verdicts up.
func (r *report) count() string {
	n := map[string]int{}
	for i := range r.Rows {
		for _, v := range r.Rows[i].Goals {
			n[v.Result]++
		}
	}
	return fmt.Sprintf("%d goals: %d met, %d at the limit, %d missed, %d without a verdict", n[met]+n[atLimit]+n[missed]+n[unclear], n[met], n[atLimit], n[missed], n[unclear])
}

func short(v float64) string {
	if v < 1000 {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
	}
	return fmt.Sprintf("%.0f", v)
}

// save writes all forms into the directory, the JSON also into the file more, and the picture into the file picture, unless these are empty.
func (r *report) save(dir, more, picture string) error {
	var text, page strings.Builder
	r.text(&text)
	r.markdown(&page)
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	svg := []byte(r.picture())
	for _, f := range []struct {
		name string
		data []byte
	}{{filepath.Join(dir, "bench.txt"), []byte(text.String())}, {filepath.Join(dir, "bench.md"), []byte(page.String())}, {filepath.Join(dir, "bench.json"), b},
		{filepath.Join(dir, "bench.svg"), svg}, {more, b}, {picture, svg}} {
		if f.name == "" {
			continue
		}
		if err := os.WriteFile(f.name, f.data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// load reads reports that were saved as JSON, and makes one of them: of a row that several have, the last counts.
func load(files []string) (*report, error) {
	all := &report{}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var r report
		if err := json.Unmarshal(b, &r); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, m := range r.Machine {
			if !slices.Contains(all.Machine, m) {
				all.Machine = append(all.Machine, m)
			}
		}
		for _, m := range r.Warnings {
			if !slices.Contains(all.Warnings, m) {
				all.Warnings = append(all.Warnings, m)
			}
		}
		for _, o := range r.Rows {
			i := slices.IndexFunc(all.Rows, func(have outcome) bool { return have.ID == o.ID })
			if i >= 0 {
				all.Rows[i] = o
			} else {
				all.Rows = append(all.Rows, o)
			}
		}
	}
	if len(all.Rows) == 0 {
		return nil, errors.New("there is no row in " + strings.Join(files, ", "))
	}
	order := map[string]int{}
	for i, r := range rows() {
		order[r.id] = i
	}
	for i := range guestWork {
		order[numberedFrom("t", i)] = len(order)
	}
	slices.SortStableFunc(all.Rows, func(a, b outcome) int { return order[a.ID] - order[b.ID] })
	return all, nil
}
