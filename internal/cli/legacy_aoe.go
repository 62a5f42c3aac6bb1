package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/initiator"
)

// aoetools' commands. aoe-discover and aoe-stat speak to the kernel's driver; where it is not loaded they say so, print what
// is found without it, and fail, because what their caller waits for (/dev/etherd/e0.1) is not there. The others use the wire.
// The originals wait for ever unless told how long; these do not.

// patienceOfTools bounds what the originals do without a time limit.
const patienceOfTools = 10 * time.Second

func runAoeDiscover(env *Env, args []string) int {
	if len(args) > 0 {
		return usage(env, "", fmt.Errorf("%q: it takes no arguments", args[0]))
	}
	path := filepath.Join("/", env.Sysroot, "dev/etherd/discover")
	st, err := os.Stat(path)
	if err == nil && st.Mode()&os.ModeCharDevice == 0 && env.Sysroot == "" {
		fmt.Fprintf(env.Stderr, "aoe-discover: %s is no character device; udev, or aoe-mkdevs, makes it\n", path)
		return ExitFailure
	}
	if err == nil {
		f, e := os.OpenFile(path, os.O_WRONLY, 0)
		if e == nil {
			_, e = f.WriteString("\n")
			e = errors.Join(e, f.Close())
		}
		if e != nil {
			fmt.Fprintf(env.Stderr, "aoe-discover: %v\n", e)
			return ExitFailure
		}
		return ExitOK
	}
	fmt.Fprintf(env.Stderr, "aoe-discover: %s does not exist: the aoe driver is not loaded (modprobe aoe). Found without it:\n", path)
	for _, d := range withoutDriver(env) {
		fmt.Fprintf(env.Stdout, "%10s %15s %s\n", d.Address, gigabytes(d.Size/aoe.SectorSize), d.interfaceList())
	}
	return ExitFailure
}

// withoutDriver searches from user space; what fails is said on stderr.
func withoutDriver(env *Env) []discovered {
	s := search{wireFlags: wireFlags{timeout: time.Second}, wait: time.Second}
	rows, err := s.discover(context.Background())
	if err != nil {
		fmt.Fprintf(env.Stderr, "%s: %s\n", env.Program, oneLine(err.Error()))
	}
	return rows
}

// interfaceList lists the interfaces of the paths as the driver does: "eth0,eth1".
func (d *discovered) interfaceList() string {
	var names []string
	for _, p := range d.Paths {
		if !slices.Contains(names, p.Interface) {
			names = append(names, p.Interface)
		}
	}
	return strings.Join(names, ",")
}

// gigabytes shows a size as aoe-stat does: billions of bytes with three digits, cut.
func gigabytes(sectors int64) string {
	mb := sectors * aoe.SectorSize / 1_000_000
	return fmt.Sprintf("%d.%03dGB", mb/1000, mb%1000)
}

// statRow is a line of aoe-stat.
type statRow struct{ dev, size, netif, payload, state string }

