package top

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"goaoe/internal/control"
	"goaoe/internal/stats"
)

// fake is a daemon whose counters the test moves.
type fake struct {
	err   error
	since time.Time
	n     int // seconds since then
	many  int // further exports
}

func (f *fake) Status(context.Context) (*control.Status, error) {
	return &control.Status{Started: f.since, Exports: 3 + f.many, Serving: 2, Unsaved: 1, Problems: []string{"e0.2: I/O errors\x1b[2J"}, Waiting: []string{"eth9 does not exist"}}, f.err
}

func (f *fake) Exports(context.Context) ([]control.Export, error) {
	return []control.Export{
		{Address: "e0.1", Name: "mail", Source: "/srv/mail.img", State: "serving", Sectors: 2048, Served: []string{"eth1"}, ConfigString: "boot",
			Users: []control.User{{MAC: "02:00:00:00:00:01", Reserved: true}}, Reserve: []string{"02:00:00:00:00:01"}},
		{Address: "e0.2", State: "failed", Why: "no such file"},
		{Address: "e1.0", State: "serving"},
	}, f.err
}

func (f *fake) Interfaces(context.Context) ([]control.Interface, error) {
	return []control.Interface{{Name: "eth1", State: "serving", Up: true, MTU: 9000, Exports: 2}, {Name: "eth9", State: "waiting"}}, f.err
}

func (f *fake) Stats(context.Context) (*control.Stats, error) {
	if f.err != nil {
		return nil, f.err
	}
	n := uint64(f.n)
	h := func(ns int64, times uint64) stats.HistogramSnapshot {
		var x stats.Histogram
		for range times {
			x.Observe(ns)
		}
		return x.Snapshot()
	}
	s := &control.Stats{At: f.since.Add(time.Duration(f.n) * time.Second), Since: f.since,
		Exports: []control.ExportStats{
			{Address: "e0.1", Name: "mail", State: "serving", ExportSnapshot: stats.ExportSnapshot{Reads: 100 * n, ReadBytes: 100 * n * 4096, Limit: 64,
				Latency: stats.Latency{Read: h(100_000, 100*n)}, Drops: stats.Counts{"mask": 3}}},
			{Address: "e0.2", State: "failed", ExportSnapshot: stats.ExportSnapshot{Errors: 2, ErrorKinds: stats.Counts{"media": 2}}},
			{Address: "e1.0", State: "serving", ExportSnapshot: stats.ExportSnapshot{Writes: 900 * n, WriteBytes: 900 * n * 512,
				Latency: stats.Latency{Write: h(5_000_000, 9*n)}}},
		},
		Interfaces: []control.InterfaceStats{{Name: "eth1", PortSnapshot: stats.PortSnapshot{RxFrames: 1000 * n, RxBytes: 1 << 20 * n, RxBatches: 100 * n, KernelDrops: 7}}},
		Initiators: []control.InitiatorStats{
			{Export: "e0.1", Name: "host\x1b1", InitiatorSnapshot: stats.InitiatorSnapshot{MAC: "02:00:00:00:00:01", Interface: "eth1", Requests: n, Reads: 100 * n, ReadBytes: 409600 * n, BusyNs: 1e7 * n, FirstSeen: f.since}},
			{Export: "e1.0", InitiatorSnapshot: stats.InitiatorSnapshot{MAC: "02:00:00:00:00:02", Interface: "eth1", Denied: 5, FirstSeen: f.since}},
		},
		Lanes: []control.LaneStats{{Lane: 0, LaneSnapshot: stats.LaneSnapshot{SleepNs: 75e7 * n, Turns: 10 * n, Slots: 100}}},
	}
	for i := range f.many {
		s.Exports = append(s.Exports, control.ExportStats{Address: fmt.Sprintf("e2.%d", i), State: "serving"})
	}
	return s, nil
}

// screen is a model that a test looks at and types into.
type screen struct {
	t *testing.T
	m *Model
	f *fake
}

func newScreen(t *testing.T, width, height int, o Options) *screen {
	f := &fake{since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local), n: 10}
	o.ASCII = true
	s := &screen{t, New(context.Background(), f, o), f}
	s.m.Update(tea.WindowSizeMsg{Width: width, Height: height})
	s.run(s.m.Init())
	s.later(1)
	return s
}

// run does what a command asks for, but for waiting, and gives the model its message.
func (s *screen) run(c tea.Cmd) tea.Cmd {
	s.t.Helper()
	if c == nil {
		return nil
	}
	_, next := s.m.Update(c())
	return next
}

