package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
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
	reps     int
	times    times
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

// work is what one repetition of a contestant needs to know.
type work struct {
	contestant
	pair int    // its interfaces begin with this one
	far  *far   // where its target is; nil: here
	id   string // for the names of its files
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
	all, undo, err := b.rig(r)
	defer undo()
	if err != nil {
		return o, err
	}
	again := b.reps // so many disturbed repetitions are measured again
	undisturbed := func(measure func()) (noise string) {
		for {
			before := lookAround()
			measure()
			noise = lookAround().since(before, os.Getpid()).String()
			if noise == "" || !b.patient || again == 0 || ctx.Err() != nil {
				return noise
			}
			again--
			o.Repeated++
		}
	}
	for rep := range b.reps {
		name := func(i int) { all[i].id = fmt.Sprintf("%s-%d-%d-%d", r.id, i, rep, again) }
		samples := make([]sample, len(all))
		if r.run == nil {
			noise := undisturbed(func() {
				for i := range all {
					name(i)
				}
				samples = b.together(ctx, &r, all, rep)
			})
			for i := range samples {
				samples[i].Noise = noise
			}
		} else {
			for k := range all {
				i := turnOf(k, rep, len(all))
				samples[i].Noise = undisturbed(func() {
					name(i)
					samples[i] = r.run(b, ctx, r, all[i])
				})
			}
		}
		for i, s := range samples {
			b.say("  %s %s %d/%d: %s %s %s\n", r.id, all[i].name, rep+1, b.reps, s.short(), s.Void, s.Noise)
			o.Entries[i].Samples = append(o.Entries[i].Samples, s)
		}
		if err := ctx.Err(); err != nil {
			return o, err
		}
	}
	if r.work.Writes > 0 {
		if err := loadgen.CheckWritten(image, r.work.Sectors, r.work.Last); err != nil {
			o.Void = "a write that was answered is not there: " + err.Error()
		}
	}
	return o, ctx.Err()
}

// rig makes the interfaces of a row: each contestant has its own when they take turns, and all have the same when one comes after the other.
func (b *bench) rig(r row) (all []work, undo func(), err error) {
	var made []func()
	undo = func() {
		for _, f := range made {
			f()
		}
	}
	pairs, nbd := max(r.pairs, 1), -1
	for i, c := range r.contestants {
		w := work{contestant: c}
		if r.run == nil {
			w.pair = i * pairs
		}
		if all = append(all, w); isNBD(c.kind) {
			nbd = w.pair
		}
	}
	for i := range all[len(all)-1].pair + pairs {
		f, err := wire(i, r.mtu)
		if err != nil {
			return nil, undo, err
		}
		made = append(made, f)
	}
	if r.far {
		other, err := newFar(nbd)
		if err != nil {
			return nil, undo, err
		}
		made = append([]func(){other.close}, made...)
		for i := range all {
			if isNBD(all[i].kind) {
				all[i].far = other
			}
		}
	}
	return all, undo, nil
}

// short is a sample for people who watch.
func (s *sample) short() string {
	if s.PerSecond == 0 && s.RSS > 0 {
		return fmt.Sprintf("%.3f %% CPU, %.1f MiB", s.IdleCPU, s.RSS)
	}
	return fmt.Sprintf("%.0f/s, p50 %.1f us", s.PerSecond, s.P50)
}

// once measures one contestant from its start to its end.
func (b *bench) once(ctx context.Context, r row, w work) sample {
	if isNBD(w.kind) {
		return b.nbd(ctx, r, w)
	}
	v := b.start(ctx, &r, w, b.times.whole)
	defer v.close()
	if w.client != nil {
		v.ask(func() (sample, error) { return b.other(ctx, w, v.p.cmd.Process.Pid) })
	} else {
		v.open()
		v.turn()
	}
	return v.result()
}

// other runs goaoe as the client of a target, on the client's CPU with all its threads.
func (b *bench) other(ctx context.Context, w work, pid int) (sample, error) {
	args := argv("", w.client, "", "", w.pair)[1:]
	args = append(args, "--warmup", ms(b.times.whole.warmup), "--duration", ms(b.times.whole.duration), "--target-pid", fmt.Sprint(pid),
		"--seed", fmt.Sprint(time.Now().UnixNano()), "--timeout", "10s")
	cmd := exec.CommandContext(ctx, b.programs[goaoe], args...)
	var out, bad bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &bad
	if err := onCPU(b.clientOn, cmd.Start); err != nil {
		return sample{}, err
	}
	if err := cmd.Wait(); err != nil {
		return sample{}, fmt.Errorf("goaoe %s: %w: %s", w.client[0], err, tail(append(bad.Bytes(), out.Bytes()...)))
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
		return strings.Join(fioArgs(c, "IMAGE"), " ")
	}
	target := strings.Join(argv(c.kind, c.args, "IMAGE", "DIR", 0), " ")
	if f := strings.Fields(target); len(f) > 30 {
		target = strings.Join(f[:16], " ") + fmt.Sprintf(" ... (%d words)", len(f))
	}
	if c.client != nil {
		return target + " & " + strings.Join(argv(goaoe, c.client, "", "", 0), " ")
	}
	return target
}