func runAoeStat(env *Env, args []string) int {
	pattern := "."
	if len(args) > 0 {
		pattern = args[0]
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return usage(env, "[pattern]", err)
	}
	sysfs := os.Getenv("sysfs_dir")
	if sysfs == "" {
		sysfs = filepath.Join("/", env.Sysroot, "sys")
	}
	if _, err := os.Stat(filepath.Join(sysfs, "block")); err != nil {
		fmt.Fprintf(env.Stderr, "aoe-stat Error: sysfs is not mounted at %s: %v\n", sysfs, err)
		return ExitFailure
	}
	rows, payload := driverDisks(env, sysfs)
	_, err = os.Stat(filepath.Join(sysfs, "module/aoe"))
	loaded := err == nil || len(rows) > 0
	if !loaded {
		fmt.Fprintln(env.Stderr, "aoe-stat: the aoe driver is not loaded (modprobe aoe). Found without it:")
		for _, d := range withoutDriver(env) {
			rows = append(rows, statRow{d.Address, gigabytes(d.Size / aoe.SectorSize), d.interfaceList(), strconv.Itoa(d.Sectors * aoe.SectorSize), "no driver"})
		}
		payload = true
	}
	var lines []string
	for _, r := range rows {
		line := fmt.Sprintf("%10s %15s %6s %-14s", r.dev, r.size, r.netif, r.state)
		if payload && r.payload == notThere { // as the original has it: the state moves to the left
			r.payload, r.state = r.state, ""
		}
		if payload {
			line = fmt.Sprintf("%10s %15s %10s %-5s %-14s", r.dev, r.size, r.netif, r.payload, r.state)
		}
		if re.MatchString(line) {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	for _, l := range lines {
		if _, err := fmt.Fprintln(env.Stdout, l); err != nil {
			return ExitFailure
		}
	}
	if !loaded || len(lines) == 0 {
		return ExitFailure
	}
	return ExitOK
}

// notThere stands for what the driver does not tell.
const notThere = "(NA)"

// driverDisks reads the disks of the kernel's driver from sysfs, and whether it tells the payload.
func driverDisks(env *Env, sysfs string) (rows []statRow, payload bool) {
	dirs, _ := filepath.Glob(filepath.Join(sysfs, "block/*e[0-9]*.[0-9]*")) // the pattern is valid
	for _, dir := range dirs {
		base := filepath.Base(dir)
		dev := base[strings.LastIndexByte(base, '!')+1:]
		if strings.Contains(dev, "p") || !strings.HasPrefix(dev, "e") {
			continue
		}
		read := func(name string) string {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return notThere
			}
			return strings.TrimSpace(string(b))
		}
		r := statRow{dev: dev, size: notThere, netif: read("netif"), payload: read("payload"), state: read("state")}
		if n, err := strconv.ParseInt(read("size"), 10, 64); err == nil {
			r.size = gigabytes(n)
		}
		payload = payload || r.payload != notThere
		if minor, ok := wrongNode(env, dev, read("dev")); ok {
			fmt.Fprintf(env.Stderr, "aoe-stat Warning: device node /dev/etherd/%s has wrong minor device number %d: do not use it\n", dev, minor)
		}
		rows = append(rows, r)
	}
	return rows, payload
}

// wrongNode tells whether the device node of a disk is that of another one.
func wrongNode(env *Env, dev, numbers string) (minor uint32, wrong bool) {
	_, want, ok := strings.Cut(numbers, ":")
	minor, isBlock := blockMinor(filepath.Join("/", env.Sysroot, "dev/etherd", dev))
	return minor, ok && isBlock && want != strconv.FormatUint(uint64(minor), 10)
}

const aoecfgUsage = "[-c cmd] [-s cfgstr] [-t timeout] [shelf slot] [net]"

// toolAddress reads shelf and slot as aoetools write them: two numbers, the highest being the wildcards.
func toolAddress(shelf, slot string) (aoe.Addr, error) {
	major, err := strconv.ParseUint(shelf, 0, 16)
	if err != nil {
		return aoe.Addr{}, fmt.Errorf("shelf %q is no number from 0 to 65535", shelf)
	}
	minor, err := strconv.ParseUint(slot, 0, 8)
	if err != nil {
		return aoe.Addr{}, fmt.Errorf("slot %q is no number from 0 to 255", slot)
	}
	return aoe.Addr{Major: uint16(major), Minor: uint8(minor)}, nil
}

// timeLimit reads a time limit in seconds.
func timeLimit(opts map[byte][]string, letter byte) (time.Duration, error) {
	v := opts[letter]
	if len(v) == 0 {
		return 0, nil
	}
	n, err := strconv.ParseUint(v[len(v)-1], 10, 31)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("-%c %s: the time must be one second or more", letter, v[len(v)-1])
	}
	return time.Duration(n) * time.Second, nil
}

