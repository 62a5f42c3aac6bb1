// Package sim is a simulator for tests: initiators, network, target and disks as one program that runs on virtual time and draws everything
// that happens from one seed. The same seed gives the same run, event for event.
//
// What is under test in it is the real code: package target, and the lanes of package engine (order, request slots, send queues), which a
// stepped engine runs without threads. Initiators, wire, disk and what the daemon does with exports are made for the purpose, with all the
// faults that the real ones have. A model of its own judges everything that leaves the target, see model.
package sim

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"goaoe/aoe"
	"goaoe/internal/target"
)

// BrokenError is a rule that was broken.
type BrokenError struct {
	Seed    uint64
	Without []string
	At      time.Duration // virtual time
	Text    string
}

// Error tells what was broken, when, and how to see it again.
func (f *BrokenError) Error() string {
	return fmt.Sprintf("seed %d, after %v: %s\n  again: %s", f.Seed, f.At, f.Text, f.Command())
}

// Command replays the run.
func (f *BrokenError) Command() string {
	c := fmt.Sprintf("go test ./internal/sim -run TestReplay -v -sim.seed=%d", f.Seed)
	if len(f.Without) > 0 {
		c += " -sim.without=" + strings.Join(f.Without, ",")
	}
	return c
}

// Counts says how much a run has seen.
type Counts struct {
	Events    int `json:"events"`
	Turns     int `json:"turns"`    // of lanes
	Sent      int `json:"sent"`     // frames, by initiators
	Lost      int `json:"lost"`     // of them
	Requests  int `json:"requests"` // that reached the target
	Replies   int `json:"replies"`
	Kills     int `json:"kills"` // of the daemon
	PowerCuts int `json:"power_cuts"`
	// Seen is how often things happened that must happen in some run or other, or there is no point in looking for mistakes in them.
	Seen map[string]int `json:"seen"`
}

// sights are what must be seen in a few hundred runs.
var sights = []string{
	"drop duplicate", "drop full", "drop stale", "drop send", "drop closing or address", "drop mask", "drop access", "drop compare", "drop wildcard", "drop busy", "drop memory",
	"overtaken write", "view", "wait", "stall", "limited request", "limits changed", "retransmission", "slow path", "flush", "discard", "storage error", "refusal", "full send queue", "write cache off",
	"short transfer", "no memory", "restart", "save cut short", "save failed", "sector torn", "write lost in a power cut",
}

func (w *world) saw(what string, n int) {
	if w.counts.Seen == nil {
		w.counts.Seen = map[string]int{}
	}
	w.counts.Seen[what] += n
}

func (c *Counts) add(o Counts) {
	c.Events += o.Events
	c.Turns += o.Turns
	c.Sent += o.Sent
	c.Lost += o.Lost
	c.Requests += o.Requests
	c.Replies += o.Replies
	c.Kills += o.Kills
	c.PowerCuts += o.PowerCuts
	if c.Seen == nil {
		c.Seen = map[string]int{}
	}
	for _, k := range sights {
		c.Seen[k] += o.Seen[k]
	}
}

// Result is what came of a run.
type Result struct {
	Hash    uint64 // of all events
	Counts  Counts
	Failure *BrokenError // nil: nothing was broken
	Trace   []string     // with Options.Verbose
}

// The kinds of events in the hash.
const (
	evSend = iota + 1
	evArrive
	evReply
	evSubmit
	evComplete
	evAnnounce
	evAct
	evHear
)

// world is one run.
type world struct {
	opts    Options
	plan    *plan
	now     int64 // virtual nanoseconds since the start
	jump    int64 // how far the clock that may jump was set
	q       queue
	hash    uint64
	counts  Counts
	verbose bool
	trace   []string
	failure *BrokenError
	healed  bool // no faults any more
	stamps  uint64

	hosts []*host
	segs  []*segment
	ports []*port
	disks []*disk
	site  *site
	model *model
}

// epoch is when the virtual time begins, on the clock that may jump.
const epoch = int64(1_700_000_000) * sec

func (w *world) realtime() int64 { return epoch + w.now + w.jump }

// clocks is the engine's clock.
func (w *world) clocks() (realtime, nanotime int64) { return w.realtime(), w.now }

func timeOf(ns int64) time.Duration { return time.Duration(ns) }

// stream returns the numbers of one actor.
func (w *world) stream(kind uint64, n int) *rand.Rand {
	return rand.New(rand.NewPCG(w.plan.Seed, kind<<32|uint64(n)))
}

// at plans fn for a time.
func (w *world) at(t int64, fn func()) { w.q.push(max(t, w.now), fn) }

// after plans fn for d from now.
func (w *world) after(d int64, fn func()) { w.q.push(w.now+d, fn) }

// note adds an event to the hash of the run.
func (w *world) note(kind, a, b, c uint64) {
	h := w.hash
	for _, x := range [...]uint64{uint64(w.now), kind, a, b, c} {
		h = (h ^ x) * 0x9e3779b97f4a7c15
		h ^= h >> 32
	}
	w.hash = h
}

// sayf adds a line to the trace.
func (w *world) sayf(format string, args ...any) {
	if w.verbose {
		w.trace = append(w.trace, fmt.Sprintf("%12.6f  ", float64(w.now)/1e9)+fmt.Sprintf(format, args...))
	}
}

