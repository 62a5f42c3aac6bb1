package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"goaoe/internal/engine"
)

const (
	us  = int64(time.Microsecond)
	ms  = int64(time.Millisecond)
	sec = int64(time.Second)
)

// Options say what to run.
type Options struct {
	Seed    uint64
	Without []string // parts of the plan that are left out; a failing run is shrunk to a list of these
	Verbose bool     // keep the trace as text
}

// plan is everything that a seed decides beforehand. What happens in the course of a run is drawn from streams of numbers that each
// actor has of its own, so that leaving one out changes the others as little as possible.
type plan struct {
	Seed    uint64
	Lanes   int
	Ports   int
	OneWire bool // all ports are on the same segment
	MTU     int
	Age     int64 // Options.RequestAge
	Exports []exportPlan
	Hosts   []hostPlan
	Net     netPlan
	Acts    []act // what happens to the daemon and the disks
	Stalls  bool  // lanes are kept from the processor at times
	Length  int64 // of the eventful part
}

type exportPlan struct {
	Sectors    int
	Queue      int
	WriteCache bool
	Discard    bool
	Disk       diskPlan
	Limit      engine.Limit // of each initiator
	Free       int          // the host whose first interface has none
}

type diskPlan struct {
	Min, Max, Tail int64 // latency, and what one operation in 20 takes longer
	View           bool
	File, Each     bool // the file store is on top; it syncs each write by itself
}

type hostPlan struct {
	Kind   string
	Ops    int
	Export int // used first; some use others as well
	Window int
	Hot    int // sectors used
	Start  int64
	Pause  int64
}

type netPlan struct {
	Loss, Dup, Reorder, Late, Truncate, Corrupt float64
	Latency                                     int64
	TxRoom                                      int // frames that a port takes before its queue is full; 0: no limit
	Refuse                                      float64
	Gather                                      int64 // how long an interface keeps frames, at most, before the lanes see them
}

// act is something that is done at a time.
type act struct {
	At   int64
	Kind string
	N    int
	For  int64
}

func (a act) name(i int) string { return fmt.Sprintf("act:%d-%s", i, a.Kind) }

var hostKinds = []string{"linux", "linux", "linux", "plan9", "winaoe", "ipxe", "illumos", "illumos", "admin", "fuzz"}

var actKinds = []string{"kill", "kill", "power", "power", "restart", "restart", "down", "stuck", "hang", "hang", "errors", "errors", "errors", "errors", "remove", "readonly", "cache", "cache-off", "queue", "mtu", "port", "cut", "clock", "mtu", "grow", "deny", "buffers", "remove"}

func within(r *rand.Rand, lo, hi int) int { return lo + r.IntN(hi-lo+1) }

// newPlan draws a plan from a seed.
func newPlan(seed uint64) *plan {
	r := rand.New(rand.NewPCG(seed, 0x676f616f65))
	p := &plan{Seed: seed, Lanes: 1, Ports: 1, MTU: 1500, Length: int64(within(r, 2, 20)) * sec}
	if r.IntN(3) == 0 {
		p.Lanes = within(r, 2, 3)
	}
	if r.IntN(2) == 0 {
		p.Ports = 2
		p.OneWire = r.IntN(3) == 0
	}
	if r.IntN(4) == 0 {
		p.MTU = 9000
	}
	if r.IntN(2) == 0 {
		p.Age = int64(within(r, 1, 20)) * sec / 10
	}
	p.Stalls = r.IntN(2) == 0
	for range within(r, 1, 3) {
		e := exportPlan{Sectors: within(r, 8, 40), Queue: 1 << r.IntN(5), WriteCache: r.IntN(4) == 0, Discard: r.IntN(4) == 0}
		switch d := &e.Disk; r.IntN(4) {
		case 0:
			*d = diskPlan{Min: us, Max: 100 * us}
		case 1:
			*d = diskPlan{Min: 50 * us, Max: 2 * ms, Tail: 50 * ms}
		case 2:
			*d = diskPlan{Min: ms, Max: 30 * ms, Tail: 600 * ms}
		case 3:
			*d = diskPlan{Min: us, Max: 300 * us, View: true}
		}
		if !e.Disk.View {
			e.Disk.File, e.Disk.Each = r.IntN(2) == 0, r.IntN(5) == 0
		}
		p.Exports = append(p.Exports, e)
	}
	for range within(r, 1, 4) {
		h := hostPlan{Kind: hostKinds[r.IntN(len(hostKinds))], Ops: within(r, 10, 60), Export: r.IntN(len(p.Exports)), Window: 1 << r.IntN(5),
			Hot: within(r, 2, 12), Start: r.Int64N(sec / 2)}
		h.Pause = r.Int64N([]int64{20 * ms, 300 * ms, 6 * p.Length / int64(h.Ops)}[r.IntN(3)])
		p.Hosts = append(p.Hosts, h)
	}
	n := &p.Net
	n.Latency = 20*us + r.Int64N(300*us)
	rate := func(most float64) float64 {
		if r.IntN(2) == 0 {
			return 0
		}
		return r.Float64() * most
	}
	n.Loss, n.Dup, n.Reorder, n.Late = rate(0.15), rate(0.1), rate(0.1), rate(0.03)
	n.Truncate, n.Corrupt = rate(0.02), rate(0.05)
	if r.IntN(3) == 0 {
		n.TxRoom = within(r, 1, 12)
		n.Refuse = rate(0.02)
	}
	n.Gather = []int64{30 * us, 30 * us, 300 * us, 3 * ms}[r.IntN(4)]
	for range r.IntN(5) {
		p.Acts = append(p.Acts, act{At: r.Int64N(p.Length * 3 / 4), Kind: actKinds[r.IntN(len(actKinds))], N: r.IntN(16), For: 5*ms + r.Int64N(3*sec)})
	}
	p.drawLimits(rand.New(rand.NewPCG(seed, 0x6c696d6974)))
	slices.SortStableFunc(p.Acts, func(a, b act) int { return int(a.At/1000 - b.At/1000) })
	return p
}

