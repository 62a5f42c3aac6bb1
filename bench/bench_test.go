package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"goaoe/internal/loadgen"
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

// measured is a row with two contestants and a goal.
func measured(g goal, ours, peer entry) outcome {
	o := outcome{ID: "x", Title: "work", MTU: 1500, Entries: []entry{ours, peer}, Latency: g.what == p50, row: row{goals: []goal{g},
		contestants: []contestant{{name: "goaoe", kind: goaoe}, {name: "vblade", kind: vblade}}}}
	o.sum()
	return o
}

// change returns the entry with its samples changed.
func (e entry) change(f func(i int, s *sample)) entry {
	for i := range e.Samples {
		f(i, &e.Samples[i])
	}
	return e
}

func noisyAt(which ...int) func(int, *sample) {
	return func(i int, s *sample) {
		if slices.Contains(which, i) {
			s.Noise = "other processes used 0.80 CPUs (compile 0.80)"
		}
	}
}

// TestBounds: how many values are left out, by the tables of the sign test, and in order whatever the order of the repetitions.
func TestBounds(t *testing.T) {
	for n, out := range map[int]int{1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0, 7: 1, 8: 1, 10: 2, 15: 4, 20: 6, 40: 14} {
		var v []float64
		for i := range n {
			v = append(v, float64((i*7+3)%n))
			if n%7 == 0 {
				v[i] = float64(n - 1 - i)
			}
		}
		if low, high := bounds(v); low != float64(out) || high != float64(n-1-out) {
			t.Errorf("%d values: %v to %v of 0 to %d, want %d left out at each end", n, low, high, n-1, out)
		}
	}
}

