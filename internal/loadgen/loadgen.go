// Package loadgen is a load generator for AoE targets: it keeps a number of requests outstanding, verifies every sector that it
// reads, and tells rate and latency. One thread does everything and never sleeps, so that what is measured is the target.
// The disk must be stamped (Fill), because the stamp of a sector is what a read must return; writes write the stamp again.
package loadgen

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/link"
)

// MaxDepth is the largest Config.Depth: a tag has 12 bits for the number of the request.
const MaxDepth = 4096

// Config is one run. The zero values of all but Interface or Link, and Duration or Count, are good.
type Config struct {
	Interface string    // where the target is, in the calling thread's network namespace
	Link      link.Link // used instead of Interface when not nil; Run does not close it
	Addr      aoe.Addr  // the target; of those that match a wildcard the first that answers

	Depth      int  // requests outstanding, 1 to MaxDepth; 0 means 1
	Sectors    int  // sectors of 512 bytes per request, 1 to 255; 0 means 2
	Writes     int  // percent of the requests that are writes: 0 to 100
	Sequential bool // one after the other from LBA 0 and around; otherwise at random, aligned to Sectors

	Warmup      time.Duration // before it counts
	Duration    time.Duration // that counts; 0 means until Count
	Count       uint64        // answers that count, after which the run ends even before Duration; 0 means any number
	Timeout     time.Duration // a request is sent again after this time without an answer, then after twice of it, and so on up to eight times; 0 means 200 ms
	GiveUp      time.Duration // a request without an answer for this long ends the run with an error; 0 means 10 s
	DiskSectors uint64        // use only that many sectors from LBA 0 on; 0 means all that IDENTIFY DEVICE tells
	CPU         int           // the CPU to run on; -1 means wherever the kernel likes
	TargetPID   int           // a process whose CPU time counts as the target's; 0 means none
	Seed        uint64        // of the random places
	NoVerify    bool          // the disk is not stamped: do not look at what is read

	// Initiators is how many initiators ask, each with a source address of its own, 1 to MaxInitiators: the interface's address, then made-up ones
	// behind it. 0 means 1. More are further targets that are asked, too. What one initiator asks of one target is a stream. With at least as
	// much depth as streams each of them has its share of the depth, and never more; with less, each request belongs to one of them at random.
	Initiators int
	More       []Place

	// Generation of the stamps that writes write, 0 to Unknown-1, so that CheckWritten can tell whether a target did what it said.
	// More than 0 needs Writes to be 100: a read would not know what to expect.
	Generation uint16
	// Last, when not nil, gets for each place (LBA / Sectors) the generation that was written there last: Unknown when a write is sent,
	// Generation when it was answered well. It must be long enough for all places.
	Last []uint16
}

// MaxInitiators is the largest Config.Initiators.
const MaxInitiators = 256

// Place is where another target is.
type Place struct {
	Interface string    // "" means that of Config
	Link      link.Link // used instead of Interface when not nil; Run does not close it
	Addr      aoe.Addr
}

// Result is what a run found out. All but Retransmits and TargetCPU is of the time after Warmup; Errors and Mismatches also count in Warmup and
// after the end, so that 0 means that everything was right.
type Result struct {
	Requests    uint64  // answered, rightly or not
	Seconds     float64 // that they took
	PerSecond   float64
	Bytes       uint64        // read and written
	Retransmits uint64        // requests sent again, since the start
	Errors      uint64        // answers with an AoE error, an ATA error, or data missing
	Mismatches  uint64        // reads that returned wrong data
	FirstFault  string        // the first error or mismatch in words; empty without
	P50         time.Duration // latency: from just before the first sending until the answer was seen
	P90         time.Duration
	P99         time.Duration
	P999        time.Duration
	Max         time.Duration
	OwnCPU      float64       // CPU seconds of this process
	TargetCPU   time.Duration // CPU time of TargetPID per request, with what Warmup and the last answers took: it is exact only when a process rests
	Fair        float64       // answers of the stream that got the fewest, by those of the one that got the most; 0 when streams have no shares or there is one
	Idle        float64       // share of the time in which nothing had arrived and nothing was to be sent, 0 to 1: near 0 Run itself was the limit
}

// Bad tells why the figures must not be used, or returns an empty string.
func (r *Result) Bad() string {
	switch {
	case r.Mismatches > 0:
		return fmt.Sprintf("%d reads returned wrong data (%s)", r.Mismatches, r.FirstFault)
	case r.Errors > 0:
		return fmt.Sprintf("%d requests failed (%s)", r.Errors, r.FirstFault)
	case r.Retransmits > 0:
		return fmt.Sprintf("%d requests had to be sent again", r.Retransmits)
	case r.Requests == 0:
		return "no request was answered"
	}
	return ""
}

