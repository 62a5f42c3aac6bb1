package packet

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"goaoe/internal/link"
	"goaoe/internal/privsep"
	"goaoe/internal/sys"
)

// XDPMode says whether a link sends by an AF_XDP socket.
type XDPMode string

// The modes. The zero value is XDPOff.
const (
	XDPOff  XDPMode = "off"
	XDPAuto XDPMode = "auto" // on veth interfaces without a queueing discipline, where it goes round nothing that somebody set up
	XDPOn   XDPMode = "on"   // wherever it can be done
)

const (
	// xdpLook is how often is looked whether somebody listens, and what the MTU is, in nanoseconds.
	xdpLook = 1_000_000_000
	// xdpPause is for how long AF_XDP is not used after it failed, in nanoseconds; twice as long each time, up to xdpMaxPause, when it did not work for xdpLasts such times
	// before that.
	xdpPause    = 1_000_000_000
	xdpMaxPause = 64 * xdpPause
	xdpLasts    = 8
)

// xdpSend is the second way out of a link: frames that lie in pinned memory leave by an AF_XDP socket, when there are several at once. While somebody listens on
// the interface (tcpdump) everything takes the first way, as frames of such a socket do not pass there.
type xdpSend struct {
	ok     bool   // it may be used
	why    string // if not
	queue  int
	sndBuf int
	out    *sys.XDPSender // nil after a failure
	bound  bool           // out sends out of mem
	mem    []byte
	again  int64 // not before, on the clock of sys.Nanotime
	since  int64 // when it was bound, on that clock
	pause  int64 // the last one
	frames uint64

	listens bool  // taps is open
	taps    int   // the kernel's list of who listens
	looked  int64 // when that was last read; 0: never
	tapped  bool  // somebody listens
	limit   int   // bytes of the longest frame for the interface's MTU
	list    []byte
}

// Pinning implements link.Pinner.
func (l *Link) Pinning() (would bool, why string) { return l.xdp.ok, l.xdp.why }

// PinnedFrames implements link.Pinner.
func (l *Link) PinnedFrames() uint64 { return l.xdp.frames }

// openXDP prepares sending by AF_XDP for links of an interface, each on the queue of its number. What is against it is no error.
func openXDP(all []*Link, o Options) {
	for i, l := range all {
		if o.XDP == "" || o.XDP == XDPOff {
			continue
		}
		x := &l.xdp
		x.queue, x.sndBuf = i, o.SndBuf
		if x.sndBuf <= 0 {
			x.sndBuf = defaultSndBuf
		}
		if x.why = againstXDP(l, o.XDP); x.why != "" {
			continue
		}
		fd, err := unix.Open("/proc/thread-self/net/ptype", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			x.why = fmt.Sprintf("/proc/thread-self/net/ptype, which tells whether somebody captures frames: %v", err)
			continue
		}
		if err := x.open(); err != nil {
			x.why = err.Error()
			_ = unix.Close(fd)
			continue
		}
		x.ok, x.taps, x.listens = true, fd, true
	}
}

// againstXDP tells why an interface is not to be sent to by AF_XDP, or nothing.
func againstXDP(l *Link, mode XDPMode) string {
	d, err := unix.IoctlGetEthtoolDrvinfo(l.fd, l.info.Name)
	if err != nil {
		return fmt.Sprintf("its driver does not tell its name: %v", err)
	}
	driver := unix.ByteSliceToString(d.Driver[:])
	if driver == "virtio_net" {
		return "virtio_net sends out of goaoe's memory instead of a copy of it, and that changes while it does"
	}
	dev, err := netlink.LinkByName(l.info.Name)
	if err != nil {
		return fmt.Sprintf("its queues: %v", err)
	}
	if n := dev.Attrs().NumTxQueues; l.xdp.queue >= n {
		return fmt.Sprintf("lane %d needs a queue of its own, and it has %d", l.xdp.queue, n)
	}
	if mode == XDPOn {
		return ""
	}
	if driver != "veth" {
		return fmt.Sprintf("its driver is %s, and only veth is known to gain by it", driver)
	}
	disciplines, err := netlink.QdiscList(dev)
	if err != nil {
		return fmt.Sprintf("its queueing disciplines: %v", err)
	}
	for _, q := range disciplines {
		if k := q.Type(); k != "noqueue" && k != "ingress" {
			return fmt.Sprintf("it would bypass its queueing discipline %s", k)
		}
	}
	return ""
}

