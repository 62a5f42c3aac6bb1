package tune

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Setting is something that has a value.
type Setting interface {
	Read() (string, error)
	Write(value string) error
	// Command is what sets it by hand.
	Command(value string) string
	// Boot is how it is kept over a boot; no lines: it cannot be.
	Boot(value string) []Line
}

// Line is a line of a file that sets something at boot. It takes the place of one that begins with Key.
type Line struct{ File, Key, Text string }

// Files that keep changes over a boot. All of them are goaoe's own: removing them takes the changes back at the next boot.
const (
	SysctlFile   = "/etc/sysctl.d/90-goaoe.conf"
	UdevFile     = "/etc/udev/rules.d/90-goaoe.rules"
	TmpfilesFile = "/etc/tmpfiles.d/90-goaoe.conf"
)

// file is a setting that is one file of the kernel, or several with the same value.
type file struct {
	m     *Machine
	paths []string // without the root
	udev  string   // the match of the device in a rule of udev; empty: none
	boot  bool     // tmpfiles.d can set it
}

// Read returns the value, or all values with commas between where the files differ.
func (f file) Read() (string, error) {
	var all []string
	for _, p := range f.paths {
		b, err := os.ReadFile(f.m.path(p))
		if err != nil {
			return "", err
		}
		if v := picked(string(b)); !slices.Contains(all, v) {
			all = append(all, v)
		}
	}
	return strings.Join(all, ", "), nil
}

// alike puts files into groups that have the same value: one command takes a whole group back.
func (m *Machine) alike(paths []string) [][]string {
	var out [][]string
	var values []string
	for _, p := range paths {
		v := picked(m.text(p))
		i := slices.Index(values, v)
		if i < 0 {
			i, values, out = len(values), append(values, v), append(out, nil)
		}
		out[i] = append(out[i], p)
	}
	return out
}

// counted are the parts of a path that a machine has for each processor.
var counted = regexp.MustCompile(`/(cpu|policy)[0-9]+/`)

// short returns patterns for paths, where they are all that fit: a machine may have hundreds of processors. A shell and tmpfiles.d take them.
func (m *Machine) short(paths []string) []string {
	var out []string
	for _, p := range paths {
		pattern := counted.ReplaceAllString(p, "/$1[0-9]*/")
		if slices.Contains(out, pattern) {
			continue
		}
		if slices.ContainsFunc(m.glob(pattern), func(x string) bool { return !slices.Contains(paths, x) }) || len(paths) == 1 {
			pattern = p
		}
		out = append(out, pattern)
	}
	return out
}

// picked returns the value that counts, where a file lists all that are possible: "none [mq-deadline]".
func picked(text string) string {
	text = strings.TrimSpace(text)
	if _, rest, ok := strings.Cut(text, "["); ok {
		if v, _, ok := strings.Cut(rest, "]"); ok {
			return v
		}
	}
	return text
}

func (f file) Write(value string) error {
	for _, p := range f.paths {
		// No O_CREATE: what is not there is a mistake, in a made-up tree too.
		w, err := os.OpenFile(f.m.path(p), os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			return err
		}
		_, err = w.WriteString(value)
		if cerr := w.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return fmt.Errorf("writing %q: %w", value, err)
		}
	}
	if now, err := f.Read(); len(f.paths) > 1 && err == nil && now != value {
		return fmt.Errorf("%q was written, and there is %q now", value, now)
	}
	return nil
}

// sysctl returns the name of a file below /proc/sys, or "".
func (f file) sysctl() string {
	if name, ok := strings.CutPrefix(f.paths[0], "/proc/sys/"); ok {
		return strings.ReplaceAll(name, "/", ".")
	}
	return ""
}

func (f file) Command(value string) string {
	if name := f.sysctl(); name != "" {
		return "sysctl -w " + name + "=" + value
	}
	dir, attr := path.Split(f.paths[0])
	switch {
	case path.Dir(path.Clean(dir)) != "/sys/class/net":
	case attr == "mtu":
		return "ip link set dev " + path.Base(dir) + " mtu " + value
	case attr == "tx_queue_len":
		return "ip link set dev " + path.Base(dir) + " txqueuelen " + value
	}
	if len(f.paths) > 1 {
		return "echo " + value + " | tee " + strings.Join(f.m.short(f.paths), " ")
	}
	return "echo " + value + " > " + f.paths[0]
}

