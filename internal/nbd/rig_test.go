package nbd

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/sys"
)

// disk is a Backend in memory. What hold returns true for stays outstanding until letGo.
type disk struct {
	mu     sync.Mutex
	data   []byte
	log    []Request // in the order of Submit
	fail   func(r *Request) error
	hold   func(r *Request) bool
	queues []*diskQueue
}

func newDisk(size int) *disk { return &disk{data: make([]byte, size)} }

func (d *disk) Size() int64 { return int64(len(d.data)) }

func (d *disk) NewQueue(depth int) (Queue, error) {
	e, err := sys.NewEventFD()
	q := &diskQueue{d: d, wake: e, fds: make([]unix.PollFd, 0, 8), done: make([]*Request, 0, depth), held: make([]*Request, 0, depth)}
	d.mu.Lock()
	d.queues = append(d.queues, q)
	d.mu.Unlock()
	return q, err
}

// letGo finishes what is held.
func (d *disk) letGo() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, q := range d.queues {
		for _, r := range q.held {
			q.finish(r)
		}
		q.held = q.held[:0]
		q.wake.Signal()
	}
}

func (d *disk) held() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, q := range d.queues {
		n += len(q.held)
	}
	return n
}

// bytes returns a copy of the data.
func (d *disk) bytes() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]byte(nil), d.data...)
}

// submitted returns how many requests were submitted.
func (d *disk) submitted() []Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Request(nil), d.log...)
}

type diskQueue struct {
	d          *disk
	wake       *sys.EventFD
	fds        []unix.PollFd
	done, held []*Request
	closed     bool
}

func (q *diskQueue) finish(r *Request) {
	if q.d.fail != nil {
		r.Err = q.d.fail(r)
	}
	if r.Err == nil {
		switch r.Op {
		case OpRead:
			copy(r.Buf, q.d.data[r.Off:])
		case OpWrite:
			copy(q.d.data[r.Off:], r.Buf)
		case OpTrim:
			clear(q.d.data[r.Off : r.Off+r.Len])
		}
	}
	q.done = append(q.done, r)
}

func (q *diskQueue) Submit(r *Request) error {
	q.d.mu.Lock()
	defer q.d.mu.Unlock()
	if cap(q.d.log) > 0 || q.d.hold != nil || q.d.fail != nil {
		q.d.log = append(q.d.log, Request{Op: r.Op, Off: r.Off, Len: r.Len + int64(len(r.Buf))})
	}
	if q.d.hold != nil && q.d.hold(r) {
		q.held = append(q.held, r)
		return nil
	}
	q.finish(r)
	return nil
}

func (q *diskQueue) Wait(done []*Request, fds []unix.PollFd, timeout time.Duration) (int, error) {
	q.d.mu.Lock()
	if len(q.done) > 0 {
		timeout = 0
	}
	q.d.mu.Unlock()
	q.fds = append(q.fds[:0], fds...)
	q.fds = append(q.fds, unix.PollFd{Fd: int32(q.wake.FD()), Events: unix.POLLIN})
	if _, err := sys.Poll(q.fds, int64(timeout)); err != nil {
		return 0, err
	}
	copy(fds, q.fds)
	q.wake.Drain()
	q.d.mu.Lock()
	defer q.d.mu.Unlock()
	n := copy(done, q.done)
	q.done = q.done[:copy(q.done, q.done[n:])]
	return n, nil
}

func (q *diskQueue) Close() error {
	q.d.mu.Lock()
	defer q.d.mu.Unlock()
	q.closed = true
	return q.wake.Close()
}

// all is what an export of the tests can.
const all = CanFlush | CanFUA | CanTrim | CanWriteZeroes | CanMultiConn

// serve starts a server on a socket, which ends with the test.
func serve(t testing.TB, d *disk, e Export, o Options) (*Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	s, err := NewServer(d, e, o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan error)
	go func() { over <- s.Serve(l) }()
	t.Cleanup(func() {
		d.mu.Lock()
		d.hold = nil
		d.mu.Unlock()
		s.Stop()
		d.letGo()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-over; !errors.Is(err, ErrStopped) {
			t.Errorf("Serve: %v", err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, q := range d.queues {
			if !q.closed {
				t.Error("a queue was not closed")
			}
		}
	})
	return s, path
}

// client is a client that has done the handshake.
type client struct {
	t testing.TB
	net.Conn
	Remote
	buf [RequestLen]byte
}

func dial(t testing.TB, path string) *client {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	r, err := Handshake(c, "")
	if err != nil {
		t.Fatal(err)
	}
	return &client{t: t, Conn: c, Remote: r}
}

// ask sends a request.
func (c *client) ask(h Header, data []byte) {
	c.t.Helper()
	if _, err := c.Write(h.Append(c.buf[:0])); err != nil {
		c.t.Fatal(err)
	}
	if len(data) > 0 {
		if _, err := c.Write(data); err != nil {
			c.t.Fatal(err)
		}
	}
}

// answer receives a reply, and the data of a read into data if it succeeded.
func (c *client) answer(data []byte) (uint64, Errno) {
	c.t.Helper()
	if _, err := io.ReadFull(c, c.buf[:ReplyLen]); err != nil {
		c.t.Fatal(err)
	}
	cookie, e, err := ParseReply(c.buf[:])
	if err != nil {
		c.t.Fatal(err)
	}
	if e == 0 && len(data) > 0 {
		if _, err := io.ReadFull(c, data); err != nil {
			c.t.Fatal(err)
		}
	}
	return cookie, e
}

// do is ask and answer.
func (c *client) do(h Header, data []byte) Errno {
	c.t.Helper()
	h.Cookie = h.Offset ^ uint64(h.Cmd)<<60 | 1<<40
	var in []byte
	if h.Cmd == CmdRead {
		in, data = data, nil
	}
	c.ask(h, data)
	cookie, e := c.answer(in)
	if cookie != h.Cookie {
		c.t.Fatalf("cookie %#x, want %#x", cookie, h.Cookie)
	}
	return e
}

// eventually waits until f is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}
