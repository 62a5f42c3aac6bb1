package netns

import (
	"fmt"
	"slices"
	"testing"
)

func TestMask(t *testing.T) {
	h := plain(t, 1500, "")
	use := func(t *testing.T) *host { h.r.t = t; return h }
	edit := func(t *testing.T, want []mac, ds ...directive) {
		t.Helper()
		q := use(t).mask(1, ds...)
		if got := q.macs(t, q.ask()); !slices.Equal(got, want) {
			t.Fatalf("list %x, want %x", got, want)
		}
	}
	item(t, "C97", func(t *testing.T) {
		q := use(t).mask(0)
		f := q.okAsk(t, 60)
		if f[26] != 0 || f[27] != 0 {
			t.Fatalf("error %d count %d", f[26], f[27])
		}
	})
	item(t, "C98", func(t *testing.T) {
		want := []mac{}
		for _, m := range []mac{hostI, hostA, hostB, hostC, hostD} {
			want = append(want, m)
			edit(t, want, directive{1, m})
		}
	})
	item(t, "C99", func(t *testing.T) {
		edit(t, []mac{hostI, hostB, hostC, hostD}, directive{2, hostA})
		edit(t, []mac{hostI, hostB, hostC}, directive{2, hostD})
		edit(t, []mac{hostI, hostB, hostC}, directive{2, hostA})
	})
	item(t, "C100", func(t *testing.T) { edit(t, []mac{hostI, hostB, hostC}, directive{1, hostI}) })
	item(t, "C104", func(t *testing.T) { edit(t, []mac{hostI, hostB, hostC}) })
	item(t, "C101", func(t *testing.T) {
		h := use(t)
		h.config(0, "").from(hostJ).silent(t)
		h.identify().from(hostJ).silent(t)
		h.request(0x7f, nil).from(hostJ).silent(t)
		h.mask(0).from(hostJ).silent(t)
		h.reserve(0).from(hostJ).silent(t)
		h.config(0, "").version(0x20).from(hostJ).silent(t)
		h.config(0, "").from(hostB).conf(t)
	})
	item(t, "C106", func(t *testing.T) {
		h := use(t)
		h.r.restart(true)
		edit(t, []mac{hostI, hostB, hostC})
		h.config(0, "").from(hostJ).silent(t)
	})
	item(t, "C102", func(t *testing.T) {
		h := use(t)
		edit(t, []mac{hostI}, directive{2, hostB}, directive{2, hostC})
		f := h.mask(1, directive{1, hostA}, directive{9, hostB}, directive{1, hostB}).okAsk(t, 60)
		if f[26] != 2 || f[27] != 1 {
			t.Fatalf("MError %d count %d, want 2 and 1", f[26], f[27])
		}
		zero(t, f[28:], "instead of a list")
		edit(t, []mac{hostI, hostA})
	})
	item(t, "C103", func(t *testing.T) {
		want := []mac{hostI, hostA}
		var ds []directive
		for i := 0; len(want) < 185; i++ {
			m := mac{6, 0, 0, 0, 1, byte(i)}
			want = append(want, m)
			ds = append(ds, directive{1, m})
		}
		edit(t, want[:102], ds[:100]...)
		edit(t, want, ds[100:]...)
		f := use(t).mask(1, directive{1, hostI}, directive{1, mac{6, 9, 9, 9, 9, 9}}).okAsk(t, 60)
		if f[26] != 3 || f[27] != 1 {
			t.Fatalf("MError %d count %d, want 3 and 1", f[26], f[27])
		}
		edit(t, want)
	})
	item(t, "C105", func(t *testing.T) {
		h := use(t)
		for c := byte(2); c < 5; c++ {
			zero(t, h.mask(c).fails(t, 2)[24:], "behind the header")
		}
		q := h.mask(1, directive{1, hostB})
		q.body[3] = 30 // more directives than the frame holds
		q.fails(t, 2)
	})
}

