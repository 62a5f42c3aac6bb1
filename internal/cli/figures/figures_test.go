package figures

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goaoe/internal/control"
	"goaoe/internal/stats"
)

var since = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func hist(ns ...int64) stats.HistogramSnapshot {
	var h stats.Histogram
	for _, n := range ns {
		h.Observe(n)
	}
	return h.Snapshot()
}

// counters are those of a daemon after so many seconds, at which 10 reads and 4 writes a second are done.
func counters(seconds int) *control.Stats {
	n := uint64(seconds)
	ns := make([]int64, 10*seconds)
	for i := range ns {
		ns[i] = 1 << 20
	}
	return &control.Stats{At: since.Add(time.Duration(seconds) * time.Second), Since: since,
		Exports: []control.ExportStats{
			{Address: "e0.1", Name: "mail", State: "serving", ExportSnapshot: stats.ExportSnapshot{Reads: 10 * n, ReadBytes: 40960 * n, Writes: 4 * n, WriteBytes: 2048 * n,
				Flushes: n, Others: 2 * n, Errors: 3, ErrorKinds: stats.Counts{"media": 3}, Rejects: n, RejectKinds: stats.Counts{"range": n}, Stalls: 2 * n, Limited: 7, Retransmits: 1,
				Drops: stats.Counts{"full": n, "mask": 2 * n}, Limit: 64, InFlight: 2, Queued: 1, Latency: stats.Latency{Read: hist(ns...)},
				Storage: stats.StoreSnapshot{Ops: 14 * n, Batches: 7 * n}}},
			{Address: "e12.34", State: "waiting"},
		},
		Interfaces: []control.InterfaceStats{{Name: "eth1", PortSnapshot: stats.PortSnapshot{RxFrames: 100 * n, RxBytes: 10240 * n, RxBatches: 10 * n,
			TxFrames: 50 * n, TxBytes: 5120 * n, TxBatches: 5 * n, KernelDrops: n, Drops: stats.Counts{"short": n}}}},
		Initiators: []control.InitiatorStats{{Export: "e0.1", Name: "host", InitiatorSnapshot: stats.InitiatorSnapshot{MAC: "02:00:00:00:00:01", Interface: "eth1",
			Requests: 20 * n, Reads: 10 * n, ReadBytes: 40960 * n, BusyNs: 1e6 * n, Limited: 5, FirstSeen: since, LastSeen: since.Add(time.Second)}}},
		Lanes: []control.LaneStats{{LaneSnapshot: stats.LaneSnapshot{Turns: n, SleepNs: 5e8 * n, Slots: 10, SlotsUsed: 3}}},
	}
}

// TestBetween: differences of two replies, or everything when there is nothing to compare with.
func TestBetween(t *testing.T) {
	p := Between(counters(10), counters(12))
	if p.Whole || p.Elapsed != 2*time.Second {
		t.Errorf("whole %v, elapsed %v", p.Whole, p.Elapsed)
	}
	e := &p.Exports[0]
	if e.Reads != 20 || e.Errors != 0 || e.InFlight != 2 || e.Latency.Read.Count != 20 || p.PerSecond(e.Reads) != 10 {
		t.Errorf("%+v", e.ExportSnapshot)
	}
	if i := &p.Interfaces[0]; i.RxFrames != 200 || i.Drops["short"] != 2 {
		t.Errorf("%+v", i)
	}
	if n := &p.Initiators[0]; n.Requests != 40 {
		t.Errorf("%+v", n)
	}
	if l := &p.Lanes[0]; l.Turns != 2 || l.SlotsUsed != 3 {
		t.Errorf("%+v", l)
	}
	cur := counters(12)
	restarted := counters(3)
	restarted.Since = since.Add(time.Second)
	for name, prev := range map[string]*control.Stats{"first": nil, "restarted": restarted, "same moment": counters(12)} {
		p := Between(prev, cur)
		if !p.Whole || p.Elapsed != 12*time.Second || p.Exports[0].Reads != 120 {
			t.Errorf("%s: whole %v, elapsed %v, %d reads", name, p.Whole, p.Elapsed, p.Exports[0].Reads)
		}
	}
	if cur.Exports[0].Reads != 120 || counters(10).Exports[0].Reads != 100 {
		t.Error("the replies themselves were changed")
	}
	if p := Between(nil, &control.Stats{At: since, Since: since}); p.Elapsed <= 0 {
		t.Errorf("elapsed %v", p.Elapsed)
	}
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"e0.1", "e0.1", true}, {"0.1", "e0.1", true}, {"0.*", "e0.1", true}, {"e0.[12]", "e0.2", true}, {"all", "x", true}, {"*", "x", true},
		{"eth*", "eth1", true}, {"ETH1", "eth1", true}, {"th1", "eth1", false}, {"[01].1", "e0.1", true}, {"0.1", "e0.10", false}, {"1", "e0.1", false}, {"eth", "eth1", false},
		{"02:00:00:00:00:AA", "02:00:00:00:00:aa", true}, {"x", "", false},
	} {
		if got := Match(tt.pattern, tt.name); got != tt.want {
			t.Errorf("%q %q: %v", tt.pattern, tt.name, got)
		}
	}
}

