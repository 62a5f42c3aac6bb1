package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// SendBatch holds the arrays that sendmmsg(2) reads, so that sending allocates nothing. It belongs to one goroutine.
type SendBatch struct {
	hdrs []unix.Mmsghdr
	iovs []unix.Iovec // two for each message
}

// NewSendBatch returns a batch for up to n messages.
func NewSendBatch(n int) *SendBatch {
	b := &SendBatch{hdrs: make([]unix.Mmsghdr, n), iovs: make([]unix.Iovec, 2*n)}
	for i := range b.hdrs {
		b.hdrs[i].Hdr.Iov = &b.iovs[2*i]
	}
	return b
}

// Cap returns how many messages fit.
func (b *SendBatch) Cap() int { return len(b.hdrs) }

// Set makes message i the bytes of head followed by those of body, which may be empty. Both must stay as they are until Send returned.
func (b *SendBatch) Set(i int, head, body []byte) {
	v := b.iovs[2*i : 2*i+2]
	v[0].Base = unsafe.SliceData(head)
	v[0].SetLen(len(head))
	n := 1
	if len(body) > 0 {
		v[1].Base = unsafe.SliceData(body)
		v[1].SetLen(len(body))
		n = 2
	}
	b.hdrs[i].Hdr.SetIovlen(n)
}

// Send sends the messages from index from up to, not including, to on the socket fd without blocking. It returns
// how many went out; when that is none, errno says why the first one did not. An interrupted call is repeated.
func (b *SendBatch) Send(fd, from, to int) (sent int, errno unix.Errno) {
	for {
		n, _, e := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.hdrs[from])), uintptr(to-from), unix.MSG_DONTWAIT, 0, 0)
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
	for i := range 2 * n {
		b.iovs[i].Base = nil
	}
}
