package initiator

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/link"
	"goaoe/internal/link/mem"
	"goaoe/internal/target"
	"goaoe/test/conformance"
)

// oneNode is a world with one node on one wire.
func oneNode(t *testing.T, mtu int) (*world, *node, *mem.Net) {
	t.Helper()
	w := newWorld(t, 4000)
	net := mem.NewNet(mem.Options{Seed: 1, Auto: true})
	return w, w.serve(net, tMAC, mtu, target.ExportConfig{}), net
}

// madeConfig is what a target answers to a config query, with its values as they are.
func madeConfig(q []byte, version uint8, buffers, sectors, tail int) []byte {
	h, err := aoe.DecodeHeader(q)
	if err != nil {
		return nil
	}
	b := make([]byte, aoe.ConfigLen+tail)
	h.Dst, h.Src, h.Flags, h.Version, h.Addr = h.Src, tMAC, aoe.FlagResponse, version, addr
	_, _ = h.Encode(b)
	_, _ = (&aoe.Config{BufferCount: uint16(buffers), Sectors: uint8(sectors), Version: version}).Encode(b)
	return b
}

func isConfig(q []byte) bool { return q[19] == byte(aoe.CmdConfig) }

// TestQuirksOfConfig: what other targets say of themselves.
func TestQuirksOfConfig(t *testing.T) {
	for _, c := range []struct {
		name                      string
		version                   uint8
		buffers, sectors, tail    int
		wantSectors, wantMostSent int
	}{
		{"buffer count 0: one at a time", 1, 0, 17, 28, 17, 1},
		{"buffer count 1", 1, 1, 17, 28, 17, 1},
		{"buffer count 3", 1, 3, 17, 28, 17, 3},
		{"sector count 0: 2", 1, 16, 0, 28, 2, 16},
		{"sector count 1", 1, 16, 1, 28, 1, 16},
		{"sector count 255: what the interface carries", 1, 16, 255, 28, 17, 16},
		{"32 bytes, not padded", 1, 16, 17, 0, 17, 16},
		{"a huge buffer count: 64", 1, 65535, 17, 28, 17, 64},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, n, net := oneNode(t, 9000)
			w.set(func() {
				n.hook = func(q []byte) ([]byte, bool) {
					if isConfig(q) {
						return madeConfig(q, c.version, c.buffers, c.sectors, c.tail), true
					}
					return nil, false
				}
			})
			d := w.open(Options{}, quick(Options{}), net.Open("h0", iMAC, 9000))
			if d.FrameSectors() != c.wantSectors || d.Target().BufferCount != c.buffers {
				t.Errorf("%d sectors, %+v", d.FrameSectors(), d.Target())
			}
			w.set(func() { n.late = time.Millisecond })
			var most atomic.Int32
			buf := bytes.Repeat([]byte{7}, 40*c.wantSectors*512)
			done := make(chan bool)
			go func() {
				for {
					select {
					case <-done:
						return
					default:
						if k := int32(d.path(0).Outstanding); k > most.Load() {
							most.Store(k)
						}
					}
				}
			}()
			for range 2 {
				if _, err := d.WriteAt(buf, 0); err != nil {
					t.Fatal(err)
				}
			}
			close(done)
			if m := int(most.Load()); m > c.wantMostSent || m < (c.wantMostSent+1)/2 && c.wantMostSent < 20 {
				t.Errorf("%d requests outstanding, want at most %d", m, c.wantMostSent)
			}
		})
	}
}

// TestQuirksOfReplies: what other targets answer to commands.
func TestQuirksOfReplies(t *testing.T) {
	status := func(q []byte, status byte, n int) []byte {
		b := make([]byte, n)
		copy(b, q)
		copy(b, q[6:12])
		copy(b[6:], q[:6])
		b[14], b[27] = 0x18, status
		return b
	}
	for _, c := range []struct {
		name  string
		hook  func(q []byte) ([]byte, bool)
		flush error
	}{
		{"ggaoed leaves the opcode in the status", func(q []byte) ([]byte, bool) {
			return status(q, opcode(q), 60), opcode(q) == ata.OpFlushExt || opcode(q) == ata.OpFlush
		}, nil},
		{"vblade: status 0 for FLUSH CACHE, and no FLUSH CACHE EXT", func(q []byte) ([]byte, bool) {
			if opcode(q) == ata.OpFlushExt {
				return status(q, 0x41, 36), true
			}
			return status(q, 0, 36), opcode(q) == ata.OpFlush
		}, nil},
		{"status 0x50", func(q []byte) ([]byte, bool) {
			return status(q, 0x50, 60), opcode(q) == ata.OpFlushExt
		}, nil},
		{"no flush at all", func(q []byte) ([]byte, bool) {
			return status(q, 0x41, 60), opcode(q) == ata.OpFlushExt || opcode(q) == ata.OpFlush
		}, ErrRefused},
		{"an error reply of the header alone", func(q []byte) ([]byte, bool) {
			return refusal(q, 2), opcode(q) == ata.OpFlushExt || opcode(q) == ata.OpFlush
		}, ErrRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, n, net := oneNode(t, 1500)
			d := w.open(Options{Timeout: 5 * time.Second}, quick(Options{}), net.Open("h0", iMAC, 1500))
			w.set(func() {
				n.hook = func(q []byte) ([]byte, bool) {
					if isConfig(q) {
						return nil, false
					}
					return c.hook(q)
				}
			})
			for range 2 {
				if err := d.Flush(context.Background()); !errors.Is(err, c.flush) {
					t.Errorf("flush: %v, want %v", err, c.flush)
				}
			}
			q := d.NewQueue(1)
			r := &Request{Op: Flush}
			if err := q.Submit(r); err != nil {
				t.Fatal(err)
			}
			if k, err := q.Wait(context.Background(), make([]*Request, 2)); k != 1 || err != nil || !errors.Is(r.Err, c.flush) {
				t.Errorf("%d, %v, flush in a queue: %v, want %v", k, err, r.Err, c.flush)
			}
		})
	}
}

