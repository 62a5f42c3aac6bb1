package sys

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Where the kernel puts a frame inside a slot of a TPACKET_V2 ring (tpacket_rcv in net/packet/af_packet.c): the network
// header starts at the slot header, 52 bytes, plus 16 for a link header, rounded up to 16; the Ethernet header ends there.
const (
	packetNet = 80
	// PacketHead is how many bytes of a slot come before the frame's Ethernet header when nothing is reserved.
	PacketHead = packetNet - 14
	// packetBlock is the unit of the kernel's allocation in bytes.
	packetBlock = 256 << 10
)

// PacketRing is the receive ring of a packet socket (PACKET_RX_RING, TPACKET_V2), which the kernel fills with frames and one
// goroutine empties in order: Next takes frames, Release gives the oldest taken slots back. Nothing here allocates
// or calls the kernel but NewPacketRing and Close.
type PacketRing struct {
	mem      []byte
	slot     int // bytes from one slot to the next inside a block
	block    int // bytes of a block
	perBlock int
	frames   int
	next     cursor // the slot that the kernel fills next, as far as Next has seen
	last     cursor // the oldest slot that is taken and not released
	taken    int
}

// cursor walks over the slots: slots do not straddle blocks, so a block may have an unused end.
type cursor struct {
	off   int // of the slot in the ring's memory
	base  int // of its block
	index int // in its block
}

// PacketSlot is one received frame.
type PacketSlot struct {
	Data []byte // a view into the ring, from the Ethernet header on; what was captured
	Len  int    // how long the frame was on the wire, without FCS; more than len(Data) when the slot was too short
	Time int64  // nanoseconds since the Unix epoch
	TCI  uint16 // VLAN tag that the kernel took off, valid with Tagged
	// Tagged tells that there was one.
	Tagged bool
}

// NewPacketRing gives the packet socket fd a receive ring of at least frames slots (at least 2), each for a frame of up to
// size bytes (Ethernet header included). reserve bytes are kept free in front of each frame, so that something inside
// it meets an alignment: the frame starts at PacketHead + reserve in its slot, and slots start at multiples of align
// (a power of two from 16 to 4096). Call it before the socket is bound.
func NewPacketRing(fd, frames, size, reserve, align int) (*PacketRing, error) {
	slot := (PacketHead + reserve + size + align - 1) &^ (align - 1)
	r := &PacketRing{slot: slot, block: packetBlock}
	for r.block < slot {
		r.block *= 2
	}
	r.perBlock = r.block / slot
	blocks := (max(frames, 2) + r.perBlock - 1) / r.perBlock
	r.frames = blocks * r.perBlock
	fail := func(what string, err error) (*PacketRing, error) {
		return nil, fmt.Errorf("receive ring of %d frames of %d bytes: %s: %w", r.frames, size, what, err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return fail("PACKET_VERSION", err)
	}
	if reserve > 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_RESERVE, reserve); err != nil {
			return fail("PACKET_RESERVE", err)
		}
	}
	req := unix.TpacketReq{Block_size: uint32(r.block), Block_nr: uint32(blocks), Frame_size: uint32(slot), Frame_nr: uint32(r.frames)}
	if err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return fail("PACKET_RX_RING", err)
	}
	mem, err := unix.Mmap(fd, 0, blocks*r.block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fail("mapping it", err)
	}
	r.mem = mem
	return r, nil
}

// Frames returns how many slots the ring has.
func (r *PacketRing) Frames() int { return r.frames }

// header returns the header of the slot at off. Slots are aligned to at least 16 bytes.
func (r *PacketRing) header(off int) *unix.Tpacket2Hdr {
	return (*unix.Tpacket2Hdr)(unsafe.Pointer(&r.mem[off]))
}

func (r *PacketRing) advance(c *cursor) {
	if c.index++; c.index < r.perBlock {
		c.off += r.slot
		return
	}
	c.index = 0
	if c.base += r.block; c.base == len(r.mem) {
		c.base = 0
	}
	c.off = c.base
}

// Ready tells whether Next would return a frame.
func (r *PacketRing) Ready() bool {
	return r.taken < r.frames && atomic.LoadUint32(&r.header(r.next.off).Status)&unix.TP_STATUS_USER != 0
}

// Next fills s with the next frame that waits and tells whether there was one. Its memory is valid until it is released.
func (r *PacketRing) Next(s *PacketSlot) bool {
	if r.taken == r.frames {
		return false // a slot that is still taken looks like one that the kernel filled
	}
	h := r.header(r.next.off)
	// The kernel writes the status last. The atomic load keeps the reads below behind it.
	status := atomic.LoadUint32(&h.Status)
	if status&unix.TP_STATUS_USER == 0 {
		return false
	}
	start, n := r.next.off+int(h.Mac), int(h.Snaplen)
	if end := r.next.off + r.slot; start > end || n > end-start {
		start, n = r.next.off, 0 // no kernel does this; never leave the slot
	}
	s.Data = r.mem[start : start+n : start+n]
	s.Len = int(h.Len)
	s.Time = int64(h.Sec)*1e9 + int64(h.Nsec)
	s.Tagged = status&unix.TP_STATUS_VLAN_VALID != 0
	s.TCI = h.Vlan_tci
	r.advance(&r.next)
	if r.taken++; r.taken > 1 { // where two wait, more may
		r.ahead()
	}
	return true
}

// ringAhead is how many slots further on a header is fetched.
const ringAhead = 4

// ahead fetches the header of a slot that comes soon, which another processor wrote.
func (r *PacketRing) ahead() {
	if off := r.next.off + ringAhead*r.slot; off < len(r.mem) { // in the last block it may be another one, which costs nothing
		Prefetch(&r.mem[off], 1)
	}
}

// PacketOrigin is what a ring tells of a frame besides PacketSlot; who only receives need not ask.
type PacketOrigin struct {
	Type uint8  // unix.PACKET_HOST, PACKET_OUTGOING, ...
	TPID uint16 // EtherType of the VLAN tag that the kernel took off, valid with PacketSlot.Tagged; 0 where the kernel does not tell
}

// NextFrom is Next with the frame's origin.
func (r *PacketRing) NextFrom(s *PacketSlot, o *PacketOrigin) bool {
	off := r.next.off
	if !r.Next(s) {
		return false
	}
	h := r.header(off)
	*o = PacketOrigin{}
	if h.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		o.TPID = h.Vlan_tpid
	}
	// A struct sockaddr_ll follows the header; sll_pkttype is its 11th byte.
	o.Type = r.mem[off+unix.SizeofTpacket2Hdr+10]
	return true
}

// Release gives all taken slots back to the kernel. What Next returned before must not be used any more.
func (r *PacketRing) Release() {
	for ; r.taken > 0; r.taken-- {
		storeRelease(&r.header(r.last.off).Status, unix.TP_STATUS_KERNEL) // behind every read of the frame
		r.advance(&r.last)
	}
}

// Close unmaps the ring. The socket keeps it until it is closed too.
func (r *PacketRing) Close() error {
	if r.mem == nil {
		return nil
	}
	mem := r.mem
	r.mem, r.taken, r.frames = nil, 0, 0
	if err := unix.Munmap(mem); err != nil {
		return fmt.Errorf("unmapping a receive ring: %w", err)
	}
	return nil
}

// Alignment returns the largest power of two, up to 4096, that divides the address of b's first byte.
func Alignment(b []byte) int {
	addr := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return int(min(addr&-addr, 4096))
}
