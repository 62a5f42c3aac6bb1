package initiator

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/link/mem"
	"goaoe/internal/stats"
	"goaoe/internal/sys"
	"goaoe/internal/target"
)

var (
	tMAC = aoe.MAC{2, 0, 0, 0, 0, 0xaa}
	iMAC = aoe.MAC{2, 0, 0, 0, 0, 1}
	addr = aoe.Addr{Major: 1, Minor: 1}
)

// fake is a target in memory on a link, one request after the other.
type fake struct {
	disk []byte
	fail func(target.IOSpec) target.Result
	mute bool
	// hook, when not nil, sees each frame first: true means that it dealt with the frame, a reply of 0 bytes being silence.
	hook  func(frame []byte) (reply []byte, dealt bool)
	stop  chan struct{}
	ended sync.WaitGroup
	mu    sync.Mutex
}

func (f *fake) run(t *testing.T, l link.Link, mtu int, cfg target.ExportConfig) {
	t.Helper()
	cfg.Addr, cfg.Sectors, cfg.BufferCount = addr, uint64(len(f.disk)/512), 16
	e, err := target.NewExport(cfg)
	if err != nil {
		t.Fatal(err)
	}
	in := &target.Ingress{MAC: l.Info().MAC, MTU: mtu, MaxSectors: aoe.AdvertisedSectors(mtu)}
	f.stop = make(chan struct{})
	f.ended.Add(1)
	go func() {
		defer f.ended.Done()
		var frames [16]link.Frame
		buf, hdr := make([]byte, 2048), make([]byte, 64)
		for {
			select {
			case <-f.stop:
				return
			default:
			}
			if !l.Pending() {
				_, _ = sys.Poll([]unix.PollFd{{Fd: int32(l.FD()), Events: unix.POLLIN}}, int64(5*time.Millisecond))
			}
			n := l.Recv(frames[:])
			for _, fr := range frames[:n] {
				var req target.Request
				f.mu.Lock()
				mute, hook := f.mute, f.hook
				f.mu.Unlock()
				if hook != nil {
					if reply, dealt := hook(fr.Data); dealt {
						if len(reply) > 0 {
							_ = l.Inject(reply)
						}
						continue
					}
				}
				if mute || req.Parse(fr.Data, false, 0, in) != stats.NoDrop || !req.Addr.Match(addr) {
					continue
				}
				var act target.Action
				e.Handle(&req, in, buf, &act)
				switch act.Kind {
				case target.Reply:
					_ = l.Inject(buf[:act.N])
				case target.IO:
					f.io(l, e, in, fr.Data, act.IO, hdr)
				}
			}
			if n > 0 {
				l.Release()
			}
		}
	}()
	t.Cleanup(func() { close(f.stop); f.ended.Wait() })
}

func (f *fake) io(l link.Link, e *target.Export, in *target.Ingress, frame []byte, io target.IOSpec, hdr []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	res := target.OK
	if f.fail != nil {
		res = f.fail(io)
	}
	at := io.LBA * 512
	if res == target.OK && io.Kind == target.IOWrite {
		copy(f.disk[at:], frame[36:36+io.Count*512])
	}
	h, d := e.Finish(frame[:36], in, io, res, 0, false, hdr)
	out := append([]byte(nil), hdr[:h]...)
	if d > 0 {
		out = append(out, f.disk[at:at+uint64(d)]...)
	}
	_ = l.Inject(out)
}

// open is Open over a link.
func open(ctx context.Context, l link.Link, addr aoe.Addr, o Options) (*Disk, error) {
	return start(ctx, []link.Link{l}, addr, o, defaults(o), nil)
}

// rig is a fake target and a disk opened on it.
func rig(t *testing.T, mtu int, faults mem.Faults, cfg target.ExportConfig, o Options) (*fake, *Disk) {
	t.Helper()
	n := mem.NewNet(mem.Options{Seed: 1, Auto: true})
	f := &fake{disk: make([]byte, 1000*512)}
	f.run(t, n.Open("t0", tMAC, mtu), mtu, cfg)
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	d, err := open(context.Background(), n.Open("h0", iMAC, mtu), addr, o)
	if err != nil {
		t.Fatal(err)
	}
	n.SetFaults(faults)
	t.Cleanup(func() { _ = d.Close() })
	return f, d
}

