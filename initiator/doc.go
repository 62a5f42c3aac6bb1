// Package initiator is the other end of ATA over Ethernet in user space: it finds targets and uses their disks, without a kernel
// driver. It runs on Linux and needs permission for packet sockets: root, or the capability CAP_NET_RAW.
//
// [Discover] finds out who is there. [Open] gives a [Disk], which implements io.ReaderAt and io.WriterAt; a [Queue] keeps many
// requests under way from one goroutine. [Dial] gives a [Session] for commands that are not about a disk's data: config string,
// MAC mask, reservation. Offsets and lengths are bytes and multiples of [SectorSize], 512.
//
// # Frames
//
// A Disk splits what it is asked into frames: as many sectors as target, interface and the path between them carry. What the two ends
// say is not believed: a path carries large frames when a probe of that size was answered. When large frames stop passing, those
// under way go out again in small ones, the path keeps to them (event [Reduced]), and larger ones are tried again later
// ([Raised]).
//
// At most as many requests are outstanding on a path as the target has buffers; fewer after losses, as in TCP. What gets no
// answer is repeated after a time that follows the measured round trip (10 ms to 2 s), then after twice that time, and so on; a READ that was
// overtaken by many younger ones at once. After Options.Timeout the request fails with [ErrTimeout]. A target that says that its disk is
// away is asked again for that long too ([ErrUnavailable]); other errors are final.
//
// # Paths
//
// A path is an interface of ours and a MAC address of the target. All that answer under the address are used at the same time,
// when IDENTIFY DEVICE on each gives the same serial number, model and size; anything else is refused ([PathRefused]). New requests go to
// the path with the fewest outstanding. A path that is silent for longer than usual (100 ms or more) is left by what is
// under way on it, and is down after 2 s ([PathDown]). It is asked on until it answers, and then used again ([PathUp]). Without any path
// ([Gone]) requests wait until one is there or their time is over. A target may come back with another MAC address or on another
// interface.
//
// A new size ([Grown], [Shrunk]) counts when all paths show it. Announcements of the target, requests beyond its end, and
// [Disk.Refresh] have it looked at.
//
// # Order
//
// Requests on the same sectors, one of them a write, are never under way at the same time; they take effect in the order in which they
// were made, as far as one goroutine makes them. A write that had to be repeated leaves copies of itself in the network, which must not
// arrive after a newer write. Its sectors rest after the answer: newer writes to them wait until a READ sent behind the
// copies on each path that carried one was answered, and for 4 s at most where a path stays silent. See ARCHITECTURE.md for the
// reasons and the limits.
//
// # Durability
//
// A write is done when the target says so. goaoe says so when the data is on stable storage, unless its user chose otherwise; other
// targets say so earlier. [Disk.Flush] asks for it.
//
// # Goroutines
//
// Whoever waits, receives: a goroutine in ReadAt or Queue.Wait polls the network itself, for all. No request costs an
// allocation or a hand-over to another goroutine in steady state. One goroutine per Disk looks after everything when nobody waits; Close
// ends it.
package initiator
