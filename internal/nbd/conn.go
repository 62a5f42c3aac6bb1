package nbd

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/sys"
)

const (
	recvBuffer = 64 << 10
	// turnBytes is what is received in one turn at most before replies get theirs.
	turnBytes = 1 << 20
	// lastWords is how long a client has to take its replies once the server stops.
	lastWords = 2 * time.Second
)

// zeros is what WRITE_ZEROES writes. Nobody writes to it.
var zeros [1 << 20]byte

// Counters count what one connection did. They may be read at any time.
type Counters struct {
	Reads, Writes, Flushes, Trims, Errors atomic.Uint64
	ReadBytes, WrittenBytes               atomic.Uint64
}

// slot is one request of the client, from its header to its reply.
type slot struct {
	req  Request
	h    Header
	buf  []byte // of the pool; nil when the request carries no data
	got  int    // of a write: bytes of its data that have arrived
	at   int64  // WRITE_ZEROES: where the next piece begins
	end  int64
	last bool  // the flush behind a FUA write runs
	bad  Errno // what is wrong with the request
	head [ReplyLen]byte
	out  []byte // data of the reply
}

// conn is the transmission phase with one client. Everything in it belongs to one goroutine, locked to its thread, which receives
// requests, hands them to the queue, and sends replies as they come, in one loop that waits for all of them together.
type conn struct {
	fd    int
	e     Export
	size  int64 // as the client was told
	q     Queue
	count *Counters
	stop  *sys.EventFD // raised: finish what runs, and end

	in       []byte // received, not used yet: in[from:to]
	from, to int
	slots    []slot
	free     []int
	fill     int // the slot whose data is being received, -1 none
	pool     pool
	running  int // requests in the queue
	ready    fifo
	sent     int // bytes of the first reply in ready that are sent
	recv     *sys.Vector
	send     *sys.Vector
	done     []*Request
	fds      [2]unix.PollFd

	starved  bool  // the next request waits for a slot or for memory
	closing  bool  // nothing is received any more
	dead     bool  // nothing is sent any more
	stopping bool  // the server stops
	why      error // what the client did wrong
}

// fifo is a ring of slot numbers.
type fifo struct {
	ring    []int
	head, n int
}

func (f *fifo) push(i int) { f.ring[(f.head+f.n)%len(f.ring)] = i; f.n++ }
func (f *fifo) at(i int) int {
	return f.ring[(f.head+i)%len(f.ring)]
}
func (f *fifo) pop() int {
	i := f.ring[f.head]
	f.head = (f.head + 1) % len(f.ring)
	f.n--
	return i
}

func newConn(fd int, e Export, size int64, q Queue, depth int, count *Counters, stop *sys.EventFD) *conn {
	c := &conn{fd: fd, e: e, size: size, q: q, count: count, stop: stop, in: make([]byte, recvBuffer), slots: make([]slot, depth), fill: -1,
		ready: fifo{ring: make([]int, depth)}, recv: sys.NewVector(2), send: sys.NewVector(128), done: make([]*Request, 64)}
	for i := range c.slots {
		c.free = append(c.free, i)
	}
	c.fds[0].Fd, c.fds[1].Fd, c.fds[1].Events = int32(fd), int32(stop.FD()), unix.POLLIN
	return c
}

// run serves the client until it goes, breaks the protocol, or the server stops, and all its requests are done. nil: the client left in
// good order, or just closed.
func (c *conn) run() error {
	for !c.closing || c.running > 0 || c.ready.n > 0 && !c.dead {
		c.fds[0].Events = 0
		if !c.closing && !c.starved {
			c.fds[0].Events |= unix.POLLIN
		}
		if c.ready.n > 0 && !c.dead {
			c.fds[0].Events |= unix.POLLOUT
		}
		timeout := time.Duration(-1)
		if c.stopping && c.running == 0 {
			timeout = lastWords
		}
		n, err := c.q.Wait(c.done, c.fds[:], timeout)
		if err != nil {
			return fmt.Errorf("nbd: waiting for requests: %w", err)
		}
		for _, r := range c.done[:n] {
			c.running--
			c.finish(r.Slot, r.Err)
		}
		if timeout > 0 && n == 0 && c.fds[0].Revents == 0 {
			c.dead = true // it does not read
		}
		if c.fds[1].Revents != 0 {
			c.stopping, c.closing, c.fds[1].Fd = true, true, -1
		}
		c.reply()
		c.hear(c.fds[0].Revents)
	}
	return c.why
}

// hear receives what the poll said that there is.
func (c *conn) hear(events int16) {
	if c.starved && !c.closing {
		c.parse()
	}
	switch gone := events&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0; {
	case !c.closing && !c.starved && (gone || events&unix.POLLIN != 0):
		c.receive()
	case gone:
		c.lose()
	}
}

