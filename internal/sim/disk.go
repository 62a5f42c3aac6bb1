package sim

import (
	"bytes"
	"math/rand/v2"

	"golang.org/x/sys/unix"

	"goaoe/internal/store"
)

// guardSectors lie behind the end of each export. Nothing may ever change them.
const guardSectors = 20

// disk is the storage of one export. It survives the daemon, and has a volatile cache: live is what reads return, safe what is left after a
// power cut.
type disk struct {
	w    *world
	n    int // of the export
	plan diskPlan
	rng  *rand.Rand
	end  int64 // bytes served; behind it is the guard

	live, safe     []byte
	liveAt, safeAt []int // by sector: number of the change that made it what it is
	changes        int
	doing          []*dop // in flight, in the order of submission
	hung           bool
	failing        bool // from now on operations fail at times
	failed         bool // some did, ever
	syncErr        unix.Errno
	epoch          int // counts the ends of processes: what is in flight then never touches its buffer again
}

// dop is an operation in flight.
type dop struct {
	op      *store.Op
	x       *executor
	kind    store.Kind
	durable bool
	off     int64
	data    []byte // Write: what is still to take effect, once it was taken out of op.Buf
	due     int64
	n       int
	was     []byte // Flush: live and liveAt when it was submitted: that much becomes durable, and no more
	wasAt   []int
}

func newDisk(w *world, n int, sectors int, p diskPlan) *disk {
	d := &disk{w: w, n: n, plan: p, rng: w.stream(0xd15c, n), end: int64(sectors) * sectorSize}
	d.live = make([]byte, (sectors+guardSectors)*sectorSize)
	for i := 0; i < sectors; i++ {
		putSector(d.live[i*sectorSize:], unwritten|uint64(n)<<32|uint64(i))
	}
	for i := sectors; i < sectors+guardSectors; i++ {
		putSector(d.live[i*sectorSize:], guard|uint64(n)<<32|uint64(i))
	}
	d.safe = append([]byte(nil), d.live...)
	d.liveAt, d.safeAt = make([]int, sectors), make([]int, sectors)
	return d
}

// grow makes the export larger: sectors behind its end become part of it, which hold nothing that was written.
func (d *disk) grow(sectors int) {
	for range sectors {
		at := int(d.end)
		for _, b := range [][]byte{d.live, d.safe} {
			putSector(b[at:], unwritten|uint64(d.n)<<32|uint64(at/sectorSize))
		}
		d.liveAt, d.safeAt = append(d.liveAt, 0), append(d.safeAt, 0)
		d.end += sectorSize
	}
}

// canGrow is by how many sectors it can.
func (d *disk) canGrow() int { return (len(d.live)-int(d.end))/sectorSize - 1 }

// checkGuard tells whether what lies behind the export is as it was.
func (d *disk) checkGuard() bool {
	for at := int(d.end); at < len(d.live); at += sectorSize {
		for _, b := range [][]byte{d.live, d.safe} {
			v, ok := readSector(b[at:])
			if want := guard | uint64(d.n)<<32 | uint64(at/sectorSize); !ok || v[0] != want || v[1] != want {
				return false
			}
		}
	}
	return true
}

// Info implements store.Store.
func (d *disk) Info() store.Info {
	return store.Info{Size: d.end, Physical: sectorSize, MemAlign: 1, CanDiscard: true, ID: "sim", End: d.end}
}

// Refresh implements store.Store.
func (d *disk) Refresh() (store.Info, error) { return d.Info(), nil }

// Close implements store.Store.
func (d *disk) Close() error { return nil }

// Channel implements store.Store.
func (d *disk) Channel(set *store.Set) (store.Channel, error) {
	x, err := set.Get("sim", func() (store.Executor, error) { return &executor{w: d.w}, nil })
	if err != nil {
		return nil, err
	}
	c := &channel{d: d, x: x.(*executor)}
	if d.plan.View {
		return &viewChannel{c}, nil
	}
	return c, nil
}

type channel struct {
	d *disk
	x *executor
}

type viewChannel struct{ *channel }

// View implements store.Viewer: now and then the data is not in memory.
func (c *viewChannel) View(off int64, n int) []byte {
	d := c.d
	if off < 0 || off+int64(n) > d.end {
		d.w.failf("disk %d: view of %d bytes at %d, behind the end of the export at %d", d.n, n, off, d.end)
		return nil
	}
	if d.failing || d.rng.IntN(5) == 0 {
		return nil
	}
	return d.live[off : off+int64(n)]
}

// Submit implements store.Channel.
func (c *channel) Submit(op *store.Op) {
	op.Errno, op.Done = 0, 0
	c.x.queued = append(c.x.queued, submitted{c.d, op})
}

