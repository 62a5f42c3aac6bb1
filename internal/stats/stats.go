// Package stats holds the counters of the hot path, and the snapshots that readers make of them. Counters and histograms are fixed
// structs that a lane adds to and anybody may read at any time. A counter only grows. Adding neither allocates, locks nor formats.
package stats

import "sync/atomic"

// Counter is a number that only grows. Any goroutine may add to it.
type Counter struct{ v atomic.Uint64 }

// Add adds n.
func (c *Counter) Add(n uint64) { c.v.Add(n) }

// Inc adds one.
func (c *Counter) Inc() { c.v.Add(1) }

// Load returns the value.
func (c *Counter) Load() uint64 { return c.v.Load() }

// Drop is the reason why a frame got no reply.
type Drop uint8

// The reasons, in the order of the receive filter (protocol section 1.10).
const (
	NoDrop        Drop = iota
	DropShort          // under 24 bytes, or shorter than its command needs
	DropEtherType      // not 0x88A2
	DropVLAN           // tagged for a VLAN that has no interface here
	DropDest           // for another MAC address
	DropSource         // source MAC that cannot be answered (group, zero, our own)
	DropResponse       // R flag set
	DropAddress        // no such export here
	DropMask           // source not in the target's MAC mask list
	DropAccess         // refused by an access list
	DropVersion        // unsupported version on a wildcard address
	DropCommand        // unknown command on a wildcard address
	DropWildcard       // ATA command other than IDENTIFY to a wildcard address
	DropCompare        // config string test that did not match (silence is the answer)
	DropArgument       // malformed argument where silence is the answer
	DropFull           // the export's queue was full
	DropStale          // waited too long in our own queues, or overtaken by a newer write
	DropBusy           // the slow path (state changes) was full
	DropSend           // the reply could not be sent
	DropClosing        // the export is being removed
	DropDuplicate      // a repetition took the place of an identical request that was still waiting, or came too soon
	DropMemory         // the machine had no memory for the operation: the initiator repeats the request, and a disk did not fail
	NumDrops
)

var dropNames = [NumDrops]string{
	"none", "short", "ethertype", "vlan", "destination", "source", "response", "address", "mask", "access", "version",
	"command", "wildcard", "compare", "argument", "full", "stale", "busy", "send", "closing", "duplicate", "memory",
}

// String returns the reason's short name, as used in metrics and tables.
func (d Drop) String() string {
	if d >= NumDrops {
		return "unknown"
	}
	return dropNames[d]
}

// Denies tells whether the reason is that the sender may not do what it asked for.
func (d Drop) Denies() bool { return d == DropMask || d == DropAccess }

// Reject is why a request was answered with an error although storage did not fail.
type Reject uint8

// The reasons.
const (
	NoReject          Reject = iota
	RejectVersion            // AoE version
	RejectCommand            // AoE or ATA command, or feature, that this target does not have
	RejectArgument           // count, length or field that makes no sense
	RejectRange              // sectors beyond the end
	RejectReadOnly           // a write to a read-only export
	RejectAccess             // refused by an access list
	RejectReserved           // reserved for others
	RejectConfig             // the config string is set already
	RejectUnavailable        // the state could not be saved, or the answer does not fit the interface
	NumRejects
)

var rejectNames = [NumRejects]string{
	"none", "version", "command", "argument", "range", "read-only", "access", "reserved", "config-set", "unavailable",
}

// String returns the reason's short name, as used in metrics and tables.
func (r Reject) String() string {
	if r >= NumRejects {
		return "unknown"
	}
	return rejectNames[r]
}

// Denies tells whether the reason is that the sender may not do what it asked for.
func (r Reject) Denies() bool { return r == RejectAccess || r == RejectReserved }

// Error is how storage failed.
type Error uint8

// The kinds of failure.
const (
	NoError       Error = iota
	ErrorMedia          // EIO and the like
	ErrorNoSpace        // the file system or thin pool is full
	ErrorGone           // the device was removed
	ErrorReadOnly       // the device or file system refuses writes
	NumErrors
)

var errorNames = [NumErrors]string{"none", "media", "no-space", "gone", "read-only"}

// String returns the failure's short name, as used in metrics and tables.
func (e Error) String() string {
	if e >= NumErrors {
		return "unknown"
	}
	return errorNames[e]
}

