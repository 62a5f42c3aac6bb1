package file

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNoTimeOfAccess: reading an export is no reason to write when its file was read last, and the kernel is told so; whose file it is not is not refused it.
func TestNoTimeOfAccess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, 1<<16), 0o666); err != nil {
		t.Fatal(err)
	}
	flags := func(fd int) int {
		t.Helper()
		have, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil {
			t.Fatal(err)
		}
		return have & (unix.O_NOATIME | unix.O_DIRECT | unix.O_NONBLOCK)
	}
	for _, direct := range []bool{false, true} {
		s, err := Open(path, Options{Direct: direct})
		if err != nil {
			if direct {
				need(t, "direct I/O in the temporary directory", err)
			}
			t.Fatal(err)
		}
		want := unix.O_NOATIME
		if direct {
			want |= unix.O_DIRECT
		}
		if got := flags(s.fd); got != want {
			t.Errorf("direct %t: flags %#x, want %#x", direct, got, want)
		}
		if got := flags(s.bufFD); got != unix.O_NOATIME {
			t.Errorf("direct %t: flags of the buffered one %#x", direct, got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if os.Geteuid() != 0 {
		need(t, "root", unix.EPERM)
	}
	if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // another user is to open it
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
	_, _ = unix.SetfsuidRetUid(65534)
	err = setFlags(int(f.Fd()), 0)
	_, _ = unix.SetfsuidRetUid(0)
	if got := flags(int(f.Fd())); err != nil || got != 0 {
		t.Errorf("another's file: %v, flags %#x", err, got)
	}
}
