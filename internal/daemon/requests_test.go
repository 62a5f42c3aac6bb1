package daemon

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/ata"
)

// TestRequestLog follows requests and replies, and holds the lines about them against what happened.
func TestRequestLog(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelError})) // trace passes all levels
	r := newRequestLog(log, func(a aoe.Addr) bool { return a == e01 })
	us, them := aoe.MAC{2, 0, 0, 0, 0, 1}, aoe.MAC{2, 0, 0, 0, 0, 2}
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

	header := func(h aoe.Header) []byte {
		b := make([]byte, 64)
		if _, err := h.Encode(b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	request := func(a aoe.Addr, tag uint32, cmd aoe.Command) []byte {
		return header(aoe.Header{Dst: us, Src: them, Version: 1, Addr: a, Cmd: cmd, Tag: tag})
	}
	reply := func(a aoe.Addr, tag uint32, cmd aoe.Command, flags uint8, code aoe.Code) []byte {
		return header(aoe.Header{Dst: them, Src: us, Version: 1, Flags: aoe.FlagResponse | flags, Code: code, Addr: a, Cmd: cmd, Tag: tag})
	}
	regs := func(f []byte, a aoe.ATA) []byte {
		if _, err := a.Encode(f); err != nil {
			t.Fatal(err)
		}
		return f
	}
	read := aoe.ATA{Flags: aoe.ATAExtended, Count: 8, Command: ata.OpReadExt, LBA: [6]byte{0, 8}}
	write := aoe.ATA{Flags: aoe.ATAExtended | aoe.ATAWrite, Count: 2, Command: ata.OpWriteExt, LBA: [6]byte{7}}
	force := request(e01, 5, aoe.CmdConfig)
	if _, err := (&aoe.Config{Op: aoe.ConfigForceSet, String: []byte("x")}).Encode(force); err != nil {
		t.Fatal(err)
	}
	wild := aoe.Addr{Major: aoe.WildMajor, Minor: aoe.WildMinor}
	for _, s := range []struct {
		name  string
		after time.Duration
		out   bool
		drop  string
		frame []byte
		want  string
	}{
		{"a read", 0, false, "", regs(request(e01, 1, aoe.CmdATA), read), ""},
		{"its reply", 85 * time.Microsecond, true, "", regs(reply(e01, 1, aoe.CmdATA, 0, 0), aoe.ATA{Command: ata.StatusOK}),
			`"e0.1 read 8 sectors at 2048: done after 85µs" export=e0.1 initiator=02:00:00:00:00:02 interface=eth1 tag=00000001`},
		{"another export's", 0, false, "", regs(request(e02, 2, aoe.CmdATA), read), ""},
		{"its reply", 0, true, "", regs(reply(e02, 2, aoe.CmdATA, 0, 0), read), ""},
		{"a write", 0, false, "", regs(request(e01, 3, aoe.CmdATA), write), ""},
		{"refused", time.Millisecond, true, "", regs(reply(e01, 3, aoe.CmdATA, 0, 0), aoe.ATA{Feature: ata.ErrABRT, Command: ata.StatusError}), "write 2 sectors at 7: failed: ABRT after 1ms"},
		{"again, reserved", 0, false, "", regs(request(e01, 4, aoe.CmdATA), write), ""},
		{"an AoE error", 0, true, "", reply(e01, 4, aoe.CmdATA, aoe.FlagError, aoe.Reserved), "write 2 sectors at 7: refused: " + aoe.Reserved.Error()},
		{"a force set", 0, false, "", force, ""},
		{"done", 0, true, "", reply(e01, 5, aoe.CmdConfig, 0, 0), "config force set: done"},
		{"a drop", 0, false, "access", regs(request(e01, 6, aoe.CmdATA), read), "read 8 sectors at 2048: dropped: access"},
		{"a broadcast", 0, false, "", request(wild, 7, aoe.CmdConfig), ""},
		{"another's answer", 0, true, "", reply(e02, 7, aoe.CmdConfig, 0, 0), ""},
		{"our answer", 0, true, "", reply(e01, 7, aoe.CmdConfig, 0, 0), "e0.1 config read: done"},
		{"an announcement", 0, true, "", reply(e01, 0, aoe.CmdConfig, 0, 0), ""},
		{"before the trace began", 0, true, "", regs(reply(e01, 8, aoe.CmdATA, 0, 0), aoe.ATA{Command: ata.StatusOK}), "e0.1 ?: done"},
		{"a flush", 0, false, "", regs(request(e01, 9, aoe.CmdATA), aoe.ATA{Command: ata.OpFlushExt}), ""},
		{"nothing for long", 2 * requestPatience, false, "", regs(request(e01, 10, aoe.CmdATA), read), "e0.1 flush: no reply"},
		{"rubbish", 0, false, "", make([]byte, 20), ""},
	} {
		out.Reset()
		start = start.Add(s.after)
		r.frame(start, "eth1", s.out, s.drop, s.frame)
		if got := out.String(); s.want == "" && got != "" || !strings.Contains(got, s.want) || strings.Count(got, "\n") > 1 {
			t.Errorf("%s: %q, want ...%s...", s.name, got, s.want)
		}
	}
	if n := len(r.pending); n != 1 {
		t.Errorf("%d requests are pending", n)
	}
	for i := range uint32(2 * requestsPending) {
		r.frame(start, "eth1", false, "", regs(request(e01, 1000+i, aoe.CmdATA), read))
	}
	if n := len(r.pending); n != requestsPending {
		t.Errorf("%d requests are kept", n)
	}
}
