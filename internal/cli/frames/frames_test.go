package frames

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/control"
)

var (
	begin  = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.Local)
	client = aoe.MAC{2, 0, 0, 0, 0, 1}
	target = aoe.MAC{2, 0, 0, 0, 0, 0xff}
)

// record makes a record of a frame that is us microseconds behind the beginning.
func record(us int, out bool, frame []byte) *control.TraceRecord {
	return &control.TraceRecord{Time: begin.Add(time.Duration(us) * time.Microsecond), Interface: "eth1", Out: out, Frame: frame, Length: len(frame)}
}

func ask(cmd aoe.Command, tag uint32) aoe.Header {
	return aoe.Header{Dst: target, Src: client, Version: 1, Addr: aoe.Addr{Major: 1, Minor: 2}, Cmd: cmd, Tag: tag}
}

func answer(cmd aoe.Command, tag uint32) aoe.Header {
	return aoe.Header{Dst: client, Src: target, Version: 1, Flags: aoe.FlagResponse, Addr: aoe.Addr{Major: 1, Minor: 2}, Cmd: cmd, Tag: tag}
}

// frame puts a header and bytes behind it together.
func frame(h aoe.Header, rest ...byte) []byte {
	b := make([]byte, aoe.HeaderLen)
	if _, err := h.Encode(b); err != nil {
		panic(err)
	}
	return append(b, rest...)
}

func ataFrame(h aoe.Header, a aoe.ATA, data int) []byte {
	b := append(frame(h), make([]byte, aoe.ATALen-aoe.HeaderLen+data)...)
	if _, err := a.Encode(b); err != nil {
		panic(err)
	}
	return b
}

func readExt(lba uint64, count uint8) aoe.ATA {
	a := aoe.ATA{Flags: aoe.ATAExtended, Count: count, Command: ata.OpReadExt}
	ata.PutLBA48(&a.LBA, lba)
	return a
}

func configFrame(h aoe.Header, op uint8, s string) []byte {
	b := append(frame(h), make([]byte, aoe.ConfigLen-aoe.HeaderLen+len(s))...)
	c := aoe.Config{BufferCount: 16, Sectors: 8, Version: 1, Op: op, String: []byte(s)}
	if _, err := c.Encode(b); err != nil {
		panic(err)
	}
	return b
}