// Close implements store.Channel.
func (c *channel) Close() {}

type submitted struct {
	d  *disk
	op *store.Op
}

// executor is the executor of one lane.
type executor struct {
	w      *world
	queued []submitted
	fin    []*store.Op
	lane   int
	known  bool
}

// Flush implements store.Executor: what was submitted begins.
func (x *executor) Flush() {
	if !x.known { // its lane is the one that is in its turn
		x.lane, x.known = x.w.site.stepping, true
	}
	if len(x.queued) == 0 {
		return
	}
	x.w.model.settle(x.lane)
	q := x.queued
	x.queued = nil
	for _, s := range q {
		s.d.begin(x, s.op)
	}
}

// Pending implements store.Executor.
func (x *executor) Pending() bool { return len(x.fin) > 0 }

// FD implements store.Executor.
func (x *executor) FD() int { return -1 }

// Close implements store.Executor.
func (x *executor) Close() {}

// Reap implements store.Executor.
func (x *executor) Reap(done []*store.Op) int {
	n := copy(done, x.fin)
	x.fin = append(x.fin[:0], x.fin[n:]...)
	return n
}

func (x *executor) finish(op *store.Op) {
	x.fin = append(x.fin, op)
	x.w.site.wake(x.lane, 0)
}

func (d *disk) begin(x *executor, op *store.Op) {
	w := d.w
	o := &dop{op: op, x: x, kind: op.Kind, durable: op.Durable, off: op.Off}
	switch op.Kind {
	case store.Read, store.Write:
		o.n = len(op.Buf)
	case store.Discard:
		o.n = int(op.Len)
	}
	w.note(evSubmit, uint64(d.n)<<8|uint64(op.Kind), uint64(op.Off), uint64(o.n))
	if w.verbose {
		w.sayf("disk %d: %s begins at sector %d, %d sectors%s", d.n, kindName(op.Kind), op.Off/sectorSize, o.n/sectorSize, ifText(op.Durable, ", durable", ""))
	}
	if op.Off < 0 || op.Off+int64(o.n) > d.end || o.n%sectorSize != 0 {
		w.failf("disk %d: %s of %d bytes at %d, outside of the export of %d", d.n, kindName(op.Kind), o.n, op.Off, d.end)
		return
	}
	if op.Kind == store.Flush {
		o.was, o.wasAt = append([]byte(nil), d.live[:d.end]...), append([]int(nil), d.liveAt...)
	}
	d.doing = append(d.doing, o)
	if n := w.site.exps[d.n].most; len(d.doing) > n {
		w.failf("disk %d: %d operations at once, with a queue length of %d", d.n, len(d.doing), n)
	}
	took := d.latency()
	if op.Kind == store.Write && d.rng.IntN(2) == 0 { // the data is seen before the operation ends
		epoch := d.epoch
		w.after(d.rng.Int64N(took+1), func() {
			if d.epoch == epoch && o.data == nil {
				o.take()
				d.apply(o, len(o.data), false)
			}
		})
	}
	o.due = w.now + took
	d.plan1(o)
}

func (o *dop) take() { o.data = append([]byte(nil), o.op.Buf...) }

// plan1 completes o when it is due, or once the disk does not hang any more.
func (d *disk) plan1(o *dop) {
	epoch := d.epoch
	d.w.at(max(o.due, d.w.now), func() {
		if d.epoch == epoch && !d.hung {
			d.complete(o)
		}
	})
}

func (d *disk) latency() int64 {
	p := &d.plan
	l := p.Min + d.rng.Int64N(p.Max-p.Min+1)
	if p.Tail > 0 && d.rng.IntN(20) == 0 {
		l += d.rng.Int64N(p.Tail)
	}
	return l
}

// hang stops (true) all operations, or lets them go on.
func (d *disk) hang(on bool) {
	d.hung = on
	if on {
		return
	}
	for _, o := range d.doing {
		if o.due <= d.w.now {
			o.due = d.w.now + d.rng.Int64N(d.plan.Max+1)
			d.plan1(o)
		}
	}
}

// apply writes the first n bytes of o to the cache, and to the platter when safe.
func (d *disk) apply(o *dop, n int, safe bool) {
	d.changes++
	copy(d.live[o.off:], o.data[:n])
	if safe {
		copy(d.safe[o.off:], o.data[:n])
	}
	for s := int(o.off) / sectorSize; s < (int(o.off)+n+sectorSize-1)/sectorSize; s++ {
		d.liveAt[s] = d.changes
		if safe {
			d.safeAt[s] = d.changes
		}
	}
}

