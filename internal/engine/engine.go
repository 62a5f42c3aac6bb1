// Package engine is the hot path: it joins links with stores in lanes. A lane is one locked OS thread that runs to
// completion: it takes frames from its links, has package target decide what they mean, hands operations to the
// executors of its stores, collects what is done, sends replies in batches, and waits.
//
// Every export belongs to one lane (link.LaneOf its address), and the kernel steers the frames for it to that lane on whichever
// interface they arrive. So all requests for one export pass through one thread in the order of their arrival: order needs
// no lock, and more lanes serve more exports at once, not one export faster.
//
// The daemon drives the engine: ports and exports come and go by the methods below, which may be called from any
// goroutine and hand their work to the lanes between two turns.
package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/stats"
	"goaoe/internal/store"
	"goaoe/internal/target"
)

// Limits of the settings.
const (
	MaxLanes       = 64
	MinQueueLength = 1
	MaxQueueLength = 1024
	// BacklogFactor times its queue length is how many requests an export holds before new ones are dropped: the
	// advertised buffer count is per initiator, and there may be several.
	BacklogFactor = 4
)

// Options are the settings of an engine.
type Options struct {
	Lanes      int           // 1 to MaxLanes; 0 means 1
	BusyPoll   time.Duration // how long an idle lane looks for work before it sleeps, at most; 0 never
	DiskPoll   bool          // it also looks for the end of operations that only disks work on, while these come quickly
	RequestAge time.Duration // requests that waited longer than this in our own queues are dropped unexecuted; 0 never

	// Clock gives the time as Unix nanoseconds, which may jump, and on a clock that never does. nil means the real time.
	Clock func() (realtime, nanotime int64)

	// Slow takes a request that changes persistent state (config string, mask, reserve). It must not block; false
	// means that it was not taken, and the frame is dropped. Required.
	Slow func(SlowRequest) bool
	// Neighbour is told of a frame that another target sent under one of our addresses, from a lane: it must not block.
	Neighbour func(p *Port, src aoe.MAC, addr aoe.Addr)
	// Fault is told once each time a port's link reports an error state, from a lane: it must not block.
	Fault func(p *Port, err error)
}

// SlowRequest is a request that left the hot path. Frame is a copy that belongs to the receiver.
type SlowRequest struct {
	Target *target.Export
	Port   *Port
	Frame  []byte
	Tagged bool
	TCI    uint16
}

// Export is one export as the engine runs it. The caller fills the fields; the engine owns it from AddExport on.
type Export struct {
	Target      *target.Export // its ID is set by the engine
	Store       store.Store    // stays the caller's to close, after RemoveExport
	QueueLength int            // operations on the store at once, MinQueueLength to MaxQueueLength
	Limits      *Limits        // of its initiators; nil: none. See SetLimits

	lane int
}

// Port is one interface that the engine serves.
type Port struct {
	name    string
	links   []link.Link // one per lane
	ingress atomic.Pointer[target.Ingress]
	table   atomic.Pointer[target.Table]
	stats   []stats.Port // one per lane
	id      uint32       // of its name, see Engine.name
	earlier stats.PortSnapshot
	taps    *atomic.Pointer[tapSet] // the engine's; nil before AddPort

	mu    sync.Mutex // guards what follows
	ended bool       // the links are closed
	drops uint64     // then: what Drops was
}

// Name returns the interface's name.
func (p *Port) Name() string { return p.name }

// Ingress returns the facts that are in force.
func (p *Port) Ingress() *target.Ingress { return p.ingress.Load() }

// SetIngress replaces the interface's facts (its MAC or MTU changed). The lanes use them from their next turn on. An MTU
// that is larger than the links were opened for needs a new port instead.
func (p *Port) SetIngress(in target.Ingress) { p.ingress.Store(&in) }

// SetTable replaces the exports served on this port. All of them must have been added to the engine.
// The links' filters follow.
func (p *Port) SetTable(t *target.Table) error {
	p.table.Store(t)
	f := &link.Filter{Addrs: make([]aoe.Addr, 0, len(t.All()))}
	for _, e := range t.All() {
		f.Addrs = append(f.Addrs, e.Addr())
	}
	var errs []error
	for _, l := range p.links {
		errs = append(errs, l.SetFilter(f))
	}
	return errors.Join(errs...)
}

// Table returns the table in force.
func (p *Port) Table() *target.Table { return p.table.Load() }

