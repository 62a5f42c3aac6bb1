package target

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goaoe/aoe"
	"goaoe/internal/stats"
)

func TestACL(t *testing.T) {
	rules := []Rule{{macA, true}, {macB, false}, {macA, false}, {macC, true}, {macB, true}}
	for _, c := range []struct {
		policy bool
		want   map[aoe.MAC]bool
	}{
		{true, map[aoe.MAC]bool{macA: true, macB: false, macC: true, macD: true}},
		{false, map[aoe.MAC]bool{macA: true, macB: false, macC: true, macD: false}},
	} {
		a := NewACL(rules, c.policy)
		for m, want := range c.want {
			if got := a.Allows(m); got != want {
				t.Errorf("policy %v: %v is %v", c.policy, m, got)
			}
		}
	}
	var none *ACL
	if !none.Allows(macA) || !none.check(macA) || !NewACL(nil, true).Allows(macA) || NewACL(nil, false).Allows(macA) {
		t.Error("lists without rows")
	}
	if n, _ := none.Refused(); n != 0 {
		t.Error("nil has refused something")
	}
	if m, closed := NewACL(rules, false).Members(); !closed || !slices.Equal(m, []aoe.MAC{macA, macC}) {
		t.Errorf("members %v, %v", m, closed)
	}
	if m, closed := NewACL(rules, true).Members(); closed || m != nil {
		t.Errorf("members of an open list: %v", m)
	}
}

// Against going through the rows one by one.
func TestACLModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	mac := func() aoe.MAC { return aoe.MAC{2, 0, 0, 0, byte(rnd.IntN(8)), byte(rnd.IntN(256))} }
	for range 50 {
		rules := make([]Rule, rnd.IntN(3000))
		for i := range rules {
			rules[i] = Rule{mac(), rnd.IntN(2) == 0}
		}
		policy := rnd.IntN(2) == 0
		a := NewACL(rules, policy)
		for range 200 {
			m, want := mac(), policy
			if i := slices.IndexFunc(rules, func(r Rule) bool { return r.MAC == m }); i >= 0 {
				want = rules[i].Accept
			}
			if a.Allows(m) != want {
				t.Fatalf("%v: want %v (%d rows, policy %v)", m, want, len(rules), policy)
			}
		}
	}
}

func TestAccess(t *testing.T) {
	only := func(m aoe.MAC) *ACL { return NewACL([]Rule{{m, true}}, false) }
	w := fill(512, 1)
	with := func(a Access) *rig { return newRig(t, func(c *ExportConfig) { c.Access = a; c.Discard = true }) }

	r := with(Access{All: only(macI)})
	for _, f := range [][]byte{configFrame(0, "", src(macJ)), identify(src(macJ)), frame(0x7f, nil, src(macJ)), configFrame(0, "", src(macJ), set(14, 0x20))} {
		r.silence(f, stats.DropAccess)
	}
	r.data(readExt(0, 1), 1)
	if n, last := r.e.Access().All.Refused(); n != 4 || last != macJ {
		t.Errorf("%d refused, last %v", n, last)
	}

	r = with(Access{CfgRead: only(macI), CfgSet: only(macJ)})
	r.ok(configFrame(0, ""), 60)
	r.ok(configFrame(2, ""), 60)
	for _, op := range []byte{0, 1, 2, 9} {
		r.silence(configFrame(op, "", src(macJ)), stats.DropAccess)
	}
	for _, op := range []byte{3, 4} {
		r.silence(configFrame(op, "x"), stats.DropAccess)
	}
	r.ok(configFrame(3, "x", src(macJ)), 60)
	r.data(identify(src(macJ)), 1)

	r = with(Access{Read: only(macI), Write: only(macJ)})
	r.data(readExt(0, 1), 1)
	r.abrt(writeExt(0, w))
	r.abrt(ataFrame(cmd{op: 6, feature: 1, count: 1, data: w}))
	r.abrt(readExt(0, 1, src(macJ)))
	r.abrt(identify(src(macJ), set(31, 0)))
	r.abrt(ataFrame(cmd{op: 0x40, count: 1}, src(macJ)))
	r.fine(writeExt(0, w, src(macJ)))
	r.fine(ataFrame(cmd{op: 0xe7}))

	r.e.SetAccess(Access{Read: only(macJ)}) // a reload
	r.abrt(readExt(0, 1))
	r.fine(writeExt(0, w))
}

