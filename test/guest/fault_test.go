package guest

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"goaoe/test/conformance"
)

// backAtFullSpeed fails the test unless the load ran at full speed again within limit seconds of the fault's end. What full speed is
// is measured before the fault and anew after it all, and the lower of the two counts: the machine under the guest does not stay as fast as it is.
func backAtFullSpeed(t *testing.T, dir string, limit float64) {
	t.Helper()
	s, fault, end := rates(t, dir)
	f := samples(t, dir, "fresh")
	if len(s) == 0 || len(f) == 0 {
		t.Fatal("no load")
	}
	before, fresh := medianRate(s, s[0].at+0.5, fault), medianRate(f, f[0].at+0.5, f[len(f)-1].at)
	usual := min(before, fresh)
	took := recovery(s, end, usual)
	after := 0.0
	if took >= 0 {
		after = medianRate(s, end+took, min(end+took+6, s[len(s)-1].at))
	}
	t.Logf("MB/s in each second: %s; by a fresh driver: %s", timeline(s), timeline(f))
	t.Logf("before: %.1f MB/s (median), by a fresh driver %.1f MB/s; the fault took %.1f s; full speed (%.0f %%) %.2f s after its end; then %.1f MB/s (median)",
		before, fresh, end-fault, fullShare*100, took, after)
	if took < 0 || took > limit {
		t.Errorf("back at full speed after %.2f s, want at most %.0f s (-1: not at all)", took, limit)
	}
	if after < fullShare*usual || usual <= 0 {
		t.Errorf("afterwards %.1f MB/s, before it was %.1f MB/s, and by a fresh driver it is %.1f MB/s", after, before, fresh)
	}
}

// TestLinuxTargetStops: stopped for 8 s, killed, restarted in the middle of verified I/O; no error, and full speed again
// within 3 s.
func TestLinuxTargetStops(t *testing.T) {
	b := setUp(t)
	for _, c := range []struct {
		fault, kind string
		mtu         int
	}{
		{"stop", "file", 9000},
		{"stop", "loop", 1500},
		{"kill", "file", 1500},
		{"kill", "loop", 9000},
		{"restart", "file", 9000},
	} {
		t.Run(fmt.Sprintf("%s mtu %d %s", c.fault, c.mtu, c.kind), func(t *testing.T) {
			conformance.Covers(t, "C120")
			path := image(t, "disk.img", 1<<30)
			if c.kind == "loop" {
				path = loop(t, path)
			}
			r := b.run(t, job{script: "fault.sh", args: []string{c.fault}, mtu: c.mtu, limit: 3 * time.Minute,
				targets: []string{serve(t, b, []string{"t0"}, export{addr: "0.1", path: path})}})
			if !t.Failed() {
				backAtFullSpeed(t, r.dir, 3)
			}
		})
	}
}

// TestLinuxTargetIsGoneForLong: dead for GOAOE_GUEST_GONE seconds (default 30, the driver gives up after 180) under load.
func TestLinuxTargetIsGoneForLong(t *testing.T) {
	b := setUp(t)
	t.Parallel()
	conformance.Covers(t, "C120")
	secs := seconds(t, "GOAOE_GUEST_GONE", 30)
	path := image(t, "disk.img", 1<<30)
	r := b.run(t, job{script: "gone.sh", args: []string{strconv.Itoa(secs)}, mtu: 9000, limit: time.Duration(secs+120) * time.Second,
		targets: []string{serve(t, b, []string{"t0"}, export{addr: "0.1", path: path})}})
	if t.Failed() {
		return
	}
	// (other guests run beside this one: its speed says little, but that it moves does)
	s, _, end := rates(t, r.dir)
	t.Logf("MB/s in each second: %s", timeline(s))
	if got := rate(s, end, end+5); got <= 0.05 {
		t.Errorf("%.2f MB/s in the 5 s after the target came back", got)
	}
}

// TestLinuxMultipath: two interfaces, one of which is taken down in the middle and comes back.
func TestLinuxMultipath(t *testing.T) {
	goaoeOnly(t) // vblade ends with its interface
	b := setUp(t)
	conformance.Covers(t, "C119")
	path := image(t, "disk.img", 1<<30)
	r := b.run(t, job{script: "multipath.sh", nics: 2, noise: `\bt0\b`, limit: 3 * time.Minute,
		targets: []string{serve(t, b, []string{"t0", "t1"}, export{addr: "0.1", path: path})}})
	if t.Failed() {
		return
	}
	// the driver gives the dead path up after 10 s; from then on the other one has to carry the load
	s, down, up := rates(t, r.dir)
	if len(s) == 0 {
		t.Fatal("no load")
	}
	before, one, after := medianRate(s, s[0].at+0.5, down), medianRate(s, up-6, up), medianRate(s, up+8, s[len(s)-1].at)
	t.Logf("MB/s in each second: %s", timeline(s))
	t.Logf("both: %.1f MB/s; one, 12 s after the other went down: %.1f MB/s; both again: %.1f MB/s", before, one, after)
	if one <= 0 {
		t.Errorf("no I/O over the interface that was left")
	}
	if after < fullShare*before {
		t.Errorf("with both interfaces again %.1f MB/s, before it was %.1f MB/s", after, before)
	}
}

// TestLinuxOverABadCable: 1 % loss, duplication and reordering, each alone and all together, for GOAOE_GUEST_CABLE
// seconds each (default 12; 600 before a release).
func TestLinuxOverABadCable(t *testing.T) {
	b := setUp(t)
	secs := seconds(t, "GOAOE_GUEST_CABLE", 12)
	for _, c := range []struct{ name, options string }{
		{"loss", "-loss 1"},
		{"duplication", "-dup 1"},
		{"reordering", "-reorder 1"},
		{"all", "-loss 1 -dup 1 -reorder 1 -jitter 300us"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conformance.Covers(t, "C121")
			mtu := map[bool]int{true: 9000, false: 1500}[c.name == "all"]
			path := image(t, "disk.img", 1<<30)
			b.run(t, job{script: "cable.sh", args: []string{strconv.Itoa(secs)}, impair: c.options, mtu: mtu, limit: time.Duration(secs+180) * time.Second,
				targets: []string{serve(t, b, []string{"t0"}, export{addr: "0.1", path: path})}})
		})
	}
}

// seconds reads a time from the environment.
func seconds(t *testing.T, name string, otherwise int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil || n <= 0 {
		t.Fatalf("%s=%q is not a number of seconds", name, v)
	}
	return n
}
