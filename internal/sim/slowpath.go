package sim

import (
	"errors"
	"slices"

	"goaoe/internal/engine"
	"goaoe/internal/target"
)

type slowItem struct {
	r engine.SlowRequest
	p *port
	a *arrival
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
