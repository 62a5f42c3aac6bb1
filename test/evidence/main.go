// Command evidence runs what shows that goaoe keeps its promises and writes what came of it to docs/evidence.md: what was tried, how often, with
// which seeds and versions, and what was found.
//
//	make evidence                                       everything, about an hour on two processors, as root
//	go run ./test/evidence -only sim,power -cuts 20     parts of it; the others are left out of the page
//
// Each part is a run of go test. Tests that have figures of their own write them, as JSON, to the folder that GOAOE_EVIDENCE names.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// part is one run of go test.
type part struct {
	name, title string
	args        []string                         // of go test
	figures     func(dir string) (string, error) // what the tests wrote, as Markdown; nil: nothing
}

// parts lists all of them.
func parts(seeds, cuts int) []part {
	return []part{
		{"sim", "The simulator", []string{"./internal/sim", "-run", "^(TestSeeds|TestVariants|TestReplay|TestDeterministic)$", "-sim.seeds", fmt.Sprint(seeds)}, simFigures},
		{"power", "Power cuts", []string{"./test/guest", "-run", "^TestPowerCut$", "-power.cuts", fmt.Sprint(cuts)}, powerFigures},
		{"faults", "Faults below the target, with the Linux driver", []string{"./test/guest", "-run", "^TestLinux(While|Target|Multipath|OverABadCable)"}, nil},
		{"conformance", "Conformance, frame by frame", []string{"./test/netns"}, nil},
		{"peers", "Initiators of others", []string{"./test/peers", "./test/guest", "-run", "^Test(Aoe|IPXE|LinuxUses|LinuxSees|LinuxReads|LinuxTools)"}, nil},
		{"control", "Commands and API", []string{"./test/control", "./internal/control"}, restartFigures},
		{"initiator", "The initiator, over bad wires and with targets that die", []string{"./initiator", "./test/attach"}, nil},
	}
}

// outcome is what a part came to.
type outcome struct {
	part
	passed, failed, skipped int
	tests                   []string // top-level tests, with their outcome when that is not a pass
	took                    time.Duration
	text                    string
}

// event is a line of go test -json.
type event struct {
	Action, Test, Output, Package string
}

// run runs a part; what the tests print goes to stderr when one fails.
func (p part) run(dir string) (outcome, error) {
	o := outcome{part: p}
	start := time.Now()
	cmd := exec.Command("go", append([]string{"test", "-json", "-count=1", "-p=1", "-timeout=0"}, p.args...)...)
	cmd.Env = append(os.Environ(), "GOAOE_EVIDENCE="+dir, "CI=true")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return o, err
	}
	if err := cmd.Start(); err != nil {
		return o, err
	}
	var said strings.Builder
	for in := bufio.NewReader(out); ; {
		line, err := in.ReadBytes('\n')
		if err != nil {
			break
		}
		var e event
		if json.Unmarshal(line, &e) != nil {
			continue
		}
		said.WriteString(e.Output)
		if e.Test == "" {
			continue
		}
		top := !strings.Contains(e.Test, "/")
		switch e.Action {
		case "pass":
			o.passed++
			if top {
				o.tests = append(o.tests, e.Test)
			}
		case "fail":
			o.failed++
			if top {
				o.tests = append(o.tests, "**"+e.Test+" failed**")
			}
		case "skip":
			o.skipped++
			if top {
				o.tests = append(o.tests, e.Test+" (skipped)")
			}
		}
	}
	err = cmd.Wait()
	o.took = time.Since(start)
	if err != nil {
		_, _ = io.WriteString(os.Stderr, said.String())
		if o.passed+o.failed == 0 {
			return o, fmt.Errorf("%s: go test %s: %w", p.name, strings.Join(p.args, " "), err)
		}
	}
	if p.figures != nil {
		if o.text, err = p.figures(dir); err != nil {
			return o, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	slices.Sort(o.tests)
	return o, nil
}

func main() {
	out := flag.String("o", "docs/evidence.md", "the page to write")
	seeds := flag.Int("seeds", 50000, "runs of the simulator")
	cuts := flag.Int("cuts", 10, "power cuts in each mode")
	only := flag.String("only", "", "names of parts, with commas; empty means all")
	flag.Parse()
	if err := write(*out, *seeds, *cuts, *only); err != nil {
		fmt.Fprintln(os.Stderr, "evidence:", err)
		os.Exit(1)
	}
}

// write runs the parts and writes the page; a failure is in the page, and an error as well.
func write(path string, seeds, cuts int, only string) error {
	dir, err := os.MkdirTemp("", "goaoe-evidence-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	wanted := strings.FieldsFunc(only, func(r rune) bool { return r == ',' })
	all := parts(seeds, cuts)
	for _, w := range wanted {
		if !slices.ContainsFunc(all, func(p part) bool { return p.name == w }) {
			return fmt.Errorf("-only %s: there is no such part", w)
		}
	}
	var done []outcome
	failed := 0
	for _, p := range all {
		if len(wanted) > 0 && !slices.Contains(wanted, p.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s ...\n", p.title)
		o, err := p.run(dir)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "  %d passed, %d failed, %d skipped in %v\n", o.passed, o.failed, o.skipped, o.took.Round(time.Second))
		failed += o.failed
		done = append(done, o)
	}
	if err := os.WriteFile(path, []byte(page(done, versions())), 0o644); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d tests failed; %s says which", failed, filepath.Base(path))
	}
	return nil
}
