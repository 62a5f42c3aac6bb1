// Package file is the store in a regular file (sparse or not) or a block device (disk, partition, loop device). It has two
// executors: io_uring, one ring for all files of a lane, and a pool of threads for kernels and containers without io_uring.
//
// Durability: a durable write comes back from Reap only when it is on stable storage. Either each such write carries RWF_DSYNC,
// or writes are issued plainly and one fdatasync that began after they finished covers a whole group of them (see Options.Sync).
//
// When fdatasync fails, every write and flush that waited for it fails. The kernel reports a failed write-back once and then
// treats the lost pages as clean, so a later fdatasync that succeeds proves nothing about them: from then on every Flush of the
// store fails with the same error, until the store is closed and opened again. Later writes are judged by their own fdatasync.
package file

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"goaoe/internal/store"
	"goaoe/internal/sys"
)

// Options say how to open a file or device.
type Options struct {
	Offset   int64 // first byte of the window; a multiple of 512
	Direct   bool  // bypass the page cache (O_DIRECT)
	ReadOnly bool  // open for reading only
	Force    bool  // use a block device for writing though it is mounted or in use otherwise
	// PlainFiles names files to io_uring by their descriptors in place of registering them with the ring.
	PlainFiles bool
	// NoReadNow leaves single reads from the page cache to io_uring, too.
	NoReadNow bool
	// NoMerge carries out each transfer on its own, also when several lie side by side.
	NoMerge bool
	Length  int64  // bytes of the window, a multiple of 512; 0: up to the end, also when that grows
	Engine  string // "io_uring", "threads", or "auto" (also ""): io_uring where it works
	Workers int    // threads for each store and lane with Engine "threads"; 0: 16
	Sync    string // durable writes: "each" by RWF_DSYNC, "group" by fdatasync, "auto" (also ""): what measured faster
	// WriteNow says when the lane puts what need not be durable into the page cache itself, with io_uring and without Direct: "on" always, which takes as long as the
	// kernel makes a writer wait; "off" never; "auto" (also "") where nothing of another disk waits for it, see writenow.go.
	WriteNow string
}

// Store is an opened file or device. See store.Store. What an operation touches comes first and fills a cache line of 64 bytes, with the first part of the options.
type Store struct {
	size    atomic.Int64 // bytes served
	fd      int          // with O_DIRECT when Options.Direct
	bufFD   int          // for requests that direct I/O cannot do; fd itself when it is not direct
	dioMask int64        // direct I/O: offset and length must have none of these bits
	memMask uintptr
	dev     bool // a block device
	each    bool // durable writes carry RWF_DSYNC
	now     writeNow
	opts    Options

	path    string
	claim   claim  // keeps others from a block device that we write
	logical int64  // a block device's logical block in bytes
	disk    uint64 // what hangs as one: the number of the device, or of the file system
	workers int
	notes   []string
	hook    func(*store.Op) // tests: runs in the worker before an operation
	uring   bool
	syncErr atomic.Uint32 // errno of the first failed fdatasync, 0 before

	mu   sync.Mutex // guards info
	info store.Info
}

// defaultWorkers is how many threads serve one store on one lane when io_uring is not used: enough to keep a disk busy, few
// enough to be cheap.
const defaultWorkers = 16

// Open opens the file or device at path. Errors are one line with the path and what to do.
func Open(path string, o Options) (*Store, error) {
	s := &Store{path: path, opts: o, fd: -1, bufFD: -1, workers: o.Workers}
	if s.workers <= 0 {
		s.workers = defaultWorkers
	}
	if err := s.open(); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) open() error {
	if err := s.choose(); err != nil {
		return err
	}
	if err := s.openFiles(); err != nil {
		return err
	}
	if err := s.facts(); err != nil {
		return err
	}
	if s.opts.Direct {
		if err := s.openDirect(); err != nil {
			return err
		}
	}
	return s.measure(true)
}

