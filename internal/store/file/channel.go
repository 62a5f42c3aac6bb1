package file

import (
	"golang.org/x/sys/unix"

	"goaoe/internal/stats"
	"goaoe/internal/store"
	"goaoe/internal/sys"
)

// executor is what a channel needs of both executors. complete and synced of the channel are its way back.
type executor interface {
	store.Executor
	start(c *channel, op *store.Op) // begins op (with op.X.Run a run, whose result goes to complete as one), or continues it behind op.X.N bytes; never Flush
	dirty(c *channel)               // something of c waits for a sync: ask c.wantSync in each turn until it says yes
	finish(op *store.Op)            // op is done
	gathering(c *channel)           // c has something gathered: call its emit before what was submitted is handed over
}

// channel is one lane's way to one store. It groups what waits for fdatasync. What a read touches comes first and fills two cache lines of 64 bytes.
type channel struct {
	s   *Store
	x   executor
	run run // transfers that are to become one

	fixed    [2]int // io_uring: what stands for Store.fd and Store.bufFD in the ring; 0 before the first use
	fails    uint64 // syncs that failed
	count    *stats.Store
	nWrites  int32  // durable writes whose transfer is in flight
	nFlush   int32  // flushes that wait
	nWaiting int    // length of waiting
	stale    uint16 // turns that passed without the end of a transfer while something waits
	listed   bool   // known to the executor as gathering
	mayWait  bool   // io_uring: the kernel does not write into this file's page cache in a way that never waits
	noNow    bool   // io_uring: the kernel does not read from its page cache without io_uring in a way that never waits
	syncing  bool   // a sync is in flight
	marked   bool   // known to the executor as dirty: it asks wantSync in each turn

	waiting opList     // durable writes whose transfer is done, and flushes: they need a sync that begins from now on
	covered opList     // those that the sync in flight covers
	set     *store.Set // of the lane; nil with a Stepped store
	pool    *pool      // threads: runs everything; io_uring: discards of devices, made when first needed
	syncOp  store.Op   // threads: the sync itself
}

// States of an operation, in Op.X.State.
const (
	stateNew      uint8 = iota
	stateBuffered       // goes on through the page cache, for direct I/O that came back short or misaligned
)

// opList is a queue linked through Op.X.Next.
type opList struct{ head, tail *store.Op }

func (l *opList) push(op *store.Op) {
	op.X.Next = nil
	if l.tail == nil {
		l.head = op
	} else {
		l.tail.X.Next = op
	}
	l.tail = op
}

func (l *opList) pop() *store.Op {
	op := l.head
	if op == nil {
		return nil
	}
	l.head = op.X.Next
	if l.head == nil {
		l.tail = nil
	}
	op.X.Next = nil
	return op
}

// append moves all of o to the end of l.
func (l *opList) append(o *opList) {
	if o.head == nil {
		return
	}
	if l.tail == nil {
		l.head = o.head
	} else {
		l.tail.X.Next = o.head
	}
	l.tail = o.tail
	o.head, o.tail = nil, nil
}

// Submit queues op.
func (c *channel) Submit(op *store.Op) {
	op.Errno, op.Done = 0, 0
	op.X.Chan, op.X.Next, op.X.Run, op.X.State, op.X.N, op.X.Gen = c, nil, nil, stateNew, 0, c.fails
	if op.Errno = c.s.check(op); op.Errno != 0 {
		c.x.finish(op)
		return
	}
	if op.Kind == store.Flush {
		if c.s.opts.ReadOnly {
			c.x.finish(op)
			return
		}
		c.wait(op)
		c.nFlush++
		return
	}
	if op.Kind == store.Write && op.Durable && !c.s.each {
		c.nWrites++
	}
	c.gather(op)
}

// Borrows tells whether the executor can write lent data at once, or knows to keep it. Direct I/O could not: it would not be aligned.
func (c *channel) Borrows() bool {
	_, can := c.x.(keeper)
	return can && !c.s.direct()
}