func TestNewExport(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*ExportConfig)
		err    string // part of the error; "" for none
	}{
		{"plain", nil, ""},
		{"wildcard shelf", func(c *ExportConfig) { c.Addr.Major = 0xffff }, "shelf"},
		{"wildcard slot", func(c *ExportConfig) { c.Addr.Minor = 0xff }, "slot"},
		{"no sectors", func(c *ExportConfig) { c.Sectors = 0 }, "0 sectors"},
		{"long serial", func(c *ExportConfig) { c.Serial = strings.Repeat("x", 21) }, "at most 20"},
		{"long model", func(c *ExportConfig) { c.Model = strings.Repeat("x", 41) }, "at most 40"},
		{"long firmware", func(c *ExportConfig) { c.Firmware = "123456789" }, "at most 8"},
		{"newline", func(c *ExportConfig) { c.Firmware = "1\n" }, "printable"},
		{"blank serial", func(c *ExportConfig) { c.Serial = "  " }, "says nothing"},
		{"zero serial", func(c *ExportConfig) { c.Serial = "0000" }, "says nothing"},
		{"physical 500", func(c *ExportConfig) { c.PhysicalSize = 500 }, "power of two"},
		{"physical 1536", func(c *ExportConfig) { c.PhysicalSize = 1536 }, "power of two"},
		{"alignment", func(c *ExportConfig) { c.PhysicalSize, c.AlignOffset = 4096, 4096 }, "alignment"},
		{"defaults", func(c *ExportConfig) { c.Serial, c.Model, c.Firmware = "", "", "" }, ""},
	} {
		cfg := ExportConfig{Addr: own, Sectors: 1, Serial: "s"}
		if c.change != nil {
			c.change(&cfg)
		}
		e, err := NewExport(cfg)
		if c.err == "" && (err != nil || e.Config().Serial == "" || e.Config().Model == "") || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestCounters(t *testing.T) {
	r := newRig(t, nil)
	r.data(identify(), 1)
	r.ok(configFrame(0, ""), 60)
	r.ok(configFrame(4, "x"), 60) // deferred: counted once
	r.abrt(readExt(0, 9))
	r.aoeError(frame(9, nil), aoe.BadCommand)
	r.aoeError(configFrame(3, "y"), aoe.ConfigSet)
	r.silence(configFrame(1, "y"), stats.DropCompare)
	r.silence(readExt(0, 1, to(wild)), stats.DropWildcard)
	r.data(readExt(0, 1), 1) // the engine's to count
	st := r.e.Stats.Snapshot()
	want := stats.ExportSnapshot{
		Others: 3, Rejects: 3, RejectKinds: stats.Counts{"argument": 1, "command": 1, "config-set": 1},
		Drops: stats.Counts{"compare": 1, "wildcard": 1},
	}
	if d := cmp.Diff(want, st); d != "" {
		t.Errorf("counters (-want +got):\n%s", d)
	}
}

// The hot path: no allocation, whatever the frame.
func TestNoAlloc(t *testing.T) {
	e := newExport(t, func(c *ExportConfig) {
		c.Smart, c.Discard, c.WriteCacheAllowed = true, true, true
		c.Access = Access{All: NewACL([]Rule{{macD, false}}, true), Read: NewACL([]Rule{{macI, true}}, false)}
	})
	e.SetState(&State{Config: fill(1024, 1), Mask: append(macs(MaxMask-1), macI), Reserve: append(macs(MaxReserve-1), macI)})
	in, buf, tab := port(1500), make([]byte, 1600), newTable(t, e)
	hdr := make([]byte, 64)
	for name, f := range map[string][]byte{
		"read": readExt(0, 2), "write": writeExt(0, make([]byte, 1024)), "flush": ataFrame(cmd{op: 0xe7}), "trim": ataFrame(cmd{op: 6, feature: 1, count: 1, data: make([]byte, 512)}),
		"config read": configFrame(0, ""), "config test": configFrame(1, "no"), "config set": configFrame(4, "x"),
		"identify": identify(), "identify by wildcard": identify(to(wild)), "smart": ataFrame(cmd{op: 0xb0, feature: 0xd0, lba: 0xc24f00}),
		"set features": ataFrame(cmd{op: 0xef, feature: 0x55}), "unknown opcode": ataFrame(cmd{op: 0xff}), "past the end": readExt(4000, 1),
		"mask read": maskFrame(0, nil), "mask edit": edit(add(macA)), "reserve read": reserveFrame(0, nil), "reserve set": reserveFrame(1, nil),
		"unknown command": frame(0x7f, nil), "version": configFrame(0, "", set(14, 0x20)), "masked": readExt(0, 1, src(macJ)), "refused": readExt(0, 1, src(macA)),
		"short": readExt(0, 1, cut(20)), "short ATA": readExt(0, 1, cut(30)), "reply": readExt(0, 1, set(14, 0x18)), "foreign": readExt(0, 1, dst(macJ)),
	} {
		var req Request
		run := func() {
			if req.Parse(f, false, 0, in) != stats.NoDrop {
				return
			}
			x := e
			if !req.Addr.Wild() {
				x = tab.Lookup(req.Addr)
			}
			if act := handle(x, &req, in, buf); act.Kind == IO {
				x.Finish(f[:36], in, act.IO, OK, 0, false, hdr)
				x.Finish(f[:36], in, act.IO, Media, 1, true, hdr)
			}
		}
		if n := testing.AllocsPerRun(200, run); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
