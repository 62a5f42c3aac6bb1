package initiator

import (
	"context"
	"errors"
	"fmt"
	"io"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/link"
	"goaoe/internal/link/packet"
)

// Disk is a target's disk. Its methods may be called by several goroutines at a time.
type Disk struct {
	c       *conn
	id      ata.Identity
	sectors int // per frame
}

var (
	_ io.ReaderAt = (*Disk)(nil)
	_ io.WriterAt = (*Disk)(nil)
)

// Open finds the target, identifies its disk and returns it. ctx covers the opening only. It fails with ErrNotFound when nothing
// answers within Options.Wait.
func Open(ctx context.Context, addr aoe.Addr, o Options) (*Disk, error) {
	names := o.Interfaces
	if len(names) == 0 {
		var err error
		if names, err = Interfaces(); err != nil {
			return nil, err
		}
		if len(names) == 0 {
			return nil, errors.New("no Ethernet interface is up")
		}
	}
	var errs []error
	for _, name := range names {
		l, err := packet.Open(name, packet.Options{})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d, err := open(ctx, l, addr, o)
		if err == nil {
			return d, nil
		}
		errs = append(errs, err, l.Close())
	}
	return nil, errors.Join(errs...)
}

// open opens a disk over a link, which belongs to the disk if it succeeds.
func open(ctx context.Context, l link.Link, addr aoe.Addr, o Options) (*Disk, error) {
	if addr.Wild() {
		return nil, fmt.Errorf("%v: an exact address is needed", addr)
	}
	t, err := find(ctx, l, addr, o.Targets, o.Wait)
	if err != nil {
		return nil, err
	}
	c, err := newConn(l, t, o)
	if err != nil {
		return nil, err
	}
	d := &Disk{c: c, sectors: t.Payload()}
	if o.Sectors > 0 {
		d.sectors = min(o.Sectors, d.sectors)
	}
	if err := d.identify(ctx); err != nil {
		c.mu.Lock()
		c.closed = true
		c.wake.Signal()
		c.mu.Unlock()
		<-c.over
		_ = c.wake.Close()
		return nil, fmt.Errorf("%v: %w", t, err)
	}
	return d, nil
}

// identify reads what the disk says of itself.
func (d *Disk) identify(ctx context.Context) error {
	var b [SectorSize]byte
	regs := aoe.ATA{Count: 1, Command: ata.OpIdentify, LBA: [6]byte{3: 0xa0}}
	if _, err := d.Command(ctx, regs, nil, b[:]); err != nil {
		return fmt.Errorf("IDENTIFY DEVICE: %w", err)
	}
	id, err := ata.ParseIdentify(b[:])
	if err != nil {
		return err
	}
	d.id = id
	return nil
}

// Command runs one ATA command that neither reads nor writes sectors by their numbers (SMART and the like). With data it is sent behind
// the registers; what the target returns behind its registers is copied to into, which must not be longer than that. The registers
// of the reply come back, also beside an error that they are the reason for.
func (d *Disk) Command(ctx context.Context, regs aoe.ATA, data, into []byte) (aoe.ATA, error) {
	var reply aoe.ATA
	o := &op{done: make(chan struct{}), pending: 1, reply: &reply}
	defer context.AfterFunc(ctx, d.c.nudge)()
	err := d.c.begin(ctx, o, regs, len(data) > 0, 0, 0, data, into)
	err = d.wait(ctx, o, err)
	return reply, err
}

// wait waits for what o has begun. One is taken off its count for the caller's own hold on it.
func (d *Disk) wait(ctx context.Context, o *op, begun error) error {
	d.c.mu.Lock()
	if begun != nil && o.err == nil {
		o.err = begun
	}
	if o.pending--; o.pending == 0 {
		close(o.done)
	}
	d.c.mu.Unlock()
	select {
	case <-o.done:
	case <-ctx.Done():
		d.c.abandon(o, ctx.Err())
		return ctx.Err()
	}
	return o.err
}

// Target returns what the target tells of itself.
func (d *Disk) Target() Target { return d.c.target }

// Identity returns what the disk tells of itself.
func (d *Disk) Identity() ata.Identity { return d.id }

// Size is the size in bytes.
func (d *Disk) Size() int64 { return int64(d.id.Sectors) * SectorSize }

// FrameSectors is how many sectors one request carries.
func (d *Disk) FrameSectors() int { return d.sectors }

// Addr returns the address.
func (d *Disk) Addr() aoe.Addr { return d.c.target.Addr }

// Paths returns the ways to the disk.
func (d *Disk) Paths() []Path {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	t := d.c.target
	return []Path{{Interface: t.Interface, MAC: t.MAC, State: Up, MTU: t.MTU, Sectors: d.sectors, BufferCount: t.BufferCount,
		RTT: d.c.rtt.mean, Window: d.c.window, Outstanding: d.c.inflight, Stats: d.c.stats}}
}

// Refresh asks the disk anew what it is. Growth and shrinking become events.
func (d *Disk) Refresh(ctx context.Context) error { return d.identify(ctx) }

