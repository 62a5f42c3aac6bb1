package attach

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// usage finds who uses a block device, with its partitions: "mounted on /srv", "open by fio (pid 77)", "swap", "held by dm-0". self is a
// process that does not count. What cannot be looked at (other users' processes, without root) is left out.
func usage(root, name string, self int) []string {
	devs := numbers(root, name)
	var out []string
	seen := map[string]bool{}
	add := func(s string) {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	for _, holder := range glob(root, "sys/block", name, "holders/*") {
		add("held by " + filepath.Base(holder))
	}
	for _, holder := range glob(root, "sys/block", name, name+"*/holders/*") {
		add("held by " + filepath.Base(holder))
	}
	if b, err := os.ReadFile(filepath.Join(root, "proc/swaps")); err == nil {
		for line := range strings.Lines(string(b)) {
			if dev, _, _ := strings.Cut(line, " "); dev == "/dev/"+name || strings.HasPrefix(dev, "/dev/"+name+"p") {
				add("swap space")
			}
		}
	}
	spaces := map[string]bool{} // mount namespaces that were looked at
	procs := glob(root, "proc", "[0-9]*")
	sort.Slice(procs, func(i, j int) bool { return pid(procs[i]) < pid(procs[j]) })
	for _, p := range procs {
		ns, err := os.Readlink(filepath.Join(p, "ns/mnt"))
		if err != nil || !spaces[ns] {
			spaces[ns] = err == nil
			for _, at := range mounts(filepath.Join(p, "mountinfo"), devs) {
				add("mounted on " + at)
			}
		}
		if pid(p) != self && opens(filepath.Join(p, "fd"), devs) {
			comm, _ := os.ReadFile(filepath.Join(p, "comm"))
			add(fmt.Sprintf("open by %s (pid %d)", strings.TrimSpace(string(comm)), pid(p)))
		}
	}
	return out
}

func glob(parts ...string) []string {
	l, _ := filepath.Glob(filepath.Join(parts...)) // the only error is a bad pattern
	return l
}

func pid(dir string) int {
	n, _ := strconv.Atoi(filepath.Base(dir))
	return n
}

// numbers returns "major:minor" of a device and its partitions.
func numbers(root, name string) map[string]bool {
	out := map[string]bool{}
	for _, f := range append(glob(root, "sys/block", name, "dev"), glob(root, "sys/block", name, name+"p*/dev")...) {
		if b, err := os.ReadFile(f); err == nil {
			out[strings.TrimSpace(string(b))] = true
		}
	}
	return out
}

// mounts returns where any of the devices is mounted, by a mountinfo file (proc(5)).
func mounts(file string, devs map[string]bool) []string {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var out []string
	s := bufio.NewScanner(bytes.NewReader(b))
	for s.Scan() {
		if f := strings.Fields(s.Text()); len(f) > 4 && devs[f[2]] {
			out = append(out, unescape(f[4]))
		}
	}
	return out
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	for _, e := range [][2]string{{`\040`, " "}, {`\011`, "\t"}, {`\012`, "\n"}, {`\134`, `\`}} {
		s = strings.ReplaceAll(s, e[0], e[1])
	}
	return s
}

// opens tells whether a process has one of the devices open.
func opens(dir string, devs map[string]bool) bool {
	l, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, f := range l {
		path := filepath.Join(dir, f.Name())
		to, err := os.Readlink(path)
		if err != nil || !strings.HasPrefix(to, "/dev/") && !strings.Contains(to, "nbd") {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK && devs[fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))] {
			return true
		}
	}
	return false
}