func TestReserve(t *testing.T) {
	h := plain(t, 1500, "")
	use := func(t *testing.T) *host { h.r.t = t; return h }
	set := func(t *testing.T, rcmd byte, from mac, list ...mac) {
		t.Helper()
		q := use(t).reserve(rcmd, list...).from(from)
		f := q.ask()
		if got := q.macs(t, f); f[14] != 0x18 || !slices.Equal(got, list) {
			t.Fatalf("flags %#x error %d list %x, want %x", f[14], f[15], got, list)
		}
	}
	refused := func(t *testing.T, q *req, holders ...mac) {
		t.Helper()
		f := q.fails(t, 6)
		if q.cmd == 3 {
			if got := q.macs(t, f); !slices.Equal(got, holders) {
				t.Fatalf("holders %x, want %x", got, holders)
			}
		}
	}
	item(t, "C107", func(t *testing.T) {
		q := use(t).reserve(0)
		if got := q.macs(t, q.okAsk(t, 60)); len(got) != 0 {
			t.Fatalf("list %x", got)
		}
	})
	item(t, "C108", func(t *testing.T) {
		set(t, 1, hostI, hostI)
		refused(t, h.readExt(0, 1).from(hostJ))
		h.identify().from(hostJ).data(t, 1)
		h.config(0, "").from(hostJ).conf(t)
		h.readExt(0, 1).data(t, 1)
	})
	item(t, "C109", func(t *testing.T) { refused(t, use(t).reserve(1, hostJ).from(hostJ), hostI) })
	item(t, "C115", func(t *testing.T) {
		h := use(t)
		refused(t, h.ata(regs{cmd: 0xe7}).from(hostJ))
		refused(t, h.ata(regs{cmd: 0xe5}).from(hostJ))
	})
	item(t, "C116", func(t *testing.T) {
		h := use(t)
		h.mask(1, directive{1, hostJ}).okAsk(t, 60)
		h.readExt(0, 1).silent(t)
		refused(t, h.readExt(0, 1).from(hostJ))
		h.mask(1, directive{2, hostJ}).from(hostJ).okAsk(t, 60)
	})
	item(t, "C110", func(t *testing.T) {
		set(t, 2, hostJ, hostJ)
		refused(t, use(t).readExt(0, 1))
		h.readExt(0, 1).from(hostJ).data(t, 1)
	})
	item(t, "C111", func(t *testing.T) {
		set(t, 1, hostJ)
		use(t).readExt(0, 1).data(t, 1)
	})
	item(t, "C112", func(t *testing.T) {
		set(t, 2, hostI, hostC, hostA, hostB)
		for _, m := range []mac{hostA, hostB, hostC} {
			use(t).readExt(0, 1).from(m).data(t, 1)
		}
		set(t, 1, hostB)
	})
	item(t, "C113", func(t *testing.T) {
		set(t, 1, hostI, hostA, hostB)
		refused(t, use(t).readExt(0, 1))
	})
	item(t, "C117", func(t *testing.T) {
		h := use(t)
		h.r.restart(true)
		q := h.reserve(0)
		if got := q.macs(t, q.ask()); !slices.Equal(got, []mac{hostA, hostB}) {
			t.Fatalf("list %x", got)
		}
		refused(t, h.readExt(0, 1))
	})
	item(t, "C114", func(t *testing.T) {
		h := use(t)
		for c := byte(3); c < 6; c++ {
			h.reserve(c).fails(t, 2)
		}
		q := h.reserve(1, hostA)
		q.body[1] = 50
		q.fails(t, 2)
	})
}

// TestAccessLists: refused everywhere is silence; refused data is ABRT, refused config is silence.
func TestAccessLists(t *testing.T) {
	r := newRig(t, 1, 1500)
	r.serve(fmt.Sprintf(`[defaults]
interfaces = ["t0"]
[hosts]
jay = %q
[access-list.friends]
members = [%q, "jay"]
[[export]]
address = "1.1"
source = %q
accept = ["friends"]
write = [%q]
config-set = ["jay"]
`, fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", hostJ[0], hostJ[1], hostJ[2], hostJ[3], hostJ[4], hostJ[5]), "02:00:00:00:00:01", r.image("disk", 64*512), "02:00:00:00:00:01"))
	h := r.hosts[0]
	h.config(0, "").from(hostA).silent(t)
	h.readExt(0, 1).from(hostA).silent(t)
	h.config(0, "").from(hostJ).conf(t)
	h.readExt(0, 1).from(hostJ).data(t, 1)
	h.writeExt(1, sectors(1, 1)).from(hostJ).abort(t)
	h.writeExt(1, sectors(1, 1)).good(t)
	h.config(4, "no").silent(t)
	h.config(4, "yes").from(hostJ).conf(t)
}
