package ata

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// full is a device with everything on.
func full() Device {
	return Device{
		Sectors: 1<<28 + 5, Serial: "S1", Firmware: "1.0", Model: "goaoe disk", PhysicalSize: 4096, AlignOffset: 7,
		WriteCache: true, WriteCacheEnabled: true, LookAheadEnabled: true, Smart: true, SmartEnabled: true, FUA: true,
		Trim: true, TrimZero: true, WWN: 0x5002538912345678, Rotation: RotationNone, Multiple: 16,
	}
}

func words(b *[512]byte) map[int]uint16 {
	m := map[int]uint16{}
	for i := range 256 {
		if w := binary.LittleEndian.Uint16(b[2*i:]); w != 0 {
			m[i] = w
		}
	}
	return m
}

// texts returns the words of s padded to n characters.
func texts(m map[int]uint16, word, n int, s string) {
	s += strings.Repeat(" ", n-len(s))
	for i := 0; i < n; i += 2 {
		m[word+i/2] = uint16(s[i])<<8 | uint16(s[i+1])
	}
}

func check(t *testing.T, d Device, want map[int]uint16) {
	t.Helper()
	var b [512]byte
	for i := range b {
		b[i] = 0x77
	}
	d.Build(&b)
	got := words(&b)
	if b[510] != 0xa5 || !SumOK(&b) {
		t.Errorf("checksum: byte 510 %#x, sum ok %v", b[510], SumOK(&b))
	}
	delete(got, 255)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
}

// base are the words that every disk has.
func base() map[int]uint16 {
	return map[int]uint16{
		0: 0x0040, 3: 16, 6: 63, 47: 0x8001, 49: 0x0200, 50: 0x4000, 53: 7, 55: 16, 56: 63,
		64: 3, 65: 120, 66: 120, 67: 120, 68: 120, 80: 0x01f0, 82: 0x0048, 83: 0x7400, 84: 0x4000, 85: 0x0008, 86: 0x3400, 87: 0x4000,
		93: 0x400b, 106: 0x4000, 119: 0x4000, 120: 0x4000,
	}
}

func TestIdentifyPlain(t *testing.T) {
	want := base()
	want[1], want[54] = 2, 2
	want[57] = 2016
	want[60], want[100] = 2048, 2048
	texts(want, 10, 20, "serial")
	texts(want, 23, 8, "")
	texts(want, 27, 40, "abc")
	check(t, Device{Sectors: 2048, Serial: "serial", Model: "abc"}, want)
}

func TestIdentifyFull(t *testing.T) {
	want := base()
	want[1], want[54] = 16383, 16383
	want[57], want[58] = 0xfc10, 0x00fb
	want[59] = 0x0110
	want[60], want[61] = 0xffff, 0x0fff
	want[100], want[101] = 5, 0x1000
	want[69], want[105], want[169] = 0x4020, 1, 1
	want[82], want[85] = 0x0069, 0x0069
	want[84], want[87] = 0x4140, 0x4140
	want[106], want[209] = 0x6003, 0x4007
	want[108], want[109], want[110], want[111] = 0x5002, 0x5389, 0x1234, 0x5678
	want[217] = 1
	texts(want, 10, 20, "S1")
	texts(want, 23, 8, "1.0")
	texts(want, 27, 40, "goaoe disk")
	check(t, full(), want)
}

func TestIdentifySizes(t *testing.T) {
	for _, c := range []struct {
		sectors uint64
		cyl     uint16
		size28  uint32
		size48  uint64
	}{
		{1, 0, 1, 1},
		{16514063, 16382, 16514063, 16514063},
		{16514064, 16383, 16514064, 16514064},
		{1<<28 - 1, 16383, 1<<28 - 1, 1<<28 - 1},
		{1 << 28, 16383, 1<<28 - 1, 1 << 28},
		{1<<48 - 1, 16383, 1<<28 - 1, 1<<48 - 1},
		{1 << 60, 16383, 1<<28 - 1, 1<<48 - 1},
	} {
		var b [512]byte
		(&Device{Sectors: c.sectors}).Build(&b)
		s28 := binary.LittleEndian.Uint32(b[120:])
		s48 := binary.LittleEndian.Uint64(b[200:])
		if cyl := get(&b, 1); cyl != c.cyl || s28 != c.size28 || s48 != c.size48 || get(&b, 54) != c.cyl {
			t.Errorf("%d sectors: cylinders %d, %d, %d", c.sectors, cyl, s28, s48)
		}
	}
}