func TestFilter(t *testing.T) {
	for _, tt := range []struct {
		patterns          []string
		exports, ifs, ini int
		unknown           []string
	}{
		{nil, 2, 1, 1, nil},
		{[]string{"mail"}, 1, 0, 0, nil},
		{[]string{"12.*", "eth1"}, 1, 1, 1, nil},
		{[]string{"e0.1"}, 1, 0, 1, nil},
		{[]string{"host"}, 0, 0, 1, nil},
		{[]string{"nix", "e0.1", "nox*"}, 1, 0, 1, []string{"nix", "nox*"}},
		{[]string{"*"}, 2, 1, 1, nil},
	} {
		s := counters(1)
		unknown := Filter(s, tt.patterns)
		if len(s.Exports) != tt.exports || len(s.Interfaces) != tt.ifs || len(s.Initiators) != tt.ini || !cmp.Equal(unknown, tt.unknown) {
			t.Errorf("%q: %d exports, %d interfaces, %d initiators, unknown %q", tt.patterns, len(s.Exports), len(s.Interfaces), len(s.Initiators), unknown)
		}
	}
	if unknown := Filter(&control.Stats{}, []string{"*", "all"}); unknown != nil {
		t.Errorf("all of nothing: %q", unknown)
	}
}

// TestReport holds the columns, those of ggaoectl first and at their places.
func TestReport(t *testing.T) {
	p := Between(counters(10), counters(12))
	var b bytes.Buffer
	if err := p.Report(&b, Layout{Name: NameWidth(&p.Stats), Head: true}); err != nil {
		t.Fatal(err)
	}
	want := `dev      rrqm/s      rkB/s   wrqm/s      wkB/s oth avgqsz qs qf ae pe    svctm   r_p50   r_p99   w_p50   w_p99 rtx drop
e0.1       10.0      40.00      4.0       2.00   6   0.01  4  2  0  2     1.05    1.05    1.05    0.00    0.00   0    6
e12.34      0.0       0.00      0.0       0.00   0   0.00  0  0  0  0     0.00    0.00    0.00    0.00    0.00   0    0

net      rrqm/s      rkB/s   wrqm/s      wkB/s drp  avrun  ign  txe  txf
eth1      100.0      10.00     50.0       5.00   2  10.00    2    0    0

`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	// A narrow terminal has what ggaoectl shows, and more as far as it fits.
	for columns, last := range map[int]string{80: "svctm", 90: "r_p50", 200: "drop", 20: "svctm"} {
		b.Reset()
		if err := p.Report(&b, Layout{Name: 6, Columns: columns, Head: true}); err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(b.String(), "\n")
		if !strings.HasSuffix(head, " "+last) {
			t.Errorf("%d columns: %q", columns, head)
		}
	}
	b.Reset()
	if err := p.Report(&b, Layout{Name: 6}); err != nil || strings.Contains(b.String(), "rrqm") || strings.Count(b.String(), "\n") != 3 {
		t.Errorf("without headers: %v\n%s", err, b.String())
	}
}

