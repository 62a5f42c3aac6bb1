package initiator_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/initiator"
	"goaoe/internal/sys"
	"goaoe/internal/testnet"
	"goaoe/test/need"
)

var soakFor = flag.Duration("soak", 4*time.Second, "how long TestSoak runs")

const patience = 30 * time.Second

// cable copies frames between two interfaces, and does to them what bad cables and switches do.
type cable struct {
	ends [2]int // sockets
	stop chan struct{}
	wg   sync.WaitGroup

	mu                 sync.Mutex
	loss, dup, reorder float64
	hole               int // frames longer than this are lost; 0: none
	cut                bool
}

func newCable(t testing.TB, ns *testnet.NS, a, b string) *cable {
	t.Helper()
	c := &cable{stop: make(chan struct{})}
	for i, name := range []string{a, b} {
		ns.Do(func() {
			ifi, err := net.InterfaceByName(name)
			if err != nil {
				t.Fatal(err)
			}
			protocol := bits.ReverseBytes16(aoe.EtherType)
			if c.ends[i], err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
				t.Fatal(err)
			}
			_ = unix.SetsockoptInt(c.ends[i], unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
			_ = unix.SetsockoptInt(c.ends[i], unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
			if err = unix.Bind(c.ends[i], &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: ifi.Index}); err != nil {
				t.Fatal(err)
			}
		})
	}
	for i := range c.ends {
		c.wg.Go(func() { c.run(i) })
	}
	t.Cleanup(func() {
		close(c.stop)
		c.wg.Wait()
		for _, fd := range c.ends {
			_ = unix.Close(fd)
		}
	})
	return c
}

func (c *cable) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *cable) run(i int) {
	from, to := c.ends[i], c.ends[1-i]
	send := func(f []byte) { _, _ = unix.Write(to, f) } // what is full or down loses frames
	rng := rand.New(rand.NewPCG(1, uint64(i)))
	buf := make([]byte, 16<<10)
	var back []byte // held back until another has passed
	var since time.Time
	for {
		n, _, err := unix.Recvfrom(from, buf, 0)
		if err != nil || n == 0 {
			select {
			case <-c.stop:
				return
			default:
			}
			_, _ = sys.Poll([]unix.PollFd{{Fd: int32(from), Events: unix.POLLIN}}, int64(time.Millisecond))
		} else {
			f := buf[:n]
			c.mu.Lock()
			loss, dup, reorder, hole, cut := c.loss, c.dup, c.reorder, c.hole, c.cut
			c.mu.Unlock()
			switch {
			case cut || hole > 0 && n > hole || rng.Float64() < loss:
			case back == nil && rng.Float64() < reorder:
				back, since = slices.Clone(f), time.Now()
				continue
			default:
				send(f)
				if rng.Float64() < dup {
					send(f)
				}
			}
		}
		if back != nil && (n > 0 || time.Since(since) > 2*time.Millisecond) {
			send(back)
			back = nil
		}
	}
}

// goaoeProgram builds the target once.
var goaoeProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "goaoe-initiator")
	if err != nil {
		return "", err
	}
	initiator.AtEnd = append(initiator.AtEnd, func() { _ = os.RemoveAll(dir) })
	bin := filepath.Join(dir, "goaoe")
	if out, err := exec.Command("go", "build", "-o", bin, "goaoe/cmd/goaoe").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return bin, nil
})

// server is a target program that can be killed and started again.
type server struct {
	t    testing.TB
	ns   *testnet.NS
	args []string
	mu   sync.Mutex
	cmd  *exec.Cmd
	log  bytes.Buffer // complete after kill
}

func newServer(t testing.TB, ns *testnet.NS, args ...string) *server {
	s := &server{t: t, ns: ns, args: args}
	s.start()
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("%v:\n%s", args, &s.log)
		}
	})
	return s
}

func (s *server) start() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	s.cmd.Env = append(os.Environ(), "GOAOE_SOCKET=off")
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.ns.Start(s.cmd)
}

func (s *server) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *server) signal(sig os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.cmd.Process.Signal(sig)
}