// lose ends it with a client that has gone.
func (c *conn) lose() {
	c.closing, c.dead = true, true
	c.fds[0].Fd = -1
	for c.ready.n > 0 {
		c.release(c.ready.pop())
	}
}

// fail ends it with a client that breaks the protocol: what it sends cannot be understood any more.
func (c *conn) fail(err error) {
	if c.why == nil {
		c.why = err
	}
	c.closing = true
}

// receive takes in what has arrived, up to a bound.
func (c *conn) receive() {
	for total := 0; total < turnBytes && !c.closing && !c.starved; {
		if c.from > 0 {
			c.to = copy(c.in, c.in[c.from:c.to])
			c.from = 0
		}
		c.recv.Reset()
		want := 0
		if c.fill >= 0 { // straight to where it belongs; what is behind it goes to the buffer
			s := &c.slots[c.fill]
			c.recv.Add(s.buf[s.got:])
			want = len(s.buf) - s.got
		}
		c.recv.Add(c.in[c.to:])
		room := want + len(c.in) - c.to
		n, errno := c.recv.Recv(c.fd)
		c.recv.Reset()
		switch {
		case errno == unix.EAGAIN:
			return
		case errno != 0:
			c.lose()
			return
		case n == 0: // it may still read
			c.closing = true
			return
		}
		total += n
		if c.fill >= 0 {
			k := min(n, want)
			c.slots[c.fill].got += k
			c.to += n - k
			if k == want {
				c.begin(c.fill)
				c.fill = -1
			}
		} else {
			c.to += n
		}
		c.parse()
		if n < room {
			return // that was all
		}
	}
}

// parse begins the requests that are in the buffer.
func (c *conn) parse() {
	c.starved = false
	for !c.closing && c.fill < 0 && c.to-c.from >= RequestLen {
		h, err := ParseHeader(c.in[c.from:c.to])
		if err != nil {
			c.fail(err)
			return
		}
		if h.Cmd == CmdDisconnect {
			c.closing = true
			return
		}
		if !c.request(h) {
			c.starved = !c.closing
			return
		}
	}
}

// request takes one request over. false: it must wait for a slot or memory.
func (c *conn) request(h Header) bool {
	if len(c.free) == 0 {
		return false
	}
	carries := h.Cmd == CmdWrite
	if carries && h.Length > MaxRequest {
		c.fail(fmt.Errorf("nbd: a write of %d bytes, more than %d", h.Length, MaxRequest))
		return false
	}
	bad := c.check(h)
	var buf []byte
	if h.Length > 0 && (carries || bad == 0 && h.Cmd == CmdRead) { // the data of a write is received even if it is refused
		if buf = c.pool.get(int(h.Length)); buf == nil {
			return false
		}
	}
	i := c.free[len(c.free)-1]
	c.free = c.free[:len(c.free)-1]
	s := &c.slots[i]
	*s = slot{h: h, buf: buf, bad: bad, req: Request{Slot: i}}
	c.from += RequestLen
	if carries && buf != nil {
		s.got = copy(buf, c.in[c.from:c.to])
		c.from += s.got
		if s.got < len(buf) {
			c.fill = i
			return true
		}
	}
	c.begin(i)
	return true
}

// check returns what is wrong with a request, 0 for nothing.
func (c *conn) check(h Header) Errno {
	var need Flags
	allowed := uint16(0)
	if c.e.Flags&CanFUA != 0 {
		allowed = FlagFUA // on any command: clients are known to set it on reads
	}
	writes := true
	switch h.Cmd {
	case CmdRead:
		writes = false
	case CmdWrite:
	case CmdFlush:
		if c.e.Flags&CanFlush == 0 || h.Flags&^allowed != 0 {
			return EINVAL
		}
		return 0 // offset and length mean nothing
	case CmdTrim:
		need = CanTrim
	case CmdWriteZeroes:
		need, allowed = CanWriteZeroes, allowed|FlagNoHole
	default:
		return EINVAL
	}
	low := uint64(c.e.MinBlock)
	switch end := h.Offset + uint64(h.Length); {
	case writes && c.e.Flags&ReadOnly != 0:
		return EPERM
	case c.e.Flags&need != need, h.Flags&^allowed != 0, h.Offset%low != 0, uint64(h.Length)%low != 0, h.Length == 0:
		return EINVAL
	case (h.Cmd == CmdRead || h.Cmd == CmdWrite) && h.Length > uint32(c.e.MaxBlock):
		return EINVAL
	case end < h.Offset, end > uint64(c.size):
		if writes {
			return ENOSPC
		}
		return EINVAL
	}
	return 0
}

