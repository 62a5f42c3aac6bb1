package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// noisy is how many CPUs others may use, and how much of them the machine below may take away, until what is measured is disturbed.
	noisy  = 0.1
	enough = 3   // undisturbed repetitions that give a verdict
	userHZ = 100 // of /proc, the same on every Linux
)

// proc is a process as /proc tells it.
type proc struct {
	name   string
	parent int
	self   float64 // CPU seconds of its threads, also of those that ended
	cpu    float64 // with those of children that it waited for
	kernel bool
}

// parseProc reads /proc/PID/stat.
func parseProc(stat string) (p proc, ok bool) {
	from, to := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')') // the name may hold anything
	if from < 0 || to < from {
		return p, false
	}
	f := strings.Fields(stat[to+1:])
	if len(f) < 15 {
		return p, false
	}
	p.name = stat[from+1 : to]
	p.parent, _ = strconv.Atoi(f[1])
	flags, _ := strconv.ParseUint(f[6], 10, 64)
	p.kernel = flags&0x200000 != 0 // PF_KTHREAD
	for i, s := range f[11:15] {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return p, false
		}
		if p.cpu += v / userHZ; i < 2 {
			p.self += v / userHZ
		}
	}
	return p, true
}

// look is the machine at one moment.
type look struct {
	at    time.Time
	procs map[int]proc
	busy  float64 // CPU seconds of everything but idling, on all CPUs
	steal float64 // CPU seconds that the machine below gave to others
}

// lookAround reads /proc.
func lookAround() look {
	l := look{at: time.Now(), procs: map[int]proc{}}
	if b, err := os.ReadFile("/proc/stat"); err == nil {
		l.busy, l.steal = parseStat(string(b))
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range dirs {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it ended
		}
		if p, ok := parseProc(string(b)); ok {
			pid, _ := strconv.Atoi(strings.Split(name, "/")[2])
			l.procs[pid] = p
		}
	}
	return l
}

// parseStat reads the first line of /proc/stat.
func parseStat(s string) (busy, steal float64) {
	line, _, _ := strings.Cut(s, "\n")
	f := strings.Fields(line)
	for i := 1; i < min(len(f), 9); i++ { // guest times are in user time already
		v, err := strconv.ParseFloat(f[i], 64)
		if err != nil {
			break
		}
		switch i {
		case 4, 5: // idle, iowait
		case 8:
			steal = v / userHZ
		default:
			busy += v / userHZ
		}
	}
	return busy, steal
}

// noise is what others did between two looks, in CPUs.
type noise struct {
	others, steal float64
	who           string // the busiest of the others
}

// since tells what others than the processes below root did since the look before. What began and ended in between and had nobody to wait
// for it is only seen in the sum of the CPUs, which is not exact: it counts from a quarter of a CPU on.
func (l look) since(before look, root int) noise {
	ours := map[int]bool{root: true}
	for more := true; more; {
		more = false
		for _, procs := range []map[int]proc{before.procs, l.procs} {
			for pid, p := range procs {
				if !ours[pid] && ours[p.parent] {
					ours[pid], more = true, true
				}
			}
		}
	}
	type used struct {
		name string
		cpu  float64
	}
	var all []used
	sum, own := 0.0, 0.0
	known := map[int]float64{} // what children that ended meanwhile had used before, by parent: it is not new
	for pid, p := range before.procs {
		if _, there := l.procs[pid]; !there {
			known[p.parent] += p.cpu
		}
	}
	for pid, p := range l.procs {
		d := p.cpu - before.procs[pid].cpu - known[pid]
		if old, there := before.procs[pid]; there && old.name != p.name && d < 0 {
			d = p.cpu // another process with that number
		}
		switch {
		case d <= 0:
		case ours[pid] || p.kernel: // kernel threads work for all; what disks and networks of ours need is among it
			own += d
		default:
			sum += d
			all = append(all, used{p.name, d})
		}
	}
	wall := l.at.Sub(before.at).Seconds()
	if wall <= 0 {
		return noise{}
	}
	n := noise{others: sum / wall, steal: (l.steal - before.steal) / wall}
	if hidden := (l.busy - before.busy - own - sum) / wall; hidden > .25 {
		n.others += hidden
		all = append(all, used{"processes that ended", hidden * wall})
	}
	slices.SortFunc(all, func(a, b used) int {
		if a.cpu != b.cpu {
			return map[bool]int{true: -1, false: 1}[a.cpu > b.cpu]
		}
		return strings.Compare(a.name, b.name)
	})
	var names []string
	for _, u := range all[:min(3, len(all))] {
		names = append(names, fmt.Sprintf("%s %.2f", u.name, u.cpu/wall))
	}
	n.who = strings.Join(names, ", ")
	return n
}

// String says what is wrong, or nothing when it is little.
func (n noise) String() string {
	var s []string
	if n.others > noisy {
		s = append(s, fmt.Sprintf("other processes used %.2f CPUs (%s)", n.others, n.who))
	}
	if n.steal > noisy {
		s = append(s, fmt.Sprintf("%.2f CPUs were stolen by the machine below", n.steal))
	}
	return strings.Join(s, ", ")
}

// onlineCPUs counts the CPUs of the machine.
func onlineCPUs() int {
	b, _ := os.ReadFile("/proc/stat")
	return max(strings.Count(string(b), "\ncpu"), 1)
}

// scheduled returns the CPU time of processes to the nanosecond, in seconds, by the scheduler's own count; only of threads that are there.
func scheduled(pids ...int) float64 {
	sum := 0.0
	for _, pid := range pids {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				continue
			}
			if f := strings.Fields(string(b)); len(f) > 0 {
				v, _ := strconv.ParseFloat(f[0], 64)
				sum += v / 1e9
			}
		}
	}
	return sum
}