// choose settles the engine and the way of durable writes.
func (s *Store) choose() error {
	switch s.opts.Engine {
	case "io_uring", "", "auto":
		r, err := sys.NewRing(8)
		if err == nil {
			_ = r.Close()
			s.uring = true
		} else if s.opts.Engine == "io_uring" {
			return fmt.Errorf("%s: %w; the engine \"threads\" works without it", s.path, err)
		} else {
			s.note("threads are used for I/O: %v", err)
		}
	case "threads":
	default:
		return fmt.Errorf("%s: unknown I/O engine %q: it is auto, io_uring or threads", s.path, s.opts.Engine)
	}
	switch s.opts.Sync {
	case "each":
		s.each = true
	case "group":
	case "", "auto":
		s.each = s.autoEach()
	default:
		return fmt.Errorf("%s: unknown way of durable writes %q: it is auto, each or group", s.path, s.opts.Sync)
	}
	var ok bool
	if s.now, ok = writeNows[s.opts.WriteNow]; !ok {
		return fmt.Errorf("%s: unknown way of writes into the page cache %q: it is auto, on or off", s.path, s.opts.WriteNow)
	}
	if s.opts.Offset < 0 || s.opts.Offset%store.SectorSize != 0 {
		return fmt.Errorf("%s: offset %d is not a positive multiple of %d bytes", s.path, s.opts.Offset, store.SectorSize)
	}
	if s.opts.Length < 0 || s.opts.Length%store.SectorSize != 0 {
		return fmt.Errorf("%s: length %d is not a positive multiple of %d bytes", s.path, s.opts.Length, store.SectorSize)
	}
	return nil
}

// autoEach chooses between RWF_DSYNC for each write and one fdatasync for a group. Measured by BenchmarkDisk with 32 writes of 4 KiB in
// flight, random over 1 GiB, on a virtio disk with a write-back cache and no FUA, ext4, in thousands of writes a second (median
// and best of six interleaved runs on a machine that was shared; fio 3.33 with the same flags beside it):
//
//	direct, io_uring     each 30, 44   group 34, 46   fio O_DSYNC 30, 44   fio fdatasync each 32 writes 30, 44
//	buffered, io_uring   each 4.5      group 34       (io_uring passes buffered writes of one file to one kernel thread)
//	buffered, threads    each 12       group 25
//
// So grouping is the default in every case; "each" is for disks with FUA, where it saves the flush of the whole cache.
func (s *Store) autoEach() bool { return false }

func (s *Store) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// Notes returns what an administrator should know of this store, one line each, without the path: bytes at the end that are
// not served, direct I/O that some requests cannot use, threads in place of io_uring. It does not change after Open.
func (s *Store) Notes() []string { return s.notes }

// Engine returns "io_uring" or "threads": what is used.
func (s *Store) Engine() string {
	if s.uring {
		return "io_uring"
	}
	return "threads"
}

// Info returns the facts.
func (s *Store) Info() store.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info
}

// Refresh reads the size anew. A file that became shorter than the window's start, or a device that is gone, is an error; then
// nothing changes.
func (s *Store) Refresh() (store.Info, error) {
	if err := s.measure(false); err != nil {
		return s.Info(), err
	}
	return s.Info(), nil
}

// Channel makes a lane's channel. With io_uring the ring belongs to the thread that first calls Flush of the executor.
func (s *Store) Channel(set *store.Set) (store.Channel, error) {
	kind, create := "threads", newThreads
	if s.uring {
		kind, create = "io_uring", newUring
	}
	x, err := set.Get(kind, create)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	set.Join(s.disk)
	c := &channel{s: s, x: x.(executor), set: set}
	if !s.uring {
		c.pool = newPool(s.workers, &x.(*threads).box)
	}
	return c, nil
}

// Sync makes durable what was written before, also without the requests having asked for it. It must not be called after Close.
func (s *Store) Sync() error {
	if s.bufFD < 0 || s.opts.ReadOnly {
		return nil
	}
	if err := unix.Fdatasync(s.bufFD); err != nil {
		return fmt.Errorf("%s: fdatasync: %w", s.path, err)
	}
	return nil
}

// Close closes the file.
func (s *Store) Close() error {
	var err error
	if s.bufFD >= 0 && s.bufFD != s.fd {
		err = unix.Close(s.bufFD)
	}
	if s.fd >= 0 {
		if e := unix.Close(s.fd); e != nil {
			err = e
		}
	}
	s.fd, s.bufFD = -1, -1
	s.claim.release()
	if err != nil {
		return fmt.Errorf("closing %s: %w", s.path, err)
	}
	return nil
}