// goaoeServer serves a file as e5.7 with goaoe on interfaces.
func goaoeServer(t testing.TB, ns *testnet.NS, file string, interfaces ...string) *server {
	t.Helper()
	bin, err := goaoeProgram()
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(t.TempDir(), "goaoe.toml")
	text := fmt.Sprintf("[global]\nstate-directory = %q\n[defaults]\ninterfaces = [\"%s\"]\n[[export]]\naddress = \"5.7\"\nsource = %q\n", t.TempDir(),
		strings.Join(interfaces, `", "`), file)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return newServer(t, ns, bin, "serve", "-c", conf)
}

// events collects what happens to a disk.
type events struct {
	t   testing.TB
	all chan initiator.Event
}

func newEvents(t testing.TB) *events { return &events{t, make(chan initiator.Event, 4096)} }

func (e *events) on(x initiator.Event) {
	select {
	case e.all <- x:
	default:
	}
}

func (e *events) wait(k initiator.EventKind) initiator.Event {
	e.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case x := <-e.all:
			if x.Kind == k {
				return x
			}
		case <-limit:
			e.t.Fatalf("no event %q", k)
		}
	}
}

var e57 = aoe.Addr{Major: 5, Minor: 7}

func open(t testing.TB, ns *testnet.NS, o initiator.Options) *initiator.Disk {
	t.Helper()
	var d *initiator.Disk
	var err error
	if o.Wait == 0 {
		o.Wait = patience
	}
	ns.Do(func() { d, err = initiator.Open(context.Background(), e57, o) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// verified is a load that knows what each sector must hold.
type verified struct {
	d      *initiator.Disk
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	ops    int
	errs   []error
	model  [][]uint64 // per worker, per sector: the number written last
}

const perWorker = 512 // sectors

// stamp fills a sector so that every part of it says which one it is and which write it is of.
func stamp(b []byte, sector, n uint64) {
	for i := 0; i < len(b); i += 16 {
		binary.LittleEndian.PutUint64(b[i:], sector)
		binary.LittleEndian.PutUint64(b[i+8:], n)
	}
}

// stamped tells whether all of a sector is of write n.
func stamped(b []byte, sector, n uint64) bool {
	if n == 0 {
		sector = 0 // never written
	}
	for i := 0; i < len(b); i += 16 {
		if binary.LittleEndian.Uint64(b[i:]) != sector || binary.LittleEndian.Uint64(b[i+8:]) != n {
			return false
		}
	}
	return true
}

func startVerified(t testing.TB, d *initiator.Disk, workers int) *verified {
	ctx, cancel := context.WithCancel(context.Background())
	v := &verified{d: d, cancel: cancel, model: make([][]uint64, workers)}
	for k := range workers {
		v.model[k] = make([]uint64, perWorker)
		v.wg.Go(func() { v.work(ctx, k) })
	}
	t.Cleanup(func() { cancel(); v.wg.Wait() })
	return v
}

// work keeps eight requests under way through a queue of its own, which may meet each other.
func (v *verified) work(ctx context.Context, k int) {
	rng := rand.New(rand.NewPCG(3, uint64(k)))
	model := v.model[k]
	for n := uint64(1); ctx.Err() == nil; n++ {
		count := 1 + rng.IntN(40)
		from := rng.IntN(perWorker - count)
		buf := make([]byte, count*512)
		base := k*perWorker + from
		if rng.IntN(2) == 0 {
			for s := range count {
				model[from+s] = n
				stamp(buf[s*512:(s+1)*512], uint64(base+s), n)
			}
			if _, err := v.d.WriteAt(buf, int64(base)*512); err != nil {
				v.fail(err)
				return
			}
		} else {
			if _, err := v.d.ReadAt(buf, int64(base)*512); err != nil {
				v.fail(err)
				return
			}
			for s := range count {
				if !stamped(buf[s*512:(s+1)*512], uint64(base+s), model[from+s]) {
					v.fail(fmt.Errorf("sector %d is not of write %d but of %d of sector %d", base+s, model[from+s],
						binary.LittleEndian.Uint64(buf[s*512+8:]), binary.LittleEndian.Uint64(buf[s*512:])))
					return
				}
			}
		}
		v.mu.Lock()
		v.ops++
		v.mu.Unlock()
	}
}

func (v *verified) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.errs = append(v.errs, err)
}

func (v *verified) goesOn(t testing.TB, after string) {
	t.Helper()
	count := func() (int, []error) { v.mu.Lock(); defer v.mu.Unlock(); return v.ops, v.errs }
	was, _ := count()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		n, errs := count()
		if len(errs) > 0 {
			t.Fatalf("after %s: %v", after, errs)
		}
		if n > was+50 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no progress after %s: %+v", after, v.d.Paths())
		}
	}
}

