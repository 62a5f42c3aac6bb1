package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"goaoe/internal/control"
	"goaoe/internal/tune"
)

// enoughSendBuffer is what a socket may hold of frames that wait to be sent, in bytes: what the daemon asks for where nothing is configured.
const enoughSendBuffer = 4 << 20

// checkSockets looks at the limits of sockets, and for frames that were lost before they came to one.
func checkSockets(ctx context.Context, p *patient) []finding {
	return append(checkSendBuffer(ctx, p), checkBacklog(p)...)
}

// checkSendBuffer looks at what the daemon's sockets may hold.
func checkSendBuffer(_ context.Context, p *patient) []finding {
	var out []finding
	if n, err := readNumber(filepath.Join(p.root, "/proc/sys/net/core/wmem_max")); err == nil && n < enoughSendBuffer && p.status != nil && !p.netAdmin() {
		out = append(out, finding{Level: levelNote, Text: fmt.Sprintf("the daemon has no CAP_NET_ADMIN, and net.core.wmem_max lets its sockets hold %d KiB of replies where it wants %d",
			n>>10, enoughSendBuffer>>10), Fix: fmt.Sprintf("sysctl net.core.wmem_max=%d, or AmbientCapabilities=CAP_NET_RAW CAP_NET_ADMIN in the unit", enoughSendBuffer)})
	}
	return out
}

// checkBacklog looks for received frames that found a processor's queue full.
func checkBacklog(p *patient) []finding {
	var out []finding
	// A line for each processor; the second column are frames that found its queue full (net/core/net-procfs.c).
	b, err := os.ReadFile(filepath.Join(p.root, "/proc/net/softnet_stat"))
	if err != nil {
		return out
	}
	lost := uint64(0)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 {
			n, _ := strconv.ParseUint(f[1], 16, 64)
			lost += n
		}
	}
	if lost > 0 {
		fix := "another processor for the network card's interrupts"
		if n, err := readNumber(filepath.Join(p.root, "/proc/sys/net/core/netdev_max_backlog")); err != nil || n < tune.EnoughBacklog {
			fix = fmt.Sprintf("sysctl net.core.netdev_max_backlog=%d; %s", tune.EnoughBacklog, fix)
		}
		out = append(out, finding{Level: levelNote, Text: fmt.Sprintf("%d frames were lost since the start of the machine because a processor's queue was full (not only those of AoE)", lost),
			Fix: fix})
	}
	return out
}

// netAdmin tells whether the daemon has CAP_NET_ADMIN; also where that cannot be found out.
func (p *patient) netAdmin() bool {
	b, err := os.ReadFile(filepath.Join(p.root, "proc", strconv.Itoa(p.status.PID), "status"))
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, "CapEff:"); ok {
			caps, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
			return err != nil || caps&(1<<unix.CAP_NET_ADMIN) != 0
		}
	}
	return true
}

// checkCache looks for disks and file systems that hold in a volatile cache what was flushed: there a write that was acknowledged is lost when
// the power fails, whatever goaoe does.
func checkCache(_ context.Context, p *patient) []finding {
	var out []finding
	mounts, _ := os.ReadFile(filepath.Join(p.root, "/proc/self/mountinfo"))
	seen := map[string]bool{}
	for _, e := range p.exports {
		if e.Path == "" || e.State == control.StateDisabled || e.Settings["read-only"] == "true" {
			continue
		}
		path := filepath.Join(p.root, e.Path)
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil {
			continue
		}
		dev := st.Dev
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			dev = st.Rdev
		} else if point, option := withoutBarriers(string(mounts), dev); option != "" {
			out = append(out, finding{Level: levelProblem, Subject: e.Address, Text: fmt.Sprintf("%s is on %s, which is mounted with %s: a power failure loses writes that were acknowledged",
				e.Path, point, option), Fix: "mount -o remount,barrier " + point + ", and take " + option + " out of /etc/fstab"})
		}
		if disk := p.unflushed(dev); disk != "" && !seen[disk] {
			seen[disk] = true
			out = append(out, finding{Level: levelProblem, Subject: disk, Text: "it has a write cache which the kernel was told not to flush: a power failure loses writes that were acknowledged",
				Fix: "echo 'write back' > /sys/block/" + disk + "/queue/write_cache"})
		}
	}
	return out
}

// withoutBarriers returns where the file system of a device is mounted, and the option that keeps it from flushing the disk, or "".
func withoutBarriers(mountinfo string, dev uint64) (point, option string) {
	for line := range strings.Lines(mountinfo) {
		f := strings.Fields(line) // id parent major:minor root point options ... - type source super-options (proc_pid_mountinfo(5))
		if len(f) < 10 || f[2] != fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev)) {
			continue
		}
		for _, o := range strings.Split(f[5]+","+f[len(f)-1], ",") {
			if slices.Contains([]string{"nobarrier", "barrier=0"}, o) {
				return f[4], o
			}
		}
	}
	return "", ""
}

// unflushed returns the name of the disk of a device when it says that its cache is a volatile one while the kernel does not flush it.
func (p *patient) unflushed(dev uint64) string {
	dir := filepath.Join(p.root, fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(dev), unix.Minor(dev)))
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	if exists(filepath.Join(dir, "partition")) {
		dir = filepath.Dir(dir)
	}
	is := func(path, text string) bool {
		b, err := os.ReadFile(path)
		return err == nil && strings.HasPrefix(string(b), text)
	}
	if !is(filepath.Join(dir, "queue/write_cache"), "write through") {
		return ""
	}
	types, _ := filepath.Glob(filepath.Join(dir, "device/scsi_disk/*/cache_type"))
	if slices.ContainsFunc(types, func(t string) bool { return is(t, "write back") }) {
		return filepath.Base(dir)
	}
	return ""
}
