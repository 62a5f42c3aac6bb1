package sys

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// EventFD is a flag with a descriptor: Signal raises it, which makes the descriptor readable and wakes whoever polls it;
// Drain lowers it again. All methods but Close may be called from any goroutine at any time.
type EventFD struct{ fd int }

// NewEventFD returns a lowered flag. Its descriptor is not inherited by other programs.
func NewEventFD() (*EventFD, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making an eventfd: %w", err)
	}
	return &EventFD{fd: fd}, nil
}

// Signal raises the flag. Raising it again before a Drain changes nothing. It neither blocks nor allocates: the counter
// behind it can only be too full to grow, and then the flag is up.
func (e *EventFD) Signal() {
	one := uint64(1)
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(e.fd), uintptr(unsafe.Pointer(&one)), 8)
		if errno != unix.EINTR {
			return
		}
	}
}

// Drain lowers the flag and tells whether it was up. It neither blocks nor allocates.
func (e *EventFD) Drain() bool {
	var v uint64
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(e.fd), uintptr(unsafe.Pointer(&v)), 8)
		if errno != unix.EINTR {
			return errno == 0
		}
	}
}

// FD returns the descriptor to poll for POLLIN, -1 after Close.
func (e *EventFD) FD() int { return e.fd }

// Close gives the descriptor back. No other method may run at the same time; a second Close does nothing.
func (e *EventFD) Close() error {
	if e.fd < 0 {
		return nil
	}
	fd := e.fd
	e.fd = -1
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("closing an eventfd: %w", err)
	}
	return nil
}
