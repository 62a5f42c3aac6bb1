// Package state keeps what initiators have set on a target over restarts: its config string, its MAC mask list and its
// reserve list. Each export has a file of its own in the state directory, e.g. e0.1.json.
//
// Two promises count. A state that was saved is on stable storage before Save returns, and a crash at any moment leaves
// the old state or the new one, never a mixture. And a state that cannot be read is an error, never an empty
// state: a lost mask or reserve list would open the door to everybody.
package state

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
)

// DefaultDir is the state directory of a system service.
const DefaultDir = "/var/lib/goaoe"

// State is what is kept of one export. The zero value is that of an export that is new.
type State struct {
	Config  []byte    // config string, 0 to 1024 bytes, any bytes
	Mask    []aoe.MAC // MAC mask list, at most 255, in the order of the list
	Reserve []aoe.MAC // reserve list, at most 255
}

// ErrInUse is wrapped by errors that say that another process serves the export.
var ErrInUse = errors.New("already served by another goaoe")

// ErrDamaged is wrapped by errors that say that a state file cannot be understood.
var ErrDamaged = errors.New("damaged state file")

// Dir is an opened state directory.
type Dir struct {
	path string
	// fault, in tests, is asked before each step of a save and makes it fail.
	fault func(step string) error
}

// Open opens a state directory, which it makes when it is missing, and checks that files can be written there.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	fi, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if !fi.IsDir() {
		return nil, fmt.Errorf("state directory %s: is not a directory", path)
	}
	if err := unix.Access(path, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
		return nil, fmt.Errorf("state directory %s: %w", path, err)
	}
	return &Dir{path: path}, nil
}

// Path returns the directory's path.
func (d *Dir) Path() string { return d.path }

// MachineID returns an identity that the directory keeps for machines without one of their own; it is made at the first call.
func (d *Dir) MachineID() (string, error) {
	path := filepath.Join(d.path, "machine-id")
	if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return "", err
	}
	text := hex.EncodeToString(id)
	tmp := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.WriteFile(tmp, []byte(text+"\n"), 0o644); err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(tmp) }()
	// Of several daemons that start at once one wins, and all use what it made.
	if err := os.Link(tmp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}

// Entry is the state of one export, held by this process alone until Close.
type Entry struct {
	dir  *Dir
	addr aoe.Addr

	mu   sync.Mutex
	lock *os.File
	last []byte // content of the file; nil when there is none
}

// Volatile returns an entry that keeps nothing: Save succeeds and does nothing. It is for exports without a state directory.
func Volatile() *Entry { return &Entry{} }

// Acquire takes the export's entry for this process and reads its state. An export without a file has the zero State.
// Errors wrap ErrInUse or ErrDamaged where they apply.
func (d *Dir) Acquire(a aoe.Addr) (*Entry, State, error) {
	lock, err := d.lock(a)
	if err != nil {
		return nil, State{}, err
	}
	e := &Entry{dir: d, addr: a, lock: lock}
	s, err := e.load()
	if err != nil {
		e.Close()
		return nil, State{}, err
	}
	_ = os.Remove(e.temp()) // a save that did not finish: its request was never answered
	return e, s, nil
}

// lock takes the export's lock file. Locks of this kind vanish with their process, so that a killed one leaves nothing behind.
func (d *Dir) lock(a aoe.Addr) (*os.File, error) {
	path := filepath.Join(d.path, a.String()+".lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("%v: state directory: %w", a, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		who := ""
		if b, rerr := io.ReadAll(io.LimitReader(f, 32)); rerr == nil && len(b) > 0 {
			who = " (process " + strings.TrimSpace(string(b)) + ")"
		}
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%v: %w%s, which holds %s; stop it, choose another address, or use another state directory", a, ErrInUse, who, path)
		}
		return nil, fmt.Errorf("%v: locking %s: %w", a, path, err)
	}
	// The number is only for the message above; a disk that is full must not matter here.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

func (e *Entry) path() string { return filepath.Join(e.dir.path, e.addr.String()+".json") }
func (e *Entry) temp() string { return filepath.Join(e.dir.path, "."+e.addr.String()+".json.new") }

// load reads the file.
func (e *Entry) load() (State, error) {
	f, err := os.Open(e.path())
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("%v: reading its state: %w", e.addr, err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return State{}, fmt.Errorf("%v: reading its state %s: %w", e.addr, e.path(), err)
	}
	if len(data) > maxFile {
		err = fmt.Errorf("it has more than %d bytes", maxFile)
	}
	var s State
	if err == nil {
		s, err = decode(e.addr, data)
	}
	if err != nil {
		return State{}, fmt.Errorf("%v: %w %s: %w; the export is not served, because its mask and reserve list would be lost: "+
			"restore the file, or remove it to start with an empty config string and no restrictions", e.addr, ErrDamaged, e.path(), err)
	}
	e.last = data
	return s, nil
}

// Save makes s the export's state. When it returns nil, s is on stable storage. After an error the old state counts, also for
// the next start as far as the disk lets that be said.
func (e *Entry) Save(s State) error {
	if e.dir == nil {
		return s.check()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lock == nil {
		return fmt.Errorf("%v: saving its state: closed", e.addr)
	}
	data, err := encode(e.addr, s)
	if err != nil {
		return fmt.Errorf("%v: saving its state: %w", e.addr, err)
	}
	renamed, err := e.replace(data)
	if err == nil {
		e.last = data
		return nil
	}
	if renamed {
		// The new file is in place, but maybe not durably, and the initiator is told that it failed: put the old one back.
		if e.last == nil {
			_ = os.Remove(e.path())
		} else {
			_, _ = e.replace(e.last)
		}
	}
	return fmt.Errorf("%v: saving its state: %w", e.addr, err)
}

// replace writes the file anew. It tells whether the rename happened.
func (e *Entry) replace(data []byte) (renamed bool, err error) {
	defer func() {
		if err != nil && !renamed {
			_ = os.Remove(e.temp())
		}
	}()
	if err := e.step("create"); err != nil {
		return false, err
	}
	f, err := os.OpenFile(e.temp(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return false, err
	}
	if err := e.fill(f, data); err != nil {
		_ = f.Close()
		return false, err
	}
	if err := f.Close(); err != nil {
		return false, err
	}
	if err := e.step("rename"); err != nil {
		return false, err
	}
	if err := os.Rename(e.temp(), e.path()); err != nil {
		return false, err
	}
	return true, e.syncDir()
}

func (e *Entry) fill(f *os.File, data []byte) error {
	if err := e.step("write"); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := e.step("sync"); err != nil {
		return err
	}
	return f.Sync()
}

// syncDir makes the rename durable.
func (e *Entry) syncDir() error {
	if err := e.step("syncdir"); err != nil {
		return err
	}
	d, err := os.Open(e.dir.path)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}

func (e *Entry) step(name string) error {
	if e.dir.fault == nil {
		return nil
	}
	return e.dir.fault(name)
}

// Close lets go of the entry. The lock file stays: removing it would let two processes hold locks on two files of one name.
func (e *Entry) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lock != nil {
		_ = e.lock.Close()
		e.lock = nil
	}
}
