package sim

import (
	"goaoe/aoe"
	"goaoe/internal/engine"
)

// limitsOf are the limits of an export: one for each initiator, but none for one.
func (w *world) limitsOf(export int, l engine.Limit) *engine.Limits {
	if (l == engine.Limit{}) {
		return nil
	}
	out := &engine.Limits{Each: l, Own: map[aoe.MAC]engine.Limit{}}
	if n := w.plan.Exports[export].Free; n < len(w.hosts) && len(w.hosts[n].nics) > 0 {
		out.Own[w.hosts[n].nics[0].mac] = engine.Limit{}
	}
	return out
}

// limit changes the limits of an export that is served.
func (s *site) limit(x *siteExport, l engine.Limit) {
	x.limits.check(s, x)
	lim := s.w.limitsOf(x.n, l)
	if err := s.eng.SetLimits(x.run, lim); err != nil {
		s.w.failf("limits of export %d: %v", x.n, err)
	}
	x.limits.begin(s, x, lim)
	s.w.saw("limits changed", 1)
	s.wake(x.run.Lane(), 0)
}

// limitWatch holds what initiators got of an export against their limits. It knows what was done, not when it was let through: so what was
// under way at its beginning may come on top.
type limitWatch struct {
	limits *engine.Limits
	since  int64
	base   map[string]used
}

type used struct{ requests, bytes, under uint64 }

const (
	// watchFor is how long the watch looks at least before it says anything.
	watchFor = 150 * ms
	// burstOf is the part of a second that may come at once.
	burstOf = 0.1
	// largest is more than any request that is answered has in a run.
	largest = 32 * 512
)

func (l *limitWatch) begin(s *site, x *siteExport, limits *engine.Limits) {
	l.limits, l.since = limits, s.w.now
	l.base = l.now(s, x)
}

// now returns what each initiator has got.
func (l *limitWatch) now(s *site, x *siteExport) map[string]used {
	out := map[string]used{}
	if l.limits == nil {
		return out
	}
	for _, i := range s.eng.Initiators() {
		if i.Addr == addrOf(x.n) && !i.Others {
			out[i.MAC] = used{i.Reads + i.Writes, i.ReadBytes + i.WriteBytes, i.InFlight}
		}
	}
	return out
}

func (l *limitWatch) check(s *site, x *siteExport) {
	if l.limits == nil || x.run == nil || s.w.now-l.since < watchFor {
		return
	}
	now, t := l.now(s, x), float64(s.w.now-l.since)/1e9+burstOf
	for mac, u := range now {
		b, lim := l.base[mac], l.limits.Each
		if own, ok := l.limits.Own[parse(mac)]; ok {
			lim = own
		}
		if most := float64(lim.IOPS)*t + 1 + float64(b.under); lim.IOPS > 0 && float64(u.requests-b.requests) > most {
			s.w.failf("export %d: %s had %d requests done in %v, its limit is %d a second and %d were under way", x.n, mac, u.requests-b.requests,
				timeOf(s.w.now-l.since), lim.IOPS, b.under)
		}
		if most := float64(lim.Bandwidth)*t + largest*float64(1+b.under); lim.Bandwidth > 0 && float64(u.bytes-b.bytes) > most {
			s.w.failf("export %d: %s had %d bytes done in %v, its limit is %d a second and %d requests were under way", x.n, mac, u.bytes-b.bytes,
				timeOf(s.w.now-l.since), lim.Bandwidth, b.under)
		}
	}
	l.since, l.base = s.w.now, now
}

func parse(mac string) aoe.MAC {
	m, _ := aoe.ParseMAC(mac) // the engine wrote it
	return m
}