func (f file) Boot(value string) []Line {
	if name := f.sysctl(); name != "" {
		return []Line{{SysctlFile, name + " =", name + " = " + value}}
	}
	var lines []Line
	switch {
	case f.udev != "":
		for _, p := range f.paths {
			key := f.udev + ", ATTR{" + attribute(p) + "}="
			lines = append(lines, Line{UdevFile, key, key + `"` + value + `"`})
		}
	case f.boot:
		for _, p := range f.m.short(f.paths) {
			lines = append(lines, Line{TmpfilesFile, "w " + p + " ", "w " + p + " - - - - " + value})
		}
	}
	return lines
}

// attribute returns the name of a file below its device's folder.
func attribute(name string) string {
	parts := strings.SplitN(strings.TrimPrefix(name, "/"), "/", 5) // sys/class/net/eth1/mtu, sys/block/sda/queue/scheduler
	if parts[1] == "block" {
		return strings.Join(parts[3:], "/")
	}
	return strings.Join(parts[4:], "/")
}

// sysctlSetting is a setting below /proc/sys, by its dotted name.
func (m *Machine) sysctlSetting(name string) file {
	return file{m: m, paths: []string{"/proc/sys/" + strings.ReplaceAll(name, ".", "/")}}
}

// netSetting is a file of an interface.
func (m *Machine) netSetting(ifname, attr string) file {
	return file{m: m, paths: []string{"/sys/class/net/" + ifname + "/" + attr}, udev: m.udevOf(ifname)}
}

// udevOf returns how a rule finds an interface: the card by its address, for names are given after the rule is read. Interfaces without hardware have
// no rule: who makes them sets them.
func (m *Machine) udevOf(ifname string) string {
	dir := "/sys/class/net/" + ifname
	mac := m.text(dir + "/bonding_slave/perm_hwaddr") // in a bond its address is that of another
	if mac == "" {
		mac = m.text(dir + "/address")
	}
	if mac != "" && m.exists(dir+"/device") {
		return `ACTION=="add", SUBSYSTEM=="net", DRIVERS=="?*", ATTR{address}=="` + mac + `"`
	}
	return ""
}

// diskSetting is a file of a disk.
func (m *Machine) diskSetting(disk, attr string) file {
	return file{m: m, paths: []string{"/sys/block/" + disk + "/" + attr}, udev: `ACTION=="add|change", SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", ` + m.udevDisk(disk)}
}

// plain is what needs no quoting in a rule of udev, and is no pattern there.
var plain = regexp.MustCompile(`^[A-Za-z0-9 ._:-]+$`)

// udevDisk returns how a rule finds a disk: by what it tells of itself, for names like sda go to another disk when one more is there at boot; by its name
// where it tells nothing.
func (m *Machine) udevDisk(disk string) string {
	for _, attr := range []string{"wwid", "device/wwid", "serial", "dm/uuid"} {
		if id := m.text("/sys/block/" + disk + "/" + attr); plain.MatchString(id) {
			return "ATTR{" + attr + `}=="` + id + `"`
		}
	}
	return `KERNEL=="` + disk + `"`
}

// bootFile returns the file that keeps a value over a boot, or "".
func bootFile(s Setting, value string) string {
	if l := s.Boot(value); len(l) > 0 {
		return l[0].File
	}
	return ""
}

// Sysctl makes an Advice of a line "sysctl [-w] NAME=VALUE" that a check of goaoe doctor gives; false: it is none.
func (m *Machine) Sysctl(a Advice, fix string) (Advice, bool) {
	fix, _, _ = strings.Cut(fix, ";")
	fix, _, _ = strings.Cut(fix, ",")
	rest, ok := strings.CutPrefix(fix, "sysctl ")
	name, value, is := strings.Cut(strings.TrimPrefix(rest, "-w "), "=")
	if !ok || !is || strings.ContainsAny(name+value, " \t") {
		return a, false
	}
	s := m.sysctlSetting(name)
	if !m.exists(s.paths[0]) {
		return a, false
	}
	a.Setting, a.Value, a.How, a.Command, a.Boot = s, value, Auto, s.Command(value), bootFile(s, value)
	return a, true
}

