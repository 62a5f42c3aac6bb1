package link

import (
	"testing"

	"goaoe/aoe"
)

func TestLaneOf(t *testing.T) {
	for _, c := range []struct {
		addr  aoe.Addr
		lanes int
		want  int
	}{
		{aoe.Addr{}, 0, 0},
		{aoe.Addr{Major: 9, Minor: 9}, 1, 0},
		{aoe.Addr{Major: 0, Minor: 1}, 2, 1},
		{aoe.Addr{Major: 1, Minor: 1}, 2, 0},
		{aoe.Addr{Major: 0xfffe, Minor: 0xfe}, 4, (0xfffe + 0xfe) % 4},
		{aoe.Addr{Major: aoe.WildMajor, Minor: 2}, 4, 0},
		{aoe.Addr{Major: 2, Minor: aoe.WildMinor}, 4, 0},
		{aoe.Addr{Major: aoe.WildMajor, Minor: aoe.WildMinor}, 4, 0},
	} {
		if got := LaneOf(c.addr, c.lanes); got != c.want {
			t.Errorf("LaneOf(%v, %d) = %d, want %d", c.addr, c.lanes, got, c.want)
		}
	}
}

func TestWants(t *testing.T) {
	f := &Filter{Addrs: []aoe.Addr{{Major: 1, Minor: 2}, {Major: 1, Minor: 4}, {Major: 300, Minor: 0}}}
	frame := func(major uint16, minor, flags uint8, dst byte) []byte {
		b := make([]byte, 60)
		for i := range 6 {
			b[i] = dst
		}
		b[14], b[16], b[17], b[18] = flags, byte(major>>8), byte(major), minor
		return b
	}
	for _, c := range []struct {
		name  string
		frame []byte
		want  bool
	}{
		{"exact", frame(1, 2, 0x10, 2), true},
		{"exact, large shelf", frame(300, 0, 0x10, 2), true},
		{"another slot", frame(1, 3, 0x10, 2), false},
		{"another shelf", frame(2, 2, 0x10, 2), false},
		{"every slot of a shelf", frame(1, aoe.WildMinor, 0x10, 0xff), true},
		{"every slot of another shelf", frame(2, aoe.WildMinor, 0x10, 0xff), false},
		{"a slot on every shelf", frame(aoe.WildMajor, 4, 0x10, 0xff), true},
		{"another slot on every shelf", frame(aoe.WildMajor, 5, 0x10, 0xff), false},
		{"everybody", frame(aoe.WildMajor, aoe.WildMinor, 0x10, 0xff), true},
		{"another version", frame(1, 2, 0x20, 2), true},
		{"announcement under our address", frame(1, 2, 0x18, 0xff), true},
		{"announcement under another address", frame(1, 3, 0x18, 0xff), false},
		{"response from a wildcard", frame(aoe.WildMajor, aoe.WildMinor, 0x18, 0xff), false},
		{"response to us", frame(1, 2, 0x18, 2), false},
		{"19 bytes", frame(1, 2, 0x10, 2)[:19], true},
		{"18 bytes", frame(1, 2, 0x10, 2)[:18], false},
		{"nothing", nil, false},
	} {
		if got := f.Wants(c.frame); got != c.want {
			t.Errorf("%s: Wants = %v", c.name, got)
		}
		if !(*Filter)(nil).Wants(c.frame) {
			t.Errorf("%s: no filter refuses it", c.name)
		}
		if (&Filter{}).Wants(c.frame) {
			t.Errorf("%s: a filter without addresses wants it", c.name)
		}
	}
}
