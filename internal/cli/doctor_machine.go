package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"goaoe/internal/config"
	"goaoe/internal/control"
)

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// checkPermission tries to open a packet socket, which is what serving needs.
func checkPermission(_ context.Context, p *patient) []finding {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		_ = unix.Close(fd)
		return nil
	}
	self, _ := os.Executable()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		if p.status != nil {
			return nil // the daemon has it; this user does not need it
		}
		return []finding{{Level: levelWarning, Text: "this user may not use packet sockets", Fix: "run as root, or: setcap cap_net_raw,cap_net_admin+ep " + self}}
	}
	return []finding{{Level: levelProblem, Text: "packet sockets cannot be used: " + err.Error(), Fix: "modprobe af_packet"}}
}

// checkURing tells whether the kernel lets us use io_uring; without it threads are used.
func checkURing(_ context.Context, p *patient) []finding {
	n, err := readNumber(filepath.Join(p.root, "/proc/sys/kernel/io_uring_disabled"))
	if err == nil && n > 0 {
		level, who := levelNote, "nobody may use io_uring"
		if n == 1 {
			who = "only root and the group kernel.io_uring_group may use io_uring"
		}
		return []finding{{Level: level, Text: who + ": storage is accessed by threads, which is slower", Fix: "sysctl kernel.io_uring_disabled=0"}}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		release := unix.ByteSliceToString(u.Release[:])
		major, minor := versionOf(release)
		if major < 5 || major == 5 && minor < 19 {
			return []finding{{Level: levelNote, Text: "Linux " + release + " has no io_uring as it is needed (5.19 or newer): storage is accessed by threads"}}
		}
	}
	return nil
}

// versionOf reads the first two numbers of a kernel's release.
func versionOf(release string) (major, minor int) {
	f := strings.FieldsFunc(release, func(r rune) bool { return r < '0' || r > '9' })
	if len(f) > 1 {
		major, _ = strconv.Atoi(f[0])
		minor, _ = strconv.Atoi(f[1])
	}
	return major, minor
}

// enoughMemlock is what a daemon with a few lanes may want to lock, in bytes.
const enoughMemlock = 64 << 20

// checkMemlock looks at the limit of the daemon, or of this process when none runs.
func checkMemlock(_ context.Context, p *patient) []finding {
	pid := 0
	if p.status != nil && p.env.Sysroot == "" {
		pid = p.status.PID
	}
	var l unix.Rlimit
	if os.Getuid() == 0 && pid == 0 || unix.Prlimit(pid, unix.RLIMIT_MEMLOCK, nil, &l) != nil || l.Cur >= enoughMemlock {
		return nil
	}
	return []finding{{Level: levelNote, Text: fmt.Sprintf("locked memory is limited to %s, which can be too little for many exports", humanize.IBytes(l.Cur)),
		Fix: "LimitMEMLOCK=infinity in the unit, or ulimit -l unlimited"}}
}

// usedInterfaces are those that are served on, or would be.
func (p *patient) usedInterfaces() []string {
	var out []string
	for _, i := range p.interfaces {
		if i.State == control.StateServing || exists(filepath.Join(p.root, "/sys/class/net", i.Name)) {
			out = append(out, i.Name)
		}
	}
	if p.status == nil && p.cfg != nil {
		entries, _ := os.ReadDir(filepath.Join(p.root, "/sys/class/net"))
		for _, n := range entries {
			if slices.ContainsFunc(p.cfg.Exports, func(e config.Export) bool { return e.Wants(n.Name()) }) {
				out = append(out, n.Name())
			}
		}
	}
	return out
}

// checkInterfaces looks at the interfaces as the kernel describes them.
func checkInterfaces(_ context.Context, p *patient) []finding {
	var out []finding
	for _, name := range p.usedInterfaces() {
		dir := filepath.Join(p.root, "/sys/class/net", name)
		say := func(level, fix, format string, a ...any) {
			out = append(out, finding{Level: level, Subject: name, Text: fmt.Sprintf(format, a...), Fix: fix})
		}
		if b, err := os.ReadFile(filepath.Join(dir, "operstate")); err == nil && strings.TrimSpace(string(b)) == "down" {
			say(levelWarning, "ip link set dev "+name+" up; look at the cable", "it is down")
			continue
		}
		if n, err := readNumber(filepath.Join(dir, "speed")); err == nil && n > 0 && n < 1000 {
			say(levelWarning, "look at the cable, the switch port and ethtool "+name, "the link runs at %d Mbit/s", n)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "duplex")); err == nil && strings.TrimSpace(string(b)) == "half" {
			say(levelWarning, "ethtool -s "+name+" autoneg on", "the link is half duplex")
		}
		if n, err := readNumber(filepath.Join(dir, "mtu")); err == nil {
			p.checkMTU(name, n, say)
		}
		for _, c := range []struct{ file, what, fix string }{
			{"rx_missed_errors", "frames were lost by the network card because the system was too slow", "ethtool -G " + name + " rx 4096"},
			{"rx_fifo_errors", "frames were lost in the network card's queue", "ethtool -G " + name + " rx 4096"},
			{"rx_crc_errors", "frames came damaged", "replace the cable or the port"},
			{"tx_carrier_errors", "frames were lost because the link went away", "look at the cable"},
		} {
			if n, err := readNumber(filepath.Join(dir, "statistics", c.file)); err == nil && n > 0 {
				say(levelNote, c.fix, "%d %s since it was set up", n, c.what)
			}
		}
	}
	return out
}

