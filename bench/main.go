// Bench compares goaoe with vblade, the usual AoE target, and with fio on the same file, which is the limit of the storage.
// It makes its own network (a namespace with a veth pair) and a stamped image, runs all contestants of a row in
// turn, and prints medians and ratios. "make bench" runs it; -h tells the flags. It needs root, vblade and fio.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/loadgen"
)

// inside is set in the environment of the process that is in the namespace.
const inside = "GOAOE_BENCH_INSIDE"

// maxReps keeps the number of turns of a row below the number of generations of stamps.
const maxReps = 200

// packages says where what is missing comes from.
var packages = map[string]string{goaoe: "make build", vblade: "apt-get install vblade", fio: "apt-get install fio", nbdkit: "apt-get install nbdkit"}

func main() {
	if name := os.Getenv(echoing); name != "" {
		echoMain(name)
	}
	if os.Getenv(plainly) != "" {
		plainMain(os.Args[1:])
	}
	_ = os.Setenv("GOAOE_SOCKET", "off") // nobody controls the targets
	runtime.LockOSThread()               // children get this thread's CPUs, and a signal when this thread ends
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	goaoe, before, dir, out, rows, json, svg  string
	mib                                       int64
	reps                                      int
	quick, quiet, noisy, list, again, inGuest bool
	saved                                     []string
}

func flags() options {
	var o options
	flag.StringVar(&o.goaoe, "goaoe", "bin/goaoe", "the program to measure")
	flag.StringVar(&o.dir, "dir", "out/bench", "directory for the images, on the file system to measure")
	flag.StringVar(&o.before, "before", "", "another goaoe, e.g. of an earlier state: its figures stand beside those of the first contestant in each row")
	flag.StringVar(&o.out, "out", "out/bench", "directory for bench.txt, bench.json, bench.md, bench.svg and the targets' output")
	flag.StringVar(&o.json, "json", "", "write the figures into this file, too")
	flag.StringVar(&o.svg, "svg", "", "write the picture into this file, too, e.g. docs/bench.svg")
	flag.StringVar(&o.rows, "rows", "", "only the rows whose letter and title match this regular expression, e.g. '^[ab]' or '^a '")
	flag.BoolVar(&o.list, "list", false, "list the rows and their goals, and measure nothing")
	flag.BoolVar(&o.again, "report", false, "measure nothing: write the tables of the JSON files in the arguments; of rows that several have, the last counts")
	flag.BoolVar(&o.inGuest, "guest", false, "instead of the rows: what the Linux driver in an emulated guest does with goaoe and with vblade")
	flag.BoolVar(&o.noisy, "noisy", false, "measure although other processes use the machine; what they disturb has no verdict")
	flag.Int64Var(&o.mib, "size", 1024, "size of the image in MiB")
	flag.IntVar(&o.reps, "reps", 0, "repetitions (default 15, with -quick 3)")
	flag.BoolVar(&o.quick, "quick", false, "shorter repetitions, and fewer: to see that it works")
	flag.BoolVar(&o.quiet, "quiet", false, "do not print single repetitions to stderr")
	flag.Parse()
	o.saved = flag.Args()
	return o
}

