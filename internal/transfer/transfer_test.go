package transfer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// made is an end in memory, with faults. What was written and not flushed is lost in a crash.
type made struct {
	mu      sync.Mutex
	name    string
	data    []byte
	durable []byte // as the last flush left it
	unit    int64
	trims   int // calls of Zero
	reads   int
	writes  int
	flushes int
	onWrite func(p []byte, off int64) error
	onRead  func(p []byte, off int64) error
	onFlush func() error
}

func newMade(name string, n int) *made {
	return &made{name: name, data: make([]byte, n), durable: make([]byte, n), unit: 512}
}

func (m *made) Name() string                                      { return m.name }
func (m *made) ID() string                                        { return "made " + m.name }
func (m *made) Size() int64                                       { return int64(len(m.data)) }
func (m *made) Unit() int64                                       { return m.unit }
func (m *made) Close() error                                      { return nil }
func (m *made) Grain() int64                                      { return 4096 }
func (m *made) Ordered() bool                                     { return false }
func (m *made) Finish(int64) error                                { return nil }
func (m *made) Extent(_, l int64) (int64, bool, error)            { return l, false, nil }
func (m *made) Reread(c context.Context, p []byte, o int64) error { return m.ReadAt(c, p, o) }

func (m *made) ReadAt(_ context.Context, p []byte, off int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	if m.onRead != nil {
		if err := m.onRead(p, off); err != nil {
			return err
		}
	}
	if off+int64(len(p)) > int64(len(m.data)) {
		return io.ErrUnexpectedEOF
	}
	copy(p, m.data[off:])
	return nil
}

func (m *made) WriteAt(_ context.Context, p []byte, off int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	if off < 0 || off%m.unit != 0 || int64(len(p))%m.unit != 0 || off+int64(len(p)) > int64(len(m.data)) {
		return fmt.Errorf("%d bytes at %d", len(p), off)
	}
	if m.onWrite != nil {
		if err := m.onWrite(p, off); err != nil {
			return err
		}
	}
	copy(m.data[off:], p)
	return nil
}

func (m *made) Zero(_ context.Context, off, n int64) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trims++
	if off%m.unit != 0 || n%m.unit != 0 {
		return false, fmt.Errorf("trim of %d bytes at %d", n, off)
	}
	clear(m.data[off : off+n])
	return false, nil
}

func (m *made) Flush(context.Context) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flushes++
	if m.onFlush != nil {
		if err := m.onFlush(); err != nil {
			return false, err
		}
	}
	copy(m.durable, m.data)
	return true, nil
}

// fill makes data with runs of zeros of all sizes.
func fill(b []byte, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	for len(b) > 0 {
		n := min(1+r.IntN(1<<uint(r.IntN(19))), len(b))
		if r.IntN(3) > 0 {
			for i := 0; i+8 <= n; i += 8 {
				binary.LittleEndian.PutUint64(b[i:], r.Uint64())
			}
		}
		b = b[n:]
	}
}

// TestCopy: every byte of the range arrives where it belongs, nothing beside it changes, zeros are not written, and it is flushed.
func TestCopy(t *testing.T) {
	for _, o := range []Options{
		{Length: -1}, {Length: -1, Dense: true}, {From: 512 * 777, To: 512 * 3, Length: 3 << 20}, {Length: 512}, {From: 5 << 20, Length: -1, Verify: true},
		{Length: -1, Workers: 1, Verify: true}, {Length: -1, Compare: true, Verify: true}, {Length: 300 << 10, Rate: 1 << 20},
	} {
		src, dst := newMade("src", 6<<20), newMade("dst", 8<<20)
		fill(src.data, 1)
		fill(dst.data, 2)
		want := bytes.Clone(dst.data)
		end := int64(len(src.data))
		if o.Length >= 0 {
			end = o.From + o.Length
		}
		copy(want[o.To:], src.data[o.From:end])
		res, err := Run(t.Context(), src, dst, o)
		if err != nil {
			t.Errorf("%+v: %v", o, err)
			continue
		}
		if !bytes.Equal(dst.data, want) {
			t.Errorf("%+v: the destination is wrong", o)
		}
		if !bytes.Equal(dst.data, dst.durable) || !res.Flushed {
			t.Errorf("%+v: success before everything was flushed", o)
		}
		n := end - o.From
		if res.Bytes != n || res.Written+res.Zeroed+res.Kept != n || o.Dense != (res.Zeroed == 0) && o.Length != 512 || o.Verify != (res.Verified == n) {
			t.Errorf("%+v: %+v", o, res)
		}
		if o.Rate > 0 && res.Took < 100*time.Millisecond {
			t.Errorf("300 KiB at 1 MiB/s took %v", res.Took)
		}
	}
}

