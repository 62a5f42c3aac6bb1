package sys

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Poll waits until one of fds is ready, as ppoll(2) does, and returns how many have a result in Revents. timeoutNs is in
// nanoseconds: 0 looks without waiting, anything below 0 waits for ever. A descriptor of -1 is ignored. An interruption
// by a signal is no error: it returns 0, like a time-out, and the Revents are all 0. The call tells the scheduler that
// it may block. It does not allocate.
func Poll(fds []unix.PollFd, timeoutNs int64) (int, error) {
	var ts unix.Timespec
	var tp unsafe.Pointer
	if timeoutNs >= 0 {
		ts = unix.NsecToTimespec(timeoutNs)
		tp = unsafe.Pointer(&ts)
	}
	for i := range fds {
		fds[i].Revents = 0 // an interrupted call leaves them as they were
	}
	n, _, errno := unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)), uintptr(tp), 0, 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, fmt.Errorf("waiting for %d descriptors: %w", len(fds), errno)
}

// Yield lets another thread that waits for this processor run first. It is for loops that look for something; the call does not tell the scheduler that it may block.
func Yield() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