// Port counts what happened on one interface in one lane. Drops may be added to by any goroutine, everything else by the lane.
type Port struct {
	RxFrames, RxBytes Single
	TxFrames, TxBytes Single
	RxBatches         Single // turns that found frames
	TxBatches         Single // system calls that sent
	TxPinned          Single // frames of TxFrames that left by AF_XDP (link.Pinner)
	TxErrors          Single
	TxFull            Single // times that the send queue was full
	Drops             [NumDrops]Counter
}

// The classes of requests that have a latency of their own.
const (
	ClassRead = iota
	ClassWrite
	ClassFlush // flush and discard
	NumClasses // of requests for storage
)

// Export counts what happened to one export. The fields of type Counter may be added to by any goroutine (lane 0 answers wildcards for
// all exports, and the slow path has goroutines of its own), those of type Single and Latency by the export's lane only.
//
// What each request adds to comes first and fills one cache line of 64 bytes; of a histogram one line is touched.
type Export struct {
	// Held and OnStore are the requests in the engine now, and those of them that are operations on the store.
	Held, OnStore      Single
	Ops, Batches       Single // operations handed to the store, and turns of the lane with any
	Reads, ReadBytes   Single // requests done with success, and their bytes
	Writes, WriteBytes Single
	Latency            [NumClasses]Histogram
	Store              Store
	Flushes, Discards  Single
	Others             Counter // requests answered without storage
	Slow               Counter // requests handed to the slow path
	Views              Single  // reads served without a copy
	Waits              Single  // requests that waited for an overlapping one
	Stalls             Single  // requests that waited for room on the store
	Limited            Single  // requests that waited for their initiator's limits
	// Retransmits counts storage requests that repeat an earlier one: the same initiator asks for the same once more while the first is not
	// answered, or with the same tag. That a request repeats an answered one under a new tag (Linux does, when the reply was lost)
	// cannot be told from a second request, and is not counted.
	Retransmits Single
	Limit       Single              // the queue length
	Errors      [NumErrors]Single   // error replies because storage failed
	LastErrno   Single              // what the operating system said the last time that it did
	Rejects     [NumRejects]Counter // error replies because of the request
	Drops       [NumDrops]Counter   // no reply

	OtherLatency Histogram // of Others and Rejects; added to by ObserveShared
}

// Store counts inside a store. It is added to by the export's lane.
type Store struct {
	Syncs          Single // times that data was made durable on its own (fdatasync)
	SyncWrites     Single // durable writes and flushes that waited for them
	Merged         Single // requests that went to the disk with the one before them, as one operation
	WriteNow       Single // writes that the lane put into the page cache itself
	WriteNowPauses Single // times that it gave that up for a while, because one took long
}

// Carry adds the counters of an earlier run of the same export, so that they go on over its restart. Nothing may add to to yet.
func (to *Export) Carry(from *Export) {
	for _, p := range [][2]*Single{
		{&to.Reads, &from.Reads}, {&to.Writes, &from.Writes}, {&to.Flushes, &from.Flushes}, {&to.Discards, &from.Discards},
		{&to.ReadBytes, &from.ReadBytes}, {&to.WriteBytes, &from.WriteBytes}, {&to.Views, &from.Views}, {&to.Waits, &from.Waits},
		{&to.Stalls, &from.Stalls}, {&to.Limited, &from.Limited}, {&to.Retransmits, &from.Retransmits}, {&to.Ops, &from.Ops}, {&to.Batches, &from.Batches},
		{&to.Store.Syncs, &from.Store.Syncs}, {&to.Store.SyncWrites, &from.Store.SyncWrites}, {&to.Store.Merged, &from.Store.Merged},
		{&to.Store.WriteNow, &from.Store.WriteNow}, {&to.Store.WriteNowPauses, &from.Store.WriteNowPauses},
	} {
		p[0].Add(p[1].Load())
	}
	to.Others.Add(from.Others.Load())
	to.Slow.Add(from.Slow.Load())
	for i := range from.Errors {
		to.Errors[i].Add(from.Errors[i].Load())
	}
	for i := range from.Rejects {
		to.Rejects[i].Add(from.Rejects[i].Load())
	}
	for i := range from.Drops {
		to.Drops[i].Add(from.Drops[i].Load())
	}
	for i := range from.Latency {
		to.Latency[i].carry(&from.Latency[i])
	}
	to.OtherLatency.carry(&from.OtherLatency)
}

// Lane counts the work of one lane.
type Lane struct {
	Turns, Sleeps, Spins Single
	SleepNs, SpinNs      Single
	Slots, SlotsUsed     Single // now
}