// later moves the daemon on by seconds and has the model look.
func (s *screen) later(seconds int) {
	s.t.Helper()
	s.f.n += seconds
	s.m.slow = time.Time{}
	_, c := s.m.Update(tickMsg{s.m.seq})
	s.run(c)
}

func (s *screen) text() string { return ansi.Strip(s.m.View().Content) }

// line returns the line of the screen that contains a text.
func (s *screen) line(part string) string {
	for _, l := range strings.Split(s.text(), "\n") {
		if strings.Contains(l, part) {
			return strings.Join(strings.Fields(l), " ")
		}
	}
	s.t.Errorf("%q is not on the screen:\n%s", part, s.text())
	return ""
}

func (s *screen) press(keys ...string) {
	for _, k := range keys {
		msg := tea.KeyPressMsg{Text: k, Code: []rune(k)[0]}
		if code, ok := map[string]rune{"enter": tea.KeyEnter, "esc": tea.KeyEscape, "up": tea.KeyUp, "down": tea.KeyDown, "left": tea.KeyLeft, "right": tea.KeyRight,
			"tab": tea.KeyTab, "home": tea.KeyHome, "end": tea.KeyEnd, "pgdown": tea.KeyPgDown, "backspace": tea.KeyBackspace}[k]; ok {
			msg = tea.KeyPressMsg{Code: code}
		}
		if got := msg.String(); got != k {
			s.t.Fatalf("the test's key %q is %q", k, got)
		}
		_, c := s.m.Update(msg)
		if c != nil && k == "p" { // others would wait for the next look
			switch msg := c().(type) {
			case dataMsg:
				s.m.Update(msg)
			case tickMsg:
			}
		}
	}
}

// order returns the first words of the table's rows.
func (s *screen) order() []string {
	var out []string
	for _, l := range strings.Split(s.text(), "\n")[4:] {
		f := strings.Fields(strings.TrimLeft(l, ">! "))
		if len(f) > 2 && (strings.HasPrefix(f[0], "e0.") || strings.HasPrefix(f[0], "e1.") || strings.HasPrefix(f[0], "e2.")) {
			out = append(out, f[0])
		}
	}
	return out
}

func (s *screen) wantOrder(want ...string) {
	s.t.Helper()
	if got := s.order(); strings.Join(got, " ") != strings.Join(want, " ") {
		s.t.Errorf("rows %q, want %q\n%s", got, want, s.text())
	}
}

// TestTables holds what is in each table: rates of the last interval, counts since the start.
func TestTables(t *testing.T) {
	s := newScreen(t, 160, 24, Options{})
	for _, want := range []string{"3:04:16", "2/3 exports served", "read 400 KiB/s write 450 KiB/s, 1000 requests/s", "every 1s",
		"! 1 wrong: e0.2: I/O errors?[2J", "1 waiting: eth9 does not exist", "1 export has unsaved changes", "q quit"} {
		if !strings.Contains(s.text(), want) {
			t.Errorf("%q is not on the screen:\n%s", want, s.text())
		}
	}
	for _, tt := range []struct{ tab, part, want string }{
		{"1", "e0.1", "> e0.1 serving 100 400 KiB 0 0 0.01 115us 115us - - 0 3 0 1 @"},
		{"1", "!e0.2", "!e0.2 failed 0 0 0 0 0.00 - - - - 2 0 0 0"},
		{"1", "e1.0", "e1.0 serving 0 0 900 450 KiB 0.04 - - 5.24ms 5.24ms 0 0 0 0 @"},
		{"2", "00:01", "> 02:00:00:00:00:01 host?1 e0.1 eth1 100 400 KiB 0 0 100us 0.01 0 0 0 0 - @"},
		{"2", "00:02", "!02:00:00:00:00:02 - e1.0 eth1 0 0 0 0 - 0.00 0 5 0 0 -"},
		{"3", "eth1", ">!eth1 serving 9000 2 1000 1.0 MiB 0 0 10.0 7 0 0 0 @"},
		{"3", "!eth9", "!eth9 waiting - - - - - - - - - - -"},
		{"4", "25%", "> 0 25% 0% 75% 10.0 0 0 100 0 @"},
	} {
		s.press(tt.tab)
		got := s.line(tt.part)
		if strings.HasPrefix(tt.want, "> 02") || tt.tab == "2" { // when it was seen depends on LastSeen, which is not set
			got = strings.Replace(got, " now", " -", 1)
		}
		if got != tt.want {
			t.Errorf("table %s:\ngot  %s\nwant %s", tt.tab, got, tt.want)
		}
	}
}

