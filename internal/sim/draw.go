package sim

import (
	"goaoe/aoe"
)

// newStamp returns a value that no sector had before.
func (w *world) newStamp() uint64 {
	w.stamps++
	return w.stamps
}

// payload makes the data of a write: each sector is different from all others.
func (w *world) payload(sectors int) []byte {
	b := make([]byte, sectors*sectorSize)
	for i := range sectors {
		putSector(b[i*sectorSize:], w.newStamp())
	}
	return b
}

// draw makes the next request.
func (h *host) draw() *request {
	r := h.rng
	switch h.kind {
	case "admin":
		return h.drawAdmin()
	case "fuzz":
		return h.drawFuzz()
	}
	if len(h.w.plan.Exports) > 1 && r.IntN(60) == 0 && len(h.out) == 0 && h.kind == "linux" {
		if x := r.IntN(len(h.w.plan.Exports)); h.w.plan.Exports[x].Queue > 0 {
			h.x, h.size = x, h.w.plan.Exports[x].Sectors
		}
	}
	q := &request{op: 0x24, count: 1 + r.IntN(max(1, min(h.most, 8)))}
	if h.kind == "ipxe" {
		q.count = min(q.count, 2)
	}
	q.count = min(q.count, max(1, h.size))
	hot := max(1, min(h.plan.Hot, h.size-q.count+1))
	q.lba = uint64(r.IntN(hot))
	if r.IntN(12) == 0 { // up to the very end
		q.lba = uint64(max(0, h.size-q.count))
	}
	if r.IntN(100) < 60 {
		q.op, q.data = 0x34, h.w.payload(q.count)
	}
	switch {
	case h.kind == "illumos" && r.IntN(8) == 0:
		return &request{op: 0xe7}
	case h.kind == "illumos" && r.IntN(12) == 0:
		return &request{op: 0xef, feature: []byte{0x02, 0x82, 0x82}[r.IntN(3)]}
	case h.kind == "illumos" && r.IntN(25) == 0:
		return h.reserve(1, h.nics[0].mac)
	case h.kind == "illumos" && r.IntN(10) == 0:
		return h.reserve(1)
	case h.kind == "linux" && r.IntN(40) == 0: // the probe of a path: a read with a payload
		return &request{op: 0x24, count: 1, data: make([]byte, sectorSize)}
	case h.kind == "plan9" && r.IntN(10) == 0 && q.op == 0x34:
		q.op = 0x3d
	case h.kind == "linux" && r.IntN(40) == 0 && h.w.plan.Exports[h.x].Discard:
		return &request{op: 0x06, feature: 1, count: 1, data: trimPayload(q.lba, q.count)}
	}
	return q
}

func trimPayload(lba uint64, n int) []byte {
	b := make([]byte, sectorSize)
	for i := range 6 {
		b[i] = byte(lba >> (8 * i))
	}
	b[6], b[7] = byte(n), byte(n>>8)
	return b
}

func (h *host) reserve(op byte, macs ...aoe.MAC) *request {
	b := []byte{op, byte(len(macs))}
	for _, m := range macs {
		b = append(b, m[:]...)
	}
	return &request{cmd: 3, arg: b}
}

// drawAdmin makes a command of an administrator's tools.
func (h *host) drawAdmin() *request {
	r := h.rng
	text := []string{"", "a", "ab", "abc", "xyz"}[r.IntN(5)]
	config := func(op byte) *request {
		return &request{cmd: 1, arg: append([]byte{0, 0, 0, 0, 0, 0x10 | op, 0, byte(len(text))}, text...)}
	}
	mask := func(dirs ...[]byte) *request {
		b := []byte{0, 1, 0, byte(len(dirs))}
		for _, d := range dirs {
			b = append(b, d...)
		}
		return &request{cmd: 2, arg: b}
	}
	dir := func(cmd byte, m aoe.MAC) []byte { return append([]byte{0, cmd}, m[:]...) }
	some := func() aoe.MAC {
		o := h.w.hosts[r.IntN(len(h.w.hosts))]
		if len(o.nics) == 0 {
			return h.nics[0].mac
		}
		return o.nics[r.IntN(len(o.nics))].mac
	}
	switch r.IntN(12) {
	case 0, 1, 2:
		return config(byte(r.IntN(6)))
	case 3, 4:
		return config(0)
	case 5:
		return mask(dir(1, h.nics[0].mac), dir(1, some()))
	case 6, 7:
		var dirs [][]byte
		for _, o := range h.w.hosts {
			for _, n := range o.nics {
				if o != h {
					dirs = append(dirs, dir(2, n.mac))
				}
			}
		}
		return mask(append(dirs, dir(2, h.nics[0].mac))...)
	case 8:
		return &request{cmd: 2, arg: []byte{0, 0, 0, 0}}
	case 9:
		return h.reserve(2, some())
	case 10:
		return h.reserve(2)
	}
	return h.reserve(0)
}

// drawFuzz makes a command that is nearly right.
func (h *host) drawFuzz() *request {
	r := h.rng
	ops := []byte{0x20, 0x21, 0x24, 0x25, 0x29, 0x30, 0x31, 0x34, 0x34, 0x35, 0x39, 0x3d, 0x40, 0x42, 0xc4, 0xc5, 0xc8, 0xca, 0xce, 0xe7, 0xea, 0xec, 0xef, 0xc6, 0xe5, 0xf8, 0x27, 0x00, 0x60, 0xb0}
	q := &request{op: ops[r.IntN(len(ops))], count: r.IntN(5), feature: []byte{0, 1, 0x02, 0x82, 0xaa}[r.IntN(5)]}
	end := uint64(h.size)
	switch r.IntN(6) {
	case 0, 1:
		q.lba = uint64(max(0, h.size-q.count)) + uint64(r.IntN(3)) // up to the end, or one or two sectors further
	case 2:
		q.lba = []uint64{end, end - 1, 1<<28 - 1, 1 << 28, 1 << 32, 1<<48 - 1, 1<<48 - 2}[r.IntN(7)]
	default:
		q.lba = uint64(r.IntN(max(1, min(h.size, h.plan.Hot))))
	}
	n := q.count
	switch r.IntN(8) {
	case 0:
		n = max(0, n-1) // less data than is said
	case 1:
		n++
	}
	q.data = h.w.payload(n)
	if r.IntN(12) == 0 && h.w.plan.Exports[h.x].Discard {
		q = &request{op: 0x06, feature: 1, count: 1, data: trimPayload(q.lba, 1+r.IntN(4))}
	}
	if r.IntN(20) == 0 {
		q.count = 255
	}
	if r.IntN(15) == 0 {
		q.wild = 1 + r.IntN(2)
	}
	return q
}
