package top

import (
	"slices"
	"strings"
	"unicode"

	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"
)

// keyMap are the keys. It implements help.KeyMap.
type keyMap struct {
	quit, help, tabs, next, prev, up, down, pageUp, pageDown, home, end key.Binding
	left, right, reverse, enter, back, filter, pause, faster, slower    key.Binding
	total                                                               key.Binding
}

func newKeyMap() keyMap {
	b := func(h, what string, keys ...string) key.Binding {
		return key.NewBinding(key.WithKeys(keys...), key.WithHelp(h, what))
	}
	return keyMap{
		quit:     b("q", "quit", "q", "ctrl+c"),
		help:     b("?", "all keys", "?", "f1"),
		tabs:     b("1-4", "table", "1", "2", "3", "4"),
		next:     b("tab", "next table", "tab"),
		prev:     b("shift+tab", "previous table", "shift+tab"),
		up:       b("up/k", "up", "up", "k"),
		down:     b("down/j", "down", "down", "j"),
		pageUp:   b("pgup", "page up", "pgup", "ctrl+b"),
		pageDown: b("pgdn", "page down", "pgdown", "ctrl+f"),
		home:     b("home/g", "first", "home", "g"),
		end:      b("end/G", "last", "end", "G"),
		left:     b("left/<", "sort by the column before", "left", "<"),
		right:    b("</>", "sort", "right", ">"),
		reverse:  b("r", "reverse", "r"),
		enter:    b("enter", "detail", "enter"),
		back:     b("esc", "back", "esc", "backspace"),
		filter:   b("/", "filter", "/"),
		pause:    b("p", "pause", "p", "space"),
		faster:   b("-", "faster", "-", "_"),
		slower:   b("+/-", "interval", "+", "="),
		total:    b("t", "since start / last interval", "t"),
	}
}

// ShortHelp implements help.KeyMap: what fits one line, the most important first.
func (k keyMap) ShortHelp() []key.Binding {
	return []key.Binding{k.quit, k.tabs, k.right, k.reverse, k.enter, k.filter, k.pause, k.slower, k.help}
}

// FullHelp implements help.KeyMap.
func (k keyMap) FullHelp() [][]key.Binding {
	return [][]key.Binding{
		{k.quit, k.help, k.pause, k.slower, k.filter},
		{k.tabs, k.next, k.prev, k.enter, k.back, k.total},
		{k.up, k.down, k.pageUp, k.pageDown, k.home, k.end},
		{k.right, k.reverse},
	}
}

// detailHelp are the keys of the detail.
type detailHelp struct{ keyMap }

func (k detailHelp) ShortHelp() []key.Binding {
	return []key.Binding{k.back, k.total, k.up, k.down, k.pause, k.slower, k.quit}
}

// typed takes a key while the filter is being typed.
func (m *Model) typed(msg tea.KeyPressMsg) {
	switch msg.String() {
	case "enter":
		m.typing = false
	case "esc", "ctrl+c":
		m.typing, m.filter = false, ""
	case "backspace":
		if r := []rune(m.filter); len(r) > 0 {
			m.filter = string(r[:len(r)-1])
		}
	case "ctrl+u":
		m.filter = ""
	default:
		m.filter += printable(msg.Key().Text)
	}
	m.views[m.tab].offset = 0
}

// printable is what may become part of a filter.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s)
}

// key does what a key stands for.
func (m *Model) key(msg tea.KeyPressMsg) tea.Cmd {
	k := &m.keys
	switch {
	case key.Matches(msg, k.quit):
		return tea.Quit
	case m.help: // any key ends the help
		m.help = false
	case key.Matches(msg, k.help):
		m.help = true
	case key.Matches(msg, k.pause):
		m.paused = !m.paused
		if !m.paused {
			return m.again()
		}
	case key.Matches(msg, k.slower):
		return m.step(1)
	case key.Matches(msg, k.faster):
		return m.step(-1)
	case key.Matches(msg, k.total):
		m.total = !m.total
	case key.Matches(msg, k.tabs):
		m.show(int(msg.String()[0] - '1'))
	case key.Matches(msg, k.next):
		m.show((m.tab + 1) % numTabs)
	case key.Matches(msg, k.prev):
		m.show((m.tab + numTabs - 1) % numTabs)
	case m.detail != "":
		m.detailKey(msg)
	default:
		m.tableKey(msg)
	}
	return nil
}

// again looks at once, and makes what was waited for void.
func (m *Model) again() tea.Cmd {
	m.seq++
	return m.ask(true)
}

// step changes the interval.
func (m *Model) step(by int) tea.Cmd {
	i, _ := slices.BinarySearch(Steps, m.o.Interval)
	if by > 0 && (i >= len(Steps) || Steps[i] != m.o.Interval) {
		by = 0 // an interval between the steps goes up to the next one
	}
	next := Steps[min(max(i+by, 0), len(Steps)-1)]
	if next == m.o.Interval {
		return nil
	}
	m.o.Interval = next
	if m.paused {
		return nil
	}
	m.seq++
	return m.tick(next)
}

func (m *Model) show(tab int) { m.tab, m.detail, m.scroll = tab, "", 0 }

func (m *Model) detailKey(msg tea.KeyPressMsg) {
	k := &m.keys
	page := max(m.height-4, 1)
	switch {
	case key.Matches(msg, k.back), key.Matches(msg, k.enter):
		m.detail, m.scroll = "", 0
	case key.Matches(msg, k.up):
		m.scroll--
	case key.Matches(msg, k.down):
		m.scroll++
	case key.Matches(msg, k.pageUp):
		m.scroll -= page
	case key.Matches(msg, k.pageDown):
		m.scroll += page
	case key.Matches(msg, k.home):
		m.scroll = 0
	case key.Matches(msg, k.end):
		m.scroll = 1 << 20
	}
	m.scroll = min(max(m.scroll, 0), max(len(m.detailLines())-m.room(), 0))
}

func (m *Model) tableKey(msg tea.KeyPressMsg) {
	k, v := &m.keys, &m.views[m.tab]
	t := m.table()
	page := max(m.room()-1, 1)
	move := func(by int) {
		if len(t.rows) > 0 {
			i := min(max(t.index(v.selected)+by, 0), len(t.rows)-1)
			v.selected = t.rows[i].key
		}
	}
	switch {
	case key.Matches(msg, k.up):
		move(-1)
	case key.Matches(msg, k.down):
		move(1)
	case key.Matches(msg, k.pageUp):
		move(-page)
	case key.Matches(msg, k.pageDown):
		move(page)
	case key.Matches(msg, k.home):
		move(-len(t.rows))
	case key.Matches(msg, k.end):
		move(len(t.rows))
	case key.Matches(msg, k.left):
		v.sort, v.reverse = (v.sort+len(t.cols)-1)%len(t.cols), false
	case key.Matches(msg, k.right):
		v.sort, v.reverse = (v.sort+1)%len(t.cols), false
	case key.Matches(msg, k.reverse):
		v.reverse = !v.reverse
	case key.Matches(msg, k.filter):
		m.typing = true
	case key.Matches(msg, k.back):
		m.filter = ""
	case key.Matches(msg, k.enter):
		if i := t.index(v.selected); i < len(t.rows) && t.rows[i].export != "" {
			m.detail, m.scroll = t.rows[i].export, 0
		}
	}
}
