package mem

import (
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"goaoe/internal/link"
	"goaoe/internal/sys"
)

// Link is one end of the wire, or one lane of it. Besides being a link.Link it has controls for tests.
type Link struct {
	net     *Net
	port    *port
	wake    *sys.EventFD // up while the queue is not empty; nil without a descriptor
	waiting atomic.Int32 // frames in the queue
	drops   atomic.Uint64

	// Under net.mu:
	queue   []entry // a ring
	head, n int
	taken   [][]byte // buffers that the receiver holds
	filter  *link.Filter
	down    bool
	fault   bool // the interface went down since the last Check
	txRoom  int  // frames that Send still takes before ErrFull; -1 without a limit
	refuse  func(frame []byte) error
	closed  bool
}

// entry is one frame that waits.
type entry struct {
	data   []byte
	time   int64
	tci    uint16
	tagged bool
}

var (
	_ link.Link    = (*Link)(nil)
	_ link.Checker = (*Link)(nil)
)

// push puts a frame into the queue, or drops it.
func (l *Link) push(e entry) {
	n := l.net
	switch {
	case l.closed || l.down:
		n.recycle(e.data)
		return
	case !l.filter.Wants(e.data):
		n.counts.Filtered++
		n.recycle(e.data)
		return
	case l.n+len(l.taken) >= len(l.queue):
		n.counts.Overflowed++
		l.drops.Add(1)
		n.recycle(e.data)
		return
	}
	n.counts.Delivered++
	if e.time == 0 {
		e.time = n.opts.Now()
	}
	l.queue[(l.head+l.n)%len(l.queue)] = e
	l.n++
	l.waiting.Store(int32(l.n))
	if l.n == 1 && l.wake != nil {
		l.wake.Signal()
	}
}

// Info implements link.Link.
func (l *Link) Info() link.Info { return l.port.info }

// Recv implements link.Link.
func (l *Link) Recv(batch []link.Frame) int {
	if l.waiting.Load() == 0 {
		return 0
	}
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	k := 0
	for ; k < len(batch) && l.n > 0; k++ {
		e := &l.queue[l.head]
		batch[k] = link.Frame{Data: e.data[:len(e.data):len(e.data)], Time: e.time, TCI: e.tci, Tagged: e.tagged}
		l.taken = append(l.taken, e.data)
		*e = entry{}
		l.head = (l.head + 1) % len(l.queue)
		l.n--
	}
	l.waiting.Store(int32(l.n))
	if l.n == 0 && l.wake != nil {
		l.wake.Drain()
	}
	return k
}

// Release implements link.Link. It spoils the frames, so that a use after it shows.
func (l *Link) Release() {
	if len(l.taken) == 0 {
		return
	}
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	for i, b := range l.taken {
		l.net.recycle(b)
		l.taken[i] = nil
	}
	l.taken = l.taken[:0]
}

// Pending implements link.Link.
func (l *Link) Pending() bool { return l.waiting.Load() > 0 }

// Send implements link.Link.
func (l *Link) Send(msgs []link.Msg) (int, error) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	for i := range msgs {
		m := &msgs[i]
		if err := l.transmit(m.Head, m.Body); err != nil {
			if errors.Is(err, link.ErrFull) || errors.Is(err, link.ErrDown) || errors.Is(err, link.ErrClosed) {
				return i, err
			}
			m.Err = err
			continue
		}
		m.Err = nil
	}
	return len(msgs), nil
}

// transmit sends one frame, with net.mu held.
func (l *Link) transmit(head, body []byte) error {
	size := len(head) + len(body)
	switch {
	case l.closed:
		return link.ErrClosed
	case l.down:
		return link.ErrDown
	case l.txRoom == 0:
		return link.ErrFull
	case size > l.port.info.MTU+headLen:
		return fmt.Errorf("sending %d bytes on %s with MTU %d: %w", size, l.port.info.Name, l.port.info.MTU, unix.EMSGSIZE)
	case len(head) < headLen:
		return fmt.Errorf("sending %d bytes on %s: %w", size, l.port.info.Name, unix.EINVAL)
	}
	if l.refuse != nil {
		if err := l.refuse(append(append([]byte(nil), head...), body...)); err != nil {
			return err
		}
	}
	if l.txRoom > 0 {
		l.txRoom--
	}
	l.net.send(l.port, head, body)
	return nil
}

// Inject implements link.Link.
func (l *Link) Inject(frame []byte) error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	return l.transmit(frame, nil)
}

// FD implements link.Link: a descriptor that is readable while frames wait, and always writable.
func (l *Link) FD() int {
	if l.wake == nil {
		return -1
	}
	return l.wake.FD()
}

// SetFilter implements link.Link. Frames that wait already stay.
func (l *Link) SetFilter(f *link.Filter) error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	l.filter = f
	return nil
}

// Drops implements link.Link.
func (l *Link) Drops() uint64 { return l.drops.Load() }

// Check implements link.Checker: link.ErrDown once after SetDown(true).
func (l *Link) Check() error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	if l.fault {
		l.fault = false
		return link.ErrDown
	}
	return nil
}

// Close implements link.Link. Frames that wait are lost.
func (l *Link) Close() error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	for ; l.n > 0; l.n-- {
		l.net.recycle(l.queue[l.head].data)
		l.head = (l.head + 1) % len(l.queue)
	}
	l.waiting.Store(0)
	if l.wake != nil {
		return l.wake.Close()
	}
	return nil
}

// Put makes a frame arrive that nobody sent, past all faults; tagged and tci as in link.Frame.
func (l *Link) Put(frame []byte, tagged bool, tci uint16) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	b := l.net.buffer(len(frame))
	copy(b, frame)
	l.push(entry{data: b, tagged: tagged, tci: tci})
}

// SetDown takes the interface down (frames in both directions are lost, Send says ErrDown) or up again.
func (l *Link) SetDown(down bool) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	for _, x := range l.port.lanes {
		x.fault = x.fault || (down && !x.down)
		x.down = down
	}
}

// SetRoom makes Send and Inject take n more frames and then say ErrFull; -1 lifts the limit. The descriptor stays writable.
func (l *Link) SetRoom(n int) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	l.txRoom = n
}

// SetRefuse makes every frame that is sent pass through f first (in a copy): an error of it becomes the Err of the Msg,
// or the result of Send when it is ErrFull or ErrDown. f runs under the lock of the Net and must not call it.
func (l *Link) SetRefuse(f func(frame []byte) error) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	l.refuse = f
}

// SetPromiscuous makes the link also get frames for other addresses.
func (l *Link) SetPromiscuous(on bool) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	l.port.all = on
}
