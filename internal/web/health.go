package web

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"goaoe/internal/control"
)

// Limits from which on something is worth a word.
const (
	// rareRepeat is the share of requests seen twice that nobody needs to care about.
	rareRepeat = 0.001
	// fewRequests is how many requests of an initiator say nothing yet.
	fewRequests = 200
	// jumbo is the MTU from which on eight sectors and more fit a frame.
	jumbo = 4096 + 40
	// grouped is how many findings of a kind are said one by one; more become one.
	grouped = 4
	// slowP99 is a latency in microseconds at which initiators begin to wait noticeably.
	slowP99 = 2e6
)

// findings says in plain words what is wrong: what the daemon itself says, and what its counters give away.
func findings(f *sample, g *growth) []Warning {
	var out []Warning
	for _, t := range f.status.Problems {
		subject, text := split(t)
		out = append(out, Warning{ID: "daemon:" + t, Level: LevelProblem, Subject: subject, Text: text, Fix: fixFor(text)})
	}
	for _, t := range f.status.Waiting {
		subject, text := split(t)
		out = append(out, Warning{ID: "waiting:" + t, Level: LevelWarning, Subject: subject, Text: "waiting: " + text})
	}
	out = append(out, disks(f, g)...)
	out = append(out, wires(f, g)...)
	out = append(out, peers(f, g)...)
	out = append(out, open(f)...)
	if n := f.status.Unsaved; n > 0 {
		out = append(out, Warning{ID: "unsaved", Level: LevelNote, Text: plural(n, "export has changes", "exports have changes") + " that the next start will not know",
			Fix: "Save them: goaoe set '*' --save"})
	}
	rank := map[string]int{LevelProblem: 0, LevelWarning: 1, LevelNote: 2}
	slices.SortStableFunc(out, func(a, b Warning) int { return cmp.Compare(rank[a.Level], rank[b.Level]) })
	return out
}

// split takes the address off the front of a daemon's sentence ("e0.1: ..." or "e0.1 is ...").
func split(t string) (subject, text string) {
	if a, rest, ok := strings.Cut(t, ": "); ok && isAddress(a) {
		return a, rest
	}
	if a, rest, ok := strings.Cut(t, " "); ok && isAddress(a) {
		return a, rest
	}
	return "", t
}

func isAddress(s string) bool {
	major, minor, ok := strings.Cut(strings.TrimPrefix(s, "e"), ".")
	_, err1 := strconv.ParseUint(major, 10, 16)
	_, err2 := strconv.ParseUint(minor, 10, 8)
	return ok && strings.HasPrefix(s, "e") && err1 == nil && err2 == nil
}

// fixFor says what to do about what the daemon told without.
func fixFor(text string) string {
	switch {
	case strings.Contains(text, "another target"), strings.Contains(text, "same address"):
		return "Give one of both another address: two disks under one address get mixed up, which destroys data."
	case strings.Contains(text, "I/O error"), strings.Contains(text, "input/output error"):
		return "Look at the disk: dmesg, smartctl -a. Save its data while it can be read."
	}
	return ""
}

// disks finds exports whose storage fails or cannot keep up.
func disks(f *sample, g *growth) []Warning {
	errors := group{kind: "errors", level: LevelProblem, many: "exports had I/O errors lately", fix: "Look at the disk: dmesg, smartctl -a. Save its data while it can be read."}
	once := group{kind: "old-errors", level: LevelNote, many: "exports had I/O errors, though not lately", fix: "When the cause is mended, clear the statistics."}
	full := group{kind: "full", level: LevelWarning, many: "exports dropped requests because too many waited", fix: "Raise the queue length, or find out why the disk is slow."}
	large := group{kind: "large", level: LevelWarning, many: "exports refused requests that do not fit a frame", fix: "Make the MTU on both sides and on each switch between the same, then let the initiator look again (aoe-revalidate)."}
	beyond := group{kind: "range", level: LevelWarning, many: "exports were asked for sectors beyond their end", fix: "The disk may have become smaller: compare its size with what the initiator believes (aoe-revalidate)."}
	slow := group{kind: "slow", level: LevelWarning, many: "exports answer slowly", fix: "Look at the disk and what else uses it."}
	for i := range f.exports {
		a := f.exports[i].Address
		if n, total := g.lately(counter{diskErrors, a, ""}); n > 0 {
			errors.add(a, fmt.Sprintf("%s failed on the disk in the last minutes", plural(int(n), "request", "requests")))
		} else if total > 0 {
			once.add(a, fmt.Sprintf("%s failed on the disk, none in the last minutes", plural(int(total), "request", "requests")))
		}
		if n, _ := g.lately(counter{queueFull, a, ""}); n > 0 {
			full.add(a, plural(int(n), "request was", "requests were")+" dropped because too many waited; initiators repeat them")
		}
		if n, _ := g.lately(counter{tooLarge, a, ""}); n > 0 {
			large.add(a, plural(int(n), "request asks", "requests ask")+" for more than a frame carries here, or make no sense: an initiator believes in a larger MTU")
		}
		if n, _ := g.lately(counter{outOfRange, a, ""}); n > 0 {
			beyond.add(a, plural(int(n), "request was", "requests were")+" for sectors beyond its end")
		}
		if p := f.rates.exports[a]; p.P99 > slowP99 {
			slow.add(a, fmt.Sprintf("it takes %.1f s to answer", p.P99/1e6))
		}
	}
	return slices.Concat(errors.warnings(), full.warnings(), large.warnings(), beyond.warnings(), slow.warnings(), once.warnings())
}

