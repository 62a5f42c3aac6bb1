package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"goaoe/internal/control"
	"goaoe/internal/stats"
)

// told returns the findings as lines.
func told(found []finding) string {
	var b strings.Builder
	for _, f := range found {
		b.WriteString(f.Level + " " + f.Subject + ": " + f.Text + " -> " + f.Fix + "\n")
	}
	return b.String()
}

// TestDoctorFindings gives each check something to find, and the same without the fault.
func TestDoctorFindings(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	sparse := filepath.Join(t.TempDir(), "sparse")
	if err := os.WriteFile(sparse, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(sparse, 1<<50); err != nil {
		if err := os.Truncate(sparse, 15<<40); err != nil { // ext4 has no larger files
			t.Fatal(err)
		}
	}
	sick := func() *patient {
		var st unix.Stat_t
		if err := unix.Stat(disk, &st); err != nil {
			t.Fatal(err)
		}
		dev := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
		root := sysTree(t, map[string]string{
			"proc/sys/kernel/io_uring_disabled": "2\n",
			"proc/sys/net/core/wmem_max":        "212992\n",
			"proc/net/softnet_stat":             "00000010 00000100 00000000\n00000010 00000002 00000000\n",
			"proc/self/mountinfo": "21 1 0:7 / /proc rw - proc proc rw\n" +
				"30 1 " + dev + " / /mnt rw,relatime shared:1 - xfs /dev/sda1 rw,nobarrier,inode64\n",
			"sys/dev/block/" + dev + "/queue/write_cache":                   "write through\n",
			"sys/dev/block/" + dev + "/device/scsi_disk/0:0:0:0/cache_type": "write back\n",
			fmt.Sprintf("proc/%d/status", os.Getpid()):                      "Name:\tgoaoe\nCapEff:\t0000000000002000\n",
			disk:                           "",
			"sys/class/net/eth1/operstate": "up", "sys/class/net/eth1/speed": "100", "sys/class/net/eth1/duplex": "half", "sys/class/net/eth1/mtu": "1500",
			"sys/class/net/eth1/statistics/rx_crc_errors": "7", "sys/class/net/eth1/brport/x": "", "sys/class/net/eth2/operstate": "down",
		})
		initiator := stats.InitiatorSnapshot{MAC: "02:00:00:00:00:01", Interface: "eth3", Requests: 10000, Retransmits: 300, Reads: 9000, ReadBytes: 9000 * 1024}
		return &patient{env: &Env{Sysroot: root}, root: root,
			status: &control.Status{Version: "0.0", PID: os.Getpid(), Unsaved: 2, Waiting: []string{"interface eth9 does not exist"}, Problems: []string{"e0.1: it broke"}},
			exports: []control.Export{
				{Address: "e0.1", State: control.StateServing, Path: disk, Served: []string{"eth1"}, Settings: map[string]string{"write-cache": "true"}},
				{Address: "e0.2", State: control.StateServing, Path: disk, Served: []string{"eth2"}, Settings: map[string]string{"accept": "02:00:00:00:00:01"}},
				{Address: "e0.3", State: control.StateServing, Path: sparse, Settings: map[string]string{}},
			},
			interfaces: []control.Interface{{Name: "eth1", State: control.StateServing, MTU: 1300, Up: true}, {Name: "eth2", State: control.StateServing, MTU: 1500},
				{Name: "eth3", State: control.StateServing, MTU: 9000}},
			stats: &control.Stats{
				Exports:    []control.ExportStats{{Address: "e0.1", ExportSnapshot: stats.ExportSnapshot{Errors: 3, ErrorKinds: stats.Counts{"media": 3}}}},
				Interfaces: []control.InterfaceStats{{Name: "eth1", PortSnapshot: stats.PortSnapshot{RxFrames: 90, KernelDrops: 10, Drops: stats.Counts{"full": 5}}}},
				Initiators: []control.InitiatorStats{{Export: "e0.1", InitiatorSnapshot: initiator}},
			}}
	}
	well := func() *patient {
		p := sick()
		for _, f := range []string{"speed", "duplex", "statistics/rx_crc_errors", "brport"} {
			if err := os.RemoveAll(filepath.Join(p.root, "sys/class/net/eth1", f)); err != nil {
				t.Fatal(err)
			}
		}
		p.root = sysTree(t, map[string]string{"proc/sys/kernel/io_uring_disabled": "0", "proc/sys/net/core/wmem_max": "212992", "proc/0/status": "CapEff:\t0000000000003000\n",
			"proc/net/softnet_stat": "00000010 00000000 00000000\n", disk: "",
			"proc/self/mountinfo": "30 1 0:0 / /mnt rw,relatime - xfs /dev/sda1 rw,nobarrier\n", "sys/class/net/eth1/mtu": "9000", "sys/class/net/eth1/operstate": "up"})
		p.env.Sysroot = p.root
		p.status = &control.Status{Version: Version, PID: 0, StateDir: "/"}
		p.exports = p.exports[1:2]
		p.interfaces = []control.Interface{{Name: "eth1", State: control.StateServing, MTU: 9000, Up: true}}
		p.stats = &control.Stats{Initiators: []control.InitiatorStats{{Export: "e0.1", InitiatorSnapshot: stats.InitiatorSnapshot{MAC: "x", Interface: "eth1",
			Requests: 10000, Retransmits: 1, Reads: 9000, ReadBytes: 9000 * 8192}}}}
		return p
	}
	for _, c := range []struct {
		check string
		want  []string
	}{
		{"daemon", []string{"problem : e0.1: it broke", "warning : waiting: interface eth9 does not exist", "note : 2 exports with changes that a restart forgets", "version 0.0"}},
		{"io-uring", []string{"nobody may use io_uring", "sysctl kernel.io_uring_disabled=0"}},
		{"interface", []string{"warning eth1: the link runs at 100 Mbit/s", "warning eth1: the link is half duplex", "note eth1: the configuration limits it to an MTU of 1300",
			"note eth1: an MTU of 1500 carries 2 sectors", "note eth1: 7 frames came damaged", "warning eth2: it is down"}},
		{"open", []string{"warning e0.1: everybody can use it on eth1, which is a port of a bridge -> goaoe set e0.1 accept="}},
		{"ring", []string{"warning eth1: 10 of 100 frames were lost", "note eth1: 5 requests were dropped"}},
		{"retransmits", []string{"warning 02:00:00:00:00:01 on e0.1: 3.0 %"}},
		{"mtu", []string{"note 02:00:00:00:00:01 on e0.1: it asks for 1024 bytes at a time, although eth3 has an MTU of 9000"}},
		{"storage", []string{"problem e0.1: storage failed: 3 media", "note e0.1: its write cache is on", "it is exported for writing as e0.1 and e0.2", "warning e0.3: " + sparse + " is sparse"}},
		{"socket", []string{"note : the daemon has no CAP_NET_ADMIN, and net.core.wmem_max lets its sockets hold 208 KiB of replies where it wants 4096 -> sysctl net.core.wmem_max=4194304",
			"note : 258 frames were lost since the start of the machine because a processor's queue was full"}},
		{"cache", []string{"problem e0.1: " + disk + " is on /mnt, which is mounted with nobarrier", "mount -o remount,barrier /mnt",
			": it has a write cache which the kernel was told not to flush", "/queue/write_cache"}},
		{"state", []string{"warning : the daemon has no state directory"}},
	} {
		chosen, err := chosenChecks([]string{c.check})
		if err != nil {
			t.Fatal(err)
		}
		got := told(chosen[0].run(context.Background(), sick()))
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: %q is not in\n%s", c.check, w, got)
			}
		}
		if c.check == "memlock" {
			continue
		}
		if got := told(chosen[0].run(context.Background(), well())); got != "" {
			t.Errorf("%s finds in a healthy machine:\n%s", c.check, got)
		}
	}
	for _, f := range checkPeerMTU(context.Background(), sick()) {
		if f.Level != levelNote {
			t.Errorf("%+v", f)
		}
	}
}

