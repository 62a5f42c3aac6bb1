package guest

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"goaoe/test/conformance"
)

// TestLinuxUsesTheDisk: discovery, exact size, a file system through unmount and remount, verified I/O.
func TestLinuxUsesTheDisk(t *testing.T) {
	b := setUp(t)
	for _, mtu := range []int{1500, 9000} {
		for _, kind := range []string{"file", "loop"} {
			t.Run(fmt.Sprintf("mtu %d %s", mtu, kind), func(t *testing.T) {
				t.Parallel()
				conformance.Covers(t, "C53", "C118")
				// 500000 sectors are no multiple of 4 KiB; the 300 bytes behind them cannot be served
				const size, odd = 256_000_000, 300
				path := image(t, "disk.img", size+odd)
				noise := ""
				if kind == "loop" {
					path = loop(t, path)
				} else {
					noise = `300 bytes` // the tail is spoken of, once
				}
				payload := (mtu - 36) / 512 * 512
				b.run(t, job{script: "basic.sh", args: []string{strconv.Itoa(size), strconv.Itoa(payload)}, mtu: mtu, noise: noise,
					targets: []string{serve(t, b, []string{"t0"}, export{addr: "0.1", path: path})}, limit: 4 * time.Minute})
			})
		}
	}
}

// TestLinuxSeesALateTarget: the announcement at the start makes the disk appear, not the driver's next query.
func TestLinuxSeesALateTarget(t *testing.T) {
	b := setUp(t)
	for _, mtu := range []int{1500, 9000} {
		t.Run(fmt.Sprintf("mtu %d", mtu), func(t *testing.T) {
			t.Parallel()
			conformance.Covers(t, "C118")
			path := image(t, "disk.img", 64<<20)
			// run starts its targets before the guest boots, so the first start of this one waits to be started again
			first := t.TempDir() + "/started"
			command := fmt.Sprintf("[ -e %s ] || { touch %s; exec sleep 300; }; ", first, first) + serve(t, b, []string{"t0"}, export{addr: "0.1", path: path})
			b.run(t, job{script: "late.sh", mtu: mtu, targets: []string{command}})
		})
	}
}

func TestLinuxUsesThreeDisksAtOnce(t *testing.T) {
	b := setUp(t)
	t.Parallel()
	conformance.Covers(t, "C7")
	exports := []export{{addr: "0.1", path: image(t, "a", 32<<20)}, {addr: "0.2", path: image(t, "b", 48<<20)}, {addr: "7.3", path: image(t, "c", 33<<20)}}
	b.run(t, job{script: "three.sh", targets: []string{serve(t, b, []string{"t0"}, exports...)}, mtu: 9000,
		args: []string{"e0.1", strconv.Itoa(32 << 20), "e0.2", strconv.Itoa(48 << 20), "e7.3", strconv.Itoa(33 << 20)}})
}

// TestLinuxSeesGrowth: a larger image is taken over without a restart, at once or when the disk is closed.
func TestLinuxSeesGrowth(t *testing.T) {
	goaoeOnly(t)
	b := setUp(t)
	t.Parallel()
	conformance.Covers(t, "C95")
	path := image(t, "disk.img", 64<<20)
	b.run(t, job{script: "grow.sh", targets: []string{serve(t, b, []string{"t0"}, export{addr: "0.1", path: path})},
		args: []string{path, strconv.Itoa(64 << 20), strconv.Itoa(96 << 20), strconv.Itoa(128<<20 + 512)}})
}

func TestLinuxReadsAReadOnlyDisk(t *testing.T) {
	goaoeOnly(t)
	b := setUp(t)
	t.Parallel()
	conformance.Covers(t, "C69")
	path := image(t, "disk.img", 32<<20)
	scribble(t, path, 0, 4<<20)
	b.run(t, job{script: "readonly.sh", args: []string{path}, targets: []string{serve(t, b, []string{"t0"}, export{addr: "0.1", path: path, more: "read-only = true"})}})
}

// TestLinuxSeesOnlyWhatItMay: e0.1 is for somebody else, e0.2 for the guest.
func TestLinuxSeesOnlyWhatItMay(t *testing.T) {
	goaoeOnly(t)
	b := setUp(t)
	t.Parallel()
	path, other := image(t, "a", 32<<20), image(t, "b", 32<<20)
	b.run(t, job{script: "access.sh", targets: []string{serve(t, b, []string{"t0"},
		export{addr: "0.1", path: path, more: `accept = ["02:00:00:00:00:99"]`},
		export{addr: "0.2", path: other, more: `accept = ["` + guestMAC + `"]`})}})
	for i, x := range readAt(t, path, 0, 32<<20) {
		if x != 0 {
			t.Fatalf("the image that the guest may not use was written at %d", i)
		}
	}
}

// TestLinuxTools: aoetools in the guest, beside the driver; goaoe as aoe-stat and aoe-discover says and does the same.
func TestLinuxTools(t *testing.T) {
	goaoeOnly(t) // with vblade they wait for ever: its answers are too short for them
	b := setUp(t)
	t.Parallel()
	conformance.Covers(t, "C123")
	path := image(t, "disk.img", 64<<20)
	b.run(t, job{script: "tools.sh", args: []string{strconv.Itoa(64 << 20), "8704"}, mtu: 9000, limit: 3 * time.Minute, add: []string{b.goaoe},
		targets: []string{serve(t, b, []string{"t0"}, export{addr: "0.1", path: path})}})
}

// TestLinuxUsesWhatExportServes: vblade's form of the command, without a configuration.
func TestLinuxUsesWhatExportServes(t *testing.T) {
	goaoeOnly(t)
	b := setUp(t)
	t.Parallel()
	path := image(t, "disk.img", 64<<20)
	scribble(t, path, 0, 4<<20)
	command := fmt.Sprintf("exec %s export --state-dir %s -b 32 -r -m %s 0 1 t0 %s", b.goaoe, t.TempDir(), guestMAC, path)
	b.run(t, job{script: "readonly.sh", args: []string{path}, targets: []string{command}})
}
