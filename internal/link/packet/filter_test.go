package packet

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"pgregory.net/rapid"

	"goaoe/aoe"
	"goaoe/internal/link"
)

func vm(t testing.TB, prog []bpf.Instruction) *bpf.VM {
	t.Helper()
	if n := len(prologue()) + len(prog); n > maxProgram {
		t.Fatalf("the program has %d instructions", n)
	}
	v, err := bpf.NewVM(prog)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func accepts(t testing.TB, v *bpf.VM, frame []byte) bool {
	t.Helper()
	n, err := v.Run(frame)
	if err != nil {
		t.Fatalf("%x: %v", frame, err)
	}
	return n > 0
}

func sortAddrs(a []aoe.Addr) []aoe.Addr {
	slices.SortFunc(a, func(x, y aoe.Addr) int { return cmp.Compare(x.Key(), y.Key()) })
	return slices.Compact(a)
}

// frameFor returns a frame to or from an address; broadcast says that its destination is everybody.
func frameFor(a aoe.Addr, broadcast, response bool) []byte {
	f := make([]byte, 60)
	copy(f, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xa2, 0x10, 0x5a})
	if broadcast {
		copy(f, aoe.Broadcast[:])
	}
	if response {
		f[14] |= 0x08
	}
	f[16], f[17], f[18] = byte(a.Major>>8), byte(a.Major), a.Minor
	return f
}

// TestFilterIsTheRule compares the program with link.Filter.Wants.
func TestFilterIsTheRule(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		small := rapid.Bool().Draw(rt, "few shelves")
		addr := rapid.Custom(func(rt *rapid.T) aoe.Addr {
			if small {
				return aoe.Addr{Major: uint16(rapid.IntRange(0, 3).Draw(rt, "shelf")), Minor: uint8(rapid.IntRange(0, 9).Draw(rt, "slot"))}
			}
			return aoe.Addr{Major: uint16(rapid.IntRange(0, 0xfffe).Draw(rt, "shelf")), Minor: uint8(rapid.IntRange(0, 0xfe).Draw(rt, "slot"))}
		})
		f := &link.Filter{Addrs: sortAddrs(rapid.SliceOfN(addr, 0, 40).Draw(rt, "exports"))}
		v := vm(t, body(f, 1))
		for range 40 {
			a := addr.Draw(rt, "address")
			if len(f.Addrs) > 0 && rapid.Bool().Draw(rt, "known") {
				a = f.Addrs[rapid.IntRange(0, len(f.Addrs)-1).Draw(rt, "which")]
			}
			switch rapid.IntRange(0, 5).Draw(rt, "wildcard") {
			case 0:
				a.Major = aoe.WildMajor
			case 1:
				a.Minor = aoe.WildMinor
			case 2:
				a = aoe.Addr{Major: aoe.WildMajor, Minor: aoe.WildMinor}
			}
			frame := frameFor(a, rapid.Bool().Draw(rt, "broadcast"), rapid.Bool().Draw(rt, "response"))
			if rapid.IntRange(0, 9).Draw(rt, "odd destination") == 0 {
				frame[rapid.IntRange(0, 5).Draw(rt, "byte")] ^= 1
			}
			if rapid.IntRange(0, 9).Draw(rt, "short") == 0 {
				frame = frame[:rapid.IntRange(0, 59).Draw(rt, "length")]
			}
			if got, want := accepts(t, v, frame), f.Wants(frame); got != want {
				rt.Fatalf("filter %v, frame %x: the program says %v, the rule %v", f.Addrs, frame, got, want)
			}
		}
	})
}

// TestReplyFilterIsTheRule does so for what initiators want.
func TestReplyFilterIsTheRule(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		byteOf := func(what string, bits int) uint32 { return uint32(rapid.IntRange(0, bits).Draw(rt, what)) }
		r := &link.Replies{Addr: aoe.Addr{Major: uint16(byteOf("shelf", 3)), Minor: uint8(byteOf("slot", 3))}, Mask: 0xff << 24, Tag: byteOf("own", 3) << 24}
		f := &link.Filter{Replies: r}
		v := vm(t, body(f, 1))
		for range 60 {
			frame := frameFor(aoe.Addr{Major: uint16(byteOf("shelf", 3)), Minor: uint8(byteOf("slot", 3))}, rapid.Bool().Draw(rt, "broadcast"), byteOf("response", 5) > 0)
			if byteOf("known", 3) > 0 {
				frame[16], frame[17], frame[18] = byte(r.Addr.Major>>8), byte(r.Addr.Major), r.Addr.Minor
			}
			frame[19], frame[20], frame[21], frame[23] = byte(byteOf("command", 3)), byte(byteOf("tag", 3)), byte(byteOf("slot of the tag", 255)), 7
			if byteOf("short", 9) == 0 {
				frame = frame[:byteOf("length", 59)]
			}
			got, want := accepts(t, v, frame), f.Wants(frame)
			if got != want {
				rt.Fatalf("replies %+v, frame %x: the program says %v, the rule %v", *r, frame, got, want)
			}
		}
	})
}

