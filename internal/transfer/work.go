package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"goaoe/internal/sys"
)

// piece is one piece of work: n bytes at off of the source.
type piece struct {
	off, n int64
	hole   bool
	buf    []byte // of a stream: what was read
	// For an ordered destination: the turn to write comes when before is closed, and is over when after is.
	before, after chan struct{}
}

// tracker knows up to where everything is done. Pieces finish in any order.
type tracker struct {
	mu   sync.Mutex
	at   int64           // everything before it is done
	rest map[int64]int64 // pieces done behind it: begin and end
}

func (t *tracker) add(off, end int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rest == nil {
		t.rest = map[int64]int64{}
	}
	t.rest[off] = end
	for {
		e, ok := t.rest[t.at]
		if !ok {
			return
		}
		delete(t.rest, t.at)
		t.at = e
	}
}

func (t *tracker) prefix() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at
}

// buffers are the workers' memory: whole pages, so that O_DIRECT can use them. They are used again and again.
type buffers chan []byte

func newBuffers(n int) (buffers, error) {
	b := make(buffers, n)
	for range n {
		p, err := sys.Alloc(chunkSize)
		if err != nil {
			b.free()
			return nil, err
		}
		b <- p
	}
	return b, nil
}

// free gives all back to the kernel. Nobody may use one any more.
func (b buffers) free() {
	for len(b) > 0 {
		_ = sys.Free(<-b) // it came from Alloc
	}
}

// pace keeps a copy below a rate.
type pace struct {
	rate  int64
	begun time.Time
	sent  int64
}

// wait waits until n more bytes may go.
func (p *pace) wait(ctx context.Context, n int64) error {
	if p.rate <= 0 {
		return ctx.Err()
	}
	if p.begun.IsZero() {
		p.begun = time.Now()
	}
	due := p.begun.Add(time.Duration(float64(p.sent) / float64(p.rate) * float64(time.Second)))
	p.sent += n
	if behind := time.Since(due); behind > time.Second { // what was not used in time is not made up for
		p.begun = p.begun.Add(behind)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(due)):
		return nil
	}
}

// copyAll copies from start to the end.
func (c *copier) copyAll(parent context.Context, start int64, j *journal) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	bufs, err := newBuffers(2*c.o.Workers + 1)
	if err != nil {
		return err
	}
	work := make(chan piece)
	var workers sync.WaitGroup
	for range c.o.Workers {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for p := range work {
				if err := c.do(ctx, p, bufs); err != nil {
					cancel(err)
				}
				if p.after != nil {
					close(p.after)
				}
				if p.buf != nil {
					bufs <- p.buf[:chunkSize]
				}
			}
		}()
	}
	stopJournal := c.keepJournal(ctx, j, cancel)
	err = c.cut(ctx, start, work, bufs)
	if err != nil {
		cancel(err)
	}
	close(work)
	workers.Wait()
	stopJournal()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil {
		c.lastCheckpoint(j)
		return err // the buffers stay: a request that was given up may still be under way
	}
	bufs.free()
	return nil
}

// cut cuts the source into pieces.
func (c *copier) cut(ctx context.Context, start int64, work chan<- piece, bufs buffers) error {
	size := int64(chunkSize)
	if c.o.Rate > 0 { // several pieces a second, so that it goes smoothly
		size = min(size, max(c.o.Rate/8/4096*4096, 4096))
	}
	p := pace{rate: c.o.Rate}
	var turn chan struct{}
	if c.dst.Ordered() {
		turn = make(chan struct{})
		close(turn)
	}
	give := func(w piece) error {
		if !w.hole || c.o.Dense {
			if err := p.wait(ctx, w.n); err != nil {
				return err
			}
		}
		if turn != nil {
			w.before, w.after = turn, make(chan struct{})
			turn = w.after
		}
		select {
		case work <- w:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if c.stream != nil {
		return c.cutStream(ctx, size, give, bufs)
	}
	for off := start; off < c.end; {
		end, hole, err := c.src.Extent(off, c.end)
		if err != nil {
			return fmt.Errorf("looking for data in %s at %d: %w", c.src.Name(), off, err)
		}
		if hole && !c.o.Dense && !c.dst.Ordered() {
			n := min(end-off, holeSize)
			if err := give(piece{off: off, n: n, hole: true}); err != nil {
				return err
			}
			off += n
			continue
		}
		for off < end {
			n := min(size-off%size, end-off)
			if err := give(piece{off: off, n: n}); err != nil {
				return err
			}
			off += n
		}
	}
	return nil
}

// cutStream reads the stream itself.
func (c *copier) cutStream(ctx context.Context, size int64, give func(piece) error, bufs buffers) error {
	for off := int64(0); c.end < 0 || off < c.end; {
		var b []byte
		select {
		case b = <-bufs:
		case <-ctx.Done():
			return ctx.Err()
		}
		want := size
		if c.end >= 0 {
			want = min(want, c.end-off)
		}
		n, err := c.stream.Next(ctx, b[:want])
		if err != nil && !errors.Is(err, io.EOF) {
			bufs <- b
			return fmt.Errorf("reading %s at %d: %w", c.src.Name(), off, err)
		}
		last := errors.Is(err, io.EOF)
		if last && c.end >= 0 && off+int64(n) < c.end {
			bufs <- b
			return fmt.Errorf("%s ended after %d bytes, %d were asked for", c.src.Name(), off+int64(n), c.end)
		}
		if room := c.dst.Size(); n > 0 && room >= 0 && c.o.To+off+int64(n) > room {
			bufs <- b
			return fmt.Errorf("%s has more than the %d bytes that fit into %s at offset %d", c.src.Name(), room-c.o.To, c.dst.Name(), c.o.To)
		}
		if odd := int64(n) % c.unit; last && odd != 0 && !c.o.Pad {
			bufs <- b
			return fmt.Errorf("%s ended after %d bytes, %d more than whole sectors of %d bytes, which is all that %s takes; --pad fills the last one with zeros",
				c.src.Name(), off+int64(n), odd, c.unit, c.dst.Name())
		}
		if n > 0 {
			if err := give(piece{off: off, n: int64(n), buf: b[:n]}); err != nil {
				bufs <- b
				return err
			}
			off += int64(n)
		} else {
			bufs <- b
		}
		if last {
			c.end = off
		}
	}
	return nil
}

// do does one piece.
func (c *copier) do(ctx context.Context, p piece, bufs buffers) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	to := c.o.To + p.off - c.o.From
	if p.hole {
		if err := c.zero(ctx, to, p.n, bufs); err != nil {
			return err
		}
		c.finished(p)
		return nil
	}
	b := p.buf
	if b == nil {
		b = (<-bufs)[:p.n]
		defer func() { bufs <- b[:chunkSize] }()
		if err := c.src.ReadAt(ctx, b, p.off); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return fmt.Errorf("%s has become smaller: it ends before byte %d", c.src.Name(), p.off+p.n)
			}
			return fmt.Errorf("reading %s at %d: %w", c.src.Name(), p.off, err)
		}
	}
	full := b
	if odd := int64(len(b)) % c.unit; odd != 0 { // the last sector, with Pad
		full = b[:int64(len(b))+c.unit-odd]
		clear(full[len(b):])
	}
	if c.o.Verify {
		c.sums.put(p.off, full)
	}
	if p.before != nil {
		select {
		case <-p.before:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := ctx.Err(); err != nil { // the one before may have failed
			return err
		}
	}
	if err := c.put(ctx, full, to, bufs); err != nil {
		return err
	}
	c.finished(p)
	return nil
}

