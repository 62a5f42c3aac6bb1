package initiator

import (
	"fmt"
	"math/rand/v2"
	"sync"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/link"
)

// A tag is, from the top: ownTag, the number of the Disk (idBits), a generation (genBits), the slot (slotBits). All sockets of a machine
// see all replies that come to it. Two disks of the same target, in one process or in two, must therefore never
// use the same tags: the data of one would be taken for that of the other.
const (
	// ownTag is set in all our tags: the Linux driver on the same machine leaves such replies to others.
	ownTag   = 1 << 31
	slotBits = 9
	idBits   = 7
	genBits  = 31 - idBits - slotBits
	maxSlots = 1 << slotBits // requests outstanding at most, over all paths
	genMax   = 1<<genBits - 1
)

// tagID is the number of a Disk in its tags.
type tagID struct {
	n  uint32
	fd int // holds the name; -1 when the kernel could not be asked
}

var tagIDs struct {
	sync.Mutex
	used [1 << idBits]bool
}

// newTagID takes a number that no other Disk in this network namespace has. The kernel keeps the list: an abstract Unix socket's name
// exists once per namespace, and goes with the process.
func newTagID() (tagID, error) {
	tagIDs.Lock()
	defer tagIDs.Unlock()
	first := rand.Uint32N(1 << idBits)
	for i := range uint32(1 << idBits) {
		n := (first + i) % (1 << idBits)
		if tagIDs.used[n] { // also by a Disk in another namespace: its interfaces may be on the same wire
			continue
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return tagID{}, fmt.Errorf("taking a number for tags: %w", err)
		}
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("@goaoe/initiator/%d", n)})
		if err == unix.EADDRINUSE {
			_ = unix.Close(fd)
			continue
		}
		if err != nil { // a sandbox without Unix sockets: chance must do
			_ = unix.Close(fd)
			fd = -1
		}
		tagIDs.used[n] = true
		return tagID{n, fd}, nil
	}
	return tagID{}, fmt.Errorf("%d disks are in use on this machine already, which is as many as there are tags for", 1<<idBits)
}

func (t tagID) free() {
	tagIDs.Lock()
	defer tagIDs.Unlock()
	tagIDs.used[t.n] = false
	if t.fd >= 0 {
		_ = unix.Close(t.fd)
	}
}

// tag makes the tag of a slot's generation.
func (t tagID) tag(slot int, gen uint32) uint32 {
	return ownTag | t.n<<(genBits+slotBits) | gen<<slotBits | uint32(slot)
}

// replies is what the Disk wants to receive: the kernel keeps answers to others from its sockets, and from waking it.
func (t tagID) replies(a aoe.Addr) *link.Filter {
	return &link.Filter{Replies: &link.Replies{Addr: a, Tag: t.tag(0, 0), Mask: ^uint32(1<<(genBits+slotBits) - 1)}}
}

// read takes a tag apart; ok is false when it is not one of this Disk.
func (t tagID) read(tag uint32) (slot int, gen uint32, ok bool) {
	return int(tag & (maxSlots - 1)), tag >> slotBits & genMax, tag>>(genBits+slotBits) == 1<<idBits|t.n
}
