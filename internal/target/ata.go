package target

import (
	"math/bits"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/stats"
)

// regs is the register file of a request, with what is known of its opcode.
type regs struct {
	aoe.ATA
	op   ata.Op
	data []byte // what follows the registers, padding included
}

// ata answers an ATA command or turns it into a storage operation. The order of its checks is: reservation, wildcard, opcode,
// read-only and access lists, count, payload, range. A request that fails any of them changes nothing.
//
// Refusals are ATA errors and not AoE errors: Linux only logs an AoE error and goes on repeating the request until it fails the
// whole disk, but takes an ATA error as the end of that one request. The exceptions are reservation, and a disk that is gone.
func (e *Export) ata(req *Request, in *Ingress, b []byte, st *State, acc *Access, act *Action) {
	var r regs
	var err error
	if r.data, err = r.Decode(req.Frame); err != nil {
		act.Drop = stats.DropShort
		return
	}
	r.op = ata.Lookup(r.Command)
	if r.op.Class == ata.Identify {
		*act = e.identify(req, in, b, acc, &r)
		return
	}
	if reservedFor(st, req.Src) {
		*act = e.fail(req, in, b, aoe.Reserved)
		return
	}
	if req.Addr.Wild() { // one broadcast write would hit every disk of the network
		act.Drop = stats.DropWildcard
		return
	}
	if r.op.Modifies() {
		if e.has(flagReadOnly) {
			*act = e.refuse(req, in, b, &r, ata.ErrABRT, stats.RejectReadOnly)
			return
		}
		if !acc.Write.check(req.Src) {
			*act = e.refuse(req, in, b, &r, ata.ErrABRT, stats.RejectAccess)
			return
		}
	}
	switch r.op.Class {
	case ata.Read, ata.Verify:
		if !acc.Read.check(req.Src) {
			*act = e.refuse(req, in, b, &r, ata.ErrABRT, stats.RejectAccess)
			return
		}
		e.transfer(req, in, b, &r, act)
	case ata.Write:
		e.transfer(req, in, b, &r, act)
	case ata.Flush:
		if e.cfg.ReadOnly { // nothing was ever written
			*act = e.done(req, in, b, &r)
			return
		}
		act.Kind, act.IO.Kind = IO, IOFlush
	case ata.DataSet:
		*act = e.trim(req, in, b, &r)
	default:
		*act = e.noData(req, in, b, &r)
	}
}

// transfer is the one place where a read or write of the disk is let through: what it returns as IO lies inside the export, has
// its data, and its reply fits the interface. The opcode alone decides the direction and the width of the address: clients
// do not always set the flags right, and a path probe of Linux is a read with a payload.
func (e *Export) transfer(req *Request, in *Ingress, b []byte, r *regs, act *Action) {
	count := int(r.Count)
	if count == 0 {
		*act = e.refuse(req, in, b, r, ata.ErrABRT, stats.RejectArgument)
		return
	}
	if r.op.Class != ata.Verify && count > aoe.PhysicalSectors(in.MTU) {
		if count <= aoe.PhysicalSectors(in.Before) { // it was right when it was made, and may yet be answered: on another path, or when the MTU is what it was
			act.Drop = stats.DropSend
			return
		}
		*act = e.refuse(req, in, b, r, ata.ErrABRT, stats.RejectArgument)
		return
	}
	if r.op.Class == ata.Write && len(r.data) < count*ata.SectorSize {
		*act = e.refuse(req, in, b, r, ata.ErrABRT, stats.RejectArgument)
		return
	}
	lba, ok := ata.Address(r.LBA, r.op.Ext, r.Flags&aoe.ATAExtended != 0)
	if !ok || !ata.InRange(lba, uint64(count), e.sectors.Load()) {
		*act = e.refuse(req, in, b, r, ata.ErrIDNF, stats.RejectRange)
		return
	}
	switch r.op.Class {
	case ata.Verify:
		*act = e.done(req, in, b, r)
		return
	case ata.Write:
		act.IO.Kind, act.IO.Durable = IOWrite, r.op.FUA || !e.has(flagWriteCache)
	default:
		act.IO.Kind = IORead
	}
	act.Kind, act.IO.LBA, act.IO.Count = IO, lba, count
}

// trim checks DATA SET MANAGEMENT: one block of ranges (word 105 of IDENTIFY says so), all inside the export or nothing is done.
func (e *Export) trim(req *Request, in *Ingress, b []byte, r *regs) Action {
	if !e.cfg.Discard || r.Feature != ata.FeatureTrim || r.Count != 1 || len(r.data) < ata.SectorSize {
		return e.refuse(req, in, b, r, ata.ErrABRT, stats.RejectArgument)
	}
	if !ata.TrimInRange(r.data[:ata.SectorSize], e.sectors.Load()) {
		return e.refuse(req, in, b, r, ata.ErrIDNF, stats.RejectRange)
	}
	return Action{Kind: IO, IO: IOSpec{Kind: IODiscard, Count: 1}}
}

