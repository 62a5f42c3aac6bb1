package mem

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/store"
)

// Event is one line of the log: an operation was submitted, or took effect and completed.
type Event struct {
	Seq     int // number of the operation, from 1 in the order of Submit
	Done    bool
	Kind    store.Kind
	Off     int64 // bytes
	Len     int64 // bytes
	Durable bool
	Errno   unix.Errno // with Done: the result
	User    uint32
}

// Control makes a memory store misbehave. Its methods may be called from any goroutine at any time. The zero value is not
// usable: see NewControl. A write takes effect at the moment it completes, never earlier, so operations that overlap in
// flight show in the data as well as in Overlaps.
type Control struct {
	mu    sync.Mutex
	rng   *rand.Rand
	s     *Store
	turns func(op *store.Op) int
	sleep func(op *store.Op) time.Duration
	hold  func(op *store.Op) bool
	fails []failure

	seq      int
	inflight []*pending // in the order of Submit
	free     []*pending
	overlaps []Overlap
	logging  bool
	log      []Event

	durable []byte   // image that survives a crash; nil until TrackDurable
	written []uint64 // per sector: seq clock of the last completed write that is not durable, 0 when clean
	clock   uint64
}

type failure struct {
	kind     store.Kind
	off, end int64
	errno    unix.Errno
	left     int // how many times yet; under 0: always
}

// pending is what the Control keeps of an operation in flight.
type pending struct {
	op   *store.Op
	c    *channel
	seq  int
	held bool
	mark uint64 // Flush: the clock when it was submitted
}

// Overlap tells of two operations that were in flight at the same time on the same sectors, one of them at least a write
// or discard. Numbers are Event.Seq.
type Overlap struct{ First, Second int }

// NewControl returns a Control whose random decisions come from seed. It changes nothing until told to, except that it
// records overlaps.
func NewControl(seed uint64) *Control {
	return &Control{rng: rand.New(rand.NewPCG(seed, 0x676f616f65))}
}

func (c *Control) attach(s *Store) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s != nil {
		return errors.New("memory store: the Control already belongs to another store")
	}
	c.s = s
	return nil
}

// Rand returns a number from 0 to n-1 from the seed, for delay and hold functions that want to be reproducible.
// Call it only from inside such a function (the Control is locked then).
func (c *Control) Rand(n int) int { return c.rng.IntN(n) }

// DelayTurns lets an operation complete only after f(op) further calls of Reap: delays without a clock, for simulation.
// Operations whose time has come complete in the order their delays end. A nil f ends it.
func (c *Control) DelayTurns(f func(op *store.Op) int) { c.mu.Lock(); c.turns = f; c.mu.Unlock() }

// Shuffle delays each operation by 0 to turns calls of Reap, drawn from the seed: a random order of completion.
func (c *Control) Shuffle(turns int) {
	c.DelayTurns(func(*store.Op) int { return c.rng.IntN(turns + 1) })
}

// DelayTime lets an operation complete only after a time by the clock. A nil f ends it.
func (c *Control) DelayTime(f func(op *store.Op) time.Duration) {
	c.mu.Lock()
	c.sleep = f
	c.mu.Unlock()
}

// Hold keeps the operations for which f says so in flight, from their Submit until Release or ReleaseIf lets them go. A nil f
// ends holding new ones; those held stay held.
func (c *Control) Hold(f func(op *store.Op) bool) { c.mu.Lock(); c.hold = f; c.mu.Unlock() }

// HoldAll holds everything (true) or nothing new (false). HoldAll(true) is a disk that hangs.
func (c *Control) HoldAll(on bool) {
	if on {
		c.Hold(func(*store.Op) bool { return true })
	} else {
		c.Hold(nil)
	}
}

// Release lets the n oldest held operations go (n under 0: all) and returns how many that were.
func (c *Control) Release(n int) int {
	return c.ReleaseIf(func(Event) bool {
		if n == 0 {
			return false
		}
		n--
		return true
	})
}

// ReleaseIf lets those held operations go for which f says so, asked from the oldest on, and returns how many that were.
func (c *Control) ReleaseIf(f func(Event) bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := 0
	for _, p := range c.inflight {
		if p.held && f(p.event(false)) {
			p.held = false
			p.c.x.post(p.op)
			count++
		}
	}
	return count
}

// Held returns the operations held now, oldest first.
func (c *Control) Held() []Event { return c.events(func(p *pending) bool { return p.held }) }

