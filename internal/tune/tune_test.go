package tune

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"goaoe/internal/testnet"
)

// fakeCard is a driver with what a test gives it.
type fakeCard struct {
	rx, rxMax, tx, txMax int
	usecs                int
	adaptive             bool
	pauseRX, pauseTX     bool
	lro                  bool
	least, most          int
	queues               []string
	chosen               bool
	refuse               error // of everything that sets something
	halve                bool  // rings become half of what is asked for
}

func (c *fakeCard) Rings(string) (rx, rxMax, tx, txMax int, err error) {
	return c.rx, c.rxMax, c.tx, c.txMax, nil
}

func (c *fakeCard) SetRing(_, which string, n int) error {
	if c.halve {
		n /= 2
	}
	if which == "rx" && c.refuse == nil {
		c.rx = n
	} else if c.refuse == nil {
		c.tx = n
	}
	return c.refuse
}
func (c *fakeCard) Coalescing(string) (int, bool, error)  { return c.usecs, c.adaptive, nil }
func (c *fakeCard) SetCoalescing(_ string, n int) error   { c.usecs = n; return c.refuse }
func (c *fakeCard) Pause(string) (rx, tx bool, err error) { return c.pauseRX, c.pauseTX, nil }
func (c *fakeCard) SetPause(_ string, rx, tx bool) error {
	c.pauseRX, c.pauseTX = rx, tx
	return c.refuse
}
func (c *fakeCard) LRO(string) (bool, error)                     { return c.lro, nil }
func (c *fakeCard) SetLRO(_ string, on bool) error               { c.lro = on; return c.refuse }
func (c *fakeCard) MTURange(string) (least, most int, err error) { return c.least, c.most, nil }
func (c *fakeCard) Queueing(string) ([]string, bool, error)      { return c.queues, c.chosen, nil }
func (c *fakeCard) SetQueueing(_, kind string) error             { c.queues = []string{kind}; return c.refuse }
func (c *fakeCard) Close()                                       {}

