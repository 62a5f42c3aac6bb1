// Command evidence runs what shows that goaoe keeps its promises and writes what came of it to docs/evidence.md: what was tried, how often, with
// which seeds and versions, and what was found.
//
//	make evidence                                       everything, about an hour on two processors, as root
//	go run ./test/evidence -only sim,power -cuts 20     parts of it anew; the others stay in the page as they are
//
// Each part is one or several runs of go test. Tests that have figures of their own write them, as JSON, to the folder that GOAOE_EVIDENCE names.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// sizes says how much of everything is done.
type sizes struct {
	seeds, cuts, frames int
	fuzz, soak          time.Duration
}

// part is what one section of the page tells of.
type part struct {
	name, title string
	runs        [][]string                       // arguments of go test, a run each
	env         []string                         // of the runs
	figures     func(dir string) (string, error) // what the tests wrote, as Markdown; nil: nothing
}

// parts lists all of them. targets are the fuzz targets, folder and name.
func parts(s sizes, targets [][2]string) []part {
	sim := []string{"./internal/sim", "-run", "^(TestSeeds|TestVariants|TestReplay|TestDeterministic)$", "-sim.seeds", fmt.Sprint(s.seeds)}
	fresh := []string{"./internal/sim", "-run", "^TestSeeds$", "-sim.for", s.soak.String(), "-sim.from", fmt.Sprint(time.Now().Unix(), "000000")}
	all := []part{
		{name: "sim", title: "The simulator", runs: [][]string{sim}, figures: simFigures},
		{name: "power", title: "Power cuts", runs: [][]string{{"./test/guest", "-run", "^TestPowerCut$", "-power.cuts", fmt.Sprint(s.cuts)}}, figures: powerFigures},
		{name: "hostile", title: "Hostile frames, floods, and one that is greedy", runs: [][]string{{"./test/hostile"}}, env: []string{fmt.Sprint("GOAOE_SOAK_FRAMES=", s.frames)}, figures: hostileFigures},
		{name: "faults", title: "Faults below the target, with the Linux driver", runs: [][]string{{"./test/guest", "-run", "^TestLinux(While|Target|Multipath|OverABadCable)"}}},
		{name: "fuzz", title: "Fuzzing"},
		{name: "privilege", title: "Breaking out, and the ways in: sandbox, opener, API, page", runs: [][]string{
			{"./internal/sandbox", "./internal/opener", "./internal/control", "./internal/web"}, {"./test/control", "-run", "^Test(Confined|Sandbox|API|Abuse|OneWins|WhoMay)"}}},
		{name: "upgrade", title: "Restarts and upgrades", runs: [][]string{{"./test/control", "-run", upgrades}, {"./test/package", "-run", "^TestDebianPackage$"}}, figures: restartFigures},
		{name: "conformance", title: "Conformance, frame by frame", runs: [][]string{{"./test/netns", "./test/conformance"}}},
		{name: "peers", title: "Initiators of others", runs: [][]string{{"./test/peers", "./test/guest", "-run", "^Test(Aoe|ToolsOf|SancheckOf|IPXE|LinuxUses|LinuxSees|LinuxReads|LinuxTools|LinuxAttaches)"}}},
		{name: "control", title: "Commands, and the programs that goaoe takes the place of", runs: [][]string{{"./test/control", "-skip", upgrades + "|^Test(Confined|Sandbox|API|Abuse|OneWins|WhoMay)"}}},
		{name: "initiator", title: "The initiator, over bad wires and with targets that die", runs: [][]string{{"./initiator", "./test/attach"}}},
		{name: "units", title: "Order, durability and limits, part by part", runs: [][]string{{"./aoe", "./ata", "./internal/target", "./internal/engine", "./internal/store/...", "./internal/link/..."}}},
		{name: "soak", title: "The simulator, with seeds that nobody has run before", runs: [][]string{fresh}, figures: seedFigures},
	}
	for i := range all {
		if all[i].name == "fuzz" {
			for _, t := range targets {
				all[i].runs = append(all[i].runs, []string{"./" + t[0], "-run", "^$", "-fuzz", "^" + t[1] + "$", "-fuzztime", s.fuzz.String()})
			}
		}
	}
	return all
}

// upgrades is the tests of restarts.
const upgrades = "^Test(RestartUnderLoad|StateOfOtherVersions)$"

func main() {
	out := flag.String("o", "docs/evidence.md", "the page to write")
	only := flag.String("only", "", "names of parts, with commas, that are run; the others stay as the page has them; empty means all")
	var s sizes
	flag.IntVar(&s.seeds, "seeds", 50000, "runs of the simulator")
	flag.IntVar(&s.cuts, "cuts", 10, "power cuts in each mode")
	flag.IntVar(&s.frames, "frames", 10_000_000, "hostile frames")
	flag.DurationVar(&s.fuzz, "fuzz", 20*time.Second, "time for each fuzz target")
	flag.DurationVar(&s.soak, "soak", 10*time.Minute, "time for new seeds of the simulator")
	flag.Parse()
	if err := write(*out, s, *only); err != nil {
		fmt.Fprintln(os.Stderr, "evidence:", err)
		os.Exit(1)
	}
}

// write runs the parts and writes the page; a failure is in the page, and an error as well.
func write(path string, s sizes, only string) error {
	dir, err := os.MkdirTemp("", "goaoe-evidence-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	targets, err := fuzzTargets(".")
	if err != nil {
		return err
	}
	wanted := strings.FieldsFunc(only, func(r rune) bool { return r == ',' })
	all := parts(s, targets)
	var names []string
	for _, p := range all {
		names = append(names, p.name)
	}
	for _, w := range wanted {
		if !slices.Contains(names, w) {
			return fmt.Errorf("-only %s: there is no such part: %s", w, strings.Join(names, ", "))
		}
	}
	versions, state := versions() // as they are now: the page that is written below changes the tree
	var done []outcome
	old := map[string]section{}
	if len(wanted) > 0 {
		if old, err = sections(path); err != nil {
			return err
		}
	}
	var failed []error
	for _, p := range all {
		if len(wanted) > 0 && !slices.Contains(wanted, p.name) {
			if kept, ok := old[p.title]; ok {
				done = append(done, outcome{part: p, kept: &kept})
			}
			continue
		}
		fmt.Fprintf(os.Stderr, "%s %s ...\n", time.Now().Format(time.TimeOnly), p.title)
		at := time.Now().UTC()
		o := p.run(dir)
		o.state = fmt.Sprintf("Run with goaoe %s on %s.", state, at.Format("2006-01-02 at 15:04 UTC"))
		fmt.Fprintf(os.Stderr, "  %d passed, %d failed, %d skipped in %v\n", o.passed, o.failed, o.skipped, o.took.Round(time.Second))
		if o.failed > 0 {
			failed = append(failed, fmt.Errorf("%s: %d failed", p.name, o.failed))
		}
		done = append(done, o)
		if err := os.WriteFile(path, []byte(page(done, versions)), 0o644); err != nil { // also when it is ended early: what ran is there
			return err
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%w\n%s says which", errors.Join(failed...), filepath.Base(path))
	}
	return nil
}
