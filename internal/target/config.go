package target

import (
	"bytes"
	"errors"

	"goaoe/aoe"
	"goaoe/internal/stats"
)

// config answers a config query. The two tests answer what does not match, and what is malformed, with silence: that is how a
// client asks all targets "who has this string".
func (e *Export) config(req *Request, in *Ingress, b []byte, st *State, acc *Access, persist func(*State) error) Action {
	c, err := aoe.DecodeConfig(req.Frame)
	if errors.Is(err, aoe.ErrShort) {
		return silent(stats.DropShort)
	}
	setting := c.Op == aoe.ConfigSetOp || c.Op == aoe.ConfigForceSet
	if setting && !acc.CfgSet.check(req.Src) || !setting && !acc.CfgRead.check(req.Src) {
		return silent(stats.DropAccess)
	}
	switch c.Op {
	case aoe.ConfigRead: // whatever the request has for length and string
	case aoe.ConfigTest, aoe.ConfigPrefix:
		if err != nil {
			return silent(stats.DropArgument)
		}
		if c.Op == aoe.ConfigTest && !bytes.Equal(st.Config, c.String) || !bytes.HasPrefix(st.Config, c.String) {
			return silent(stats.DropCompare)
		}
	case aoe.ConfigSetOp, aoe.ConfigForceSet:
		if err != nil {
			return e.fail(req, in, b, aoe.BadArgument)
		}
		if persist == nil {
			return Action{Kind: Defer}
		}
		same := bytes.Equal(st.Config, c.String)
		if c.Op == aoe.ConfigSetOp && len(st.Config) > 0 && !same {
			return e.configReply(req, in, b, st, c.Op, aoe.ConfigSet)
		}
		if !same {
			next := *st
			next.Config = bytes.Clone(c.String)
			if !e.change(&next, persist) {
				return e.fail(req, in, b, aoe.Unavailable)
			}
			st = &next
		}
	default:
		return e.fail(req, in, b, aoe.BadArgument)
	}
	return e.configReply(req, in, b, st, c.Op, 0)
}

// configReply builds a reply with the current string. The error ConfigSet has it too, so that the loser sees who won.
func (e *Export) configReply(req *Request, in *Ingress, b []byte, st *State, op uint8, code aoe.Code) Action {
	c := e.configArgument(in, st, op)
	if aoe.ConfigLen+len(c.String) > room(in, b) { // cannot be on an interface with MinMTU
		return e.fail(req, in, b, aoe.Unavailable)
	}
	e.header(req, in, b, code)
	n, err := c.Encode(b)
	if err != nil {
		return e.fail(req, in, b, aoe.Unavailable)
	}
	a := finish(b, n)
	a.Reject = reasonOf(code)
	return a
}

// configArgument is what a config query reply on this interface says.
func (e *Export) configArgument(in *Ingress, st *State, op uint8) aoe.Config {
	n := in.MaxSectors
	if n <= 0 {
		n = aoe.AdvertisedSectors(in.MTU)
	}
	return aoe.Config{
		BufferCount: e.BufferCount(),
		Firmware:    e.cfg.FirmwareVersion,
		Sectors:     uint8(min(max(n, 1), aoe.MaxCount)), // 0 would mean 2 to some and nothing to others
		Version:     aoe.Version,
		Op:          op,
		String:      st.Config,
	}
}
