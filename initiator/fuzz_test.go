package initiator

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/link/mem"
	"goaoe/internal/target"
)

// FuzzReceive gives made-up frames to a disk that has requests of each kind under way. None may crash it or leak a slot, and it goes on
// working. The tag is made to fit now and then, because chance alone would not get that far.
func FuzzReceive(f *testing.F) {
	reply := func(cmd aoe.Command, flags uint8, tail int) []byte {
		b := make([]byte, aoe.HeaderLen+tail)
		h := aoe.Header{Dst: iMAC, Src: tMAC, Version: aoe.Version, Flags: flags, Addr: addr, Cmd: cmd}
		_, _ = h.Encode(b)
		return b
	}
	f.Add(reply(aoe.CmdATA, aoe.FlagResponse, 12+512), uint16(0))
	f.Add(reply(aoe.CmdATA, aoe.FlagResponse, 12+1024), uint16(1))
	f.Add(reply(aoe.CmdATA, aoe.FlagResponse|aoe.FlagError, 0), uint16(2))
	f.Add(reply(aoe.CmdConfig, aoe.FlagResponse, 36), uint16(3))
	f.Add(reply(aoe.CmdConfig, aoe.FlagResponse, 8), uint16(0))
	f.Add(reply(aoe.CmdMask, aoe.FlagResponse, 36), uint16(0))
	f.Add([]byte{}, uint16(0))
	w := newWorld(f, 4000)
	net := mem.NewNet(mem.Options{Seed: 1, Auto: true})
	n := w.serve(net, tMAC, 1500, target.ExportConfig{BufferCount: 64})
	o := Options{Timeout: 5 * time.Second}
	d, err := start(context.Background(), []link.Link{net.Open("h0", iMAC, 1500)}, addr, o, quick(o), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = d.Close() })
	count := 0
	f.Fuzz(func(t *testing.T, b []byte, pick uint16) {
		if len(b) > 1514 {
			return
		}
		q := d.NewQueue(8)
		w.set(func() { n.frozen = true }) // requests stay under way
		reqs := []*Request{{Op: Read, Off: 0, Buf: make([]byte, 1024)}, {Op: Write, Off: 4096, Buf: make([]byte, 512)}, {Op: Flush}}
		for _, r := range reqs {
			if err := q.Submit(r); err != nil {
				t.Fatal(err)
			}
		}
		d.mu.Lock()
		if len(b) >= aoe.HeaderLen && pick%4 != 3 {
			for i, k := 0, int(pick/4)%8; i < maxSlots; i++ { // the tag of one of them
				if x := &d.slots[i]; x.busy {
					if k--; k < 0 {
						binary.BigEndian.PutUint32(b[20:], d.id.tag(i, x.last))
						break
					}
				}
			}
		}
		fr := link.Frame{Data: b, Tagged: pick%64 == 1, TCI: pick}
		d.flush()
		d.frame(d.ports[0], &fr, d.timer)
		d.pump(d.timer)
		d.mu.Unlock()
		w.set(func() { n.frozen = false })
		if count++; count%64 == 0 { // the bad answers may have made paths bad, and disks small: it recovers by itself
			_ = d.Refresh(context.Background())
		}
		_ = q.Close()
		d.mu.Lock()
		defer d.mu.Unlock()
		busy, writes := 0, 0
		for i := range d.slots {
			if d.slots[i].busy {
				busy++
				if d.slots[i].write {
					writes++
				}
			}
		}
		if busy+d.frees != maxSlots || writes != d.writes {
			t.Fatalf("%d busy, %d free, %d writes and %d counted", busy, d.frees, writes, d.writes)
		}
		for _, p := range d.paths {
			listed, counted := 0, 0
			for x := p.oldest; x != nil; x = x.newer {
				listed++
				if x.counted {
					counted++
				}
				if !x.busy || x.path != p {
					t.Fatal("a slot that is free is in the list of a path")
				}
			}
			if counted != p.inflight {
				t.Fatalf("%d of %d under way are counted, the path has %d", counted, listed, p.inflight)
			}
		}
	})
}
