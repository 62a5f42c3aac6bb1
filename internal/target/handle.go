package target

import (
	"slices"

	"goaoe/aoe"
	"goaoe/internal/stats"
)

// Handle decides what a request that passed Parse means for this export. reply is where a reply is built: at least 14 + MTU
// bytes, and 1600 or more; it is only valid up to Action.N, and with Kind Reply. Nothing of the request is kept.
//
// A Defer is only returned for a well-formed request that may change the State; it must be given to Commit, which
// looks at it again.
func (e *Export) Handle(req *Request, in *Ingress, reply []byte) Action {
	return e.count(e.dispatch(req, in, reply, nil))
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
	act := e.count(e.dispatch(&req, in, reply, persist))
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
func (e *Export) dispatch(req *Request, in *Ingress, reply []byte, persist func(*State) error) Action {
	if !req.Addr.Match(e.addr) {
		return silent(stats.DropAddress)
	}
	st := e.state.Load()
	if len(st.Mask) > 0 && !slices.Contains(st.Mask, req.Src) {
		return silent(stats.DropMask)
	}
	acc := e.access.Load()
	if !acc.All.check(req.Src) {
		return silent(stats.DropAccess)
	}
	if req.Version != aoe.Version && !e.cfg.AnyVersion {
		if req.Addr.Wild() {
			return silent(stats.DropVersion)
		}
		return e.fail(req, in, reply, aoe.BadVersion)
	}
	switch req.Cmd {
	case aoe.CmdATA:
		return e.ata(req, in, reply, st, acc)
	case aoe.CmdConfig:
		return e.config(req, in, reply, st, acc, persist)
	case aoe.CmdMask:
		return e.mask(req, in, reply, st, persist)
	case aoe.CmdReserve:
		return e.reserve(req, in, reply, st, persist)
	}
	if req.Addr.Wild() {
		return silent(stats.DropCommand)
	}
	return e.fail(req, in, reply, aoe.BadCommand)
}

// count adds an outcome to the export's counters.
func (e *Export) count(a Action) Action {
	switch {
	case a.Kind == Silent:
		e.Stats.Drops[a.Drop].Inc()
	case a.Reject != stats.NoReject:
		e.Stats.Rejects[a.Reject].Inc()
	case a.Kind == Reply:
		e.Stats.Others.Inc()
	}
	return a
}

// change makes a new State durable and publishes it.
func (e *Export) change(s *State, persist func(*State) error) bool {
	if persist(s) != nil {
		return false
	}
	e.state.Store(s)
	return true
}