func TestVerdicts(t *testing.T) {
	twice := goal{what: rate, peer: "vblade", want: 2}
	for _, c := range []struct {
		name       string
		goal       goal
		ours, peer entry
		says       string
		warns      bool
	}{
		{"met", twice, rates("goaoe", 20, 25, 30), rates("vblade", 10, 10, 10.5), "requests/s, goaoe / vblade = 2.50 (2.00 to 2.86), goal ≥ 2.00: met", false},
		{"missed", twice, rates("goaoe", 19), rates("vblade", 10), "goaoe / vblade = 1.90, goal ≥ 2.00: MISSED", false},
		{"exactly", twice, rates("goaoe", 20), rates("vblade", 10), "= 2.00, goal ≥ 2.00: met", false},
		{"between", twice, rates("goaoe", 18, 21, 25), rates("vblade", 10, 10, 10), "= 2.10 (1.80 to 2.50), goal ≥ 2.00: no verdict: the repetitions say 1.80 to 2.50", false},
		{"between, but close", twice, rates("goaoe", 19.9, 20.1, 20.2), rates("vblade", 10, 10, 10), "goal ≥ 2.00: met", false},
		{"one of five astray", twice, rates("goaoe", 30, 31, 32, 30, 5), rates("vblade", 10, 10, 10, 10, 10), "= 3.00 (0.50 to 3.20), goal ≥ 2.00: no verdict", false},
		{"one of seven astray", twice, rates("goaoe", 30, 31, 32, 30, 5, 30, 31), rates("vblade", 10, 10, 10, 10, 10, 10, 10), "= 3.00 (3.00 to 3.10), goal ≥ 2.00: met", false},
		{"medians say another thing", twice, rates("goaoe", 10, 22, 60, 63, 66), rates("vblade", 4, 10, 26, 30, 33), "= 2.20 (2.00 to 2.50), goal ≥ 2.00: met", false},
		{"drift that meets both", twice, rates("goaoe", 25, 50, 100), rates("vblade", 10, 20, 40), "= 2.50, goal ≥ 2.00: met", false},
		{"all disturbed", twice, rates("goaoe", 30, 30, 30).change(noisyAt(0, 1, 2)), rates("vblade", 10, 10, 10),
			"= 3.00, goal ≥ 2.00: no verdict: noise: 3 of 3 repetitions of goaoe were disturbed, e.g. other processes used 0.80 CPUs (compile 0.80)", false},
		{"the peer disturbed", twice, rates("goaoe", 30, 30, 30), rates("vblade", 10, 10, 10).change(noisyAt(1)), "no verdict: noise: 1 of 3 repetitions of vblade", false},
		{"two of five disturbed", twice, rates("goaoe", 1, 30, 30, 2, 30).change(noisyAt(0, 3)), rates("vblade", 10, 10, 10, 10, 10), "= 3.00, goal ≥ 2.00: met", false},
		{"latency", goal{what: p50, peer: "vblade", want: .5}, rates("goaoe", 30), rates("vblade", 10), "median latency, goaoe / vblade = 0.33, goal ≤ 0.50: met", false},
		{"latency missed", goal{what: p50, peer: "vblade", want: .5}, rates("goaoe", 15), rates("vblade", 10), "= 0.67, goal ≤ 0.50: MISSED", false},
		{"CPU time", goal{what: cpu, peer: "vblade", want: .65}, rates("goaoe", 15), rates("vblade", 10), "target CPU per request, goaoe / vblade = 1.00, goal ≤ 0.65: MISSED", false},
		{"only told", goal{what: cpu, peer: "vblade"}, rates("goaoe", 15), rates("vblade", 10), "target CPU per request, goaoe / vblade = 1.00", false},
		{"of the peer's own", goal{what: fair, ours: "vblade", want: .9}, rates("goaoe", 15), rates("vblade", 10).change(func(_ int, s *sample) { s.Fair = .8 }),
			"vblade, fewest / most requests = 0.80, goal ≥ 0.90: MISSED", false},
		{"idle", goal{what: idleCPU, want: .1}, rates("goaoe", 15).change(func(_ int, s *sample) { s.IdleCPU = .02 }), rates("vblade", 10), "goaoe, % CPU while idle = 0.02, goal ≤ 0.10: met", false},
		{"wholly idle", goal{what: idleCPU, want: .1}, rates("goaoe", 15), rates("vblade", 10), "goaoe, % CPU while idle = 0, goal ≤ 0.10: met", false},
		{"memory", goal{what: memMiB, want: 64}, rates("goaoe", 15).change(func(_ int, s *sample) { s.RSS = 70 }), rates("vblade", 10), "MiB resident while idle = 70.0, goal ≤ 64.0: MISSED", false},
		{"not known", goal{what: fair, want: .9}, rates("goaoe", 15), rates("vblade", 10), "= -, goal ≥ 0.90: no verdict: goaoe: the figure is not known", false},
		{"the lower of two: this", goal{what: rate, peer: "vblade", want: .95, or: &goal{what: rate, peer: "goaoe", want: 2}}, rates("goaoe", 10), rates("vblade", 10),
			"goaoe / vblade = 1.00, goal ≥ 0.95: met", false},
		{"the lower of two: the other", goal{what: rate, peer: "vblade", want: .95, or: &goal{what: rate, peer: "goaoe", want: .97}}, rates("goaoe", 10), rates("vblade", 20),
			"goaoe / goaoe = 1.00, goal ≥ 0.97: met", false},
		{"the client limits", twice, rates("goaoe", 25).change(func(_ int, s *sample) { s.ClientIdle = .01 }), rates("vblade", 10), "= 2.50, goal ≥ 2.00: met", true},
		{"one void repetition", twice, rates("goaoe", 30), rates("vblade", 10, 10, 10).change(func(i int, s *sample) {
			if i == 1 {
				s.Void = "2 reads returned wrong data"
			}
		}), "goaoe / vblade = -, goal ≥ 2.00: no verdict: void: vblade: repetition 2: 2 reads returned wrong data", false},
		{"nothing", twice, rates("goaoe"), rates("vblade", 10), "no verdict: void: goaoe: no repetition", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := measured(c.goal, c.ours, c.peer)
			if got := o.Goals[0].line(); !strings.Contains(got+"\n", c.says) {
				t.Errorf("verdict %q, want %q", got, c.says)
			}
			if (len(o.Warnings) > 0) != c.warns {
				t.Errorf("warnings: %v", o.Warnings)
			}
		})
	}
	o := outcome{ID: "x", Void: "a write is not there", Entries: []entry{rates("goaoe", 3), rates("vblade", 1)}, row: row{goals: []goal{twice}, contestants: make([]contestant, 2)}}
	if o.sum(); o.Goals[0].Result != unclear || !strings.Contains(o.Goals[0].Why, "a write is not there") {
		t.Errorf("a row whose writes are gone: %+v", o.Goals)
	}
}

