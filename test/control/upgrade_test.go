package control_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/test/program"
)

// TestRestartUnderLoad: restarts, as an upgrade does them, while an initiator writes: no request fails, what was acknowledged is there,
// and the silence is short. Its length is told, and judged only where it would be noticed.
func TestRestartUnderLoad(t *testing.T) {
	r := newRig(t, "")
	const block, blocks, restarts = 4096, 256, 5
	file := r.image("disk", block*blocks)
	r.configure("\n[[export]]\naddress = \"1.0\"\nsource = \"" + file + "\"\n")
	r.want(0, `\+ e1\.0`, "", "reload")
	d := r.open("e1.0")
	var finished atomic.Int64
	var round [blocks]byte // of the last acknowledged write; each block has one writer
	var stop atomic.Bool
	var wg sync.WaitGroup
	t.Cleanup(func() { stop.Store(true); wg.Wait() }) // a writer must not speak after the test
	start := time.Now()
	var last, gap atomic.Int64
	for w := range 8 {
		wg.Go(func() {
			for n := byte(1); !stop.Load(); n = n%255 + 1 {
				for b := w; b < blocks; b += 8 {
					if _, err := d.WriteAt([]byte(strings.Repeat(string([]byte{n}), block)), int64(b)*block); err != nil {
						t.Errorf("block %d: %v", b, err)
						return
					}
					round[b] = n
					finished.Add(1)
					now := int64(time.Since(start))
					if silent := now - last.Swap(now); silent > gap.Load() {
						gap.Store(silent)
					}
				}
			}
		})
	}
	var gaps []time.Duration
	for range restarts {
		before := finished.Load()
		r.until("writes go on", func() bool { return finished.Load() > before+60 })
		gap.Store(0)
		before = finished.Load()
		r.end(unix.SIGTERM)
		r.start()
		r.until("writes go on after a restart", func() bool { return finished.Load() > before+60 })
		gaps = append(gaps, time.Duration(gap.Load()))
	}
	stop.Store(true)
	wg.Wait()
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for b, n := range round {
		if n != 0 && (got[b*block] != n || got[b*block+block-1] != n) {
			t.Errorf("block %d holds %d and not %d, which was acknowledged", b, got[b*block], n)
		}
	}
	slices.Sort(gaps)
	t.Logf("%d writes; silence around a restart: %v", finished.Load(), gaps)
	if gaps[restarts/2] > 3*time.Second {
		t.Errorf("the silence was %v", gaps)
	}
	program.Evidence(t, "restart.json", map[string]any{"restarts": restarts, "writes": finished.Load(), "median-ms": gaps[restarts/2].Milliseconds(), "longest-ms": gaps[restarts-1].Milliseconds()})
}

// TestStateOfOtherVersions: the state that the first version wrote is taken over, mask and reservation and all. What a later version wrote is not
// guessed at: that export is not served, and the log says what cannot be read.
func TestStateOfOtherVersions(t *testing.T) {
	r := newStage(t)
	state := filepath.Join(r.dir, "state")
	if err := os.CopyFS(state, os.DirFS("testdata/state-1")); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(filepath.Join(state, "e1.0.json"))
	if err != nil {
		t.Fatal(err)
	}
	newer := strings.NewReplacer(`"version": 1`, `"version": 2`, `"1.0"`, `"1.1"`).Replace(string(old))
	if err := os.WriteFile(filepath.Join(state, "e1.1.json"), []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	r.image("a", 1<<20)
	r.image("b", 1<<20)
	r.configure("\n[[export]]\naddress = \"1.0\"\nsource = \"" + r.dir + "/a\"\n\n[[export]]\naddress = \"1.1\"\nsource = \"" + r.dir + "/b\"\n")
	r.start()
	t.Cleanup(func() { r.end(unix.SIGTERM) })
	e := r.exports()
	if a := e["e1.0"]; a.State != "serving" || a.ConfigString != "made by the first version" || !slices.Equal(a.Mask, []string{"02:00:00:00:00:01"}) {
		t.Errorf("the older state: %+v", a)
	}
	if b := e["e1.1"]; b.State == "serving" || !strings.Contains(b.Why, "version is 2; this goaoe knows version 1") {
		t.Errorf("the newer state: %+v", b)
	}
	if !strings.Contains(r.log.String(), "version is 2; this goaoe knows version 1") {
		t.Errorf("the log does not say what cannot be read:\n%s", r.log)
	}
	if now, err := os.ReadFile(filepath.Join(state, "e1.1.json")); err != nil || string(now) != newer {
		t.Errorf("the newer state was changed: %v\n%s", err, now)
	}
}
