package file

import (
	"golang.org/x/sys/unix"

	"goaoe/internal/store"
	"goaoe/internal/sys"
)

// ringEntries is how many operations one system call can hand over; four times as many can be in flight on a lane, the rest
// waits in line.
const ringEntries = 256

// uring is the executor on io_uring.
type uring struct {
	ring  *sys.Ring
	slots []slot
	free  []uint32 // indexes of unused slots
	line  opList   // submitted, but ring or slots were full
	fin   opList   // finished, for Reap
	dirt  []*channel
	retry bool    // the kernel did not take what is queued
	box   mailbox // discards of devices come back by it; it signals the ring's eventfd
	now   sys.Reader
	open  []*channel  // with something gathered
	vec   *sys.Vector // buffers of the runs that are queued in the ring
	lane  laneWriter
	// Of what is in flight: transfers by direct I/O, which only the disk works on, and all others; and how many of the former have ended.
	disk, other int
	ended       uint64
}

// vecPieces is how many buffers the runs have together that one system call hands over.
const vecPieces = 1024

// slot keeps what is in flight; its index is what the kernel carries. op is nil for a sync.
type slot struct {
	op   *store.Op
	c    *channel
	disk bool // only the disk works on it
}

func newUring() (store.Executor, error) {
	ring, err := sys.NewRing(ringEntries)
	if err != nil {
		return nil, err
	}
	x := &uring{ring: ring}
	x.box.fd = ring.EventFD()
	n := ring.CQSize()
	x.vec = sys.NewVector(vecPieces)
	x.lane.put, x.lane.pace.clock = x.put, sys.Nanotime
	x.slots, x.free = make([]slot, n), make([]uint32, n)
	for i := range x.free {
		x.free[i] = uint32(n - 1 - i)
	}
	return x, nil
}

func (x *uring) finish(op *store.Op) { x.fin.push(op) }

func (x *uring) gathering(c *channel) { x.open = append(x.open, c) }

func (x *uring) keeps() {}

func (x *uring) dirty(c *channel) { x.dirt = append(x.dirt, c) }

func (x *uring) start(c *channel, op *store.Op) {
	if op.Kind == store.Discard && c.s.dev {
		x.side(c, op)
		return
	}
	if op.Kind == store.Write && !op.Durable && c.s.now != writeByRing && !c.s.direct() && !x.lane.rest {
		x.lane.later.push(op)
		return
	}
	x.toRing(c, op)
}

// toRing queues op in the ring, or in the line for it.
func (x *uring) toRing(c *channel, op *store.Op) {
	keep(op)
	if x.line.head != nil || !x.prepare(c, op) {
		x.line.push(op)
	}
}

// prepare queues op in the ring; false when there is no room.
func (x *uring) prepare(c *channel, op *store.Op) bool {
	i, ok := x.take()
	if !ok {
		return false
	}
	switch {
	case op.X.Run != nil:
		ok = x.prepareRun(c, op, uint64(i))
	case op.Kind == store.Read:
		fd, buf, off := c.s.rest(op)
		ok = x.ring.Read(x.name(c, fd), buf, off, uint64(i))
	case op.Kind == store.Write:
		fd, buf, off := c.s.rest(op)
		ok = x.ring.Write(x.name(c, fd), buf, off, c.writeFlags(op), uint64(i))
	default:
		ok = x.ring.Fallocate(c.s.bufFD, holeMode, c.s.opts.Offset+op.Off, op.Len, uint64(i))
	}
	if !ok {
		x.free = append(x.free, i)
		return false
	}
	x.began(i, op, c)
	return true
}

// began notes what is in flight.
func (x *uring) began(i uint32, op *store.Op, c *channel) {
	disk := op != nil && c.s.byDisk(op)
	if disk {
		x.disk++
	} else {
		x.other++
	}
	x.slots[i] = slot{op, c, disk}
}

// prepareRun queues a run in the ring.
func (x *uring) prepareRun(c *channel, op *store.Op, user uint64) bool {
	from, ok := x.list(op)
	if !ok {
		return false
	}
	fd, _, off := c.s.rest(op)
	if op.Kind == store.Read {
		ok = x.ring.Readv(x.name(c, fd), x.vec, from, off, user)
	} else {
		ok = x.ring.Writev(x.name(c, fd), x.vec, from, off, c.writeFlags(op), user)
	}
	if !ok {
		x.vec.Cut(from)
	}
	return ok
}

// list puts the buffers of a run into vec, where they begin at from. The kernel reads them while it takes what is queued, so there is room again when
// it took everything.
func (x *uring) list(op *store.Op) (from int, ok bool) {
	if x.vec.Room() < runOps && x.ring.Queued() > 0 {
		x.enter()
	}
	if x.ring.Queued() == 0 {
		x.vec.Reset()
	}
	if x.vec.Room() < runOps {
		return 0, false
	}
	from = x.vec.Len()
	for ; op != nil; op = op.X.Run {
		x.vec.Add(op.Buf)
	}
	return from, true
}

