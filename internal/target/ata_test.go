package target

import (
	"bytes"
	"encoding/binary"
	"testing"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/stats"
)

func word(b []byte, w int) uint16 { return binary.LittleEndian.Uint16(b[2*w:]) }

func sum(b []byte) (s byte) {
	for _, v := range b {
		s += v
	}
	return s
}

// Conformance list: reads and writes.
func TestTransfer(t *testing.T) {
	run := func(name string, f func(t *testing.T, r *rig)) {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			copy(r.disk, fill(len(r.disk), 1))
			f(t, r)
		})
	}
	// reads checks that a read returns n sectors from lba on.
	reads := func(r *rig, f []byte, lba, n int) {
		r.t.Helper()
		if !bytes.Equal(r.data(f, n), r.disk[lba*512:(lba+n)*512]) {
			r.t.Fatalf("wrong data for %d sectors at %d", n, lba)
		}
	}
	// writes checks that a write of n sectors reaches the disk at lba.
	writes := func(r *rig, f []byte, lba, n int) {
		r.t.Helper()
		before := bytes.Clone(r.disk)
		r.fine(f)
		copy(before[lba*512:(lba+n)*512], f[36:])
		if !bytes.Equal(r.disk, before) {
			r.t.Fatalf("the disk is not as it should be after a write of %d sectors at %d", n, lba)
		}
	}
	untouched := func(r *rig, f func()) {
		r.t.Helper()
		before, n := bytes.Clone(r.disk), len(r.ios)
		f()
		if !bytes.Equal(r.disk, before) || len(r.ios) != n {
			r.t.Fatal("the disk was touched")
		}
	}
	w2 := fill(1024, 77)

	run("C55 read ext", func(_ *testing.T, r *rig) { reads(r, readExt(0, 1), 0, 1) })
	run("C56 the last sectors", func(_ *testing.T, r *rig) { reads(r, readExt(2046, 2), 2046, 2) })
	run("C57 past the end", func(_ *testing.T, r *rig) {
		untouched(r, func() {
			r.idnf(readExt(2047, 2))
			r.idnf(readExt(2048, 1))
			r.idnf(readExt(1<<48-1, 2))
			r.idnf(writeExt(2047, w2))
		})
	})
	run("C58 read of 28 bits", func(_ *testing.T, r *rig) {
		for _, head := range []byte{0xe0, 0x40, 0xa0, 0, 0xf0} {
			f := ataFrame(cmd{op: 0x20, count: 1, lba: 5, lba3: head})
			reads(r, f, 5, 1)
			r.same(f, r.one(f))
		}
	})
	run("C59 upper registers of 28 bits are ignored", func(_ *testing.T, r *rig) {
		reads(r, ataFrame(cmd{op: 0x20, count: 1, lba: 5}, set(32, 0xaa, 0xbb)), 5, 1)
	})
	run("C60 the opcode decides the width", func(_ *testing.T, r *rig) {
		reads(r, ataFrame(cmd{op: 0x24, count: 1, lba: 5}), 5, 1)
		r.idnf(ataFrame(cmd{op: 0x24, count: 1, lba: 5, lba3: 0xe0}))
	})
	t.Run("C61 28 bit opcode with E beyond 28 bits", func(t *testing.T) {
		r := &rig{t: t, in: port(1500), e: newExport(t, func(c *ExportConfig) { c.Sectors = 1 << 30 })}
		r.table = newTable(t, r.e)
		r.idnf(ataFrame(cmd{op: 0x20, flags: 0x40, count: 1, lba: 1<<28 + 5}))
		r.data(ataFrame(cmd{op: 0x20, flags: 0x40, count: 1, lba: 1<<28 - 1}), 1)
		r.data(ataFrame(cmd{op: 0x24, flags: 0x40, count: 1, lba: 1<<28 + 5}), 1)
	})
	run("C62 path probe of Linux", func(_ *testing.T, r *rig) {
		before := bytes.Clone(r.disk)
		reads(r, ataFrame(cmd{op: 0x24, flags: 0x40, count: 2, data: make([]byte, 1024)}), 0, 2)
		if !bytes.Equal(before, r.disk) {
			t.Error("written")
		}
	})
	run("C63 write ext", func(_ *testing.T, r *rig) {
		writes(r, writeExt(9, w2[:512]), 9, 1)
		reads(r, readExt(9, 1), 9, 1)
	})
	run("C64 write without W", func(_ *testing.T, r *rig) { writes(r, writeExt(9, w2, set(24, 0x40)), 9, 2) })
	run("C65 read with W", func(_ *testing.T, r *rig) { reads(r, readExt(9, 1, set(24, 0x41)), 9, 1) })
	run("C66 write with A is durable", func(t *testing.T, r *rig) {
		writes(r, writeExt(9, w2, set(24, 0x43)), 9, 2)
		if !r.ios[0].Durable {
			t.Error("not durable")
		}
	})
	run("C67 write of 28 bits", func(_ *testing.T, r *rig) {
		writes(r, ataFrame(cmd{op: 0x30, flags: 1, count: 1, lba: 0x77, lba3: 0xe0, data: w2[:512]}), 0x77, 1)
	})
	run("C68 trailing bytes of a write", func(_ *testing.T, r *rig) { writes(r, writeExt(3, w2, tail(100)), 3, 2) })
	t.Run("C69 read-only", func(t *testing.T) {
		r := newRig(t, func(c *ExportConfig) { c.ReadOnly, c.Discard, c.WriteCacheAllowed = true, true, true })
		untouched(r, func() {
			for _, op := range []byte{0x30, 0x34, 0xca, 0x39, 0xc5, 0x06, 0x35, 0x3d, 0xce, 0x31, 0xcb} {
				r.abrt(ataFrame(cmd{op: op, flags: 0x41, feature: 1, count: 1, data: make([]byte, 512)}))
			}
			r.fine(ataFrame(cmd{op: 0xe7})) // there is nothing to flush
			r.fine(ataFrame(cmd{op: 0xef, feature: 0x82}))
		})
		reads(r, readExt(0, 2), 0, 2)
		if b := r.data(identify(), 1); word(b, 169) != 0 {
			t.Error("TRIM is offered")
		}
	})
	run("C73 all reads", func(_ *testing.T, r *rig) {
		for _, op := range []byte{0x25, 0x29, 0x24} {
			reads(r, ataFrame(cmd{op: op, flags: 0x40, count: 2, lba: 7}), 7, 2)
		}
		for _, op := range []byte{0x20, 0x21, 0xc4, 0xc8, 0xc9} {
			reads(r, ataFrame(cmd{op: op, count: 2, lba: 7, lba3: 0xe0}), 7, 2)
		}
	})
	run("C74 all writes", func(t *testing.T, r *rig) {
		for i, op := range []byte{0x34, 0x35, 0x39, 0x3d, 0xce} {
			writes(r, ataFrame(cmd{op: op, flags: 0x41, count: 2, lba: 7, data: fill(1024, byte(i))}), 7, 2)
		}
		for i, op := range []byte{0x30, 0x31, 0xc5, 0xca, 0xcb} {
			writes(r, ataFrame(cmd{op: op, flags: 1, count: 2, lba: 7, lba3: 0xe0, data: fill(1024, byte(100+i))}), 7, 2)
		}
		for _, io := range r.ios {
			if !io.Durable {
				t.Errorf("not durable: %+v", io)
			}
		}
	})
	run("C75 verify", func(_ *testing.T, r *rig) {
		untouched(r, func() {
			r.fine(ataFrame(cmd{op: 0x40, count: 1, lba: 2047, lba3: 0xe0}))
			r.fine(ataFrame(cmd{op: 0x42, flags: 0x40, count: 255, lba: 0})) // no data: the frame is no limit
			r.idnf(ataFrame(cmd{op: 0x40, count: 2, lba: 2047}))
			r.idnf(ataFrame(cmd{op: 0x42, flags: 0x40, count: 1, lba: 2048}))
			r.abrt(ataFrame(cmd{op: 0x40, count: 0}))
		})
	})
	run("C86 wildcard", func(_ *testing.T, r *rig) {
		untouched(r, func() {
			r.silence(readExt(0, 1, to(aoe.Addr{Major: 1, Minor: 0xff})), stats.DropWildcard)
			r.silence(writeExt(0, w2, to(wild)), stats.DropWildcard)
			r.silence(ataFrame(cmd{op: 0xe7}, to(wild)), stats.DropWildcard)
			r.silence(ataFrame(cmd{op: 0xff}, to(wild)), stats.DropWildcard)
		})
	})
	run("C87 17 sectors at MTU 9000", func(_ *testing.T, r *rig) {
		r.in = port(9000)
		reads(r, readExt(3, 17), 3, 17)
		writes(r, writeExt(3, fill(17*512, 9)), 3, 17)
	})
	run("C88 one above what is advertised", func(_ *testing.T, r *rig) {
		r.in = port(1046)
		reads(r, readExt(3, 2), 3, 2)
		writes(r, writeExt(3, w2), 3, 2)
		r.abrt(readExt(3, 3))
		r.in = &Ingress{MAC: macT, MTU: 9000, MaxSectors: 2} // configured lower: advice to initiators only
		reads(r, readExt(3, 17), 3, 17)
	})
	run("C88 what was under way when the MTU became smaller", func(_ *testing.T, r *rig) {
		r.in = &Ingress{MAC: macT, MTU: 1500, MaxSectors: 2, Before: 9000}
		r.silence(readExt(3, 3), stats.DropSend)
		r.silence(readExt(3, 17), stats.DropSend)
		r.silence(writeExt(3, fill(17*512, 9)), stats.DropSend)
		r.abrt(readExt(3, 18))
		reads(r, readExt(3, 2), 3, 2)
	})
	run("C89 probe by growing counts", func(_ *testing.T, r *rig) {
		reads(r, readExt(0, 1), 0, 1)
		reads(r, readExt(0, 2), 0, 2)
		r.abrt(readExt(0, 3))
		r.abrt(readExt(0, 255))
	})
	run("C94 the same frame twice", func(_ *testing.T, r *rig) {
		f := writeExt(5, w2)
		writes(r, f, 5, 2)
		writes(r, f, 5, 2)
	})
	run("C95 growth", func(t *testing.T, r *rig) {
		r.idnf(readExt(2048, 1))
		r.e.SetSectors(4096)
		r.data(readExt(4095, 1), 1)
		if b := r.data(identify(), 1); binary.LittleEndian.Uint64(b[200:]) != 4096 || sum(b) != 0 {
			t.Error("IDENTIFY has the old size, or a wrong sum")
		}
		r.e.SetSectors(1 << 60)
		if r.e.Sectors() != 1<<48-1 {
			t.Error("size beyond 48 bits")
		}
	})
	run("C96 removed", func(_ *testing.T, r *rig) {
		r.table = newTable(r.t)
		r.silence(readExt(0, 1), stats.DropAddress)
	})
	run("count 0 and a payload that is not there", func(_ *testing.T, r *rig) {
		untouched(r, func() {
			r.abrt(readExt(0, 0))
			r.abrt(writeExt(0, w2, set(26, 0)))
			for _, n := range []int{36, 37, 36 + 1023, 60} {
				r.abrt(writeExt(0, w2, cut(n)))
			}
			r.abrt(writeExt(0, w2, set(26, 3), tail(512))) // longer than a frame may be
		})
		r.abrt(readExt(5000, 3)) // count before range
	})
}

