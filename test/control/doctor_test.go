package control_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/initiator"
	"goaoe/test/need"
)

// TestDoctor: a healthy daemon is found healthy; then faults are made, and each is found with what mends it.
func TestDoctor(t *testing.T) {
	need.Programs(t, "/usr/sbin/vblade")
	r := newRig(t, "")
	mac := r.mac()
	disk := r.image("disk", 1<<20)
	r.want(0, "added", "", "add", "0.1", disk, "--save", "-o", "accept="+mac)
	// doctor runs the checks on the machine that the daemon is on.
	doctor := func(code int, want string, checks ...string) {
		t.Helper()
		r.wantProgram(code, want, "", r.bin, append([]string{"doctor"}, checks...)...)
	}
	finds := func(check, level, subject string) bool {
		t.Helper()
		got := r.program(r.bin, "doctor", "--json", check)
		var report struct {
			OK       bool
			Findings []struct{ Check, Level, Subject, Text, Fix string }
		}
		if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || report.OK != (got.code == 0) {
			t.Fatalf("goaoe doctor --json %s: %+v, %v", check, got, err)
		}
		for _, f := range report.Findings {
			if f.Check == check && f.Level == level && f.Subject == subject {
				if f.Fix == "" || f.Text == "" {
					t.Errorf("%+v", f)
				}
				return true
			}
		}
		return false
	}
	doctor(0, `(?m)^0 problems, 0 warnings, [0-9]+ notes, [0-9]+ fine$`)
	doctor(0, `(?m)^ok +permission: `, "-v", "permission")

	// Everybody may use a disk behind a bridge.
	r.want(0, "changed", "", "set", "0.1", "--unset", "accept", "--save")
	doctor(0, `0 problems, 0 warnings, 0 notes, 1 fine\n$`, "open")
	r.ns.Do(func() {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "br"
		br := &netlink.Bridge{LinkAttrs: attrs}
		va, err := netlink.LinkByName("va")
		if err == nil {
			err = netlink.LinkAdd(br)
		}
		if err == nil {
			err = netlink.LinkSetMaster(va, br)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	doctor(1, `^warning  open: e0\.1: everybody can use it on va, which is a port of a bridge\n +fix: goaoe set e0\.1 accept=MAC,\.\.\. --save\n`, "open")
	r.ns.Link("va", "freeing", netlink.LinkSetNoMaster)
	doctor(0, "1 fine", "open")

	// One disk, exported twice for writing.
	r.want(0, "added", "", "add", "0.2", disk, "-o", "force=true")
	doctor(1, `problem  storage: .*/disk: it is exported for writing as e0\.1 and e0\.2\n +fix: goaoe set e0\.2 read-only=true --save`, "storage")
	doctor(0, `note +daemon: 1 export with changes that a restart forgets\n +fix: goaoe set --save '\*'`, "daemon")
	r.want(0, "changed", "", "set", "0.2", "read-only=true")
	doctor(0, "1 fine", "storage")
	r.want(0, "removed", "", "rm", "0.2", "--force")

	// An initiator that asks for less than a frame could carry.
	for _, name := range []string{"va", "vb"} {
		r.ns.SetMTU(name, 9000)
	}
	r.until("the daemon follows the MTU", func() bool {
		return strings.Contains(r.try("interfaces", "--json").stdout, `"mtu": 9000`)
	})
	var d *initiator.Disk
	addr := aoe.Addr{Minor: 1}
	r.ns.Do(func() {
		var err error
		if d, err = initiator.Open(t.Context(), addr, initiator.Options{Interfaces: []string{"vb"}, Sectors: 2}); err != nil {
			t.Fatal(err)
		}
	})
	defer d.Close()
	for range 600 {
		if _, err := d.ReadAt(make([]byte, 2048), 0); err != nil {
			t.Fatal(err)
		}
	}
	if !finds("mtu", "note", mac+" on e0.1") {
		t.Errorf("small requests are not found: %+v", r.program(r.bin, "doctor", "mtu"))
	}

	// What is waited for.
	r.want(0, "waiting", "", "add", "0.3", "later", "-i", "eth9")
	doctor(1, `warning  daemon: waiting: interface eth9 does not exist`, "daemon")
	r.want(0, "removed", "", "rm", "0.3")

	// A cache that is not written through.
	r.want(0, "changed", "", "set", "0.1", "write-cache=true")
	if !finds("storage", "note", "e0.1") {
		t.Error("the write cache is not found")
	}

	// Another target under the same address.
	r.image("other", 1<<20)
	_, end := r.foreground("/usr/sbin/vblade", "0", "1", "vb", "other")
	r.until("the other one is heard", func() bool { return finds("duplicate", "problem", "e0.1") })
	doctor(1, `^problem  duplicate: e0\.1: another target at `+mac+` answers for it on va: `, "duplicate")
	end()
	doctor(0, "1 fine", "duplicate")

	// A mistake in the file.
	if err := os.WriteFile(filepath.Join(r.dir, "conf.d", "mistake.toml"), []byte("[[export]]\naddress = \"0.9\"\nsourc = \"x\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	doctor(1, `problem  config: .*/conf\.d/mistake\.toml:3:1: there is no such key`, "config")

	// The link goes.
	r.ns.Down("va")
	doctor(1, `warning  interface: va: it is down\n +fix: ip link set dev va up`, "interface")
	r.ns.Up("va")

	// No daemon, then a stale socket: one line, and what to do.
	r.end(unix.SIGKILL)
	doctor(0, `note +daemon: no daemon is running: .*\n +fix: `, "daemon")
	r.want(2, "", `there is no check "heart"; the checks are config, daemon, `, "doctor", "heart")
}
