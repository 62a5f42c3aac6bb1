package initiator

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/link/packet"
	"goaoe/internal/sys"
)

// SessionOptions are the settings of a Session. The zero value is good.
type SessionOptions struct {
	// Timeout is how long a request is repeated before it fails with ErrTimeout; 0 means 5 s.
	Timeout time.Duration
}

const (
	sessionTimeout = 5 * time.Second
	// sessionRTO is when a request of a session is repeated first; then after twice that, and so on.
	sessionRTO = 100 * time.Millisecond
	// rubbishMax is after how many malformed answers to one request no better one is expected.
	rubbishMax = 3
)

// Session sends commands that are no disk I/O to one target over one interface, one at a time: config strings, MAC masks,
// reservations, IDENTIFY, SMART, echo requests. Its methods may be called by several goroutines; each waits for its turn.
type Session struct {
	link    link.Link
	target  Target
	timeout time.Duration
	wake    *sys.EventFD

	mu       sync.Mutex
	counter  uint32
	frames   [64]link.Frame
	strange  []aoe.MAC     // who answered in the target's place
	slow     time.Duration // the slowest answer so far
	exchange exchanges
}

// exchanges counts the transmissions of the present request.
type exchanges struct{ sent int }

// Dial returns a session with a target that Discover found. Of t the address, the MAC and the interface matter. With a MAC of zero
// requests go to everybody (broadcast), and the first target that answers under the address is spoken to. Nothing is sent.
func Dial(t Target, o SessionOptions) (*Session, error) {
	if t.Addr.Wild() {
		return nil, fmt.Errorf("%v: an exact address is needed", t.Addr)
	}
	// Opened by the caller's own thread: that is the one whose network namespace counts.
	l, err := packet.Open(t.Interface, packet.Options{RingBytes: 1 << 20})
	if err != nil {
		return nil, err
	}
	s, err := dial(l, t, o)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return s, nil
}

// dial makes a session over a link, which belongs to it if that succeeds.
func dial(l link.Link, t Target, o SessionOptions) (*Session, error) {
	wake, err := sys.NewEventFD()
	if err != nil {
		return nil, fmt.Errorf("%v: %w", t, err)
	}
	info := l.Info()
	t.Interface, t.MTU = info.Name, info.MTU
	s := &Session{link: l, target: t, timeout: o.Timeout, wake: wake, counter: rand.Uint32()}
	if s.timeout <= 0 {
		s.timeout = sessionTimeout
	}
	return s, nil
}

// Target returns whom the session speaks to. After a config query it holds what the target told of itself.
func (s *Session) Target() Target {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.target
}

// Strangers returns the MAC addresses that answered requests to the target in its place.
func (s *Session) Strangers() []aoe.MAC {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.strange)
}

// Close ends the session. No method may run.
func (s *Session) Close() error { return errors.Join(s.link.Close(), s.wake.Close()) }

// request is one command: its frame without the tag, and what is done with answers.
type request struct {
	cmd   aoe.Command
	frame []byte // from the Ethernet header on, padded; the header is filled in by do
	// keep says that all transmissions have the same tag: the command changes something, and a target that knows what it
	// did already can tell by it.
	keep bool
	// take gets each answer, error replies too. It tells whether the request is answered by it, and how it ends. The frame is valid until it returns.
	take func(h aoe.Header, frame []byte) (done bool, err error)
	// tries is after how many transmissions it fails; 0 means that only time counts.
	tries int
	// silent is called instead of failing when nothing was answered in time.
	silent func() error
}

// newFrame makes room for a request of n bytes, at least aoe.MinFrame.
func newFrame(n int) []byte { return make([]byte, max(n, aoe.MinFrame)) }

func (s *Session) nextTag() uint32 {
	s.counter++
	return ownTag | s.counter&^uint32(ownTag)
}

func (s *Session) header(cmd aoe.Command, tag uint32) aoe.Header {
	h := aoe.Header{Dst: s.target.MAC, Src: s.link.Info().MAC, Version: aoe.Version, Addr: s.target.Addr, Cmd: cmd, Tag: tag}
	if h.Dst.IsZero() {
		h.Dst = aoe.Broadcast
	}
	return h
}

