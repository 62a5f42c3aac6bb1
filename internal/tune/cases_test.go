package tune

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// settings returns the advice of these topics that changes something.
func settings(m *Machine, topics ...string) (out []Advice) {
	for _, a := range m.Look() {
		if a.Setting != nil && slices.Contains(topics, a.Topic) {
			out = append(out, a)
		}
	}
	return out
}

// undo returns the commands that take changes back.
func undo(results []Result) string {
	var out []string
	for _, r := range results {
		if r.Error != "" {
			out = append(out, "failed: "+r.Error)
		}
		out = append(out, r.Undo)
	}
	return strings.Join(out, "\n")
}

// TestUndoOfMany: files that have different values are changes of their own, for one command cannot take them back to what each was; a change that came to
// some of its files only has failed, and can be taken back.
func TestUndoOfMany(t *testing.T) {
	files := map[string]string{}
	for n, governor := range []string{"powersave", "schedutil", "powersave"} {
		dir := "sys/devices/system/cpu/cpufreq/policy" + string(rune('0'+n))
		files[dir+"/scaling_governor"], files[dir+"/scaling_available_governors"] = governor+"\n", "performance powersave schedutil\n"
	}
	m := &Machine{Root: tree(t, files)}
	const policy = "/sys/devices/system/cpu/cpufreq/policy"
	want := "echo powersave | tee " + policy + "0/scaling_governor " + policy + "2/scaling_governor\necho schedutil > " + policy + "1/scaling_governor"
	todo := settings(m, Processors)
	results := Apply(todo)
	if got := undo(results); got != want {
		t.Errorf("undo:\n%s\nwant:\n%s", got, want)
	}
	if files, errs := m.Keep(todo, results); !slices.Equal(files, []string{TmpfilesFile}) || errs != nil {
		t.Errorf("%v %v", files, errs)
	}
	b, _ := os.ReadFile(m.path(TmpfilesFile))
	if n := strings.Count(string(b), " - - - - performance\n"); n != 3 {
		t.Errorf("%d lines for three policies that were changed in two steps:\n%s", n, b)
	}

	m = &Machine{Root: tree(t, files)}
	f := file{m: m, paths: []string{policy + "0/scaling_governor", policy + "2/scaling_governor"}}
	todo = []Advice{change(Processors, "", Note, Auto, f, "performance", "", "", "")}
	if err := os.Remove(m.path(policy + "2/scaling_governor")); err != nil { // root writes where it may not
		t.Fatal(err)
	}
	if err := os.Symlink("/proc/version", m.path(policy+"2/scaling_governor")); err != nil { // can be read only
		t.Fatal(err)
	}
	r := Apply(todo)[0]
	if r.Error == "" || r.Undo == "" || r.Was == r.Now {
		t.Errorf("one of two files was not written: %+v", r)
	}
	if files, _ := m.Keep(todo, []Result{r}); len(files) != 0 {
		t.Errorf("what failed is kept: %v", files)
	}
	f.paths[1] = policy + "1/scaling_governor" // takes what is written, and makes nothing of it
	if err := os.Remove(m.path(f.paths[1])); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", m.path(f.paths[1])); err != nil {
		t.Fatal(err)
	}
	if r := Apply(todo)[0]; r.Error == "" {
		t.Errorf("one of two files has another value: %+v", r)
	}
}

// TestPauseOneWay: pause frames that were on one way only are so again after the undo.
func TestPauseOneWay(t *testing.T) {
	m := slowMachine(t, t.TempDir())
	card := m.Card.(*fakeCard)
	card.pauseTX = true
	todo := settings(m, FlowControl)
	if len(todo) != 1 || todo[0].Is != "pause frames are on one way only (rx off tx on)" {
		t.Fatalf("%+v", todo)
	}
	r := Apply(todo)[0]
	if r.Error != "" || r.Command != "ethtool -A eth1 rx on tx on" || r.Undo != "ethtool -A eth1 rx off tx on" || !card.pauseRX || !card.pauseTX {
		t.Errorf("%+v %+v", r, card)
	}
	if err := todo[0].Setting.Write(r.Was); err != nil || card.pauseRX || !card.pauseTX {
		t.Errorf("%v %+v", err, card)
	}
}

