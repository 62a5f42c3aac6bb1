package cli

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"goaoe/initiator"
	"goaoe/internal/config"
	"goaoe/internal/config/foreign"
	"goaoe/internal/control"
	"goaoe/internal/stats"
)

// checkConfig holds the file against the rules and the machine.
func checkConfig(_ context.Context, p *patient) []finding {
	if p.file == "" {
		if p.status != nil {
			return []finding{{Level: levelNote, Text: "the daemon runs without a configuration file: a restart forgets what was added at run time",
				Fix: "goaoe show --effective > " + config.DefaultFile}}
		}
		return []finding{{Level: levelNote, Text: config.DefaultFile + " does not exist", Fix: "goaoe init > " + config.DefaultFile}}
	}
	cfg, _, problems := foreign.Load(p.file, foreign.Auto, config.Options{Sysroot: p.env.Sysroot})
	if problems.Err() == nil {
		sizes := make([]int64, len(cfg.Exports))
		problems = append(problems, cfg.InItsWords(machine{sysroot: p.env.Sysroot}.check(cfg, sizes))...)
	}
	var out []finding
	for _, x := range problems.Sorted() {
		f := finding{Level: levelWarning, Subject: x.Position.String(), Text: x.Message, Fix: x.Hint}
		if x.Severity == config.Error {
			f.Level = levelProblem
		}
		out = append(out, f)
	}
	return out
}

// checkDaemon says what the daemon itself complains of.
func checkDaemon(_ context.Context, p *patient) []finding {
	if p.daemonErr != nil {
		level := levelNote
		if p.daemonErr.Code != control.CodeGone {
			level = levelWarning
		}
		return []finding{{Level: level, Text: p.daemonErr.Message, Fix: p.daemonErr.Hint}}
	}
	var out []finding
	for _, t := range p.status.Problems {
		out = append(out, finding{Level: levelProblem, Text: t})
	}
	for _, t := range p.status.Waiting {
		out = append(out, finding{Level: levelWarning, Text: "waiting: " + t})
	}
	if n := p.status.Unsaved; n > 0 {
		out = append(out, finding{Level: levelNote, Text: count(n, "export") + " with changes that a restart forgets", Fix: "goaoe set --save '*'"})
	}
	if p.status.Version != Version {
		out = append(out, finding{Level: levelNote, Text: fmt.Sprintf("the daemon is version %s, this command %s", p.status.Version, Version), Fix: "systemctl restart goaoe"})
	}
	return out
}

// checkService asks systemd.
func checkService(ctx context.Context, p *patient) []finding {
	if !hasUnit() || p.env.Sysroot != "" {
		return nil
	}
	out, err := exec.CommandContext(ctx, "systemctl", "is-enabled", unitFile).Output()
	if state := strings.TrimSpace(string(out)); err != nil && state != "" {
		return []finding{{Level: levelWarning, Subject: unitFile, Text: "it is " + state + ": a reboot does not start it", Fix: "systemctl enable " + unitFile}}
	}
	return nil
}

// checkRing looks for frames that the kernel lost because nobody took them in time.
func checkRing(_ context.Context, p *patient) []finding {
	if p.stats == nil {
		return nil
	}
	var out []finding
	for _, i := range p.stats.Interfaces {
		if i.KernelDrops > 0 {
			out = append(out, finding{Level: levelWarning, Subject: i.Name,
				Text: fmt.Sprintf("%d of %d frames were lost because the receive ring was full", i.KernelDrops, i.RxFrames+i.KernelDrops),
				Fix:  "ring-frames = 16384 in an [[interface]] section, or more lanes"})
		}
		if full := i.Drops[stats.DropFull.String()]; full > 0 {
			out = append(out, finding{Level: levelNote, Subject: i.Name, Text: fmt.Sprintf("%d requests were dropped because an export had too many", full),
				Fix: "goaoe set EXPORT queue-length=256"})
		}
	}
	return out
}

// rareRetransmit is the share of requests seen twice that nobody needs to care about.
const rareRetransmit = 0.001

