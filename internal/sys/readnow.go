package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Reader reads from the page cache. It belongs to one goroutine; nothing allocates after it was made.
type Reader struct{ iov unix.Iovec }

// Now reads into buf, which is not empty, at off what is in the page cache, and does not wait for a disk: preadv2(2) with RWF_NOWAIT. EAGAIN means that nothing of
// it is there, fewer bytes than asked for that the rest is not (or that the file ends). EOPNOTSUPP: this file cannot be read in that way.
func (r *Reader) Now(fd int, buf []byte, off int64) (int, unix.Errno) {
	r.iov.Base = unsafe.SliceData(buf)
	r.iov.SetLen(len(buf))
	n, _, e := unix.RawSyscall6(unix.SYS_PREADV2, uintptr(fd), uintptr(unsafe.Pointer(&r.iov)), 1, uintptr(off), 0, unix.RWF_NOWAIT)
	r.iov.Base = nil
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}
