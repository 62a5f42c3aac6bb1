// Package link is the network side of the engine: a Link receives and sends whole Ethernet frames in batches on one
// interface. Each implementation lives in a folder of its own (packet: Linux packet sockets with a memory-mapped ring;
// mem: in memory, with faults for tests) and passes the suite in linktest.
package link

import (
	"errors"

	"goaoe/aoe"
)

// Errors of Send and Inject that the caller must tell apart. Both are transient (protocol: a target survives them).
var (
	// ErrFull means that the kernel's or the peer's queue is full: try again when FD is writable.
	ErrFull = errors.New("link: send queue is full")
	// ErrDown means that the interface is down or gone: what was to be sent is lost, the link may come back by itself.
	ErrDown = errors.New("link: interface is down")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("link: closed")
)

// Frame is one received frame. Data is a view into memory of the link: it is valid until the Release that gives it back.
type Frame struct {
	Data []byte // from the Ethernet destination address on, without FCS; as long as what arrived, never longer
	Time int64  // when the kernel received it, nanoseconds since the Unix epoch; 0 when unknown
	TCI  uint16 // 802.1Q tag control information (priority, VID) that the kernel stripped; valid with Tagged
	// Tagged tells that the frame had a VLAN tag on the wire that is not part of Data any more.
	Tagged bool
}

// HeadRoom is how many bytes a link may want in front of a frame, for what the kernel is told of it.
const HeadRoom = 16

// Msg is one frame to send, as up to two pieces that are sent one after the other (a reply's header and its data).
// The link does not keep either after Send returns. A Msg shorter than 60 bytes is the caller's fault: links do not pad.
type Msg struct {
	Head []byte
	Body []byte // may be nil
	Room bool   // the HeadRoom bytes in front of Head's first are memory of the same kind, and the link may write there until Send has returned
	Err  error  // set by Send when this one message was refused (e.g. unreadable mapped memory); the others went out
}

// Info is what a link knows of its interface when asked.
type Info struct {
	Name  string
	Index int // the kernel's interface index; 0 for links that are not of the kernel
	MAC   aoe.MAC
	MTU   int // bytes behind the 14 byte Ethernet header
}

// Link is one interface as seen by one lane. Recv, Release, Send, Pending belong to one goroutine (the lane);
// Inject, Drops and SetFilter may be called from any.
type Link interface {
	// Info returns the interface's facts as they were when the link was opened.
	Info() Info
	// Recv fills batch with frames that wait, without blocking and without a system call, oldest first, and returns
	// how many. Frames stay the link's memory; the caller gives all of them back by one Release before the next Recv.
	Recv(batch []Frame) int
	// Release gives the frames of the last Recv back to the link.
	Release()
	// Pending tells at the cost of a memory load whether Recv would return something.
	Pending() bool
	// Send sends msgs in order, without blocking. It returns how many of them are dealt with (sent, or refused with
	// their Err set); with fewer than len(msgs) the error says why it stopped: ErrFull, ErrDown, ErrClosed.
	Send(msgs []Msg) (int, error)
	// Inject sends one frame at once, outside of the lane's batches (announcements, deferred replies).
	// Safe for use by several goroutines.
	Inject(frame []byte) error
	// FD is a descriptor to poll: readable when Recv would return something, writable when Send would take something;
	// -1 when the link cannot be polled.
	FD() int
	// SetFilter says which targets' frames are wanted: frames for other addresses need not reach Recv and must not wake
	// the process. It is an optimisation: Recv may still return others. A nil filter wants everything.
	SetFilter(f *Filter) error
	// Drops returns how many frames the kernel lost since the link was opened because the ring was full.
	Drops() uint64
	// Close frees the link. No other method may run or be called afterwards, except Inject, which returns ErrClosed.
	Close() error
}

// Filter tells which frames are wanted: a lane's by Addrs, or an initiator's by Replies.
type Filter struct {
	Addrs   []aoe.Addr // addresses of the exports served on this interface, sorted; wildcards always pass
	Replies *Replies   // not nil: these, and Addrs means nothing
}

// Replies are what an initiator wants of one target: its replies to ATA commands whose tag has Tag in the bits of Mask, and all it says about
// its configuration, announcements included.
type Replies struct {
	Addr      aoe.Addr
	Tag, Mask uint32
}

// Checker is an optional ability of a Link: after poll reported an error state on FD, Check returns that error (ErrDown
// and the like) and clears it, or nil.
type Checker interface {
	Check() error
}

// Pinner is an optional ability of a Link: it sends faster what lies in memory that it knows. Its methods belong to the goroutine of Send, but for Pinning.
type Pinner interface {
	// Pin tells the link of a piece of memory, aligned to pages, out of which messages will be sent whose Head lies wholly in it and that have no Body. Nothing
	// else changes for the caller: such a message is not kept after Send either, and the memory may be written to. It takes the place of any pinned before;
	// nil pins none, which has to come before the memory is given back to the kernel. It returns false when the link has no use for it, now and later.
	Pin(mem []byte) bool
	// PinnedFrames returns how many frames left that way.
	PinnedFrames() uint64
	// Pinning tells as of when the link was opened whether it would, and if not why. An empty why means that nobody asked for it.
	Pinning() (would bool, why string)
}
