package sim

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"golang.org/x/sys/unix"

	"goaoe/internal/store"
	"goaoe/internal/store/file"
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
	liveAt, safeAt []int // by half sector: number of the change that made it what it is
	changes        int
	file           *file.Stepped // the file store on top of this disk, when there is one
	doing          []*dop        // in flight, in the order of submission
	hung           bool
	failing        bool // from now on operations fail at times
	lacked         bool // some were not run for want of memory, ever
	failed         bool // some did, ever
	syncErr        unix.Errno
	epoch          int // counts the ends of processes: what is in flight then never touches its buffer again
}

// dop is an operation in flight: one of the engine's (a store.Op), or one that the file store has made of it.
type dop struct {
	kind    store.Kind
	durable bool
	off     int64
	n       int
	buf     []byte
	data    []byte // Write: what is still to take effect, once it was taken out of buf
	due     int64
	was     []byte // Flush: live and liveAt when it was submitted: that much becomes durable, and no more
	wasAt   []int
	plain   bool // of the file store: it may end early, and be interrupted
	done    func(moved int, e unix.Errno)
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
	d.liveAt, d.safeAt = make([]int, 2*sectors), make([]int, 2*sectors)
	return d
}

// grow makes the export larger: sectors behind its end become part of it, which hold nothing that was written.
func (d *disk) grow(sectors int) {
	for range sectors {
		at := int(d.end)
		for _, b := range [][]byte{d.live, d.safe} {
			putSector(b[at:], unwritten|uint64(d.n)<<32|uint64(at/sectorSize))
		}
		d.liveAt, d.safeAt = append(d.liveAt, 0, 0), append(d.safeAt, 0, 0)
		d.end += sectorSize
	}
	if d.file != nil {
		d.file.Resize(d.end)
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
		o := &dop{kind: s.op.Kind, durable: s.op.Durable, off: s.op.Off, buf: s.op.Buf, n: len(s.op.Buf)}
		if o.kind == store.Discard {
			o.n = int(s.op.Len)
		}
		o.done = func(moved int, e unix.Errno) {
			s.op.Done, s.op.Errno = moved, e
			x.fin = append(x.fin, s.op)
			x.w.site.wake(x.lane, 0)
		}
		s.d.begin(o)
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

// enters notes that an operation begins, and tells whether it may.
func (d *disk) enters(o *dop) bool {
	w := d.w
	w.note(evSubmit, uint64(d.n)<<8|uint64(o.kind), uint64(o.off), uint64(o.n))
	if w.verbose {
		w.sayf("disk %d: %s begins at sector %d, %d sectors%s", d.n, kindName(o.kind), o.off/sectorSize, o.n/sectorSize, ifText(o.durable, ", durable", ""))
	}
	if o.off < 0 || o.off+int64(o.n) > d.end || !o.plain && o.n%sectorSize != 0 {
		w.failf("disk %d: %s of %d bytes at %d, outside of the export of %d", d.n, kindName(o.kind), o.n, o.off, d.end)
		return false
	}
	return true
}

// begin takes an operation in.
func (d *disk) begin(o *dop) {
	w := d.w
	if !d.enters(o) {
		return
	}
	if o.kind == store.Flush {
		o.was, o.wasAt = append([]byte(nil), d.live[:d.end]...), append([]int(nil), d.liveAt...)
	}
	d.doing = append(d.doing, o)
	if n := w.site.exps[d.n].most; len(d.doing) > n && !o.plain || len(d.doing) > n+1 { // a file has one sync besides
		w.failf("disk %d: %d operations at once, with a queue length of %d", d.n, len(d.doing), n)
	}
	took := d.latency()
	if o.kind == store.Write && !o.plain && d.rng.IntN(2) == 0 { // the data is seen before the operation ends
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

func (o *dop) take() { o.data = append([]byte(nil), o.buf...) }

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
	for at := int(o.off); at < int(o.off)+n; at += halfSize {
		d.liveAt[at/halfSize] = d.changes
		if safe {
			d.safeAt[at/halfSize] = d.changes
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
	fails := d.failing && d.rng.IntN(4) == 0 || d.failing && o.kind == store.Flush && d.rng.IntN(2) == 0
	if fails {
		d.failed = true
	}
	moved, e := o.n, unix.Errno(0)
	most := o.n // of what it moves
	if o.plain && o.n > 0 && !d.w.healed {
		switch n := d.rng.IntN(12); {
		case n == 0 || n > 5 && d.failing && o.kind == store.Write: // it ends early, maybe in the middle of a sector: what got there may be lost by a sync that fails
			most = (1 + d.rng.IntN(o.n/halfSize)) * halfSize
			d.w.saw("short transfer", 1)
		case n == 1:
			if o.kind == store.Read || o.kind == store.Write {
				most, e = 0, []unix.Errno{unix.EINTR, unix.EAGAIN}[d.rng.IntN(2)]
				fails = false
			}
		}
	}
	if !d.w.healed && d.rng.IntN(60) == 0 { // no memory: it was not run at all
		most, e, fails = 0, unix.ENOMEM, false
		if o.plain { // as io_uring tells it
			e = unix.ECANCELED
		}
		d.w.saw("no memory", 1)
		d.lacked = true
	}
	switch o.kind {
	case store.Read:
		if fails {
			e = unix.EIO
			if moved = d.rng.IntN(o.n/sectorSize+1) * sectorSize % o.n; moved > 0 { // a short transfer
				copy(o.buf[:moved], d.live[o.off:])
			}
			break
		}
		moved = copy(o.buf[:most], d.live[o.off:])
	case store.Write:
		if o.data == nil {
			o.take()
		}
		if fails {
			e = writeErrors[d.rng.IntN(len(writeErrors))]
			moved = d.rng.IntN(o.n/sectorSize+1) * sectorSize % o.n
			n := moved
			if d.rng.IntN(3) == 0 && !o.plain {
				n += halfSize // torn in the middle of a sector
			}
			d.apply(o, n, d.rng.IntN(2) == 0)
			break
		}
		moved = most
		d.apply(o, moved, o.durable)
	case store.Flush:
		if fails && o.plain {
			e = unix.EIO
			d.forget(o)
			break
		}
		if fails {
			d.syncErr = unix.EIO
		}
		if e == 0 {
			e = d.syncErr
		}
		if e == 0 {
			d.sync(o)
		}
	case store.Discard:
		if moved = 0; fails {
			e = unix.EIO
		}
		if e != 0 {
			break
		}
		if d.rng.IntN(2) == 0 {
			o.data = make([]byte, o.n)
			d.apply(o, o.n, false)
		}
	}
	d.w.note(evComplete, uint64(d.n)<<8|uint64(o.kind), uint64(o.off), uint64(e)<<32|uint64(moved))
	if d.w.verbose {
		d.w.sayf("disk %d: %s at sector %d ends%s%s", d.n, kindName(o.kind), o.off/sectorSize, ifText(e != 0, ": "+e.Error(), ""),
			ifText(e == 0 && moved != o.n && o.kind != store.Discard, fmt.Sprintf(" after %d bytes", moved), ""))
	}
	o.done(moved, e)
}

// sync makes durable what was in the cache when the flush began.
func (d *disk) sync(o *dop) {
	for s, n := range o.wasAt {
		if n > d.safeAt[s] {
			copy(d.safe[s*halfSize:(s+1)*halfSize], o.was[s*halfSize:])
			d.safeAt[s] = n
		}
	}
}

// syncAll is what the daemon does when it closes an export that had a write cache.
func (d *disk) syncAll() bool {
	if d.syncErr != 0 {
		return false
	}
	d.sync(&dop{was: d.live, wasAt: d.liveAt})
	return true
}

// open gives the store that a daemon opens.
func (d *disk) open() store.Store {
	d.syncErr = 0
	if !d.plan.File {
		return d
	}
	d.file = file.NewStepped(d.end, d.plan.Each, fileDisk{d})
	return d.file
}

// processEnds is the end of the daemon: some of what is in flight reaches the cache.
func (d *disk) processEnds() {
	d.epoch++
	for _, o := range d.doing {
		if o.kind != store.Write {
			continue
		}
		if o.data == nil {
			o.take()
		}
		for at := 0; at < o.n; at += halfSize {
			if d.rng.IntN(2) == 0 {
				copy(d.live[int(o.off)+at:], o.data[at:at+halfSize])
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
