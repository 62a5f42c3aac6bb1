package target

import (
	"errors"
	"slices"

	"goaoe/aoe"
	"goaoe/internal/stats"
)

// mask answers a MAC mask list command. Directives are applied in their order; one that fails stops the rest, and those before it
// stay applied. That is answered by the command's own error byte and not by an AoE error.
func (e *Export) mask(req *Request, in *Ingress, b []byte, st *State, persist func(*State) error) Action {
	m, dirs, err := aoe.DecodeMask(req.Frame)
	if errors.Is(err, aoe.ErrShort) {
		return silent(stats.DropShort)
	}
	switch m.Op {
	case aoe.MaskRead: // the count of the request means nothing
		return e.maskReply(req, in, b, st, aoe.Mask{Op: m.Op})
	case aoe.MaskEdit:
	default:
		return e.fail(req, in, b, aoe.BadArgument)
	}
	if err != nil {
		return e.fail(req, in, b, aoe.BadArgument)
	}
	if persist == nil {
		return Action{Kind: Defer}
	}
	list, merr, at := editMask(st.Mask, dirs, int(m.Count), min(MaxMask, aoe.MaskCapacity(in.MTU)))
	if !slices.Equal(list, st.Mask) {
		next := *st
		next.Mask = list
		if !e.change(&next, persist) {
			return e.fail(req, in, b, aoe.Unavailable)
		}
		st = &next
	}
	return e.maskReply(req, in, b, st, aoe.Mask{Op: m.Op, Error: merr, Count: uint8(at)})
}

// editMask applies n directives to a copy of list, which may grow to capacity. It returns the result, and for a directive that
// failed the reason and its index.
func editMask(list []aoe.MAC, dirs []byte, n, capacity int) (out []aoe.MAC, merr uint8, at int) {
	out = slices.Clone(list)
	for i := range n {
		d := aoe.MaskDirective(dirs, i)
		at := slices.Index(out, d.MAC)
		switch d.Cmd {
		case aoe.MaskNone:
		case aoe.MaskAdd:
			if at >= 0 {
				continue
			}
			if len(out) >= capacity {
				return out, aoe.MaskFull, i
			}
			out = append(out, d.MAC)
		case aoe.MaskDelete:
			if at >= 0 {
				out = slices.Delete(out, at, at+1)
			}
		default:
			return out, aoe.MaskBadDirective, i
		}
	}
	return out, aoe.MaskOK, 0
}

// maskReply builds a reply: with the list, or when m has an error without. A list that came by an interface with a larger MTU and
// does not fit this one is not cut short, which would look like a shorter list: the reply has the error "unspecified".
func (e *Export) maskReply(req *Request, in *Ingress, b []byte, st *State, m aoe.Mask) Action {
	if m.Error == aoe.MaskOK {
		if n := len(st.Mask); n > 255 || aoe.MaskLen+n*aoe.DirectiveLen > room(in, b) {
			m.Error, m.Count = aoe.MaskUnspecified, 0
		} else {
			m.Count = uint8(n)
		}
	}
	e.header(req, in, b, 0)
	n, _ := m.Encode(b)
	if m.Error == aoe.MaskOK {
		for i, mac := range st.Mask {
			n, _ = aoe.PutDirective(b, i, aoe.Directive{MAC: mac})
		}
	}
	return finish(b, n)
}
