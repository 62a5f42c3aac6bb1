package file

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"goaoe/internal/store"
	"goaoe/internal/sys"
)

// kindSync is the sync of a channel as a job for its workers.
const kindSync store.Kind = 255

// threads is the executor without io_uring: each channel has a few workers of its own that block in system calls, so a device that
// hangs takes no other's workers. Results come back through a mailbox with an eventfd.
type threads struct {
	box  mailbox
	fin  opList
	dirt []*channel
	used []*channel // channels with jobs not yet handed over
	open []*channel // with something gathered
}

func newThreads() (store.Executor, error) {
	x := new(threads)
	if err := x.box.open(); err != nil {
		return nil, err
	}
	return x, nil
}

func (x *threads) finish(op *store.Op) { x.fin.push(op) }

func (x *threads) gathering(c *channel) { x.open = append(x.open, c) }

func (x *threads) dirty(c *channel) { x.dirt = append(x.dirt, c) }

func (x *threads) start(c *channel, op *store.Op) {
	if c.pool.push(op) {
		x.used = append(x.used, c)
	}
}

// Flush wakes the workers.
func (x *threads) Flush() {
	x.open = emitAll(x.open)
	kept := x.dirt[:0]
	for _, c := range x.dirt {
		if !c.wantSync() {
			kept = append(kept, c)
			continue
		}
		c.marked = false
		c.syncOp.Kind = kindSync
		c.syncOp.X.Chan = c
		x.start(c, &c.syncOp)
	}
	x.dirt = kept
	for _, c := range x.used {
		c.pool.kick()
	}
	x.used = x.used[:0]
}

// Pending tells whether Reap has something to do.
func (x *threads) Pending() bool { return x.fin.head != nil || x.box.n.Load() > 0 }

// FD is the eventfd that workers signal.
func (x *threads) FD() int { return x.box.fd }

// Reap returns what is finished.
func (x *threads) Reap(done []*store.Op) int {
	if x.box.n.Load() > 0 {
		ops := x.box.take(true)
		for op := ops.pop(); op != nil; op = ops.pop() {
			c := op.X.Chan.(*channel)
			if op.Kind == kindSync {
				c.synced(op.Errno)
			} else {
				c.transferred(op)
			}
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

// Close frees the executor.
func (x *threads) Close() { x.box.close() }

// mailbox takes finished jobs from workers to the lane. Its eventfd is readable while something is in it.
type mailbox struct {
	mu  sync.Mutex
	ops opList
	n   atomic.Int32 // to look without the lock
	buf [8]byte      // the eventfd's counter, outside of the stack so that nothing is allocated for the system call
	fd  int
}

// eventOne is the number 1 as an eventfd takes it, in the machine's byte order.
var eventOne = func() (b [8]byte) { binary.NativeEndian.PutUint64(b[:], 1); return }()

func (m *mailbox) open() (err error) {
	m.fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC)
	return err
}

func (m *mailbox) close() {
	if fd := m.detach(); fd >= 0 {
		_ = unix.Close(fd)
	}
}

// detach ends the signalling: a worker that hung until now must not write into a descriptor that is somebody else's by then.
func (m *mailbox) detach() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	fd := m.fd
	m.fd = -1
	return fd
}

// remind signals again when something is in the mailbox, after the eventfd was reset.
func (m *mailbox) remind() {
	if m.n.Load() == 0 {
		return
	}
	m.mu.Lock()
	m.signal()
	m.mu.Unlock()
}

func (m *mailbox) signal() {
	if m.fd >= 0 {
		m.buf = eventOne
		_, _ = unix.Write(m.fd, m.buf[:])
	}
}

func (m *mailbox) post(op *store.Op) {
	m.mu.Lock()
	m.ops.push(op)
	if m.n.Add(1) == 1 {
		m.signal()
	}
	m.mu.Unlock()
}

// take empties the mailbox. drain resets the eventfd, which somebody else does when it is the ring's.
func (m *mailbox) take(drain bool) opList {
	m.mu.Lock()
	ops := m.ops
	m.ops = opList{}
	if m.n.Swap(0) > 0 && drain {
		_, _ = unix.Read(m.fd, m.buf[:])
	}
	m.mu.Unlock()
	return ops
}

// pool runs the jobs of one channel in order of submission on up to max workers, which start when they are needed.
type pool struct {
	batch opList // the lane's, not yet handed over
	nNew  int    // length of batch

	mu     sync.Mutex
	cond   sync.Cond
	queue  opList
	length int
	idle   int
	alive  int
	max    int
	closed bool
	box    *mailbox
}

func newPool(max int, box *mailbox) *pool {
	p := &pool{max: max, box: box}
	p.cond.L = &p.mu
	return p
}

// push collects a job; true when it is the first since the last kick.
func (p *pool) push(op *store.Op) bool {
	p.batch.push(op)
	p.nNew++
	return p.nNew == 1
}

// kick hands over what was collected.
func (p *pool) kick() {
	p.mu.Lock()
	p.queue.append(&p.batch)
	p.length += p.nNew
	wake := min(p.nNew, p.idle)
	for p.length > p.idle && p.alive < p.max {
		p.alive++
		p.idle++ // it will take one of them
		go p.work()
	}
	p.nNew = 0
	for range wake {
		p.cond.Signal()
	}
	p.mu.Unlock()
}

// close ends the workers. One that hangs in the kernel ends when the kernel lets it go.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.cond.Broadcast()
	p.mu.Unlock()
}

