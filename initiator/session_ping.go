package initiator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/link"
)

// PingKind is what an echo request asks for.
type PingKind uint8

// The kinds of echo requests. None changes anything at the target.
const (
	PingConfig   PingKind = iota // a config query: small answer, does not touch the disk
	PingIdentify                 // IDENTIFY DEVICE: 548 bytes of answer, does not touch the disk
	PingRead                     // a read of the first sectors: an answer as large as the request would be; the disk and its cache are measured too
)

// PingOptions are the settings of Session.PingMany. The zero value goes on for ever, once a second.
type PingOptions struct {
	Kind     PingKind
	Size     int           // bytes behind the Ethernet header, of the request (of the answer with PingRead); 0 means the smallest, 46
	Count    int           // requests; 0 means until ctx ends
	Interval time.Duration // between two requests; 0 means 1 s
	Flood    bool          // the next one as soon as the one before is answered or Interval is over, whose 0 means 10 ms
	Wait     time.Duration // after which a request counts as lost; 0 means 1 s
}

// Pong is what became of one echo request, or of an answer that was not expected.
type Pong struct {
	Seq   int           // from 1
	RTT   time.Duration // of an answer
	Bytes int           // of the answer behind the Ethernet header
	// Err is nil for an answer; ErrTimeout for a request that was not answered within Wait; else why it could not be sent, or how the target refused it.
	Err       error
	Duplicate bool    // the request was answered before
	Late      bool    // it had been given up
	From      aoe.MAC // who answered: not the target with Strange
	Strange   bool    // the answer came from another MAC than the target's; it does not count as one
}

// Ping sends one echo request with size bytes behind the Ethernet header (0: the smallest) and returns how long the answer took.
func (s *Session) Ping(ctx context.Context, kind PingKind, size int) (time.Duration, error) {
	var rtt time.Duration
	var err error
	e := s.PingMany(ctx, PingOptions{Kind: kind, Size: size, Count: 1, Wait: s.timeout}, func(p Pong) {
		if !p.Duplicate && !p.Strange {
			rtt, err = p.RTT, p.Err
		}
	})
	return rtt, errors.Join(e, err)
}

// pinger is the state of PingMany.
type pinger struct {
	s     *Session
	o     PingOptions
	each  func(Pong)
	frame []byte
	first uint32      // tag of request 1
	state []pingState // of the requests that a late answer may still come for, a ring by number
	sent  int
	open  int  // sent and neither answered nor lost
	check int  // requests below this number are closed
	stuck bool // the last one could not be sent
}

type pingState struct {
	seq    int
	at     time.Time
	closed bool // answered or given up
	heard  bool // answered
}

// pingWindow is how many requests back an answer is still recognised as late or a duplicate.
const pingWindow = 4096

// PingMany sends echo requests and tells each, in order of time, what became of them. It returns when all requests are answered or lost,
// or when ctx ends, which is no error: what is under way then is not reported. Frames that the interface cannot carry fail at once.
func (s *Session) PingMany(ctx context.Context, o PingOptions, each func(Pong)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.Wait <= 0 {
		o.Wait = time.Second
	}
	if o.Interval <= 0 {
		if o.Interval = time.Second; o.Flood {
			o.Interval = 10 * time.Millisecond
		}
	}
	f, err := s.pingFrame(o.Kind, o.Size)
	if err != nil {
		return err
	}
	defer wakeAt(ctx, s.wake)()
	p := &pinger{s: s, o: o, each: each, frame: f, first: s.nextTag(), state: make([]pingState, pingWindow), check: 1}
	defer func() { s.counter += uint32(p.sent) }()
	return p.run(ctx)
}

// pingFrame builds the request.
func (s *Session) pingFrame(kind PingKind, size int) ([]byte, error) {
	if limit := s.target.MTU; size > limit {
		return nil, fmt.Errorf("%d bytes do not fit a frame on %s: at most %d (its MTU)", size, s.target.Interface, limit)
	}
	regs := aoe.ATA{Count: 1, Command: ata.OpIdentify, LBA: [6]byte{3: 0xa0}}
	f := newFrame(aoe.EtherLen + size)
	switch kind {
	case PingConfig:
		c := aoe.Config{Version: aoe.Version, Op: aoe.ConfigRead}
		_, err := c.Encode(f)
		return f, err
	case PingRead:
		n := (aoe.EtherLen + size - aoe.ATALen) / SectorSize
		regs = aoe.ATA{Flags: aoe.ATAExtended, Count: uint8(min(max(n, 1), aoe.MaxCount)), Command: ata.OpReadExt}
		f = newFrame(0)
	}
	_, err := regs.Encode(f)
	return f, err
}

