// Package transfer copies between files, block devices, pipes and the disks of AoE targets, any of them at either end.
//
// The order of things is what keeps the data safe: Run returns without an error only after everything was written, the
// destination has brought it to stable storage, and, with Options.Verify, was read back. Whatever ends it earlier is an error that says
// how far it came.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// ErrDiffers means that what was read back is not what was written.
var ErrDiffers = errors.New("the destination does not hold what was written")

// ErrInterrupted means that the caller's context ended the copy.
var ErrInterrupted = errors.New("interrupted")

// End is one end of a copy. All sizes and offsets are bytes. Methods may be called by several goroutines.
type End interface {
	// Name is what the user calls it.
	Name() string
	// ID names the object itself for a journal: a copy is only gone on with between the same ones.
	ID() string
	// Size is how much there is to read, or room to write; -1 when that is not known.
	Size() int64
	// Unit is what offsets and lengths must be multiples of: 1 or 512.
	Unit() int64
	Close() error
}

// Source is where a copy comes from.
type Source interface {
	End
	// ReadAt fills p or fails; an end in the middle is io.ErrUnexpectedEOF.
	ReadAt(ctx context.Context, p []byte, off int64) error
	// Extent tells up to where (at most limit) everything from off on is a hole, or is not. A hole reads as zeros.
	Extent(off, limit int64) (end int64, hole bool, err error)
}

// Stream is a Source that is read from its beginning to its end: a pipe. ReadAt and Extent are not called.
type Stream interface {
	Source
	// Next reads until p is full or nothing more comes: io.EOF with what was read then. It ends when ctx does.
	Next(ctx context.Context, p []byte) (int, error)
}

// Sink is where a copy goes to.
type Sink interface {
	End
	// WriteAt writes all of p or fails.
	WriteAt(ctx context.Context, p []byte, off int64) error
	// Zero makes n bytes at off read as zeros, by a hole where it can. It tells whether zeros had to be written.
	Zero(ctx context.Context, off, n int64) (written bool, err error)
	// Grain is the unit in which zeros are looked for.
	Grain() int64
	// Flush brings what was written to stable storage. It tells with false that the destination has no such command.
	Flush(ctx context.Context) (bool, error)
	// Finish is called once everything was written, before the last Flush; end is where it ends.
	Finish(end int64) error
	// Reread is ReadAt from the medium itself, past the caches of this machine, as far as that can be had.
	Reread(ctx context.Context, p []byte, off int64) error
	// Ordered says that it must be written from its beginning to its end: a pipe. Zero, Reread and Flush are not called then.
	Ordered() bool
}

const (
	chunkSize = 1 << 20
	// hole is how much of a hole is one piece of work: a large one must not look as if nothing happened.
	holeSize = 256 << 20
	// lastWords is how long a copy that was interrupted may take for its last flush and journal.
	lastWords = 20 * time.Second
)

// checkpoint is how often the journal is written. Tests have it shorter.
var checkpoint = 5 * time.Second

// Options are the settings of a copy.
type Options struct {
	From    int64 // where it begins in the source
	To      int64 // and in the destination
	Length  int64 // how much; -1: up to the end of the source
	Workers int   // pieces of work under way; 0 means 8
	Rate    int64 // bytes a second at most; 0: as fast as it goes
	// Dense writes zeros as any other data.
	Dense bool
	// Pad fills the last sector with zeros when the source ends inside of one.
	Pad bool
	// Verify reads everything back.
	Verify bool
	// Compare reads what is there already and writes only what differs.
	Compare bool
	// Journal is a file that says how far the copy is; "": none. With Resume it is gone on with.
	Journal string
	Resume  bool
	// Progress is called now and then from one goroutine with what is done; nil: nobody asks.
	Progress func(Progress)
}

// Progress is how far a copy is.
type Progress struct {
	Phase string // "copy" or "verify"
	Done  int64
	Total int64 // -1 when it is not known
}

// Result is what a copy did, in bytes.
type Result struct {
	Bytes    int64 // copied or found to be there: all of it, when there was no error
	Written  int64 // of it written as data
	Zeroed   int64 // of it made zeros without sending them
	Kept     int64 // of it there already (Compare)
	Resumed  int64 // of it done by an earlier run, by the journal
	Flushed  bool  // the destination has said that everything is on stable storage
	Verified int64
	Took     time.Duration
}

// counters are what the workers add to.
type counters struct{ written, zeroed, kept, progress, verified atomic.Int64 }

// copier is a run.
type copier struct {
	src    Source
	dst    Sink
	o      Options
	end    int64 // of the source; -1 for a stream that has not ended
	count  counters
	done   tracker
	sums   sums
	stream Stream
	unit   int64
}

