package tune

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// link returns where a symbolic link leads, or "".
func (m *Machine) link(name string) string {
	to, err := os.Readlink(m.path(name))
	if err != nil {
		return ""
	}
	return to
}

// virtual tells whether this is a virtual machine.
func (m *Machine) virtual() bool {
	for line := range strings.Lines(m.text("/proc/cpuinfo")) {
		if key, rest, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "flags" {
			return slices.Contains(strings.Fields(rest), "hypervisor")
		}
	}
	return m.text("/sys/hypervisor/type") != "" || m.exists("/proc/device-tree/hypervisor")
}

// softnet sums a column of /proc/net/softnet_stat over the processors (net/core/net-procfs.c: hexadecimal; 0 processed, 1 dropped, 2 out of budget).
func (m *Machine) softnet(column int) uint64 {
	sum := uint64(0)
	for line := range strings.Lines(m.text("/proc/net/softnet_stat")) {
		if f := strings.Fields(line); len(f) > column {
			n, _ := strconv.ParseUint(f[column], 16, 64) // what is no number counts nothing
			sum += n
		}
	}
	return sum
}

// enoughOptions is what a socket may hold of filters and the like, in bytes: the kernel's own limit since Linux 6.9. The filter of a lane has up to 4096 instructions.
const enoughOptions = 131072

// EnoughBacklog is how many received frames a processor may have to take in after some were lost.
const EnoughBacklog = 10000

// sockets looks at limits of the kernel for sockets and received frames. That of the send buffer is looked at by goaoe doctor.
func (m *Machine) sockets() []Advice {
	var out []Advice
	sysctl := func(name string) (int64, bool) { return m.number(m.sysctlSetting(name).paths[0]) }
	if n, ok := sysctl("net.core.rmem_max"); ok {
		out = append(out, fine(Sockets, "", "net.core.rmem_max is %d; lanes receive by a ring of their own (ring-frames), which it does not bound", n))
	}
	if n, ok := sysctl("net.core.optmem_max"); ok && n < enoughOptions/4 && len(m.Use.Disks) >= 100 {
		out = append(out, change(Sockets, "", Note, Auto, m.sysctlSetting("net.core.optmem_max"), strconv.Itoa(enoughOptions), fmt.Sprintf("net.core.optmem_max is %d", n), strconv.Itoa(enoughOptions),
			fmt.Sprintf("the filter that keeps frames for others away is a program in the kernel, which grows with the exports (%d) and has to fit", len(m.Use.Disks))))
	}
	for _, name := range []string{"net.core.busy_poll", "net.core.busy_read"} {
		if n, ok := sysctl(name); ok && n > 0 {
			out = append(out, change(Sockets, "", Note, Choice, m.sysctlSetting(name), "0", fmt.Sprintf("%s is %d", name, n), "0",
				"every program that waits for a socket spins, also those that compete with lanes. Lanes have a setting of their own, busy-poll, and need no other"))
		}
	}
	processed, squeezed := m.softnet(0), m.softnet(2)
	if n, ok := sysctl("net.core.netdev_budget"); ok {
		if want := int64(600); squeezed > 1000 && squeezed > processed/10000 && n < want {
			out = append(out, change(Backlog, "", Note, Auto, m.sysctlSetting("net.core.netdev_budget"), strconv.FormatInt(want, 10), fmt.Sprintf("net.core.netdev_budget is %d", n), strconv.FormatInt(want, 10),
				fmt.Sprintf("%d times the kernel stopped taking frames although there were more, since the machine was started", squeezed)))
		} else {
			out = append(out, fine(Backlog, "", "net.core.netdev_budget is %d; %d of %d frames came when it was used up", n, squeezed, processed))
		}
	}
	most := 0
	for _, n := range m.Use.Frames {
		most = max(most, n)
	}
	n, ok := sysctl("net.core.netdev_max_backlog")
	if !ok { // network namespaces do not have it
		return out
	}
	want, why := int64(0), ""
	if int64(most) > n {
		want, why = int64(power2(2*most)), fmt.Sprintf("initiators may send %d frames at once; virtual interfaces and RPS queue them there", most)
	}
	lost := m.softnet(1) // never goes back
	if lost > 0 && EnoughBacklog > max(n, want) {
		want, why = EnoughBacklog, fmt.Sprintf("%d frames were lost since the start of the machine because a processor's queue was full (not only those of AoE)", lost)
	}
	text := fmt.Sprintf("net.core.netdev_max_backlog is %d", n)
	switch {
	case want > n:
		out = append(out, change(Backlog, "", Note, Auto, m.sysctlSetting("net.core.netdev_max_backlog"), strconv.FormatInt(want, 10), text, strconv.FormatInt(want, 10), why))
	case lost > 0:
		out = append(out, fine(Backlog, "", "%s; %d frames were lost since the start of the machine because a processor's queue was full", text, lost))
	default:
		out = append(out, fine(Backlog, "", "%s", text))
	}
	return out
}

