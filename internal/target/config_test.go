package target

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"goaoe/aoe"
	"goaoe/internal/stats"
)

// str checks that a config reply has this string and operation.
func (r *rig) str(f []byte, op byte, want string) {
	r.t.Helper()
	c, err := aoe.DecodeConfig(f)
	if err != nil || string(c.String) != want || c.Op != op || c.Version != 1 {
		r.t.Fatalf("string %q, byte 29 %#x, %v; want %q, %#x", c.String, f[29], err, want, 0x10|op)
	}
	if n := max(60, 32+len(want)); len(f) != n {
		r.t.Fatalf("%d bytes, want %d", len(f), n)
	}
}

// Conformance list: config.
func TestConfig(t *testing.T) {
	run := func(name string, f func(t *testing.T, r *rig)) {
		t.Run(name, func(t *testing.T) { f(t, newRig(t, nil)) })
	}
	// hello starts with that string stored.
	hello := func(name string, f func(t *testing.T, r *rig)) {
		run(name, func(t *testing.T, r *rig) { r.e.SetState(&State{Config: []byte("hello")}); f(t, r) })
	}
	run("C23 announcement", func(t *testing.T, r *rig) {
		r.e.SetState(&State{Config: []byte("hello")})
		to := r.e.AnnounceTo(nil)
		if !slices.Equal(to, []aoe.MAC{aoe.Broadcast}) {
			t.Fatalf("announced to %v", to)
		}
		b := bytes.Repeat([]byte{dirty}, 1600)
		n := r.e.Announcement(r.in, to[0], b)
		want := append(aoe.Broadcast[:len(aoe.Broadcast):len(aoe.Broadcast)], macT[:]...)
		want = append(want, 0x88, 0xa2, 0x18, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 16, 1, 0, 2, 0x10, 0, 5)
		want = append(want, "hello"...)
		want = append(want, make([]byte, 60-len(want))...)
		if !bytes.Equal(b[:n], want) {
			t.Errorf("%x\nwant\n%x", b[:n], want)
		}
	})
	run("C24 announcement with a mask list", func(t *testing.T, r *rig) {
		r.e.SetState(&State{Mask: []aoe.MAC{macA, macB}})
		if to := r.e.AnnounceTo(nil); !slices.Equal(to, []aoe.MAC{macA, macB}) {
			t.Errorf("announced to %v", to)
		}
	})
	run("C26 sectors by MTU", func(t *testing.T, r *rig) {
		for mtu, want := range map[int]byte{1500: 2, 9000: 17, 4200: 8, 1042: 1, 65535: 127} {
			r.in = port(mtu)
			if f := r.ok(configFrame(0, ""), 60); f[28] != want {
				t.Errorf("MTU %d: %d", mtu, f[28])
			}
		}
		r.in = &Ingress{MAC: macT, MTU: 9000, MaxSectors: 4}
		if f := r.ok(configFrame(0, ""), 60); f[28] != 4 {
			t.Errorf("configured lower: %d", f[28])
		}
		for _, n := range []int{0, -1, 1000} {
			r.in.MaxSectors = n
			if f := r.ok(configFrame(0, ""), 60); f[28] == 0 || n == 1000 && f[28] != 255 {
				t.Errorf("MaxSectors %d: %d", n, f[28])
			}
		}
	})
	run("C27 17 sectors as soon as the MTU is 9000", func(_ *testing.T, r *rig) {
		r.abrt(readExt(0, 17))
		r.in = port(9000)
		r.data(readExt(0, 17), 17)
	})
	t.Run("C28 buffer count", func(t *testing.T) {
		for given, want := range map[uint16]uint16{0: 16, 1: 2, 2: 2, 64: 64, 65535: 65535} {
			r := newRig(t, func(c *ExportConfig) { c.BufferCount = given })
			if c, err := aoe.DecodeConfig(r.ok(configFrame(0, ""), 60)); err != nil || c.BufferCount != want {
				t.Errorf("%d: advertised %d, want %d", given, c.BufferCount, want)
			}
			r.e.SetBufferCount(1)
			if got := r.e.BufferCount(); got != 2 {
				t.Errorf("SetBufferCount(1): %d", got)
			}
		}
	})
	hello("C29 read with a length and filler", func(_ *testing.T, r *rig) {
		f := configFrame(0, "", tail(1024))
		f[30] = 4
		r.str(r.one(f), 0, "hello")
		f[30], f[31] = 0xff, 0xff // the length means nothing at all
		r.str(r.one(f), 0, "hello")
	})
	run("C30 C31 force set with filler behind, then read", func(_ *testing.T, r *rig) {
		r.str(r.one(configFrame(4, "hello", tail(1019))), 4, "hello")
		r.str(r.one(configFrame(0, "")), 0, "hello")
	})
	hello("C32 test", func(_ *testing.T, r *rig) {
		r.str(r.one(configFrame(1, "hello")), 1, "hello")
		for _, s := range []string{"hell", "hellox", ""} {
			r.silence(configFrame(1, s), stats.DropCompare)
		}
	})
	hello("C33 test of a prefix", func(_ *testing.T, r *rig) {
		for _, s := range []string{"hel", "", "hello"} {
			r.str(r.one(configFrame(2, s)), 2, "hello")
		}
		for _, s := range []string{"hellox", "x", "ello"} {
			r.silence(configFrame(2, s), stats.DropCompare)
		}
	})
	hello("C34 set the same again", func(t *testing.T, r *rig) {
		r.str(r.one(configFrame(3, "hello")), 3, "hello")
		if len(r.saved) != 0 {
			t.Error("nothing has changed, and it was made durable")
		}
	})
	hello("C35 set another", func(_ *testing.T, r *rig) {
		r.str(r.aoeError(configFrame(3, "other"), aoe.ConfigSet), 3, "hello")
		r.aoeError(configFrame(3, ""), aoe.ConfigSet)
		r.str(r.one(configFrame(0, "")), 0, "hello")
	})
	hello("C36 clear, then set", func(_ *testing.T, r *rig) {
		r.str(r.one(configFrame(4, "")), 4, "")
		r.str(r.one(configFrame(3, "new")), 3, "new")
	})
	run("C37 test of the empty string", func(_ *testing.T, r *rig) { r.str(r.one(configFrame(1, "")), 1, "") })
	run("C38 1024 bytes", func(_ *testing.T, r *rig) {
		s := string(fill(1024, 7))
		r.str(r.one(configFrame(4, s)), 4, s)
		r.str(r.one(configFrame(0, "")), 0, s)
		r.in = port(1042)
		r.str(r.one(configFrame(0, "")), 0, s)
	})
	run("C39 any bytes", func(_ *testing.T, r *rig) {
		const s = "\x00\xff\x00"
		r.str(r.one(configFrame(3, s)), 3, s)
		r.str(r.one(configFrame(1, s)), 1, s)
		r.silence(configFrame(1, "\x00\xff"), stats.DropCompare)
	})
	run("C40 unknown operation", func(_ *testing.T, r *rig) {
		for op := byte(5); op < 16; op++ {
			r.aoeError(configFrame(op, ""), aoe.BadArgument)
		}
	})
	run("C41 two set at once", func(t *testing.T, r *rig) {
		// Both pass Handle on the empty string, and only then reach Commit.
		a, b := configFrame(3, "A"), configFrame(3, "B", src(macJ))
		buf := make([]byte, 1600)
		for _, f := range [][]byte{a, b} {
			var req Request
			if d := req.Parse(f, false, 0, r.in); d != stats.NoDrop {
				t.Fatal(d)
			}
			if act := handle(r.e, &req, r.in, buf); act.Kind != Defer {
				t.Fatalf("%+v", act)
			}
		}
		n, _ := r.e.Commit(b, false, 0, r.in, buf, r.persist)
		r.str(buf[:n], 3, "B")
		n, _ = r.e.Commit(a, false, 0, r.in, buf, r.persist)
		if buf[15] != byte(aoe.ConfigSet) {
			t.Errorf("the loser got %x", buf[:n])
		}
		r.str(buf[:n], 3, "B")
	})
	run("C42 durable before the reply", func(t *testing.T, r *rig) {
		r.one(configFrame(3, "keep"))
		if len(r.saved) != 1 || string(r.saved[0].Config) != "keep" || r.e.State() != r.saved[0] {
			t.Errorf("saved %+v, in force %+v", r.saved, r.e.State())
		}
		again := newRig(t, nil) // a restart
		again.e.SetState(r.saved[0])
		again.str(again.one(configFrame(0, "")), 0, "keep")
	})
	run("C42 what cannot be made durable does not happen", func(t *testing.T, r *rig) {
		r.one(configFrame(3, "old"))
		r.save = errDisk
		if f := r.aoeError(configFrame(4, "new"), aoe.Unavailable); len(f) != 60 {
			t.Errorf("%d bytes", len(f))
		}
		r.str(r.one(configFrame(0, "")), 0, "old")
	})
	run("C43 set by one interface, read by another", func(_ *testing.T, r *rig) {
		r.one(configFrame(3, "both"))
		r.in = &Ingress{MAC: macD, MTU: 9000}
		r.str(r.one(configFrame(0, "", dst(macD))), 0, "both")
	})
	t.Run("C44 set by wildcard", func(t *testing.T) {
		second := newExport(t, func(c *ExportConfig) { c.Addr.Minor = 2 })
		r := newRig(t, nil, second)
		if out := r.send(configFrame(4, "all", to(wild), dst(aoe.Broadcast))); len(out) != 2 {
			t.Fatalf("%d replies", len(out))
		}
		if string(r.e.State().Config) != "all" || string(second.State().Config) != "all" {
			t.Error("not stored by both")
		}
	})
}

