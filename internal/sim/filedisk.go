package sim

import (
	"golang.org/x/sys/unix"

	"goaoe/internal/store"
)

// fileDisk is a disk as the file store sees it: file.QuickDevice.
type fileDisk struct{ *disk }

// Transfer implements file.Device.
func (d fileDisk) Transfer(write bool, off int64, buf []byte, sync bool, done func(int32)) {
	kind := store.Read
	if write {
		kind = store.Write
	}
	d.plainly(&dop{kind: kind, durable: sync, off: off, buf: buf, n: len(buf)}, done)
}

// WriteNow implements file.QuickDevice: half of what may be written at once is.
func (d fileDisk) WriteNow(off int64, buf []byte) (res int32, did bool) {
	if d.hung || d.rng.IntN(2) == 0 {
		return 0, false
	}
	d.w.model.settle(d.w.site.stepping)
	o := &dop{kind: store.Write, off: off, buf: buf, n: len(buf), plain: true}
	o.done = func(moved int, e unix.Errno) {
		if res = int32(moved); e != 0 {
			res = -int32(e)
		}
	}
	if d.enters(o) {
		d.w.saw("write at once", 1)
		d.complete(o)
	}
	return res, true
}

// Punch implements file.Device.
func (d fileDisk) Punch(off, n int64, done func(int32)) {
	d.plainly(&dop{kind: store.Discard, off: off, n: int(n)}, done)
}

// Datasync implements file.Device.
func (d fileDisk) Datasync(done func(int32)) { d.plainly(&dop{kind: store.Flush}, done) }

func (d fileDisk) plainly(o *dop, done func(int32)) {
	lane := d.w.site.stepping
	d.w.model.settle(lane)
	o.plain = true
	o.done = func(moved int, e unix.Errno) {
		if e != 0 {
			moved = -int(e)
		}
		done(int32(moved))
		d.w.site.wake(lane, 0)
	}
	d.begin(o)
}

// forget is what the kernel does when a sync fails: it tells so once, and some of what it could not write counts as clean from then on.
func (d *disk) forget(o *dop) {
	x := d.w.model.exports[d.n]
	for i := range x.halves {
		x.halves[i].doom()
	}
	for s, n := range o.wasAt {
		if n > d.safeAt[s] && n == d.liveAt[s] && d.rng.IntN(2) == 0 {
			d.liveAt[s] = d.safeAt[s]
		}
	}
	if !d.w.healed && d.rng.IntN(4) == 0 { // it shows in a power cut only, before the sectors are written again
		d.w.after(d.rng.Int64N(2*d.plan.Max+10*ms), func() { d.w.do(act{Kind: "power", For: 50 * ms}) })
	}
}