// Inject sends one frame at once, outside the lanes' batches: announcements, probes, replies of the slow path.
func (p *Port) Inject(frame []byte) error {
	err := p.links[0].Inject(frame)
	if p.taps != nil {
		if s := p.taps.Load(); s != nil {
			s.injected(p, frame, err)
		}
	}
	return err
}

// Stats returns the counters of one lane on this port; the counters go on.
func (p *Port) Stats(lane int) *stats.Port { return &p.stats[lane] }

// Drops returns how many frames the kernel lost because the ring was full, summed over the lanes.
func (p *Port) Drops() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return p.drops
	}
	return p.linkDrops()
}

func (p *Port) linkDrops() uint64 {
	var n uint64
	for _, l := range p.links {
		n += l.Drops()
	}
	return n
}

// close closes the links.
func (p *Port) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return nil
	}
	p.ended, p.drops = true, p.linkDrops()
	var errs []error
	for _, l := range p.links {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// PortConfig is what AddPort needs.
type PortConfig struct {
	Name    string
	Links   []link.Link // one per lane, in lane order; the engine closes them with the port
	Ingress target.Ingress
	Table   *target.Table // may be nil: nothing is served yet
}

// Engine runs the lanes.
type Engine struct {
	opts  Options
	lanes []*lane
	taps  atomic.Pointer[tapSet] // nil when there is none; set with mu held

	mu    sync.Mutex // guards what follows; never taken by a lane
	ids   []*Export  // by target ID; nil where free
	ports map[*Port]bool
	names []string                      // of all interfaces that ever were; the slice is replaced, never changed
	past  map[string]stats.PortSnapshot // counters of interfaces that were removed
}

// New makes an engine and starts its lanes, which idle until ports are added.
func New(o Options) (*Engine, error) {
	return newEngine(o, func(l *lane) { go l.run() })
}

// newEngine makes an engine and gives each of its lanes to start.
func newEngine(o Options, start func(*lane)) (*Engine, error) {
	if o.Lanes == 0 {
		o.Lanes = 1
	}
	if o.Lanes < 0 || o.Lanes > MaxLanes {
		return nil, fmt.Errorf("lanes = %d: must be 1 to %d", o.Lanes, MaxLanes)
	}
	if o.Slow == nil {
		return nil, errors.New("engine: no slow path given")
	}
	e := &Engine{opts: o, ports: map[*Port]bool{}}
	for i := 0; i < o.Lanes; i++ {
		l, err := newLane(e, i)
		if err != nil {
			for _, l := range e.lanes {
				_ = l.stop(context.Background()) // an idle lane stops at once
			}
			return nil, err
		}
		start(l)
		e.lanes = append(e.lanes, l)
	}
	return e, nil
}

// Lanes returns the number of lanes.
func (e *Engine) Lanes() int { return len(e.lanes) }

// LaneStats returns the counters of a lane; they go on.
func (e *Engine) LaneStats(i int) *stats.Lane { return &e.lanes[i].stats }

// AddExport makes the export known to its lane and sets its target's ID. It is served once a port's table holds it.
// An error (the store's channel could not be made) leaves nothing behind.
func (e *Engine) AddExport(x *Export) error {
	if x.QueueLength < MinQueueLength || x.QueueLength > MaxQueueLength {
		return fmt.Errorf("%v: queue-length = %d: must be %d to %d", x.Target.Addr(), x.QueueLength, MinQueueLength, MaxQueueLength)
	}
	if err := x.Limits.check(); err != nil {
		return fmt.Errorf("%v: %w", x.Target.Addr(), err)
	}
	e.mu.Lock()
	id := slices.Index(e.ids, nil)
	if id < 0 {
		id = len(e.ids)
		e.ids = append(e.ids, nil)
	}
	e.ids[id] = x
	e.mu.Unlock()
	x.Target.ID = uint32(id)
	x.lane = link.LaneOf(x.Target.Addr(), len(e.lanes))
	var err error
	if cerr := e.lanes[x.lane].call(func(l *lane) { err = l.addExport(x) }); cerr != nil {
		err = cerr
	}
	if err != nil {
		e.freeID(x)
		return fmt.Errorf("%v: %w", x.Target.Addr(), err)
	}
	return nil
}

// freeID makes the ID of an export one for others.
func (e *Engine) freeID(x *Export) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if int(x.Target.ID) < len(e.ids) && e.ids[x.Target.ID] == x {
		e.ids[x.Target.ID] = nil
	}
}

