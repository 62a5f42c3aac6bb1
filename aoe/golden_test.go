package aoe

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// The worked frames of the protocol: initiator 02:00:00:00:00:01, target 02:00:00:00:00:aa, address 258.3.
var (
	initiator = MAC{2, 0, 0, 0, 0, 1}
	other     = MAC{2, 0, 0, 0, 0, 0x0b}
	tgt       = MAC{2, 0, 0, 0, 0, 0xaa}
	at        = Addr{Major: 0x0102, Minor: 3}
)

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// padded appends zeros up to n bytes.
func padded(b []byte, n int) []byte { return append(b, make([]byte, n-len(b))...) }

func request(dst MAC, a Addr, cmd Command, tag uint32) Header {
	return Header{Dst: dst, Src: initiator, Version: 1, Addr: a, Cmd: cmd, Tag: tag}
}

func reply(cmd Command, tag uint32) Header {
	return Header{Dst: initiator, Src: tgt, Version: 1, Flags: FlagResponse, Addr: at, Cmd: cmd, Tag: tag}
}

var ataRead = ATA{Flags: ATAExtended, Count: 2, Command: 0x24, LBA: [6]byte{0x89, 0x67, 0x45, 0x23, 0x01}}

// goldens holds for each worked frame how it is built.
var goldens = []struct {
	name, frame string
	pad         int
	build       func(b []byte) (int, error)
}{
	{"discovery", `ff ff ff ff ff ff 02 00 00 00 00 01 88 a2 10 00
		ff ff ff 01 00 00 00 00 00 00 00 00 00 00 00 00`, 32, func(b []byte) (int, error) {
		h := request(Broadcast, Addr{WildMajor, WildMinor}, CmdConfig, 0)
		return first(h.Encode(b))(new(Config).Encode(b))
	}},
	{"discovery reply", `02 00 00 00 00 01 02 00 00 00 00 aa 88 a2 18 00
		01 02 03 01 00 00 00 00 00 40 01 00 02 10 00 05 68 65 6c 6c 6f`, 60, func(b []byte) (int, error) {
		h := reply(CmdConfig, 0)
		c := Config{BufferCount: 64, Firmware: 0x0100, Sectors: 2, Version: 1, Op: ConfigRead, String: []byte("hello")}
		return first(h.Encode(b))(c.Encode(b))
	}},
	{"identify", `02 00 00 00 00 aa 02 00 00 00 00 01 88 a2 10 00
		01 02 03 00 00 12 00 01 00 00 01 ec 00 00 00 a0 00 00 00 00`, 36, func(b []byte) (int, error) {
		h := request(tgt, at, CmdATA, 0x00120001)
		return first(h.Encode(b))((&ATA{Count: 1, Command: 0xec, LBA: [6]byte{3: 0xa0}}).Encode(b))
	}},
	{"identify reply", `02 00 00 00 00 01 02 00 00 00 00 aa 88 a2 18 00
		01 02 03 00 00 12 00 01 00 00 00 40 00 00 00 a0 00 00 00 00`, 36, func(b []byte) (int, error) {
		h := reply(CmdATA, 0x00120001)
		return first(h.Encode(b))((&ATA{Command: 0x40, LBA: [6]byte{3: 0xa0}}).Encode(b))
	}},
	{"read ext", `02 00 00 00 00 aa 02 00 00 00 00 01 88 a2 10 00
		01 02 03 00 00 12 00 02 40 00 02 24 89 67 45 23 01 00 00 00`, 36, func(b []byte) (int, error) {
		h := request(tgt, at, CmdATA, 0x00120002)
		return first(h.Encode(b))(ataRead.Encode(b))
	}},
	{"read ext past the end", `02 00 00 00 00 01 02 00 00 00 00 aa 88 a2 18 00
		01 02 03 00 00 12 00 02 40 10 02 41 89 67 45 23 01 00 00 00`, 60, func(b []byte) (int, error) {
		h, a := reply(CmdATA, 0x00120002), ataRead
		a.Feature, a.Command = 0x10, 0x41
		return first(h.Encode(b))(a.Encode(b))
	}},
	{"write", `02 00 00 00 00 aa 02 00 00 00 00 01 88 a2 10 00
		01 02 03 00 00 12 00 03 01 00 01 30 32 54 76 e0 00 00 00 00`, 36, func(b []byte) (int, error) {
		h := request(tgt, at, CmdATA, 0x00120003)
		return first(h.Encode(b))((&ATA{Flags: ATAWrite, Count: 1, Command: 0x30, LBA: [6]byte{0x32, 0x54, 0x76, 0xe0}}).Encode(b))
	}},
	{"unknown command reply", `02 00 00 00 00 01 02 00 00 00 00 aa 88 a2 1c 01
		01 02 03 7f 00 12 00 04`, 60, func(b []byte) (int, error) {
		h := reply(0x7f, 0x00120004)
		h.Flags, h.Code = FlagResponse|FlagError, BadCommand
		return h.Encode(b)
	}},
	{"mask edit", `02 00 00 00 00 aa 02 00 00 00 00 01 88 a2 10 00
		01 02 03 02 00 00 00 05 00 01 00 02 00 01 02 00 00 00 00 01 00 02 02 00 00 00 00 0b`, 44, func(b []byte) (int, error) {
		h := request(tgt, at, CmdMask, 5)
		n, err := first(h.Encode(b))((&Mask{Op: MaskEdit, Count: 2}).Encode(b))
		for i, d := range []Directive{{MaskAdd, initiator}, {MaskDelete, other}} {
			n, err = first(n, err)(PutDirective(b, i, d))
		}
		return n, err
	}},
	{"mask reply", `02 00 00 00 00 01 02 00 00 00 00 aa 88 a2 18 00
		01 02 03 02 00 00 00 05 00 01 00 01 00 00 02 00 00 00 00 01`, 60, func(b []byte) (int, error) {
		h := reply(CmdMask, 5)
		n, err := first(h.Encode(b))((&Mask{Op: MaskEdit, Count: 1}).Encode(b))
		return first(n, err)(PutDirective(b, 0, Directive{MAC: initiator}))
	}},
	{"reserve set", `02 00 00 00 00 aa 02 00 00 00 00 01 88 a2 10 00
		01 02 03 03 00 00 00 06 01 01 02 00 00 00 00 01`, 32, func(b []byte) (int, error) {
		h := request(tgt, at, CmdReserve, 6)
		return first(h.Encode(b))(EncodeReserve(b, ReserveSet, []MAC{initiator}))
	}},
	{"reserve refused", `02 00 00 00 00 0b 02 00 00 00 00 aa 88 a2 1c 06
		01 02 03 03 00 00 00 07 01 01 02 00 00 00 00 01`, 60, func(b []byte) (int, error) {
		h := reply(CmdReserve, 7)
		h.Dst, h.Flags, h.Code = other, FlagResponse|FlagError, Reserved
		return first(h.Encode(b))(EncodeReserve(b, ReserveSet, []MAC{initiator}))
	}},
}