// open makes a socket, in the network namespace of the calling thread.
func (x *xdpSend) open() error {
	out, err := sys.NewXDPSender()
	if err != nil {
		return err
	}
	if privsep.SendBuffer(out.FD(), x.sndBuf) != nil {
		_ = unix.SetsockoptInt(out.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, x.sndBuf) // less is slower, if anything
	}
	x.out, x.bound = out, false
	return nil
}

// Pin implements link.Pinner.
func (l *Link) Pin(mem []byte) bool {
	x := &l.xdp
	if !x.ok {
		return false
	}
	if x.bound {
		_ = x.drop()
	}
	if x.mem = nil; mem == nil {
		return true
	}
	x.mem = mem
	if x.list == nil {
		x.list = make([]byte, 4096)
	}
	x.bind(l)
	return x.ok
}

// bind has the kernel know the memory. When that fails for the moment, it is tried again later; otherwise never.
func (x *xdpSend) bind(l *Link) {
	err := error(nil)
	if x.out == nil {
		if err = x.open(); err == nil && !sameNamespace(x.out.FD(), l.fd) {
			err = unix.EXDEV // there the interface's index is another interface
		}
	}
	if err == nil {
		if err = x.out.Attach(x.mem, l.info.Index, x.queue, payloadAt); err == nil {
			x.bound, x.looked, x.since = true, 0, sys.Nanotime()
			return
		}
	}
	_ = x.drop()
	for _, transient := range []error{unix.EBUSY, unix.EAGAIN, unix.ENETDOWN, unix.ENOBUFS, unix.ENOMEM} { // EBUSY also for a moment after a socket was closed
		if errors.Is(err, transient) {
			x.later()
			return
		}
	}
	x.ok, x.mem = false, nil
}

// sameNamespace tells whether two sockets are of one network namespace. Before Linux 5.14 nobody can tell.
func sameNamespace(a, b int) bool {
	x, err := unix.GetsockoptUint64(a, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return false
	}
	y, err := unix.GetsockoptUint64(b, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	return err == nil && x == y
}

// drop closes the socket, and so throws away what it has not sent.
func (x *xdpSend) drop() error {
	if x.out == nil {
		return nil
	}
	err := x.out.Close()
	x.out, x.bound = nil, false
	return err
}

// close frees everything.
func (x *xdpSend) close() error {
	err := x.drop()
	if x.listens {
		if e := unix.Close(x.taps); e != nil && err == nil {
			err = fmt.Errorf("closing the list of who listens: %w", e)
		}
	}
	x.ok, x.listens, x.mem = false, false, nil
	return err
}

// ready tells whether frames out of the memory may leave by AF_XDP now.
func (x *xdpSend) ready(l *Link) bool {
	now := sys.Nanotime()
	if !x.bound {
		if now < x.again {
			return false
		}
		if x.bind(l); !x.bound {
			return false
		}
	}
	if x.looked == 0 || now-x.looked >= xdpLook {
		x.looked = now
		x.tapped, x.limit = x.listened(l.info.Name), headLen+mtuOf(l)
	}
	return !x.tapped
}

// mtuOf returns the interface's MTU, which for these frames nobody else looks at; 0 when it cannot be told.
func mtuOf(l *Link) int {
	ifr, err := unix.NewIfreq(l.info.Name)
	if err != nil || unix.IoctlIfreq(l.fd, unix.SIOCGIFMTU, ifr) != nil {
		return 0
	}
	return int(ifr.Uint32())
}

// listened tells whether a socket gets to see all frames of an interface: the kernel's list has a line "ALL", the interface's name or none, and a function's name for it
// (ptype_seq_show in net/core/net-procfs.c). Where that cannot be told it is true.
func (x *xdpSend) listened(name string) bool {
	have := 0
	for offset := int64(0); ; {
		n, err := unix.Pread(x.taps, x.list[have:], offset)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return true
		}
		if n == 0 {
			return have > 0 // half a line
		}
		offset, have = offset+int64(n), have+n
		start := 0
		for i := start; i < have; i++ {
			if x.list[i] == '\n' {
				if isTap(x.list[start:i], name) {
					return true
				}
				start = i + 1
			}
		}
		if have = copy(x.list, x.list[start:have]); have == len(x.list) {
			return true // no such line
		}
	}
}

