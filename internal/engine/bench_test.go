package engine

import (
	"testing"

	"goaoe/internal/link"
	"goaoe/internal/store/mem"
)

// BenchmarkTurn is the cost of one request inside a lane: a batch of 32 requests of 4 KiB comes in, is executed on a store in memory, and
// is answered. Neither the kernel nor a disk is in it. By hand: go test -run - -bench Turn -count 10 ./internal/engine
func BenchmarkTurn(b *testing.B) {
	for _, c := range []struct {
		name   string
		noView bool
		cmd    byte
	}{
		{"read-view", false, 0x24},
		{"read", true, 0x24},
		{"write", true, 0x34},
		{"identify", true, 0xec},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := newRig(b, 1)
			st, err := mem.Open(mem.Options{Size: 1 << 20, NoView: c.noView})
			if err != nil {
				b.Fatal(err)
			}
			x := r.export(e11, st, 64)
			r.serve(9000, x)
			const batch = 32
			var frames [][]byte
			for i := range batch {
				var data []byte
				if c.cmd == 0x34 {
					data = sector(8, 1)
				}
				frames = append(frames, r.ata(e11, c.cmd, uint64(i*8), 8, data))
			}
			w := r.wires[0]
			w.keep = false
			w.in = make([]link.Frame, 0, batch)
			b.ReportAllocs()
			for n := 0; n < b.N; n += batch {
				for _, f := range frames {
					w.put(f, 1)
				}
				r.run()
			}
			if w.count < b.N {
				b.Fatalf("%d replies to %d requests", w.count, b.N)
			}
		})
	}
}
