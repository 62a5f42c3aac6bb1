// Package stats holds the counters of the hot path: fixed structs that a lane adds to and anybody may read at any time.
// A counter only grows. Nothing here allocates, locks or formats.
package stats

import "sync/atomic"

// Counter is a number that only grows.
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
	NumDrops
)

var dropNames = [NumDrops]string{
	"none", "short", "ethertype", "vlan", "destination", "source", "response", "address", "mask", "access", "version",
	"command", "wildcard", "compare", "argument", "full", "stale", "busy", "send", "closing", "duplicate",
}

// String returns the reason's short name, as used in metrics and tables.
func (d Drop) String() string {
	if d >= NumDrops {
		return "unknown"
	}
	return dropNames[d]
}

// Port counts what happened on one interface in one lane.
type Port struct {
	RxFrames, RxBytes Counter
	TxFrames, TxBytes Counter
	RxBatches         Counter // turns that found frames
	TxBatches         Counter // system calls that sent
	TxErrors          Counter
	Drops             [NumDrops]Counter
}

// Export counts what happened to one export.
type Export struct {
	Reads, Writes, Flushes, Others Counter // requests executed; Others: everything that needed no storage
	ReadBytes, WriteBytes          Counter
	Views                          Counter // reads served without a copy
	Waits                          Counter // requests that waited for an overlapping one
	Errors                         Counter // ATA errors answered because storage failed
	Rejects                        Counter // ATA and AoE errors answered because of the request
	Drops                          [NumDrops]Counter
}

// Lane counts the work of one lane.
type Lane struct {
	Turns, Sleeps, Spins Counter
}
