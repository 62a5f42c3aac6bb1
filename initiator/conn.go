package initiator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/link"
	"goaoe/internal/sys"
)

const (
	slotBits = 7
	maxSlots = 1 << slotBits // requests outstanding at most
	// ownTag is set in all our tags: the Linux driver on the same machine leaves such replies to others.
	ownTag = 1 << 31
	genMax = 1<<(31-slotBits) - 1
)

// op is one call of a user: done when all its frames are.
type op struct {
	pending int
	err     error
	done    chan struct{}
	reply   *aoe.ATA // where the registers of the reply go; nil when nobody asks
}

// exchange is one request that is outstanding, from its first transmission to its answer.
type exchange struct {
	busy        bool
	first, last uint32 // generations of its tags: a reply to any of its transmissions answers it
	frame       []byte // the request; Ethernet, AoE and ATA headers, and the data of a write
	write       bool
	start, end  uint64 // sectors
	into        []byte // where a read's data goes; nil when the caller has gone
	op          *op    // nil when the caller has gone
	sent        time.Time
	begun       time.Time
	tries       int
	why         error // what the target said last, when it was that it cannot answer now
}

// quiet is a range of sectors that must be left alone for a while: a copy of a repeated write may still be on its way.
type quiet struct {
	start, end uint64
	until      time.Time
}

// conn is the way to one target over one interface.
type conn struct {
	link    link.Link
	target  Target
	timeout time.Duration

	mu       sync.Mutex
	room     *sync.Cond // something finished
	slots    [maxSlots]exchange
	inflight int
	window   int // requests outstanding at most, by congestion
	limit    int // and by what the target takes
	grown    int // answers since the window last changed
	rtt      rtt
	wakeAt   time.Time // when the receiver looks at what is overdue next; zero: not before something arrives
	resting  []quiet
	stats    Stats
	closed   bool
	failed   error

	wake *sys.EventFD
	over chan struct{}
}

func newConn(l link.Link, t Target, o Options) (*conn, error) {
	wake, err := sys.NewEventFD()
	if err != nil {
		return nil, fmt.Errorf("%v: %w", t, err)
	}
	c := &conn{link: l, target: t, timeout: o.Timeout, wake: wake, over: make(chan struct{})}
	if c.timeout <= 0 {
		c.timeout = 60 * time.Second
	}
	c.limit = min(max(t.BufferCount, 1), 64)
	if o.Window > 0 {
		c.limit = min(o.Window, maxSlots)
	}
	c.window = max(1, c.limit/2)
	c.room = sync.NewCond(&c.mu)
	c.rtt.reset()
	go c.run()
	return c, nil
}

// nudge lets those who wait in begin look at their contexts again.
func (c *conn) nudge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.room.Broadcast()
}

// begin starts one exchange for o: it waits until the window has room and no overlapping request is under way. The
// registers' opcode and address are set by the caller; data is copied, into is filled before o is done.
func (c *conn) begin(ctx context.Context, o *op, regs aoe.ATA, write bool, start, end uint64, data, into []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && c.failed == nil && ctx.Err() == nil && (c.inflight >= c.window || c.conflict(write, start, end)) {
		c.room.Wait()
	}
	if err := errors.Join(c.dead(), ctx.Err()); err != nil {
		return err
	}
	i := 0
	for c.slots[i].busy {
		i++
	}
	s := &c.slots[i]
	n := aoe.ATALen + len(data)
	if cap(s.frame) < max(n, aoe.MinFrame) {
		s.frame = make([]byte, max(n, aoe.MinFrame, c.target.MTU+aoe.EtherLen))
	}
	s.frame = s.frame[:cap(s.frame)]
	gen := s.last%genMax + 1
	h := aoe.Header{Dst: c.target.MAC, Src: c.link.Info().MAC, Version: aoe.Version, Addr: c.target.Addr, Cmd: aoe.CmdATA, Tag: tag(i, gen)}
	if _, err := h.Encode(s.frame); err != nil {
		return err
	}
	if _, err := regs.Encode(s.frame); err != nil {
		return err
	}
	copy(s.frame[aoe.ATALen:], data)
	s.frame = s.frame[:aoe.Pad(s.frame, n)]
	s.busy, s.first, s.last, s.write = true, gen, gen, write
	s.start, s.end, s.into, s.op = start, end, into, o
	s.begun, s.tries, s.why = time.Now(), 0, nil
	s.sent = s.begun
	c.inflight++
	o.pending++
	// A frame that the kernel does not take now is a lost frame: it is repeated like any other.
	_ = c.link.Inject(s.frame)
	if c.wakeAt.IsZero() || s.sent.Add(c.rtt.timeout(0)).Before(c.wakeAt) {
		c.wake.Signal() // the receiver may sleep longer than this request may go unanswered
	}
	return nil
}

