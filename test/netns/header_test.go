package netns

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"goaoe/test/conformance"
	"goaoe/test/program"
)

// plain is the list's set-up: 1.1 on t0, 2048 sectors, buffer count 16, writable.
func plain(t *testing.T, mtu int, more string) *host {
	t.Helper()
	r := newRig(t, 1, mtu)
	r.serve(fmt.Sprintf("[defaults]\ninterfaces = [\"t0\"]\nqueue-length = 16\n[[export]]\naddress = \"1.1\"\nsource = %q\n%s\n", r.image("disk", 2048*512), more))
	return r.hosts[0]
}

// item runs one numbered item of the conformance list.
func item(t *testing.T, id string, f func(t *testing.T)) {
	t.Helper()
	t.Run(id, func(t *testing.T) { conformance.Covers(t, id); f(t) })
}

// fence shows that the target still works.
func (h *host) fence(t *testing.T) { t.Helper(); h.config(0, "").conf(t) }

func TestHeader(t *testing.T) {
	h := plain(t, 1500, "")
	use := func(t *testing.T) *host { h.r.t = t; return h }
	item(t, "C1", func(t *testing.T) {
		h := use(t)
		q := h.config(0, "")
		if n := len(q.frame()); n != 32 {
			t.Fatalf("the query has %d bytes", n)
		}
		if s := q.conf(t); s != "" {
			t.Fatalf("string %q", s)
		}
	})
	for _, c := range []struct {
		id    string
		dst   mac
		major uint16
		minor byte
	}{{"C2", broadcast, 0xffff, 0xff}, {"C3", targetT, 0xffff, 1}, {"C4", targetT, 1, 0xff}, {"C8", broadcast, 1, 1}} {
		item(t, c.id, func(t *testing.T) {
			q := use(t).config(0, "").to(c.dst).at(c.major, c.minor)
			f := q.ask()
			q.confBody(t, f, 0x18)
			if f[16] != 0 || f[17] != 1 || f[18] != 1 {
				t.Fatalf("address %x, want 1.1", f[16:19])
			}
		})
	}
	item(t, "C5", func(t *testing.T) {
		h := use(t)
		h.config(0, "").at(0xffff, 2).silent(t)
		h.config(0, "").at(2, 0xff).silent(t)
	})
	item(t, "C6", func(t *testing.T) {
		h := use(t)
		h.config(0, "").at(1, 2).silent(t)
		h.config(0, "").at(2, 1).silent(t)
	})
	item(t, "C9", func(t *testing.T) {
		h := use(t)
		h.config(0, "").to(mac{2, 0, 0, 0, 0, 0x77}).silent(t)
		h.config(0, "").to(mac{1, 0, 0x5e, 0, 0, 1}).silent(t)
	})
	item(t, "C11", func(t *testing.T) {
		h := use(t)
		for _, tag := range []uint32{0x80000001, 0xffffffff, 0x00000001} {
			h.config(0, "").tagged(tag).conf(t)
		}
	})
	item(t, "C12", func(t *testing.T) {
		f := use(t).config(0, "").version(0x20).fails(t, 5)
		zero(t, f[24:], "behind the header")
	})
	item(t, "C13", func(t *testing.T) {
		h := use(t)
		h.config(0, "").version(0x20).at(0xffff, 0xff).silent(t)
		h.config(0, "").version(0x20).at(1, 0xff).silent(t)
	})
	for id, cmd := range map[string]byte{"C14": 0x7f, "C15": 0x04, "C16": 0xf0} {
		item(t, id, func(t *testing.T) {
			h := use(t)
			f := h.request(cmd, bytes.Repeat([]byte{0xee}, 40)).fails(t, 1)
			if len(f) != 60 {
				t.Fatalf("%d bytes, want 60", len(f))
			}
			zero(t, f[24:], "behind the header")
			h.request(cmd, nil).at(1, 0xff).silent(t)
			h.fence(t)
		})
	}
	item(t, "C17", func(t *testing.T) {
		h := use(t)
		for _, et := range [][2]byte{{0x88, 0xa3}, {0x08, 0x00}} {
			f := h.config(0, "").frame()
			f[12], f[13] = et[0], et[1]
			if g := h.ask(f); g != nil {
				t.Fatalf("EtherType %x was answered", et)
			}
		}
	})
	vlan := func(f []byte, tci uint16) []byte {
		return append(append(append([]byte(nil), f[:12]...), 0x81, 0, byte(tci>>8), byte(tci)), f[12:]...)
	}
	item(t, "C18", func(t *testing.T) {
		h := use(t)
		h.send(vlan(h.config(0, "").frame(), 5))
		if g := h.read(200 * time.Millisecond); g != nil {
			t.Fatalf("a frame of VLAN 5 was answered: %x", g)
		}
	})
	item(t, "C19", func(t *testing.T) {
		h := use(t)
		q := h.config(0, "")
		h.send(vlan(q.frame(), 7<<13))
		q.confBody(t, h.read(time.Second), 0x18)
	})
	item(t, "C22", func(t *testing.T) {
		// After frames full of other bytes, no reply may show any of them: ok, conf and status check each byte behind what is defined.
		h := use(t)
		for _, fill := range []byte{0xff, 0xa5} {
			junk := bytes.Repeat([]byte{fill}, 1024)
			h.config(0, "").with(junk...).conf(t)
			h.ata(regs{flags: 0xff, feature: fill, count: 1, cmd: 0xff, lba: 1<<48 - 1, data: junk}).abort(t)
			h.ata(regs{flags: 0x40, cmd: 0xe5, data: junk}).status(t, 0x40, 0)
			q := h.mask(0).with(junk...)
			if got := q.macs(t, q.ask()); len(got) != 0 {
				t.Fatalf("mask %v", got)
			}
			q = h.reserve(0).with(junk...)
			if got := q.macs(t, q.ask()); len(got) != 0 {
				t.Fatalf("reserve %v", got)
			}
			f := h.request(0x50, junk).version(0x17).fails(t, 1)
			zero(t, f[24:], "behind the header")
			f = h.config(0, "").version(0x17).ask()
			if f == nil || f[14] != 0x18 || f[15] != 0 {
				t.Fatalf("reserved flags of the request: %x", f)
			}
		}
	})
	t.Run("a reply is never answered", func(t *testing.T) {
		h := use(t)
		for _, v := range []byte{0x18, 0x1c} {
			h.config(0, "").version(v).silent(t)
			h.readExt(0, 1).version(v).silent(t)
		}
		conformance.Covers(t, "C125")
	})
	t.Run("sources that cannot be answered", func(t *testing.T) {
		h := use(t)
		h.config(0, "").from(broadcast).silent(t)
		h.config(0, "").from(mac{}).silent(t)
		h.config(0, "").from(h.t).silent(t)
		h.config(0, "").from(mac{3, 0, 0, 0, 0, 1}).silent(t)
	})
	t.Run("short frames", func(t *testing.T) {
		h := use(t)
		for cmd, smallest := range map[byte]int{0: 36, 1: 32, 2: 28, 3: 26} {
			full := h.request(cmd, make([]byte, 40)).frame()
			for n := 14; n < smallest; n++ {
				h.send(full[:n])
			}
		}
		h.fence(t)
	})
}

