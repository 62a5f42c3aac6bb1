package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPage: figures that the tests write come out as they are, failures and skips are seen.
func TestPage(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"power.json": `{"acknowledged":9600,"cuts":6,"mode":"direct","must-lose":false,"sectors-lost":0}` + "\n" +
			`{"acknowledged":510,"cuts":6,"mode":"write-cache = true","must-lose":true,"sectors-lost":77}` + "\n" +
			`{"acknowledged":8724,"cuts":6,"mode":"vblade -d","must-lose":false,"sectors-lost":42807}` + "\n",
		"hostile.json": `{"seed":7,"frames":10000000,"seconds":161,"taken":4000000,"lost":12,"before":{"mib":37.25,"descriptors":20,"threads":9},"after":{"mib":42,"descriptors":21,"threads":9}}`,
		"floods.json":  `{"flood":"errors","ratio":0.81,"alone":900,"under":2500}` + "\n",
		"restart.json": `{"restarts":5,"writes":900,"median-ms":310,"longest-ms":548}`,
		"sim.json": `{"name":"sim","seeds":{"seeds":20000,"first":1,"seconds":60,"counts":{"events":5,"power_cuts":3,"seen":{"wait":4}}},` +
			`"variants":[{"name":"order","what":"overlapping requests run at once","seed":3,"within":100}]}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var done []outcome
	s := sizes{seeds: 20000, cuts: 6, frames: 10_000_000, fuzz: time.Second, soak: time.Minute}
	for _, p := range parts(s, [][2]string{{"aoe", "FuzzDecode"}}) {
		o := outcome{part: p, passed: 2, failed: 1, skipped: 1, tests: []string{"TestA", "**TestB failed**", "TestC (skipped)"}, cases: map[string]int{"TestA": 5}, took: time.Minute}
		if p.name == "fuzz" {
			o.fuzzed = []fuzzed{{"aoe FuzzDecode", 7, 123456, 3}}
			o.text = fuzzFigures(o.fuzzed)
		}
		if p.figures != nil {
			var err error
			if o.text, err = p.figures(dir); err != nil {
				t.Fatal(err)
			}
		}
		done = append(done, o)
	}
	got := page(done, "versions\n")
	for _, want := range []string{
		"| [Power cuts](#power-cuts) | 2 | 1 | 1 | 1m0s |", "[Conformance, frame by frame](#conformance-frame-by-frame)", "## The simulator\n",
		"-sim.seeds 20000`", "| goaoe, direct | 6 | 9600 | 0 |", "| goaoe, write-cache = true (the control: has to lose) | 6 | 510 | 77 |", "| vblade -d | 6 | 8724 | 42807 |",
		"20000 seeds from 1 on, in 60 s", "5 events, 3 power cuts", "4 wait", "5 restarts under load, 900 writes", "for 310 ms (median; the longest 548 ms)", "| order | overlapping requests run at once | 3 | 100 |", "Tests (in brackets: their cases): TestA (5), **TestB failed**, TestC (skipped).",
		"`GOAOE_SOAK_FRAMES=10000000 go test ./test/hostile`", "10000000 random and mutated frames (seed 7) in 161 s. 4000000 of them", "from 37.2 to 42.0 MiB, descriptors from 20 to 21",
		"| errors | 0.81 | 0.9 ms | 2.5 ms |", "| aoe FuzzDecode | 7 | 123456 | 3 |", "`go test ./aoe -run ^$ -fuzz ^FuzzDecode$ -fuzztime 1s`", "All of it took 13m0s", "## What was found",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	// What is not run again stays, word for word.
	path := filepath.Join(dir, "page.md")
	if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
		t.Fatal(err)
	}
	old, err := sections(path)
	if err != nil || len(old) != len(done) {
		t.Fatalf("%d sections of %d, %v", len(old), len(done), err)
	}
	for i := range done {
		if kept := old[done[i].title]; i != 1 {
			done[i].kept = &kept
		}
	}
	if again := page(done, "versions\n"); again != got {
		t.Errorf("taken apart and put together it is another page:\n%s", again)
	}
	if none, err := sections(filepath.Join(dir, "none")); err != nil || len(none) != 0 {
		t.Errorf("no page: %v, %v", none, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sim.json"), []byte(`{"variants":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := seedFigures(dir); err != nil || strings.Contains(text, "without a fault") {
		t.Errorf("seeds that failed: %q, %v", text, err)
	}
	if _, err := simFigures(t.TempDir()); err == nil {
		t.Error("figures that are not there are no error")
	}
	if err := write(filepath.Join(dir, "x.md"), s, "nonsense"); err == nil || !strings.Contains(err.Error(), "-only nonsense") {
		t.Errorf("-only nonsense: %v", err)
	}
}

// TestRead: what go test -json says comes out as numbers; a run that fails without a test that does is a failure, too.
func TestRead(t *testing.T) {
	o := outcome{cases: map[string]int{}}
	said := o.read(strings.NewReader(`{"Action":"run","Package":"goaoe/x","Test":"TestA"}
{"Action":"output","Package":"goaoe/x","Test":"TestA","Output":"hello\n"}
{"Action":"pass","Package":"goaoe/x","Test":"TestA/one"}
{"Action":"pass","Package":"goaoe/x","Test":"TestA/two"}
{"Action":"pass","Package":"goaoe/x","Test":"TestA"}
{"Action":"fail","Package":"goaoe/x","Test":"TestB"}
{"Action":"skip","Package":"goaoe/x","Test":"TestC"}
no JSON
{"Action":"output","Package":"goaoe/x/y","Test":"FuzzZ","Output":"fuzz: elapsed: 3s, execs: 34160 (11385/sec), new interesting: 2 (total: 21)\n"}
{"Action":"output","Package":"goaoe/x/y","Test":"FuzzZ","Output":"fuzz: elapsed: 6s, execs: 70000 (11385/sec), new interesting: 4 (total: 23)\n"}
{"Action":"pass","Package":"goaoe/x/y","Test":"FuzzZ"}
{"Action":"fail","Package":"goaoe/x"}
`))
	if o.passed != 4 || o.failed != 1 || o.skipped != 1 || o.cases["TestA"] != 2 || !strings.Contains(said, "hello\n") || !strings.Contains(said, "no JSON") {
		t.Errorf("%+v, %q", o, said)
	}
	if got := strings.Join(o.list(), ", "); got != "TestA (2), **TestB failed**, TestC (skipped), FuzzZ" {
		t.Error(got)
	}
	if len(o.fuzzed) != 1 || o.fuzzed[0] != (fuzzed{"x/y FuzzZ", 0, 70000, 4}) {
		t.Errorf("%+v", o.fuzzed)
	}
	bad := part{name: "bad", runs: [][]string{{"./there-is-no-such-package"}}}
	if o := bad.run(t.TempDir()); o.failed != 1 || len(o.tests) != 1 || !strings.Contains(o.tests[0], "there-is-no-such-package: exit status") {
		t.Errorf("a package that is not there: %+v", o)
	}
	if list, err := fuzzTargets("../.."); err != nil || len(list) < 19 {
		t.Errorf("fuzz targets: %v, %v", list, err)
	}
}
