// Package measure finds out what a target's disk does: it keeps a number of requests outstanding, takes the time of each, and, when asked
// to, verifies every sector that it reads. One goroutine does everything, and a request costs no allocation, so that what is measured is
// the target.
package measure

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/initiator"
	"goaoe/internal/loadgen"
)

// MaxDepth is the largest Work.Depth.
const MaxDepth = 1024

// ErrMismatch means that a read returned something else than what was written.
var ErrMismatch = errors.New("the disk returned wrong data")

// Work is what is done. Offsets and sizes are bytes, multiples of 512.
type Work struct {
	Size       int   // of a request
	Depth      int   // requests outstanding, 1 to MaxDepth
	Writes     int   // percent of the requests that are writes, 0 to 100
	Sequential bool  // one after the other and around; else at random, aligned to Size
	Offset     int64 // where the range begins
	Length     int64 // of the range; 0: up to the end of the disk
	// Verify writes stamps, and compares every read with what was written last. Prepare comes first.
	Verify   bool
	Warmup   time.Duration // before it counts
	Duration time.Duration // that counts; 0: until Count
	Count    uint64        // requests that count; 0: any number
	CPU      int           // the processor to run on; -1: any
	PID      int           // a process whose CPU time is the target's; 0: none
	Seed     uint64
	// Progress is called about twice a second; nil: nobody asks.
	Progress func(done time.Duration, requests uint64)
}

// Check tells why work makes no sense for a disk of a size, and fills in what was left out.
func (w *Work) Check(disk int64) error {
	switch {
	case w.Size < initiator.SectorSize || w.Size%initiator.SectorSize != 0 || w.Size > 16<<20:
		return fmt.Errorf("a size of %d bytes is no multiple of %d up to 16 MiB", w.Size, initiator.SectorSize)
	case w.Depth < 1 || w.Depth > MaxDepth:
		return fmt.Errorf("a depth of %d is not 1 to %d", w.Depth, MaxDepth)
	case w.Writes < 0 || w.Writes > 100:
		return fmt.Errorf("%d percent of writes are not 0 to 100", w.Writes)
	case w.Offset < 0 || w.Offset%initiator.SectorSize != 0 || w.Length%initiator.SectorSize != 0 || w.Length < 0:
		return fmt.Errorf("the range of %d bytes at %d does not begin and end with a sector of %d bytes", w.Length, w.Offset, initiator.SectorSize)
	case w.Offset > disk || w.Length > disk-w.Offset:
		return fmt.Errorf("the range of %d bytes at %d lies outside of the disk, which has %d bytes", w.Length, w.Offset, disk)
	case w.Duration <= 0 && w.Count == 0:
		return errors.New("neither a duration nor a number of requests says when it ends")
	}
	if w.Length == 0 {
		w.Length = disk - w.Offset
	}
	if w.Length < int64(w.Size) {
		return fmt.Errorf("the range of %d bytes is smaller than one request of %d", w.Length, w.Size)
	}
	if w.Verify && w.Length/int64(w.Size) < int64(2*w.Depth) {
		return fmt.Errorf("the range of %d bytes has less than %d places of %d bytes, twice the depth: to verify, requests must not meet", w.Length, 2*w.Depth, w.Size)
	}
	return nil
}

// Tick is one interval of a run.
type Tick struct {
	At   time.Duration // its end, from when it counted on
	Rate float64       // requests a second in it
}

// Result is what a run found out, of the time that counts.
type Result struct {
	Requests    uint64
	Seconds     float64
	PerSecond   float64
	Read, Write loadgen.Histogram // latencies in nanoseconds
	Retransmits uint64            // since the beginning
	OwnCPU      time.Duration     // CPU time of this process per request
	TargetCPU   time.Duration     // and of Work.PID
	Ticks       []Tick            // at most some hundred
	Allocs      uint64            // allocations of the process while it counted: the ticks, and what else runs
}

// tickEvery is the time between two ticks at least.
const tickEvery = 100 * time.Millisecond

// Bench is a disk that is measured, and what is remembered of it between runs.
type Bench struct {
	d     *initiator.Disk
	w     Work
	last  []uint16 // Verify: generation of each place
	busy  []bool   // Verify: places with a request outstanding
	rng   *rand.Rand
	next  int64 // Sequential: the place
	reqs  []initiator.Request
	free  []*initiator.Request
	ready []*initiator.Request
}

