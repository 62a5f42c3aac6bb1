package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/config"
	"goaoe/internal/daemon/state"
	"goaoe/internal/stats"
	"goaoe/internal/store"
	"goaoe/internal/store/all"
)

// phase is where an export is on its way. The arrows: idle -> opening -> opened -> serving -> closing -> idle.
type phase uint8

const (
	idle    phase = iota // nothing is open; either it waits for something, or it is new
	opening              // a goroutine opens its source
	opened               // open, and not yet known to the engine
	serving              // known to the engine; which interfaces it is served on is their business
	closing              // a goroutine waits for its last requests
)

const (
	retryMissing = 2 * time.Second
	retryFailed  = 10 * time.Second
)

// export is one configured export. The loop owns it.
type export struct {
	addr  aoe.Addr
	want  *config.Export // as configured now; nil: to be removed
	phase phase

	// Of an idle export that could not be served:
	why     error
	missing bool // the source is not there, which may change by itself
	retryAt time.Time

	// From opening on:
	cfg     config.Export
	stale   bool // must be opened anew although the configuration did not change
	started time.Time

	// From opened on:
	path  string
	store store.Store
	info  store.Info
	entry *state.Entry
	saved state.State

	// From serving on:
	run     *running
	sectors uint64
	busy    bool // its size is being looked at
	lost    string
	refused map[string]*refusalLog // by access list: what was said of its refusals
	disk    diskLog                // what was said of its disk
	counted *stats.Export          // counters of earlier runs
}

// want makes the export's configuration the wanted one.
func (d *Daemon) want(c *config.Export) {
	x := d.exports[c.Addr]
	if x == nil {
		x = &export{addr: c.Addr}
		d.exports[c.Addr], d.order = x, nil
	}
	x.want = c
	x.retryAt = time.Time{}
}

// sorted returns the exports in the order of their addresses. The slice must not be changed; it stays as it is when exports come
// and go.
func (d *Daemon) sorted() []*export {
	if d.order == nil {
		d.order = make([]*export, 0, len(d.exports))
		for _, x := range d.exports {
			d.order = append(d.order, x)
		}
		slices.SortFunc(d.order, func(a, b *export) int { return int(a.addr.Key()) - int(b.addr.Key()) })
	}
	return d.order
}

// advance takes the exports as far on their way as they can go at this moment.
func (d *Daemon) advance() {
	now := time.Now()
	for _, x := range d.sorted() {
		switch {
		case x.phase == serving && (x.want == nil || x.stale || needsRestart(&x.cfg, x.want)):
			d.startClosing(x)
		case x.phase == serving && x.want != &x.cfg:
			d.adjust(x)
		case x.phase == idle && x.want == nil:
			d.say(slog.LevelInfo, x.subject(), "")
			delete(d.exports, x.addr)
			d.order = nil
		case x.phase == idle && !now.Before(x.retryAt):
			d.startOpening(x)
		}
	}
	if !d.started && time.Since(d.begun) < startPatience && slices.ContainsFunc(d.sorted(), func(x *export) bool { return x.phase == opening }) {
		return // so that it does not depend on chance which of two conflicting exports is served
	}
	for _, x := range d.sorted() {
		if x.phase == opened {
			d.serve(x)
		}
	}
}

func (x *export) subject() string { return x.addr.String() }

// needsRestart tells whether the export must be drained and opened anew to get from one configuration to the other. The rest
// is taken over while it runs.
func needsRestart(old, now *config.Export) bool {
	if old == now {
		return false
	}
	p := config.Diff(&config.Config{Exports: []config.Export{*old}}, &config.Config{Exports: []config.Export{*now}})
	for _, c := range p.Changed {
		for _, k := range c.Keys {
			if !slices.Contains(adjustable, k) {
				return true
			}
		}
		// The file of a read-only export is not open for writing, and what a write cache holds must become durable first.
		if old.ReadOnly && !now.ReadOnly || old.WriteCache && !now.WriteCache {
			return true
		}
	}
	return false
}

// adjustable are the keys that adjust can apply.
var adjustable = []string{"interfaces", "force", "queue-length", "buffer-count", "initiator-iops", "initiator-bandwidth", "initiator-limits", "accept", "config-read", "config-set", "read", "write",
	"read-only", "write-cache", "name", "announce", "log-target", "log-level", "trace"}

// adjust takes over what can change while the export runs.
func (d *Daemon) adjust(x *export) {
	if x.want.QueueLength != x.cfg.QueueLength {
		if err := d.eng.SetQueueLength(x.run.engine, x.want.QueueLength); err != nil {
			d.log.Error(err.Error(), forExport(x.addr))
		}
	}
	if !sameLimits(x.want, &x.cfg) {
		if err := d.eng.SetLimits(x.run.engine, limitsOf(x.want)); err != nil {
			d.log.Error(err.Error(), forExport(x.addr))
		}
	}
	x.cfg = *x.want
	x.want = &x.cfg
	x.run.target.SetBufferCount(uint16(x.cfg.BufferCount))
	x.run.target.SetAccess(accessOf(&x.cfg))
	x.run.target.SetReadOnly(x.cfg.ReadOnly)
	if x.cfg.WriteCache {
		x.run.target.AllowWriteCache()
	}
}

