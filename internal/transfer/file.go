package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"goaoe/internal/sys"
)

// page is the unit of holes in files, and what O_DIRECT is content with everywhere.
const page = 4096

// File is a regular file or a block device.
type File struct {
	path   string
	f      *os.File
	info   fs.FileInfo
	size   int64
	device bool
	sink   bool
	made   bool // by us
	fresh  bool // nothing is in it yet: what is not written is a hole
	exact  bool // it ends where the copy does

	noPunch, noZero atomic.Bool // what it does not support

	mu     sync.Mutex
	direct *os.File // for Reread; nil: not opened yet, or not possible
	tried  bool
}

// OpenSource opens a file or block device to read; a pipe, or another device, becomes a Stream.
func OpenSource(path string) (Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s := &File{path: path, f: f}
	if err := s.look(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if s.size < 0 {
		return NewPipe(path, f), nil
	}
	return s, nil
}

// Exists tells what of a destination is there already: whether it is a block device, and how many bytes it has. -1: it does not exist.
func Exists(path string) (device bool, size int64, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, -1, nil
	}
	if err != nil {
		return false, 0, err
	}
	s := &File{path: path, f: f}
	err = errors.Join(s.look(), f.Close())
	return s.device, s.size, err
}

// OpenSink opens a file or block device to write to. A file that does not exist is made. Nothing of what is there changes before Begin.
// keep says that a file keeps what is in front of the copy and behind it.
func OpenSink(path string, keep bool) (*File, error) {
	s := &File{path: path, sink: true, exact: !keep}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		s.made = true
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) // it holds the data of a disk
	}
	if err != nil {
		return nil, err
	}
	s.f = f
	if err := s.look(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if s.size < 0 {
		return nil, errors.Join(fmt.Errorf("%s is neither a regular file nor a block device", path), f.Close())
	}
	return s, nil
}

// Begin empties a file that is to hold the copy only and of which nothing is to be compared with it.
func (s *File) Begin(compare bool) error {
	if s.device || !s.exact || compare {
		return nil
	}
	s.fresh, s.size = true, 0
	return s.f.Truncate(0)
}

// look finds out what it is. size is -1 for what is neither file nor block device.
func (s *File) look() (err error) {
	if s.info, err = s.f.Stat(); err != nil {
		return err
	}
	switch mode := s.info.Mode(); {
	case mode.IsRegular():
		s.size = s.info.Size()
	case mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0:
		s.device = true
		if s.size, err = sys.DeviceSize(int(s.f.Fd())); err != nil {
			return fmt.Errorf("%s: asking for its size: %w", s.path, err)
		}
	case mode.IsDir():
		return fmt.Errorf("%s is a directory", s.path)
	default:
		s.size = -1
	}
	return nil
}

// Name implements End.
func (s *File) Name() string { return s.path }

// Device tells whether it is a block device.
func (s *File) Device() bool { return s.device }

// Length is how many bytes it has.
func (s *File) Length() int64 { return s.size }

// Made tells whether the file did not exist.
func (s *File) Made() bool { return s.made }

// ID implements End.
func (s *File) ID() string {
	abs, err := filepath.Abs(s.path)
	if err != nil {
		abs = s.path
	}
	var dev, ino uint64
	if st, ok := s.info.Sys().(*syscall.Stat_t); ok {
		dev, ino = st.Dev, st.Ino
	}
	switch {
	case s.device:
		return fmt.Sprintf("device %s, %d bytes", abs, s.size)
	case s.sink:
		return fmt.Sprintf("file %s (%x:%d)", abs, dev, ino)
	}
	return fmt.Sprintf("file %s (%x:%d), %d bytes, changed %s", abs, dev, ino, s.size, s.info.ModTime().UTC().Format("2006-01-02T15:04:05.999999999Z"))
}

// Size implements End.
func (s *File) Size() int64 {
	if s.sink && !s.device {
		return -1
	}
	return s.size
}

// Unit implements End.
func (s *File) Unit() int64 { return 1 }

// Grain implements Sink.
func (s *File) Grain() int64 {
	if s.device {
		return 64 << 10
	}
	return page
}

// Ordered implements Sink.
func (s *File) Ordered() bool { return false }

// ReadAt implements Source.
func (s *File) ReadAt(_ context.Context, p []byte, off int64) error {
	n, err := s.f.ReadAt(p, off)
	return readFull(n, len(p), err)
}

