//go:build amd64 || arm64

package sys

// storeRelease stores v where p points, behind everything that was read and written before. An atomic store of Go's is also in front of what follows: on amd64 it
// waits until the line belongs to this processor, which is long when another one has written it last, as with a ring that the kernel fills.
//
//go:noescape
func storeRelease(p *uint32, v uint32)