// TestSeveralTargets: C7, C10, C21, C43, C44.
func TestSeveralTargets(t *testing.T) {
	r := newRig(t, 2, 1500)
	cfg := "[defaults]\ninterfaces = [\"t0\", \"t1\"]\n"
	for _, a := range []string{"1.1", "1.2", "2.1"} {
		cfg += fmt.Sprintf("[[export]]\naddress = %q\nsource = %q\n", a, r.image("disk"+a, 2048*512))
	}
	r.serve(cfg)
	h, g := r.hosts[0], r.hosts[1]
	item(t, "C7", func(t *testing.T) {
		r.t = t
		got := map[byte]bool{}
		for _, f := range h.askAll(h.config(0, "").to(broadcast).at(1, 0xff).frame()) {
			got[f[18]] = true
			if f[17] != 1 {
				t.Fatalf("shelf %d answered", f[17])
			}
		}
		if len(got) != 2 || !got[1] || !got[2] {
			t.Fatalf("slots %v answered, want 1 and 2", got)
		}
	})
	item(t, "C10", func(t *testing.T) {
		r.t = t
		q := g.config(0, "")
		if q.conf(t); h.read(50*time.Millisecond) != nil {
			t.Fatal("something came out of the other interface")
		}
		if d := g.readExt(7, 1).data(t, 1); !bytes.Equal(d[:8], stamp(7)) {
			t.Fatalf("data %x", d[:8])
		}
	})
	item(t, "C43", func(t *testing.T) {
		r.t = t
		h.config(4, "through one").conf(t)
		if s := g.config(0, "").conf(t); s != "through one" {
			t.Fatalf("the other interface says %q", s)
		}
	})
	item(t, "C44", func(t *testing.T) {
		r.t = t
		if n := len(h.askAll(h.config(4, "everybody").to(broadcast).at(0xffff, 0xff).frame())); n != 3 {
			t.Fatalf("%d replies, want 3", n)
		}
		for _, a := range [][2]byte{{1, 1}, {1, 2}, {2, 1}} {
			if s := h.config(0, "").at(uint16(a[0]), a[1]).conf(t); s != "everybody" {
				t.Fatalf("%v says %q", a, s)
			}
		}
	})
}

