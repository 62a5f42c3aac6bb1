package target

import (
	"slices"
	"testing"

	"goaoe/aoe"
	"goaoe/internal/stats"
)

// seeds are frames of every kind.
func seeds() [][]byte {
	w := fill(1024, 5)
	out := [][]byte{
		configFrame(0, ""), configFrame(0, "", to(wild), dst(aoe.Broadcast)), configFrame(1, "hello"), configFrame(2, "he"), configFrame(3, "x"),
		configFrame(4, "hello", tail(1019)), configFrame(9, ""), configFrame(4, string(fill(1024, 1))),
		maskFrame(0, nil), edit(add(macI), del(macA), add(macJ)), edit(aoe.Directive{Cmd: 9}), maskFrame(2, nil),
		reserveFrame(0, nil), reserveFrame(1, []aoe.MAC{macI}), reserveFrame(2, []aoe.MAC{macJ, macI}), reserveFrame(7, nil),
		frame(4, nil), frame(0xf0, nil), identify(), identify(to(wild)), readExt(2046, 2), readExt(2047, 2), writeExt(0, w), writeExt(1, w, cut(500)),
	}
	for op := range 256 {
		out = append(out, ataFrame(cmd{op: byte(op), flags: 0x40, feature: 1, count: 1, lba: 0xc24f00, data: w[:512]}))
	}
	for f := range 256 {
		out = append(out, ataFrame(cmd{op: 0xb0, feature: byte(f), lba: 0xc24f00}), ataFrame(cmd{op: 0xef, feature: byte(f)}))
	}
	return out
}

// FuzzHandle: whatever arrives, nothing panics; each target sends at most one reply, which is well-formed; no operation leaves the export;
// the frame stays as it was. All of that is checked by the rig. What is checked here is that writes need an exact address,
// that a foreign source changes nothing, and that the lists keep their limits.
func FuzzHandle(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s, uint16(0))
		f.Add(s, uint16(0xe000))
	}
	f.Add([]byte{}, uint16(5))
	f.Fuzz(func(t *testing.T, in []byte, knobs uint16) {
		r := newRig(t, func(c *ExportConfig) {
			c.Discard, c.Smart, c.WriteCacheAllowed, c.AnyVersion = knobs&1 != 0, knobs&2 != 0, knobs&4 != 0, knobs&8 != 0
			c.ReadOnly = knobs&16 != 0
		})
		if knobs&32 != 0 {
			r.in = port(9000)
		}
		if knobs&64 != 0 {
			r.in = port(1042)
		}
		start := &State{Config: []byte("hello")}
		if knobs&128 != 0 {
			start = &State{Mask: []aoe.MAC{macI}, Reserve: []aoe.MAC{macI}}
		}
		r.e.SetState(start)
		out := r.sendTagged(in, knobs&256 != 0, knobs)
		if len(out) > 1 {
			t.Fatalf("%d replies", len(out))
		}
		st := r.e.State()
		if len(st.Config) > aoe.MaxConfig || len(st.Mask) > MaxMask || len(st.Reserve) > MaxReserve {
			t.Fatalf("state beyond its limits: %d %d %d", len(st.Config), len(st.Mask), len(st.Reserve))
		}
		if len(out) == 0 && (st != start || r.last == stats.NoDrop) {
			t.Fatalf("silence, but the state has changed, or there is no reason (%v)", r.last)
		}
		if len(in) >= 24 && len(r.ios) > 0 {
			h, _ := aoe.DecodeHeader(in)
			if h.Addr != own {
				t.Fatalf("an operation for %v", h.Addr)
			}
			if r.e.ReadOnly() && slices.ContainsFunc(r.ios, func(o IOSpec) bool { return o.Kind != IORead }) {
				t.Fatalf("a read-only disk is asked for %+v", r.ios)
			}
		}
		if knobs&128 != 0 && len(in) >= 12 && aoe.MAC(in[6:12]) != macI && (len(out) > 0 || st != start) {
			t.Fatal("a source that is not in the mask list was answered")
		}
	})
}

// All seeds in a row against one export whose state goes on, cut at every length.
func TestEveryLength(t *testing.T) {
	r := newRig(t, func(c *ExportConfig) { c.Discard, c.Smart = true, true })
	for _, s := range seeds() {
		for n := 0; n <= len(s); n++ {
			if n > 80 && n < len(s)-2 {
				continue
			}
			r.send(s[:n:n])
			r.e.SetState(nil)
		}
	}
}
