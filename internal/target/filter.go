package target

import (
	"goaoe/aoe"
	"goaoe/internal/stats"
)

// Request is a received frame whose header was read. One Request can be used for any number of frames in turn; it
// holds no memory of its own.
type Request struct {
	Src     aoe.MAC
	Addr    aoe.Addr // as sent: each half may be the wildcard
	Version uint8    // not checked by Parse: what to answer depends on the target
	Cmd     aoe.Command
	Tag     uint32
	Frame   []byte // the whole frame; the caller's memory, which must stay as it is until Handle has returned
}

// set takes over what counts of a header.
func (r *Request) set(h *aoe.Header) {
	r.Src, r.Addr, r.Version, r.Cmd, r.Tag = h.Src, h.Addr, h.Version, h.Cmd, h.Tag
}

// vidMask are the bits of a VLAN tag that hold the VLAN's number.
const vidMask = 0x0fff

// Parse reads a frame and does the part of the receive filter that does not depend on the target, in this order: length, EtherType, VLAN,
// destination, source, R flag. tagged and tci describe a VLAN tag that the kernel took out of the frame. When the result
// is not NoDrop the frame is to be counted and forgotten, and r is not valid.
//
// Frames for foreign destinations must be looked for: a packet socket sees them on a bridge, a veth or in promiscuous mode.
// Frames tagged for a VLAN without an interface of its own arrive on the parent interface with the tag stripped; answering
// them would answer on the wrong network. VLAN 0 is the untagged network with a priority. Replies are never answered, and
// neither is a source that is a group, nobody, or ourselves: two targets could otherwise keep each other busy for ever.
func (r *Request) Parse(frame []byte, tagged bool, tci uint16, in *Ingress) stats.Drop {
	if len(frame) < aoe.HeaderLen {
		return stats.DropShort
	}
	if !aoe.IsAoE(frame) {
		return stats.DropEtherType
	}
	if tagged && tci&vidMask != 0 {
		return stats.DropVLAN
	}
	var h aoe.Header
	if h.Decode(frame) != nil {
		return stats.DropShort
	}
	if h.Dst != in.MAC && h.Dst != aoe.Broadcast {
		return stats.DropDest
	}
	if h.Src.IsGroup() || h.Src.IsZero() || h.Src == in.MAC {
		return stats.DropSource
	}
	if h.Flags&aoe.FlagResponse != 0 {
		return stats.DropResponse
	}
	r.set(&h)
	r.Frame = frame
	return stats.NoDrop
}
