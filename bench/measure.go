package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"goaoe/aoe"
	"goaoe/internal/loadgen"
)

// sample is what one repetition of one contestant gave. Times are in microseconds.
type sample struct {
	PerSecond   float64 `json:"per_second"`
	P50         float64 `json:"p50_us"`
	P999        float64 `json:"p99_9_us"`
	TargetCPU   float64 `json:"target_cpu_us_per_request,omitempty"`
	ClientCPU   float64 `json:"client_cpu_us_per_request,omitempty"`
	ClientIdle  float64 `json:"client_idle,omitempty"` // share of the time in which the load generator waited
	Fair        float64 `json:"fewest_by_most,omitempty"`
	IdleCPU     float64 `json:"idle_cpu_percent,omitempty"`
	RSS         float64 `json:"resident_mib,omitempty"`
	Requests    uint64  `json:"requests,omitempty"`
	Retransmits uint64  `json:"retransmits,omitempty"`
	Errors      uint64  `json:"errors,omitempty"`
	Mismatches  uint64  `json:"mismatches,omitempty"`
	Void        string  `json:"void,omitempty"`  // why the figures must not be used
	Noise       string  `json:"noise,omitempty"` // what disturbed the machine meanwhile
}

// bench is one run of the program.
type bench struct {
	timing
	image    string // the stamped image
	written  string // a smaller one for the rows that write
	fioImage string // for fio's writes, which would destroy the stamps: made in the same way
	size     int64  // of the first; the others have a fourth of it
	state    string // a directory for the state of targets
	logs     string
	programs map[string]string // by kind
	targetOn int               // CPU, -1 any
	clientOn int
	patient  bool // disturbed repetitions are measured again
	before   string
	say      func(format string, args ...any)
}

// program is the file that a contestant runs.
func (b *bench) program(c contestant) string {
	switch {
	case c.old:
		return b.before
	case c.kind == echoer, c.kind == plain:
		return "/proc/self/exe"
	}
	return b.programs[c.kind]
}

// place is where a contestant's process runs.
func place(r row, c contestant, cpu int) int {
	if r.free || c.free {
		return -1
	}
	return cpu
}

// row measures one row: all contestants in turn, again and again, so that what disturbs the machine meets all of them.
func (b *bench) row(ctx context.Context, r row) (outcome, error) {
	o := outcome{ID: r.id, Title: r.title, MTU: r.mtu, Latency: r.latency, row: r}
	for _, c := range r.contestants {
		o.Entries = append(o.Entries, entry{Name: c.name, Command: describe(c), Kind: c.kind})
	}
	image := b.image
	if r.work.Writes > 0 {
		size := b.size / 4
		image = b.written
		if err := loadgen.Fill(image, size); err != nil {
			return o, err
		}
		r.work.Last = make([]uint16, size/aoe.SectorSize/int64(r.work.Sectors))
	} else if r.cached {
		if err := loadgen.Check(image); err != nil {
			return o, err
		}
	}
	for i := range max(r.pairs, 1) {
		undo, err := wire(i, r.mtu)
		if err != nil {
			return o, err
		}
		defer undo()
	}
	var other *far
	if r.far {
		var err error
		if other, err = newFar(); err != nil {
			return o, err
		}
		defer other.close()
	}
	run := r.run
	if run == nil {
		run = (*bench).once
	}
	again := b.reps // so many disturbed repetitions are measured again
	for rep := range b.reps {
		for k := range r.contestants {
			i := k
			if rep%2 == 1 { // backwards, so that nobody always follows on the same
				i = len(r.contestants) - 1 - k
			}
			c := r.contestants[i]
			var s sample
			for {
				if err := ctx.Err(); err != nil {
					return o, err
				}
				if r.work.Writes == 100 {
					r.work.Generation++ // each run writes something else, so that each can be checked
				}
				before := lookAround()
				s = run(b, ctx, r, c, other, fmt.Sprintf("%s-%d-%d-%d", r.id, i, rep, again))
				s.Noise = lookAround().since(before, os.Getpid()).String()
				b.say("  %s %s %d/%d: %s %s %s\n", r.id, c.name, rep+1, b.reps, s.short(), s.Void, s.Noise)
				if s.Noise == "" || !b.patient || again == 0 || ctx.Err() != nil {
					break
				}
				again--
				o.Repeated++
			}
			o.Entries[i].Samples = append(o.Entries[i].Samples, s)
		}
	}
	if r.work.Writes > 0 {
		if err := loadgen.CheckWritten(image, r.work.Sectors, r.work.Last); err != nil {
			o.Void = "a write that was answered is not there: " + err.Error()
		}
	}
	return o, ctx.Err()
}

// short is a sample for people who watch.
func (s *sample) short() string {
	if s.PerSecond == 0 && s.RSS > 0 {
		return fmt.Sprintf("%.3f %% CPU, %.1f MiB", s.IdleCPU, s.RSS)
	}
	return fmt.Sprintf("%.0f/s, p50 %.1f us", s.PerSecond, s.P50)
}

