package sys

import "unsafe"

// Prefetch tells the processor that the cache lines from p on will be needed soon: so many of 64 bytes, at least one. It reads nothing, waits for nothing, and may be
// given any address, nil as well. Where the processor is none of those that goaoe knows this does nothing.
//
// Several requests that were prefetched come out of memory at the same time; without, each is waited for when the program gets there.
func Prefetch[T any](p *T, lines int) { prefetch(unsafe.Pointer(p), lines) }

// PrefetchValue is Prefetch of what an interface holds a pointer to.
func PrefetchValue[T any](v T, lines int) {
	prefetch((*[2]unsafe.Pointer)(unsafe.Pointer(&v))[1], lines)
}
