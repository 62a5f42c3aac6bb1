package top

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"goaoe/internal/cli/figures"
	"goaoe/internal/cli/frames"
	"goaoe/internal/control"
	"goaoe/internal/stats"
)

// detailLines draws one export: what it is, who uses it, how long its requests take, and what went wrong.
func (m *Model) detailLines() []string {
	p := m.period
	if p == nil {
		return []string{"waiting for the daemon"}
	}
	at := slices.IndexFunc(p.Exports, func(e control.ExportStats) bool { return e.Address == m.detail })
	if at < 0 {
		return []string{m.detail + " is not there any more"}
	}
	now, all := &p.Exports[at], &m.cur.Exports[at]
	out := m.whatItIs(now)
	out = append(out, "", fmt.Sprintf("now    read %s/s in %s requests/s, write %s/s in %s requests/s; %d under way, %d waiting, queue length %d",
		humanize.IBytes(uint64(p.PerSecond(now.ReadBytes))), rate(p.PerSecond(now.Reads)).text, humanize.IBytes(uint64(p.PerSecond(now.WriteBytes))),
		rate(p.PerSecond(now.Writes)).text, all.InFlight, all.Queued, all.Limit))
	out = append(out, fmt.Sprintf("since  %s: %d reads of %s, %d writes of %s, %d flushes, %d trims, %d others; %d sent again",
		m.cur.Since.Local().Format("2006-01-02 15:04"), all.Reads, humanize.IBytes(all.ReadBytes), all.Writes, humanize.IBytes(all.WriteBytes), all.Flushes,
		all.Discards, all.Others, all.Retransmits))
	for _, k := range []struct {
		what string
		c    stats.Counts
	}{{"errors", all.ErrorKinds}, {"refused", all.RejectKinds}, {"no reply", all.Drops}} {
		if len(k.c) > 0 {
			out = append(out, "! "+k.what+": "+figures.Counts(k.c))
		}
	}
	out = append(out, "")
	out = append(out, m.users()...)
	out = append(out, "")
	if m.total {
		return append(out, m.latencies("since the start", &all.Latency)...)
	}
	return append(out, m.latencies("of the last interval", &now.Latency)...)
}

// whatItIs draws the configuration.
func (m *Model) whatItIs(e *control.ExportStats) []string {
	x := m.exports[e.Address]
	if x == nil {
		return []string{bold.Render(e.Address) + "  " + e.State}
	}
	line := bold.Render(e.Address)
	for _, s := range []string{x.Name, e.State, humanize.IBytes(x.Sectors * 512), x.Source} {
		if s != "" {
			line += "  " + word(s).text
		}
	}
	out := []string{line}
	if x.Why != "" {
		out = append(out, "! "+word(x.Why).text)
	}
	for _, w := range x.Waiting {
		out = append(out, "waiting: "+word(w).text)
	}
	served := strings.Join(x.Served, ", ")
	if served == "" {
		served = "no interface"
	}
	line = fmt.Sprintf("served on %s by lane %d; configured in %s", served, x.Lane, word(x.Origin).text)
	if x.ConfigString != "" {
		line += "; config string " + word(x.ConfigString).text
	}
	out = append(out, line)
	if len(x.Mask) > 0 {
		out = append(out, "MAC mask list: "+strings.Join(x.Mask, ", "))
	}
	if len(x.Reserve) > 0 {
		out = append(out, "reserved for "+strings.Join(x.Reserve, ", "))
	}
	return out
}

// users draws the initiators of the export, the busiest first.
func (m *Model) users() []string {
	var list []*control.InitiatorStats
	for i := range m.period.Initiators {
		if n := &m.period.Initiators[i]; n.Export == m.detail {
			list = append(list, n)
		}
	}
	reserved := map[string]bool{}
	if x := m.exports[m.detail]; x != nil {
		for _, u := range x.Users {
			reserved[u.MAC] = u.Reserved
		}
	}
	if len(list) == 0 {
		return []string{bold.Render("initiators"), "  none so far"}
	}
	slices.SortStableFunc(list, func(a, b *control.InitiatorStats) int {
		return int(int64(b.ReadBytes+b.WriteBytes) - int64(a.ReadBytes+a.WriteBytes))
	})
	p := m.period
	out := []string{bold.Render("initiators")}
	for _, n := range list {
		mac := n.MAC
		if mac == "" {
			mac = "others"
		}
		var mean int64
		if ops := n.Reads + n.Writes; ops > 0 {
			mean = int64(n.BusyNs / ops)
		}
		line := fmt.Sprintf("  %-17s %-12s %-8s read %9s/s  write %9s/s  %8s", mac, word(n.Name).text, word(n.Interface).text,
			bytes(p.PerSecond(n.ReadBytes)).text, bytes(p.PerSecond(n.WriteBytes)).text, span(mean).text)
		if reserved[n.MAC] {
			line += "  has it reserved"
		}
		out = append(out, line)
	}
	return out
}

// latencies draws the distributions beside each other where there is room, else below each other.
func (m *Model) latencies(of string, l *stats.Latency) []string {
	type dist struct {
		name string
		h    *stats.HistogramSnapshot
	}
	var blocks [][]string
	wide := m.width >= 100
	width := min(max(m.width-34, 5), 60)
	if wide {
		width = min(m.width/2-34, 60)
	}
	for _, d := range []dist{{"reads", &l.Read}, {"writes", &l.Write}, {"flushes", &l.Flush}, {"others", &l.Other}} {
		if d.h.Count > 0 {
			blocks = append(blocks, m.histogram(d.name, d.h, width))
		}
	}
	out := []string{bold.Render("latency "+of) + " (t changes)"}
	if len(blocks) == 0 {
		return append(out, "  no requests")
	}
	if !wide {
		return append(out, slices.Concat(blocks...)...)
	}
	for i := 0; i < len(blocks); i += 2 {
		left, right := blocks[i], []string(nil)
		if i+1 < len(blocks) {
			right = blocks[i+1]
		}
		for j := range max(len(left), len(right)) {
			var a, b string
			if j < len(left) {
				a = left[j]
			}
			if j < len(right) {
				b = right[j]
			}
			out = append(out, strings.TrimRight(pad(a, m.width/2, true)+b, " "))
		}
	}
	return out
}

// histogram draws one distribution.
func (m *Model) histogram(name string, h *stats.HistogramSnapshot, width int) []string {
	q := figures.QuantilesOf(h)
	d := frames.Duration
	out := []string{fmt.Sprintf("  %d %s: p50 %s p99 %s max %s", q.Count, name, d(q.P50), d(q.P99), d(q.Max))}
	bars := figures.Bars(h)
	var most uint64
	for _, b := range bars {
		most = max(most, b.N)
	}
	for _, b := range bars {
		k := int(float64(width) * float64(b.N) / float64(most))
		if b.N > 0 {
			k = max(k, 1)
		}
		out = append(out, fmt.Sprintf("  <= %7s %s %d", d(b.LE), strings.Repeat(m.marks().bar, k), b.N))
	}
	return append(out, "")
}
