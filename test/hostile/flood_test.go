package hostile

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/initiator"
	"goaoe/test/program"
)

const (
	// floodRate is how many frames a flood sends in a second. The sender, the daemon and the good initiator share two processors: faster, the test
	// would measure how the kernel shares those.
	floodRate = 20_000
	window    = 400 * time.Millisecond // of a measurement
	rounds    = 7                      // of a window without the flood, and one with it
	depth     = 4                      // requests that the good initiator has outstanding
	attempts  = 3
	half      = 0.5 // of its throughput
)

// bound is how long 99 of 100 requests may take beside a flood, given how long they take without.
func bound(alone time.Duration) time.Duration { return 5*alone + 50*time.Millisecond }

// request begins a frame of an initiator that misbehaves.
func request(r *rig, b []byte, to [6]byte, addr aoe.Addr, cmd byte, tag uint32) {
	clear(b[:64])
	copy(b, to[:])
	copy(b[6:], []byte{2, 0xbd, 0, 0, 0, byte(tag % 8)})
	binary.BigEndian.PutUint16(b[12:], aoe.EtherType)
	b[14] = 0x10
	binary.BigEndian.PutUint16(b[16:], addr.Major)
	b[18], b[19] = addr.Minor, cmd
	binary.BigEndian.PutUint32(b[20:], tag)
}

// read makes it a read of sectors.
func read(b []byte, lba uint64, sectors byte) int {
	b[24], b[26], b[27] = 0x40, sectors, 0x24
	for i := range 6 {
		b[28+i] = byte(lba >> (8 * i))
	}
	return 36
}

// floods are what is sent; each returns the length of a frame.
var floods = []struct {
	name    string
	make    func(r *rig, b []byte, tag uint32) int
	changes bool // the config string of e0.2
}{
	{"broadcast questions", func(r *rig, b []byte, tag uint32) int {
		request(r, b, [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, aoe.Addr{Major: 0xffff, Minor: 0xff}, 1, tag)
		return 32
	}, false},
	{"addresses that nobody has", func(r *rig, b []byte, tag uint32) int {
		request(r, b, r.target, aoe.Addr{Major: uint16(100 + tag%1000), Minor: byte(tag)}, 0, tag)
		return read(b, uint64(tag), 1)
	}, false},
	{"errors", func(r *rig, b []byte, tag uint32) int {
		request(r, b, r.target, e02, 0, tag)
		if tag%2 == 0 {
			return read(b, 1<<40, 8) // behind the end
		}
		n := read(b, 0, 1)
		b[27] = 0x99 // no command
		return n
	}, false},
	{"reads that do not fit", func(r *rig, b []byte, tag uint32) int {
		request(r, b, r.target, e02, 0, tag)
		return read(b, uint64(tag%100_000), byte(18+tag%238))
	}, false},
	{"the largest reads", func(r *rig, b []byte, tag uint32) int {
		request(r, b, r.target, e02, 0, tag)
		return read(b, uint64(tag*17%100_000), 17)
	}, false},
	{"a disk that refuses", func(r *rig, b []byte, tag uint32) int { // not on its access list
		request(r, b, r.target, e01, 0, tag)
		return read(b, uint64(tag%100_000), 8)
	}, false},
	{"changes of the config string", func(r *rig, b []byte, tag uint32) int { // the slow path, with a disk behind it
		request(r, b, r.target, e02, 1, tag)
		b[29], b[31] = 0x14, 4 // set, whatever there is
		for i := range 4 {
			b[32+i] = 'a' + byte(tag>>(4*i))&15
		}
		return 36
	}, true},
}

// good is an initiator that behaves, with depth requests outstanding.
type good struct {
	done  atomic.Uint64
	mu    sync.Mutex
	times []time.Duration // of the requests since they were last taken
	err   atomic.Pointer[error]
	stop  chan struct{}
	wait  sync.WaitGroup
}

func startGood(d *initiator.Disk) *good {
	g := &good{stop: make(chan struct{})}
	for i := range depth {
		g.wait.Add(1)
		go func() {
			defer g.wait.Done()
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			b := make([]byte, 4096)
			for {
				select {
				case <-g.stop:
					return
				default:
				}
				off := rnd.Int64N(8<<20/4096) * 4096
				began := time.Now()
				_, err := d.ReadAt(b, off)
				if err != nil {
					err = fmt.Errorf("at %d: %w", off, err)
					g.err.Store(&err)
					return
				}
				took := time.Since(began)
				g.done.Add(1)
				g.mu.Lock()
				g.times = append(g.times, took)
				g.mu.Unlock()
			}
		}()
	}
	return g
}

func (g *good) end() {
	close(g.stop)
	g.wait.Wait()
}

// measure returns how many requests were done in a window, and how long the slowest of a hundred took.
func (g *good) measure() (n uint64, slow time.Duration) {
	time.Sleep(window / 8) // what went before is over
	g.mu.Lock()
	g.times = g.times[:0]
	g.mu.Unlock()
	before := g.done.Load()
	time.Sleep(window)
	n = g.done.Load() - before
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.times) > 0 {
		slices.Sort(g.times)
		slow = g.times[len(g.times)*99/100]
	}
	return n, slow
}

