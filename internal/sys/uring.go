package sys

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ring is an io_uring: operations are put into a queue in memory (Read, Write ...), handed over in one system call (Enter) and come
// back through a second queue (Next). All of that belongs to one goroutine, locked to its thread from the first Enter on;
// NewRing and Close may run elsewhere. Nothing allocates after NewRing.
//
// Sources: io_uring_setup(2), io_uring_enter(2), include/uapi/linux/io_uring.h of Linux 6.18.
type Ring struct {
	fd      int
	event   int    // eventfd that the kernel signals when something completes
	flags   uint32 // IORING_SETUP_* that the kernel accepted
	enabled bool

	sqMem, sqeMem  []byte // mappings: both queues, the entries
	sqes           []sqe
	sqHead, sqTail *uint32
	sqFlags        *uint32
	sqMask         uint32
	cqHead, cqTail *uint32
	cqMask         uint32
	cqes           []cqe
	tail           uint32 // our tail: entries filled, not all of them published
	head           uint32 // our copy of the completion queue's head
	// noFiles holds the places for registered files that are not taken; nil before the first, empty where the kernel has none.
	noFiles []int32
	// fileArg is what setFile passes by its address inside another structure. On a stack it could move in between, and another file be registered.
	fileArg int32
}

// sqe is struct io_uring_sqe, 64 bytes.
type sqe struct {
	op     uint8
	flags  uint8
	ioprio uint16
	fd     int32
	off    uint64
	addr   uint64
	len    uint32
	opFlag uint32
	user   uint64
	_      [24]byte
}

// cqe is struct io_uring_cqe, 16 bytes.
type cqe struct {
	user  uint64
	res   int32
	flags uint32
}

// sqOffsets and cqOffsets are struct io_sqring_offsets and io_cqring_offsets.
type sqOffsets struct {
	head, tail, ringMask, ringEntries, flags, dropped, array, _ uint32
	_                                                           uint64
}

type cqOffsets struct {
	head, tail, ringMask, ringEntries, overflow, cqes, flags, _ uint32
	_                                                           uint64
}

// uringParams is struct io_uring_params.
type uringParams struct {
	sqEntries, cqEntries, flags, cpu, idle, features, wqFD uint32
	_                                                      [3]uint32
	sq                                                     sqOffsets
	cq                                                     cqOffsets
}

// Numbers of include/uapi/linux/io_uring.h.
const (
	setupCQSize       = 1 << 3
	setupClamp        = 1 << 4
	setupRDisabled    = 1 << 6
	setupSubmitAll    = 1 << 7
	setupCoopTaskrun  = 1 << 8
	setupTaskrunFlag  = 1 << 9
	setupSingleIssuer = 1 << 12
	setupDeferTaskrun = 1 << 13
	setupNoSQArray    = 1 << 16

	featSingleMmap = 1 << 0
	featNoDrop     = 1 << 1

	offSQRing = 0
	offCQRing = 0x8000000
	offSQEs   = 0x10000000

	enterGetEvents = 1 << 0

	sqCQOverflow = 1 << 1
	sqTaskrun    = 1 << 2

	opNop       = 0
	opReadv     = 1
	opWritev    = 2
	opFsync     = 3
	opFallocate = 17
	opRead      = 22
	opWrite     = 23

	fsyncDatasync = 1

	sqeFixedFile = 1 << 0

	registerFiles          = 2
	registerEventFD        = 4
	registerFilesUpdate    = 6
	registerProbe          = 8
	registerEnableRings    = 12
	registerIOWQMaxWorkers = 19
)

// setupLevels are the flags to try, best first: Linux 6.6, 6.1, 6.0, 5.19, 5.6.
var setupLevels = []uint32{
	setupNoSQArray | setupDeferTaskrun | setupSingleIssuer | setupTaskrunFlag | setupSubmitAll | setupRDisabled,
	setupDeferTaskrun | setupSingleIssuer | setupTaskrunFlag | setupSubmitAll | setupRDisabled,
	setupSingleIssuer | setupCoopTaskrun | setupTaskrunFlag | setupSubmitAll | setupRDisabled,
	setupCoopTaskrun | setupTaskrunFlag | setupSubmitAll,
	0,
}

// NewRing makes a ring with room for entries operations between two Enters (a power of two, 1 to 4096) and four times
// as many completions. Errors say which setting or filter is in the way when io_uring cannot be had.
func NewRing(entries int) (*Ring, error) { return newRing(entries, setupLevels) }

