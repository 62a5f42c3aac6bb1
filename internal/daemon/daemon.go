// Package daemon makes what runs equal to what is configured: it opens exports and interfaces, waits for those that are not
// there yet, follows them when they change, and applies a changed configuration by touching only what differs.
//
// One goroutine, the loop in Run, owns all of it. Whatever may take long (opening a device, draining an export, asking the wire)
// runs beside it and posts its result back. After every event the loop calls reconcile, which compares what should be with what is:
// no event carries a decision, so none can be missed.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"goaoe/aoe"
	"goaoe/internal/config"
	"goaoe/internal/control"
	"goaoe/internal/daemon/netwatch"
	"goaoe/internal/daemon/state"
	"goaoe/internal/engine"
)

const (
	tickEvery       = 2 * time.Second       // sizes are looked at, and what is waited for is tried again
	startPatience   = 5 * time.Second       // how long slow devices may hold up the others at the start
	carrierPatience = time.Second           // how long a carrier is waited for at the start
	drainLimit      = 10 * time.Second      // how long requests in flight may hold up the end
	settleAfter     = 20 * time.Millisecond // changes of interfaces come in bursts
)

// Options are what a daemon is made of.
type Options struct {
	Config *config.Config // without errors
	// Files are what Config was made of by Parse.
	Files config.Files
	// Read reads the files anew for a reload; nil when there are none.
	Read func() (config.Files, config.Problems)
	// Parse makes a configuration of files, and of what the command line says; nil where nothing can be changed at run time.
	Parse func(config.Files) (*config.Config, config.Problems)
	// DropInDir is the folder where changes made at run time are saved; empty when they cannot be.
	DropInDir string
	// Format of the main file, and Socket of the control API, are only told in Status.
	Format, Socket string
	// Logs changes what is logged, and where, while the daemon runs; nil when that cannot change. Log leads there.
	Logs LogControl
	Log  *slog.Logger
	// Strict makes everything that cannot be served at the start an error of Run; otherwise what is not there is waited for.
	Strict bool
	// StateFallback takes the user's own state directory, or none, where the configured one cannot be used.
	StateFallback bool
	// Volatile keeps states in memory only, which is lost at the end.
	Volatile bool
	// Version is told to initiators as the firmware revision, cut to 8 characters.
	Version string
	// Confine gives up rights that are not needed any more; it is called once, when the state directory (stateDir, or "") is open and before any
	// frame is received. What it returns is told in Status. It may be nil.
	Confine func(stateDir string) []control.Confinement
	// Ready is called once, when everything that can be served is served.
	Ready func(Status)
	// Sysroot is put before paths of sources; empty but in tests.
	Sysroot string
}

// Daemon serves what a configuration says.
type Daemon struct {
	o   Options
	cfg *config.Config
	log *slog.Logger

	eng     *engine.Engine
	watch   *netwatch.Watcher
	dir     *state.Dir // nil: states are not kept
	machine string     // identity of this machine, for serial numbers
	slow    *slowPath

	posts      chan func()
	asks       chan func()   // like posts, for what reconciles itself or changes nothing
	quit       chan struct{} // closed when the loop has ended
	bg         sync.WaitGroup
	faults     chan fault
	neighbours chan stranger
	layers     layers
	base       baseline

	exports  map[aoe.Addr]*export
	order    []*export     // the same by address; nil: to be made anew
	patterns []string      // what the exports have for interfaces, each once; nil: to be made anew
	ports    map[int]*port // by interface index
	failed   map[int]portFailure
	said     map[string]string // subject: what was last said of it
	heard    map[stranger]time.Time
	traced   traced
	started  bool
	begun    time.Time
	fatal    error
	ready    bool
	stuck    bool // the lanes could not be stopped
	notifier *notifier
	confined []control.Confinement
}

// New makes a daemon. Nothing is opened before Run.
func New(o Options) *Daemon {
	d := &Daemon{o: o, cfg: o.Config, layers: layers{files: o.Files, unsaved: map[aoe.Addr]config.Layer{}}, log: o.Log, posts: make(chan func(), 64), asks: make(chan func()), quit: make(chan struct{}), faults: make(chan fault, 16),
		neighbours: make(chan stranger, 16), exports: map[aoe.Addr]*export{}, ports: map[int]*port{},
		failed: map[int]portFailure{}, said: map[string]string{}, heard: map[stranger]time.Time{}}
	d.slow = newSlowPath(d.log)
	return d
}

// Run serves until ctx ends, then drains what is in flight. The network namespace of the calling thread counts. A daemon runs once.
func (d *Daemon) Run(ctx context.Context) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer d.finish()
	if err := d.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.shut()) }()
	return d.loop(ctx)
}

