package target

import (
	"slices"

	"goaoe/aoe"
)

// Announcement writes the frame by which a target makes itself known without being asked: a config query reply with tag 0 to dst. It is sent
// on every interface when the target starts, the interface comes up or changes its MTU, and the size changes; Linux then sees
// the disk at once and not only at its next query. buf is as for Handle; the frame's length is returned, or 0 when it does
// not fit.
func (e *Export) Announcement(in *Ingress, dst aoe.MAC, buf []byte) int {
	req := Request{Src: dst, Cmd: aoe.CmdConfig}
	a := e.configReply(&req, in, buf, e.state.Load(), aoe.ConfigRead, 0)
	if a.rejected {
		return 0
	}
	return a.N
}

// AnnounceTo appends to buf whom an announcement is to be sent to: everybody by broadcast, or one by one those who can see the target,
// when a MAC mask list or a list of who is accepted says who that is. It may append nobody.
func (e *Export) AnnounceTo(buf []aoe.MAC) []aoe.MAC {
	st, acc := e.state.Load(), e.access.Load()
	if len(st.Mask) > 0 {
		for _, m := range st.Mask {
			if acc.All.Allows(m) {
				buf = append(buf, m)
			}
		}
		return buf
	}
	if members, closed := acc.All.Members(); closed && !e.cfg.Broadcast {
		return append(buf, members...)
	}
	return append(buf, aoe.Broadcast)
}

// ProbeTag is set in the tag of a Probe, so that drivers on the same machine ignore the answer.
const ProbeTag = 0x80000000

// Probe writes a query for the export's own address, to be sent before the first announcement: an answer that does not come from one of
// our interfaces means that another target has the address too, which initiators would take for a second path to the same
// disk and lose data by. random goes into the tag. The frame's length is returned, 0 when buf is shorter than 60 bytes.
func (e *Export) Probe(in *Ingress, random uint32, buf []byte) int {
	if len(buf) < aoe.MinFrame {
		return 0
	}
	h := aoe.Header{
		Dst: aoe.Broadcast, Src: in.MAC, Version: aoe.Version, Addr: e.addr, Cmd: aoe.CmdConfig, Tag: ProbeTag | random,
	}
	clear(buf[:aoe.MinFrame])
	_, _ = h.Encode(buf)
	return aoe.MinFrame
}

// AnswersProbe tells whether a received frame is another target's: a reply or announcement of a config query under the export's address
// from a MAC that is not in ours.
func (e *Export) AnswersProbe(frame []byte, ours []aoe.MAC) (src aoe.MAC, ok bool) {
	if !aoe.IsAoE(frame) {
		return aoe.MAC{}, false
	}
	h, err := aoe.DecodeHeader(frame)
	if err != nil || h.Flags&aoe.FlagResponse == 0 || h.Cmd != aoe.CmdConfig || h.Addr != e.addr {
		return aoe.MAC{}, false
	}
	return h.Src, !slices.Contains(ours, h.Src)
}
