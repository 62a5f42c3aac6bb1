package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"goaoe/aoe"
	"goaoe/internal/config"
)

// asker asks questions and reads answers, a line each.
type asker struct {
	env   *Env
	in    *bufio.Scanner
	root  string
	links []choice
	disks []choice
}

// choice is something that can be chosen by its number or name.
type choice struct {
	name, about string
	warn        string // why it is probably not the right one; empty: it may be
}

var errNoAnswer = errors.New("there is no answer: the input ended")

// askInit asks for what a configuration needs and writes it.
func askInit(env *Env, f *initFlags) error {
	a := &asker{env: env, in: bufio.NewScanner(env.Stdin), root: "/" + strings.TrimPrefix(env.Sysroot, "/")}
	a.links, a.disks = a.findLinks(), a.findDisks()
	text, err := a.run()
	if err != nil {
		return Failf("%w", err).WithHint("nothing was written")
	}
	out := f.out
	if out == "" {
		fmt.Fprintf(env.Stdout, "\n%s\n", text)
		if out, err = a.ask("Write it to", filepath.Join(a.root, config.DefaultFile), checkOutput); err != nil {
			return Failf("%w", err).WithHint("nothing was written")
		}
	}
	if out == "-" {
		return nil
	}
	if exists(out) && !f.force {
		yes, err := a.ask(out+" exists. Replace it (yes, no)", "no", nil)
		if err != nil || !strings.HasPrefix(strings.ToLower(yes), "y") {
			return Failf("nothing was written")
		}
		f.force = true
	}
	f.out = out
	if err := f.deliver(env, text); err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "Then: systemctl enable --now goaoe    or: goaoe serve -c %s\n", out)
	return nil
}

