package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// outcome is what a part came to.
type outcome struct {
	part
	passed, failed, skipped int      // tests, and the cases in them
	tests                   []string // top-level tests, with their outcome when that is not a pass
	cases                   map[string]int
	fuzzed                  []fuzzed
	took                    time.Duration
	state, text             string   // what it was run with, and its figures
	kept                    *section // it was not run: what the page has
}

// fuzzed is what came of a fuzz target.
type fuzzed struct {
	target                string
	stored, inputs, fresh uint64 // inputs in the repository; inputs tried; those that reached code that none before had reached
}

// event is a line of go test -json.
type event struct {
	Action, Test, Output, Package string
}

// run runs a part. What the tests print goes to stderr when one fails. Whatever goes wrong is a failure of the part, and the page says so.
func (p part) run(dir string) outcome {
	o := outcome{part: p, cases: map[string]int{}}
	start := time.Now()
	for _, args := range p.runs {
		if err := o.goTest(dir, args); err != nil {
			o.failed++
			o.tests = append(o.tests, fmt.Sprintf("**go test %s: %v**", strings.Join(args, " "), err))
		}
	}
	o.took = time.Since(start)
	slices.Sort(o.tests)
	o.tests = slices.Compact(o.tests)
	var err error
	switch {
	case len(o.fuzzed) > 0:
		o.text = fuzzFigures(o.fuzzed)
	case p.figures != nil:
		o.text, err = p.figures(dir)
	}
	if err != nil {
		o.failed++
		o.text = "**No figures.**\n"
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.name, err)
	}
	return o
}

// goTest is one run of go test.
func (o *outcome) goTest(dir string, args []string) error {
	args = append([]string{"test", "-json", "-count=1", "-p=1", "-timeout=0"}, args...)
	if slices.Contains(args, "-fuzz") {
		args = slices.DeleteFunc(args, func(s string) bool { return s == "-count=1" }) // a fuzzing run is never taken from the cache
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(append(os.Environ(), "GOAOE_EVIDENCE="+dir, "CI=true"), o.env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	failed := o.failed
	said := o.read(out)
	if err = cmd.Wait(); err == nil {
		return nil
	}
	_, _ = io.WriteString(os.Stderr, said)
	if o.failed > failed {
		return nil // known by name
	}
	return err
}

var fuzzing = regexp.MustCompile(`^fuzz: elapsed: \S+, execs: (\d+) .*new interesting: (\d+) \(total: \d+\)`)

// read takes what go test -json says, and returns what the tests printed.
func (o *outcome) read(out io.Reader) string {
	var said strings.Builder
	mark := map[string]string{"pass": "%s", "fail": "**%s failed**", "skip": "%s (skipped)"}
	count := map[string]*int{"pass": &o.passed, "fail": &o.failed, "skip": &o.skipped}
	var f fuzzed
	for in := bufio.NewReader(out); ; {
		line, err := in.ReadBytes('\n')
		if err != nil {
			break
		}
		var e event
		if json.Unmarshal(line, &e) != nil {
			said.Write(line)
			continue
		}
		said.WriteString(e.Output)
		if m := fuzzing.FindStringSubmatch(e.Output); m != nil {
			f.inputs, _ = strconv.ParseUint(m[1], 10, 64) // digits
			f.fresh, _ = strconv.ParseUint(m[2], 10, 64)
		}
		n := count[e.Action]
		if e.Test == "" || n == nil {
			continue
		}
		*n++
		name, _, sub := strings.Cut(e.Test, "/")
		if sub {
			o.cases[name]++
			continue
		}
		o.tests = append(o.tests, fmt.Sprintf(mark[e.Action], name))
		if strings.HasPrefix(name, "Fuzz") {
			_, folder, _ := strings.Cut(e.Package, "/")
			stored, _ := os.ReadDir(filepath.Join(folder, "testdata", "fuzz", name)) // none: 0
			f.target, f.stored = folder+" "+name, uint64(len(stored))
			o.fuzzed = append(o.fuzzed, f)
			f = fuzzed{}
		}
	}
	return said.String()
}

var fuzzFunc = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)

// fuzzTargets finds the fuzz targets below a folder: folder and name.
func fuzzTargets(root string) (list [][2]string, err error) {
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range fuzzFunc.FindAllStringSubmatch(string(text), -1) {
			folder, err := filepath.Rel(root, filepath.Dir(path))
			if err != nil {
				return err
			}
			list = append(list, [2]string{folder, m[1]})
		}
		return nil
	})
	return list, err
}
