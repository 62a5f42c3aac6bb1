package file

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"goaoe/internal/store"
	"goaoe/internal/sys"
)

// written makes a file of n bytes with real content on a disk.
func written(b *testing.B, n int64) string {
	b.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "goaoe-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "disk")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	chunk := make([]byte, 1<<20)
	for i := range chunk {
		chunk[i] = byte(rand.Uint32())
	}
	for at := int64(0); at < n; at += int64(len(chunk)) {
		if _, err := f.WriteAt(chunk, at); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	return path
}

// drive keeps depth operations of 4 KiB at random places going.
func drive(b *testing.B, path string, o Options, kind store.Kind, durable bool, depth int) {
	s, err := Open(path, o)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := unix.Fsync(s.bufFD); err != nil { // what an earlier run left must not count
		b.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	set := new(store.Set)
	c, err := s.Channel(set)
	if err != nil {
		b.Fatal(err)
	}
	x := set.Executors()[0]
	defer func() { c.Close(); set.Close() }()
	mem, err := sys.Alloc(depth * 4096)
	if err != nil {
		b.Fatal(err)
	}
	defer sys.Free(mem)
	blocks := s.Info().Size / 4096
	ops, done := make([]store.Op, depth), make([]*store.Op, depth)
	b.ResetTimer()
	for i := range ops {
		ops[i] = store.Op{Kind: kind, Durable: durable, Off: rand.Int64N(blocks) * 4096, Buf: mem[i*4096 : (i+1)*4096]}
		c.Submit(&ops[i])
	}
	for n := 0; n < b.N; {
		x.Flush()
		got := x.Reap(done)
		if got == 0 && !x.Pending() {
			p := [1]unix.PollFd{{Fd: int32(x.FD()), Events: unix.POLLIN}}
			_, _ = unix.Ppoll(p[:], nil, nil)
			continue
		}
		for _, op := range done[:got] {
			if op.Errno != 0 {
				b.Fatal(op.Errno)
			}
			op.Off = rand.Int64N(blocks) * 4096
			c.Submit(op)
		}
		n += got
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "iops")
	for left := depth; left > 0; {
		x.Flush()
		left -= x.Reap(done)
	}
}

func BenchmarkDisk(b *testing.B) {
	path := os.Getenv("GOAOE_BENCH_FILE") // to compare with fio on the same file; its content is overwritten
	if path == "" {
		path = written(b, 1<<30)
	}
	for _, direct := range []bool{true, false} {
		for _, engine := range []string{"io_uring", "threads"} {
			name := fmt.Sprintf("direct=%v/%s/", direct, engine)
			o := Options{Direct: direct, Engine: engine}
			b.Run(name+"read", func(b *testing.B) { drive(b, path, o, store.Read, false, 32) })
			b.Run(name+"write", func(b *testing.B) { drive(b, path, o, store.Write, false, 32) })
			for _, sync := range []string{"group", "each"} {
				o := o
				o.Sync = sync
				b.Run(name+"durable-"+sync, func(b *testing.B) { drive(b, path, o, store.Write, true, 32) })
			}
		}
	}
}