func (p *pool) work() {
	v := sys.NewVector(runOps)
	p.mu.Lock()
	for {
		for p.queue.head == nil && !p.closed {
			p.cond.Wait()
		}
		op := p.queue.pop()
		if op == nil {
			p.mu.Unlock()
			return
		}
		p.length--
		p.idle--
		p.mu.Unlock()
		s := op.X.Chan.(*channel).s
		if op.X.Run != nil {
			s.runTogether(op, v)
		}
		for op != nil {
			next := op.X.Run // once it is posted it is the lane's
			op.X.Run = nil
			s.run(op)
			p.box.post(op)
			op = next
		}
		p.mu.Lock()
		p.idle++
	}
}

// run does a job to its end, blocking.
func (s *Store) run(op *store.Op) {
	if s.hook != nil {
		s.hook(op)
	}
	switch op.Kind {
	case store.Read, store.Write:
		s.transfer(op)
	case store.Discard:
		if s.dev {
			op.Errno = s.discardDevice(s.opts.Offset+op.Off, op.Len)
		} else {
			op.Errno = asErrno(unix.Fallocate(s.bufFD, holeMode, s.opts.Offset+op.Off, op.Len))
		}
	case kindSync:
		op.Errno = asErrno(unix.Fdatasync(s.bufFD))
	}
}

// runTogether begins a run with one system call, and leaves to the jobs one by one what that did not move.
func (s *Store) runTogether(head *store.Op, v *sys.Vector) {
	for op := head; op != nil; op = op.X.Run {
		v.Add(op.Buf)
	}
	fd, _, off := s.rest(head)
	var res int32
	if head.Kind == store.Read {
		res = v.Pread(fd, 0, off)
	} else {
		res = v.Pwrite(fd, 0, off, head.X.Chan.(*channel).writeFlags(head))
	}
	v.Reset()
	for op, left := head, max(int(res), 0); op != nil; op = op.X.Run {
		op.X.N = min(left, len(op.Buf))
		left -= op.X.N
	}
}

// discardDevice discards the whole logical blocks of the device in the range; parts of blocks it leaves as they are.
func (s *Store) discardDevice(off, n int64) unix.Errno {
	from := (off + s.logical - 1) / s.logical * s.logical
	to := (off + n) / s.logical * s.logical
	if from >= to {
		return 0
	}
	fd := s.bufFD
	if s.claim.held {
		fd = s.claim.fd // the kernel lets go of dirty pages in the range only for the holder of the claim
	}
	e := sys.DeviceDiscard(fd, from, to-from)
	if e == unix.EBUSY && unix.Fdatasync(s.bufFD) == nil {
		e = sys.DeviceDiscard(fd, from, to-from)
	}
	return e
}

func (s *Store) transfer(op *store.Op) {
	for op.X.N < len(op.Buf) {
		fd, buf, off := s.rest(op)
		var n int
		var e unix.Errno
		switch {
		case op.Kind == store.Read:
			var err error
			n, err = unix.Pread(fd, buf, off)
			e = asErrno(err)
		case op.Durable && s.each:
			n, e = sys.WriteSync(fd, buf, off, unix.RWF_DSYNC)
		default:
			var err error
			n, err = unix.Pwrite(fd, buf, off)
			e = asErrno(err)
		}
		switch {
		case e == unix.EINTR || e == unix.EAGAIN:
		case e == unix.EINVAL && fd != s.bufFD:
			op.X.State = stateBuffered
		case e != 0:
			op.Errno = e
			return
		case n == 0:
			op.Errno = unix.EIO
			return
		default:
			op.X.N += n
		}
	}
}

func asErrno(err error) unix.Errno {
	if err == nil {
		return 0
	}
	var e unix.Errno
	if errors.As(err, &e) {
		return e
	}
	return unix.EIO
}
