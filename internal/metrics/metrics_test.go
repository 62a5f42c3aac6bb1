package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"goaoe/internal/control"
	"goaoe/internal/stats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a daemon with something of everything.
type fake struct {
	err        error
	initiators int
}

func (f *fake) Status(context.Context) (*control.Status, error) {
	return &control.Status{Version: "1.2", Started: time.Unix(1000, 0), Unsaved: 2,
		Problems: []string{"e0.1: disk had I/O errors", "e0.1: disk had I/O errors", strings.Repeat("é", 300)}}, f.err
}

func (f *fake) Exports(context.Context) ([]control.Export, error) {
	return []control.Export{
		{Address: "e0.1", State: control.StateServing, Sectors: 2048, Served: []string{"eth1"}, Users: []control.User{{MAC: "02:00:00:00:00:01"}},
			Waiting: []string{"interface eth9 does not exist"}},
		{Address: "e0.2", State: control.StateFailed, Why: "no such file \xff"},
		{Address: "e0.3", State: control.StateDisabled},
	}, nil
}

func (f *fake) Interfaces(context.Context) ([]control.Interface, error) {
	return []control.Interface{
		{Name: "eth1", State: control.StateServing, Up: true, MTU: 9000, Exports: 1},
		{Name: "eth9", State: control.StateWaiting, Why: "does not exist"},
	}, nil
}

func (f *fake) Stats(context.Context) (*control.Stats, error) {
	h := func(ns ...int64) stats.HistogramSnapshot {
		var h stats.Histogram
		for _, n := range ns {
			h.Observe(n)
		}
		return h.Snapshot()
	}
	s := &control.Stats{
		Exports: []control.ExportStats{{Address: "e0.1", State: "serving", ExportSnapshot: stats.ExportSnapshot{
			Reads: 3, Writes: 2, Flushes: 1, Discards: 4, Others: 5, ReadBytes: 3 * 4096, WriteBytes: 8192, Errors: 1, Retransmits: 7,
			ErrorKinds: stats.Counts{"media": 1}, Rejects: 2, RejectKinds: stats.Counts{"range": 2}, Drops: stats.Counts{"mask": 9},
			InFlight: 6, Limit: 64, Views: 1, Waits: 1, Stalls: 1, Slow: 1,
			Storage: stats.StoreSnapshot{Ops: 10, Batches: 5, Syncs: 2, SyncWrites: 3, Merged: 4, WriteNow: 5, WriteNowPauses: 6},
			Latency: stats.Latency{Read: h(5000, 8192, 8193), Write: h(1e6, 20e9), Flush: h(1e6), Other: h(1000)},
		}}},
		Interfaces: []control.InterfaceStats{{Name: "eth1", PortSnapshot: stats.PortSnapshot{RxFrames: 11, RxBytes: 12, RxBatches: 13, TxFrames: 14,
			TxBytes: 15, TxBatches: 16, TxXDP: 21, TxErrors: 17, TxFull: 18, KernelDrops: 19, Drops: stats.Counts{"short": 20}}}},
		Lanes: []control.LaneStats{{Lane: 0, LaneSnapshot: stats.LaneSnapshot{Turns: 1, Sleeps: 2, Spins: 3, SleepNs: 4e9, SpinNs: 5e8, Slots: 6, SlotsUsed: 7}}},
	}
	for i := range f.initiators {
		s.Initiators = append(s.Initiators, control.InitiatorStats{Export: "e0.1", Name: "host", InitiatorSnapshot: stats.InitiatorSnapshot{
			MAC: fmt.Sprintf("02:00:00:00:%02x:%02x", i>>8, i&255), Requests: 10, Reads: 1, Writes: 2, ReadBytes: 512, WriteBytes: 1024, BusyNs: 15e8,
			LastSeen: time.Unix(2000, 0)}})
	}
	return s, nil
}