// TestSort: any column, both ways, and the selection stays on its row.
func TestSort(t *testing.T) {
	s := newScreen(t, 120, 24, Options{})
	s.wantOrder("e0.1", "e0.2", "e1.0")
	s.press("r")
	s.wantOrder("e1.0", "e0.2", "e0.1")
	s.press("r", "down", "up", "right", "right") // reads
	if !strings.Contains(s.text(), "R/sv") {
		t.Errorf("the column is not marked:\n%s", s.text())
	}
	s.wantOrder("e0.1", "e0.2", "e1.0")
	s.press("r")
	s.wantOrder("e0.2", "e1.0", "e0.1")
	s.press("r", "right", "right") // writes
	s.wantOrder("e1.0", "e0.1", "e0.2")
	if got := s.line("> e0.1"); !strings.HasPrefix(got, "> e0.1") {
		t.Errorf("the selection is on %q", got)
	}
	s.press("left", "left", "left") // state
	s.wantOrder("e0.2", "e0.1", "e1.0")
	s.press("left", "left") // around to the last one, users
	s.wantOrder("e0.1", "e0.2", "e1.0")
	s.press("tab", "tab")
	s.line("INTERFACE^")
}

// TestFilter: what is typed selects at once; keys are letters meanwhile.
func TestFilter(t *testing.T) {
	s := newScreen(t, 120, 24, Options{})
	s.press("/", "f", "a", "i", "q", "backspace")
	if !strings.Contains(s.text(), "filter: fai_") {
		t.Errorf("no filter:\n%s", s.text())
	}
	s.wantOrder("e0.2")
	s.press("enter", "down")
	s.wantOrder("e0.2")
	s.press("/", "x", "enter")
	s.line("nothing is called faix")
	s.press("esc")
	s.wantOrder("e0.1", "e0.2", "e1.0")
	s.press("/", "0", ".", "*", "enter") // a glob
	s.wantOrder("e0.1", "e0.2")
	s.press("/", "esc")
	s.wantOrder("e0.1", "e0.2", "e1.0")
}

// TestNames: what the command line names is all there is.
func TestNames(t *testing.T) {
	s := newScreen(t, 120, 24, Options{Names: []string{"1.*"}})
	s.wantOrder("e1.0")
}

// TestPause: nothing moves while paused; the interval goes through its steps.
func TestPause(t *testing.T) {
	s := newScreen(t, 120, 24, Options{})
	s.press("p")
	if !strings.Contains(s.text(), "PAUSED") {
		t.Errorf("not paused:\n%s", s.text())
	}
	at := s.m.cur.At
	if _, c := s.m.Update(tickMsg{s.m.seq}); c != nil {
		t.Error("it looks although it is paused")
	}
	s.press("+", "+")
	s.f.n += 5
	s.press("p")
	if !s.m.cur.At.After(at) || s.m.paused {
		t.Error("it does not go on")
	}
	s.line("every 5s")
	s.press("-", "-", "-", "-", "-", "-", "-")
	s.line("every 200ms")
	old := s.m.seq
	s.press("+")
	if _, c := s.m.Update(tickMsg{old}); c != nil {
		t.Error("a tick of the old interval counts")
	}
	for range 10 {
		s.press("+")
	}
	s.line("every 1m")
}

// TestDetail holds the view of one export, and the way there and back.
func TestDetail(t *testing.T) {
	s := newScreen(t, 110, 40, Options{})
	s.press("enter")
	for _, want := range []string{"e0.1  mail  serving  1.0 MiB  /srv/mail.img", "config string boot", "reserved for 02:00:00:00:00:01",
		"read 400 KiB/s in 100 requests/s", "! no reply: mask 3", "has it reserved", "1100 reads: p50 115us p99 115us", "<=   131us ####", "esc back"} {
		if !strings.Contains(s.text(), want) {
			t.Errorf("%q is not on the screen:\n%s", want, s.text())
		}
	}
	s.press("t")
	s.line("100 reads: p50")
	s.press("esc", "down", "enter")
	s.line("! errors: media 2")
	s.line("! no such file")
	s.press("enter", "2", "enter") // the initiator's export
	s.line("/srv/mail.img")
	s.m.Update(tea.WindowSizeMsg{Width: 60, Height: 10})
	s.press("end")
	if len(s.order()) != 0 || s.m.scroll == 0 {
		t.Errorf("it does not scroll:\n%s", s.text())
	}
	s.press("home", "4")
	s.line("BUSY")
}

