package file

import (
	"golang.org/x/sys/unix"

	"goaoe/internal/store"
	"goaoe/internal/sys"
)

// A write that need not be durable is done when it is in the page cache, which takes a few microseconds where nothing makes it wait. io_uring asks the file
// system not to wait (RWF_NOWAIT), and what refuses that (ext4, block devices) it hands to a kernel thread, which takes as long again. So the lane
// writes itself, in one of two ways. Where the file system can refuse to wait, with RWF_NOWAIT, and what it refuses goes to io_uring. Where it cannot, plainly:
// such a write waits when the kernel has a writer wait (the disk is far behind, or hangs), and all exports of the lane with it. That is done only while
// all of them lie on that disk, and have what they wait for in common, and only while the disk is quick.

// writeNow is which writes the lane puts into the page cache itself.
type writeNow uint8

const (
	writeByRing writeNow = iota // none
	writeByLane                 // all
	writeAuto                   // those that make nothing of another disk wait
)

var writeNows = map[string]writeNow{"": writeAuto, "auto": writeAuto, "on": writeByLane, "off": writeByRing}

// How long a lane may be made to wait by one disk for which it need not wait.
const (
	slowWrite  = 20e6 // ns: a write into the page cache that took longer waited for the disk
	firstPause = 1e9  // ns: for so long io_uring has the writes then
	mostPause  = 64e9 // ns: and for twice as long each time, up to this, if the disk was not quick for calmDisk in between
	calmDisk   = 64e9 // ns
)

// pace tells when a lane may wait for its disk. Times are of clock.
type pace struct {
	clock func() int64 // nanoseconds; sys.Nanotime but for tests
	mark  int64        // when the last write ended, in this turn; 0: there was none
	until int64        // the end of the last pause
	pause int64        // how long that was; 0: there was none
}

// now returns the time. It is read once for writes that follow one another.
func (p *pace) now() int64 {
	if p.mark == 0 {
		p.mark = p.clock()
	}
	return p.mark
}

// rest tells that what comes next does not follow at once.
func (p *pace) rest() { p.mark = 0 }

// paused tells whether io_uring has the writes at this moment.
func (p *pace) paused() bool { return p.pause != 0 && p.now() < p.until }

// wrote takes note that a write ended that began at start, and tells whether a pause begins.
func (p *pace) wrote(start int64) bool {
	p.mark = p.clock()
	if p.mark-start <= slowWrite {
		return false
	}
	if p.pause == 0 || p.mark-p.until >= calmDisk {
		p.pause = firstPause
	} else {
		p.pause = min(2*p.pause, mostPause)
	}
	p.until = p.mark + p.pause
	return true
}

// laneWriter is what an executor on io_uring has for writes by the lane.
type laneWriter struct {
	put  func(c *channel, op *store.Op, flags uint32) (res int32, ok bool) // uring.put but for tests
	one  sys.Writer
	pace pace
	// later holds what the lane may write, for the end of the turn: a file system's memory and code drive the engine's out of the caches.
	later opList
	rest  bool // what is being completed was done in part, and the rest is io_uring's
}

// writeLater carries out the writes of the turn, or hands them to the ring.
func (x *uring) writeLater() {
	for op := x.lane.later.pop(); op != nil; op = x.lane.later.pop() {
		if c := op.X.Chan.(*channel); !x.writeNow(c, op) {
			x.toRing(c, op)
		}
	}
}

// writeNow puts a write or run into the page cache, if that may be done at this moment, and tells whether it did.
func (x *uring) writeNow(c *channel, op *store.Op) bool {
	if c.s.now == writeByLane {
		return x.written(c, op, 0)
	}
	l := &x.lane
	if !c.mayWait {
		return x.written(c, op, unix.RWF_NOWAIT)
	}
	if c.set.Disks() != 1 || l.pace.paused() {
		return false
	}
	start := l.pace.now()
	if !x.written(c, op, 0) {
		return false
	}
	if l.pace.wrote(start) && c.count != nil {
		c.count.WriteNowPauses.Inc()
	}
	return true
}

// written carries a write out, and tells whether it did: not where the kernel refused to wait, or was not asked for want of room.
func (x *uring) written(c *channel, op *store.Op, flags uint32) bool {
	res, ok := x.lane.put(c, op, flags)
	if !ok {
		return false
	}
	if flags != 0 && res <= 0 {
		// EAGAIN, or an error, which io_uring meets again.
		c.mayWait = res == -int32(unix.EOPNOTSUPP) || res == -int32(unix.EINVAL)
		return c.mayWait && x.writeNow(c, op)
	}
	if c.count != nil {
		for o := op; o != nil; o = o.X.Run {
			c.count.WriteNow.Inc()
		}
	}
	x.lane.rest = flags != 0
	c.complete(op, res)
	x.lane.rest = false
	return true
}

// put is pwrite(2) of what is left of op, or of a run, with the result as a completion of io_uring has it. ok is false when there is no room for the
// buffers of a run.
func (x *uring) put(c *channel, op *store.Op, flags uint32) (res int32, ok bool) {
	fd, buf, off := c.s.rest(op)
	switch {
	case op.X.Run != nil:
		from, ok := x.list(op)
		if !ok {
			return 0, false
		}
		res = x.vec.Pwrite(fd, from, off, flags)
		x.vec.Cut(from)
	case flags != 0:
		res = x.lane.one.Now(fd, buf, off)
	default:
		res = sys.Pwrite(fd, buf, off)
	}
	return res, true
}
