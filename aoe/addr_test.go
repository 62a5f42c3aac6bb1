package aoe

import (
	"slices"
	"testing"
)

func TestParseAddr(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Addr
		ok   bool
	}{
		{"0.1", Addr{0, 1}, true},
		{"e0.1", Addr{0, 1}, true},
		{"e65534.254", Addr{65534, 254}, true},
		{"65535.1", Addr{}, false},
		{"1.255", Addr{}, false},
		{"1", Addr{}, false},
		{"", Addr{}, false},
		{"e", Addr{}, false},
		{"-1.1", Addr{}, false},
		{"1.2.3", Addr{}, false},
		{"ee1.2", Addr{}, false},
		{"1.256", Addr{}, false},
		{"65536.1", Addr{}, false},
		{" 1.2", Addr{}, false},
	} {
		got, err := ParseAddr(c.in)
		if (err == nil) != c.ok || got != c.want {
			t.Errorf("ParseAddr(%q) = %v, %v; want %v, ok %v", c.in, got, err, c.want, c.ok)
		}
		if c.ok {
			if again, err := ParseAddr(got.String()); err != nil || again != got {
				t.Errorf("%v does not survive its own String: %v, %v", got, again, err)
			}
		}
	}
}

func TestAddrMatch(t *testing.T) {
	own := Addr{1, 1}
	for _, c := range []struct {
		req  Addr
		want bool
		wild bool
	}{
		{Addr{1, 1}, true, false},
		{Addr{WildMajor, 1}, true, true},
		{Addr{1, WildMinor}, true, true},
		{Addr{WildMajor, WildMinor}, true, true},
		{Addr{WildMajor, 2}, false, true},
		{Addr{2, WildMinor}, false, true},
		{Addr{1, 2}, false, false},
		{Addr{2, 1}, false, false},
	} {
		if got := c.req.Match(own); got != c.want {
			t.Errorf("%v.Match(%v) = %v, want %v", c.req, own, got, c.want)
		}
		if got := c.req.Wild(); got != c.wild {
			t.Errorf("%v.Wild() = %v, want %v", c.req, got, c.wild)
		}
	}
	if s := (Addr{WildMajor, WildMinor}).String(); s != "e*.*" {
		t.Errorf("wildcard is written %q", s)
	}
}

func TestAddrOrder(t *testing.T) {
	addrs := []Addr{{2, 0}, {1, 254}, {0, 7}, {256, 1}, {1, 2}}
	slices.SortFunc(addrs, func(a, b Addr) int {
		if a.Less(b) {
			return -1
		}
		return 1
	})
	want := []Addr{{0, 7}, {1, 2}, {1, 254}, {2, 0}, {256, 1}}
	if !slices.Equal(addrs, want) {
		t.Errorf("sorted: %v, want %v", addrs, want)
	}
}

func TestParseMAC(t *testing.T) {
	want := MAC{2, 0, 0, 0xab, 0xcd, 1}
	for _, s := range []string{"02:00:00:ab:cd:01", "2:0:0:AB:cd:1", "02-00-00-ab-CD-01", "020000abcd01"} {
		if got, err := ParseMAC(s); err != nil || got != want {
			t.Errorf("ParseMAC(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "02", "02:00:00:00:00", "02:00:00:00:00:00:00", "g2:00:00:00:00:01", "020:0:0:0:0:1", "::::::", "0200000000zz",
		"02:00:00:00:00:", "0x:00:00:00:00:01"} {
		if got, err := ParseMAC(s); err == nil {
			t.Errorf("ParseMAC(%q) = %v, want an error", s, got)
		}
	}
	if got := want.String(); got != "02:00:00:ab:cd:01" {
		t.Errorf("String: %s", got)
	}
	if want.Key() != 0x020000abcd01 {
		t.Errorf("Key: %x", want.Key())
	}
	if !Broadcast.IsGroup() || want.IsGroup() || !(MAC{}).IsZero() || want.IsZero() {
		t.Error("IsGroup or IsZero is wrong")
	}
}
