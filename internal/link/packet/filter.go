package packet

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/link"
)

const (
	accept = 0xffffffff // bytes of the frame that the socket gets
	drop   = 0

	// Bounds of the sets below, so that a program stays under the kernel's 4096 instructions: a range costs at most six.
	maxKeys    = 384
	maxShelves = 160
	maxProgram = 4096
)

// span is a range of values, both ends included.
type span struct{ lo, hi uint32 }

// spans turns sorted values into the fewest ranges that hold exactly them. Equal values may repeat.
func spans(sorted []uint32) []span {
	var out []span
	for _, v := range sorted {
		if n := len(out); n > 0 && v <= out[n-1].hi+1 {
			out[n-1].hi = v
			continue
		}
		out = append(out, span{v, v})
	}
	return out
}

// coarsen joins neighbours across the smallest gaps until at most limit ranges are left. It holds all the values it held
// before, and the fewest others.
func coarsen(s []span, limit int) []span {
	if len(s) <= limit {
		return s
	}
	gaps := make([]uint32, 0, len(s)-1)
	for i := 1; i < len(s); i++ {
		gaps = append(gaps, s[i].lo-s[i-1].hi)
	}
	sorted := slices.Sorted(slices.Values(gaps))
	small := sorted[len(s)-limit-1] // join gaps below this, and as many equal to it as are needed
	need := len(s) - limit
	for _, g := range gaps {
		if g < small {
			need--
		}
	}
	out := []span{s[0]}
	for i, g := range gaps {
		if g < small || (g == small && need > 0) {
			if g == small {
				need--
			}
			out[len(out)-1].hi = s[i+1].hi
			continue
		}
		out = append(out, s[i+1])
	}
	return out
}

// tree returns a program that accepts when the accumulator is in one of the sorted ranges and drops otherwise: a binary search.
func tree(s []span) []bpf.Instruction {
	switch len(s) {
	case 0:
		return []bpf.Instruction{bpf.RetConstant{Val: drop}}
	case 1:
		return []bpf.Instruction{
			bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: s[0].lo, SkipFalse: 2},
			bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: s[0].hi, SkipTrue: 1},
			bpf.RetConstant{Val: accept},
			bpf.RetConstant{Val: drop},
		}
	}
	mid := len(s) / 2
	low, high := tree(s[:mid]), tree(s[mid:])
	return join2(bpf.JumpGreaterOrEqual, s[mid].lo, low, high)
}

// join2 returns a program that goes on with yes when the accumulator fulfils the condition, and with no otherwise.
func join2(cond bpf.JumpTest, val uint32, no, yes []bpf.Instruction) []bpf.Instruction {
	var out []bpf.Instruction
	if len(no) <= 255 {
		out = append(out, bpf.JumpIf{Cond: cond, Val: val, SkipTrue: uint8(len(no))})
	} else { // a conditional jump reaches 255 instructions, an unconditional one any
		out = append(out, bpf.JumpIf{Cond: cond, Val: val, SkipFalse: 1}, bpf.Jump{Skip: uint32(len(no))})
	}
	return append(append(out, no...), yes...)
}

