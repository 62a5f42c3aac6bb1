package initiator

import (
	"fmt"

	"goaoe/aoe"
	"goaoe/ata"
)

// lookahead is how many ops that cannot start are passed over in search for one that can.
const lookahead = 64

// outcome is what became of an attempt to start an op.
type outcome uint8

const (
	started outcome = iota // all of it has left
	blocked                // its sectors are not free
	noRoom                 // no path takes more
)

// pump sends what may be sent: first what lost its path, then ops in the order in which they came, except those whose sectors
// are not free.
func (d *Disk) pump(now int64) {
	for len(d.strays) > 0 {
		w := d.pick()
		if w == nil {
			return
		}
		x := &d.slots[d.strays[0]]
		d.unstray(x)
		d.repeat(x, w, now)
	}
	looked := 0
	for o := d.waiting.first; o != nil && looked < lookahead; {
		next := o.next
		switch d.start(o, looked > 0, now) {
		case noRoom:
			return
		case blocked:
			looked++
		case started:
			d.waiting.remove(o)
		}
		o = next
	}
}

// start sends as much of o as may be sent.
func (d *Disk) start(o *op, overtakes bool, now int64) outcome {
	if o.kind == opCommand {
		w := d.pick()
		if w == nil {
			return noRoom
		}
		x := d.take(forOp, now)
		if x == nil {
			return noRoom
		}
		x.op, x.regs, x.buf = o, o.regs, o.buf
		o.pending++
		d.transmit(x, w, now)
		return started
	}
	write := o.changes()
	for o.at < o.end {
		w := d.pick()
		if w == nil {
			return noRoom
		}
		n := min(o.end-o.at, uint64(max(w.sectors, 1)))
		if o.kind == opTrim {
			n = min(o.end-o.at, trimMost)
		}
		if d.conflict(write, o.at, o.at+n) || overtakes && d.behind(o, o.at, o.at+n) {
			return blocked
		}
		x := d.take(forOp, now)
		if x == nil {
			return noRoom
		}
		x.op, x.write, x.start, x.end, x.at = o, write, o.at, o.at+n, o.at
		if write {
			d.writes++
		}
		if o.kind == opTrim {
			d.trimFrame(x, n)
		} else {
			x.n = int(n)
			off := (o.at - o.start) * SectorSize
			x.buf = o.buf[off : off+n*SectorSize : off+n*SectorSize]
			d.data(x, write)
		}
		o.at += n
		o.pending++
		d.transmit(x, w, now)
	}
	return started
}

// trimMost is how many sectors one DATA SET MANAGEMENT frame can be about.
const trimMost = SectorSize / ata.TrimEntryLen * 0xffff

// trimFrame makes x a DATA SET MANAGEMENT for n sectors at x.start.
func (d *Disk) trimFrame(x *exchange, n uint64) {
	b := make([]byte, SectorSize)
	for i, lba := 0, x.start; lba < x.start+n; i++ {
		k := min(x.start+n-lba, 0xffff)
		ata.PutTrimRange(b, i, lba, int(k))
		lba += k
	}
	x.regs = aoe.ATA{Flags: aoe.ATAExtended | aoe.ATAWrite, Feature: ata.FeatureTrim, Count: 1, Command: ata.OpDSM}
	x.buf, x.own = b, true
}

// finish ends an exchange and tells its op.
func (d *Disk) finish(x *exchange, answered bool, fault error, now int64) {
	o := x.op
	d.settle(x, answered, now)
	d.free(x)
	if o == nil {
		return
	}
	o.pending--
	if fault != nil && o.err == nil {
		o.err = fault
		o.at = o.end // the rest of it stays where it is
		d.waiting.remove(o)
	}
	d.maybeDone(o, now)
}

// maybeDone tells the caller of o when all of it is done.
func (d *Disk) maybeDone(o *op, now int64) {
	if o.pending > 0 || o.listed || o.done {
		return
	}
	o.done = true
	if o.q != nil {
		o.q.finished(o, now)
		return
	}
	o.w.tell()
}

// fail ends an op that has not left, or not all of it.
func (d *Disk) fail(o *op, err error, now int64) {
	if o.err == nil {
		o.err = err
	}
	o.at = o.end
	d.waiting.remove(o)
	d.maybeDone(o, now)
}

// abandon lets go of what the caller of o no longer waits for. Buffers of reads are not touched any more. Writes stay under way,
// because their fate is not known: with a copy of their data.
func (d *Disk) abandon(o *op) {
	d.waiting.remove(o)
	for i := range d.slots {
		x := &d.slots[i]
		if !x.busy || x.op != o {
			continue
		}
		x.op = nil
		if x.queued {
			d.unqueue(x)
			if x.copies == 1 { // it never left
				d.free(x)
				continue
			}
		}
		if x.write && !x.own {
			x.buf, x.own = append([]byte(nil), x.buf...), true
		} else if !x.write {
			x.buf = nil
		}
	}
	o.done, o.pending = true, 0
}

// failAll ends everything with err.
func (d *Disk) failAll(err error, now int64) {
	for o := d.waiting.first; o != nil; o = d.waiting.first {
		o.at = o.end
		if o.err == nil {
			o.err = err
		}
		d.waiting.remove(o)
		d.maybeDone(o, now)
	}
	for i := range d.slots {
		x := &d.slots[i]
		if !x.busy {
			continue
		}
		o := x.op
		d.free(x)
		if o == nil {
			continue
		}
		if o.pending--; o.err == nil {
			o.err = err
		}
		d.maybeDone(o, now)
	}
}

// timeoutError is why a request was given up.
func (d *Disk) timeoutError(x *exchange, now int64) error {
	why := ErrTimeout
	if x.why != nil {
		why = x.why
	}
	err := fmt.Errorf("%w: sent %d times in %v", why, x.copies, span(now-x.begun))
	if d.foreign != (aoe.MAC{}) && x.why == nil && now-d.foreignAt < int64(d.tune.timeout) {
		err = fmt.Errorf("%w; answers under its address came from %v, which is not in use", err, d.foreign)
	}
	return err
}
