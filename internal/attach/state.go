package attach

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
)

// Dir is the run directory of root. It is not below /run/goaoe, which systemd removes when the target's service stops.
const Dir = "/run/goaoe-attach"

// DefaultDir is Dir for root, and for others one below $XDG_RUNTIME_DIR.
func DefaultDir() string {
	if d := os.Getenv("XDG_RUNTIME_DIR"); os.Geteuid() != 0 && d != "" {
		return filepath.Join(d, "goaoe-attach")
	}
	return Dir
}

// Status is what is known of an attached disk.
type Status struct {
	Address  string    `json:"address"`
	State    string    `json:"state"`            // "attached", "no path" while no target answers, "dead" when its process is gone
	Device   string    `json:"device,omitempty"` // /dev/nbd0
	Link     string    `json:"link,omitempty"`   // /dev/goaoe/e0.1, which leads there
	Socket   string    `json:"socket,omitempty"` // of the NBD server
	Size     int64     `json:"size,omitempty"`   // bytes
	ReadOnly bool      `json:"read_only"`
	Flush    bool      `json:"flush"` // the target takes flushes
	Trim     bool      `json:"trim"`  // and TRIM
	Model    string    `json:"model,omitempty"`
	Serial   string    `json:"serial,omitempty"`
	PID      int       `json:"pid"`
	Since    time.Time `json:"since"`
	Timeout  string    `json:"timeout,omitempty"` // how long a request may take until it fails
	Paths    []Path    `json:"paths,omitempty"`
	Clients  []Client  `json:"clients,omitempty"`
	Users    []string  `json:"users,omitempty"` // who uses it: "mounted on /srv", "open by fio (pid 77)"
}

// Path is one way to the target.
type Path struct {
	Interface   string `json:"interface"`
	MAC         string `json:"mac"`
	State       string `json:"state"` // "up", "down", "refused"
	Error       string `json:"error,omitempty"`
	MTU         int    `json:"mtu"`
	Sectors     int    `json:"sectors"`
	RTT         int64  `json:"rtt_us"` // microseconds
	Requests    uint64 `json:"requests"`
	Retransmits uint64 `json:"retransmits"`
}

// Client is one connection to the NBD server; the kernel's driver is one as well.
type Client struct {
	Kernel       bool      `json:"kernel"`
	PID          int       `json:"pid,omitempty"`
	Command      string    `json:"command,omitempty"`
	Since        time.Time `json:"since"`
	Reads        uint64    `json:"reads"`
	Writes       uint64    `json:"writes"`
	Flushes      uint64    `json:"flushes"`
	Trims        uint64    `json:"trims"`
	ReadBytes    uint64    `json:"read_bytes"`
	WrittenBytes uint64    `json:"written_bytes"`
	Errors       uint64    `json:"errors"`
}

// files are the files of one attached disk.
type files struct{ dir, addr string }

func filesOf(dir string, a aoe.Addr) files { return files{dir, a.String()} }

func (f files) lock() string   { return filepath.Join(f.dir, f.addr+".lock") }
func (f files) record() string { return filepath.Join(f.dir, f.addr+".json") }
func (f files) ctl() string    { return filepath.Join(f.dir, f.addr+".ctl") }
func (f files) socket() string { return filepath.Join(f.dir, f.addr+".sock") }

// record is what a process leaves behind for the case that it dies.
type record struct {
	Address string    `json:"address"`
	PID     int       `json:"pid"`
	Device  int       `json:"device"` // -1: none
	Backend string    `json:"backend,omitempty"`
	Socket  string    `json:"socket,omitempty"`
	Link    string    `json:"link,omitempty"`
	Since   time.Time `json:"since"`
}

// write writes the record so that a reader sees the old or the new one.
func (f files) write(r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	tmp := f.record() + ".new"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, f.record())
}

// read returns the record, nil when there is none.
func (f files) read() (*record, error) {
	b, err := os.ReadFile(f.record())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s: %w; remove it if no goaoe attach runs", f.record(), err)
	}
	return &r, nil
}

// take takes the lock of the address. Whoever has it is the one process that attaches it; it goes with the process.
func (f files) take() (*os.File, error) {
	l, err := os.OpenFile(f.lock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Flock(int(l.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("%s: %w", f.lock(), err), l.Close())
		}
		s, e := Call(f.dir, f.addr, Ask{})
		if errors.Is(e, ErrGone) && time.Now().Before(end) { // it is just ending, or beginning
			continue
		}
		_ = l.Close()
		where := ""
		if e == nil {
			where = fmt.Sprintf(" as %s, by process %d", s.Name(), s.PID)
		}
		return nil, fmt.Errorf("%s is %w%s", f.addr, ErrAttached, where)
	}
}

