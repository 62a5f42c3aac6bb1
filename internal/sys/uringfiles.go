package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Registered files: the kernel looks a descriptor up, and counts who uses it, with each operation that names one. Of a file that was registered with
// the ring it holds on to, so an operation costs less.

// fileTables are how many files a ring can know, largest first: the limit of open files (RLIMIT_NOFILE) bounds them.
var fileTables = []int{4096, 1024, 256}

// fixedFile turns what FixFile returned into the place of the file, and back.
func fixedFile(n int) int { return -2 - n }

// FixFile registers the file behind fd with the ring and returns what Read and Write take in place of the descriptor: a number below -1. It
// returns fd itself when the ring knows too many files, or the kernel refuses. The file stays open until FreeFile or Close. It is for the
// goroutine that calls Enter.
func (r *Ring) FixFile(fd int) int {
	if !r.enabled && r.enable() != 0 {
		return fd
	}
	if r.noFiles == nil {
		r.makeFiles()
	}
	if len(r.noFiles) == 0 {
		return fd
	}
	i := r.noFiles[len(r.noFiles)-1]
	if !r.setFile(i, int32(fd)) {
		return fd
	}
	r.noFiles = r.noFiles[:len(r.noFiles)-1]
	return fixedFile(int(i))
}

// FreeFile takes back a FixFile. No operation on the file may be queued or in flight.
func (r *Ring) FreeFile(n int) {
	if n < -1 && r.setFile(int32(fixedFile(n)), -1) {
		r.noFiles = append(r.noFiles, int32(fixedFile(n)))
	}
}

// makeFiles makes the table, with nothing in it.
func (r *Ring) makeFiles() {
	r.noFiles = []int32{}
	for _, n := range fileTables {
		none := make([]int32, n)
		for i := range none {
			none[i] = -1
		}
		if _, _, e := unix.RawSyscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), registerFiles, uintptr(unsafe.Pointer(&none[0])), uintptr(n), 0, 0); e != 0 {
			continue
		}
		for i := n - 1; i >= 0; i-- {
			r.noFiles = append(r.noFiles, int32(i))
		}
		return
	}
}

// filesUpdate is struct io_uring_files_update.
type filesUpdate struct {
	offset uint32
	_      uint32
	fds    uint64
}

// setFile puts fd into the place i of the table; -1 empties it.
func (r *Ring) setFile(i, fd int32) bool {
	r.fileArg = fd
	up := filesUpdate{offset: uint32(i), fds: uint64(uintptr(unsafe.Pointer(&r.fileArg)))}
	n, _, e := unix.RawSyscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), registerFilesUpdate, uintptr(unsafe.Pointer(&up)), 1, 0, 0)
	return e == 0 && n == 1
}
