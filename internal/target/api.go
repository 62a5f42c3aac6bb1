// Package target is what a request means: it takes a received frame and gives back a reply, an operation for the storage, or
// nothing and the reason. It has no socket, no disk, no clock and no goroutine of its own, allocates nothing
// per frame, and is driven by tests frame by frame.
//
// The way of a frame, as the engine calls it:
//
//	var req Request
//	if d := req.Parse(frame, &in); d != stats.NoDrop { count it; return }      // steps 1 to 4 of the receive filter
//	exact address: e := table.Lookup(req.Addr); wildcard: each e of table.All() whose address matches
//	e.Handle(&req, &in, reply, &act)                                          // steps 6 to 10
//	  Silent    act.Drop says why
//	  Reply     reply[:act.N] is the frame to send, padded to 60 bytes
//	  IO        act.IO is what to do; afterwards e.Finish(...) builds the reply
//	  Defer     copy the frame and hand it to the slow path, which calls e.Commit
package target

import (
	"goaoe/aoe"
	"goaoe/internal/stats"
)

// Ingress is what is known of the interface that a frame came in by. It must not change while a request is handled.
type Ingress struct {
	MAC        aoe.MAC // the interface's own address
	MTU        int     // bytes behind the Ethernet header; at least MinMTU
	Before     int     // the MTU until a moment ago, when that was larger, or 0: requests that only it has room for get no answer in place of an error
	MaxSectors int     // what a query config reply advertises: AdvertisedSectors(MTU), or lower when configured
}

// ActionKind says what Handle wants.
type ActionKind uint8

// The kinds of action.
const (
	Silent ActionKind = iota
	Reply
	IO
	Defer
)

// IOKind is what the storage has to do.
type IOKind uint8

// The storage operations that requests lead to.
const (
	IORead    IOKind = iota + 1
	IOWrite          // payload: the Count sectors behind the 36 byte header of the request's frame
	IOFlush          // everything acknowledged must become durable
	IODiscard        // payload: Blocks x 512 bytes of ranges, validated; see DiscardRange
)

// IOSpec is a validated storage operation: it lies inside the export, its payload was received in full, and
// its reply fits the interface.
type IOSpec struct {
	Kind    IOKind
	LBA     uint64 // first sector, within the export
	Count   int    // sectors (Read, Write); 512 byte blocks of ranges (Discard)
	Durable bool   // Write: on stable storage before the reply
}

// Action is the answer of Handle.
type Action struct {
	Kind ActionKind
	Drop stats.Drop // Silent: why
	N    int        // Reply: length of the frame in the reply buffer
	IO   IOSpec     // IO

	Reject stats.Reject // Reply: why it refuses the request; NoReject when it does not
}

// Result is how a storage operation ended.
type Result uint8

// The results.
const (
	OK       Result = iota
	Media           // read or write error of the medium (EIO and the like)
	NoSpace         // ENOSPC, EDQUOT
	Gone            // the device is gone for good (ENODEV, ENXIO): AoE error 3
	ReadOnly        // EROFS, EPERM
)