func newRing(entries int, levels []uint32) (*Ring, error) {
	var err error
	for _, level := range levels {
		var p uringParams
		p.flags = level | setupCQSize | setupClamp
		p.cqEntries = uint32(entries) * 4
		fd, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(&p)), 0)
		if e == unix.EINVAL {
			err = uringError(e)
			continue
		}
		if e != 0 {
			return nil, uringError(e)
		}
		r := &Ring{fd: int(fd), event: -1, flags: p.flags}
		if err := r.setup(&p); err != nil {
			_ = r.Close()
			return nil, err
		}
		return r, nil
	}
	return nil, err
}

func (r *Ring) setup(p *uringParams) error {
	if p.features&(featSingleMmap|featNoDrop) != featSingleMmap|featNoDrop {
		return errors.New("io_uring of this kernel is too old: Linux 5.6 is needed")
	}
	size := max(p.sq.array+p.sqEntries*4, p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(cqe{})))
	if p.flags&setupNoSQArray != 0 {
		size = p.cq.cqes + p.cqEntries*uint32(unsafe.Sizeof(cqe{}))
	}
	const prot, how = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	var err error
	if r.sqMem, err = unix.Mmap(r.fd, offSQRing, int(size), prot, how); err != nil {
		return fmt.Errorf("io_uring: mapping %d bytes of queues: %w", size, err)
	}
	n := int(p.sqEntries) * int(unsafe.Sizeof(sqe{}))
	if r.sqeMem, err = unix.Mmap(r.fd, offSQEs, n, prot, how); err != nil {
		return fmt.Errorf("io_uring: mapping %d bytes of entries: %w", n, err)
	}
	word := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.sqMem[off])) }
	r.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(&r.sqeMem[0])), p.sqEntries)
	r.sqHead, r.sqTail, r.sqFlags, r.sqMask = word(p.sq.head), word(p.sq.tail), word(p.sq.flags), *word(p.sq.ringMask)
	r.cqHead, r.cqTail, r.cqMask = word(p.cq.head), word(p.cq.tail), *word(p.cq.ringMask)
	r.cqes = unsafe.Slice((*cqe)(unsafe.Pointer(&r.sqMem[p.cq.cqes])), p.cqEntries)
	if p.flags&setupNoSQArray == 0 {
		array := unsafe.Slice(word(p.sq.array), p.sqEntries)
		for i := range array {
			array[i] = uint32(i)
		}
	}
	if err := r.probe(); err != nil {
		return err
	}
	return r.makeEvent()
}

// makeEvent gives the ring something to poll. The ring's own descriptor is not enough: measured on Linux 6.18, poll on it is not
// woken with IORING_SETUP_DEFER_TASKRUN when an operation finishes, because the completion is made in the next Enter only.
func (r *Ring) makeEvent() error {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("io_uring: making its eventfd: %w", err)
	}
	r.event = fd
	arg := int32(fd)
	_, _, e := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), registerEventFD, uintptr(unsafe.Pointer(&arg)), 1, 0, 0)
	if e != 0 {
		return fmt.Errorf("io_uring: registering its eventfd: %w", e)
	}
	return nil
}

// probe checks that the kernel knows the operations used here.
func (r *Ring) probe() error {
	const ops = 32
	var buf [16 + ops*8]byte // struct io_uring_probe with its struct io_uring_probe_op
	_, _, e := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), registerProbe, uintptr(unsafe.Pointer(&buf)), ops, 0, 0)
	if e != 0 {
		return fmt.Errorf("io_uring of this kernel is too old: Linux 5.6 is needed: %w", e)
	}
	for _, op := range []int{opNop, opReadv, opWritev, opFsync, opFallocate, opRead, opWrite} {
		if flags := buf[16+op*8+2]; flags&1 == 0 {
			return fmt.Errorf("io_uring of this kernel lacks operation %d: Linux 5.6 is needed", op)
		}
	}
	return nil
}

