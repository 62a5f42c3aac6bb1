package file

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"goaoe/internal/privsep"
)

// openFiles opens the path, buffered, and finds out what it is.
func (s *Store) openFiles() error {
	st, err := privsep.StatSource(s.path)
	if err != nil {
		return s.explain("opening", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFBLK:
		s.dev = true
	case unix.S_IFDIR:
		return fmt.Errorf("%s is a directory: name a file or a block device in it", s.path)
	default:
		return fmt.Errorf("%s is neither a file nor a block device", s.path)
	}
	if s.dev && !s.opts.ReadOnly && !s.opts.Force {
		if err := s.claim.take(s.path, st.Rdev); err != nil {
			return s.explain("claiming", err)
		}
	}
	wait := 0
	if !s.dev {
		wait = unix.O_NONBLOCK // what became a FIFO meanwhile must not block here
	}
	fd, err := privsep.OpenSource(s.path, s.mode()|wait)
	if err != nil {
		return s.explain("opening", err)
	}
	s.fd, s.bufFD = fd, fd
	if err := setFlags(fd, 0); err != nil {
		return s.explain("opening", err)
	}
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil {
		return s.explain("looking at", err)
	}
	if now.Mode != st.Mode || uint64(now.Rdev) != st.Rdev { //nolint:unconvert // of other widths elsewhere
		return fmt.Errorf("%s was replaced while it was opened: try again", s.path)
	}
	if s.dev && !s.opts.ReadOnly {
		if ro, err := ioctlInt(fd, unix.BLKROGET); err == nil && ro != 0 {
			return s.explain("opening", unix.EROFS)
		}
	}
	return nil
}

// setFlags sets the flags of an open file, and O_NOATIME where that is allowed, which is to the file's owner: a target reads all the time, that it did is worth no write to the disk, and
// whether there has to be one the kernel would look up for each read.
func setFlags(fd, flags int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_NOATIME)
	if errors.Is(err, unix.EPERM) {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags)
	}
	return err
}

func (s *Store) mode() int {
	const common = unix.O_CLOEXEC | unix.O_LARGEFILE
	if s.opts.ReadOnly {
		return unix.O_RDONLY | common
	}
	return unix.O_RDWR | common
}

// openDirect adds the descriptor for direct I/O; the buffered one stays for requests that do not fit.
func (s *Store) openDirect() error {
	if s.dioMask < 0 {
		return fmt.Errorf("%s: direct I/O is not possible on this file system: set direct-io = false", s.path)
	}
	fd, err := privsep.OpenSource(s.path, s.mode()|unix.O_DIRECT)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("%s: direct I/O is not possible on this file system (%w): set direct-io = false", s.path, err)
	}
	if err != nil {
		return s.explain("opening", err)
	}
	if err := setFlags(fd, unix.O_DIRECT); err != nil {
		return errors.Join(s.explain("opening", err), unix.Close(fd))
	}
	// Read-ahead would bring pages into the cache that direct writes are changing.
	_ = unix.Fadvise(s.bufFD, 0, 0, unix.FADV_RANDOM)
	// Pages that are cached already make each direct write to them wait for their removal, in a kernel thread and one after
	// the other (measured: half the rate). So let go of them now.
	_ = unix.Fadvise(s.bufFD, 0, 0, unix.FADV_DONTNEED)
	s.fd = fd
	return nil
}

// explain turns an error of the kernel into one line with a hint.
func (s *Store) explain(what string, err error) error {
	hint := ""
	var e unix.Errno
	_ = errors.As(err, &e) // stays 0 when it is no error of the kernel
	switch e {
	case unix.ENOENT, unix.ENOTDIR:
		hint = "there is no such file or device; make a sparse file with: truncate -s 10G " + s.path
	case unix.EACCES, unix.EPERM:
		hint = "run as root or give the user access, or set read-only = true if it may only be read"
		if s.dev && !s.opts.ReadOnly && unix.Access(s.path, unix.W_OK) == nil {
			hint = "the device is read-only: set read-only = true"
		}
	case unix.EROFS:
		hint = "it can only be read: set read-only = true"
	case unix.EBUSY:
		hint = "the device is mounted or in use (see lsblk, /proc/mounts): unmount it, or set read-only = true, " +
			"or force = true if you are sure"
	case unix.ENXIO, unix.ENODEV, unix.ENOMEDIUM:
		hint = "the device is not there or has no medium"
	case unix.ETXTBSY:
		hint = "the file is in use as a program or as swap space"
	case unix.EMFILE, unix.ENFILE:
		hint = "raise ulimit -n (LimitNOFILE= in a systemd unit)"
	}
	if hint == "" {
		return fmt.Errorf("%s %s: %w", what, s.path, err)
	}
	return fmt.Errorf("%s %s: %w: %s", what, s.path, err, hint)
}

// claim is the exclusive use of a block device, shared by all stores of this process (several windows of one disk).
type claim struct {
	held bool
	rdev uint64
	fd   int // the descriptor that holds it; not the claim's own
}

var claims struct {
	sync.Mutex
	m map[uint64]*claimed
}

type claimed struct{ fd, users int }

// take opens the device with O_EXCL, which the kernel refuses while it is mounted or held by another (open(2)).
func (c *claim) take(path string, rdev uint64) error {
	claims.Lock()
	defer claims.Unlock()
	d := claims.m[rdev]
	if d == nil {
		fd, err := privsep.OpenSource(path, unix.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC)
		if err != nil {
			return err
		}
		d = &claimed{fd: fd}
		if claims.m == nil {
			claims.m = make(map[uint64]*claimed)
		}
		claims.m[rdev] = d
	}
	d.users++
	c.held, c.rdev, c.fd = true, rdev, d.fd
	return nil
}

func (c *claim) release() {
	if !c.held {
		return
	}
	c.held = false
	claims.Lock()
	defer claims.Unlock()
	d := claims.m[c.rdev]
	if d.users--; d.users == 0 {
		_ = unix.Close(d.fd)
		delete(claims.m, c.rdev)
	}
}