func median[T uint64 | float64 | time.Duration](list []T) T {
	slices.Sort(list)
	return list[len(list)/2]
}

// TestFloods: while others flood the target, an initiator that behaves keeps at least half of its throughput, and its requests do not take
// much longer. Both are ratios of windows that alternate; the median counts.
func TestFloods(t *testing.T) {
	r := newRig(t)
	d := r.open(e01)
	for _, f := range floods {
		t.Run(f.name, func(t *testing.T) {
			g := startGood(d)
			defer g.end()
			var on atomic.Bool
			var sent atomic.Uint64
			failed := make(chan error, 1)
			stop, over := make(chan struct{}), make(chan struct{})
			out := r.sender("vb")
			go func() {
				defer close(over)
				const pause = time.Millisecond
				tick := time.NewTicker(pause)
				defer tick.Stop()
				var b [9000]byte
				tag, last := uint32(0), time.Now()
				for {
					select {
					case <-stop:
						return
					case now := <-tick.C:
						n := int(now.Sub(last).Seconds() * floodRate)
						last = now
						if !on.Load() {
							continue
						}
						for range min(n, floodRate/50) {
							tag++
							if err := out.send(b[:f.make(r, b[:], tag)]); err != nil {
								failed <- err
								return
							}
							sent.Add(1)
						}
					}
				}
			}()
			defer func() { close(stop); <-over }()
			var ratio float64
			var sa, su time.Duration
			// What disturbs the machine may spoil a measurement. A target that starves its initiators spoils all of them.
			for range attempts {
				var alone, under []uint64
				var slowAlone, slowUnder []time.Duration
				var ratios []float64
				for range rounds {
					on.Store(false)
					a, sa := g.measure()
					on.Store(true)
					u, su := g.measure()
					alone, under, slowAlone, slowUnder = append(alone, a), append(under, u), append(slowAlone, sa), append(slowUnder, su)
					ratios = append(ratios, float64(u)/float64(max(a, 1)))
				}
				ratio, sa, su = median(ratios), median(slowAlone), median(slowUnder)
				t.Logf("%d frames of the flood; requests in %v: %d without, %d with it, ratio %.2f; 99 of 100 took at most %v and %v", sent.Load(), window, median(alone), median(under), ratio, sa, su)
				if ratio >= half && su <= bound(sa) {
					break
				}
			}
			program.Evidence(t, "floods.json", map[string]any{"flood": f.name, "ratio": ratio, "alone": sa.Microseconds(), "under": su.Microseconds()})
			on.Store(false)
			if err := g.err.Load(); err != nil {
				t.Fatalf("the good initiator: %v", *err)
			}
			select {
			case err := <-failed:
				t.Fatal(err)
			default:
			}
			if f.changes && len(r.configString(e02)) != 4 {
				t.Errorf("the flood has changed nothing: the config string is %q", r.configString(e02))
			}
			if sent.Load() < uint64(float64(floodRate)*window.Seconds()*rounds/4) {
				t.Errorf("the flood was none: %d frames", sent.Load())
			}
			if ratio < half {
				t.Errorf("it keeps %.2f of its throughput, less than half", ratio)
			}
			if su > bound(sa) {
				t.Errorf("its requests take %v in place of %v", su, sa)
			}
			r.alive()
		})
	}
}
