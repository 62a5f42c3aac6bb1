package transfer

import (
	"context"
	"errors"
	"io"
)

// Pipe is what can only be read or written from its beginning to its end.
type Pipe struct {
	name string
	r    io.Reader
	w    io.Writer
	buf  []byte // of a read, when none is under way
}

type answer struct {
	n   int
	err error
}

// errPipe is returned by what is never called.
var errPipe = errors.New("a pipe has no offsets")

// NewPipe returns a Stream that reads r.
func NewPipe(name string, r io.Reader) *Pipe {
	return &Pipe{name: name, r: r}
}

// NewPipeSink returns a Sink that writes to w.
func NewPipeSink(name string, w io.Writer) *Pipe { return &Pipe{name: name, w: w} }

// Name implements End.
func (p *Pipe) Name() string { return p.name }

// ID implements End.
func (p *Pipe) ID() string { return p.name }

// Size implements End.
func (p *Pipe) Size() int64 { return -1 }

// Unit implements End.
func (p *Pipe) Unit() int64 { return 1 }

// Close implements End.
func (p *Pipe) Close() error {
	if c, ok := p.r.(io.Closer); ok {
		return c.Close()
	}
	if c, ok := p.w.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Next implements Stream. It is called by one goroutine. A read that nobody waits for any more goes on, and what it gets is lost.
func (p *Pipe) Next(ctx context.Context, b []byte) (int, error) {
	buf := p.buf
	if len(buf) < len(b) {
		buf = make([]byte, len(b))
	}
	p.buf = nil
	got := make(chan answer, 1)
	go func() {
		n, err := io.ReadFull(p.r, buf[:len(b)])
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = io.EOF
		}
		got <- answer{n, err}
	}()
	select {
	case a := <-got:
		p.buf = buf
		return copy(b, buf[:a.n]), a.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// ReadAt implements Source.
func (p *Pipe) ReadAt(context.Context, []byte, int64) error { return errPipe }

// Extent implements Source.
func (p *Pipe) Extent(int64, int64) (int64, bool, error) { return 0, false, errPipe }

// WriteAt implements Sink.
func (p *Pipe) WriteAt(_ context.Context, b []byte, _ int64) error {
	_, err := p.w.Write(b)
	return err
}

// Zero implements Sink.
func (p *Pipe) Zero(context.Context, int64, int64) (bool, error) { return false, errPipe }

// Grain implements Sink.
func (p *Pipe) Grain() int64 { return chunkSize }

// Flush implements Sink.
func (p *Pipe) Flush(context.Context) (bool, error) { return false, nil }

// Finish implements Sink.
func (p *Pipe) Finish(int64) error { return nil }

// Reread implements Sink.
func (p *Pipe) Reread(context.Context, []byte, int64) error { return errPipe }

// Ordered implements Sink.
func (p *Pipe) Ordered() bool { return true }
