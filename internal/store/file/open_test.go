package file

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"goaoe/internal/store"
	"goaoe/internal/store/storetest"
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
	if !strings.HasPrefix(i.ID, "file ") || i.ReadOnly || i.MemAlign != 1 {
		t.Errorf("%+v", i)
	}
	if n := strings.Join(s.Notes(), ";"); !strings.Contains(n, "188 bytes") {
		t.Errorf("notes %q do not tell of the tail", n)
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

func TestViewFollowsCacheAndSize(t *testing.T) {
	path := sparse(t, 1<<20)
	s := mustOpen(t, path, Options{Offset: 512})
	r := storetest.NewRig(t, s)
	v := r.Chan.(store.Viewer)
	if v.View(0, 4096) != nil {
		t.Error("a view of a hole that was never read")
	}
	buf := r.Buf(4096)
	for i := range buf {
		buf[i] = byte(i)
	}
	r.Must(&store.Op{Kind: store.Write, Durable: true, Off: 65536, Buf: buf})
	if got := v.View(65536, 4096); len(got) != 4096 { // not looked at: pages that were touched by the mapping stay in the cache
		t.Fatalf("no view of what was just written (%d bytes)", len(got))
	}
	if v.View(65536+2048, 512*1024) != nil {
		t.Error("a view longer than the largest, or of pages that are not there")
	}
	if err := unix.Fadvise(s.bufFD, 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	if v.View(65536, 4096) != nil {
		t.Error("a view of pages that were dropped")
	}
	r.Must(&store.Op{Kind: store.Read, Off: 65536, Buf: buf})
	if got := v.View(65536, 4096); !bytes.Equal(got, buf) {
		t.Error("no view, or a wrong one, after a read brought the pages back")
	}
	if err := os.Truncate(path, 2<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Refresh(); err != nil {
		t.Fatal(err)
	}
	r.Must(&store.Op{Kind: store.Write, Off: 3 << 19, Buf: buf})
	if got := v.View(3<<19, 4096); !bytes.Equal(got, buf) {
		t.Error("no view of what the file grew by")
	}
	if len(s.mappings) != 2 {
		t.Errorf("%d mappings", len(s.mappings))
	}
}

func TestViewsAreOffWhenAskedOrDirect(t *testing.T) {
	for _, o := range []Options{{NoMap: true}, {Direct: true}} {
		r := storetest.NewRig(t, mustOpen(t, sparse(t, 1<<20), o))
		if _, ok := r.Chan.(store.Viewer); ok {
			t.Errorf("%+v: views are offered", o)
		}
	}
}

// The kernel calls every page resident for who neither owns nor may write the file: views must be off then, also when the
// process gives up its rights later.
func TestViewsAreOffWhenMincoreLies(t *testing.T) {
	if unix.Geteuid() != 0 {
		need(t, "root, to become nobody", unix.EPERM)
	}
	for _, late := range []bool{false, true} {
		s := mustOpen(t, sparse(t, 1<<20), Options{ReadOnly: true})
		var views, lies int
		done := make(chan struct{})
		go func() { // its thread ends with it, as nobody
			defer close(done)
			runtime.LockOSThread()
			c := &viewChannel{channel: &channel{s: s}, vec: make([]byte, viewPages)}
			if late && c.View(0, 4096) != nil {
				lies++
			}
			if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); e != 0 {
				lies = -1
				return
			}
			for range recheck {
				if c.View(0, 4096) != nil {
					views++
				}
			}
			if c.View(0, 4096) != nil {
				lies++
			}
		}()
		<-done
		if lies != 0 || (!late && views != 0) {
			t.Errorf("late=%v: %d views of a hole, %d of them after the check", late, views, lies)
		}
		if !s.mapsOff.Load() {
			t.Errorf("late=%v: views stay on", late)
		}
		s.Close()
	}
}
