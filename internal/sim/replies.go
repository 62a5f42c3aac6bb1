package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// reply is told of each reply that leaves the target on port p.
func (m *model) reply(p *port, f []byte) {
	w := m.w
	if err := m.checkReply(p, f); err != nil {
		w.failf("reply on port %d: %v (% x)", p.n, err, f[:min(len(f), 40)])
	}
}

func (m *model) checkReply(p *port, f []byte) error {
	if len(f) < 60 || len(f) > 14+p.mtuMax {
		return fmt.Errorf("%d bytes, with an MTU of %d", len(f), p.mtu)
	}
	h := readHeader(f)
	if f[12] != 0x88 || f[13] != 0xa2 || h.src != p.mac || h.flags != 0x18 && h.flags != 0x1c || (h.flags == 0x18) != (h.err == 0) {
		return fmt.Errorf("the header is wrong")
	}
	if len(f) == 60 {
		n := 24 // an AoE error without an argument
		switch {
		case h.cmd == 0 && h.flags == 0x18:
			n = 36
			if f[34] != 0 || f[35] != 0 {
				return fmt.Errorf("reserved bytes are not zero")
			}
		case h.cmd == 1 && (h.flags == 0x18 || h.err == 4):
			n = 32 + (int(f[30])<<8 | int(f[31]))
		case h.cmd == 2 && h.flags == 0x18:
			n = 28 + 8*int(f[27])
			if f[26] != 0 {
				n = 28
			}
		case h.cmd == 3 && (h.flags == 0x18 || h.err == 6):
			n = 26 + 6*int(f[25])
		}
		for _, b := range f[min(n, 60):] {
			if b != 0 {
				return fmt.Errorf("the padding is not zero")
			}
		}
	}
	var x *mexport
	for _, e := range m.exports {
		if h.major == int(e.addr.Major) && h.minor == int(e.addr.Minor) {
			x = e
		}
	}
	if x == nil {
		return fmt.Errorf("from an address that is not ours")
	}
	k := openKey{x.n, h.dst, h.tag}
	same, group := m.group(k, p, f, &h)
	if len(group) == 0 {
		return fmt.Errorf("to %s, tag %08x: it answers no request that is open, or not as it must be answered; open are:%s", m.w.who(h.dst), h.tag, m.opens(k))
	}
	a := same[0]
	m.w.note(evReply, uint64(a.pos), uint64(h.err)<<8|uint64(f[27]), uint64(len(f)))
	if m.w.verbose {
		m.w.sayf("   reply to #%d: %s", a.pos, describeReply(f, &h))
	}
	err := m.effects(x, a, group, f, &h)
	m.answered(k, a)
	p.acct.answers++
	for _, o := range same[1:] {
		o.alts = append(o.alts, same...)
	}
	return err
}

// group returns the requests that the reply may belong to, in the order of arrival: those with its tag (same), and all whose place it may
// have got: also earlier ones that they repeat, because a repetition takes the place of one that waits.
func (m *model) group(k openKey, p *port, f []byte, h *header) (same, all []*arrival) {
	for _, a := range m.open[k] { // what must be refused so comes before what may have failed
		if (a.v.what == oATA || a.v.what == oAoE) && a.p == p && a.fits(f, h) {
			return []*arrival{a}, []*arrival{a}
		}
	}
	for _, a := range m.open[k] {
		if a.p == p && a.fits(f, h) {
			same = append(same, a)
		}
	}
	add := func(o *arrival) {
		if !slices.Contains(all, o) {
			all = append(all, o)
		}
	}
	for _, a := range same {
		add(a)
		for _, o := range a.alts {
			add(o)
		}
		if a.v.what != oWrite && a.v.what != oRead && a.v.what != oFlush {
			continue
		}
		for _, o := range a.x.open {
			if o.pos < a.pos && o.repeats(a) {
				add(o)
			}
		}
	}
	slices.SortFunc(all, func(a, b *arrival) int { return a.pos - b.pos })
	return same, all
}

// fits tells whether f is the reply that a must get, or may get because a disk fails.
func (a *arrival) fits(f []byte, h *header) bool {
	if a.h.cmd != h.cmd {
		return false
	}
	isErr := h.flags == 0x1c
	if a.h.cmd == 0 && !isErr {
		op := a.regs[3]
		moved := op == 0xf8 || op == 0x27 || f[27] == 0x41 && f[25] == unc // these tell an address
		if f[24] != a.regs[0]&0x53 || !moved && !bytes.Equal(f[28:34], a.regs[4:10]) {
			return false
		}
	}
	ok := !isErr && f[27] == 0x40
	failed := a.x.failed(a) && (isErr && h.err == 3 || f[27] == 0x61 && f[25] == abrt || f[27] == 0x41 && f[25] == abrt && a.v.what != oRead)
	switch a.v.what {
	case oAoE:
		return isErr && h.err == a.v.code
	case oATA:
		return !isErr && f[27] == 0x41 && f[25] == a.v.code && len(f) == 60
	case oDone:
		return ok && len(f) == 60
	case oIdentify: // of two that are open with one tag each tells the size of its moment
		return ok && len(f) == 548 && binary.LittleEndian.Uint64(f[36+200:]) == a.v.lba
	case oRead:
		return ok && len(f) == 36+a.v.count*sectorSize || a.x.failed(a) && (isErr && h.err == 3 || !isErr && f[27] == 0x41 && f[25] == unc && len(f) == 60)
	case oWrite, oFlush, oDiscard:
		return (ok || failed) && len(f) == 60
	case oConfig:
		n := int(f[30])<<8 | int(f[31])
		return !isErr && n <= len(f)-32 && bytes.Equal(f[32:32+n], a.v.str)
	case oMask, oReserve:
		return !isErr
	}
	return false
}

