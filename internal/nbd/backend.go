package nbd

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// Op is what a Request asks for.
type Op uint8

// Operations.
const (
	OpRead Op = iota
	OpWrite
	OpFlush
	OpTrim
)

// Request is one operation of a Backend's queue. It belongs to the queue from Submit until Wait gives it back, with Buf.
type Request struct {
	Op   Op
	Off  int64  // bytes; a multiple of the export's MinBlock
	Buf  []byte // of OpRead and OpWrite; its length is a multiple of MinBlock
	Len  int64  // of OpTrim, bytes
	Err  error  // result: nil for success; an Errno inside it is what the client is told, any other error is EIO for it
	Slot int    // the owner's, for finding what the request belongs to
}

// Backend is what a server serves. Its methods may be called from any goroutine.
type Backend interface {
	// Size is the size in bytes now. A client that is connected was told the size at its beginning.
	Size() int64
	// NewQueue makes a queue for one connection, which submits at most depth requests at a time.
	NewQueue(depth int) (Queue, error)
}

// Queue carries out the requests of one goroutine. None of its methods allocates once the queue has seen its load.
//
// Requests that overlap, one of them not a read, are carried out in the order of Submit; others in any. A flush covers every write, of any
// queue, that Wait gave back before the flush was submitted.
type Queue interface {
	// Submit takes a request. An error means that it was not taken, and will not come out of Wait.
	Submit(r *Request) error
	// Wait fills done with requests that are done and returns how many. It waits until there is one, or one of fds is ready, or,
	// unless it is negative, timeout has passed; a timeout of 0 only looks. When it returns, the Revents of fds are those of poll(2).
	Wait(done []*Request, fds []unix.PollFd, timeout time.Duration) (int, error)
	// Close frees the queue. No request may be outstanding.
	Close() error
}

// Export is what clients are told.
type Export struct {
	Name        string // clients that name no export, or this one, get it
	Description string // for people; may be empty
	Flags       Flags  // HasFlags is added
	MinBlock    int    // offsets and lengths are multiples of it: a power of two, 1 to 65536; 0 means 512
	Preferred   int    // what transfers best, bytes: a power of two, at least MinBlock and 512; 0 means 4096
	MaxBlock    int    // the largest transfer, bytes: a multiple of MinBlock, at most MaxRequest; 0 means MaxRequest
	// TrimZeroes tells that what was trimmed reads as zero: WRITE_ZEROES may trim then, where the client allows a hole.
	TrimZeroes bool
}

func (e Export) withDefaults() (Export, error) {
	if e.MinBlock == 0 {
		e.MinBlock = 512
	}
	if e.Preferred == 0 {
		e.Preferred = max(4096, e.MinBlock)
	}
	if e.MaxBlock == 0 {
		e.MaxBlock = MaxRequest
	}
	e.Flags |= HasFlags
	pow2 := func(n int) bool { return n > 0 && n&(n-1) == 0 }
	if !pow2(e.MinBlock) || e.MinBlock > 65536 || !pow2(e.Preferred) || e.Preferred < max(512, e.MinBlock) || e.MaxBlock < e.MinBlock ||
		e.MaxBlock > MaxRequest || e.MaxBlock%e.MinBlock != 0 || len(e.Name) > maxString || len(e.Description) > maxString {
		return e, errors.New("nbd: the block sizes or texts of the export are outside of what the protocol allows")
	}
	return e, nil
}

// maxString is the longest text that the protocol allows.
const maxString = 4096