// TestLint: the exposition keeps the conventions of Prometheus.
func TestLint(t *testing.T) {
	problems, err := testutil.CollectAndLint(NewCollector(&fake{initiators: 2}))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestValues holds names, labels, units and values.
func TestValues(t *testing.T) {
	want := `
# HELP goaoe_export_requests_total Requests done with success: read, write, flush, discard, other (answered without storage).
# TYPE goaoe_export_requests_total counter
goaoe_export_requests_total{export="e0.1",op="discard"} 4
goaoe_export_requests_total{export="e0.1",op="flush"} 1
goaoe_export_requests_total{export="e0.1",op="other"} 5
goaoe_export_requests_total{export="e0.1",op="read"} 3
goaoe_export_requests_total{export="e0.1",op="write"} 2
# HELP goaoe_export_serving 1 when the export is served on an interface, 0 when it is not (disabled ones are left out).
# TYPE goaoe_export_serving gauge
goaoe_export_serving{export="e0.1"} 1
goaoe_export_serving{export="e0.2"} 0
# HELP goaoe_export_size_bytes Size of the disk.
# TYPE goaoe_export_size_bytes gauge
goaoe_export_size_bytes{export="e0.1"} 1.048576e+06
goaoe_export_size_bytes{export="e0.2"} 0
goaoe_export_size_bytes{export="e0.3"} 0
# HELP goaoe_export_state 1 for the state that the export is in: serving, waiting, failed, opening, closing or disabled.
# TYPE goaoe_export_state gauge
goaoe_export_state{export="e0.1",state="serving"} 1
goaoe_export_state{export="e0.2",state="failed"} 1
goaoe_export_state{export="e0.3",state="disabled"} 1
# HELP goaoe_export_dropped_requests_total Requests that got no reply.
# TYPE goaoe_export_dropped_requests_total counter
goaoe_export_dropped_requests_total{export="e0.1",reason="mask"} 9
# HELP goaoe_waiting 1 for each export or interface that has no effect yet, and why.
# TYPE goaoe_waiting gauge
goaoe_waiting{reason="does not exist",subject="eth9"} 1
goaoe_waiting{reason="interface eth9 does not exist",subject="e0.1"} 1
goaoe_waiting{reason="no such file ?",subject="e0.2"} 1
# HELP goaoe_lane_sleep_seconds_total Time asleep. The rest of the time is work, and looking for some.
# TYPE goaoe_lane_sleep_seconds_total counter
goaoe_lane_sleep_seconds_total{lane="0"} 4
# HELP goaoe_initiator_busy_seconds_total Sum of the latencies of its requests for storage; its rate is the mean number under way.
# TYPE goaoe_initiator_busy_seconds_total counter
goaoe_initiator_busy_seconds_total{export="e0.1",initiator="02:00:00:00:00:00",name="host"} 1.5
# HELP goaoe_interface_kernel_drops_total Frames lost because the receive ring was full: the daemon is too slow, or its ring too small.
# TYPE goaoe_interface_kernel_drops_total counter
goaoe_interface_kernel_drops_total{interface="eth1"} 19
# HELP goaoe_problems How many things are wrong.
# TYPE goaoe_problems gauge
goaoe_problems 3
`
	err := testutil.CollectAndCompare(NewCollector(&fake{initiators: 1}), strings.NewReader(want), ExportRequests, ExportServing, ExportSize, ExportState,
		ExportDrops, Waiting, LaneSleep, InitiatorBusy, InterfaceKernelDrops, Problems)
	if err != nil {
		t.Error(err)
	}
}

// gather returns the exposition as text.
func gather(t *testing.T, src Source) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, src); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestLatency: a bucket has what was not longer than its bound, in seconds; what is longer than all is in the count alone.
func TestLatency(t *testing.T) {
	text := gather(t, &fake{})
	for _, want := range []string{
		`goaoe_export_latency_seconds_bucket{export="e0.1",op="read",le="8.192e-06"} 2`,
		`goaoe_export_latency_seconds_bucket{export="e0.1",op="read",le="1.6384e-05"} 3`,
		`goaoe_export_latency_seconds_count{export="e0.1",op="read"} 3`,
		`goaoe_export_latency_seconds_bucket{export="e0.1",op="write",le="17.179869184"} 1`,
		`goaoe_export_latency_seconds_bucket{export="e0.1",op="write",le="+Inf"} 2`,
		`goaoe_export_latency_seconds_sum{export="e0.1",op="write"} 20.001`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("not there: %s", want)
		}
	}
	bounds := map[int64]bool{}
	for _, b := range stats.BucketBounds() {
		bounds[b] = true
	}
	for _, b := range latencyBounds {
		if !bounds[b] {
			t.Errorf("%d ns is no bound of the counters' buckets: what is counted up to it would be wrong", b)
		}
	}
}