// failf says that a rule was broken. The first counts; the run ends.
func (w *world) failf(format string, args ...any) {
	if w.failure != nil {
		return
	}
	w.failure = &BrokenError{Seed: w.plan.Seed, Without: w.opts.Without, At: time.Duration(w.now), Text: fmt.Sprintf(format, args...)}
	w.sayf("BROKEN: %s", w.failure.Text)
}

// who names the owner of an address.
func (w *world) who(m aoe.MAC) string {
	for _, h := range w.hosts {
		for _, n := range h.nics {
			if n.mac == m {
				return fmt.Sprintf("%s%d", h.kind, h.n)
			}
		}
	}
	return m.String()
}

// maxEvents bounds a run: more than that is a loop.
const maxEvents = 3_000_000

// runUntil lets everything happen that is due until t.
func (w *world) runUntil(t int64) {
	for w.failure == nil {
		at, ok := w.q.next()
		if !ok || at > t {
			break
		}
		e := w.q.pop()
		w.now = max(w.now, e.at)
		if w.counts.Events++; w.counts.Events > maxEvents {
			w.failf("the run never comes to an end")
			return
		}
		e.fn()
	}
	w.now = max(w.now, t)
}

// Run runs a seed.
func Run(o Options) (res Result, err error) {
	p := newPlan(o.Seed)
	if err := p.leaveOut(o.Without); err != nil {
		return Result{}, err
	}
	w := &world{opts: o, plan: p, verbose: o.Verbose}
	defer func() {
		if r := recover(); r != nil {
			w.failf("panic: %v\n%s", r, debug.Stack())
		}
		if w.site != nil && w.site.eng != nil {
			func() {
				defer func() { _ = recover() }() // after a panic nothing is certain
				w.site.eng.Kill()
			}()
		}
		w.counts.Requests = w.model.pos
		res = Result{Hash: w.hash, Counts: w.counts, Failure: w.failure, Trace: w.trace}
	}()
	w.build()
	w.eventful()
	w.rest()
	return res, nil
}

// build makes everything that there is.
func (w *world) build() {
	p := w.plan
	w.model = newModel(w)
	segs := p.Ports
	if p.OneWire {
		segs = 1
	}
	for range segs {
		w.segs = append(w.segs, &segment{})
	}
	for i := range p.Ports {
		seg := w.segs[i%segs]
		port := &port{w: w, n: i, mac: aoe.MAC{2, 0, 0, 0, 0xff, byte(i)}, mtu: p.MTU, mtuMax: p.MTU, seg: seg, rng: w.stream(0x9047, i), acct: &account{}}
		seg.ports = append(seg.ports, port)
		w.ports = append(w.ports, port)
	}
	for i, e := range p.Exports {
		w.disks = append(w.disks, newDisk(w, i, e.Sectors, e.Disk))
	}
	w.site = newSite(w)
	for i, h := range p.Hosts {
		w.hosts = append(w.hosts, newHost(w, i, h))
	}
}

// eventful is the part of the run in which things go wrong.
func (w *world) eventful() {
	w.site.start()
	for _, h := range w.hosts {
		if h.kind != "none" {
			w.at(h.plan.Start, h.start)
		}
	}
	for _, a := range w.plan.Acts {
		if a.Kind != "none" {
			w.at(a.At, func() { w.do(a) })
		}
	}
	w.runUntil(w.plan.Length)
	for range 20 { // initiators that wait for something get some more time
		if !slices.ContainsFunc(w.hosts, func(h *host) bool { return h.busy() }) {
			break
		}
		w.runUntil(w.now + sec)
	}
}

// restPatience is how long it may take until nothing is in flight once all faults have ended and no initiator asks for anything.
const restPatience = 20 * sec

// rest ends all faults, waits until nothing is in flight, looks for leaks, reads everything back, and cuts the power at last.
func (w *world) rest() {
	if w.failure != nil {
		return
	}
	w.sayf("all faults end; initiators stop")
	w.healed = true
	w.note(evAct, 1, 0, 0)
	for _, h := range w.hosts {
		h.alive = false
	}
	for _, d := range w.disks {
		d.failing = false
		d.hang(false)
	}
	for _, p := range w.ports {
		p.down, p.cut, p.stuck = false, false, false
	}
	if w.site.eng == nil {
		w.site.start()
	}
	w.runUntil(w.now + restPatience)
	if w.failure != nil {
		return
	}
	for _, x := range w.site.exps {
		if x.closing {
			w.failf("export %d was never drained", x.n)
		} else if x.te != nil {
			st := target.State{} // the administrator clears what initiators have set
			x.te.SetState(&st)
			w.model.exports[x.n].state = st
			x.te.SetReadOnly(false)
			w.model.exports[x.n].readOnly = false
			x.te.SetAccess(target.Access{})
			w.model.exports[x.n].denied = nil
		}
	}
	w.site.check(true)
	w.readBack()
	if w.failure != nil {
		return
	}
	w.site.check(true)
	w.site.die(true)
	for i, x := range w.model.exports {
		if err := w.model.onDisk(x, w.disks[i].live); err != nil {
			w.failf("after the last power cut: %v", err)
		}
	}
}