// TestDoctorCommand runs the whole of it where there is nothing, and with wrong arguments.
func TestDoctorCommand(t *testing.T) {
	root := sysTree(t, map[string]string{"proc/sys/kernel/io_uring_disabled": "0"})
	socket := filepath.Join(t.TempDir(), "none.sock")
	run := func(code int, args ...string) (string, string) {
		t.Helper()
		var out, errs bytes.Buffer
		if got := Run(&Env{Stdout: &out, Stderr: &errs, Sysroot: root}, append([]string{"doctor", "--socket", socket}, args...)); got != code {
			t.Errorf("%q: exit %d, want %d: %s%s", args, got, code, &out, &errs)
		}
		return out.String(), errs.String()
	}
	out, _ := run(ExitOK, "config", "daemon", "io-uring")
	for _, want := range []string{"/etc/goaoe/goaoe.toml does not exist", "fix: goaoe init", "no daemon is running", "0 problems, 0 warnings, 2 notes, 1 fine"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	out, _ = run(ExitOK, "--json", "io-uring")
	var r struct {
		OK       bool      `json:"ok"`
		Findings []finding `json:"findings"`
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || !r.OK || len(r.Findings) != 1 || r.Findings[0].Check != "io-uring" {
		t.Errorf("%v %+v", err, r)
	}
	if out, _ = run(ExitOK, "--list"); strings.Count(out, "\n") != len(doctorChecks()) {
		t.Errorf("%s", out)
	}
	if _, errs := run(ExitUsage, "heart"); !strings.Contains(errs, `there is no check "heart"; the checks are config, daemon`) {
		t.Error(errs)
	}
	if err := os.MkdirAll(filepath.Join(root, "etc/goaoe"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/goaoe/goaoe.toml"), []byte("[global]\nlans = 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _ = run(ExitFailure, "config"); !strings.Contains(out, "goaoe.toml:2:1: there is no such key") {
		t.Error(out)
	}
}

func TestKernelVersion(t *testing.T) {
	for release, want := range map[string][2]int{"6.18.0-rc1": {6, 18}, "5.4": {5, 4}, "x": {0, 0}} {
		if major, minor := versionOf(release); major != want[0] || minor != want[1] {
			t.Errorf("%s: %d.%d", release, major, minor)
		}
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		if major, _ := versionOf(unix.ByteSliceToString(u.Release[:])); major < 4 {
			t.Error("this kernel's release was not understood")
		}
	}
}
