package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Vector is a list of pieces of memory that one system call sends to, or fills from, a stream socket or a file. It belongs to one goroutine, and
// holds on to the pieces until the next Reset or Cut. Nothing allocates after NewVector.
type Vector struct {
	iov []unix.Iovec
	msg unix.Msghdr
}

// NewVector makes a vector for up to n pieces, 1 to 1024 (IOV_MAX).
func NewVector(n int) *Vector { return &Vector{iov: make([]unix.Iovec, 0, n)} }

// Reset empties the vector.
func (v *Vector) Reset() {
	clear(v.iov)
	v.iov = v.iov[:0]
}

// Add appends a piece; an empty one is left out. It returns false when the vector is full.
func (v *Vector) Add(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if len(v.iov) == cap(v.iov) {
		return false
	}
	v.iov = v.iov[:len(v.iov)+1]
	i := &v.iov[len(v.iov)-1]
	i.Base = &b[0]
	i.SetLen(len(b))
	return true
}

// Cut forgets all pieces from n on, 0 to Len.
func (v *Vector) Cut(n int) {
	clear(v.iov[n:])
	v.iov = v.iov[:n]
}

// Room is how many pieces can be added.
func (v *Vector) Room() int { return cap(v.iov) - len(v.iov) }

// Len is how many pieces there are.
func (v *Vector) Len() int { return len(v.iov) }

// Send sends as much as the socket takes without blocking, and returns how many bytes. It raises no SIGPIPE. EAGAIN: nothing now.
func (v *Vector) Send(fd int) (int, unix.Errno) {
	return v.call(unix.SYS_SENDMSG, fd, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// Recv fills the pieces with what has arrived, without blocking, and returns how many bytes; 0 means that the other end has
// ended the stream, EAGAIN that nothing has arrived.
func (v *Vector) Recv(fd int) (int, unix.Errno) {
	return v.call(unix.SYS_RECVMSG, fd, unix.MSG_DONTWAIT)
}

// Pwrite is pwritev(2) of the pieces from index from on, of which there is at least one, at off of the file fd, with the result as a completion of io_uring has it: how
// many bytes, or a negative errno. It may wait, and the Go scheduler is told; unless flags have RWF_NOWAIT, see Writer.Now.
func (v *Vector) Pwrite(fd, from int, off int64, flags uint32) int32 {
	list := v.iov[from:]
	call := unix.Syscall6
	if flags&unix.RWF_NOWAIT != 0 {
		call = unix.RawSyscall6
	}
	n, _, e := call(unix.SYS_PWRITEV2, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(list))), uintptr(len(list)), uintptr(off), uintptr(uint64(off)>>32), uintptr(flags))
	if e != 0 {
		return -int32(e)
	}
	return int32(n)
}

// Pread is preadv(2) into the pieces. See Pwrite.
func (v *Vector) Pread(fd, from int, off int64) int32 {
	list := v.iov[from:]
	n, _, e := unix.Syscall6(unix.SYS_PREADV2, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(list))), uintptr(len(list)), uintptr(off), uintptr(uint64(off)>>32), 0)
	if e != 0 {
		return -int32(e)
	}
	return int32(n)
}

func (v *Vector) call(trap uintptr, fd, flags int) (int, unix.Errno) {
	v.msg = unix.Msghdr{Iov: unsafe.SliceData(v.iov)}
	v.msg.SetIovlen(len(v.iov))
	for {
		n, _, errno := unix.Syscall(trap, uintptr(fd), uintptr(unsafe.Pointer(&v.msg)), uintptr(flags))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		return int(n), 0
	}
}