// TestJSONLines: an object per line, with rates.
func TestJSONLines(t *testing.T) {
	p := Between(counters(10), counters(12))
	var b bytes.Buffer
	if err := p.JSON(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines", len(lines))
	}
	var e, i map[string]any
	if json.Unmarshal([]byte(lines[0]), &e) != nil || json.Unmarshal([]byte(lines[2]), &i) != nil {
		t.Fatalf("no JSON: %s", b.String())
	}
	if e["kind"] != "export" || e["name"] != "e0.1" || e["reads_per_s"] != 10.0 || e["interval_s"] != 2.0 || e["errors"] != 0.0 ||
		e["read_latency"].(map[string]any)["p99_ns"] != float64(1<<20) || e["drops"].(map[string]any)["mask"] != 4.0 || e["rx_frames_per_s"] != nil {
		t.Errorf("%v", e)
	}
	if i["kind"] != "interface" || i["rx_frames_per_s"] != 100.0 || i["kernel_drops"] != 2.0 || i["reads_per_s"] != nil {
		t.Errorf("%v", i)
	}
}

// TestPrint holds the tables of goaoe stats.
func TestPrint(t *testing.T) {
	s := counters(10)
	s.Since = s.Since.Local()
	var b bytes.Buffer
	if err := Print(&b, s, Kinds, true); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"(10s) EXPORT STATE",
		"e0.1 serving 100 400 KiB 40 20 KiB 10 0 20 3 10 30 1 0 20 7 3/64 2.0",
		"e12.34 waiting 0 0 B 0",
		"LATENCY OF COUNT MEAN P50 P90 P99 P99.9 MAX e0.1 read 100 1.05ms 1.05ms 1.05ms 1.05ms 1.05ms 1.05ms",
		"e0.1 errors: media 3; rejects: range 10; no reply: mask 20, full 10",
		"e0.1 read: 100 requests <= 1.05ms |##################################################| 100 100.0%",
		"eth1 1000 100 KiB 500 50 KiB 10.0 10.0 10 0 0 10",
		"eth1 no reply: short 10",
		"02:00:00:00:00:01 host e0.1 eth1 200 100 400 KiB 0 0 B 100us 0 0 0 0 0 5 9s ago",
		"0 10 0 0 50.0% 0.0% 10 3",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

// TestJSON: the kinds that were asked for, with quantiles.
func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, counters(10), []string{ByExport, ByLane}); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Exports []struct {
			Address   string
			Reads     uint64
			Quantiles map[string]map[string]float64
		}
		Lanes      []any
		Interfaces *[]any
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Exports) != 2 || got.Exports[0].Reads != 100 || got.Exports[0].Quantiles["read"]["p50_ns"] != 1<<20 || len(got.Lanes) != 1 || got.Interfaces != nil {
		t.Errorf("%+v", got)
	}
}

// TestBars: whole powers of two, none left out between the first and the last, and no request lost.
func TestBars(t *testing.T) {
	h := hist(1, 1024, 1025, 1500, 2048, 2049, 100_000, 100e9)
	bars := Bars(&h)
	var total uint64
	for i, b := range bars {
		total += b.N
		if i > 0 && b.LE != 2*bars[i-1].LE {
			t.Errorf("bar %d ends at %d, the one before at %d", i, b.LE, bars[i-1].LE)
		}
	}
	if total != 8 || bars[0] != (Bar{1024, 2}) || bars[1] != (Bar{2048, 3}) || bars[2] != (Bar{4096, 1}) {
		t.Errorf("%d in %v", total, bars)
	}
	if got := Bars(&stats.HistogramSnapshot{}); got != nil {
		t.Errorf("of nothing: %v", got)
	}
	if got := fmt.Sprint(Counts(stats.Counts{"a": 1, "b": 3, "c": 1})); got != "b 3, a 1, c 1" {
		t.Error(got)
	}
}
