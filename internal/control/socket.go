package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/privsep"
)

// SocketOptions say what a control socket is.
type SocketOptions struct {
	Path  string      // absolute, at most 107 bytes (unix(7))
	Mode  os.FileMode // permissions; 0: 0660
	Group string      // name or number; empty: the process's own
}

// Socket is a listening control socket. It is the only one with its path: a lock beside it says so, which the kernel gives up with the
// process, however that ends.
type Socket struct {
	net.Listener
	path string
	lock *os.File
	once sync.Once
	err  error // of Close
}

// maxSocketPath is the longest path of a Unix socket in bytes.
const maxSocketPath = 107

// Listen opens a control socket. The folder is made when it is missing. What a daemon that died left behind is taken over; a socket
// that another process serves, and anything that is no socket, is not.
func Listen(o SocketOptions) (_ *Socket, err error) {
	if !filepath.IsAbs(o.Path) {
		return nil, fmt.Errorf("control socket %s: not an absolute path", o.Path)
	}
	if len(o.Path) > maxSocketPath {
		return nil, fmt.Errorf("control socket %s: %d characters are more than the %d that a socket's path can have", o.Path, len(o.Path), maxSocketPath)
	}
	gid := -1
	if o.Group != "" {
		if gid, err = groupID(o.Group); err != nil {
			return nil, fmt.Errorf("control socket %s: %w", o.Path, err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o755); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	s := &Socket{path: o.Path}
	if s.lock, err = takeLock(o.Path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.lock.Close()
		}
	}()
	if err := removeStale(o.Path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: o.Path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // Close does it, under the lock
	s.Listener = l
	mode := o.Mode
	if mode == 0 {
		mode = 0o660
	}
	if gid >= 0 {
		err = os.Chown(o.Path, -1, gid)
	}
	if err == nil {
		err = os.Chmod(o.Path, mode)
	}
	if err != nil {
		_ = l.Close()
		_ = os.Remove(o.Path)
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return s, nil
}

// Path returns where the socket is.
func (s *Socket) Path() string { return s.path }

// Close removes the socket. It may be called again. The lock's file stays: removing it would let two processes have one each.
func (s *Socket) Close() error {
	s.once.Do(func() {
		err := privsep.Remove(s.path)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		s.err = errors.Join(err, s.Listener.Close(), s.lock.Close())
	})
	return s.err
}

// groupID returns the number of a group.
func groupID(name string) (int, error) {
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("there is no group %q; groupadd --system %s makes it", name, name)
	}
	return strconv.Atoi(g.Gid)
}

// takeLock takes the lock of a socket, or says who has it.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("the control socket %s is used by another goaoe%s: %w", path, owner(path), ErrInUse)
		}
		return nil, fmt.Errorf("control socket: locking %s: %w", path+".lock", err)
	}
	return f, nil
}

// ErrInUse is what Listen fails with when another process has the socket.
var ErrInUse = errors.New("two daemons cannot share it; goaoe status asks the other one, and --socket names another")

// owner says which process listens on a socket, as far as it tells.
func owner(path string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c := NewClient(path)
	defer c.Close()
	st, err := c.Status(ctx)
	if err != nil {
		return ""
	}
	return " (process " + strconv.Itoa(st.PID) + ")"
}

// removeStale removes a socket that nobody listens on any more. The lock is held, so no goaoe does; another program may.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if st.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("control socket: %s is there and is no socket; remove it, or choose another path", path)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return fmt.Errorf("the control socket %s is used by another program: %w", path, ErrInUse)
	}
	return os.Remove(path)
}

// UserSocket is where the daemon of an ordinary user listens when DefaultSocket cannot be had; "" when the session has no folder for it.
func UserSocket() string {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(dir) || strings.ContainsRune(dir, 0) {
		return ""
	}
	return filepath.Join(dir, "goaoe", "control.sock")
}
