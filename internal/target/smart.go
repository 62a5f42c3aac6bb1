package target

import (
	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/stats"
)

// smart answers SMART. Replies that succeed have 512 bytes behind the registers even when the command returns no data:
// aoeping takes anything shorter for a failure. Refusals are short like all others.
func (e *Export) smart(req *Request, in *Ingress, b []byte, r *regs) Action {
	n := aoe.ATALen + 512
	if !e.cfg.Smart || r.LBA[1] != ata.SmartSigMid || r.LBA[2] != ata.SmartSigHigh || n > room(in, b) {
		return e.refuse(req, in, b, r, ata.ErrABRT, stats.RejectCommand)
	}
	if !e.has(flagSmart) && r.Feature != ata.SmartEnable {
		return e.refuse(req, in, b, r, ata.ErrABRT, stats.RejectCommand)
	}
	data := (*[512]byte)(b[aoe.ATALen:n])
	clear(data[:])
	switch r.Feature {
	case ata.SmartReadData:
		ata.SmartData(data)
	case ata.SmartReadThresholds:
		ata.SmartThresholds(data)
	case ata.SmartReadLog:
		if r.LBA[0] != 0 {
			return e.refuse(req, in, b, r, ata.ErrABRT, stats.RejectCommand)
		}
		ata.SmartLogDirectory(data)
	case ata.SmartAutosave, ata.SmartSave, ata.SmartAutoOffline, ata.SmartOffline:
	case ata.SmartEnable:
		e.set(flagSmart, true)
	case ata.SmartDisable:
		e.set(flagSmart, false)
	case ata.SmartStatus:
		if e.Failing() {
			r.LBA[1], r.LBA[2] = ata.SmartFailMid, ata.SmartFailHigh
		}
	default:
		return e.refuse(req, in, b, r, ata.ErrABRT, stats.RejectCommand)
	}
	e.registers(req, in, b, r, ata.StatusOK, 0, 0)
	return finish(b, n)
}
