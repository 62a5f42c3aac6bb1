package initiator

import (
	"errors"
	"fmt"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/link"
)

// purpose is what an exchange is for.
type purpose uint8

const (
	forOp       purpose = iota // somebody's data or command: any path will do
	forIdentity                // IDENTIFY: who is there
	forSize                    // a READ that finds out which frames pass
	forFence                   // a READ behind the copies of a write
)

// exchange is one request that is outstanding, from its first transmission to its answer.
type exchange struct {
	busy        bool
	purpose     purpose
	queued      bool // its frame waits in port.out
	stray       bool // left its path and waits for room on another (Disk.strays)
	counted     bool // in path.inflight
	slot        int32
	first, last uint32 // generations of its tags: a reply to any of its transmissions answers it
	write       bool   // changes sectors
	ext         bool   // the registers are those of a 48 bit command
	start, end  uint64 // the sectors that it holds until it is answered
	at          uint64 // sectors that the frame under way is about: at to at+n
	n           int
	buf         []byte // the data of start to end; nil: nobody wants it (any more)
	own         bool   // buf is not the caller's
	op          *op    // nil when the caller has gone
	path        *path
	seq         uint32
	older       *exchange
	newer       *exchange
	sent        int64
	begun       int64
	due         int64
	tries       int
	since       int64  // when it was sent on this path first
	carried     uint64 // the paths that carried it
	copies      int    // how often it was sent
	rest        *rest
	regs        aoe.ATA
	why         error // what the target said last, when it was that it cannot answer now
	hdr         [aoe.MinFrame]byte
}

// bound tells whether the exchange is about its path, and must not move to another.
func (x *exchange) bound() bool { return x.purpose != forOp }

var errShort = fmt.Errorf("%w: replies are too short", ErrRubbish)

// take gets a free slot. nil when there is none.
func (d *Disk) take(p purpose, now int64) *exchange {
	if d.frees == 0 {
		return nil
	}
	i := d.freeRing[d.freeAt]
	d.freeAt = (d.freeAt + 1) % maxSlots
	d.frees--
	x := &d.slots[i]
	gen := x.last%genMax + 1
	x.busy, x.purpose, x.queued, x.stray, x.counted, x.write, x.ext, x.own = true, p, false, false, false, false, false, false
	x.first, x.last = gen, gen
	x.start, x.end, x.at, x.n = 0, 0, 0, 0
	x.buf, x.op, x.path, x.rest, x.why = nil, nil, nil, nil, nil
	x.begun, x.tries, x.carried, x.copies = now, 0, 0, 0
	x.regs = aoe.ATA{}
	return x
}

// free gives a slot back. The oldest free slot is used next, so that a tag comes back as late as possible.
func (d *Disk) free(x *exchange) {
	if x.path != nil {
		if x.counted {
			x.path.inflight--
		}
		x.path.delist(x)
		if x.path.ask == int(x.slot) {
			x.path.ask = -1
		}
		if x.path.pr.slot == int(x.slot) {
			x.path.pr.slot = -1
		}
	}
	if x.queued {
		d.unqueue(x)
	}
	if x.stray {
		d.unstray(x)
	}
	if x.write {
		d.writes--
	}
	x.busy, x.counted, x.op, x.buf, x.rest, x.path = false, false, nil, nil, nil, nil
	d.freeRing[(d.freeAt+d.frees)%maxSlots] = x.slot
	d.frees++
}

// data sets up the registers for the sectors at to at+n.
func (d *Disk) data(x *exchange, write bool) {
	x.regs = aoe.ATA{Flags: aoe.ATAExtended, Count: uint8(x.n), Command: ata.OpReadExt}
	if write {
		x.regs.Flags |= aoe.ATAWrite
		x.regs.Command = ata.OpWriteExt
	}
	if d.ident.LBA48 {
		ata.PutLBA48(&x.regs.LBA, x.at)
		return
	}
	x.regs.Flags &^= aoe.ATAExtended
	x.regs.Command &^= ata.OpReadExt &^ ata.OpRead
	x.regs.LBA[3] = 0xe0
	ata.PutLBA28(&x.regs.LBA, x.at)
}

// body is what leaves behind the registers.
func (x *exchange) body() []byte {
	switch {
	case x.purpose == forSize:
		return x.buf // zeros: the way there must carry large frames as well
	case x.purpose != forOp || x.regs.Flags&aoe.ATAWrite == 0 || x.buf == nil:
		return nil
	case x.n == 0:
		return x.buf // a command's
	}
	off := (x.at - x.start) * SectorSize
	return x.buf[off : off+uint64(x.n)*SectorSize]
}

