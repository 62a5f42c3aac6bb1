package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Reader reads from the page cache. It belongs to one goroutine; nothing allocates after it was made.
type Reader struct{ iov unix.Iovec }

// Pwrite is pwrite(2) of buf, which is not empty, with the result as a completion of io_uring has it: how many bytes, or a negative errno. It may
// wait, and the Go scheduler is told. It does not allocate.
func Pwrite(fd int, buf []byte, off int64) int32 {
	n, _, e := unix.Syscall6(unix.SYS_PWRITE64, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), uintptr(off), 0, 0)
	if e != 0 {
		return -int32(e)
	}
	return int32(n)
}

// Writer writes into the page cache. It belongs to one goroutine; nothing allocates after it was made.
type Writer struct{ iov unix.Iovec }

// Now writes buf, which is not empty, at off into the page cache as far as that needs no waiting: pwritev2(2) with RWF_NOWAIT, with the result as a
// completion of io_uring has it: how many bytes, which may be fewer than asked for, or a negative errno. EAGAIN: nothing without waiting. EOPNOTSUPP, and EINVAL by
// older kernels: this file cannot be written in that way.
func (w *Writer) Now(fd int, buf []byte, off int64) int32 {
	w.iov.Base = unsafe.SliceData(buf)
	w.iov.SetLen(len(buf))
	n, _, e := unix.RawSyscall6(unix.SYS_PWRITEV2, uintptr(fd), uintptr(unsafe.Pointer(&w.iov)), 1, uintptr(off), 0, unix.RWF_NOWAIT)
	w.iov.Base = nil
	if e != 0 {
		return -int32(e)
	}
	return int32(n)
}

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
