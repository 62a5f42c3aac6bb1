package engine

import (
	"encoding/binary"
	"math"
	"testing"

	"goaoe/internal/stats"
	"goaoe/internal/store/mem"
	"goaoe/internal/target"
)

// from makes a frame that of initiator n.
func from(n byte, f []byte) []byte {
	copy(f[6:12], []byte{2, 0, 0, 0, 9, n})
	return f
}

// crowd is an export with a store that finishes what it is told to, and initiators with a number each.
type crowd struct {
	*rig
	ctl  *mem.Control
	x    *Export
	lba  uint64
	done map[byte]int // replies by initiator
}

func newCrowd(t *testing.T, queue int) *crowd {
	t.Helper()
	c := &crowd{rig: newRig(t, 1), ctl: mem.NewControl(1), done: map[byte]int{}}
	c.x = c.export(e11, newStore(t, 1<<20, c.ctl), queue)
	c.serve(1500, c.x)
	c.ctl.HoldAll(true)
	return c
}

// ask sends n reads of an initiator, each of another sector.
func (c *crowd) ask(who byte, n int) {
	for range n {
		c.lba++
		c.wires[0].put(from(who, c.ata(e11, 0x24, c.lba, 1, nil)), 1)
	}
	c.run()
}

// finish lets the store finish n operations, one after the other, and counts whose they were.
func (c *crowd) finish(n int) {
	for range n {
		c.ctl.Release(1)
		c.run()
		for _, f := range c.wires[0].take() {
			c.done[f[5]]++
		}
	}
}

func (c *crowd) le() *laneExport { return c.l.exports[c.x.Target.ID] }

func (c *crowd) full() uint64 { return c.x.Target.Stats.Drops[stats.DropFull].Load() }

// TestFairTurns: one initiator asks for as much as there is room, eight ask for two requests at a time. On the store all get their turns evenly: each
// modest one has as many requests done as the greedy one, as long as it asks for more.
func TestFairTurns(t *testing.T) {
	const queue, modest = 16, 8
	c := newCrowd(t, queue)
	c.ask(0, 500)
	for who := byte(1); who <= modest; who++ {
		c.ask(who, 2)
	}
	if n := c.full(); n != 500-queue*BacklogFactor*3/4 {
		t.Errorf("%d requests were refused: those of the modest ones should not be among them", n)
	}
	c.finish(queue) // what was on the store before they came is the greedy one's
	c.done = map[byte]int{}
	for range 200 { // everybody asks again for what was answered
		before := c.done
		c.done = map[byte]int{}
		c.finish(1)
		for who, n := range c.done {
			c.ask(who, n)
			before[who] += n
		}
		c.done = before
		c.ask(0, 5) // and the greedy one for more
	}
	for who := byte(0); who <= modest; who++ {
		// 200 in 9 equal parts are 22; what is on the store already when one asks again shifts it by a turn or two.
		if n := c.done[who]; n < 18 || n > 26 {
			t.Errorf("initiator %d has %d of 200 requests done: %v", who, n, c.done)
		}
	}
}

// TestFairNewcomer: one that comes when the queue is long is not served behind all of it.
func TestFairNewcomer(t *testing.T) {
	c := newCrowd(t, 8)
	c.ask(0, 24)
	c.ask(1, 2)
	c.finish(12) // eight that were on the store, and two turns of each
	if c.done[1] != 2 {
		t.Errorf("it has %d of its 2 requests done: %v", c.done[1], c.done)
	}
}

func macNumber(who byte) uint64 {
	var b [8]byte
	copy(b[2:], []byte{2, 0, 0, 0, 9, who})
	return binary.BigEndian.Uint64(b[:])
}

// TestFairPlaces: an initiator alone holds three quarters of what there is; when others come it gets no more than its part, and each of them what it
// asks for.
func TestFairPlaces(t *testing.T) {
	const queue = 16
	c := newCrowd(t, queue)
	c.ask(0, 200)
	if le := c.le(); le.held != queue*BacklogFactor*3/4 {
		t.Fatalf("alone it holds %d", le.held)
	}
	before := c.full()
	for who := byte(1); who <= 4; who++ {
		c.ask(who, 4)
	}
	if n := c.full(); n != before {
		t.Errorf("%d requests of those that hold little were refused", n-before)
	}
	if n := c.le().fair.active; n != 5 {
		t.Errorf("%d initiators are counted", n)
	}
	c.finish(24)
	c.ask(0, 200)
	if held := int(c.le().fair.places[c.le().fair.place(macNumber(0))].held); held > queue*BacklogFactor*3/4 {
		t.Errorf("among five the greedy one holds %d", held)
	}
	c.ctl.HoldAll(false)
	c.ctl.Release(-1)
	c.run()
	f := &c.le().fair
	if f.active != 0 || f.mask != 0 || c.le().used != 0 {
		t.Errorf("when all is done: %d active, mask %#x, %d used", f.active, f.mask, c.le().used)
	}
	for n := range f.places {
		if p := &f.places[n]; p.held != 0 || p.first != nil || p.last != nil {
			t.Errorf("place %d holds %d", n, p.held)
		}
	}
}

