package packet

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/privsep"
	"goaoe/internal/sys"
)

// maxLanes is a bound that no machine reaches.
const maxLanes = 64

// Open opens one link on the interface name of the calling thread's network namespace. Its errors say what to do.
func Open(name string, o Options) (*Link, error) {
	o.Lanes = 1
	all, err := open(name, o)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// OpenAll opens o.Lanes links on one interface, in lane order. Each AoE frame reaches exactly one of them: that of
// link.LaneOf its address. Frames that arrive before all of them are ready reach none, as if the interface had come up
// later. While the interface goes down or comes up the kernel takes the sockets out of the group and back in one
// by one, in lane order: in that moment a frame can reach another lane than its own, which has to cope.
func OpenAll(name string, o Options) ([]link.Link, error) {
	all, err := open(name, o)
	if err != nil {
		return nil, err
	}
	links := make([]link.Link, len(all))
	for i, l := range all {
		links[i] = l
	}
	return links, nil
}

func open(name string, o Options) (all []*Link, err error) {
	o.Lanes = max(o.Lanes, 1)
	if o.Lanes > maxLanes {
		return nil, fmt.Errorf("interface %s: %d lanes are too many: at most %d", name, o.Lanes, maxLanes)
	}
	if a := o.PayloadAlign; a < 0 || a > 4096 || a&(a-1) != 0 {
		return nil, fmt.Errorf("interface %s: payload alignment %d is not a power of two up to 4096", name, a)
	}
	defer func() {
		if err != nil {
			for _, l := range all {
				_ = l.Close() // the first error is the one to report
			}
			all = nil
		}
	}()
	info, err := inspect(name)
	if err != nil {
		return nil, err
	}
	for range o.Lanes {
		l, err := socket(info, o)
		if err != nil {
			return all, err
		}
		all = append(all, l)
	}
	if err := join(all); err != nil {
		return all, err
	}
	for _, l := range all {
		if err := l.SetFilter(o.Filter); err != nil {
			return all, err
		}
	}
	openXDP(all, o)
	return all, nil
}

// inspect finds the interface and refuses those that cannot carry AoE.
func inspect(name string) (link.Info, error) {
	var info link.Info
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return info, fmt.Errorf("interface %q does not exist here (see \"ip link\"): %w", name, err)
	}
	if ifi.Flags&net.FlagLoopback != 0 {
		return info, fmt.Errorf("interface %s is the loopback interface, whose frames have no sender to answer: use an Ethernet interface, or a veth pair for tests", name)
	}
	info = link.Info{Name: name, Index: ifi.Index, MTU: ifi.MTU}
	if len(ifi.HardwareAddr) != len(info.MAC) {
		return info, notEthernet(name)
	}
	copy(info.MAC[:], ifi.HardwareAddr)
	if info.MAC == (aoe.MAC{}) || info.MAC.IsGroup() {
		return info, fmt.Errorf("interface %s has the address %s, which nobody can answer: set another one (ip link set %s address ...)", name, info.MAC, name)
	}
	if info.MTU < minMTU {
		return info, fmt.Errorf("interface %s has MTU %d: AoE needs at least %d (ip link set %s mtu 1500)", name, info.MTU, minMTU, name)
	}
	return info, nil
}

func notEthernet(name string) error {
	return fmt.Errorf("interface %s is not an Ethernet interface, which AoE needs", name)
}

// socket opens one socket on the interface that receives nothing yet: its filter drops everything until SetFilter.
func socket(info link.Info, o Options) (l *Link, err error) {
	// Protocol 0 receives nothing before bind, so no frame of another interface or protocol gets in.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			return nil, fmt.Errorf("interface %s: no permission for packet sockets, which need CAP_NET_RAW: run as root, or "+
				"\"setcap cap_net_raw+ep\" on the program, or AmbientCapabilities=CAP_NET_RAW in its systemd unit: %w", info.Name, err)
		}
		return nil, fmt.Errorf("interface %s: opening a packet socket: %w", info.Name, err)
	}
	l = &Link{info: info, fd: fd}
	defer func() {
		if err != nil {
			_ = l.Close()
			l, err = nil, fmt.Errorf("interface %s: %w", info.Name, err)
		}
	}()
	if err := ethernet(fd, info.Name); err != nil {
		return l, err
	}
	mtu := max(info.MTU, o.FrameMTU)
	l.limit = headLen + mtu
	// Frames that fit into a page are in one piece anyway. It has to come before the ring.
	if o.Linear && mtu >= sys.PageSize-pageRest && unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1) == nil {
		l.vnet = sys.VnetLen
		l.batch = sys.NewLinearBatch(sendBatch, payloadAt)
	} else {
		l.batch = sys.NewSendBatch(sendBatch)
	}
	if l.ring, err = newRing(fd, mtu, l.vnet, o); err != nil {
		return l, err
	}
	if err := setup(fd, o); err != nil {
		return l, err
	}
	if err := attach(fd, dropAll); err != nil {
		return l, err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(etherType), Ifindex: info.Index}); err != nil {
		return l, fmt.Errorf("binding the packet socket: %w", err)
	}
	return l, nil
}

// ethernet refuses interfaces of other kinds, even when their addresses have six bytes.
func ethernet(fd int, name string) error {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return fmt.Errorf("its name: %w", err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFHWADDR, ifr); err != nil {
		return fmt.Errorf("asking for its kind: %w", err)
	}
	if ifr.Uint16() != unix.ARPHRD_ETHER {
		return notEthernet(name)
	}
	return nil
}

// newRing sizes the receive ring. In front of each frame the kernel puts vnet bytes.
func newRing(fd, mtu, vnet int, o Options) (*sys.PacketRing, error) {
	align, reserve := 16, 0
	if o.PayloadAlign > align {
		align = o.PayloadAlign
		reserve = (align - (sys.PacketHead+vnet+payloadAt)%align) % align
	}
	frames := o.RingFrames
	if frames <= 0 {
		size := o.RingBytes
		if size <= 0 {
			size = defaultRing
		}
		frames = max(size/(sys.PacketHead+vnet+reserve+headLen+mtu), minRingFrames)
	}
	r, err := sys.NewPacketRing(fd, frames, vnet+headLen+mtu, reserve, align)
	if errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("%w (a smaller ring may fit)", err)
	}
	return r, err
}

// setup sets the options that have no order.
func setup(fd int, o Options) error {
	// Kernels before 4.20 do not know it; the filter drops outgoing frames as well.
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	size := o.SndBuf
	if size <= 0 {
		size = defaultSndBuf
	}
	// The first needs CAP_NET_ADMIN; the second is capped by net.core.wmem_max, which still works.
	if privsep.SendBuffer(fd, size) != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, size); err != nil {
			return fmt.Errorf("send buffer of %d bytes: %w", size, err)
		}
	}
	if o.QdiscBypass {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
			return fmt.Errorf("bypassing the queueing discipline: %w", err)
		}
	}
	return nil
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }
