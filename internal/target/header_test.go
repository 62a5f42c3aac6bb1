package target

import (
	"bytes"
	"testing"

	"goaoe/aoe"
	"goaoe/internal/stats"
)

// Conformance list: addressing and header.
func TestHeader(t *testing.T) {
	read := func(opts ...opt) []byte { return configFrame(0, "", opts...) }
	run := func(name string, f func(t *testing.T, r *rig)) {
		t.Run(name, func(t *testing.T) { f(t, newRig(t, nil)) })
	}
	run("C1 config read of 32 bytes", func(t *testing.T, r *rig) {
		f := read()
		if len(f) != 32 {
			t.Fatalf("the request has %d bytes", len(f))
		}
		got := r.ok(f, 60)
		if !bytes.Equal(got[24:32], []byte{0, 16, 1, 0, 2, 0x10, 0, 0}) {
			t.Errorf("argument % x", got[24:32])
		}
	})
	run("C2 broadcast and both wildcards", func(_ *testing.T, r *rig) { r.ok(read(dst(aoe.Broadcast), to(wild)), 60) })
	run("C3 wildcard shelf", func(_ *testing.T, r *rig) { r.ok(read(to(aoe.Addr{Major: 0xffff, Minor: 1})), 60) })
	run("C4 wildcard slot", func(_ *testing.T, r *rig) { r.ok(read(to(aoe.Addr{Major: 1, Minor: 0xff})), 60) })
	run("C5 wildcard and another half", func(_ *testing.T, r *rig) {
		r.silence(read(to(aoe.Addr{Major: 0xffff, Minor: 2})), stats.DropAddress)
		r.silence(read(to(aoe.Addr{Major: 2, Minor: 0xff})), stats.DropAddress)
	})
	run("C6 another address", func(_ *testing.T, r *rig) {
		r.silence(read(to(aoe.Addr{Major: 1, Minor: 2})), stats.DropAddress)
		r.silence(read(to(aoe.Addr{Major: 2, Minor: 1})), stats.DropAddress)
	})
	t.Run("C7 one reply per matching target", func(t *testing.T) {
		at := func(a aoe.Addr) *Export { return newExport(t, func(c *ExportConfig) { c.Addr = a }) }
		r := newRig(t, nil, at(aoe.Addr{Major: 2, Minor: 1}), at(aoe.Addr{Major: 1, Minor: 2}))
		out := r.send(read(to(aoe.Addr{Major: 1, Minor: 0xff})))
		if len(out) != 2 || out[0][18] != 1 || out[1][18] != 2 {
			t.Errorf("%d replies: %x", len(out), out)
		}
	})
	run("C8 exact address to broadcast", func(_ *testing.T, r *rig) { r.ok(read(dst(aoe.Broadcast)), 60) })
	run("C9 destination is another", func(_ *testing.T, r *rig) {
		r.silence(read(dst(macJ)), stats.DropDest)
		r.silence(read(dst(aoe.MAC{1, 0, 0x5e, 0, 0, 1})), stats.DropDest)
	})
	run("C10 the reply has the MAC of the interface it came by", func(_ *testing.T, r *rig) {
		r.in = &Ingress{MAC: macD, MTU: 9000, MaxSectors: 17}
		r.ok(read(dst(macD)), 60)
		r.silence(read(dst(macT)), stats.DropDest)
	})
	run("C11 tags are copied", func(_ *testing.T, r *rig) {
		for _, b := range [][]byte{{0x80, 0, 0, 1}, {255, 255, 255, 255}, {0, 0, 0, 1}, {0, 0, 0, 0}} {
			r.ok(read(set(20, b...)), 60) // obeys compares
		}
	})
	run("C12 version 2", func(t *testing.T, r *rig) {
		for _, v := range []byte{0x20, 0x00, 0xf0} {
			if f := r.aoeError(read(set(14, v)), aoe.BadVersion); len(f) != 60 {
				t.Errorf("%d bytes", len(f))
			}
		}
	})
	run("C13 version 2 to a wildcard", func(_ *testing.T, r *rig) {
		r.silence(read(set(14, 0x20), to(wild)), stats.DropVersion)
		r.silence(read(set(14, 0x20), to(aoe.Addr{Major: 1, Minor: 0xff})), stats.DropVersion)
	})
	run("C14 unknown command", func(t *testing.T, r *rig) {
		f := r.aoeError(frame(0x7f, fill(300, 1)), aoe.BadCommand)
		if len(f) != 60 || !bytes.Equal(f[24:], make([]byte, 36)) {
			t.Errorf("%x", f)
		}
		r.aoeError(frame(0x7f, nil), aoe.BadCommand) // 24 bytes
		r.silence(frame(0x7f, nil, to(wild)), stats.DropCommand)
	})
	run("C15 keyed reserve", func(_ *testing.T, r *rig) { r.aoeError(frame(4, make([]byte, 100)), aoe.BadCommand) })
	run("C16 vendor command", func(_ *testing.T, r *rig) { r.aoeError(frame(0xf0, nil), aoe.BadCommand) })
	run("C17 other EtherTypes", func(_ *testing.T, r *rig) {
		r.silence(read(set(12, 0x88, 0xa3)), stats.DropEtherType)
		r.silence(read(set(12, 0x08, 0x00)), stats.DropEtherType)
		r.silence(read(set(12, 0x81, 0x00)), stats.DropEtherType)
	})
	run("C18 VLAN 5", func(t *testing.T, r *rig) {
		if out := r.sendTagged(read(), true, 5); len(out) != 0 || r.last != stats.DropVLAN {
			t.Errorf("%d replies, %v", len(out), r.last)
		}
		if out := r.sendTagged(read(), true, 0xe000|4095); len(out) != 0 || r.last != stats.DropVLAN {
			t.Errorf("%d replies, %v", len(out), r.last)
		}
	})
	run("C19 VLAN 0 with a priority", func(t *testing.T, r *rig) {
		if out := r.sendTagged(read(), true, 0xe000); len(out) != 1 {
			t.Errorf("%d replies, %v", len(out), r.last)
		}
	})
	t.Run("C21 1000 targets, one query", func(t *testing.T) {
		var more []*Export
		for i := range 999 {
			more = append(more, newExport(t, func(c *ExportConfig) { c.Addr = aoe.Addr{Major: uint16(2 + i/200), Minor: uint8(i % 200)} }))
		}
		if out := newRig(t, nil, more...).send(read(to(wild), dst(aoe.Broadcast))); len(out) != 1000 {
			t.Errorf("%d replies", len(out))
		}
	})
	run("C22 reserved bits and error fields of a request are not echoed", func(_ *testing.T, r *rig) {
		r.ok(read(set(14, 0x17, 0x55)), 60)
		r.ok(frame(aoe.CmdMask, []byte{0x55, 0, 0x66, 0}, tail(40)), 60)
		r.data(readExt(1, 1, set(24, 0x40|0xac), set(34, 0x77, 0x88)), 1)
	})
}

