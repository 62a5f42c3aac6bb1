// Package store is the storage side of the engine: a Store is something opened that holds the blocks of one export (a file,
// a block device, memory), an Executor runs operations on stores for one lane. Each implementation lives in a folder of
// its own and passes the suite in storetest.
//
// How the pieces meet: the daemon opens a Store; each lane asks it once for a Channel; the Channel queues operations
// on an Executor that all channels of its kind on that lane share (one io_uring for all files, say); the lane calls Flush
// once a turn, Reap for what is done, and polls FD while it sleeps.
package store

import (
	"fmt"

	"golang.org/x/sys/unix"

	"goaoe/internal/stats"
)

// SectorSize is the unit of AoE's addresses in bytes.
const SectorSize = 512

// Info describes an opened store.
type Info struct {
	Size     int64 // bytes that are served: a multiple of SectorSize, after offset and length
	Tail     int64 // bytes at the end that are not served because they are no whole sector (0 to 511)
	Physical int   // physical sector in bytes (512, 4096 ...), a hint for IDENTIFY; never 0
	AlignOff int   // offset in bytes of the window's first byte inside its physical sector
	MemAlign int   // alignment that buffers of operations must have, in bytes (1 when any will do)
	// WholePages tells that operations are faster with buffers that begin at a page, as for direct I/O, to which a buffer in two pages is two pieces.
	WholePages bool
	ReadOnly   bool // writes would fail
	Rotational bool // a spinning disk, when that is known
	CanDiscard bool // Discard is supported
	// DiscardZeroes tells that what was discarded reads as zeros from then on, every byte of it.
	DiscardZeroes bool
	ID            string // names the underlying object (e.g. "dev 8:1" or "file 259:2/1311") so that two exports of one object are found
	Start, End    int64  // window in bytes inside that object, [Start, End)
}

// Kind is what an operation does.
type Kind uint8

// The operations.
const (
	Read    Kind = iota + 1 // fills Buf from Off
	Write                   // writes Buf at Off
	Flush                   // makes every write that completed before it durable; Off and Buf unused
	Discard                 // the Len bytes at Off need not be kept; they read as zeros or as before
)

// Op is one operation. The caller owns the memory of the Op and of Buf, and leaves both alone from Submit until the Op
// comes back from Reap. Off and the length were checked against Info.Size by the caller; the store checks again.
type Op struct {
	Kind    Kind
	Durable bool       // Write: on stable storage before it completes
	Off     int64      // bytes from the start of the window
	Buf     []byte     // Read, Write: a multiple of SectorSize long, aligned to Info.MemAlign
	Spare   []byte     // Write, to a Borrower: see there; nil elsewhere
	Len     int64      // Discard: how many bytes
	Errno   unix.Errno // result: 0, or the error (EIO when nothing better is known; a short transfer is EIO; ENOMEM: the same again may succeed)
	Done    int        // result: bytes transferred before the error, when Errno is not 0
	User    uint32     // the caller's own; stores leave it alone

	// X is scratch space of the executor that runs the operation.
	X struct {
		Chan  any    // the channel that submitted
		Next  *Op    // intrusive list
		Run   *Op    // the next of the operations that are carried out as one
		State uint8  // executor's own
		N     int    // bytes transferred so far
		Gen   uint64 // executor's own
	}
}

// Channel queues operations of one lane on one store. It belongs to that lane's goroutine.
type Channel interface {
	// Submit queues op. It neither blocks nor fails: every error comes back by Reap of the executor.
	Submit(op *Op)
	// Close releases the channel. Nothing of it may be in flight.
	Close()
}

// Viewer is an optional ability of a Channel: reads without a copy.
type Viewer interface {
	// View returns n bytes at off of the window as they are in memory at this moment, or nil when they are not all in
	// memory (then use a Read). The slice must only be handed to the kernel to send, in the same turn, and never be touched by
	// the program itself: the file may have been cut short, which the kernel reports as EFAULT and a program's
	// own access would not survive.
	View(off int64, n int) []byte
}

// Borrower is an optional ability of a Channel: writes whose data is only lent.
type Borrower interface {
	// Borrows tells whether operations with a Spare may be submitted. Their Buf, with any alignment, is the caller's again once Flush of the executor has
	// returned. Where the data is needed for longer the channel copies it into Spare, which is as long and aligned to Info.MemAlign, before, makes that
	// the operation's Buf, and Spare nil.
	Borrows() bool
}