// checkRetransmits looks for initiators that repeat what they asked for.
func checkRetransmits(_ context.Context, p *patient) []finding {
	if p.stats == nil {
		return nil
	}
	var out []finding
	for _, i := range p.stats.Initiators {
		if i.Requests < 1000 || float64(i.Retransmits) < rareRetransmit*float64(i.Requests) {
			continue
		}
		out = append(out, finding{Level: levelWarning, Subject: i.MAC + " on " + i.Export,
			Text: fmt.Sprintf("%.1f %% of its requests come twice: frames or replies get lost, or the disk is slow", 100*float64(i.Retransmits)/float64(i.Requests)),
			Fix:  "look for drops on the switch port and the client (ip -s link), compare MTUs, and see goaoe stats for the disk's latency"})
	}
	return out
}

// checkPeerMTU compares what initiators ask for at a time with what a frame could carry.
func checkPeerMTU(_ context.Context, p *patient) []finding {
	if p.stats == nil {
		return nil
	}
	mtu := map[string]int{}
	for _, i := range p.interfaces {
		mtu[i.Name] = i.MTU
	}
	var out []finding
	for _, i := range p.stats.Initiators {
		n, bytes := i.Reads+i.Writes, i.ReadBytes+i.WriteBytes
		if n < 1000 || mtu[i.Interface] < 4096 || bytes/n > 1024 {
			continue
		}
		out = append(out, finding{Level: levelNote, Subject: i.MAC + " on " + i.Export,
			Text: fmt.Sprintf("it asks for %d bytes at a time, although %s has an MTU of %d: its own MTU, or that of a switch between, is probably 1500",
				bytes/n, i.Interface, mtu[i.Interface]),
			Fix: fmt.Sprintf("there: ip link set dev IF mtu %d; then aoe-revalidate, or reload the aoe module", mtu[i.Interface])})
	}
	return out
}

// duplicateWait is how long answers from the wire are waited for.
const duplicateWait = 700 * time.Millisecond

// checkDuplicates asks the wire who else has our addresses.
func checkDuplicates(ctx context.Context, p *patient) []finding {
	var names []string
	ours := map[string]bool{}
	for _, i := range p.interfaces {
		ours[strings.ToLower(i.MAC)] = true
		if i.State == control.StateServing && i.Up {
			names = append(names, i.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	heard, err := initiator.DiscoverAll(ctx, initiator.Search{Interfaces: names, Wait: duplicateWait})
	if err != nil && len(heard) == 0 {
		return []finding{{Level: levelNote, Text: "the wire could not be asked: " + oneLine(err.Error()), Fix: "run as root"}}
	}
	var out []finding
	for _, t := range heard {
		if ours[strings.ToLower(t.MAC.String())] {
			continue
		}
		for _, e := range p.exports {
			if e.Address == t.Addr.String() && slices.Contains(e.Served, t.Interface) {
				out = append(out, finding{Level: levelProblem, Subject: e.Address,
					Text: fmt.Sprintf("another target at %s answers for it on %s: initiators mix the two, which destroys data", t.MAC, t.Interface),
					Fix:  "stop the other target, or give one of them another address"})
			}
		}
	}
	return out
}

// checkOpen looks for exports without any restriction where strangers may be.
func checkOpen(_ context.Context, p *patient) []finding {
	var out []finding
	for _, e := range p.exports {
		restricted := len(e.Mask) > 0
		for _, key := range []string{"accept", "config-read"} {
			restricted = restricted || e.Settings[key] != "" && e.Settings[key] != "all"
		}
		if restricted || e.State == control.StateDisabled {
			continue
		}
		for _, ifname := range e.Served {
			if why := p.shared(ifname); why != "" {
				out = append(out, finding{Level: levelWarning, Subject: e.Address, Text: fmt.Sprintf("everybody can use it on %s, which %s", ifname, why),
					Fix: "goaoe set " + e.Address + " accept=MAC,... --save"})
			}
		}
	}
	return out
}

// shared says why strangers may be on an interface, or "".
func (p *patient) shared(ifname string) string {
	dir := filepath.Join(p.root, "/sys/class/net", ifname)
	for _, x := range []struct{ file, why string }{
		{"phy80211", "is wireless"}, {"wireless", "is wireless"}, {"bridge", "is a bridge"}, {"brport", "is a port of a bridge"},
	} {
		if exists(filepath.Join(dir, x.file)) {
			return x.why
		}
	}
	return ""
}
