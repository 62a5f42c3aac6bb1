package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"goaoe/aoe"
	"goaoe/internal/engine"
	"goaoe/internal/link"
	"goaoe/internal/stats"
	"goaoe/internal/target"
)

// site is the target's machine: it starts the engine, steps its lanes, and does what the daemon does with exports, interfaces and state.
type site struct {
	w    *world
	rng  *rand.Rand
	eng  *engine.Engine // nil while the daemon is dead
	gen  int            // counts daemons
	exps []*siteExport

	lanes    []laneClock
	stepping int // the lane that is in its turn
	depth    int // states that are being saved
}

// laneClock says when a lane can do its next turn.
type laneClock struct {
	busy    int64
	planned int64 // when a turn is planned; -1 none
}

// siteExport is an export as the daemon runs it.
type siteExport struct {
	n       int
	run     *engine.Export
	te      *target.Export
	queue   int
	most    int // what the queue length was at most
	closing bool
	slow    []slowItem
	working bool
	saving  *target.State // on its way to stable storage
}

type slowItem struct {
	r engine.SlowRequest
	p *port
	a *arrival
}

func addrOf(n int) aoe.Addr { return aoe.Addr{Major: uint16(1 + n/2), Minor: uint8(n % 3)} }

func newSite(w *world) *site {
	s := &site{w: w, rng: w.stream(0x517e, 0)}
	for i, e := range w.plan.Exports {
		s.exps = append(s.exps, &siteExport{n: i, queue: e.Queue})
	}
	return s
}

// ended is a context that has ended: stepped engines do not wait.
var ended = func() context.Context {
	c, cancel := context.WithCancel(context.Background())
	cancel()
	return c
}()

// start is the start of the daemon.
func (s *site) start() {
	w := s.w
	eng, err := engine.NewStepped(engine.Options{
		Lanes: w.plan.Lanes, Clock: w.clocks, RequestAge: timeOf(w.plan.Age), Slow: s.slow,
	})
	if err != nil {
		w.failf("the engine does not start: %v", err)
		return
	}
	s.eng = eng
	s.gen++
	w.model.repeats = 0
	s.lanes = make([]laneClock, w.plan.Lanes)
	for i := range s.lanes {
		s.lanes[i].planned = -1
	}
	for _, p := range w.ports {
		s.openPort(p)
	}
	for _, x := range s.exps {
		if x.queue > 0 {
			s.serve(x)
		}
	}
}

func (s *site) openPort(p *port) {
	p.links, p.tab, p.opened = nil, nil, p.mtu
	var ls []link.Link
	for i := range s.w.plan.Lanes {
		l := &tlink{p: p, lane: i}
		p.links, ls = append(p.links, l), append(ls, l)
	}
	p.acct = &account{}
	ep, err := s.eng.AddPort(engine.PortConfig{Name: fmt.Sprintf("sim%d", p.n), Links: ls, Ingress: target.Ingress{MAC: p.mac, MTU: p.mtu}})
	if err != nil {
		s.w.failf("port %d: %v", p.n, err)
		return
	}
	p.ep = ep
	s.tables()
}

// closePort takes an interface away. What it still had to say is lost.
func (s *site) closePort(p *port) {
	if p.ep == nil {
		return
	}
	if err := s.eng.RemovePort(p.ep); err != nil {
		s.w.failf("port %d: %v", p.n, err)
	}
	p.links, p.ep = nil, nil
	for i := range s.lanes {
		s.wake(i, 0)
	}
}

// serve opens an export and gives it to the engine.
func (s *site) serve(x *siteExport) {
	w := s.w
	m, e, d := w.model.exports[x.n], &w.plan.Exports[x.n], w.disks[x.n]
	te, err := target.NewExport(target.ExportConfig{
		Addr: m.addr, Sectors: m.sectors, Serial: fmt.Sprintf("sim-%d", x.n), BufferCount: uint16(max(2, x.queue)),
		WriteCacheAllowed: m.cacheAllowed, Discard: e.Discard,
	})
	if err != nil {
		w.failf("export %d: %v", x.n, err)
		return
	}
	st := m.state
	te.SetState(&st)
	x.most = max(x.most, x.queue)
	x.te, x.run = te, &engine.Export{Target: te, Store: d.open(), QueueLength: x.queue}
	if err := s.eng.AddExport(x.run); err != nil {
		w.failf("export %d: %v", x.n, err)
		return
	}
	m.readOnly, m.cache, m.denied = false, m.cacheAllowed, nil
	m.gen++
	m.flushFailed = 0
	m.served, x.closing = true, false
	s.tables()
	for _, p := range w.ports {
		s.announce(x, p)
	}
}

