// Package packet is the Link over Linux packet sockets: frames are received from a ring that the kernel shares with
// the process (AF_PACKET, TPACKET_V2: no system call and no copy for a frame) and sent in batches by sendmmsg. A
// filter program in the kernel keeps frames for other targets out of the ring, so that they neither fill it nor wake the process.
// With several lanes, one socket each, the kernel steers every frame to the lane of its address.
package packet

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"goaoe/internal/link"
	"goaoe/internal/sys"
)

const (
	headLen   = 14     // Ethernet header
	etherType = 0x88A2 // ATA over Ethernet
	// minMTU carries the longest config string: 18 bytes of AoE header and argument behind the Ethernet header, and 1024.
	minMTU = 1042

	// defaultRing: an initiator that lost its target repeats every outstanding request again and again, and only the newest
	// repetition still has somebody waiting for the answer. The ring must hold all of them, or the kernel keeps
	// the oldest and drops the newest.
	defaultRing   = 8 << 20
	minRingFrames = 1024
	defaultSndBuf = 4 << 20
	sendBatch     = 64
	payloadAt     = 36  // where the data of an ATA request or reply begins
	pageRest      = 256 // what the kernel puts in front of a frame and behind it, at most
)

// Options are the settings of a link. The zero value is good.
type Options struct {
	Lanes       int          // OpenAll: sockets that share the interface, 1 to 64; 0 means 1. Open ignores it.
	RingFrames  int          // frames that the receive ring holds; 0 means as many as RingBytes hold, but at least 1024
	RingBytes   int          // size of the receive ring when RingFrames is 0; 0 means 8 MiB
	SndBuf      int          // bytes that may wait to be sent, in the kernel's count; 0 means 4 MiB
	FrameMTU    int          // largest frame that is received, as an MTU; 0 means the interface's MTU, and less than that is ignored
	Linear      bool         // have the kernel keep frames of a page and more in one piece while it sends them: fewer pages to get, copies that are aligned
	XDP         XDPMode      // whether to send by an AF_XDP socket what lies in memory that was given to Pin
	QdiscBypass bool         // hand frames to the driver without the interface's queueing discipline
	Filter      *link.Filter // the first filter, as by SetFilter; nil wants every AoE frame
	// PayloadAlign places byte 36 of each frame (where the data of an ATA write starts) at a multiple of this many bytes, so that
	// direct I/O can write it out of the ring: a power of two up to 4096; 0 does not care.
	PayloadAlign int
}

// Link is a packet socket. It implements link.Link, link.Checker and link.Pinner.
type Link struct {
	info  link.Info
	limit int // longest frame that Recv returns
	fd    int
	ring  *sys.PacketRing
	held  bool // the caller has frames that it did not release
	batch *sys.SendBatch
	vnet  int         // bytes in front of each frame for the kernel: sys.VnetLen or 0
	down  atomic.Bool // Send or Inject met a dead interface since the last Check
	lost  atomic.Uint64
	long  atomic.Uint64

	xdp xdpSend

	mu     sync.RWMutex // Inject against Close
	closed bool
}

var (
	_ link.Link    = (*Link)(nil)
	_ link.Checker = (*Link)(nil)
	_ link.Pinner  = (*Link)(nil)
)

// Info implements link.Link.
func (l *Link) Info() link.Info { return l.info }

// FD implements link.Link: the socket, -1 after Close.
func (l *Link) FD() int { return l.fd }

// Recv implements link.Link. Frames that are longer than the link's MTU allows, or that the ring had no room for in full,
// are skipped and counted by Oversized.
func (l *Link) Recv(batch []link.Frame) int {
	var s sys.PacketSlot
	n := 0
	for n < len(batch) && l.ring.Next(&s) {
		if s.Len != len(s.Data) || s.Len > l.limit {
			l.long.Add(1)
			continue
		}
		f := &batch[n]
		f.Data, f.Time, f.TCI, f.Tagged = s.Data, s.Time, s.TCI, s.Tagged
		sys.Prefetch(unsafe.SliceData(s.Data), 1) // another processor wrote it, and all of a batch come at the same time when they are asked for so
		n++
	}
	if n > 0 {
		l.held = true
	} else if !l.held {
		l.ring.Release() // those that were skipped: the caller has nothing to release
	}
	return n
}

// Release implements link.Link.
func (l *Link) Release() {
	l.held = false
	l.ring.Release()
}

