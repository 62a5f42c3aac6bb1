package sys

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// PageSize is the size of the machine's memory pages in bytes.
var PageSize = unix.Getpagesize()

// Alloc returns n bytes of zeroed memory outside of the Go heap, aligned to a page, so that every alignment that direct
// I/O and packet rings want is met. The garbage collector neither moves, scans nor frees it: give it back with Free. n must
// be at least 1; the slice is exactly n bytes long, its capacity is n rounded up to whole pages.
func Alloc(n int) ([]byte, error) { return alloc(n, unix.MAP_POPULATE) }

// AllocLater is Alloc for memory that may not be needed for long: its pages are in RAM only once they were used. The kernel reserves them
// all the same, where it is told not to promise more than it has.
func AllocLater(n int) ([]byte, error) { return alloc(n, 0) }

func alloc(n, flags int) ([]byte, error) {
	if n <= 0 {
		return nil, fmt.Errorf("allocating %d bytes outside of the heap: the size must be positive", n)
	}
	size := (n + PageSize - 1) &^ (PageSize - 1)
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|flags)
	if err != nil {
		return nil, fmt.Errorf("allocating %d bytes outside of the heap: %w", n, err)
	}
	return b[:n], nil
}

// Free gives memory of Alloc back to the kernel. Pass the slice as Alloc returned it (or a prefix of it); nothing may use it
// afterwards. Free of nil does nothing.
func Free(b []byte) error {
	if cap(b) == 0 {
		return nil
	}
	if err := unix.Munmap(b[:cap(b)]); err != nil {
		return fmt.Errorf("freeing %d bytes outside of the heap: %w", cap(b), err)
	}
	return nil
}

// AllocSparse is Alloc for large areas that may stay mostly unused: a page costs memory only once it is written, and the
// kernel does not reserve memory for the others in advance. Free it with Free.
func AllocSparse(n int) ([]byte, error) {
	if n <= 0 {
		return nil, fmt.Errorf("reserving %d bytes outside of the heap: the size must be positive", n)
	}
	size := (n + PageSize - 1) &^ (PageSize - 1)
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserving %d bytes outside of the heap: %w", n, err)
	}
	return b[:n], nil
}