// name returns what stands for a descriptor of the channel's store in the ring.
func (x *uring) name(c *channel, fd int) int {
	i := 0
	if fd != c.s.fd {
		i = 1
	}
	if c.fixed[i] == 0 {
		if c.fixed[i] = fd; !c.s.opts.PlainFiles {
			c.fixed[i] = x.ring.FixFile(fd)
		}
	}
	return c.fixed[i]
}

// forget lets go of a channel that ends: the ring must not keep its files open.
func (x *uring) forget(c *channel) {
	for i, n := range c.fixed {
		if n < 0 {
			x.ring.FreeFile(n)
		}
		c.fixed[i] = 0
	}
}

// take gives an unused slot, with room in the ring made if need be.
func (x *uring) take() (uint32, bool) {
	n := len(x.free)
	if n == 0 {
		return 0, false
	}
	if x.ring.Queued() >= x.ring.Size() {
		x.enter()
	}
	i := x.free[n-1]
	x.free = x.free[:n-1]
	return i, true
}

// enter calls the kernel. Whatever it does not take now stays queued and makes Pending true.
func (x *uring) enter() {
	e := x.ring.Enter()
	x.retry = e != 0 && x.ring.Queued() > 0
}

// pump queues what waits in line and starts the syncs that are due.
func (x *uring) pump() {
	x.open = emitAll(x.open)
	x.lane.pace.rest()
	for x.line.head != nil && x.prepare(x.line.head.X.Chan.(*channel), x.line.head) {
		x.line.pop()
	}
	if len(x.dirt) == 0 {
		return
	}
	kept := x.dirt[:0]
	for _, c := range x.dirt {
		i, ok := x.take()
		if !ok {
			kept = append(kept, c)
			continue
		}
		if !c.wantSync() {
			x.free = append(x.free, i)
			kept = append(kept, c)
			continue
		}
		if !x.ring.Datasync(c.s.bufFD, uint64(i)) {
			c.unwantSync()
			x.free = append(x.free, i)
			kept = append(kept, c)
			continue
		}
		x.began(i, nil, c)
		c.marked = false
	}
	x.dirt = kept
}

// Flush hands over what was submitted.
func (x *uring) Flush() {
	if len(x.open) == 1 && x.readNow(x.open[0]) {
		return
	}
	x.pump()
	x.writeLater()
	if x.ring.Queued() > 0 {
		x.enter()
	}
}

// readNow does the one operation that was submitted without the ring when it is a read of what is in the page cache, and tells whether it did: for a single
// request that is the shorter way. c has something gathered.
func (x *uring) readNow(c *channel) bool {
	op := c.run.head
	if op == nil || op.Kind != store.Read || op.X.Run != nil || c.noNow || c.s.direct() || c.s.opts.NoReadNow || x.line.head != nil || x.lane.later.head != nil || len(x.dirt) > 0 || x.ring.Queued() > 0 {
		return false
	}
	fd, buf, off := c.s.rest(op)
	n, e := x.now.Now(fd, buf, off)
	if e == unix.EOPNOTSUPP {
		c.noNow = true
	}
	if e != 0 || n != len(buf) {
		return false
	}
	c.run, c.listed, x.open = run{}, false, x.open[:0]
	c.complete(op, int32(n))
	return true
}

// Pending tells whether Reap has something to do.
func (x *uring) Pending() bool {
	return x.fin.head != nil || x.ring.Waiting() || x.retry || x.box.n.Load() > 0
}

// Prompt implements store.Prompt.
func (x *uring) Prompt() (ended uint64, only bool) { return x.ended, x.disk > 0 && x.other == 0 }

// FD is the ring's: ask for it before each sleep, see sys.Ring.
func (x *uring) FD() int {
	fd := x.ring.FD()
	x.box.remind()
	return fd
}

// Reap returns what is finished.
func (x *uring) Reap(done []*store.Op) int {
	if x.retry || x.ring.MustEnter() {
		x.enter()
	}
	for user, res, ok := x.ring.Next(); ok; user, res, ok = x.ring.Next() {
		s := x.slots[user]
		x.slots[user] = slot{}
		if s.disk {
			x.disk--
			x.ended++
		} else {
			x.other--
		}
		x.free = append(x.free, uint32(user))
		if s.op == nil {
			s.c.synced(errnoOf(res))
		} else {
			s.c.complete(s.op, res)
		}
	}
	if x.box.n.Load() > 0 {
		ops := x.box.take(false)
		for op := ops.pop(); op != nil; op = ops.pop() {
			op.X.Chan.(*channel).transferred(op)
		}
	}
	x.Flush()
	n := 0
	for n < len(done) && x.fin.head != nil {
		done[n] = x.fin.pop()
		n++
	}
	return n
}

func errnoOf(res int32) unix.Errno {
	if res < 0 {
		return unix.Errno(-res)
	}
	return 0
}

// side gives a job that io_uring has no operation for to a thread of the channel's own, so that a device that hangs in it holds up
// nothing else.
func (x *uring) side(c *channel, op *store.Op) {
	if c.pool == nil {
		c.pool = newPool(1, &x.box)
	}
	c.pool.push(op)
	c.pool.kick()
}

// Close frees the ring.
func (x *uring) Close() {
	x.box.detach()
	_ = x.ring.Close()
}
