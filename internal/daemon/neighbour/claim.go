package neighbour

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
)

// ErrClaimed is wrapped by the error of a Claim that somebody else holds.
var ErrClaimed = errors.New("another goaoe on this machine serves it")

// Claim is the right of this process to serve an address on an interface of this machine. It is a name in the abstract
// namespace of Unix sockets, which belongs to the network namespace and vanishes with the process.
type Claim struct{ fd int }

// NewClaim takes the right, in the calling thread's network namespace.
func NewClaim(ifindex int, a aoe.Addr) (*Claim, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("claiming %v: %w", a, err)
	}
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("@goaoe/%d/%v", ifindex, a)})
	if err == nil {
		return &Claim{fd}, nil
	}
	_ = unix.Close(fd)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, ErrClaimed
	}
	return nil, fmt.Errorf("claiming %v: %w", a, err)
}

// Close gives the right back.
func (c *Claim) Close() { _ = unix.Close(c.fd) }