// startOpening opens the export's source in a goroutine.
func (d *Daemon) startOpening(x *export) {
	x.phase, x.cfg, x.stale, x.started = opening, *x.want, false, time.Now()
	x.want = &x.cfg
	cfg, dir, global := x.cfg, d.dir, d.cfg.Global
	d.bg.Add(1)
	go func() {
		defer d.bg.Done()
		o := openSource(&cfg, dir, &global, d.o.Sysroot)
		if !d.post(func() { d.sourceOpened(x, o) }) {
			o.close()
		}
	}()
}

// source is an opened source with its state.
type source struct {
	path  string
	store store.Store
	entry *state.Entry
	saved state.State
	err   error
}

func (s *source) close() {
	if s.store != nil {
		_ = s.store.Close()
	}
	if s.entry != nil {
		s.entry.Close()
	}
}

// openSource finds and opens a source and takes its state. On an error nothing stays open.
func openSource(c *config.Export, dir *state.Dir, global *config.Global, sysroot string) (s source) {
	defer func() {
		if s.err != nil {
			err := s.err
			s.close()
			s = source{err: err}
		}
	}()
	s.path = c.Source
	if _, mem := config.MemSize(c.Source); !mem {
		if s.path, s.err = config.ResolveSource(c.Source, sysroot); s.err != nil {
			return s
		}
	}
	s.store, s.err = all.Open(s.path, all.Options{Offset: c.Offset, Length: c.Length, Direct: c.Direct, ReadOnly: c.ReadOnly, WriteNow: string(c.WriteNow),
		Force: c.Force, Engine: string(c.IOEngine), IOThreads: global.IOThreads, PlainFiles: !global.RegisteredFiles, NoReadNow: !global.ReadNow, NoMerge: !global.MergeRequests})
	if s.err != nil {
		return s
	}
	if dir == nil {
		s.entry = state.Volatile()
		return s
	}
	s.entry, s.saved, s.err = dir.Acquire(c.Addr)
	return s
}

// isMissing tells whether an error of opening says that the source is not there, which may change by itself.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOMEDIUM)
}

// sourceOpened takes over what openSource did.
func (d *Daemon) sourceOpened(x *export, s source) {
	if s.err != nil {
		d.cannot(x, s.err)
		return
	}
	x.phase, x.path, x.store, x.entry, x.saved, x.info = opened, s.path, s.store, s.entry, s.saved, s.store.Info()
	x.why, x.missing = nil, false
}

// cannot notes that the export cannot be served at present, and why.
func (d *Daemon) cannot(x *export, err error) {
	d.release(x)
	x.phase, x.why, x.missing = idle, err, isMissing(err)
	pause := retryFailed
	if x.missing {
		pause = retryMissing
	}
	x.retryAt = time.Now().Add(pause)
	if x.want == nil || !d.started && d.o.Strict {
		return // nobody wants it any more; or Run ends with the error, which is said once
	}
	if x.missing {
		d.say(slog.LevelInfo, x.subject(), fmt.Sprintf("%v waiting: %s does not exist yet", x.addr, x.cfg.Source), forExport(x.addr))
	} else {
		d.say(slog.LevelError, x.subject(), fmt.Sprintf("%v not served: %s", x.addr, withoutAddr(x.addr, err)), forExport(x.addr))
	}
}

// withoutAddr returns an error's text without the address in front, where a line begins with it already.
func withoutAddr(a aoe.Addr, err error) string {
	return strings.TrimPrefix(err.Error(), a.String()+": ")
}

// release closes what an export that is not with the engine has open.
func (d *Daemon) release(x *export) {
	s := source{store: x.store, entry: x.entry}
	s.close()
	x.store, x.entry, x.run = nil, nil, nil
}

// serve gives an opened export to the engine.
func (d *Daemon) serve(x *export) {
	if x.want == nil || needsRestart(&x.cfg, x.want) {
		d.release(x)
		x.phase, x.retryAt = idle, time.Time{}
		return
	}
	if err := d.overlaps(x); err != nil {
		d.cannot(x, err)
		return
	}
	run, err := newRunning(x, d.o.Version, d.machine)
	if err == nil {
		err = d.eng.AddExport(run.engine)
	}
	if err != nil {
		d.cannot(x, err)
		return
	}
	d.slow.add(run.target, x.entry)
	x.run, x.sectors, x.phase, x.lost, x.refused = run, run.sectors, serving, "", map[string]*refusalLog{}
	x.disk = diskLog{}
	for _, n := range all.Notes(x.store) {
		d.log.Info(fmt.Sprintf("%v %s: %s", x.addr, x.cfg.Source, n), forExport(x.addr))
	}
}

