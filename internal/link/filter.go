package link

import (
	"slices"

	"goaoe/aoe"
)

// Offsets in an AoE frame that a filter looks at, from the Ethernet destination address on, and the R (response) flag.
const (
	offFlags = 14
	offMajor = 16
	offMinor = 18
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
// A frame too short to have an address is not wanted.
func (f *Filter) Wants(frame []byte) bool {
	if f == nil {
		return true
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