// failed tells whether the disk of a's export has failed any operation.
func (x *mexport) failed(a *arrival) bool { return a.p.w.disks[x.n].failed }

// effects books what a reply says.
func (m *model) effects(x *mexport, a *arrival, group []*arrival, f []byte, h *header) error {
	ok := h.flags == 0x18 && f[27] == 0x40
	switch a.v.what {
	case oWrite:
		if !ok {
			for s := int(a.v.lba); s < int(a.v.lba)+a.v.count; s++ {
				x.torn[s] = m.pos
			}
			return nil
		}
		return m.wrote(x, a, group)
	case oRead:
		if !ok {
			return nil
		}
		for i := range a.v.count {
			if err := x.sawSector(group[0].pos, group[len(group)-1].pos, int(a.v.lba)+i, f[36+i*sectorSize:]); err != nil {
				return fmt.Errorf("read at #%d: sector %d: %w", a.pos, int(a.v.lba)+i, err)
			}
		}
	case oFlush:
		if !ok && x.flushFailed == 0 {
			x.flushFailed = m.pos
		}
		if ok {
			if x.flushFailed > 0 && group[0].pos > x.flushFailed {
				return fmt.Errorf("a flush succeeds although an earlier one failed: nobody knows what was lost")
			}
			for i := range x.halves {
				x.halves[i].flushed(group[0].pos)
			}
		}
	}
	return nil
}

// wrote books an acknowledged write.
func (m *model) wrote(x *mexport, a *arrival, group []*arrival) error {
	durable := true
	for _, g := range group {
		durable = durable && g.v.durable
	}
	for s := int(a.v.lba); s < int(a.v.lba)+a.v.count; s++ {
		for k := range 2 {
			r := &x.halves[2*s+k]
			if !r.agree(group) {
				continue
			}
			ack, err := r.acknowledge(group, durable, m.pos)
			if err != nil {
				return fmt.Errorf("sector %d: %w", s, err)
			}
			if ack.one == nil || k > 0 {
				continue
			}
			for i := range r.acks {
				o := r.acks[i].one
				if o != nil && (overtook(o, ack.one) || overtook(ack.one, o)) {
					return fmt.Errorf("sector %d: the writes at #%d and #%d were both carried out, although the later one has the earlier time stamp of another interface", s, o.pos, ack.one.pos)
				}
			}
		}
	}
	return nil
}

// overtaken tells whether a write of another interface that is newer by its time stamp was acknowledged before a arrived.
func (x *mexport) overtaken(a *arrival) bool {
	for i := range a.v.count {
		for _, k := range x.halves[2*(int(a.v.lba)+i)].acks {
			if k.one != nil && overtook(k.one, a) {
				return true
			}
		}
	}
	return false
}

// overtook tells whether a was let through before b although b had been received before it, by another interface.
func overtook(a, b *arrival) bool {
	return a.pos < b.pos && a.p != b.p && b.at < a.at && a.epoch == b.epoch && a.gen == b.gen
}

// sawSector takes what a read has returned of a sector.
func (x *mexport) sawSector(lo, hi, s int, b []byte) error {
	v, ok := readSector(b)
	if !ok {
		return fmt.Errorf("it returned bytes that nobody wrote, beginning with % x", b[:16])
	}
	for k := range v {
		if err := x.halves[2*s+k].observe(lo, hi, v[k]); err != nil {
			return fmt.Errorf("it returned %w", err)
		}
	}
	if v[0] == v[1] {
		return nil
	}
	x.w.saw("sector torn", 1)
	for i := range x.halves[2*s].ents {
		if e := &x.halves[2*s].ents[i]; !e.a.done && !e.out && (x.failed(e.a) || x.w.disks[x.n].lacked) {
			return nil // it may have failed, and its reply is on its way
		}
	}
	whole := x.torn[s] < 0
	for i := range x.halves[2*s].acks {
		k := &x.halves[2*s].acks[i]
		whole = whole || k.lo > x.torn[s] && k.hi < lo
	}
	if whole {
		return fmt.Errorf("it returned the halves of two writes (%x, %x)", v[0], v[1])
	}
	return nil
}
