package target

import (
	"bytes"
	"testing"

	"goaoe/aoe"
	"goaoe/ata"
)

// Conformance list: what becomes of failed storage operations.
func TestFinish(t *testing.T) {
	w := fill(512, 1)
	t.Run("C70 media error of a read", func(t *testing.T) {
		r := newRig(t, nil)
		r.fail = Media
		r.same(readExt(7, 2), r.status(readExt(7, 2), 0x41, 0x40))
		r.fail = OK
		r.data(readExt(7, 2), 2)
		if !r.e.Failing() {
			t.Error("not remembered for SMART")
		}
	})
	t.Run("C71 no space", func(t *testing.T) {
		r := newRig(t, nil)
		r.fail = NoSpace
		r.same(writeExt(7, w), r.status(writeExt(7, w), 0x61, 0x04))
		if r.e.Failing() {
			t.Error("a full file system is no failing disk")
		}
	})
	for _, c := range []struct {
		name         string
		frame        []byte
		res          Result
		status, code byte
	}{
		{"write, media", writeExt(7, w), Media, 0x61, 0x04},
		{"write, read-only", writeExt(7, w), ReadOnly, 0x41, 0x04},
		{"read, no space", readExt(7, 1), NoSpace, 0x41, 0x40},
		{"read, not permitted", readExt(7, 1), ReadOnly, 0x41, 0x40},
		{"flush, no space", ataFrame(cmd{op: 0xe7, count: 3}), NoSpace, 0x61, 0x04},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.fail = c.res
			r.same(c.frame, r.status(c.frame, c.status, c.code))
		})
	}
	t.Run("gone", func(t *testing.T) {
		r := newRig(t, nil)
		r.fail = Gone
		for _, f := range [][]byte{readExt(7, 1), writeExt(7, w), ataFrame(cmd{op: 0xe7})} {
			if f := r.aoeError(f, aoe.Unavailable); len(f) != 60 {
				t.Errorf("%d bytes", len(f))
			}
		}
	})
}

func TestFinishAddress(t *testing.T) {
	e := newExport(t, func(c *ExportConfig) { c.Sectors = 1 << 40 })
	hdr := make([]byte, 64)
	for _, c := range []struct {
		name  string
		f     []byte
		lba   uint64
		known bool
		want  [6]byte
	}{
		{"48 bits", readExt(0x123456789a, 2), 0x123456789b, true, [6]byte{0x9b, 0x78, 0x56, 0x34, 0x12}},
		{"unknown", readExt(0x123456789a, 2), 7, false, [6]byte{0x9a, 0x78, 0x56, 0x34, 0x12}},
		{"28 bits", ataFrame(cmd{op: 0x20, count: 2, lba: 0x0abcdef, lba3: 0xe0}, set(32, 8, 9)), 0x0abcdf0, true, [6]byte{0xf0, 0xcd, 0xab, 0xe0, 8, 9}},
	} {
		n, d := e.Finish(c.f[:36], port(1500), IOSpec{Kind: IORead, Count: 2}, Media, c.lba, c.known, hdr)
		if n != 60 || d != 0 || [6]byte(hdr[28:34]) != c.want {
			t.Errorf("%s: %d, %d, % x", c.name, n, d, hdr[28:34])
		}
	}
}

// The worked frames, through Handle and Finish.
func TestFinishGolden(t *testing.T) {
	e := newExport(t, func(c *ExportConfig) { c.Addr, c.Sectors = aoe.Addr{Major: 0x0102, Minor: 3}, 1<<40 })
	in, buf := port(1500), bytes.Repeat([]byte{dirty}, 1600)
	req := []byte{2, 0, 0, 0, 0, 0xaa, 2, 0, 0, 0, 0, 1, 0x88, 0xa2, 0x10, 0, 1, 2, 3, 0, 0, 0x12, 0, 2,
		0x40, 0, 2, 0x24, 0x89, 0x67, 0x45, 0x23, 1, 0, 0, 0}
	want := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0xaa, 0x88, 0xa2, 0x18, 0, 1, 2, 3, 0, 0, 0x12, 0, 2,
		0x40, 0, 0, 0x40, 0x89, 0x67, 0x45, 0x23, 1, 0, 0, 0}
	var r Request
	if d := r.Parse(req, false, 0, in); d != 0 {
		t.Fatal(d)
	}
	act := handle(e, &r, in, buf)
	if act.Kind != IO || act.IO != (IOSpec{Kind: IORead, LBA: 0x0123456789, Count: 2}) {
		t.Fatalf("%+v", act)
	}
	n, d := e.Finish(req, in, act.IO, OK, 0, false, buf[:64])
	if n != 36 || d != 1024 || !bytes.Equal(buf[:36], want) {
		t.Errorf("%d, %d: % x", n, d, buf[:n])
	}
	e.SetSectors(1 << 32)
	act = handle(e, &r, in, buf)
	want[25], want[26], want[27] = ata.ErrIDNF, 2, 0x41
	if act.Kind != Reply || !bytes.Equal(buf[:act.N], append(want, make([]byte, 24)...)) {
		t.Errorf("%+v: % x", act, buf[:act.N])
	}
}

func TestFinishShort(t *testing.T) {
	e := newExport(t, nil)
	f := readExt(0, 1)
	if n, d := e.Finish(f[:35], port(1500), IOSpec{Kind: IORead, Count: 1}, OK, 0, false, make([]byte, 64)); n != 0 || d != 0 {
		t.Errorf("35 bytes of header: %d, %d", n, d)
	}
	if n, d := e.Finish(f, port(1500), IOSpec{Kind: IORead, Count: 1}, OK, 0, false, make([]byte, 59)); n != 0 || d != 0 {
		t.Errorf("59 bytes of room: %d, %d", n, d)
	}
}