// TestLines decodes a conversation, one line for each frame.
func TestLines(t *testing.T) {
	wild := ask(aoe.CmdConfig, 9)
	wild.Addr, wild.Dst = aoe.Addr{Major: aoe.WildMajor, Minor: aoe.WildMinor}, aoe.Broadcast
	ad := answer(aoe.CmdConfig, 0)
	ad.Dst = aoe.Broadcast
	reserved := answer(aoe.CmdATA, 3)
	reserved.Flags |= aoe.FlagError
	reserved.Code = aoe.Reserved
	dropped := record(70, false, ataFrame(ask(aoe.CmdATA, 4), aoe.ATA{Flags: aoe.ATAExtended | aoe.ATAWrite, Count: 1, Command: ata.OpWriteFUAExt}, 512))
	dropped.Drop = "mask"
	long := record(80, true, configFrame(answer(aoe.CmdConfig, 77), 0, strings.Repeat("a", 100))[:40])
	mac := func(m aoe.MAC, cmd byte) []byte { return append([]byte{0, cmd}, m[:]...) }
	tests := []struct {
		rec  *control.TraceRecord
		want string
	}{
		{record(0, false, ataFrame(ask(aoe.CmdATA, 1), readExt(2048, 8), 0)), "03:04:05.000006 eth1 02:00:00:00:00:01 > e1.2 read lba 2048 count 8 tag 00000001"},
		{record(100, false, ataFrame(ask(aoe.CmdATA, 1), readExt(2048, 8), 0)), "03:04:05.000106 eth1 02:00:00:00:00:01 > e1.2 read lba 2048 count 8 tag 00000001 again"},
		{record(150, true, ataFrame(answer(aoe.CmdATA, 1), aoe.ATA{Command: ata.StatusOK}, 4096)), "03:04:05.000156 eth1 02:00:00:00:00:01 < e1.2 read lba 2048 count 8 tag 00000001 ok 150us"},
		{record(151, true, ataFrame(answer(aoe.CmdATA, 1), aoe.ATA{Command: ata.StatusOK}, 0)), "03:04:05.000157 eth1 02:00:00:00:00:01 < e1.2 ata tag 00000001 ok"},
		{record(0, false, ataFrame(ask(aoe.CmdATA, 2), readExt(1<<40, 1), 0)), "03:04:05.000006 eth1 02:00:00:00:00:01 > e1.2 read lba 1099511627776 count 1 tag 00000002"},
		{record(1500, true, ataFrame(answer(aoe.CmdATA, 2), aoe.ATA{Command: ata.StatusError, Feature: ata.ErrIDNF}, 0)),
			"03:04:05.001506 eth1 02:00:00:00:00:01 < e1.2 read lba 1099511627776 count 1 tag 00000002 error: no such sector (IDNF) 1.50ms"},
		{record(0, false, ataFrame(ask(aoe.CmdATA, 3), aoe.ATA{Command: ata.OpIdentify, Count: 1}, 0)), "03:04:05.000006 eth1 02:00:00:00:00:01 > e1.2 identify tag 00000003"},
		{record(1, true, frame(reserved, make([]byte, 12)...)), "03:04:05.000007 eth1 02:00:00:00:00:01 < e1.2 identify tag 00000003 error: target is reserved 1.00us"},
		{dropped, "03:04:05.000076 eth1 02:00:00:00:00:01 > e1.2 write lba 0 count 1 FUA tag 00000004 dropped: mask"},
		{record(0, false, ataFrame(ask(aoe.CmdATA, 5), aoe.ATA{Command: 0xfe}, 0)), "03:04:05.000006 eth1 02:00:00:00:00:01 > e1.2 command 0xfe tag 00000005"},
		{record(0, false, configFrame(wild, aoe.ConfigRead, "")), "03:04:05.000006 eth1 02:00:00:00:00:01 > e*.* config read tag 00000009"},
		{record(10, true, configFrame(answer(aoe.CmdConfig, 9), 0, "boot\n")), `03:04:05.000016 eth1 02:00:00:00:00:01 < e1.2 config read "boot\n" buffers 16 sectors 8 tag 00000009 ok 10.0us`},
		{record(20, true, configFrame(answer(aoe.CmdConfig, 9), 0, "")), `03:04:05.000026 eth1 02:00:00:00:00:01 < e1.2 config read "" buffers 16 sectors 8 tag 00000009 ok 20.0us`},
		{record(900, false, configFrame(wild, aoe.ConfigRead, "")), "03:04:05.000906 eth1 02:00:00:00:00:01 > e*.* config read tag 00000009"},
		{record(905, true, configFrame(answer(aoe.CmdConfig, 9), 0, "")), `03:04:05.000911 eth1 02:00:00:00:00:01 < e1.2 config read "" buffers 16 sectors 8 tag 00000009 ok 5.00us`},
		{record(0, true, configFrame(ad, 0, "")), `03:04:05.000006 eth1 everybody         < e1.2 announcement "" buffers 16 sectors 8 tag 00000000`},
		{long, `03:04:05.000086 eth1 02:00:00:00:00:01 < e1.2 config "aaaaaaaa"... buffers 16 sectors 8 tag 0000004d ok`},
		{record(0, false, frame(ask(aoe.CmdMask, 6), append([]byte{0, 1, 0, 2}, append(mac(client, aoe.MaskAdd), mac(target, aoe.MaskDelete)...)...)...)),
			"03:04:05.000006 eth1 02:00:00:00:00:01 > e1.2 mask edit +02:00:00:00:00:01,-02:00:00:00:00:ff tag 00000006"},
		{record(5, true, frame(answer(aoe.CmdMask, 6), 0, 1, aoe.MaskFull, 0)), "03:04:05.000011 eth1 02:00:00:00:00:01 < e1.2 mask edit (empty) tag 00000006 error: list is full 5.00us"},
		{record(0, false, frame(ask(aoe.CmdReserve, 7), append([]byte{aoe.ReserveSet, 3}, client[:]...)...)),
			"03:04:05.000006 eth1 02:00:00:00:00:01 > e1.2 reserve set 02:00:00:00:00:01,... (3) tag 00000007"},
		{record(0, false, []byte{1, 2, 3}), "03:04:05.000006 eth1 not AoE, 3 bytes"},
		{record(0, false, frame(ask(aoe.CmdATA, 8))), "03:04:05.000006 eth1 02:00:00:00:00:01 > e1.2 ata cut off tag 00000008"},
	}
	var d Decoder
	for _, tt := range tests {
		f := d.Decode(tt.rec)
		if got := f.Line(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// TestJSON: zero is a value, absent is absent.
func TestJSON(t *testing.T) {
	var d Decoder
	f := d.Decode(record(0, false, ataFrame(ask(aoe.CmdATA, 0), readExt(0, 1), 0)))
	b, err := json.Marshal(&f)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"lba":0`, `"tag":0`, `"sectors":1`, `"opcode":36`, `"what":"read"`, `"out":false`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s is not in %s", want, b)
		}
	}
	if strings.Contains(string(b), "latency") || strings.Contains(string(b), "result") {
		t.Errorf("a request has no result: %s", b)
	}
}

// TestIs: a word selects requests and their replies.
func TestIs(t *testing.T) {
	var d Decoder
	q := d.Decode(record(0, false, ataFrame(ask(aoe.CmdATA, 1), aoe.ATA{Command: ata.OpSetFeatures, Feature: ata.FeatureWriteCacheOn}, 0)))
	r := d.Decode(record(1, true, ataFrame(answer(aoe.CmdATA, 1), aoe.ATA{Command: ata.StatusOK}, 0)))
	for _, f := range []Frame{q, r} {
		if !f.Is("ata") || !f.Is("Set-Features") || f.Is("read") || f.Is("config") {
			t.Errorf("%s", f.Line())
		}
	}
	if w := Words(); !slices.Contains(w, "set-features") || !slices.Contains(w, "trim") || !slices.Contains(w, "config") {
		t.Errorf("words %q", w)
	}
	for class, name := range names {
		if name == "" {
			t.Errorf("class %d has no name", class+1)
		}
	}
}

// TestBounded: requests that nobody answers do not fill the memory.
func TestBounded(t *testing.T) {
	var d Decoder
	rec := record(0, false, nil)
	for i := range maxPending + 10 {
		rec.Frame = ataFrame(ask(aoe.CmdATA, uint32(i)), readExt(0, 1), 0)
		d.Decode(rec)
	}
	if len(d.pending) > maxPending {
		t.Errorf("%d pending", len(d.pending))
	}
}

// FuzzDecode: no frame makes it panic, and a line is one line.
func FuzzDecode(f *testing.F) {
	f.Add(ataFrame(ask(aoe.CmdATA, 1), readExt(1, 1), 0), true)
	f.Add(configFrame(ask(aoe.CmdConfig, 1), 3, "x"), false)
	f.Add(frame(answer(aoe.CmdMask, 6), 0, 1, 9, 200), true)
	f.Add(frame(answer(aoe.CmdReserve, 6), 0, 1), true)
	f.Fuzz(func(t *testing.T, b []byte, out bool) {
		var d Decoder
		for range 2 {
			fr := d.Decode(record(0, out, b))
			if s := fr.Line(); strings.ContainsAny(s, "\n\r\x1b") {
				t.Errorf("%q", s)
			}
		}
	})
}

func TestDuration(t *testing.T) {
	for ns, want := range map[int64]string{0: "0ns", 999: "999ns", 1000: "1.00us", 12345: "12.3us", 123456: "123us", 1e6: "1.00ms", 4.5e9: "4.50s", 1e11: "100s"} {
		if got := Duration(ns); got != want {
			t.Errorf("%d: %s, want %s", ns, got, want)
		}
	}
}
