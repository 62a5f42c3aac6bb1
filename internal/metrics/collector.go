// Package metrics shows a daemon to Prometheus. Everything is read through the API when Prometheus asks; nothing is counted here.
//
// How many series there are is bounded: by the exports, interfaces and lanes that are configured, and for initiators, which anybody on
// the network can invent, by MaxInitiators.
package metrics

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"goaoe/internal/control"
	"goaoe/internal/stats"
)

const (
	// MaxInitiators is how many pairs of initiator and export have series of their own. All others of an export are together in
	// initiator="others".
	MaxInitiators = 512
	// Others is the label of the initiators that have no series of their own.
	Others = "others"

	maxReasons = 100             // of waiting and problem each
	maxReason  = 200             // bytes of one
	askFor     = 5 * time.Second // an answer of the daemon
)

// Source is what the collector asks: a daemon's Backend, or a Client.
type Source interface {
	Status(ctx context.Context) (*control.Status, error)
	Exports(ctx context.Context) ([]control.Export, error)
	Interfaces(ctx context.Context) ([]control.Interface, error)
	Stats(ctx context.Context) (*control.Stats, error)
}

// Collector implements prometheus.Collector over a daemon. It may be collected by several goroutines.
type Collector struct {
	src Source

	mu sync.Mutex
	// known are the pairs of initiator and export that have series of their own: first come, first served, so that the counters of
	// Others do not fall when another initiator becomes busier. Pairs that the daemon forgot make room.
	known map[pair]bool
}

type pair struct{ mac, export string }

// NewCollector makes a collector.
func NewCollector(src Source) *Collector { return &Collector{src: src, known: map[pair]bool{}} }

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range Metrics {
		ch <- descs[m.Name]
	}
}

// Collect implements prometheus.Collector. A daemon that does not answer is goaoe_up 0 and nothing else.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), askFor)
	defer cancel()
	s := sender{ch}
	status, err := c.src.Status(ctx)
	if err != nil {
		s.put(Up, 0)
		return
	}
	exports, err1 := c.src.Exports(ctx)
	interfaces, err2 := c.src.Interfaces(ctx)
	st, err3 := c.src.Stats(ctx)
	if err1 != nil || err2 != nil || err3 != nil {
		s.put(Up, 0)
		return
	}
	s.put(Up, 1)
	s.status(status)
	s.exports(exports)
	s.interfaces(interfaces)
	s.waiting(exports, interfaces)
	for i := range st.Exports {
		s.export(&st.Exports[i])
	}
	for i := range st.Interfaces {
		s.port(&st.Interfaces[i])
	}
	for _, in := range c.limit(st.Initiators) {
		s.initiator(&in)
	}
	for i := range st.Lanes {
		s.lane(&st.Lanes[i])
	}
}

// limit returns the initiators that have series of their own, and the sum of the others for each export.
func (c *Collector) limit(all []control.InitiatorStats) []control.InitiatorStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	here := make(map[pair]bool, len(all))
	for i := range all {
		here[pair{all[i].MAC, all[i].Export}] = true
	}
	for p := range c.known {
		if !here[p] {
			delete(c.known, p)
		}
	}
	out := make([]control.InitiatorStats, 0, min(len(all), MaxInitiators))
	others := map[string]int{} // index in rest, by export
	var rest []control.InitiatorStats
	for _, in := range all {
		p := pair{in.MAC, in.Export}
		if in.MAC != "" && (c.known[p] || len(c.known) < MaxInitiators) {
			c.known[p] = true
			out = append(out, in)
			continue
		}
		i, ok := others[in.Export]
		if !ok {
			i = len(rest)
			others[in.Export] = i
			rest = append(rest, control.InitiatorStats{Export: in.Export})
		}
		rest[i].InitiatorSnapshot = rest[i].Add(in.InitiatorSnapshot)
		rest[i].MAC = Others
	}
	return append(out, rest...)
}

// sender sends metrics by name.
type sender struct{ ch chan<- prometheus.Metric }

func (s sender) put(name string, v float64, labels ...string) {
	m, err := prometheus.NewConstMetric(descs[name], types[name], v, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(descs[name], err)
	}
	s.ch <- m
}

func (s sender) count(name string, v uint64, labels ...string) { s.put(name, float64(v), labels...) }

// counts sends counters by kind. Those that were never needed are left out.
func (s sender) counts(name string, c stats.Counts, labels ...string) {
	for kind, n := range c {
		s.count(name, n, append(labels[:len(labels):len(labels)], kind)...)
	}
}

func (s sender) status(st *control.Status) {
	s.put(BuildInfo, 1, st.Version)
	s.put(StartTime, float64(st.Started.UnixNano())/1e9)
	s.count(Unsaved, uint64(st.Unsaved))
	s.count(Problems, uint64(len(st.Problems)))
	seen := map[string]bool{}
	for _, p := range st.Problems {
		if p = reason(p); !seen[p] && len(seen) < maxReasons {
			seen[p] = true
			s.put(Problem, 1, p)
		}
	}
}

