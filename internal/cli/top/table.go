package top

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/dustin/go-humanize"

	"goaoe/internal/cli/figures"
	"goaoe/internal/cli/frames"
	"goaoe/internal/control"
)

// col is a column of a table.
type col struct {
	title string
	left  bool // words, not numbers: to the left, and sorted from a to z
	drop  int  // on a narrow terminal columns go in the order of it, the largest first; 0 stays
}

// cell is one value: how it is shown, and how it is sorted.
type cell struct {
	text string
	num  float64
}

type row struct {
	key    string // of the selection and the sparkline
	export string // what enter looks at
	cells  []cell
	alarm  bool // something is wrong with it
}

type table struct {
	cols []col
	rows []row
}

// index is where the row with a key is; 0 when it is not there.
func (t *table) index(key string) int {
	return max(slices.IndexFunc(t.rows, func(r row) bool { return r.key == key }), 0)
}

func exportKey(addr string) string                  { return "e/" + addr }
func initiatorKey(n *control.InitiatorStats) string { return "i/" + n.MAC + "/" + n.Export }
func interfaceKey(name string) string               { return "n/" + name }
func laneKey(n int) string                          { return fmt.Sprintf("l/%d", n) }
func busy(p *figures.Period, l *control.LaneStats) float64 {
	return min(max(1-float64(l.SleepNs+l.SpinNs)/float64(p.Elapsed), 0), 1)
}

func word(s string) cell {
	if s == "" {
		return cell{text: "-"}
	}
	return cell{text: strings.Map(func(r rune) rune { // names come from outside
		if r < ' ' || r >= 0x7f && r < 0xa0 || !strings.ContainsRune(printable(string(r)), r) {
			return '?'
		}
		return r
	}, s)}
}

func count(n uint64) cell { return cell{fmt.Sprint(n), float64(n)} }

// rate shows a number per second: three digits or more, never a long one.
func rate(v float64) cell {
	switch {
	case v >= 1e6:
		return cell{fmt.Sprintf("%.1fM", v/1e6), v}
	case v >= 1e5:
		return cell{fmt.Sprintf("%.0fk", v/1e3), v}
	case v >= 100 || v == 0:
		return cell{fmt.Sprintf("%.0f", v), v}
	}
	return cell{fmt.Sprintf("%.1f", v), v}
}

// mean shows a small number.
func mean(v float64) cell { return cell{fmt.Sprintf("%.2f", v), v} }

func bytes(v float64) cell { return cell{strings.TrimSuffix(humanize.IBytes(uint64(v)), " B"), v} }

func span(ns int64) cell {
	if ns == 0 {
		return cell{"-", 0}
	}
	return cell{frames.Duration(ns), float64(ns)}
}

func percent(v float64) cell { return cell{fmt.Sprintf("%.0f%%", 100*v), v} }

// table makes the table of the tab: filtered and sorted.
func (m *Model) table() *table {
	t := &table{}
	if m.period == nil {
		return t
	}
	switch m.tab {
	case tabExports:
		m.exportTable(t)
	case tabInitiators:
		m.initiatorTable(t)
	case tabInterfaces:
		m.interfaceTable(t)
	case tabLanes:
		m.laneTable(t)
	}
	if f := strings.ToLower(m.filter); f != "" {
		t.rows = slices.DeleteFunc(t.rows, func(r row) bool {
			for i, c := range r.cells {
				if t.cols[i].left && (strings.Contains(strings.ToLower(c.text), f) || figures.Match(f, c.text)) {
					return false
				}
			}
			return true
		})
	}
	m.sort(t)
	return t
}

// sort sorts words from a to z and numbers from large to small; reverse turns that round. Rows that are equal keep their order.
func (m *Model) sort(t *table) {
	v := &m.views[m.tab]
	if v.sort >= len(t.cols) {
		v.sort = 0
	}
	i := v.sort
	if i == 0 && !v.reverse { // the order of the daemon: by address
		return
	}
	slices.SortStableFunc(t.rows, func(a, b row) int {
		var c int
		switch x, y := a.cells[i], b.cells[i]; {
		case i == 0:
			c = 0
		case t.cols[i].left:
			c = strings.Compare(x.text, y.text)
		case x.num > y.num:
			c = -1
		case x.num < y.num:
			c = 1
		}
		if v.reverse {
			return -c
		}
		return c
	})
	if i == 0 {
		slices.Reverse(t.rows)
	}
}