// TestThousandTargets is C21.
func TestThousandTargets(t *testing.T) {
	r := newRig(t, 1, 1500)
	cfg := "[defaults]\ninterfaces = [\"t0\"]\n"
	for i := 0; i < 1000; i++ {
		cfg += fmt.Sprintf("[[export]]\naddress = \"%d.%d\"\nsource = \"mem:64K\"\nqueue-length = 2\n", i/200, i%200)
	}
	r.serve(cfg)
	h := r.hosts[0]
	item(t, "C21", func(t *testing.T) {
		r.t = t
		for h.read(200*time.Millisecond) != nil {
		}
		seen := map[string]int{}
		for _, f := range h.askAll(h.config(0, "").to(broadcast).at(0xffff, 0xff).frame()) {
			seen[string(f[16:19])]++
		}
		if len(seen) != 1000 {
			t.Fatalf("%d of 1000 targets answered", len(seen))
		}
	})
}

// TestVLAN is C20: an export bound to a VLAN interface.
func TestVLAN(t *testing.T) {
	r := newRig(t, 1, 1500)
	missing := false
	r.in(func() error {
		parent, err := netlink.LinkByName("t0")
		if err != nil {
			return err
		}
		la := netlink.NewLinkAttrs()
		la.Name, la.ParentIndex = "t0.5", parent.Attrs().Index
		v := &netlink.Vlan{LinkAttrs: la, VlanId: 5, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}
		if err := netlink.LinkAdd(v); err != nil {
			missing = errors.Is(err, unix.EOPNOTSUPP)
			if missing {
				return nil
			}
			return err
		}
		return netlink.LinkSetUp(v)
	})
	if missing {
		t.Skip("this kernel has no VLAN interfaces; test/guest runs this test inside the guest, whose kernel has them")
	}
	r.serve(fmt.Sprintf("[[export]]\naddress = \"1.1\"\ninterfaces = [\"t0.5\"]\nsource = %q\n", r.image("disk", 2048*512)))
	h := r.hosts[0]
	item(t, "C20", func(t *testing.T) {
		r.t = t
		h.config(0, "").silent(t) // untagged: another network
		q := h.config(0, "")
		f := q.frame()
		h.send(append(append(append([]byte(nil), f[:12]...), 0x81, 0, 0, 5), f[12:]...))
		g := h.read(time.Second)
		if len(g) < 64 || g[12] != 0x81 || g[15] != 5 {
			t.Fatalf("reply %x, want one tagged 5", g)
		}
		q.confBody(t, append(append([]byte(nil), g[:12]...), g[16:]...), 0x18)
	})
}

// TestDiscover: goaoe discover shows what goaoe serves, also when it cannot be identified.
func TestDiscover(t *testing.T) {
	r := newRig(t, 1, 9000)
	r.serve(fmt.Sprintf("[defaults]\ninterfaces = [\"t0\"]\n[[export]]\naddress = \"1.1\"\nmodel = \"the model\"\nsource = %q\n[[export]]\naddress = \"1.2\"\nsource = %q\nread = [\"02:00:00:00:00:01\"]\n",
		r.image("disk", 2048*512), r.image("refused", 64*512)))
	bin := program.Goaoe(t)
	c := exec.Command(bin, "discover", "-i", "h0", "--json")
	var out bytes.Buffer
	c.Stdout = &out
	r.in(c.Run)
	var rows []struct {
		Address, Model, Error string
		Size                  int64
		Sectors               int `json:"sectors_per_frame"`
	}
	if err := json.Unmarshal(out.Bytes(), &rows); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if len(rows) != 2 || rows[0].Address != "e1.1" || rows[0].Size != 2048*512 || rows[0].Model != "the model" || rows[0].Sectors != 17 ||
		rows[1].Address != "e1.2" || rows[1].Error == "" {
		t.Fatalf("%+v", rows)
	}
}
