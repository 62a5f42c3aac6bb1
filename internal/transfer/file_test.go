package transfer

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func blocks(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Sys().(*syscall.Stat_t).Blocks * 512
}

// sparse makes a file of 64 MiB with data at two places and an odd end.
func sparse(t *testing.T, path string) []byte {
	t.Helper()
	data := make([]byte, 64<<20+123)
	fill(data[5<<20:5<<20+200<<10], 1)
	fill(data[40<<20+512:40<<20+9000], 2)
	data[len(data)-1] = 9
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(int64(len(data))); err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]int{{5 << 20, 5<<20 + 200<<10}, {40<<20 + 512, 40<<20 + 9000}, {len(data) - 1, len(data)}} {
		if _, err := f.WriteAt(data[r[0]:r[1]], int64(r[0])); err != nil {
			t.Fatal(err)
		}
	}
	return data
}

func copyFiles(t *testing.T, from, to string, keep bool, o Options) (Result, error) {
	t.Helper()
	src, err := OpenSource(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := OpenSink(to, keep)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if err := dst.Begin(o.Compare || o.Resume); err != nil {
		t.Fatal(err)
	}
	if o.Length == 0 {
		o.Length = -1
	}
	return Run(t.Context(), src, dst, o)
}

// TestSparseFiles: a sparse file stays sparse into a new file, over an old one, and when it is compared; with Dense it does not.
func TestSparseFiles(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "from")
	want := sparse(t, from)
	for _, c := range []struct {
		name  string
		old   int // bytes of old data
		o     Options
		dense bool
	}{
		{"new", 0, Options{Verify: true}, false},
		{"shorter", 1000, Options{}, false},
		{"longer", 70 << 20, Options{Verify: true}, false},
		{"compared", 66 << 20, Options{Compare: true, Verify: true}, false},
		{"dense", 0, Options{Dense: true}, true},
	} {
		to := filepath.Join(dir, c.name)
		if c.old > 0 {
			if err := os.WriteFile(to, bytes.Repeat([]byte{7}, c.old), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		res, err := copyFiles(t, from, to, false, c.o)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got, err := os.ReadFile(to)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: the copy is wrong (%d bytes of %d): %v", c.name, len(got), len(want), err)
		}
		if n := blocks(t, to); (n > 2<<20) != c.dense {
			t.Errorf("%s: the copy takes %d bytes, the source %d", c.name, n, blocks(t, from))
		}
		if res.Bytes != int64(len(want)) || !res.Flushed {
			t.Errorf("%s: %+v", c.name, res)
		}
	}
}

// TestKeep: with an offset in the destination the rest of a file stays.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	data, old := make([]byte, 100_000), bytes.Repeat([]byte{7}, 200_000)
	fill(data, 3)
	clear(data[20_000:60_000])
	for path, b := range map[string][]byte{from: data, to: old} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := copyFiles(t, from, to, true, Options{From: 10, To: 777, Length: 90_000, Verify: true}); err != nil {
		t.Fatal(err)
	}
	copy(old[777:], data[10:90_010])
	if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, old) {
		t.Errorf("the file is wrong: %v", err)
	}
}

// TestFileRefusals: what is no file or device, and what is the same.
func TestFileRefusals(t *testing.T) {
	dir := t.TempDir()
	file, link, fifo := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(file, link); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSource(dir); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Error(err)
	}
	if _, err := OpenSink(dir, false); err == nil {
		t.Error("a directory is written to")
	}
	if _, err := OpenSink(fifo, false); err == nil || !strings.Contains(err.Error(), "neither a regular file nor a block device") {
		t.Error(err)
	}
	if _, err := OpenSink(filepath.Join(dir, "no", "such"), false); err == nil {
		t.Error("a file in no folder is written to")
	}
	src, err := OpenSource(file)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for path, same := range map[string]bool{link: true, file: true, filepath.Join(dir, "new"): false} {
		dst, err := OpenSink(path, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := Same("", src, dst); (err != nil) != same {
			t.Errorf("%s: %v", path, err)
		}
		_ = dst.Close()
	}
}