// announce makes an export known on a port.
func (s *site) announce(x *siteExport, p *port) {
	if p.ep == nil || p.down || len(p.links) == 0 {
		return
	}
	var buf [2048]byte
	for _, dst := range x.te.AnnounceTo(nil) {
		if n := x.te.Announcement(p.ep.Ingress(), dst, buf[:]); n > 0 && p.links[0].Inject(buf[:n]) == nil {
			s.w.note(evAnnounce, uint64(x.n), uint64(p.n), 0)
		}
	}
}

// tables sets which exports the ports serve.
func (s *site) tables() {
	for _, p := range s.w.ports {
		if p.ep == nil {
			continue
		}
		var es []*target.Export
		p.tab = make([]bool, len(s.exps))
		for i, x := range s.exps {
			if x.te != nil && !x.closing {
				es = append(es, x.te)
				p.tab[i] = true
			}
		}
		t, err := target.NewTable(es)
		if err == nil {
			err = p.ep.SetTable(t)
		}
		if err != nil {
			s.w.failf("port %d: %v", p.n, err)
		}
	}
}

// remove drains an export and takes it away; then comes then.
func (s *site) remove(x *siteExport, then func()) {
	if x.te == nil || x.closing {
		return
	}
	m := s.w.model.exports[x.n]
	x.closing, m.served = true, false
	s.tables()
	for _, it := range x.slow {
		it.r.Port.Stats(0).Drops[stats.DropClosing].Inc()
		s.w.model.dropped(it.a)
	}
	x.slow = nil
	gen := s.gen
	var try func()
	try = func() {
		if s.gen != gen || s.eng == nil {
			return
		}
		if x.working { // the last change of state is being saved
			s.w.after(ms, try)
			return
		}
		if err := s.eng.RemoveExport(ended, x.run); err != nil {
			s.wake(x.run.Lane(), 0)
			s.w.after(ms, try)
			return
		}
		x.te, x.run = nil, nil
		s.w.after(s.rng.Int64N(20*ms), func() {
			if s.gen == gen && s.eng != nil {
				then()
			}
		})
	}
	try()
}

// wake makes a lane do a turn, not before d from now.
func (s *site) wake(lane int, d int64) {
	if s.eng == nil || lane >= len(s.lanes) {
		return
	}
	l := &s.lanes[lane]
	at := max(s.w.now+d, l.busy)
	if l.planned >= 0 && l.planned <= at {
		return
	}
	l.planned = at
	gen := s.gen
	s.w.at(at, func() {
		if s.gen == gen && s.eng != nil && l.planned == at {
			l.planned = -1
			s.turn(lane)
		}
	})
}

// turn lets a lane do all that it can, which takes a while.
func (s *site) turn(lane int) {
	w := s.w
	s.stepping = lane
	acts := s.eng.Step(lane)
	w.model.settle(lane)
	w.counts.Turns++
	l := &s.lanes[lane]
	l.busy = w.now + us + s.rng.Int64N(15*us)
	if w.plan.Stalls && !w.healed && s.rng.IntN(100) == 0 {
		l.busy += s.rng.Int64N(40 * ms) // kept from the processor
	}
	if acts {
		s.wake(lane, 0)
	} else {
		if s.eng.Blocked(lane) {
			s.wake(lane, ms)
		}
		for _, x := range s.exps {
			if x.run != nil && x.run.Lane() == lane && len(w.model.exports[x.n].open) > 0 && x.te.Stats.Held.Load() == 0 && !s.eng.Blocked(lane) {
				w.model.exports[x.n].idle(lane)
			}
		}
	}
	if w.counts.Turns%64 == 0 {
		if err := s.eng.Audit(); err != nil {
			w.failf("audit: %v", err)
		}
	}
}

// slow takes a change of state out of the hot path.
func (s *site) slow(r engine.SlowRequest) bool {
	w := s.w
	w.model.settle(s.stepping)
	for _, x := range s.exps {
		if x.te != r.Target {
			continue
		}
		var p *port
		for _, q := range w.ports {
			if q.ep == r.Port {
				p = q
			}
		}
		m := w.model.exports[x.n]
		a := w.model.find(m, p, r.Frame)
		if a == nil {
			return false
		}
		if x.closing || len(x.slow) >= 4 {
			w.model.dropped(a)
			return false
		}
		x.slow = append(x.slow, slowItem{r, p, a})
		if !x.working {
			x.working = true
			s.later(x)
		}
		return true
	}
	w.failf("the slow path got a frame for no export")
	return false
}

func (s *site) later(x *siteExport) {
	gen := s.gen
	s.w.after(s.rng.Int64N(300*us), func() {
		if s.gen == gen && s.eng != nil {
			s.work(x)
		}
	})
}

var (
	errDisk = errors.New("the state cannot be saved")
	errDead = errors.New("the daemon is dead")
)