// checkMTU judges an interface's MTU.
func (p *patient) checkMTU(name string, mtu int64, say func(level, fix, format string, a ...any)) {
	for _, i := range p.interfaces {
		if i.Name == name && i.MTU > 0 && int64(i.MTU) < mtu {
			say(levelNote, "mtu in its [[interface]] section", "the configuration limits it to an MTU of %d where it has %d", i.MTU, mtu)
		}
	}
	switch {
	case mtu < config.MinMTU:
		say(levelProblem, "ip link set dev "+name+" mtu 1500", "its MTU of %d is too small; AoE needs %d", mtu, config.MinMTU)
	case mtu < 4132:
		say(levelNote, "if cards and switches can: ip link set dev "+name+" mtu 9000 at both ends",
			"an MTU of %d carries %d sectors per frame; 4 KiB fit from 4132 on", mtu, (mtu-36)/512)
	}
}

// checkStorage looks at errors, at room on file systems, and at caches of disks.
func checkStorage(_ context.Context, p *patient) []finding {
	var out []finding
	if p.stats != nil {
		for _, e := range p.stats.Exports {
			if e.Errors > 0 {
				var kinds []string
				for k, n := range e.ErrorKinds {
					kinds = append(kinds, fmt.Sprintf("%d %s", n, k))
				}
				slices.Sort(kinds)
				out = append(out, finding{Level: levelProblem, Subject: e.Address, Text: "storage failed: " + strings.Join(kinds, ", "), Fix: "dmesg; smartctl -a of the disk"})
			}
		}
	}
	byPath := map[string][]control.Export{}
	for _, e := range p.exports {
		if e.Path == "" || e.State == control.StateDisabled {
			continue
		}
		if real, err := filepath.EvalSymlinks(e.Path); err == nil {
			e.Path = real
		}
		byPath[e.Path] = append(byPath[e.Path], e)
		out = append(out, p.roomFor(e)...)
		if e.Settings["write-cache"] == "true" {
			out = append(out, finding{Level: levelNote, Subject: e.Address, Text: "its write cache is on: a power failure loses writes that were acknowledged",
				Fix: "goaoe set " + e.Address + " write-cache=false --save"})
		}
	}
	for path, list := range byPath {
		writers := slices.DeleteFunc(slices.Clone(list), func(e control.Export) bool { return e.Settings["read-only"] == "true" })
		if len(writers) > 1 && samePart(writers) {
			var names []string
			for _, e := range writers {
				names = append(names, e.Address)
			}
			out = append(out, finding{Level: levelProblem, Subject: path, Text: "it is exported for writing as " + strings.Join(names, " and "),
				Fix: "goaoe set " + names[1] + " read-only=true --save; or serve one address on both interfaces"})
		}
	}
	return out
}

// samePart tells whether two of the exports have the same beginning of one file.
func samePart(list []control.Export) bool {
	seen := map[string]bool{}
	for _, e := range list {
		if seen[e.Settings["offset"]] {
			return true
		}
		seen[e.Settings["offset"]] = true
	}
	return false
}

// roomFor tells when a sparse file can grow to more than its file system has room for.
func (p *patient) roomFor(e control.Export) []finding {
	var st unix.Stat_t
	var fs unix.Statfs_t
	if e.Settings["read-only"] == "true" || unix.Stat(e.Path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || unix.Statfs(e.Path, &fs) != nil {
		return nil
	}
	missing := st.Size - st.Blocks*512
	free := int64(fs.Bavail * uint64(fs.Bsize))
	if missing <= free {
		return nil
	}
	return []finding{{Level: levelWarning, Subject: e.Address,
		Text: fmt.Sprintf("%s is sparse: %s of it are not written yet, and its file system has only %s left; initiators will see write errors",
			e.Path, humanize.IBytes(uint64(missing)), humanize.IBytes(uint64(max(free, 0)))),
		Fix: "make room, or a smaller file"}}
}

// checkState looks at the state directory.
func checkState(_ context.Context, p *patient) []finding {
	var dir string
	switch {
	case p.status != nil && p.status.StateDir == "":
		return []finding{{Level: levelWarning, Text: "the daemon has no state directory: config strings, masks and reservations are lost at its end",
			Fix: "state-directory in [global], or --state-dir"}}
	case p.status != nil:
		dir = p.status.StateDir
	case p.cfg != nil:
		dir = p.cfg.Global.StateDirectory
	default:
		return nil
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(filepath.Join(p.root, dir), &fs); err == nil && fs.Bavail*uint64(fs.Bsize) < 1<<20 {
		return []finding{{Level: levelProblem, Subject: dir, Text: "its file system is full: changes of config strings and reservations fail", Fix: "make room"}}
	}
	return nil
}
