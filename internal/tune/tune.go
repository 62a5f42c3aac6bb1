// Package tune looks at a machine that serves exports, or will, and knows what would make it serve faster: network cards and their queues, processors, disks,
// limits of the kernel. Looking changes nothing. What is to be changed is a Setting that is read, written, read back, and written back.
//
// Where frames of AoE are treated otherwise than those of IP it says so: they have neither addresses nor ports that a card or the kernel could spread them
// by, so receive side scaling and RPS put all of them on one queue and one processor, and nothing merges them (GRO, LRO).
package tune

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Levels of an Advice, as those of goaoe doctor.
const (
	OK      = "ok"      // looked at, and fine
	Note    = "note"    // would be better
	Warning = "warning" // frames or time are being lost
	Problem = "problem" // cannot work
)

// How a change is made.
const (
	Auto   = "apply"  // by Apply
	Choice = "choice" // by Apply, when its topic is asked for: it has a price, or others have to agree
	ByHand = "hand"   // by the administrator
)

// Topics, in the order of the report.
const (
	MTU         = "mtu"
	Ring        = "ring"
	Coalescing  = "coalescing"
	FlowControl = "flow-control"
	Offload     = "offload"
	Queue       = "queue"
	Steering    = "steering"
	Interrupts  = "interrupts"
	NUMA        = "numa"
	Sockets     = "sockets"
	Backlog     = "backlog"
	Processors  = "processors"
	Idle        = "idle"
	Memory      = "memory"
	Limits      = "limits"
	URing       = "io-uring"
	Disks       = "disks"
	Files       = "files"
	Virtual     = "virtual"
)

// TopicHelp is a topic and what it is about.
type TopicHelp struct {
	Name string `json:"topic"`
	Help string `json:"about"`
}

// Topics says what each topic is about, in the order of the report.
var Topics = []TopicHelp{
	{MTU, "frame size of the interfaces; changed by --mtu only"},
	{Ring, "receive and transmit rings of the cards"},
	{Coalescing, "how long a card waits before it interrupts"},
	{FlowControl, "pause frames"},
	{Offload, "merging of received frames, which never concerns AoE"},
	{Queue, "the queue in front of an interface: its discipline and its length"},
	{Steering, "RPS and XPS, which cannot spread AoE frames"},
	{Interrupts, "which processors the cards interrupt"},
	{NUMA, "whether lanes run near the cards"},
	{Sockets, "limits of sockets"},
	{Backlog, "the kernel's queue of received frames, and how many it takes in a turn"},
	{Processors, "frequency of the processors, time that a hypervisor takes"},
	{Idle, "how long processors take to wake up"},
	{Memory, "huge pages"},
	{Limits, "limits of the daemon: locked memory, open files"},
	{URing, "whether fast storage access is allowed"},
	{Disks, "scheduler, queues, read-ahead and caches of the disks behind the exports"},
	{Files, "file systems and files behind the exports"},
	{Virtual, "virtual machines and their cards"},
}

// Advice is one thing that was looked at.
type Advice struct {
	Topic   string `json:"topic"`
	Subject string `json:"subject,omitempty"` // an interface, a disk, an export
	Level   string `json:"level"`             // ok, note, warning, problem
	Is      string `json:"is"`
	Should  string `json:"should,omitempty"`
	Why     string `json:"why,omitempty"`
	How     string `json:"how,omitempty"`     // apply, choice, hand; empty: there is nothing to do
	Command string `json:"command,omitempty"` // that does it by hand
	Boot    string `json:"boot,omitempty"`    // the file that keeps it over a boot; empty: it is lost at the next boot, or when the interface is made anew

	Setting Setting `json:"-"` // what Apply writes, nil for ByHand
	Value   string  `json:"-"` // that Apply writes
}

// Disk is an export's storage.
type Disk struct {
	Address  string // of the export
	Path     string // of the file or block device
	Direct   bool   // the page cache is not used
	ReadOnly bool
	Queue    int // requests that it holds at a time
}

// Use is what is served, or will be.
type Use struct {
	Interfaces []string
	Frames     map[string]int // requests that initiators may have on the wire to an interface at the same time
	Disks      []Disk
	Lanes      int
	PID        int // of the daemon; 0: none runs
}

// Machine is what is looked at, and changed.
type Machine struct {
	Root string // put before /sys, /proc and /etc; empty but in tests
	Card Card   // what the files of the kernel do not tell; nil: left out
	Use  Use
}

// path returns where a file of the kernel is.
func (m *Machine) path(name string) string { return filepath.Join("/", m.Root, name) }

// text returns what a file has, without the end of its line; "" when it cannot be read.
func (m *Machine) text(name string) string {
	b, err := os.ReadFile(m.path(name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// number returns the number that a file has.
func (m *Machine) number(name string) (int64, bool) {
	n, err := strconv.ParseInt(m.text(name), 10, 64)
	return n, err == nil
}

// exists tells whether there is such a file.
func (m *Machine) exists(name string) bool {
	_, err := os.Stat(m.path(name))
	return err == nil
}

// names returns the names in a folder.
func (m *Machine) names(dir string) []string {
	entries, _ := os.ReadDir(m.path(dir)) // none: nothing is known
	out := make([]string, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// glob returns the files that fit a pattern, without the root.
func (m *Machine) glob(pattern string) []string {
	list, _ := filepath.Glob(m.path(pattern)) // the patterns are right
	for i, p := range list {
		list[i] = "/" + strings.TrimPrefix(strings.TrimPrefix(p, m.path("/")), "/")
	}
	return list
}

// Look looks at everything, in the order of Topics.
func (m *Machine) Look() []Advice {
	var all []Advice
	for _, name := range m.Use.Interfaces {
		all = append(all, m.network(name)...)
	}
	all = append(all, m.sockets()...)
	all = append(all, m.processors()...)
	all = append(all, m.storage()...)
	Sort(all)
	return all
}

// order returns the place of a topic.
func order(topic string) int {
	return slices.IndexFunc(Topics, func(t TopicHelp) bool { return t.Name == topic })
}

// fine makes an Advice of what needs no change.
func fine(topic, subject, format string, a ...any) Advice {
	return Advice{Topic: topic, Subject: subject, Level: OK, Is: fmt.Sprintf(format, a...)}
}

// change makes an Advice of a setting that should have another value.
func change(topic, subject, level, how string, s Setting, value, is, should, why string) Advice {
	return Advice{Topic: topic, Subject: subject, Level: level, How: how, Is: is, Should: should, Why: why, Command: s.Command(value), Boot: bootFile(s, value),
		Setting: s, Value: value}
}

// cpuSet reads a list of processors or nodes, e.g. "0-3,8".
func cpuSet(list string) []int {
	var out []int
	for _, part := range strings.Split(strings.TrimSpace(list), ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(first)
		if err != nil {
			continue
		}
		b := a
		if isRange {
			if b, err = strconv.Atoi(last); err != nil {
				continue
			}
		}
		for n := a; n <= b && len(out) < 1<<14; n++ {
			out = append(out, n)
		}
	}
	return out
}

// Sort puts advice in the order of Topics.
func Sort(list []Advice) {
	slices.SortStableFunc(list, func(a, b Advice) int { return order(a.Topic) - order(b.Topic) })
}
