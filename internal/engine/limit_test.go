package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/stats"
	"goaoe/internal/store/mem"
	"goaoe/internal/target"
)

// limited is an export with limits on a clock that a test turns.
type limited struct {
	*rig
	x    *Export
	st   *mem.Store
	w    *wire
	ns   int64
	lba  uint64
	done map[byte]int // replies by initiator, as from has numbered them
}

func newLimited(t testing.TB, queue int, limits *Limits, ctl *mem.Control) *limited {
	t.Helper()
	c := &limited{rig: newRig(t, 1), ns: 7, done: map[byte]int{}}
	c.e.opts.Clock = func() (int64, int64) { return 1e18 + c.ns, c.ns }
	c.st = newStore(t, 1<<16, ctl)
	c.x = c.export(e11, c.st, queue)
	c.serve(9000, c.x)
	c.w = c.wires[0]
	c.limit(limits)
	return c
}

func (c *limited) limit(l *Limits) {
	c.t.Helper()
	if err := l.check(); err != nil {
		c.t.Fatal(err)
	}
	c.l.setLimits(c.le(), newLimiter(l))
	c.step()
}

func (c *limited) le() *laneExport { return c.l.exports[c.x.Target.ID] }

func (c *limited) held(who byte) int {
	return int(c.le().fair.places[c.le().fair.place(macNumber(who))].held)
}

// step lets the lane work, looks for what does not fit together, and counts the replies.
func (c *limited) step() [][]byte {
	c.t.Helper()
	c.run()
	if err := c.l.audit(); err != nil {
		c.t.Fatal(err)
	}
	out := c.w.take()
	for _, f := range out {
		c.done[f[5]]++
	}
	return out
}

func (c *limited) put(f []byte) { c.w.put(f, 1e18+c.ns) }

// ask sends n reads of an initiator, each of other sectors.
func (c *limited) ask(who byte, n, sectors int) [][]byte {
	c.t.Helper()
	for range n {
		c.lba = (c.lba + uint64(sectors)) % (1<<16 - 32)
		c.put(from(who, c.ata(e11, 0x24, c.lba, sectors, nil)))
	}
	return c.step()
}

// pass lets time go by in the steps of a lane that wakes when it wants to, and returns the replies.
func (c *limited) pass(d time.Duration) (out [][]byte) {
	c.t.Helper()
	for end := c.ns + int64(d); c.ns < end; {
		c.ns = end
		if c.l.limited != nil {
			c.ns = min(end, max(c.l.limitAt, c.ns-int64(d)))
		}
		out = append(out, c.step()...)
	}
	return out
}

// flood has initiators ask for as much as they get, for a time, and returns how many requests each had answered.
func (c *limited) flood(d time.Duration, sectors int, who ...byte) map[byte]int {
	c.t.Helper()
	c.done = map[byte]int{}
	for end := c.ns + int64(d); c.ns < end; c.ns += 200_000 {
		for _, n := range who {
			if k := 6 - c.held(n); k > 0 {
				c.ask(n, k, sectors)
			}
		}
		c.step()
	}
	return c.done
}

// TestLimitRates: whoever asks for as much as it gets has what its limit says, to within what it may use at once, and those without a limit as much as they
// want. The times of the engine's clock are made.
func TestLimitRates(t *testing.T) {
	for _, c := range []struct {
		name    string
		l       Limit
		sectors int
		want    int // requests in four seconds
	}{
		{"requests", Limit{IOPS: 500}, 1, 2000},
		{"few requests", Limit{IOPS: 3}, 1, 12},
		{"bytes", Limit{Bandwidth: 2 << 20}, 8, 2048},
		{"bytes of large requests", Limit{Bandwidth: 1 << 20}, 17, 481},
		{"bytes before requests", Limit{IOPS: 5000, Bandwidth: 1 << 20}, 8, 1024},
		{"requests before bytes", Limit{IOPS: 100, Bandwidth: 1 << 20}, 8, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newLimited(t, 64, &Limits{Each: c.l, Own: map[aoe.MAC]Limit{macOf(3): {}, macOf(4): {IOPS: 50}}}, nil)
			done := x.flood(4*time.Second, c.sectors, 1, 2, 3, 4)
			burst := max(1, c.want/40)
			for _, who := range []byte{1, 2} {
				if n := done[who]; n < c.want-1 || n > c.want+burst+1 {
					t.Errorf("initiator %d has %d requests done in 4 s, its limit is %d and %d at once", who, n, c.want, burst)
				}
			}
			if n := done[4]; n < 199 || n > 206 {
				t.Errorf("one with a limit of its own, of 50 a second, has %d done", n)
			}
			if n := done[3]; n < 4*10_000 {
				t.Errorf("one without a limit has %d done", n)
			}
		})
	}
}