// end stops the load and holds all of the file against the model.
func (v *verified) end(t testing.TB, file string) {
	t.Helper()
	v.cancel()
	v.wg.Wait()
	if len(v.errs) > 0 {
		t.Fatal(v.errs)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for k := range v.model {
		for s, n := range v.model[k] {
			i := k*perWorker + s
			if !stamped(b[i*512:(i+1)*512], uint64(i), n) {
				t.Fatalf("the file's sector %d is not of write %d but of %d", i, n, binary.LittleEndian.Uint64(b[i*512+8:]))
			}
		}
	}
}

// rig is two cables between a target's interfaces ta, tb and ours ha, hb.
func rig(t testing.TB) (ns *testnet.NS, cables [2]*cable, file string) {
	t.Helper()
	need.Root(t)
	ns = testnet.New(t)
	for i, c := range []string{"a", "b"} {
		ns.Veth("t"+c, "x"+c, 9000)
		ns.Veth("y"+c, "h"+c, 9000)
		cables[i] = newCable(t, ns, "x"+c, "y"+c)
	}
	file = filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	return ns, cables, file
}

// TestTwoVblades: two vblades, one per interface, with the same file are one disk on two paths. One is killed under load and comes back, then
// both.
func TestTwoVblades(t *testing.T) {
	ns, cables, file := rig(t)
	vblade := need.Programs(t, "vblade")[0]
	var v [2]*server
	for i, iface := range []string{"ta", "tb"} {
		v[i] = newServer(t, ns, vblade, "5", "7", iface, file)
	}
	e := newEvents(t)
	d := open(t, ns, initiator.Options{Interfaces: []string{"ha", "hb"}, OnEvent: e.on})
	e.wait(initiator.PathUp)
	e.wait(initiator.PathUp)
	l := startVerified(t, d, 6)
	l.goesOn(t, "the start")
	v[0].kill()
	if x := e.wait(initiator.PathDown); x.Path.Interface != "ha" {
		t.Errorf("%+v", x)
	}
	l.goesOn(t, "the death of one vblade")
	v[0].start()
	if x := e.wait(initiator.PathUp); x.Path.Interface != "ha" {
		t.Errorf("%+v", x)
	}
	v[0].kill()
	v[1].kill()
	e.wait(initiator.Gone)
	v[0].start()
	v[1].start()
	e.wait(initiator.Back)
	l.goesOn(t, "the death of both")
	cables[1].set(func() { cables[1].hole = 1514 })
	if x := e.wait(initiator.Reduced); x.Path.Interface != "hb" || x.New != 2 {
		t.Errorf("%+v", x)
	}
	l.goesOn(t, "a hole for large frames")
	cables[1].set(func() { cables[1].hole = 0 })
	for e.wait(initiator.Raised).New != 17 {
	}
	l.goesOn(t, "the end of the hole")
	l.end(t, file)
}

// TestTwoDisks: two Disks of one target on one interface see each other's replies, and never take them for their own.
func TestTwoDisks(t *testing.T) {
	need.Root(t)
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	ns, a, b := testnet.Pair(t, 9000)
	goaoeServer(t, ns, file, a)
	var loads []*verified
	for range 3 {
		d := open(t, ns, initiator.Options{Interfaces: []string{b}})
		loads = append(loads, startVerified(t, d, 1))
		loads[len(loads)-1].goesOn(t, "the start")
		loads[len(loads)-1].cancel()
		loads[len(loads)-1].wg.Wait()
		if err := os.Truncate(file, 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(file, 4<<20); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for g, l := range loads { // each reads sectors of its own number, and would notice those of another
		wg.Go(func() {
			buf, want := make([]byte, 1024), make([]byte, 1024)
			for i := range 1000 {
				at := int64(g*1000+i%100) * 1024
				if i < 100 {
					stamp(want[:512], uint64(at), 1)
					stamp(want[512:], uint64(at), 2)
					if _, err := l.d.WriteAt(want, at); err != nil {
						t.Error(err)
						return
					}
					continue
				}
				if _, err := l.d.ReadAt(buf, at); err != nil {
					t.Error(err)
					return
				}
				if !stamped(buf[:512], uint64(at), 1) || !stamped(buf[512:], uint64(at), 2) {
					t.Errorf("disk %d: wrong data at %d", g, at)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestSoak runs a verified load against goaoe over two cables that do everything that cables, switches and targets do. -soak says how long.
func TestSoak(t *testing.T) {
	ns, cables, file := rig(t)
	srv := goaoeServer(t, ns, file, "ta", "tb")
	e := newEvents(t)
	d := open(t, ns, initiator.Options{Interfaces: []string{"ha", "hb"}, OnEvent: e.on})
	l := startVerified(t, d, 6)
	l.goesOn(t, "the start")
	rng := rand.New(rand.NewPCG(1, uint64(soakFor.Nanoseconds())))
	counts := map[string]int{}
	for end := time.Now().Add(*soakFor); time.Now().Before(end); {
		c := cables[rng.IntN(2)]
		what := []string{"loss", "dup", "reorder", "all", "cut", "hole", "stop", "kill", "down", "both cut"}[rng.IntN(10)]
		counts[what]++
		for _, x := range cables {
			x.set(func() { x.loss, x.dup, x.reorder, x.hole, x.cut = 0, 0, 0, 0, false })
		}
		c.set(func() {
			switch what {
			case "loss":
				c.loss = 0.03
			case "dup":
				c.dup = 0.05
			case "reorder":
				c.reorder = 0.1
			case "all":
				c.loss, c.dup, c.reorder = 0.02, 0.02, 0.05
			case "cut":
				c.cut = true
			case "hole":
				c.hole = 1514
			}
		})
		pause := time.Duration(100+rng.IntN(900)) * time.Millisecond
		switch what {
		case "stop":
			srv.signal(unix.SIGSTOP)
			time.Sleep(pause)
			srv.signal(unix.SIGCONT)
		case "kill":
			srv.kill()
			time.Sleep(pause)
			srv.start()
		case "down":
			ns.Down("ha")
			time.Sleep(pause)
			ns.Up("ha")
		case "both cut":
			for _, x := range cables {
				x.set(func() { x.cut = true })
			}
			time.Sleep(pause)
			for _, x := range cables {
				x.set(func() { x.cut = false })
			}
		default:
			time.Sleep(pause)
		}
	}
	for _, x := range cables {
		x.set(func() { x.loss, x.dup, x.reorder, x.hole, x.cut = 0, 0, 0, 0, false })
	}
	l.goesOn(t, "all that")
	l.end(t, file)
	s := d.Stats()
	t.Logf("%d operations, %d frames, %d sent again, %d unexpected; %v", l.ops, s.Requests, s.Retransmits, s.Unexpected, counts)
	if s.Retransmits == 0 {
		t.Error("nothing was sent again: the soak shows nothing")
	}
}

// TestBadInput: what cannot be opened says why.
func TestBadInput(t *testing.T) {
	need.Root(t)
	ns, _, b := testnet.Pair(t, 1500)
	ctx := context.Background()
	for _, c := range []struct {
		name  string
		addr  aoe.Addr
		o     initiator.Options
		is    error
		words string
	}{
		{"wildcard", aoe.Addr{Major: 5, Minor: aoe.WildMinor}, initiator.Options{}, nil, "an exact address is needed"},
		{"no such interface", e57, initiator.Options{Interfaces: []string{"nosuch0"}}, nil, `interface "nosuch0" does not exist`},
		{"one of two", e57, initiator.Options{Interfaces: []string{b, "nosuch0"}}, nil, `interface "nosuch0" does not exist`},
		{"loopback", e57, initiator.Options{Interfaces: []string{"lo"}}, nil, "loopback"},
		{"nobody there", e57, initiator.Options{Interfaces: []string{b}, Wait: 100 * time.Millisecond}, initiator.ErrNotFound, "e5.7 on " + b},
		{"negative", e57, initiator.Options{Interfaces: []string{b}, Window: -1}, nil, "negative"},
	} {
		ns.Do(func() {
			begin := time.Now()
			_, err := initiator.Open(ctx, c.addr, c.o)
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%s: %v, want %v with %q", c.name, err, c.is, c.words)
			}
			if time.Since(begin) > 10*time.Second {
				t.Errorf("%s: took %v", c.name, time.Since(begin))
			}
		})
	}
}
