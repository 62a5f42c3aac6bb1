package sys

import (
	"testing"
	"unsafe"
)

func TestAllocIsAlignedZeroedAndFreed(t *testing.T) {
	for _, n := range []int{1, 512, PageSize, PageSize + 1, 1 << 20} {
		b, err := Alloc(n)
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

func TestAllocRefusesNothing(t *testing.T) {
	for _, n := range []int{0, -1} {
		if b, err := Alloc(n); err == nil {
			t.Fatalf("Alloc(%d) returned %d bytes and no error", n, len(b))
		}
	}
	if err := Free(nil); err != nil {
		t.Fatal(err)
	}
}
