package measure

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"goaoe/aoe"
	"goaoe/initiator"
	"goaoe/internal/testnet"
	"goaoe/test/need"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// blade is a disk of Debian's vblade, and the file behind it.
func blade(t *testing.T, size int64) (d *initiator.Disk, path string, pid int) {
	t.Helper()
	need.Root(t)
	vblade := need.Programs(t, "vblade")[0]
	path = filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	ns, a, b := testnet.Pair(t, 9000)
	cmd := exec.Command(vblade, "-b", "64", "3", "7", a, path)
	ns.Start(cmd)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	ns.Do(func() {
		var err error
		d, err = initiator.Open(t.Context(), aoe.Addr{Major: 3, Minor: 7}, initiator.Options{Interfaces: []string{b}, Wait: 20 * time.Second, Timeout: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { _ = d.Close() })
	return d, path, cmd.Process.Pid
}

func checked(t *testing.T, d *initiator.Disk, w Work) *Bench {
	t.Helper()
	if err := w.Check(d.Size()); err != nil {
		t.Fatal(err)
	}
	return New(d, w)
}

// TestRun: the figures of runs of all kinds fit together, what counts is what was asked for, and requests allocate nothing.
func TestRun(t *testing.T) {
	d, _, pid := blade(t, 8<<20)
	for _, w := range []Work{
		{Size: 4096, Depth: 16, Duration: 300 * time.Millisecond, Warmup: 50 * time.Millisecond, CPU: -1, PID: pid},
		{Size: 65536, Depth: 4, Count: 300, Sequential: true, CPU: -1},
		{Size: 4096, Depth: 1, Count: 200, Writes: 100, CPU: -1},
		{Size: 8192, Depth: 8, Count: 2000, Writes: 30, CPU: 0, Offset: 1 << 20, Length: 1 << 20},
	} {
		begun := time.Now()
		b := checked(t, d, w)
		r, err := b.Run(t.Context())
		if err != nil {
			t.Fatalf("%+v: %v", w, err)
		}
		n := r.Read.Count() + r.Write.Count()
		if r.Requests != n || n == 0 || w.Count > 0 && (n < w.Count || n >= w.Count+uint64(w.Depth)) {
			t.Errorf("%+v: %d requests, %d latencies", w, r.Requests, n)
		}
		if r.Seconds <= 0 || r.Seconds > time.Since(begun).Seconds() || r.Seconds < w.Duration.Seconds() || r.PerSecond != float64(n)/r.Seconds || r.OwnCPU <= 0 {
			t.Errorf("%+v: %+v s, %v/s, CPU %v", w, r.Seconds, r.PerSecond, r.OwnCPU)
		}
		if (r.Write.Count() == n) != (w.Writes == 100) || (r.Read.Count() == n) != (w.Writes == 0) {
			t.Errorf("%+v: %d reads, %d writes", w, r.Read.Count(), r.Write.Count())
		}
		if share := float64(r.Write.Count()) / float64(n); w.Writes == 30 && (share < .2 || share > .4) {
			t.Errorf("%.2f of the requests were writes, want 0.3", share)
		}
		h := r.Read
		h.Merge(&r.Write)
		if h.Quantile(.5) <= 0 || h.Quantile(.5) > h.Quantile(.99) || h.Max().Seconds() > time.Since(begun).Seconds() || h.Mean() > h.Max() {
			t.Errorf("%+v: p50 %v, p99 %v, max %v", w, h.Quantile(.5), h.Quantile(.99), h.Max())
		}
		// The whole process is counted: timers and the like of the runtime, but nothing for each request.
		if n > 1500 && r.Allocs > n/10 {
			t.Errorf("%+v: %d allocations for %d requests", w, r.Allocs, n)
		}
		if w.PID > 0 && (r.TargetCPU <= 0 || len(r.Ticks) == 0) {
			t.Errorf("%+v: target %v, %d ticks", w, r.TargetCPU, len(r.Ticks))
		}
	}
}

// TestVerify: data that is right is found right, and one wrong bit is found: by a read of a run, and by the last look.
func TestVerify(t *testing.T) {
	d, path, _ := blade(t, 2<<20)
	w := Work{Size: 4096, Depth: 16, Writes: 50, Verify: true, Count: 3000, CPU: -1, Length: 1 << 20}
	b := checked(t, d, w)
	if err := b.Prepare(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := int64(0)
	if err := b.Finish(t.Context(), func(n int64) { seen = n }); err != nil || seen != 1<<20 {
		t.Fatalf("%d bytes: %v", seen, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var p [1]byte
	if _, err := f.ReadAt(p[:], 512*1777+300); err != nil {
		t.Fatal(err)
	}
	p[0] ^= 0x10
	if _, err := f.WriteAt(p[:], 512*1777+300); err != nil {
		t.Fatal(err)
	}
	if err := b.Finish(t.Context(), nil); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), "sector 1777 does not hold") {
		t.Errorf("the last look: %v", err)
	}
	reads := checked(t, d, Work{Size: 4096, Depth: 4, Verify: true, Count: 2000, CPU: -1, Length: 1 << 20, Sequential: true})
	reads.last = b.last
	if _, err := reads.Run(t.Context()); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), "sector 1777") {
		t.Errorf("a run: %v", err)
	}
	// Behind the range nothing was written.
	rest := make([]byte, 1<<20)
	if _, err := f.ReadAt(rest, 1<<20); err != nil || strings.Trim(string(rest), "\x00") != "" {
		t.Errorf("behind the range: %v", err)
	}
}

// TestEnds: a run ends with its context, and when the target is gone, without a result.
func TestEnds(t *testing.T) {
	d, _, _ := blade(t, 1<<20)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if r, err := checked(t, d, Work{Size: 512, Depth: 8, Duration: time.Hour, CPU: -1}).Run(ctx); r != nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v", r, err)
	}
	if r, err := checked(t, d, Work{Size: 512, Depth: 8, Count: 10, CPU: 4000}).Run(t.Context()); r != nil || err == nil || !strings.Contains(err.Error(), "processor 4000") {
		t.Errorf("%v, %v", r, err)
	}
}

// TestCheck: work that makes no sense is refused.
func TestCheck(t *testing.T) {
	good := Work{Size: 4096, Depth: 32, Duration: time.Second}
	for want, set := range map[string]func(*Work){
		"a size of 100 bytes":             func(w *Work) { w.Size = 100 },
		"a size of 33554432 bytes":        func(w *Work) { w.Size = 32 << 20 },
		"a depth of 0":                    func(w *Work) { w.Depth = 0 },
		"a depth of 5000":                 func(w *Work) { w.Depth = 5000 },
		"101 percent":                     func(w *Work) { w.Writes = 101 },
		"does not begin and end with":     func(w *Work) { w.Offset = 5 },
		"lies outside of the disk":        func(w *Work) { w.Offset = 1 << 19; w.Length = 1 << 20 },
		"neither a duration":              func(w *Work) { w.Duration = 0 },
		"is smaller than one request":     func(w *Work) { w.Offset = 1<<20 - 512 },
		"twice the depth":                 func(w *Work) { w.Verify = true; w.Length = 1 << 17 },
		"range of 1024 bytes at 16777216": func(w *Work) { w.Offset, w.Length = 16<<20, 1024 },
	} {
		w := good
		set(&w)
		if err := w.Check(1 << 20); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := good.Check(1 << 20); err != nil || good.Length != 1<<20 {
		t.Errorf("%+v, %v", good, err)
	}
}