func tag(slot int, gen uint32) uint32 { return ownTag | gen<<slotBits | uint32(slot) }

// conflict tells whether sectors meet a request under way, one of the two being a write, or ones that rest.
func (c *conn) conflict(write bool, start, end uint64) bool {
	for i := range c.slots {
		s := &c.slots[i]
		if s.busy && (write || s.write) && s.start < end && start < s.end {
			return true
		}
	}
	for i := 0; i < len(c.resting); {
		q := c.resting[i]
		if time.Now().After(q.until) {
			c.resting = append(c.resting[:i], c.resting[i+1:]...)
			continue
		}
		if q.start < end && start < q.end {
			return true
		}
		i++
	}
	return false
}

func (c *conn) dead() error {
	if c.failed != nil {
		return c.failed
	}
	if c.closed {
		return ErrClosed
	}
	return nil
}

// abandon lets go of what the caller of o no longer waits for. Its reads' buffers are not touched any more. Its
// writes stay under way, because their fate is not known.
func (c *conn) abandon(o *op, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.slots {
		s := &c.slots[i]
		if s.busy && s.op == o {
			s.op, s.into = nil, nil
		}
	}
	o.err = err
}

// run receives and repeats until the connection is closed.
func (c *conn) run() {
	defer close(c.over)
	var frames [64]link.Frame
	fds := []unix.PollFd{{Fd: int32(c.link.FD()), Events: unix.POLLIN}, {Fd: int32(c.wake.FD()), Events: unix.POLLIN}}
	for {
		c.mu.Lock()
		closed, wait := c.closed, c.repeat(time.Now())
		c.mu.Unlock()
		if closed {
			return
		}
		if !c.link.Pending() {
			if _, err := sys.Poll(fds, wait); err != nil {
				c.fail(fmt.Errorf("%v: waiting for frames: %w", c.target, err))
				return
			}
			if fds[1].Revents != 0 {
				c.wake.Drain()
			}
			if k, ok := c.link.(link.Checker); ok && fds[0].Revents&unix.POLLERR != 0 {
				_ = k.Check() // an interface that is down may come back; until then requests run into their time limit
			}
		}
		n := c.link.Recv(frames[:])
		if n == 0 {
			continue
		}
		c.mu.Lock()
		now := time.Now()
		for i := 0; i < n; i++ {
			c.receive(frames[i].Data, now)
		}
		c.mu.Unlock()
		c.link.Release()
	}
}

// receive takes one frame.
func (c *conn) receive(f []byte, now time.Time) {
	if !aoe.IsAoE(f) {
		return
	}
	h, err := aoe.DecodeHeader(f)
	if err != nil || h.Flags&aoe.FlagResponse == 0 || h.Src != c.target.MAC || h.Addr != c.target.Addr || h.Cmd != aoe.CmdATA || h.Tag&ownTag == 0 {
		return
	}
	s := &c.slots[h.Tag&(maxSlots-1)]
	gen := h.Tag &^ ownTag >> slotBits
	if !s.busy || gen < s.first || gen > s.last {
		c.stats.Unexpected++
		return
	}
	answered, fault := s.verdict(h, f)
	if !answered {
		return
	}
	if s.tries == 0 {
		c.rtt.add(now.Sub(s.sent))
		c.stats.RTT = c.rtt.mean
	} else if s.write {
		// A copy of this write may still be on its way, and must not meet newer data.
		c.rest(s, now, c.rtt.timeout(0))
	}
	c.stats.Requests++
	if c.grown++; c.window < c.limit && c.grown >= c.window/2 {
		c.window++
		c.grown = 0
	}
	c.finish(s, fault)
}

