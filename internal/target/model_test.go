package target

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"goaoe/aoe"
)

// The model: what a client may see and change, written as plainly as possible.
type model struct {
	config  []byte
	mask    []aoe.MAC
	reserve []aoe.MAC
}

func (m *model) masked(src aoe.MAC) bool { return len(m.mask) > 0 && !slices.Contains(m.mask, src) }
func (m *model) held(src aoe.MAC) bool {
	return len(m.reserve) > 0 && !slices.Contains(m.reserve, src)
}

// TestStateModel runs random commands of several clients against the export and the model, with a disk for the state that fails at times.
func TestStateModel(t *testing.T) {
	clients := []aoe.MAC{macI, macJ, macA, macB}
	rapid.Check(t, func(rt *rapid.T) {
		r := newRig(t, nil)
		m := &model{}
		client := rapid.SampledFrom(clients)
		text := rapid.SliceOfN(rapid.SampledFrom([]byte("ab\x00\xff")), 0, 4)
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			from := client.Draw(rt, "from")
			r.save = nil
			if rapid.IntRange(0, 5).Draw(rt, "disk fails") == 0 {
				r.save = errDisk
			}
			switch rapid.SampledFrom([]string{"config", "mask", "reserve", "read", "clear"}).Draw(rt, "command") {
			case "config":
				stepConfig(rt, r, m, from, rapid.Byte().Draw(rt, "op")%6, text.Draw(rt, "string"))
			case "mask":
				n := rapid.IntRange(0, 4).Draw(rt, "directives")
				dirs := make([]aoe.Directive, n)
				for i := range dirs {
					dirs[i] = aoe.Directive{Cmd: rapid.SampledFrom([]byte{0, 1, 1, 1, 2, 2, 3}).Draw(rt, "dcmd"), MAC: client.Draw(rt, "mac")}
				}
				stepMask(rt, r, m, from, dirs)
			case "reserve":
				stepReserve(rt, r, m, from, byte(rapid.IntRange(0, 3).Draw(rt, "op")), rapid.SliceOfN(client, 0, 3).Draw(rt, "list"))
			case "read":
				out := r.send(readExt(0, 1, src(from)))
				switch {
				case m.masked(from):
					expect(rt, len(out) == 0, "a masked client got an answer")
				case m.held(from):
					expect(rt, len(out) == 1 && out[0][15] == byte(aoe.Reserved), "a read past a reservation")
				default:
					expect(rt, len(out) == 1 && len(out[0]) == 548, "a read was not answered")
				}
			case "clear": // by the administrator, who can always get out of a mask list
				r.e.SetState(nil)
				*m = model{}
			}
			st := r.e.State()
			expect(rt, bytes.Equal(st.Config, m.config), "config string")
			expect(rt, slices.Equal(st.Mask, m.mask), "mask list")
			expect(rt, slices.Equal(st.Reserve, m.reserve), "reserve list")
		}
	})
}

func expect(rt *rapid.T, ok bool, what string) {
	rt.Helper()
	if !ok {
		rt.Fatal(what)
	}
}

// answer checks the shape that all commands share: silence for the masked, else one reply, which it returns.
func answer(rt *rapid.T, r *rig, m *model, from aoe.MAC, f []byte) []byte {
	rt.Helper()
	masked := m.masked(from)
	out := r.send(f)
	if masked {
		expect(rt, len(out) == 0, "a masked client got an answer")
		return nil
	}
	if len(out) == 0 {
		return nil
	}
	return out[0]
}

func stepConfig(rt *rapid.T, r *rig, m *model, from aoe.MAC, op byte, s []byte) {
	f := answer(rt, r, m, from, configFrame(op, string(s), src(from)))
	if m.masked(from) {
		return
	}
	equal := bytes.Equal(m.config, s)
	code := aoe.Code(0)
	switch op {
	case 1, 2:
		if match := op == 1 && equal || op == 2 && bytes.HasPrefix(m.config, s); !match {
			expect(rt, f == nil, "a test that fails is silence")
			return
		}
	case 3, 4:
		switch {
		case op == 3 && len(m.config) > 0 && !equal:
			code = aoe.ConfigSet
		case !equal && r.save != nil:
			code = aoe.Unavailable
		default:
			m.config = s
		}
	case 5:
		code = aoe.BadArgument
	}
	expect(rt, f != nil && f[15] == byte(code), "config: wrong error")
	if code == 0 || code == aoe.ConfigSet {
		c, err := aoe.DecodeConfig(f)
		expect(rt, err == nil && bytes.Equal(c.String, m.config) && c.Op == op, "config: wrong body")
	}
}

func stepMask(rt *rapid.T, r *rig, m *model, from aoe.MAC, dirs []aoe.Directive) {
	f := answer(rt, r, m, from, maskFrame(1, dirs, src(from)))
	if m.masked(from) {
		return
	}
	next, merr, index := slices.Clone(m.mask), byte(0), 0
	for i, d := range dirs {
		if d.Cmd > 2 {
			merr, index = aoe.MaskBadDirective, i
			break
		}
		have := slices.Contains(next, d.MAC)
		if d.Cmd == 1 && !have {
			next = append(next, d.MAC)
		}
		if d.Cmd == 2 && have {
			next = slices.DeleteFunc(next, func(x aoe.MAC) bool { return x == d.MAC })
		}
	}
	if r.save != nil && !slices.Equal(next, m.mask) {
		expect(rt, f != nil && f[15] == byte(aoe.Unavailable), "mask: not durable, and no error")
		return
	}
	m.mask = next
	expect(rt, f != nil && f[15] == 0 && f[26] == merr, "mask: wrong MError")
	if merr != 0 {
		expect(rt, int(f[27]) == index, "mask: wrong index")
		return
	}
	q, list, err := aoe.DecodeMask(f)
	expect(rt, err == nil && int(q.Count) == len(next), "mask: wrong count")
	for i := range next {
		expect(rt, aoe.MaskDirective(list, i).MAC == next[i], "mask: wrong entry")
	}
}

func stepReserve(rt *rapid.T, r *rig, m *model, from aoe.MAC, op byte, list []aoe.MAC) {
	f := answer(rt, r, m, from, reserveFrame(op, list, src(from)))
	if m.masked(from) {
		return
	}
	code := aoe.Code(0)
	switch {
	case op == 3:
		code = aoe.BadArgument
	case op == 1 && m.held(from):
		code = aoe.Reserved
	case op != 0 && r.save != nil && !slices.Equal(list, m.reserve):
		code = aoe.Unavailable
	case op != 0:
		m.reserve = list
	}
	expect(rt, f != nil && f[15] == byte(code), "reserve: wrong error")
	if code == 0 || code == aoe.Reserved {
		q, got, err := aoe.DecodeReserve(f)
		expect(rt, err == nil && int(q.Count) == len(m.reserve), "reserve: wrong count")
		for i := range m.reserve {
			expect(rt, aoe.ReserveMAC(got, i) == m.reserve[i], "reserve: wrong entry")
		}
	}
}
