package loadgen

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/link"
	"goaoe/internal/link/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const diskSectors = 4096

var here = aoe.Addr{Major: 3, Minor: 7}

// responder is a target made for these tests: a stamped disk in memory, with faults.
type responder struct {
	l      *mem.Link
	disk   []byte
	frames [32]link.Frame
	buf    [9014]byte
	n      int // ATA reads and writes seen
	writes int
	skip   int // each so many writes are answered and not done
	// fault may change an answer, which is n bytes of b; it returns the new length, 0 for no answer.
	fault func(n int, b []byte, size int) int
}

func newResponder(l *mem.Link) *responder {
	r := &responder{l: l, disk: make([]byte, diskSectors*512)}
	PutStamp(r.disk, 0)
	return r
}

// step answers what waits.
func (r *responder) step() {
	k := r.l.Recv(r.frames[:])
	for i := range r.frames[:k] {
		r.answer(r.frames[i].Data)
	}
	if k > 0 {
		r.l.Release()
	}
}

func (r *responder) answer(q []byte) {
	h, err := aoe.DecodeHeader(q)
	if err != nil || !h.Addr.Match(here) || h.Flags&aoe.FlagResponse != 0 {
		return
	}
	b := r.buf[:]
	clear(b[:60])
	h.Dst, h.Src, h.Addr, h.Flags = h.Src, r.l.Info().MAC, here, aoe.FlagResponse
	h.Encode(b)
	size := aoe.ATALen
	if h.Cmd == aoe.CmdConfig {
		(&aoe.Config{BufferCount: 64, Sectors: 16, Version: 1}).Encode(b)
	} else {
		a, data, err := aoe.DecodeATA(q)
		if err != nil {
			return
		}
		lba := ata.LBA48(a.LBA)
		at, n := lba*512, int(a.Count)*512
		switch a.Command {
		case ata.OpIdentify:
			var id [512]byte
			(&ata.Device{Sectors: diskSectors, Serial: "1"}).Build(&id)
			size += copy(b[size:], id[:])
		case ata.OpReadExt:
			size += copy(b[size:], r.disk[at:at+uint64(n)])
			r.n++
		case ata.OpWriteExt:
			r.n++
			if r.writes++; r.skip == 0 || r.writes%r.skip != 0 {
				copy(r.disk[at:], data[:n])
			}
		}
		(&aoe.ATA{Command: 0x40}).Encode(b)
		if r.fault != nil && a.Command != ata.OpIdentify {
			if size = r.fault(r.n, b, size); size == 0 {
				return
			}
		}
	}
	r.l.Inject(b[:max(size, 60)])
}

// serve answers until the test is over.
func (r *responder) serve(t *testing.T) {
	stop, done := make(chan bool), make(chan bool)
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if !r.l.Pending() {
				time.Sleep(20 * time.Microsecond)
			}
			r.step()
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
}

func pair(t *testing.T, mtu int) (client *mem.Link, r *responder) {
	a, b := mem.Pair(mtu)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, newResponder(b)
}

func config(l link.Link) Config {
	return Config{Link: l, Addr: here, Depth: 8, Sectors: 8, Duration: 50 * time.Millisecond, Warmup: 10 * time.Millisecond, CPU: -1,
		Timeout: 5 * time.Second, Seed: 1}
}

