package initiator_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/initiator"
	"goaoe/internal/loadgen"
	"goaoe/internal/testnet"
	"goaoe/test/need"
)

// serveVblade starts vblade on an interface of ns and returns its process.
func serveVblade(t testing.TB, ns *testnet.NS, iface string, shelf, slot int, path string, args ...string) *exec.Cmd {
	t.Helper()
	vblade := need.Programs(t, "vblade")[0]
	cmd := exec.Command(vblade, append(args, strconv.Itoa(shelf), strconv.Itoa(slot), iface, path)...)
	ns.Start(cmd)
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func cpuOf(pid int) float64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	return (user + system) / 100
}

// queueRun reads 4 KiB at random places for the time given and returns requests per second and CPU seconds per request.
func queueRun(t testing.TB, d *initiator.Disk, depth int, dur time.Duration) (rate, cpu float64) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if os.Getenv("PIN") != "" {
		var set unix.CPUSet
		set.Set(1)
		_ = unix.SchedSetaffinity(0, &set)
		defer func() { set.Set(0); _ = unix.SchedSetaffinity(0, &set) }()
	}
	q := d.NewQueue(depth)
	defer q.Close()
	blocks := d.Size() / 4096
	ready := make([]*initiator.Request, depth)
	own := cpuOf(os.Getpid())
	begin := time.Now()
	free := make([]*initiator.Request, 0, depth)
	for range depth {
		free = append(free, &initiator.Request{Op: initiator.Read, Buf: make([]byte, 4096)})
	}
	rng := rand.New(rand.NewPCG(1, 2))
	n := 0
	for time.Since(begin) < dur {
		for _, r := range free {
			r.Off = rng.Int64N(blocks) * 4096
			if err := q.Submit(r); err != nil {
				t.Fatal(err)
			}
		}
		k, err := q.Wait(context.Background(), ready)
		if err != nil {
			t.Fatal(err)
		}
		free = ready[:k]
		n += k
		for _, r := range free {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
	secs := time.Since(begin).Seconds()
	return float64(n) / secs, (cpuOf(os.Getpid()) - own) / float64(n)
}

// BenchmarkVblade holds the queue against the load generator: 4 KiB random reads from Debian's vblade, MTU 9000.
func BenchmarkVblade(b *testing.B) {
	need.Root(b)
	path := filepath.Join(b.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, 64<<20), 0o600); err != nil {
		b.Fatal(err)
	}
	ns, va, vb := testnet.Pair(b, 9000)
	v := serveVblade(b, ns, va, 5, 7, path, "-b", "64")
	addr := aoe.Addr{Major: 5, Minor: 7}
	_ = exec.Command("taskset", "-pc", "0", strconv.Itoa(v.Process.Pid)).Run()
	for _, depth := range []int{1, 32} {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			for range b.N {
				var l loadgen.Result
				var d *initiator.Disk
				var err error
				dur := 1500 * time.Millisecond
				ns.Do(func() {
					l, err = loadgen.Run(context.Background(), loadgen.Config{Interface: vb, Addr: addr, Depth: depth, Sectors: 8, Warmup: 100 * time.Millisecond,
						Duration: dur, CPU: -1, TargetPID: v.Process.Pid, NoVerify: true})
				})
				if err != nil {
					b.Fatal(err)
				}
				ns.Do(func() {
					d, err = initiator.Open(context.Background(), addr, initiator.Options{Interfaces: []string{vb}, Wait: 10 * time.Second})
				})
				if err != nil {
					b.Fatal(err)
				}
				theirs := cpuOf(v.Process.Pid)
				rate, cpu := queueRun(b, d, depth, dur)
				theirs = (cpuOf(v.Process.Pid) - theirs) / (rate * dur.Seconds())
				b.ReportMetric(rate, "queue/s")
				b.ReportMetric(l.PerSecond, "loadgen/s")
				b.ReportMetric(rate/l.PerSecond, "ratio")
				b.ReportMetric(cpu*1e6, "own-us")
				b.ReportMetric(theirs*1e6, "vblade-us")
				if s := d.Stats(); s.Retransmits > 0 {
					b.Logf("%+v %+v", s, d.Paths())
				}
				_ = d.Close()
			}
		})
	}
}
