package main

import (
	"fmt"

	"goaoe/internal/loadgen"
)

const (
	idleExports = 100
	idlePairs   = 4 // of interfaces
)

// scaleRows show that more of something costs nothing: initiators, exports, lanes, and exports that nobody asks.
func scaleRows() []row {
	reads := loadgen.Config{Depth: 64, Sectors: 8}
	initiators := row{id: "p", title: "4 KiB random reads, 64 outstanding in all, page cache, 1 to 64 initiators", mtu: 9000, work: reads, cached: true}
	for _, n := range []int{1, 4, 16, 64} {
		c := cached()
		c.name = plural(n, "initiator")
		c.load = func(l *loadgen.Config) { l.Initiators = n }
		initiators.contestants = append(initiators.contestants, c)
		if n > 1 {
			initiators.goals = append(initiators.goals, goal{what: rate, ours: c.name, peer: "1 initiator", want: .9}, goal{what: fair, ours: c.name, want: .9})
		}
	}
	exports := row{id: "q", title: "4 KiB random reads, 64 outstanding in all, page cache, 1 to 1000 exports", mtu: 9000, work: reads, cached: true}
	for _, n := range []int{1, 100, 1000} {
		exports.contestants = append(exports.contestants, many(n))
		if n > 1 {
			exports.goals = append(exports.goals, goal{what: rate, ours: plural(n, "export"), peer: "1 export", want: .9, limits: []limit{{plainFiles(n).name, plainFiles(1).name}}})
		}
	}
	for _, n := range []int{1, 100, 1000} {
		exports.contestants = append(exports.contestants, plainFiles(n))
	}
	even := row{id: "q2", title: "1 KiB random reads, page cache, one at a time from each of 100 exports", mtu: 9000, work: loadgen.Config{Depth: 100, Sectors: 2}, cached: true,
		contestants: []contestant{many(100)}, goals: []goal{{what: fair, want: .9}}}
	lanes := row{id: "r", title: "8 KiB random reads from two exports on two interfaces, depth 64 in all, page cache, target on both CPUs (the data is not compared)", mtu: 9000, pairs: 2, cached: true,
		work: loadgen.Config{Depth: 64, Sectors: 16, NoVerify: true, More: []loadgen.Place{{Interface: ifName(clientIf, 1), Addr: addr(2)}}}}
	for _, n := range []int{1, 2} {
		lanes.contestants = append(lanes.contestants, contestant{name: plural(n, "lane"), kind: goaoe, free: true,
			args: goaoeServe("--read-only", "--lanes", fmt.Sprint(n), "-i", ifName(targetIf, 0)+","+ifName(targetIf, 1), "e0.1=%image", "e0.2=%image")})
	}
	lanes.contestants = append(lanes.contestants, plainLoops(1), plainLoops(2))
	lanes.goals = []goal{{what: rate, ours: "2 lanes", peer: "1 lane"},
		{what: cpu, ours: "2 lanes", peer: "1 lane", want: 1.1, limits: []limit{{plainLoops(2).name, plainLoops(1).name}}}}
	return []row{initiators, exports, even, lanes, idleRow()}
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}

// many is goaoe with so many exports of the image, all of which are asked.
func many(n int) contestant {
	c := contestant{name: plural(n, "export"), kind: goaoe, args: goaoeServe("--read-only", "-i", ifName(targetIf, 0))}
	for i := range n {
		c.args = append(c.args, addr(i+1).String()+"=%image")
	}
	c.load = func(l *loadgen.Config) {
		for i := 1; i < n; i++ {
			l.More = append(l.More, loadgen.Place{Addr: addr(i + 1)})
		}
	}
	return c
}

// ifName is the placeholder for interface n, 0 to 9, of a contestant.
func ifName(which string, n int) string { return fmt.Sprint(which, n) }
