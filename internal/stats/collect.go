package stats

// Snapshot returns what was counted up to now. The numbers are read one after the other, while the lane goes on: they may differ by what
// happened in between.
func (e *Export) Snapshot() ExportSnapshot {
	s := ExportSnapshot{
		Reads: e.Reads.Load(), Writes: e.Writes.Load(), Flushes: e.Flushes.Load(), Discards: e.Discards.Load(), Others: e.Others.Load(),
		ReadBytes: e.ReadBytes.Load(), WriteBytes: e.WriteBytes.Load(), Views: e.Views.Load(), Waits: e.Waits.Load(), Stalls: e.Stalls.Load(), Limited: e.Limited.Load(),
		Retransmits: e.Retransmits.Load(), Slow: e.Slow.Load(), InFlight: e.OnStore.Load(), Limit: e.Limit.Load(),
		Storage: StoreSnapshot{Ops: e.Ops.Load(), Batches: e.Batches.Load(), Syncs: e.Store.Syncs.Load(), SyncWrites: e.Store.SyncWrites.Load(), Merged: e.Store.Merged.Load(),
			WriteNow: e.Store.WriteNow.Load(), WriteNowPauses: e.Store.WriteNowPauses.Load()},
		Latency: Latency{
			Read: e.Latency[ClassRead].Snapshot(), Write: e.Latency[ClassWrite].Snapshot(), Flush: e.Latency[ClassFlush].Snapshot(),
			Other: e.OtherLatency.Snapshot(),
		},
	}
	s.Queued = minus(e.Held.Load(), s.InFlight)
	for i := range e.Errors {
		s.Errors += s.ErrorKinds.add(Error(i).String(), e.Errors[i].Load())
	}
	for i := range e.Rejects {
		s.Rejects += s.RejectKinds.add(Reject(i).String(), e.Rejects[i].Load())
	}
	for i := range e.Drops {
		s.Drops.add(Drop(i).String(), e.Drops[i].Load())
	}
	return s
}

// Snapshot returns what was counted up to now, without KernelDrops, which the link knows.
func (p *Port) Snapshot() PortSnapshot {
	s := PortSnapshot{
		RxFrames: p.RxFrames.Load(), RxBytes: p.RxBytes.Load(), RxBatches: p.RxBatches.Load(),
		TxFrames: p.TxFrames.Load(), TxBytes: p.TxBytes.Load(), TxBatches: p.TxBatches.Load(), TxXDP: p.TxPinned.Load(), TxErrors: p.TxErrors.Load(), TxFull: p.TxFull.Load(),
	}
	for i := range p.Drops {
		s.Drops.add(Drop(i).String(), p.Drops[i].Load())
	}
	return s
}

// Snapshot returns what was counted up to now.
func (l *Lane) Snapshot() LaneSnapshot {
	return LaneSnapshot{
		Turns: l.Turns.Load(), Sleeps: l.Sleeps.Load(), Spins: l.Spins.Load(), SleepNs: l.SleepNs.Load(), SpinNs: l.SpinNs.Load(),
		Slots: l.Slots.Load(), SlotsUsed: l.SlotsUsed.Load(),
	}
}

// add puts a counter that is not zero under its name, and returns it.
func (c *Counts) add(name string, n uint64) uint64 {
	if n > 0 {
		if *c == nil {
			*c = Counts{}
		}
		(*c)[name] += n
	}
	return n
}
