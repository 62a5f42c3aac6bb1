package target

import (
	"slices"

	"goaoe/aoe"
	"goaoe/internal/stats"
)

// Handle decides what a request that passed Parse means for this export. reply is where a reply is built: at least 14 + MTU
// bytes, and 1600 or more; it is only valid up to Action.N, and with Kind Reply. Nothing of the request is kept. What is wanted is written to act, where a
// caller reads it field by field: a processor waits for a copy of bytes that it has just written one by one.
//
// A Defer is only returned for a well-formed request that may change the State; it must be given to Commit, which
// looks at it again.
func (e *Export) Handle(req *Request, in *Ingress, reply []byte, act *Action) {
	e.dispatch(req, in, reply, nil, act)
	e.count(act)
}

// Commit executes a request for which Handle said Defer. frame, tagged, tci and in are as for Parse; the frame may be a copy. The
// request is judged anew by the State of this moment. persist is called when the State is to change: it makes the new one
// durable, and only if it returns nil the change takes effect and is answered as done; otherwise the answer is the AoE error
// "device unavailable" and the old State stays. A nil persist keeps changes in memory only.
//
// reply is as for Handle. The reply's length is returned, or 0 and the reason why there is none.
//
// Calls for one export must not run at the same time: of two clients that set a config string one wins.
func (e *Export) Commit(frame []byte, tagged bool, tci uint16, in *Ingress, reply []byte, persist func(*State) error) (n int, drop stats.Drop) {
	var req Request
	if d := req.Parse(frame, tagged, tci, in); d != stats.NoDrop {
		return 0, d
	}
	if req.Cmd == aoe.CmdATA {
		return 0, stats.DropArgument // never deferred
	}
	if persist == nil {
		persist = func(*State) error { return nil }
	}
	var act Action
	e.dispatch(&req, in, reply, persist, &act)
	e.count(&act)
	if act.Kind != Reply {
		return 0, act.Drop
	}
	return act.N, stats.NoDrop
}

// dispatch does steps 5 to 9 of the receive filter: address, mask and access list, version, length, command. persist is nil on
// the hot path; then what changes the State is deferred.
//
// Access comes before the version, so a client that is shut out cannot see that there is a target at all. What only one target could
// be meant by gets an error; a wildcard gets silence, because one bad broadcast would make every target answer.
func (e *Export) dispatch(req *Request, in *Ingress, reply []byte, persist func(*State) error, act *Action) {
	*act = Action{}
	if !req.Addr.Match(e.addr) {
		act.Drop = stats.DropAddress
		return
	}
	st := e.state.Load()
	if len(st.Mask) > 0 && !slices.Contains(st.Mask, req.Src) {
		act.Drop = stats.DropMask
		return
	}
	acc := e.access.Load()
	if !acc.All.check(req.Src) {
		act.Drop = stats.DropAccess
		return
	}
	if req.Version != aoe.Version && !e.cfg.AnyVersion {
		if *act = silent(stats.DropVersion); !req.Addr.Wild() {
			*act = e.fail(req, in, reply, aoe.BadVersion)
		}
		return
	}
	switch req.Cmd {
	case aoe.CmdATA:
		e.ata(req, in, reply, st, acc, act)
	case aoe.CmdConfig:
		*act = e.config(req, in, reply, st, acc, persist)
	case aoe.CmdMask:
		*act = e.mask(req, in, reply, st, persist)
	case aoe.CmdReserve:
		*act = e.reserve(req, in, reply, st, persist)
	default:
		if *act = silent(stats.DropCommand); !req.Addr.Wild() {
			*act = e.fail(req, in, reply, aoe.BadCommand)
		}
	}
}

// count adds an outcome to the export's counters.
func (e *Export) count(a *Action) {
	switch {
	case a.Kind == Silent:
		e.Stats.Drops[a.Drop].Inc()
	case a.Reject != stats.NoReject:
		e.Stats.Rejects[a.Reject].Inc()
	case a.Kind == Reply:
		e.Stats.Others.Inc()
	}
}

// change makes a new State durable and publishes it.
func (e *Export) change(s *State, persist func(*State) error) bool {
	if persist(s) != nil {
		return false
	}
	e.state.Store(s)
	return true
}
