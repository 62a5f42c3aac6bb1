package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestNoise: what counts as noise among made-up processes. 1 is the bench, 2 its target, 9 a kernel thread.
func TestNoise(t *testing.T) {
	start := look{at: time.Unix(100, 0), busy: 50, steal: 1, procs: map[int]proc{
		1: {name: "bench", cpu: 10, parent: 20}, 9: {name: "kworker", cpu: 5, kernel: true}, 20: {name: "go", cpu: 7}, 21: {name: "make", cpu: 3}, 22: {name: "cc1", cpu: 30, parent: 21}}}
	for _, c := range []struct {
		name   string
		busy   float64
		steal  float64
		change map[int]proc
		gone   []int
		want   string
	}{
		{"nothing", 0, 0, nil, nil, ""},
		{"the bench and its target", 2, 0, map[int]proc{1: {name: "bench", cpu: 11, parent: 20}, 2: {name: "goaoe", cpu: 1, parent: 1}}, nil, ""},
		{"the target's child", 1, 0, map[int]proc{2: {name: "sh", parent: 1}, 3: {name: "goaoe", cpu: 1, parent: 2}}, nil, ""},
		{"the kernel", 1, 0, map[int]proc{9: {name: "kworker", cpu: 6, kernel: true}}, nil, ""},
		{"a little", .1, 0, map[int]proc{21: {name: "make", cpu: 3.1}}, nil, ""},
		{"another program", 1, 0, map[int]proc{21: {name: "make", cpu: 4}}, nil, "other processes used 0.50 CPUs (make 0.50)"},
		{"a new one", 1, 0, map[int]proc{30: {name: "qemu", cpu: 1}}, nil, "other processes used 0.50 CPUs (qemu 0.50)"},
		{"one that ended", 1, 0, map[int]proc{21: {name: "make", cpu: 3 + 30 + 1}}, []int{22}, "other processes used 0.50 CPUs (make 0.50)"},
		{"one that ended and had done nothing more", 0, 0, map[int]proc{21: {name: "make", cpu: 3 + 30}}, []int{22}, ""},
		{"one that nobody waited for", 1, 0, nil, nil, "other processes used 0.50 CPUs (processes that ended 0.50)"},
		{"a number that was used again", 1, 0, map[int]proc{22: {name: "ld", cpu: 1}}, nil, "other processes used 0.50 CPUs (ld 0.50)"},
		{"stolen", 0, 1, nil, nil, "0.50 CPUs were stolen by the machine below"},
		{"the parent of the bench", 1, 0, map[int]proc{20: {name: "go", cpu: 8}}, nil, "other processes used 0.50 CPUs (go 0.50)"},
	} {
		end := look{at: time.Unix(102, 0), busy: start.busy + c.busy, steal: start.steal + c.steal, procs: map[int]proc{}}
		for _, from := range []map[int]proc{start.procs, c.change} {
			for pid, p := range from {
				end.procs[pid] = p
			}
		}
		for _, pid := range c.gone {
			delete(end.procs, pid)
		}
		if got := end.since(start, 1).String(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestParseProc(t *testing.T) {
	p, ok := parseProc("77 (a) b (c) S 5 77 77 0 -1 2129984 0 0 0 0 150 50 300 100 20 0 1 0 100 0 0")
	if want := (proc{name: "a) b (c", parent: 5, self: 2, cpu: 6, kernel: true}); !ok || p != want {
		t.Errorf("%+v, %v", p, ok)
	}
	for _, bad := range []string{"", "1 (x", "1 (x) S 5", "1 (x) S 5 7 7 0 -1 4 0 0 0 0 one 50 300 100 20"} {
		if _, ok := parseProc(bad); ok {
			t.Errorf("%q was taken for a process", bad)
		}
	}
	if busy, steal := parseStat("cpu  100 10 50 4000 400 20 30 70 9 9\ncpu0 1"); busy != 2.1 || steal != .7 {
		t.Errorf("busy %v, stolen %v", busy, steal)
	}
	l := lookAround()
	if me := l.procs[os.Getpid()]; me.parent != os.Getppid() || me.name == "" || l.busy <= 0 {
		t.Errorf("this process is %+v, the CPUs were busy for %v s", me, l.busy)
	}
	if onlineCPUs() < 1 || scheduled(os.Getpid()) <= 0 {
		t.Error("this process used no CPU")
	}
	if rss, err := resident(os.Getpid()); err != nil || rss < 1 {
		t.Errorf("%v MiB, %v", rss, err)
	}
	if _, err := resident(-1); err == nil || !strings.Contains(err.Error(), "-1") {
		t.Error(err)
	}
}