func (c *copier) finished(p piece) {
	c.done.add(p.off, p.off+p.n)
	c.count.progress.Add(p.n)
}

// put writes data, its zeros as holes.
func (c *copier) put(ctx context.Context, b []byte, to int64, bufs buffers) error {
	if c.o.Compare {
		same, err := c.there(ctx, b, to, bufs)
		if err != nil || same {
			return err
		}
	}
	if c.o.Dense || c.dst.Ordered() {
		return c.write(ctx, b, to)
	}
	grain := c.dst.Grain()
	for len(b) > 0 {
		n, zero := run(b, to, grain)
		var err error
		if zero {
			var written bool
			written, err = c.dst.Zero(ctx, to, int64(n))
			c.zeroed(int64(n), written)
		} else {
			err = c.write(ctx, b[:n], to)
		}
		if err != nil {
			return c.writing(to, err)
		}
		b, to = b[n:], to+int64(n)
	}
	return nil
}

func (c *copier) write(ctx context.Context, b []byte, to int64) error {
	if err := c.dst.WriteAt(ctx, b, to); err != nil {
		return c.writing(to, err)
	}
	c.count.written.Add(int64(len(b)))
	return nil
}

func (c *copier) writing(to int64, err error) error {
	return fmt.Errorf("writing %s at %d: %w", c.dst.Name(), to, err)
}

func (c *copier) zeroed(n int64, written bool) {
	if written {
		c.count.written.Add(n)
	} else {
		c.count.zeroed.Add(n)
	}
}

// zero makes zeros of a hole.
func (c *copier) zero(ctx context.Context, to, n int64, bufs buffers) error {
	if odd := n % c.unit; odd != 0 {
		n += c.unit - odd
	}
	if !c.o.Compare {
		written, err := c.dst.Zero(ctx, to, n)
		if err != nil {
			return c.writing(to, err)
		}
		c.zeroed(n, written)
		return nil
	}
	for n > 0 {
		k := min(n, chunkSize)
		same, err := c.there(ctx, zeros[:k], to, bufs)
		if err != nil {
			return err
		}
		if !same {
			written, err := c.dst.Zero(ctx, to, k)
			if err != nil {
				return c.writing(to, err)
			}
			c.zeroed(k, written)
		}
		to, n = to+k, n-k
	}
	return nil
}

// there tells whether the destination holds b already.
func (c *copier) there(ctx context.Context, b []byte, to int64, bufs buffers) (bool, error) {
	old := <-bufs
	defer func() { bufs <- old }()
	err := c.dst.Reread(ctx, old[:len(b)], to)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return false, nil // the file is not as long yet
	}
	if err != nil {
		return false, fmt.Errorf("reading %s at %d: %w", c.dst.Name(), to, err)
	}
	if !bytes.Equal(old[:len(b)], b) {
		return false, nil
	}
	c.count.kept.Add(int64(len(b)))
	return true, nil
}

var zeros = make([]byte, chunkSize)

// run returns how many bytes from the beginning of b are all zero grains, or all others. to is where b lies: grains are aligned there.
func run(b []byte, to, grain int64) (n int, zero bool) {
	for n < len(b) {
		g := int(min(grain-(to+int64(n))%grain, int64(len(b)-n)))
		z := bytes.Equal(b[n:n+g], zeros[:g])
		if n > 0 && z != zero {
			return n, zero
		}
		zero = z
		n += g
	}
	return n, zero
}