// New prepares to measure. w was checked.
func New(d *initiator.Disk, w Work) *Bench {
	b := &Bench{d: d, w: w, rng: rand.New(rand.NewPCG(w.Seed, 1)), reqs: make([]initiator.Request, w.Depth), ready: make([]*initiator.Request, w.Depth)}
	if w.Verify {
		b.last, b.busy = make([]uint16, b.places()), make([]bool, b.places())
	}
	mem := make([]byte, w.Depth*w.Size)
	for i := range b.reqs {
		b.reqs[i].Buf = mem[i*w.Size : (i+1)*w.Size : (i+1)*w.Size]
		b.free = append(b.free, &b.reqs[i])
		if w.Writes > 0 && !w.Verify {
			loadgen.PutStamp(b.reqs[i].Buf, uint64(i)) // something that no disk can make smaller
		}
	}
	return b
}

func (b *Bench) places() int64 { return b.w.Length / int64(b.w.Size) }

// place chooses where the next request goes.
func (b *Bench) place() int64 {
	for {
		var p int64
		if b.w.Sequential {
			if p = b.next; p >= b.places() {
				p = 0
			}
			b.next = p + 1
		} else {
			p = b.rng.Int64N(b.places())
		}
		if !b.w.Verify || !b.busy[p] {
			return p
		}
	}
}

// issue sends the next request.
func (b *Bench) issue(q *initiator.Queue, r *initiator.Request) error {
	p := b.place()
	r.Op, r.Off, r.User = initiator.Read, b.w.Offset+p*int64(b.w.Size), uint64(p)
	if b.w.Writes > 0 && (b.w.Writes == 100 || b.rng.IntN(100) < b.w.Writes) {
		r.Op = initiator.Write
	}
	if b.w.Verify {
		b.busy[p] = true
		if r.Op == initiator.Write {
			if b.last[p]++; b.last[p] == loadgen.Unknown {
				b.last[p] = 1
			}
			b.stamp(r.Buf, r.Off, b.last[p])
		}
	}
	return q.Submit(r)
}

func (b *Bench) stamp(buf []byte, off int64, gen uint16) {
	loadgen.PutStamp(buf, loadgen.InGeneration(uint64(off)/initiator.SectorSize, gen))
}

// look judges a request that is done.
func (b *Bench) look(r *initiator.Request) error {
	if r.Err != nil {
		return r.Err
	}
	if !b.w.Verify {
		return nil
	}
	b.busy[r.User] = false
	if r.Op == initiator.Read && !loadgen.Stamped(r.Buf, loadgen.InGeneration(uint64(r.Off)/initiator.SectorSize, b.last[r.User])) {
		return b.mismatch(r)
	}
	return nil
}

// mismatch names the first sector that is wrong.
func (b *Bench) mismatch(r *initiator.Request) error {
	for i := 0; i < len(r.Buf); i += initiator.SectorSize {
		lba := (uint64(r.Off) + uint64(i)) / initiator.SectorSize
		if !loadgen.Stamped(r.Buf[i:i+initiator.SectorSize], loadgen.InGeneration(lba, b.last[r.User])) {
			return fmt.Errorf("%v: %w: sector %d does not hold what was written to it last", b.d.Addr(), ErrMismatch, lba)
		}
	}
	return nil
}

// Run does one run. An error means that there is no result.
func (b *Bench) Run(ctx context.Context) (res *Result, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if b.w.CPU >= 0 {
		back, err := pin(b.w.CPU)
		if err != nil {
			return nil, err
		}
		defer back()
	}
	q := b.d.NewQueue(b.w.Depth)
	defer func() { err = errors.Join(err, q.Close()) }()
	res = &Result{Ticks: make([]Tick, 0, 1024)}
	r := run{b: b, q: q, res: res, every: max(tickEvery, b.w.Duration/300)}
	if err := r.loop(ctx); err != nil {
		return nil, err
	}
	if res.Requests == 0 {
		return nil, fmt.Errorf("%v: no request was answered in the %v that count", b.d.Addr(), time.Duration(res.Seconds*1e9).Round(time.Millisecond))
	}
	return res, nil
}

// run is the state of one run.
type run struct {
	b        *Bench
	q        *initiator.Queue
	res      *Result
	every    time.Duration
	counting bool
	begun    time.Time // of the run, then of what counts
	tickAt   time.Time
	ticked   uint64 // requests up to the last tick
	shown    time.Time
	own      time.Duration
	theirs   time.Duration
	allocs   uint64
}

