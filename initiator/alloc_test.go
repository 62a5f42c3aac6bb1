package initiator

import (
	"context"
	"testing"

	"goaoe/internal/link"
	"goaoe/internal/link/mem"
	"goaoe/internal/target"
)

// loop is a link whose other end answers at once, without another goroutine: what is measured is the initiator alone.
type loop struct {
	*mem.Link
	to      *mem.Link
	frames  [64]link.Frame
	answer  []byte
	answers []link.Msg
}

// Send implements link.Link.
func (l *loop) Send(msgs []link.Msg) (int, error) {
	n, err := l.Link.Send(msgs)
	for {
		k := l.to.Recv(l.frames[:])
		if k == 0 {
			return n, err
		}
		for _, f := range l.frames[:k] {
			size := 60
			if f.Data[27] == 0x24 {
				size = 36 + int(f.Data[26])*512
			}
			b := l.answer[:size]
			copy(b, f.Data[:36])
			copy(b, f.Data[6:12])
			copy(b[6:], f.Data[:6])
			b[14], b[26], b[27] = 0x18, 0, 0x40
			l.answers = append(l.answers[:0], link.Msg{Head: b})
			_, _ = l.to.Send(l.answers)
		}
		l.to.Release()
	}
}

// looped is a disk over a loop.
func looped(t testing.TB) *Disk {
	t.Helper()
	net := mem.NewNet(mem.Options{Seed: 1})
	w := newWorld(t, 4000)
	n := w.serve(net, tMAC, 9000, target.ExportConfig{BufferCount: 64})
	ours := &loop{Link: net.Open("h0", iMAC, 9000), answer: make([]byte, 9014), answers: make([]link.Msg, 0, 1)}
	d, err := start(context.Background(), []link.Link{ours.Link}, addr, Options{}, defaults(Options{}), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	close(n.stop) // from here on the loop answers
	w.ended.Wait()
	w.nodes = nil
	ours.to = n.link
	d.mu.Lock()
	d.ports[0].link = ours
	d.mu.Unlock()
	return d
}

// TestAllocations: in steady state no request costs an allocation.
func TestAllocations(t *testing.T) {
	d := looped(t)
	buf := make([]byte, 64<<10)
	ctx := context.Background()
	cancelable, cancel := context.WithCancel(ctx)
	defer cancel()
	q := d.NewQueue(32)
	defer func() { _ = q.Close() }()
	reqs, done := make([]*Request, 32), make([]*Request, 32)
	for i := range reqs {
		reqs[i] = &Request{Op: Read, Buf: make([]byte, 4096)}
		if i%3 == 0 {
			reqs[i].Op = Write
		}
	}
	for name, f := range map[string]func() error{
		"ReadAt":         func() error { _, err := d.ReadAt(buf[:4096], 8192); return err },
		"ReadAt 64 KiB":  func() error { _, err := d.ReadAt(buf, 8192); return err },
		"WriteAt":        func() error { _, err := d.WriteAt(buf[:4096], 8192); return err },
		"WriteAt 64 KiB": func() error { _, err := d.WriteAt(buf, 8192); return err },
		"ReadAtContext":  func() error { _, err := d.ReadAtContext(cancelable, buf[:4096], 8192); return err },
		"32 through Queue": func() error {
			for i, r := range reqs {
				r.Off = int64(i) * 8192
				if err := q.Submit(r); err != nil {
					return err
				}
			}
			for left := len(reqs); left > 0; {
				n, err := q.Wait(ctx, done)
				if err != nil {
					return err
				}
				for _, r := range done[:n] {
					if r.Err != nil {
						return r.Err
					}
				}
				left -= n
			}
			return nil
		},
	} {
		for range 100 {
			if err := f(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if n := testing.AllocsPerRun(300, func() {
			if err := f(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkQueue is what a request costs the initiator, and the wire in memory.
func BenchmarkQueue(b *testing.B) {
	d := looped(b)
	q := d.NewQueue(32)
	defer func() { _ = q.Close() }()
	done := make([]*Request, 32)
	free := make([]*Request, 32)
	for i := range free {
		free[i] = &Request{Op: Read, Buf: make([]byte, 4096)}
	}
	b.ReportAllocs()
	for n := 0; n < b.N; {
		for _, r := range free {
			r.Off = int64(n%400) * 4096
			if err := q.Submit(r); err != nil {
				b.Fatal(err)
			}
		}
		k, err := q.Wait(context.Background(), done)
		if err != nil {
			b.Fatal(err)
		}
		free = done[:k]
		n += k
	}
}
