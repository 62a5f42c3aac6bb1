package file

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"goaoe/internal/store"
	"goaoe/internal/sys"
)

func ioctlInt(fd int, req uint) (int, error) { return unix.IoctlGetInt(fd, req) }

// facts learns what does not change while the store is open.
func (s *Store) facts() error {
	i := &s.info
	i.MemAlign, i.ReadOnly = 1, s.opts.ReadOnly
	var st unix.Stat_t
	if err := unix.Fstat(s.fd, &st); err != nil {
		return s.explain("looking at", err)
	}
	logical := store.SectorSize
	s.disk = st.Dev
	if s.dev {
		s.disk = st.Rdev
		if n, err := ioctlInt(s.fd, unix.BLKSSZGET); err == nil && n > 0 {
			logical = n
		}
		s.logical = int64(logical)
		s.deviceFacts(st.Rdev, logical)
	} else {
		i.ID = fmt.Sprintf("file %d:%d/%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
		i.Physical = store.SectorSize
		if st.Blksize >= 4096 {
			i.Physical = 4096
		}
		i.Rotational = sysBool(blockDir(st.Dev), "queue/rotational")
		if !s.opts.ReadOnly {
			i.CanDiscard = probeHole(s.fd, st.Size)
			i.DiscardZeroes = i.CanDiscard // fallocate(2): parts of blocks are zeroed, whole ones become a hole
		}
		i.Start = s.opts.Offset
	}
	i.AlignOff = int((int64(i.AlignOff) + s.opts.Offset) % int64(i.Physical))
	if s.opts.Direct {
		s.directFacts(logical)
	}
	return nil
}

// deviceFacts fills in what a block device tells. A partition is named as its disk and the window moved by its start, so that
// an overlap of a disk and its partition is found.
func (s *Store) deviceFacts(rdev uint64, logical int) {
	i := &s.info
	dir := blockDir(rdev)
	disk, start := dir, int64(0)
	if text := sysText(dir, "partition"); text != "" {
		disk = filepath.Dir(dir)
		start, _ = strconv.ParseInt(sysText(dir, "start"), 10, 64)
		start *= 512 // sysfs counts in units of 512 bytes whatever the device's sector is
	}
	i.ID = "dev " + sysText(disk, "dev")
	if i.ID == "dev " {
		i.ID = fmt.Sprintf("dev %d:%d", unix.Major(rdev), unix.Minor(rdev))
	}
	i.Start = start + s.opts.Offset
	i.Physical = max(logical, store.SectorSize)
	if n, err := ioctlInt(s.fd, unix.BLKPBSZGET); err == nil && n >= i.Physical {
		i.Physical = n
	}
	// BLKALIGNOFF is how far the first aligned byte lies behind the device's start, a partition's start considered; -1: misaligned.
	if n, err := ioctlInt(s.fd, unix.BLKALIGNOFF); err == nil && int32(n) > 0 {
		i.AlignOff = (i.Physical - int(int32(n))%i.Physical) % i.Physical
	}
	i.Rotational = sysBool(disk, "queue/rotational")
	if n, _ := strconv.ParseInt(sysText(disk, "queue/discard_max_bytes"), 10, 64); n > 0 && !s.opts.ReadOnly {
		i.CanDiscard = true
	}
}

// directFacts learns the alignment of direct I/O: statx tells since Linux 6.1, for devices and most file systems.
func (s *Store) directFacts(logical int) {
	off, mem := int64(logical), logical
	var stx unix.Statx_t
	if err := unix.Statx(s.fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &stx); err == nil && stx.Mask&unix.STATX_DIOALIGN != 0 {
		off, mem = int64(stx.Dio_offset_align), int(stx.Dio_mem_align)
		if off == 0 {
			s.dioMask = -1
			return
		}
	}
	off = max(off, store.SectorSize)
	s.dioMask, s.memMask = off-1, uintptr(max(mem, 1)-1)
	s.info.MemAlign, s.info.WholePages = max(mem, 1), true
	if off > store.SectorSize {
		s.note("direct I/O works in units of %d bytes here: other requests go through the page cache", off)
	}
	if s.opts.Offset&s.dioMask != 0 {
		s.note("the offset of %d bytes is no multiple of %d: most requests cannot use direct I/O", s.opts.Offset, off)
	}
}

// measure reads the size and settles what is served of it.
func (s *Store) measure(first bool) error {
	raw, err := s.rawSize()
	if err != nil {
		return err
	}
	o := &s.opts
	if raw < store.SectorSize && o.Offset == 0 {
		if first {
			return fmt.Errorf("%s has %d bytes, less than one sector of %d: give it a size with: truncate -s 10G %s",
				s.path, raw, store.SectorSize, s.path)
		}
		return fmt.Errorf("%s has %d bytes now, less than one sector of %d", s.path, raw, store.SectorSize)
	}
	if o.Offset > raw-store.SectorSize {
		return fmt.Errorf("%s: the offset of %d bytes leaves nothing: it has %d bytes", s.path, o.Offset, raw)
	}
	size, tail := raw-o.Offset, int64(0)
	switch {
	case o.Length > 0 && o.Length <= size:
		size = o.Length
	case o.Length > 0 && first:
		return fmt.Errorf("%s: offset %d and length %d end behind its %d bytes", s.path, o.Offset, o.Length, raw)
	default:
		tail = size % store.SectorSize
		size -= tail
	}
	if tail > 0 && first {
		s.note("the last %d bytes are no whole sector of %d and are not served", tail, store.SectorSize)
	}
	s.mu.Lock()
	s.info.Size, s.info.Tail, s.info.End = size, tail, s.info.Start+size
	s.mu.Unlock()
	s.size.Store(size)
	return nil
}

// rawSize returns the size in bytes of the file or device.
func (s *Store) rawSize() (int64, error) {
	if s.dev {
		n, err := sys.DeviceSize(s.bufFD)
		if err != nil {
			return 0, s.explain("reading the size of", err)
		}
		return n, nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(s.bufFD, &st); err != nil {
		return 0, s.explain("reading the size of", err)
	}
	return st.Size, nil
}

// probeHole asks whether the file system can punch holes, at a place far behind the end, where nothing is.
func probeHole(fd int, size int64) bool {
	off := max(size+(1<<30), 1<<42) &^ 0xffff
	err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, 1<<16)
	if err == unix.EFBIG { // a file system with smaller limits
		off = (size + (1 << 20)) &^ 0xffff
		err = unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, 1<<16)
	}
	return err == nil
}

// blockDir returns the sysfs directory of a block device.
func blockDir(rdev uint64) string {
	dir, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(rdev), unix.Minor(rdev)))
	if err != nil {
		return ""
	}
	return dir
}

func sysText(dir, name string) string {
	if dir == "" {
		return ""
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// sysBool reads a flag of the disk, also when dir is a partition of it.
func sysBool(dir, name string) bool {
	if sysText(dir, "partition") != "" {
		dir = filepath.Dir(dir)
	}
	return sysText(dir, name) == "1"
}