// isTap tells whether a line of the list is of somebody who gets all frames of an interface.
func isTap(line []byte, name string) bool {
	const all = "ALL  "
	if len(line) <= len(all) || string(line[:len(all)]) != all {
		return false
	}
	dev := line[len(all):]
	if dev[0] == ' ' {
		return true // of all interfaces
	}
	return len(dev) > len(name) && string(dev[:len(name)]) == name && dev[len(name)] == ' '
}

// run returns how many of the messages, from the first on, can leave by AF_XDP in one call.
func (x *xdpSend) run(msgs []link.Msg) int {
	if !x.bound {
		return 0
	}
	n := 0
	for n < len(msgs) && n < sys.XDPBatch && len(msgs[n].Body) == 0 && len(msgs[n].Head) <= x.limit && x.out.Takes(msgs[n].Head) {
		n++
	}
	return n
}

// sendRuns sends runs of messages that lie in pinned memory by AF_XDP, and what is in between by the packet socket: one alone is faster there.
func (l *Link) sendRuns(msgs []link.Msg) (int, error) {
	done := 0
	for done < len(msgs) {
		var k int
		var err error
		if n := l.xdp.run(msgs[done:]); n > 1 {
			k, err = l.sendXDP(msgs[done : done+n])
		} else {
			end := done + 1
			for end < len(msgs) && l.xdp.run(msgs[end:min(end+2, len(msgs))]) < 2 {
				end++
			}
			k, err = l.sendBatch(msgs[done:end])
		}
		if done += k; err != nil {
			return done, err
		}
	}
	return done, nil
}

// sendXDP sends messages by AF_XDP. What the kernel does not take now it must not take later, as their memory may be something else by then, and the caller sends
// them again: so the socket is closed with all that is in it. The producer's index cannot be taken back: the kernel keeps a copy.
func (l *Link) sendXDP(msgs []link.Msg) (int, error) {
	x := &l.xdp
	x.out.Begin()
	for i := range msgs {
		msgs[i].Err = nil
		x.out.Add(msgs[i].Head)
	}
	taken, errno := x.out.Flush()
	x.frames += uint64(taken)
	if taken == len(msgs) {
		return taken, nil
	}
	x.fail()
	if errno == unix.ENXIO || errno == unix.ENODEV { // it was removed
		x.ok, x.mem = false, nil
	}
	if err := l.state(errno); err != nil {
		return taken, err
	}
	return taken, link.ErrFull // also where a frame was dropped: the packet socket tells what is the matter, and when there is room
}

// fail gives AF_XDP up for a while. Nobody but the caller makes the kernel look into the ring, so closing it, which waits for all processors,
// need not be waited for.
func (x *xdpSend) fail() {
	out := x.out
	x.out, x.bound = nil, false
	go out.Close() //nolint:errcheck // there is nobody to tell, and it cannot fail
	x.later()
}

// later puts off the next attempt, for longer when the last one did not last.
func (x *xdpSend) later() {
	now := sys.Nanotime()
	if now-x.since < xdpLasts*x.pause {
		x.pause = min(2*x.pause, xdpMaxPause)
	} else {
		x.pause = xdpPause
	}
	x.again, x.since = now+x.pause, now
}
