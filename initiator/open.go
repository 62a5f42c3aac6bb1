package initiator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/link/packet"
	"goaoe/internal/sys"
)

// settleTime is how long Open waits for further paths after the first is up.
const settleTime = 20 * time.Millisecond

// Open finds the target, asks what its disk is, and returns it. ctx covers the opening only. It returns as soon as one path is up and those
// heard of so far are decided; further ones join by themselves.
//
// It fails with ErrNotFound when nothing answers within Options.Wait, with ErrTimeout or ErrRubbish when something does but no disk is
// behind it, and without permission for packet sockets (CAP_NET_RAW). An interface that Options.Interfaces names must be
// there; without names those that cannot be used are passed over.
func Open(ctx context.Context, addr aoe.Addr, o Options) (*Disk, error) {
	if addr.Wild() {
		return nil, fmt.Errorf("%v: an exact address is needed", addr)
	}
	if o.Window < 0 || o.Sectors < 0 || o.Timeout < 0 || o.Wait < 0 {
		return nil, fmt.Errorf("%v: window %d, sectors %d, timeout %v, wait %v: none can be negative", addr, o.Window, o.Sectors, o.Timeout, o.Wait)
	}
	links, err := openLinks(o.Interfaces)
	if err != nil {
		return nil, err
	}
	return start(ctx, links, addr, o, defaults(o), openLink)
}

// openLink opens an interface of the calling thread's network namespace.
var openLink = func(name string) (link.Link, error) { return packet.Open(name, packet.Options{}) }

// openLinks opens the interfaces: all that are named, or any of those that are up.
func openLinks(names []string) (links []link.Link, err error) {
	named := len(names) > 0
	if !named {
		if names, err = Interfaces(); err != nil {
			return nil, err
		}
	}
	var errs []error
	seen := map[string]bool{}
	for _, name := range names {
		if seen[name] {
			continue
		}
		seen[name] = true
		l, err := openLink(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		links = append(links, l)
	}
	switch {
	case named && len(errs) > 0:
	case len(links) > 0:
		return links, nil
	case len(errs) > 1: // of all that are up: one line says enough
		errs = errs[:1]
	case len(errs) == 0:
		errs = append(errs, errors.New("no Ethernet interface is up"))
	}
	for _, l := range links {
		_ = l.Close() // the first error is the one to report
	}
	return nil, errors.Join(errs...)
}

// start opens a disk over links, which belong to it from then on.
func start(ctx context.Context, links []link.Link, addr aoe.Addr, o Options, t tuning, again func(string) (link.Link, error)) (*Disk, error) {
	d, err := newDisk(links, addr, o, t)
	if err != nil {
		return nil, err
	}
	d.open = again
	go d.background()
	if err := d.find(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// find waits for the first paths.
func (d *Disk) find(ctx context.Context) error {
	wait := d.opt.Wait
	if wait <= 0 {
		wait = defaultWait
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := sys.Nanotime()
	d.query(now)
	d.flush()
	end, settled := now+int64(wait), int64(0)
	up := func() bool {
		if !d.anyUp() {
			return false
		}
		now := sys.Nanotime()
		if settled == 0 {
			settled = min(end, now+int64(settleTime))
		}
		d.timer = min(d.timer, settled)
		return now >= settled && !d.undecided()
	}
	short, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err := d.watch(short, up)
	if err != nil && ctx.Err() == nil && !d.anyUp() && len(d.paths) > 0 { // somebody is there
		long, cancel := context.WithTimeout(ctx, d.tune.down)
		defer cancel()
		err = d.watch(long, up)
	}
	switch {
	case d.closed:
		return ErrClosed
	case ctx.Err() != nil && !d.anyUp():
		return ctx.Err()
	case err != nil && !d.anyUp():
		return d.why()
	}
	d.opened = true
	return nil
}

// undecided tells whether a path that answered is still being looked at.
func (d *Disk) undecided() bool {
	for _, w := range d.paths {
		if w.state == pathNew && (w.known || sys.Nanotime()-w.born < int64(d.tune.suspect)) {
			return true
		}
	}
	return false
}

// reopen opens interfaces anew that were removed and came back: the socket of the old one stays dead.
func (d *Disk) reopen(now int64) {
	const every = int64(2 * time.Second)
	if d.open == nil {
		return
	}
	wanted := false
	for i, p := range d.ports {
		if !p.down || p.info.Index == 0 {
			continue
		}
		wanted = true
		if now-d.reopened < every {
			continue
		}
		if ifi, err := net.InterfaceByName(p.info.Name); err != nil || ifi.Index == p.info.Index {
			continue
		}
		l, err := d.open(p.info.Name)
		if err != nil {
			continue // later
		}
		_ = l.SetFilter(d.id.replies(d.addr)) // without it, it only wakes more often
		_ = p.link.Close()
		p.link, p.info, p.down = l, l.Info(), false
		d.fds[i+1].Fd = int32(l.FD())
		for j := range p.from {
			if s := p.from[j]; s >= 0 {
				d.slots[s].queued = false
			}
		}
		p.out, p.from = p.out[:0], p.from[:0]
		for _, w := range d.paths {
			if w.port == p {
				d.identify(w, now)
			}
		}
	}
	if wanted {
		if now-d.reopened >= every {
			d.reopened = now
		}
		d.timer = min(d.timer, d.reopened+every)
	}
}
