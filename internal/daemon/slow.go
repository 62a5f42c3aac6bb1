package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"goaoe/internal/daemon/state"
	"goaoe/internal/engine"
	"goaoe/internal/stats"
	"goaoe/internal/target"
)

// slowQueue is how many requests that change the state of one export may wait. There are hardly ever two: they are sent by
// administrators. The bound keeps a flood of them from filling the memory.
const slowQueue = 64

// After slowBurst changes of one export at once, initiators get one in each slowPause. Every change waits for the disk; without a bound anybody on the wire
// could keep it, and a processor, busy with them, and wear it out.
const (
	slowBurst = 32
	slowPause = 10 * time.Millisecond
)

// slowPath runs the requests that change persistent state (config string, MAC mask, reserve list), each export in its own order and
// in a goroutine of its own while it has any. A state directory that hangs holds up these requests and nothing else.
type slowPath struct {
	log *slog.Logger

	mu      sync.Mutex // guards what follows
	exports map[*target.Export]*slowExport
	ended   bool
	ending  chan struct{} // closed by stop
	workers sync.WaitGroup
}

// replyMin is the smallest reply buffer that package target wants.
const replyMin = 1600

// saver makes a state durable. It is *state.Entry but in tests.
type saver interface{ Save(state.State) error }

// slowItem is a request of an initiator, or an edit of the administrator.
type slowItem struct {
	engine.SlowRequest
	edit func(target.State) target.State // nil for a request
	done chan<- error                    // of an edit; has room for one
}

type slowExport struct {
	target  *target.Export
	entry   saver
	queue   []slowItem
	pace    pace // belongs to the worker
	working bool
	removed bool
	gone    chan struct{} // closed by remove
	done    chan struct{} // closed when removed and not working
}

func newSlowPath(log *slog.Logger) *slowPath {
	return &slowPath{log: log, exports: map[*target.Export]*slowExport{}, ending: make(chan struct{})}
}

// add makes an export known. Its entry is used until remove.
func (s *slowPath) add(t *target.Export, e saver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exports[t] = &slowExport{target: t, entry: e, pace: pace{left: slowBurst}, gone: make(chan struct{}), done: make(chan struct{})}
}

// remove forgets an export; what it has in its queue is dropped. The channel is closed when its entry is not in use any more.
func (s *slowPath) remove(t *target.Export) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.exports[t]
	if x == nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	delete(s.exports, t)
	for _, it := range x.queue {
		if it.edit != nil {
			it.done <- errors.New("the export was closed meanwhile")
		} else {
			it.Port.Stats(0).Drops[stats.DropClosing].Inc()
		}
	}
	x.removed, x.queue = true, nil
	close(x.gone)
	if !x.working {
		close(x.done)
	}
	return x.done
}

// take accepts a request from a lane. It does not wait for anything but the mutex, which is held for moments only.
func (s *slowPath) take(r engine.SlowRequest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.exports[r.Target]
	if x == nil || s.ended || len(x.queue) >= slowQueue {
		return false
	}
	s.enqueue(x, slowItem{SlowRequest: r})
	return true
}

// enqueue hands an item to the export's worker. s.mu is held.
func (s *slowPath) enqueue(x *slowExport, it slowItem) {
	x.queue = append(x.queue, it)
	if !x.working {
		x.working = true
		s.workers.Add(1)
		go s.work(x)
	}
}

// edit changes the state of an export as the administrator wants it, in order with the requests of initiators. The channel
// gets one result, when the change is durable and in force.
func (s *slowPath) edit(t *target.Export, fn func(target.State) target.State) <-chan error {
	done := make(chan error, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.exports[t]
	if x == nil || s.ended {
		done <- errors.New("the export is not open")
		return done
	}
	s.enqueue(x, slowItem{edit: fn, done: done})
	return done
}

// work runs an export's requests until there are none.
func (s *slowPath) work(x *slowExport) {
	defer s.workers.Done()
	var reply []byte
	for {
		s.mu.Lock()
		if len(x.queue) == 0 {
			x.working = false
			if x.removed {
				close(x.done)
			}
			s.mu.Unlock()
			return
		}
		r := x.queue[0]
		x.queue = x.queue[1:]
		s.mu.Unlock()

		if r.edit != nil {
			st := r.edit(*x.target.State())
			err := x.entry.Save(state.State(st))
			if err == nil {
				x.target.SetState(&st)
			}
			r.done <- err
			continue
		}
		s.hold(x)
		in := r.Port.Ingress()
		if n := max(in.MTU+14, replyMin); len(reply) < n {
			reply = make([]byte, n)
		}
		n, drop := x.target.Commit(r.Frame, r.Tagged, r.TCI, in, reply, func(st *target.State) error {
			err := x.entry.Save(state.State(*st))
			if err != nil {
				s.log.Error(err.Error()+"; the initiator was told so", forExport(x.target.Addr()))
			}
			return err
		})
		if n == 0 {
			r.Port.Stats(0).Drops[drop].Inc()
			continue
		}
		if err := r.Port.Inject(reply[:n]); err != nil {
			s.log.Debug("reply to a change of state could not be sent", "export", x.target.Addr(), "error", err)
		}
	}
}

// pace is how fast initiators may change the state of an export.
type pace struct {
	left  int       // changes that may follow at once
	since time.Time // when left was brought up to date
}

// wait returns how long the next change has to wait, and counts it.
func (p *pace) wait(now time.Time) time.Duration {
	if n := int(now.Sub(p.since) / slowPause); n > 0 {
		if p.left = min(p.left+n, slowBurst); p.left == slowBurst {
			p.since = now
		} else {
			p.since = p.since.Add(time.Duration(n) * slowPause)
		}
	}
	if p.left--; p.left >= 0 {
		return 0
	}
	return p.since.Add(time.Duration(-p.left) * slowPause).Sub(now)
}

// hold waits until the next change of an export may be made; not when all is about to end.
func (s *slowPath) hold(x *slowExport) {
	d := x.pace.wait(time.Now())
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.ending:
	case <-x.gone:
	}
}

// stop refuses further requests and waits until those that were taken are done, or ctx ends.
func (s *slowPath) stop(ctx context.Context) {
	s.mu.Lock()
	if !s.ended {
		s.ended = true
		close(s.ending)
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.workers.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.log.Warn("a change of state is still being saved")
	}
}
