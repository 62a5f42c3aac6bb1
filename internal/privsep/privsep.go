// Package privsep is how the daemon reaches files. A confined daemon (internal/sandbox) cannot open what it serves, reads and logs to
// by itself any more: a second process of goaoe, the opener, does it, which was started before and kept its rights. The opener holds every request
// against the configuration as it reads it itself, and passes a descriptor.
//
// The functions of this package are used in place of those of package os wherever a confined daemon opens something outside its state
// directory. Without an opener they do it themselves. The sandbox holds for the process as a whole, and so does Use.
package privsep

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Kind is what a file is opened as. The opener has a rule for each.
type Kind string

// The kinds.
const (
	Source Kind = "source" // what an export serves: a file or a block device
	Config Kind = "config" // the configuration, and what it refers to; for reading only
	Log    Kind = "log"    // a log file
)

// Facts are what Stat tells.
type Facts struct {
	Dev, Ino, Rdev uint64
	Mode           uint32 // as in struct stat
	Size           int64  // bytes
}

// Agent opens for this process.
type Agent interface {
	// Open returns a descriptor that is closed by exec. flags are those of open(2).
	Open(k Kind, path string, flags int, perm uint32) (fd int, err error)
	Stat(k Kind, path string) (Facts, error)
	// Device returns the path of the device that blkid knows by a tag, e.g. UUID; "" for none.
	Device(tag, value string) string
	// Permits says why a source may not be opened, or nil.
	Permits(source string) error
	// WriteAll is WriteFiles for drop-ins.
	WriteAll(dir string, files map[string][]byte) error
	// Remove removes a control socket.
	Remove(path string) error
	// SendBuffer sets a socket's send buffer, in bytes, beyond the system's limit.
	SendBuffer(fd, bytes int) error
}

var agent atomic.Pointer[Agent]

// Use makes a the one who opens for this process from now on; nil: the process itself.
func Use(a Agent) {
	if a == nil {
		agent.Store(nil)
		return
	}
	agent.Store(&a)
}

// current returns who opens.
func current() Agent {
	if a := agent.Load(); a != nil {
		return *a
	}
	return Direct{}
}

// OpenSource opens what an export serves.
func OpenSource(path string, flags int) (fd int, err error) {
	return current().Open(Source, path, flags, 0)
}

// StatSource looks at what an export serves.
func StatSource(path string) (Facts, error) { return current().Stat(Source, path) }

// Permits says why a source may not be opened by this process; nil: it may, as far as its owner and mode allow.
func Permits(source string) error { return current().Permits(source) }

// Device returns the path of the device that the program blkid knows by a tag such as UUID; "" for none.
func Device(tag, value string) string { return current().Device(tag, value) }

// WriteAll writes drop-ins into a folder; see WriteFiles.
func WriteAll(dir string, files map[string][]byte) error { return current().WriteAll(dir, files) }

// Remove removes a control socket.
func Remove(path string) error { return current().Remove(path) }

// SendBuffer sets the send buffer of a socket in bytes, beyond the system's limit. It fails without CAP_NET_ADMIN.
func SendBuffer(fd, bytes int) error { return current().SendBuffer(fd, bytes) }

// openFile makes an *os.File of an opened path. Errors are *fs.PathError, as those of os.Open.
func openFile(k Kind, path string, flags int, perm uint32) (*os.File, error) {
	fd, err := current().Open(k, path, flags, perm)
	if err != nil {
		return nil, pathError("open", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// OpenLog opens a log file for appending, and makes it where it is missing, for its owner to write and the group to read. O_NONBLOCK keeps a
// named pipe from waiting for a reader.
func OpenLog(path string) (*os.File, error) {
	return openFile(Log, path, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT|unix.O_NONBLOCK|unix.O_NOCTTY, 0o640)
}

// StatLog looks at a log file.
func StatLog(path string) (Facts, error) {
	f, err := current().Stat(Log, path)
	return f, pathError("stat", path, err)
}

// Open opens a file of the configuration.
func Open(path string) (*os.File, error) { return openFile(Config, path, unix.O_RDONLY, 0) }

// Stat looks at a file of the configuration.
func Stat(path string) (Facts, error) {
	f, err := current().Stat(Config, path)
	return f, pathError("stat", path, err)
}

// ReadFile reads a file of the configuration.
func ReadFile(path string) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(f)
}

// ReadDir lists a folder of the configuration, sorted by name.
func ReadDir(path string) ([]fs.DirEntry, error) {
	f, err := openFile(Config, path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	list, err := f.ReadDir(-1)
	sortEntries(list)
	return list, err
}

// Glob is filepath.Glob for files of the configuration. The pattern is absolute.
func Glob(pattern string) ([]string, error) {
	found, err := fs.Glob(tree{}, strings.TrimPrefix(filepath.Clean(pattern), "/"))
	for i := range found {
		found[i] = "/" + found[i]
	}
	return found, err
}

// Regular tells whether it is a regular file.
func (f Facts) Regular() bool { return f.Mode&unix.S_IFMT == unix.S_IFREG }

// Dir tells whether it is a folder.
func (f Facts) Dir() bool { return f.Mode&unix.S_IFMT == unix.S_IFDIR }

func pathError(op, path string, err error) error {
	var p *fs.PathError
	if err == nil || errors.As(err, &p) {
		return err
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}
