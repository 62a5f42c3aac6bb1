package initiator

import (
	"context"
	"errors"
	"fmt"

	"goaoe/aoe"
	"goaoe/ata"
)

// ATA sends one command of any kind and returns the registers of the answer. data goes to the target, into is filled from what it
// answers: either may be nil, and each fits one frame. The command may be executed more than once, as lost answers are made up for by sending it again.
// A command that the disk refuses fails with ErrRefused, ErrRange or ErrMedium, with the registers as they came.
func (s *Session) ATA(ctx context.Context, regs aoe.ATA, data, into []byte) (aoe.ATA, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ata(ctx, regs, data, into)
}

// ata sends one ATA command. The caller holds s.mu.
func (s *Session) ata(ctx context.Context, regs aoe.ATA, data, into []byte) (out aoe.ATA, err error) {
	if room := aoe.EtherLen + s.target.MTU - aoe.ATALen; len(data) > room || len(into) > room {
		return out, fmt.Errorf("%d bytes do not fit a frame: at most %d", max(len(data), len(into)), room)
	}
	f := newFrame(aoe.ATALen + len(data))
	if _, err := regs.Encode(f); err != nil {
		return out, err
	}
	copy(f[aoe.ATALen:], data)
	_, err = s.do(ctx, request{cmd: aoe.CmdATA, frame: f, keep: len(data) > 0, take: func(h aoe.Header, f []byte) (bool, error) {
		if h.Flags&aoe.FlagError != 0 {
			return refused(h, "ATA command")
		}
		a, got, err := aoe.DecodeATA(f)
		if err != nil {
			return false, fmt.Errorf("%w: an ATA answer of %d bytes", ErrRubbish, len(f))
		}
		if out = a; a.Command&ata.StatusFailed != 0 {
			return true, statusError(a.Command, a.Feature)
		}
		if len(got) < len(into) {
			return false, fmt.Errorf("%w: %d bytes of data, where %d were asked for", ErrRubbish, len(got), len(into))
		}
		copy(into, got)
		return true, nil
	}})
	return out, err
}

// Identify returns what the disk tells of itself, and the 512 bytes that it comes from, in the order of the wire. When they cannot be
// understood, raw is there beside the error.
func (s *Session) Identify(ctx context.Context) (id ata.Identity, raw []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := make([]byte, SectorSize)
	regs := aoe.ATA{Count: 1, Command: ata.OpIdentify, LBA: [6]byte{3: 0xa0}}
	if _, err := s.ata(ctx, regs, nil, b); err != nil {
		return id, nil, fmt.Errorf("IDENTIFY DEVICE: %w", err)
	}
	if id, err = ata.ParseIdentify(b); err != nil {
		return id, b, s.wrap(fmt.Errorf("%w: %w", ErrRubbish, err))
	}
	return id, b, nil
}

// Smart sends one SMART command: feature is one of ata.SmartReadData etc., low the LBA register 0 (which log, which self-test). data
// and into are 512 bytes for the commands that carry data, else nil. A disk that has no SMART refuses it: ErrRefused.
func (s *Session) Smart(ctx context.Context, feature, low uint8, data, into []byte) (aoe.ATA, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	regs := aoe.ATA{Feature: feature, Command: ata.OpSMART, LBA: [6]byte{low, ata.SmartSigMid, ata.SmartSigHigh, 0xa0}}
	if len(data) > 0 || len(into) > 0 {
		regs.Count = 1
	}
	if len(data) > 0 {
		regs.Flags |= aoe.ATAWrite
	}
	return s.ata(ctx, regs, data, into)
}

// SmartStatus tells whether the disk thinks that it is healthy: false when a threshold is exceeded.
func (s *Session) SmartStatus(ctx context.Context) (healthy bool, err error) {
	r, err := s.Smart(ctx, ata.SmartStatus, 0, nil, nil)
	switch {
	case err != nil:
		return false, err
	case r.LBA[1] == ata.SmartSigMid && r.LBA[2] == ata.SmartSigHigh:
		return true, nil
	case r.LBA[1] == ata.SmartFailMid && r.LBA[2] == ata.SmartFailHigh:
		return false, nil
	}
	return false, s.wrap(fmt.Errorf("%w: RETURN STATUS with the registers %#02x %#02x", ErrRubbish, r.LBA[1], r.LBA[2]))
}

// Carries finds out whether a frame with data of that many sectors passes, to the target (IDENTIFY with so much behind it) or from it (a read of the first sectors of
// the disk, which it must be allowed to). It is sent tries times at most, until one passes. The error is of another kind than that frames are lost.
func (s *Session) Carries(ctx context.Context, sectors int, fromTarget bool, tries int) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	regs := aoe.ATA{Count: 1, Command: ata.OpIdentify, LBA: [6]byte{3: 0xa0}}
	size := aoe.ATALen + sectors*SectorSize
	into := make([]byte, SectorSize)
	if fromTarget {
		regs = aoe.ATA{Flags: aoe.ATAExtended, Count: uint8(sectors), Command: ata.OpReadExt}
		size, into = 0, make([]byte, sectors*SectorSize)
	}
	if limit := aoe.EtherLen + s.target.MTU; size > limit || aoe.ATALen+len(into) > limit {
		return false, nil
	}
	f := newFrame(size)
	if _, err := regs.Encode(f); err != nil {
		return false, err
	}
	_, err := s.do(ctx, request{cmd: aoe.CmdATA, frame: f, tries: tries, take: func(h aoe.Header, f []byte) (bool, error) {
		if h.Flags&aoe.FlagError != 0 {
			return refused(h, "ATA command")
		}
		a, got, err := aoe.DecodeATA(f)
		switch {
		case err != nil:
			return false, fmt.Errorf("%w: an ATA answer of %d bytes", ErrRubbish, len(f))
		case a.Command&ata.StatusFailed != 0:
			return true, statusError(a.Command, a.Feature)
		case len(got) < len(into):
			return true, fmt.Errorf("%w: %d bytes of data, where %d were asked for", ErrRubbish, len(got), len(into))
		}
		return true, nil
	}})
	if errors.Is(err, ErrTimeout) {
		return false, nil
	}
	return err == nil, err
}