// body returns the program for link.Filter.Wants. The sets are held to 1/part of their
// bounds: with more addresses than fit it accepts others too, never fewer. Loads beyond the end of a short frame drop it.
func body(f *link.Filter, part int) []bpf.Instruction {
	if f == nil {
		return []bpf.Instruction{bpf.RetConstant{Val: accept}}
	}
	if f.Replies != nil {
		return replies(f.Replies)
	}
	var keys, shelves, slots []uint32
	for _, a := range f.Addrs {
		if !a.Wild() {
			keys = append(keys, a.Key())
			shelves = append(shelves, uint32(a.Major))
			slots = append(slots, uint32(a.Minor))
		}
	}
	if len(keys) == 0 {
		return []bpf.Instruction{bpf.RetConstant{Val: drop}} // nobody is there to answer even the wildcards
	}
	slices.Sort(keys)
	slices.Sort(shelves)
	slices.Sort(slots)
	set := func(v []uint32, limit int) []bpf.Instruction { return tree(coarsen(spans(v), max(limit/part, 1))) }

	shelf := append([]bpf.Instruction{bpf.LoadAbsolute{Off: offMajor, Size: 2}},
		join2(bpf.JumpEqual, aoe.WildMajor, set(shelves, maxShelves), []bpf.Instruction{bpf.RetConstant{Val: accept}})...)
	slot := append([]bpf.Instruction{bpf.LoadAbsolute{Off: offMinor, Size: 1}}, set(slots, maxShelves)...)
	exact := append([]bpf.Instruction{ // the four bytes that end in the address, without the first
		bpf.LoadAbsolute{Off: offMajor - 1, Size: 4},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xffffff},
	}, set(keys, maxKeys)...)

	exact = append([]bpf.Instruction{bpf.LoadAbsolute{Off: offMinor, Size: 1}},
		join2(bpf.JumpEqual, aoe.WildMinor, // minor
			append([]bpf.Instruction{bpf.LoadAbsolute{Off: offMajor, Size: 2}}, join2(bpf.JumpEqual, aoe.WildMajor, exact, slot)...),
			shelf)...)
	// A response passes only when it is for everybody and from an exact address.
	return append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: offFlags, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: flagR, SkipTrue: 9},
		bpf.LoadAbsolute{Off: 0, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0xffffffff, SkipTrue: 6},
		bpf.LoadAbsolute{Off: 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0xffff, SkipTrue: 4},
		bpf.LoadAbsolute{Off: offMajor, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: aoe.WildMajor, SkipTrue: 2},
		bpf.LoadAbsolute{Off: offMinor, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: aoe.WildMinor, SkipTrue: 1},
		bpf.RetConstant{Val: drop},
	}, exact...)
}

// replies is the program for an initiator.
func replies(r *link.Replies) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: offFlags, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: flagR, SkipTrue: 11},
		bpf.LoadAbsolute{Off: offMajor, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(r.Addr.Major), SkipTrue: 9},
		bpf.LoadAbsolute{Off: offMinor, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(r.Addr.Minor), SkipTrue: 7},
		bpf.LoadAbsolute{Off: offCmd, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(aoe.CmdConfig), SkipTrue: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(aoe.CmdATA), SkipTrue: 4},
		bpf.LoadAbsolute{Off: offTag, Size: 4},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: r.Mask},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: r.Tag, SkipTrue: 1},
		bpf.RetConstant{Val: accept},
		bpf.RetConstant{Val: drop},
	}
}

// prologue drops what the host itself sent and what is for other hosts. Those are not only frames for other addresses that a
// promiscuous interface hears: a frame with a VLAN tag for which no interface exists here is handed to the parent
// interface's sockets with the tag taken off without a trace, and this mark is all that tells it from an untagged one
// (__netif_receive_skb_core in net/core/dev.c). Answering it would be an answer on the wrong network.
func prologue() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OTHERHOST, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.PACKET_OUTGOING, SkipTrue: 1},
		bpf.RetConstant{Val: drop},
	}
}

// dropAll is the filter of a socket that is not ready yet.
var dropAll = []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: drop}}

// SetFilter implements link.Link. The program is exact for some hundred addresses (neighbours count as one); with more of them, or
// where the kernel gives a socket little memory for options, frames for some other addresses near ours pass too.
// The old program works until the new one does; frames that wait already stay.
func (l *Link) SetFilter(f *link.Filter) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return link.ErrClosed
	}
	var err error
	for part := 1; part <= maxKeys; part *= 4 {
		var prog []unix.SockFilter
		if prog, err = assemble(append(prologue(), body(f, part)...)); err == nil {
			err = attach(l.fd, prog)
		}
		if err == nil || !errors.Is(err, unix.ENOMEM) { // net.core.optmem_max bounds the program's size
			break
		}
	}
	if err != nil {
		return fmt.Errorf("interface %s: %w", l.info.Name, err)
	}
	return nil
}

// assemble translates a program into the kernel's form.
func assemble(prog []bpf.Instruction) ([]unix.SockFilter, error) {
	raw, err := bpf.Assemble(prog)
	if err != nil {
		return nil, fmt.Errorf("assembling a filter: %w", err)
	}
	if len(raw) > maxProgram {
		return nil, fmt.Errorf("a filter of %d instructions is too long: at most %d", len(raw), maxProgram)
	}
	out := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		out[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return out, nil
}

// attach makes prog the filter of the socket, in the place of the one before.
func attach(fd int, prog []unix.SockFilter) error {
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog); err != nil {
		return fmt.Errorf("attaching a filter of %d instructions: %w", len(prog), err)
	}
	return nil
}