func (m *Model) exportTable(t *table) {
	t.cols = []col{{"EXPORT", true, 0}, {"STATE", true, 3}, {"R/s", false, 0}, {"READ/s", false, 0}, {"W/s", false, 0}, {"WRITE/s", false, 0}, {"QUEUE", false, 4},
		{"R-P50", false, 8}, {"R-P99", false, 1}, {"W-P50", false, 9}, {"W-P99", false, 2}, {"ERR", false, 5}, {"DROP", false, 6}, {"RTX", false, 7}, {"USERS", false, 10}}
	p := m.period
	for i := range p.Exports {
		e, all := &p.Exports[i], &m.cur.Exports[i]
		users := 0
		if x := m.exports[e.Address]; x != nil {
			users = len(x.Users)
		}
		queue := mean(e.Busy().Seconds() / p.Elapsed.Seconds())
		t.rows = append(t.rows, row{key: exportKey(e.Address), export: e.Address,
			alarm: all.Errors > 0 || e.State == control.StateFailed || e.State == control.StateWaiting,
			cells: []cell{word(e.Address), word(e.State), rate(p.PerSecond(e.Reads)), bytes(p.PerSecond(e.ReadBytes)), rate(p.PerSecond(e.Writes)),
				bytes(p.PerSecond(e.WriteBytes)), queue, span(e.Latency.Read.Quantile(.5)), span(e.Latency.Read.Quantile(.99)),
				span(e.Latency.Write.Quantile(.5)), span(e.Latency.Write.Quantile(.99)), count(all.Errors), count(all.Drops.Total()),
				count(all.Retransmits), count(uint64(users))}})
	}
}

func (m *Model) initiatorTable(t *table) {
	t.cols = []col{{"INITIATOR", true, 0}, {"NAME", true, 3}, {"EXPORT", true, 0}, {"ON", true, 8}, {"R/s", false, 4}, {"READ/s", false, 0}, {"W/s", false, 5},
		{"WRITE/s", false, 0}, {"LATENCY", false, 1}, {"QUEUE", false, 6}, {"ERR", false, 10}, {"DENIED", false, 7}, {"DROP", false, 9}, {"RTX", false, 2}, {"SEEN", false, 11}}
	p := m.period
	for i := range p.Initiators {
		n, all := &p.Initiators[i], &m.cur.Initiators[i]
		mac := n.MAC
		if mac == "" {
			mac = "others"
		}
		var latency, seen int64
		if ops := n.Reads + n.Writes; ops > 0 {
			latency = int64(n.BusyNs / ops)
		}
		if !n.LastSeen.IsZero() {
			seen = int64(p.At.Sub(n.LastSeen))
		}
		t.rows = append(t.rows, row{key: initiatorKey(n), export: n.Export, alarm: all.Denied > 0 || all.Errors > 0,
			cells: []cell{word(mac), word(n.Name), word(n.Export), word(n.Interface), rate(p.PerSecond(n.Reads)), bytes(p.PerSecond(n.ReadBytes)),
				rate(p.PerSecond(n.Writes)), bytes(p.PerSecond(n.WriteBytes)), span(latency), mean(p.PerSecond(n.BusyNs) / 1e9), count(all.Errors), count(all.Denied),
				count(all.Drops), count(all.Retransmits), {text: ago(seen), num: float64(seen)}}})
	}
}