func TestRun(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*Config)
	}{
		{"random reads", func(*Config) {}},
		{"sequential reads", func(c *Config) { c.Sequential = true }},
		{"one at a time", func(c *Config) { c.Depth = 1 }},
		{"writes", func(c *Config) { c.Writes = 100 }},
		{"mixed", func(c *Config) { c.Writes = 30 }},
		{"wildcard", func(c *Config) { c.Addr = aoe.Addr{Major: aoe.WildMajor, Minor: aoe.WildMinor} }},
		{"part of the disk", func(c *Config) { c.DiskSectors = 16 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, r := pair(t, 9000)
			cfg := config(l)
			c.set(&cfg)
			cfg.TargetPID = os.Getpid()
			r.serve(t)
			res, err := Run(context.Background(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if bad := res.Bad(); bad != "" {
				t.Fatalf("the run is bad: %s", bad)
			}
			if res.Bytes != res.Requests*4096 || res.Seconds < .05 || res.PerSecond <= 0 || res.PerSecond > float64(res.Requests)/.05 {
				t.Errorf("figures do not fit together: %+v", res)
			}
			if res.P50 <= 0 || res.P50 > res.P90 || res.P90 > res.P99 || res.P99 > res.P999 || res.P999 > res.Max {
				t.Errorf("latencies are not in order: %+v", res)
			}
			if res.Idle < 0 || res.Idle > 1 {
				t.Errorf("idle for %v of the time", res.Idle)
			}
			if res.OwnCPU <= 0 {
				t.Error("no CPU time although it never sleeps")
			}
			if !Stamped(r.disk, 0) {
				t.Error("a write did not write the stamp")
			}
		})
	}
}

// TestWritten: what was answered as written must be in the image; a target that only says so is found out.
func TestWritten(t *testing.T) {
	for _, c := range []struct {
		name string
		skip int // each so many writes the target answers without doing them; 0: none
		want bool
	}{{"all", 0, true}, {"none", 1, false}, {"all but a few", 100, false}} {
		t.Run(c.name, func(t *testing.T) {
			l, r := pair(t, 9000)
			r.skip = c.skip
			r.serve(t)
			last := make([]uint16, diskSectors/8)
			for gen := uint16(1); gen <= 2; gen++ {
				cfg := config(l)
				cfg.Writes, cfg.Generation, cfg.Last, cfg.Sequential = 100, gen, last, true
				cfg.Warmup, cfg.Duration, cfg.Count = 0, 0, 300/uint64(gen)
				if res, err := Run(context.Background(), cfg); err != nil || res.Bad() != "" {
					t.Fatalf("%v, %s", err, res.Bad())
				} else if res.Requests < cfg.Count || res.Requests > cfg.Count+recvBatch {
					t.Errorf("%d requests, want %d", res.Requests, cfg.Count)
				}
			}
			if last[0] != 2 || last[149] != 2 || last[299] != 1 || last[len(last)-1] != 0 {
				t.Errorf("remembered: %v", last)
			}
			path := t.TempDir() + "/image"
			if err := os.WriteFile(path, r.disk, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := CheckWritten(path, 8, last); (err == nil) != c.want {
				t.Errorf("checked: %v", err)
			}
		})
	}
}

// TestNoPlaceIsWrittenTwiceAtOnce: a target may take one of two equal writes for a repetition of the other.
func TestNoPlaceIsWrittenTwiceAtOnce(t *testing.T) {
	l, r := pair(t, 9000)
	x := runnerOn(l, fixed(t, Config{Link: l, Depth: 16, Sectors: 8, Writes: 100, Duration: 1, CPU: -1}), target{addr: here, mac: r.l.Info().MAC, sectors: diskSectors})
	x.blocks = 20
	for round := range 200 {
		for i := range x.slots {
			x.issue(i)
			p := x.ports[0]
			p.msgs, p.which, x.queued = p.msgs[:0], p.which[:0], 0
			for k := range x.slots {
				if k != i && x.slots[k].write && x.slots[k].lba == x.slots[i].lba {
					t.Fatalf("round %d: requests %d and %d both write to sector %d", round, i, k, x.slots[i].lba)
				}
			}
		}
	}
}

func TestRunSharesWrites(t *testing.T) {
	l, r := pair(t, 9000)
	x := runnerOn(l, fixed(t, Config{Link: l, Depth: 16, Sectors: 8, Writes: 25, Duration: 1, CPU: -1}), target{addr: here, mac: r.l.Info().MAC, sectors: diskSectors})
	spin(t, x, r, 500)
	if share := float64(r.writes) / float64(r.n); share < .2 || share > .3 {
		t.Errorf("%.2f of the requests were writes, want 0.25", share)
	}
}

// runnerOn makes a run of one stream.
func runnerOn(l link.Link, c Config, t target) *runner {
	p := &port{l: l}
	return newRunner(c, []*port{p}, []stream{{port: p, mac: l.Info().MAC, peer: t}})
}

func fixed(t *testing.T, c Config) Config {
	c.DiskSectors = diskSectors
	if err := c.fix(); err != nil {
		t.Fatal(err)
	}
	return c
}

// spin makes runner and responder work in turn, without any other goroutine.
func spin(t *testing.T, x *runner, r *responder, rounds int) {
	for i := range x.slots {
		x.issue(i)
	}
	for range rounds {
		round(t, x, r)
	}
}

func round(t *testing.T, x *runner, r *responder) {
	if err := x.flush(); err != nil {
		t.Fatal(err)
	}
	r.step()
	x.poll()
}

func TestNoAllocations(t *testing.T) {
	for _, writes := range []int{0, 50} {
		l, r := pair(t, 9000)
		x := runnerOn(l, fixed(t, Config{Link: l, Depth: 16, Sectors: 8, Writes: writes, Duration: 1, CPU: -1}), target{addr: here, mac: r.l.Info().MAC, sectors: diskSectors})
		spin(t, x, r, 200)
		before := x.done
		if n := testing.AllocsPerRun(500, func() { round(t, x, r) }); n != 0 {
			t.Errorf("%d %% writes: %v allocations per round of 16 requests", writes, n)
		}
		if x.done-before < 500*16 {
			t.Errorf("only %d requests were done", x.done-before)
		}
	}
}

func TestFaults(t *testing.T) {
	every := func(n int, f func(b []byte, size int) int) func(int, []byte, int) int {
		return func(i int, b []byte, size int) int {
			if i%n == 0 {
				return f(b, size)
			}
			return size
		}
	}
	for _, c := range []struct {
		name         string
		fault        func(int, []byte, int) int
		writes       int
		noVerify     bool
		count, other func(*Result) uint64
		says         string
	}{
		{"wrong byte at the end", every(20, func(b []byte, size int) int { b[size-1] ^= 1; return size }), 0, false,
			mismatches, errs, "wrong data"},
		{"data of another sector", every(20, func(b []byte, size int) int { PutStamp(b[36:size], diskSectors); return size }), 0, false,
			mismatches, errs, "wrong data"},
		{"not looked at", every(20, func(b []byte, size int) int { b[size-1] ^= 1; return size }), 0, true,
			nil, both, ""},
		{"AoE error", every(20, func(b []byte, _ int) int { b[14] |= aoe.FlagError; b[15] = 3; return 60 }), 50, false,
			errs, mismatches, "AoE error code 3"},
		{"ATA error", every(20, func(b []byte, _ int) int { b[27] = 0x41; return 60 }), 50, false,
			errs, mismatches, "status register 0x41"},
		{"device fault", every(20, func(b []byte, _ int) int { b[27] = 0x60; return 60 }), 100, false,
			errs, mismatches, "write true"},
		{"data cut off", every(20, func(_ []byte, size int) int { return size - 1 }), 0, false,
			errs, mismatches, "requests failed"},
		{"data cut off, not looked at", every(20, func(_ []byte, size int) int { return size - 1 }), 0, true,
			errs, mismatches, "requests failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var res Result
			// On a busy machine a short run may not come to the fault.
			for d := 50 * time.Millisecond; ; d *= 4 {
				l, r := pair(t, 9000)
				r.fault = c.fault
				r.serve(t)
				cfg := config(l)
				cfg.Writes, cfg.NoVerify, cfg.Duration = c.writes, c.noVerify, d
				var err error
				if res, err = Run(context.Background(), cfg); err != nil {
					t.Fatal(err)
				}
				if d > 5*time.Second || res.Requests > 0 && (c.count == nil || c.count(&res) > 0) {
					break
				}
			}
			if c.count != nil && c.count(&res) == 0 {
				t.Errorf("nothing was noticed: %+v", res)
			}
			if n := c.other(&res); n != 0 {
				t.Errorf("%d were counted as something else: %+v", n, res)
			}
			if bad := res.Bad(); !strings.Contains(bad, c.says) || (bad == "") != (c.says == "") {
				t.Errorf("the result says %q, want %q", bad, c.says)
			}
		})
	}
}

func mismatches(r *Result) uint64 { return r.Mismatches }
func errs(r *Result) uint64       { return r.Errors }
func both(r *Result) uint64       { return r.Errors + r.Mismatches }

func TestLostFrames(t *testing.T) {
	l, r := pair(t, 9000)
	r.fault = func(n int, _ []byte, size int) int {
		if n%50 == 0 {
			return 0
		}
		return size
	}
	r.serve(t)
	cfg := config(l)
	cfg.Timeout, cfg.Duration = 5*time.Millisecond, 200*time.Millisecond
	res, err := Run(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if res.Retransmits == 0 || res.Max < cfg.Timeout || both(&res) != 0 {
		t.Errorf("lost answers: %+v; want some requests sent again, and no fault", res)
	}
	if !strings.Contains(res.Bad(), "sent again") {
		t.Errorf("the result says %q", res.Bad())
	}
}

// TestIdle: against a target that takes its time there is nothing to do most of the time; against one that answers at once there is.
func TestIdle(t *testing.T) {
	l, r := pair(t, 9000)
	r.fault = func(_ int, _ []byte, size int) int { time.Sleep(5 * time.Millisecond); return size }
	r.serve(t)
	cfg := config(l)
	cfg.Depth = 1
	res, err := Run(context.Background(), cfg)
	if err != nil || res.Idle < .5 {
		t.Errorf("idle for %v of the time although each answer takes 5 ms (%v)", res.Idle, err)
	}
	l, r = pair(t, 9000)
	x := runnerOn(l, fixed(t, Config{Link: l, Depth: 16, Sectors: 8, Duration: 1, CPU: -1}), target{addr: here, mac: r.l.Info().MAC, sectors: diskSectors})
	if spin(t, x, r, 100); x.idle != 0 {
		t.Errorf("idle for %d ns although answers always waited", x.idle)
	}
}

// TestOthers: answers of another target, and of another command, are not ours although the tag is.
func TestOthers(t *testing.T) {
	for name, forge := range map[string]func(b []byte){
		"MAC":     func(b []byte) { b[11]++ },
		"address": func(b []byte) { b[18]++ },
		"command": func(b []byte) { b[19] = 1 },
	} {
		l, r := pair(t, 9000)
		r.fault = func(_ int, b []byte, size int) int {
			g := append([]byte(nil), b[:size]...)
			g[36] ^= 1 // wrong data, were it taken
			forge(g)
			r.l.Inject(g)
			return size
		}
		r.serve(t)
		res, err := Run(context.Background(), config(l))
		if err != nil || res.Bad() != "" {
			t.Errorf("%s: %v, %s", name, err, res.Bad())
		}
	}
}

func TestTwiceAndLate(t *testing.T) {
	l, r := pair(t, 9000)
	var old []byte
	r.fault = func(_ int, b []byte, size int) int {
		r.l.Inject(b[:size]) // the same answer twice
		if old != nil {
			r.l.Inject(old)
		}
		old = append([]byte(nil), b[:size]...)
		return size
	}
	r.serve(t)
	res, err := Run(context.Background(), config(l))
	if err != nil {
		t.Fatal(err)
	}
	if bad := res.Bad(); bad != "" {
		t.Errorf("answers that come twice made the run bad: %s", bad)
	}
}

func TestTargetStops(t *testing.T) {
	l, r := pair(t, 9000)
	r.fault = func(n int, _ []byte, size int) int {
		if n > 100 {
			return 0
		}
		return size
	}
	r.serve(t)
	cfg := config(l)
	cfg.Timeout, cfg.GiveUp, cfg.Duration = 10*time.Millisecond, 100*time.Millisecond, time.Minute
	if _, err := Run(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), "no answer for 100ms") {
		t.Errorf("a silent target: %v", err)
	}
}

func TestFullAndDown(t *testing.T) {
	l, r := pair(t, 9000)
	x := runnerOn(l, fixed(t, Config{Link: l, Depth: 8, Duration: 1, CPU: -1}), target{addr: here, mac: r.l.Info().MAC, sectors: diskSectors})
	for i := range x.slots {
		x.issue(i)
	}
	l.SetRoom(3)
	if err := x.flush(); err != nil || x.queued != 5 {
		t.Fatalf("a full link: %v, %d requests left; want 5", err, x.queued)
	}
	l.SetRoom(-1)
	for range 20 {
		round(t, x, r)
	}
	if x.live != 8 || x.done < 8 || r.n < 8 {
		t.Errorf("after the link had room again: %d outstanding, %d done", x.live, x.done)
	}
	x.stop = true
	l.SetDown(true)
	x.issue(0)
	if err := x.flush(); !errors.Is(err, link.ErrDown) {
		t.Errorf("a link that is down: %v", err)
	}
}

func TestEnds(t *testing.T) {
	l, r := pair(t, 9000)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := Run(ctx, config(l)); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "e3.7") {
		t.Errorf("without a target: %v", err)
	}
	r.serve(t)
	ctx2, cancel2 := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel2()
	cfg := config(l)
	cfg.Duration = time.Hour
	if _, err := Run(ctx2, cfg); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a run that is cancelled: %v", err)
	}
}