// Trim tells the disk that n bytes at off are not needed any more: both multiples of SectorSize. It fails with ErrUnsupported when
// the disk has no TRIM.
func (d *Disk) Trim(ctx context.Context, off, n int64) error {
	if !d.id.Trim {
		return fmt.Errorf("%v: trim: %w", d.c.target.Addr, ErrUnsupported)
	}
	if off < 0 || n < 0 || off%SectorSize != 0 || n%SectorSize != 0 || off > d.Size() || n > d.Size()-off {
		return fmt.Errorf("%v: trimming %d bytes at %d of %d: %w", d.c.target.Addr, n, off, d.Size(), ErrRange)
	}
	lba, left := uint64(off/SectorSize), uint64(n/SectorSize)
	for left > 0 {
		var b [SectorSize]byte
		from := lba
		for i := 0; i < SectorSize/ata.TrimEntryLen && left > 0; i++ {
			k := min(left, 0xffff)
			ata.PutTrimRange(b[:], i, lba, int(k))
			lba, left = lba+k, left-k
		}
		regs := aoe.ATA{Flags: aoe.ATAExtended | aoe.ATAWrite, Feature: ata.FeatureTrim, Count: 1, Command: ata.OpDSM}
		o := &op{done: make(chan struct{}), pending: 1}
		stop := context.AfterFunc(ctx, d.c.nudge)
		err := d.c.begin(ctx, o, regs, true, from, lba, b[:], nil)
		err = d.wait(ctx, o, err)
		stop()
		if err != nil {
			return fmt.Errorf("%v: trim: %w", d.c.target.Addr, err)
		}
	}
	return nil
}

// Stats returns the counters.
func (d *Disk) Stats() Stats {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	return d.c.stats
}

// ReadAt reads len(p) bytes at off: both multiples of SectorSize. It implements io.ReaderAt.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	return d.ReadAtContext(context.Background(), p, off)
}

// ReadAtContext is ReadAt until ctx ends. After an error p may be filled in part.
func (d *Disk) ReadAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	return d.transfer(ctx, p, off, false)
}

// WriteAt writes p at off: both multiples of SectorSize. When it returns without an error the target has said that the
// data is written; whether that means stable storage is the target's matter, see Flush. It implements io.WriterAt.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) {
	return d.WriteAtContext(context.Background(), p, off)
}

// WriteAtContext is WriteAt until ctx ends. After an error any of the sectors may hold old or new data.
func (d *Disk) WriteAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	return d.transfer(ctx, p, off, true)
}

func (d *Disk) transfer(ctx context.Context, p []byte, off int64, write bool) (int, error) {
	verb := "reading"
	if write {
		verb = "writing"
	}
	if off < 0 || off%SectorSize != 0 || len(p)%SectorSize != 0 {
		return 0, fmt.Errorf("%v: %s %d bytes at %d: both must be multiples of %d", d.c.target.Addr, verb, len(p), off, SectorSize)
	}
	n := len(p)
	if off > d.Size() || int64(n) > d.Size()-off {
		if !write && off <= d.Size() {
			n, err := d.transfer(ctx, p[:d.Size()-off], off, false)
			if err == nil {
				err = io.EOF
			}
			return n, err
		}
		return 0, fmt.Errorf("%v: %s %d bytes at %d of %d: %w", d.c.target.Addr, verb, n, off, d.Size(), ErrRange)
	}
	o := &op{done: make(chan struct{}), pending: 1}
	defer context.AfterFunc(ctx, d.c.nudge)()
	var err error
	for at := 0; at < n && err == nil; {
		size := min(n-at, d.sectors*SectorSize)
		lba := uint64(off+int64(at)) / SectorSize
		err = d.part(ctx, o, p[at:at+size:at+size], lba, write)
		at += size
	}
	if err = d.wait(ctx, o, err); err != nil {
		return 0, fmt.Errorf("%v: %s %d bytes at %d: %w", d.c.target.Addr, verb, n, off, err)
	}
	return n, nil
}

// part begins the transfer of one frame's worth.
func (d *Disk) part(ctx context.Context, o *op, p []byte, lba uint64, write bool) error {
	count := len(p) / SectorSize
	regs := aoe.ATA{Flags: aoe.ATAExtended, Count: uint8(count), Command: ata.OpReadExt}
	if write {
		regs.Flags |= aoe.ATAWrite
		regs.Command = ata.OpWriteExt
	}
	if d.id.LBA48 {
		ata.PutLBA48(&regs.LBA, lba)
	} else {
		regs.Flags &^= aoe.ATAExtended
		regs.Command &^= ata.OpReadExt &^ ata.OpRead
		regs.LBA[3] = 0xe0
		ata.PutLBA28(&regs.LBA, lba)
	}
	if write {
		return d.c.begin(ctx, o, regs, true, lba, lba+uint64(count), p, nil)
	}
	return d.c.begin(ctx, o, regs, false, lba, lba+uint64(count), nil, p)
}

// Flush has the target bring everything that it has answered to stable storage.
func (d *Disk) Flush(ctx context.Context) error {
	_, err := d.Command(ctx, aoe.ATA{Flags: aoe.ATAExtended, Command: ata.OpFlushExt}, nil, nil)
	if errors.Is(err, ErrRefused) {
		_, err = d.Command(ctx, aoe.ATA{Command: ata.OpFlush}, nil, nil)
	}
	if err != nil {
		return fmt.Errorf("%v: flush: %w", d.c.target.Addr, err)
	}
	return nil
}

// Close ends the use of the disk. What is under way fails with ErrClosed.
func (d *Disk) Close() error { return d.c.close() }