// A length that the frame does not hold, or that is beyond the limit, changes nothing.
func TestConfigBadLength(t *testing.T) {
	r := newRig(t, nil)
	r.e.SetState(&State{Config: []byte("hello")})
	long := string(fill(1025, 1))
	short := func(op byte) []byte { return configFrame(op, "hellohello", cut(32+9)) }
	for _, op := range []byte{3, 4} {
		r.aoeError(configFrame(op, long), aoe.BadArgument)
		r.aoeError(short(op), aoe.BadArgument)
	}
	for _, op := range []byte{1, 2} {
		r.silence(configFrame(op, long), stats.DropArgument)
		r.silence(short(op), stats.DropArgument)
	}
	if string(r.e.State().Config) != "hello" || len(r.saved) != 0 {
		t.Errorf("state %+v", r.e.State())
	}
}

// The state keeps nothing of the frame's memory.
func TestConfigIsCopied(t *testing.T) {
	r := newRig(t, nil)
	f := configFrame(4, "mine")
	buf := make([]byte, 1600)
	if n, d := r.e.Commit(f, false, 0, r.in, buf, nil); n == 0 {
		t.Fatal(d)
	}
	clear(f)
	clear(buf)
	r.str(r.one(configFrame(0, "")), 0, "mine")
}

// Commit judges anew: what was allowed when the frame arrived may not be any more.
func TestCommitJudgesAnew(t *testing.T) {
	r := newRig(t, nil)
	buf := make([]byte, 1600)
	f := configFrame(4, "x")
	for name, c := range map[string]struct {
		do   func()
		f    []byte
		drop stats.Drop
	}{
		"mask":        {func() { r.e.SetState(&State{Mask: []aoe.MAC{macJ}}) }, f, stats.DropMask},
		"access":      {func() { r.e.SetAccess(Access{CfgSet: NewACL(nil, false)}) }, f, stats.DropAccess},
		"address":     {func() {}, configFrame(4, "x", to(aoe.Addr{Major: 9, Minor: 1})), stats.DropAddress},
		"not for it":  {func() {}, readExt(0, 1), stats.DropArgument},
		"short":       {func() {}, f[:20], stats.DropShort},
		"other iface": {func() {}, configFrame(4, "x", dst(macB)), stats.DropDest},
	} {
		r.e.SetState(nil)
		r.e.SetAccess(Access{})
		c.do()
		if n, drop := r.e.Commit(c.f, false, 0, r.in, buf, r.persist); n != 0 || drop != c.drop {
			t.Errorf("%s: %d, %v; want %v", name, n, drop, c.drop)
		}
	}
	if len(r.saved) != 0 {
		t.Error("something was saved")
	}
}