func macOf(who byte) aoe.MAC { return aoe.MAC{2, 0, 0, 0, 9, who} }

// TestLimitBurst: who was idle may use a tenth of a second's worth at once, and never more, however long it was idle; with a limit so low that this is
// less than a request, one.
func TestLimitBurst(t *testing.T) {
	c := newLimited(t, 64, &Limits{Each: Limit{IOPS: 100}}, nil)
	for range 3 {
		c.ns += 60e9
		if n := len(c.ask(1, 30, 1)); n != 10 {
			t.Errorf("%d answered at once, want 10", n)
		}
		if n := len(c.pass(100 * time.Millisecond)); n != 10 {
			t.Errorf("%d answered in the next tenth of a second, want 10", n)
		}
		c.pass(time.Second)
	}
	c.limit(&Limits{Each: Limit{Bandwidth: 17 * 512 * 2}})
	c.ns += 60e9
	if n := len(c.ask(1, 3, 17)); n != 1 {
		t.Errorf("%d of the largest requests answered at once, want 1", n)
	}
	if n := len(c.pass(499 * time.Millisecond)); n != 0 {
		t.Errorf("%d more before their time", n)
	}
	if n := len(c.pass(2 * time.Millisecond)); n != 1 {
		t.Errorf("%d more when half a second has passed, want 1", n)
	}
}

// TestLimitWake: a lane that sleeps wakes by itself when requests may go.
func TestLimitWake(t *testing.T) {
	r := newRig(t, 1)
	x := r.export(e11, newStore(t, 64, nil), 16)
	r.serve(1500, x)
	r.l.setLimits(r.l.exports[0], newLimiter(&Limits{Each: Limit{IOPS: 20}}))
	w := r.wires[0]
	w.fd = r.l.wake.FD() // something to poll that never has anything
	for i := range uint64(6) {
		w.put(r.ata(e11, 0x24, i, 1, nil), time.Now().UnixNano())
	}
	start := time.Now()
	guard := time.AfterFunc(20*time.Second, func() { r.l.wake.Signal() })
	defer guard.Stop()
	for len(w.out) < 6 && time.Since(start) < 20*time.Second {
		for r.l.turn() {
		}
		if len(w.out) < 6 {
			r.l.idle()
		}
	}
	if took := time.Since(start); len(w.out) < 6 || took < 190*time.Millisecond || took > 10*time.Second {
		t.Errorf("%d requests answered in %v: two at once and the others every 50 ms take 200 ms", len(w.out), took)
	}
	if n := r.l.stats.Sleeps.Load(); n > 30 {
		t.Errorf("the lane slept %d times for four requests", n)
	}
}

