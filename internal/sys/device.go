package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// DeviceSize returns the size of the block device fd in bytes (BLKGETSIZE64 of include/uapi/linux/fs.h).
func DeviceSize(fd int) (int64, error) {
	var n uint64
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&n)))
	if e != 0 {
		return 0, e
	}
	return int64(n), nil
}

// DeviceDiscard tells the block device fd that n bytes at off need not be kept (BLKDISCARD). It blocks until the device did it.
func DeviceDiscard(fd int, off, n int64) unix.Errno {
	r := [2]uint64{uint64(off), uint64(n)}
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKDISCARD, uintptr(unsafe.Pointer(&r)))
	return e
}

// WriteSync is pwritev2 of b at off with flags RWF_*. It may block. It returns the number of bytes written.
func WriteSync(fd int, b []byte, off int64, flags int) (int, unix.Errno) {
	iov := unix.Iovec{Base: unsafe.SliceData(b)}
	iov.SetLen(len(b))
	n, _, e := unix.Syscall6(unix.SYS_PWRITEV2, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, uintptr(off), uintptr(uint64(off)>>32), uintptr(flags))
	return int(n), e
}
