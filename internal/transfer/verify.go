package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"sync"
)

// sums are checksums of the pieces as they were read from the source, so that reading back needs the source only where it was not read.
type sums struct {
	mu   sync.Mutex
	seed maphash.Seed
	of   map[int64]sum // by offset in the source
}

type sum struct {
	n    int64 // bytes, with padding
	hash uint64
}

func (s *sums) put(off int64, b []byte) {
	s.mu.Lock()
	if s.of == nil {
		s.of, s.seed = map[int64]sum{}, maphash.MakeSeed()
	}
	seed := s.seed
	s.mu.Unlock()
	h := maphash.Bytes(seed, b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[off] = sum{int64(len(b)), h}
}

func (s *sums) get(off int64) (sum, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.of[off]
	return v, ok
}

// verify reads everything back.
func (c *copier) verify(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	bufs, err := newBuffers(2*c.o.Workers + 1)
	if err != nil {
		return err
	}
	defer c.reportPhase("verify", &c.count.verified, c.end-c.o.From)()
	work := make(chan piece)
	var workers sync.WaitGroup
	for range c.o.Workers {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for p := range work {
				if err := c.check(ctx, p, bufs); err != nil {
					cancel(err)
				}
			}
		}()
	}
	err = c.again(ctx, work)
	close(work)
	workers.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil {
		return err // the buffers stay: a request that was given up may still be under way
	}
	bufs.free()
	return nil
}

// again cuts the copy into the pieces that it was made of, as far as it is known; what is in between was a hole, or done earlier.
func (c *copier) again(ctx context.Context, work chan<- piece) error {
	for off := c.o.From; off < c.end; {
		p := piece{off: off, n: min(chunkSize-off%chunkSize, c.end-off)}
		if s, ok := c.sums.get(off); ok {
			p.n = min(s.n, c.end-off)
		} else if c.stream == nil {
			end, hole, err := c.src.Extent(off, c.end)
			if err != nil {
				return fmt.Errorf("looking for data in %s at %d: %w", c.src.Name(), off, err)
			}
			p.n, p.hole = min(end-off, p.n), hole
		}
		select {
		case work <- p:
		case <-ctx.Done():
			return ctx.Err()
		}
		off += p.n
	}
	return nil
}

// check compares one piece.
func (c *copier) check(ctx context.Context, p piece, bufs buffers) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b := <-bufs
	defer func() { bufs <- b }()
	full := p.n
	if odd := full % c.unit; odd != 0 {
		full += c.unit - odd
	}
	to := c.o.To + p.off - c.o.From
	if err := c.dst.Reread(ctx, b[:full], to); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%s: %w: it ends before byte %d", c.dst.Name(), ErrDiffers, to+full)
		}
		return fmt.Errorf("reading %s back at %d: %w", c.dst.Name(), to, err)
	}
	if s, ok := c.sums.get(p.off); ok {
		if s.n == full && maphash.Bytes(c.sums.seed, b[:full]) == s.hash {
			c.count.verified.Add(p.n)
			return nil
		}
		if c.stream != nil {
			return fmt.Errorf("%s: %w: somewhere in the %d bytes at %d", c.dst.Name(), ErrDiffers, full, to)
		}
	}
	want := zeros
	if !p.hole {
		a := <-bufs
		defer func() { bufs <- a }()
		if err := c.src.ReadAt(ctx, a[:p.n], p.off); err != nil {
			return fmt.Errorf("reading %s again at %d: %w", c.src.Name(), p.off, err)
		}
		clear(a[p.n:full])
		want = a
	}
	for i := int64(0); i < full; i += 512 {
		end := min(i+512, full)
		if !bytes.Equal(b[i:end], want[i:end]) {
			return fmt.Errorf("%s: %w: the first sector that differs is at byte %d", c.dst.Name(), ErrDiffers, to+i)
		}
	}
	if s, ok := c.sums.get(p.off); ok && s.n == full {
		// What is there is what the source says now, but not what it said when it was copied.
		return fmt.Errorf("%s: %w: %s changed while it was copied, at byte %d or behind", c.dst.Name(), ErrDiffers, c.src.Name(), p.off)
	}
	c.count.verified.Add(p.n)
	return nil
}
