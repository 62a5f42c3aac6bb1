package nbd

import "math/bits"

// Bounds of the memory of one connection: a client that asks for more waits.
const (
	minClass  = 12 // 4 KiB
	maxClass  = 25 // MaxRequest
	maxMemory = 2 * MaxRequest
)

// pool is the buffers of one connection, by size: a power of two each. In steady state it allocates nothing.
type pool struct {
	free [maxClass - minClass + 1][][]byte
	held int // bytes in free
	used int // bytes given out
}

func classOf(n int) int { return max(bits.Len(uint(n-1)), minClass) - minClass }

// get returns a buffer of n bytes, 1 to MaxRequest, or nil when so much is in use that the caller must wait for a put. With nothing in use it
// never returns nil.
func (p *pool) get(n int) []byte {
	c := classOf(n)
	size := 1 << (c + minClass)
	if l := p.free[c]; len(l) > 0 {
		b := l[len(l)-1]
		p.free[c] = l[:len(l)-1]
		p.held -= size
		p.used += size
		return b[:n]
	}
	if p.used+size > maxMemory {
		return nil
	}
	for i := maxClass - minClass; i >= 0 && p.used+p.held+size > maxMemory; i-- { // the largest go first
		p.held -= len(p.free[i]) << (i + minClass)
		p.free[i] = nil
	}
	p.used += size
	return make([]byte, size)[:n]
}

// put gives a buffer of get back.
func (p *pool) put(b []byte) {
	c := classOf(cap(b))
	p.free[c] = append(p.free[c], b[:cap(b)])
	p.held += cap(b)
	p.used -= cap(b)
}
