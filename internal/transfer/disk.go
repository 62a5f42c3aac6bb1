package transfer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/dustin/go-humanize"

	"goaoe/aoe"
	"goaoe/initiator"
)

// Disk is the disk of a target.
type Disk struct {
	d      *initiator.Disk
	noTrim atomic.Bool
}

// NewDisk returns an end that is an opened disk. Closing it closes the disk.
func NewDisk(d *initiator.Disk) *Disk {
	x := &Disk{d: d}
	x.noTrim.Store(!d.Identity().TrimZero) // trimmed sectors that may hold anything are no zeros
	return x
}

// Name implements End.
func (x *Disk) Name() string { return x.d.Addr().String() }

// Addr is the address of its target.
func (x *Disk) Addr() aoe.Addr { return x.d.Addr() }

// About describes the disk for people.
func (x *Disk) About() string {
	id := x.d.Identity()
	return fmt.Sprintf("%v: %s, model %q, serial %q", x.d.Target().MAC, humanize.IBytes(uint64(x.d.Size())), id.Model, id.Serial)
}

// Stats returns what its requests needed.
func (x *Disk) Stats() initiator.Stats { return x.d.Stats() }

// ID implements End.
func (x *Disk) ID() string {
	id := x.d.Identity()
	return fmt.Sprintf("AoE disk %v, model %q, serial %q, %d bytes", x.d.Addr(), id.Model, id.Serial, x.d.Size())
}

// Size implements End.
func (x *Disk) Size() int64 { return x.d.Size() }

// Unit implements End.
func (x *Disk) Unit() int64 { return initiator.SectorSize }

// Close implements End.
func (x *Disk) Close() error { return x.d.Close() }

// ReadAt implements Source.
func (x *Disk) ReadAt(ctx context.Context, p []byte, off int64) error {
	n, err := x.d.ReadAtContext(ctx, p, off)
	return readFull(n, len(p), err)
}

// Extent implements Source: AoE does not tell holes.
func (x *Disk) Extent(_, limit int64) (int64, bool, error) { return limit, false, nil }

// WriteAt implements Sink.
func (x *Disk) WriteAt(ctx context.Context, p []byte, off int64) error {
	_, err := x.d.WriteAtContext(ctx, p, off)
	return err
}

// Zero implements Sink: by TRIM when the disk says that trimmed sectors read as zeros.
func (x *Disk) Zero(ctx context.Context, off, n int64) (written bool, err error) {
	if !x.noTrim.Load() {
		err := x.d.Trim(ctx, off, n)
		if err == nil {
			return false, nil
		}
		if !errors.Is(err, initiator.ErrUnsupported) && !errors.Is(err, initiator.ErrRefused) {
			return false, err
		}
		x.noTrim.Store(true)
	}
	return true, writeZeros(ctx, x, off, n)
}

// Grain implements Sink.
func (x *Disk) Grain() int64 {
	if x.noTrim.Load() {
		return chunkSize
	}
	return 64 << 10
}

// Flush implements Sink.
func (x *Disk) Flush(ctx context.Context) (bool, error) {
	err := x.d.Flush(ctx)
	if errors.Is(err, initiator.ErrRefused) || errors.Is(err, initiator.ErrUnsupported) {
		return false, nil
	}
	return err == nil, err
}

// Finish implements Sink.
func (x *Disk) Finish(int64) error { return nil }

// Reread implements Sink. Nothing on this side keeps what was read; what the target keeps is the target's.
func (x *Disk) Reread(ctx context.Context, p []byte, off int64) error { return x.ReadAt(ctx, p, off) }

// Ordered implements Sink.
func (x *Disk) Ordered() bool { return false }
