package initiator

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/sys"
)

const (
	defaultWait = 2 * time.Second
	// askAgain is the time between two queries of one search: either of query and answer may be lost.
	askAgain = 250 * time.Millisecond
)

// everybody is the address of all targets.
var everybody = aoe.Addr{Major: aoe.WildMajor, Minor: aoe.WildMinor}

// Interfaces returns the names of the Ethernet interfaces that are up.
func Interfaces() ([]string, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("listing the interfaces: %w", err)
	}
	var names []string
	for _, i := range all {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0 && len(i.HardwareAddr) == 6 {
			names = append(names, i.Name)
		}
	}
	return names, nil
}

// Discover asks on each interface who is there and yields the answers as they come, each once: a target that is reached in several
// ways comes several times. It ends after Search.Wait, or with ctx when Search.Watch is set. What fails on one interface is
// yielded as an error and does not end the others.
func Discover(ctx context.Context, s Search) iter.Seq2[Target, error] {
	return func(yield func(Target, error) bool) {
		interfaces := s.Interfaces
		if len(interfaces) == 0 {
			var err error
			if interfaces, err = Interfaces(); err != nil {
				yield(Target{}, err)
				return
			}
			if len(interfaces) == 0 {
				yield(Target{}, errors.New("no Ethernet interface is up"))
				return
			}
		}
		wait := s.Wait
		if wait <= 0 {
			wait = 2 * askAgain
		}
		var cancel context.CancelFunc
		if s.Watch {
			ctx, cancel = context.WithCancel(ctx)
		} else {
			ctx, cancel = context.WithTimeout(ctx, wait)
		}
		type found struct {
			t   Target
			err error
		}
		all := make(chan found)
		var wg sync.WaitGroup
		defer func() {
			cancel()
			for range all { // until the searches have ended
			}
		}()
		send := func(f found) bool {
			select {
			case all <- f:
				return true
			case <-ctx.Done():
				return false
			}
		}
		for _, name := range interfaces {
			// Opened by the caller's own thread: that is the one whose network namespace counts.
			l, err := openLink(name)
			if err != nil {
				wg.Go(func() { send(found{err: err}) })
				continue
			}
			wg.Go(func() {
				err := search(ctx, l, s.Watch, func(t Target) bool {
					for _, a := range s.Addrs {
						if a.Match(t.Addr) {
							return send(found{t: t})
						}
					}
					return len(s.Addrs) > 0 || send(found{t: t})
				})
				if err = errors.Join(err, l.Close()); err != nil {
					send(found{err: err})
				}
			})
		}
		go func() { wg.Wait(); close(all) }()
		for f := range all {
			if !yield(f.t, f.err) {
				return
			}
		}
	}
}

// DiscoverAll is Discover with the answers collected, ordered by address, interface and MAC. What failed on single interfaces
// comes as an error beside what the others found.
func DiscoverAll(ctx context.Context, s Search) ([]Target, error) {
	var all []Target
	var errs []error
	for t, err := range Discover(ctx, s) {
		if err != nil {
			errs = append(errs, err)
		} else {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b Target) int {
		return cmp.Or(cmp.Compare(a.Addr.Key(), b.Addr.Key()), cmp.Compare(a.Interface, b.Interface), slices.Compare(a.MAC[:], b.MAC[:]))
	})
	return all, errors.Join(errs...)
}

// Of a search that goes on: how often it asks, and how many targets it remembers, so that made-up ones cost no more than that.
const (
	askWatching = 5 * time.Second
	mostSeen    = 1 << 14
)

// search asks everybody until ctx ends or each says that it has enough (false). Each target is reported once; when watching also when it says
// something else than before, and when it announces itself. An interface that is down is no error when watching: it may come back.
func search(ctx context.Context, l link.Link, watch bool, each func(Target) bool) error {
	info := l.Info()
	tag := newAskTag()
	q := make([]byte, aoe.MinFrame)
	h := aoe.Header{Dst: aoe.Broadcast, Src: info.MAC, Version: aoe.Version, Addr: everybody, Cmd: aoe.CmdConfig, Tag: tag}
	_, _ = h.Encode(q) // both fit
	_, _ = (&aoe.Config{Version: aoe.Version, Op: aoe.ConfigRead}).Encode(q)
	type way struct {
		addr aoe.Addr
		mac  aoe.MAC
	}
	seen := map[way]Target{}
	var frames [64]link.Frame
	fds := []unix.PollFd{{Fd: int32(l.FD()), Events: unix.POLLIN}}
	begin := time.Now()
	for next := begin; ctx.Err() == nil; {
		if now := time.Now(); !now.Before(next) {
			if err := l.Inject(q); err != nil && !errors.Is(err, link.ErrFull) && (!watch || !errors.Is(err, link.ErrDown)) {
				return fmt.Errorf("asking on %s: %w", info.Name, err)
			}
			if next = now.Add(askAgain); watch && now.Sub(begin) > 2*askAgain {
				next = now.Add(askWatching)
			}
		}
		wait := time.Until(next)
		if end, ok := ctx.Deadline(); ok {
			wait = min(wait, time.Until(end))
		}
		if !l.Pending() {
			// In short steps, so that a cancelled ctx is noticed.
			if _, err := sys.Poll(fds, int64(max(min(wait, 20*time.Millisecond), 0))); err != nil {
				return fmt.Errorf("waiting on %s: %w", info.Name, err)
			}
			if k, ok := l.(link.Checker); ok && fds[0].Revents&unix.POLLERR != 0 {
				_ = k.Check() // down: the next question says so
				if watch {
					time.Sleep(20 * time.Millisecond)
				}
			}
		}
		n := l.Recv(frames[:])
		more := true
		for i := 0; i < n && more; i++ {
			t, ok := answer(frames[i].Data, tag, info)
			if !ok {
				continue
			}
			w := way{t.Addr, t.MAC}
			old, known := seen[w]
			announced := aoe.MAC(frames[i].Data[:6]) == aoe.Broadcast
			if known && (!watch || !announced && old.same(&t)) {
				continue
			}
			if len(seen) >= mostSeen {
				clear(seen)
			}
			seen[w] = t
			more = each(t)
		}
		if n > 0 {
			l.Release()
		}
		if !more {
			return nil
		}
	}
	return nil
}

// same tells whether two answers of a target say the same.
func (t *Target) same(u *Target) bool {
	return t.Sectors == u.Sectors && t.BufferCount == u.BufferCount && t.Firmware == u.Firmware && bytes.Equal(t.Config, u.Config)
}

// answer reads a config reply to our query, or an announcement. vblade announces with version 0, which is let pass there.
func answer(f []byte, tag uint32, info link.Info) (Target, bool) {
	if !aoe.IsAoE(f) {
		return Target{}, false
	}
	h, err := aoe.DecodeHeader(f)
	if err != nil || h.Flags != aoe.FlagResponse || h.Cmd != aoe.CmdConfig || h.Addr.Wild() || h.Src == info.MAC ||
		h.Tag != tag && h.Tag != 0 || h.Version != aoe.Version && (h.Version != 0 || h.Tag != 0) {
		return Target{}, false
	}
	c, err := aoe.DecodeConfig(f)
	if errors.Is(err, aoe.ErrShort) {
		return Target{}, false
	}
	t := Target{Addr: h.Addr, MAC: h.Src, Interface: info.Name, MTU: info.MTU, Sectors: int(c.Sectors),
		BufferCount: int(c.BufferCount), Firmware: c.Firmware, Config: slices.Clone(c.String)}
	if t.Sectors == 0 {
		t.Sectors = 2
	}
	return t, true
}
