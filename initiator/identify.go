package initiator

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/link"
)

// config takes a config reply or an announcement: what a target says of itself, and that it is there.
func (d *Disk) config(p *port, h aoe.Header, f []byte, now int64) {
	t, ok := answer(f, d.askTag, p.info)
	if !ok || len(d.opt.Targets) > 0 && !slices.Contains(d.opt.Targets, h.Src) {
		return
	}
	w := d.pathOf(p, h.Src)
	if w == nil {
		if w = d.addPath(p, h.Src, now); w == nil {
			return
		}
	}
	d.configured(w, t)
	if w.state == pathUp && (h.Tag == d.askTag || now-w.asked < int64(d.tune.again)) {
		return
	}
	if w.state == pathRefused && now-w.asked < int64(d.tune.again) {
		return
	}
	d.identify(w, now)
}

// query asks on all interfaces who has the address.
func (d *Disk) query(now int64) {
	for _, p := range d.ports {
		b := make([]byte, aoe.MinFrame)
		h := aoe.Header{Dst: aoe.Broadcast, Src: p.info.MAC, Version: aoe.Version, Addr: d.addr, Cmd: aoe.CmdConfig, Tag: d.askTag}
		_, _ = h.Encode(b) // both fit
		_, _ = (&aoe.Config{Version: aoe.Version, Op: aoe.ConfigRead}).Encode(b)
		p.out = append(p.out, link.Msg{Head: b})
		p.from = append(p.from, -1)
	}
	d.asked = now
}

func newAskTag() uint32 { return ownTag | rand.Uint32()>>1 }

// identify asks on a path what is there, until it answers.
func (d *Disk) identify(w *path, now int64) {
	if w.ask >= 0 {
		w.again = w.again || now-w.asked > int64(d.tune.again) // the one under way may have been answered before what we heard of
		return
	}
	x := d.take(forIdentity, now)
	if x == nil {
		return
	}
	w.ask, w.again, w.asked = int(x.slot), false, now
	x.regs = aoe.ATA{Count: 1, Command: ata.OpIdentify, LBA: [6]byte{3: 0xa0}}
	d.transmit(x, w, now)
}

// identified takes the answer to IDENTIFY.
func (d *Disk) identified(x *exchange, w *path, h aoe.Header, f []byte, now int64) {
	if h.Flags&aoe.FlagError != 0 && h.Code == aoe.Unavailable {
		w.err = ErrUnavailable
		return // asked again
	}
	if x.tries == 0 {
		w.rtt.add(time.Duration(now - x.sent))
	}
	again := w.again
	d.free(x)
	defer d.changed()
	id, err := readIdentity(h, f)
	if err != nil {
		d.refuse(w, fmt.Errorf("IDENTIFY DEVICE: %w", err))
		return
	}
	w.ident, w.known = id, true
	d.judge(w, now)
	if again {
		d.identify(w, now)
	}
}

func readIdentity(h aoe.Header, f []byte) (ata.Identity, error) {
	if h.Flags&aoe.FlagError != 0 {
		return ata.Identity{}, codeError(h.Code)
	}
	if len(f) < aoe.ATALen {
		return ata.Identity{}, errShort
	}
	regs, data, _ := aoe.DecodeATA(f)
	if regs.Command&ata.StatusFailed != 0 {
		return ata.Identity{}, statusError(regs.Command, regs.Feature)
	}
	id, err := ata.ParseIdentify(data)
	if err != nil {
		return id, fmt.Errorf("%w: %w", ErrRubbish, err)
	}
	return id, nil
}

// judge decides what a path is good for, after it said what is there. The first one says what our disk is; the others must agree in serial
// number, model and size: the same address may be given to two disks by mistake, and using both as one would destroy both.
func (d *Disk) judge(w *path, now int64) {
	if !d.identKnown {
		d.ident, d.identKnown = w.ident, true
		d.sectors.Store(w.ident.Sectors)
		d.admit(w, now)
		return
	}
	same, size := sameDisk(&w.ident, &d.ident), d.sectors.Load()
	switch {
	case !same:
		d.refuse(w, fmt.Errorf("another disk: model %q, serial %q; ours is model %q, serial %q", w.ident.Model, w.ident.Serial,
			d.ident.Model, d.ident.Serial))
	case d.change != nil:
		d.checkChange(now)
	case w.ident.Sectors == size && w.ident.Model == d.ident.Model:
		d.admit(w, now)
	default:
		d.beginChange(w, now)
	}
}

// sameDisk tells whether two identities may be the same disk: by the serial number, and where that is one that many disks have, by the model too. A
// model and a size may change while a disk is in use, on all paths at the same time.
func sameDisk(a, b *ata.Identity) bool {
	if a.Serial != b.Serial {
		return false
	}
	return strings.Trim(a.Serial, "0 ") != "" && a.Serial != "SN HERE" || a.Model == b.Model
}

// change is a new model or size that a path showed, while the others are asked.
type change struct {
	model   string
	sectors uint64
	at      int64
}

func (c *change) shown(w *path) bool { return w.ident.Sectors == c.sectors && w.ident.Model == c.model }

// beginChange asks all other paths as well when one shows another model or size.
func (d *Disk) beginChange(w *path, now int64) {
	d.change = &change{w.ident.Model, w.ident.Sectors, now}
	for _, v := range d.paths {
		if v != w && v.state == pathUp {
			d.identify(v, now)
			v.again = v.again || v.asked < now
		}
	}
	d.timer = min(d.timer, now+int64(d.tune.down))
	d.checkChange(now)
}