func run() error {
	o := flags()
	if o.again {
		return o.report()
	}
	if len(o.saved) > 0 {
		return fmt.Errorf("unknown argument %q", o.saved[0])
	}
	if o.reps < 0 || o.reps > maxReps || o.mib < 4 {
		return fmt.Errorf("%d repetitions with an image of %d MiB make no sense", o.reps, o.mib)
	}
	chosen, err := choose(o.rows)
	if err != nil {
		return err
	}
	if o.list {
		return list(os.Stdout, chosen)
	}
	if o.before != "" {
		if o.before, err = filepath.Abs(o.before); err != nil {
			return err
		}
		if _, err := exec.LookPath(o.before); err != nil {
			return fmt.Errorf("-before: %w", err)
		}
		addBefore(chosen)
	}
	if os.Geteuid() != 0 {
		return errors.New("it needs root, for packet sockets and a network namespace of its own")
	}
	if o.inGuest {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		return o.guest(ctx)
	}
	programs, err := find(o.goaoe, chosen)
	if err != nil {
		return err
	}
	if os.Getenv(inside) == "" {
		return reexec()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return o.bench(ctx, chosen, programs)
}

// report writes what was measured earlier.
func (o *options) report() error {
	r, err := load(o.saved)
	if err != nil {
		return fmt.Errorf("-report: %w", err)
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	r.text(os.Stdout)
	return r.save(o.out, o.json, o.svg)
}

// list prints rows with their contestants and goals.
func list(w io.Writer, chosen []row) error {
	for _, r := range chosen {
		fmt.Fprintf(w, "%s) %s, MTU %d\n", r.id, r.title, r.mtu)
		for _, c := range r.contestants {
			fmt.Fprintf(w, "    %s: %s\n", c.name, describe(c))
		}
		for _, g := range r.goals {
			for h := &g; h != nil; h = h.or {
				v := verdict{Figure: h.what, Ours: h.ours, Peer: h.peer, Want: h.want, AtMost: h.what.atMost()}
				if v.Ours == "" {
					v.Ours = r.contestants[0].name
				}
				or := ""
				if h != &g {
					or = "or, when that is less, "
				}
				fmt.Fprintf(w, "  goal: %s%s %s\n", or, v.what(), v.goal())
			}
			for _, l := range g.limits {
				by := ""
				if l.by != "" {
					by = " / " + l.by
				}
				fmt.Fprintf(w, "  limit: %s%s\n", l.name, by)
			}
		}
	}
	return nil
}

// addBefore puts the program of -before behind the first contestant of each row that is goaoe.
func addBefore(chosen []row) {
	for i := range chosen {
		r := &chosen[i]
		c := r.contestants[0]
		if c.kind != goaoe {
			continue
		}
		c.name, c.old = c.name+" (before)", true
		r.contestants = slices.Insert(slices.Clone(r.contestants), 1, c)
		for _, f := range []figure{rate, cpu, p50} {
			if r.run == nil {
				r.goals = append(slices.Clone(r.goals), goal{what: f, peer: c.name})
			}
		}
	}
}

// choose returns the rows that match.
func choose(pattern string) ([]row, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("-rows: %w", err)
	}
	var out []row
	for _, r := range rows() {
		if re.MatchString(r.id + " " + r.title) {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("-rows %q matches no row", pattern)
	}
	return out, nil
}

// find looks for the programs that the rows need.
func find(own string, chosen []row) (map[string]string, error) {
	found := map[string]string{}
	for _, r := range chosen {
		var kinds []string
		for _, c := range r.contestants {
			if isNBD(c.kind) {
				kinds = append(kinds, goaoe, fio)
			}
			if c.kind != echoer && c.kind != plain {
				kinds = append(kinds, c.kind)
			}
			if c.client != nil {
				kinds = append(kinds, goaoe)
			}
		}
		for _, kind := range kinds {
			if found[kind] != "" {
				continue
			}
			name := kind
			if name == goaoe || name == attachKind {
				name = own
			}
			path, err := exec.LookPath(name)
			if err == nil {
				path, err = filepath.Abs(path)
			}
			if err != nil {
				return nil, fmt.Errorf("row %s needs %s, which is not there (%s): %w", r.id, kind, packages[kind], err)
			}
			found[kind] = path
		}
	}
	return found, nil
}

// reexec runs this program again in a network namespace of its own, which ends with it.
func reexec() error {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM) // wait for the child, which cleans up
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("making a network namespace: %w", err)
	}
	go func() {
		for range signals {
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
	}()
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(max(exit.ExitCode(), 1)) // it said why
	}
	return err
}

