package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	flagSeeds   = flag.Int("sim.seeds", 300, "how many seeds TestSeeds runs")
	flagFrom    = flag.Uint64("sim.from", 1, "the first of them")
	flagFor     = flag.Duration("sim.for", 0, "TestSeeds runs seeds for this long, whatever -sim.seeds says")
	flagSeed    = flag.Uint64("sim.seed", 0, "the seed that TestReplay runs and prints")
	flagWithout = flag.String("sim.without", "", "parts that TestReplay leaves out, separated by commas")
	flagShrink  = flag.Bool("sim.shrink", true, "shrink a run that fails")
)

func run(t testing.TB, o Options) Result {
	t.Helper()
	res, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// TestSeeds runs many seeds, each a run of its own. The first that breaks a rule is shrunk and printed with its trace.
func TestSeeds(t *testing.T) {
	var next atomic.Uint64
	var mu sync.Mutex
	var group sync.WaitGroup
	var all Counts
	var first *BrokenError
	start, ran := time.Now(), 0
	for range runtime.GOMAXPROCS(0) {
		group.Add(1)
		go func() {
			defer group.Done()
			for {
				n := next.Add(1) - 1
				if *flagFor > 0 && time.Since(start) > *flagFor || *flagFor == 0 && n >= uint64(*flagSeeds) {
					return
				}
				res, err := Run(Options{Seed: *flagFrom + n})
				mu.Lock()
				if err != nil {
					t.Error(err)
				}
				if f := res.Failure; f != nil && (first == nil || f.Seed < first.Seed) {
					first = f
				}
				failed := first != nil || err != nil
				all.add(res.Counts)
				ran++
				mu.Unlock()
				if failed {
					return
				}
			}
		}()
	}
	group.Wait()
	if first != nil {
		t.Fatal(explain(first))
	}
	t.Logf("%d seeds in %v: %d events, %d requests, %d replies, %d kills, %d power cuts", ran, time.Since(start).Round(time.Millisecond), all.Events,
		all.Requests, all.Replies, all.Kills, all.PowerCuts)
	evidence(t, "seeds", map[string]any{"seeds": ran, "first": *flagFrom, "seconds": int(time.Since(start).Seconds()), "counts": all})
	if ran < 2000 {
		return
	}
	// A simulator in which nothing happens finds nothing.
	for _, name := range sights {
		if all.Seen[name] == 0 {
			t.Errorf("in %d seeds there was no %s", ran, name)
		}
	}
}

// explain tells what went wrong in a run, on as few lines as possible.
func explain(f *BrokenError) string {
	s := f.Error()
	if !*flagShrink {
		return s
	}
	least, runs := Shrink(f)
	res, err := Run(Options{Seed: least.Seed, Without: least.Without, Verbose: true})
	if err != nil {
		return s + "\n" + err.Error()
	}
	trace := res.Trace
	if n := len(trace); n > 80 {
		trace = append([]string{fmt.Sprintf("  (%d lines before)", n-80)}, trace[n-80:]...)
	}
	return fmt.Sprintf("%s\nshrunk in %d runs: %s\n%s", s, runs, least.Error(), strings.Join(trace, "\n"))
}

// TestReplay runs one seed and prints its trace: go test ./internal/sim -run TestReplay -v -sim.seed=N
func TestReplay(t *testing.T) {
	o := Options{Seed: max(*flagSeed, 1), Verbose: true}
	if *flagWithout != "" {
		o.Without = strings.Split(*flagWithout, ",")
	}
	res := run(t, o)
	if *flagSeed != 0 {
		fmt.Println(strings.Join(res.Trace, "\n"))
	}
	if res.Failure != nil {
		t.Fatal(res.Failure)
	}
	if len(res.Trace) == 0 {
		t.Fatal("the trace is empty")
	}
}

// TestDeterministic: a seed gives the same run again, event for event, also in the company of others and with the trace as text; and another
// seed gives another.
func TestDeterministic(t *testing.T) {
	const seeds = 60
	var hashes [seeds]uint64
	for i := range hashes {
		hashes[i] = run(t, Options{Seed: uint64(i + 1)}).Hash
		if i > 0 && hashes[i] == hashes[i-1] {
			t.Errorf("seeds %d and %d give the same run", i, i+1)
		}
	}
	var group sync.WaitGroup
	for w := range 2 {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := range hashes {
				i = (i*7 + w) % seeds
				res, err := Run(Options{Seed: uint64(i + 1), Verbose: w == 1})
				if err != nil || res.Hash != hashes[i] {
					t.Errorf("seed %d: the hash of the events is %x, and was %x (%v)", i+1, res.Hash, hashes[i], err)
				}
			}
		}()
	}
	group.Wait()
	var traces [2][]string
	for i := range traces {
		traces[i] = run(t, Options{Seed: 7, Verbose: true}).Trace
	}
	if !slices.Equal(traces[0], traces[1]) || len(traces[0]) < 20 {
		t.Errorf("two traces of seed 7 differ, or are empty (%d and %d lines)", len(traces[0]), len(traces[1]))
	}
}

// TestWithout: what is left out is left out, and nonsense is an error.
func TestWithout(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		for _, part := range newPlan(seed).parts() {
			if res := run(t, Options{Seed: seed, Without: []string{part, "ops:5"}}); res.Failure != nil {
				t.Errorf("without %s: %v", part, res.Failure)
			}
		}
	}
	p := newPlan(5)
	var hosts []string
	for _, s := range p.parts() {
		if strings.HasPrefix(s, "host:") {
			hosts = append(hosts, s)
		}
	}
	res := run(t, Options{Seed: 5, Without: hosts})
	if res.Counts.Sent == 0 || res.Counts.Requests > 200 {
		t.Errorf("without initiators: %d frames, %d requests; want those of the check at the end only", res.Counts.Sent, res.Counts.Requests)
	}
	if _, err := Run(Options{Seed: 1, Without: []string{"everything"}}); err == nil || !strings.Contains(err.Error(), "there is no such part") {
		t.Errorf("without everything: %v", err)
	}
}

var evidenceLock sync.Mutex

// evidence writes figures for docs/evidence.md to the file sim.json in the folder that GOAOE_EVIDENCE names: one line of JSON, to which each test adds
// its own key.
func evidence(t *testing.T, key string, figures any) {
	t.Helper()
	dir := os.Getenv("GOAOE_EVIDENCE")
	if dir == "" {
		return
	}
	evidenceLock.Lock()
	defer evidenceLock.Unlock()
	path := filepath.Join(dir, "sim.json")
	all := map[string]any{}
	if b, err := os.ReadFile(path); err == nil {
		if err := json.Unmarshal(b, &all); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	all["name"], all["go"], all[key] = "sim", runtime.Version(), figures
	b, err := json.Marshal(all)
	if err == nil {
		err = os.WriteFile(path, append(b, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