// slowWake is how many microseconds a processor may take to wake up without anybody noticing at the other end.
const slowWake = 100

// processors looks at frequencies, idle states, huge pages and the hypervisor.
func (m *Machine) processors() []Advice {
	var out []Advice
	var slow []string
	governors := m.glob("/sys/devices/system/cpu/cpufreq/policy*/scaling_governor")
	for _, p := range governors {
		can := strings.Fields(m.text(strings.TrimSuffix(p, "scaling_governor") + "scaling_available_governors"))
		if m.text(p) != "performance" && slices.Contains(can, "performance") {
			slow = append(slow, p)
		}
	}
	for _, same := range m.alike(slow) {
		s := file{m: m, paths: same, boot: true}
		out = append(out, change(Processors, "", Note, Auto, s, "performance", fmt.Sprintf("the frequency governor is %s", m.text(same[0])), "performance",
			"a lane sleeps between requests, so others take it for idle and slow its processor down"))
	}
	if len(slow) == 0 && len(governors) > 0 {
		out = append(out, fine(Processors, "", "the frequency governor is %s", m.text(governors[0])))
	}
	out = append(out, m.stolen()...)
	out = append(out, m.idle()...)
	if thp := m.text("/sys/kernel/mm/transparent_hugepage/enabled"); picked(thp) == "always" {
		s := file{m: m, paths: []string{"/sys/kernel/mm/transparent_hugepage/enabled"}, boot: true}
		out = append(out, change(Memory, "", Note, Choice, s, "madvise", "transparent huge pages for all programs", "madvise, for those that ask",
			"making them takes the processor at moments that nobody chooses; rings and buffers of goaoe do not need them"))
	} else if thp != "" {
		out = append(out, fine(Memory, "", "transparent huge pages: %s", picked(thp)))
	}
	return append(out, m.files()...)
}

// stolen looks at processor time that the hypervisor gave to others (proc_stat(5)).
func (m *Machine) stolen() []Advice {
	line, _, _ := strings.Cut(m.text("/proc/stat"), "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return nil
	}
	var sum, steal float64
	for i, x := range f[1:9] {
		n, _ := strconv.ParseFloat(x, 64)
		sum += n
		if i == 7 {
			steal = n
		}
	}
	if sum == 0 || steal/sum < 0.02 {
		return nil
	}
	return []Advice{{Topic: Virtual, Level: Warning, How: ByHand, Is: fmt.Sprintf("%.1f %% of the processor time since the start went to other virtual machines", 100*steal/sum), Should: "none",
		Why: "requests wait meanwhile", Command: "at the host: processors of its own for this machine (pinning), or fewer machines"}}
}

// idle looks at the deepest idle states.
func (m *Machine) idle() []Advice {
	var deep []string
	worst, name := int64(0), ""
	states := m.glob("/sys/devices/system/cpu/cpu[0-9]*/cpuidle/state[0-9]*")
	for _, s := range states {
		n, ok := m.number(s + "/latency")
		if off, _ := m.number(s + "/disable"); !ok || n <= slowWake || off != 0 {
			continue
		}
		deep = append(deep, s+"/disable")
		if n > worst {
			worst, name = n, m.text(s+"/name")
		}
	}
	if len(deep) == 0 {
		if len(states) > 0 {
			return []Advice{fine(Idle, "", "no idle state takes more than %d us to leave", slowWake)}
		}
		return nil
	}
	s := file{m: m, paths: deep, boot: true}
	return []Advice{change(Idle, "", Note, Choice, s, "1", fmt.Sprintf("idle processors take up to %d us to wake up (state %s)", worst, name), fmt.Sprintf("states above %d us switched off", slowWake),
		"a request after a pause waits as long; it costs power. The setting busy-poll keeps a lane awake between requests instead")}
}

// files looks at the limit of open files of the daemon.
func (m *Machine) files() []Advice {
	if m.Use.PID == 0 {
		return nil
	}
	for line := range strings.Lines(m.text(fmt.Sprintf("/proc/%d/limits", m.Use.PID))) {
		rest, ok := strings.CutPrefix(line, "Max open files")
		f := strings.Fields(rest)
		if !ok || len(f) == 0 {
			continue
		}
		n, err := strconv.Atoi(f[0])
		need := 128 + 4*len(m.Use.Disks) + 8*max(1, m.Use.Lanes)*(1+len(m.Use.Interfaces))
		if err == nil && n < need {
			return []Advice{{Topic: Limits, Level: Warning, How: ByHand, Is: fmt.Sprintf("the daemon may have %d files open", n), Should: fmt.Sprintf("%d or more", need), Why: "an export more, or a client, is then refused",
				Command: "LimitNOFILE=65536 in the unit, or ulimit -n 65536; it counts from the next start"}}
		}
		return []Advice{fine(Limits, "", "the daemon may have %s files open", f[0])}
	}
	return nil
}
