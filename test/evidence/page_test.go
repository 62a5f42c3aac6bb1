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
		"restart.json": `{"restarts":5,"writes":900,"median-ms":310,"longest-ms":548}`,
		"sim.json": `{"name":"sim","seeds":{"seeds":20000,"first":1,"seconds":60,"counts":{"events":5,"power_cuts":3,"seen":{"wait":4}}},` +
			`"variants":[{"name":"order","what":"overlapping requests run at once","seed":3,"within":100}]}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var done []outcome
	for _, p := range parts(20000, 6) {
		o := outcome{part: p, passed: 2, failed: 1, skipped: 1, tests: []string{"TestA", "**TestB failed**", "TestC (skipped)"}, took: time.Minute}
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
		"20000 seeds from 1 on, in 60 s", "5 events, 3 power cuts", "4 wait", "5 restarts under load, 900 writes", "for 310 ms (median; the longest 548 ms)", "| order | overlapping requests run at once | 3 | 100 |", "Tests: TestA, **TestB failed**, TestC (skipped).",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if _, err := simFigures(t.TempDir()); err == nil {
		t.Error("figures that are not there are no error")
	}
	if err := write(filepath.Join(dir, "x.md"), 1, 1, "nonsense"); err == nil || !strings.Contains(err.Error(), "-only nonsense") {
		t.Errorf("-only nonsense: %v", err)
	}
}
