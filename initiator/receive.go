package initiator

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/link"
	"goaoe/internal/sys"
)

// Who waits, receives. There is no goroutine that takes frames in and hands results over, because waking another goroutine costs more than
// all the rest of a request. Whoever waits for something takes the role of the receiver if nobody has it: it polls the links,
// does what is to be done for everybody, and passes the role on when its own business is done. When nobody waits, the background
// goroutine takes the role, so that answers to what was submitted, silence and announcements are noticed.

// span turns nanoseconds into a Duration to show.
func span(ns int64) time.Duration { return time.Duration(ns).Round(time.Millisecond) }

// never is a time that does not come.
const never = int64(1) << 62

// ctxStep is how long a receiver sleeps at most when its caller's context can end.
const ctxStep = int64(10 * time.Millisecond)

// awaited is what somebody waits for.
type awaited interface{ ready() bool }

func (o *op) ready() bool { return o.done }

// await waits until it is ready, or ctx ends. d.mu is held when it is called and when it returns.
func (d *Disk) await(ctx context.Context, w *waiter, what awaited) error {
	end := ctx.Done()
	for !what.ready() {
		if end != nil {
			if err := ctx.Err(); err != nil {
				d.promote()
				return err
			}
		}
		if !d.receiving && !d.closed {
			limit := never
			if end != nil {
				limit = sys.Nanotime() + ctxStep
			}
			d.turn(limit, nil)
			continue
		}
		d.flush()
		d.parked.push(w)
		d.mu.Unlock()
		if end == nil {
			<-w.wake
		} else {
			select {
			case <-w.wake:
			case <-end:
			}
		}
		d.mu.Lock()
		d.parked.remove(w)
	}
	d.promote()
	return nil
}

// promote makes one of those who wait the receiver, when nobody is.
func (d *Disk) promote() {
	if d.receiving {
		return
	}
	if w := d.parked.first; w != nil {
		w.tell()
		d.parked.remove(w)
	}
}

// turn is one turn of the receiver: it sends, waits for frames, timers, limit or one of fds, and does what there is to do. It tells whether one of
// fds is ready; their Revents are set. d.mu is held when it is called and when it returns, and not while it waits.
func (d *Disk) turn(limit int64, fds []unix.PollFd) (ready bool) {
	d.receiving = true
	d.flush()
	until := min(limit, d.timer)
	for _, p := range d.ports {
		if len(p.out) > 0 { // the link was full
			until = min(until, sys.Nanotime()+int64(time.Millisecond))
		}
	}
	d.wakeAt = until
	underWay := maxSlots - d.frees // answers are waited for
	d.mu.Unlock()
	ready = d.sleep(until, fds, underWay)
	d.mu.Lock()
	d.wakeAt = 0
	d.receiving = false
	d.turns++
	if d.closed {
		return ready
	}
	now := sys.Nanotime()
	d.plan(d.drain(now), now)
	d.fast(now)
	if now >= d.timer {
		d.timers(now)
	}
	d.pump(now)
	d.flush()
	return ready
}

// sleep waits until a frame is there, one of fds is ready, or the time has come. It tells whether one of fds is ready.
func (d *Disk) sleep(until int64, fds []unix.PollFd, underWay int) (ready bool) {
	if d.pending() {
		return len(fds) > 0 && look(fds)
	}
	start, what := sys.Nanotime(), forAsk
	if underWay > 0 {
		what = forAnswer
	}
	switch {
	case underWay > 0 && d.nap > 0:
		_, _ = sys.Poll(d.fds[:1], min(d.nap, max(until-start, 0)))
		if d.pending() {
			return len(fds) > 0 && look(fds)
		}
	case len(fds) > 0 && underWay <= busyDepth && d.busy.worth(what, start):
		if over, ready := d.spin(start, fds, what); over {
			return ready
		}
	}
	wait := int64(-1)
	if until < never {
		wait = max(until-sys.Nanotime(), 0)
	}
	polled := d.fds
	if len(fds) > 0 {
		d.polled = append(append(d.polled[:0], d.fds...), fds...)
		polled = d.polled
	}
	if _, err := sys.Poll(polled, wait); err != nil {
		time.Sleep(time.Millisecond) // no memory; it is tried again
		return false
	}
	if len(fds) > 0 {
		d.busy.came(what, sys.Nanotime()-start)
	}
	for i := range fds {
		fds[i].Revents = polled[len(d.fds)+i].Revents
		ready = ready || fds[i].Revents != 0
	}
	if polled[0].Revents != 0 {
		d.wake.Drain()
	}
	for i, p := range d.ports {
		if polled[i+1].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 {
			d.trouble(p)
		}
	}
	return ready
}

