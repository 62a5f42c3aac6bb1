package packet

import (
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"goaoe/aoe"
)

// Offsets in the frame, and the base that makes them count from the Ethernet header wherever the kernel has moved the
// frame's start to (SKF_LL_OFF of linux/filter.h): steering runs behind that header, filters in front of it.
const (
	offFlags = 14
	offMajor = 16
	offMinor = 18
	offCmd   = 19
	offTag   = 20
	linkBase = 0xffe00000

	flagR = 0x08 // in the byte at offFlags: a response
)

// steer returns the program that steers frames to lanes as link.LaneOf says. base is added to every offset.
func steer(lanes int, base uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: base + offMinor, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: aoe.WildMinor, SkipTrue: 6},
		bpf.TAX{},
		bpf.LoadAbsolute{Off: base + offMajor, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: aoe.WildMajor, SkipTrue: 3},
		bpf.ALUOpX{Op: bpf.ALUOpAdd},
		bpf.ALUOpConstant{Op: bpf.ALUOpMod, Val: uint32(lanes)},
		bpf.RetA{},
		bpf.RetConstant{Val: 0},
	}
}

// join makes one fanout group of the sockets. The kernel numbers them in the order in which they join.
func join(all []*Link) error {
	if len(all) < 2 {
		return nil
	}
	name := all[0].info.Name
	prog, err := assemble(steer(len(all), linkBase))
	if err != nil {
		return fmt.Errorf("interface %s: steering program: %w", name, err)
	}
	kind := unix.PACKET_FANOUT_CBPF << 16
	// The kernel picks an id that no other group of the namespace has; the others join by it.
	arg := kind | unix.PACKET_FANOUT_FLAG_UNIQUEID<<16
	for i, l := range all {
		if err := unix.SetsockoptInt(l.fd, unix.SOL_PACKET, unix.PACKET_FANOUT, arg); err != nil {
			return fmt.Errorf("interface %s: lane %d of %d cannot join the fanout group (is the interface up?): %w", name, i, len(all), err)
		}
		if i > 0 {
			continue
		}
		v, err := unix.GetsockoptInt(l.fd, unix.SOL_PACKET, unix.PACKET_FANOUT)
		if err != nil {
			return fmt.Errorf("interface %s: asking for the fanout group: %w", name, err)
		}
		arg = kind | v&0xffff
		fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
		if err := unix.SetsockoptSockFprog(l.fd, unix.SOL_PACKET, unix.PACKET_FANOUT_DATA, &fprog); err != nil {
			return fmt.Errorf("interface %s: steering program: %w", name, err)
		}
	}
	return nil
}
