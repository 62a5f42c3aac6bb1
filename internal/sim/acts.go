package sim

import (
	"goaoe/aoe"
	"goaoe/internal/engine"
	"goaoe/internal/target"
)

// do is something that happens to the target.
func (w *world) do(a act) {
	s := w.site
	w.note(evAct, uint64(len(a.Kind)), uint64(a.N), uint64(a.For))
	w.sayf("ACT %s %d for %v", a.Kind, a.N, timeOf(a.For))
	x := s.exps[a.N%len(s.exps)]
	d := w.disks[x.n]
	m := w.model.exports[x.n]
	p := w.ports[a.N%len(w.ports)]
	switch a.Kind {
	case "kill", "power":
		if s.eng == nil {
			return
		}
		if a.Kind == "power" {
			w.counts.PowerCuts++
		} else {
			w.counts.Kills++
		}
		s.die(a.Kind == "power")
		w.after(a.For, func() {
			if s.eng == nil {
				w.sayf("the daemon starts again")
				s.start()
			}
		})
		return
	case "hang":
		d.hang(true)
		w.after(a.For, func() { w.sayf("disk %d goes on", x.n); d.hang(false) })
		return
	case "errors":
		d.failing = true
		w.after(a.For, func() { w.sayf("disk %d is well again", x.n); d.failing = false })
		return
	case "cut":
		p.cut = true
		w.after(a.For, func() { w.sayf("the cable of port %d is in again", p.n); p.cut = false })
		return
	case "down":
		p.down = true
		w.after(a.For, func() { w.sayf("port %d is up again", p.n); p.down = false })
		return
	case "stuck":
		p.stuck = true
		w.after(a.For, func() {
			w.sayf("port %d can send again", p.n)
			p.stuck = false
			for i := range s.lanes {
				s.wake(i, 0)
			}
		})
		return
	case "restart":
		if s.eng != nil && !s.stopping {
			s.stop(func() {
				w.after(a.For/8, func() {
					if s.eng == nil {
						w.sayf("the daemon starts again")
						s.start()
					}
				})
			})
		}
		return
	case "clock":
		by := int64(a.N-8) * 10 * sec
		w.jump += by
		w.model.epoch++
		return
	}
	if s.eng == nil || s.stopping || x.te == nil || x.closing {
		return // nobody is there to do it
	}
	switch a.Kind {
	case "remove":
		s.remove(x, func() { s.serve(x) })
	case "readonly":
		x.te.SetReadOnly(true)
		m.readOnly = true
		te := x.te
		w.after(a.For, func() {
			if x.te == te {
				te.SetReadOnly(false)
				m.readOnly = false
			}
		})
	case "cache":
		x.te.AllowWriteCache()
		m.cacheAllowed, m.cache = true, true
	case "cache-off": // the export is opened anew, and what the cache held is made durable
		s.remove(x, func() {
			if m.cacheAllowed && d.syncAll() {
				w.model.pos++
				for i := range m.halves {
					m.halves[i].flushed(w.model.pos)
				}
			}
			m.cacheAllowed = false
			s.serve(x)
		})
	case "queue":
		x.queue = 1 + a.N*a.N/4
		x.most = max(x.most, x.queue)
		if err := s.eng.SetQueueLength(x.run, x.queue); err != nil {
			w.failf("queue length of export %d: %v", x.n, err)
		}
	case "limits": // other ones for a time, or none
		l := engine.Limit{}
		if a.N%4 > 0 {
			l = drawLimit(s.rng)
		}
		s.limit(x, l)
		run := x.run
		w.after(a.For, func() {
			if x.run == run && run != nil && !x.closing && !s.stopping {
				s.limit(x, w.plan.Exports[x.n].Limit)
			}
		})
	case "buffers":
		x.te.SetBufferCount(uint16(1 + a.N))
	case "mtu":
		mtu := 1500
		if p.mtu == 1500 {
			mtu = 9000
		}
		if p.ep != nil {
			p.mtu, p.mtuMax = mtu, max(p.mtuMax, mtu)
			if mtu > p.opened { // the links have no room for that
				s.closePort(p)
				s.openPort(p)
			} else {
				p.ep.SetIngress(target.Ingress{MAC: p.mac, MTU: mtu})
			}
			s.announce(x, p)
		}
	case "port":
		if len(w.ports) > 1 && p.ep != nil {
			s.closePort(p)
			gen := s.gen
			w.after(a.For, func() {
				if s.gen == gen && p.ep == nil && !s.stopping {
					s.openPort(p)
				}
			})
		}
	case "grow":
		n := min(1+a.N%4, d.canGrow())
		d.grow(n)
		m.grow(n)
		x.te.SetSectors(m.sectors)
		for _, p := range w.ports {
			s.announce(x, p)
		}
	case "deny":
		h := w.hosts[a.N%len(w.hosts)]
		if len(h.nics) == 0 {
			return
		}
		m.denied = []aoe.MAC{h.nics[0].mac}
		x.te.SetAccess(target.Access{All: target.NewACL([]target.Rule{{MAC: h.nics[0].mac}}, true)})
		te := x.te
		w.after(a.For, func() {
			if x.te == te {
				m.denied = nil
				te.SetAccess(target.Access{})
			}
		})
	}
}