// RemoveExport stops serving an export that is in no port's table any more, waits until nothing of it is in flight, and
// closes its channel; then its store may be closed. When ctx ends first the export stays known, idle but for what hangs,
// the error says so, and RemoveExport may be called again.
func (e *Engine) RemoveExport(ctx context.Context, x *Export) error {
	drained := make(chan struct{})
	// When ctx ends before the lane has read this it does so later: the export and its store stay until then, and what asks again finds it done.
	m, err := e.lanes[x.lane].post(func(l *lane) { l.removeExport(x, drained) })
	if err != nil {
		return err
	}
	select {
	case <-m.done:
	case <-ctx.Done():
	}
	select {
	case <-drained: // before ctx: where both are so, it is removed
	default:
		select {
		case <-drained:
		case <-ctx.Done():
			return fmt.Errorf("%v: requests are still in flight on its storage: %w", x.Target.Addr(), ctx.Err())
		}
	}
	e.freeID(x)
	return nil
}

// SetQueueLength changes an export's queue length while it runs.
func (e *Engine) SetQueueLength(x *Export, n int) error {
	if n < MinQueueLength || n > MaxQueueLength {
		return fmt.Errorf("%v: queue-length = %d: must be %d to %d", x.Target.Addr(), n, MinQueueLength, MaxQueueLength)
	}
	return e.lanes[x.lane].call(func(l *lane) { l.setQueueLength(x, n) })
}

func newPort(c PortConfig) *Port {
	p := &Port{name: c.Name, links: c.Links, stats: make([]stats.Port, len(c.Links))}
	p.SetIngress(c.Ingress)
	return p
}

// AddPort starts to serve an interface. The links must have been opened for this engine's number of lanes.
func (e *Engine) AddPort(c PortConfig) (*Port, error) {
	if len(c.Links) != len(e.lanes) {
		return nil, fmt.Errorf("interface %s: %d links for %d lanes", c.Name, len(c.Links), len(e.lanes))
	}
	p := newPort(c)
	t := c.Table
	if t == nil {
		var err error
		if t, err = target.NewTable(nil); err != nil {
			return nil, err
		}
	}
	if err := p.SetTable(t); err != nil {
		return nil, fmt.Errorf("interface %s: %w", c.Name, err)
	}
	e.mu.Lock()
	e.ports[p] = true
	p.id, p.earlier, p.taps = e.name(p.name), e.past[p.name], &e.taps
	e.mu.Unlock()
	for i, l := range e.lanes {
		var err error
		cerr := l.call(func(l *lane) { err = l.addPort(p) })
		if err := errors.Join(cerr, err); err != nil {
			return nil, errors.Join(err, e.removePort(p, e.lanes[:i]))
		}
	}
	return p, nil
}

// RemovePort stops serving an interface and closes its links. Replies that are still due on it are lost, as they would be
// with the interface; the operations behind them finish. A lane that is held up by a disk for long is not waited for: the links are closed when it goes on, and
// an error says so.
func (e *Engine) RemovePort(p *Port) error { return e.removePort(p, e.lanes) }

// removePort is RemovePort; lanes are those that know of the port.
func (e *Engine) removePort(p *Port, lanes []*lane) error {
	e.mu.Lock()
	known := e.ports[p]
	delete(e.ports, p)
	e.mu.Unlock()
	if !known {
		return nil
	}
	var errs []error
	var waits []*mail
	for _, l := range lanes {
		switch m, err := l.post(func(l *lane) { l.removePort(p) }); {
		case err != nil:
			errs = append(errs, err)
		case !l.await(m):
			waits = append(waits, m)
			errs = append(errs, fmt.Errorf("interface %s: its sockets stay open until lane %d goes on, which waits for a disk", p.name, l.n))
		}
	}
	if len(waits) == 0 {
		errs = append(errs, p.close())
	} else {
		go func() {
			for _, m := range waits {
				<-m.done
			}
			_ = p.close() // nobody waits for what it says
		}()
	}
	e.mu.Lock()
	if e.past == nil {
		e.past = map[string]stats.PortSnapshot{}
	}
	e.past[p.name] = p.Snapshot()
	e.mu.Unlock()
	return errors.Join(errs...)
}

// Stop drains: no new frame is taken, what is in flight finishes and is answered, then the lanes end and the links are
// closed. When ctx ends first the lanes are left as they are and the error says what hangs.
func (e *Engine) Stop(ctx context.Context) error {
	var errs []error
	for _, l := range e.lanes {
		l.halt()
	}
	for _, l := range e.lanes {
		errs = append(errs, l.stop(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for p := range e.ports {
		errs = append(errs, p.close())
	}
	e.ports = map[*Port]bool{}
	return errors.Join(errs...)
}