// drawLimits draws limits of initiators. They have numbers of their own: a plan without any is what it was before there were limits.
func (p *plan) drawLimits(r *rand.Rand) {
	if r.IntN(3) > 0 {
		return
	}
	for i := range p.Exports {
		if r.IntN(3) > 0 {
			p.Exports[i].Limit, p.Exports[i].Free = drawLimit(r), r.IntN(2*len(p.Hosts))
		}
	}
	for range r.IntN(3) {
		p.Acts = append(p.Acts, act{At: r.Int64N(p.Length * 3 / 4), Kind: "limits", N: r.IntN(16), For: 5*ms + r.Int64N(3*sec)})
	}
}

// drawLimit draws a limit that is low enough to be felt, and high enough for a run to come to its end.
func drawLimit(r *rand.Rand) (l engine.Limit) {
	if r.IntN(2) == 0 {
		l.IOPS = within(r, 20, 300)
	}
	if l.IOPS == 0 || r.IntN(3) == 0 {
		l.Bandwidth = int64(within(r, 256, 1024)) << 10
	}
	return l
}

// parts are what can be left out of a plan, the largest first.
func (p *plan) parts() []string {
	var out []string
	for i, h := range p.Hosts {
		out = append(out, fmt.Sprintf("host:%d-%s", i, h.Kind))
	}
	for i, a := range p.Acts {
		out = append(out, a.name(i))
	}
	for i := range p.Exports {
		if i > 0 {
			out = append(out, "export:"+strconv.Itoa(i))
		}
	}
	out = append(out, "lanes", "port", "stalls", "loss", "dup", "reorder", "late", "truncate", "corrupt", "full", "age", "jumbo", "tail", "limits")
	return out
}

// leaveOut takes parts out of the plan. "ops:N" bounds the requests of each initiator.
func (p *plan) leaveOut(without []string) error {
	var hosts []hostPlan
	for i, h := range p.Hosts {
		if !slices.Contains(without, fmt.Sprintf("host:%d-%s", i, h.Kind)) {
			hosts = append(hosts, h)
		} else {
			hosts = append(hosts, hostPlan{Kind: "none"}) // keeps its number: addresses and streams follow from it
		}
	}
	p.Hosts = hosts
	for i := range p.Acts {
		if slices.Contains(without, p.Acts[i].name(i)) {
			p.Acts[i].Kind = "none"
		}
	}
	known := p.parts()
	for _, w := range without {
		switch n, isOps := strings.CutPrefix(w, "ops:"); {
		case isOps:
			most, err := strconv.Atoi(n)
			if err != nil {
				return fmt.Errorf("without %q: not a number", w)
			}
			for i := range p.Hosts {
				p.Hosts[i].Ops = min(p.Hosts[i].Ops, most)
			}
		case w == "lanes":
			p.Lanes = 1
		case w == "port":
			p.Ports, p.OneWire = 1, false
		case w == "stalls":
			p.Stalls = false
		case w == "loss":
			p.Net.Loss = 0
		case w == "dup":
			p.Net.Dup = 0
		case w == "reorder":
			p.Net.Reorder = 0
		case w == "late":
			p.Net.Late = 0
		case w == "truncate":
			p.Net.Truncate = 0
		case w == "corrupt":
			p.Net.Corrupt = 0
		case w == "full":
			p.Net.TxRoom, p.Net.Refuse = 0, 0
		case w == "age":
			p.Age = 0
		case w == "jumbo":
			p.MTU = 1500
		case w == "limits":
			for i := range p.Exports {
				p.Exports[i].Limit = engine.Limit{}
			}
		case w == "tail":
			for i := range p.Exports {
				p.Exports[i].Disk.Tail = 0
			}
		case strings.HasPrefix(w, "export:"):
			n, err := strconv.Atoi(w[7:])
			if err != nil || n < 1 || n >= len(p.Exports) {
				return fmt.Errorf("without %q: there is no such export", w)
			}
			for i := range p.Hosts {
				if p.Hosts[i].Export == n {
					p.Hosts[i].Export = 0
				}
			}
			p.Exports[n].Queue = 0 // not served
		case strings.HasPrefix(w, "host:"), strings.HasPrefix(w, "act:"):
		default:
			return fmt.Errorf("without %q: there is no such part; there are %s and ops:N", w, strings.Join(known, " "))
		}
	}
	return nil
}
