// Package neighbour finds out whether somebody else serves the address that an export is to get: another machine or
// program on the same Ethernet (Probe), or another goaoe on this machine (Claim), which a probe cannot hear.
//
// Two targets under one address are the worst accident of this protocol: the Linux initiator takes them for two paths to the same
// disk and spreads its requests over both.
package neighbour

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
)

const (
	etherType = 0x88a2
	frameMin  = 60 // shortest frame to send; the kernel does not pad on virtual interfaces
	headerLen = 24 // Ethernet and AoE header
	cmdConfig = 1  // query config information
	flagR     = 0x08
)

// Wait is how long answers are waited for.
const Wait = 200 * time.Millisecond

// Answer tells that a target answered for an address.
type Answer struct {
	Addr aoe.Addr
	MAC  aoe.MAC
}

// Prober asks on one interface.
type Prober struct {
	file *os.File
	mac  aoe.MAC
}

// Open opens a socket on the interface with this index and address in the calling thread's network namespace. It takes the
// right to use packet sockets (CAP_NET_RAW).
func Open(ifindex int, mac aoe.MAC) (*Prober, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	// The protocol is given with the interface, so that frames of others never queue up.
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: etherType>>8 | etherType&0xff<<8, Ifindex: ifindex}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	return &Prober{file: os.NewFile(uintptr(fd), "packet"), mac: mac}, nil
}

// Close closes the socket. It ends an Ask that is under way.
func (p *Prober) Close() error { return p.file.Close() }

// Ask asks for all addresses at once and returns who answered within wait, each pair once.
func (p *Prober) Ask(addrs []aoe.Addr, wait time.Duration) ([]Answer, error) {
	// The top bit keeps the answers from the kernel driver of this machine.
	tag := 0x80000000 | rand.Uint32()
	asked := map[aoe.Addr]bool{}
	for _, a := range addrs {
		asked[a] = true
		if _, err := p.file.Write(query(p.mac, a, tag)); err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.ENETDOWN) {
			return nil, fmt.Errorf("asking for %v: %w", a, err)
		}
	}
	if err := p.file.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	var out []Answer
	seen := map[Answer]bool{}
	buf := make([]byte, 2048) // a longer frame is cut, which does not matter
	for {
		n, err := p.file.Read(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return out, nil
		case errors.Is(err, unix.ENETDOWN):
			continue // nobody answers while the interface is down; the time limit ends this
		case err != nil:
			return out, fmt.Errorf("listening for other targets: %w", err)
		}
		if a, ok := parse(buf[:n], tag); ok && asked[a.Addr] && !seen[a] {
			seen[a] = true
			out = append(out, a)
		}
	}
}

// query builds a query for the config string of a.
func query(src aoe.MAC, a aoe.Addr, tag uint32) []byte {
	f := make([]byte, frameMin)
	copy(f, aoe.Broadcast[:])
	copy(f[6:], src[:])
	binary.BigEndian.PutUint16(f[12:], etherType)
	f[14] = 0x10
	binary.BigEndian.PutUint16(f[16:], a.Major)
	f[18], f[19] = a.Minor, cmdConfig
	binary.BigEndian.PutUint32(f[20:], tag)
	return f
}

// parse takes an answer to the query with this tag. An error reply is an answer, too: somebody is there.
func parse(f []byte, tag uint32) (Answer, bool) {
	if len(f) < headerLen || binary.BigEndian.Uint16(f[12:]) != etherType || f[14]&flagR == 0 || f[19] != cmdConfig ||
		binary.BigEndian.Uint32(f[20:]) != tag {
		return Answer{}, false
	}
	return Answer{Addr: aoe.Addr{Major: binary.BigEndian.Uint16(f[16:]), Minor: f[18]}, MAC: aoe.MAC(f[6:12])}, true
}