// Extent implements Source by SEEK_DATA and SEEK_HOLE.
func (s *File) Extent(off, limit int64) (end int64, hole bool, err error) {
	if s.device {
		return limit, false, nil
	}
	data, err := unix.Seek(int(s.f.Fd()), off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // nothing but a hole follows, or the file has become shorter
		st, err := s.f.Stat()
		if err != nil {
			return 0, false, err
		}
		if st.Size() < limit {
			return limit, false, nil // reading says so
		}
		return limit, true, nil
	case err != nil:
		return limit, false, nil //nolint:nilerr // a file system without holes: all is data
	}
	if d := data / page * page; d > off {
		return min(d, limit), true, nil
	}
	end, err = unix.Seek(int(s.f.Fd()), max(data, off), unix.SEEK_HOLE)
	if err != nil {
		return limit, false, nil //nolint:nilerr // all is data
	}
	return min((end+page-1)/page*page, limit), false, nil
}

// WriteAt implements Sink.
func (s *File) WriteAt(_ context.Context, p []byte, off int64) error {
	_, err := s.f.WriteAt(p, off)
	return err
}

// Zero implements Sink.
func (s *File) Zero(ctx context.Context, off, n int64) (written bool, err error) {
	if s.fresh {
		return false, nil
	}
	fd := int(s.f.Fd())
	for _, way := range []struct {
		mode uint32
		not  *atomic.Bool
	}{{unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, &s.noPunch}, {unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE, &s.noZero}} {
		if way.not.Load() {
			continue
		}
		for err = unix.EINTR; errors.Is(err, unix.EINTR); {
			err = unix.Fallocate(fd, way.mode, off, n)
		}
		switch {
		case err == nil:
			return false, nil
		case errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS):
			way.not.Store(true)
		case errors.Is(err, unix.EINVAL): // e.g. not aligned to the device's blocks
		default:
			return false, err
		}
	}
	return true, writeZeros(ctx, s, off, n)
}

// writeZeros writes zeros piece by piece.
func writeZeros(ctx context.Context, s Sink, off, n int64) error {
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		k := min(n, chunkSize)
		if err := s.WriteAt(ctx, zeros[:k], off); err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	return nil
}

// Flush implements Sink.
func (s *File) Flush(context.Context) (bool, error) {
	if err := s.f.Sync(); err != nil {
		return false, err
	}
	if !s.made {
		return true, nil
	}
	d, err := os.Open(filepath.Dir(s.path)) // its name, too
	if err != nil {
		return false, err
	}
	return true, errors.Join(d.Sync(), d.Close())
}

// Finish implements Sink.
func (s *File) Finish(end int64) error {
	if s.device {
		return nil
	}
	st, err := s.f.Stat()
	if err != nil {
		return err
	}
	if st.Size() < end || s.exact && st.Size() > end {
		return s.f.Truncate(end)
	}
	return nil
}

// Reread implements Sink: by O_DIRECT where that works, else after the page cache was told to forget.
func (s *File) Reread(ctx context.Context, p []byte, off int64) error {
	if d := s.openDirect(); d != nil && off%page == 0 {
		if n := (len(p) + page - 1) / page * page; n <= cap(p) {
			got, err := unix.Pread(int(d.Fd()), p[:n:n], off)
			if err == nil {
				if got < len(p) && got > 0 && got%page == 0 { // the rest came short: let the usual way say why
					return s.reread(ctx, p, off)
				}
				return readFull(min(got, len(p)), len(p), io.EOF)
			}
		}
	}
	return s.reread(ctx, p, off)
}

func (s *File) reread(ctx context.Context, p []byte, off int64) error {
	fd := int(s.f.Fd())
	if err := unix.Fdatasync(fd); err != nil {
		return err
	}
	_ = unix.Fadvise(fd, off, int64(len(p)), unix.FADV_DONTNEED) // an advice
	return s.ReadAt(ctx, p, off)
}

func (s *File) openDirect() *os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.tried {
		s.tried = true
		// By the descriptor, so that it is the same file whatever became of its name.
		if f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", s.f.Fd()), os.O_RDONLY|unix.O_DIRECT, 0); err == nil {
			s.direct = f
		}
	}
	return s.direct
}

// Close implements End.
func (s *File) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.direct != nil {
		err = s.direct.Close()
	}
	return errors.Join(err, s.f.Close())
}