var writeErrors = []unix.Errno{unix.EIO, unix.EIO, unix.ENOSPC, unix.ENODEV, unix.EROFS}

func (d *disk) complete(o *dop) {
	for i, p := range d.doing {
		if p == o {
			d.doing = append(d.doing[:i], d.doing[i+1:]...)
			break
		}
	}
	op := o.op
	fails := d.failing && d.rng.IntN(4) == 0 || d.failing && o.kind == store.Flush && d.rng.IntN(2) == 0
	if fails {
		d.failed = true
	}
	switch o.kind {
	case store.Read:
		if fails {
			op.Errno = unix.EIO
			if op.Done = d.rng.IntN(o.n/sectorSize) * sectorSize; op.Done > 0 { // a short transfer
				copy(op.Buf[:op.Done], d.live[o.off:])
			}
			break
		}
		op.Done = copy(op.Buf, d.live[o.off:])
	case store.Write:
		if o.data == nil {
			o.take()
		}
		if fails {
			op.Errno = writeErrors[d.rng.IntN(len(writeErrors))]
			op.Done = d.rng.IntN(o.n/sectorSize) * sectorSize
			n := op.Done
			if d.rng.IntN(3) == 0 {
				n += halfSize // torn in the middle of a sector
			}
			d.apply(o, n, d.rng.IntN(2) == 0)
			break
		}
		op.Done = o.n
		d.apply(o, o.n, o.durable)
	case store.Flush:
		if fails {
			d.syncErr = unix.EIO
		}
		if op.Errno = d.syncErr; op.Errno == 0 {
			d.sync(o)
		}
	case store.Discard:
		if fails {
			op.Errno = unix.EIO
			break
		}
		if d.rng.IntN(2) == 0 {
			o.data = make([]byte, o.n)
			d.apply(o, o.n, false)
		}
	}
	d.w.note(evComplete, uint64(d.n)<<8|uint64(o.kind), uint64(o.off), uint64(op.Errno))
	if d.w.verbose {
		d.w.sayf("disk %d: %s at sector %d ends%s", d.n, kindName(o.kind), o.off/sectorSize, ifText(op.Errno != 0, ": "+op.Errno.Error(), ""))
	}
	o.x.finish(op)
}

// sync makes durable what was in the cache when the flush began.
func (d *disk) sync(o *dop) {
	for s, n := range o.wasAt {
		if n > d.safeAt[s] {
			copy(d.safe[s*sectorSize:(s+1)*sectorSize], o.was[s*sectorSize:])
			d.safeAt[s] = n
		}
	}
}

// syncAll is what the daemon does when it closes an export that had a write cache.
func (d *disk) syncAll() bool {
	if d.syncErr != 0 {
		return false
	}
	copy(d.safe, d.live)
	copy(d.safeAt, d.liveAt)
	return true
}

// processEnds is the end of the daemon: of what is in flight some reaches the cache, sector by sector.
func (d *disk) processEnds() {
	d.epoch++
	for _, o := range d.doing {
		if o.kind != store.Write {
			continue
		}
		if o.data == nil {
			o.take()
		}
		for at := 0; at < o.n; at += sectorSize {
			if d.rng.IntN(2) == 0 {
				copy(d.live[int(o.off)+at:], o.data[at:at+sectorSize])
			}
		}
	}
	d.doing = nil
	d.syncErr = 0
}

// powerCut loses what was not made durable: each half sector falls back to what is on the platter, unless it got there by itself.
func (d *disk) powerCut() {
	for _, o := range d.doing {
		if o.kind == store.Write && o.data == nil {
			o.take()
		}
	}
	d.epoch++
	for _, o := range d.doing {
		if o.kind != store.Write {
			continue
		}
		for at := 0; at < o.n; at += halfSize {
			if d.rng.IntN(3) == 0 {
				copy(d.safe[int(o.off)+at:], o.data[at:at+halfSize])
			}
		}
	}
	lucky := d.rng.IntN(3) // nothing, a half, nearly all of it got there
	for at := 0; at < int(d.end); at += halfSize {
		if d.rng.IntN(4) < lucky {
			copy(d.safe[at:at+halfSize], d.live[at:at+halfSize])
		}
	}
	if !bytes.Equal(d.live, d.safe) {
		d.w.saw("write lost in a power cut", 1)
	}
	copy(d.live, d.safe)
	copy(d.liveAt, d.safeAt)
	d.doing = nil
	d.syncErr = 0
}

func kindName(k store.Kind) string {
	switch k {
	case store.Read:
		return "read"
	case store.Write:
		return "write"
	case store.Flush:
		return "flush"
	}
	return "discard"
}

func ifText(c bool, yes, no string) string {
	if c {
		return yes
	}
	return no
}