// TestLimitHoldsUpNobody: a limited initiator with all that it may have outstanding holds up neither others nor what needs no storage, not even one whose
// address has the same place in the fair queue.
func TestLimitHoldsUpNobody(t *testing.T) {
	other := byte(2)
	for sourceOf(macNumber(other)) != sourceOf(macNumber(1)) {
		other++
	}
	c := newLimited(t, 16, &Limits{Own: map[aoe.MAC]Limit{macOf(1): {IOPS: 10}}}, nil)
	c.ask(1, 1000, 1)
	if c.le().limited == 0 || c.le().onStore != 0 {
		t.Fatalf("%d wait for the limit, %d are on the store", c.le().limited, c.le().onStore)
	}
	for i := range 100 {
		for _, who := range []byte{other, other + 1} {
			if n := len(c.ask(who, 1, 1)); n != 1 {
				t.Fatalf("round %d: initiator %d has %d of its request answered", i, who, n)
			}
		}
		c.put(from(1, c.ata(e11, 0xec, 0, 1, nil)))
		if out := c.step(); len(out) != 1 {
			t.Fatalf("round %d: IDENTIFY of the limited one has %d answers", i, len(out))
		}
	}
	s := c.x.Snapshot()
	if s.Limited == 0 || s.Queued == 0 {
		t.Errorf("counted: %d limited, %d queued", s.Limited, s.Queued)
	}
	for _, i := range c.e.Initiators() {
		if want := i.MAC == macOf(1).String(); (i.Limited > 0) != want {
			t.Errorf("initiator %s: %d limited", i.MAC, i.Limited)
		}
	}
}

// TestLimitKeepsOrder: what overlaps a request that waits for its limit waits for it, whoever asks; what does not is answered.
func TestLimitKeepsOrder(t *testing.T) {
	c := newLimited(t, 16, &Limits{Own: map[aoe.MAC]Limit{macOf(1): {IOPS: 1}}}, nil)
	write := func(who byte, lba uint64, v byte) []byte { return from(who, c.ata(e11, 0x34, lba, 1, sector(1, v))) }
	c.put(write(1, 5, 1)) // uses its token
	c.put(write(1, 5, 2))
	c.put(write(2, 5, 3))
	c.put(from(2, c.ata(e11, 0x24, 5, 1, nil)))
	c.put(from(2, c.ata(e11, 0x24, 6, 1, nil)))
	if c.step(); c.done[1] != 1 || c.done[2] != 1 {
		t.Fatalf("answered: %v, want one of each", c.done)
	}
	if v := c.st.Bytes()[5*512]; v != 1 {
		t.Fatalf("the sector has %d", v)
	}
	out := c.pass(1100 * time.Millisecond)
	if len(out) != 3 || c.st.Bytes()[5*512] != 3 {
		t.Fatalf("%d answers, the sector has %d", len(out), c.st.Bytes()[5*512])
	}
	if last := out[2]; len(last) < 36+512 || last[36] != 3 {
		t.Errorf("the read behind the writes has something else")
	}
}

// TestLimitRepetitions: what a driver sends again while the first waits for its limit is carried out once, answered with the newest tag, and costs no
// tokens; and is not too old because its first copy is.
func TestLimitRepetitions(t *testing.T) {
	c := newLimited(t, 16, &Limits{Each: Limit{IOPS: 1}}, nil)
	c.e.opts.RequestAge = 2 * time.Second
	c.ask(1, 1, 1)
	frame := from(1, c.ata(e11, 0x34, 9, 1, sector(1, 7)))
	var tag uint32
	for range 8 {
		c.put(append([]byte(nil), frame...))
		tag = tagOf(frame)
		c.step()
		c.pass(100 * time.Millisecond)
		binary.BigEndian.PutUint32(frame[20:], tag+1)
	}
	if n := c.le().limited; n != 1 {
		t.Fatalf("%d requests wait", n)
	}
	out := c.pass(time.Second)
	if len(out) != 1 || tagOf(out[0]) != tag {
		t.Fatalf("%d replies, the first for tag %d; want one for %d", len(out), tagOf(out[0]), tag)
	}
	s := c.x.Snapshot()
	if s.Writes != 1 || s.Drops[stats.DropDuplicate.String()] != 7 || s.Retransmits != 7 || s.Limited != 1 {
		t.Errorf("%d writes, %d duplicates, %d seen again, %d limited", s.Writes, s.Drops[stats.DropDuplicate.String()], s.Retransmits, s.Limited)
	}
	// Those that are not repeated are too old at last, and take nothing from who comes behind them.
	c.pass(5 * time.Second)
	c.ask(1, 6, 1)
	c.pass(4 * time.Second)
	s = c.x.Snapshot()
	if n := s.Drops[stats.DropStale.String()]; n != 3 || s.Reads != 4 || c.le().held != 0 {
		t.Errorf("of 6 requests %d were too old and %d answered, %d are held; want 3, 3 and none", n, s.Reads-1, c.le().held)
	}
	if n := len(c.ask(1, 1, 1)); n != 1 {
		t.Errorf("%d answers to one behind them", n)
	}
}

