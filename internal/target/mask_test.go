package target

import (
	"slices"
	"testing"

	"goaoe/aoe"
	"goaoe/internal/stats"
)

// list checks that a mask reply has these entries.
func (r *rig) list(f []byte, want ...aoe.MAC) {
	r.t.Helper()
	m, dirs, err := aoe.DecodeMask(f)
	if err != nil || m.Error != 0 || f[14] != 0x18 || len(f) != max(60, 28+8*len(want)) {
		r.t.Fatalf("%+v, %v, %d bytes, byte 14 %#x", m, err, len(f), f[14])
	}
	var got []aoe.MAC
	for i := range int(m.Count) {
		got = append(got, aoe.MaskDirective(dirs, i).MAC)
	}
	if !slices.Equal(got, want) {
		r.t.Fatalf("list %v, want %v", got, want)
	}
}

// merror checks that a mask reply has this error of its own, the index, and no list.
func (r *rig) merror(f []byte, code, index byte) {
	r.t.Helper()
	if f[14] != 0x18 || f[15] != 0 || f[26] != code || f[27] != index || len(f) != 60 {
		r.t.Fatalf("MError %d, count %d, byte 14 %#x, %d bytes; want %d, %d", f[26], f[27], f[14], len(f), code, index)
	}
}

func edit(d ...aoe.Directive) []byte { return maskFrame(aoe.MaskEdit, d) }

// macs returns n different addresses.
func macs(n int) []aoe.MAC {
	l := make([]aoe.MAC, n)
	for i := range l {
		l[i] = aoe.MAC{2, 1, 0, 0, byte(i >> 8), byte(i)}
	}
	return l
}

// Conformance list: mask.
func TestMask(t *testing.T) {
	run := func(name string, f func(t *testing.T, r *rig)) {
		t.Run(name, func(t *testing.T) { f(t, newRig(t, nil)) })
	}
	run("C97 read of an empty list", func(t *testing.T, r *rig) {
		r.list(r.one(frame(aoe.CmdMask, []byte{0, 0, 0, 0})))
		r.list(r.one(frame(aoe.CmdMask, []byte{0, 0, 0, 200}))) // the count of a read means nothing
	})
	run("C98 add one after the other", func(_ *testing.T, r *rig) {
		var want []aoe.MAC
		for _, m := range []aoe.MAC{macI, macA, macB, macC, macD} {
			want = append(want, m)
			r.list(r.one(edit(add(m))), want...)
		}
		r.list(r.one(maskFrame(aoe.MaskRead, nil)), want...)
	})
	run("C99 delete", func(_ *testing.T, r *rig) {
		r.e.SetState(&State{Mask: []aoe.MAC{macI, macA, macB, macC, macD}})
		r.list(r.one(edit(del(macA))), macI, macB, macC, macD)
		r.list(r.one(edit(del(macD))), macI, macB, macC)
		r.list(r.one(edit(del(macJ))), macI, macB, macC)
		if len(r.saved) != 2 {
			r.t.Errorf("saved %d times", len(r.saved))
		}
	})
	run("C100 add twice", func(_ *testing.T, r *rig) {
		r.list(r.one(edit(add(macI), add(macI))), macI)
		r.list(r.one(edit(add(macI))), macI)
	})
	run("C101 silence for who is not in the list", func(_ *testing.T, r *rig) {
		r.e.SetState(&State{Mask: []aoe.MAC{macI}})
		for _, f := range [][]byte{configFrame(0, "", src(macJ)), configFrame(4, "x", src(macJ)), identify(src(macJ)), readExt(0, 1, src(macJ)), frame(0x7f, nil, src(macJ)),
			maskFrame(0, nil, src(macJ)), maskFrame(1, []aoe.Directive{add(macJ)}, src(macJ)), reserveFrame(0, nil, src(macJ)), configFrame(0, "", src(macJ), set(14, 0x20))} {
			r.silence(f, stats.DropMask)
		}
		r.ok(configFrame(0, ""), 60)
		r.data(readExt(0, 1), 1)
	})
	run("C102 a bad directive stops", func(_ *testing.T, r *rig) {
		r.merror(r.one(edit(add(macI), aoe.Directive{Cmd: 9, MAC: macA}, add(macB))), aoe.MaskBadDirective, 1)
		r.list(r.one(maskFrame(0, nil)), macI)
		if len(r.saved) != 1 {
			r.t.Error("what was applied is not durable")
		}
	})
	run("C103 full", func(t *testing.T, r *rig) {
		r.e.SetState(&State{Mask: append([]aoe.MAC{macI}, macs(MaxMask-1)...)})
		r.merror(r.one(edit(add(macI), del(macJ), add(macA))), aoe.MaskFull, 2)
		if got := len(r.e.State().Mask); got != MaxMask || len(r.saved) != 0 {
			t.Errorf("%d entries, saved %d times", got, len(r.saved))
		}
		full := r.one(maskFrame(0, nil))
		if len(full) != 28+8*MaxMask || len(full) > 1514 {
			t.Errorf("%d bytes", len(full))
		}
		r.in = port(9000) // the limit is what fits the smallest usual interface
		r.merror(r.one(edit(add(macA))), aoe.MaskFull, 0)
	})
	run("C104 no directive", func(_ *testing.T, r *rig) {
		r.e.SetState(&State{Mask: []aoe.MAC{macI}})
		r.list(r.one(edit()), macI)
		r.list(r.one(edit(aoe.Directive{Cmd: 0, MAC: macA})), macI)
	})
	run("C105 unknown operation", func(_ *testing.T, r *rig) { r.aoeError(maskFrame(2, nil), aoe.BadArgument) })
	run("C106 the list survives a restart", func(t *testing.T, r *rig) {
		r.one(edit(add(macI), add(macA)))
		again := newRig(t, nil)
		again.e.SetState(r.saved[len(r.saved)-1])
		again.silence(identify(src(macJ)), stats.DropMask)
		again.list(again.one(maskFrame(0, nil)), macI, macA)
	})
}

func TestMaskMore(t *testing.T) {
	run := func(name string, f func(t *testing.T, r *rig)) {
		t.Run(name, func(t *testing.T) { f(t, newRig(t, nil)) })
	}
	run("more directives than were received", func(t *testing.T, r *rig) {
		f := edit(add(macI), add(macA))
		r.aoeError(f[:len(f)-1], aoe.BadArgument)
		if len(r.e.State().Mask) != 0 {
			t.Error("something was applied")
		}
	})
	run("who locks itself out is told so", func(_ *testing.T, r *rig) {
		r.list(r.one(edit(add(macJ))), macJ)
		r.silence(edit(add(macI)), stats.DropMask)
	})
	run("not durable, not done", func(_ *testing.T, r *rig) {
		r.save = errDisk
		r.aoeError(edit(add(macJ)), aoe.Unavailable)
		r.list(r.one(maskFrame(0, nil)))
	})
	run("a list that does not fit this interface is not cut", func(_ *testing.T, r *rig) {
		r.e.SetState(&State{Mask: append([]aoe.MAC{macI}, macs(150)...)})
		r.in = port(1042)
		r.merror(r.one(maskFrame(0, nil)), aoe.MaskUnspecified, 0)
		r.merror(r.one(edit(add(macJ))), aoe.MaskFull, 0)
	})
	run("the published list does not change under its readers", func(t *testing.T, r *rig) {
		r.one(edit(add(macI), add(macA), add(macB)))
		before := r.e.State()
		r.one(edit(del(macA), add(macC)))
		if !slices.Equal(before.Mask, []aoe.MAC{macI, macA, macB}) {
			t.Errorf("%v", before.Mask)
		}
	})
}
