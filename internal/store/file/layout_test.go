package file

import (
	"path/filepath"
	"testing"
	"unsafe"

	"os"

	"goaoe/internal/store"
)

// TestHotFieldsLieTogether: what a read touches of its file fills whole cache lines from their first byte, in objects as the Go runtime makes them.
func TestHotFieldsLieTogether(t *testing.T) {
	const line = 64
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var set store.Set
	defer set.Close()
	for range 3 {
		ch, err := s.Channel(&set)
		if err != nil {
			t.Fatal(err)
		}
		defer ch.Close()
		c := ch.(*channel)
		if a, b := uintptr(unsafe.Pointer(c))%line, uintptr(unsafe.Pointer(s))%line; a != 0 || b != 0 {
			t.Errorf("a channel lies %d bytes behind the start of a cache line, a store %d", a, b)
		}
		for what, is := range map[string][2]uintptr{
			"the run and what leads to the store":   {unsafe.Offsetof(c.fixed), line},
			"the rest of what a read needs":         {unsafe.Offsetof(c.waiting), 2 * line},
			"of the store, up to the options' bits": {unsafe.Offsetof(s.opts) + unsafe.Offsetof(s.opts.Length), line},
		} {
			if is[0] > is[1] {
				t.Errorf("%s: %d bytes, want %d at most", what, is[0], is[1])
			}
		}
	}
}