// fix checks a Config and fills in what was left out.
func (c *Config) fix() error {
	switch {
	case c.Depth < 0 || c.Depth > MaxDepth:
		return fmt.Errorf("loadgen: depth %d is not 1 to %d", c.Depth, MaxDepth)
	case c.Sectors < 0 || c.Sectors > aoe.MaxCount:
		return fmt.Errorf("loadgen: %d sectors per request are not 1 to %d", c.Sectors, aoe.MaxCount)
	case c.Writes < 0 || c.Writes > 100:
		return fmt.Errorf("loadgen: %d percent of writes are not 0 to 100", c.Writes)
	case c.Duration < 0 || c.Warmup < 0 || c.Duration == 0 && c.Count == 0:
		return fmt.Errorf("loadgen: a duration of %v after %v makes no run", c.Duration, c.Warmup)
	case c.Generation == Unknown || c.Generation > 0 && c.Writes < 100:
		return fmt.Errorf("loadgen: generation %d with %d percent of writes: it is 0, or less than %d with nothing but writes", c.Generation, c.Writes, Unknown)
	case c.Initiators < 0 || c.Initiators > MaxInitiators:
		return fmt.Errorf("loadgen: %d initiators are not 1 to %d", c.Initiators, MaxInitiators)
	case c.Last != nil && len(c.More) > 0:
		return errors.New("loadgen: it remembers the writes to one target, not to several")
	case c.Interface == "" && c.Link == nil:
		return errors.New("loadgen: no interface")
	}
	c.Depth, c.Initiators = max(c.Depth, 1), max(c.Initiators, 1)
	if c.Sectors == 0 {
		c.Sectors = 2
	}
	if c.Timeout <= 0 {
		c.Timeout = 200 * time.Millisecond
	}
	if c.GiveUp <= 0 {
		c.GiveUp = 10 * time.Second
	}
	return nil
}

// Run does one run on the calling goroutine, and finds the target first (for up to five seconds). An error means that there
// is no result: no target, an interface that went down, a target that stopped to answer, ctx. What single requests
// met is in the result.
func Run(ctx context.Context, c Config) (Result, error) {
	s, err := Open(ctx, c)
	if err != nil {
		return Result{}, err
	}
	defer s.Close()
	if err := s.Turn(ctx, c.Generation); err != nil {
		return Result{}, err
	}
	return s.Result(), nil
}

// Session is a run in turns: between two of them nothing is outstanding and nothing is done, so that others can have theirs. All methods belong to
// one goroutine.
type Session struct {
	ports ports
	r     *runner
}

// Open finds the target, as Run does, and asks nothing else yet. Close has to follow.
func Open(ctx context.Context, c Config) (*Session, error) {
	if err := c.fix(); err != nil {
		return nil, err
	}
	back, err := pin(c.CPU)
	if err != nil {
		return nil, err
	}
	defer back()
	s := &Session{}
	streams, err := s.ports.find(ctx, &c)
	if err == nil && c.Last != nil && uint64(len(c.Last)) < c.DiskSectors/uint64(c.Sectors) {
		err = fmt.Errorf("loadgen: target %v has %d places, and there is room to remember %d", streams[0].peer.addr, c.DiskSectors/uint64(c.Sectors), len(c.Last))
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	s.r = newRunner(c, s.ports.all, streams)
	return s, nil
}

// Turn asks for Config.Warmup and then for Config.Duration, which counts, and returns when everything was answered. Its writes are of the generation, see
// Config.Generation. After an error the session is of no use any more.
func (s *Session) Turn(ctx context.Context, generation uint16) error {
	back, err := pin(s.r.cfg.CPU)
	if err != nil {
		return err
	}
	defer back()
	s.r.cfg.Generation = generation
	if err := s.r.cfg.fix(); err != nil {
		return err
	}
	return s.r.turn(ctx)
}

// Result is that of all turns together.
func (s *Session) Result() Result { return s.r.result() }

// Close closes the interfaces.
func (s *Session) Close() { s.ports.close() }

// pin keeps the calling goroutine on its thread and, when cpu is not negative, that on one CPU, until back is called.
func pin(cpu int) (back func(), err error) {
	runtime.LockOSThread()
	if cpu < 0 {
		return runtime.UnlockOSThread, nil
	}
	var old, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("loadgen: asking for the CPUs: %w", err)
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("loadgen: running on CPU %d (of those allowed: %d): %w", cpu, old.Count(), err)
	}
	return func() {
		_ = unix.SchedSetaffinity(0, &old) // it was allowed before
		runtime.UnlockOSThread()
	}, nil
}
