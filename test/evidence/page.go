package main

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// head begins the page.
const head = `# Evidence

Made by ` + "`make evidence`" + `, which runs what is listed here and writes what came of it. Nothing on this page is written by hand but its last section. What each test
does stands in its own comment; what is promised, and which test shows it, in [conformance.md](conformance.md) and [security.md](security.md).

`

//go:embed found.md
var found string

// page is the whole page.
func page(done []outcome, versions string) string {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString(versions)
	b.WriteString("\nPassed, failed and skipped are tests, and the cases in them.\n")
	b.WriteString("\n| what | passed | failed | skipped | took |\n| --- | --- | --- | --- | --- |\n")
	var took time.Duration
	for _, o := range done {
		if o.kept != nil {
			b.WriteString(o.kept.row + "\n")
			took += o.kept.took
			continue
		}
		fmt.Fprintf(&b, "| [%s](#%s) | %d | %d | %d | %v |\n", o.title, anchor(o.title), o.passed, o.failed, o.skipped, o.took.Round(time.Second))
		took += o.took
	}
	fmt.Fprintf(&b, "\nAll of it took %v, building and waiting included.\n", took.Round(time.Second))
	for _, o := range done {
		if o.kept != nil {
			b.WriteString(o.kept.text)
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n%s\n\n", o.title, commands(o.part), o.state)
		if o.text != "" {
			b.WriteString(o.text + "\n")
		}
		if len(o.fuzzed) == 0 || o.failed > 0 { // the table has them
			fmt.Fprintf(&b, "Tests (in brackets: their cases): %s.\n", strings.Join(o.list(), ", "))
		}
	}
	return b.String() + "\n" + found
}

// section is what a page has of a part: its row of the table, and its text with the heading.
type section struct {
	row, text string
	took      time.Duration
}

var rowOf = regexp.MustCompile(`(?m)^\| \[(.*)\]\(#.*\) \|.* \| (\S+) \|$`)

// sections takes a page apart, by title. Without a page there are none.
func sections(path string) (map[string]section, error) {
	page, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	out := map[string]section{}
	for _, m := range rowOf.FindAllStringSubmatch(string(page), -1) {
		took, err := time.ParseDuration(m[2])
		_, text, ok := strings.Cut(string(page), "\n## "+m[1]+"\n")
		if err != nil || !ok {
			return nil, fmt.Errorf("%s: the row of %q cannot be read, or has no section", path, m[1])
		}
		text, _, _ = strings.Cut(text, "\n## ")
		out[m[1]] = section{m[0], "\n## " + m[1] + "\n" + text, took}
	}
	return out, nil
}

// commands is what was run.
func commands(p part) string {
	var list []string
	for _, args := range p.runs {
		line := "go test " + strings.Join(args, " ")
		if len(p.env) > 0 {
			line = strings.Join(p.env, " ") + " " + line
		}
		list = append(list, "`"+line+"`")
	}
	if len(list) > 3 { // one for each fuzz target
		return list[0] + ", and so on"
	}
	return strings.Join(list, ", ")
}

// list is the tests, with the number of cases where there are some.
func (o outcome) list() []string {
	list := slices.Clone(o.tests)
	for i, name := range list {
		if n := o.cases[name]; n > 0 {
			list[i] = fmt.Sprintf("%s (%d)", name, n)
		}
	}
	return list
}

var noAnchor = regexp.MustCompile(`[^a-z0-9 -]`)

// anchor is the name that a heading has in a link.
func anchor(title string) string {
	return strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(title), ""), " ", "-")
}

// versions tells what was tried, and with what, and the state of the source.
func versions() (all, state string) {
	first := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).Output()
		if err != nil {
			return "?"
		}
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return line
	}
	state = first("git", "describe", "--tags", "--always", "--dirty")
	kernel, _, _ := strings.Cut(first("uname", "-r"), "-")
	all = fmt.Sprintf("goaoe %s, %s, Linux %s, %d processors, on %s. Beside it: %s, vblade %s, aoetools %s, %s, %s.\n",
		state, runtime.Version(), kernel, runtime.NumCPU(), time.Now().UTC().Format("2006-01-02"),
		first("qemu-system-x86_64", "--version"), first("dpkg-query", "-W", "-f", "${Version}", "vblade"), first("dpkg-query", "-W", "-f", "${Version}", "aoetools"),
		first("fio", "--version"), first("nbdkit", "--version"))
	return all, state
}

