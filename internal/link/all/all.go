// Package all is the registry of transports: each is one folder beside this one and one line in Kinds.
package all

import (
	"errors"

	"goaoe/internal/link"
)

// Options are the settings of an interface that concern its links. Zero values are chosen by the transport.
type Options struct {
	Lanes      int // how many links to open: one per lane
	RingFrames int // frames in the receive ring
	SendBuffer int // bytes of the socket's send buffer
}

// Kind is one transport.
type Kind struct {
	Name string
	// Open opens an interface in the calling thread's network namespace, for frames of up to its present MTU.
	Open func(ifname string, o Options) ([]link.Link, error)
}

// Kinds are the transports there are, the preferred one first. A new one is a folder and a line here.
var Kinds = []Kind{}

// Open opens an interface by the preferred transport.
func Open(ifname string, o Options) ([]link.Link, error) {
	if len(Kinds) == 0 {
		return nil, errors.New("no transport")
	}
	return Kinds[0].Open(ifname, o)
}
