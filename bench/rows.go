package main

import (
	"context"

	"goaoe/aoe"
	"goaoe/internal/loadgen"
)

// Kinds of contestants.
const (
	goaoe  = "goaoe"
	vblade = "vblade"
	fio    = "fio"
	echoer = "echo"       // this program, as a loop that turns frames around
	plain  = "plain loop" // this program, as the least of a target
)

// contestant is one program with its arguments. In args %image is the image, %state a directory for state.
type contestant struct {
	name string // as in the table, unique in its row
	kind string
	args []string // of fio: those besides what every run has
	// client is the command line of goaoe when it is the client of the target in the load generator's place; nil: the load generator.
	client []string
	load   func(*loadgen.Config) // what its load has that is not the row's; nil: nothing
	stamp  bool                  // its disk is memory, and is stamped before it is measured
	free   bool                  // it may use all CPUs
	awake  bool                  // it uses its CPU even when there is nothing to do, so that it has to be stopped for others
	copies int                   // so many processes are it (idle row); 0: one
	old    bool                  // the program that -before names
}

// row is one line of the table: the same work done by several contestants in turn.
type row struct {
	id, title   string
	mtu         int
	pairs       int // of interfaces; 0: one
	work        loadgen.Config
	cached      bool // the image is read through before, so that it is in the page cache
	latency     bool // what repetitions are compared by is the median latency, not the rate
	far         bool // contestants with NBD are in another network namespace than their clients, so that TCP uses the link
	disk        bool // it waits for a disk: longer turns
	free        bool // nothing is bound to a CPU
	contestants []contestant
	goals       []goal
	// run measures one contestant once, after which comes the next; nil: they are measured in short turns.
	run func(b *bench, ctx context.Context, r row, w work) sample
}

// targetIf and a number stand for an interface of the target in what a contestant is told, clientIf for the other end of it. Each contestant has pairs of
// its own, so that those that wait for their turn hear nothing of the others' work.
const (
	targetIf = "%t"
	clientIf = "%h"
)

// export is the command line of a target in vblade's form.
func export(flags ...string) []string {
	return append(append([]string{}, flags...), "0", "1", ifName(targetIf, 0), "%image")
}

// goaoeExport is the same for goaoe.
func goaoeExport(flags ...string) []string {
	return append([]string{"export", "--state-dir", "%state", "--log-level", "warn"}, export(flags...)...)
}

// goaoeServe is a daemon's command line.
func goaoeServe(more ...string) []string {
	return append([]string{"serve", "--socket", "off", "--state-dir", "%state", "--log-level", "warn"}, more...)
}

// memorySectors is the size of a disk in memory whose data is looked at.
const memorySectors = 16 << 20 / aoe.SectorSize

// memory is goaoe without any storage, only so much memory: "16M". The warm-up touches all of it: what a page costs when it is touched first is not what a row is about.
func memory(size string) contestant {
	return contestant{name: "goaoe mem:" + size, kind: goaoe, args: goaoeServe("-i", ifName(targetIf, 0), "e0.1=mem:"+size)}
}

// cached is goaoe with the page cache, which acknowledges writes early as vblade without -s does.
func cached() contestant {
	return contestant{name: "goaoe", kind: goaoe, args: goaoeExport("--write-cache")}
}

func peer(flags ...string) contestant {
	c := contestant{name: "vblade", kind: vblade, args: export(flags...)}
	for _, f := range flags {
		c.name += " " + f
	}
	return c
}

// byRingOnly is goaoe with a write cache that io_uring fills, as it does for an export beside others on other disks: by default it fills that of a single disk itself, as
// vblade does.
func byRingOnly() contestant {
	return contestant{name: "goaoe --write-now=off", kind: goaoe, args: goaoeExport("--write-cache", "--write-now=off")}
}