// TestFilterOfMany checks the bounds: exact while the set fits, never too narrow, never longer than the kernel takes.
func TestFilterOfMany(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name  string
		addrs int
		part  int
		exact bool
		make  func(i int) aoe.Addr
	}{
		{"300 scattered", 300, 1, false, func(int) aoe.Addr { return aoe.Addr{Major: uint16(rng.IntN(0xffff)), Minor: uint8(rng.IntN(255))} }},
		{"380 on 20 shelves", 380, 1, true, func(i int) aoe.Addr { return aoe.Addr{Major: uint16(i % 20 * 3), Minor: uint8(i / 20 * 2)} }},
		{"a thousand in rows", 1000, 1, true, func(i int) aoe.Addr { return aoe.Addr{Major: uint16(i / 100), Minor: uint8(i % 100)} }},
		{"20000 scattered", 20000, 1, false, func(int) aoe.Addr { return aoe.Addr{Major: uint16(rng.IntN(0xffff)), Minor: uint8(rng.IntN(255))} }},
		{"20000 in little memory", 20000, maxKeys, false, func(int) aoe.Addr { return aoe.Addr{Major: uint16(rng.IntN(0xffff)), Minor: uint8(rng.IntN(255))} }},
		{"every second slot of every shelf", 0xffff * 64, 1, false, func(i int) aoe.Addr { return aoe.Addr{Major: uint16(i / 64), Minor: uint8(i % 64 * 2)} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &link.Filter{}
			for i := range c.addrs {
				f.Addrs = append(f.Addrs, c.make(i))
			}
			f.Addrs = sortAddrs(f.Addrs)
			prog := body(f, c.part)
			v := vm(t, prog)
			t.Logf("%d addresses, %d instructions", len(f.Addrs), len(prog))
			for _, a := range f.Addrs[:min(len(f.Addrs), 20000)] {
				if !accepts(t, v, frameFor(a, false, false)) || !accepts(t, v, frameFor(a, true, true)) ||
					!accepts(t, v, frameFor(aoe.Addr{Major: a.Major, Minor: aoe.WildMinor}, true, false)) ||
					!accepts(t, v, frameFor(aoe.Addr{Major: aoe.WildMajor, Minor: a.Minor}, true, false)) {
					t.Fatalf("%v is not accepted", a)
				}
			}
			if !accepts(t, v, frameFor(aoe.Addr{Major: aoe.WildMajor, Minor: aoe.WildMinor}, true, false)) {
				t.Fatal("the wildcard is not accepted")
			}
			if accepts(t, v, frameFor(f.Addrs[0], false, true)) {
				t.Error("a response to somebody is accepted")
			}
			if !c.exact {
				return
			}
			for range 20000 {
				frame := frameFor(aoe.Addr{Major: uint16(rng.IntN(70)), Minor: uint8(rng.IntN(256))}, false, false)
				if got, want := accepts(t, v, frame), f.Wants(frame); got != want {
					t.Fatalf("%x: the program says %v, the rule %v", frame, got, want)
				}
			}
		})
	}
}

func TestCoarsen(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		vals := rapid.SliceOfN(rapid.Uint32Range(0, 500), 1, 100).Draw(rt, "values")
		slices.Sort(vals)
		limit := rapid.IntRange(1, 30).Draw(rt, "limit")
		full := spans(vals)
		got := coarsen(full, limit)
		if want := min(limit, len(full)); len(got) != want {
			rt.Fatalf("%d ranges of %d, limit %d", len(got), len(full), limit)
		}
		for i := 1; i < len(got); i++ {
			if got[i].lo <= got[i-1].hi+1 {
				rt.Fatalf("ranges %v touch", got)
			}
		}
		for _, v := range vals {
			if !slices.ContainsFunc(got, func(s span) bool { return s.lo <= v && v <= s.hi }) {
				rt.Fatalf("%d is lost in %v", v, got)
			}
		}
	})
}

// TestSteerIsTheRule compares the steering program with link.LaneOf, and for every slot of some shelves.
func TestSteerIsTheRule(t *testing.T) {
	for lanes := 1; lanes <= 8; lanes++ {
		v, err := bpf.NewVM(steer(lanes, 0))
		if err != nil {
			t.Fatal(err)
		}
		for _, major := range []uint16{0, 1, 2, 255, 256, 4095, 0xfffe, aoe.WildMajor} {
			for minor := range 256 {
				a := aoe.Addr{Major: major, Minor: uint8(minor)}
				if n, err := v.Run(frameFor(a, false, false)); err != nil || n != link.LaneOf(a, lanes) {
					t.Fatalf("%v of %d lanes: %d, %v; want %d", a, lanes, n, err, link.LaneOf(a, lanes))
				}
			}
		}
	}
}
