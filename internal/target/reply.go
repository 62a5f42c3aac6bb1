package target

import (
	"goaoe/aoe"
	"goaoe/internal/stats"
)

// Replies are built from nothing: no byte of a request or of an earlier reply gets into one unless a rule says so.

func silent(d stats.Drop) Action { return Action{Kind: Silent, Drop: d} }

// header writes the 24 byte header of a reply to req. A code other than 0 makes it an error reply.
func (e *Export) header(req *Request, in *Ingress, b []byte, code aoe.Code) {
	var h aoe.Header // filled field by field: a literal would be copied
	h.Dst, h.Src, h.Version, h.Flags, h.Code = req.Src, in.MAC, aoe.Version, aoe.FlagResponse, code
	h.Addr, h.Cmd, h.Tag = e.addr, req.Cmd, req.Tag
	if code != 0 {
		h.Flags |= aoe.FlagError
	}
	_, _ = h.Encode(b) // b is a reply buffer, which always has room
}

// fail builds an AoE error reply without an argument.
func (e *Export) fail(req *Request, in *Ingress, b []byte, code aoe.Code) Action {
	e.header(req, in, b, code)
	return Action{Kind: Reply, N: aoe.Pad(b, aoe.HeaderLen), Reject: reasonOf(code)}
}

// reasonOf is what an AoE error code says of a refusal. Not all codes have one: those are never refusals.
func reasonOf(code aoe.Code) stats.Reject {
	switch code {
	case 0:
		return stats.NoReject
	case aoe.BadVersion:
		return stats.RejectVersion
	case aoe.BadCommand:
		return stats.RejectCommand
	case aoe.BadArgument:
		return stats.RejectArgument
	case aoe.Reserved:
		return stats.RejectReserved
	case aoe.ConfigSet:
		return stats.RejectConfig
	}
	return stats.RejectUnavailable
}

// finish pads a reply of n bytes.
func finish(b []byte, n int) Action { return Action{Kind: Reply, N: aoe.Pad(b, n)} }

// room is the longest frame that may be sent: what the interface takes and the buffer holds.
func room(in *Ingress, b []byte) int { return min(aoe.EtherLen+in.MTU, len(b)) }