// work carries out the next change of state, as the daemon's slow path does. Everything else goes on while the state is being saved.
func (s *site) work(x *siteExport) {
	w := s.w
	if len(x.slow) == 0 || x.te == nil {
		x.working = false
		return
	}
	if s.depth >= 2 {
		s.later(x)
		return
	}
	it := x.slow[0]
	x.slow = x.slow[1:]
	gen, m, in := s.gen, w.model.exports[x.n], it.r.Port.Ingress()
	h := readHeader(it.r.Frame)
	m.next = m.state
	v := m.judge(it.r.Frame, &h, in.MTU, true)
	next, saved := m.next, true
	buf := make([]byte, max(in.MTU+14, 1600))
	s.depth++
	n, drop := x.te.Commit(it.r.Frame, it.r.Tagged, it.r.TCI, in, buf, func(st *target.State) error {
		if !slices.Equal(st.Config, next.Config) || !slices.Equal(st.Mask, next.Mask) || !slices.Equal(st.Reserve, next.Reserve) {
			w.failf("export %d: the state to be saved is not what the request says", x.n)
		}
		x.saving = &next
		w.runUntil(w.now + s.rng.Int64N([]int64{20 * ms, 20 * ms, 500 * ms}[s.rng.IntN(3)]))
		switch {
		case s.gen != gen || s.eng == nil:
			return errDead
		case !w.healed && s.rng.IntN(8) == 0:
			x.saving, saved = nil, false
			w.saw("save failed", 1)
			return errDisk
		}
		x.saving = nil
		m.state = next
		return nil
	})
	s.depth--
	if s.gen != gen || s.eng == nil {
		return
	}
	if n == 0 {
		it.r.Port.Stats(0).Drops[drop].Inc()
		w.model.committed(it.a, v, saved, nil)
	} else {
		w.model.committed(it.a, v, saved, buf[:n])
		it.a.acct.injected++
		_ = it.r.Port.Inject(buf[:n])
	}
	s.later(x)
}

// stop ends the daemon in good order: what is in flight is finished and answered. then comes then.
func (s *site) stop(then func()) {
	gen, tries := s.gen, 0
	var try func()
	try = func() {
		if s.gen != gen || s.eng == nil {
			return
		}
		for _, x := range s.exps {
			if x.working || x.closing {
				s.w.after(ms, try) // the daemon waits for those first
				return
			}
		}
		if err := s.eng.Stop(ended); err != nil {
			if tries++; tries > 30_000 {
				s.w.failf("the engine does not stop: %v", err)
			}
			for i := range s.lanes {
				s.wake(i, 0)
			}
			s.w.after(ms, try)
			return
		}
		s.w.saw("restart", 1)
		s.count()
		for _, x := range s.exps {
			if x.te == nil {
				continue
			}
			if held, on := x.te.Stats.Held.Load(), x.te.Stats.OnStore.Load(); held != 0 || on != 0 {
				s.w.failf("export %d: the engine has stopped with %d requests held and %d on the storage", x.n, held, on)
			}
		}
		s.gone()
		for _, x := range s.w.model.exports {
			x.idle(-1)
			s.w.model.silenced(x)
		}
		then()
	}
	try()
}

// gone forgets an engine that has ended.
func (s *site) gone() {
	s.eng = nil
	s.gen++
	for _, p := range s.w.ports {
		p.links, p.ep, p.queued = nil, nil, 0
	}
	for _, x := range s.exps {
		x.run, x.te, x.slow, x.working, x.closing = nil, nil, nil, false, false
		s.w.model.exports[x.n].served = false
	}
}

// die is the end of the daemon: killed, or with the machine when the power is cut.
func (s *site) die(power bool) {
	w := s.w
	if s.eng == nil {
		return
	}
	s.check(false)
	s.count()
	for _, d := range w.disks { // before the buffers are gone
		if power {
			d.powerCut()
		} else {
			d.processEnds()
		}
	}
	for _, x := range s.exps {
		m := w.model.exports[x.n]
		if x.saving != nil {
			w.saw("save cut short", 1)
			if s.rng.IntN(2) == 0 {
				m.state = *x.saving // it got that far
			}
		}
		x.saving = nil
		w.model.silenced(m)
		if power {
			w.model.powerCut(m)
		}
	}
	s.eng.Kill()
	s.gone()
}

// count takes the engine's counters before they are gone.
func (s *site) count() {
	w := s.w
	for _, p := range w.ports {
		if p.ep == nil {
			continue
		}
		for l := range w.plan.Lanes {
			st := p.ep.Stats(l)
			for _, d := range []stats.Drop{stats.DropDuplicate, stats.DropFull, stats.DropStale, stats.DropSend, stats.DropMask, stats.DropAccess, stats.DropCompare, stats.DropWildcard, stats.DropBusy} {
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