// Run copies. The caller has made sure that the destination may be overwritten.
func Run(ctx context.Context, src Source, dst Sink, o Options) (res Result, err error) {
	begun := time.Now()
	c := &copier{src: src, dst: dst, o: o}
	if c.o.Workers <= 0 {
		c.o.Workers = 8
	}
	if err := c.plan(); err != nil {
		return res, err
	}
	j, err := c.openJournal(ctx)
	if err != nil {
		return res, err
	}
	start := c.o.From
	if j != nil {
		res.Resumed = j.Done
		start += j.Done
	}
	c.done.at = start
	c.count.progress.Store(res.Resumed)
	stopProgress := c.report()
	err = c.copyAll(ctx, start, j)
	stopProgress()
	defer func() {
		res.Bytes = c.done.prefix() - c.o.From
		res.Written, res.Zeroed, res.Kept, res.Verified = c.count.written.Load(), c.count.zeroed.Load(), c.count.kept.Load(), c.count.verified.Load()
		res.Took = time.Since(begun)
	}()
	if err != nil {
		return res, c.explain(ctx, err)
	}
	if err := dst.Finish(c.o.To + c.end - c.o.From); err != nil {
		return res, fmt.Errorf("%s: %w", dst.Name(), err)
	}
	if !dst.Ordered() {
		if res.Flushed, err = dst.Flush(ctx); err != nil {
			return res, c.explain(ctx, fmt.Errorf("bringing it to stable storage: %w", err))
		}
	}
	if c.o.Verify {
		if err := c.verify(ctx); err != nil {
			return res, c.explain(ctx, err)
		}
	}
	if j != nil {
		if err := j.remove(); err != nil {
			return res, fmt.Errorf("everything is copied, but the journal cannot be removed: %w", err)
		}
	}
	return res, nil
}

// Check tells whether a copy would fit, without changing anything, and where it ends in the source; -1: not known.
func Check(src Source, dst Sink, o Options) (end int64, err error) {
	c := &copier{src: src, dst: dst, o: o}
	err = c.plan()
	return c.end, err
}

// explain makes the end of the caller's context ErrInterrupted.
func (c *copier) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx))) {
		return ErrInterrupted
	}
	return err
}

// plan checks that everything fits, before anything is written.
func (c *copier) plan() error {
	c.unit = max(c.src.Unit(), c.dst.Unit())
	c.stream, _ = c.src.(Stream)
	for _, n := range []struct {
		what    string
		v, unit int64
	}{{"offset in " + c.src.Name(), c.o.From, c.src.Unit()}, {"offset in " + c.dst.Name(), c.o.To, c.dst.Unit()}, {"length", max(c.o.Length, 0), c.unit}} {
		if n.v < 0 {
			return fmt.Errorf("the %s is %d: must not be negative", n.what, n.v)
		}
		if n.v%n.unit != 0 {
			return fmt.Errorf("the %s is %d bytes: must be a multiple of %d, the size of a sector", n.what, n.v, n.unit)
		}
	}
	size := c.src.Size()
	switch {
	case c.stream != nil && c.o.From > 0:
		return fmt.Errorf("%s is read from its beginning: it has no offsets", c.src.Name())
	case c.stream != nil && (c.o.Compare || c.o.Journal != ""):
		return fmt.Errorf("%s cannot be read again: a copy of it cannot be resumed", c.src.Name())
	case c.dst.Ordered() && (c.o.Compare || c.o.Journal != "" || c.o.Verify || c.o.To > 0):
		return fmt.Errorf("%s is written from its beginning to its end: it cannot be resumed, read back, or have an offset", c.dst.Name())
	case size >= 0 && c.o.From > size:
		return fmt.Errorf("offset %d is behind the end of %s, which has %d bytes", c.o.From, c.src.Name(), size)
	case size >= 0 && c.o.Length > size-c.o.From:
		return fmt.Errorf("%s has only %d bytes from offset %d on, not %d", c.src.Name(), size-c.o.From, c.o.From, c.o.Length)
	}
	c.end = -1
	if c.o.Length >= 0 {
		c.end = c.o.From + c.o.Length
	} else if size >= 0 {
		c.end = size
	}
	if c.end < 0 {
		return nil
	}
	n := c.end - c.o.From
	if odd := n % c.unit; odd != 0 {
		if !c.o.Pad {
			return fmt.Errorf("%s has %d bytes, %d more than whole sectors of %d bytes, which is all that %s takes; --pad fills the last one with zeros",
				c.src.Name(), n, odd, c.unit, c.dst.Name())
		}
		n += c.unit - odd
	}
	if room := c.dst.Size(); room >= 0 && (c.o.To > room || n > room-c.o.To) {
		return fmt.Errorf("%s does not fit: %d bytes at offset %d are more than the %d bytes of %s", c.src.Name(), n, c.o.To, room, c.dst.Name())
	}
	return nil
}

// report calls Progress until the returned function is called.
func (c *copier) report() (stop func()) {
	if c.o.Progress == nil {
		return func() {}
	}
	return c.reportPhase("copy", &c.count.progress, c.end-c.o.From)
}

func (c *copier) reportPhase(phase string, n *atomic.Int64, total int64) (stop func()) {
	if c.o.Progress == nil {
		return func() {}
	}
	if c.end < 0 {
		total = -1
	}
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			c.o.Progress(Progress{Phase: phase, Done: n.Load(), Total: total})
			select {
			case <-over:
				c.o.Progress(Progress{Phase: phase, Done: n.Load(), Total: total})
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	return func() { close(over); <-done }
}

// readFull makes io.EOF of a plain reader io.ErrUnexpectedEOF.
func readFull(n int, want int, err error) error {
	if n == want {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
