package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"goaoe/internal/config"
)

// machine holds a configuration against the machine it is to run on, without changing anything there.
type machine struct {
	sysroot string
}

// object is what a source turned out to be.
type object struct {
	id       string // equal for two sources that are the same storage
	base     int64  // where the source begins inside it, in bytes
	size     int64  // of the source, in bytes
	readOnly bool
	busy     bool // somebody (a mount, a RAID) holds the block device
}

// check returns what does not fit. It fills sizes with the bytes that each export would have.
func (m machine) check(cfg *config.Config, sizes []int64) config.Problems {
	var ps config.Problems
	var windows []config.Window
	for i := range cfg.Exports {
		e := &cfg.Exports[i]
		if config.CheckSource(e.Source) != nil {
			continue // said already
		}
		size, ok := config.MemSize(e.Source)
		obj := object{id: fmt.Sprintf("memory of %s", e.Addr), size: size}
		if !ok {
			var p *config.Problem
			if obj, p = m.inspect(e); p != nil {
				ps = append(ps, *p)
				continue
			}
		}
		size, found := window(e, obj)
		ps = append(ps, found...)
		if size > 0 {
			sizes[i] = size
			start := obj.base + e.Offset
			windows = append(windows, config.Window{Addr: e.Addr, ID: obj.id, Start: start, End: start + size, ReadOnly: e.ReadOnly, Pos: e.At("source")})
		}
	}
	ps = append(ps, config.CheckOverlaps(windows)...)
	ps = append(ps, m.logFiles(cfg)...)
	return append(ps, m.interfaces(cfg)...)
}

// problem makes a problem of an export's key.
func problem(sev config.Severity, e *config.Export, key, hint, format string, a ...any) config.Problem {
	p := config.Problem{Severity: sev, Position: e.At(key), Key: "export." + key, Message: fmt.Sprintf(format, a...), Hint: hint}
	if key == "source" {
		p.Value = e.Source
	}
	return p
}

// window computes the size that an export would have and says what is wrong with offset and length.
func window(e *config.Export, obj object) (int64, config.Problems) {
	var ps config.Problems
	if e.Offset >= obj.size {
		key := "source"
		if e.Offset > 0 {
			key = "offset"
		}
		return 0, append(ps, problem(config.Error, e, key, "an export needs at least one sector of 512 bytes",
			"nothing is left of %s, which has %d bytes", e.Source, obj.size))
	}
	size := obj.size - e.Offset
	if e.Length > size {
		return 0, append(ps, problem(config.Error, e, "length", fmt.Sprintf("at most %s", config.FormatSize(size/512*512)),
			"%s reaches beyond the end of %s, which has %d bytes", config.FormatSize(e.Length), e.Source, obj.size))
	}
	if e.Length > 0 {
		size = e.Length
	}
	unit := int64(512)
	if e.SizeRound > 1 {
		unit *= e.SizeRound
	}
	if tail := size % unit; tail != 0 {
		size -= tail
		if size > 0 && unit == 512 {
			ps = append(ps, problem(config.Warning, e, "source", "only whole sectors of 512 bytes can be served",
				"the last %d bytes of %s are not served", tail, e.Source))
		}
	}
	if size == 0 {
		ps = append(ps, problem(config.Error, e, "source", "", "nothing is left of %s, which is smaller than %d bytes", e.Source, unit))
	}
	if obj.readOnly && !e.ReadOnly {
		ps = append(ps, problem(config.Error, e, "source", "set read-only = true, or make it writable", "%s cannot be written", e.Source))
	}
	if obj.busy && !e.ReadOnly {
		ps = append(ps, problem(config.Warning, e, "source", "unmount it first, or set read-only = true", "%s is in use on this machine (mounted, or part of a RAID or volume group)", e.Source))
	}
	return size, ps
}

// inspect looks at the source of an export.
func (m machine) inspect(e *config.Export) (object, *config.Problem) {
	fail := func(sev config.Severity, hint, format string, a ...any) (object, *config.Problem) {
		p := problem(sev, e, "source", hint, format, a...)
		return object{}, &p
	}
	path, err := config.ResolveSource(e.Source, m.sysroot)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			if strings.HasPrefix(e.Source, "/dev/") || !strings.HasPrefix(e.Source, "/") {
				return fail(config.Warning, "goaoe serve waits for it", "%s", err)
			}
			return fail(config.Error, "make it, e.g. truncate -s 10G "+e.Source, "%s", err)
		}
		return fail(config.Error, "", "%s", err)
	}
	st, err := os.Stat(path)
	if err != nil {
		return fail(config.Error, "", "%s", err)
	}
	switch mode := st.Mode(); {
	case mode.IsDir():
		return fail(config.Error, "name a file in it, or the device it is mounted from", "%s is a directory", e.Source)
	case mode&fs.ModeCharDevice != 0 || mode&fs.ModeDevice == 0 && !mode.IsRegular():
		return fail(config.Error, "", "%s is neither a file nor a block device", e.Source)
	}
	obj, err := m.open(path)
	switch {
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
		return fail(config.Warning, "run the check as root", "this user may not open %s", e.Source)
	case err != nil:
		return fail(config.Error, "", "%s", err)
	}
	return obj, nil
}

