package ata

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestAddress(t *testing.T) {
	regs := func(b ...byte) (r [6]byte) { copy(r[:], b); return r }
	for _, c := range []struct {
		name      string
		r         [6]byte
		ext, wide bool
		want      uint64
		ok        bool
	}{
		{"48 bit", regs(0x89, 0x67, 0x45, 0x23, 0x01, 0), true, true, 0x0123456789, true},
		{"48 bit opcode without E", regs(5, 0, 0, 0x10, 0, 0x80), true, false, 0x800010000005, true},
		{"28 bit, head bits", regs(0x32, 0x54, 0x76, 0xe0, 0, 0), false, false, 0x765432, true},
		{"28 bit, upper registers ignored", regs(1, 2, 3, 0xaf, 9, 9), false, false, 0x0f030201, true},
		{"28 bit opcode with E, small", regs(1, 2, 3, 0x0f, 0, 0), false, true, 0x0f030201, true},
		{"28 bit opcode with E, 2^28+5", regs(5, 0, 0, 0x10, 0, 0), false, true, 0x10000005, false},
		{"28 bit opcode with E, last of 28 bits", regs(255, 255, 255, 0x0f), false, true, 0x0fffffff, true},
		{"28 bit opcode with E, first beyond", regs(0, 0, 0, 0x10), false, true, 0x10000000, false},
		{"28 bit opcode with E, lba5", regs(5, 0, 0, 0, 0, 1), false, true, 0x10000000005, false},
	} {
		if got, ok := Address(c.r, c.ext, c.wide); got != c.want || ok != c.ok {
			t.Errorf("%s: %#x, %v; want %#x, %v", c.name, got, ok, c.want, c.ok)
		}
	}
}

func TestPutLBA(t *testing.T) {
	r := [6]byte{1, 2, 3, 0xe4, 5, 6}
	PutLBA28(&r, 0x0abcdef1)
	if r != [6]byte{0xf1, 0xde, 0xbc, 0xea, 5, 6} {
		t.Errorf("28 bit: % x", r)
	}
	PutLBA48(&r, 0x123456789abc)
	if r != [6]byte{0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12} || LBA48(r) != 0x123456789abc {
		t.Errorf("48 bit: % x", r)
	}
}

func TestInRange(t *testing.T) {
	for _, c := range []struct {
		lba, count, size uint64
		want             bool
	}{
		{0, 1, 1, true}, {0, 2, 1, false}, {1, 0, 1, true}, {2, 0, 1, false}, {2046, 2, 2048, true}, {2047, 2, 2048, false},
		{1<<64 - 1, 2, 2048, false}, {1, 1<<64 - 1, 2048, false}, {1<<48 - 1, 255, 1 << 48, false},
	} {
		if got := InRange(c.lba, c.count, c.size); got != c.want {
			t.Errorf("InRange(%d, %d, %d) = %v", c.lba, c.count, c.size, got)
		}
	}
}

// Every opcode is listed here a second time, by hand, so that a slip in the table shows.
func TestOpcodes(t *testing.T) {
	want := map[byte]Op{
		0x06: {DataSet, true, false},
		0x20: {Class: Read}, 0x21: {Class: Read}, 0xc4: {Class: Read}, 0xc8: {Class: Read}, 0xc9: {Class: Read},
		0x24: {Read, true, false}, 0x25: {Read, true, false}, 0x29: {Read, true, false},
		0x30: {Class: Write}, 0x31: {Class: Write}, 0xc5: {Class: Write}, 0xca: {Class: Write}, 0xcb: {Class: Write},
		0x34: {Write, true, false}, 0x35: {Write, true, false}, 0x39: {Write, true, false},
		0x3d: {Write, true, true}, 0xce: {Write, true, true},
		0x40: {Class: Verify}, 0x41: {Class: Verify}, 0x42: {Verify, true, false},
		0xe7: {Class: Flush}, 0xea: {Flush, true, false},
		0xec: {Class: Identify}, 0xef: {Class: SetFeatures}, 0xb0: {Class: SMART}, 0xc6: {Class: SetMultiple},
		0xe5: {Class: CheckPower}, 0x98: {Class: CheckPower},
		0xe0: {Class: Power}, 0xe1: {Class: Power}, 0xe2: {Class: Power}, 0xe3: {Class: Power}, 0xe6: {Class: Power},
		0x94: {Class: Power}, 0x95: {Class: Power}, 0x96: {Class: Power}, 0x97: {Class: Power}, 0x99: {Class: Power},
		0xf8: {Class: NativeMax}, 0x27: {NativeMax, true, false},
	}
	for op := range 256 {
		if got := Lookup(byte(op)); got != want[byte(op)] {
			t.Errorf("opcode %#02x: %+v, want %+v", op, got, want[byte(op)])
		}
		if m := Lookup(byte(op)).Modifies(); m != (want[byte(op)].Class == Write || op == 0x06) {
			t.Errorf("opcode %#02x: Modifies is %v", op, m)
		}
	}
}

func TestSmart(t *testing.T) {
	b := (*[512]byte)(bytes.Repeat([]byte{7}, 512))
	SmartData(b)
	if binary.LittleEndian.Uint16(b[:]) != 0x0010 || !SumOK(b) || b[511] != 0xf0 {
		t.Errorf("READ DATA: revision %x, checksum %#x", b[:2], b[511])
	}
	SmartThresholds(b)
	if *b != [512]byte{} {
		t.Error("READ THRESHOLDS is not zero")
	}
	b[77] = 1
	if SumOK(b) {
		t.Error("a wrong sum is taken for right")
	}
	SmartLogDirectory(b)
	if *b != [512]byte{1} {
		t.Error("log directory")
	}
}

func TestTrim(t *testing.T) {
	b := make([]byte, 512)
	if !PutTrimRange(b, 0, 0x123456789abc, 0xfedc) || !bytes.Equal(b[:8], []byte{0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12, 0xdc, 0xfe}) {
		t.Errorf("entry: % x", b[:8])
	}
	if lba, n, ok := TrimRange(b, 0); lba != 0x123456789abc || n != 0xfedc || !ok {
		t.Errorf("read back: %#x %#x %v", lba, n, ok)
	}
	for _, i := range []int{-1, 64, 1 << 60} {
		if _, _, ok := TrimRange(b, i); ok {
			t.Errorf("entry %d of a block of 64", i)
		}
		if PutTrimRange(b, i, 0, 0) {
			t.Errorf("entry %d was written", i)
		}
	}
	if PutTrimRange(b, 0, 1<<48, 1) || PutTrimRange(b, 0, 0, 65536) || PutTrimRange(b, 0, 0, -1) {
		t.Error("a range that does not fit its fields was taken")
	}
	clear(b)
	PutTrimRange(b, 1, 90, 10)
	PutTrimRange(b, 63, 5000, 0) // unused: its address does not matter
	if !TrimInRange(b, 100) || TrimInRange(b, 99) {
		t.Error("TrimInRange does not find the end of the disk")
	}
	PutTrimRange(b, 63, 100, 1)
	if TrimInRange(b, 100) {
		t.Error("the last range was not looked at")
	}
}

func TestNoAlloc(t *testing.T) {
	d := full()
	var b [512]byte
	if n := testing.AllocsPerRun(100, func() {
		d.Build(&b)
		SmartData(&b)
		TrimInRange(b[:], 1<<40)
		Lookup(b[9])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