// uringError explains why io_uring_setup failed.
func uringError(e unix.Errno) error {
	hint := ""
	switch e {
	case unix.ENOSYS:
		hint = "the kernel has no io_uring, or a container's seccomp filter hides it"
	case unix.EPERM, unix.EACCES:
		hint = "a seccomp filter (as in a container) or a security module forbids it"
		if v, err := os.ReadFile("/proc/sys/kernel/io_uring_disabled"); err == nil {
			switch strings.TrimSpace(string(v)) {
			case "1":
				hint = "sysctl kernel.io_uring_disabled is 1: it needs CAP_SYS_ADMIN or the group of kernel.io_uring_group"
			case "2":
				hint = "sysctl kernel.io_uring_disabled is 2: set it to 0"
			}
		}
	case unix.ENOMEM:
		hint = "locked memory is limited: raise ulimit -l (LimitMEMLOCK= in a systemd unit)"
	case unix.EMFILE, unix.ENFILE:
		hint = "raise ulimit -n (LimitNOFILE= in a systemd unit)"
	case unix.EINVAL:
		hint = "the kernel's io_uring is too old: Linux 5.6 is needed"
	}
	if hint == "" {
		return fmt.Errorf("io_uring cannot be set up: %w", e)
	}
	return fmt.Errorf("io_uring cannot be set up: %w (%s)", e, hint)
}

// FD returns the descriptor to poll before going to sleep: readable when Waiting is or becomes true, or after a write of an
// eventfd's 8 byte number to EventFD. Call it anew before each sleep: it takes back old wake-ups, so a descriptor kept from
// earlier wakes too often (never too rarely).
func (r *Ring) FD() int {
	var b [8]byte
	_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(r.event), uintptr(unsafe.Pointer(&b)), 8)
	if r.Waiting() {
		one := uint64(1)
		_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(r.event), uintptr(unsafe.Pointer(&one)), 8)
	}
	return r.event
}

// EventFD is the descriptor of FD, without taking back anything, for other goroutines that want to wake the ring's owner.
func (r *Ring) EventFD() int { return r.event }

// Size is how many operations can wait for one Enter.
func (r *Ring) Size() int { return len(r.sqes) }

// CQSize is how many completions fit; more are kept by the kernel and delivered later, none is lost.
func (r *Ring) CQSize() int { return len(r.cqes) }

// Queued is how many operations wait for Enter.
func (r *Ring) Queued() int { return int(r.tail - atomic.LoadUint32(r.sqHead)) }

// next returns a cleared entry, or nil when the queue is full until the next Enter.
func (r *Ring) next() *sqe {
	if r.Queued() >= len(r.sqes) {
		return nil
	}
	e := &r.sqes[r.tail&r.sqMask]
	*e = sqe{}
	r.tail++
	return e
}

// Read queues a pread of len(buf) bytes at off of fd, a descriptor or what FixFile returned. The caller keeps buf (never empty) alive and in place until the completion
// with this user value. It returns false, and queues nothing, when the queue is full.
func (r *Ring) Read(fd int, buf []byte, off int64, user uint64) bool {
	return r.rw(opRead, fd, buf, off, 0, user)
}

// Write queues a pwritev2 of buf at off with flags RWF_*. See Read.
func (r *Ring) Write(fd int, buf []byte, off int64, flags uint32, user uint64) bool {
	return r.rw(opWrite, fd, buf, off, flags, user)
}

// Readv queues a preadv into the pieces of v from index from on, of which there is at least one. They stay the caller's as in Read; the list of them must
// stay as it is until Queued is 0. See Read.
func (r *Ring) Readv(fd int, v *Vector, from int, off int64, user uint64) bool {
	return r.list(opReadv, fd, v.iov[from:], off, 0, user)
}

// Writev queues a pwritev2 of the pieces of v from index from on, with flags RWF_*. See Readv.
func (r *Ring) Writev(fd int, v *Vector, from int, off int64, flags uint32, user uint64) bool {
	return r.list(opWritev, fd, v.iov[from:], off, flags, user)
}

func (r *Ring) rw(op uint8, fd int, buf []byte, off int64, flags uint32, user uint64) bool {
	return r.transfer(op, fd, unsafe.Pointer(unsafe.SliceData(buf)), len(buf), off, flags, user)
}

func (r *Ring) list(op uint8, fd int, iov []unix.Iovec, off int64, flags uint32, user uint64) bool {
	return r.transfer(op, fd, unsafe.Pointer(unsafe.SliceData(iov)), len(iov), off, flags, user)
}

