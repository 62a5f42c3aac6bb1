package initiator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/link"
	"goaoe/internal/sys"
)

// Disk is a target's disk, over all the paths that lead to it. Its methods may be called by several goroutines at a time.
type Disk struct {
	addr    aoe.Addr
	opt     Options
	tune    tuning
	id      tagID
	busy    busy
	wake    *sys.EventFD
	closing chan struct{}
	over    chan struct{}                        // the background has ended
	open    func(name string) (link.Link, error) // opens a link anew; nil: cannot

	sectors atomic.Uint64

	mu         sync.Mutex
	closed     bool
	opened     bool // Open has succeeded
	ports      []*port
	fds        []unix.PollFd // of wake and the ports; the receiver's
	polled     []unix.PollFd // those and what the receiver waits for besides
	frames     [64]link.Frame
	paths      []*path
	pathIDs    uint64
	turnOf     int
	ident      ata.Identity
	identKnown bool
	gone       bool
	doubt      bool // a request was refused because of its range: the disk may have shrunk
	oldFlush   bool // the disk has no FLUSH CACHE EXT
	change     *change
	askTag     uint32
	asked      int64 // when config queries were sent last
	reopened   int64

	slots    []exchange
	freeRing [maxSlots]int32
	freeAt   int
	frees    int
	writes   int // exchanges that change sectors
	rests    []*rest
	strays   []int32
	waiting  list

	receiving bool
	turns     uint64
	timer     int64 // when something is due
	wakeAt    int64 // while somebody receives: until when it sleeps at most
	parked    waiters
	watchers  []*waiter
	lastDone  int64 // when a request was answered last
	roused    int64 // when a rest ended last
	nap       int64 // how long the receiver lets answers gather, nanoseconds
	every     int64 // mean time between answers; 0: not known
	planned   int64
	foreign   aoe.MAC
	foreignAt int64
	stats     Stats
	events    []Event
	telling   bool
	pool      sync.Pool
}

var (
	_ io.ReaderAt = (*Disk)(nil)
	_ io.WriterAt = (*Disk)(nil)
)

// newDisk makes a disk without paths over some links, which belong to it from then on, also when it fails.
func newDisk(links []link.Link, addr aoe.Addr, o Options, t tuning) (d *Disk, err error) {
	d = &Disk{addr: addr, opt: o, tune: t, closing: make(chan struct{}), over: make(chan struct{}), askTag: newAskTag(), timer: 0, busy: busy{most: int64(max(o.BusyPoll, 0))}}
	defer func() {
		if err != nil {
			for _, l := range links {
				err = errors.Join(err, l.Close())
			}
		}
	}()
	if d.wake, err = sys.NewEventFD(); err != nil {
		return nil, err
	}
	if d.id, err = newTagID(); err != nil {
		return nil, errors.Join(err, d.wake.Close())
	}
	d.slots = make([]exchange, maxSlots)
	first := newAskTag()
	for i := range d.slots {
		d.slots[i].slot = int32(i)
		d.slots[i].last = first & genMax // not where the process before us began
		d.freeRing[i] = int32(i)
	}
	d.frees = maxSlots
	d.pool.New = func() any { return &op{w: waiter{wake: make(chan struct{}, 1)}} }
	for _, l := range links {
		if err := l.SetFilter(d.id.replies(addr)); err != nil {
			d.id.free()
			return nil, errors.Join(err, d.wake.Close())
		}
		d.ports = append(d.ports, &port{link: l, info: l.Info()})
	}
	d.setFDs()
	return d, nil
}

func (d *Disk) setFDs() {
	d.fds = d.fds[:0]
	d.fds = append(d.fds, unix.PollFd{Fd: int32(d.wake.FD()), Events: unix.POLLIN})
	for _, p := range d.ports {
		d.fds = append(d.fds, unix.PollFd{Fd: int32(p.link.FD()), Events: unix.POLLIN})
	}
}

// portDown leaves an interface that is down.
func (d *Disk) portDown(p *port) {
	if p.down {
		return // known: what is under way is repeated at its own pace
	}
	p.down = true
	now := sys.Nanotime()
	for _, w := range d.paths {
		if w.port == p {
			d.pathIsDown(w, fmt.Errorf("%s: %w", p.info.Name, link.ErrDown), now)
		}
	}
	for i := range d.slots {
		if x := &d.slots[i]; x.busy && x.purpose == forOp && !x.stray && x.path != nil && x.path.port == p {
			x.due = now
		}
	}
	d.timer = min(d.timer, now)
}