// Conformance list: commands that do not transfer sectors.
func TestNoData(t *testing.T) {
	run := func(name string, f func(t *testing.T, r *rig)) {
		t.Run(name, func(t *testing.T) { f(t, newRig(t, nil)) })
	}
	cached := func(name string, f func(t *testing.T, r *rig)) {
		t.Run(name, func(t *testing.T) { f(t, newRig(t, func(c *ExportConfig) { c.WriteCacheAllowed = true })) })
	}
	feature := func(n byte) []byte { return ataFrame(cmd{op: 0xef, feature: n, count: 3, lba3: 0xa0}) }
	flushes := func(r *rig) (n int) {
		for _, io := range r.ios {
			if io.Kind == IOFlush {
				n++
			}
		}
		return n
	}
	run("C76 C77 C78 flush", func(t *testing.T, r *rig) {
		for _, c := range []cmd{{op: 0xe7}, {op: 0xe7, flags: 0x40}, {op: 0xea, flags: 0x40}, {op: 0xea, count: 200, lba: 1 << 47}} {
			r.fine(ataFrame(c))
		}
		if flushes(r) != 4 {
			t.Errorf("%d flushes", flushes(r))
		}
		r.fail = Media
		r.same(ataFrame(cmd{op: 0xea}), r.status(ataFrame(cmd{op: 0xea, count: 7}), 0x61, 0x04))
	})
	run("C79 check power mode", func(t *testing.T, r *rig) {
		for _, op := range []byte{0xe5, 0x98} {
			for _, n := range []byte{0, 1, 7} {
				if f := r.fine(ataFrame(cmd{op: op, count: n})); f[26] != 0xff {
					t.Errorf("count %#x", f[26])
				}
			}
		}
		for _, op := range []byte{0xe0, 0xe1, 0xe2, 0xe3, 0x94, 0x95, 0x96, 0x97, 0xe6, 0x99} {
			r.fine(ataFrame(cmd{op: op, count: 9, lba: 0x123456}))
		}
	})
	cached("C80 set features", func(t *testing.T, r *rig) {
		for _, f := range []byte{0x82, 0x55, 0xaa, 0x03, 0x05, 0x85, 0x66, 0xcc, 0x02} {
			r.fine(feature(f))
		}
		r.fine(feature(0x55))
		if b := r.data(identify(), 1); word(b, 82)&0x40 == 0 || word(b, 85)&0x40 != 0 || sum(b) != 0 {
			t.Error("look-ahead is not shown as off")
		}
	})
	run("C81 refused features", func(t *testing.T, r *rig) {
		r.abrt(feature(0x02))
		r.abrt(feature(0x99))
		r.fine(feature(0x82)) // off already, and never on
		if r.e.WriteCache() || len(r.ios) != 0 {
			t.Error("the write cache is on, or there was something to flush")
		}
	})
	cached("C90 what is durable", func(t *testing.T, r *rig) {
		durable := func(op byte) bool {
			t.Helper()
			r.fine(ataFrame(cmd{op: op, flags: 0x43, count: 1, data: make([]byte, 512)}))
			return r.ios[len(r.ios)-1].Durable
		}
		if durable(0x34) || durable(0xca) || !durable(0x3d) || !durable(0xce) {
			t.Error("with the cache on only FUA writes are durable")
		}
		if b := r.data(identify(), 1); word(b, 82)&0x20 == 0 || word(b, 85)&0x20 == 0 {
			t.Error("IDENTIFY hides the cache")
		}
		r.fine(feature(0x82))
		if flushes(r) != 1 || !durable(0x34) || !durable(0x3d) {
			t.Error("with the cache off all writes are durable, and what was acknowledged is flushed first")
		}
		if b := r.data(identify(), 1); word(b, 82)&0x20 == 0 || word(b, 85)&0x20 != 0 || sum(b) != 0 {
			t.Error("IDENTIFY shows the cache as on")
		}
		r.fine(feature(0x82)) // a repetition waits for a flush too
		if flushes(r) != 2 {
			t.Error("a repetition was answered without a flush")
		}
		r.fine(feature(0x02))
		if durable(0x34) {
			t.Error("0x02 does not turn the cache on")
		}
		r.fail = Media
		r.status(feature(0x82), 0x61, 0x04)
		if r.e.WriteCache() {
			t.Error("the flush failed, and writes go on as if it had not")
		}
	})
	run("C84 native max", func(t *testing.T, r *rig) {
		if f := r.fine(ataFrame(cmd{op: 0xf8, lba3: 0xe0})); !bytes.Equal(f[28:34], []byte{0xff, 7, 0, 0xe0, 0, 0}) {
			t.Errorf("28 bits: % x", f[28:34])
		}
		if f := r.fine(ataFrame(cmd{op: 0x27, flags: 0x40, lba3: 0xe0})); !bytes.Equal(f[28:34], []byte{0xff, 7, 0, 0, 0, 0}) {
			t.Errorf("48 bits: % x", f[28:34])
		}
		r.e.SetSectors(1 << 33)
		if f := r.fine(ataFrame(cmd{op: 0xf8, lba3: 0x40})); !bytes.Equal(f[28:34], []byte{255, 255, 255, 0x4f, 0, 0}) {
			t.Errorf("28 bits of a large disk: % x", f[28:34])
		}
		if f := r.fine(ataFrame(cmd{op: 0x27})); ata.LBA48([6]byte(f[28:34])) != 1<<33-1 {
			t.Errorf("48 bits of a large disk: % x", f[28:34])
		}
	})
	run("C85 refused commands", func(t *testing.T, r *rig) {
		for _, op := range []byte{0x00, 0x08, 0xa0, 0xa1, 0xa2, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf9, 0x37, 0x92, 0x93, 0x60, 0x61, 0xff, 0x10, 0x90, 0x91,
			0xb1, 0x45, 0x2f, 0x47, 0x3f, 0x57, 0x06, 0xb0} {
			r.abrt(ataFrame(cmd{op: op, flags: 0x40, feature: 1, count: 1, lba: 3, data: make([]byte, 512)}))
		}
		for n := range 256 {
			if f := ataFrame(cmd{op: 0xc6, count: byte(n)}); n > 128 || n&(n-1) != 0 {
				r.abrt(f)
			} else {
				r.fine(f)
				if b := r.data(identify(), 1); n > 0 && word(b, 59) != 0x100|uint16(n) || n == 0 && word(b, 59) != 0 || sum(b) != 0 {
					t.Errorf("SET MULTIPLE %d: word 59 = %#x", n, word(b, 59))
				}
			}
		}
		if len(r.ios) != 0 {
			t.Error("the storage was asked")
		}
	})
}