// verdict reads a reply to s: whether it settles the request, and how. What a read returned goes to its place. Of an error reply
// only the header counts: some targets send nothing else, others leave there whatever the request had.
func (s *exchange) verdict(h aoe.Header, f []byte) (answered bool, fault error) {
	if h.Flags&aoe.FlagError != 0 {
		if h.Code == aoe.Unavailable {
			s.why = ErrUnavailable // the disk may come back: repeated until the time limit
			return false, nil
		}
		return true, codeError(h.Code)
	}
	if len(f) < aoe.ATALen {
		return false, nil
	}
	regs, data, _ := aoe.DecodeATA(f) // long enough
	if s.op != nil && s.op.reply != nil {
		*s.op.reply = regs
	}
	switch opcode := s.frame[27]; {
	case regs.Command == opcode && (opcode == ata.OpFlush || opcode == ata.OpFlushExt):
		// ggaoed leaves the opcode where the status belongs, and means success
	case regs.Command&ata.StatusFailed != 0:
		return true, statusError(regs.Command, regs.Feature)
	case !s.write && s.into != nil && len(data) < len(s.into):
		return false, nil // cut short on the way: as good as lost
	default:
		copy(s.into, data)
	}
	return true, nil
}

// rest keeps others away from the sectors of s for a while.
func (c *conn) rest(s *exchange, now time.Time, d time.Duration) {
	c.resting = append(c.resting, quiet{s.start, s.end, now.Add(d)})
	time.AfterFunc(d+time.Millisecond, c.nudge)
}

// finish frees an exchange and tells its caller.
func (c *conn) finish(s *exchange, fault error) {
	o := s.op
	s.busy, s.op, s.into = false, nil, nil
	c.inflight--
	c.room.Broadcast()
	if o == nil {
		return
	}
	if fault != nil && o.err == nil {
		o.err = fault
	}
	if o.pending--; o.pending == 0 {
		close(o.done)
	}
}

// repeat sends again what is overdue, and returns how long to wait for the next, in nanoseconds; -1: for ever.
func (c *conn) repeat(now time.Time) int64 {
	c.wakeAt = time.Time{}
	if c.inflight == 0 {
		return -1
	}
	next := time.Hour
	for i := range c.slots {
		s := &c.slots[i]
		if !s.busy {
			continue
		}
		if now.Sub(s.begun) > c.timeout {
			if s.write {
				// Nobody knows what became of it: a copy may be in a queue somewhere.
				c.rest(s, now, maxRTO)
			}
			why := ErrTimeout
			if s.why != nil {
				why = s.why
			}
			c.finish(s, fmt.Errorf("%w: %d transmissions in %v", why, s.tries+1, c.timeout))
			continue
		}
		left := c.rtt.timeout(s.tries) - now.Sub(s.sent)
		if left > 0 {
			next = min(next, left)
			continue
		}
		s.tries++
		s.sent = now
		c.stats.Retransmits++
		c.window, c.grown = max(1, c.window/2), 0
		if !s.write {
			// A read gets a fresh tag. A write keeps its own, so that a target can see that it is the same one.
			s.last++
			if s.last > genMax {
				s.first, s.last = 1, 1
			}
			t := tag(i, s.last)
			s.frame[20], s.frame[21], s.frame[22], s.frame[23] = byte(t>>24), byte(t>>16), byte(t>>8), byte(t)
		}
		_ = c.link.Inject(s.frame)
		next = min(next, c.rtt.timeout(s.tries))
	}
	c.wakeAt = now.Add(next)
	return int64(next)
}

// fail ends everything that is under way with err.
func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = err
	for i := range c.slots {
		if s := &c.slots[i]; s.busy {
			c.finish(s, err)
		}
	}
	c.room.Broadcast()
}

// close ends the connection; what is under way fails with ErrClosed.
func (c *conn) close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.wake.Signal()
	c.mu.Unlock()
	<-c.over
	c.fail(ErrClosed)
	err := c.link.Close()
	_ = c.wake.Close()
	return err
}