func TestIdentifyPhysical(t *testing.T) {
	for size, want := range map[int]uint16{0: 0x4000, 512: 0x4000, 1024: 0x6001, 4096: 0x6003, 1 << 20: 0x600b, 1 << 40: 0x600f} {
		var b [512]byte
		(&Device{Sectors: 1, PhysicalSize: size}).Build(&b)
		if got := get(&b, 106); got != want {
			t.Errorf("physical size %d: word 106 = %#x, want %#x", size, got, want)
		}
	}
}

func TestIdentifyText(t *testing.T) {
	var b [512]byte
	(&Device{Sectors: 1, Serial: strings.Repeat("x", 30), Model: "a\nb\x00c\xe4", Firmware: "12345678"}).Build(&b)
	id, err := ParseIdentify(b[:])
	if err != nil {
		t.Fatal(err)
	}
	if id.Serial != strings.Repeat("x", 20) || id.Model != "a?b?c?" || id.Firmware != "12345678" {
		t.Errorf("%q %q %q", id.Serial, id.Model, id.Firmware)
	}
	if string(b[54:58]) != "?a?b" {
		t.Errorf("bytes are not swapped: %q", b[54:58])
	}
	for _, s := range []string{"a\n", "\x7f", "ä", strings.Repeat("x", 21)} {
		if CheckText("serial", s, 20) == nil {
			t.Errorf("CheckText takes %q", s)
		}
	}
	if err := CheckText("serial", "WD-42 ~!", 20); err != nil {
		t.Error(err)
	}
}

func TestParseRoundTrip(t *testing.T) {
	plain := Device{Sectors: 7, Serial: "s", PhysicalSize: 512}
	for _, d := range []Device{full(), plain} {
		var b [512]byte
		d.Build(&b)
		id, err := ParseIdentify(b[:])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, id.Device); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if !id.LBA48 || !id.HasSum || !id.SumOK {
			t.Errorf("%+v", id)
		}
		b[300] ^= 1
		if id, err := ParseIdentify(b[:]); err != nil || id.SumOK {
			t.Errorf("a damaged block has a right sum (%v)", err)
		}
	}
}

// Other targets leave most words empty, and some say LBA48 in one of the two words only.
func TestParseForeign(t *testing.T) {
	var b [512]byte
	if _, err := ParseIdentify(b[:]); err == nil {
		t.Error("a disk of 0 sectors")
	}
	if _, err := ParseIdentify(b[:511]); err == nil {
		t.Error("511 bytes")
	}
	put(&b, 60, 100)
	put(&b, 100, 200)
	id, err := ParseIdentify(b[:])
	if err != nil || id.Sectors != 100 || id.LBA48 || id.HasSum || !id.SumOK {
		t.Errorf("no LBA48: %+v, %v", id, err)
	}
	for _, w := range []int{83, 86} {
		c := b
		put(&c, w, 0x0400)
		if id, err := ParseIdentify(c[:]); err != nil || id.Sectors != 200 || !id.LBA48 {
			t.Errorf("LBA48 in word %d: %+v, %v", w, id, err)
		}
	}
	put(&b, 83, 0x0400)
	put(&b, 103, 1)
	if _, err := ParseIdentify(b[:]); err == nil {
		t.Error("a size beyond 48 bits")
	}
}

// FuzzParse: nothing panics, and what was parsed builds and parses to the same.
func FuzzParse(f *testing.F) {
	var b [512]byte
	d := full()
	d.Build(&b)
	f.Add(b[:])
	(&Device{Sectors: 3}).Build(&b)
	f.Add(b[:])
	f.Fuzz(func(t *testing.T, data []byte) {
		id, err := ParseIdentify(data)
		if err != nil {
			return
		}
		for what, s := range map[string]string{"serial": id.Serial, "model": id.Model, "firmware": id.Firmware} {
			if err := CheckText(what, s, 40); err != nil {
				t.Error(err)
			}
		}
		var b [512]byte
		id.Build(&b)
		again, err := ParseIdentify(b[:])
		if err != nil || !SumOK(&b) {
			t.Fatalf("%v, sum ok %v", err, SumOK(&b))
		}
		if again.Sectors != id.Sectors || again.Serial != id.Serial || again.Model != id.Model || again.Firmware != id.Firmware || again.PhysicalSize != id.PhysicalSize {
			t.Errorf("%+v\n%+v", id, again)
		}
	})
}