func TestWrongConfigs(t *testing.T) {
	small, r := pair(t, 1500)
	r.serve(t)
	for _, c := range []struct {
		set  func(*Config)
		says string
	}{
		{func(c *Config) { c.Depth = 5000 }, "depth 5000"},
		{func(c *Config) { c.Sectors = 256 }, "256 sectors"},
		{func(c *Config) { c.Writes = 101 }, "101 percent"},
		{func(c *Config) { c.Duration = 0 }, "makes no run"},
		{func(c *Config) { c.Generation = 1 }, "generation 1 with 0 percent"},
		{func(c *Config) { c.Generation, c.Writes = Unknown, 100 }, "generation 65535"},
		{func(c *Config) { c.Sectors, c.Last = 2, make([]uint16, diskSectors/2-1) }, "room to remember 2047"},
		{func(c *Config) { c.Link = nil }, "no interface"},
		{func(c *Config) { c.Link, c.Interface = nil, "nonesuch9" }, "nonesuch9"},
		{func(c *Config) { c.CPU = 1000 }, "CPU 1000"},
		{func(c *Config) {}, "MTU 1500 carries 2"},
		{func(c *Config) { c.Sectors, c.DiskSectors = 2, 1 }, "less than one request"},
	} {
		cfg := config(small)
		c.set(&cfg)
		if _, err := Run(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("error %v, want %q", err, c.says)
		}
	}
}

