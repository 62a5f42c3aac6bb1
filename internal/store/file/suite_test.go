package file

import (
	"os"
	"path/filepath"
	"testing"

	"goaoe/internal/store"
	"goaoe/internal/store/storetest"
)

// sparse makes a sparse file of n bytes on a disk (not on tmpfs, where direct I/O means little).
func sparse(t *testing.T, n int64) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "goaoe-file-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, n); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustOpen(t *testing.T, path string, o Options) *Store {
	t.Helper()
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSuite(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    Options
	}{
		{"uring buffered", Options{Engine: "io_uring"}},
		{"uring buffered plain", Options{Engine: "io_uring", PlainFiles: true, NoReadNow: true}},
		{"uring buffered, writes at once", Options{Engine: "io_uring", WriteNow: "on"}},
		{"uring buffered, writes by the ring", Options{Engine: "io_uring", WriteNow: "off"}},
		{"uring buffered each", Options{Engine: "io_uring", Sync: "each"}},
		{"uring direct group", Options{Engine: "io_uring", Direct: true, Sync: "group"}},
		{"uring direct each", Options{Engine: "io_uring", Direct: true, Sync: "each"}},
		{"threads buffered", Options{Engine: "threads"}},
		{"threads direct each", Options{Engine: "threads", Direct: true, Sync: "each", Workers: 4}},
		{"window", Options{Engine: "io_uring", Offset: 4096 + 512, Length: 2<<20 + 512}},
		{"window direct", Options{Engine: "io_uring", Offset: 4096 + 512, Length: 2<<20 + 512, Direct: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) store.Store { return mustOpen(t, sparse(t, 4<<20+100), tc.o) })
		})
	}
}