// powerFigures is the table of the power cuts.
func powerFigures(dir string) (string, error) {
	var b strings.Builder
	b.WriteString("The machine of the target is killed under load together with the write cache of its disk; then each sector of the image is held against what was acknowledged.\n\n")
	b.WriteString("| target | power cuts | writes acknowledged | sectors of those that were lost |\n| --- | --- | --- | --- |\n")
	err := lines(dir, "power.json", func(line []byte) error {
		var m struct {
			Mode         string
			Cuts         int
			Acknowledged uint64
			Lost         int  `json:"sectors-lost"`
			MustLose     bool `json:"must-lose"`
		}
		if err := json.Unmarshal(line, &m); err != nil {
			return err
		}
		name := m.Mode
		if !strings.HasPrefix(name, "vblade") {
			name = "goaoe, " + name
		}
		if m.MustLose {
			name += " (the control: has to lose)"
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", name, m.Cuts, m.Acknowledged, m.Lost)
		return nil
	})
	return b.String(), err
}

// restartFigures is how long nothing moves around a restart.
func restartFigures(dir string) (string, error) {
	out, err := os.ReadFile(filepath.Join(dir, "restart.json"))
	if err != nil {
		return "", err
	}
	var r struct {
		Restarts, Writes int
		Median           int `json:"median-ms"`
		Longest          int `json:"longest-ms"`
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d restarts under load, %d writes: none failed and none was lost. Around a restart nothing was answered for %d ms (median; the longest %d ms).\n",
		r.Restarts, r.Writes, r.Median, r.Longest), nil
}

// simulated is what the simulator wrote.
type simulated struct {
	Seeds struct {
		Seeds, Seconds int
		First          uint64
		Counts         map[string]json.RawMessage
	}
	Variants []struct {
		Name, What   string
		Seed, Within int
	}
}

func readSim(dir string) (sim simulated, err error) {
	out, err := os.ReadFile(filepath.Join(dir, "sim.json"))
	if err == nil {
		err = json.Unmarshal(out, &sim)
	}
	return sim, err
}

// seedFigures is what happened in the seeds.
func seedFigures(dir string) (string, error) {
	sim, err := readSim(dir)
	if err != nil {
		return "", err
	}
	seen, plain := map[string]uint64{}, map[string]uint64{}
	for k, v := range sim.Seeds.Counts {
		if k == "seen" {
			err = json.Unmarshal(v, &seen)
		} else {
			var n uint64
			err = json.Unmarshal(v, &n)
			plain[strings.ReplaceAll(k, "_", " ")] = n
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", k, err)
		}
	}
	if sim.Seeds.Seeds == 0 {
		return "**TestSeeds found a fault**, or did not run.\n", nil
	}
	return fmt.Sprintf("%d seeds from %d on, in %d s, without a fault found. In them: %s.\n\nThings that must happen in a simulation, or it would look for nothing there: %s.\n",
		sim.Seeds.Seeds, sim.Seeds.First, sim.Seeds.Seconds, counts(plain), counts(seen)), nil
}

// simFigures is what the simulator did, and the variants that it caught.
func simFigures(dir string) (string, error) {
	text, err := seedFigures(dir)
	if err != nil {
		return "", err
	}
	sim, err := readSim(dir)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(text + "\nWhat is broken on purpose, and the first seed that finds it:\n\n| variant | what is wrong in it | found by seed | must be found within |\n| --- | --- | --- | --- |\n")
	for _, v := range sim.Variants {
		fmt.Fprintf(&b, "| %s | %s | %d | %d |\n", v.Name, v.What, v.Seed, v.Within)
	}
	return b.String(), nil
}

// hostileFigures is what the daemon was sent and what it had afterwards, and what floods and a greedy initiator leave to others.
func hostileFigures(dir string) (string, error) {
	out, err := os.ReadFile(filepath.Join(dir, "hostile.json"))
	if err != nil {
		return "", err
	}
	var s struct {
		Seed, Frames, Taken, Lost, Seconds uint64
		Before, After                      struct {
			MiB                  float64
			Descriptors, Threads int
		}
	}
	if err := json.Unmarshal(out, &s); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d random and mutated frames (seed %d) in %d s. %d of them got through the filter in the kernel to the daemon, %d were lost in the queue before it. Memory went from %.1f to %.1f MiB, descriptors from %d to %d, threads from %d to %d.\n\n",
		s.Frames, s.Seed, s.Seconds, s.Taken, s.Lost, s.Before.MiB, s.After.MiB, s.Before.Descriptors, s.After.Descriptors, s.Before.Threads, s.After.Threads)
	b.WriteString("An initiator that behaves, beside floods of 20,000 frames a second (medians of alternating windows, on one machine with the sender):\n\n| flood | of its throughput is left | 99 of 100 requests take at most, alone | beside the flood |\n| --- | --- | --- | --- |\n")
	err = lines(dir, "floods.json", func(line []byte) error {
		var f struct {
			Flood        string
			Ratio        float64
			Alone, Under int
		}
		if err := json.Unmarshal(line, &f); err != nil {
			return err
		}
		fmt.Fprintf(&b, "| %s | %.2f | %.1f ms | %.1f ms |\n", f.Flood, f.Ratio, float64(f.Alone)/1000, float64(f.Under)/1000)
		return nil
	})
	return b.String(), err
}

// fuzzFigures is the table of the fuzz targets.
func fuzzFigures(list []fuzzed) string {
	var b strings.Builder
	b.WriteString("| target | stored inputs | inputs tried | of them new ways through the code |\n| --- | --- | --- | --- |\n")
	for _, f := range list {
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", f.target, f.stored, f.inputs, f.fresh)
	}
	return b.String()
}

// lines calls f with each line of a file that a test wrote.
func lines(dir, name string, f func([]byte) error) error {
	file, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	s := bufio.NewScanner(file)
	for s.Scan() {
		if err := f(s.Bytes()); err != nil {
			return err
		}
	}
	return s.Err()
}

// counts lists numbers by name.
func counts(m map[string]uint64) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%d %s", m[k], k))
	}
	return strings.Join(out, ", ")
}
