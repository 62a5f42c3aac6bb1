package loadgen

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/link/packet"
)

// ports are the interfaces of a run.
type ports struct {
	all    []*port
	byName map[string]*port
	opened []link.Link
}

// close closes what was opened here.
func (p *ports) close() {
	for _, l := range p.opened {
		_ = l.Close() // nothing is lost with it
	}
}

// open returns the port for a link or, when that is nil, an interface.
func (p *ports) open(c *Config, l link.Link, name string) (*port, error) {
	if l != nil {
		for _, have := range p.all {
			if have.l == l {
				return have, nil
			}
		}
	} else if have := p.byName[name]; have != nil {
		return have, nil
	} else {
		q, err := packet.Open(name, packet.Options{QdiscBypass: true, RingFrames: max(64, 2*c.Depth)})
		if err != nil {
			return nil, err
		}
		l, p.opened = q, append(p.opened, q)
	}
	if n := aoe.PhysicalSectors(l.Info().MTU); c.Sectors > n {
		return nil, fmt.Errorf("loadgen: %d sectors per request do not fit interface %s: its MTU %d carries %d", c.Sectors, l.Info().Name, l.Info().MTU, n)
	}
	q := &port{l: l}
	if p.all = append(p.all, q); name != "" {
		if p.byName == nil {
			p.byName = map[string]*port{}
		}
		p.byName[name] = q
	}
	return q, nil
}

// find opens the interfaces, finds the targets, and makes a stream for each initiator at each of them. It sets c.DiskSectors.
func (p *ports) find(ctx context.Context, c *Config) ([]stream, error) {
	var out []stream
	for _, w := range append([]Place{{c.Interface, c.Link, c.Addr}}, c.More...) {
		if w.Interface == "" && w.Link == nil {
			w.Interface, w.Link = c.Interface, c.Link
		}
		q, err := p.open(c, w.Link, w.Interface)
		if err != nil {
			return nil, err
		}
		t, err := find(ctx, q.l, w.Addr)
		if err != nil {
			return nil, err
		}
		if c.DiskSectors == 0 || c.DiskSectors > t.sectors {
			c.DiskSectors = t.sectors
		}
		if c.DiskSectors < uint64(c.Sectors) {
			return nil, fmt.Errorf("loadgen: target %v has %d sectors, less than one request", t.addr, c.DiskSectors)
		}
		for i := range c.Initiators {
			out = append(out, stream{port: q, mac: initiator(q.l.Info().MAC, i), peer: t})
		}
	}
	if c.Initiators > 1 {
		for _, q := range p.all {
			if err := hearAll(q.l); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// initiator is the address of the initiator with number n at an interface: its own for 0, else a locally administered one.
func initiator(own aoe.MAC, n int) aoe.MAC {
	if n == 0 {
		return own
	}
	own[0] = own[0]&^1 | 2
	own[3] ^= 0x5a // so that it is not that of a neighbour
	own[4], own[5] = own[4]^byte(n>>8), own[5]^byte(n)
	return own
}

// hearAll has a packet socket take frames that are not for the interface's own address, which the filter of link/packet drops. What
// is for others is told by its tag and address. A socket for one protocol does not hear what its own machine sends. Links that are no sockets hear all.
func hearAll(l link.Link) error {
	all := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff}
	if err := unix.SetsockoptSockFprog(l.FD(), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &all}); err != nil && !errors.Is(err, unix.ENOTSOCK) && !errors.Is(err, unix.EBADF) {
		return fmt.Errorf("loadgen: hearing several addresses on %s: %w", l.Info().Name, err)
	}
	return nil
}