// The receive filter's steps one by one, and their order: a frame that fails several is counted under the first.
func TestFilterOrder(t *testing.T) {
	r := newRig(t, nil)
	good := func() []byte { return configFrame(0, "", tail(28)) }
	r.ok(good(), 60)
	broken := []struct {
		why stats.Drop
		opt opt
	}{
		{stats.DropShort, cut(23)},
		{stats.DropEtherType, set(12, 0)},
		{stats.DropDest, dst(macJ)},
		{stats.DropSource, src(aoe.MAC{3, 0, 0, 0, 0, 1})},
		{stats.DropResponse, set(14, 0x18)},
		{stats.DropAddress, to(aoe.Addr{Major: 9, Minor: 9})},
	}
	for i := range broken {
		f := good()
		for j := len(broken) - 1; j >= i; j-- {
			f = broken[j].opt(f)
		}
		r.silence(f, broken[i].why)
	}
	for _, m := range []aoe.MAC{{}, aoe.Broadcast, {1}, macT} {
		r.silence(configFrame(0, "", src(m)), stats.DropSource)
	}
	r.silence(configFrame(0, "", set(14, 0x1c)), stats.DropResponse) // with E too
	r.silence(configFrame(0, "", set(14, 0x28)), stats.DropResponse) // and of any version
	for _, c := range []struct {
		cmd aoe.Command
		min int
	}{{aoe.CmdATA, 36}, {aoe.CmdConfig, 32}, {aoe.CmdMask, 28}, {aoe.CmdReserve, 26}} {
		for n := 24; n < c.min; n++ {
			r.silence(frame(c.cmd, make([]byte, 12), cut(n)), stats.DropShort)
		}
		if out := r.send(frame(c.cmd, make([]byte, 12), cut(c.min))); len(out) != 1 {
			t.Errorf("%v of %d bytes: %v", c.cmd, c.min, r.last)
		}
	}
}

func TestAnyVersion(t *testing.T) {
	r := newRig(t, func(c *ExportConfig) { c.AnyVersion = true })
	r.ok(configFrame(0, "", set(14, 0x20)), 60) // version 1 in the reply: obeys looks
	r.data(readExt(0, 1, set(14, 0x00)), 1)
}

func TestTable(t *testing.T) {
	a, b := newExport(t, nil), newExport(t, nil)
	if _, err := NewTable([]*Export{a, b}); err == nil {
		t.Error("two exports with one address were taken")
	}
	empty := newTable(t)
	if empty.Lookup(own) != nil || len(empty.All()) != 0 {
		t.Error("an empty table finds something")
	}
	var all []*Export
	for i := range 3000 {
		k := uint32(i*2654435761) & 0xffffff
		if k>>8 == 0xffff || k&0xff == 0xff {
			continue
		}
		all = append(all, newExport(t, func(c *ExportConfig) { c.Addr = aoe.Addr{Major: uint16(k >> 8), Minor: uint8(k)} }))
	}
	for i, e := range all {
		e.ID = uint32(i)
	}
	tab := newTable(t, all...)
	for i, e := range tab.All() {
		if i > 0 && !tab.All()[i-1].Addr().Less(e.Addr()) {
			t.Fatalf("not sorted at %d", i)
		}
		if tab.Lookup(e.Addr()) != e {
			t.Fatalf("%v is not found", e.Addr())
		}
		if f, id := tab.Find(e.Addr().Key()); f != e || id != e.ID {
			t.Fatalf("%v is found as %v with the ID %d, not %d", e.Addr(), f, id, e.ID)
		}
	}
	for _, e := range all {
		if a := (aoe.Addr{Major: e.Addr().Major, Minor: e.Addr().Minor ^ 0x55}); tab.Lookup(a) != nil && tab.Lookup(a).Addr() != a {
			t.Fatalf("%v finds another", a)
		}
	}
	if tab.Lookup(wild) != nil {
		t.Error("the wildcard finds something")
	}
}
