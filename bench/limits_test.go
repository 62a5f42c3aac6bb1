package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// beside is a row whose goal has limits.
func beside(g goal, all ...entry) outcome {
	o := outcome{ID: "x", Title: "work", MTU: 1500, Entries: all, row: row{goals: []goal{g}, contestants: make([]contestant, len(all))}}
	o.sum()
	return o
}

// TestAtTheLimit: who misses a goal is at the limit when what does nothing but the work is not faster, and is said to be that and not to have met the goal.
func TestAtTheLimit(t *testing.T) {
	twice := goal{what: rate, peer: "vblade", want: 2, limits: []limit{{name: "plain"}, {name: "ring"}}}
	peer := rates("vblade", 10, 10, 10)
	slow := rates("plain", 9, 9, 9)
	// So does CPU time, of which less is better: of 2 us in rates.
	less := func(name string, us float64) entry {
		return rates(name, 10, 10, 10).change(func(_ int, s *sample) { s.TargetCPU = us })
	}
	third := goal{what: cpu, peer: "vblade", want: .3, limits: []limit{{name: "plain"}}}
	flat := goal{what: rate, peer: "one", want: .9, limits: []limit{{"plain, many", "plain, one"}}}
	void := rates("ring", 17, 17, 17).change(func(i int, s *sample) {
		if i == 1 {
			s.Void = "2 reads returned wrong data"
		}
	})
	for _, c := range []struct {
		name string
		goal goal
		all  []entry
		says string // the end of the line
	}{
		{"at it", twice, []entry{rates("goaoe", 15, 15, 15), peer, slow, rates("ring", 16, 16, 16)}, "= 1.50, goal ≥ 2.00: at the limit: 0.94 of ring"},
		{"just", twice, []entry{rates("goaoe", 18, 18, 18), peer, slow, rates("ring", 20, 20, 20)}, "at the limit: 0.90 of ring"},
		{"below it", twice, []entry{rates("goaoe", 15, 15, 15), peer, slow, rates("ring", 18, 18, 18)}, "= 1.50, goal ≥ 2.00: MISSED: 0.83 of ring"},
		{"the goal is met", twice, []entry{rates("goaoe", 20, 20, 20), peer, slow, rates("ring", 40, 40, 40)}, "= 2.00, goal ≥ 2.00: met"},
		{"a limit that is none", twice, []entry{rates("goaoe", 15, 15, 15), peer, slow, rates("ring", 13, 13, 13)}, "MISSED: faster than what should be the limit: 1.15 of ring"},
		{"somewhat beyond it", twice, []entry{rates("goaoe", 15, 15, 15), peer, slow, rates("ring", 14, 14, 14)}, "at the limit: 1.07 of ring"},
		{"beyond it by chance", twice, []entry{rates("goaoe", 15, 15, 15), peer, slow, rates("ring", 13, 13, 14)}, "at the limit: 1.15 (1.07 to 1.15) of ring"},
		{"the repetitions do not agree", twice, []entry{rates("goaoe", 15, 15, 15), peer, slow, rates("ring", 16, 15.5, 18)}, "goal ≥ 2.00: no verdict: 0.94 (0.83 to 0.97) of ring"},
		{"they agree closely", twice, []entry{rates("goaoe", 14.5, 14.5, 14.5), peer, slow, rates("ring", 16, 16.2, 16)}, "at the limit: 0.91 (0.90 to 0.91) of ring"},
		{"both are not clear", twice, []entry{rates("goaoe", 18, 19, 21), peer, slow, rates("ring", 21, 20, 20)},
			"no verdict: the repetitions say 1.80 to 2.10; 0.95 (0.86 to 1.05) of ring"},
		{"the goal is not clear, the limit is", twice, []entry{rates("goaoe", 18, 19, 21), peer, slow, rates("ring", 18, 19, 21)},
			"at the limit: the repetitions say 1.80 to 2.10; 1.00 of ring"},
		{"the goal is not clear, and the limit is far", twice, []entry{rates("goaoe", 18, 19, 21), peer, slow, rates("ring", 30, 30, 30)},
			"no verdict: the repetitions say 1.80 to 2.10; 0.63 (0.60 to 0.70) of ring"},
		{"the limit is disturbed", twice, []entry{rates("goaoe", 15, 15, 15), peer, slow, rates("ring", 16, 16, 16).change(noisyAt(0, 1))},
			"no verdict: noise: 2 of 3 repetitions of ring were disturbed, e.g. other processes used 0.80 CPUs (compile 0.80)"},
		{"the peer is disturbed", twice, []entry{rates("goaoe", 15, 15, 15), peer.clone().change(noisyAt(0, 1)), slow, rates("ring", 16, 16, 16)},
			"no verdict: noise: 2 of 3 repetitions of vblade were disturbed, e.g. other processes used 0.80 CPUs (compile 0.80)"},
		{"the better limit is void", twice, []entry{rates("goaoe", 15, 15, 15), peer, rates("plain", 16, 16, 16), void},
			"no verdict: 0.94 of plain, but void: ring: repetition 2: 2 reads returned wrong data"},
		{"far from one limit, the other is void", twice, []entry{rates("goaoe", 15, 15, 15), peer, rates("plain", 19, 19, 19), void}, "MISSED: 0.79 of plain"},
		{"no limit is known", twice, []entry{rates("goaoe", 15, 15, 15), peer, rates("plain"), void}, "MISSED: the limit is not known: void: ring: repetition 2: 2 reads returned wrong data"},
		{"CPU time", third, []entry{less("goaoe", 4), less("vblade", 10), less("plain", 3.7)}, "= 0.40, goal ≤ 0.30: at the limit: 1.08 of plain"},
		{"CPU time, far", third, []entry{less("goaoe", 4), less("vblade", 10), less("plain", 3.5)}, "= 0.40, goal ≤ 0.30: MISSED: 1.14 of plain"},
		{"CPU time of what is no limit", third, []entry{less("goaoe", 4), less("vblade", 10), less("plain", 5)}, "MISSED: faster than what should be the limit: 0.80 of plain"},
		{"of a number of something", flat, []entry{rates("many", 70, 70, 70), rates("one", 100, 100, 100), rates("plain, many", 150, 150, 150), rates("plain, one", 200, 200, 200)},
			"= 0.70, goal ≥ 0.90: at the limit: 0.93 of plain, many / plain, one"},
		{"of a number, far", flat, []entry{rates("many", 70, 70, 70), rates("one", 100, 100, 100), rates("plain, many", 190, 190, 190), rates("plain, one", 200, 200, 200)},
			"= 0.70, goal ≥ 0.90: MISSED: 0.74 of plain, many / plain, one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := beside(c.goal, c.all...)
			if got := o.Goals[0].line(); !strings.HasSuffix(got, c.says) {
				t.Errorf("verdict %q, want %q", got, c.says)
			}
		})
	}
}

