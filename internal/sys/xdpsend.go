package sys

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	xdpTxRing    = 1024 // pieces of frames that the kernel has not taken
	xdpDoneRing  = 4096 // pieces that it took, until they are noted: more than are ever under way
	xdpFillRing  = 64   // for receiving, which is not done; the kernel wants it all the same
	xdpChunk     = 4096 // the most that a piece may have
	xdpMost      = 8    // whole pages of a frame behind its first piece, at most
	xdpTxBudget  = 256  // frames that the kernel takes in one call; 32 where it cannot be told
	xdpLinearMax = 3500 // a frame of so many bytes is one piece, as it fits into a page with what the kernel puts around it

	// XDPBatch is how many frames may be added before Flush, at most. Each has 1 + xdpMost pieces at most.
	XDPBatch = 64
)

// XDPSender sends frames by an AF_XDP socket in copy mode: without an XDP program, without receiving, and without the queueing discipline and the hooks that a
// packet socket's frames go through. The frames lie in one piece of memory that the kernel knows (the UMEM), so that it has less to do for each. It belongs to one
// goroutine.
//
// In copy mode the kernel takes a frame in the system call of Flush, by copying it (xsk_build_skb in net/xdp/xsk.c); how far it is it says by the ring's consumer
// index. That is not so for a driver with IFF_TX_SKB_NO_LINEAR (virtio_net), whose frames refer to the memory: never use it there.
type XDPSender struct {
	fd     int
	base   uintptr
	size   uintptr
	maps   [2][]byte
	tx, cq xdpRing
	head   uint32 // where the next piece goes in the ring
	split  int    // the first piece of a frame that is too long for one; 0: such frames cannot be sent
	ends   [XDPBatch]uint32
	n      int // frames since the last Begin
}

type xdpRing struct {
	producer, consumer *uint32
	entries            unsafe.Pointer
}

// NewXDPSender makes a socket that cannot send before Attach. It needs CAP_NET_RAW, and no memory to speak of.
func NewXDPSender() (*XDPSender, error) {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening an AF_XDP socket: %w", err)
	}
	return &XDPSender{fd: fd}, nil
}

// FD returns the socket, for its options.
func (x *XDPSender) FD() int { return x.fd }

// Attach makes frames that lie in mem leave by a queue of an interface. mem is memory of Alloc; the kernel holds on to its pages until Close. So after they
// were given back by Free, the same address may mean other pages, which the kernel does not see: close the sender before. Frames that are longer than a page are
// sent with a first piece of split bytes, so that what follows begins a page of the copy (Linux 6.6).
//
// Errors: ENOBUFS when the memory is more than RLIMIT_MEMLOCK and there is no CAP_IPC_LOCK, EBUSY when the queue has a socket, EINVAL when there is no such queue or the kernel
// is older than 5.4, ENETDOWN, ENODEV. After an error only Close may be called.
func (x *XDPSender) Attach(mem []byte, ifindex, queue, split int) error {
	reg := unix.XDPUmemReg{Addr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem)))), Len: uint64(len(mem) &^ (PageSize - 1)), Size: xdpChunk, Flags: unix.XDP_UMEM_UNALIGNED_CHUNK_FLAG}
	if _, _, e := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(x.fd), unix.SOL_XDP, unix.XDP_UMEM_REG, uintptr(unsafe.Pointer(&reg)), unsafe.Sizeof(reg), 0); e != 0 {
		return fmt.Errorf("%d bytes as memory of an AF_XDP socket: %w", reg.Len, e)
	}
	for _, o := range []struct{ option, n int }{{unix.XDP_UMEM_FILL_RING, xdpFillRing}, {unix.XDP_UMEM_COMPLETION_RING, xdpDoneRing}, {unix.XDP_TX_RING, xdpTxRing}} {
		if err := unix.SetsockoptInt(x.fd, unix.SOL_XDP, o.option, o.n); err != nil {
			return fmt.Errorf("ring of %d for an AF_XDP socket: %w", o.n, err)
		}
	}
	_ = unix.SetsockoptInt(x.fd, unix.SOL_XDP, unix.XDP_MAX_TX_SKB_BUDGET, xdpTxBudget) // kernels before 6.17 do not know it
	var at unix.XDPMmapOffsets
	n := uint32(unsafe.Sizeof(at))
	if _, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(x.fd), unix.SOL_XDP, unix.XDP_MMAP_OFFSETS, uintptr(unsafe.Pointer(&at)), uintptr(unsafe.Pointer(&n)), 0); e != 0 {
		return fmt.Errorf("places in the rings of an AF_XDP socket: %w", e)
	}
	if n != uint32(unsafe.Sizeof(at)) {
		return fmt.Errorf("places in the rings of an AF_XDP socket have %d bytes: the kernel is too old", n)
	}
	if err := x.mapRing(0, &x.tx, at.Tx, unix.XDP_PGOFF_TX_RING, xdpTxRing*int(unsafe.Sizeof(unix.XDPDesc{}))); err != nil {
		return err
	}
	if err := x.mapRing(1, &x.cq, at.Cr, unix.XDP_UMEM_PGOFF_COMPLETION_RING, xdpDoneRing*8); err != nil {
		return err
	}
	x.split = split
	err := x.bind(ifindex, queue, unix.XDP_USE_SG)
	if err == unix.EINVAL {
		x.split = 0
		err = x.bind(ifindex, queue, 0)
	}
	if err != 0 {
		return fmt.Errorf("binding an AF_XDP socket to queue %d: %w", queue, err)
	}
	x.base, x.size = uintptr(reg.Addr), uintptr(reg.Len)
	return nil
}

