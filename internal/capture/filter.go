package capture

import (
	"fmt"

	"golang.org/x/net/bpf"

	"goaoe/aoe"
)

// Offsets from the Ethernet destination address on. Those behind the EtherType move by four with a VLAN tag in the frame.
const (
	offType    = 12
	offMajor   = 16
	offMinor   = 18
	offCommand = 19
	vlanLen    = 4
)

// Filter says which frames are wanted. An empty list wants all. A frame must meet each list.
type Filter struct {
	// Addrs are targets; wildcards stand for all shelves or slots. A request to a wildcard is wanted when it could mean one of them.
	Addrs []aoe.Addr
	// MACs: the sender or the receiver must be one of them. What is sent to everybody is wanted only from one of them.
	MACs []aoe.MAC
	// Commands are commands of AoE.
	Commands []aoe.Command
}

// maxNames bounds each list: the program that the kernel runs for each frame stays short.
const maxNames = 64

// program is the filter for the kernel: AoE frames with or without a VLAN tag, of which keep bytes are kept.
//
// The wanted frame falls through from test to test; what is not wanted jumps to a "return 0" that ends each test, because
// conditional jumps reach 255 instructions only.
func (f *Filter) program(keep uint32) ([]bpf.Instruction, error) {
	for what, n := range map[string]int{"addresses": len(f.Addrs), "MAC addresses": len(f.MACs), "commands": len(f.Commands)} {
		if n > maxNames {
			return nil, fmt.Errorf("%d %s are too many for a filter: at most %d", n, what, maxNames)
		}
	}
	drop := bpf.RetConstant{Val: 0}
	prog := []bpf.Instruction{
		// X is 0, or 4 with a tag.
		bpf.LoadAbsolute{Off: offType, Size: 2},
		bpf.LoadConstant{Dst: bpf.RegX, Val: 0},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: aoe.EtherType, SkipTrue: 6},
		bpf.LoadConstant{Dst: bpf.RegX, Val: vlanLen},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: tpidCustomer, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: tpidService, SkipTrue: 2},
		bpf.LoadAbsolute{Off: offType + vlanLen, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: aoe.EtherType, SkipTrue: 1},
		drop,
	}
	var tests []bpf.Instruction
	for i, m := range f.MACs {
		// Each MAC is compared as four and two bytes, first as receiver, then as sender; a match leaves the list.
		left := len(f.MACs) - i - 1
		skip := uint32(left*10 + 1) // behind the list's drop
		hi := uint32(m[0])<<24 | uint32(m[1])<<16 | uint32(m[2])<<8 | uint32(m[3])
		lo := uint32(m[4])<<8 | uint32(m[5])
		for _, off := range []uint32{0, 6} {
			more := skip
			if off == 0 {
				more += 5
			}
			tests = append(tests,
				bpf.LoadAbsolute{Off: off, Size: 4},
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: hi, SkipTrue: 3},
				bpf.LoadAbsolute{Off: off + 4, Size: 2},
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: lo, SkipTrue: 1},
				bpf.Jump{Skip: more})
		}
	}
	if len(f.MACs) > 0 {
		tests = append(tests, drop)
	}
	for i, a := range f.Addrs {
		left := len(f.Addrs) - i - 1
		list := []bpf.Instruction{ // 7 instructions each
			bpf.LoadIndirect{Off: offMajor, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(a.Major), SkipTrue: 1},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: aoe.WildMajor, SkipTrue: 4},
			bpf.LoadIndirect{Off: offMinor, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(a.Minor), SkipTrue: 1},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: aoe.WildMinor, SkipTrue: 1},
			bpf.Jump{Skip: uint32(left*7 + 1)},
		}
		if a.Major == aoe.WildMajor { // every shelf
			list[1] = bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1, SkipFalse: 1}
		}
		if a.Minor == aoe.WildMinor {
			list[4] = bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1, SkipFalse: 1}
		}
		tests = append(tests, list...)
	}
	if len(f.Addrs) > 0 {
		tests = append(tests, drop)
	}
	if len(f.Commands) > 0 {
		tests = append(tests, bpf.LoadIndirect{Off: offCommand, Size: 1})
		for i, c := range f.Commands {
			tests = append(tests, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(c), SkipTrue: uint8(len(f.Commands) - i)})
		}
		tests = append(tests, drop)
	}
	return append(append(prog, tests...), bpf.RetConstant{Val: keep}), nil
}
