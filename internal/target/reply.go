package target

import (
	"goaoe/aoe"
	"goaoe/internal/stats"
)

// Replies are built from nothing: no byte of a request or of an earlier reply gets into one unless a rule says so.

func silent(d stats.Drop) Action { return Action{Kind: Silent, Drop: d} }

// header writes the 24 byte header of a reply to req. A code other than 0 makes it an error reply.
func (e *Export) header(req *Request, in *Ingress, b []byte, code aoe.Code) {
	h := aoe.Header{
		Dst: req.Src, Src: in.MAC, Version: aoe.Version, Flags: aoe.FlagResponse, Code: code,
		Addr: e.addr, Cmd: req.Cmd, Tag: req.Tag,
	}
	if code != 0 {
		h.Flags |= aoe.FlagError
	}
	_, _ = h.Encode(b) // b is a reply buffer, which always has room
}

// fail builds an AoE error reply without an argument.
func (e *Export) fail(req *Request, in *Ingress, b []byte, code aoe.Code) Action {
	e.header(req, in, b, code)
	return Action{Kind: Reply, N: aoe.Pad(b, aoe.HeaderLen), rejected: true}
}

// finish pads a reply of n bytes.
func finish(b []byte, n int) Action { return Action{Kind: Reply, N: aoe.Pad(b, n)} }

// room is the longest frame that may be sent: what the interface takes and the buffer holds.
func room(in *Ingress, b []byte) int { return min(aoe.EtherLen+in.MTU, len(b)) }
