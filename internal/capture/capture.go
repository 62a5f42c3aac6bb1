// Package capture listens: it shows the AoE frames that an interface receives and sends, whoever they are for, and knows
// nothing of what they mean. Frames come through a memory-mapped ring; a filter in the kernel keeps all others away.
package capture

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/sys"
)

// EtherTypes of VLAN tags: 802.1Q and 802.1ad.
const (
	tpidCustomer = 0x8100
	tpidService  = 0x88a8
)

const (
	// maxFrame is the longest frame that is kept whole whatever the interface's MTU says: jumbo frames from a neighbour with a larger one.
	maxFrame    = 9216 + 18
	defaultRing = 16 << 20
)

// ErrGone means that the interface was removed.
var ErrGone = errors.New("the interface is gone")

// Options are the settings of a Source.
type Options struct {
	Interface string // in the calling thread's network namespace
	Filter    Filter
	// Snap is how many bytes of each frame are kept; 0 means all of it.
	Snap int
	// RingBytes is the size of the ring in bytes; 0 means 16 MiB.
	RingBytes int
	// Promiscuous lets the interface take frames that are for other hosts, as long as the Source is open.
	Promiscuous bool
}

// Frame is one frame. Its slices are valid until the function that it was given to returns.
type Frame struct {
	Interface string
	Wire      []byte // from the Ethernet destination address on, as it was on the wire with its VLAN tag; cut off when Snap was shorter
	Plain     []byte // the same without the VLAN tag
	Length    int    // bytes on the wire, without FCS
	Time      int64  // when the kernel saw it, nanoseconds since the Unix epoch
	Sent      bool   // by this host
	Tagged    bool   // it had a VLAN tag
	VLAN      uint16 // its VLAN, valid with Tagged
}

// Source is one interface that is listened to. It belongs to one goroutine.
type Source struct {
	name     string
	index    int
	fd       int
	ring     *sys.PacketRing
	slot     sys.PacketSlot
	origin   sys.PacketOrigin
	wire     []byte // a frame with its tag put back
	plain    []byte // a frame with its tag taken out
	down     bool   // it was, when something was heard last
	waiting  bool   // slot holds a frame that was not handed on yet
	received uint64
	dropped  uint64
}

// Open begins to listen. Frames that come from now on are kept until they are read.
func Open(o Options) (s *Source, err error) {
	ifi, err := net.InterfaceByName(o.Interface)
	if err != nil {
		return nil, fmt.Errorf("interface %q does not exist here (see \"ip link\"): %w", o.Interface, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0) // protocol 0: nothing comes before bind
	if err != nil {
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			return nil, fmt.Errorf("interface %s: no permission for packet sockets, which need CAP_NET_RAW: run as root, or "+
				"\"setcap cap_net_raw+ep\" on the program: %w", o.Interface, err)
		}
		return nil, fmt.Errorf("interface %s: opening a packet socket: %w", o.Interface, err)
	}
	s = &Source{name: ifi.Name, index: ifi.Index, fd: fd}
	defer func() {
		if err != nil {
			_ = s.Close() // the first error is the one to report
			s, err = nil, fmt.Errorf("interface %s: %w", o.Interface, err)
		}
	}()
	if ifi.Flags&net.FlagLoopback == 0 && len(ifi.HardwareAddr) != aoe.MACLen {
		return s, errors.New("it is not an Ethernet interface, and carries no AoE")
	}
	keep := max(maxFrame, ifi.MTU+18)
	if o.Snap > 0 {
		keep = min(keep, o.Snap)
	}
	if err := s.filter(&o.Filter, keep); err != nil {
		return s, err
	}
	size := o.RingBytes
	if size <= 0 {
		size = defaultRing
	}
	if s.ring, err = sys.NewPacketRing(fd, size/(sys.PacketHead+keep), keep, 0, 16); err != nil {
		return s, err
	}
	if o.Promiscuous {
		mreq := unix.PacketMreq{Ifindex: int32(ifi.Index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq); err != nil {
			return s, fmt.Errorf("taking frames for other hosts: %w", err)
		}
	}
	// Only sockets for all protocols see what this host sends.
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifi.Index}); err != nil {
		return s, fmt.Errorf("binding the packet socket: %w", err)
	}
	return s, nil
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// filter attaches the program.
func (s *Source) filter(f *Filter, keep int) error {
	prog, err := f.program(uint32(keep))
	if err != nil {
		return err
	}
	raw, err := bpf.Assemble(prog)
	if err != nil {
		return fmt.Errorf("assembling the filter: %w", err)
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	fprog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if err := unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog); err != nil {
		return fmt.Errorf("attaching a filter of %d instructions: %w (fewer addresses may fit)", len(code), err)
	}
	return nil
}

// Name is the interface's.
func (s *Source) Name() string { return s.name }

// peek looks for the next frame and tells when it came.
func (s *Source) peek() (int64, bool) {
	if !s.waiting {
		s.waiting = s.ring.NextFrom(&s.slot, &s.origin)
	}
	return s.slot.Time, s.waiting
}

// take makes a Frame of the one that peek found. Slots are given back one by one, when the caller is done with the last.
func (s *Source) take() Frame {
	s.waiting = false
	p, o := &s.slot, &s.origin
	f := Frame{Interface: s.name, Wire: p.Data, Plain: p.Data, Length: p.Len, Time: p.Time, Sent: o.Type == unix.PACKET_OUTGOING}
	if len(p.Data) >= offType+vlanLen && isTag(p.Data[offType:]) {
		s.plain = append(append(s.plain[:0], p.Data[:offType]...), p.Data[offType+vlanLen:]...)
		f.Plain = s.plain
		f.Tagged, f.VLAN = true, uint16(p.Data[14])<<8&0xf00|uint16(p.Data[15])
	}
	if p.Tagged && len(p.Data) >= offType { // the kernel took the tag off: it is put back
		tpid := o.TPID
		if tpid == 0 {
			tpid = tpidCustomer
		}
		s.wire = append(s.wire[:0], p.Data[:offType]...)
		s.wire = append(s.wire, byte(tpid>>8), byte(tpid), byte(p.TCI>>8), byte(p.TCI))
		s.wire = append(s.wire, p.Data[offType:]...)
		f.Wire, f.Length = s.wire, p.Len+vlanLen
		f.Tagged, f.VLAN = true, p.TCI&0xfff
	}
	return f
}

func isTag(b []byte) bool {
	t := uint16(b[0])<<8 | uint16(b[1])
	return t == tpidCustomer || t == tpidService
}

// Counts returns how many frames passed the filter since Open, and how many of them were lost because the ring was full.
func (s *Source) Counts() (received, dropped uint64) {
	if st, err := unix.GetsockoptTpacketStats(s.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil { // reading clears it
		s.received += uint64(st.Packets)
		s.dropped += uint64(st.Drops)
	}
	return s.received, s.dropped
}

// check returns and clears the socket's error, which poll reported.
func (s *Source) check() error {
	code, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err != nil {
		return fmt.Errorf("interface %s: %w", s.name, err)
	}
	return nil
}

// gone tells whether the interface was removed. The socket has no number of it any more then.
func (s *Source) gone() bool {
	sa, err := unix.Getsockname(s.fd)
	if err != nil {
		return true
	}
	ll, ok := sa.(*unix.SockaddrLinklayer)
	return !ok || ll.Ifindex != s.index
}

// Close ends the listening.
func (s *Source) Close() error {
	var err error
	if s.ring != nil {
		err = s.ring.Close()
	}
	return errors.Join(err, unix.Close(s.fd))
}
