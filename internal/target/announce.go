package target

import (
	"goaoe/aoe"
	"goaoe/internal/stats"
)

// Announcement writes the frame by which a target makes itself known without being asked: a config query reply with tag 0 to dst. It is sent
// on every interface when the target starts, the interface comes up or changes its MTU, and the size changes; Linux then sees
// the disk at once and not only at its next query. buf is as for Handle; the frame's length is returned, or 0 when it does
// not fit.
func (e *Export) Announcement(in *Ingress, dst aoe.MAC, buf []byte) int {
	req := Request{Src: dst, Cmd: aoe.CmdConfig}
	a := e.configReply(&req, in, buf, e.state.Load(), aoe.ConfigRead, 0)
	if a.Reject != stats.NoReject {
		return 0
	}
	return a.N
}

// AnnounceTo appends to buf whom an announcement is to be sent to: everybody by broadcast, or one by one those who can see the target,
// when a MAC mask list, or a list of who is accepted or may read the config string, says who that is. It may append nobody.
func (e *Export) AnnounceTo(buf []aoe.MAC) []aoe.MAC {
	st, acc := e.state.Load(), e.access.Load()
	to := st.Mask
	if len(to) == 0 {
		all, closed := acc.All.Members()
		readers, few := acc.CfgRead.Members()
		switch {
		case e.cfg.Broadcast || !closed && !few:
			return append(buf, aoe.Broadcast)
		case closed:
			to = all
		default:
			to = readers
		}
	}
	for _, m := range to {
		if acc.All.Allows(m) && acc.CfgRead.Allows(m) {
			buf = append(buf, m)
		}
	}
	return buf
}