// TestLimitStaleUnblocks: what waited for a request that was dropped runs.
func TestLimitStaleUnblocks(t *testing.T) {
	c := newLimited(t, 16, &Limits{Own: map[aoe.MAC]Limit{macOf(1): {Bandwidth: 512}}}, nil)
	c.e.opts.RequestAge = 100 * time.Millisecond
	c.ask(1, 1, 8)
	c.put(from(1, c.ata(e11, 0x34, 5, 1, sector(1, 1))))
	c.step()
	c.ns += 7_900_000_000
	c.put(from(2, c.ata(e11, 0x24, 5, 1, nil)))
	if c.step(); c.done[2] != 0 {
		t.Fatal("the read did not wait")
	}
	if c.pass(200 * time.Millisecond); c.done[2] != 1 || c.st.Bytes()[5*512] != 0 {
		t.Errorf("the read was answered %d times, the sector has %d", c.done[2], c.st.Bytes()[5*512])
	}
}

// TestLimitChanges: limits that are set, changed and taken away while requests wait for them.
func TestLimitChanges(t *testing.T) {
	c := newLimited(t, 64, &Limits{Each: Limit{IOPS: 10}}, nil)
	c.ask(1, 40, 1)
	if c.done[1] != 1 {
		t.Fatalf("%d at once", c.done[1])
	}
	c.limit(&Limits{Each: Limit{IOPS: 100}}) // what was used stays used: 100 ms
	if c.done[1] > 1 {
		t.Errorf("%d let through by the change", c.done[1]-1)
	}
	before := c.done[1]
	if n := len(c.pass(100 * time.Millisecond)); n < 9 || n > 11 {
		t.Errorf("%d in a tenth of a second with 100 a second, after %d", n, before)
	}
	c.limit(&Limits{Each: Limit{IOPS: 100}, Own: map[aoe.MAC]Limit{macOf(1): {}}})
	if c.step(); c.done[1] != 40 {
		t.Errorf("%d of 40 answered when it has no limit", c.done[1])
	}
	c.limit(&Limits{Each: Limit{IOPS: 10}})
	c.ask(1, 20, 1)
	c.limit(nil)
	if c.done[1] != 60 || c.le().limits != nil || c.le().limited != 0 {
		t.Errorf("without limits: %d of 60 answered, %d wait", c.done[1], c.le().limited)
	}
	if n := len(c.ask(1, 40, 1)); n != 40 {
		t.Errorf("%d of 40 answered without limits", n)
	}
	c.limit(&Limits{Each: Limit{IOPS: 10}}) // anew, with what was listed before still in the list
	c.ask(1, 20, 1)
	c.pass(time.Second)
	if n := c.le().limited; n != 8 && n != 9 {
		t.Errorf("%d wait after a second", n)
	}
}

// TestLimitEnds: neither the removal of an export nor the end of the engine waits for anybody's limit; what was taken in is done and answered.
func TestLimitEnds(t *testing.T) {
	c := newLimited(t, 64, &Limits{Each: Limit{IOPS: 1}}, nil)
	c.ask(1, 20, 1)
	c.put(from(1, c.ata(e11, 0x34, 5, 1, sector(1, 1)))) // and what waits for one that waits
	c.put(from(1, c.ata(e11, 0x34, 5, 1, sector(1, 2))))
	c.step()
	drained := make(chan struct{})
	c.l.removeExport(c.x, drained)
	c.step()
	select {
	case <-drained:
	default:
		t.Fatal("the export is not drained")
	}
	if c.done[1] != 22 || c.st.Bytes()[5*512] != 2 {
		t.Errorf("%d of 22 requests answered, the sector has %d", c.done[1], c.st.Bytes()[5*512])
	}
	d := newLimited(t, 64, &Limits{Each: Limit{IOPS: 1}}, nil)
	d.ask(1, 20, 1)
	d.put(from(1, d.ata(e11, 0x34, 5, 1, sector(1, 1))))
	d.put(from(1, d.ata(e11, 0x34, 5, 1, sector(1, 2))))
	d.step()
	d.l.stopping = true
	d.step()
	if !d.l.idleNow() || d.done[1] != 22 {
		t.Errorf("%d of 22 requests answered when the lane stops", d.done[1])
	}
}