// rows are all rows. vblade sizes its receive buffer by -b: with its default of 16 it loses 12 of 64 requests that come at
// once, so rows of depth 64 give it -b 64, which goaoe has anyway.
func rows() []row {
	all := cacheRows()
	all = append(all, smallRows()...)
	all = append(all, directRows()...)
	past := newPlain("plain loop, direct", "-by", byRing, "-direct", "-sync", "-parts", "2") // another kind of export: what is written is not in the page cache then
	all = append(all, row{
		id: "i", title: "4 KiB random writes, depth 32, buffered file, durable", mtu: 9000, work: loadgen.Config{Depth: 32, Sectors: 8, Writes: 100}, disk: true,
		contestants: append([]contestant{{name: "goaoe", kind: goaoe, args: goaoeExport()}, peer("-s"),
			{name: "fio", kind: fio, args: []string{"--rw=randwrite", "--bs=4k", "--iodepth=32", "--direct=0", "--sync=dsync"}}}, append(plainDurable(), past)...),
		goals: []goal{{what: rate, peer: "fio", want: .9}, {what: rate, peer: "vblade -s", want: 5, limits: plainLimits(plainDurable())}, {what: rate, peer: past.name}},
	})
	all = append(all, networkRows()...)
	all = append(all, scaleRows()...)
	all = append(all, row{
		id: "h", title: "the other end: goaoe bench and the load generator, both at vblade, 4 KiB random reads, depth 32, page cache", mtu: 9000,
		work: loadgen.Config{Depth: 32, Sectors: 8}, cached: true, run: (*bench).once,
		contestants: []contestant{
			{name: "goaoe bench", kind: vblade, args: export("-b", "64"), client: []string{"bench", "0.1", "-i", ifName(clientIf, 0), "--json", "--depth", "32", "--size", "4096"}},
			{name: "load generator", kind: vblade, args: export("-b", "64")}},
		goals: []goal{{what: rate, peer: "load generator", want: .95}, {what: share, want: 1}},
	})
	return append(all, nbdRows(row{mtu: 9000, work: loadgen.Config{Depth: 32, Sectors: 8}, cached: true})...)
}

// cacheRows are those with jumbo frames and the page cache.
func cacheRows() []row {
	kit := nbdkitFile()
	polls := contestant{name: "goaoe --busy-poll 100us", kind: goaoe, args: goaoeExport("--write-cache", "--busy-poll", "100us")}
	open := contestant{name: polls.name + " --no-sandbox", kind: goaoe, args: goaoeExport("--write-cache", "--busy-poll", "100us", "--no-sandbox")}
	awake := neverAsleep()
	return []row{
		{
			id: "a", title: "4 KiB random reads, depth 32, page cache", mtu: 9000, work: loadgen.Config{Depth: 32, Sectors: 8}, cached: true,
			contestants: append([]contestant{cached(), peer()}, plainCached(false)...),
			goals:       []goal{{what: rate, peer: "vblade", want: 1.5, limits: plainLimits(plainCached(false))}, {what: cpu, peer: "vblade", want: .65, limits: plainLimits(plainCached(false))}},
		},
		{
			id: "a2", title: "8 KiB sequential reads, depth 32, page cache", mtu: 9000, work: loadgen.Config{Depth: 32, Sectors: 16, Sequential: true}, cached: true, far: true,
			contestants: append([]contestant{cached(), peer(), kit}, plainCached(false)...),
			goals:       []goal{{what: rate, peer: "vblade", want: 1.5, limits: plainLimits(plainCached(false))}, {what: rate, peer: kit.name, want: 2.2, limits: plainLimits(plainCached(false))}},
		},
		{
			id: "a3", title: "4 KiB random writes, depth 32, page cache", mtu: 9000, work: loadgen.Config{Depth: 32, Sectors: 8, Writes: 100}, cached: true,
			contestants: append([]contestant{cached(), byRingOnly(), peer()}, plainCached(true)...),
			goals:       []goal{{what: rate, peer: "vblade", want: 1.3, limits: plainLimits(plainCached(true))}, {what: rate, ours: byRingOnly().name, peer: "vblade"}},
		},
		{
			id: "e", title: "4 KiB random reads, one at a time, page cache", mtu: 9000, work: loadgen.Config{Depth: 1, Sectors: 8}, cached: true, latency: true,
			contestants: []contestant{polls, cached(), peer(), open, awake},
			goals: []goal{{what: p50, peer: "vblade", want: .35, limits: plainLimits([]contestant{awake})}, {what: p50, ours: "goaoe", peer: "vblade", want: .9},
				{what: p999, peer: "vblade", want: 1}, {what: p999, ours: "goaoe", peer: "vblade", want: 1},
				{what: p50, ours: open.name, peer: "vblade"}},
		},
	}
}

