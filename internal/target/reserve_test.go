package target

import (
	"slices"
	"testing"

	"goaoe/aoe"
	"goaoe/internal/stats"
)

// holders checks the list of a reserve reply.
func (r *rig) holders(f []byte, op byte, want ...aoe.MAC) {
	r.t.Helper()
	q, list, err := aoe.DecodeReserve(f)
	if err != nil || q.Op != op || len(f) != max(60, 26+6*len(want)) {
		r.t.Fatalf("%+v, %v, %d bytes", q, err, len(f))
	}
	var got []aoe.MAC
	for i := range int(q.Count) {
		got = append(got, aoe.ReserveMAC(list, i))
	}
	if !slices.Equal(got, want) {
		r.t.Fatalf("list %v, want %v", got, want)
	}
}

// hold sends a reserve command that must succeed.
func (r *rig) hold(from aoe.MAC, op byte, list ...aoe.MAC) {
	r.t.Helper()
	f := r.one(reserveFrame(op, list, src(from)))
	if f[14] != 0x18 {
		r.t.Fatalf("error %d", f[15])
	}
	r.holders(f, op, list...)
}

// Conformance list: reserve.
func TestReserve(t *testing.T) {
	run := func(name string, f func(t *testing.T, r *rig)) {
		t.Run(name, func(t *testing.T) { f(t, newRig(t, nil)) })
	}
	refused := func(r *rig, from aoe.MAC) { r.t.Helper(); r.aoeError(readExt(0, 1, src(from)), aoe.Reserved) }
	served := func(r *rig, from aoe.MAC) { r.t.Helper(); r.data(readExt(0, 1, src(from)), 1) }

	run("C107 read of an empty list", func(_ *testing.T, r *rig) {
		r.holders(r.ok(reserveFrame(0, nil), 60), 0)
		r.holders(r.ok(frame(aoe.CmdReserve, []byte{0, 99}), 60), 0) // the count of a read means nothing
	})
	run("C108 set, and what the others get", func(_ *testing.T, r *rig) {
		r.hold(macI, 1, macI)
		refused(r, macJ)
		r.data(identify(src(macJ)), 1)
		r.ok(configFrame(0, "", src(macJ)), 60)
		r.holders(r.ok(reserveFrame(0, nil, src(macJ)), 60), 0, macI)
		r.list(r.one(maskFrame(0, nil, src(macJ))))
		served(r, macI)
	})
	run("C109 set by another", func(_ *testing.T, r *rig) {
		r.hold(macI, 1, macI)
		r.holders(r.aoeError(reserveFrame(1, []aoe.MAC{macJ}, src(macJ)), aoe.Reserved), 1, macI)
		served(r, macI)
	})
	run("C110 force set", func(_ *testing.T, r *rig) {
		r.hold(macI, 1, macI)
		r.hold(macJ, 2, macJ)
		refused(r, macI)
		r.hold(macJ, 1, macJ, macA) // by its new holder, without force
	})
	run("C111 release", func(_ *testing.T, r *rig) {
		r.hold(macI, 1, macI)
		r.hold(macI, 1)
		served(r, macI)
		served(r, macJ)
	})
	run("C112 unsorted list", func(_ *testing.T, r *rig) {
		r.hold(macI, 2, macC, macA, macB)
		for _, m := range []aoe.MAC{macA, macB, macC} {
			served(r, m)
		}
		refused(r, macD)
	})
	run("C113 without the sender", func(_ *testing.T, r *rig) {
		r.hold(macI, 1, macA, macB)
		refused(r, macI)
	})
	run("C114 unknown operation", func(_ *testing.T, r *rig) { r.aoeError(reserveFrame(3, nil), aoe.BadArgument) })
	run("C115 flush and power commands too", func(_ *testing.T, r *rig) {
		r.hold(macI, 1, macI)
		for _, op := range []byte{0xe7, 0xea, 0xe5, 0x34, 0xef, 0x00} {
			r.aoeError(ataFrame(cmd{op: op}, src(macJ)), aoe.Reserved)
		}
	})
	run("C116 independent of the mask", func(_ *testing.T, r *rig) {
		r.e.SetState(&State{Reserve: []aoe.MAC{macI}, Mask: []aoe.MAC{macJ}})
		r.silence(readExt(0, 1), stats.DropMask)
		refused(r, macJ)
	})
	run("C117 the reservation survives a restart", func(t *testing.T, r *rig) {
		r.hold(macI, 1, macI)
		again := newRig(t, nil)
		again.e.SetState(r.saved[0])
		refused(again, macJ)
		served(again, macI)
	})
}

func TestReserveMore(t *testing.T) {
	r := newRig(t, nil)
	f := reserveFrame(2, []aoe.MAC{macI, macJ})
	r.aoeError(f[:len(f)-1], aoe.BadArgument)
	full := macs(MaxReserve)
	r.hold(macI, 2, full...)
	if got := len(r.one(reserveFrame(0, nil))); got != 1514 {
		t.Errorf("%d bytes", got)
	}
	r.in = port(9000)
	r.aoeError(reserveFrame(2, macs(MaxReserve+1)), aoe.BadArgument)
	r.in = port(1042)
	r.aoeError(reserveFrame(2, full), aoe.BadArgument)
	r.aoeError(reserveFrame(0, nil), aoe.BadArgument) // the list does not fit
	if f := r.aoeError(reserveFrame(1, []aoe.MAC{macI}), aoe.Reserved); len(f) != 60 {
		t.Errorf("%d bytes", len(f))
	}
	r.in = port(1500)
	if !slices.Equal(r.e.State().Reserve, full) {
		t.Error("the list has changed")
	}
	r.save = errDisk
	r.aoeError(reserveFrame(2, nil), aoe.Unavailable)
	if len(r.e.State().Reserve) != MaxReserve {
		t.Error("not durable, and done all the same")
	}
	r.save = nil
	r.hold(macI, 2) // wildcards may do all of this
	if out := r.send(reserveFrame(1, []aoe.MAC{macI}, to(wild))); len(out) != 1 || out[0][14] != 0x18 {
		t.Error("wildcard")
	}
}
