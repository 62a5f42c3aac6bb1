package main

import (
	"fmt"
	"io"
	"strings"

	"goaoe/internal/cli/plot"
)

// markdown writes the tables of docs/performance.md.
func (r *report) markdown(w io.Writer) {
	fmt.Fprintf(w, "%s.\n\n", r.count())
	fmt.Fprintln(w, "| row | work | figure | goal | measured | repetitions | verdict | limit |")
	fmt.Fprintln(w, "| --- | --- | --- | --- | --- | --- | --- | --- |")
	for i := range r.Rows {
		o := &r.Rows[i]
		for _, v := range o.Goals {
			between, limit := "-", "-"
			if v.Low != v.High {
				between = digits(v.Low) + " to " + digits(v.High)
			}
			if e := o.entry(v.Ours); e != nil && e.Limit != "" {
				limit = e.Limit
			}
			result := v.Result
			if v.Why != "" {
				result += ": " + v.Why
			}
			fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", o.ID, cell(o.work()), cell(v.what()), v.goal(), v.value(), between, cell(result), limit)
		}
	}
	fmt.Fprintln(w, "\nMedians of the contestants (CPU in us for a request; \"busy\" is the target's, in per cent of one CPU):")
	fmt.Fprintln(w, "\n| row | contestant | requests/s | p50 us | p99.9 us | CPU, target | CPU, client | busy | client idle | limit | spread |")
	fmt.Fprintln(w, "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |")
	for i := range r.Rows {
		o := &r.Rows[i]
		for _, e := range o.Entries {
			c := e.cells()
			fmt.Fprintf(w, "| %s | %s | %s | %s |\n", o.ID, cell(e.Name), strings.Join(c[:8], " | "), c[9])
		}
	}
	for _, m := range append(append([]string{}, r.Machine...), r.Warnings...) {
		fmt.Fprintf(w, "\n%s\n", m)
	}
}

// work is what is done.
func (o *outcome) work() string { return fmt.Sprintf("%s, MTU %d", o.Title, o.MTU) }

// cell makes a text fit into a cell of a table.
func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", "\\|")
}

// picture draws the figures that have goals: those of which more is better, then those of which less is.
func (r *report) picture() string {
	more := plot.Bars{Title: "More is better: the figure, by that of the peer"}
	less := plot.Bars{Title: "Less is better"}
	for i := range r.Rows {
		o := &r.Rows[i]
		for _, v := range o.Goals {
			if v.Peer == "" || v.Want == 0 {
				continue // of another unit, or without a goal
			}
			result := v.Result
			switch {
			case v.Limit == nil:
			case result == atLimit:
				result += fmt.Sprintf(" (%s of it)", digits(v.Limit.Value))
			case result == missed:
				result += fmt.Sprintf(" (%s of the limit)", digits(v.Limit.Value))
			}
			b := plot.Bar{Label: o.ID + "  " + o.Title, Note: fmt.Sprintf("%s / %s, %s", v.Ours, v.Peer, v.Figure), Value: v.Value, Low: v.Low, High: v.High, Mark: v.Want,
				Text: fmt.Sprintf("%s (goal %s) %s", v.value(), v.goal(), result), Good: v.Result == met, Doubt: v.Result == unclear}
			if v.AtMost {
				less.All = append(less.All, b)
			} else {
				more.All = append(more.All, b)
			}
		}
	}
	var charts []plot.Bars
	for _, c := range []plot.Bars{more, less} {
		if len(c.All) > 0 {
			charts = append(charts, c)
		}
	}
	text := "make bench"
	if len(r.Machine) > 0 {
		text = r.Machine[0]
	}
	return plot.BarPage("goaoe beside what else there is", text, charts)
}