func (s sender) exports(all []control.Export) {
	for i := range all {
		e := &all[i]
		s.put(ExportState, 1, e.Address, e.State)
		if e.State != control.StateDisabled {
			s.put(ExportServing, flag(len(e.Served) > 0), e.Address)
		}
		s.put(ExportSize, float64(e.Sectors)*512, e.Address)
		s.count(ExportUsers, uint64(len(e.Users)), e.Address)
	}
}

func (s sender) interfaces(all []control.Interface) {
	seen := map[string]bool{}
	for i := range all {
		n := &all[i]
		if seen[n.Name] {
			continue
		}
		seen[n.Name] = true
		s.put(InterfaceUp, flag(n.Up && n.State == control.StateServing), n.Name)
		s.count(InterfaceExports, uint64(n.Exports), n.Name)
		if n.MTU > 0 {
			s.count(InterfaceMTU, uint64(n.MTU), n.Name)
		}
	}
}

// waiting sends what has no effect yet.
func (s sender) waiting(exports []control.Export, interfaces []control.Interface) {
	seen := map[[2]string]bool{}
	put := func(subject, why string) {
		k := [2]string{subject, reason(why)}
		if why == "" || seen[k] || len(seen) >= maxReasons {
			return
		}
		seen[k] = true
		s.put(Waiting, 1, k[0], k[1])
	}
	for i := range interfaces {
		if n := &interfaces[i]; n.State != control.StateServing {
			put(n.Name, n.Why)
		}
	}
	for i := range exports {
		e := &exports[i]
		if e.State == control.StateWaiting || e.State == control.StateFailed {
			put(e.Address, e.Why)
		}
		for _, w := range e.Waiting {
			put(e.Address, w)
		}
	}
}

func (s sender) port(p *control.InterfaceStats) {
	s.count(InterfaceRxFrames, p.RxFrames, p.Name)
	s.count(InterfaceRxBytes, p.RxBytes, p.Name)
	s.count(InterfaceRxBatches, p.RxBatches, p.Name)
	s.count(InterfaceTxFrames, p.TxFrames, p.Name)
	s.count(InterfaceTxBytes, p.TxBytes, p.Name)
	s.count(InterfaceTxBatches, p.TxBatches, p.Name)
	s.count(InterfaceTxXDP, p.TxXDP, p.Name)
	s.count(InterfaceTxErrors, p.TxErrors, p.Name)
	s.count(InterfaceTxFull, p.TxFull, p.Name)
	s.count(InterfaceKernelDrops, p.KernelDrops, p.Name)
	s.counts(InterfaceDrops, p.Drops, p.Name)
}

func (s sender) initiator(i *control.InitiatorStats) {
	l := []string{i.MAC, text(i.Name), i.Export}
	s.count(InitiatorRequests, i.Requests, l...)
	s.count(InitiatorOps, i.Reads, append(l[:3:3], "read")...)
	s.count(InitiatorOps, i.Writes, append(l[:3:3], "write")...)
	s.count(InitiatorRead, i.ReadBytes, l...)
	s.count(InitiatorWritten, i.WriteBytes, l...)
	s.count(InitiatorErrors, i.Errors, l...)
	s.count(InitiatorRejects, i.Rejects, l...)
	s.count(InitiatorDenied, i.Denied, l...)
	s.count(InitiatorDrops, i.Drops, l...)
	s.count(InitiatorRetransmits, i.Retransmits, l...)
	s.count(InitiatorLimited, i.Limited, l...)
	s.put(InitiatorBusy, seconds(i.BusyNs), l...)
	if !i.LastSeen.IsZero() {
		s.put(InitiatorLastSeen, float64(i.LastSeen.UnixMilli())/1e3, l...)
	}
}

func (s sender) lane(l *control.LaneStats) {
	n := strconv.Itoa(l.Lane)
	s.count(LaneTurns, l.Turns, n)
	s.count(LaneSleeps, l.Sleeps, n)
	s.count(LaneSpins, l.Spins, n)
	s.put(LaneSleep, seconds(l.SleepNs), n)
	s.put(LaneSpin, seconds(l.SpinNs), n)
	s.count(LaneSlots, l.Slots, n)
	s.count(LaneSlotsUsed, l.SlotsUsed, n)
}

func seconds(ns uint64) float64 { return float64(ns) / 1e9 }

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// reason makes a label of a sentence: short, valid UTF-8.
func reason(s string) string {
	s = text(s)
	if len(s) <= maxReason {
		return s
	}
	cut := maxReason
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

// text makes a label of anything.
func text(s string) string { return strings.ToValidUTF8(s, "?") }