func TestTrim(t *testing.T) {
	ranges := func(v ...uint64) []byte {
		b := make([]byte, 512)
		for i := 0; i+1 < len(v); i += 2 {
			ata.PutTrimRange(b, i/2, v[i], int(v[i+1]))
		}
		return b
	}
	trim := func(data []byte, opts ...opt) []byte {
		return ataFrame(cmd{op: 0x06, flags: 0x41, feature: 1, count: 1, data: data}, opts...)
	}
	r := newRig(t, func(c *ExportConfig) { c.Discard = true })
	copy(r.disk, fill(len(r.disk), 3))
	want := bytes.Clone(r.disk)
	clear(want[5*512 : 8*512])
	clear(want[2047*512:])
	r.fine(trim(ranges(5, 3, 9999, 0, 2047, 1)))
	if !bytes.Equal(r.disk, want) {
		t.Error("wrong sectors")
	}
	n := len(r.ios)
	r.idnf(trim(ranges(5, 3, 2047, 2)))
	r.idnf(trim(ranges(1<<48-1, 65535)))
	r.abrt(trim(ranges(5, 3), set(25, 0)))
	r.abrt(trim(ranges(5, 3), set(25, 3)))
	r.abrt(trim(ranges(5, 3), set(26, 0)))
	r.abrt(trim(append(ranges(5, 3), ranges(6, 1)...), set(26, 2))) // word 105: one block
	r.abrt(trim(ranges(5, 3), cut(36+511)))
	if len(r.ios) != n {
		t.Error("refused, and done all the same")
	}
	r.fail = Media
	r.status(trim(ranges(5, 3)), 0x61, 0x04)
	r.fail = OK
	off := newRig(t, nil)
	off.abrt(trim(ranges(5, 3)))
}