// TestRubbish: a target that makes no sense is an error in bounded time.
func TestRubbish(t *testing.T) {
	tail := func(q []byte, n int) []byte {
		b := make([]byte, 36+n)
		copy(b, q[:24])
		copy(b, q[6:12])
		copy(b[6:], q[:6])
		b[14], b[27] = 0x18, 0x40
		return b
	}
	for _, c := range []struct {
		name  string
		hook  func(q []byte) ([]byte, bool)
		want  error
		words string
	}{
		{"IDENTIFY of zeros", func(q []byte) ([]byte, bool) { return tail(q, 512), !isConfig(q) }, ErrRubbish, "0 sectors"},
		{"IDENTIFY of 100 bytes", func(q []byte) ([]byte, bool) { return tail(q, 100), !isConfig(q) }, ErrRubbish, "100 bytes"},
		{"IDENTIFY of a header", func(q []byte) ([]byte, bool) { return tail(q, 0)[:24], !isConfig(q) }, ErrRubbish, "too short"},
		{"no IDENTIFY", func(q []byte) ([]byte, bool) { return nil, !isConfig(q) }, ErrTimeout, "answers questions about its configuration, but not IDENTIFY DEVICE"},
		{"IDENTIFY refused", func(q []byte) ([]byte, bool) { b := tail(q, 0); b[25], b[27] = 4, 0x41; return b, !isConfig(q) }, ErrRefused, "status 0x41"},
		{"no disk", func(q []byte) ([]byte, bool) { return refusal(q, aoe.Unavailable), !isConfig(q) }, ErrUnavailable, ""},
		{"another version", func(q []byte) ([]byte, bool) { return refusal(q, aoe.BadVersion), !isConfig(q) }, ErrIncompatible, ""},
		{"silence", func([]byte) ([]byte, bool) { return nil, true }, ErrNotFound, "e1.1 on h0"},
		{"config of 31 bytes", func(q []byte) ([]byte, bool) { return madeConfig(q, 1, 16, 2, 0)[:31], true }, ErrNotFound, ""},
		{"config from a wildcard", func(q []byte) ([]byte, bool) { b := madeConfig(q, 1, 16, 2, 28); b[18] = 0xff; return b, true }, ErrNotFound, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, n, net := oneNode(t, 1500)
			w.set(func() { n.hook = c.hook })
			begin := time.Now()
			o := Options{Wait: 300 * time.Millisecond}
			_, err := start(context.Background(), []link.Link{net.Open("h0", iMAC, 1500)}, addr, o, quick(o), nil)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), "e1.1") {
				t.Errorf("error %v, want %v with %q", err, c.want, c.words)
			}
			if took := time.Since(begin); took > patience {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestForeignAnswers: answers from another address than the one that was asked do not count, and are named when nothing else comes.
func TestForeignAnswers(t *testing.T) {
	w, n, net := oneNode(t, 1500)
	d := w.open(Options{Timeout: 400 * time.Millisecond}, quick(Options{Timeout: 400 * time.Millisecond}), net.Open("h0", iMAC, 1500))
	w.set(func() {
		n.hook = func(q []byte) ([]byte, bool) {
			if isConfig(q) {
				return nil, true
			}
			b := make([]byte, 36+512)
			copy(b, q[:36])
			copy(b, q[6:12])
			copy(b[6:], []byte{2, 0, 0, 0, 9, 9})
			b[14], b[27] = 0x18, 0x40
			return b, true
		}
	})
	_, err := d.ReadAt(make([]byte, 512), 0)
	if !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "02:00:00:00:09:09") {
		t.Errorf("%v", err)
	}
}

// TestShortData: a read that is cut short is repeated, and an error when it never comes whole.
func TestShortData(t *testing.T) {
	w, n, net := oneNode(t, 1500)
	o := Options{Timeout: 400 * time.Millisecond}
	d := w.open(o, quick(o), net.Open("h0", iMAC, 1500))
	cut := func(times int32) {
		var k atomic.Int32
		w.set(func() {
			n.hook = func(q []byte) ([]byte, bool) {
				if isConfig(q) || opcode(q) != ata.OpReadExt || k.Add(1) > times {
					return nil, false
				}
				b := make([]byte, 36+100)
				copy(b, q[:24])
				copy(b, q[6:12])
				copy(b[6:], q[:6])
				b[14], b[27] = 0x18, 0x40
				return b, true
			}
		})
	}
	cut(2)
	if _, err := d.ReadAt(make([]byte, 512), 0); err != nil {
		t.Error(err)
	}
	cut(1 << 30)
	if _, err := d.ReadAt(make([]byte, 512), 0); !errors.Is(err, ErrRubbish) {
		t.Errorf("%v, want ErrRubbish", err)
	}
}

// TestCommand: registers and data of a command go there and come back, also beside an error.
func TestCommand(t *testing.T) {
	w := newWorld(t, 4000)
	net := mem.NewNet(mem.Options{Seed: 1, Auto: true})
	w.serve(net, tMAC, 1500, target.ExportConfig{})
	d := w.open(Options{}, quick(Options{}), net.Open("h0", iMAC, 1500))
	ctx := context.Background()
	reply, err := d.Command(ctx, aoe.ATA{Command: ata.OpCheckPower}, nil, nil)
	if err != nil || reply.Count != 0xff {
		t.Errorf("CHECK POWER MODE: %+v, %v", reply, err)
	}
	into := make([]byte, 512)
	if _, err = d.Command(ctx, aoe.ATA{Count: 1, Command: ata.OpIdentify}, nil, into); err != nil {
		t.Error(err)
	}
	if id, err := ata.ParseIdentify(into); err != nil || id.Serial != "the one" {
		t.Errorf("%+v, %v", id, err)
	}
	if reply, err = d.Command(ctx, aoe.ATA{Command: 0x60}, nil, nil); !errors.Is(err, ErrRefused) || reply.Feature != ata.ErrABRT {
		t.Errorf("an unknown command: %+v, %v", reply, err)
	}
	if _, err = d.Command(ctx, aoe.ATA{Command: 0x60}, make([]byte, 1<<20), nil); err == nil {
		t.Error("a megabyte was taken")
	}
	conformance.Covers(t, "C124")
}

// TestTrim: ranges of any length, and none where the disk has no TRIM.
func TestTrim(t *testing.T) {
	w, n, net := oneNode(t, 1500)
	d := w.open(Options{}, quick(Options{}), net.Open("h0", iMAC, 1500))
	ctx := context.Background()
	if err := d.Trim(ctx, 0, 512); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a disk without TRIM: %v", err)
	}
	n.change(func(c *target.ExportConfig) { c.Sectors, c.Discard = 1<<33, true })
	if err := d.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	sum, frames := uint64(0), 0
	next := uint64(3)
	w.set(func() {
		n.hook = func(q []byte) ([]byte, bool) {
			if isConfig(q) || opcode(q) != ata.OpDSM {
				return nil, false
			}
			frames++
			for i := range 64 {
				lba, count, _ := ata.TrimRange(q[36:548], i)
				if count > 0 && lba != next {
					t.Errorf("range at %d, want %d", lba, next)
				}
				next += uint64(count)
				sum += uint64(count)
			}
			b := bytes.Clone(q[:60])
			copy(b, q[6:12])
			copy(b[6:], q[:6])
			b[14], b[27] = 0x18, 0x40
			return b, true
		}
		n.link.SetPromiscuous(false)
	})
	one := Options{Window: 1} // in order
	d2 := w.open(one, quick(one), net.Open("h9", aoe.MAC{2, 0, 0, 0, 0, 9}, 1500))
	const sectors = trimMost + 100_000
	if err := d2.Trim(ctx, 3*512, sectors*512); err != nil {
		t.Fatal(err)
	}
	w.set(func() {
		if sum != sectors || frames != 2 {
			t.Errorf("%d sectors in %d frames, want %d in 2", sum, frames, uint64(sectors))
		}
	})
	if err := d.Trim(ctx, 100, 512); err == nil {
		t.Error("an offset of 100 was taken")
	}
	if err := d.Trim(ctx, d2.Size(), 512); !errors.Is(err, ErrRange) {
		t.Errorf("behind the end: %v", err)
	}
}

// TestSameDisk: a serial number that many disks have proves nothing.
func TestSameDisk(t *testing.T) {
	id := func(serial, model string) *ata.Identity {
		return &ata.Identity{Device: ata.Device{Serial: serial, Model: model}}
	}
	for _, c := range []struct {
		a, b *ata.Identity
		want bool
	}{
		{id("x", "m"), id("x", "m"), true},
		{id("x", "m"), id("y", "m"), false},
		{id("x", "m"), id("x", "n"), true},
		{id("", "m"), id("", "n"), false},
		{id("0", "m"), id("0", "n"), false},
		{id("0000", "m"), id("0000", "m"), true},
		{id("SN HERE", "m"), id("SN HERE", "n"), false},
	} {
		if got := sameDisk(c.a, c.b); got != c.want {
			t.Errorf("%+v %+v: %t", c.a, c.b, got)
		}
	}
}