// transmit puts the exchange's frame into the queue of a path.
func (d *Disk) transmit(x *exchange, w *path, now int64) {
	idle := w.oldest == nil // nothing was waited for: the silence begins now
	if x.path != nil {
		x.path.delist(x)
		if x.counted {
			x.path.inflight--
		}
	}
	if x.path != w {
		x.since = now
	}
	if x.counted = !x.bound(); x.counted {
		w.inflight++
	}
	w.enlist(x)
	h := aoe.Header{Dst: w.mac, Src: w.port.info.MAC, Version: aoe.Version, Addr: d.addr, Cmd: aoe.CmdATA, Tag: d.id.tag(int(x.slot), x.last)}
	_, _ = h.Encode(x.hdr[:]) // both fit
	_, _ = x.regs.Encode(x.hdr[:])
	x.sent = now
	x.due = now + w.timeout(x)
	x.carried |= 1 << w.id
	x.copies++
	if w.quiet == 0 || idle {
		w.quiet = now
	}
	if x.due < d.timer {
		d.timer = x.due
	}
	m := link.Msg{Head: x.hdr[:]}
	if b := x.body(); len(b) > 0 {
		m.Head, m.Body = x.hdr[:aoe.ATALen], b
		if len(b) < aoe.MinFrame-aoe.ATALen {
			m = link.Msg{Head: padded(x.hdr[:aoe.ATALen], b)}
		}
	}
	w.port.out = append(w.port.out, m)
	w.port.from = append(w.port.from, x.slot)
	x.queued = true
}

// padded makes one piece of the smallest length out of a command with very little data.
func padded(head, body []byte) []byte {
	b := make([]byte, aoe.MinFrame)
	copy(b[copy(b, head):], body)
	return b
}

// flush sends what is queued on all ports. What a full link does not take stays for the next time.
func (d *Disk) flush() {
	for _, p := range d.ports {
		if len(p.out) > 0 {
			d.flushPort(p)
		}
	}
}

func (d *Disk) flushPort(p *port) {
	k, err := p.link.Send(p.out)
	for i := range p.out[:k] {
		if s := p.from[i]; s >= 0 {
			d.slots[s].queued = false
		}
		// A frame that was refused (too long for the interface by now) is as good as lost, and repeated like that.
		p.out[i] = link.Msg{}
	}
	switch {
	case err == nil:
		p.down = false
	case errors.Is(err, link.ErrFull):
	default:
		// The interface is down: what was to be sent is lost. Its paths are left at once.
		for i := k; i < len(p.out); i++ {
			if s := p.from[i]; s >= 0 {
				d.slots[s].queued = false
			}
			p.out[i] = link.Msg{}
		}
		k = len(p.out)
		d.portDown(p)
	}
	if k == len(p.out) {
		p.out, p.from = p.out[:0], p.from[:0]
		return
	}
	n := copy(p.out, p.out[k:])
	copy(p.from, p.from[k:])
	clear(p.out[n:])
	p.out, p.from = p.out[:n], p.from[:n]
}

// unqueue takes back a frame that has not left.
func (d *Disk) unqueue(x *exchange) {
	x.queued = false
	p := x.path.port
	for i, s := range p.from {
		if s == x.slot {
			p.out = append(p.out[:i], p.out[i+1:]...)
			p.from = append(p.from[:i], p.from[i+1:]...)
			return
		}
	}
}

// unstray takes an exchange off the list of those without a path.
func (d *Disk) unstray(x *exchange) {
	x.stray = false
	for i, s := range d.strays {
		if s == x.slot {
			d.strays = append(d.strays[:i], d.strays[i+1:]...)
			return
		}
	}
}

// repeat sends an exchange again: a read under a fresh tag; a write under its own, so that a target can see that it is the same one.
func (d *Disk) repeat(x *exchange, w *path, now int64) {
	if x.queued {
		x.due = now + w.timeout(x)
		return // it has not even left
	}
	x.tries++
	w.stats.Retransmits++
	d.stats.Retransmits++
	if x.purpose == forOp && x.n > w.sectors && x.n > 0 && x.op0() {
		d.shorten(x, w.sectors)
		x.since = now
	} else if !x.write {
		d.fresh(x)
	}
	d.transmit(x, w, now)
}

// op0 tells whether the exchange moves sectors, which can be done in smaller pieces.
func (x *exchange) op0() bool {
	return x.regs.Command == ata.OpReadExt || x.regs.Command == ata.OpWriteExt || x.regs.Command == ata.OpRead || x.regs.Command == ata.OpWrite
}

// fresh gives the next transmission a new tag; replies to the ones before still count.
func (d *Disk) fresh(x *exchange) {
	if x.last++; x.last > genMax {
		x.first, x.last = 1, 1
	}
}

// shorten makes a frame that does not pass into smaller ones, which go one after the other under tags of their own. The sectors stay
// held until the last is answered; a copy of the large one that got through after all brings the same data.
func (d *Disk) shorten(x *exchange, n int) {
	x.n = min(n, int(x.end-x.at))
	d.data(x, x.write)
	d.fresh(x)
	x.first = x.last
}
