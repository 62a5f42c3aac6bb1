package sys

import "unsafe"

// Addr returns the address of b's first byte, to check its alignment; 0 for an empty slice.
func Addr(b []byte) uintptr {
	if len(b) == 0 {
		return 0
	}
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))
}