// TestLimitWithViews: reads that the store shows in its own memory count like others.
func TestLimitWithViews(t *testing.T) {
	c := newLimited(t, 64, &Limits{Each: Limit{IOPS: 1000}}, nil)
	if n := len(c.ask(1, 150, 1)); n != 100 || c.x.Snapshot().Views != 100 {
		t.Errorf("%d answered at once, %d of them views; want 100", n, c.x.Snapshot().Views)
	}
}

// TestLimitPlaces: any number of initiators may come; each has its own limit as long as not more than there are places are active at once, and
// beyond that the limit holds for them together.
func TestLimitPlaces(t *testing.T) {
	m := newLimiter(&Limits{Each: Limit{IOPS: 1000}})
	now := int64(0)
	for who := range uint64(100_000) { // each has used little when the next comes
		now += 1_000_000
		b := m.of(1<<41|who*77, now)
		if b == &m.rest {
			t.Fatalf("initiator %d found no place", who)
		}
		if !b.take(now, 512) || b.take(now, 512) && b.ops > now+2_000_000 {
			t.Fatalf("initiator %d has somebody else's bucket", who)
		}
	}
	m = newLimiter(&Limits{Each: Limit{IOPS: 1000}})
	seen, shared := map[*bucket]bool{}, 0
	for who := range uint64(300) { // as many as an export holds requests by default
		b := m.of(1<<41|who, now)
		b.take(now, 512)
		if b == &m.rest {
			shared++
		} else if seen[b] {
			t.Fatalf("initiator %d shares a bucket", who)
		}
		seen[b] = true
	}
	if shared > 0 {
		t.Errorf("%d of 300 found no place", shared)
	}
	for who := range uint64(300) {
		if b := m.of(1<<41|who, now); b.mac != 1<<41|who || b.fresh(now) {
			t.Fatalf("initiator %d is not found again", who)
		}
	}
	passed := 0
	for who := range uint64(5000) {
		if b := m.of(1<<42|who, now); b.take(now, 512) && b == &m.rest {
			passed++
		}
	}
	if passed != 100 {
		t.Errorf("%d requests of all that found no place were let through at once, want 100", passed)
	}
}

// TestLimitAllocatesNothing: neither when requests pass, nor when they wait, nor when initiators come and go.
func TestLimitAllocatesNothing(t *testing.T) {
	c := newLimited(t, 64, &Limits{Each: Limit{IOPS: 100, Bandwidth: 1 << 20}, Own: map[aoe.MAC]Limit{macOf(1): {IOPS: 50}}}, nil)
	c.w.keep = false
	var frames [][]byte
	for i := range 60 {
		frames = append(frames, from(byte(i%9), c.ata(e11, 0x24, uint64(i), 1, nil)), from(byte(i%9), c.ata(e11, 0x34, uint64(i), 1, sector(1, 1))))
	}
	turn := func() {
		for _, f := range frames {
			c.put(f)
		}
		c.run()
		for range 20 {
			c.ns += 5_000_000
			c.run()
		}
	}
	turn()
	turn()
	if c.x.Snapshot().Limited == 0 {
		t.Fatal("nothing waited")
	}
	least := testing.AllocsPerRun(50, turn)
	for range 4 {
		least = min(least, testing.AllocsPerRun(50, turn))
	}
	if least > 0 {
		t.Errorf("%v allocations in a turn", least)
	}
}

