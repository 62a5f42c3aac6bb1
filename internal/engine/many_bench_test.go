package engine

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/store"
	"goaoe/internal/store/file"
	"goaoe/internal/store/mem"
)

// BenchmarkExports is the cost of one request when the requests go to many exports, as in row q of make bench: reads of 4 KiB at random places, 32 in a batch,
// each of another export. With one export all that a request touches is in the processor's nearest cache; with a thousand hardly anything of an export is
// when its next request comes. The stores: memory of one MiB, where nothing but goaoe's own tables fills the caches, and one file in the page cache that was opened
// as often as there are exports, where what is read and sent goes through the caches as well. By hand: go test -run - -bench Exports -count 10 ./internal/engine
func BenchmarkExports(b *testing.B) {
	for _, kind := range []string{"mem", "file"} {
		for _, n := range []int{1, 100, 1000} {
			b.Run(fmt.Sprint(kind, "-", n), func(b *testing.B) {
				runtime.LockOSThread() // the ring belongs to its thread
				defer runtime.UnlockOSThread()
				if kind == "mem" {
					benchExports(b, n, openMem(b), 0)
				} else {
					benchExports(b, n, openFile(b), 256<<10)
				}
			})
		}
	}
}

func openMem(b *testing.B) func() store.Store {
	st, err := mem.Open(mem.Options{Size: 1 << 20, NoView: true})
	if err != nil {
		b.Fatal(err)
	}
	return func() store.Store { return st }
}

func openFile(b *testing.B) func() store.Store {
	path := filepath.Join(b.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, 64<<20), 0o600); err != nil {
		b.Fatal(err)
	}
	return func() store.Store {
		st, err := file.Open(path, file.Options{ReadOnly: true})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = st.Close() })
		return st
	}
}

func benchExports(b *testing.B, exports int, open func() store.Store, copies int) {
	r := newRig(b, 1)
	var xs []*Export
	var addrs []aoe.Addr // apart from the exports, so that nobody looks at those before the lane does
	for i := range exports {
		addrs = append(addrs, aoe.Addr{Major: uint16(i / 250), Minor: uint8(i % 250)})
		xs = append(xs, r.export(addrs[i], open(), 64))
	}
	r.serve(9000, xs...)
	const batch = 32
	var frames [batch][]byte
	for i := range frames {
		frames[i] = r.ata(e11, 0x24, 0, 8, nil)
	}
	w := r.wires[0]
	w.keep, w.copies = false, make([]byte, copies)
	w.in = make([]link.Frame, 0, batch)
	places := int(xs[0].Store.Info().Size / 4096)
	rng := rand.New(rand.NewPCG(1, 2))
	tag := uint32(0)
	turn := func() {
		for _, f := range frames {
			tag++
			a := addrs[rng.IntN(exports)]
			binary.BigEndian.PutUint16(f[16:], a.Major)
			f[18] = a.Minor
			binary.BigEndian.PutUint32(f[20:], tag)
			binary.LittleEndian.PutUint32(f[28:], uint32(rng.IntN(places))*8)
			w.put(f, 1)
		}
		r.run()
	}
	for range 10 * exports / batch { // each file is registered with its first request
		turn()
	}
	w.count = 0
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += batch {
		turn()
	}
	if w.count < b.N {
		b.Fatalf("%d replies to %d requests", w.count, b.N)
	}
}
