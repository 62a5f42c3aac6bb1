package pcap

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/control"
	"goaoe/test/need"
)

var (
	client = aoe.MAC{2, 0, 0, 0, 0, 1}
	target = aoe.MAC{2, 0, 0, 0, 0, 0xff}
)

// records is a read with its reply, cut to the headers, on one interface, and a write that was dropped on another.
func records(t *testing.T) []control.TraceRecord {
	t.Helper()
	frame := func(h aoe.Header, a aoe.ATA, data int) []byte {
		b := make([]byte, aoe.ATALen+data)
		if _, err := h.Encode(b); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Encode(b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	q := aoe.Header{Dst: target, Src: client, Version: 1, Addr: aoe.Addr{Major: 258, Minor: 3}, Tag: 0xdeadbeef}
	a := aoe.Header{Dst: client, Src: target, Version: 1, Flags: aoe.FlagResponse, Addr: q.Addr, Tag: q.Tag}
	read := aoe.ATA{Flags: aoe.ATAExtended, Count: 8, Command: ata.OpReadExt}
	ata.PutLBA48(&read.LBA, 123456)
	write := aoe.ATA{Flags: aoe.ATAExtended | aoe.ATAWrite, Count: 1, Command: ata.OpWriteExt}
	w := q
	w.Tag++
	at := time.Unix(1700000000, 123456789)
	out := []control.TraceRecord{
		{Time: at, Interface: "eth1", Frame: frame(q, read, 24), Length: 60},
		{Time: at.Add(time.Millisecond), Interface: "eth1", Out: true, Frame: frame(a, aoe.ATA{Command: ata.StatusOK}, 29), Length: aoe.ATALen + 4096},
		{Time: at.Add(2 * time.Second), Interface: "eth2.7", Frame: frame(w, write, 512), Length: aoe.ATALen + 512, Drop: "mask", Missed: 5},
	}
	return out
}

// fields has tshark read a file and returns the values of fields for each frame.
func fields(t *testing.T, file string, names ...string) []string {
	t.Helper()
	args := []string{"-r", file, "-T", "fields", "-E", "separator=|", "-o", "frame.generate_md5_hash:FALSE"}
	for _, n := range names {
		args = append(args, "-e", n)
	}
	cmd := exec.Command("tshark", args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "TZ=UTC")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v: %s", err, stderr.String())
	}
	return strings.Split(strings.TrimRight(string(b), "\n"), "\n")
}

// TestTshark: tshark reads from both kinds of file what was put in.
func TestTshark(t *testing.T) {
	need.Programs(t, "tshark")
	for _, ng := range []bool{true, false} {
		t.Run(fmt.Sprint("ng=", ng), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x")
			f, err := os.Create(file)
			if err != nil {
				t.Fatal(err)
			}
			w, err := New(f, ng)
			if err != nil {
				t.Fatal(err)
			}
			recs := records(t)
			for i := range recs {
				if err := w.Write(&recs[i]); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			got := fields(t, file, "frame.time_epoch", "frame.len", "frame.cap_len", "eth.src", "eth.dst", "aoe.major", "aoe.minor", "aoe.tag", "aoe.cmd", "aoe.response",
				"aoe.ata.cmd", "aoe.lba", "aoe.sector_count", "aoe.time")
			want := []string{
				"1700000000.123456789|60|60|02:00:00:00:00:01|02:00:00:00:00:ff|0x0102|0x03|0xdeadbeef|0|0|0x24|0x000000000001e240|8|",
				"1700000000.124456789|4132|65|02:00:00:00:00:ff|02:00:00:00:00:01|0x0102|0x03|0xdeadbeef|0|1|0x24|0x0000000000000000|0|0.001000000",
				"1700000002.123456789|548|548|02:00:00:00:00:01|02:00:00:00:00:ff|0x0102|0x03|0xdeadbef0|0|0|0x34|0x0000000000000000|1|",
			}
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if !ng {
				return
			}
			got = fields(t, file, "frame.interface_name", "frame.packet_flags_direction", "frame.drop_count", "frame.comment")
			want = []string{"eth1|0x00000001||", "eth1|0x00000002||", "eth2.7|0x00000001|5|goaoe dropped it: mask"}
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// TestWhole: each call writes whole blocks, so that what reads a pipe has a frame at once and never half a one.
func TestWhole(t *testing.T) {
	var sizes []int
	w, err := New(writes(func(b []byte) { sizes = append(sizes, len(b)) }), true)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records(t) {
		if err := w.Write(&r); err != nil {
			t.Fatal(err)
		}
	}
	if len(sizes) != 4 {
		t.Errorf("%d writes for a head and three frames", len(sizes))
	}
	for _, n := range sizes {
		if n%4 != 0 {
			t.Errorf("a block of %d bytes", n)
		}
	}
}

type writes func([]byte)

func (w writes) Write(b []byte) (int, error) { w(b); return len(b), nil }

// TestStats: the block that ends a capture holds the interface, the frames that came and those that were lost.
func TestStats(t *testing.T) {
	var b bytes.Buffer
	w, err := New(&b, true)
	if err != nil {
		t.Fatal(err)
	}
	b.Reset()
	if err := w.Stats("eth7", time.Unix(1, 2), 300, 4); err != nil {
		t.Fatal(err)
	}
	block := b.Bytes()[binary.LittleEndian.Uint32(b.Bytes()[4:]):] // behind the description of the interface
	want := []uint32{blockStats, 52, 0, 0, 1e9 + 2, 4 | 8<<16, 300, 0, 5 | 8<<16, 4, 0, 0, 52}
	if len(block) != 4*len(want) {
		t.Fatalf("% x", block)
	}
	for i, v := range want {
		if got := binary.LittleEndian.Uint32(block[4*i:]); got != v {
			t.Errorf("word %d is %#x, want %#x", i, got, v)
		}
	}
	if w, _ = New(&b, false); w != nil {
		b.Reset()
		if err := w.Stats("eth7", time.Unix(1, 2), 300, 4); err != nil || b.Len() > 0 {
			t.Errorf("the older pcap got %d bytes, %v", b.Len(), err)
		}
	}
}