// TestCompare: what is there is kept, what differs is written.
func TestCompare(t *testing.T) {
	src, dst := newMade("src", 8<<20), newMade("dst", 8<<20)
	fill(src.data, 3)
	copy(dst.data, src.data)
	dst.data[5<<20+77] ^= 1
	clear(src.data[7<<20:]) // a zero piece over old data
	res, err := Run(t.Context(), src, dst, Options{Length: -1, Compare: true})
	if err != nil || !bytes.Equal(src.data, dst.data) {
		t.Fatalf("the destination is wrong: %v", err)
	}
	if res.Kept != 6<<20 || res.Written+res.Zeroed != 2<<20 {
		t.Errorf("%+v", res)
	}
}

// TestFaults: whatever goes wrong, it is no success, and the error says where.
func TestFaults(t *testing.T) {
	bad := errors.New("bad sector")
	for _, c := range []struct {
		name string
		o    Options
		set  func(src, dst *made)
		want string
	}{
		{"read", Options{}, func(s, _ *made) {
			s.onRead = func(_ []byte, off int64) error {
				if off == 3<<20 {
					return bad
				}
				return nil
			}
		}, "reading src at 3145728: bad sector"},
		{"write", Options{}, func(_, d *made) {
			d.onWrite = func(_ []byte, off int64) error {
				if off == 7<<20 {
					return bad
				}
				return nil
			}
		}, "writing dst at 7340032: bad sector"},
		{"flush", Options{}, func(_, d *made) { d.onFlush = func() error { return bad } }, "stable storage: bad sector"},
		{"shrunk", Options{}, func(s, _ *made) {
			s.onRead = func(_ []byte, off int64) error {
				if off >= 4<<20 {
					return io.ErrUnexpectedEOF
				}
				return nil
			}
		}, "src has become smaller"},
		{"corrupted", Options{Verify: true}, func(_, d *made) {
			d.onWrite = func(p []byte, off int64) error {
				if off == 2<<20 {
					copy(d.data[off:], p)
					p[1500] ^= 4
				}
				return nil
			}
		}, "dst: the destination does not hold what was written: the first sector that differs is at byte 2098176"},
		{"source changed", Options{Verify: true}, func(s, d *made) {
			d.onFlush = func() error { s.data[9<<20] ^= 1; d.data[9<<20] ^= 1; return nil }
		}, "src changed while it was copied"},
		{"reading back", Options{Verify: true}, func(_, d *made) { d.onRead = func([]byte, int64) error { return bad } }, "reading dst back at"},
	} {
		t.Run(c.name, func(t *testing.T) {
			src, dst := newMade("src", 16<<20), newMade("dst", 16<<20)
			for i := range src.data {
				src.data[i] = byte(i*7) | 1
			}
			c.set(src, dst)
			c.o.Length = -1
			res, err := Run(t.Context(), src, dst, c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			if !c.o.Verify && c.name != "flush" && res.Bytes >= 16<<20 {
				t.Errorf("%+v", res)
			}
		})
	}
}

// TestSizes: what does not fit is refused before anything is written.
func TestSizes(t *testing.T) {
	src, dst := newMade("src", 4096), newMade("dst", 2048)
	odd := newMade("odd", 1000)
	odd.unit = 1
	pipe := func() Source { return NewPipe("-", bytes.NewReader(make([]byte, 9999))) }
	for _, c := range []struct {
		src  Source
		dst  Sink
		o    Options
		want string
	}{
		{src, dst, Options{Length: -1}, "src does not fit: 4096 bytes at offset 0 are more than the 2048 bytes of dst"},
		{src, dst, Options{Length: 512, To: 2048}, "does not fit: 512 bytes at offset 2048"},
		{src, dst, Options{Length: 512, To: 1 << 62}, "does not fit"},
		{src, dst, Options{Length: 512, From: 100}, "offset in src is 100 bytes: must be a multiple of 512"},
		{src, dst, Options{Length: 100}, "the length is 100 bytes: must be a multiple of 512"},
		{src, dst, Options{Length: 512, To: -512}, "must not be negative"},
		{src, dst, Options{Length: -1, From: 8192}, "offset 8192 is behind the end of src, which has 4096 bytes"},
		{src, dst, Options{Length: 4096, From: 512}, "src has only 3584 bytes from offset 512 on, not 4096"},
		{odd, dst, Options{Length: -1}, "odd has 1000 bytes, 488 more than whole sectors of 512 bytes"},
		{pipe(), dst, Options{Length: -1}, "has more than the 2048 bytes that fit"},
		{pipe(), src, Options{Length: -1, From: 512}, "has no offsets"},
		{pipe(), src, Options{Length: -1, Compare: true}, "cannot be resumed"},
		{src, NewPipeSink("-", io.Discard), Options{Length: -1, Verify: true}, "cannot be resumed, read back"},
	} {
		_, err := Run(t.Context(), c.src, c.dst, c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
	if dst.writes+dst.trims+src.writes+src.trims > 0 {
		t.Error("something was written")
	}
	for i := range odd.data {
		odd.data[i] = 7
	}
	fill(dst.data, 9)
	if _, err := Run(t.Context(), odd, dst, Options{Length: -1, Pad: true, Verify: true}); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(dst.data[:1024], append(bytes.Clone(odd.data), make([]byte, 24)...)) {
		t.Error("the padding is not zeros")
	}
}

// TestPipes: what is piped comes in order, whole and padded; an end in the middle of a sector is no success.
func TestPipes(t *testing.T) {
	data := make([]byte, 5<<20+300)
	fill(data, 4)
	data[len(data)-1] = 1
	slow := io.MultiReader(bytes.NewReader(data[:77]), bytes.NewReader(data[77:3<<20]), bytes.NewReader(data[3<<20:]))
	dst := newMade("dst", 8<<20)
	dst.unit = 512
	if res, err := Run(t.Context(), NewPipe("pipe", slow), dst, Options{Length: -1, Pad: true, Verify: true, Workers: 1}); err != nil || res.Bytes != int64(len(data)) {
		t.Fatalf("%+v, %v", res, err)
	}
	// One worker: the last piece is in a buffer that had other data before.
	if !bytes.Equal(dst.data[:len(data)], data) || !bytes.Equal(dst.data, dst.durable) || !bytes.Equal(dst.data[len(data):5<<20+512], make([]byte, 212)) {
		t.Error("the destination is wrong")
	}
	_, err := Run(t.Context(), NewPipe("pipe", bytes.NewReader(data)), dst, Options{Length: -1})
	if err == nil || !strings.Contains(err.Error(), "pipe ended after 5243180 bytes, 300 more than whole sectors") {
		t.Error(err)
	}
	if _, err = Run(t.Context(), NewPipe("pipe", bytes.NewReader(data)), dst, Options{Length: 6 << 20}); err == nil || !strings.Contains(err.Error(), "pipe ended after 5243180 bytes, 6291456 were asked for") {
		t.Error(err)
	}
	// Exactly what was asked for is taken.
	rest := bytes.NewReader(data)
	p := NewPipe("pipe", rest)
	if _, err = Run(t.Context(), p, dst, Options{Length: 2 << 20}); err != nil || rest.Len() != len(data)-2<<20 {
		t.Errorf("%d bytes are left: %v", rest.Len(), err)
	}
	// Out of a disk into a pipe: in order, although the pieces are read side by side.
	src := newMade("src", 6<<20)
	fill(src.data, 5)
	src.onRead = func([]byte, int64) error { time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond); return nil }
	var out bytes.Buffer
	if _, err := Run(t.Context(), src, NewPipeSink("out", &out), Options{Length: -1}); err != nil || !bytes.Equal(out.Bytes(), src.data) {
		t.Errorf("the pipe got something else: %v", err)
	}
	for range 20 { // after a write that failed there is no other: it would be in the wrong place
		w := failing{}
		if _, err := Run(t.Context(), src, NewPipeSink("out", &w), Options{Length: -1}); err == nil || !errors.Is(err, syscall.EPIPE) || w.n != 3 {
			t.Errorf("%d writes: %v", w.n, err)
		}
	}
	// A reader that gives nothing does not keep it from ending.
	r, w := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	stuck := NewPipe("pipe", r)
	if _, err := Run(ctx, stuck, dst, Options{Length: -1}); !errors.Is(err, ErrInterrupted) && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	_ = w.Close()
}

// failing takes two writes.
type failing struct{ n int }

func (f *failing) Write(p []byte) (int, error) {
	if f.n++; f.n > 2 {
		return 0, syscall.EPIPE
	}
	return len(p), nil
}

// TestCrashAndResume interrupts copies at random places, throws away what the destination had not on stable storage, and goes on by the
// journal until it is done: the result is the source, and what the journal says is never more than what is durable.
func TestCrashAndResume(t *testing.T) {
	defer func(old time.Duration) { checkpoint = old }(checkpoint)
	checkpoint = time.Millisecond
	r := rand.New(rand.NewPCG(7, 8))
	resumed, all := 0, 0
	for round := range 6 {
		src, dst := newMade("src", 32<<20), newMade("dst", 32<<20)
		fill(src.data, uint64(round))
		fill(dst.data, 99)
		copy(dst.durable, dst.data)
		path := filepath.Join(t.TempDir(), "journal")
		crashes := 0
		for resume := false; ; resume = true {
			ctx, cancel := context.WithCancel(t.Context())
			left := r.IntN(70)
			dst.onWrite = func([]byte, int64) error {
				if left--; left < 0 {
					cancel()
				}
				return ctx.Err()
			}
			broken := r.IntN(2) == 0 // nothing is brought to stable storage after the interruption
			dst.onFlush = func() error {
				if broken && ctx.Err() != nil {
					return errors.New("gone")
				}
				return nil
			}
			res, err := Run(ctx, src, dst, Options{Length: -1, Journal: path, Resume: resume, Workers: 3})
			cancel()
			if err == nil {
				break
			}
			if res.Resumed > 0 {
				resumed++
			}
			if !errors.Is(err, ErrInterrupted) {
				t.Fatalf("round %d: %v", round, err)
			}
			crashes++
			all++
			if r.IntN(2) == 0 { // the power fails: what was written since the last flush is lost, in part
				for at := 0; at < len(dst.data); at += 4096 {
					if r.IntN(2) == 0 {
						copy(dst.data[at:at+4096], dst.durable[at:])
					}
				}
			}
			if crashes > 200 {
				t.Fatal("it does not come to an end")
			}
		}
		if !bytes.Equal(src.data, dst.durable) {
			t.Fatalf("round %d, %d crashes: the destination is wrong", round, crashes)
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("the journal is still there: %v", err)
		}
	}
	if t.Logf("%d crashes, %d copies were gone on with and crashed again", all, resumed); all < 30 || resumed < 10 {
		t.Error("the test tries too little")
	}
}

// TestJournalMistakes: a journal is only used for its own copy.
func TestJournalMistakes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal")
	src, dst := newMade("src", 16<<20), newMade("dst", 16<<20)
	fill(src.data, 6)
	run := func(src, dst *made, o Options) error {
		o.Journal, o.Workers = path, 1
		if o.Length == 0 {
			o.Length = -1
		}
		_, err := Run(t.Context(), src, dst, o)
		return err
	}
	if err := run(src, dst, Options{Resume: true}); err == nil || !strings.Contains(err.Error(), "does not exist: there is nothing to resume") {
		t.Error(err)
	}
	n := 0
	src.onRead = func([]byte, int64) error {
		if n++; n > 7 {
			return errors.New("bad sector")
		}
		return nil
	}
	if err := run(src, dst, Options{}); err == nil {
		t.Fatal("no error")
	}
	src.onRead = nil
	other := newMade("other", 16<<20)
	for _, c := range []struct {
		src, dst *made
		o        Options
		want     string
	}{
		{src, dst, Options{}, "exists: --resume goes on"},
		{other, dst, Options{Resume: true}, "is of another copy: its source is made src, now it is made other"},
		{src, other, Options{Resume: true}, "is of another copy: its destination is made dst"},
		{src, dst, Options{Resume: true, From: 512}, "is of another copy: its range"},
	} {
		if err := run(c.src, c.dst, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	dst.data[1<<20] ^= 1
	if err := run(src, dst, Options{Resume: true}); err == nil || !strings.Contains(err.Error(), "dst does not hold what journal") {
		t.Error(err)
	}
	dst.data[1<<20] ^= 1
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "{}", "[1]", strings.Replace(string(text), `"done": `, `"done": 9`, 1)} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := run(src, dst, Options{Resume: true}); err == nil || !strings.Contains(err.Error(), "no journal") && !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(src, dst, Options{Resume: true}); err != nil || !bytes.Equal(src.data, dst.data) {
		t.Errorf("the right one: %v", err)
	}
}

// TestRuns holds run against the plain rule.
func TestRuns(t *testing.T) {
	b := make([]byte, 64<<10)
	fill(b, 11)
	for _, to := range []int64{0, 512, 4096 * 3, 77} {
		at := 0
		for at < len(b) {
			n, zero := run(b[at:], to+int64(at), 4096)
			if n <= 0 || n > len(b)-at {
				t.Fatalf("%d bytes of %d", n, len(b)-at)
			}
			if zero && !bytes.Equal(b[at:at+n], make([]byte, n)) {
				t.Fatal("data is taken for zeros")
			}
			if end := to + int64(at+n); end%4096 != 0 && at+n < len(b) {
				t.Fatalf("a run ends inside of a grain, at %d", end)
			}
			at += n
		}
	}
}