// ErrAttached is the error when an address is attached by another process.
var ErrAttached = errors.New("attached already")

// Name is where the disk is to be found: the device, or the socket as an NBD URI.
func (s *Status) Name() string {
	if s.Device != "" {
		return s.Device
	}
	return "nbd+unix:///?socket=" + s.Socket
}

// Ask is what a process that attaches a disk may be asked for over its control socket: its status, and its end. Whoever may connect to the
// socket (its owner, root) may ask.
type Ask struct {
	Stop  bool `json:"stop,omitempty"`
	Force bool `json:"force,omitempty"` // also when the disk is in use
}

// answer is the answer to an Ask.
type answer struct {
	Status Status `json:"status"`
	Error  string `json:"error,omitempty"`
}

// ErrGone is the error when the process of an attached disk does not answer.
var ErrGone = errors.New("the process that attached it is gone")

// Call asks the process that attaches addr. With Ask.Stop it returns when the process has begun to end (see Gone for the rest), and fails when the
// disk is in use: the Status tells by whom.
func Call(dir, addr string, a Ask) (*Status, error) {
	c, err := net.DialTimeout("unix", files{dir, addr}.ctl(), 2*time.Second)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("asking for %s: %w", addr, fs.ErrPermission)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", addr, ErrGone)
	}
	defer func() { _ = c.Close() }() // the answer was read
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	var r answer
	err = json.NewEncoder(c).Encode(a)
	if err == nil {
		err = json.NewDecoder(c).Decode(&r)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) { // it died over it
		return nil, fmt.Errorf("%s: %w", addr, ErrGone)
	}
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", addr, err)
	}
	if r.Error != "" {
		return &r.Status, errors.New(r.Error)
	}
	return &r.Status, nil
}

// List returns all attached disks, sorted by address. One whose process is gone is "dead".
func List(dir string) ([]Status, error) {
	l, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Status
	var errs []error
	for _, e := range l {
		addr, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		s, err := Find(dir, addr)
		if err != nil {
			errs = append(errs, err)
		} else if s != nil {
			out = append(out, *s)
		}
	}
	key := func(s Status) aoe.Addr { a, _ := aoe.ParseAddr(s.Address); return a }
	sort.Slice(out, func(i, j int) bool {
		a, b := key(out[i]), key(out[j])
		return a.Major < b.Major || a.Major == b.Major && a.Minor < b.Minor
	})
	return out, errors.Join(errs...)
}

// Find returns the status of one attached disk, nil when it is not attached.
func Find(dir, addr string) (*Status, error) {
	f := files{dir, addr}
	r, err := f.read()
	if r == nil || err != nil {
		return nil, err
	}
	s, err := Call(dir, addr, Ask{})
	if errors.Is(err, ErrGone) {
		s = &Status{Address: addr, State: "dead", Socket: r.Socket, Link: r.Link, PID: r.PID, Since: r.Since}
		if r.Device >= 0 {
			s.Device = fmt.Sprintf("/dev/nbd%d", r.Device)
			s.Users = usage("/", fmt.Sprintf("nbd%d", r.Device), 0)
		}
		return s, nil
	}
	return s, err
}

// Gone waits until the process that attaches addr has ended, at most for the given time, and tells whether it has.
func Gone(dir, addr string, wait time.Duration) bool {
	f := files{dir, addr}
	for end := time.Now().Add(wait); ; time.Sleep(10 * time.Millisecond) {
		l, err := os.OpenFile(f.lock(), os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return true
		}
		if err == nil {
			err = unix.Flock(int(l.Fd()), unix.LOCK_EX|unix.LOCK_NB)
			_ = l.Close() // and the lock with it
			if err == nil {
				return true
			}
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// Clear removes what a process that died has left behind: the device in the kernel, link and files. It refuses a device that is in use unless
// forced.
func Clear(dir, addr string, force bool) error {
	f := files{dir, addr}
	r, err := f.read()
	if r == nil || err != nil {
		return err
	}
	l, err := f.take()
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	if r.Device >= 0 {
		name := fmt.Sprintf("nbd%d", r.Device)
		k, err := openDriver()
		if err == nil && k.backendOf(r.Device) == r.Backend {
			if users := usage("/", name, 0); len(users) > 0 && !force {
				return fmt.Errorf("/dev/%s is in use: %s", name, strings.Join(users, ", "))
			}
			if err := k.disconnect(r.Device); err != nil {
				return err
			}
		}
	}
	f.remove(r.Link, r.Socket)
	return nil
}

// remove removes the files, but for the lock's name, which another process may be waiting for.
func (f files) remove(link, socket string) {
	for _, name := range []string{link, socket, f.ctl(), f.record()} {
		if name != "" {
			_ = os.Remove(name) // gone already is as good
		}
	}
}
