package aoe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

func TestSectors(t *testing.T) {
	for _, c := range []struct{ mtu, advertised, physical int }{
		{1500, 2, 2}, {4200, 8, 8}, {8192, 15, 15}, {9000, 17, 17}, {16110, 31, 31}, {65535, 127, 127},
		{1042, 1, 1}, {548, 1, 1}, {547, 0, 1}, {534, 0, 1}, {533, 0, 0}, {0, 0, 0}, {-100, 0, 0},
		{1046, 1, 2}, {9238, 17, 18}, // the physical limit is one above what is advertised
		{1 << 20, 255, 255},
	} {
		if a, p := AdvertisedSectors(c.mtu), PhysicalSectors(c.mtu); a != c.advertised || p != c.physical {
			t.Errorf("MTU %d: advertised %d physical %d, want %d %d", c.mtu, a, p, c.advertised, c.physical)
		}
	}
	for mtu := 534; mtu < 70000; mtu += 7 {
		n := PhysicalSectors(mtu)
		if n < 255 && (ATALen+n*SectorSize > EtherLen+mtu || ATALen+(n+1)*SectorSize <= EtherLen+mtu) {
			t.Fatalf("MTU %d: %d sectors are not the most that fit", mtu, n)
		}
	}
	if MinMTU != 1042 {
		t.Errorf("MinMTU = %d", MinMTU)
	}
}

func TestCapacity(t *testing.T) {
	for _, c := range []struct{ mtu, mask, reserve int }{{1500, 185, 248}, {1042, 128, 171}, {9000, 255, 255}, {0, 0, 0}} {
		if m, r := MaskCapacity(c.mtu), ReserveCapacity(c.mtu); m != c.mask || r != c.reserve {
			t.Errorf("MTU %d: mask %d reserve %d, want %d %d", c.mtu, m, r, c.mask, c.reserve)
		}
	}
}

func TestPad(t *testing.T) {
	for _, c := range []struct{ size, n, want int }{{100, 24, 60}, {100, 60, 60}, {100, 61, 61}, {59, 24, 24}, {60, 0, 60}, {100, -1, -1}} {
		b := bytes.Repeat([]byte{1}, c.size)
		if got := Pad(b, c.n); got != c.want {
			t.Errorf("Pad(%d bytes, %d) = %d, want %d", c.size, c.n, got, c.want)
		}
		for i, v := range b {
			if zero := c.want == MinFrame && i >= c.n && i < MinFrame; zero != (v == 0) {
				t.Errorf("Pad(%d bytes, %d): byte %d is %d", c.size, c.n, i, v)
			}
		}
	}
}

func TestHeaderReserved(t *testing.T) {
	b := make([]byte, 24)
	b[14] = 0x1f // R, E and both reserved bits
	h, err := DecodeHeader(b)
	if err != nil || h.Version != 1 || h.Flags != FlagResponse|FlagError {
		t.Errorf("%+v, %v", h, err)
	}
	h.Flags = 0xff
	if _, err := h.Encode(b); err != nil || b[14] != 0x1c {
		t.Errorf("byte 14 = %#x, %v", b[14], err)
	}
	if _, err := DecodeHeader(b[:23]); !errors.Is(err, ErrShort) {
		t.Errorf("23 bytes: %v", err)
	}
}

func TestATAReserved(t *testing.T) {
	b := make([]byte, 36)
	b[24] = 0xff
	if a, _, err := DecodeATA(b); err != nil || a.Flags != ATAFlags {
		t.Errorf("%+v, %v", a, err)
	}
	b[34], b[35] = 1, 2
	if _, err := (&ATA{Flags: 0xff}).Encode(b); err != nil || b[24] != 0x53 || b[34]|b[35] != 0 {
		t.Errorf("% x, %v", b[24:], err)
	}
}