// clone makes samples of its own.
func (e entry) clone() entry {
	e.Samples = append([]sample(nil), e.Samples...)
	return e
}

// TestLimitsAreTold: no form of the report takes what is at the limit for what has met its goal.
func TestLimitsAreTold(t *testing.T) {
	g := goal{what: rate, peer: "vblade", want: 2, limits: []limit{{name: "plain"}}}
	at := beside(g, rates("goaoe", 15, 15, 15), rates("vblade", 10, 10, 10), rates("plain", 16, 16, 16))
	far := beside(g, rates("goaoe", 15, 15, 15), rates("vblade", 10, 10, 10), rates("plain", 30, 30, 30))
	far.ID = "y"
	r := report{Machine: []string{"a machine"}, Rows: []outcome{at, far}}
	dir := t.TempDir()
	if err := r.save(dir, "", ""); err != nil {
		t.Fatal(err)
	}
	for name, wanted := range map[string][]string{
		"bench.txt": {"goal ≥ 2.00: at the limit: 0.94 of plain", "goal ≥ 2.00: MISSED: 0.50 of plain", "2 goals: 0 met, 1 at the limit, 1 missed, 0 without a verdict"},
		"bench.md":  {"| at the limit: 0.94 of plain |", "| missed: 0.50 of plain |", "2 goals: 0 met, 1 at the limit, 1 missed"},
		"bench.svg": {"1.50 (goal ≥ 2.00) at the limit (0.94 of it)", "1.50 (goal ≥ 2.00) missed (0.50 of the limit)"},
	} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wanted {
			if !strings.Contains(string(b), want) {
				t.Errorf("no %q in %s:\n%s", want, name, b)
			}
		}
		if strings.Contains(string(b), ") met") || strings.Contains(string(b), "| met") {
			t.Errorf("%s says met:\n%s", name, b)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if v := back.Rows[0].Goals[0]; v.Result != atLimit || v.Limit == nil || v.Limit.Name != "plain" || v.Limit.Want != .9 || v.Limit.Value != .9375 {
		t.Errorf("%+v", v)
	}
}
