package stats

import "time"

// combine applies f to two sets of counters by name and leaves out what becomes zero.
func (c Counts) combine(o Counts, f func(a, b uint64) uint64) Counts {
	var r Counts
	put := func(k string, v uint64) {
		if v == 0 {
			return
		}
		if r == nil {
			r = Counts{}
		}
		r[k] = v
	}
	for k, v := range c {
		put(k, f(v, o[k]))
	}
	for k, v := range o {
		if _, both := c[k]; !both {
			put(k, f(0, v))
		}
	}
	return r
}

// Total returns the sum.
func (c Counts) Total() uint64 {
	var n uint64
	for _, v := range c {
		n += v
	}
	return n
}

// each applies f to pairs of counters.
func each(a, b []*uint64, f func(a, b uint64) uint64) {
	for i := range a {
		*a[i] = f(*a[i], *b[i])
	}
}

func (s *ExportSnapshot) counters() []*uint64 {
	return []*uint64{
		&s.Reads, &s.Writes, &s.Flushes, &s.Discards, &s.Others, &s.ReadBytes, &s.WriteBytes, &s.Views, &s.Waits, &s.Stalls, &s.Limited,
		&s.Retransmits, &s.Slow, &s.Errors, &s.Rejects, &s.Storage.Ops, &s.Storage.Batches, &s.Storage.Syncs, &s.Storage.SyncWrites, &s.Storage.Merged,
		&s.Storage.WriteNow, &s.Storage.WriteNowPauses,
	}
}

func (s ExportSnapshot) combine(o ExportSnapshot, f func(a, b uint64) uint64) ExportSnapshot {
	each(s.counters(), o.counters(), f)
	s.ErrorKinds, s.RejectKinds = s.ErrorKinds.combine(o.ErrorKinds, f), s.RejectKinds.combine(o.RejectKinds, f)
	s.Drops = s.Drops.combine(o.Drops, f)
	l, m := &s.Latency, &o.Latency
	l.Read, l.Write = l.Read.join(m.Read, f), l.Write.join(m.Write, f)
	l.Flush, l.Other = l.Flush.join(m.Flush, f), l.Other.join(m.Other, f)
	return s
}

// Sub returns what happened since an earlier snapshot of the same export.
func (s ExportSnapshot) Sub(earlier ExportSnapshot) ExportSnapshot { return s.combine(earlier, minus) }

// Add returns both together, for totals.
func (s ExportSnapshot) Add(other ExportSnapshot) ExportSnapshot {
	s = s.combine(other, plus)
	s.InFlight, s.Queued, s.Limit = s.InFlight+other.InFlight, s.Queued+other.Queued, s.Limit+other.Limit
	return s
}

// Requests returns how many requests were answered.
func (s ExportSnapshot) Requests() uint64 {
	return s.Reads + s.Writes + s.Flushes + s.Discards + s.Others + s.Errors + s.Rejects
}

// Busy returns the sum of the latencies of all requests for storage. Divided by the time between two snapshots it is how many were
// under way on average (Little's law), as iostat's aqu-sz.
func (s ExportSnapshot) Busy() time.Duration {
	return time.Duration(s.Latency.Read.SumNs + s.Latency.Write.SumNs + s.Latency.Flush.SumNs)
}

func (s *PortSnapshot) counters() []*uint64 {
	return []*uint64{&s.RxFrames, &s.RxBytes, &s.RxBatches, &s.TxFrames, &s.TxBytes, &s.TxBatches, &s.TxXDP, &s.TxErrors, &s.TxFull, &s.KernelDrops}
}

func (s PortSnapshot) combine(o PortSnapshot, f func(a, b uint64) uint64) PortSnapshot {
	each(s.counters(), o.counters(), f)
	s.Drops = s.Drops.combine(o.Drops, f)
	return s
}

// Sub returns what happened since an earlier snapshot of the same interface.
func (s PortSnapshot) Sub(earlier PortSnapshot) PortSnapshot { return s.combine(earlier, minus) }

// Add returns both together, for totals.
func (s PortSnapshot) Add(other PortSnapshot) PortSnapshot { return s.combine(other, plus) }

func (s *InitiatorSnapshot) counters() []*uint64 {
	return []*uint64{
		&s.Requests, &s.Reads, &s.Writes, &s.ReadBytes, &s.WriteBytes, &s.Errors, &s.Rejects, &s.Denied, &s.Drops, &s.Retransmits, &s.Limited, &s.BusyNs,
	}
}

// Sub returns what happened since an earlier snapshot of the same initiator on the same export. When its counters began anew in between
// that is all of them.
func (s InitiatorSnapshot) Sub(earlier InitiatorSnapshot) InitiatorSnapshot {
	if !s.FirstSeen.Equal(earlier.FirstSeen) {
		return s
	}
	each(s.counters(), earlier.counters(), minus)
	return s
}

// Add returns both together: one initiator on several exports, or one that was seen by several tables. The later one of the two names the
// interface.
func (s InitiatorSnapshot) Add(other InitiatorSnapshot) InitiatorSnapshot {
	each(s.counters(), other.counters(), plus)
	if other.LastSeen.After(s.LastSeen) {
		s.LastSeen, s.Interface = other.LastSeen, other.Interface
	}
	s.InFlight += other.InFlight
	if s.FirstSeen.IsZero() || !other.FirstSeen.IsZero() && other.FirstSeen.Before(s.FirstSeen) {
		s.FirstSeen = other.FirstSeen
	}
	if other.LastATA.After(s.LastATA) {
		s.LastATA = other.LastATA
	}
	return s
}

func (s *LaneSnapshot) counters() []*uint64 {
	return []*uint64{&s.Turns, &s.Sleeps, &s.Spins, &s.SleepNs, &s.SpinNs}
}

// Sub returns what happened since an earlier snapshot of the same lane.
func (s LaneSnapshot) Sub(earlier LaneSnapshot) LaneSnapshot {
	each(s.counters(), earlier.counters(), minus)
	return s
}