// open starts what everything else needs.
func (d *Daemon) open() (err error) {
	d.begun = time.Now()
	if err := d.openStateDir(); err != nil {
		return err
	}
	d.machine = machineID(d.o.Sysroot, d.dir)
	if d.o.Confine != nil {
		path := ""
		if d.dir != nil {
			path = d.dir.Path()
		}
		d.confined = d.o.Confine(path)
	}
	if d.watch, err = netwatch.New(); err != nil {
		return err
	}
	// Each lane keeps one of the scheduler's processors to itself. With none to spare the scheduler would take a lane's processor away
	// whenever it is in the kernel, and look for the chance every 20 us: a tenth of the throughput when pinned to one CPU.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), d.cfg.Global.Lanes+2))
	d.eng, err = engine.New(engine.Options{Lanes: d.cfg.Global.Lanes, BusyPoll: d.cfg.Global.BusyPoll, DiskPoll: d.cfg.Global.DiskPoll, RequestAge: d.cfg.Global.RequestAgeLimit,
		Slow: d.slow.take, Neighbour: d.noteNeighbour, Fault: d.noteFault})
	if err != nil {
		d.watch.Close()
		return err
	}
	d.notifier = newNotifier(d.log)
	for i := range d.cfg.Exports {
		d.want(&d.cfg.Exports[i])
	}
	d.followTraced()
	return nil
}

// openStateDir opens the state directory, or finds another where that is allowed.
func (d *Daemon) openStateDir() error {
	if d.o.Volatile {
		return nil
	}
	dir, err := state.Open(d.cfg.Global.StateDirectory)
	if err == nil {
		d.dir = dir
		return nil
	}
	if !d.o.StateFallback {
		return fmt.Errorf("%w; make it writable, or choose another (state-directory, --state-dir)", err)
	}
	if own := userStateDir(); own != "" {
		if dir, oerr := state.Open(own); oerr == nil {
			d.dir = dir
			d.log.Info("config strings, masks and reservations are kept in " + own)
			return nil
		}
	}
	d.log.Warn("config strings, masks and reservations will be lost at the end: there is no state directory to write to; choose one by --state-dir",
		"tried", d.cfg.Global.StateDirectory)
	return nil
}

// loop handles one event after the other.
func (d *Daemon) loop(ctx context.Context) error {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	beat, stopBeat := d.notifier.watchdog()
	defer stopBeat()
	var settle <-chan time.Time
	patience, early := time.After(startPatience), time.After(carrierPatience)
	for asked := false; ; {
		if !asked {
			d.reconcile()
		}
		if d.fatal != nil {
			return d.fatal
		}
		asked = false
		select {
		case fn := <-d.asks:
			fn()
			asked = true
		case <-ctx.Done():
			return nil
		case fn := <-d.posts:
			fn()
			d.morePosts()
		case <-d.watch.Changed():
			if settle == nil {
				settle = time.After(settleAfter)
			}
		case <-settle:
			settle = nil
		case <-patience:
		case <-early:
		case <-tick.C:
			d.tick()
		case f := <-d.faults:
			d.portFault(f)
		case s := <-d.neighbours:
			d.hearNeighbour(s)
		case <-beat:
			d.notifier.alive()
		}
	}
}

// morePosts runs what was posted meanwhile, so that one reconcile does for all: every export tells its size every two seconds.
func (d *Daemon) morePosts() {
	for range cap(d.posts) * 4 { // and not for ever
		select {
		case fn := <-d.posts:
			fn()
		default:
			return
		}
	}
}

// shut drains what is in flight and closes everything.
func (d *Daemon) shut() error {
	d.notifier.stopping()
	ctx, cancel := context.WithTimeout(context.Background(), drainLimit)
	defer cancel()
	d.slow.stop(ctx)
	err := d.eng.Stop(ctx)
	for _, p := range d.ports {
		p.closeClaims()
	}
	d.watch.Close()
	if err != nil {
		d.stuck = true
		return fmt.Errorf("stopping: %w", err)
	}
	return nil
}

// finish waits for what runs beside the loop, but not for ever: a device may hang. Then it closes what is open.
func (d *Daemon) finish() {
	close(d.quit)
	done := make(chan struct{})
	go func() {
		d.bg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
	}
	for {
		select {
		case fn := <-d.posts: // what was opened or drained meanwhile is closed with the others
			fn()
			continue
		default:
		}
		break
	}
	if d.stuck {
		return // the lanes still use the stores: they are left to the end of the process
	}
	for _, x := range d.exports {
		d.release(x)
	}
}

// post has the loop run fn. Without a loop fn is dropped and post returns false: then the caller owns what fn would have taken.
func (d *Daemon) post(fn func()) bool {
	select {
	case d.posts <- fn:
		return true
	case <-d.quit:
		return false
	}
}

// say logs a line about a subject (with the attributes about, see forExport) unless the last line about it was the same. An empty text forgets what was said.
func (d *Daemon) say(level slog.Level, subject, text string, about ...slog.Attr) {
	if d.said[subject] == text {
		return
	}
	if text == "" {
		delete(d.said, subject)
		return
	}
	d.said[subject] = text
	d.log.LogAttrs(context.Background(), level, text, about...)
}