// TestGone: a daemon that goes away is said, the last figures stay, and it goes on with one that started anew.
func TestGone(t *testing.T) {
	s := newScreen(t, 120, 24, Options{})
	s.f.err = errors.New("no daemon is running\nat all")
	s.later(1)
	s.line("! the daemon does not answer: no daemon is running?at all; trying again")
	s.wantOrder("e0.1", "e0.2", "e1.0")
	s.f.err, s.f.since, s.f.n = nil, s.f.since.Add(time.Hour), 1
	s.later(0)
	if strings.Contains(s.text(), "does not answer") || !strings.Contains(s.text(), "mean since") {
		t.Errorf("it is not back:\n%s", s.text())
	}
	s.later(1)
	if got := s.line("> e0.1"); !strings.Contains(got, " 100 400 KiB ") {
		t.Errorf("after the restart: %s", got)
	}
}

// TestSizes: no size breaks the screen: no line is longer than it, there are not more of them, and the keys stay at the bottom.
func TestSizes(t *testing.T) {
	s := newScreen(t, 80, 24, Options{})
	s.f.many = 50
	s.later(1)
	for _, size := range [][2]int{{200, 60}, {80, 24}, {60, 20}, {40, 12}, {20, 6}, {10, 3}, {1, 1}} {
		s.m.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		for _, keys := range [][]string{{"1"}, {"2"}, {"3"}, {"4"}, {"1", "end"}, {"enter"}, {"esc", "?"}, {"?", "home"}} {
			s.press(keys...)
			lines := strings.Split(s.text(), "\n")
			if len(lines) > size[1] {
				t.Errorf("%v %v: %d lines", size, keys, len(lines))
			}
			for _, l := range lines {
				if ansi.StringWidth(l) > size[0] {
					t.Errorf("%v %v: %q is %d wide", size, keys, l, ansi.StringWidth(l))
				}
			}
			if size[1] >= 6 && size[0] >= 20 && keys[0] != "?" && keys[len(keys)-1] != "?" && !strings.Contains(lines[len(lines)-1], "quit") && !strings.Contains(lines[len(lines)-1], "back") {
				t.Errorf("%v %v: no keys at the bottom: %q", size, keys, lines[len(lines)-1])
			}
		}
	}
	s.m.Update(tea.WindowSizeMsg{Width: 60, Height: 12})
	s.press("1", "end")
	if got := s.order(); len(got) != 7 || got[6] != "e2.49" {
		t.Errorf("at the end: %q", got)
	}
	s.press("home", "pgdown")
	s.line("> e2.3")
}

// TestASCII: nothing beyond ASCII where it is not wanted, and UTF-8 where it is.
func TestASCII(t *testing.T) {
	s := newScreen(t, 160, 40, Options{})
	for _, keys := range [][]string{{"1"}, {"enter"}, {"esc", "2"}, {"3"}, {"4"}, {"?"}} {
		s.press(keys...)
		for _, r := range s.text() {
			if r > 0x7e {
				t.Errorf("%v: %q in\n%s", keys, r, s.text())
				break
			}
		}
	}
	s.press("1", "1")
	s.m.o.ASCII = false
	if !strings.Contains(s.text(), "█") {
		t.Errorf("no sparkline:\n%s", s.text())
	}
	for lang, want := range map[string]bool{"de_DE.UTF-8": true, "C.utf8": true, "C": false, "": false} {
		t.Setenv("LC_ALL", lang)
		t.Setenv("LC_CTYPE", "")
		t.Setenv("LANG", "")
		if UTF8() != want {
			t.Errorf("UTF8 with %q is not %v", lang, want)
		}
	}
}

// TestSpark: the largest value is full height, zero is empty, the newest is to the right.
func TestSpark(t *testing.T) {
	m := New(context.Background(), nil, Options{ASCII: true})
	if got := m.spark([]float64{0, 1, 50, 100}, 6); got != "   .+@" {
		t.Errorf("%q", got)
	}
	if got := m.spark([]float64{1, 2, 3}, 2); got != "*@" {
		t.Errorf("%q", got)
	}
}
