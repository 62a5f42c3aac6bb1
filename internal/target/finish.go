package target

import (
	"goaoe/aoe"
	"goaoe/ata"
)

// Finish builds the reply to a request that Handle answered with IO, when the storage is done. reqHdr are the first 36 bytes of the
// request, io what Handle returned, res how it went. failedLBA is the first sector that could not be read, if that is
// known (haveFailedLBA). hdr must hold 64 bytes; of a read that succeeded only its first 36 are written, so that the data
// may already lie behind them.
//
// A read that succeeded returns 36 and the length of the data that the caller sends behind it; everything else is a whole frame of
// 60 bytes, and no data. Nothing of the data of a read that failed may be sent. 0, 0 means that reqHdr or hdr is too short.
//
// A write that failed tells DF besides ERR: that the disk is at fault, not the request. A flush that failed does the same.
func (e *Export) Finish(reqHdr []byte, in *Ingress, io IOSpec, res Result, failedLBA uint64, haveFailedLBA bool, hdr []byte) (hdrLen, dataLen int) {
	if res == OK && io.Kind != IOFlush && len(hdr) >= aoe.MinFrame { // most are that
		n, err := aoe.Answer(hdr, reqHdr, &in.MAC, e.addr, ata.StatusOK)
		switch {
		case err != nil:
			return 0, 0
		case io.Kind == IORead:
			return n, io.Count * ata.SectorSize
		}
		return aoe.Pad(hdr, n), 0
	}
	var h aoe.Header
	var r regs
	if _, err := r.Decode(reqHdr); err != nil || len(hdr) < aoe.MinFrame || h.Decode(reqHdr) != nil {
		return 0, 0
	}
	var req Request
	req.set(&h)
	r.op = ata.Lookup(r.Command)
	if res != OK {
		return e.finishFailed(&req, in, io, res, failedLBA, haveFailedLBA, hdr, &r), 0
	}
	e.registers(&req, in, hdr, &r, ata.StatusOK, 0, 0)
	if r.op.Class == ata.SetFeatures {
		e.set(flagWriteCache, false) // it may have been turned on while the flush ran: off wins until it is asked for again
	}
	return aoe.Pad(hdr, aoe.ATALen), 0
}

func (e *Export) finishFailed(req *Request, in *Ingress, io IOSpec, res Result, failedLBA uint64, known bool, hdr []byte, r *regs) int {
	if res != NoSpace && res != ReadOnly {
		e.set(flagFailing, true)
	}
	status, code := byte(ata.StatusFault), byte(ata.ErrABRT)
	switch {
	case res == Gone:
		return e.fail(req, in, hdr, aoe.Unavailable).N
	case io.Kind == IORead:
		status, code = ata.StatusError, ata.ErrUNC
		if known && r.op.Ext {
			ata.PutLBA48(&r.LBA, failedLBA)
		} else if known {
			ata.PutLBA28(&r.LBA, failedLBA)
		}
	case res == ReadOnly:
		status = ata.StatusError
	}
	e.registers(req, in, hdr, r, status, code, r.Count)
	return aoe.Pad(hdr, aoe.ATALen)
}