func TestIsAoE(t *testing.T) {
	b := make([]byte, 24)
	binary.BigEndian.PutUint16(b[12:], EtherType)
	if !IsAoE(b) || IsAoE(b[:23]) {
		t.Error("length is not looked at")
	}
	for _, v := range []uint16{0x88a3, 0x0800, 0xa288, 0x8100} {
		binary.BigEndian.PutUint16(b[12:], v)
		if IsAoE(b) {
			t.Errorf("%#x is taken for AoE", v)
		}
	}
}

func TestLengths(t *testing.T) {
	for _, c := range []struct {
		name   string
		minLen int
		decode func([]byte) error
	}{
		{"ata", 36, func(b []byte) error { _, _, err := DecodeATA(b); return err }},
		{"config", 32, func(b []byte) error { _, err := DecodeConfig(b); return err }},
		{"mask", 28, func(b []byte) error { _, _, err := DecodeMask(b); return err }},
		{"reserve", 26, func(b []byte) error { _, _, err := DecodeReserve(b); return err }},
	} {
		b := make([]byte, c.minLen)
		for n := range c.minLen {
			if err := c.decode(b[:n:n]); !errors.Is(err, ErrShort) {
				t.Errorf("%s: %d bytes: %v", c.name, n, err)
			}
		}
		if err := c.decode(b); err != nil {
			t.Errorf("%s: %d bytes: %v", c.name, c.minLen, err)
		}
	}
}

func TestConfigLength(t *testing.T) {
	b := make([]byte, 2000)
	for _, c := range []struct {
		size, length int
		ok           bool
	}{{32, 0, true}, {32, 1, false}, {37, 5, true}, {36, 5, false}, {1056, 1024, true}, {1057, 1025, false}, {2000, 1025, false}, {60, 65535, false}} {
		binary.BigEndian.PutUint16(b[30:], uint16(c.length))
		got, err := DecodeConfig(b[:c.size])
		if (err == nil) != c.ok || c.ok && len(got.String) != c.length || got.Length != uint16(c.length) {
			t.Errorf("%d bytes, length %d: %d bytes of string, %v", c.size, c.length, len(got.String), err)
		}
		if !c.ok && !errors.Is(err, ErrLength) {
			t.Errorf("%d bytes, length %d: %v", c.size, c.length, err)
		}
	}
	if _, err := (&Config{String: make([]byte, 1025)}).Encode(b); !errors.Is(err, ErrLength) {
		t.Errorf("string of 1025 bytes: %v", err)
	}
}

func TestListLength(t *testing.T) {
	b := make([]byte, 3000)
	for _, c := range []struct {
		size, count int
		ok          bool
	}{{44, 2, true}, {43, 2, false}, {28 + 255*8, 255, true}, {28 + 254*8, 255, false}} {
		b[27] = byte(c.count)
		m, d, err := DecodeMask(b[:c.size])
		if (err == nil) != c.ok || int(m.Count) != c.count || c.ok && len(d) != c.count*8 {
			t.Errorf("mask: %d bytes, %d entries: %d, %v", c.size, c.count, len(d), err)
		}
	}
	for _, c := range []struct {
		size, count int
		ok          bool
	}{{38, 2, true}, {37, 2, false}, {26 + 255*6, 255, true}, {26 + 254*6, 255, false}} {
		b[25] = byte(c.count)
		r, l, err := DecodeReserve(b[:c.size])
		if (err == nil) != c.ok || int(r.Count) != c.count || c.ok && len(l) != c.count*6 {
			t.Errorf("reserve: %d bytes, %d entries: %d, %v", c.size, c.count, len(l), err)
		}
	}
	if _, err := EncodeReserve(b, 1, make([]MAC, 256)); !errors.Is(err, ErrLength) {
		t.Errorf("256 addresses: %v", err)
	}
}

