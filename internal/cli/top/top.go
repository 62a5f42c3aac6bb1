// Package top is the live full-screen view of goaoe top. The model holds what was heard of the daemon last and what the user chose;
// Update changes it, View draws it, and neither does anything else, so that tests run them without a terminal.
package top

import (
	"context"
	"os"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"goaoe/internal/cli/figures"
	"goaoe/internal/control"
)

// Source is what the view asks: a control.Client.
type Source interface {
	Status(ctx context.Context) (*control.Status, error)
	Exports(ctx context.Context) ([]control.Export, error)
	Interfaces(ctx context.Context) ([]control.Interface, error)
	Stats(ctx context.Context) (*control.Stats, error)
}

// Options are the choices of the command line.
type Options struct {
	Interval time.Duration // between two looks; see Steps
	Names    []string      // exports to show, by pattern; none: all
	ASCII    bool          // no characters beyond ASCII
	NoColor  bool
}

// Steps are the intervals that the keys + and - go through.
var Steps = []time.Duration{200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute}

const (
	askFor = 5 * time.Second // one reply
	// slowEvery is how often what rarely changes is asked for: exports with their settings, interfaces, the daemon's own state.
	slowEvery = 3 * time.Second
	maxTrend  = 60 // values of a sparkline
)

// The tabs.
const (
	tabExports = iota
	tabInitiators
	tabInterfaces
	tabLanes
	numTabs
)

var tabNames = [numTabs]string{"Exports", "Initiators", "Interfaces", "Lanes"}

// Model is the state of the view.
type Model struct {
	src  Source
	o    Options
	ctx  context.Context
	keys keyMap

	width, height int
	tab           int
	detail        string // address of the export that is looked at closely; empty: the table
	scroll        int    // lines that the detail is scrolled down
	total         bool   // the detail shows everything since the start, not the last interval
	help          bool
	paused        bool
	filter        string
	typing        bool // the filter is being typed
	views         [numTabs]tableView

	cur     *control.Stats
	period  *figures.Period
	status  *control.Status
	exports map[string]*control.Export
	ifaces  map[string]*control.Interface
	slow    time.Time // when status, exports and ifaces were asked for
	trend   map[string][]float64
	gone    string // why the daemon does not answer
	seq     int    // of the tick that counts; older ones are void
}

// tableView is what the user chose in one table.
type tableView struct {
	sort     int // column
	reverse  bool
	selected string // key of the row
	offset   int    // first row shown
}

type (
	tickMsg struct{ seq int }
	dataMsg struct {
		seq     int
		stats   *control.Stats
		status  *control.Status // nil: not asked for this time
		exports []control.Export
		ifaces  []control.Interface
		err     error
	}
)

// New makes a model. ctx ends calls that are under way.
func New(ctx context.Context, src Source, o Options) *Model {
	if o.Interval <= 0 {
		o.Interval = time.Second
	}
	return &Model{src: src, o: o, ctx: ctx, keys: newKeyMap(), width: 80, height: 24, trend: map[string][]float64{}, total: true}
}

// Run shows the view on the terminal until the user ends it or ctx ends.
func Run(ctx context.Context, src Source, o Options) error {
	_, err := tea.NewProgram(New(ctx, src, o), tea.WithContext(ctx)).Run()
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it was asked to end
	}
	return err
}

// Init implements tea.Model.
func (m *Model) Init() tea.Cmd { return m.ask(true) }

// ask looks at the daemon, in the background.
func (m *Model) ask(all bool) tea.Cmd {
	ctx, src, seq := m.ctx, m.src, m.seq
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(ctx, askFor)
		defer cancel()
		d := dataMsg{seq: seq}
		if d.stats, d.err = src.Stats(ctx); d.err != nil || !all {
			return d
		}
		if d.status, d.err = src.Status(ctx); d.err != nil {
			return d
		}
		if d.exports, d.err = src.Exports(ctx); d.err != nil {
			return d
		}
		d.ifaces, d.err = src.Interfaces(ctx)
		return d
	}
}

func (m *Model) tick(d time.Duration) tea.Cmd {
	seq := m.seq
	return tea.Tick(d, func(time.Time) tea.Msg { return tickMsg{seq} })
}

// Update implements tea.Model.
func (m *Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tickMsg:
		if msg.seq != m.seq || m.paused {
			return m, nil
		}
		return m, m.ask(time.Since(m.slow) > slowEvery || m.gone != "")
	case dataMsg:
		if msg.seq != m.seq {
			return m, nil
		}
		first := m.cur == nil
		m.take(&msg)
		if m.paused {
			return m, nil
		}
		if first && m.cur != nil { // rates need a second look, soon
			return m, m.tick(min(m.o.Interval, 500*time.Millisecond))
		}
		return m, m.tick(m.o.Interval)
	case tea.PasteMsg:
		if m.typing {
			m.filter += printable(msg.Content)
		}
	case tea.KeyPressMsg:
		if m.typing {
			m.typed(msg)
			return m, nil
		}
		return m, m.key(msg)
	}
	return m, nil
}

// take keeps what the daemon said.
func (m *Model) take(d *dataMsg) {
	if d.stats != nil {
		if len(m.o.Names) > 0 {
			figures.Filter(d.stats, m.o.Names)
		}
		m.period = figures.Between(m.cur, d.stats)
		m.cur = d.stats
		if !m.period.Whole {
			m.remember()
		}
	}
	if d.err != nil {
		m.gone = control.AsError(d.err).Message
		return
	}
	m.gone = ""
	if d.status == nil {
		return
	}
	m.status, m.slow = d.status, time.Now()
	m.exports, m.ifaces = map[string]*control.Export{}, map[string]*control.Interface{}
	for i := range d.exports {
		m.exports[d.exports[i].Address] = &d.exports[i]
	}
	for i := range d.ifaces {
		m.ifaces[d.ifaces[i].Name] = &d.ifaces[i]
	}
}

// remember adds a value to each sparkline. Those of what is there no more go.
func (m *Model) remember() {
	p, old := m.period, m.trend
	m.trend = make(map[string][]float64, len(old))
	add := func(key string, v float64) {
		t := append(old[key], v)
		m.trend[key] = t[max(0, len(t)-maxTrend):]
	}
	for i := range p.Exports {
		e := &p.Exports[i]
		add(exportKey(e.Address), p.PerSecond(e.ReadBytes+e.WriteBytes))
	}
	for i := range p.Initiators {
		n := &p.Initiators[i]
		add(initiatorKey(n), p.PerSecond(n.ReadBytes+n.WriteBytes))
	}
	for i := range p.Interfaces {
		n := &p.Interfaces[i]
		add(interfaceKey(n.Name), p.PerSecond(n.RxBytes+n.TxBytes))
	}
	for i := range p.Lanes {
		add(laneKey(p.Lanes[i].Lane), busy(p, &p.Lanes[i]))
	}
}

// UTF8 tells whether the terminal shows more than ASCII, as far as the environment says.
func UTF8() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := os.Getenv(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}