func (x *XDPSender) mapRing(i int, r *xdpRing, at unix.XDPRingOffset, offset int64, entries int) (err error) {
	m, err := unix.Mmap(x.fd, offset, int(at.Desc)+entries, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return fmt.Errorf("mapping a ring of an AF_XDP socket: %w", err)
	}
	x.maps[i] = m
	r.producer, r.consumer, r.entries = (*uint32)(unsafe.Pointer(&m[at.Producer])), (*uint32)(unsafe.Pointer(&m[at.Consumer])), unsafe.Pointer(&m[at.Desc])
	return nil
}

func (x *XDPSender) bind(ifindex, queue int, flags uint16) unix.Errno {
	sa := unix.RawSockaddrXDP{Family: unix.AF_XDP, Flags: unix.XDP_COPY | unix.XDP_USE_NEED_WAKEUP | flags, Ifindex: uint32(ifindex), Queue_id: uint32(queue)}
	_, _, e := unix.Syscall(unix.SYS_BIND, uintptr(x.fd), uintptr(unsafe.Pointer(&sa)), unsafe.Sizeof(sa))
	return e
}

// Takes tells whether a frame can be sent: it lies wholly in the memory, and is not too long.
func (x *XDPSender) Takes(frame []byte) bool {
	at, n := uintptr(unsafe.Pointer(unsafe.SliceData(frame)))-x.base, uintptr(len(frame))
	return at < x.size && n <= x.size-at && n > 0 && (n <= xdpLinearMax || x.split > 0 && n <= uintptr(x.split+xdpMost*xdpChunk))
}

// Begin forgets the frames of the last Flush, which has taken all of them.
func (x *XDPSender) Begin() {
	x.n = 0
	atomic.StoreUint32(x.cq.consumer, atomic.LoadUint32(x.cq.producer)) // what became of them does not matter
}

// Add puts a frame for which Takes is true into the ring. At most XDPBatch fit until the next Begin.
func (x *XDPSender) Add(frame []byte) {
	at, n := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(frame)))-x.base), len(frame)
	if n > xdpLinearMax {
		x.put(at, x.split, unix.XDP_PKT_CONTD)
		at, n = at+uint64(x.split), n-x.split
		for n > xdpChunk {
			x.put(at, xdpChunk, unix.XDP_PKT_CONTD)
			at, n = at+xdpChunk, n-xdpChunk
		}
	}
	x.put(at, n, 0)
	x.ends[x.n] = x.head
	x.n++
}

func (x *XDPSender) put(at uint64, n int, options uint32) {
	d := (*unix.XDPDesc)(unsafe.Add(x.tx.entries, uintptr(x.head%xdpTxRing)*unsafe.Sizeof(unix.XDPDesc{})))
	d.Addr, d.Len, d.Options = at, uint32(n), options
	x.head++
}

// Flush has the kernel take the frames that were added, and returns how many of them it has. When that is not all, errno says why: EBUSY when it has dropped the next one,
// since the interface was too busy or the other end of a veth pair has a smaller MTU, and EAGAIN when it does not say. Then the rest is still in the ring, and leaves as soon as
// something makes the kernel look; the only way to take it back is Close.
//
// What it took it has copied: the memory may change. The call is not announced to the Go scheduler, see SendBatch.Send.
func (x *XDPSender) Flush() (taken int, errno unix.Errno) {
	atomic.StoreUint32(x.tx.producer, x.head)
	for taken < x.n {
		_, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(x.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
		if e == unix.EINTR {
			continue
		}
		before, c := taken, atomic.LoadUint32(x.tx.consumer)
		for taken < x.n && int32(x.ends[taken]-c) <= 0 {
			taken++
		}
		switch {
		case e == unix.EBUSY:
			// The one that it dropped counts as the last one taken, but for the first of a call: then the index does not show it yet (__xsk_generic_xmit).
			return max(before, taken-1), e //nolint:nilerr // it is the reason, not an error that is left out
		case taken == before && e == 0:
			return taken, unix.EAGAIN
		case taken == before: // it says EAGAIN also when there is more than it does in one call
			return taken, e
		}
	}
	return taken, 0
}

// Close frees the socket. What the kernel has not taken is never sent.
func (x *XDPSender) Close() error {
	for i, m := range x.maps {
		if m != nil {
			_ = unix.Munmap(m) // cannot fail for what Mmap gave
			x.maps[i] = nil
		}
	}
	if err := unix.Close(x.fd); err != nil {
		return fmt.Errorf("closing an AF_XDP socket: %w", err)
	}
	x.fd = -1
	return nil
}
