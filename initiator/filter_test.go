package initiator

import (
	"encoding/binary"
	"testing"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/link/mem"
	"goaoe/internal/target"
)

// TestFilter: every tag that a Disk can use passes its filter, and so does what is said about the configuration; another Disk's answers do not, nor
// another target's.
func TestFilter(t *testing.T) {
	id := tagID{n: 5}
	f := id.replies(addr)
	frame := func(cmd aoe.Command, tag uint32) []byte {
		b := make([]byte, 60)
		h := aoe.Header{Dst: iMAC, Src: tMAC, Version: aoe.Version, Flags: aoe.FlagResponse, Addr: addr, Cmd: cmd, Tag: tag}
		if _, err := h.Encode(b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	for slot := range maxSlots {
		for _, gen := range []uint32{0, 1, genMax / 2, genMax} {
			if !f.Wants(frame(aoe.CmdATA, id.tag(slot, gen))) {
				t.Fatalf("slot %d, generation %d: its answer is not wanted", slot, gen)
			}
			if other := (tagID{n: 6}).tag(slot, gen); f.Wants(frame(aoe.CmdATA, other)) {
				t.Fatalf("the answer to tag %#x of another Disk is wanted", other)
			}
		}
	}
	if !f.Wants(frame(aoe.CmdConfig, 0)) {
		t.Error("announcements are not wanted")
	}
	b := frame(aoe.CmdATA, id.tag(0, 1))
	binary.BigEndian.PutUint16(b[16:], addr.Major+1)
	if f.Wants(b) {
		t.Error("the answer of another target is wanted")
	}
}

// noted is a link that notes its filter.
type noted struct {
	*mem.Link
	f *link.Filter
}

// SetFilter implements link.Link.
func (l *noted) SetFilter(f *link.Filter) error { l.f = f; return l.Link.SetFilter(f) }

// TestFilterIsSet: a Disk receives what it wants, and nothing else.
func TestFilterIsSet(t *testing.T) {
	net := mem.NewNet(mem.Options{Seed: 1})
	w := newWorld(t, 4000)
	w.serve(net, tMAC, 9000, target.ExportConfig{})
	l := &noted{Link: net.Open("h0", iMAC, 9000)}
	d, err := start(t.Context(), []link.Link{l}, addr, Options{}, defaults(Options{}), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if l.f == nil || l.f.Replies == nil || *l.f.Replies != *d.id.replies(addr).Replies {
		t.Fatalf("its filter is %+v", l.f)
	}
}