// InFlight returns all operations that did not complete yet, oldest first.
func (c *Control) InFlight() []Event { return c.events(func(*pending) bool { return true }) }

func (c *Control) events(f func(*pending) bool) []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Event
	for _, p := range c.inflight {
		if f(p) {
			out = append(out, p.event(false))
		}
	}
	return out
}

// Fail makes operations of kind (0: of every kind) that touch the n bytes at off fail with errno, times times (0: always). A
// failing operation touches nothing. Flush has no place: any range hits it when its kind is named.
func (c *Control) Fail(kind store.Kind, off, n int64, errno unix.Errno, times int) {
	if times == 0 {
		times = -1
	}
	c.mu.Lock()
	c.fails = append(c.fails, failure{kind, off, off + n, errno, times})
	c.mu.Unlock()
}

// Heal ends all failures.
func (c *Control) Heal() { c.mu.Lock(); c.fails = nil; c.mu.Unlock() }

// Overlaps returns the pairs of operations that were in flight together on the same sectors though one of them writes. An engine
// that orders overlapping requests produces none.
func (c *Control) Overlaps() []Overlap {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Overlap(nil), c.overlaps...)
}

// KeepLog starts (true) or ends the log. The log grows without limit.
func (c *Control) KeepLog(on bool) { c.mu.Lock(); c.logging = on; c.mu.Unlock() }

// Log returns the log so far.
func (c *Control) Log() []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Event(nil), c.log...)
}

func (p *pending) event(done bool) Event {
	_, n := span(p.op)
	return Event{p.seq, done, p.op.Kind, p.op.Off, n, p.op.Durable, p.op.Errno, p.op.User}
}

// span returns where op acts, in bytes.
func span(op *store.Op) (off, n int64) {
	switch op.Kind {
	case store.Read, store.Write:
		return op.Off, int64(len(op.Buf))
	case store.Discard:
		return op.Off, op.Len
	}
	return op.Off, 0
}

// submit takes an operation in: log, overlaps, then hold, time or turns.
func (c *Control) submit(ch *channel, op *store.Op) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	p := c.newPending()
	*p = pending{op: op, c: ch, seq: c.seq, mark: c.clock}
	off, n := span(op)
	for _, q := range c.inflight {
		qoff, qn := span(q.op)
		if (op.Kind != store.Read || q.op.Kind != store.Read) && off < qoff+qn && qoff < off+n {
			c.overlaps = append(c.overlaps, Overlap{q.seq, p.seq})
		}
	}
	c.inflight = append(c.inflight, p)
	if c.logging {
		c.log = append(c.log, p.event(false))
	}
	if c.hold != nil && c.hold(op) {
		p.held = true
		return
	}
	if c.sleep != nil {
		if d := c.sleep(op); d > 0 {
			time.AfterFunc(d, func() { ch.x.post(op) })
			return
		}
	}
	turns := 0
	if c.turns != nil {
		turns = c.turns(op)
	}
	if turns > 0 {
		ch.x.slow = append(ch.x.slow, slowOp{op, turns})
		return
	}
	ch.x.push(op)
}

func (c *Control) newPending() *pending {
	if n := len(c.free); n > 0 {
		p := c.free[n-1]
		c.free = c.free[:n-1]
		return p
	}
	return new(pending)
}

// run lets op take effect and forgets it.
func (c *Control) run(s *Store, op *store.Op) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := 0
	for c.inflight[i].op != op {
		i++
	}
	p := c.inflight[i]
	c.inflight = append(c.inflight[:i], c.inflight[i+1:]...)
	if op.Errno = c.failing(op); op.Errno == 0 {
		s.apply(op)
	}
	if op.Errno == 0 {
		c.settle(p)
	}
	if c.logging {
		c.log = append(c.log, p.event(true))
	}
	c.free = append(c.free, p)
}

// failing returns the errno that Fail asked for.
func (c *Control) failing(op *store.Op) unix.Errno {
	off, n := span(op)
	for i := range c.fails {
		f := &c.fails[i]
		hit := off < f.end && f.off < off+n
		if op.Kind == store.Flush {
			hit = f.kind == store.Flush
		}
		if hit && f.left != 0 && (f.kind == 0 || f.kind == op.Kind) {
			if f.left > 0 {
				f.left--
			}
			return f.errno
		}
	}
	return 0
}
