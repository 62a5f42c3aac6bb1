package initiator

import (
	"context"
	"fmt"
	"slices"

	"goaoe/aoe"
)

// MaskError is how a target refuses to edit its MAC mask list. What came before the directive is done.
type MaskError struct {
	Code  uint8 // aoe.MaskUnspecified, MaskBadDirective, MaskFull
	Index int   // of the directive that failed, from 0
}

// Error implements error.
func (e *MaskError) Error() string {
	what := "for no stated reason"
	switch e.Code {
	case aoe.MaskBadDirective:
		what = "because it does not know it"
	case aoe.MaskFull:
		what = "because its list is full"
	}
	return fmt.Sprintf("the target refuses directive %d %s; those before it are done", e.Index+1, what)
}

// MaskRead returns the target's MAC mask list; an empty one means that it serves everybody.
func (s *Session) MaskRead(ctx context.Context) ([]aoe.MAC, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mask(ctx, aoe.MaskRead, nil)
}

// MaskEdit adds and deletes members of the MAC mask list, in order, and returns the list that results. A *MaskError says that the
// target stopped at a directive. The list is held against what was asked: a target that says yes and did something else (vblade does) gives
// ErrRubbish, with the list that it has.
func (s *Session) MaskEdit(ctx context.Context, edits []aoe.Directive) ([]aoe.MAC, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if room := aoe.MaskCapacity(s.target.MTU); len(edits) > room {
		return nil, fmt.Errorf("%d changes do not fit a frame: at most %d", len(edits), room)
	}
	list, err := s.mask(ctx, aoe.MaskEdit, edits)
	if err != nil {
		return list, err
	}
	last := map[aoe.MAC]uint8{}
	for _, e := range edits {
		last[e.MAC] = e.Cmd
	}
	for _, e := range edits {
		if has := slices.Contains(list, e.MAC); last[e.MAC] == aoe.MaskAdd && !has {
			return list, s.wrap(fmt.Errorf("%w: it was told to add %v and agreed, and its list is %v", ErrRubbish, e.MAC, list))
		} else if last[e.MAC] == aoe.MaskDelete && has {
			return list, s.wrap(fmt.Errorf("%w: it was told to delete %v and agreed, and its list is %v", ErrRubbish, e.MAC, list))
		}
	}
	return list, nil
}

// mask sends one MAC mask command. The caller holds s.mu.
func (s *Session) mask(ctx context.Context, op uint8, edits []aoe.Directive) ([]aoe.MAC, error) {
	f := newFrame(aoe.MaskLen + aoe.DirectiveLen*len(edits))
	m := aoe.Mask{Op: op, Count: uint8(len(edits))}
	if _, err := m.Encode(f); err != nil {
		return nil, err
	}
	for i, e := range edits {
		if _, err := aoe.PutDirective(f, i, e); err != nil {
			return nil, err
		}
	}
	const what = "MAC mask list"
	var list []aoe.MAC
	_, err := s.do(ctx, request{cmd: aoe.CmdMask, frame: f, keep: op == aoe.MaskEdit, silent: s.unheard(ctx, what), take: func(h aoe.Header, f []byte) (bool, error) {
		if h.Flags&aoe.FlagError != 0 {
			return refused(h, what)
		}
		m, entries, err := aoe.DecodeMask(f)
		if m.Error != aoe.MaskOK && len(f) >= aoe.MaskLen {
			return true, &MaskError{Code: m.Error, Index: int(m.Count)}
		}
		if err != nil {
			return false, fmt.Errorf("%w: a MAC mask list of %d entries in a frame of %d bytes", ErrRubbish, m.Count, len(f))
		}
		list = list[:0]
		for i := range int(m.Count) {
			list = append(list, aoe.MaskDirective(entries, i).MAC)
		}
		return true, nil
	}})
	return list, err
}

// ReserveRead returns the target's reserve list; an empty one means that nobody holds it.
func (s *Session) ReserveRead(ctx context.Context) ([]aoe.MAC, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reserve(ctx, aoe.ReserveRead, nil)
}

// Reserve replaces the reserve list by macs: only these may use the disk then. No macs releases it. It fails with ErrReserved, and returns the
// holders, when others hold it. The list may leave out this machine, which then cannot change it any more.
func (s *Session) Reserve(ctx context.Context, macs []aoe.MAC) ([]aoe.MAC, error) {
	return s.reserveAs(ctx, aoe.ReserveSet, macs)
}

// ForceReserve is Reserve whoever holds it.
func (s *Session) ForceReserve(ctx context.Context, macs []aoe.MAC) ([]aoe.MAC, error) {
	return s.reserveAs(ctx, aoe.ReserveForce, macs)
}

func (s *Session) reserveAs(ctx context.Context, op uint8, macs []aoe.MAC) ([]aoe.MAC, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if room := aoe.ReserveCapacity(s.target.MTU); len(macs) > room {
		return nil, fmt.Errorf("%d addresses do not fit a frame: at most %d", len(macs), room)
	}
	list, err := s.reserve(ctx, op, macs)
	if err != nil && s.exchange.sent > 1 && sameSet(list, macs) && len(macs) > 0 {
		// The answer to the first transmission was lost, and the second came when the list had left this machine out.
		return list, nil
	}
	if err == nil && !sameSet(list, macs) {
		return list, s.wrap(fmt.Errorf("%w: its reserve list is %v now, where %v was set", ErrRubbish, list, macs))
	}
	return list, err
}

func sameSet(a, b []aoe.MAC) bool {
	for _, m := range a {
		if !slices.Contains(b, m) {
			return false
		}
	}
	for _, m := range b {
		if !slices.Contains(a, m) {
			return false
		}
	}
	return true
}

// reserve sends one reserve command. The caller holds s.mu.
func (s *Session) reserve(ctx context.Context, op uint8, macs []aoe.MAC) ([]aoe.MAC, error) {
	f := newFrame(aoe.ReserveLen + aoe.MACLen*len(macs))
	if _, err := aoe.EncodeReserve(f, op, macs); err != nil {
		return nil, err
	}
	const what = "reservation"
	var list []aoe.MAC
	_, err := s.do(ctx, request{cmd: aoe.CmdReserve, frame: f, keep: op != aoe.ReserveRead, silent: s.unheard(ctx, what), take: func(h aoe.Header, f []byte) (bool, error) {
		r, entries, err := aoe.DecodeReserve(f)
		if err == nil {
			list = list[:0]
			for i := range int(r.Count) {
				list = append(list, aoe.ReserveMAC(entries, i))
			}
		}
		if h.Flags&aoe.FlagError != 0 {
			return refused(h, what)
		}
		if err != nil {
			return false, fmt.Errorf("%w: a reserve list of %d entries in a frame of %d bytes", ErrRubbish, r.Count, len(f))
		}
		return true, nil
	}})
	return list, err
}