func runAoecfg(env *Env, args []string) int {
	opts, rest, err := letters("c:s:t:").getopt(args)
	if err != nil {
		return usage(env, aoecfgUsage, err)
	}
	ops := map[string]uint8{"read": aoe.ConfigRead, "test": aoe.ConfigTest, "prefix": aoe.ConfigPrefix, "set": aoe.ConfigSetOp, "fset": aoe.ConfigForceSet}
	name, str, iface := "read", "", "eth0"
	if v := opts['c']; len(v) > 0 {
		name = v[len(v)-1]
	}
	if v := opts['s']; len(v) > 0 {
		str = v[len(v)-1]
	}
	op, ok := ops[name]
	limit, err := timeLimit(opts, 't')
	addr := aoe.Addr{Major: aoe.WildMajor, Minor: aoe.WildMinor}
	switch {
	case !ok:
		return usage(env, aoecfgUsage, fmt.Errorf("-c %s: the commands are read, test, prefix, set, fset", name))
	case err != nil:
		return usage(env, aoecfgUsage, err)
	case len(str) > aoe.MaxConfig:
		return usage(env, aoecfgUsage, fmt.Errorf("-s: a string has at most %d bytes", aoe.MaxConfig))
	case len(rest) > 3:
		return usage(env, aoecfgUsage, fmt.Errorf("%d arguments", len(rest)))
	}
	if len(rest) >= 2 {
		if addr, err = toolAddress(rest[0], rest[1]); err != nil {
			return usage(env, aoecfgUsage, err)
		}
		rest = rest[2:]
	}
	if len(rest) > 0 {
		iface = rest[0]
	}
	return aoecfg(env, iface, addr, op, str, limit)
}

// aoecfg asks and prints the strings of the answers: of an exact address the string alone, else "shelf.slot<tab>string".
func aoecfg(env *Env, iface string, addr aoe.Addr, op uint8, str string, limit time.Duration) int {
	if limit == 0 {
		limit = patienceOfTools
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	status, answers := ExitOK, 0
	for r, err := range initiator.AskConfig(ctx, iface, addr, op, []byte(str), -1) {
		if err != nil {
			fmt.Fprintf(env.Stderr, "%s: %s\n", env.Program, oneLine(err.Error()))
			return ExitFailure
		}
		answers++
		text := plain(r.Config)
		if r.Refused != 0 {
			text, status = "*badcfg*", ExitFailure
			if r.Refused != aoe.ConfigSet {
				fmt.Fprintf(env.Stderr, "%s: %v: %v\n", env.Program, r.Addr, r.Refused)
			}
		}
		if addr.Wild() {
			fmt.Fprintf(env.Stdout, "%d.%d\t%s\n", r.Addr.Major, r.Addr.Minor, text)
		} else {
			fmt.Fprintln(env.Stdout, text)
			break
		}
	}
	if silence := op == aoe.ConfigTest || op == aoe.ConfigPrefix; answers == 0 && !silence && !addr.Wild() {
		fmt.Fprintf(env.Stderr, "%s: %v does not answer on %s\n", env.Program, addr, iface)
		return ExitFailure
	}
	return status
}

// plain shows bytes as they are, but for what would steer a terminal.
func plain(b []byte) string {
	out := slices.Clone(b)
	for i, c := range out {
		if c < 0x20 && c != '\t' || c == 0x7f {
			out[i] = '?'
		}
	}
	return string(out)
}

// hexDump prints bytes as aoetools do: 16 in a line, each followed by a blank.
func hexDump(out io.Writer, b []byte) {
	for line := range slices.Chunk(b, 16) {
		fmt.Fprintf(out, "% x \n", line)
	}
}

// blockMinor returns the minor number of a block device.
func blockMinor(path string) (uint32, bool) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, false
	}
	return unix.Minor(uint64(st.Rdev)), true //nolint:unconvert // it has 32 bits on some processors
}
