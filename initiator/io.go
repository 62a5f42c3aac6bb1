package initiator

import (
	"context"
	"errors"
	"fmt"
	"io"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/sys"
)

// ReadAt reads len(p) bytes at off: both multiples of SectorSize. It implements io.ReaderAt: at the end of the disk it returns io.EOF
// beside what there is.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	return d.ReadAtContext(context.Background(), p, off)
}

// ReadAtContext is ReadAt until ctx ends. After an error p may be filled in part; nothing is written into it after the return.
func (d *Disk) ReadAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	if err := d.check(opRead, p, off); err != nil {
		if n := d.Size() - off; off >= 0 && n >= 0 && n < int64(len(p)) && errors.Is(err, ErrRange) {
			k, err := d.ReadAtContext(ctx, p[:n], off)
			if err == nil {
				err = io.EOF
			}
			return k, err
		}
		return 0, err
	}
	return d.transfer(ctx, opRead, p, off)
}

// WriteAt writes p at off: both multiples of SectorSize. When it returns without an error the target has said that the
// data is written; whether that means stable storage is the target's matter, see Flush. It implements io.WriterAt.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) {
	return d.WriteAtContext(context.Background(), p, off)
}

// WriteAtContext is WriteAt until ctx ends. After an error any of the sectors may hold old or new data, and may still change from the one to
// the other until the time limit of the request is over; the disk keeps further requests on them back until then. p is not read any more.
func (d *Disk) WriteAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	if err := d.check(opWrite, p, off); err != nil {
		return 0, err
	}
	return d.transfer(ctx, opWrite, p, off)
}

var verbs = [...]string{opRead: "reading", opWrite: "writing", opTrim: "trimming", opCommand: "command"}

// check refuses what is no range of the disk.
func (d *Disk) check(k kind, p []byte, off int64) error {
	return d.checkRange(k, int64(len(p)), off)
}

func (d *Disk) checkRange(k kind, n, off int64) error {
	if off < 0 || n < 0 || off%SectorSize != 0 || n%SectorSize != 0 {
		return fmt.Errorf("%v: %s %d bytes at %d: both must be multiples of %d and not negative", d.addr, verbs[k], n, off, SectorSize)
	}
	if size := d.Size(); off > size || n > size-off {
		return fmt.Errorf("%v: %s %d bytes at %d of %d: %w", d.addr, verbs[k], n, off, size, ErrRange)
	}
	return nil
}

// transfer runs one read or write.
func (d *Disk) transfer(ctx context.Context, k kind, p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, ctx.Err()
	}
	o := d.pool.Get().(*op)
	o.kind, o.buf = k, p
	o.start = uint64(off) / SectorSize
	o.at, o.end = o.start, o.start+uint64(len(p))/SectorSize
	err := d.run(ctx, o)
	d.giveBack(o)
	if err != nil {
		return 0, fmt.Errorf("%v: %s %d bytes at %d: %w", d.addr, verbs[k], len(p), off, d.shrunk(err, off+int64(len(p))))
	}
	return len(p), nil
}

// shrunk says that sectors are outside because the disk became smaller.
func (d *Disk) shrunk(err error, end int64) error {
	if errors.Is(err, ErrRange) && end > d.Size() {
		return fmt.Errorf("%w to %d bytes: %w", ErrShrunk, d.Size(), err)
	}
	return err
}

func (d *Disk) giveBack(o *op) {
	o.reset()
	select {
	case <-o.w.wake: // a word that came too late
	default:
	}
	d.pool.Put(o)
}

// submit puts an op into the list and starts what can start. d.mu is held.
func (d *Disk) submit(o *op, now int64) {
	o.begun = now
	d.waiting.push(o)
	if d.waiting.first == o || d.frees < maxSlots {
		d.pump(now)
	}
	if o.listed {
		d.timer = min(d.timer, now+int64(d.tune.timeout))
	}
}

// run does an op and waits for it.
func (d *Disk) run(ctx context.Context, o *op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	d.submit(o, sys.Nanotime())
	d.nudge()
	if err := d.await(ctx, &o.w, o); err != nil && !o.done {
		d.abandon(o)
		return err
	}
	return o.err
}

// Command runs one ATA command that neither reads nor writes sectors by their numbers (SMART and the like). With data it is sent behind
// the registers; len(into) bytes of what the target returns behind its registers are copied to into. The registers
// of the reply come back, also beside an error that they are the reason for. It may be executed more than once, when an answer is lost.
func (d *Disk) Command(ctx context.Context, regs aoe.ATA, data, into []byte) (aoe.ATA, error) {
	if most := aoe.MaxCount * SectorSize; len(data) > most || len(into) > most {
		return aoe.ATA{}, fmt.Errorf("%v: ATA command %#02x with %d bytes to send and %d to receive: at most %d", d.addr, regs.Command, len(data), len(into), most)
	}
	if len(data) > 0 {
		regs.Flags |= aoe.ATAWrite
	}
	o := d.pool.Get().(*op)
	o.kind, o.regs, o.buf, o.into = opCommand, regs, data, into
	err := d.run(ctx, o)
	reply := o.reply
	d.giveBack(o)
	if err != nil {
		return reply, fmt.Errorf("%v: ATA command %#02x: %w", d.addr, regs.Command, err)
	}
	return reply, nil
}

// Flush has the target bring everything that it has answered to stable storage.
func (d *Disk) Flush(ctx context.Context) error {
	d.mu.Lock()
	old := d.oldFlush
	d.mu.Unlock()
	var err error
	if !old {
		_, err = d.Command(ctx, flushExt, nil, nil)
	}
	if old || errors.Is(err, ErrRefused) {
		_, err = d.Command(ctx, flush, nil, nil)
	}
	if err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

var (
	flushExt = aoe.ATA{Flags: aoe.ATAExtended, Command: ata.OpFlushExt}
	flush    = aoe.ATA{Command: ata.OpFlush}
)

// Trim tells the disk that n bytes at off are not needed any more: both multiples of SectorSize. It fails with ErrUnsupported when
// the disk has no TRIM. What a trimmed sector reads as is Identity's TrimZero.
func (d *Disk) Trim(ctx context.Context, off, n int64) error {
	if err := d.checkRange(opTrim, n, off); err != nil {
		return err
	}
	if !d.Identity().Trim {
		return fmt.Errorf("%v: trimming %d bytes at %d: %w", d.addr, n, off, ErrUnsupported)
	}
	if n == 0 {
		return ctx.Err()
	}
	o := d.pool.Get().(*op)
	o.kind = opTrim
	o.start = uint64(off) / SectorSize
	o.at, o.end = o.start, o.start+uint64(n)/SectorSize
	err := d.run(ctx, o)
	d.giveBack(o)
	if err != nil {
		return fmt.Errorf("%v: trimming %d bytes at %d: %w", d.addr, n, off, d.shrunk(err, off+n))
	}
	return nil
}