// Pending implements link.Link.
func (l *Link) Pending() bool { return l.ring.Ready() }

// Send implements link.Link. ErrFull does not always mean that FD becomes writable later: the interface's own queue can
// be full while the socket's buffer has room, so a caller that waits for POLLOUT must also wait a moment.
func (l *Link) Send(msgs []link.Msg) (int, error) {
	if len(msgs) > 1 && l.xdp.mem != nil && l.xdp.ready(l) {
		return l.sendRuns(msgs)
	}
	return l.sendBatch(msgs)
}

// sendBatch sends messages by the packet socket.
func (l *Link) sendBatch(msgs []link.Msg) (int, error) {
	done := 0
	for done < len(msgs) {
		n := min(len(msgs)-done, l.batch.Cap())
		part := msgs[done : done+n]
		for i := range part {
			part[i].Err = nil
			l.batch.Set(i, part[i].Head, part[i].Body, part[i].Room)
		}
		k, err := l.flush(part)
		l.batch.Clear(n)
		done += k
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// flush sends what is in the batch for msgs.
func (l *Link) flush(msgs []link.Msg) (int, error) {
	i := 0
	for i < len(msgs) {
		k, errno := l.batch.Send(l.fd, i, len(msgs))
		i += k
		if errno == 0 {
			continue
		}
		if err := l.state(errno); err != nil {
			return i, err
		}
		msgs[i].Err = errno
		i++
	}
	return i, nil
}

// state returns the error that concerns the link as a whole, or nil when errno concerns one frame only.
func (l *Link) state(errno unix.Errno) error {
	switch errno {
	case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
		return link.ErrFull
	case unix.ENETDOWN, unix.ENXIO, unix.ENODEV:
		l.down.Store(true)
		return link.ErrDown
	case unix.EBADF:
		return link.ErrClosed
	}
	return nil
}

// Inject implements link.Link. An error other than link's own is of this frame (e.g. EMSGSIZE: longer than the MTU).
func (l *Link) Inject(frame []byte) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return link.ErrClosed
	}
	out := frame
	if l.vnet > 0 {
		h := sys.VnetHeader(len(frame), payloadAt)
		out = append(h[:], frame...)
	}
	for {
		_, err := unix.Write(l.fd, out)
		var errno unix.Errno
		if !errors.As(err, &errno) {
			return err
		}
		if errno == unix.EINTR {
			continue
		}
		if err := l.state(errno); err != nil {
			return err
		}
		return fmt.Errorf("sending a frame of %d bytes on %s: %w", len(frame), l.info.Name, errno)
	}
}

// Drops implements link.Link. The kernel counts from zero after each question, so the sum is kept here.
func (l *Link) Drops() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if !l.closed {
		if s, err := unix.GetsockoptTpacketStats(l.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			return l.lost.Add(uint64(s.Drops))
		}
	}
	return l.lost.Load()
}

// Oversized returns how many frames were received and thrown away because they were longer than the link's MTU allows.
func (l *Link) Oversized() uint64 { return l.long.Load() }

// RingFrames returns how many frames the receive ring holds.
func (l *Link) RingFrames() int { return l.ring.Frames() }

// Check implements link.Checker: it takes the error state of the socket, which stops POLLERR. After link.ErrDown the link
// works again by itself when the interface comes up; when the interface was removed it stays dead.
func (l *Link) Check() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return link.ErrClosed
	}
	v, err := unix.GetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return fmt.Errorf("state of the packet socket on %s: %w", l.info.Name, err)
	}
	down := l.down.Swap(false)
	switch errno := unix.Errno(v); {
	case errno == unix.ENETDOWN, errno == unix.ENXIO, errno == unix.ENODEV, errno == 0 && down:
		return fmt.Errorf("%s: %w", l.info.Name, link.ErrDown)
	case errno != 0:
		return fmt.Errorf("packet socket on %s: %w", l.info.Name, errno)
	}
	return nil
}

// Close implements link.Link.
func (l *Link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	var err error
	if l.ring != nil {
		err = l.ring.Close()
	}
	if e := l.xdp.close(); e != nil && err == nil {
		err = e
	}
	if e := unix.Close(l.fd); e != nil && err == nil {
		err = fmt.Errorf("closing the packet socket on %s: %w", l.info.Name, e)
	}
	l.fd = -1
	return err
}
