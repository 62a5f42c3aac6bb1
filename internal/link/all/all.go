// Package all is the registry of transports: each is one folder beside this one and one line in Kinds.
package all

import (
	"goaoe/internal/link"
	"goaoe/internal/link/packet"
)

// Options are the settings of an interface that concern its links. Zero values are chosen by the transport.
type Options struct {
	Lanes      int    // how many links to open: one per lane
	RingFrames int    // frames in the receive ring
	SendBuffer int    // bytes of the socket's send buffer
	Linear     bool   // long frames are sent out of one piece of memory, see packet.Options
	XDP        string // "auto", "on" or "off": whether replies leave by AF_XDP, see packet.XDPMode
}

// Kind is one transport.
type Kind struct {
	Name string
	// Open opens an interface, deaf until its filter is set, in the calling thread's network namespace, for frames of up to its present MTU.
	Open func(ifname string, o Options) ([]link.Link, error)
}

// Kinds are the transports there are, the preferred one first. A new one is a folder and a line here.
var Kinds = []Kind{
	{"packet", openPacket},
}

// Open opens an interface by the preferred transport.
func Open(ifname string, o Options) ([]link.Link, error) {
	return Kinds[0].Open(ifname, o)
}

func openPacket(ifname string, o Options) ([]link.Link, error) {
	return packet.OpenAll(ifname, packet.Options{Lanes: o.Lanes, RingFrames: o.RingFrames, SndBuf: o.SendBuffer, Linear: o.Linear, XDP: packet.XDPMode(o.XDP), Filter: &link.Filter{}})
}
