package top

import (
	"fmt"
	"os"
	"strings"
	"time"

	"charm.land/bubbles/v2/help"
	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/dustin/go-humanize"
)

// Nothing is said by colour alone: what is selected has a ">", what is wrong a "!", what the table is sorted by an arrow.
var (
	plain    = lipgloss.NewStyle()
	bold     = lipgloss.NewStyle().Bold(true)
	selected = lipgloss.NewStyle().Reverse(true)
	alarm    = lipgloss.NewStyle().Foreground(lipgloss.Color("1")).Bold(true)
	faint    = lipgloss.NewStyle().Faint(true)
	accent   = lipgloss.NewStyle().Foreground(lipgloss.Color("6"))
)

// marks are the characters beyond letters and digits.
type marks struct {
	sparks   []rune
	up, down string
	dots     string
	bar      string
}

var (
	unicodeMarks = marks{[]rune(" ▁▂▃▄▅▆▇█"), "▲", "▼", "…", "█"}
	asciiMarks   = marks{[]rune(" .:-=+*#@"), "^", "v", "~", "#"}
)

func (m *Model) marks() *marks {
	if m.o.ASCII {
		return &asciiMarks
	}
	return &unicodeMarks
}

// View implements tea.Model.
func (m *Model) View() tea.View {
	lines := m.lines()
	for i, l := range lines {
		lines[i] = ansi.Truncate(l, m.width, m.marks().dots)
	}
	if len(lines) > m.height {
		lines = lines[:max(m.height, 1)]
	}
	v := tea.NewView(strings.Join(lines, "\n"))
	v.AltScreen = true
	v.WindowTitle = "goaoe top"
	return v
}

// chrome is how many lines there are besides the table: head, health, tabs, header of the table, keys.
const chrome = 5

// room is how many lines the table or the detail has.
func (m *Model) room() int {
	if m.detail != "" {
		return max(m.height-4, 1)
	}
	return max(m.height-chrome, 1)
}

const helpText = "Latencies are of the last interval; ERR, DROP, RTX, DENIED and the like count since the start or goaoe clear stats. " +
	"R and W are reads and writes, P50 and P99 what half and 99 per cent of them did not exceed, QUEUE how many were under way, RTX requests that " +
	"were sent again, DROP requests without a reply. A row with ! has errors or is not served.\n\nAny key ends this help."

// sparkRoom is what columns leave for the sparkline where the terminal is not narrow.
const sparkRoom = 13

// lines draws the screen, one string for each line.
func (m *Model) lines() []string {
	out := []string{m.head(), m.health(), m.tabs()}
	switch {
	case m.help:
		out = append(out, strings.Split(m.helpView(true, m.keys), "\n")...)
		out = append(out, "")
		out = append(out, strings.Split(ansi.Wordwrap(helpText, m.width, ""), "\n")...)
		return out
	case m.detail != "":
		body := m.detailLines()
		m.scroll = min(m.scroll, max(len(body)-m.room(), 0))
		body = body[m.scroll:]
		body = body[:min(len(body), m.room())]
		out = append(out, body...)
	default:
		out = append(out, m.tableLines()...)
	}
	for len(out) < m.height-1 {
		out = append(out, "")
	}
	if m.detail != "" {
		return append(out, m.helpView(false, detailHelp{m.keys}))
	}
	return append(out, m.helpView(false, m.keys))
}

// helpView draws the keys.
func (m *Model) helpView(full bool, keys help.KeyMap) string {
	if m.typing {
		return "type to filter by name; enter keeps it, esc clears it"
	}
	h := help.New()
	h.ShowAll = full
	h.SetWidth(m.width)
	h.Ellipsis, h.ShortSeparator = m.marks().dots, "  "
	s := &h.Styles
	s.ShortKey, s.FullKey, s.ShortDesc, s.FullDesc = bold, bold, plain, plain
	s.ShortSeparator, s.FullSeparator, s.Ellipsis = plain, plain, plain
	return h.View(keys)
}

// head says what the daemon does at all.
func (m *Model) head() string {
	at := ""
	if m.cur != nil {
		at = m.cur.At.Local().Format("15:04:05")
	}
	every := "every " + short(m.o.Interval)
	if m.period != nil && m.period.Whole { // there is nothing to compare with yet
		every = "mean since " + m.period.Since.Local().Format("2006-01-02 15:04")
	}
	if m.paused {
		every = selected.Render("PAUSED")
	}
	parts := []string{bold.Render("goaoe top"), at, every}
	if name, err := os.Hostname(); err == nil && m.width >= 100 {
		parts = append(parts, word(name).text)
	}
	if m.status != nil && m.cur != nil {
		parts = append(parts, "up "+ago(int64(m.cur.At.Sub(m.status.Started))), fmt.Sprintf("%d/%d exports served", m.status.Serving, m.status.Exports))
	}
	if p := m.period; p != nil {
		var r, w, ops uint64
		for i := range p.Exports {
			e := &p.Exports[i]
			r, w, ops = r+e.ReadBytes, w+e.WriteBytes, ops+e.Reads+e.Writes
		}
		parts = append(parts, fmt.Sprintf("read %s/s write %s/s, %s requests/s", humanize.IBytes(uint64(p.PerSecond(r))), humanize.IBytes(uint64(p.PerSecond(w))),
			rate(p.PerSecond(ops)).text))
	}
	return strings.Join(parts, "  ")
}

// short shows an interval: 200ms, 1s, 1m.
func short(d time.Duration) string {
	if d >= time.Minute && d%time.Minute == 0 {
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}

// health says what is wrong.
func (m *Model) health() string {
	switch {
	case m.gone != "":
		return alarm.Render("! the daemon does not answer: "+word(m.gone).text) + "; trying again"
	case m.status == nil:
		return "waiting for the daemon"
	}
	var parts []string
	if n := len(m.status.Problems); n > 0 {
		parts = append(parts, alarm.Render(fmt.Sprintf("! %d wrong: %s", n, word(m.status.Problems[0]).text)))
	}
	if n := len(m.status.Waiting); n > 0 {
		parts = append(parts, fmt.Sprintf("%d waiting: %s", n, word(m.status.Waiting[0]).text))
	}
	if n := m.status.Unsaved; n > 0 {
		text := fmt.Sprintf("%d exports have unsaved changes", n)
		if n == 1 {
			text = "1 export has unsaved changes"
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return faint.Render("nothing is wrong that the daemon knows of")
	}
	return strings.Join(parts, "  ")
}

func (m *Model) tabs() string {
	var b strings.Builder
	for i, name := range tabNames {
		label := fmt.Sprintf(" %d %s ", i+1, name)
		if i == m.tab {
			label = selected.Render("[" + label[1:len(label)-1] + "]")
		}
		b.WriteString(label)
	}
	switch {
	case m.typing:
		b.WriteString("  filter: " + m.filter + "_")
	case m.filter != "":
		b.WriteString("  filter: " + m.filter)
	}
	return b.String()
}

// tableLines draws the header and the rows that there is room for.
func (m *Model) tableLines() []string {
	t, v := m.table(), &m.views[m.tab]
	if m.period == nil {
		return nil
	}
	least := 0
	if m.width >= 80 {
		least = sparkRoom
	}
	cols, widths, rest := t.fit(m.width-2, least)
	head := "  "
	for j, i := range cols {
		title := t.cols[i].title
		if i == v.sort {
			arrow := m.marks().down
			if v.reverse != t.cols[i].left {
				arrow = m.marks().up
			}
			title += arrow
		}
		head += pad(title, widths[j], t.cols[i].left) + " "
	}
	spark := min(rest-1, maxTrend)
	if spark >= 8 {
		head += pad("TREND", spark, true)
	}
	out := []string{bold.Render(strings.TrimRight(head, " "))}
	if len(t.rows) == 0 {
		return append(out, "  "+m.nothing())
	}
	at := t.index(v.selected)
	room := m.room()
	if at < v.offset {
		v.offset = at
	}
	if at >= v.offset+room {
		v.offset = at - room + 1
	}
	v.offset = min(max(v.offset, 0), max(len(t.rows)-room, 0))
	for i := v.offset; i < min(v.offset+room, len(t.rows)); i++ {
		out = append(out, m.rowLine(t, &t.rows[i], cols, widths, spark, i == at))
	}
	return out
}

func (m *Model) nothing() string {
	if m.filter != "" {
		return "nothing is called " + m.filter + " (esc clears the filter)"
	}
	return [numTabs]string{"no exports", "no initiator has asked for anything yet", "no interfaces", "no lanes"}[m.tab]
}

func (m *Model) rowLine(t *table, r *row, cols, widths []int, spark int, here bool) string {
	mark := " "
	if here {
		mark = ">"
	}
	if r.alarm {
		mark += "!"
	} else {
		mark += " "
	}
	line := mark
	for j, i := range cols {
		line += pad(r.cells[i].text, widths[j], t.cols[i].left) + " "
	}
	style := plain
	switch {
	case here:
		style = selected
	case r.alarm:
		style = alarm
	}
	line = style.Render(strings.TrimRight(line, " ")) + strings.Repeat(" ", len(line)-len(strings.TrimRight(line, " ")))
	if spark >= 8 {
		line += accent.Render(m.spark(m.trend[r.key], spark))
	}
	return line
}

// pad fills a text to a width.
func pad(s string, width int, left bool) string {
	space := strings.Repeat(" ", max(width-ansi.StringWidth(s), 0))
	if left {
		return s + space
	}
	return space + s
}

// spark draws values as a line, the newest to the right, the largest as high as a line is.
func (m *Model) spark(values []float64, width int) string {
	values = values[max(0, len(values)-width):]
	most := 0.0
	for _, v := range values {
		most = max(most, v)
	}
	levels := m.marks().sparks
	out := make([]rune, 0, width)
	for range width - len(values) {
		out = append(out, ' ')
	}
	for _, v := range values {
		i := 0
		if v > 0 && most > 0 {
			i = 1 + int(v/most*float64(len(levels)-2)+.5)
		}
		out = append(out, levels[min(i, len(levels)-1)])
	}
	return string(out)
}