// smallRows are those of an ordinary MTU.
func smallRows() []row {
	var out []row
	for i, w := range []struct {
		title string
		work  loadgen.Config
	}{
		{"random reads", loadgen.Config{}}, {"sequential reads", loadgen.Config{Sequential: true}},
		{"random writes", loadgen.Config{Writes: 100}}, {"sequential writes", loadgen.Config{Writes: 100, Sequential: true}},
	} {
		w.work.Depth, w.work.Sectors = 64, 2
		contestants, goals := []contestant{cached(), peer("-b", "64")}, []goal{{what: rate, peer: "vblade -b 64", want: 1.6, limits: plainLimits(plainCached(w.work.Writes > 0))}}
		if w.work.Writes > 0 {
			contestants, goals = append(contestants, byRingOnly()), append(goals, goal{what: rate, ours: byRingOnly().name, peer: "vblade -b 64"})
		}
		out = append(out, row{
			id: numbered("b", i), title: "1 KiB " + w.title + ", depth 64, page cache", mtu: 1500, work: w.work, cached: true,
			contestants: append(contestants, plainCached(w.work.Writes > 0)...), goals: goals,
		})
	}
	return out
}

// numbered is "b", "b2", "b3" ...
func numbered(letter string, i int) string {
	if i == 0 {
		return letter
	}
	return letter + string(rune('1'+i))
}

// directRows are those with direct I/O. Writes are durable on both sides. What the same frames give without any storage is the limit of the network.
func directRows() []row {
	var out []row
	for _, writes := range []int{0, 100} {
		letter, rw, what, sync := "c", "read", "reads, depth 32, direct", []string(nil)
		if writes > 0 {
			letter, rw, what, sync = "d", "write", "writes, depth 32, direct, durable", []string{"--sync=dsync"}
		}
		for i, w := range []struct {
			sectors    int
			sequential bool
		}{{8, false}, {8, true}, {16, false}, {16, true}} {
			size, order, how := "4", "random", "rand"+rw
			if w.sectors == 16 {
				size = "8"
			}
			if w.sequential {
				order, how = "sequential", rw
			}
			limit := memory("16M")
			limit.name, limit.stamp = "goaoe, no storage", true
			limit.load = func(c *loadgen.Config) { c.Last = nil }
			r := row{
				id: numbered(letter, i), title: size + " KiB " + order + " " + what, mtu: 9000, disk: true,
				work: loadgen.Config{Depth: 32, Sectors: w.sectors, Sequential: w.sequential, Writes: writes},
				contestants: []contestant{{name: "goaoe -d", kind: goaoe, args: goaoeExport("-d")},
					{name: "fio", kind: fio, args: append([]string{"--rw=" + how, "--bs=" + size + "k", "--iodepth=32"}, sync...)}, limit},
				goals: []goal{{what: rate, peer: "fio", want: .95, or: &goal{what: rate, peer: limit.name, want: .97}, limits: plainLimits(plainDirect(writes > 0))}},
			}
			r.contestants = append(r.contestants, plainDirect(writes > 0)...)
			if i == 0 { // the peer that there is, once for reads and once for writes
				v := peer("-d")
				if writes > 0 {
					v = peer("-d", "-s")
				}
				r.contestants = append(r.contestants, v)
			}
			out = append(out, r)
		}
	}
	return out
}

// networkRows compare goaoe without storage with a loop that only turns frames around, and sends the same bytes each time. So that the memory behind goaoe is as little
// a part of it, it fits into the processor's second cache.
func networkRows() []row {
	loop := contestant{name: "echo loop", kind: echoer, args: []string{ifName(targetIf, 0)}}
	return []row{
		{
			id: "f", title: "4 KiB random reads, depth 32, memory (no storage; the data is not compared)", mtu: 9000,
			work:        loadgen.Config{Depth: 32, Sectors: 8, NoVerify: true},
			contestants: []contestant{memory("512K"), loop}, goals: []goal{{what: rate, peer: loop.name, want: .9}},
		},
		{
			id: "g", title: "1 KiB random reads, depth 64, memory (no storage; the data is not compared)", mtu: 1500,
			work:        loadgen.Config{Depth: 64, Sectors: 2, NoVerify: true},
			contestants: []contestant{memory("512K"), loop}, goals: []goal{{what: rate, peer: loop.name, want: .9}},
		},
	}
}

// addr is the address of export n of many.
func addr(n int) aoe.Addr { return aoe.Addr{Major: uint16(n / 250), Minor: uint8(n % 250)} }
