package transfer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
)

// InUse tells why the block device at path must not be written to: it, or a partition of it, is mounted, swapped to, or part of
// something else (LVM, RAID, ...) on this machine. The kernel says so, to whoever wants it exclusively. A device that does not exist is
// not in use. root is put before /proc and /sys in tests.
func InUse(root, path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err == nil {
		return unix.Close(fd)
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	if !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%s: asking whether it is in use: %w", path, err)
	}
	return fmt.Errorf("%s is in use on this machine%s", path, user(root, path))
}

// user finds out who uses a device, as far as that is easy: " (mounted on /mnt)".
func user(root, path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return ""
	}
	sysStat, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	number := func(rdev uint64) string { return fmt.Sprintf("%d:%d", unix.Major(rdev), unix.Minor(rdev)) }
	numbers := []string{number(sysStat.Rdev)}
	dir := filepath.Join("/", root, "sys/dev/block", numbers[0])
	parts, _ := filepath.Glob(filepath.Join(dir, "*", "partition")) // the pattern is right
	for _, p := range parts {
		if b, err := os.ReadFile(filepath.Join(filepath.Dir(p), "dev")); err == nil {
			numbers = append(numbers, strings.TrimSpace(string(b)))
		}
	}
	mounts, _ := os.ReadFile(filepath.Join("/", root, "proc/self/mountinfo")) // without it nothing is known
	for _, l := range strings.Split(string(mounts), "\n") {
		f := strings.Fields(l)
		for _, n := range numbers {
			if len(f) > 4 && f[2] == n {
				return fmt.Sprintf(" (mounted on %s)", f[4])
			}
		}
	}
	for _, n := range numbers {
		holders, _ := os.ReadDir(filepath.Join("/", root, "sys/dev/block", n, "holders"))
		if len(holders) > 0 {
			return fmt.Sprintf(" (by %s)", holders[0].Name())
		}
	}
	return ""
}

// KernelDevice is the block device that the aoe driver of this machine's kernel has for an address; it need not exist.
func KernelDevice(root string, a aoe.Addr) string {
	return filepath.Join("/", root, "dev/etherd", a.String())
}

// Same fails when both ends are one object, or one is a part of the other. root is put before /dev and /sys in tests.
func Same(root string, src Source, dst Sink) error {
	same := fmt.Errorf("source and destination are the same: %s", src.Name())
	a, aIsDisk := src.(*Disk)
	b, bIsDisk := dst.(*Disk)
	x, xIsFile := src.(*File)
	y, yIsFile := dst.(*File)
	switch {
	case aIsDisk && bIsDisk:
		if a.d.Addr() == b.d.Addr() {
			return same
		}
	case aIsDisk && yIsFile && y.device:
		return overlap(root, KernelDevice(root, a.d.Addr()), y.path)
	case bIsDisk && xIsFile && x.device:
		return overlap(root, x.path, KernelDevice(root, b.d.Addr()))
	case xIsFile && yIsFile:
		if os.SameFile(x.info, y.info) {
			return same
		}
		if x.device && y.device {
			return overlap(root, x.path, y.path)
		}
	}
	return nil
}

// overlap compares block devices by number and by where the kernel puts them: a partition lies below its disk.
func overlap(root, a, b string) error {
	var at [2]string
	var rdev [2]uint64
	for i, p := range []string{a, b} {
		st, err := os.Stat(p)
		if err != nil {
			return nil //nolint:nilerr // the kernel does not have it, or opening it said so already
		}
		s, ok := st.Sys().(*syscall.Stat_t)
		if !ok || st.Mode()&os.ModeDevice == 0 {
			return nil
		}
		rdev[i] = s.Rdev
		at[i], err = filepath.EvalSymlinks(filepath.Join("/", root, "sys/dev/block", fmt.Sprintf("%d:%d", unix.Major(s.Rdev), unix.Minor(s.Rdev))))
		if err != nil {
			at[i] = p // nothing is known: only equal numbers count
		}
	}
	switch {
	case rdev[0] == rdev[1]:
		return fmt.Errorf("source and destination are the same device: %s and %s", a, b)
	case strings.HasPrefix(at[0], at[1]+"/"):
		return fmt.Errorf("the source %s is a part of the destination %s", a, b)
	case strings.HasPrefix(at[1], at[0]+"/"):
		return fmt.Errorf("the destination %s is a part of the source %s", b, a)
	}
	return nil
}
