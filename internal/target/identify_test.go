package target

import (
	"bytes"
	"encoding/binary"
	"testing"

	"goaoe/aoe"
	"goaoe/ata"
)

// Conformance list: IDENTIFY.
func TestIdentify(t *testing.T) {
	run := func(name string, f func(t *testing.T, r *rig)) {
		t.Run(name, func(t *testing.T) { f(t, newRig(t, nil)) })
	}
	run("C45 as Linux sends it", func(t *testing.T, r *rig) {
		f := identify()
		if len(f) != 36 {
			t.Fatal(len(f))
		}
		r.data(f, 1)
		r.same(f, r.one(f))
	})
	run("C46 with E", func(t *testing.T, r *rig) {
		if !bytes.Equal(r.data(identify(set(24, 0x40)), 1), r.data(identify(), 1)) {
			t.Error("differs")
		}
	})
	run("C47 wildcard", func(_ *testing.T, r *rig) { r.data(identify(to(wild), dst(aoe.Broadcast)), 1) })
	run("C48 trailing bytes", func(_ *testing.T, r *rig) {
		for _, n := range []int{24, 1024, 1464} {
			r.data(identify(tail(n)), 1)
		}
	})
	run("C49 count 0", func(_ *testing.T, r *rig) {
		r.data(identify(set(26, 0)), 1)
		r.data(identify(set(26, 255)), 1)
	})
	run("C50 words", func(t *testing.T, r *rig) {
		b := r.data(identify(), 1)
		if word(b, 49)&0x0200 == 0 || word(b, 83)&0x0400 == 0 || word(b, 86)&0x0400 == 0 || sum(b) != 0 ||
			binary.LittleEndian.Uint32(b[120:]) != 2048 || binary.LittleEndian.Uint64(b[200:]) != 2048 {
			t.Errorf("%x", b)
		}
	})
	t.Run("C51 2^28 + 5 sectors", func(t *testing.T) {
		r := &rig{t: t, in: port(1500), e: newExport(t, func(c *ExportConfig) { c.Sectors = 1<<28 + 5 })}
		r.table = newTable(t, r.e)
		b := r.data(identify(), 1)
		if binary.LittleEndian.Uint32(b[120:]) != 0x0fffffff || binary.LittleEndian.Uint64(b[200:]) != 1<<28+5 {
			t.Errorf("%x %x", b[120:124], b[200:208])
		}
	})
	run("C52 texts", func(t *testing.T, r *rig) {
		b := r.data(identify(), 1)
		id, err := ata.ParseIdentify(b)
		if err != nil || id.Serial != "SER1" || id.Model != "test disk" || id.Firmware != "f1" || string(b[20:24]) != "ES1R" {
			t.Errorf("%+v, %v", id, err)
		}
		r.in = &Ingress{MAC: macD, MTU: 9000}
		if !bytes.Equal(b, r.data(identify(dst(macD)), 1)) {
			t.Error("differs on another interface")
		}
		if !bytes.Equal(b, newRig(t, nil).data(identify(), 1)) {
			t.Error("differs after a restart")
		}
	})
	t.Run("everything on", func(t *testing.T) {
		r := newRig(t, func(c *ExportConfig) {
			c.PhysicalSize, c.AlignOffset, c.Rotational, c.WWN = 4096, 3584, true, 0x5000c50012345678
			c.WriteCacheAllowed, c.Discard, c.DiscardZeroes, c.Smart = true, true, true, true
		})
		id, err := ata.ParseIdentify(r.data(identify(), 1))
		if err != nil || id.PhysicalSize != 4096 || id.AlignOffset != 7 || id.Rotation != 7200 || id.WWN != 0x5000c50012345678 ||
			!id.WriteCache || !id.WriteCacheEnabled || !id.Trim || !id.TrimZero || !id.Smart || !id.SmartEnabled || !id.FUA || !id.LookAheadEnabled {
			t.Errorf("%+v, %v", id, err)
		}
	})
	t.Run("the default tells the truth", func(t *testing.T) {
		id, err := ata.ParseIdentify(newRig(t, nil).data(identify(), 1))
		if err != nil || id.WriteCache || id.WriteCacheEnabled || id.Trim || id.Smart || id.Rotation != 1 || id.WWN != 0 || id.PhysicalSize != 512 {
			t.Errorf("%+v, %v", id, err)
		}
	})
}

// Conformance list: SMART.
func TestSmart(t *testing.T) {
	smart := func(feature, log byte, opts ...opt) []byte {
		return ataFrame(cmd{op: 0xb0, feature: feature, count: 1, lba: 0xc24f00 | uint64(log), data: make([]byte, 1024)}, opts...)
	}
	t.Run("C82 on", func(t *testing.T) {
		r := newRig(t, func(c *ExportConfig) { c.Smart = true })
		if b := r.data(identify(), 1); word(b, 82)&1 == 0 || word(b, 85)&1 == 0 {
			t.Error("not offered")
		}
		if b := r.data(smart(0xd0, 0), 1); sum(b) != 0 || word(b, 0) != 0x10 {
			t.Errorf("READ DATA % x", b[:16])
		}
		if b := r.data(smart(0xd5, 0), 1); b[0] != 1 || sum(b) != 1 {
			t.Errorf("log directory % x", b[:16])
		}
		for _, f := range []byte{0xd1, 0xd2, 0xd3, 0xd4, 0xdb, 0xd8, 0xda} {
			if b := r.data(smart(f, 0), 1); !bytes.Equal(b, make([]byte, 512)) {
				t.Errorf("feature %#x: % x", f, b[:16])
			}
		}
		for _, f := range [][]byte{smart(0xd6, 0), smart(0xd5, 1), smart(0xd7, 0), smart(0, 0), smart(0xd0, 0, set(29, 0)), smart(0xd0, 0, set(30, 0))} {
			r.abrt(f)
		}
	})
	t.Run("C82 return status", func(t *testing.T) {
		r := newRig(t, func(c *ExportConfig) { c.Smart = true })
		if f := r.one(smart(0xda, 0)); f[29] != 0x4f || f[30] != 0xc2 {
			t.Errorf("healthy: % x", f[28:34])
		}
		r.fail = Media
		r.one(readExt(0, 1))
		r.fail = OK
		if f := r.one(smart(0xda, 0)); f[29] != 0xf4 || f[30] != 0x2c {
			t.Errorf("failing: % x", f[28:34])
		}
		r.e.SetFailing(false)
		if f := r.one(smart(0xda, 0)); f[29] != 0x4f {
			t.Errorf("healthy again: % x", f[28:34])
		}
	})
	t.Run("C82 disabled by command", func(t *testing.T) {
		r := newRig(t, func(c *ExportConfig) { c.Smart = true })
		r.data(smart(0xd9, 0), 1)
		r.abrt(smart(0xd0, 0))
		if b := r.data(identify(), 1); word(b, 82)&1 == 0 || word(b, 85)&1 != 0 || sum(b) != 0 {
			t.Error("IDENTIFY")
		}
		r.data(smart(0xd8, 0), 1)
		r.data(smart(0xd0, 0), 1)
	})
	t.Run("C83 off", func(t *testing.T) {
		r := newRig(t, nil)
		for f := range 256 {
			r.abrt(smart(byte(f), 0))
		}
		if b := r.data(identify(), 1); word(b, 82)&1 != 0 {
			t.Error("offered")
		}
	})
}