// DiscardRange returns range i of the payload of an IODiscard, as Handle has checked it. count 0 is an unused entry, to be skipped; ok
// is false behind the last.
func DiscardRange(payload []byte, i int) (lba uint64, count int, ok bool) {
	return ata.TrimRange(payload, i)
}

// identify answers IDENTIFY DEVICE: without looking at the disk, under any address, while reserved, whatever the count.
func (e *Export) identify(req *Request, in *Ingress, b []byte, acc *Access, r *regs) Action {
	if !acc.Read.check(req.Src) {
		return e.refuse(req, in, b, r, ata.ErrABRT, stats.RejectAccess)
	}
	n := aoe.ATALen + 512
	if n > room(in, b) {
		return e.refuse(req, in, b, r, ata.ErrABRT, stats.RejectUnavailable)
	}
	e.registers(req, in, b, r, ata.StatusOK, 0, 0)
	e.Identify((*[512]byte)(b[aoe.ATALen:n]))
	return finish(b, n)
}

// noData answers what needs no storage.
func (e *Export) noData(req *Request, in *Ingress, b []byte, r *regs) Action {
	switch r.op.Class {
	case ata.Power:
		return e.done(req, in, b, r)
	case ata.CheckPower:
		e.registers(req, in, b, r, ata.StatusOK, 0, 0xff) // active or idle
		return finish(b, aoe.ATALen)
	case ata.NativeMax:
		last := max(e.sectors.Load(), 1) - 1
		if r.op.Ext {
			ata.PutLBA48(&r.LBA, last)
		} else {
			ata.PutLBA28(&r.LBA, min(last, ata.MaxLBA28))
		}
		return e.done(req, in, b, r)
	case ata.SetMultiple:
		if r.Count > 128 || bits.OnesCount8(r.Count) > 1 {
			return e.refuse(req, in, b, r, ata.ErrABRT, stats.RejectArgument)
		}
		e.multiple.Store(uint32(r.Count))
		return e.done(req, in, b, r)
	case ata.SetFeatures:
		return e.setFeatures(req, in, b, r)
	case ata.SMART:
		return e.smart(req, in, b, r)
	}
	return e.refuse(req, in, b, r, ata.ErrABRT, stats.RejectCommand)
}

// setFeatures answers SET FEATURES. The settings are the export's, not the sender's.
//
// Turning the write cache off takes effect at once, for all writes that come after; the reply waits until what was
// acknowledged before is durable (Finish). It flushes even when the cache is off already: a repetition
// must not be answered before the original is done.
func (e *Export) setFeatures(req *Request, in *Ingress, b []byte, r *regs) Action {
	switch r.Feature {
	case ata.FeatureWriteCacheOn:
		if !e.has(flagCacheAllowed) {
			return e.refuse(req, in, b, r, ata.ErrABRT, stats.RejectCommand)
		}
		e.set(flagWriteCache, true)
	case ata.FeatureWriteCacheOff:
		e.set(flagWriteCache, false)
		if e.has(flagCacheAllowed) && !e.cfg.ReadOnly {
			return Action{Kind: IO, IO: IOSpec{Kind: IOFlush}}
		}
	case ata.FeatureLookAheadOn:
		e.set(flagLookAhead, true)
	case ata.FeatureLookAheadOff:
		e.set(flagLookAhead, false)
	case ata.FeatureTransferMode, ata.FeatureAPMOn, ata.FeatureAPMOff, ata.FeatureKeep, ata.FeatureRevert:
	default:
		return e.refuse(req, in, b, r, ata.ErrABRT, stats.RejectCommand)
	}
	return e.done(req, in, b, r)
}

// done builds the reply of a command that succeeded and returns no data.
func (e *Export) done(req *Request, in *Ingress, b []byte, r *regs) Action {
	e.registers(req, in, b, r, ata.StatusOK, 0, 0)
	return finish(b, aoe.ATALen)
}

// refuse builds an ATA error: count and address as in the request.
func (e *Export) refuse(req *Request, in *Ingress, b []byte, r *regs, code uint8, why stats.Reject) Action {
	e.registers(req, in, b, r, ata.StatusError, code, r.Count)
	a := finish(b, aoe.ATALen)
	a.Reject = why
	return a
}

// registers writes header and registers of a reply.
func (e *Export) registers(req *Request, in *Ingress, b []byte, r *regs, status, code, count uint8) {
	e.header(req, in, b, 0)
	out := aoe.ATA{Flags: r.Flags, Feature: code, Count: count, Command: status, LBA: r.LBA}
	_, _ = out.Encode(b)
}