// tree makes a root with these files. A name that ends in "@" is a symbolic link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		full := filepath.Join(root, strings.TrimSuffix(name, "@"))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if strings.HasSuffix(name, "@") {
			err = os.Symlink(files[name], full)
		} else {
			err = os.WriteFile(full, []byte(files[name]), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// slowMachine is one where everything could be better. The disk of the exports is that of the folder dir.
func slowMachine(t *testing.T, dir string) *Machine {
	t.Helper()
	disk, device := filepath.Join(dir, "disk"), filepath.Join(dir, "full")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, 1<<30); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(device, make([]byte, 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(disk, &st); err != nil {
		t.Fatal(err)
	}
	dev := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	net, pci := "sys/class/net/eth1", "sys/devices/pci0/0000:01:00.0"
	md, sda := "sys/devices/virtual/block/md0", "sys/devices/pci0/ata1/block/sda"
	root := tree(t, map[string]string{
		net + "/mtu": "1500\n", net + "/ifindex": "2\n", net + "/address": "02:00:00:00:00:09\n", net + "/tx_queue_len": "100\n", net + "/brport/x": "",
		net + "/statistics/rx_missed_errors": "17\n", net + "/statistics/rx_fifo_errors": "3\n", net + "/queues/rx-0/rps_cpus": "00000000,000000ff\n", net + "/queues/rx-1/rps_cpus": "0\n",
		net + "/device@": "../../../devices/pci0/0000:01:00.0", pci + "/numa_node": "1\n", pci + "/msi_irqs/40": "", pci + "/msi_irqs/41": "", pci + "/msi_irqs/42": "", pci + "/driver@": "../drivers/e1000",
		"proc/interrupts":               "            CPU0       CPU1\n  40:      100          5   PCI-MSI eth1-0\n  41:       7          0   PCI-MSI eth1-1\n  42:       0          0   PCI-MSI eth1-2\n",
		"proc/irq/40/smp_affinity_list": "0\n", "proc/irq/41/smp_affinity_list": "2-3\n", "proc/irq/42/smp_affinity_list": "0\n", "sys/devices/system/cpu/online": "0-3\n",
		"sys/devices/system/node/node0/cpulist": "0-1\n", "sys/devices/system/node/node1/cpulist": "2-3\n",
		"proc/77/status": "Name:\tgoaoe\nCpus_allowed_list:\t0-3\n", "proc/77/limits": "Limit  Soft Limit  Hard Limit Units\nMax open files            64                 4096 files\n",
		"proc/sys/net/core/rmem_max": "212992\n", "proc/sys/net/core/optmem_max": "20480\n", "proc/sys/net/core/busy_poll": "50\n", "proc/sys/net/core/busy_read": "0\n",
		"proc/sys/net/core/netdev_budget": "300\n", "proc/sys/net/core/netdev_max_backlog": "64\n", "proc/net/softnet_stat": "00010000 00000000 00001000\n00010000 00000000 00000001\n",
		"sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "powersave\n", "sys/devices/system/cpu/cpufreq/policy0/scaling_available_governors": "performance powersave\n",
		"sys/devices/system/cpu/cpufreq/policy1/scaling_governor": "powersave\n", "sys/devices/system/cpu/cpufreq/policy1/scaling_available_governors": "performance powersave\n",
		"sys/devices/system/cpu/cpu0/cpuidle/state1/latency": "10\n", "sys/devices/system/cpu/cpu0/cpuidle/state1/disable": "0\n", "sys/devices/system/cpu/cpu0/cpuidle/state1/name": "C1\n",
		"sys/devices/system/cpu/cpu0/cpuidle/state3/latency": "133\n", "sys/devices/system/cpu/cpu0/cpuidle/state3/disable": "0\n", "sys/devices/system/cpu/cpu0/cpuidle/state3/name": "C6\n",
		"sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never\n", "proc/stat": "cpu  900 0 50 0 0 0 0 50 0 0\ncpu0 1 2 3\n", "proc/cpuinfo": "processor : 0\nflags\t\t: fpu hypervisor sse\n",
		"proc/self/mountinfo":        "20 1 9:9 / / rw,relatime - ext4 /dev/sdz rw\n30 1 " + dev + " / " + dir + " rw,sync shared:1 - ext4 /dev/md0 rw\n",
		"sys/dev/block/" + dev + "@": "../../devices/virtual/block/md0", md + "/queue/scheduler": "none\n", md + "/queue/read_ahead_kb": "64\n", md + "/queue/rotational": "0\n",
		md + "/slaves/sda@": "../../../../pci0/ata1/block/sda", sda + "/queue/scheduler": "none mq-deadline [bfq]\n", sda + "/queue/nr_requests": "32\n", sda + "/queue/rotational": "0\n",
		sda + "/queue/read_ahead_kb": "8\n", sda + "/queue/write_cache": "write back\n", sda + "/device/queue_depth": "1\n",
		"sys/block/md0@": "../devices/virtual/block/md0", "sys/block/sda@": "../devices/pci0/ata1/block/sda", "usr/sbin/ethtool": "",
	})
	for _, f := range []string{disk, device} { // they are looked for below the root
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(f)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(f, filepath.Join(root, f)); err != nil {
			t.Fatal(err)
		}
	}
	disks := []Disk{{Address: "e0.1", Path: disk, Queue: 64}, {Address: "e0.2", Path: device, Queue: 64, Direct: true}}
	for range 100 { // enough exports for a large filter
		disks = append(disks, Disk{})
	}
	return &Machine{Root: root, Card: &fakeCard{rx: 256, rxMax: 4096, tx: 128, txMax: 512, usecs: 125, lro: true, least: 68, most: 9216, queues: []string{"fq_codel"}},
		Use: Use{Interfaces: []string{"eth1"}, Frames: map[string]int{"eth1": 128}, Disks: disks, Lanes: 2, PID: 77}}
}

// lines returns advice as text, without what is fine.
func lines(list []Advice) string {
	var b strings.Builder
	for _, a := range list {
		if a.Level != OK {
			fmt.Fprintf(&b, "%s %s %s: %s => %s [%s] %s {%s}\n", a.Level, a.Topic, a.Subject, a.Is, a.Should, a.How, a.Command, a.Boot)
		}
	}
	return b.String()
}

// TestFindings: a machine with everything wrong, and what is said of it; after all of it was applied the same things are fine.
func TestFindings(t *testing.T) {
	dir := t.TempDir()
	m := slowMachine(t, dir)
	got := lines(m.Look())
	for _, want := range []string{
		"note mtu eth1: MTU 1500, 2 sectors in a frame (its driver takes up to 9216) => 9000, 17 sectors [hand] goaoe tune eth1 --mtu 9000 --only mtu --apply {}",
		"warning ring eth1: a receive ring of 256 frames => 4096 of at most 4096 [apply] ethtool -G eth1 rx 4096 {" + UdevFile + "}",
		"note ring eth1: a transmit ring of 128 frames => 512 of at most 512 [apply] ethtool -G eth1 tx 512 {" + UdevFile + "}",
		"note coalescing eth1: it waits 125 us for more frames before it interrupts => 20 us [apply] ethtool -C eth1 rx-usecs 20",
		"note flow-control eth1: pause frames are off => on, if the switch has them, too [choice] ethtool -A eth1 rx on tx on",
		"warning offload eth1: large receive offload is on at a port of a bridge => off [apply] ethtool -K eth1 lro off",
		"note queue eth1: queueing discipline fq_codel => pfifo_fast [apply] tc qdisc replace dev eth1 root pfifo_fast {}",
		"note queue eth1: 100 frames may wait to be sent => 1000 [apply] ip link set dev eth1 txqueuelen 1000 {" + UdevFile + "}",
		"note steering eth1: RPS passes received frames to other processors => off [choice] echo 0 > /sys/class/net/eth1/queues/rx-0/rps_cpus {" + UdevFile + "}",
		"note interrupts eth1: interrupt 40 goes to processors 0, far from the card => processors 2-3 [apply] echo 2-3 > /proc/irq/40/smp_affinity_list {}",
		"note numa eth1: the card is at node 1; lanes may run at processors 0-3 => processors 2-3 [hand] systemctl edit goaoe",
		"note sockets : net.core.optmem_max is 20480 => 131072 [apply] sysctl -w net.core.optmem_max=131072 {" + SysctlFile + "}",
		"note sockets : net.core.busy_poll is 50 => 0 [choice] sysctl -w net.core.busy_poll=0",
		"note backlog : net.core.netdev_budget is 300 => 600 [apply] sysctl -w net.core.netdev_budget=600",
		"note backlog : net.core.netdev_max_backlog is 64 => 256 [apply] sysctl -w net.core.netdev_max_backlog=256",
		"note processors : the frequency governor is powersave => performance [apply] echo performance | tee /sys/devices/system/cpu/cpufreq/policy[0-9]*/scaling_governor {" +
			TmpfilesFile + "}",
		"note idle : idle processors take up to 133 us to wake up (state C6) => states above 100 us switched off [choice] echo 1 > /sys/devices/system/cpu/cpu0/cpuidle/state3/disable",
		"note memory : transparent huge pages for all programs => madvise, for those that ask [choice] echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
		"warning limits : the daemon may have 64 files open => ",
		"note disks sda: scheduler bfq => none [apply] echo none > /sys/block/sda/queue/scheduler {" + UdevFile + "}",
		"note disks sda: the disk takes 1 requests at a time => 32 [hand] echo 32 > /sys/block/sda/device/queue_depth",
		"note disks md0: read-ahead of 64 KiB => 128 KiB [apply] echo 128 > /sys/block/md0/queue/read_ahead_kb",
		"note files " + dir + ": mounted with sync => async [hand] mount -o remount,async " + dir,
		"note files e0.1: " + filepath.Join(dir, "disk") + " is sparse: 100 % of it have no place on the disk yet => all of it has one [hand] fallocate -l 1073741824 ",
		"warning virtual : 5.0 % of the processor time since the start went to other virtual machines",
		"warning virtual eth1: an emulated card (e1000) => virtio-net",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("not said: %s", want)
		}
	}
	for _, not := range []string{"interrupt 41", "interrupt 42", "disks sda: read-ahead", "disks md0: scheduler", "e0.2", "its queue takes"} {
		if strings.Contains(got, not) {
			t.Errorf("said, but wrong: %s", not)
		}
	}
	if t.Failed() {
		t.Logf("said:\n%s", got)
	}

	var todo []Advice
	for _, a := range m.Look() {
		if a.Setting != nil {
			todo = append(todo, a)
		}
	}
	results := Apply(todo)
	for _, r := range results {
		if r.Error != "" || r.Undo == "" || r.Was == r.Now {
			t.Errorf("%+v", r)
		}
	}
	if _, err := os.Stat(filepath.Join(m.Root, "etc")); err == nil {
		t.Error("something is kept that was not to be")
	}
	files, errs := m.Keep(todo, results)
	if want := []string{SysctlFile, UdevFile, TmpfilesFile}; !slices.Equal(files, want) || len(errs) != 0 {
		t.Errorf("%v %v", files, errs)
	}
	for _, a := range m.Look() {
		if a.Setting != nil {
			t.Errorf("still to be changed: %s", lines([]Advice{a}))
		}
	}
	checkKept(t, m)
}

// checkKept looks at the files for the boot, that of TestFindings.
func checkKept(t *testing.T, m *Machine) {
	t.Helper()
	for name, want := range map[string][]string{
		SysctlFile: {header, "net.core.optmem_max = 131072", "net.core.busy_poll = 0", "net.core.netdev_budget = 600"},
		UdevFile: {`ACTION=="add", SUBSYSTEM=="net", DRIVERS=="?*", ATTR{address}=="02:00:00:00:00:09", RUN+="/usr/sbin/ethtool -G $name rx 4096"`,
			`ATTR{address}=="02:00:00:00:00:09", RUN+="/usr/sbin/ethtool -A $name rx on tx on"`, `ATTR{address}=="02:00:00:00:00:09", ATTR{tx_queue_len}="1000"`,
			`ATTR{queues/rx-0/rps_cpus}="0"`, `ACTION=="add|change", SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", KERNEL=="sda", ATTR{queue/scheduler}="none"`},
		TmpfilesFile: {"w /sys/kernel/mm/transparent_hugepage/enabled - - - - madvise", "w /sys/devices/system/cpu/cpufreq/policy[0-9]*/scaling_governor - - - - performance"},
	} {
		b, err := os.ReadFile(filepath.Join(m.Root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(string(b), w+"\n") {
				t.Errorf("%s has no line %q:\n%s", name, w, b)
			}
		}
		if strings.Count(string(b), header) != 1 {
			t.Errorf("%s:\n%s", name, b)
		}
	}
	// A second time: the same settings take their old places' turn, others stay.
	s := m.sysctlSetting("net.core.busy_poll")
	if err := m.merge(SysctlFile, s.Boot("7")); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(filepath.Join(m.Root, SysctlFile))
	if text := string(b); strings.Contains(text, "busy_poll = 0") || !strings.Contains(text, "busy_poll = 7\n") || !strings.Contains(text, "net.core.netdev_budget = 600\n") ||
		strings.Count(text, header) != 1 {
		t.Errorf("%s", text)
	}
}

// TestApplyFails: a change that fails does not keep others from being made, and what is said is what is: also of a driver that makes something else of it.
func TestApplyFails(t *testing.T) {
	m := slowMachine(t, t.TempDir())
	only := func(topics ...string) (out []Advice) {
		for _, a := range m.Look() {
			if a.Setting != nil && slices.Contains(topics, a.Topic) {
				out = append(out, a)
			}
		}
		return out
	}
	card := m.Card.(*fakeCard)
	card.refuse = errors.New("device or resource busy")
	todo := only(Ring, Backlog)
	if err := os.Remove(m.path("/proc/sys/net/core/netdev_budget")); err != nil {
		t.Fatal(err)
	}
	results := Apply(todo)
	if len(results) != 4 {
		t.Fatalf("%+v", results)
	}
	for i, want := range []Result{
		{Topic: Ring, Subject: "eth1", Command: "ethtool -G eth1 rx 4096", Was: "256", Now: "256", Error: "device or resource busy"},
		{Topic: Ring, Subject: "eth1", Command: "ethtool -G eth1 tx 512", Was: "128", Now: "128", Error: "device or resource busy"},
		{Topic: Backlog, Command: "sysctl -w net.core.netdev_budget=600", Error: "its value could not be read, so it was left alone: open " + m.path("/proc/sys/net/core/netdev_budget") + ": no such file or directory"},
		{Topic: Backlog, Command: "sysctl -w net.core.netdev_max_backlog=256", Was: "64", Now: "256", Undo: "sysctl -w net.core.netdev_max_backlog=64"},
	} {
		if results[i] != want {
			t.Errorf("%+v\nwant %+v", results[i], want)
		}
	}
	if m.exists("/proc/sys/net/core/netdev_budget") {
		t.Error("a file was made that was not there")
	}
	if files, errs := m.Keep(todo, results); len(errs) != 0 || !slices.Equal(files, []string{SysctlFile}) {
		t.Errorf("%v %v", files, errs)
	}
	if b, _ := os.ReadFile(m.path(SysctlFile)); strings.Contains(string(b), "budget") || !strings.Contains(string(b), "netdev_max_backlog = 256") {
		t.Errorf("kept:\n%s", b)
	}

	card.refuse, card.halve = nil, true
	todo = only(Ring)[:1]
	results = Apply(todo)
	if r := results[0]; r.Error != "" || r.Now != "2048" || r.Undo != "ethtool -G eth1 rx 256" {
		t.Errorf("%+v", r)
	}
	m.Keep(todo, results)
	if b, _ := os.ReadFile(m.path(UdevFile)); !strings.Contains(string(b), "-G $name rx 2048\"") {
		t.Errorf("what is kept is not what is in force:\n%s", b)
	}
}

// TestKeepFails: a file that cannot be written is said, at the change too.
func TestKeepFails(t *testing.T) {
	m := slowMachine(t, t.TempDir())
	var todo []Advice
	for _, a := range m.Look() {
		if a.Topic == Queue || a.Topic == Backlog {
			todo = append(todo, a)
		}
	}
	if err := os.WriteFile(m.path("/etc"), nil, 0o600); err != nil { // a file where a folder has to be
		t.Fatal(err)
	}
	results := Apply(todo)
	files, errs := m.Keep(todo, results)
	if len(files) != 0 || len(errs) != 2 {
		t.Errorf("%v %v", files, errs)
	}
	for _, r := range results {
		if r.Kept != "" || r.Lost == "" || r.Error != "" {
			t.Errorf("%+v", r)
		}
	}
}

// TestMTU: it is changed only when asked for, and only to what the driver takes.
func TestMTU(t *testing.T) {
	m := slowMachine(t, t.TempDir())
	for _, a := range m.Look() {
		if a.Topic == MTU && a.Setting != nil {
			t.Error("the MTU would be changed without being asked for")
		}
	}
	if _, err := m.SetMTU("eth1", 10000); err == nil || err.Error() != "eth1 takes an MTU of 68 to 9216" {
		t.Error(err)
	}
	if a, err := m.SetMTU("eth1", 1500); err != nil || a.Level != OK || a.Setting != nil {
		t.Errorf("%+v %v", a, err)
	}
	a, err := m.SetMTU("eth1", 9000)
	if err != nil {
		t.Fatal(err)
	}
	if r := Apply([]Advice{a}); r[0].Now != "9000" || r[0].Undo != "ip link set dev eth1 mtu 1500" || r[0].Error != "" {
		t.Errorf("%+v", r)
	}
	if _, err := m.SetMTU("eth9", 9000); err == nil {
		t.Error("an interface that is not there")
	}
}

// TestVariants: cases beside those of the slow machine.
func TestVariants(t *testing.T) {
	m := slowMachine(t, t.TempDir())
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(m.path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	card := m.Card.(*fakeCard)
	card.queues = []string{"mq", "fq_codel", "fq_codel"}
	put("/proc/500/comm", "irqbalance\n")
	put("/proc/77/status", "Cpus_allowed_list:\t2-3\n") // the lanes share them with interrupt 41
	put("/sys/block/sda/queue/rotational", "1\n")
	put("/sys/block/md0/queue/rotational", "1\n")
	put("/proc/net/softnet_stat", "00010000 00000005 00000000\n")
	got := lines(m.Look())
	for _, want := range []string{
		"note queue eth1: queueing discipline mq, with fq_codel for each queue of the card => pfifo_fast for each queue [hand] sysctl -w net.core.default_qdisc=pfifo_fast",
		"note interrupts eth1: interrupt 40 goes to processors 0, far from the card => processors 2-3 [hand]",
		"note disks sda: scheduler bfq => mq-deadline [apply]",
		"note disks sda: its queue takes 32 requests => 128 [apply] echo 128 > /sys/block/sda/queue/nr_requests",
		"note backlog : net.core.netdev_max_backlog is 64 => 10000 [apply]",
		"note disks md0: read-ahead of 64 KiB => 1024 KiB",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("not said: %s", want)
		}
	}
	for _, not := range []string{"note numa", "netdev_budget", "interrupt 41"} {
		if strings.Contains(got, not) {
			t.Errorf("said, but wrong: %s", not)
		}
	}
	if t.Failed() {
		t.Logf("said:\n%s", got)
	}
	for text, want := range map[string]string{"0-3,8": "0-3,8", "1": "1", "": "", "x": "", "0,1,2,4": "0-2,4"} {
		if got := cpuList(cpuSet(text)); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	a, ok := m.Sysctl(Advice{}, "sysctl net.core.netdev_budget=700, or another way")
	if !ok || a.Value != "700" || a.How != Auto {
		t.Errorf("%+v", a)
	}
	for _, fix := range []string{"echo 1 > x", "sysctl net.core.none=1", "sysctl net.core.netdev_budget"} {
		if _, ok := m.Sysctl(Advice{}, fix); ok {
			t.Errorf("%q is taken for a sysctl", fix)
		}
	}
}

// TestNothing: a machine of which nothing is known, and no card.
func TestNothing(t *testing.T) {
	m := &Machine{Root: t.TempDir(), Use: Use{Interfaces: []string{"eth1"}, Disks: []Disk{{Address: "e0.1", Path: "/none"}}, PID: 5}}
	got := m.Look()
	for _, a := range got {
		if a.Setting != nil {
			t.Errorf("%+v", a)
		}
	}
	if s := lines(got); !strings.Contains(s, "problem mtu eth1: its MTU cannot be read") || strings.Count(s, "\n") != 1 {
		t.Error(s)
	}
}

// TestDrivers asks the real driver of a veth pair: it has no rings and no pause frames, bounds for its MTU, and a queueing discipline that can be changed.
func TestDrivers(t *testing.T) {
	ns, a, _ := testnet.Pair(t, 1500)
	ns.Do(func() {
		c, err := OpenCard()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, _, _, _, err := c.Rings(a); err == nil {
			t.Error("a veth pair has rings")
		}
		if err := c.SetRing(a, "rx", 512); err == nil {
			t.Error("the ring of a veth pair was set")
		}
		if least, most, err := c.MTURange(a); err != nil || least != 68 || most != 65535 {
			t.Errorf("MTU %d to %d, %v", least, most, err)
		}
		if _, _, err := c.MTURange("none"); err == nil {
			t.Error("an interface that is not there has an MTU")
		}
		if got, chosen, err := c.Queueing(a); err != nil || got[0] != "noqueue" || chosen {
			t.Errorf("%v, %v, %v, want that of the kernel", got, chosen, err)
		}
		for _, kind := range []string{"pfifo_fast", "noqueue"} {
			if err := c.SetQueueing(a, kind); err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			if got, chosen, err := c.Queueing(a); err != nil || got[0] != kind || !chosen {
				t.Errorf("%v, %v, %v, want %s", got, chosen, err, kind)
			}
		}
		if err := c.SetQueueing(a, "nothing_known"); err == nil {
			t.Error("a discipline that does not exist was set")
		}
	})
}