// TestFairReturn: one that asks for all there is leaves the places of those whose answers have just gone out, so that they find them when they come
// back; and takes them when they stay away.
func TestFairReturn(t *testing.T) {
	const queue, modest = 16, 8
	c := newCrowd(t, queue)
	now := int64(1)
	c.e.opts.Clock = func() (int64, int64) { return now, now }
	for who := byte(1); who <= modest; who++ {
		c.ask(who, 4)
	}
	c.finish(4 * modest)
	c.ask(0, 500)
	if held := c.le().held; held != queue*BacklogFactor/2 {
		t.Errorf("it holds %d while others were seen lately", held)
	}
	before := c.full()
	for who := byte(1); who <= modest; who++ {
		c.ask(who, 4)
	}
	if n := c.full() - before; n != 0 {
		t.Errorf("%d requests of those that came back were refused", n)
	}
	c.finish(4*modest + queue*BacklogFactor/2)
	for range 3 {
		now += sharePeriod + 1
		c.ask(0, 500)
	}
	if held := c.le().held; held != queue*BacklogFactor*3/4 {
		t.Errorf("it holds %d when the others are gone", held)
	}
}

// TestFairAllocatesNothing: neither with many initiators, nor when they are refused.
func TestFairAllocatesNothing(t *testing.T) {
	c := newCrowd(t, 8)
	c.wires[0].keep = false
	frames := make([][]byte, 40)
	for i := range frames {
		frames[i] = from(byte(i%9), c.ata(e11, 0x24, uint64(i), 1, nil))
	}
	turn := func() {
		for _, f := range frames {
			c.wires[0].put(f, 1)
		}
		c.run()
		c.ctl.HoldAll(false)
		c.ctl.Release(-1)
		c.run()
		c.ctl.HoldAll(true)
	}
	turn()
	turn()
	// The control of the memory store has a few, and what other tests left behind may add some at a time; what the lane allocated would be there each time.
	least := math.Inf(1)
	for range 5 {
		least = min(least, testing.AllocsPerRun(50, turn))
	}
	if least > 4 {
		t.Errorf("%v allocations in a turn of %d requests", least, len(frames))
	}
}

// TestFairPlacesApart: initiators whose addresses have the same first place are told apart, a place that is free is used again, and with more than there are
// places some share.
func TestFairPlacesApart(t *testing.T) {
	var f fair
	var same []uint64
	for mac := uint64(1 << 41); len(same) < 9; mac++ {
		if sourceOf(mac) == 7 {
			same = append(same, mac)
		}
	}
	var slots []*slot
	for i, mac := range same {
		n := f.place(mac)
		if want := uint8(7 + i); i < 8 && n != want || i == 8 && n != 7 {
			t.Errorf("initiator %d has place %d", i, n)
		}
		s := &slot{}
		f.took(s, n)
		slots = append(slots, s)
	}
	if f.active != 8 || f.places[7].held != 2 {
		t.Errorf("%d active, %d at the first place", f.active, f.places[7].held)
	}
	f.gave(slots[3])
	for i, mac := range same[:8] {
		if n := f.place(mac); n != uint8(7+i) {
			t.Errorf("initiator %d is at %d", i, n)
		}
	}
	if n := f.place(same[8]); n != 10 {
		t.Errorf("the one that shared has place %d, and 10 is free", n)
	}
}

// TestFairBytes: of two that ask for more than the store does, one with requests of 64 KiB gets no more bytes than one with 4 KiB, but for what is on
// the store at once.
func TestFairBytes(t *testing.T) {
	var f fair
	x := &laneExport{}
	slots := map[uint8]int64{}
	add := func(source uint8, sectors int) {
		s := &slot{exp: x, source: source}
		s.io.Count = sectors
		s.io.Kind = target.IORead
		f.push(s)
	}
	sizes := map[uint8]int{1: 8, 2: 127, 3: 17, 4: 1}
	for source, n := range sizes {
		add(source, n)
		add(source, n)
	}
	const rounds = 100_000
	for range rounds {
		s := f.pop()
		slots[s.source] += int64(s.io.Count)
		add(s.source, sizes[s.source])
	}
	// In units of 4 KiB: 8 sectors are one, 127 are 16 and so is 1/8 of one counted as one.
	turns := map[uint8]float64{}
	for source, n := range sizes {
		turns[source] = float64(slots[source]) / float64(n) * float64((n+7)/8)
	}
	for source, n := range turns {
		if n < 0.98*turns[1] || n > 1.02*turns[1] {
			t.Errorf("initiator %d with requests of %d sectors has %.0f turns, one with 8 sectors %.0f", source, sizes[source], n, turns[1])
		}
	}
	for f.any() {
		f.pop()
	}
	add(2, 127)
	add(2, 127)
	if one, two := f.pop(), f.pop(); one == nil || two == nil || f.any() {
		t.Error("alone it has to wait for turns of nobody")
	}
}
