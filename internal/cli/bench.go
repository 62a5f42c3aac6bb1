package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"goaoe/aoe"
	"goaoe/initiator"
	"goaoe/internal/measure"
	"goaoe/internal/transfer"
)

const benchLong = `Measures the disks of targets: it keeps --depth requests outstanding and tells how many are answered in a second and how long they take. No
kernel driver is needed. Without more it reads 4 KiB at random places for ten seconds, 32 requests at a time.

--writes PERCENT writes, which destroys what is on the disk: it is asked for (--yes answers), and refused for a disk that is in use on this
machine or reserved by another initiator (--force). With --verify stamps are written to the range first, every read is compared with what was written to
its sectors last, and in the end everything is read back. That too destroys what is there; the range is named by --offset and --length.

Several disks are measured in turn. --compare does so again and again (A B A B ...), so that what disturbs the machine meets all of them,
and tells for each how many times the requests of the first one it answers: the median of the rounds, and the least and the most.

A disk that is on the way into a page cache is faster the second time: a warm-up, or a --length that fits, makes it even. The figures of
two machines are only comparable when nothing else runs on them.`

const benchExit = `

Exit status:
   0  measured
   1  failure, or wrong data: the line on stderr says what
   2  wrong usage
   4  a target did not answer in time
  11  refused: the disk is in use, reserved by another initiator, or was not to be written to`

// benching is a run of goaoe bench.
type benching struct {
	copying // its flags of the wire, its questions and refusals

	work    measure.Work
	block   size
	offset  size
	length  size
	svg     string
	compare bool
	repeat  int
	ranged  bool
}

// benched is one disk.
type benched struct {
	addr aoe.Addr
	disk *initiator.Disk
	b    *measure.Bench
	runs []*measure.Result
}

func newBenchCmd(env *Env) *cobra.Command {
	b := &benching{copying: copying{env: env, verb: "bench"}, block: 4096}
	cmd := &cobra.Command{
		Use:     "bench ADDRESS...",
		Short:   "Measure the disks of targets: rate and latency",
		Long:    benchLong + benchExit,
		GroupID: groupWire,
		Example: "  goaoe bench 0.1\n  goaoe bench 0.1 --size 64K --depth 8 --sequential --duration 30s --svg bench.svg\n" +
			"  goaoe bench 0.1 0.2 --compare\n  goaoe bench 0.1 --writes 30 --verify --length 1G --yes\n  goaoe bench 0.1 --depth 1 --json",
		Args: args(cobra.MinimumNArgs(1), "one ADDRESS or more"),
		RunE: func(cmd *cobra.Command, args []string) error {
			b.ranged = cmd.Flags().Changed("offset") || cmd.Flags().Changed("length")
			return b.run(cmd, args)
		},
	}
	b.wire.register(cmd)
	f := cmd.Flags()
	t := f.Lookup("timeout")
	t.DefValue, t.Usage = "10s", "how long a target may not answer before the command fails"
	b.wire.timeout = 10 * time.Second
	f.Var(&b.block, "size", "of a request, a multiple of 512; more than a frame carries is split")
	f.IntVar(&b.work.Depth, "depth", 32, "requests outstanding, 1 to 1024")
	f.IntVar(&b.work.Writes, "writes", 0, "percent of the requests that are writes")
	f.BoolVar(&b.work.Sequential, "sequential", false, "one after the other, not at random")
	f.Var(&b.offset, "offset", "where the range begins")
	f.Var(&b.length, "length", "of the range (default: up to the end of the disk)")
	f.DurationVar(&b.work.Duration, "duration", 10*time.Second, "how long to measure")
	f.Uint64Var(&b.work.Count, "count", 0, "end after so many requests, even before --duration")
	f.DurationVar(&b.work.Warmup, "warmup", time.Second, "how long to run before it counts")
	f.BoolVar(&b.work.Verify, "verify", false, "write stamps, and compare everything that is read")
	f.BoolVar(&b.compare, "compare", false, "measure the disks in turn again and again, and compare them with the first")
	f.IntVar(&b.repeat, "repeat", 0, "how often to measure each (default: 1, with --compare 5)")
	f.StringVar(&b.svg, "svg", "", "draw rate and latency into this file")
	f.IntVar(&b.work.CPU, "cpu", -1, "run on this processor only")
	f.IntVar(&b.work.PID, "target-pid", 0, "a process on this machine whose CPU time is that of the targets")
	f.Uint64Var(&b.work.Seed, "seed", 1, "of the random places")
	f.BoolVarP(&b.yes, "yes", "y", false, "write without a question")
	f.BoolVar(&b.force, "force", false, "write to a disk although it is in use or reserved")
	f.BoolVarP(&b.quiet, "quiet", "q", false, "show no progress")
	return cmd
}

// writes tells whether anything is written.
func (b *benching) writes() bool { return b.work.Writes > 0 || b.work.Verify }

func (b *benching) run(cmd *cobra.Command, names []string) error {
	addrs, err := b.check(names)
	if err != nil {
		return err
	}
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, stop := endless(parent)
	defer stop()
	b.progress = newProgress(b.env.Stderr)
	if b.quiet || b.wire.json {
		b.progress.columns = 0
	}
	var disks []*benched
	defer func() {
		for _, d := range disks {
			_ = d.disk.Close() // nothing is under way
		}
	}()
	for _, a := range addrs {
		d, err := b.disk(ctx, a)
		if err != nil {
			return wireError(err)
		}
		disks = append(disks, &benched{addr: a, disk: d})
		w := b.work
		if err := w.Check(d.Size()); err != nil {
			return Usagef("%v: %w", a, err)
		}
		if b.writes() {
			if err := b.mayWrite(ctx, d, &w); err != nil {
				return err
			}
		}
		w.Progress = b.shows(a, &w)
		disks[len(disks)-1].b = measure.New(d, w)
	}
	svg, err := b.openSVG()
	if err != nil {
		return err
	}
	if err := b.measure(ctx, disks); err != nil {
		b.progress.clear()
		if svg != nil {
			_ = os.Remove(b.svg) // it is empty
		}
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = errors.New("interrupted: nothing was measured to the end")
		}
		return wireError(err)
	}
	b.progress.clear()
	return b.tell(disks, svg)
}