func (d *Disk) pending() bool {
	for _, p := range d.ports {
		if p.link.Pending() {
			return true
		}
	}
	return false
}

// Naps. When answers come faster than every few microseconds, being woken for each costs us, and the target that wakes us, more than the
// answer itself. So with many requests outstanding the receiver lets some answers gather: at most as long as half of them take, so that the
// target never runs out of work, and so that the latency of a request grows by less than a half.
const (
	napSlack = int64(50 * time.Microsecond) // the kernel's timers are late by that much
	napMost  = int64(100 * time.Microsecond)
	napEvery = int64(20 * time.Microsecond) // answers that come more slowly are worth a wake-up each
)

// plan decides about the next nap, after n frames were received.
func (d *Disk) plan(n int, now int64) {
	gap := now - d.planned
	d.planned, d.nap = now, 0
	if n == 0 || gap > int64(time.Millisecond) {
		d.every = 0
		return
	}
	each := gap / int64(n)
	if d.every == 0 {
		d.every = each
		return
	}
	d.every += (each - d.every) / 8
	if d.every > napEvery {
		return
	}
	if t := d.every*int64(maxSlots-d.frees)/2 - napSlack; t > 0 {
		d.nap = min(t, napMost)
	}
}

// trouble looks at a link that reported an error. An interface that is down comes back by itself; until then it must not be polled in circles.
func (d *Disk) trouble(p *port) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k, ok := p.link.(link.Checker); ok && k.Check() != nil {
		d.portDown(p)
	}
}

// drain takes all frames that wait, and returns how many there were.
func (d *Disk) drain(now int64) (total int) {
	for _, p := range d.ports {
		for {
			n := p.link.Recv(d.frames[:])
			total += n
			for i := range d.frames[:n] {
				d.frame(p, &d.frames[i], now)
			}
			if n > 0 {
				p.link.Release()
			}
			if n < len(d.frames) {
				break
			}
		}
	}
	return total
}

// frame takes one frame. Whatever is not a well-formed reply from one of our paths to something of ours is left alone.
func (d *Disk) frame(p *port, fr *link.Frame, now int64) {
	f := fr.Data
	if !aoe.IsAoE(f) || fr.Tagged && fr.TCI&0xfff != 0 {
		return
	}
	h, err := aoe.DecodeHeader(f)
	if err != nil || h.Flags&aoe.FlagResponse == 0 || h.Addr != d.addr {
		return
	}
	if h.Cmd != aoe.CmdATA {
		if h.Cmd == aoe.CmdConfig {
			d.config(p, h, f, now)
		}
		return
	}
	slot, gen, ours := d.id.read(h.Tag)
	if !ours || h.Version != aoe.Version {
		return
	}
	x := &d.slots[slot]
	w := x.path
	if w == nil || w.port != p || w.mac != h.Src {
		if w = d.pathOf(p, h.Src); w == nil {
			d.foreign, d.foreignAt = h.Src, now
			d.stats.Unexpected++
			return
		}
	}
	if w.state == pathRefused && x.purpose == forOp {
		return
	}
	w.answered(now)
	if !x.busy || gen < x.first || gen > x.last {
		w.stats.Unexpected++
		d.stats.Unexpected++
		return
	}
	d.answer(x, w, h, gen, f, now)
}

