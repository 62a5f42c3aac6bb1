package file

import (
	"golang.org/x/sys/unix"

	"goaoe/internal/sys"
)

// viewPages is the largest view in pages; longer ones are read.
const viewPages = 64

// recheck is after how many views the kernel is asked again whether its answers can be trusted: the process may have given up
// privileges meanwhile.
const recheck = 4096

// mapping is the window in memory, from the page that holds its first byte on.
type mapping struct {
	mem  []byte
	skip int   // bytes in front of the window in the first page
	size int64 // bytes of the window that are mapped
}

// viewChannel is a channel whose reads can be had without a copy.
type viewChannel struct {
	*channel
	vec   []byte
	count int
}

// View returns the n bytes at off in the page cache's own memory when all of them are there now.
//
// What it costs (BenchmarkView, random over 1 GiB, in units of one trivial system call on the same busy machine): mincore of one
// page 4 to 6, pread of 4 KiB 4 to 6, cachestat 2. So a view saves the copy but not the time of a pread. cachestat would be the
// cheaper question, but it counts pages that are still being read in, and a send of those would wait for the disk.
func (c *viewChannel) View(off int64, n int) []byte {
	s := c.s
	if s.mapsOff.Load() || off < 0 || n <= 0 || int64(n) > s.size.Load()-off {
		return nil
	}
	m := s.mapped.Load()
	if m == nil || off+int64(n) > m.size || c.count == 0 {
		m = s.remap()
		c.count = recheck
		if m == nil || off+int64(n) > m.size {
			return nil
		}
	}
	c.count--
	from := int(off) + m.skip
	first := from &^ (sys.PageSize - 1)
	pages := (from + n - first + sys.PageSize - 1) / sys.PageSize
	if pages > len(c.vec) || sys.Mincore(m.mem[first:first+pages*sys.PageSize], c.vec) != 0 {
		return nil
	}
	for _, v := range c.vec[:pages] {
		if v&1 == 0 {
			return nil
		}
	}
	return m.mem[from : from+n : from+n]
}

// remap maps the window as large as it is now, and checks that mincore tells the truth. Old mappings stay until Close, for
// other lanes may be using them. It returns nil when views are not possible.
func (s *Store) remap() *mapping {
	s.mapMu.Lock()
	defer s.mapMu.Unlock()
	if s.mapsOff.Load() {
		return nil
	}
	m, size := s.mapped.Load(), s.size.Load()
	if m == nil || m.size < size {
		base := s.opts.Offset &^ int64(sys.PageSize-1)
		skip := int(s.opts.Offset - base)
		length := (int64(skip) + size + int64(sys.PageSize) - 1) &^ int64(sys.PageSize-1)
		if length != int64(int(length)) {
			s.mapsOff.Store(true) // does not fit into the address space of a 32 bit machine
			return nil
		}
		mem, err := unix.Mmap(s.bufFD, base, int(length), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_NORESERVE)
		if err != nil {
			s.mapsOff.Store(true)
			return nil
		}
		s.mappings = append(s.mappings, mem)
		m = &mapping{mem, skip, size}
	}
	if !s.truthful() {
		s.mapsOff.Store(true)
		s.mapped.Store(nil)
		return nil
	}
	s.mapped.Store(m)
	return m
}

// truthful asks mincore about a page behind the end of the file, which cannot be resident. The kernel answers "resident" for
// everything when the file is neither owned nor writable by the caller (mm/mincore.c, can_do_mincore); views would then stall
// the lane.
func (s *Store) truthful() bool {
	raw, err := s.rawSize()
	if err != nil {
		return false
	}
	at := (raw + int64(sys.PageSize) - 1) &^ int64(sys.PageSize-1)
	at = max(at, 1<<40) // far behind, in case that it grows right now
	mem, err := unix.Mmap(s.bufFD, at, sys.PageSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return false
	}
	var vec [1]byte
	e := sys.Mincore(mem, vec[:])
	_ = unix.Munmap(mem)
	return e == 0 && vec[0]&1 == 0
}
