package initiator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/link/packet"
	"goaoe/internal/sys"
)

// ConfigReply is an answer to a config query.
type ConfigReply struct {
	Target           // what the target told, with the config string after the operation
	Matched bool     // of ConfigTest and ConfigPrefix: the string fits; true for all other operations
	Cut     bool     // the target says that its string is longer than what arrived
	Refused aoe.Code // 0 unless the target refused the operation: aoe.ConfigSet when another string is there
	RTT     time.Duration
	Frame   []byte // the answer as it came, from the Ethernet header on
}

// Config does one of the operations aoe.ConfigRead, ConfigTest, ConfigPrefix, ConfigSetOp and ConfigForceSet with a string of up to
// aoe.MaxConfig bytes of any value, which ConfigRead ignores. A target answers the two tests only when they succeed, so the string is read
// too, to tell a string that does not fit (Matched is false, Config is the target's string) from a target that is not there.
// ErrConfigConflict comes with the string that the target has.
func (s *Session) Config(ctx context.Context, op uint8, str []byte) (ConfigReply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(str) > aoe.MaxConfig {
		return ConfigReply{}, fmt.Errorf("a config string of %d bytes is too long: at most %d", len(str), aoe.MaxConfig)
	}
	switch op {
	case aoe.ConfigTest, aoe.ConfigPrefix:
		return s.configTest(ctx, op, str)
	case aoe.ConfigSetOp, aoe.ConfigForceSet:
		r, err := s.config(ctx, op, str, 0)
		if repeated := s.exchange.sent > 1; errors.Is(err, ErrConfigConflict) {
			// Not every target puts its string into the refusal (kvblade and ggaoed do not).
			now, e := s.config(ctx, aoe.ConfigRead, nil, 0)
			if e != nil {
				return r, err
			}
			r.Config = now.Config
			// The answer to the first transmission may have been lost, and some targets refuse the same string the second time (qaoed).
			if repeated && bytes.Equal(now.Config, str) {
				return now, nil
			}
		}
		if err == nil && !bytes.Equal(r.Config, str) {
			return r, s.wrap(fmt.Errorf("%w: it says that its config string is %q now, where %q was set", ErrRubbish, r.Config, str))
		}
		return r, err
	}
	return s.config(ctx, op, str, 0)
}

// configTest asks whether a string fits, and what it is, in turn.
func (s *Session) configTest(ctx context.Context, op uint8, str []byte) (ConfigReply, error) {
	var read ConfigReply
	const rounds = 4 // a target that is there answered so many reads and no test: the string does not fit
	end := time.Now().Add(s.timeout)
	for seen := 0; seen < rounds; {
		r, err := s.config(ctx, op, str, 1)
		if !errors.Is(err, ErrTimeout) {
			return r, err
		}
		r, err = s.config(ctx, aoe.ConfigRead, nil, 1)
		switch {
		case err == nil:
			seen++
			if read = r; op == aoe.ConfigTest && bytes.Equal(r.Config, str) || op == aoe.ConfigPrefix && bytes.HasPrefix(r.Config, str) {
				if seen == rounds {
					return r, s.wrap(fmt.Errorf("%w: its config string is %q, and yet it does not answer that it fits", ErrRubbish, r.Config))
				}
			}
		case !errors.Is(err, ErrTimeout):
			return r, err
		case time.Now().After(end):
			return r, err
		}
	}
	read.Matched = false
	return read, nil
}

// config sends one config query. The caller holds s.mu.
func (s *Session) config(ctx context.Context, op uint8, str []byte, tries int) (ConfigReply, error) {
	f := newFrame(aoe.ConfigLen + len(str))
	c := aoe.Config{Version: aoe.Version, Op: op, String: str}
	if _, err := c.Encode(f); err != nil {
		return ConfigReply{}, err
	}
	var out ConfigReply
	rtt, err := s.do(ctx, request{cmd: aoe.CmdConfig, frame: f, tries: tries, keep: op >= aoe.ConfigSetOp, take: func(h aoe.Header, f []byte) (bool, error) {
		r, ok := configReply(h, f, s.link.Info())
		if h.Flags&aoe.FlagError != 0 {
			out = r
			if h.Code == aoe.ConfigSet {
				return true, ErrConfigConflict
			}
			return refused(h, "config query")
		}
		if !ok {
			return false, fmt.Errorf("%w: a config answer of %d bytes", ErrRubbish, len(f))
		}
		out = r
		return true, nil
	}})
	out.RTT = rtt
	if err == nil {
		s.target = out.Target
	}
	return out, err
}