// Result is what became of a change.
type Result struct {
	Topic   string `json:"topic"`
	Subject string `json:"subject,omitempty"`
	Command string `json:"command"`         // what was done, as a command
	Was     string `json:"was,omitempty"`   // the value before
	Now     string `json:"now,omitempty"`   // the value that is in force
	Error   string `json:"error,omitempty"` // it was not made
	Undo    string `json:"undo,omitempty"`  // the command that takes it back; empty: nothing was changed
	Kept    string `json:"kept,omitempty"`  // the file that keeps it over a boot
	Lost    string `json:"lost,omitempty"`  // why it is not kept
}

// Apply makes the changes, each for itself: one that fails does not keep the others from being made. What is read back counts, not what was written.
func Apply(list []Advice) []Result {
	var out []Result
	for _, a := range list {
		r := Result{Topic: a.Topic, Subject: a.Subject, Command: a.Command}
		was, err := a.Setting.Read()
		if err != nil {
			r.Error = "its value could not be read, so it was left alone: " + err.Error()
			out = append(out, r)
			continue
		}
		r.Was = was
		err = a.Setting.Write(a.Value)
		now, rerr := a.Setting.Read()
		r.Now = now
		if now != was || rerr != nil {
			r.Undo = a.Setting.Command(was)
		}
		switch {
		case err != nil && rerr == nil && now == a.Value: // it has it, whatever was said
		case err != nil:
			r.Error = err.Error()
		case rerr != nil:
			r.Error = "it was written, but could not be read back: " + rerr.Error()
		case now == was && now != a.Value:
			r.Error = fmt.Sprintf("the kernel took %q and left it at %q", a.Value, now)
		}
		out = append(out, r)
	}
	return out
}

// Keep writes what was applied to the files that are read at boot. results are those of Apply for list, and get where each is kept. A file that cannot be
// written is an error; the others are written all the same.
func (m *Machine) Keep(list []Advice, results []Result) (files []string, errs []error) {
	lines := map[string][]Line{}
	for i, a := range list {
		r := &results[i]
		if r.Error != "" {
			continue
		}
		l := a.Setting.Boot(r.Now)
		if len(l) == 0 {
			r.Lost = "no file that is read at boot can set it: put its command where the interface is set up"
			continue
		}
		r.Kept = l[0].File
		lines[r.Kept] = append(lines[r.Kept], l...)
	}
	for _, name := range []string{SysctlFile, UdevFile, TmpfilesFile} {
		if len(lines[name]) == 0 {
			continue
		}
		if err := m.merge(name, lines[name]); err != nil {
			errs = append(errs, err)
			for i := range results {
				if results[i].Kept == name {
					results[i].Kept, results[i].Lost = "", err.Error()
				}
			}
			continue
		}
		files = append(files, name)
	}
	return files, errs
}

// header is the first line of the files.
const header = "# Made by goaoe tune --apply --persist. Remove this file to have all of it back as it was, from the next boot on."

// merge puts lines into a file, in the places of those with the same keys, and leaves the others. The file is replaced as a whole.
func (m *Machine) merge(name string, lines []Line) error {
	full := m.path(name)
	old, err := os.ReadFile(full)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	text := []string{header}
	for _, l := range strings.Split(strings.TrimRight(string(old), "\n"), "\n") {
		if i := slices.IndexFunc(lines, func(n Line) bool { return strings.HasPrefix(l, n.Key) }); i >= 0 {
			l = lines[i].Text // in its place: a scheduler has to be set before the queue that it makes
		}
		if l != "" && l != header && !slices.Contains(text, l) {
			text = append(text, l)
		}
	}
	for _, n := range lines {
		if !slices.Contains(text, n.Text) {
			text = append(text, n.Text)
		}
	}
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(full), ".goaoe-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // gone after the rename
	_, err = tmp.WriteString(strings.Join(text, "\n") + "\n")
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), full)
}