// answer takes a reply to x.
func (d *Disk) answer(x *exchange, w *path, h aoe.Header, gen uint32, f []byte, now int64) {
	switch x.purpose {
	case forIdentity:
		if w == x.path {
			d.identified(x, w, h, f, now)
		}
		return
	case forSize:
		if w == x.path {
			d.sized(x, w, h, f, now)
		}
		return
	case forFence:
		if w == x.path {
			r := x.rest
			d.free(x)
			d.fenced(r, now)
		}
		return
	}
	answered, fault := d.verdict(x, h, f)
	if !answered {
		return
	}
	if w == x.path {
		w.measured(x, gen, now)
		d.stats.RTT, w.stats.RTT = w.rtt.mean, w.rtt.mean
		if int32(x.seq-w.high) > 0 {
			w.high = x.seq
		}
	}
	if x.n > small {
		if x.write {
			w.big[1] = now
		} else {
			w.big[0] = now
		}
	}
	w.open()
	w.stats.Requests++
	d.stats.Requests++
	d.lastDone = now
	if fault == nil && x.n > 0 && x.at+uint64(x.n) < x.end { // one piece of a frame that was too large
		x.at += uint64(x.n)
		x.tries, x.begun, x.since = 0, now, now
		if x.queued {
			d.unqueue(x)
		}
		d.shorten(x, w.sectors)
		d.transmit(x, w, now)
		return
	}
	d.finish(x, true, fault, now)
}

// verdict reads a reply to x: whether it settles the request, and how. What a read returned goes to its place. Of an error reply
// only the header counts: some targets send nothing else, others leave there whatever the request had.
func (d *Disk) verdict(x *exchange, h aoe.Header, f []byte) (answered bool, fault error) {
	if h.Flags&aoe.FlagError != 0 {
		if h.Code == aoe.Unavailable {
			x.why = ErrUnavailable // the disk may come back: repeated until the time limit
			return false, nil
		}
		return true, codeError(h.Code)
	}
	if len(f) < aoe.ATALen {
		x.why = errShort
		return false, nil
	}
	regs, data, _ := aoe.DecodeATA(f) // long enough
	if x.op != nil && x.op.kind == opCommand {
		x.op.reply = regs
	}
	opcode := x.regs.Command
	if regs.Command == opcode && (opcode == ata.OpFlush || opcode == ata.OpFlushExt) {
		return true, nil // ggaoed leaves the opcode where the status belongs, and means success
	}
	if regs.Command&ata.StatusFailed != 0 {
		if regs.Feature&ata.ErrIDNF != 0 {
			d.doubt = true // it may have shrunk
		}
		return true, statusError(regs.Command, regs.Feature)
	}
	switch {
	case x.write || x.n == 0:
		if x.op != nil && len(x.op.into) > 0 {
			if len(data) < len(x.op.into) {
				x.why = errShort
				return false, nil
			}
			copy(x.op.into, data)
		}
	case len(data) < x.n*SectorSize:
		x.why = errShort // cut short on the way: as good as lost
		return false, nil
	case x.buf != nil:
		off := (x.at - x.start) * SectorSize
		copy(x.buf[off:off+uint64(x.n)*SectorSize], data)
	}
	return true, nil
}

// background is the receiver when nobody else is.
func (d *Disk) background() {
	defer close(d.over)
	tick := time.NewTicker(d.tune.tick)
	defer tick.Stop()
	turns := uint64(0)
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.closed {
		if d.receiving || d.turns != turns {
			turns = d.turns
			d.mu.Unlock()
			select {
			case <-tick.C:
			case <-d.closing:
			}
			d.mu.Lock()
			continue
		}
		// Nobody received during a whole tick.
		before := d.lastDone
		d.turn(never, nil)
		turns = d.turns
		if d.parked.first != nil || d.lastDone != before { // somebody is at work: the role is theirs
			turns--
			d.promote()
			select {
			case <-tick.C: // an old one
			default:
			}
		}
	}
}