func TestAnnounceTo(t *testing.T) {
	accept := NewACL([]Rule{{macA, true}, {macB, false}, {macC, true}}, false)
	for _, c := range []struct {
		name      string
		acl       *ACL
		readers   *ACL
		broadcast bool
		mask      []aoe.MAC
		want      []aoe.MAC
	}{
		{"no list", nil, nil, false, nil, []aoe.MAC{aoe.Broadcast}},
		{"deny list", NewACL([]Rule{{macA, false}}, true), nil, false, nil, []aoe.MAC{aoe.Broadcast}},
		{"accept list", accept, nil, false, nil, []aoe.MAC{macA, macC}},
		{"accept list, broadcast", accept, nil, true, nil, []aoe.MAC{aoe.Broadcast}},
		{"nobody", NewACL(nil, false), nil, false, nil, nil},
		{"mask", nil, nil, true, []aoe.MAC{macD}, []aoe.MAC{macD}},
		{"mask and accept list", accept, nil, false, []aoe.MAC{macA, macB, macD}, []aoe.MAC{macA}},
		{"readers", nil, accept, false, nil, []aoe.MAC{macA, macC}},
		{"readers, broadcast", nil, accept, true, nil, []aoe.MAC{aoe.Broadcast}},
		{"all but some readers", nil, NewACL([]Rule{{macA, false}}, true), false, nil, []aoe.MAC{aoe.Broadcast}},
		{"accept list and readers", accept, NewACL([]Rule{{macC, true}, {macD, true}}, false), false, nil, []aoe.MAC{macC}},
		{"readers, and some denied", NewACL([]Rule{{macA, false}}, true), accept, false, nil, []aoe.MAC{macC}},
		{"mask and readers", nil, accept, false, []aoe.MAC{macA, macB, macD}, []aoe.MAC{macA}},
	} {
		e := newExport(t, func(x *ExportConfig) { x.Access.All, x.Access.CfgRead, x.Broadcast = c.acl, c.readers, c.broadcast })
		e.SetState(&State{Mask: c.mask})
		if got := e.AnnounceTo(nil); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestAnnouncementLong(t *testing.T) {
	r := newRig(t, nil)
	r.e.SetState(&State{Config: []byte(strings.Repeat("x", 1024))})
	if n := r.e.Announcement(r.in, macI, make([]byte, 1600)); n != 1056 {
		t.Errorf("%d bytes", n)
	}
	if n := r.e.Announcement(r.in, macI, make([]byte, 100)); n != 0 {
		t.Errorf("%d bytes into 100", n)
	}
}