// TestTurns: what several turns gave is added up, between two of them nothing is asked, and writes of each have its generation.
func TestTurns(t *testing.T) {
	l, r := pair(t, 9000)
	r.serve(t)
	cfg := config(l)
	cfg.Writes, cfg.Last, cfg.TargetPID = 100, make([]uint16, diskSectors/8), os.Getpid()
	s, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if res := s.Result(); res.Requests != 0 || res.PerSecond != 0 || res.Bad() == "" {
		t.Errorf("before the first turn: %+v", res)
	}
	var before Result
	for gen := uint16(1); gen <= 3; gen++ {
		if err := s.Turn(context.Background(), gen); err != nil {
			t.Fatal(err)
		}
		res := s.Result()
		if bad := res.Bad(); bad != "" || res.Requests <= before.Requests || res.OwnCPU <= before.OwnCPU {
			t.Errorf("turn %d: %s, %+v after %+v", gen, bad, res, before)
		}
		if res.Seconds < .05*float64(gen) {
			t.Errorf("%v s that count after %d turns of 0.05 s", res.Seconds, gen)
		}
		if rate := float64(res.Requests) / res.Seconds; res.PerSecond != rate || res.TargetCPU <= 0 || res.Idle < 0 || res.Idle > 1 {
			t.Errorf("turn %d: %+v", gen, res)
		}
		if before = res; s.r.live != 0 {
			t.Errorf("%d requests are outstanding after a turn", s.r.live)
		}
		found := false
		for _, g := range cfg.Last {
			found = found || g == gen
		}
		if !found {
			t.Errorf("no write of generation %d", gen)
		}
	}
	writes := r.writes
	time.Sleep(5 * time.Millisecond)
	if r.writes != writes {
		t.Error("it goes on between turns")
	}
	if err := s.Turn(context.Background(), Unknown); err == nil {
		t.Error("a turn with the generation that means none")
	}
}

func TestProcessCPU(t *testing.T) {
	if ProcessCPU(0) != 0 || ProcessCPU(1<<30) != 0 {
		t.Error("a process that is not there used the CPU")
	}
	for end := time.Now().Add(30 * time.Millisecond); time.Now().Before(end); {
	}
	if own := ProcessCPU(os.Getpid()); own <= 0 || own > ownCPU()+1 {
		t.Errorf("this process used %v s, by the other count %v s", own, ownCPU())
	}
}
