// Package figures makes figures for people of a daemon's counters: what happened between two replies, per second, with latencies. It
// is what goaoe stats, goaoe monitor and goaoe top show.
package figures

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"goaoe/internal/control"
	"goaoe/internal/stats"
)

// Period is what happened between two replies of a daemon: all counters are differences, gauges are those of the later reply.
type Period struct {
	control.Stats
	// Elapsed is the time between the two. It is never 0.
	Elapsed time.Duration
	// Whole tells that the differences are since the start of the daemon, or since its counters were cleared.
	Whole bool
}

// Between returns what happened from prev to cur. Without prev, or when the daemon started anew or its counters were cleared in
// between, that is everything since then.
func Between(prev, cur *control.Stats) *Period {
	p := &Period{Stats: *cur, Elapsed: cur.At.Sub(cur.Since)}
	if prev == nil || !prev.Since.Equal(cur.Since) || !cur.At.After(prev.At) {
		p.Whole = true
		p.Elapsed = max(p.Elapsed, time.Millisecond)
		return p
	}
	p.Elapsed = cur.At.Sub(prev.At)
	exports := map[string]*control.ExportStats{}
	for i := range prev.Exports {
		exports[prev.Exports[i].Address] = &prev.Exports[i]
	}
	p.Exports = slices.Clone(cur.Exports)
	for i := range p.Exports {
		if old := exports[p.Exports[i].Address]; old != nil {
			p.Exports[i].ExportSnapshot = p.Exports[i].Sub(old.ExportSnapshot)
		}
	}
	ports := map[string]*control.InterfaceStats{}
	for i := range prev.Interfaces {
		ports[prev.Interfaces[i].Name] = &prev.Interfaces[i]
	}
	p.Interfaces = slices.Clone(cur.Interfaces)
	for i := range p.Interfaces {
		if old := ports[p.Interfaces[i].Name]; old != nil {
			p.Interfaces[i].PortSnapshot = p.Interfaces[i].Sub(old.PortSnapshot)
		}
	}
	p.rest(prev, cur)
	return p
}

// rest is Between for initiators and lanes.
func (p *Period) rest(prev, cur *control.Stats) {
	type key struct{ mac, export string }
	initiators := map[key]*control.InitiatorStats{}
	for i := range prev.Initiators {
		n := &prev.Initiators[i]
		initiators[key{n.MAC, n.Export}] = n
	}
	p.Initiators = slices.Clone(cur.Initiators)
	for i := range p.Initiators {
		n := &p.Initiators[i]
		if old := initiators[key{n.MAC, n.Export}]; old != nil {
			n.InitiatorSnapshot = n.Sub(old.InitiatorSnapshot)
		}
	}
	p.Lanes = slices.Clone(cur.Lanes)
	for i := range p.Lanes {
		if i < len(prev.Lanes) && prev.Lanes[i].Lane == p.Lanes[i].Lane {
			p.Lanes[i].LaneSnapshot = p.Lanes[i].Sub(prev.Lanes[i].LaneSnapshot)
		}
	}
}

// PerSecond returns a rate.
func (p *Period) PerSecond(n uint64) float64 { return float64(n) / p.Elapsed.Seconds() }

// All is the latency of all requests that got a reply.
func All(l *stats.Latency) stats.HistogramSnapshot {
	return l.Read.Add(l.Write).Add(l.Flush).Add(l.Other)
}

// Match tells whether a pattern (a name, or a glob) means one of the names. "all" means everything, and the e of an export's address may be
// left out.
func Match(pattern string, names ...string) bool {
	if pattern == "all" || pattern == "*" {
		return true
	}
	pattern = strings.ToLower(pattern)
	for _, n := range names {
		n = strings.ToLower(n)
		if n == "" {
			continue
		}
		if ok, err := path.Match(pattern, n); ok && err == nil || pattern == n {
			return true
		}
		if pattern == "" || !strings.ContainsRune("0123456789[", rune(pattern[0])) {
			continue
		}
		if ok, err := path.Match("e"+pattern, n); ok && err == nil {
			return true
		}
	}
	return false
}

// Filter keeps what is meant by the patterns; without any everything is. It returns the patterns that mean nothing.
func Filter(s *control.Stats, patterns []string) (unknown []string) {
	if len(patterns) == 0 {
		return nil
	}
	used := make([]bool, len(patterns))
	wants := func(names ...string) bool {
		any := false
		for i, p := range patterns {
			if Match(p, names...) {
				used[i], any = true, true
			}
		}
		return any
	}
	s.Exports = keep(s.Exports, func(e *control.ExportStats) bool { return wants(e.Address, e.Name) })
	s.Interfaces = keep(s.Interfaces, func(i *control.InterfaceStats) bool { return wants(i.Name) })
	s.Initiators = keep(s.Initiators, func(i *control.InitiatorStats) bool { return wants(i.MAC, i.Name, i.Export, i.Interface) })
	s.Lanes = keep(s.Lanes, func(l *control.LaneStats) bool { return wants(fmt.Sprint(l.Lane)) })
	for i, u := range used {
		if !u && patterns[i] != "all" && patterns[i] != "*" { // all of nothing is no slip
			unknown = append(unknown, patterns[i])
		}
	}
	return unknown
}

// keep returns a new slice of what is wanted.
func keep[T any](all []T, wanted func(*T) bool) []T {
	out := []T{}
	for i := range all {
		if wanted(&all[i]) {
			out = append(out, all[i])
		}
	}
	return out
}