// TestLimit: who had no more to give.
func TestLimit(t *testing.T) {
	for _, c := range []struct {
		cpu, idle float64
		want      string
	}{{9.5, .5, "target"}, {9.5, .01, "both"}, {5, .01, "client"}, {5, .5, "neither"}} {
		e := rates("goaoe", 1e5).change(func(_ int, s *sample) { s.TargetCPU, s.ClientIdle = c.cpu, c.idle })
		if e.sum(false); e.limit() != c.want || math.Abs(e.Busy-c.cpu/10) > 1e-9 {
			t.Errorf("%v us at 100000/s, idle %v: %s, busy %v", c.cpu, c.idle, e.limit(), e.Busy)
		}
	}
}

func TestReport(t *testing.T) {
	twice := goal{what: rate, peer: "vblade", want: 2}
	void := rates("vblade", 10)
	void.Samples[0].Void = "7 requests had to be sent again"
	busy := measured(twice, rates("goaoe", 2000, 2100, 2200), void)
	fine := measured(goal{what: p50, peer: "vblade", want: .9}, rates("goaoe", 2000), rates("vblade", 1000))
	fine.ID = "y"
	r := report{Machine: []string{"a machine"}, Warnings: []string{"loud"}, Rows: []outcome{busy, fine}}
	dir := t.TempDir()
	more, picture := filepath.Join(dir, "more.json"), filepath.Join(dir, "more.svg")
	if err := r.save(dir, more, picture); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if !json.Valid([]byte(read(more))) {
		t.Errorf("-json wrote %q", read(more))
	}
	for name, wanted := range map[string][]string{
		filepath.Join(dir, "bench.txt"): {"a machine", "WARNING: loud", "x) work, MTU 1500", "2100", "2000..2200", "10 %", "VOID, vblade: repetition 1: 7 requests", "2 goals: 1 met, 0 at the limit, 0 missed, 1 without a verdict"},
		filepath.Join(dir, "bench.md"): {"2 goals: 1 met", "| x | work, MTU 1500 | requests/s, goaoe / vblade | ≥ 2.00 | - | - | no verdict: void: vblade: repetition 1: 7 requests had to be sent again |",
			"| y | work, MTU 1500 | median latency, goaoe / vblade | ≤ 0.90 | 0.50 | - | met | neither |", "| x | goaoe | 2100 | 476.2 |", "a machine"},
		picture: {"<svg", "y  work", "0.50 (goal ≤ 0.90) met", "no verdict", "a machine"},
	} {
		for _, want := range wanted {
			if !strings.Contains(read(name), want) {
				t.Errorf("no %q in %s:\n%s", want, name, read(name))
			}
		}
	}
	columns := 0
	for line := range strings.Lines(read(filepath.Join(dir, "bench.md"))) {
		n := strings.Count(line, "|")
		if strings.HasPrefix(line, "|") && columns > 0 && n != columns {
			t.Errorf("%d columns, want %d: %s", n, columns, line)
		}
		columns = n
	}
	// What was saved can be read again, put together, and gives the same.
	other := measured(twice, rates("goaoe", 90), rates("vblade", 30))
	if err := (&report{Machine: []string{"a machine", "another"}, Rows: []outcome{other}}).save(dir, filepath.Join(dir, "other.json"), ""); err != nil {
		t.Fatal(err)
	}
	back, err := load([]string{more})
	if err != nil {
		t.Fatal(err)
	}
	var was, is strings.Builder
	r.text(&was)
	back.text(&is)
	if was.String() != is.String() {
		t.Errorf("read again:\n%s\nwas\n%s", is.String(), was.String())
	}
	if back, err = load([]string{more, filepath.Join(dir, "other.json")}); err != nil || len(back.Rows) != 2 || back.Rows[0].Goals[0].Value != 3 || len(back.Machine) != 2 {
		t.Errorf("%+v, %v", back, err)
	}
	for _, bad := range [][]string{{}, {filepath.Join(dir, "none.json")}, {filepath.Join(dir, "bench.txt")}} {
		if _, err := load(bad); err == nil {
			t.Errorf("%v was taken for reports", bad)
		}
	}
}

