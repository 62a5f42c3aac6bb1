package sim

import "goaoe/aoe"

// readBack reads all of every export through the target, from one end to the other: each request must be answered, and the model looks at what it
// says.
func (w *world) readBack() {
	port := w.ports[0]
	h := &host{w: w, n: 200, kind: "checker", rng: w.stream(0xc4ec, 0), alive: true, hab: &habits{}}
	h.hab.giveUp = 1 << 62
	n := &nic{h: h, mac: aoe.MAC{2, 0, 0, 2, 0, 1}, seg: port.seg, rng: h.rng}
	h.nics = []*nic{n}
	port.seg.nics = append(port.seg.nics, n)
	for i, x := range w.model.exports {
		if !x.served {
			continue
		}
		h.x = i
		for s := 0; s < int(x.sectors) && w.failure == nil; s += 2 {
			q := &request{op: 0x24, lba: uint64(s), count: min(2, int(x.sectors)-s), tag: h.tag()}
			f := h.head(n, port.mac, int(x.addr.Major), int(x.addr.Minor), 0, q.tag, 36)
			putATA(f, q)
			before := h.heard
			n.send(f)
			for end := w.now + 5*sec; h.heard == before && w.now < end && w.failure == nil; {
				w.runUntil(w.now + ms)
			}
			if h.heard == before {
				w.failf("export %d: a read of sector %d is not answered although no fault is left", i, s)
			}
		}
	}
}
