package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.v); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.v, got, c.want)
		}
	}
}

func rates(name string, v ...float64) entry {
	e := entry{Name: name}
	for _, x := range v {
		e.Samples = append(e.Samples, sample{PerSecond: x, P50: 1e6 / x, TargetCPU: 2, ClientIdle: .4})
	}
	return e
}

// measured is a row with two contestants and a goal of 2.
func measured(latency bool, ours, peer entry) outcome {
	o := outcome{ID: "x", Title: "work", MTU: 1500, Entries: []entry{ours, peer}, row: row{latency: latency,
		contestants: []contestant{{name: "goaoe", kind: goaoe}, {name: "vblade", kind: vblade}}, goals: []goal{{"vblade", 2}}}}
	o.sum()
	return o
}

func TestVerdicts(t *testing.T) {
	void := rates("vblade", 10, 10, 10)
	void.Samples[1].Void = "2 reads returned wrong data"
	limited := rates("goaoe", 25)
	limited.Samples[0].ClientIdle = .01
	for _, c := range []struct {
		name       string
		latency    bool
		ours, peer entry
		says       string
		warns      bool
	}{
		{"met", false, rates("goaoe", 20, 25, 30), rates("vblade", 10, 10, 10.5), "goaoe / vblade = 2.50, goal 2.00: met", false},
		{"missed", false, rates("goaoe", 19), rates("vblade", 10), "goaoe / vblade = 1.90, goal 2.00: MISSED", false},
		{"noisy", false, rates("goaoe", 20), rates("vblade", 10, 10, 12), "= 2.00, goal 2.00: met", true},
		{"the client limits", false, limited, rates("vblade", 10), "= 2.50, goal 2.00: met", true},
		{"latency", true, rates("goaoe", 30), rates("vblade", 10), "median latency vblade / goaoe = 3.00, goal 2.00: met", false},
		{"latency missed", true, rates("goaoe", 15), rates("vblade", 10), "= 1.50, goal 2.00: MISSED", false},
		{"one void repetition", false, rates("goaoe", 30), void, "goaoe / vblade: void", false},
		{"nothing", false, rates("goaoe"), rates("vblade", 10), "goaoe / vblade: void", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := measured(c.latency, c.ours, c.peer)
			if got := o.Goals[0].line("goaoe", c.latency); !strings.Contains(got, c.says) {
				t.Errorf("verdict %q, want %q", got, c.says)
			}
			if (len(o.Warnings) > 0) != c.warns {
				t.Errorf("warnings: %v", o.Warnings)
			}
		})
	}
}

func TestReport(t *testing.T) {
	void := rates("vblade", 10)
	void.Samples[0].Void = "7 requests had to be sent again"
	busy := measured(false, rates("goaoe", 2000, 2100, 2200), void)
	r := report{Machine: []string{"a machine"}, Warnings: []string{"loud"}, Rows: []outcome{busy}}
	dir := t.TempDir()
	more := filepath.Join(dir, "more.json")
	if err := r.save(dir, more); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(more); err != nil || !json.Valid(b) {
		t.Errorf("-json wrote %q, %v", b, err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "bench.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a machine", "WARNING: loud", "x) work, MTU 1500", "2100", "2000..2200", "10 %", "VOID, vblade: repetition 1: 7 requests"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q in the table:\n%s", want, b)
		}
	}
	b, err = os.ReadFile(filepath.Join(dir, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Rows) != 1 || back.Rows[0].Entries[0].Median.PerSecond != 2100 || back.Rows[0].Entries[1].Samples[0].Void == "" {
		t.Errorf("the JSON came back as %+v", back)
	}
}

func TestParseFio(t *testing.T) {
	s, err := parseFio(`note: something
{"jobs":[{"error":0,"read":{"iops":0,"total_ios":0},
 "write":{"iops":1234.5,"total_ios":99,"clat_ns":{"percentile":{"50.000000":7000,"99.900000":80500}}}}]}`)
	if err != nil || s.PerSecond != 1234.5 || s.P50 != 7 || s.P999 != 80.5 || s.Requests != 99 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "fio: no such file", "{", `{"jobs":[]}`, `{"jobs":[{"error":5,"read":{"iops":1,"total_ios":1}}]}`, `{"jobs":[{}]}`} {
		if _, err := parseFio(bad); err == nil {
			t.Errorf("%q was taken for a result", bad)
		}
	}
}