// open finds size and identity of a file or block device.
func (m machine) open(path string) (object, error) {
	f, err := os.Open(path)
	if err != nil {
		return object{}, err
	}
	defer func() { _ = f.Close() }() // only read
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return object{}, fmt.Errorf("%s: %w", path, err)
	}
	size, err := f.Seek(0, io.SeekEnd) // works for files and block devices alike
	if err != nil {
		return object{}, err
	}
	obj := object{size: size, readOnly: errors.Is(unix.Access(path, unix.W_OK), unix.EROFS)}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		obj.id = fmt.Sprintf("file %d:%d/%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
		return obj, nil
	}
	m.device(&obj, unix.Major(st.Rdev), unix.Minor(st.Rdev))
	if x, err := os.OpenFile(path, os.O_RDONLY|unix.O_EXCL, 0); errors.Is(err, unix.EBUSY) {
		obj.busy = true
	} else if err == nil {
		_ = x.Close() // only opened to see whether it is in use
	}
	return obj, nil
}

// device finds the disk that a block device is a part of: a partition and its disk are the same storage.
func (m machine) device(obj *object, major, minor uint32) {
	obj.id = fmt.Sprintf("dev %d:%d", major, minor)
	dir := filepath.Join("/", m.sysroot, fmt.Sprintf("/sys/dev/block/%d:%d", major, minor))
	if n, err := readNumber(filepath.Join(dir, "ro")); err == nil && n == 1 {
		obj.readOnly = true
	}
	start, err := readNumber(filepath.Join(dir, "start"))
	if err != nil {
		return // no partition
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return
	}
	if disk, err := os.ReadFile(filepath.Join(filepath.Dir(real), "dev")); err == nil {
		obj.id, obj.base = "dev "+strings.TrimSpace(string(disk)), start*512
	}
}

// readNumber reads a file that holds one number.
func readNumber(path string) (int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
}

// interfaces holds the interfaces of the exports against those of the machine.
func (m machine) interfaces(cfg *config.Config) config.Problems {
	var ps config.Problems
	dir := filepath.Join("/", m.sysroot, "/sys/class/net")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // no sysfs: nothing is known
	}
	wanted := map[string]bool{}
	said := map[string]bool{}
	for i := range cfg.Exports {
		e := &cfg.Exports[i]
		for _, pattern := range e.Interfaces {
			found := false
			for _, n := range entries {
				if config.MatchName(pattern, n.Name()) {
					found, wanted[n.Name()] = true, true
				}
			}
			if !found && !said[pattern] {
				said[pattern] = true
				p := problem(config.Warning, e, "interfaces", "goaoe serve waits for it; ip link shows what there is", "there is no interface %q at present", pattern)
				p.Value = pattern
				ps = append(ps, p)
			}
		}
	}
	for _, n := range entries {
		if wanted[n.Name()] {
			ps = append(ps, m.mtu(cfg, dir, n.Name())...)
		}
	}
	return ps
}

// mtu checks the MTU of one interface.
func (m machine) mtu(cfg *config.Config, dir, name string) config.Problems {
	mtu, err := readNumber(filepath.Join(dir, name, "mtu"))
	if err != nil {
		return nil
	}
	set := cfg.MatchInterface(name)
	p := config.Problem{Position: set.Pos, Key: "interface.mtu", Value: strconv.Itoa(set.MTU)}
	switch {
	case mtu < config.MinMTU:
		p.Severity, p.Message = config.Error, fmt.Sprintf("%s has an MTU of %d, AoE needs at least %d", name, mtu, config.MinMTU)
		p.Hint = "ip link set " + name + " mtu 1500"
		p.Value = strconv.FormatInt(mtu, 10)
	case int64(set.MTU) > mtu:
		p.Severity, p.Message = config.Warning, fmt.Sprintf("%s has an MTU of only %d, which counts", name, mtu)
		p.Hint = fmt.Sprintf("ip link set %s mtu %d", name, set.MTU)
	default:
		return nil
	}
	return config.Problems{p}
}