// configReply reads a config answer. A string that is longer than the frame is cut to what arrived.
func configReply(h aoe.Header, f []byte, info link.Info) (ConfigReply, bool) {
	c, err := aoe.DecodeConfig(f)
	r := ConfigReply{Matched: true, Refused: h.Code, Frame: slices.Clone(f), Target: Target{Addr: h.Addr, MAC: h.Src, Interface: info.Name, MTU: info.MTU,
		Sectors: int(c.Sectors), BufferCount: int(c.BufferCount), Firmware: c.Firmware, Config: slices.Clone(c.String)}}
	if r.Sectors == 0 {
		r.Sectors = 2
	}
	if errors.Is(err, aoe.ErrLength) && len(f) > aoe.ConfigLen {
		r.Cut, r.Config = true, slices.Clone(f[aoe.ConfigLen:min(len(f), aoe.ConfigLen+int(c.Length), aoe.ConfigLen+aoe.MaxConfig)])
	}
	return r, !errors.Is(err, aoe.ErrShort)
}

// AskConfig sends one config query with any of the operations to everybody on an interface who has an address that fits addr, which may have
// wildcards, and yields the answers as they come until ctx ends: refusals too (see ConfigReply.Refused). Nothing is repeated: an operation that sets a
// string is done once by each target that gets it. tag is what the request carries in the low 31 bits of its tag; a negative one means any.
func AskConfig(ctx context.Context, iface string, addr aoe.Addr, op uint8, str []byte, tag int64) iter.Seq2[ConfigReply, error] {
	return func(yield func(ConfigReply, error) bool) {
		l, err := packet.Open(iface, packet.Options{RingBytes: 1 << 20})
		if err != nil {
			yield(ConfigReply{}, err)
			return
		}
		err = askConfig(ctx, l, addr, op, str, tag, func(r ConfigReply) bool { return yield(r, nil) })
		if err = errors.Join(err, l.Close()); err != nil {
			yield(ConfigReply{}, err)
		}
	}
}

func askConfig(ctx context.Context, l link.Link, addr aoe.Addr, op uint8, str []byte, tag int64, each func(ConfigReply) bool) error {
	f := newFrame(aoe.ConfigLen + len(str))
	if tag < 0 {
		tag = int64(rand.Uint32() >> 1)
	}
	h := aoe.Header{Dst: aoe.Broadcast, Src: l.Info().MAC, Version: aoe.Version, Addr: addr, Cmd: aoe.CmdConfig, Tag: ownTag | uint32(tag)}
	if _, err := h.Encode(f); err != nil {
		return err
	}
	c := aoe.Config{Version: aoe.Version, Op: op, String: str}
	if _, err := c.Encode(f); err != nil {
		return err
	}
	wake, err := sys.NewEventFD()
	if err != nil {
		return err
	}
	defer func() { _ = wake.Close() }()
	defer wakeAt(ctx, wake)()
	sent := time.Now()
	if err := l.Inject(f); err != nil {
		return fmt.Errorf("asking on %s: %w", l.Info().Name, err)
	}
	var frames [64]link.Frame
	fds := []unix.PollFd{{Fd: int32(l.FD()), Events: unix.POLLIN}, {Fd: int32(wake.FD()), Events: unix.POLLIN}}
	for ctx.Err() == nil {
		if !l.Pending() {
			if _, err := sys.Poll(fds, -1); err != nil {
				return fmt.Errorf("waiting on %s: %w", l.Info().Name, err)
			}
			if k, ok := l.(link.Checker); ok && fds[0].Revents&unix.POLLERR != 0 {
				if err := k.Check(); err != nil {
					return err
				}
			}
		}
		n := l.Recv(frames[:])
		more := true
		for i := 0; i < n && more; i++ {
			f := frames[i].Data
			if !aoe.IsAoE(f) {
				continue
			}
			a, err := aoe.DecodeHeader(f)
			if err != nil || a.Flags&aoe.FlagResponse == 0 || a.Cmd != aoe.CmdConfig || a.Tag != h.Tag || a.Addr.Wild() || !addr.Match(a.Addr) || a.Dst != l.Info().MAC {
				continue
			}
			if r, ok := configReply(a, f, l.Info()); ok || a.Flags&aoe.FlagError != 0 {
				r.RTT = time.Since(sent)
				more = each(r)
			}
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