// do sends a request until it is answered or its time is over, and returns how long the answer took. The caller holds s.mu.
func (s *Session) do(ctx context.Context, r request) (time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	defer wakeAt(ctx, s.wake)()
	s.exchange = exchanges{}
	var (
		end   = time.Now().Add(s.timeout)
		next  = time.Now()
		wait  = min(max(sessionRTO, 3*s.slow), maxRTO)
		tag   uint32 // of the first transmission
		sent  []time.Time
		bad   int
		why   error // what the last answer said that did not answer it
		other aoe.MAC
	)
	for {
		now := time.Now()
		if !now.Before(end) || r.tries > 0 && len(sent) == r.tries && !now.Before(next) {
			return 0, s.gaveUp(r, why, other)
		}
		if !now.Before(next) && (r.tries == 0 || len(sent) < r.tries) {
			t := tag
			if len(sent) == 0 || !r.keep {
				if t = s.nextTag(); len(sent) == 0 {
					tag = t
				}
			}
			h := s.header(r.cmd, t)
			if _, err := h.Encode(r.frame); err != nil {
				return 0, err
			}
			if err := s.link.Inject(r.frame); err != nil && !errors.Is(err, link.ErrFull) {
				return 0, s.wrap(err)
			}
			sent = append(sent, now)
			s.exchange.sent = len(sent)
			next, wait = now.Add(wait), min(2*wait, maxRTO)
		}
		if err := s.poll(ctx, minTime(next, end)); err != nil {
			return 0, err
		}
		n := s.link.Recv(s.frames[:])
		got := time.Now()
		for _, f := range s.frames[:n] {
			h, ok := s.mine(f.Data, r.cmd)
			if !ok {
				continue
			}
			i := (h.Tag - tag) &^ uint32(ownTag)
			if h.Tag&ownTag == 0 || i >= uint32(len(sent)) || r.keep && i > 0 {
				continue
			}
			if !s.from(h.Src) {
				other = h.Src
				continue
			}
			done, err := r.take(h, f.Data)
			switch {
			case done:
				s.link.Release()
				if s.target.MAC.IsZero() {
					s.target.MAC = h.Src
				}
				rtt := got.Sub(sent[i])
				s.slow = max(s.slow, rtt)
				return rtt, s.wrap(err)
			case errors.Is(err, ErrRubbish):
				if bad++; bad >= rubbishMax {
					s.link.Release()
					return 0, s.wrap(err)
				}
				why = err
			case err != nil:
				why = err
			}
		}
		if n > 0 {
			s.link.Release()
		}
	}
}

// poll waits until frames are there, the time has come, or ctx has ended, which is its error.
func (s *Session) poll(ctx context.Context, until time.Time) error {
	if !s.link.Pending() {
		fds := []unix.PollFd{{Fd: int32(s.link.FD()), Events: unix.POLLIN}, {Fd: int32(s.wake.FD()), Events: unix.POLLIN}}
		if _, err := sys.Poll(fds, int64(max(time.Until(until), 0))); err != nil {
			return s.wrap(fmt.Errorf("waiting for frames: %w", err))
		}
		if fds[1].Revents != 0 {
			s.wake.Drain()
		}
		if k, ok := s.link.(link.Checker); ok && fds[0].Revents&unix.POLLERR != 0 {
			if err := k.Check(); err != nil {
				return s.wrap(err)
			}
		}
	}
	return ctx.Err()
}

// mine tells whether a frame is an answer under the target's address to a command of this machine.
func (s *Session) mine(f []byte, cmd aoe.Command) (aoe.Header, bool) {
	if !aoe.IsAoE(f) {
		return aoe.Header{}, false
	}
	h, err := aoe.DecodeHeader(f)
	return h, err == nil && h.Flags&aoe.FlagResponse != 0 && h.Cmd == cmd && h.Addr == s.target.Addr && h.Dst == s.link.Info().MAC
}

// from tells whether a MAC is the target's, and keeps it if not.
func (s *Session) from(m aoe.MAC) bool {
	if m == s.target.MAC || s.target.MAC.IsZero() {
		return true
	}
	if !slices.Contains(s.strange, m) && len(s.strange) < 16 {
		s.strange = append(s.strange, m)
	}
	return false
}

// gaveUp is the error of a request that was not answered.
func (s *Session) gaveUp(r request, why error, other aoe.MAC) error {
	switch {
	case why != nil:
		return s.wrap(why)
	case !other.IsZero():
		return s.wrap(fmt.Errorf("%w: answers under its address come from %v instead", ErrTimeout, other))
	case r.silent != nil:
		return r.silent()
	}
	return s.wrap(ErrTimeout)
}

// wrap puts the target before an error.
func (s *Session) wrap(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if s.target.MAC.IsZero() {
		return fmt.Errorf("%v on %s: %w", s.target.Addr, s.target.Interface, err)
	}
	return fmt.Errorf("%v: %w", s.target, err)
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// refused is what an error reply means for a command that is no ATA command; answered says that it ends the request.
func refused(h aoe.Header, what string) (answered bool, err error) {
	switch h.Code {
	case aoe.BadCommand:
		return true, fmt.Errorf("%s: %w: %w", what, ErrUnsupported, h.Code)
	case aoe.Unavailable: // it may come back while the request is repeated
		return false, fmt.Errorf("%s: %w: %w", what, ErrUnavailable, h.Code)
	}
	return true, fmt.Errorf("%s: %w", what, codeError(h.Code))
}

// unheard makes request.silent of a command that some targets ignore: it asks whether the target is there at all.
func (s *Session) unheard(ctx context.Context, what string) func() error {
	return func() error {
		if _, err := s.config(ctx, aoe.ConfigRead, nil, 3); err != nil {
			return s.wrap(ErrTimeout)
		}
		return s.wrap(fmt.Errorf("%s: %w: the target answers config queries, but does not answer this", what, ErrUnsupported))
	}
}

// wakeAt signals when ctx ends. The caller calls release before it may close wake: no signal comes after that.
func wakeAt(ctx context.Context, wake *sys.EventFD) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { wake.Signal(); close(done) })
	return func() {
		if !stop() {
			<-done
		}
	}
}
