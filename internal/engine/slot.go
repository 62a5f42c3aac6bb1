package engine

import (
	"fmt"

	"goaoe/internal/stats"
	"goaoe/internal/store"
	"goaoe/internal/sys"
	"goaoe/internal/target"
)

const (
	chunkSlots = 64   // slots are made in chunks of this many
	headSize   = 64   // bytes per slot for the saved request header
	reqHeader  = 36   // Ethernet, AoE and ATA headers of a request
	pageSize   = 4096 // I/O buffers take whole pages
	// dataOffset is where the data begins in its pages. The kernel copies a reply's data to 22 bytes behind the start of a page. Were
	// the source at the start of one, too, every load of that copy would look, by the 12 address bits that processors compare
	// first, as if it depended on the store just before it, and the copy would take several times as long. The header lies in front of it, and in front of that
	// link.HeadRoom.
	dataOffset = 512
	// wholeOffset is where it begins for stores that want whole pages (store.Info.WholePages): the header takes the end of the page in front.
	wholeOffset = pageSize
	maxSlots    = 256 * 1024 // slots of one lane, at most
	// readyChunks have their memory in RAM from the start. That of the rest comes when so many requests are there: a daemon of a hundred idle exports
	// would hold tens of megabytes for nothing.
	readyChunks = 1
	// surplusSlots is how many requests all exports of a lane may hold together beyond their queue lengths.
	surplusSlots = 2048
)

// slotState is where a request stands.
type slotState uint8

const (
	slotFree    slotState = iota
	slotWaiting           // an earlier request that overlaps it is not done
	slotLimited           // may run; its initiator has used up its limits
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
	at    int64  // arrival on the clock of sys.Nanotime
	ini   *stats.Initiator
	// serial is a number, never 0, that changes each time that the slot becomes free.
	serial uint32

	req    []byte // the request's first 36 bytes
	buf    []byte // the reply: its header and, right behind that, data
	data   []byte // payload: 512 byte aligned, as direct I/O wants it
	lent   uint64 // with op.Spare: the lane's turn until whose flush the data lies in the receive ring
	gen    int    // generation of the pool's buffers that data belongs to
	dataAt uint16 // where in them data begins: dataOffset or wholeOffset

	blockers   int   // earlier requests not done that overlap it, one of the two being a write
	prev, next *slot // arrival order of the export
	nextReady  *slot // queue of what may run, or of what waits for the initiator's limits
	source     uint8 // of the initiator, see fair
	counted    bool  // among what the initiator holds
	passed     bool  // counted against the initiator's limits
	nextFree   *slot
	part       int // discard: next range
}

// waits tells whether the request has not begun.
func (s *slot) waits() bool {
	return s.state == slotWaiting || s.state == slotLimited || s.state == slotReady
}

// pool hands out slots. The most recently used comes first, so that memory that was never needed is never touched.
//
// How many there are: each export can always hold as many requests as its queue is long, whatever the others do; what it
// may hold beyond that comes out of a surplus that all share. So the pool has the sum of all queue lengths, and
// up to surplusSlots more.
type pool struct {
	slots    []*slot
	chunks   []chunk
	free     *slot
	nfree    int
	reserved int    // slots that must stay free for exports that hold fewer than their queue length
	payload  int    // bytes of payload that a slot has room for, at least
	lead     int    // dataOffset, or wholeOffset when there is an export that wants it
	stride   int    // bytes of buffer per slot, for lead and payload; a multiple of pageSize
	gen      int    // counts changes of stride
	moving   func() // called before memory of slots is given back while slots go on being used; may be nil
}

// chunk is the memory of chunkSlots slots.
type chunk struct {
	heads []byte
	mem   []byte   // buffers of the current generation
	old   []oldMem // buffers of earlier generations that are still in use
}

type oldMem struct {
	mem   []byte
	gen   int
	users int
}

// grow makes sure that there are at least n slots.
func (p *pool) grow(n int) error {
	if n > maxSlots {
		return fmt.Errorf("%d requests in flight are more than one lane can hold (%d): lower queue-length or use more lanes", n, maxSlots)
	}
	for len(p.slots) < n {
		heads, err := buffers(len(p.chunks), headSize)
		if err != nil {
			return fmt.Errorf("memory for request headers: %w", err)
		}
		c := chunk{heads: heads}
		if p.stride > 0 {
			if c.mem, err = buffers(len(p.chunks), p.stride); err != nil {
				_ = sys.Free(heads) // cannot fail for memory that Alloc gave
				return fmt.Errorf("memory for I/O buffers: %w", err)
			}
		}
		first := len(p.slots)
		p.chunks = append(p.chunks, c)
		for i := 0; i < chunkSlots; i++ {
			h := heads[i*headSize : (i+1)*headSize : (i+1)*headSize]
			s := &slot{req: h[:reqHeader:headSize], serial: 1}
			s.op.User = uint32(first + i)
			p.slots = append(p.slots, s)
			p.attach(s, dataOffset)
		}
		last := &p.free // behind those that are there, so that what is in RAM from the start is used first
		// The last one that was made is most often still at the end of the list.
		if first > 0 && p.slots[first-1].state == slotFree && p.slots[first-1].nextFree == nil {
			last = &p.slots[first-1].nextFree
		}
		for *last != nil {
			last = &(*last).nextFree
		}
		for _, s := range p.slots[first:] {
			*last, last = s, &s.nextFree
			p.nfree++
		}
	}
	return nil
}

