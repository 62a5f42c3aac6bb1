package sys

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestAllocIsAlignedZeroedAndFreed(t *testing.T) {
	for _, n := range []int{1, 512, PageSize, PageSize + 1, 1 << 20} {
		for _, alloc := range []func(int) ([]byte, error){Alloc, AllocLater} {
			b, err := alloc(n)
			if err != nil {
				t.Fatal(err)
			}
			if len(b) != n || uintptr(unsafe.Pointer(&b[0]))%uintptr(PageSize) != 0 {
				t.Fatalf("Alloc(%d): length %d at %p", n, len(b), &b[0])
			}
			for i, v := range b {
				if v != 0 {
					t.Fatalf("Alloc(%d): byte %d is %#x", n, i, v)
				}
			}
			b[n-1] = 1
			if err := Free(b); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAllocRefusesNothing(t *testing.T) {
	for _, n := range []int{0, -1} {
		for _, alloc := range []func(int) ([]byte, error){Alloc, AllocLater} {
			if b, err := alloc(n); err == nil {
				t.Fatalf("Alloc(%d) returned %d bytes and no error", n, len(b))
			}
		}
	}
	if err := Free(nil); err != nil {
		t.Fatal(err)
	}
}

// TestAllocLater: memory for later takes no RAM before it is used, the other does.
func TestAllocLater(t *testing.T) {
	const pages = 256
	for name, alloc := range map[string]func(int) ([]byte, error){"now": Alloc, "later": AllocLater} {
		b, err := alloc(pages * PageSize)
		if err != nil {
			t.Fatal(err)
		}
		there := make([]byte, pages)
		if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(unsafe.Pointer(&there[0]))); errno != 0 {
			t.Fatal(errno)
		}
		n := 0
		for _, x := range there {
			n += int(x & 1)
		}
		if want := map[string]int{"now": pages, "later": 0}[name]; n != want {
			t.Errorf("%s: %d of %d pages are in RAM", name, n, pages)
		}
		if err := Free(b); err != nil {
			t.Fatal(err)
		}
	}
}