// Near is an optional ability of a Channel: what an operation will touch of it can be fetched into the processor's caches ahead. With many channels it is in
// none of them.
type Near interface {
	// Ahead has the processor begin to fetch the channel's own part, and with deep what that points to: for that it should be there already.
	Ahead(deep bool)
}

// Counting is an optional ability of a Channel: it counts how often it made data durable.
type Counting interface {
	// CountTo says where. It is called once, before the first Submit; what is there is added to by the lane's goroutine only.
	CountTo(*stats.Store)
}

// Executor runs the operations of one lane for channels of one kind. It belongs to that lane's goroutine.
type Executor interface {
	// Flush hands what was submitted to the kernel or the workers. It does not wait.
	Flush()
	// Reap returns finished operations: it fills done and returns how many. It does not wait.
	Reap(done []*Op) int
	// Pending tells cheaply, without a system call, whether Reap might return something.
	Pending() bool
	// FD is a descriptor that is readable when Reap would return something; -1 when there is none.
	FD() int
	// Close frees the executor when all its channels are closed.
	Close()
}

// Prompt is an optional ability of an Executor: it knows what only a disk works on. The end of such an operation can be looked for by a thread that does not
// sleep, without taking the processor from whoever carries it out.
type Prompt interface {
	// Prompt tells how many operations of that kind have ended so far, and whether there are some under way and none of another kind. It is cheap.
	Prompt() (ended uint64, only bool)
}

// Store is an opened store. Its methods may be called from any goroutine.
type Store interface {
	// Info returns the current facts.
	Info() Info
	// Refresh looks at the underlying object again and returns the new facts: a device or file may have grown or shrunk.
	Refresh() (Info, error)
	// Channel makes a lane's channel; set holds the lane's executors, and is told what the channel lies on (Join).
	Channel(set *Set) (Channel, error)
	// Close closes the underlying object. All channels must be closed.
	Close() error
}

// Set holds the executors of one lane, one per kind, and what its channels lie on. The zero value is empty and usable.
type Set struct {
	kinds []string
	execs []Executor
	disks []laid
}

// laid is how many channels of a lane lie on one disk.
type laid struct {
	disk     uint64
	channels int
}

// Memory is the disk of a store that keeps its blocks in memory: one that never hangs, and is held up by others.
const Memory uint64 = 0

// Join notes that the lane has a channel on a disk: what hangs as one, named by a number that is its own (the kernel's of the device or file system), or
// Memory. Each Store.Channel does it, and the channel's Close takes it back with Leave.
func (s *Set) Join(disk uint64) {
	for i := range s.disks {
		if s.disks[i].disk == disk {
			s.disks[i].channels++
			return
		}
	}
	s.disks = append(s.disks, laid{disk, 1})
}

// Leave takes back one Join.
func (s *Set) Leave(disk uint64) {
	for i := range s.disks {
		if s.disks[i].disk == disk {
			if s.disks[i].channels--; s.disks[i].channels == 0 {
				s.disks = append(s.disks[:i], s.disks[i+1:]...)
			}
			return
		}
	}
}

// Disks is on how many disks the channels of the lane lie. With one, an operation that hangs in the lane holds up nothing that lies elsewhere.
func (s *Set) Disks() int { return len(s.disks) }

// Get returns the lane's executor of this kind, made by create when it is the first of its kind.
func (s *Set) Get(kind string, create func() (Executor, error)) (Executor, error) {
	for i, k := range s.kinds {
		if k == kind {
			return s.execs[i], nil
		}
	}
	x, err := create()
	if err != nil {
		return nil, fmt.Errorf("starting the %s executor: %w", kind, err)
	}
	s.kinds = append(s.kinds, kind)
	s.execs = append(s.execs, x)
	return x, nil
}

// Executors returns the executors made so far, in order of making. The slice is the Set's own.
func (s *Set) Executors() []Executor { return s.execs }

// Close closes all executors.
func (s *Set) Close() {
	for _, x := range s.execs {
		x.Close()
	}
	s.kinds, s.execs = nil, nil
}
