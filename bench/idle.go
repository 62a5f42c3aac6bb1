package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"goaoe/internal/loadgen"
)

// idleRow is about exports that nobody asks: one goaoe with all of them on all interfaces, and a vblade for each, on one interface.
func idleRow() row {
	ours := contestant{name: "goaoe", kind: goaoe, args: goaoeServe()}
	for i := range idlePairs {
		ours.args = append(ours.args, "-i", ifName(targetIf, i))
	}
	for i := range idleExports {
		ours.args = append(ours.args, fmt.Sprintf("%v=%s", addr(i+1), idleFile("%state", i)))
	}
	others := contestant{name: fmt.Sprint(idleExports, " x vblade"), kind: vblade, copies: idleExports, args: []string{"SHELF", "SLOT", "INTERFACE", "FILE"}}
	return row{
		id: "s", title: fmt.Sprintf("idle: %d exports on %d interfaces", idleExports, idlePairs), mtu: 1500, pairs: idlePairs,
		contestants: []contestant{ours, others}, run: (*bench).idle,
		goals: []goal{{what: idleCPU, want: .1}, {what: memMiB, want: 64}, {what: memMiB, peer: others.name}},
	}
}

// idleFile is the disk of an export.
func idleFile(state string, n int) string { return fmt.Sprintf("%s-disk%d", state, n) }

// idle starts a contestant, sees that its first and its last export are served, and watches it doing nothing.
func (b *bench) idle(ctx context.Context, _ row, w work) sample {
	c, id := w.contestant, w.id
	state := filepath.Join(b.state, id)
	for i := range idleExports {
		name := idleFile(state, i)
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			return sample{Void: err.Error()}
		}
		defer func() { _ = os.Remove(name) }() // temporary anyway
		if err := os.Truncate(name, 1<<20); err != nil {
			return sample{Void: err.Error()}
		}
	}
	var all []*process
	var pids []int
	defer func() {
		for _, p := range all {
			_ = p.cmd.Process.Kill() // nothing is lost
		}
		for _, p := range all {
			p.stop()
		}
	}()
	for i := range max(c.copies, 1) {
		args := c.args
		if c.copies > 0 {
			a := addr(i + 1)
			args = []string{fmt.Sprint(a.Major), fmt.Sprint(a.Minor), ifName(targetIf, i%idlePairs), idleFile(state, i)}
		}
		p, err := start(b.targetOn, filepath.Join(b.logs, fmt.Sprintf("%s-%d.log", id, i)), argv(b.program(c), args, "", state, 0))
		if err != nil {
			return sample{Void: err.Error()}
		}
		all, pids = append(all, p), append(pids, p.cmd.Process.Pid)
	}
	for _, n := range []int{0, idleExports - 1} {
		if err := all[min(n, len(all)-1)].gone(); err != nil {
			return sample{Void: err.Error()}
		}
		r, err := loadgen.Run(ctx, loadgen.Config{Interface: realName(clientIf, n%idlePairs), Addr: addr(n + 1), Count: 100, CPU: b.clientOn, NoVerify: true, Timeout: time.Second})
		if err != nil {
			return sample{Void: err.Error()}
		}
		if bad := r.Bad(); bad != "" {
			return sample{Void: bad}
		}
	}
	select { // what is done once after the start is over
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
	begin, used := time.Now(), scheduled(pids...)
	select {
	case <-ctx.Done():
	case <-time.After(2 * time.Second):
	}
	wall := time.Since(begin).Seconds()
	s := sample{IdleCPU: (scheduled(pids...) - used) / wall * 100}
	for _, p := range all {
		if err := p.gone(); err != nil {
			return sample{Void: err.Error()}
		}
		rss, err := resident(p.cmd.Process.Pid)
		if err != nil {
			return sample{Void: err.Error()}
		}
		s.RSS += rss
	}
	return s
}

// resident is the memory of a process that is in RAM, in MiB.
func resident(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kib, err := strconv.ParseFloat(f[1], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d tells no resident memory", pid)
}
