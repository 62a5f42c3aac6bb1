package sim

import (
	"fmt"
	"strings"

	"goaoe/internal/stats"
)

// count takes the engine's counters before they are gone.
func (s *site) count() {
	w := s.w
	for _, p := range w.ports {
		if p.ep == nil {
			continue
		}
		for l := range w.plan.Lanes {
			st := p.ep.Stats(l)
			for _, d := range []stats.Drop{stats.DropDuplicate, stats.DropFull, stats.DropStale, stats.DropSend, stats.DropMask, stats.DropAccess, stats.DropCompare, stats.DropWildcard, stats.DropBusy, stats.DropMemory} {
				w.saw("drop "+d.String(), int(st.Drops[d].Load()))
			}
			w.saw("drop closing or address", int(st.Drops[stats.DropClosing].Load()+st.Drops[stats.DropAddress].Load()))
			w.saw("full send queue", int(st.TxFull.Load()))
		}
	}
	for _, x := range s.exps {
		if x.te == nil {
			continue
		}
		st := x.te.Stats.Snapshot()
		w.saw("view", int(st.Views))
		w.saw("wait", int(st.Waits))
		w.saw("stall", int(st.Stalls))
		w.saw("limited request", int(st.Limited))
		w.saw("retransmission", int(st.Retransmits))
		w.saw("slow path", int(st.Slow))
		w.saw("flush", int(st.Flushes))
		w.saw("discard", int(st.Discards))
		w.saw("storage error", int(st.Errors))
		w.saw("refusal", int(st.Rejects))
	}
}

// check looks for leaks. resting: nothing is in flight, so that all requests must be accounted for.
func (s *site) check(resting bool) {
	w := s.w
	if err := s.eng.Audit(); err != nil {
		w.failf("audit: %v", err)
	}
	for i, d := range w.disks {
		if !d.checkGuard() {
			w.failf("export %d: something behind its end was changed", i)
		}
	}
	if !resting {
		return
	}
	for i := range w.plan.Lanes {
		if n := s.eng.LaneStats(i).SlotsUsed.Load(); n != 0 {
			w.failf("lane %d: %d slots are in use although nothing is in flight", i, n)
		}
	}
	for _, x := range s.exps {
		if x.te == nil {
			continue
		}
		if held, on := x.te.Stats.Held.Load(), x.te.Stats.OnStore.Load(); held != 0 || on != 0 {
			w.failf("export %d: %d requests are held, %d on the store, although nothing is in flight", x.n, held, on)
		}
		w.model.exports[x.n].idle(-1)
	}
	for _, i := range s.eng.Initiators() {
		if i.InFlight != 0 {
			w.failf("%d requests of %v to %v are in flight, by the statistics", i.InFlight, i.MAC, i.Addr)
		}
	}
	duplicates := 0
	for _, p := range w.ports {
		if p.ep == nil {
			continue
		}
		for l := range w.plan.Lanes {
			duplicates += int(p.ep.Stats(l).Drops[stats.DropDuplicate].Load())
		}
	}
	if duplicates > w.model.repeats {
		w.failf("%d requests were dropped as duplicates, and only %d repeated another", duplicates, w.model.repeats)
	}
	for _, p := range w.ports {
		if p.ep == nil {
			continue
		}
		var drops, tx uint64
		var why []string
		for l := range w.plan.Lanes {
			st := p.ep.Stats(l)
			for d := range st.Drops {
				if n := st.Drops[d].Load(); n > 0 {
					drops += n
					why = append(why, fmt.Sprintf("%v %d", stats.Drop(d), n))
				}
			}
			tx += st.TxFrames.Load()
		}
		if got, want := p.acct.answers+int(drops), p.acct.silences+p.acct.outcomes; got != want {
			w.failf("port %d: %d requests arrived; %d were answered and %d counted as dropped (%s): the silence of %d is not explained", p.n, want, p.acct.answers, drops, strings.Join(why, ", "), want-got)
		}
		if int(tx)+p.acct.injected != p.acct.answers {
			w.failf("port %d: %d replies were seen, and %d counted", p.n, p.acct.answers, int(tx)+p.acct.injected)
		}
	}
}