// once runs one contestant once.
func (b *bench) once(ctx context.Context, r row, c contestant, f *far, id string) sample {
	switch c.kind {
	case fio:
		s, err := b.fio(ctx, r, c)
		if err != nil {
			s.Void = err.Error()
		}
		return s
	case nbdkit:
		return b.nbd(ctx, r, c, f, id)
	}
	state := filepath.Join(b.state, id)
	image := b.image
	if r.work.Writes > 0 {
		image = b.written
	}
	var env []string
	switch c.kind {
	case echoer:
		env = []string{echoing + "=" + c.args[0]}
	case plain:
		env = []string{plainly + "=1"}
	}
	var p *process
	err := f.do(func() (err error) {
		p, err = start(place(r, c, b.targetOn), filepath.Join(b.logs, id+"-"+c.kind+".log"), argv(b.program(c), c.args, image, state), env...)
		return err
	})
	if err != nil {
		return sample{Void: err.Error()}
	}
	defer p.stop()
	if c.client != nil {
		s, err := b.other(ctx, c, p.cmd.Process.Pid)
		if gone := p.gone(); gone != nil {
			err = gone
		}
		if err != nil {
			s.Void = err.Error()
		}
		return s
	}
	w := r.work
	w.Interface, w.Addr = clientIf, addr(1)
	w.Warmup, w.Duration = b.warmup, b.duration
	w.CPU, w.TargetPID = b.clientOn, p.cmd.Process.Pid
	w.Timeout = time.Second // a slow answer is none that was lost
	w.Seed = uint64(time.Now().UnixNano())
	if c.load != nil {
		c.load(&w)
	}
	if c.stamp && w.Writes == 0 {
		fill := w
		fill.Writes, fill.Sequential, fill.Warmup, fill.Duration, fill.Count = 100, true, 0, 0, memorySectors/uint64(w.Sectors)
		if res, err := loadgen.Run(ctx, fill); err != nil || res.Bad() != "" {
			return sample{Void: fmt.Sprintf("stamping the disk in memory: %v %s", err, res.Bad())}
		}
	}
	res, err := loadgen.Run(ctx, w)
	if gone := p.gone(); gone != nil {
		return sample{Void: gone.Error()}
	}
	if err != nil {
		return sample{Void: err.Error()}
	}
	return sample{PerSecond: res.PerSecond, P50: us(res.P50), P999: us(res.P999), TargetCPU: us(res.TargetCPU), ClientCPU: res.OwnCPU * 1e6 / float64(max(res.Requests, 1)),
		ClientIdle: res.Idle, Fair: res.Fair, Requests: res.Requests, Retransmits: res.Retransmits, Errors: res.Errors, Mismatches: res.Mismatches, Void: res.Bad()}
}

// other runs goaoe as the client of a target, on the client's CPU with all its threads.
func (b *bench) other(ctx context.Context, c contestant, pid int) (sample, error) {
	args := append(append([]string{}, c.client...), "--warmup", ms(b.warmup), "--duration", ms(b.duration), "--target-pid", fmt.Sprint(pid),
		"--seed", fmt.Sprint(time.Now().UnixNano()), "--timeout", "10s")
	cmd := exec.CommandContext(ctx, b.programs[goaoe], args...)
	var out, bad bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &bad
	if err := onCPU(b.clientOn, cmd.Start); err != nil {
		return sample{}, err
	}
	if err := cmd.Wait(); err != nil {
		return sample{}, fmt.Errorf("goaoe %s: %w: %s", c.client[0], err, tail(append(bad.Bytes(), out.Bytes()...)))
	}
	return parseBench(out.Bytes())
}

// parseBench reads the JSON of goaoe bench.
func parseBench(out []byte) (sample, error) {
	var v struct {
		Disks []struct {
			Rate    float64 `json:"requests_per_second"`
			Latency struct {
				Count uint64  `json:"count"`
				P50   float64 `json:"p50_us"`
				P999  float64 `json:"p99_9_us"`
			} `json:"latency"`
			OwnCPU    float64 `json:"own_cpu_us_per_request"`
			TargetCPU float64 `json:"target_cpu_us_per_request"`
			Again     uint64  `json:"retransmits"`
		} `json:"disks"`
	}
	if err := json.Unmarshal(out, &v); err != nil {
		return sample{}, fmt.Errorf("the JSON of goaoe bench: %w: %s", err, tail(out))
	}
	if len(v.Disks) != 1 || v.Disks[0].Rate <= 0 || v.Disks[0].Latency.Count == 0 {
		return sample{}, errors.New("goaoe bench measured nothing: " + tail(out))
	}
	d := v.Disks[0]
	s := sample{PerSecond: d.Rate, P50: d.Latency.P50, P999: d.Latency.P999, TargetCPU: d.TargetCPU, ClientCPU: d.OwnCPU, Requests: d.Latency.Count, Retransmits: d.Again}
	// An initiator repeats early; on a machine that others use it happens that it need not have. The load generator waits a second.
	if float64(d.Again) > .001*float64(d.Latency.Count) {
		s.Void = fmt.Sprintf("%d requests had to be sent again", d.Again)
	}
	return s, nil
}

func us(d time.Duration) float64 { return float64(d) / 1e3 }

// describe tells the command of a contestant as a user would type it.
func describe(c contestant) string {
	switch {
	case isNBD(c.kind):
		return describeNBD(c)
	case c.kind == fio:
		return strings.Join(fioArgs(c, "IMAGE", timing{duration: 3 * time.Second}), " ")
	}
	target := strings.Join(argv(c.kind, c.args, "IMAGE", "DIR"), " ")
	if f := strings.Fields(target); len(f) > 30 {
		target = strings.Join(f[:16], " ") + fmt.Sprintf(" ... (%d words)", len(f))
	}
	if c.client != nil {
		return target + " & goaoe " + strings.Join(c.client, " ")
	}
	return target
}