func (m *Model) interfaceTable(t *table) {
	t.cols = []col{{"INTERFACE", true, 0}, {"STATE", true, 3}, {"MTU", false, 6}, {"EXPORTS", false, 8}, {"RX/s", false, 1}, {"RECEIVED/s", false, 0}, {"TX/s", false, 2},
		{"SENT/s", false, 0}, {"BATCH", false, 7}, {"RING-DROPS", false, 0}, {"IGNORED", false, 5}, {"TX-ERR", false, 4}, {"TX-FULL", false, 9}}
	p := m.period
	for i := range p.Interfaces {
		n, all := &p.Interfaces[i], &m.cur.Interfaces[i]
		var state string
		var mtu, exports int
		if x := m.ifaces[n.Name]; x != nil {
			state, mtu, exports = x.State, x.MTU, x.Exports
			if !x.Up {
				state = "no link"
			}
		}
		batch := 0.0
		if b := n.RxBatches + n.TxBatches; b > 0 {
			batch = float64(n.RxFrames+n.TxFrames) / float64(b)
		}
		t.rows = append(t.rows, row{key: interfaceKey(n.Name), alarm: all.KernelDrops > 0 || all.TxErrors > 0,
			cells: []cell{word(n.Name), word(state), count(uint64(mtu)), count(uint64(exports)), rate(p.PerSecond(n.RxFrames)), bytes(p.PerSecond(n.RxBytes)),
				rate(p.PerSecond(n.TxFrames)), bytes(p.PerSecond(n.TxBytes)), rate(batch), count(all.KernelDrops), count(all.Drops.Total()), count(all.TxErrors),
				count(all.TxFull)}})
	}
	if len(m.o.Names) > 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(m.ifaces)) { // what is waited for has no counters
		if slices.ContainsFunc(p.Interfaces, func(n control.InterfaceStats) bool { return n.Name == name }) {
			continue
		}
		r := row{key: interfaceKey(name), alarm: true, cells: []cell{word(name), word(m.ifaces[name].State)}}
		for range len(t.cols) - 2 {
			r.cells = append(r.cells, cell{text: "-"})
		}
		t.rows = append(t.rows, r)
	}
}

func (m *Model) laneTable(t *table) {
	t.cols = []col{{"LANE", true, 0}, {"BUSY", false, 0}, {"SPIN", false, 0}, {"ASLEEP", false, 0}, {"TURNS/s", false, 2}, {"SLEEPS/s", false, 3}, {"SPINS/s", false, 4},
		{"SLOTS", false, 1}, {"USED", false, 0}}
	p := m.period
	for i := range p.Lanes {
		l := &p.Lanes[i]
		t.rows = append(t.rows, row{key: laneKey(l.Lane), cells: []cell{word(fmt.Sprint(l.Lane)), percent(busy(p, l)), percent(min(float64(l.SpinNs)/float64(p.Elapsed), 1)),
			percent(min(float64(l.SleepNs)/float64(p.Elapsed), 1)), rate(p.PerSecond(l.Turns)), rate(p.PerSecond(l.Sleeps)), rate(p.PerSecond(l.Spins)), count(l.Slots),
			count(l.SlotsUsed)}})
	}
}

// ago shows roughly how long ago something was.
func ago(ns int64) string {
	switch d := time.Duration(max(ns, 0)); {
	case d < 2*time.Second:
		return "now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// fit chooses the columns that a width has room for beside a sparkline of at least a size, and returns their widths and what is left.
func (t *table) fit(width, spark int) (cols, widths []int, rest int) {
	all := make([]int, len(t.cols))
	for i, c := range t.cols {
		all[i] = len(c.title) + 1 // the mark of the sorting
		for _, r := range t.rows {
			all[i] = max(all[i], ansi.StringWidth(r.cells[i].text))
		}
		cols = append(cols, i)
	}
	sum := func() int {
		n := 0
		for _, i := range cols {
			n += all[i] + 1
		}
		return n
	}
	for sum()+spark > width {
		worst := slices.MaxFunc(cols, func(a, b int) int { return t.cols[a].drop - t.cols[b].drop })
		if t.cols[worst].drop == 0 {
			break
		}
		cols = slices.DeleteFunc(cols, func(i int) bool { return i == worst })
	}
	for _, i := range cols {
		widths = append(widths, all[i])
	}
	return cols, widths, width - sum()
}