func (r *run) loop(ctx context.Context) error {
	b, w := r.b, &r.b.w
	r.begun = time.Now()
	r.shown = r.begun
	again := b.d.Stats().Retransmits
	free := b.free
	var stop bool
	left := 0 // outstanding
	for {
		now := time.Now()
		if !r.counting && now.Sub(r.begun) >= w.Warmup {
			r.count(now)
		}
		if r.counting {
			stop = stop || w.Duration > 0 && now.Sub(r.begun) >= w.Duration || w.Count > 0 && r.res.Requests >= w.Count
		}
		for _, q := range free {
			if stop {
				break
			}
			if err := b.issue(r.q, q); err != nil {
				return err
			}
			left++
		}
		if stop && r.res.Seconds == 0 {
			r.end(now)
		}
		if left == 0 {
			r.res.Retransmits = b.d.Stats().Retransmits - again
			return nil
		}
		n, err := r.q.Wait(ctx, b.ready)
		if err != nil {
			return err
		}
		left -= n
		free = b.ready[:n]
		for _, q := range free {
			if err := b.look(q); err != nil {
				return err
			}
			if !r.counting || stop {
				continue
			}
			r.res.Requests++
			if q.Op == initiator.Write {
				r.res.Write.Add(int64(q.Took))
			} else {
				r.res.Read.Add(int64(q.Took))
			}
		}
		r.tick()
	}
}

// count begins what counts.
func (r *run) count(now time.Time) {
	r.counting, r.begun, r.tickAt = true, now, now
	r.own, r.theirs = ownCPU(), ProcessCPU(r.b.w.PID)
	r.allocs = allocs()
}

// end ends what counts.
func (r *run) end(now time.Time) {
	res := r.res
	res.Seconds = now.Sub(r.begun).Seconds()
	res.PerSecond = float64(res.Requests) / res.Seconds
	if n := time.Duration(res.Requests); n > 0 {
		res.OwnCPU, res.TargetCPU = (ownCPU()-r.own)/n, (ProcessCPU(r.b.w.PID)-r.theirs)/n
	}
	res.Allocs = allocs() - r.allocs
}

// tick notes the rate, and tells how far it is.
func (r *run) tick() {
	if !r.counting || r.res.Seconds > 0 {
		return
	}
	now := time.Now()
	if d := now.Sub(r.tickAt); d >= r.every && len(r.res.Ticks) < cap(r.res.Ticks) {
		r.res.Ticks = append(r.res.Ticks, Tick{now.Sub(r.begun), float64(r.res.Requests-r.ticked) / d.Seconds()})
		r.tickAt, r.ticked = now, r.res.Requests
	}
	if r.b.w.Progress != nil && now.Sub(r.shown) > time.Second/2 {
		r.shown = now
		r.b.w.Progress(now.Sub(r.begun), r.res.Requests)
	}
}

// Prepare writes generation 0 of the stamps to the whole range, for Verify.
func (b *Bench) Prepare(ctx context.Context, progress func(done int64)) error {
	return b.walk(ctx, progress, func(r *initiator.Request) { r.Op = initiator.Write; b.stamp(r.Buf, r.Off, 0) }, func(r *initiator.Request) error {
		b.last[r.User] = 0
		return r.Err
	})
}

// Finish reads the whole range back: what was written last must be there.
func (b *Bench) Finish(ctx context.Context, progress func(done int64)) error {
	return b.walk(ctx, progress, func(r *initiator.Request) { r.Op = initiator.Read }, func(r *initiator.Request) error {
		if r.Err != nil {
			return r.Err
		}
		if !loadgen.Stamped(r.Buf, loadgen.InGeneration(uint64(r.Off)/initiator.SectorSize, b.last[r.User])) {
			return b.mismatch(r)
		}
		return nil
	})
}

// walk does each place of the range once.
func (b *Bench) walk(ctx context.Context, progress func(int64), before func(*initiator.Request), after func(*initiator.Request) error) (err error) {
	q := b.d.NewQueue(b.w.Depth)
	defer func() { err = errors.Join(err, q.Close()) }()
	free, left, place := b.free, 0, int64(0)
	for place < b.places() || left > 0 {
		for _, r := range free {
			if place == b.places() {
				break
			}
			r.Off, r.User = b.w.Offset+place*int64(b.w.Size), uint64(place)
			before(r)
			if err := q.Submit(r); err != nil {
				return err
			}
			place++
			left++
		}
		n, err := q.Wait(ctx, b.ready)
		if err != nil {
			return err
		}
		left -= n
		free = b.ready[:n]
		for _, r := range free {
			if err := after(r); err != nil {
				return err
			}
		}
		if progress != nil {
			progress((place - int64(left)) * int64(b.w.Size))
		}
	}
	return nil
}

// pin keeps the calling thread on one processor until back is called.
func pin(cpu int) (back func(), err error) {
	var old, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		return nil, fmt.Errorf("asking for the processors: %w", err)
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return nil, fmt.Errorf("running on processor %d: %w", cpu, err)
	}
	return func() { _ = unix.SchedSetaffinity(0, &old) }, nil // the old set was allowed before
}
