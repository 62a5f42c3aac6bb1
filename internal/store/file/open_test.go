package file

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// wantError opens what cannot be opened and looks for the words of the error, which is one line with the path.
func wantError(t *testing.T, path string, o Options, words ...string) {
	t.Helper()
	s, err := Open(path, o)
	if err == nil {
		s.Close()
		t.Errorf("%s opened with %+v", path, o)
		return
	}
	for _, w := range append(words, path) {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q is more than a line", err)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, n int64) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(p, n); err != nil {
			t.Fatal(err)
		}
		return p
	}
	ok := file("ok", 1<<20)
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, filepath.Join(dir, "missing"), Options{}, "no such file", "truncate -s")
	wantError(t, dir, Options{}, "is a directory")
	wantError(t, file("zero", 0), Options{}, "0 bytes", "truncate -s")
	wantError(t, file("small", 511), Options{}, "511 bytes")
	wantError(t, fifo, Options{}, "neither a file nor a block device")
	wantError(t, "/dev/null", Options{}, "neither a file nor a block device")
	wantError(t, ok, Options{Offset: 1 << 20}, "offset of 1048576", "leaves nothing")
	wantError(t, ok, Options{Offset: 100}, "offset 100", "multiple of 512")
	wantError(t, ok, Options{Offset: -512}, "offset -512")
	wantError(t, ok, Options{Length: 100}, "length 100", "multiple of 512")
	wantError(t, ok, Options{Offset: 512, Length: 1 << 20}, "length 1048576", "behind its 1048576 bytes")
	wantError(t, ok, Options{Engine: "magic"}, "magic", "io_uring")
	wantError(t, ok, Options{Sync: "magic"}, "magic", "group")
	if err := unix.Mount("goaoe", dir, "tmpfs", unix.MS_RDONLY, ""); err != nil {
		need(t, "a read-only mount", err)
	}
	wantError(t, filepath.Join(dir, "x"), Options{}, "no such file")
	_ = unix.Unmount(dir, unix.MNT_DETACH)
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		need(t, "a bind mount", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		need(t, "a read-only bind mount", err)
	}
	wantError(t, ok, Options{}, "read-only = true")
}

func TestFactsOfAFile(t *testing.T) {
	path := sparse(t, 1<<20+700)
	s := mustOpen(t, path, Options{Offset: 512})
	defer s.Close()
	i := s.Info()
	if i.Size != 1<<20 || i.Tail != 188 || i.Start != 512 || i.End != 512+1<<20 || i.AlignOff != 512 || i.Physical != 4096 {
		t.Errorf("%+v", i)
	}
	if !strings.HasPrefix(i.ID, "file ") || i.ReadOnly || i.MemAlign != 1 || i.WholePages {
		t.Errorf("%+v", i)
	}
	if n := strings.Join(s.Notes(), ";"); !strings.Contains(n, "188 bytes") {
		t.Errorf("notes %q do not tell of the tail", n)
	}
	direct := mustOpen(t, path, Options{Direct: true})
	defer direct.Close()
	if !direct.Info().WholePages || direct.Info().MemAlign < 1 {
		t.Errorf("direct: %+v", direct.Info())
	}
	same := mustOpen(t, path, Options{ReadOnly: true, Length: 4096})
	defer same.Close()
	if same.Info().ID != i.ID || same.Info().Size != 4096 || same.Info().Tail != 0 || !same.Info().ReadOnly {
		t.Errorf("%+v", same.Info())
	}
	if err := os.Truncate(path, 2<<20); err != nil {
		t.Fatal(err)
	}
	if i, err := s.Refresh(); err != nil || i.Size != 2<<20-512 || i.Tail != 0 {
		t.Errorf("grown: %+v %v", i, err)
	}
	if err := os.Truncate(path, 600); err != nil {
		t.Fatal(err)
	}
	if i, err := s.Refresh(); err == nil || i.Size != 2<<20-512 {
		t.Errorf("nothing is left: %+v %v", i, err)
	}
}
