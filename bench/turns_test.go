package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"goaoe/internal/loadgen"
	"goaoe/internal/testnet"
	"goaoe/test/need"
)

// TestTurnOf: everybody has one turn in each round, and rounds go to and fro.
func TestTurnOf(t *testing.T) {
	var got []int
	for round := range 3 {
		for k := range 3 {
			got = append(got, turnOf(k, round, 3))
		}
	}
	if want := []int{0, 1, 2, 2, 1, 0, 0, 1, 2}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestAlternately measures a row as make bench does: contestants that are all there, one of which never rests by itself, and fio.
func TestAlternately(t *testing.T) {
	path, err := exec.LookPath(fio)
	if err != nil {
		need.Missing(t, "fio")
	}
	dir := t.TempDir()
	b := &bench{reps: 2, times: times{cached: timing{4, 2 * time.Millisecond, 20 * time.Millisecond}, disk: timing{2, 20 * time.Millisecond, 60 * time.Millisecond}},
		image: filepath.Join(dir, "image"), written: filepath.Join(dir, "written"), fioImage: filepath.Join(dir, "fio"), size: 4 * testImage, state: dir, logs: t.TempDir(),
		programs: map[string]string{fio: path}, targetOn: -1, clientOn: -1, say: t.Logf}
	for name, size := range map[string]int64{b.image: b.size, b.fioImage: b.size / 4} {
		if err := loadgen.Fill(name, size); err != nil {
			t.Fatal(err)
		}
	}
	plain := plainDirect(true)
	for _, r := range []row{
		{id: "w", mtu: 9000, disk: true, work: loadgen.Config{Depth: 32, Sectors: 8, Writes: 100},
			contestants: append([]contestant{{name: "fio", kind: fio, args: []string{"--rw=randwrite", "--bs=4k", "--iodepth=32", "--sync=dsync"}}}, plain...)},
		{id: "r", mtu: 9000, cached: true, work: loadgen.Config{Depth: 8, Sectors: 8}, contestants: append(plainCached(false), neverAsleep())},
		{id: "two", mtu: 9000, pairs: 2, cached: true, work: loadgen.Config{Depth: 8, Sectors: 8, NoVerify: true, More: []loadgen.Place{{Interface: ifName(clientIf, 1), Addr: addr(2)}}},
			contestants: []contestant{plainLoops(1), plainLoops(2)}},
	} {
		t.Run(r.id, func(t *testing.T) {
			for try := 0; ; try++ {
				o := alternately(t, b, r)
				bad := o.Void
				for _, e := range o.Entries {
					if len(e.Samples) != b.reps {
						t.Fatalf("%s: %d samples", e.Name, len(e.Samples))
					}
					for _, s := range e.Samples {
						if s.Void == "" && (s.PerSecond <= 0 || s.P50 <= 0 || s.Requests == 0) {
							t.Errorf("%s: %+v", e.Name, s)
						}
						if s.Void != "" {
							bad = e.Name + ": " + s.Void
						}
					}
				}
				if bad == "" {
					return
				}
				if busy := strings.Contains(bad, "sent again") || strings.Contains(bad, "no request was answered"); !busy || try == 5 {
					t.Fatal(bad)
				}
			}
		})
	}
}

func alternately(t *testing.T, b *bench, r row) (o outcome) {
	t.Helper()
	testnet.New(t).Do(func() {
		var err error
		if o, err = b.row(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	})
	return o
}

// TestInterfaces: a contestant is told the interfaces that are its own.
func TestInterfaces(t *testing.T) {
	got := argv("goaoe", []string{"-i", ifName(targetIf, 0) + "," + ifName(targetIf, 1), "%image", "%state/x", "e0.1"}, "/disk", "/s", 12)
	if want := []string{"goaoe", "-i", "t12,t13", "/disk", "/s/x", "e0.1"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestFioCounts: what fio says itself has to be what was counted.
func TestFioCounts(t *testing.T) {
	v := &fioRival{done: 8000, seconds: 2, all: 10000}
	if s := v.sum(sample{Requests: 9900, P50: 3}); s.Void != "" || s.PerSecond != 4000 || s.P50 != 3 || s.P999 != 0 {
		t.Errorf("%+v", s)
	}
	for _, n := range []uint64{9000, 11000, 0} {
		if s := v.sum(sample{Requests: n}); !strings.Contains(s.Void, fmt.Sprintf("says that it did %d requests, the kernel 10000", n)) {
			t.Errorf("%d: %+v", n, s)
		}
	}
	if n, err := transferred(os.Getpid()); err != nil || n < 0 {
		t.Errorf("%v bytes, %v", n, err)
	}
	if _, err := transferred(1 << 30); err == nil {
		t.Error("a process that is not there has transferred something")
	}
}
