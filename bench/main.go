// Bench compares goaoe with vblade, the usual AoE target, and with fio on the same file, which is the limit of the storage.
// It makes its own network (a namespace with a veth pair) and a stamped image, runs all contestants of a row in
// turn, and prints medians and ratios. "make bench" runs it; -h tells the flags. It needs root, vblade and fio.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/loadgen"
)

// inside is set in the environment of the process that is in the namespace.
const inside = "GOAOE_BENCH_INSIDE"

// maxReps keeps the number of runs of a row below the number of generations of stamps.
const maxReps = 1000

// packages says where what is missing comes from.
var packages = map[string]string{goaoe: "make build", vblade: "apt-get install vblade", fio: "apt-get install fio", nbdkit: "apt-get install nbdkit"}

func main() {
	_ = os.Setenv("GOAOE_SOCKET", "off") // nobody controls the targets
	runtime.LockOSThread()               // children get this thread's CPUs, and a signal when this thread ends
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	goaoe, dir, out, rows, json string
	mib                         int64
	reps                        int
	quick, quiet                bool
}

func flags() options {
	var o options
	flag.StringVar(&o.goaoe, "goaoe", "bin/goaoe", "the program to measure")
	flag.StringVar(&o.dir, "dir", "out/bench", "directory for the images, on the file system to measure")
	flag.StringVar(&o.out, "out", "out/bench", "directory for bench.txt, bench.json and the targets' output")
	flag.StringVar(&o.json, "json", "", "write the figures into this file, too")
	flag.StringVar(&o.rows, "rows", "", "only the rows whose letter and title match this regular expression, e.g. '^[ab]'")
	flag.Int64Var(&o.mib, "size", 1024, "size of the image in MiB")
	flag.IntVar(&o.reps, "reps", 0, "repetitions (default 5, with -quick 3)")
	flag.BoolVar(&o.quick, "quick", false, "shorter repetitions, and fewer: to see that it works")
	flag.BoolVar(&o.quiet, "quiet", false, "do not print single repetitions to stderr")
	flag.Parse()
	return o
}

func run() error {
	o := flags()
	if flag.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flag.Arg(0))
	}
	if o.reps < 0 || o.reps > maxReps || o.mib < 1 {
		return fmt.Errorf("%d repetitions with an image of %d MiB make no sense", o.reps, o.mib)
	}
	chosen, err := choose(o.rows)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("it needs root, for packet sockets and a network namespace of its own")
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
		if r.isNBD() {
			kinds = append(kinds, goaoe, fio)
		}
		for _, c := range r.contestants {
			if kinds = append(kinds, c.kind); c.client != nil {
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
	b := &bench{timing: normal(), size: o.mib << 20, programs: programs, logs: filepath.Join(o.out, "logs"), targetOn: -1, clientOn: -1,
		say: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format, args...) }}
	if o.quick {
		b.timing = quick()
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
	if n := busy(time.Second); n > noisyBusy {
		r.Warnings = append(r.Warnings, fmt.Sprintf("noisy: other processes use %.1f of %d CPUs", n, onlineCPUs()))
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
			return fmt.Errorf("row %s: %w", c.id, err)
		}
		res.sum()
		r.Rows = append(r.Rows, res)
	}
	r.text(os.Stdout)
	return r.save(o.out, o.json)
}

// images makes what the rows need: one image, and another for fio to write to.
func (b *bench) images(dir string, chosen []row) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	b.image, b.fioImage = filepath.Join(dir, "bench.img"), filepath.Join(dir, "bench-fio.img")
	b.say("stamping %s, %d MiB\n", b.image, b.size>>20)
	if err := loadgen.Fill(b.image, b.size); err != nil {
		return err
	}
	for _, r := range chosen {
		for _, c := range r.contestants {
			if c.kind == fio && r.work.Writes > 0 {
				return loadgen.Fill(b.fioImage, b.size)
			}
		}
	}
	return nil
}

// remove removes the images, which are large.
func (b *bench) remove() {
	_ = os.Remove(b.image)
	_ = os.Remove(b.fioImage)
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
		fmt.Sprintf("%d repetitions of %v after %v, contestants in turn; target on CPU %d, client on CPU %d, fio on any; image %d MiB",
			b.reps, b.duration, b.warmup, b.targetOn, b.clientOn, b.size>>20),
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