// TestClients: the JSON of goaoe bench is read, what is none is not, and a client that needs more than its target has missed its goal.
func TestClients(t *testing.T) {
	good := `{"disks":[{"requests_per_second":1000,"latency":{"count":3000,"p50_us":20,"p99_9_us":90},"own_cpu_us_per_request":4,"target_cpu_us_per_request":5,"retransmits":0}]}`
	s, err := parseBench([]byte(good))
	if want := (sample{PerSecond: 1000, P50: 20, P999: 90, TargetCPU: 5, ClientCPU: 4, Requests: 3000}); err != nil || s != want {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := parseBench([]byte(strings.Replace(good, `"retransmits":0`, `"retransmits":7`, 1))); err != nil || s.Void == "" {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := parseBench([]byte(strings.Replace(good, `"retransmits":0`, `"retransmits":2`, 1))); err != nil || s.Void != "" || s.Retransmits != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "{", `{"disks":[]}`, `{"disks":[{}]}`} {
		if _, err := parseBench([]byte(bad)); err == nil {
			t.Errorf("%q was taken for a result", bad)
		}
	}
	for cpu, met := range map[float64]bool{4: true, 6: false} {
		o := outcome{Entries: []entry{{Name: "ours", Samples: []sample{{PerSecond: 1, TargetCPU: 5, ClientCPU: cpu}}}},
			row: row{frugal: true, contestants: []contestant{{name: "ours", client: []string{"bench"}}}}}
		o.sum()
		if len(o.Goals) != 1 || o.Goals[0].Met != met || len(o.Warnings) != 0 || !strings.Contains(o.Goals[0].line("ours", false), "ours / its target = ") {
			t.Errorf("%v us: %+v %v", cpu, o.Goals, o.Warnings)
		}
	}
}

// TestRows: every row can be measured: ours comes first, peers of goals exist, and a request fits its MTU.
func TestRows(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows() {
		if seen[r.id] || r.title == "" || len(r.contestants) == 0 || r.contestants[0].kind != goaoe && !r.isNBD() && r.contestants[0].client == nil {
			t.Errorf("row %+v", r)
		}
		seen[r.id] = true
		names := map[string]bool{}
		for _, c := range r.contestants {
			names[c.name] = true
			if d := describe(c); !strings.HasPrefix(d, c.kind+" ") && c.kind != attachKind || strings.Contains(d, "%") {
				t.Errorf("row %s: command %q", r.id, d)
			}
		}
		for _, g := range r.goals {
			if !names[g.peer] || g.peer == r.contestants[0].name || g.factor <= 0 {
				t.Errorf("row %s: goal %+v", r.id, g)
			}
		}
		if len(names) != len(r.contestants) || 36+512*r.work.Sectors > 14+r.mtu {
			t.Errorf("row %s: names or size", r.id)
		}
	}
}

func TestChooseAndFind(t *testing.T) {
	got, err := choose("^[af]|durable")
	if err != nil || len(got) != 3 || got[0].id != "a" || got[1].id != "d" || got[2].id != "f" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"(", "nonesuch"} {
		if _, err := choose(bad); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("-rows %q: %v", bad, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := find(own, rows()); err == nil || !strings.Contains(err.Error(), "apt-get install vblade") {
		t.Errorf("without vblade: %v", err)
	}
	if _, err := find(own+"-none", rows()); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("without goaoe: %v", err)
	}
	if m, err := find(own, []row{rows()[5]}); err != nil || m[goaoe] != own {
		t.Errorf("%v, %v", m, err)
	}
}

func TestProcess(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	p, err := start(-1, log, []string{"/bin/sh", "-c", "echo no such disk >&2; exit 3"})
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	if err := p.gone(); err == nil || !regexp.MustCompile(`exit status 3.*no such disk`).MatchString(err.Error()) {
		t.Errorf("a target that failed: %v", err)
	}
	p.stop()
	if p, err = start(-1, log, []string{"/bin/sh", "-c", "exec sleep 1000"}); err != nil {
		t.Fatal(err)
	}
	if err := p.gone(); err != nil {
		t.Error(err)
	}
	p.stop()
	if p.gone() == nil {
		t.Error("a target runs on after stop")
	}
	if _, err := start(-1, log, []string{"/nonesuch"}); err == nil {
		t.Error("a program that is not there was started")
	}
}

func TestBusy(t *testing.T) {
	if n := busy(20 * time.Millisecond); n < 0 || n > float64(onlineCPUs()) {
		t.Errorf("%v of %d CPUs are in use", n, onlineCPUs())
	}
}
