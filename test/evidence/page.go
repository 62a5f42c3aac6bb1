package main

import (
	"bufio"
	"encoding/json"
	"fmt"
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

Made by ` + "`make evidence`" + `, which runs what is listed here and writes what came of it. Nothing on this page is written by hand. What each test does stands in
its own comment; what is promised, and which test shows it, in [conformance.md](conformance.md) and [security.md](security.md).

`

// page is the whole page.
func page(done []outcome, versions string) string {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString(versions)
	b.WriteString("\n| what | passed | failed | skipped | took |\n| --- | --- | --- | --- | --- |\n")
	for _, o := range done {
		fmt.Fprintf(&b, "| [%s](#%s) | %d | %d | %d | %v |\n", o.title, anchor(o.title), o.passed, o.failed, o.skipped, o.took.Round(time.Second))
	}
	for _, o := range done {
		fmt.Fprintf(&b, "\n## %s\n\n`go test %s`\n\n", o.title, strings.Join(o.args, " "))
		if o.text != "" {
			b.WriteString(o.text + "\n")
		}
		fmt.Fprintf(&b, "Tests: %s.\n", strings.Join(o.tests, ", "))
	}
	return b.String()
}

var noAnchor = regexp.MustCompile(`[^a-z0-9 -]`)

// anchor is the name that a heading has in a link.
func anchor(title string) string {
	return strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(title), ""), " ", "-")
}

// versions tells what was tried, and with what.
func versions() string {
	first := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).Output()
		if err != nil {
			return "?"
		}
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return line
	}
	kernel, _, _ := strings.Cut(first("uname", "-r"), "-")
	return fmt.Sprintf("goaoe %s, %s, Linux %s, %d processors, on %s. Beside it: %s, vblade %s, aoetools %s, %s, %s.\n",
		first("git", "describe", "--tags", "--always", "--dirty"), runtime.Version(), kernel, runtime.NumCPU(), time.Now().UTC().Format("2006-01-02"),
		first("qemu-system-x86_64", "--version"), first("dpkg-query", "-W", "-f", "${Version}", "vblade"), first("dpkg-query", "-W", "-f", "${Version}", "aoetools"),
		first("fio", "--version"), first("nbdkit", "--version"))
}

// powerFigures is the table of the power cuts.
func powerFigures(dir string) (string, error) {
	f, err := os.Open(filepath.Join(dir, "power.json"))
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read
	type mode struct {
		Mode         string
		Cuts         int
		Acknowledged uint64
		Lost         int  `json:"sectors-lost"`
		MustLose     bool `json:"must-lose"`
	}
	var b strings.Builder
	b.WriteString("The machine of the target is killed under load together with the write cache of its disk; then each sector of the image is held against what was acknowledged.\n\n")
	b.WriteString("| target | power cuts | writes acknowledged | sectors of those that were lost |\n| --- | --- | --- | --- |\n")
	for s := bufio.NewScanner(f); s.Scan(); {
		var m mode
		if err := json.Unmarshal(s.Bytes(), &m); err != nil {
			return "", err
		}
		name := m.Mode
		if !strings.HasPrefix(name, "vblade") {
			name = "goaoe, " + name
		}
		if m.MustLose {
			name += " (the control: has to lose)"
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", name, m.Cuts, m.Acknowledged, m.Lost)
	}
	return b.String(), nil
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

// simFigures is what the simulator did, and the variants that it caught.
func simFigures(dir string) (string, error) {
	out, err := os.ReadFile(filepath.Join(dir, "sim.json"))
	if err != nil {
		return "", err
	}
	var sim struct {
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
	if err := json.Unmarshal(out, &sim); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d seeds from %d on, in %d s, without a fault found. In them: ", sim.Seeds.Seeds, sim.Seeds.First, sim.Seeds.Seconds)
	seen := map[string]uint64{}
	plain := map[string]uint64{}
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
	b.WriteString(counts(plain) + ".\n\nThings that must happen in a simulation, or it would look for nothing there: " + counts(seen) + ".\n\n")
	b.WriteString("What is broken on purpose, and the first seed that finds it:\n\n| variant | what is wrong in it | found by seed | must be found within |\n| --- | --- | --- | --- |\n")
	for _, v := range sim.Variants {
		fmt.Fprintf(&b, "| %s | %s | %d | %d |\n", v.Name, v.What, v.Seed, v.Within)
	}
	return b.String(), nil
}

// counts lists numbers by name.
func counts(m map[string]uint64) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%d %s", m[k], k))
	}
	return strings.Join(out, ", ")
}