// TestLimitSettings: what makes no sense is refused and changes nothing.
func TestLimitSettings(t *testing.T) {
	c := newLimited(t, 64, &Limits{Each: Limit{IOPS: 10}}, nil)
	for _, l := range []*Limits{{Each: Limit{IOPS: -1}}, {Each: Limit{IOPS: MaxIOPS + 1}}, {Own: map[aoe.MAC]Limit{macOf(1): {Bandwidth: -1}}}} {
		if err := c.e.SetLimits(c.x, l); err == nil {
			t.Errorf("%+v was taken", l)
		}
		if err := c.e.AddExport(&Export{Target: c.x.Target, Store: c.st, QueueLength: 2, Limits: l}); err == nil {
			t.Errorf("%+v was taken with a new export", l)
		}
	}
	if c.le().limits == nil {
		t.Error("the limits are gone")
	}
	for _, l := range []*Limits{nil, {}, {Own: map[aoe.MAC]Limit{macOf(1): {}}}} {
		if newLimiter(l) != nil {
			t.Errorf("%+v has a limiter", l)
		}
	}
}

// TestSteppedLimits: a stepped engine says when it wants a turn, and its export goes although requests wait for limits.
func TestSteppedLimits(t *testing.T) {
	s := newSteppedRig(t)
	if err := s.e.SetLimits(s.x, &Limits{Each: Limit{IOPS: 1}}); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.e.Wake(0); ok {
		t.Error("it wants a turn with nothing to do")
	}
	for i := range uint64(3) {
		s.w.put(s.r.ata(s.x.Target.Addr(), 0x24, i, 1, nil), s.now)
	}
	s.run()
	at, ok := s.e.Wake(0)
	if !ok || at != s.now-1e18+1e9 || s.e.Limited(s.x) != 2 || len(s.w.take()) != 1 {
		t.Fatalf("wants a turn: %v at %d, %d wait", ok, at, s.e.Limited(s.x))
	}
	s.now += 1e9
	if s.run(); s.e.Limited(s.x) != 1 || len(s.w.take()) != 1 {
		t.Fatalf("after a second %d wait", s.e.Limited(s.x))
	}
	if err := s.p.SetTable(mustTable(t)); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	err := s.e.RemoveExport(ended, s.x)
	if s.run(); err != nil {
		err = s.e.RemoveExport(ended, s.x)
	}
	if err != nil && !errors.Is(err, context.Canceled) || len(s.w.take()) != 1 || s.e.Limited(s.x) != 0 {
		t.Errorf("removed: %v", err)
	}
	if _, ok := s.e.Wake(0); ok {
		s.run()
		if _, ok := s.e.Wake(0); ok {
			t.Error("it wants a turn for an export that is gone")
		}
	}
}

// steppedRig is a stepped engine with one export on one wire.
type steppedRig struct {
	e   *Engine
	x   *Export
	p   *Port
	w   *wire
	r   *rig
	now int64
	t   *testing.T
}

func newSteppedRig(t *testing.T) *steppedRig {
	t.Helper()
	s := &steppedRig{t: t, now: 1e18, r: &rig{t: t}, w: &wire{keep: true, fd: -1}}
	var err error
	if s.e, err = NewStepped(Options{Lanes: 1, Slow: func(SlowRequest) bool { return false }, Clock: func() (int64, int64) { return s.now, s.now - 1e18 }}); err != nil {
		t.Fatal(err)
	}
	te, err := target.NewExport(target.ExportConfig{Addr: e11, Sectors: 64})
	if err != nil {
		t.Fatal(err)
	}
	s.x = &Export{Target: te, Store: newStore(t, 64, nil), QueueLength: 4}
	if err := s.e.AddExport(s.x); err != nil {
		t.Fatal(err)
	}
	if s.p, err = s.e.AddPort(PortConfig{Name: "w", Links: []link.Link{s.w}, Table: mustTable(t, te), Ingress: target.Ingress{MAC: targetMAC, MTU: 1500}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.e.Kill)
	return s
}

func (s *steppedRig) run() {
	s.t.Helper()
	for s.e.Step(0) {
	}
	if err := s.e.Audit(); err != nil {
		s.t.Fatal(err)
	}
}
