package file

import (
	"testing"
	"time"

	"goaoe/internal/stats"
	"goaoe/internal/store"
	"goaoe/internal/store/storetest"
)

// TestCountsSyncs: each sync is counted, and whom it served. Writes that are made durable one by one have none.
func TestCountsSyncs(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		each bool
	}{
		{"uring group", Options{Engine: "io_uring", Sync: "group"}, false},
		{"threads group", Options{Engine: "threads", Sync: "group"}, false},
		{"uring each", Options{Engine: "io_uring", Sync: "each"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := storetest.NewRig(t, mustOpen(t, sparse(t, 4<<20), c.o))
			var n stats.Store
			r.Chan.(store.Counting).CountTo(&n)
			run := func(ops ...*store.Op) {
				t.Helper()
				for _, op := range ops {
					r.Chan.Submit(op)
				}
				left := len(ops)
				for end := time.Now().Add(20 * time.Second); left > 0; left -= len(r.Poll(10 * time.Millisecond)) {
					if time.Now().After(end) {
						t.Fatalf("%d operations did not come back", left)
					}
				}
			}
			var writes []*store.Op
			for i := range 9 {
				writes = append(writes, &store.Op{Kind: store.Write, Durable: true, Off: int64(i) * 4096, Buf: r.Buf(4096)})
			}
			run(writes...)
			run(&store.Op{Kind: store.Write, Off: 1 << 20, Buf: r.Buf(4096)}, &store.Op{Kind: store.Read, Buf: r.Buf(4096)})
			want := uint64(9)
			if c.each {
				want = 0
			}
			if s, w := n.Syncs.Load(), n.SyncWrites.Load(); w != want || s > want || s == 0 && want > 0 {
				t.Errorf("%d syncs for %d durable writes, want at most %d for %d", s, w, want, want)
			}
			before := n.Syncs.Load()
			run(&store.Op{Kind: store.Flush})
			if s, w := n.Syncs.Load(), n.SyncWrites.Load(); s != before+1 || w != want+1 {
				t.Errorf("after a flush: %d syncs for %d, before %d for %d", s, w, before, want)
			}
		})
	}
}