// begin starts a request whose data is there.
func (c *conn) begin(i int) {
	s := &c.slots[i]
	if s.bad != 0 {
		c.answer(i, s.bad)
		return
	}
	r := &s.req
	r.Off, r.Buf = int64(s.h.Offset), s.buf
	switch s.h.Cmd {
	case CmdRead:
		r.Op = OpRead
		add(&c.count.Reads, 1)
	case CmdWrite:
		r.Op = OpWrite
		add(&c.count.Writes, 1)
	case CmdFlush:
		r.Op = OpFlush
		add(&c.count.Flushes, 1)
	case CmdTrim:
		r.Op, r.Len = OpTrim, int64(s.h.Length)
		add(&c.count.Trims, 1)
	case CmdWriteZeroes:
		if c.e.TrimZeroes && c.e.Flags&CanTrim != 0 && s.h.Flags&FlagNoHole == 0 {
			r.Op, r.Len = OpTrim, int64(s.h.Length)
			add(&c.count.Trims, 1)
			break
		}
		s.at, s.end = r.Off, r.Off+int64(s.h.Length)
		c.zero(s)
		add(&c.count.Writes, 1)
	}
	c.submit(i)
}

// zero prepares the next piece of a WRITE_ZEROES.
func (c *conn) zero(s *slot) {
	n := min(s.end-s.at, int64(len(zeros)), int64(c.e.MaxBlock))
	s.req.Op, s.req.Off, s.req.Buf = OpWrite, s.at, zeros[:n:n]
	s.at += n
}

func (c *conn) submit(i int) {
	s := &c.slots[i]
	s.req.Err = nil
	if err := c.q.Submit(&s.req); err != nil {
		c.answer(i, errnoOf(err))
		return
	}
	c.running++
}

// finish goes on with a request of which a step is done.
func (c *conn) finish(i int, err error) {
	s := &c.slots[i]
	switch {
	case err != nil:
		c.answer(i, errnoOf(err))
	case s.at < s.end:
		c.zero(s)
		c.submit(i)
	case s.h.Flags&FlagFUA != 0 && !s.last && (s.req.Op == OpWrite || s.req.Op == OpTrim):
		s.last = true
		s.req.Op, s.req.Buf = OpFlush, nil
		c.submit(i)
	default:
		c.answer(i, 0)
	}
}

// answer makes the reply of a request, which reply sends.
func (c *conn) answer(i int, e Errno) {
	s := &c.slots[i]
	if e != 0 {
		add(&c.count.Errors, 1)
	}
	if c.dead {
		c.release(i)
		return
	}
	PutReply(s.head[:], s.h.Cookie, e)
	s.out = nil
	switch {
	case e != 0:
	case s.h.Cmd == CmdRead:
		s.out = s.buf
		add(&c.count.ReadBytes, uint64(len(s.buf)))
	case s.h.Cmd == CmdWrite || s.h.Cmd == CmdWriteZeroes:
		add(&c.count.WrittenBytes, uint64(s.h.Length))
	}
	c.ready.push(i)
}

// release frees the slot and its buffer.
func (c *conn) release(i int) {
	s := &c.slots[i]
	if s.buf != nil {
		c.pool.put(s.buf)
		s.buf, s.out, s.req.Buf = nil, nil, nil
	}
	c.free = append(c.free, i)
}

// reply sends the replies that are ready, as many as the socket takes.
func (c *conn) reply() {
	for c.ready.n > 0 && !c.dead {
		c.send.Reset()
		want, skip := 0, c.sent
		for k := 0; k < c.ready.n; k++ {
			s := &c.slots[c.ready.at(k)]
			head, out := s.head[:], s.out
			if cut := min(skip, len(head)); cut > 0 {
				head, skip = head[cut:], skip-cut
			}
			out, skip = out[skip:], 0
			if c.send.Len()+2 > 128 {
				break
			}
			c.send.Add(head)
			c.send.Add(out)
			want += len(head) + len(out)
		}
		n, errno := c.send.Send(c.fd)
		c.send.Reset()
		switch {
		case errno == unix.EAGAIN:
			return
		case errno != 0:
			c.lose()
			return
		}
		c.advance(n)
		if n < want {
			return
		}
	}
}

// advance frees what n more bytes have sent.
func (c *conn) advance(n int) {
	n += c.sent
	for c.ready.n > 0 {
		i := c.ready.at(0)
		size := ReplyLen + len(c.slots[i].out)
		if n < size {
			break
		}
		n -= size
		c.release(c.ready.pop())
	}
	c.sent = n
}

// add adds to a counter that this goroutine alone writes.
func add(v *atomic.Uint64, n uint64) { v.Store(v.Load() + n) }

// close frees the connection.
func (c *conn) close() error {
	return errors.Join(c.q.Close(), unix.Close(c.fd))
}
