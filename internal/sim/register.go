package sim

import (
	"fmt"
	"slices"
)

// register is half a sector as the model sees it: every write that may have changed it since its content was last certain.
//
// Positions are the numbers of arrivals (see model): a write takes effect at its position in the order of arrival, or never. A read
// returns what the last write that took effect before its own position has left. Which writes did is known of those that were
// acknowledged, and follows from what reads return for others: if a read returns an older value, then nothing in between took
// effect, and never will.
type register struct {
	base []uint64 // what it may have held before all entries; more than one value after a power cut
	ents []entry  // by position
	acks []ack
}

// entry is one arrival of a write.
type entry struct {
	pos int
	val uint64
	a   *arrival
	out bool // it took no effect at its position and never will
}

// ack is a write that was acknowledged. Of a request and its repetitions, of which one was acknowledged, it is not always
// known which took effect; then lo and hi are the positions of the first and last that may have.
type ack struct {
	lo, hi  int
	val     uint64
	at      int // arrivals that there were when it was sent
	durable bool
	doomed  bool     // the kernel failed to write it and said so once: no later flush proves anything about it
	one     *arrival // lo == hi: it
}

func (r *register) write(a *arrival, val uint64) {
	r.ents = append(r.ents, entry{pos: a.pos, val: val, a: a})
}

// observe takes the value that a read returned whose position is one from lo to hi.
func (r *register) observe(lo, hi int, v uint64) error {
	from := -1
	for i := len(r.ents) - 1; i >= 0 && from < 0; i-- {
		if e := &r.ents[i]; e.pos < hi && e.val == v && !e.out {
			from = e.pos
		}
	}
	if from < 0 {
		if !slices.Contains(r.base, v) {
			return fmt.Errorf("value %x, which %s", v, r.unknown(v, hi))
		}
		from = 0
	}
	for i := range r.acks {
		if k := &r.acks[i]; k.val != v && k.lo > from && k.hi < lo {
			return fmt.Errorf("value %x (written at #%d) although %x (written at #%d) was acknowledged and came before the read", v, from, k.val, k.lo)
		}
	}
	if lo < hi {
		return nil
	}
	if from == 0 {
		r.base = append(r.base[:0], v)
	}
	for i := range r.ents {
		if e := &r.ents[i]; e.val != v && e.pos > from && e.pos < lo {
			e.out = true
		}
	}
	return nil
}

func (r *register) unknown(v uint64, hi int) string {
	for i := range r.ents {
		switch e := &r.ents[i]; {
		case e.val == v && e.out:
			return fmt.Sprintf("a write at #%d had that did not take effect as an earlier read has shown", e.pos)
		case e.val == v && e.pos >= hi:
			return fmt.Sprintf("arrived only at #%d, after the read", e.pos)
		}
	}
	return "it cannot hold: nobody wrote it here, or it was overwritten before a power cut"
}

// agree tells whether all of the group write the same here. Equal tags do not mean equal requests: some initiators repeat with a smaller
// count, and headers get damaged.
func (r *register) agree(group []*arrival) bool {
	val, n := uint64(0), 0
	for i := range r.ents {
		if e := &r.ents[i]; slices.Contains(group, e.a) {
			if n > 0 && e.val != val {
				return false
			}
			val = e.val
			n++
		}
	}
	return n == len(group)
}

// acknowledge books that one of the group's writes took effect. The group is in the order of arrival.
func (r *register) acknowledge(group []*arrival, durable bool, at int) (*ack, error) {
	k := ack{lo: -1, at: at, durable: durable}
	for _, a := range group {
		for i := range r.ents {
			if e := &r.ents[i]; e.a == a && !e.out {
				if k.lo < 0 {
					k.lo, k.one = e.pos, a
				} else {
					k.one = nil
				}
				k.hi, k.val = e.pos, e.val
			}
		}
	}
	if k.lo < 0 {
		return nil, fmt.Errorf("the write at #%d was acknowledged although a read that arrived after it has returned older data", group[len(group)-1].pos)
	}
	r.acks = append(r.acks, k)
	return &r.acks[len(r.acks)-1], nil
}

// flushed makes durable what was acknowledged before position pos.
func (r *register) flushed(pos int) {
	for i := range r.acks {
		if k := &r.acks[i]; k.at < pos && !k.doomed {
			k.durable = true
		}
	}
}

// doom is the end of what was not durable when a sync failed.
func (r *register) doom() {
	for i := range r.acks {
		if k := &r.acks[i]; !k.durable {
			k.doomed = true
		}
	}
}

// powerCut forgets everything but what it may hold after one.
func (r *register) powerCut() (certain bool) {
	last := -1
	for i := range r.acks {
		if k := &r.acks[i]; k.durable && k.lo > last {
			last = k.lo
		}
	}
	var may []uint64
	add := func(v uint64) {
		if !slices.Contains(may, v) {
			may = append(may, v)
		}
	}
	if last < 0 {
		for _, v := range r.base {
			add(v)
		}
	}
	for i := range r.ents {
		if e := &r.ents[i]; e.pos >= last && !e.out {
			add(e.val)
		}
	}
	r.base, r.ents, r.acks = may, nil, nil
	return len(may) == 1
}
