package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/loadgen"
)

// timing is one repetition of a contestant: so many turns, of which the duration counts that follows on the warm-up.
type timing struct {
	turns            int
	warmup, duration time.Duration
}

func (t timing) String() string {
	return fmt.Sprintf("%d x %v after %v", t.turns, t.duration, t.warmup)
}

// times are the timings of all rows.
type times struct {
	cached, disk timing // of rows whose contestants take turns
	whole        timing // of the others
}

const normalReps, quickReps = 15, 3

// normal is short and often. The speed of a virtual machine changes by a third within a tenth of a second, as its neighbours work: what runs within a few hundredths after one another is
// compared best. Each repetition starts all programs anew, because where memory lies makes a difference, too.
func normal() times {
	return times{cached: timing{20, 8 * time.Millisecond, 30 * time.Millisecond}, disk: timing{4, 40 * time.Millisecond, 150 * time.Millisecond},
		whole: timing{1, 150 * time.Millisecond, 500 * time.Millisecond}}
}

// quick is to see that it works.
func quick() times {
	return times{cached: timing{8, 8 * time.Millisecond, 30 * time.Millisecond}, disk: timing{2, 40 * time.Millisecond, 120 * time.Millisecond},
		whole: timing{1, 100 * time.Millisecond, 300 * time.Millisecond}}
}

// of is the timing of the turns of a row.
func (t *times) of(r *row) timing {
	if r.disk {
		return t.disk
	}
	return t.cached
}

// turnOf is which of n contestants has turn k of round n: every other round goes backwards, so that nobody always follows on the same.
func turnOf(k, round, n int) int {
	if round%2 == 1 {
		return n - 1 - k
	}
	return k
}

// together measures one repetition of contestants that take turns. While one works the others are there, and wait. Those that cannot take turns come behind.
func (b *bench) together(ctx context.Context, r *row, all []work, rep int) []sample {
	t := b.times.of(r)
	rivals := make([]rival, len(all))
	for i, w := range all {
		switch {
		case isNBD(w.kind):
		case w.kind == fio:
			rivals[i] = b.startFio(r, w, t)
		default:
			rivals[i] = b.start(ctx, r, w, t)
		}
	}
	for _, v := range rivals {
		if v != nil {
			v.open()
		}
	}
	for n := range t.turns {
		for k := range rivals {
			if v := rivals[turnOf(k, n+rep, len(rivals))]; v != nil {
				v.turn()
			}
		}
	}
	out := make([]sample, len(all))
	for i, v := range rivals {
		if v != nil {
			out[i] = v.result()
		}
	}
	for _, v := range rivals {
		if v != nil {
			v.close()
		}
	}
	for i, v := range rivals {
		if v == nil {
			out[i] = b.nbd(ctx, *r, all[i])
		}
	}
	return out
}

// rival is a contestant that takes turns. What goes wrong makes its sample void, and everything that follows does nothing.
type rival interface {
	open()          // waits until it is ready
	turn()          // is one turn
	result() sample // is that of all turns
	close()
}

// target is a rival that the load generator asks.
type target struct {
	b    *bench
	ctx  context.Context // of the repetition
	row  *row
	work work
	t    timing
	p    *process
	load *loadgen.Session
	told sample // what it has in place of the load generator's result
	void error
}

// start starts the process of a target.
func (b *bench) start(ctx context.Context, r *row, w work, t timing) *target {
	v := &target{b: b, ctx: ctx, row: r, work: w, t: t}
	image := b.image
	if r.work.Writes > 0 {
		image = b.written
	}
	args := argv(b.program(w.contestant), w.args, image, filepath.Join(b.state, w.id), w.pair)
	var env []string
	switch w.kind {
	case echoer:
		env = []string{echoing + "=" + args[1]}
	case plain:
		env = []string{plainly + "=1"}
	}
	v.p, v.void = start(place(*r, w.contestant, b.targetOn), filepath.Join(b.logs, w.id+"-"+w.kind+".log"), args, env...)
	return v
}

// open finds the target, and stamps its disk if that is wanted.
func (v *target) open() {
	if v.void != nil {
		return
	}
	w, r := v.work, v.row.work
	r.Interface, r.Addr = realName(clientIf, w.pair), addr(1)
	r.Warmup, r.Duration = v.t.warmup, v.t.duration
	r.CPU, r.TargetPID = v.b.clientOn, v.p.cmd.Process.Pid
	r.Timeout = time.Second // a slow answer is none that was lost
	r.Seed = uint64(time.Now().UnixNano())
	if w.load != nil {
		w.load(&r)
	}
	more := make([]loadgen.Place, len(r.More)) // the row's own is for all contestants
	for i, p := range r.More {
		p.Interface = interfaces(p.Interface, w.pair)
		more[i] = p
	}
	r.More = more
	v.ask(func() (sample, error) {
		if w.stamp && r.Writes == 0 {
			fill := r
			fill.Writes, fill.Sequential, fill.Warmup, fill.Duration, fill.Count = 100, true, 0, 0, memorySectors/uint64(r.Sectors)
			res, err := loadgen.Run(v.ctx, fill)
			if bad := res.Bad(); err == nil && bad != "" {
				err = errors.New(bad)
			}
			if err != nil {
				return sample{}, fmt.Errorf("stamping the disk in memory: %w", err)
			}
		}
		var err error
		v.load, err = loadgen.Open(v.ctx, r)
		return sample{}, err
	})
	v.pause()
}

// turn asks the target for a while.
func (v *target) turn() {
	if v.void != nil {
		return
	}
	gen := uint16(0)
	if v.row.work.Writes == 100 {
		v.row.work.Generation++ // each turn writes something else, so that each can be checked
		gen = v.row.work.Generation
	}
	v.goOn()
	v.ask(func() (sample, error) { return sample{}, v.load.Turn(v.ctx, gen) })
	v.pause()
}

// ask has a client work. That the target is gone says more than what the client sees of it.
func (v *target) ask(client func() (sample, error)) {
	if v.void != nil {
		return
	}
	v.told, v.void = client()
	if gone := v.p.gone(); gone != nil {
		v.void = gone
	}
}

// pause stops a target that works without being asked.
func (v *target) pause() {
	if v.work.awake && v.p != nil {
		_ = v.p.cmd.Process.Signal(unix.SIGSTOP) // that it is gone is seen elsewhere
	}
}

func (v *target) goOn() {
	if v.work.awake {
		_ = v.p.cmd.Process.Signal(unix.SIGCONT)
	}
}

func (v *target) result() sample {
	if v.void != nil {
		return sample{Void: v.void.Error()}
	}
	if v.load == nil {
		return v.told
	}
	res := v.load.Result()
	return sample{PerSecond: res.PerSecond, P50: us(res.P50), P999: us(res.P999), TargetCPU: us(res.TargetCPU), ClientCPU: res.OwnCPU * 1e6 / float64(max(res.Requests, 1)),
		ClientIdle: res.Idle, Fair: res.Fair, Requests: res.Requests, Retransmits: res.Retransmits, Errors: res.Errors, Mismatches: res.Mismatches, Void: res.Bad()}
}

func (v *target) close() {
	if v.load != nil {
		v.load.Close()
	}
	if v.p != nil {
		v.goOn()
		v.p.stop()
	}
}
