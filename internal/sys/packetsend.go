package sys

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SendBatch holds the arrays that sendmmsg(2) reads, so that sending allocates nothing. It belongs to one goroutine.
type SendBatch struct {
	hdrs []unix.Mmsghdr
	iovs []unix.Iovec // for each message two, and one before them for what is in vnet
	vnet []vnetHeader // for frames without room in front of them; nil without PACKET_VNET_HDR
	per  int          // iovs of a message
	// split is how much of a frame above linearMax stays in one piece.
	split int
}

// VnetLen is the size in bytes of the header that the kernel wants in front of each frame, and has room for in front of each that it receives, on a
// packet socket with PACKET_VNET_HDR: struct virtio_net_hdr (include/uapi/linux/virtio_net.h).
const VnetLen = 10

type vnetHeader [VnetLen]byte

// linearMax is up to which length a frame is sent in one piece. With what the kernel puts around it, it fits into 8 KiB, the largest piece of memory that
// comes from a cache of its own; for longer ones it would have to look for pages that lie side by side.
const linearMax = 7 << 10

// NewSendBatch returns a batch for up to n messages.
func NewSendBatch(n int) *SendBatch {
	return newSendBatch(n, 2)
}

func newSendBatch(n, per int) *SendBatch {
	b := &SendBatch{hdrs: make([]unix.Mmsghdr, n), iovs: make([]unix.Iovec, per*n), per: per}
	for i := range b.hdrs {
		b.hdrs[i].Hdr.Iov = &b.iovs[per*i]
	}
	return b
}

// NewLinearBatch returns a batch for up to n messages on a packet socket with PACKET_VNET_HDR. Without, the kernel keeps a frame of a page and more as 14
// bytes and a list of pages, with the rest of it 14 bytes off (packet_snd in net/packet/af_packet.c). The header tells it how much to keep in one piece: the whole
// frame, or where that is too long the first split bytes, so that what follows begins a page.
func NewLinearBatch(n, split int) *SendBatch {
	b := newSendBatch(n, 3)
	b.vnet = make([]vnetHeader, n)
	b.split = split
	return b
}

// VnetHeader returns the header for a frame of n bytes that is sent by other means than a batch of NewLinearBatch.
func VnetHeader(n, split int) (h [VnetLen]byte) {
	if n > linearMax {
		n = split
	}
	binary.NativeEndian.PutUint16(h[2:4], uint16(n)) // hdr_len; flags and gso_type stay 0: nothing is to be done to the frame
	return h
}

// Cap returns how many messages fit.
func (b *SendBatch) Cap() int { return len(b.hdrs) }

// Set makes message i the bytes of head followed by those of body, which may be empty. Both must stay as they are until Send returned. room: the VnetLen bytes
// in front of head belong to it, and are written to, so that the message is one piece less.
func (b *SendBatch) Set(i int, head, body []byte, room bool) {
	v := b.iovs[b.per*i : b.per*(i+1)]
	n, start, size := 0, unsafe.SliceData(head), len(head)
	if b.vnet != nil {
		h := &b.vnet[i]
		if room {
			h = (*vnetHeader)(unsafe.Add(unsafe.Pointer(start), -VnetLen))
			start, size = &h[0], VnetLen+size
		} else {
			v[0].Base = &h[0]
			v[0].SetLen(VnetLen)
			n = 1
		}
		*h = VnetHeader(len(head)+len(body), b.split)
	}
	v[n].Base = start
	v[n].SetLen(size)
	n++
	if len(body) > 0 {
		v[n].Base = unsafe.SliceData(body)
		v[n].SetLen(len(body))
		n++
	}
	b.hdrs[i].Hdr.SetIovlen(n)
}

// Send sends the messages from index from up to, not including, to on the socket fd without blocking. It returns
// how many went out; when that is none, errno says why the first one did not. An interrupted call is repeated.
//
// The call is not announced to the Go scheduler, as it does not block. Otherwise the scheduler takes the processor away from a thread that it finds in the
// kernel each time that it did so 10 ms ago, and then looks every 20 us whether it can do so again (runtime.retake of Go 1.26): a tenth of the
// throughput when pinned to one CPU.
func (b *SendBatch) Send(fd, from, to int) (sent int, errno unix.Errno) {
	if h := &b.hdrs[from].Hdr; to-from == 1 && h.Iovlen == 1 { // one message in one piece: sendto(2) has less to read
		for {
			_, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(h.Iov.Base)), uintptr(h.Iov.Len), unix.MSG_DONTWAIT, 0, 0)
			switch e {
			case 0:
				return 1, 0
			case unix.EINTR:
				continue
			}
			return 0, e
		}
	}
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.hdrs[from])), uintptr(to-from), unix.MSG_DONTWAIT, 0, 0)
		switch e {
		case 0:
			return int(n), 0
		case unix.EINTR:
			continue
		}
		return 0, e
	}
}

// Clear forgets the memory of the first n messages.
func (b *SendBatch) Clear(n int) {
	for i := range b.iovs[:n*b.per] {
		b.iovs[i].Base = nil
	}
}