func (r *Ring) transfer(op uint8, fd int, addr unsafe.Pointer, n int, off int64, flags uint32, user uint64) bool {
	e := r.next()
	if e == nil {
		return false
	}
	e.op, e.fd, e.off, e.opFlag, e.user = op, int32(fd), uint64(off), flags, user
	if fd < -1 {
		e.fd, e.flags = int32(fixedFile(fd)), sqeFixedFile
	}
	e.addr, e.len = uint64(uintptr(addr)), uint32(n)
	return true
}

// Datasync queues an fdatasync of fd. It covers what completed before the Enter that hands it over.
func (r *Ring) Datasync(fd int, user uint64) bool {
	e := r.next()
	if e == nil {
		return false
	}
	e.op, e.fd, e.opFlag, e.user = opFsync, int32(fd), fsyncDatasync, user
	return true
}

// Fallocate queues a fallocate of n bytes at off with mode FALLOC_FL_*.
func (r *Ring) Fallocate(fd int, mode uint32, off, n int64, user uint64) bool {
	e := r.next()
	if e == nil {
		return false
	}
	e.op, e.fd, e.off, e.addr, e.len, e.user = opFallocate, int32(fd), uint64(off), uint64(n), mode, user
	return true
}

// Nop queues an operation that does nothing but complete.
func (r *Ring) Nop(user uint64) bool {
	e := r.next()
	if e == nil {
		return false
	}
	e.op, e.user = opNop, user
	return true
}

// Enter hands the queued operations to the kernel and lets it deliver completions that it has. It does not wait. EAGAIN and
// EBUSY mean that the kernel is short of memory or has many completions set aside: reap, then call again; what was not taken
// stays queued. EEXIST means that another thread than before called.
//
// The call holds the Go scheduler's P: it is short, for what would block is passed to kernel threads.
func (r *Ring) Enter() unix.Errno {
	if !r.enabled {
		if e := r.enable(); e != 0 {
			return e
		}
	}
	atomic.StoreUint32(r.sqTail, r.tail)
	for {
		n := r.Queued()
		_, _, e := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(n), 0, enterGetEvents, 0, 0)
		if e == unix.EINTR || (e == 0 && n > 0 && r.Queued() > 0 && r.Queued() < n) {
			continue
		}
		return e
	}
}

// maxWorkers bounds the kernel threads that carry out what cannot be done without waiting. The kernel's default of four for each
// processor would let one hanging device starve the others of the lane.
const maxWorkers = 512

// enable makes the calling thread the ring's one submitter.
func (r *Ring) enable() unix.Errno {
	if r.flags&setupRDisabled != 0 {
		_, _, e := unix.RawSyscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), registerEnableRings, 0, 0, 0, 0)
		if e != 0 {
			return e
		}
	}
	limits := [2]uint32{maxWorkers, 0} // bounded (files and disks), unbounded; 0: as it is
	_, _, _ = unix.RawSyscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), registerIOWQMaxWorkers, uintptr(unsafe.Pointer(&limits)), 2, 0, 0)
	r.enabled = true
	return 0
}

// Next returns the next completion: the user value of its operation and the result, negative for an errno. ok is false when
// none is there (yet).
func (r *Ring) Next() (user uint64, res int32, ok bool) {
	if r.head == atomic.LoadUint32(r.cqTail) {
		return 0, 0, false
	}
	c := &r.cqes[r.head&r.cqMask]
	user, res = c.user, c.res
	r.head++
	atomic.StoreUint32(r.cqHead, r.head)
	return user, res, true
}

// Waiting tells, without a system call, that Next has something or that the next Enter will bring something.
func (r *Ring) Waiting() bool { return r.head != atomic.LoadUint32(r.cqTail) || r.MustEnter() }

// MustEnter tells that the kernel has completions that only an Enter delivers.
func (r *Ring) MustEnter() bool { return atomic.LoadUint32(r.sqFlags)&(sqTaskrun|sqCQOverflow) != 0 }

// Close frees the ring. What is in flight is cancelled or finishes without report, possibly after Close returned: its buffers
// must stay allocated unless nothing is in flight.
func (r *Ring) Close() error {
	err := unix.Close(r.fd)
	if r.event >= 0 {
		_ = unix.Close(r.event)
	}
	for _, m := range [][]byte{r.sqMem, r.sqeMem} {
		if m != nil {
			_ = unix.Munmap(m)
		}
	}
	r.sqMem, r.sqeMem, r.sqes, r.cqes = nil, nil, nil, nil
	return err
}