// check reads the arguments.
func (b *benching) check(names []string) ([]aoe.Addr, error) {
	if err := b.wire.check(); err != nil {
		return nil, err
	}
	addrs, err := parseAddrs(names, false)
	if err != nil {
		return nil, err
	}
	for i, a := range addrs {
		if slices.Contains(addrs[:i], a) {
			return nil, Usagef("%v is named twice", a)
		}
	}
	switch {
	case b.repeat < 0:
		return nil, Usagef("--repeat %d: must be 1 or more", b.repeat)
	case b.compare && len(addrs) < 2:
		return nil, Usagef("--compare needs two disks or more")
	case b.work.Duration < 0 || b.work.Warmup < 0:
		return nil, Usagef("--duration and --warmup must not be negative")
	}
	if b.repeat == 0 {
		if b.repeat = 1; b.compare {
			b.repeat = 5
		}
	}
	b.work.Size, b.work.Offset, b.work.Length = int(min(b.block, 1<<30)), int64(b.offset), int64(b.length)
	probe := b.work
	if err := probe.Check(1 << 50); err != nil {
		return nil, Usagef("%w", err)
	}
	return addrs, nil
}

// mayWrite refuses a disk that is used, and asks.
func (b *benching) mayWrite(ctx context.Context, d *initiator.Disk, w *measure.Work) error {
	if err := b.free(ctx, d); err != nil {
		return wireError(err)
	}
	if b.yes {
		return nil
	}
	about := transfer.NewDisk(d)
	if !b.ask(ctx, fmt.Sprintf("This destroys bytes %d to %d of %v on %s. Go on? (yes, no) [no]: ", w.Offset, w.Offset+w.Length, d.Addr(), about.About())) {
		return &ExitError{Code: ExitRefused, Err: errors.New("nothing was written"), Hint: "--yes writes without a question"}
	}
	return nil
}

// shows makes the progress of a run.
func (b *benching) shows(a aoe.Addr, w *measure.Work) func(time.Duration, uint64) {
	return func(done time.Duration, requests uint64) {
		if b.progress.columns == 0 {
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.progress.text(fmt.Sprintf("%v  %s of %s  %s requests/s", a, spell(done), spell(w.Duration), humanize.Comma(int64(float64(requests)/done.Seconds()))))
	}
}

// measure does all runs.
func (b *benching) measure(ctx context.Context, disks []*benched) error {
	walk := func(d *benched, phase string, f func(context.Context, func(int64)) error) error {
		total := d.disk.Size() - b.work.Offset
		if b.work.Length > 0 {
			total = b.work.Length
		}
		last := time.Time{}
		return f(ctx, func(done int64) {
			if now := time.Now(); now.Sub(last) > 200*time.Millisecond {
				last = now
				b.mu.Lock()
				defer b.mu.Unlock()
				b.progress.show(phase, done, total)
			}
		})
	}
	if b.work.Verify {
		for _, d := range disks {
			if err := walk(d, "stamp", d.b.Prepare); err != nil {
				return err
			}
		}
	}
	for range b.repeat {
		for _, d := range disks {
			r, err := d.b.Run(ctx)
			if err != nil {
				return err
			}
			d.runs = append(d.runs, r)
		}
	}
	if b.work.Verify {
		for _, d := range disks {
			if err := walk(d, "verify", d.b.Finish); err != nil {
				return err
			}
		}
	}
	if b.work.Writes > 0 {
		for _, d := range disks {
			if err := d.disk.Flush(ctx); err != nil && !errors.Is(err, initiator.ErrRefused) && !errors.Is(err, initiator.ErrUnsupported) {
				return err
			}
		}
	}
	return nil
}

// openSVG makes the file of --svg, before anything is measured: it would be a pity afterwards.
func (b *benching) openSVG() (*os.File, error) {
	if b.svg == "" {
		return nil, nil
	}
	f, err := os.Create(b.svg)
	if err != nil {
		return nil, Failf("--svg: %w", err)
	}
	return f, nil
}

// tell prints and draws.
func (b *benching) tell(disks []*benched, svg *os.File) error {
	rep := b.report(disks)
	if svg != nil {
		_, err := svg.WriteString(b.draw(disks, rep))
		if err := errors.Join(err, svg.Close()); err != nil {
			return Failf("--svg: %w", err)
		}
	}
	if b.wire.json {
		enc := json.NewEncoder(b.env.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(rep)
	}
	b.print(disks, rep)
	return nil
}

// title says what was done, e.g. "random reads of 4 KiB, 32 outstanding".
func (b *benching) title() string {
	order, what := "random", "reads"
	if b.work.Sequential {
		order = "sequential"
	}
	switch w := b.work.Writes; {
	case w == 100:
		what = "writes"
	case w > 0:
		what = fmt.Sprintf("reads and %d %% writes", w)
	}
	text := fmt.Sprintf("%s %s of %s, %d outstanding", order, what, humanize.IBytes(uint64(b.work.Size)), b.work.Depth)
	if b.work.Verify {
		text += ", all verified"
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