func TestOpen(t *testing.T) {
	_, d := rig(t, 9000, mem.Faults{}, target.ExportConfig{Serial: "number one", Model: "a disk"}, Options{})
	if d.Size() != 1000*512 || d.FrameSectors() != 17 || d.Identity().Serial != "number one" || d.Identity().Model != "a disk" {
		t.Fatalf("size %d, %d sectors a frame, %+v", d.Size(), d.FrameSectors(), d.Identity())
	}
	if g := d.Target(); g.MAC != tMAC || g.BufferCount != 16 || g.Addr != addr || g.Interface != "h0" {
		t.Fatalf("%+v", g)
	}
}

func TestOpenNobody(t *testing.T) {
	_, l := mem.Pair(1500)
	_, err := open(context.Background(), l, addr, Options{Wait: 50 * time.Millisecond})
	if !errors.Is(err, ErrNotFound) {
		t.Fatalf("error %v, want ErrNotFound", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := open(ctx, l, addr, Options{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want the context's", err)
	}
}

// TestReadWrite holds the disk against a model, with several callers at once, over a good wire and over bad ones.
func TestReadWrite(t *testing.T) {
	for name, faults := range map[string]mem.Faults{
		"good":    {},
		"lossy":   {Loss: 0.03},
		"doubled": {Duplicate: 0.1},
		"jumbled": {Reorder: 0.2},
		"all":     {Loss: 0.02, Duplicate: 0.05, Reorder: 0.1},
	} {
		t.Run(name, func(t *testing.T) {
			f, d := rig(t, 1500, faults, target.ExportConfig{}, Options{})
			const callers, each = 4, 250
			var wg sync.WaitGroup
			for g := 0; g < callers; g++ {
				wg.Add(1)
				go func() { // each caller has its own quarter of the disk
					defer wg.Done()
					rng := rand.New(rand.NewPCG(1, uint64(g)))
					model := make([]byte, each*512)
					base := int64(g) * each * 512
					for i := 0; i < 60; i++ {
						from, n := rng.IntN(each), 1+rng.IntN(20)
						n = min(n, each-from)
						p := make([]byte, n*512)
						if rng.IntN(2) == 0 {
							for k := range p {
								p[k] = byte(rng.Uint32())
							}
							if _, err := d.WriteAt(p, base+int64(from)*512); err != nil {
								t.Errorf("caller %d: %v", g, err)
								return
							}
							copy(model[from*512:], p)
							continue
						}
						if _, err := d.ReadAt(p, base+int64(from)*512); err != nil {
							t.Errorf("caller %d: %v", g, err)
							return
						}
						if !bytes.Equal(p, model[from*512:(from+n)*512]) {
							t.Errorf("caller %d: sector %d: wrong data", g, from)
							return
						}
					}
					f.mu.Lock()
					defer f.mu.Unlock()
					if !bytes.Equal(model, f.disk[base:base+each*512]) {
						t.Errorf("caller %d: the disk holds something else", g)
					}
				}()
			}
			wg.Wait()
			if s := d.Stats(); faults.Loss > 0 && s.Retransmits == 0 {
				t.Errorf("frames were lost and none was sent again: %+v", s)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	f, d := rig(t, 1500, mem.Faults{}, target.ExportConfig{}, Options{Timeout: 300 * time.Millisecond})
	buf := make([]byte, 4096)
	if _, err := d.ReadAt(buf[:100], 0); err == nil {
		t.Error("100 bytes were read")
	}
	if _, err := d.ReadAt(buf, 7); err == nil {
		t.Error("an offset of 7 was taken")
	}
	if n, err := d.ReadAt(buf, d.Size()-512); n != 512 || !errors.Is(err, io.EOF) {
		t.Errorf("read over the end: %d, %v; want 512, EOF", n, err)
	}
	if _, err := d.WriteAt(buf, d.Size()-512); !errors.Is(err, ErrRange) {
		t.Errorf("write over the end: %v", err)
	}
	if err := d.Flush(context.Background()); err != nil {
		t.Errorf("flush: %v", err)
	}
	f.mu.Lock()
	f.fail = func(io target.IOSpec) target.Result { return target.Media }
	f.mu.Unlock()
	if _, err := d.ReadAt(buf, 0); !errors.Is(err, ErrMedium) {
		t.Errorf("media error on read: %v", err)
	}
	if _, err := d.WriteAt(buf, 0); !errors.Is(err, ErrMedium) {
		t.Errorf("media error on write: %v", err)
	}
	f.mu.Lock()
	f.mute = true
	f.mu.Unlock()
	if _, err := d.ReadAt(buf, 0); !errors.Is(err, ErrTimeout) {
		t.Errorf("a target that is gone: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := d.ReadAtContext(ctx, buf, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a context that ends: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := d.ReadAt(buf, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed disk: %v", err)
	}
}

func TestReadOnlyTarget(t *testing.T) {
	_, d := rig(t, 1500, mem.Faults{}, target.ExportConfig{ReadOnly: true}, Options{})
	if _, err := d.WriteAt(make([]byte, 512), 0); !errors.Is(err, ErrRefused) {
		t.Fatalf("write to a read-only disk: %v", err)
	}
}

// TestOverlapsWait: of two overlapping requests, one a write, the second leaves when the first is answered.
func TestOverlapsWait(t *testing.T) {
	f, d := rig(t, 1500, mem.Faults{}, target.ExportConfig{}, Options{})
	f.mu.Lock() // the target holds the answer to the first write
	var wg sync.WaitGroup
	for i := byte(1); i <= 8; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if _, err := d.WriteAt(bytes.Repeat([]byte{i}, 512), 5*512); err != nil {
				t.Error(err)
			}
		}()
	}
	time.Sleep(20 * time.Millisecond)
	d.mu.Lock()
	n := d.writes
	d.mu.Unlock()
	if n != 1 {
		t.Errorf("%d overlapping writes are under way, want one", n)
	}
	f.mu.Unlock()
	wg.Wait()
}

func TestAnswer(t *testing.T) {
	info := link.Info{Name: "h0", MAC: iMAC, MTU: 1500}
	// vblade's announcement: version 0, 32 bytes.
	f := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0xaa, 0x88, 0xa2, 0x08, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 16, 0x40, 0x19, 0, 0x10, 0, 0}
	got, ok := answer(f, ownTag|5, info)
	if !ok || got.Addr != addr || got.BufferCount != 16 || got.Sectors != 2 {
		t.Fatalf("%+v %v", got, ok)
	}
	for _, bad := range []func(f []byte){
		func(f []byte) { f[14] = 0x10 },               // not a reply
		func(f []byte) { f[14] = 0x1c },               // an error
		func(f []byte) { f[23] = 9 },                  // somebody else's
		func(f []byte) { f[16], f[17] = 0xff, 0xff },  // wildcard
		func(f []byte) { f[19] = 0 },                  // another command
		func(f []byte) { copy(f[6:12], iMAC[:]) },     // our own
		func(f []byte) { f[14] = 0x08; f[20] = 0x80 }, // version 0 in an answer
		func(f []byte) { f[14] = 0x28 },               // a version that is not there
	} {
		g := append([]byte(nil), f...)
		bad(g)
		if got, ok := answer(g, ownTag|5, info); ok {
			t.Errorf("taken: %+v", got)
		}
	}
}

func TestRTT(t *testing.T) {
	var r rtt
	if r.timeout(0) != int64(firstRTO) || r.timeout(20) != int64(maxRTO) {
		t.Fatal("limits before the first measurement")
	}
	for i := 0; i < 100; i++ {
		r.add(100 * time.Microsecond)
	}
	if r.timeout(0) != int64(minRTO) || r.timeout(1) != 2*int64(minRTO) {
		t.Fatalf("timeouts %d %d", r.timeout(0), r.timeout(1))
	}
	for i := 0; i < 100; i++ {
		r.add(40 * time.Millisecond)
	}
	if d := time.Duration(r.timeout(0)); d < 80*time.Millisecond || d > 400*time.Millisecond {
		t.Fatalf("timeout %v for answers of 40 ms", d)
	}
}