// TestChosenDiscipline: one that somebody set may have options that no undo brings back, so it is left alone.
func TestChosenDiscipline(t *testing.T) {
	m := slowMachine(t, t.TempDir())
	m.Card.(*fakeCard).queues, m.Card.(*fakeCard).chosen = []string{"cake"}, true
	if got := lines(m.Look()); !strings.Contains(got, "note queue eth1: queueing discipline cake, which somebody chose => pfifo_fast [hand] tc qdisc replace dev eth1 root pfifo_fast {}") {
		t.Error(got)
	}
}

// TestInterruptsRest: interrupts that were placed are not moved again, and those of a card whose node is not known go to no node.
func TestInterruptsRest(t *testing.T) {
	net, pci := "sys/class/net/eth1", "sys/devices/pci0/0000:01:00.0"
	files := map[string]string{
		net + "/device@": "../../../devices/pci0/0000:01:00.0/virtio0", pci + "/virtio0/x": "", pci + "/msi_irqs/40": "", pci + "/msi_irqs/41": "", pci + "/msi_irqs/42": "",
		"proc/interrupts":               "    CPU0\n 40: 9 x\n 41: 8 x\n 42: 7 x\n",
		"proc/irq/40/smp_affinity_list": "2-3\n", "proc/irq/41/smp_affinity_list": "2-3\n", "proc/irq/42/smp_affinity_list": "0-3\n", "sys/devices/system/cpu/online": "0-3\n",
		"sys/devices/system/node/node0/cpulist": "0-1\n", "sys/devices/system/node/node1/cpulist": "2-3\n", "proc/77/status": "Cpus_allowed_list:\t0-1\n",
	}
	look := func(change map[string]string) string {
		t.Helper()
		m := &Machine{Root: tree(t, files), Use: Use{Interfaces: []string{"eth1"}, PID: 77}}
		for name, text := range change {
			if err := os.WriteFile(m.path(name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var out []Advice
		for range 3 { // no ping-pong
			out = settings(m, Interrupts)
			if len(out) == 0 {
				return ""
			}
			text := lines(out)
			for _, r := range Apply(out) {
				if r.Error != "" {
					t.Errorf("%+v", r)
				}
			}
			if out = settings(m, Interrupts); len(out) == 0 {
				return text
			}
		}
		t.Errorf("moved again and again: %s", lines(out))
		return ""
	}
	if got := look(nil); got != "" {
		t.Errorf("the node of the card is not known: %s", got)
	}
	numa := "/" + pci + "/numa_node" // of virtio it is that of the PCI device above
	if got := look(map[string]string{numa: "0\n"}); got != "note interrupts eth1: interrupts 40, 41 go to processors 2-3, far from the card => processors 0-1 [apply] "+
		"echo 0-1 | tee /proc/irq/40/smp_affinity_list /proc/irq/41/smp_affinity_list {}\n" {
		t.Errorf("%q", got)
	}
	// The lanes have all processors of the card's node, as the advice on nodes wants it: nothing is better than sharing them.
	if got := look(map[string]string{numa: "1\n", "/proc/77/status": "Cpus_allowed_list:\t2-3\n", "/proc/irq/42/smp_affinity_list": "2-3\n"}); got != "" {
		t.Errorf("moved away from the card: %s", got)
	}
	// With one node there is room beside the lanes.
	if got := look(map[string]string{"/proc/77/status": "Cpus_allowed_list:\t2-3\n"}); got != "note interrupts eth1: interrupts 40, 41 go to processors 2-3, the only ones that the lanes may use => "+
		"processors 0-1 [apply] echo 0-1 | tee /proc/irq/40/smp_affinity_list /proc/irq/41/smp_affinity_list {}\n" {
		t.Errorf("%q", got)
	}
	if got := look(map[string]string{numa: "0\n", "/proc/irq/40/smp_affinity_list": "", "/proc/irq/41/smp_affinity_list": ""}); got != "" {
		t.Errorf("where they go is not known: %s", got)
	}
	if got := look(map[string]string{"/sys/devices/system/cpu/online": "0\n", numa: "0\n"}); got != "" {
		t.Errorf("one processor: %s", got)
	}
}

// TestBacklogRests: frames that were lost are counted for ever, and the limit is not lowered for them, nor raised each time.
func TestBacklogRests(t *testing.T) {
	m := &Machine{Root: tree(t, map[string]string{"proc/net/softnet_stat": "00010000 00000005 00000000\n", "proc/sys/net/core/netdev_max_backlog": "1000\n"})}
	if r := Apply(settings(m, Backlog)); len(r) != 1 || r[0].Now != "10000" || r[0].Undo != "sysctl -w net.core.netdev_max_backlog=1000" {
		t.Errorf("%+v", r)
	}
	for _, now := range []string{"10000", "20000"} {
		if err := os.WriteFile(m.path("/proc/sys/net/core/netdev_max_backlog"), []byte(now), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := settings(m, Backlog); len(got) != 0 {
			t.Errorf("%s: %s", now, lines(got))
		}
	}
	m = &Machine{Root: tree(t, map[string]string{"proc/net/softnet_stat": "00010000 00000005 00000000\n"})} // a network namespace
	if got := m.sockets(); len(got) != 0 {
		t.Errorf("%s", lines(got))
	}
}

// TestNarrow: a VLAN takes no more than the interface below it, which is said before anything is tried.
func TestNarrow(t *testing.T) {
	net := "sys/class/net/"
	m := &Machine{Root: tree(t, map[string]string{net + "eth1.5/mtu": "1500\n", net + "eth1.5/uevent": "DEVTYPE=vlan\nINTERFACE=eth1.5\n", net + "eth1.5/lower_eth1@": "../eth1", net + "eth1/mtu": "1500\n",
		net + "br0/mtu": "1500\n", net + "br0/uevent": "DEVTYPE=bridge\n", net + "br0/lower_eth1@": "../eth1"})}
	if a := m.mtu("eth1.5", "/sys/class/net/eth1.5"); a.Command != "goaoe tune eth1 eth1.5 --mtu 9000 --only mtu --apply" {
		t.Errorf("%+v", a)
	}
	if _, err := m.SetMTU("eth1.5", 9000); err == nil || err.Error() != "eth1.5 is on eth1, whose MTU is less: name eth1 before eth1.5" {
		t.Error(err)
	}
	for _, name := range []string{"eth1", "br0"} {
		if _, err := m.SetMTU(name, 9000); err != nil {
			t.Error(err)
		}
	}
	m.Use.Interfaces = []string{"eth1", "eth1.5"}
	if _, err := m.SetMTU("eth1.5", 9000); err != nil {
		t.Error(err)
	}
}

// TestUdevNames: a rule finds a card of a bond by the address that it has by itself, and a disk by what it tells of itself: names go to others at the next boot.
func TestUdevNames(t *testing.T) {
	m := &Machine{Root: tree(t, map[string]string{
		"sys/class/net/eth1/address": "02:00:00:00:00:01\n", "sys/class/net/eth1/device/x": "", "sys/class/net/eth1/bonding_slave/perm_hwaddr": "02:00:00:00:00:0a\n",
		"sys/block/sda/device/wwid": "t10.ATA     QEMU HARDDISK   QM00001  \n", "sys/block/nvme0n1/wwid": "eui.0025\n", "sys/block/vda/serial": "\n", "sys/block/vdb/serial": "a\"b\n",
		"sys/block/dm-0/dm/uuid": "LVM-x\n", "sys/class/net/eth1/mtu": "1500\n",
	})}
	if got := m.netSetting("eth1", "mtu").Boot("9000")[0].Text; !strings.Contains(got, `ATTR{address}=="02:00:00:00:00:0a"`) {
		t.Error(got)
	}
	for disk, want := range map[string]string{"sda": `ATTR{device/wwid}=="t10.ATA     QEMU HARDDISK   QM00001"`, "nvme0n1": `ATTR{wwid}=="eui.0025"`, "dm-0": `ATTR{dm/uuid}=="LVM-x"`,
		"vda": `KERNEL=="vda"`, "vdb": `KERNEL=="vdb"`} {
		if got, want := m.diskSetting(disk, "queue/scheduler").Boot("none")[0].Text, `ACTION=="add|change", SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", `+want+`, ATTR{queue/scheduler}="none"`; got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}

// TestMergeOrder: what is set anew keeps its place, for a scheduler takes the length of its queue with it.
func TestMergeOrder(t *testing.T) {
	m := &Machine{Root: t.TempDir()}
	set := func(attr, value string) {
		t.Helper()
		if err := m.merge(UdevFile, m.diskSetting("sda", attr).Boot(value)); err != nil {
			t.Fatal(err)
		}
	}
	set("queue/scheduler", "bfq")
	set("queue/nr_requests", "128")
	set("queue/scheduler", "mq-deadline")
	b, _ := os.ReadFile(m.path(UdevFile))
	if s := string(b); !strings.Contains(s, `"mq-deadline"`) || strings.Index(s, `"mq-deadline"`) > strings.Index(s, `"128"`) || strings.Contains(s, "bfq") || strings.Count(s, "\n") != 3 {
		t.Errorf("%s", s)
	}
}

// TestBindMounts: of several places where a file system is mounted, as in a container, that of the file counts.
func TestBindMounts(t *testing.T) {
	m := &Machine{Root: tree(t, map[string]string{"proc/self/mountinfo": "1 0 8:1 /x /etc/resolv.conf rw,sync - ext4 /dev/sda1 rw\n2 0 8:1 /y /srv rw - ext4 /dev/sda1 rw\n" +
		"3 0 8:2 / / rw - ext4 /dev/sda2 rw\n4 0 8:1 /z /srv/deep rw - ext4 /dev/sda1 rw\n"})}
	for name, want := range map[string]string{"/srv/disk": "/srv", "/srv/deep/disk": "/srv/deep", "/elsewhere": "/etc/resolv.conf"} {
		if got := mountOf(m.mounts(), 8<<8|1, name); got == nil || got.point != want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestShort: patterns stand only for files that are all meant.
func TestShort(t *testing.T) {
	cpu := "/sys/devices/system/cpu/cpu"
	m := &Machine{Root: tree(t, map[string]string{cpu[1:] + "0/cpuidle/state2/disable": "0", cpu[1:] + "1/cpuidle/state2/disable": "0", cpu[1:] + "0/cpuidle/state3/disable": "0",
		cpu[1:] + "1/cpuidle/state3/disable": "0"})}
	two := []string{cpu + "0/cpuidle/state2/disable", cpu + "1/cpuidle/state2/disable"}
	for _, c := range []struct{ paths, want []string }{
		{two, []string{cpu + "[0-9]*/cpuidle/state2/disable"}},
		{append(two, cpu+"0/cpuidle/state3/disable"), []string{cpu + "[0-9]*/cpuidle/state2/disable", cpu + "0/cpuidle/state3/disable"}},
		{two[:1], two[:1]},
	} {
		if got := m.short(c.paths); !slices.Equal(got, c.want) {
			t.Errorf("%v", got)
		}
		for _, p := range m.short(c.paths) { // a shell finds them
			if list, _ := filepath.Glob(m.path(p)); len(list) == 0 {
				t.Errorf("%s fits nothing", p)
			}
		}
	}
}