// checkChange ends the search when all paths in use have answered (or went down): what is new counts when all agree, else
// those that differ from the disk as we have it are refused.
func (d *Disk) checkChange(now int64) {
	c := d.change
	agree, differ := 0, 0
	var new ata.Identity
	for _, w := range d.paths {
		switch {
		case !w.known || w.state != pathUp && !c.shown(w) || !sameDisk(&w.ident, &d.ident):
		case w.state == pathUp && (w.ask >= 0 || w.again) && now-c.at < int64(d.tune.down):
			return // not all have answered
		case c.shown(w):
			new = w.ident
			agree++
		default:
			differ++
		}
	}
	d.change = nil
	old := d.sectors.Load()
	if differ == 0 && agree > 0 {
		d.ident = new
		d.sectors.Store(c.sectors)
		switch {
		case c.sectors > old:
			d.event(Event{Kind: Grown, Old: int64(old) * SectorSize, New: int64(c.sectors) * SectorSize})
		case c.sectors < old:
			d.event(Event{Kind: Shrunk, Old: int64(old) * SectorSize, New: int64(c.sectors) * SectorSize})
		}
	}
	size := d.sectors.Load()
	for _, w := range d.paths {
		if !w.known || w.state == pathDown || !sameDisk(&w.ident, &d.ident) {
			continue
		}
		if w.ident.Sectors == size && w.ident.Model == d.ident.Model {
			d.admit(w, now)
		} else {
			d.refuse(w, fmt.Errorf("another disk of the same serial number %q: model %q, %d sectors; ours is model %q, %d sectors",
				w.ident.Serial, w.ident.Model, w.ident.Sectors, d.ident.Model, size))
		}
	}
}

// admit takes a path into use that proved to lead to our disk.
func (d *Disk) admit(w *path, now int64) {
	if w.state == pathUp || w.pr.first {
		return
	}
	if w.sectors == 0 && w.max > small {
		d.firstProbe(w, now) // up when that has an answer, or has waited for one for long enough
		return
	}
	if w.sectors == 0 {
		w.sectors = w.max
	}
	d.pathIsUp(w, now)
}

// pathIsUp puts a path into use.
func (d *Disk) pathIsUp(w *path, now int64) {
	gone := d.gone
	w.state, w.err, w.suspect, w.told = pathUp, nil, false, true
	w.window, w.thresh = max(1, w.limit/2), w.limit
	d.gone = false
	d.event(Event{Kind: PathUp, Path: d.show(w)})
	if gone {
		d.event(Event{Kind: Back})
	}
	// What waits for an answer that may never come goes out again at once.
	for i := range d.slots {
		if x := &d.slots[i]; x.busy && !x.bound() && x.path != nil && !x.stray && (x.path == w || x.path.state != pathUp) && x.tries > 0 {
			x.due, x.tries, x.since = now, 0, now
		}
	}
	d.timer = min(d.timer, now)
	d.changed()
}

// pathIsDown takes a path out of use that is silent.
func (d *Disk) pathIsDown(w *path, err error, now int64) {
	if w.state != pathUp {
		return
	}
	w.state, w.err = pathDown, err
	d.closeProbe(w)
	d.event(Event{Kind: PathDown, Path: d.show(w), Err: err})
	d.lost(now)
	d.identify(w, now)
	d.changed()
}

// lost notes that no path is left.
func (d *Disk) lost(now int64) {
	if d.gone || !d.identKnown || d.anyUp() {
		return
	}
	d.gone = true
	d.event(Event{Kind: Gone, Err: ErrTimeout})
	d.query(now)
}

func (d *Disk) anyUp() bool {
	return slices.ContainsFunc(d.paths, func(w *path) bool { return w.state == pathUp })
}

// refuse bars a path that does not lead to our disk.
func (d *Disk) refuse(w *path, err error) {
	was := w.state
	again := was == pathRefused && w.err != nil && w.err.Error() == err.Error()
	w.state, w.err = pathRefused, err
	d.closeProbe(w)
	if !again {
		d.event(Event{Kind: PathRefused, Path: d.show(w), Err: err})
	}
	if was == pathUp {
		now := w.heard
		for i := range d.slots { // what is under way there goes to the others
			if x := &d.slots[i]; x.busy && !x.bound() && x.path == w && !x.stray {
				x.due = now
			}
		}
		d.timer = min(d.timer, now)
		d.lost(now)
	}
	d.changed()
}

// why says why no path came up, for Open.
func (d *Disk) why() error {
	var errs []error
	for _, w := range d.paths {
		switch {
		case w.state == pathRefused:
			errs = append(errs, fmt.Errorf("%v: %w", w.conf, w.err))
		case errors.Is(w.err, ErrUnavailable):
			errs = append(errs, fmt.Errorf("%v: %w", w.conf, w.err))
		case !w.known:
			errs = append(errs, fmt.Errorf("%v answers questions about its configuration, but not IDENTIFY DEVICE: %w", w.conf, ErrTimeout))
		default:
			errs = append(errs, fmt.Errorf("%v: %w", w.conf, ErrTimeout))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	names := ""
	for i, p := range d.ports {
		if i > 0 {
			names += ", "
		}
		names += p.info.Name
	}
	return fmt.Errorf("%v on %s: %w", d.addr, names, ErrNotFound)
}