// keeper is an executor that calls keep for each operation that it does not end at once.
type keeper interface{ keeps() }

// keep copies lent data of op, or of a run, to where it stays.
func keep(op *store.Op) {
	for ; op != nil; op = op.X.Run {
		if op.Spare != nil {
			copy(op.Spare, op.Buf)
			op.Buf, op.Spare = op.Spare, nil
		}
	}
}

// Ahead implements store.Near.
func (c *channel) Ahead(deep bool) {
	if deep {
		sys.Prefetch(c.s, 1)
	} else {
		sys.Prefetch(c, 2)
	}
}

// CountTo makes the channel count its syncs.
func (c *channel) CountTo(s *stats.Store) { c.count = s }

// Close releases the channel.
func (c *channel) Close() {
	if c.pool != nil {
		c.pool.close()
	}
	if x, ok := c.x.(*uring); ok {
		x.forget(c)
	}
	if c.set != nil {
		c.set.Leave(c.s.disk)
	}
}

// wait puts op among those that the next sync covers.
func (c *channel) wait(op *store.Op) {
	c.waiting.push(op)
	c.nWaiting++
	if !c.marked && !c.syncing {
		c.marked = true
		c.x.dirty(c)
	}
}

// staleTurns is after how many turns of the lane in which no transfer of the channel ended a sync begins anyhow.
const staleTurns = 256

// wantSync tells whether a sync should begin now. If so, it counts as begun: the caller starts it. It is asked once a turn while
// something waits.
//
// A sync that begins with the first write that finished would leave the others to the next one, and cost as much. So it waits
// until nearly all writes that are under way have finished: all but one, and one more for each eight that wait. Measured at
// depth 32, that is 10 % to 15 % more writes a second than to begin at once, and as good as waiting for the last one. A write
// that hangs alone does not keep the others from being answered; several do so for staleTurns. A flush waits for no write.
func (c *channel) wantSync() bool {
	if c.syncing || c.nWaiting == 0 {
		return false
	}
	if c.nFlush == 0 && int(c.nWrites) > 1+c.nWaiting/8 && c.stale < staleTurns {
		c.stale++
		return false
	}
	c.stale = 0
	c.covered, c.waiting = c.waiting, opList{}
	c.nWaiting, c.nFlush = 0, 0
	c.syncing = true
	return true
}

// unwantSync takes back a sync that could not be started.
func (c *channel) unwantSync() {
	c.syncing = false
	for op := c.covered.head; op != nil; op = op.X.Next {
		c.nWaiting++
		if op.Kind == store.Flush {
			c.nFlush++
		}
	}
	c.covered.append(&c.waiting)
	c.waiting, c.covered = c.covered, opList{}
}

// synced takes the result of the sync.
func (c *channel) synced(e unix.Errno) {
	c.syncing = false
	switch e {
	case unix.ENOMEM:
		e = unix.EIO // what was not made durable may be gone from the page cache: the same again would not bring it back
	case unix.ECANCELED:
		e = notRun
	}
	if e != 0 && e != notRun {
		c.s.syncErr.CompareAndSwap(0, uint32(e))
		c.fails++
	}
	if c.count != nil {
		c.count.Syncs.Inc()
	}
	for op := c.covered.pop(); op != nil; op = c.covered.pop() {
		op.Errno = e
		if c.count != nil {
			c.count.SyncWrites.Inc()
		}
		if op.Kind == store.Flush && e == 0 {
			op.Errno = unix.Errno(c.s.syncErr.Load())
		}
		if op.Kind == store.Write && e == 0 && op.X.Gen != c.fails {
			// A sync failed since the write was begun. Some of its data may have been in the page cache by then, and lost; the kernel told
			// that to the other sync, and says nothing of it to this one.
			op.Errno = unix.Errno(c.s.syncErr.Load())
		}
		if op.Errno == 0 {
			op.Done = op.X.N
		}
		c.x.finish(op)
	}
	if c.nWaiting > 0 && !c.marked {
		c.marked = true
		c.x.dirty(c)
	}
}