// TestComplete: a daemon with something of everything shows each metric of the table.
func TestComplete(t *testing.T) {
	text := gather(t, &fake{initiators: 1})
	for _, m := range Metrics {
		if !strings.Contains(text, "# TYPE "+m.Name+" "+m.Type+"\n") {
			t.Errorf("%s (%s) is not shown", m.Name, m.Type)
		}
	}
}

// TestInitiatorLimit: initiators that anybody can invent do not make series without end, and nothing gets lost.
func TestInitiatorLimit(t *testing.T) {
	f := &fake{initiators: MaxInitiators + 88}
	c := NewCollector(f)
	if n := testutil.CollectAndCount(c, InitiatorRequests); n != MaxInitiators+1 {
		t.Fatalf("%d series, want %d", n, MaxInitiators+1)
	}
	text := gather(t, f)
	if want := `goaoe_initiator_requests_total{export="e0.1",initiator="others",name=""} 880`; !strings.Contains(text, want+"\n") {
		t.Errorf("not there: %s", want)
	}
	// Who has a series keeps it, and makes room when the daemon forgot it.
	f.initiators = 1
	testutil.CollectAndCount(c, InitiatorRequests)
	if len(c.known) != 1 {
		t.Errorf("%d pairs are remembered, want 1", len(c.known))
	}
	f.initiators = 3
	if n := testutil.CollectAndCount(c, InitiatorRequests); n != 3 {
		t.Errorf("%d series, want 3", n)
	}
}

// TestDown: a daemon that does not answer is up 0, and nothing stale.
func TestDown(t *testing.T) {
	text := gather(t, &fake{err: errors.New("gone")})
	if !strings.Contains(text, "goaoe_up 0\n") || strings.Count(text, "\n") != 3 {
		t.Errorf("got\n%s", text)
	}
}

// TestReason: labels are valid and short.
func TestReason(t *testing.T) {
	for _, s := range []string{strings.Repeat("é", 300), strings.Repeat("x", 201), "\xff", ""} {
		r := reason(s)
		if len(r) > maxReason+3 || strings.ToValidUTF8(r, "") != r {
			t.Errorf("reason(%q) = %q", s, r)
		}
	}
}

// TestHandler holds what is answered where.
func TestHandler(t *testing.T) {
	h := Handler(&fake{})
	for _, tt := range []struct {
		method, path string
		code         int
		contains     string
	}{
		{"GET", "/metrics", 200, "goaoe_build_info{version=\"1.2\"} 1\n"},
		{"GET", "/metrics", 200, "go_goroutines "},
		{"GET", "/", 200, `href="/metrics"`},
		{"GET", "/other", 404, ""},
		{"POST", "/metrics", 405, ""},
		{"DELETE", "/", 405, ""},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
		if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.contains) {
			t.Errorf("%s %s: %d, %.200s", tt.method, tt.path, w.Code, w.Body.String())
		}
	}
}

// TestServe: a listener of its own, and one that cannot be had is one clear line.
func TestServe(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	s, err := Serve("127.0.0.1:0", &fake{}, log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Serve(s.Addr().String(), &fake{}, log); err == nil || !strings.HasPrefix(err.Error(), s.Addr().String()+": ") ||
		!strings.Contains(err.Error(), "address already in use") || strings.Count(err.Error(), s.Addr().String()) != 1 {
		t.Errorf("a second one: %v", err)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := c.Get("http://" + s.Addr().String() + Path)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil || !strings.Contains(string(body), "goaoe_up 1\n") {
		t.Errorf("%v, %.200s", err, body)
	}
	s.Close()
	if r, err := c.Get("http://" + s.Addr().String() + Path); err == nil {
		_ = r.Body.Close()
		t.Error("it answers after Close")
	}
}

var _ prometheus.Collector = (*Collector)(nil)
