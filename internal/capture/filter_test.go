package capture

import (
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/net/bpf"

	"goaoe/aoe"
)

// wants is the rule in plain Go.
func (f *Filter) wants(frame []byte) bool {
	x := 0
	typ := func(at int) int {
		if len(frame) < at+2 {
			return -1
		}
		return int(frame[at])<<8 | int(frame[at+1])
	}
	if t := typ(12); t == tpidCustomer || t == tpidService {
		x = 4
	}
	if typ(12+x) != aoe.EtherType {
		return false
	}
	if len(f.MACs) > 0 && !slices.Contains(f.MACs, aoe.MAC(frame[:6])) && !slices.Contains(f.MACs, aoe.MAC(frame[6:12])) {
		return false
	}
	if len(f.Addrs) > 0 {
		if len(frame) < x+19 {
			return false
		}
		got := aoe.Addr{Major: uint16(typ(16 + x)), Minor: frame[18+x]}
		if !slices.ContainsFunc(f.Addrs, func(a aoe.Addr) bool {
			return (a.Major == got.Major || a.Major == aoe.WildMajor || got.Major == aoe.WildMajor) &&
				(a.Minor == got.Minor || a.Minor == aoe.WildMinor || got.Minor == aoe.WildMinor)
		}) {
			return false
		}
	}
	if len(f.Commands) > 0 {
		return len(frame) >= x+20 && slices.Contains(f.Commands, aoe.Command(frame[19+x]))
	}
	return true
}

func runs(t *testing.T, f *Filter, keep uint32) *bpf.VM {
	t.Helper()
	prog, err := f.program(keep)
	if err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(prog)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

// TestFilterIsTheRule holds the kernel's program against the rule: random lists, frames that nearly match, of every length.
func TestFilterIsTheRule(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	mac := func() aoe.MAC { return aoe.MAC{2, 0, 0, byte(r.IntN(2)), 0, byte(r.IntN(3))} }
	addr := func() aoe.Addr {
		return aoe.Addr{Major: []uint16{0, 1, 256, aoe.WildMajor}[r.IntN(4)], Minor: []uint8{0, 1, aoe.WildMinor}[r.IntN(3)]}
	}
	yes, no := 0, 0
	for range 400 {
		var f Filter
		for range r.IntN(4) {
			f.MACs = append(f.MACs, mac())
		}
		for range r.IntN(4) {
			f.Addrs = append(f.Addrs, addr())
		}
		for range r.IntN(3) {
			f.Commands = append(f.Commands, aoe.Command(r.IntN(4)))
		}
		vm := runs(t, &f, 100)
		for range 200 {
			frame := make([]byte, 64)
			dst, src, a := mac(), mac(), addr()
			copy(frame, dst[:])
			copy(frame[6:], src[:])
			b := frame[12:]
			if tag := r.IntN(4); tag > 1 {
				b[0], b[1] = []byte{0x81, 0x88}[tag-2], []byte{0, 0xa8}[tag-2]
				b = b[4:]
			}
			b[0], b[1] = 0x88, 0xa2
			if r.IntN(10) == 0 {
				b[1] = 0xa3
			}
			b[4], b[5], b[6], b[7] = byte(a.Major>>8), byte(a.Major), a.Minor, byte(r.IntN(5))
			if r.IntN(10) == 0 {
				frame = frame[:14+r.IntN(12)]
			}
			got, err := vm.Run(frame)
			if err != nil {
				t.Fatal(err)
			}
			want := f.wants(frame)
			if want {
				yes++
			} else {
				no++
			}
			if (got != 0) != want || got != 0 && got != 100 && got != len(frame) {
				t.Fatalf("%+v\n% x: the program keeps %d bytes, the rule says %v", f, frame, got, want)
			}
		}
	}
	if yes < 5000 || no < 5000 {
		t.Errorf("%d frames were wanted and %d not: the test tries too little", yes, no)
	}
}

// TestFilterOfMany: full lists still make a program, with the last of them found; more are refused.
func TestFilterOfMany(t *testing.T) {
	var f Filter
	for i := range maxNames {
		f.MACs = append(f.MACs, aoe.MAC{2, 0, 0, 0, 0, byte(i)})
		f.Addrs = append(f.Addrs, aoe.Addr{Major: uint16(i), Minor: byte(i)})
		f.Commands = append(f.Commands, aoe.Command(i))
	}
	frame := make([]byte, 60)
	copy(frame, f.MACs[maxNames-1][:])
	copy(frame[12:], []byte{0x88, 0xa2, 0x10, 0, 0, maxNames - 1, maxNames - 1, maxNames - 1})
	if got, err := runs(t, &f, 60).Run(frame); err != nil || got != 60 {
		t.Errorf("the last of each list: %d, %v", got, err)
	}
	frame[17]--
	if got, err := runs(t, &f, 60).Run(frame); err != nil || got != 0 {
		t.Errorf("a shelf and a slot of different addresses: %d, %v", got, err)
	}
	f.Addrs = append(f.Addrs, aoe.Addr{})
	if _, err := f.program(60); err == nil {
		t.Error("too many addresses are taken")
	}
}