func TestParseFio(t *testing.T) {
	s, err := parseFio(`note: something
{"jobs":[{"error":0,"read":{"iops":0,"total_ios":0},
 "write":{"iops":1234.5,"total_ios":99,"clat_ns":{"percentile":{"50.000000":7000,"99.900000":80500}}}}]}`)
	if err != nil || s.PerSecond != 1234.5 || s.P50 != 7 || s.P999 != 80.5 || s.Requests != 99 {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = parseFio(`{"jobs":[{"error":0,"read":{"iops":1,"total_ios":9,"clat_ns":{"mean":3},"lat_ns":{"mean":4,"percentile":{"50.000000":8000,"99.900000":9000}}}}]}`)
	if err != nil || s.P50 != 8 || s.P999 != 9 {
		t.Errorf("of the whole time: %+v, %v", s, err)
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
	for cpu, want := range map[float64]string{4: met, 6: missed} {
		o := outcome{Entries: []entry{{Name: "ours", Samples: []sample{{PerSecond: 1, TargetCPU: 5, ClientCPU: cpu}}}},
			row: row{goals: []goal{{what: share, want: 1}}, contestants: []contestant{{name: "ours", client: []string{"bench"}}}}}
		o.sum()
		if len(o.Goals) != 1 || o.Goals[0].Result != want || len(o.Warnings) != 0 || !strings.Contains(o.Goals[0].line(), "ours, client CPU / target CPU = ") {
			t.Errorf("%v us: %+v %v", cpu, o.Goals, o.Warnings)
		}
	}
}

// TestRows: every row can be measured: ours comes first, peers of goals exist, and a request fits its MTU.
func TestRows(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows() {
		if seen[r.id] || r.title == "" || len(r.contestants) == 0 || r.contestants[0].kind != goaoe && r.contestants[0].kind != attachKind && r.contestants[0].client == nil {
			t.Errorf("row %+v", r)
		}
		seen[r.id] = true
		names := map[string]bool{"": true}
		for _, c := range r.contestants {
			names[c.name] = true
			if d := describe(c); !strings.HasPrefix(d, c.kind+" ") && c.kind != attachKind || strings.Contains(d, "%image") || len(d) > 1000 {
				t.Errorf("row %s: command %q", r.id, d)
			}
			if c.kind == nbdkit && !r.far {
				t.Errorf("row %s: TCP would not use the link", r.id)
			}
		}
		for _, g := range r.goals {
			for h := &g; h != nil; h = h.or {
				for _, l := range h.limits {
					if !names[l.name] || !names[l.by] || l.name == "" {
						t.Errorf("row %s: limit %+v", r.id, l)
					}
				}
				if !names[h.peer] || !names[h.ours] || h.peer == r.contestants[0].name && h.ours == "" || h.want < 0 {
					t.Errorf("row %s: goal %+v", r.id, *h)
				}
			}
		}
		if len(names) != len(r.contestants)+1 || 36+512*r.work.Sectors > 14+r.mtu {
			t.Errorf("row %s: names or size", r.id)
		}
		for _, c := range r.contestants {
			w := r.work
			if c.load != nil {
				c.load(&w)
			}
			if w.Depth > loadgen.MaxDepth || w.Initiators > loadgen.MaxInitiators || len(r.work.More) > 1 {
				t.Errorf("row %s: %+v", r.id, w)
			}
		}
	}
	for i, r := range rows() { // a row finds its place again when reports are read
		if rows()[i].id != r.id {
			t.Errorf("row %d changes", i)
		}
	}
	var list1 strings.Builder
	if err := list(&list1, rows()); err != nil || !strings.Contains(list1.String(), "goal: or, when that is less, requests/s, goaoe -d / goaoe, no storage ≥ 0.97") {
		t.Errorf("%v\n%s", err, list1.String())
	}
}

// TestBefore: another goaoe takes its place behind the first, where that is goaoe.
func TestBefore(t *testing.T) {
	all := rows()
	addBefore(all)
	for i, r := range rows() {
		got := all[i]
		if r.contestants[0].kind != goaoe {
			if len(got.contestants) != len(r.contestants) {
				t.Errorf("row %s: %d contestants", r.id, len(got.contestants))
			}
			continue
		}
		if len(got.contestants) != len(r.contestants)+1 || !got.contestants[1].old || got.contestants[0].old || got.contestants[1].name != r.contestants[0].name+" (before)" {
			t.Errorf("row %s: %+v", r.id, got.contestants)
		}
	}
	b := &bench{before: "/old", programs: map[string]string{goaoe: "/new"}}
	if b.program(all[0].contestants[1]) != "/old" || b.program(all[0].contestants[0]) != "/new" {
		t.Error("the wrong program")
	}
}

func TestChooseAndFind(t *testing.T) {
	for pattern, want := range map[string]string{"^a ": "a", "^e|durable|^f": "e d d2 d3 d4 i f", "^[cd]4? ": "c c4 d d4", "idle": "s"} {
		got, err := choose(pattern)
		var ids []string
		for _, r := range got {
			ids = append(ids, r.id)
		}
		if err != nil || strings.Join(ids, " ") != want {
			t.Errorf("%q: %v, %v", pattern, ids, err)
		}
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
	memory, err := choose("^f")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := find(own, memory); err != nil || m[goaoe] != own {
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

// TestGuest: what the guest writes becomes rows; what it does not write is void.
func TestGuest(t *testing.T) {
	in := "fio-read-512 e0.1 200\nfio-read-512 e0.2 100\nmkfs e0.1 0.5\nfio-read-512 e0.1 220\nfio-read-512 e0.2 110\nmkfs e0.2 0\n"
	all, err := parseGuest(strings.NewReader(in), "")
	if err != nil || len(all) != len(guestWork) {
		t.Fatal(err)
	}
	if g := all[0].Goals[0]; g.Value != 2 || g.Result != met || all[0].ID != "t1" || all[0].Entries[0].Limit != "" {
		t.Errorf("%+v", all[0])
	}
	if g := all[10].Goals[0]; g.Result != unclear || !strings.Contains(g.Why, "nothing was done") {
		t.Errorf("%+v", g)
	}
	if g := all[1].Goals[0]; g.Result != unclear || !strings.Contains(g.Why, "no repetition") {
		t.Errorf("%+v", g)
	}
	if all, err = parseGuest(strings.NewReader("mkfs e0.1 2\nmkfs e0.2 1\n"), "loud"); err != nil || all[10].Goals[0].Result != unclear {
		t.Errorf("%+v, %v", all[10].Goals, err)
	}
	if all, err = parseGuest(strings.NewReader("mkfs e0.1 2\nmkfs e0.2 3\nmkfs e0.3 2.1\n"), ""); err != nil || all[10].Goals[0].Result != atLimit {
		t.Errorf("slower, and a plain loop is hardly faster: %+v, %v", all[10].Goals, err)
	}
	for _, bad := range []string{"x", "mkfs e0.1 much", "mkfs e0.4 1", "sleep e0.1 1"} {
		if _, err := parseGuest(strings.NewReader(bad), ""); err == nil {
			t.Errorf("%q was taken for a result", bad)
		}
	}
	script, err := os.ReadFile("../test/guest/scripts/speed.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range guestWork {
		for _, part := range strings.Split(strings.TrimPrefix(w[0], "fio-"), "-") {
			if !strings.Contains(string(script), part) {
				t.Errorf("the guest does no %s", w[0])
			}
		}
	}
}
