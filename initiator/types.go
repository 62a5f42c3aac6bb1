package initiator

import (
	"errors"
	"fmt"
	"time"

	"goaoe/aoe"
	"goaoe/ata"
)

// SectorSize is the unit of a disk in bytes: offsets and lengths must be multiples of it.
const SectorSize = aoe.SectorSize

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
	// ErrUnsupported means that the disk says in IDENTIFY DEVICE that it has no such command.
	ErrUnsupported = errors.New("the disk does not support the command")
	// ErrConfigConflict means that the target has another config string already.
	ErrConfigConflict = errors.New("the target has another config string")
	// ErrShrunk means that the disk has become smaller, and that the sectors lie behind its end now.
	ErrShrunk = errors.New("the disk has shrunk")
	// ErrRubbish means that the target answers what no target may answer.
	ErrRubbish = errors.New("the target answers nonsense")
)

// Target is what a target tells of itself, as seen on one interface.
type Target struct {
	Addr        aoe.Addr
	MAC         aoe.MAC
	Interface   string // ours, on which it answered
	MTU         int    // of that interface, bytes behind the Ethernet header
	Sectors     int    // sectors of 512 bytes per frame, as the target says; never 0
	BufferCount int    // frames that it can hold, as it says; some say 0
	Firmware    uint16
	Config      []byte // its config string
}

// String returns e.g. "e0.1 (02:00:00:00:00:01 on eth0)".
func (t Target) String() string { return fmt.Sprintf("%v (%v on %s)", t.Addr, t.MAC, t.Interface) }

// Payload is how many sectors a frame to this target carries: what both sides can.
func (t Target) Payload() int { return max(1, min(t.Sectors, aoe.AdvertisedSectors(t.MTU))) }

// Search says what Discover looks for. The zero value looks for everybody on all interfaces.
type Search struct {
	Interfaces []string      // nil: all Ethernet interfaces that are up
	Addrs      []aoe.Addr    // nil: everybody; either half may be a wildcard
	Wait       time.Duration // how long answers are waited for; 0 means 500 ms
	Watch      bool          // goes on until the context ends, and yields announcements and changed answers too
}

// Options are the settings of a Disk. The zero value is good.
type Options struct {
	// Interfaces are those on which the target is looked for; nil means all Ethernet interfaces that are up. A target that is found on several
	// is used on all of them.
	Interfaces []string
	// Targets are the MAC addresses that are used; nil means each that answers under the address and proves to be the same disk.
	Targets []aoe.MAC
	// Timeout is how long a request is repeated before it fails with ErrTimeout; 0 means 60 s.
	Timeout time.Duration
	// Wait is how long Open looks for the target; 0 means 2 s.
	Wait time.Duration
	// Window is how many requests may be outstanding per path at most; 0 means what the target's buffer count allows, 64 at most.
	Window int
	// Sectors is how many sectors a frame may carry at most; 0 means what target, interface and path allow.
	Sectors int
	// BusyPoll is how long WaitFor looks for what comes next before it sleeps, if the last one came within that time; 0: it sleeps at once. It
	// saves the waking of a thread, which costs as much as the way to a near target and back, and keeps a processor busy while requests come a few
	// at a time. It lets other programs have the processor that they wait for, and then looks no more for a while, 2 ms to 1 s.
	BusyPoll time.Duration
	// OnEvent is called with what happens to the disk and its paths, in order, from one goroutine. It holds up no I/O.
	OnEvent func(Event)
}

// EventKind says what happened.
type EventKind uint8

// The kinds of events.
const (
	Grown       EventKind = iota + 1 // the disk has become larger: Old, New in bytes
	Shrunk                           // the disk has become smaller: Old, New in bytes
	PathUp                           // a path is used (again)
	PathDown                         // a path does not answer: Err says more
	PathRefused                      // what answers there is not the same disk: Err says how it differs
	Gone                             // no path is left
	Back                             // a path is there again after Gone
	Reduced                          // frames on the path were made smaller, large ones do not pass: Old, New in sectors
	Raised                           // frames on the path were made larger again: Old, New in sectors
)

// String returns e.g. "path down".
func (k EventKind) String() string {
	names := [...]string{"unknown", "grown", "shrunk", "path up", "path down", "path refused", "gone", "back", "reduced", "raised"}
	if int(k) >= len(names) {
		k = 0
	}
	return names[k]
}

// Event tells of a change of a Disk or of one of its paths.
type Event struct {
	Kind     EventKind
	Time     time.Time
	Path     Path // the one that it is about; empty for Grown, Shrunk, Gone, Back
	Old, New int64
	Err      error
}

// PathState says whether a path is used.
type PathState uint8

// The states of a path.
const (
	Down    PathState = iota // it does not answer; it is tried again
	Up                       // it is used
	Refused                  // what answers is not the same disk
)

// String returns "down", "up" or "refused".
func (s PathState) String() string {
	switch s {
	case Up:
		return "up"
	case Refused:
		return "refused"
	}
	return "down"
}

// Path is one way to a disk: an interface of ours and an address of the target.
type Path struct {
	Interface   string
	MAC         aoe.MAC // the target's
	State       PathState
	Err         error         // why it is not up
	MTU         int           // of the interface, bytes
	Sectors     int           // per frame, as used now
	BufferCount int           // as the target says
	RTT         time.Duration // mean time until an answer; 0 before the first
	Window      int           // requests that may be outstanding now
	Outstanding int           // requests that are
	Stats       Stats
}

// Stats counts what a Disk, or one path of it, did.
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
	case aoe.Unavailable:
		return ErrUnavailable
	case aoe.ConfigSet:
		return ErrConfigConflict
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
