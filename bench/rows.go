package main

import (
	"time"

	"goaoe/internal/loadgen"
)

// Kinds of contestants.
const (
	goaoe  = "goaoe"
	vblade = "vblade"
	fio    = "fio"
)

// contestant is one program with its arguments. In args %image is the image, %state a directory for state.
type contestant struct {
	name string // as in the table, unique in its row
	kind string
	args []string // of fio: those besides what every run has
	// client is the command line of goaoe when it is the client of the target in the load generator's place; nil: the load generator.
	client []string
}

// goal is what the first contestant of a row must reach against another.
type goal struct {
	peer   string
	factor float64
}

// row is one line of the table: the same work done by several contestants in turn.
type row struct {
	id, title   string
	mtu         int
	work        loadgen.Config
	cached      bool // the image is read through before, so that it is in the page cache
	frugal      bool // the first contestant's client must need less CPU time for a request than its target
	latency     bool // the goals compare median latencies (peer's by ours), not rates
	contestants []contestant
	goals       []goal
}

// target is the interface of the targets, client that of the load generator.
const (
	targetIf = "t0"
	clientIf = "h0"
)

// export is the command line of a target in vblade's form.
func export(flags ...string) []string {
	return append(append([]string{}, flags...), "0", "1", targetIf, "%image")
}

// goaoeExport is the same for goaoe.
func goaoeExport(flags ...string) []string {
	return append([]string{"export", "--state-dir", "%state", "--log-level", "warn"}, export(flags...)...)
}

// goaoeMemory is goaoe's command line without any storage. The memory is small, so that the warm-up touches all of it: what a page costs
// when it is touched first is not what the row is about.
func goaoeMemory() []string {
	return []string{"serve", "--state-dir", "%state", "--log-level", "warn", "-i", targetIf, "e0.1=mem:16M"}
}

// rows are all rows. Those with the page cache let goaoe acknowledge writes early as vblade without -s does; the direct ones
// are durable on both sides. vblade sizes its receive buffer by -b: with its default of 16 it loses 12 of 64 requests that come at
// once, so the row of depth 64 gives it -b 64, which goaoe has anyway.
func rows() []row {
	reads4k := loadgen.Config{Depth: 32, Sectors: 8}
	writes4k := loadgen.Config{Depth: 32, Sectors: 8, Writes: 100}
	one := loadgen.Config{Depth: 1, Sectors: 8}
	return append([]row{
		{
			id: "a", title: "4 KiB random reads, depth 32, page cache", mtu: 9000, work: reads4k, cached: true,
			contestants: []contestant{{name: "goaoe", kind: goaoe, args: goaoeExport("--write-cache")}, {name: "vblade", kind: vblade, args: export()}},
			goals:       []goal{{"vblade", 1.25}},
		},
		{
			id: "b", title: "1 KiB random reads, depth 64, page cache", mtu: 1500, work: loadgen.Config{Depth: 64, Sectors: 2}, cached: true,
			contestants: []contestant{{name: "goaoe", kind: goaoe, args: goaoeExport("--write-cache")}, {name: "vblade", kind: vblade, args: export("-b", "64")}},
			goals:       []goal{{"vblade", 1.3}},
		},
		{
			id: "c", title: "4 KiB random reads, depth 32, direct", mtu: 9000, work: reads4k,
			contestants: []contestant{{name: "goaoe -d", kind: goaoe, args: goaoeExport("-d")}, {name: "vblade -d", kind: vblade, args: export("-d")},
				{name: "fio", kind: fio, args: []string{"--rw=randread", "--bs=4k", "--iodepth=32"}}},
			goals: []goal{{"fio", 0.8}, {"vblade -d", 6}},
		},
		{
			id: "d", title: "4 KiB random writes, depth 32, direct, durable", mtu: 9000, work: writes4k,
			contestants: []contestant{{name: "goaoe -d", kind: goaoe, args: goaoeExport("-d")}, {name: "vblade -d -s", kind: vblade, args: export("-d", "-s")},
				{name: "fio", kind: fio, args: []string{"--rw=randwrite", "--bs=4k", "--iodepth=32", "--sync=dsync"}}},
			goals: []goal{{"fio", 0.8}, {"vblade -d -s", 4}},
		},
		{
			id: "e", title: "4 KiB random reads, one at a time, page cache", mtu: 9000, work: one, cached: true, latency: true,
			contestants: []contestant{{name: "goaoe --busy-poll 100us", kind: goaoe, args: goaoeExport("--write-cache", "--busy-poll", "100us")},
				{name: "goaoe", kind: goaoe, args: goaoeExport("--write-cache")}, {name: "vblade", kind: vblade, args: export()}},
			goals: []goal{{"vblade", 2}},
		},
		{
			id: "f", title: "4 KiB random reads, depth 32, memory (no storage; the data is not compared)", mtu: 9000,
			work:        loadgen.Config{Depth: 32, Sectors: 8, NoVerify: true},
			contestants: []contestant{{name: "goaoe mem:16M", kind: goaoe, args: goaoeMemory()}},
		},
		{
			id: "g", title: "1 KiB random reads, depth 64, memory (no storage; the data is not compared)", mtu: 1500,
			work:        loadgen.Config{Depth: 64, Sectors: 2, NoVerify: true},
			contestants: []contestant{{name: "goaoe mem:16M", kind: goaoe, args: goaoeMemory()}},
		},
		{
			id: "h", title: "the other end: goaoe bench and the load generator, both at vblade, 4 KiB random reads, depth 32, page cache", mtu: 9000,
			work: reads4k, cached: true, frugal: true,
			contestants: []contestant{
				{name: "goaoe bench", kind: vblade, args: export("-b", "64"), client: []string{"bench", "0.1", "-i", clientIf, "--json", "--depth", "32", "--size", "4096"}},
				{name: "load generator", kind: vblade, args: export("-b", "64")}},
			goals: []goal{{"load generator", 0.95}},
		},
	}, nbdRows(row{mtu: 9000, work: reads4k, cached: true})...)
}

// timing says how long and how often.
type timing struct {
	reps             int
	warmup, duration time.Duration
}

func normal() timing {
	return timing{reps: 5, warmup: 500 * time.Millisecond, duration: 3 * time.Second}
}
func quick() timing {
	return timing{reps: 3, warmup: 200 * time.Millisecond, duration: time.Second}
}
