package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Addr returns the address of b's first byte, to check its alignment; 0 for an empty slice.
func Addr(b []byte) uintptr {
	if len(b) == 0 {
		return 0
	}
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))
}

// Mincore fills vec, one byte a page, with whether the pages of b (page-aligned memory of a file mapping) are in the page
// cache now: bit 0 is set when so. vec must hold len(b) in pages, rounded up. It neither blocks nor allocates nor reads b.
//
// mincore(2): the answer may be outdated at once, and for a file that the caller neither owns nor may write the kernel
// says "resident" always.
func Mincore(b, vec []byte) unix.Errno {
	if len(b) == 0 || len(vec)*PageSize < len(b) {
		return unix.EINVAL
	}
	_, _, e := unix.RawSyscall(unix.SYS_MINCORE, Addr(b), uintptr(len(b)), uintptr(unsafe.Pointer(unsafe.SliceData(vec))))
	return e
}