// overlaps holds the export against those that are served: two that write to the same bytes destroy each other's data.
func (d *Daemon) overlaps(x *export) error {
	mine := config.Window{Addr: x.addr, ID: x.info.ID, Start: x.info.Start, End: x.info.End, ReadOnly: x.cfg.ReadOnly, Pos: x.cfg.Pos}
	for _, y := range d.sorted() {
		if y == x || y.phase != serving && y.phase != closing {
			continue
		}
		theirs := config.Window{Addr: y.addr, ID: y.info.ID, Start: y.info.Start, End: y.info.End, ReadOnly: y.cfg.ReadOnly, Pos: y.cfg.Pos}
		for _, p := range config.CheckOverlaps([]config.Window{mine, theirs}) {
			if p.Severity == config.Error && !x.cfg.Force && !y.cfg.Force {
				return fmt.Errorf("%s; %s (or force = true)", p.Message, p.Hint)
			}
			d.log.Warn(p.Message+"; "+p.Hint, forExport(x.addr))
		}
	}
	return nil
}

// startClosing takes the export off all interfaces and waits for its last requests in a goroutine.
func (d *Daemon) startClosing(x *export) {
	x.phase = closing
	for _, p := range d.ports {
		d.updateTable(p)
	}
	saved := d.slow.remove(x.run.target)
	eng, ex, log, st, cached := d.eng, x.run.engine, d.log, x.store, x.cfg.WriteCache
	d.bg.Add(1)
	go func() {
		defer d.bg.Done()
		for {
			ctx, cancel := context.WithTimeout(context.Background(), drainLimit)
			err := eng.RemoveExport(ctx, ex)
			hangs := ctx.Err() != nil
			cancel()
			if err == nil || !hangs {
				break
			}
			select {
			case <-d.quit:
				return
			default:
				log.Warn(err.Error()+"; still waiting", forExport(ex.Target.Addr()))
			}
		}
		if s, ok := st.(interface{ Sync() error }); ok && cached {
			if err := s.Sync(); err != nil {
				log.Error(fmt.Sprintf("%v: what the write cache held may be lost: %v", x.addr, err))
			}
		}
		select {
		case <-saved:
		case <-d.quit:
			return
		}
		d.post(func() { d.closed(x) })
	}()
}

// closed takes over that the engine let go of an export.
func (d *Daemon) closed(x *export) {
	x.counted = &x.run.target.Stats
	d.release(x)
	x.phase, x.retryAt = idle, time.Time{}
	if x.want == nil {
		d.log.Info(fmt.Sprintf("%v no longer served", x.addr), forExport(x.addr))
	}
}

// lookAtSize asks in a goroutine how large the source is now.
func (d *Daemon) lookAtSize(x *export) {
	if x.phase != serving || x.busy {
		return
	}
	x.busy = true
	st, run := x.store, x.run
	d.bg.Add(1)
	go func() {
		defer d.bg.Done()
		info, err := st.Refresh()
		d.post(func() {
			x.busy = false
			if x.run == run && x.phase == serving {
				d.sizeSeen(x, info, err)
			}
		})
	}()
}

// sizeSeen follows a change of size.
func (d *Daemon) sizeSeen(x *export, info store.Info, err error) {
	if err != nil {
		if isMissing(err) { // the device was pulled out: when it comes back it is another one to the kernel
			d.log.Warn(fmt.Sprintf("%v %s is gone: %v", x.addr, x.cfg.Source, err), forExport(x.addr))
			x.stale = true
		} else if x.lost != err.Error() {
			d.log.Warn(fmt.Sprintf("%v: looking at the size: %v", x.addr, err), forExport(x.addr))
		}
		x.lost = err.Error()
		return
	}
	x.info, x.lost = info, ""
	n := sectorsOf(info, &x.cfg)
	if n == x.sectors {
		return
	}
	if n < x.sectors {
		d.log.Warn(fmt.Sprintf("%v shrank from %d to %d sectors: what was behind is lost", x.addr, x.sectors, n), forExport(x.addr))
	} else {
		d.log.Info(fmt.Sprintf("%v grew from %d to %d sectors", x.addr, x.sectors, n), forExport(x.addr))
	}
	x.sectors = n
	x.run.target.SetSectors(n)
	for _, p := range d.ports {
		if p.serves(x) && x.cfg.Announce {
			d.announce(p, x)
		}
	}
}

// sectorsOf is the size that is served.
func sectorsOf(i store.Info, c *config.Export) uint64 {
	n := i.Size / store.SectorSize
	if c.SizeRound > 1 {
		n -= n % c.SizeRound
	}
	return uint64(n)
}