// wires finds what is wrong on the way.
func wires(f *sample, g *growth) []Warning {
	var out []Warning
	for _, i := range f.interfaces {
		if n, _ := g.lately(counter{ringDrops, i.Name, ""}); n > 0 {
			out = append(out, Warning{ID: "ring:" + i.Name, Level: LevelWarning, Subject: i.Name,
				Text: plural(int(n), "frame was", "frames were") + " lost in the last minutes because the receive ring was full",
				Fix:  "Set ring-frames = 16384 in an [[interface]] section, or more lanes."})
		}
		if n, _ := g.lately(counter{sendErrors, i.Name, ""}); n > 0 {
			out = append(out, Warning{ID: "send:" + i.Name, Level: LevelWarning, Subject: i.Name,
				Text: plural(int(n), "frame", "frames") + " could not be sent in the last minutes", Fix: "Look at the interface: ip -s link show " + i.Name})
		}
		if i.State == control.StateServing && !i.Up {
			out = append(out, Warning{ID: "down:" + i.Name, Level: LevelProblem, Subject: i.Name, Text: "the link is down", Fix: "Look at the cable and the switch: ip link show " + i.Name})
		}
		if i.State == control.StateServing && i.MTU > 0 && i.LinkMTU > i.MTU {
			out = append(out, Warning{ID: "mtu:" + i.Name, Level: LevelNote, Subject: i.Name,
				Text: fmt.Sprintf("an MTU of %d is used, the interface has %d: fewer sectors fit a frame than could", i.MTU, i.LinkMTU), Fix: "Leave mtu out of its [[interface]] section, unless the initiators need it."})
		}
	}
	return out
}

// peers finds initiators with trouble.
func peers(f *sample, g *growth) []Warning {
	mtu := map[string]int{}
	for _, i := range f.interfaces {
		mtu[i.Name] = i.MTU
	}
	repeated := group{kind: "repeats", level: LevelWarning, many: "initiators send many requests twice", fix: "Frames or replies get lost, or the disk is slow: look for drops on the switch port and the initiator (ip -s link), and compare MTUs."}
	small := group{kind: "peer-mtu", level: LevelNote, many: "initiators use small frames on an interface with a large MTU", fix: "Raise the MTU there and on each switch between, then aoe-revalidate."}
	denied := group{kind: "denied", level: LevelNote, many: "initiators were refused lately", fix: "When they should be served, look at the access lists, the MAC mask and the reservation of the export."}
	for i := range f.stats.Initiators {
		p := &f.stats.Initiators[i]
		if p.MAC == "" {
			continue
		}
		who := cmp.Or(p.Name, p.MAC) + " on " + p.Export
		asked, _ := g.lately(counter{requests, p.MAC, p.Export})
		again, _ := g.lately(counter{repeats, p.MAC, p.Export})
		if asked >= fewRequests && float64(again) > rareRepeat*float64(asked) {
			repeated.add(who, fmt.Sprintf("%.1f %% of its requests in the last minutes came twice", 100*float64(again)/float64(asked)))
		}
		if n := p.Reads + p.Writes; n >= fewRequests && mtu[p.Interface] >= jumbo && (p.ReadBytes+p.WriteBytes)/n <= 1024 {
			small.add(who, fmt.Sprintf("it asks for %d bytes at a time, although %s has an MTU of %d: its own MTU, or that of a switch between, is probably 1500",
				(p.ReadBytes+p.WriteBytes)/n, p.Interface, mtu[p.Interface]))
		}
		if n, _ := g.lately(counter{deniedCount, p.MAC, p.Export}); n > 0 {
			denied.add(who, plural(int(n), "request was", "requests were")+" refused in the last minutes: it may not use the export")
		}
	}
	return slices.Concat(repeated.warnings(), small.warnings(), denied.warnings())
}

// open finds exports that everybody on the network may write.
func open(f *sample) []Warning {
	g := group{kind: "open", level: LevelNote, many: "exports can be written by everybody on the network", fix: "Name who may use it: goaoe set ADDRESS accept=MAC,…"}
	for i := range f.exports {
		e := &f.exports[i]
		_, accept := e.Settings["accept"]
		_, write := e.Settings["write"]
		if e.State == control.StateServing && e.Settings["read-only"] != "true" && !accept && !write && len(e.Mask) == 0 && len(e.Reserve) == 0 {
			g.add(e.Address, "everybody on the network can read and write it: it has no access list")
		}
	}
	return g.warnings()
}

// group collects findings of a kind, and says them one by one, or as one when there are many.
type group struct {
	kind, level, many, fix string
	who, text              []string
}

func (g *group) add(who, text string) { g.who, g.text = append(g.who, who), append(g.text, text) }

func (g *group) warnings() []Warning {
	if len(g.who) > grouped {
		list := strings.Join(g.who[:grouped], ", ")
		return []Warning{{ID: g.kind, Level: g.level, Text: fmt.Sprintf("%d %s: %s and %d more", len(g.who), g.many, list, len(g.who)-grouped), Fix: g.fix}}
	}
	var out []Warning
	for i, who := range g.who {
		out = append(out, Warning{ID: g.kind + ":" + who, Level: g.level, Subject: who, Text: g.text[i], Fix: g.fix})
	}
	return out
}

// plural is a number with the word for it.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