func (p *pinger) cmd() aoe.Command {
	if p.o.Kind == PingConfig {
		return aoe.CmdConfig
	}
	return aoe.CmdATA
}

func (p *pinger) run(ctx context.Context) error {
	next := time.Now()
	for ctx.Err() == nil {
		now := time.Now()
		p.expire(now)
		more := p.o.Count == 0 || p.sent < p.o.Count
		if !more && p.open == 0 {
			return nil
		}
		if more && (!now.Before(next) || p.o.Flood && p.open == 0 && p.sent > 0 && !p.stuck) {
			p.send(now)
			if next = next.Add(p.o.Interval); next.Before(now) {
				next = now.Add(p.o.Interval)
			}
			continue
		}
		until := now.Add(time.Hour)
		if more {
			until = next
		}
		if p.open > 0 {
			until = minTime(until, p.state[p.check%pingWindow].at.Add(p.o.Wait))
		}
		if err := p.wait(ctx, until); err != nil {
			return err
		}
	}
	return nil
}

// wait receives until something came or the time is there. An interface that is down is no reason to stop: ping shows that as loss.
func (p *pinger) wait(ctx context.Context, until time.Time) error {
	s := p.s
	switch err := s.poll(ctx, until); {
	case errors.Is(err, link.ErrDown):
		time.Sleep(min(time.Until(until), 20*time.Millisecond)) // poll may say so at once again
	case err != nil && ctx.Err() == nil:
		return err
	}
	n := s.link.Recv(s.frames[:])
	now := time.Now()
	for _, f := range s.frames[:n] {
		p.receive(f.Data, now)
	}
	if n > 0 {
		s.link.Release()
	}
	return nil
}

// send sends the next request.
func (p *pinger) send(now time.Time) {
	p.sent++
	st := &p.state[p.sent%pingWindow]
	if st.seq > 0 && !st.closed { // so far back that its time is over
		p.lose(st)
	}
	*st = pingState{seq: p.sent, at: now}
	p.open++
	h := p.s.header(p.cmd(), ownTag|(p.first+uint32(p.sent-1))&^uint32(ownTag))
	_, err := h.Encode(p.frame)
	if err == nil {
		err = p.s.link.Inject(p.frame)
	}
	p.stuck = err != nil
	if err != nil {
		st.closed = true
		p.open--
		p.advance()
		p.each(Pong{Seq: p.sent, Err: p.s.wrap(err)})
	}
}

// expire gives up what is unanswered for too long.
func (p *pinger) expire(now time.Time) {
	for p.open > 0 {
		st := &p.state[p.check%pingWindow]
		if now.Sub(st.at) < p.o.Wait {
			return
		}
		p.lose(st)
	}
}

func (p *pinger) lose(st *pingState) {
	st.closed = true
	p.open--
	p.advance()
	p.each(Pong{Seq: st.seq, Err: ErrTimeout})
}

// advance moves check to the first request that is open.
func (p *pinger) advance() {
	for p.check <= p.sent && p.state[p.check%pingWindow].closed && p.state[p.check%pingWindow].seq == p.check {
		p.check++
	}
}

// receive takes one frame.
func (p *pinger) receive(f []byte, now time.Time) {
	h, ok := p.s.mine(f, p.cmd())
	seq := int((h.Tag-p.first)&^uint32(ownTag)) + 1
	if !ok || h.Tag&ownTag == 0 || seq > p.sent {
		return
	}
	st := &p.state[seq%pingWindow]
	if st.seq != seq {
		return // too long ago
	}
	pong := Pong{Seq: seq, RTT: now.Sub(st.at), Bytes: len(f) - aoe.EtherLen, From: h.Src}
	switch {
	case !p.s.from(h.Src):
		pong.Strange = true
		p.each(pong)
		return
	case st.heard:
		pong.Duplicate = true
	case st.closed:
		pong.Late = true
	}
	switch a, data, err := aoe.DecodeATA(f); {
	case h.Flags&aoe.FlagError != 0:
		_, pong.Err = refused(h, "echo request")
	case p.o.Kind == PingConfig:
		if len(f) < aoe.ConfigLen {
			pong.Err = fmt.Errorf("%w: a config answer of %d bytes", ErrRubbish, len(f))
		}
	case err == nil && a.Command&ata.StatusFailed != 0:
		pong.Err = statusError(a.Command, a.Feature)
	case err != nil || len(data) < SectorSize:
		pong.Err = fmt.Errorf("%w: an ATA answer of %d bytes", ErrRubbish, len(f))
	}
	st.heard = true
	if !st.closed {
		st.closed = true
		p.open--
		p.advance()
	}
	p.each(pong)
}