// run asks everything and returns the file.
func (a *asker) run() (string, error) {
	ifname, err := a.choose("Interface to serve on", a.links, "", func(s string) error {
		_, problems := config.FromArgs(config.Args{Interfaces: []string{s}, Exports: []string{"0.0=mem:1M"}})
		return problems.Err()
	})
	if err != nil {
		return "", err
	}
	source, err := a.choose("Device or file to export", a.disks, "", func(s string) error {
		s = absolute(s)
		cfg, problems := config.FromArgs(config.Args{Interfaces: []string{ifname}, Exports: []string{"0.0=" + s}})
		if problems.Err() == nil {
			problems = append(problems, machine{sysroot: a.env.Sysroot}.check(cfg, make([]int64, 1))...)
		}
		return problems.Err()
	})
	if err != nil {
		return "", err
	}
	addr, err := a.ask("Address, SHELF.SLOT: initiators see it as e0.1 and so on", "0.1", func(s string) error {
		_, err := aoe.ParseAddr(s)
		return err
	})
	if err != nil {
		return "", err
	}
	members, err := a.ask("Who may use it: Ethernet addresses with commas, or all", "all", func(s string) error {
		if s == "all" {
			return nil
		}
		for _, m := range strings.Split(s, ",") {
			if _, err := aoe.ParseMAC(strings.TrimSpace(m)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	var accept []string
	if members != "all" {
		for _, m := range strings.Split(members, ",") {
			accept = append(accept, strings.TrimSpace(m))
		}
	}
	return initText([]string{ifname}, []string{strings.TrimPrefix(strings.ToLower(addr), "e") + "=" + absolute(source)}, accept)
}

// checkOutput refuses what is no name of a file.
func checkOutput(s string) error {
	if st, err := os.Stat(s); err == nil && st.IsDir() {
		return fmt.Errorf("%s is a directory", s)
	}
	return nil
}

// ask asks until the answer is right. An empty answer is def.
func (a *asker) ask(question, def string, check func(string) error) (string, error) {
	for {
		if def != "" {
			fmt.Fprintf(a.env.Stdout, "%s [%s]: ", question, def)
		} else {
			fmt.Fprintf(a.env.Stdout, "%s: ", question)
		}
		if !a.in.Scan() {
			fmt.Fprintln(a.env.Stdout)
			return "", errNoAnswer
		}
		s := strings.TrimSpace(a.in.Text())
		if s == "" {
			s = def
		}
		if s == "" {
			continue
		}
		if check != nil {
			if err := check(s); err != nil {
				fmt.Fprintf(a.env.Stdout, "  %s\n", oneLine(strings.TrimPrefix(strings.TrimPrefix(err.Error(), config.CommandLine+": "), "error: ")))
				continue
			}
		}
		return s, nil
	}
}

// choose shows what there is to choose from and takes a number or a name.
func (a *asker) choose(question string, from []choice, def string, check func(string) error) (string, error) {
	w := tabwriter.NewWriter(a.env.Stdout, 0, 8, 2, ' ', 0)
	for i, c := range from {
		about := c.about
		if c.warn != "" {
			about += "  (" + c.warn + ")"
		} else if def == "" {
			def = c.name
		}
		fmt.Fprintf(w, "  %d\t%s\t%s\n", i+1, c.name, about)
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	byNumber := func(s string) string {
		if n, err := strconv.Atoi(s); err == nil && n >= 1 && n <= len(from) {
			return from[n-1].name
		}
		return s
	}
	s, err := a.ask(question, def, func(s string) error { return check(byNumber(s)) })
	return byNumber(s), err
}

func readText(path ...string) string {
	b, _ := os.ReadFile(filepath.Join(path...))
	return strings.TrimSpace(string(b))
}

// findLinks lists the Ethernet interfaces.
func (a *asker) findLinks() []choice {
	dir := filepath.Join(a.root, "/sys/class/net")
	entries, _ := os.ReadDir(dir)
	var good, rest []choice
	for _, e := range entries {
		d := filepath.Join(dir, e.Name())
		if readText(d, "type") != "1" || e.Name() == "lo" {
			continue
		}
		c := choice{name: e.Name(), about: fmt.Sprintf("%s, MTU %s, %s", readText(d, "address"), readText(d, "mtu"), readText(d, "operstate"))}
		p := &patient{root: a.root}
		if why := p.shared(e.Name()); why != "" {
			c.warn = "it " + why
		} else if exists(filepath.Join(d, "master")) {
			c.warn = "it is part of a bond or bridge"
		}
		if c.warn == "" {
			good = append(good, c)
		} else {
			rest = append(rest, c)
		}
	}
	return append(good, rest...)
}

// findDisks lists the block devices, those that seem free first.
func (a *asker) findDisks() []choice {
	dir := filepath.Join(a.root, "/sys/class/block")
	entries, _ := os.ReadDir(dir)
	used := a.mounted()
	var good, rest []choice
	for _, e := range entries {
		d := filepath.Join(dir, e.Name())
		sectors, err := strconv.ParseUint(readText(d, "size"), 10, 64)
		if err != nil || sectors == 0 || strings.HasPrefix(e.Name(), "ram") || strings.HasPrefix(e.Name(), "loop") {
			continue
		}
		c := choice{name: "/dev/" + strings.ReplaceAll(e.Name(), "!", "/"), about: humanize.IBytes(sectors * 512)}
		if model := readText(d, "device/model"); model != "" {
			c.about += " " + model
		}
		holders, _ := os.ReadDir(filepath.Join(d, "holders"))
		switch {
		case used[c.name] != "":
			c.warn = "mounted on " + used[c.name]
		case len(holders) > 0:
			c.warn = "in use by " + holders[0].Name()
		case readText(d, "ro") == "1":
			c.warn = "read-only"
		case hasPartitions(d, e.Name()):
			c.warn = "it has partitions"
		}
		if c.warn == "" {
			good = append(good, c)
		} else {
			rest = append(rest, c)
		}
	}
	return append(good, rest...)
}

func hasPartitions(dir, name string) bool {
	entries, _ := os.ReadDir(dir)
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), name) })
}

// mounted returns where devices are mounted.
func (a *asker) mounted() map[string]string {
	out := map[string]string{}
	f, err := os.Open(filepath.Join(a.root, "/proc/self/mounts"))
	if err != nil {
		return out
	}
	defer func() { _ = f.Close() }() // only read
	for sc := bufio.NewScanner(io.LimitReader(f, 1<<20)); sc.Scan(); {
		if fields := strings.Fields(sc.Text()); len(fields) > 1 && strings.HasPrefix(fields[0], "/dev/") {
			out[fields[0]] = fields[1]
		}
	}
	return out
}
