// Package initiator is the other end of ATA over Ethernet in user space: it finds targets and uses their disks without a
// kernel driver. It needs permission for packet sockets (CAP_NET_RAW).
//
//	targets, err := initiator.Discover(ctx, []string{"eth0"}, 0)
//	disk, err := initiator.Open(ctx, "eth0", aoe.Addr{Major: 0, Minor: 1}, initiator.Options{})
//	n, err := disk.ReadAt(buf, 4096)
//
// A Disk splits what it is asked into frames, keeps as many of them outstanding as the target takes, repeats what got no
// answer, and never has two requests under way whose sectors overlap unless both are reads: the network may deliver a
// delayed copy of a write after its repetition was answered, and only waiting keeps that from undoing newer data.
package initiator

import (
	"errors"
	"fmt"
	"time"

	"goaoe/aoe"
	"goaoe/ata"
)

// Errors that callers tell apart with errors.Is. Each comes wrapped with the address and what was tried.
var (
	ErrNotFound = errors.New("no target answers under this address")
	ErrTimeout  = errors.New("the target does not answer")
	ErrReserved = errors.New("the target is reserved by another initiator")
	ErrRange    = errors.New("the sectors lie outside the disk")
	ErrMedium   = errors.New("the disk cannot read or write these sectors")
	ErrRefused  = errors.New("the target refuses the command")
	ErrClosed   = errors.New("the disk is closed")
	// ErrUnavailable means that the target answers, but for the whole time limit only that its disk is away.
	ErrUnavailable  = errors.New("the target cannot reach its disk")
	ErrIncompatible = errors.New("the target speaks another version of the protocol")
)

// Options are the settings of a Disk. The zero value is good.
type Options struct {
	// Timeout is how long a request is repeated before it fails with ErrTimeout; 0 means 60 s.
	Timeout time.Duration
	// Wait is how long Open looks for the target; 0 means 2 s.
	Wait time.Duration
	// Window is how many requests may be outstanding at most, 1 to 128; 0 means what the target's buffer count allows, 64 at most.
	Window int
	// Sectors is how many sectors a frame may carry at most; 0 means what target and interface allow.
	Sectors int
}

// Target is what a target tells of itself.
type Target struct {
	Addr        aoe.Addr
	MAC         aoe.MAC
	Interface   string // ours, on which it answered
	MTU         int    // of that interface, bytes behind the Ethernet header
	Sectors     int    // sectors of 512 bytes per frame, as the target says; never 0
	BufferCount int    // frames that it can hold
	Firmware    uint16
	Config      []byte // its config string
}

// String returns e.g. "e0.1 (02:00:00:00:00:01 on eth0)".
func (t Target) String() string { return fmt.Sprintf("%v (%v on %s)", t.Addr, t.MAC, t.Interface) }

// Payload is how many sectors a frame to this target carries: what both sides can.
func (t Target) Payload() int { return max(1, min(t.Sectors, aoe.AdvertisedSectors(t.MTU))) }

// Stats counts what a Disk did.
type Stats struct {
	Requests    uint64 // frames' worth of work that was answered
	Retransmits uint64 // frames sent again
	Unexpected  uint64 // replies that nobody waited for (any more)
	RTT         time.Duration
}

// codeError turns an AoE error into one of ours.
func codeError(c aoe.Code) error {
	switch c {
	case aoe.Reserved:
		return ErrReserved
	case aoe.BadVersion:
		return ErrIncompatible
	}
	return fmt.Errorf("%w: %w", ErrRefused, c)
}

// statusError turns the registers of a failed ATA command into an error.
func statusError(status, reg uint8) error {
	base := ErrRefused
	switch {
	case reg&ata.ErrIDNF != 0:
		base = ErrRange
	case reg&ata.ErrUNC != 0 || status&ata.StatusDF != 0:
		base = ErrMedium
	}
	return fmt.Errorf("%w (status %#02x, error %#02x)", base, status, reg)
}