// nudge wakes the receiver when something is due earlier than it would wake.
func (d *Disk) nudge() {
	if d.receiving && d.timer < d.wakeAt {
		d.wakeAt = d.timer
		d.wake.Signal()
	}
}

// Addr returns the address.
func (d *Disk) Addr() aoe.Addr { return d.addr }

// Size is the size in bytes, as the target said last.
func (d *Disk) Size() int64 { return int64(d.sectors.Load()) * SectorSize }

// Identity returns what the disk tells of itself.
func (d *Disk) Identity() ata.Identity {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ident
}

// best is the path to show when only one can be: one that is up, with the largest frames.
func (d *Disk) best() *path {
	var b *path
	for _, w := range d.paths {
		if b == nil || (w.state == pathUp) != (b.state == pathUp) && w.state == pathUp || w.state == b.state && w.sectors > b.sectors {
			b = w
		}
	}
	return b
}

// Target returns what the target tells of itself on its best path.
func (d *Disk) Target() Target {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w := d.best(); w != nil {
		return w.conf
	}
	return Target{Addr: d.addr}
}

// FrameSectors is how many sectors one request carries at most, on the best path: offsets and lengths that are multiples of it waste no frames.
func (d *Disk) FrameSectors() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w := d.best(); w != nil {
		return w.sectors
	}
	return 1
}

// Paths returns all known ways to the disk, those that are refused included, ordered by interface and MAC.
func (d *Disk) Paths() []Path {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]Path, 0, len(d.paths))
	for _, w := range d.paths {
		all = append(all, d.show(w))
	}
	slices.SortFunc(all, func(a, b Path) int {
		if a.Interface != b.Interface {
			return slices.Compare([]byte(a.Interface), []byte(b.Interface))
		}
		return slices.Compare(a.MAC[:], b.MAC[:])
	})
	return all
}

// Stats returns the counters of the disk since Open, over all paths.
func (d *Disk) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

// watch waits until done, a function of the state of the paths, says so.
func (d *Disk) watch(ctx context.Context, done func() bool) error {
	w := &waiter{wake: make(chan struct{}, 1)}
	d.watchers = append(d.watchers, w)
	defer func() {
		d.watchers = slices.DeleteFunc(d.watchers, func(v *waiter) bool { return v == w })
	}()
	return d.await(ctx, w, condition{d, done})
}

// condition is something that is true of the paths at last.
type condition struct {
	d    *Disk
	done func() bool
}

func (c condition) ready() bool { return c.d.closed || c.done() }

// Refresh asks the disk on all its paths what it is. Growth and shrinking become events and the new Size, when all paths agree.
func (d *Disk) Refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.tune.timeout)
	defer cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	now := sys.Nanotime()
	for _, w := range d.paths {
		if w.state != pathRefused {
			d.identify(w, now)
			w.again = w.again || w.asked < now
		}
	}
	d.nudge()
	err := d.watch(ctx, func() bool {
		for _, w := range d.paths {
			if w.state == pathUp && (w.ask >= 0 || w.again) {
				return false
			}
		}
		return d.change == nil
	})
	switch {
	case d.closed:
		err = ErrClosed
	case err == nil && !d.anyUp():
		err = d.why()
	case errors.Is(err, context.DeadlineExceeded):
		err = ErrTimeout
	}
	if err != nil {
		return fmt.Errorf("%v: asking what it is: %w", d.addr, err)
	}
	return nil
}

// Close ends the use of the disk. What is under way fails with ErrClosed; what became of it is not known. A second Close does nothing.
func (d *Disk) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	close(d.closing)
	d.failAll(ErrClosed, sys.Nanotime())
	d.changed()
	for d.receiving {
		d.wake.Signal()
		d.mu.Unlock()
		time.Sleep(20 * time.Microsecond)
		d.mu.Lock()
	}
	d.mu.Unlock()
	<-d.over
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, p := range d.ports {
		errs = append(errs, p.link.Close())
	}
	errs = append(errs, d.wake.Close())
	d.id.free()
	return errors.Join(errs...)
}
