package target

import (
	"errors"
	"slices"

	"goaoe/aoe"
	"goaoe/internal/stats"
)

// reserve answers a reserve/release command. A list may be replaced by who is in it, by anybody when it is empty, and by force. The
// new list need not hold its sender; an empty one releases.
func (e *Export) reserve(req *Request, in *Ingress, b []byte, st *State, persist func(*State) error) Action {
	r, macs, err := aoe.DecodeReserve(req.Frame)
	if errors.Is(err, aoe.ErrShort) {
		return silent(stats.DropShort)
	}
	switch r.Op {
	case aoe.ReserveRead: // the count of the request means nothing
		return e.reserveReply(req, in, b, st, r.Op, 0)
	case aoe.ReserveSet, aoe.ReserveForce:
	default:
		return e.fail(req, in, b, aoe.BadArgument)
	}
	if err != nil || int(r.Count) > min(MaxReserve, aoe.ReserveCapacity(in.MTU)) {
		return e.fail(req, in, b, aoe.BadArgument)
	}
	if persist == nil {
		return Action{Kind: Defer}
	}
	if r.Op == aoe.ReserveSet && reservedFor(st, req.Src) {
		return e.reserveReply(req, in, b, st, r.Op, aoe.Reserved)
	}
	list := make([]aoe.MAC, r.Count)
	for i := range list {
		list[i] = aoe.ReserveMAC(macs, i)
	}
	if !slices.Equal(list, st.Reserve) {
		next := *st
		next.Reserve = list
		if !e.change(&next, persist) {
			return e.fail(req, in, b, aoe.Unavailable)
		}
		st = &next
	}
	return e.reserveReply(req, in, b, st, r.Op, 0)
}

// reservedFor tells whether a reservation keeps src out.
func reservedFor(st *State, src aoe.MAC) bool {
	return len(st.Reserve) > 0 && !slices.Contains(st.Reserve, src)
}

// reserveReply builds a reply with the current list. The error Reserved has it too, so that the loser sees the holder. A list that
// came by an interface with a larger MTU and does not fit this one is left out of an error, and a read of it is an error.
func (e *Export) reserveReply(req *Request, in *Ingress, b []byte, st *State, op uint8, code aoe.Code) Action {
	if aoe.ReserveLen+len(st.Reserve)*aoe.MACLen > room(in, b) {
		if code == 0 {
			code = aoe.BadArgument
		}
		return e.fail(req, in, b, code)
	}
	e.header(req, in, b, code)
	n, err := aoe.EncodeReserve(b, op, st.Reserve)
	if err != nil {
		return e.fail(req, in, b, aoe.BadArgument)
	}
	a := finish(b, n)
	a.Reject = reasonOf(code)
	return a
}