// Encoders must say so when the buffer is too small, and must not write beyond what they say.
func TestEncodeSpace(t *testing.T) {
	for _, g := range goldens {
		full := make([]byte, 2000)
		n, err := g.build(full)
		if err != nil {
			t.Fatal(err)
		}
		for size := range n {
			if _, err := g.build(make([]byte, size)); !errors.Is(err, ErrSpace) {
				t.Errorf("%s into %d of %d bytes: %v", g.name, size, n, err)
			}
		}
		b := bytes.Repeat([]byte{0xee}, n+50)
		if _, err := g.build(b); err != nil || !bytes.Equal(b[n:], bytes.Repeat([]byte{0xee}, 50)) {
			t.Errorf("%s: wrote beyond its %d bytes (%v)", g.name, n, err)
		}
	}
	if _, err := PutDirective(make([]byte, 4000), 255, Directive{}); !errors.Is(err, ErrSpace) {
		t.Errorf("directive 255: %v", err)
	}
	if _, err := PutDirective(make([]byte, 4000), -1, Directive{}); !errors.Is(err, ErrSpace) {
		t.Errorf("directive -1: %v", err)
	}
}

func TestCodeText(t *testing.T) {
	seen := map[string]bool{}
	for c := Code(0); c < 8; c++ {
		if s := c.Error(); s == "" || seen[s] {
			t.Errorf("code %d: %q", c, s)
		} else {
			seen[s] = true
		}
	}
	if got := Code(77).Error(); got != "unknown error 77" {
		t.Errorf("code 77: %q", got)
	}
	for c, want := range map[Command]string{CmdATA: "ata", CmdConfig: "config", CmdMask: "mask", CmdReserve: "reserve", 0x7f: "command 127"} {
		if c.String() != want {
			t.Errorf("command %d: %q", uint8(c), c)
		}
	}
}

func TestNoAlloc(t *testing.T) {
	b := make([]byte, 2000)
	for _, g := range goldens {
		frame := padded(fromHex(t, g.frame), max(g.pad, 60))
		if n := testing.AllocsPerRun(100, func() { decodeAll(frame) }); n != 0 {
			t.Errorf("decoding %s allocates %v times", g.name, n)
		}
	}
	h, c, a := reply(CmdConfig, 1), Config{String: []byte("hello")}, ataRead
	list := []MAC{initiator, other}
	if n := testing.AllocsPerRun(100, func() {
		_, _ = h.Encode(b)
		_, _ = c.Encode(b)
		_, _ = a.Encode(b)
		_, _ = (&Mask{}).Encode(b)
		_, _ = PutDirective(b, 0, Directive{MAC: initiator})
		_, _ = EncodeReserve(b, 0, list)
		Pad(b, 24)
	}); n != 0 {
		t.Errorf("encoding allocates %v times", n)
	}
}

func decodeAll(frame []byte) {
	_, _ = DecodeHeader(frame)
	_, _, _ = DecodeATA(frame)
	_, _ = DecodeConfig(frame)
	if m, d, err := DecodeMask(frame); err == nil && m.Count > 0 {
		MaskDirective(d, int(m.Count)-1)
	}
	if r, d, err := DecodeReserve(frame); err == nil && r.Count > 0 {
		ReserveMAC(d, int(r.Count)-1)
	}
}

// FuzzDecode: no input panics, and what was decoded encodes to the same bytes, reserved ones aside.
func FuzzDecode(f *testing.F) {
	for _, g := range goldens {
		b := fromHex(f, g.frame)
		f.Add(b)
		f.Add(b[:len(b)-1])
		f.Add(padded(b, 60))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		decodeAll(frame)
		b := make([]byte, max(len(frame), MaskLen+255*DirectiveLen))
		n := reencode(t, frame, b)
		if n == 0 {
			return
		}
		want := bytes.Clone(frame[:n])
		binary.BigEndian.PutUint16(want[12:], EtherType)
		want[14] &= 0xfc
		switch cmd := Command(frame[19]); {
		case cmd == CmdATA && n >= ATALen:
			want[24] &= ATAFlags
			want[34], want[35] = 0, 0
		case cmd == CmdMask && n >= MaskLen:
			want[24] = 0
			for i := MaskLen; i < n; i += DirectiveLen {
				want[i] = 0
			}
		}
		if !bytes.Equal(b[:n], want) {
			t.Errorf("frame %x\ngot   %x\nwant  %x", frame, b[:n], want)
		}
	})
}
