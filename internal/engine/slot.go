package engine

import (
	"fmt"

	"goaoe/aoe"
	"goaoe/internal/store"
	"goaoe/internal/sys"
	"goaoe/internal/target"
)

const (
	chunkSlots = 64         // slots are made in chunks of this many
	headSize   = 128        // bytes per slot for the saved request header and the reply's header
	reqHeader  = 36         // Ethernet, AoE and ATA headers of a request
	pageSize   = 4096       // I/O buffers start on a page, which any direct I/O accepts
	maxSlots   = 256 * 1024 // slots of one lane, at most
)

// slotState is where a request stands.
type slotState uint8

const (
	slotFree    slotState = iota
	slotWaiting           // an earlier request that overlaps it is not done
	slotReady             // may run; the export's queue length is used up
	slotStore             // on the store
	slotView              // a read without a copy: in the send queue, and still in order
	slotReply             // its reply is in the send queue; the order does not need it any more
)

// slot is one request for storage from its arrival to its reply. Its buffers lie outside the Go heap; the lane owns
// all of it, but for the time on the store (op and data belong to the executor) and in a send call.
type slot struct {
	op    store.Op
	state slotState
	write bool // changes the sectors of its range
	exp   *laneExport
	port  *lanePort
	io    target.IOSpec
	start uint64 // first sector
	end   uint64 // first sector behind
	time  int64  // arrival, Unix nanoseconds; 0 unknown

	req  []byte // the request's first 36 bytes
	head []byte // 64 bytes for the reply's header
	data []byte // payload, page aligned
	ring int    // generation of the arena that data is in

	blockers   int   // earlier requests not done that overlap it, one of the two being a write
	prev, next *slot // arrival order of the export
	nextReady  *slot // queue of what may run
	nextFree   *slot
	part       int // discard: next range
}

// source returns the request's source address.
func (s *slot) source() aoe.MAC { return aoe.MAC(s.req[6:12]) }

// pool hands out slots. The most recently used comes first, so that memory that was never needed is never touched.
type pool struct {
	slots  []*slot
	free   *slot
	stride int // bytes of payload buffer per slot; a multiple of pageSize
	gen    int
	arenas []arena
}

// arena is the memory of one chunk in one generation.
type arena struct {
	mem   []byte
	gen   int
	first int // index of the chunk's first slot
	users int // slots whose data lies here
	head  bool
}

// grow makes sure that there are at least n slots.
func (p *pool) grow(n int) error {
	if n > maxSlots {
		return fmt.Errorf("%d requests in flight are more than one lane can hold (%d): lower queue-length or use more lanes", n, maxSlots)
	}
	for len(p.slots) < n {
		heads, err := sys.Alloc(chunkSlots * headSize)
		if err != nil {
			return fmt.Errorf("memory for request headers: %w", err)
		}
		first := len(p.slots)
		for i := 0; i < chunkSlots; i++ {
			h := heads[i*headSize : (i+1)*headSize : (i+1)*headSize]
			s := &slot{req: h[:reqHeader:64], head: h[64:128:128]}
			s.op.User = uint32(first + i)
			p.slots = append(p.slots, s)
		}
		p.arenas = append(p.arenas, arena{mem: heads, first: first, head: true})
		if err := p.mapChunk(first); err != nil {
			return err
		}
		for i := chunkSlots - 1; i >= 0; i-- {
			p.put(p.slots[first+i])
		}
	}
	return nil
}

// mapChunk gives the slots of a chunk that are free buffers of the current stride; the others follow when they become free.
func (p *pool) mapChunk(first int) error {
	if p.stride == 0 {
		return nil
	}
	mem, err := sys.Alloc(chunkSlots * p.stride)
	if err != nil {
		return fmt.Errorf("memory for I/O buffers: %w", err)
	}
	p.arenas = append(p.arenas, arena{mem: mem, gen: p.gen, first: first})
	for i := first; i < first+chunkSlots; i++ {
		if s := p.slots[i]; s.state == slotFree {
			p.attach(s)
		}
	}
	return nil
}

// setPayload makes the buffers hold at least n bytes from now on. Slots in use keep their old buffer until they are free.
func (p *pool) setPayload(n int) error {
	stride := (n + pageSize - 1) / pageSize * pageSize
	if stride <= p.stride {
		return nil
	}
	p.stride = stride
	p.gen++
	for first := 0; first < len(p.slots); first += chunkSlots {
		if err := p.mapChunk(first); err != nil {
			return err
		}
	}
	p.sweep()
	return nil
}

// attach gives a slot its buffer of the current generation.
func (p *pool) attach(s *slot) {
	for i := range p.arenas {
		a := &p.arenas[i]
		if a.head {
			continue
		}
		n := int(s.op.User) - a.first
		if n < 0 || n >= chunkSlots {
			continue
		}
		switch a.gen {
		case p.gen:
			a.users++
			s.data = a.mem[n*p.stride : (n+1)*p.stride : (n+1)*p.stride]
		case s.ring:
			a.users--
		}
	}
	s.ring = p.gen
}

// sweep frees buffers of older generations that nobody uses.
func (p *pool) sweep() {
	kept := p.arenas[:0]
	for _, a := range p.arenas {
		if !a.head && a.gen != p.gen && a.users <= 0 {
			_ = sys.Free(a.mem) // cannot fail for memory that Alloc gave
			continue
		}
		kept = append(kept, a)
	}
	p.arenas = kept
}

// get returns a free slot, or nil.
func (p *pool) get() *slot {
	s := p.free
	if s == nil {
		return nil
	}
	p.free = s.nextFree
	s.nextFree = nil
	return s
}

// put takes a slot back.
func (p *pool) put(s *slot) {
	s.state = slotFree
	s.exp, s.port, s.part = nil, nil, 0
	if s.ring != p.gen {
		p.attach(s)
		p.sweep()
	}
	s.nextFree = p.free
	p.free = s
}

// close frees all memory. No slot may be in use.
func (p *pool) close() {
	for _, a := range p.arenas {
		_ = sys.Free(a.mem)
	}
	*p = pool{}
}