// notRun is what becomes of ECANCELED: the kernel has no memory, or no right, to make a thread for an operation that has to wait,
// and gives it back without having run it (io_uring/io-wq.c, io_wq_enqueue).
const notRun = unix.ENOMEM //nolint:errname // named by what it says

// complete takes the result of one transfer or run: res bytes, or a negative errno.
func (c *channel) complete(op *store.Op, res int32) {
	if op.X.Run != nil {
		c.split(op, res)
		return
	}
	switch {
	case res == -int32(unix.EINTR) || res == -int32(unix.EAGAIN):
		c.x.start(c, op)
		return
	case res == -int32(unix.EINVAL) && c.s.direct() && op.X.State == stateNew && op.Kind != store.Discard:
		op.X.State = stateBuffered // the kernel wants more alignment than it told
		c.x.start(c, op)
		return
	case res == -int32(unix.ECANCELED):
		op.Errno = notRun
	case res < 0:
		op.Errno = unix.Errno(-res)
	case op.Kind == store.Discard:
	case res == 0:
		op.Errno = unix.EIO // the end came early: the file was cut short
	default:
		op.X.N += int(res)
		if op.X.N < len(op.Buf) {
			c.x.start(c, op)
			return
		}
	}
	c.transferred(op)
}

// transferred follows on complete when op's bytes have moved or failed to.
func (c *channel) transferred(op *store.Op) {
	op.Done = op.X.N
	if op.Kind == store.Write && op.Durable && !c.s.each {
		c.nWrites--
		c.stale = 0
		if op.Errno == 0 {
			c.wait(op)
			return
		}
	}
	c.x.finish(op)
}

// writeFlags are the RWF_* that a write carries.
func (c *channel) writeFlags(op *store.Op) uint32 {
	if op.Durable && c.s.each {
		return unix.RWF_DSYNC
	}
	return 0
}

func (s *Store) direct() bool { return s.fd != s.bufFD }

// check returns the errno of an operation that must not touch anything.
func (s *Store) check(op *store.Op) unix.Errno {
	n := op.Len
	switch op.Kind {
	case store.Read, store.Write:
		n = int64(len(op.Buf))
	case store.Flush:
		return 0
	case store.Discard:
		if !s.info.CanDiscard {
			return unix.EOPNOTSUPP
		}
	default:
		return unix.EINVAL
	}
	if n <= 0 || n%store.SectorSize != 0 || op.Off%store.SectorSize != 0 {
		return unix.EINVAL
	}
	if op.Off < 0 || n > s.size.Load()-op.Off {
		return unix.EIO
	}
	if op.Kind != store.Read && s.opts.ReadOnly {
		return unix.EROFS
	}
	return 0
}

// rest returns what is left to transfer of op: the descriptor to use, the bytes, the place in the file. Direct I/O needs offset,
// length and memory aligned; a request that is not goes through the page cache, which the kernel keeps coherent with
// direct I/O as long as requests that overlap do not run together.
func (s *Store) rest(op *store.Op) (fd int, buf []byte, off int64) {
	buf = op.Buf[op.X.N:]
	off = s.opts.Offset + op.Off + int64(op.X.N)
	if !s.direct() {
		return s.fd, buf, off
	}
	if op.X.State == stateBuffered || (off|int64(len(buf)))&s.dioMask != 0 || sys.Addr(buf)&s.memMask != 0 {
		return s.bufFD, buf, off
	}
	return s.fd, buf, off
}

// byDisk tells whether op, as rest would begin it, is direct I/O and nothing besides. What has to be durable a thread of the kernel sees to, so that nothing is gained by
// looking for the end of the transfer (measured).
func (s *Store) byDisk(op *store.Op) bool {
	if !s.direct() || op.Durable || op.Kind != store.Read && op.Kind != store.Write {
		return false
	}
	fd, _, _ := s.rest(op)
	return fd != s.bufFD
}

// holeMode is fallocate's way to discard: the range reads as zeros, the size stays.
const holeMode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