// bench makes images and state, measures the rows, and writes the table.
func (o *options) bench(ctx context.Context, chosen []row, programs map[string]string) error {
	b := &bench{reps: normalReps, times: normal(), size: o.mib << 20, programs: programs, logs: filepath.Join(o.out, "logs"), targetOn: -1, clientOn: -1, before: o.before, patient: !o.noisy,
		say: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format, args...) }}
	if o.quick {
		b.reps, b.times = quickReps, quick()
	}
	if o.reps > 0 {
		b.reps = o.reps
	}
	if o.quiet {
		b.say = func(string, ...any) {}
	}
	r := report{}
	var cpus unix.CPUSet
	if err := unix.SchedGetaffinity(0, &cpus); err == nil && cpus.IsSet(0) && cpus.IsSet(1) {
		b.targetOn, b.clientOn = 0, 1
	} else {
		r.Warnings = append(r.Warnings, "CPUs 0 and 1 are not both ours: nothing is pinned, and the figures say little")
	}
	if n := quietly(ctx, o.noisy); n != "" {
		if !o.noisy {
			return fmt.Errorf("the machine is not quiet: %s; -noisy measures all the same, and gives no verdict on what was disturbed", n)
		}
		r.Warnings = append(r.Warnings, "noisy before the first row: "+n)
	}
	r.Machine = b.machine()
	for _, dir := range []string{o.dir, b.logs} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	var err error
	if b.state, err = os.MkdirTemp("", "goaoe-bench-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.state) }() // temporary anyway
	defer b.remove()
	if err := b.images(o.dir, chosen); err != nil {
		return err
	}
	for _, c := range chosen {
		res, err := b.row(ctx, c)
		if err != nil {
			return errors.Join(fmt.Errorf("row %s: %w", c.id, err), r.save(o.out, o.json, ""))
		}
		res.sum()
		r.Rows = append(r.Rows, res)
	}
	r.text(os.Stdout)
	return r.save(o.out, o.json, o.svg)
}

// quietly waits a while for a quiet second, unless it need not be quiet, and says what disturbs.
func quietly(ctx context.Context, once bool) string {
	for try := 0; ; try++ {
		before := lookAround()
		time.Sleep(time.Second)
		n := lookAround().since(before, os.Getpid()).String()
		if n == "" || once || try == 9 || ctx.Err() != nil {
			return n
		}
	}
}

// images makes what the rows need: one image, and another for fio to write to. Rows that write make theirs.
func (b *bench) images(dir string, chosen []row) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	b.image, b.written, b.fioImage = filepath.Join(dir, "bench.img"), filepath.Join(dir, "bench-written.img"), filepath.Join(dir, "bench-fio.img")
	b.say("stamping %s, %d MiB\n", b.image, b.size>>20)
	if err := loadgen.Fill(b.image, b.size); err != nil {
		return err
	}
	for _, r := range chosen {
		for _, c := range r.contestants {
			if c.kind == fio && r.work.Writes > 0 {
				return loadgen.Fill(b.fioImage, b.size/4)
			}
		}
	}
	return nil
}

// remove removes the images, which are large.
func (b *bench) remove() {
	for _, name := range []string{b.image, b.written, b.fioImage} {
		_ = os.Remove(name)
	}
}

// machine describes what is measured, and where.
func (b *bench) machine() []string {
	line := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).Output()
		if err != nil {
			return "unknown"
		}
		first, _, _ := strings.Cut(string(out), "\n")
		return strings.TrimSpace(first)
	}
	model := ""
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`(?m)^model name\s*:\s*(.*)$`).FindSubmatch(info); m != nil {
			model = string(m[1])
		}
	}
	out := []string{
		fmt.Sprintf("%s; Linux %s; %d CPUs, %s", time.Now().UTC().Format(time.RFC3339), line("uname", "-r"), onlineCPUs(), model),
		fmt.Sprintf("%d repetitions of %v for each contestant, of a disk %v, in alternate turns; target on CPU %d, client on CPU %d, fio on any; image %d MiB, that of writes a fourth",
			b.reps, b.times.cached, b.times.disk, b.targetOn, b.clientOn, b.size>>20),
	}
	for _, kind := range []string{goaoe, vblade, fio, nbdkit} {
		switch path := b.programs[kind]; {
		case path == "":
		case kind == goaoe:
			out = append(out, "goaoe: "+line(path, "version"))
		default:
			out = append(out, kind+": Debian package "+line("dpkg-query", "-W", "-f", "${Version}", kind))
		}
	}
	return out
}