// buffers makes memory for the slots of chunk n, so many bytes each.
func buffers(n, stride int) ([]byte, error) {
	if n < readyChunks {
		return sys.Alloc(chunkSlots * stride)
	}
	return sys.AllocLater(chunkSlots * stride)
}

// setPayload makes the buffers hold at least n bytes from now on. Slots in use keep their old buffer until they are free.
func (p *pool) setPayload(n int) error { return p.resize(max(n, p.payload), max(p.lead, dataOffset)) }

// setWhole makes room for data that begins a page.
func (p *pool) setWhole() error { return p.resize(p.payload, wholeOffset) }

func (p *pool) resize(payload, lead int) error {
	stride := 0 // of no use before the first port tells how much a frame carries
	if payload > 0 {
		stride = (payload + lead + pageSize - 1) / pageSize * pageSize
	}
	if stride <= p.stride {
		p.payload, p.lead = payload, lead
		return nil
	}
	fresh := make([][]byte, len(p.chunks))
	for i := range fresh {
		var err error
		if fresh[i], err = buffers(i, stride); err != nil {
			for _, m := range fresh[:i] {
				_ = sys.Free(m)
			}
			return fmt.Errorf("memory for I/O buffers of %d bytes: %w", stride, err)
		}
	}
	if p.moving != nil {
		p.moving()
	}
	for i := range p.chunks {
		c := &p.chunks[i]
		users := 0
		for _, s := range p.slots[i*chunkSlots : (i+1)*chunkSlots] {
			if s.state != slotFree && s.gen == p.gen {
				users++
			}
		}
		if users > 0 {
			c.old = append(c.old, oldMem{c.mem, p.gen, users})
		} else if c.mem != nil {
			_ = sys.Free(c.mem)
		}
		c.mem = fresh[i]
	}
	p.payload, p.lead, p.stride = payload, lead, stride
	p.gen++
	for _, s := range p.slots {
		if s.state == slotFree {
			p.attach(s, dataOffset)
		}
	}
	return nil
}

// attach gives a slot its buffer of the current generation, in which its data begins at the offset at.
func (p *pool) attach(s *slot, at uint16) {
	s.gen, s.dataAt = p.gen, at
	if p.stride > 0 {
		n := int(s.op.User) % chunkSlots
		s.buf = p.chunks[s.op.User/chunkSlots].mem[n*p.stride+int(at)-reqHeader : (n+1)*p.stride : (n+1)*p.stride]
		s.data = s.buf[reqHeader:]
	}
}

// detach lets go of a slot's buffer of an earlier generation.
func (p *pool) detach(s *slot) {
	c := &p.chunks[s.op.User/chunkSlots]
	for i := range c.old {
		o := &c.old[i]
		if o.gen != s.gen {
			continue
		}
		if o.users--; o.users == 0 {
			_ = sys.Free(o.mem)
			c.old = append(c.old[:i:i], c.old[i+1:]...)
		}
		return
	}
}

// take returns a slot for export x, or nil when it has its share and nothing is to spare.
func (p *pool) take(x *laneExport) *slot {
	if x.used >= x.queue && (x.used >= x.backlog || p.nfree <= p.reserved) || p.free == nil {
		return nil
	}
	s := p.free
	p.free = s.nextFree
	s.nextFree = nil
	p.nfree--
	if x.used < x.queue {
		p.reserved--
	}
	x.used++
	s.exp = x
	if s.dataAt != x.dataAt {
		p.attach(s, x.dataAt)
	}
	return s
}

// put takes a slot back.
func (p *pool) put(s *slot) {
	x := s.exp
	x.fair.gave(s)
	if x.used--; x.used < x.queue {
		p.reserved++
	}
	s.state = slotFree
	if s.serial++; s.serial == 0 {
		s.serial = 1
	}
	if s.ini != nil {
		s.ini.InFlight.Dec()
	}
	s.exp, s.port, s.ini, s.part, s.passed = nil, nil, nil, 0, false
	if s.gen != p.gen {
		p.detach(s)
		p.attach(s, dataOffset)
	}
	s.nextFree = p.free
	p.free = s
	p.nfree++
}

// close frees all memory. No slot may be in use.
func (p *pool) close() {
	for _, c := range p.chunks {
		_ = sys.Free(c.heads)
		if c.mem != nil {
			_ = sys.Free(c.mem)
		}
		for _, o := range c.old {
			_ = sys.Free(o.mem)
		}
	}
	*p = pool{}
}
