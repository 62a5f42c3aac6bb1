package sim

import (
	"context"
	"fmt"
	"math/rand/v2"

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
	stopping bool
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
	limits  limitWatch
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
	s.eng, s.stopping = eng, false
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
	x.te, x.run = te, &engine.Export{Target: te, Store: d.open(), QueueLength: x.queue, Limits: w.limitsOf(x.n, e.Limit)}
	if err := s.eng.AddExport(x.run); err != nil {
		w.failf("export %d: %v", x.n, err)
		return
	}
	x.limits.begin(s, x, x.run.Limits)
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
		at, limited := s.eng.Wake(lane)
		if limited {
			s.wake(lane, max(at-w.now, 0))
		}
		for _, x := range s.exps {
			if x.run != nil && x.run.Lane() == lane && x.te.Stats.Held.Load() > 0 && len(w.disks[x.n].doing) == 0 && !s.eng.Blocked(lane) && (!limited || s.eng.Limited(x.run) == 0) {
				w.failf("export %d: %d requests wait, and nothing of them is on the storage", x.n, x.te.Stats.Held.Load())
			}
			if x.run != nil && x.run.Lane() == lane && len(w.model.exports[x.n].open) > 0 && x.te.Stats.Held.Load() == 0 && !s.eng.Blocked(lane) {
				w.model.exports[x.n].idle(lane)
			}
		}
	}
	if w.counts.Turns%64 == 0 {
		if err := s.eng.Audit(); err != nil {
			w.failf("audit: %v", err)
		}
		for _, x := range s.exps {
			x.limits.check(s, x)
		}
	}
}

// stop ends the daemon in good order: what is in flight is finished and answered. then comes then.
func (s *site) stop(then func()) {
	gen, tries := s.gen, 0
	s.stopping = true
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
