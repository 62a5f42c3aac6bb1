package link

import (
	"encoding/binary"
	"slices"

	"goaoe/aoe"
)

// Offsets in an AoE frame that a filter looks at, from the Ethernet destination address on, and the R (response) flag.
const (
	offFlags = 14
	offMajor = 16
	offMinor = 18
	offCmd   = 19
	offTag   = 20
	flagR    = 0x08
)

// Wants is the rule that SetFilter asks for, in plain Go: links that filter in another way are tested against it. frame
// starts at the Ethernet destination address. A nil filter wants everything. Otherwise a frame is wanted
//
//   - when it is a request (R flag clear) and its address names one of f.Addrs, exactly or by a wildcard in either half
//     (so a filter without addresses wants nothing at all);
//   - when it is a response sent to everybody (broadcast) by one of the exact addresses of f.Addrs: another target
//     announces itself under an address of ours, which somebody should be told.
//
// With f.Replies a frame is wanted when it is a response (R flag set) that these are about.
//
// A frame too short to have what is looked at is not wanted.
func (f *Filter) Wants(frame []byte) bool {
	if f == nil {
		return true
	}
	if f.Replies != nil {
		return f.Replies.wants(frame)
	}
	if len(frame) <= offMinor {
		return false
	}
	a := aoe.Addr{Major: uint16(frame[offMajor])<<8 | uint16(frame[offMajor+1]), Minor: frame[offMinor]}
	if frame[offFlags]&flagR != 0 {
		return aoe.MAC(frame[:6]) == aoe.Broadcast && f.has(a)
	}
	return f.wantsAddr(a)
}

func (f *Filter) has(a aoe.Addr) bool {
	_, ok := slices.BinarySearchFunc(f.Addrs, a, func(x, y aoe.Addr) int { return int(x.Key()) - int(y.Key()) })
	return ok
}

func (f *Filter) wantsAddr(a aoe.Addr) bool {
	if !a.Wild() {
		return f.has(a)
	}
	for _, t := range f.Addrs {
		if a.Match(t) {
			return true
		}
	}
	return false
}

func (r *Replies) wants(frame []byte) bool {
	if len(frame) <= offCmd || frame[offFlags]&flagR == 0 || frame[offMinor] != r.Addr.Minor || binary.BigEndian.Uint16(frame[offMajor:]) != r.Addr.Major {
		return false
	}
	switch aoe.Command(frame[offCmd]) {
	case aoe.CmdConfig:
		return true
	case aoe.CmdATA:
		return len(frame) >= offTag+4 && binary.BigEndian.Uint32(frame[offTag:])&r.Mask == r.Tag
	}
	return false
}