// first lets two encoders run in a row: the length is the second's, the error the first that is not nil.
func first(_ int, err error) func(int, error) (int, error) {
	return func(n int, err2 error) (int, error) { return n, errors.Join(err, err2) }
}

func TestGoldens(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			want := padded(fromHex(t, g.frame), g.pad)
			b := bytes.Repeat([]byte{0x5a}, 2000) // old content must not show
			n, err := g.build(b)
			if err != nil {
				t.Fatal(err)
			}
			if g.pad == MinFrame {
				n = Pad(b, n)
			}
			if !bytes.Equal(b[:n], want) {
				t.Errorf("got\n%swant\n%s", hex.Dump(b[:n]), hex.Dump(want))
			}
			again := bytes.Repeat([]byte{0xc3}, len(want))
			if n := reencode(t, want, again); !bytes.Equal(again[:n], want[:n]) {
				t.Errorf("decoded and encoded again:\n%swant\n%s", hex.Dump(again[:n]), hex.Dump(want))
			}
		})
	}
}

// reencode decodes frame and encodes it again into b. It returns the length of what was decoded: the header only when the argument is
// not complete.
func reencode(t testing.TB, frame, b []byte) int {
	t.Helper()
	h, err := DecodeHeader(frame)
	if err != nil {
		return 0
	}
	n, err := h.Encode(b)
	if err != nil {
		t.Fatal(err)
	}
	switch h.Cmd {
	case CmdATA:
		if a, data, err := DecodeATA(frame); err == nil {
			n = must(t)(a.Encode(b))
			n += copy(b[n:], data)
		}
	case CmdConfig:
		if c, err := DecodeConfig(frame); err == nil {
			n = must(t)(c.Encode(b))
		}
	case CmdMask:
		if m, dirs, err := DecodeMask(frame); err == nil {
			n = must(t)(m.Encode(b))
			for i := range min(int(m.Count), 255) {
				n = must(t)(PutDirective(b, i, MaskDirective(dirs, i)))
			}
		}
	case CmdReserve:
		if r, macs, err := DecodeReserve(frame); err == nil {
			list := make([]MAC, r.Count)
			for i := range list {
				list[i] = ReserveMAC(macs, i)
			}
			n = must(t)(EncodeReserve(b, r.Op, list))
		}
	}
	return n
}

func must(t testing.TB) func(int, error) int {
	return func(n int, err error) int {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
}
