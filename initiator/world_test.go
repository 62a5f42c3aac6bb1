package initiator

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
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

// node is one interface of a target, as a process of its own: it executes what arrives in order, one after the other.
type node struct {
	w    *world
	mac  aoe.MAC
	link *mem.Link
	mtu  int
	stop chan struct{}

	// Under world.mu:
	exp    *target.Export
	conf   target.ExportConfig
	mute   bool          // what arrives is lost
	frozen bool          // what arrives waits
	late   time.Duration // what arrives waits that long, in order
	hole   int           // frames longer than this are lost, in both directions; 0: none
	toHole int           // only those that come in
	queue  []held
	hook   func(frame []byte) (reply []byte, dealt bool)
	ios    int // commands executed
	writes int // and those that were writes
}

type held struct {
	frame []byte
	due   time.Time
}

// world is a disk in memory that is reached in several ways.
type world struct {
	t      testing.TB
	mu     sync.Mutex
	disk   []byte
	nodes  []*node
	wrote  func(lba uint64, data []byte) // called for each write that is executed
	ended  sync.WaitGroup
	events chan Event
}

func newWorld(t testing.TB, sectors int) *world {
	t.Helper()
	w := &world{t: t, disk: make([]byte, sectors*512), events: make(chan Event, 4096)}
	t.Cleanup(func() {
		for _, n := range w.nodes {
			close(n.stop)
		}
		w.ended.Wait()
	})
	return w
}

func export(t testing.TB, c target.ExportConfig) *target.Export {
	e, err := target.NewExport(c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// serve puts a node onto a wire.
func (w *world) serve(net *mem.Net, mac aoe.MAC, mtu int, c target.ExportConfig) *node {
	w.t.Helper()
	c.Addr = addr
	if c.Sectors == 0 {
		c.Sectors = uint64(len(w.disk) / 512)
	}
	if c.BufferCount == 0 {
		c.BufferCount = 16
	}
	if c.Serial == "" {
		c.Serial, c.Model = "the one", "a disk"
	}
	n := &node{w: w, mac: mac, mtu: mtu, stop: make(chan struct{}), exp: export(w.t, c), conf: c, link: net.Open(fmt.Sprintf("t%d", len(w.nodes)), mac, mtu)}
	w.nodes = append(w.nodes, n)
	w.ended.Go(n.run)
	return n
}

func (n *node) run() {
	var frames [16]link.Frame
	for {
		select {
		case <-n.stop:
			return
		default:
		}
		if !n.link.Pending() {
			_, _ = sys.Poll([]unix.PollFd{{Fd: int32(n.link.FD()), Events: unix.POLLIN}}, int64(2*time.Millisecond))
		}
		k := n.link.Recv(frames[:])
		n.w.mu.Lock()
		for _, f := range frames[:k] {
			switch {
			case n.mute || n.hole > 0 && len(f.Data) > n.hole || n.toHole > 0 && len(f.Data) > n.toHole:
			case len(n.queue) < 4096:
				n.queue = append(n.queue, held{slices.Clone(f.Data), time.Now().Add(n.late)})
			}
		}
		if k > 0 {
			n.link.Release()
		}
		for !n.frozen && len(n.queue) > 0 && !time.Now().Before(n.queue[0].due) {
			f := n.queue[0].frame
			n.queue = n.queue[1:]
			n.execute(f)
		}
		n.w.mu.Unlock()
	}
}

func (n *node) reply(b []byte) {
	if n.hole == 0 || len(b) <= n.hole {
		_ = n.link.Inject(b)
	}
}

func (n *node) execute(f []byte) {
	if n.hook != nil {
		if r, dealt := n.hook(f); dealt {
			if len(r) > 0 {
				n.reply(r)
			}
			return
		}
	}
	in := &target.Ingress{MAC: n.mac, MTU: n.mtu, MaxSectors: aoe.AdvertisedSectors(n.mtu)}
	var req target.Request
	if req.Parse(f, false, 0, in) != stats.NoDrop || !req.Addr.Match(n.conf.Addr) {
		return
	}
	buf := make([]byte, 2048)
	var act target.Action
	n.exp.Handle(&req, in, buf, &act)
	switch act.Kind {
	case target.Reply:
		n.reply(buf[:act.N])
	case target.IO:
		n.ios++
		at := act.IO.LBA * 512
		if act.IO.Kind == target.IOWrite {
			n.writes++
			data := f[36 : 36+act.IO.Count*512]
			copy(n.w.disk[at:], data)
			if n.w.wrote != nil {
				n.w.wrote(act.IO.LBA, data)
			}
		}
		hdr := make([]byte, 64)
		h, d := n.exp.Finish(f[:36], in, act.IO, target.OK, 0, false, hdr)
		out := slices.Clone(hdr[:h])
		if d > 0 {
			out = append(out, n.w.disk[at:at+uint64(d)]...)
		}
		n.reply(out)
	}
}

// set changes something about nodes.
func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// change gives a node another identity.
func (n *node) change(f func(c *target.ExportConfig)) {
	n.w.set(func() {
		f(&n.conf)
		n.exp = export(n.w.t, n.conf)
	})
}

// announce sends what a target sends when it starts or changes.
func (n *node) announce() {
	b := make([]byte, aoe.MinFrame)
	h := aoe.Header{Dst: aoe.Broadcast, Src: n.mac, Version: aoe.Version, Flags: aoe.FlagResponse, Addr: addr, Cmd: aoe.CmdConfig}
	_, _ = h.Encode(b)
	_, _ = (&aoe.Config{BufferCount: 16, Sectors: uint8(aoe.AdvertisedSectors(n.mtu)), Version: aoe.Version}).Encode(b)
	_ = n.link.Inject(b)
}

// quick are times that suit tests.
func quick(o Options) tuning {
	t := defaults(o)
	t.again, t.raise, t.raiseMost = 10*time.Millisecond, 100*time.Millisecond, 400*time.Millisecond
	t.askUp, t.askSome, t.askNone = time.Second, 100*time.Millisecond, 50*time.Millisecond
	t.down = 600 * time.Millisecond
	return t
}

// open opens the disk over links.
func (w *world) open(o Options, t tuning, links ...link.Link) *Disk {
	w.t.Helper()
	if o.OnEvent == nil {
		o.OnEvent = func(e Event) { w.events <- e }
	}
	d, err := start(context.Background(), links, addr, o, t, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = d.Close() })
	return d
}

// patience is how long tests wait for what must come.
const patience = 20 * time.Second

// wait waits for an event of a kind; others before it are passed over.
func (w *world) wait(k EventKind) Event {
	w.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case e := <-w.events:
			if e.Kind == k {
				return e
			}
			w.t.Logf("(event %v %s %v %d %d %v)", e.Kind, e.Path.Interface, e.Path.MAC, e.Old, e.New, e.Err)
		case <-limit:
			w.t.Fatalf("no event %q", k)
		}
	}
}

// until waits for something to become true.
func (w *world) until(what string, f func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// pair is a world with two wires, and a node and a link of ours on each.
func pair(t *testing.T, mtu int) (w *world, a, b *node, links []link.Link) {
	t.Helper()
	w = newWorld(t, 4000)
	one, two := mem.NewNet(mem.Options{Seed: 1, Auto: true}), mem.NewNet(mem.Options{Seed: 2, Auto: true})
	a = w.serve(one, aoe.MAC{2, 0, 0, 0, 0, 0xaa}, mtu, target.ExportConfig{})
	b = w.serve(two, aoe.MAC{2, 0, 0, 0, 0, 0xbb}, mtu, target.ExportConfig{})
	return w, a, b, []link.Link{one.Open("h0", aoe.MAC{2, 0, 0, 0, 0, 1}, mtu), two.Open("h1", aoe.MAC{2, 0, 0, 0, 0, 2}, mtu)}
}

func (d *Disk) path(i int) Path { return d.Paths()[i] }

// load writes and reads back numbers in sectors of its own until it is stopped.
type load struct {
	d    *Disk
	stop func()
	mu   sync.Mutex
	done int
	errs []error
}

func (w *world) load(d *Disk, workers int, sectorsEach int) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{d: d}
	var wg sync.WaitGroup
	for k := range workers {
		wg.Go(func() {
			const per = 40
			buf := make([]byte, sectorsEach*512)
			model := make([]uint64, per)
			for n := uint64(1); ctx.Err() == nil; n++ {
				at := int(n*7) % (per - sectorsEach)
				base := int64(k*per+at) * 512
				for s := range sectorsEach {
					binary.LittleEndian.PutUint64(buf[s*512:], n)
					model[at+s] = n
				}
				if _, err := d.WriteAt(buf, base); err != nil {
					l.fail(err)
					return
				}
				from := int(n*3) % (per - sectorsEach)
				if _, err := d.ReadAt(buf, int64(k*per+from)*512); err != nil {
					l.fail(err)
					return
				}
				for s := range sectorsEach {
					if got := binary.LittleEndian.Uint64(buf[s*512:]); got != model[from+s] {
						l.fail(fmt.Errorf("worker %d: sector %d holds %d, not %d", k, from+s, got, model[from+s]))
						return
					}
				}
				l.mu.Lock()
				l.done++
				l.mu.Unlock()
			}
		})
	}
	once := sync.OnceFunc(func() { cancel(); wg.Wait() })
	l.stop = once
	w.t.Cleanup(once)
	return l
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
}

// goesOn waits until the load has made progress.
func (w *world) goesOn(l *load, after string) {
	w.t.Helper()
	l.mu.Lock()
	was := l.done
	l.mu.Unlock()
	w.until("I/O goes on after "+after, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.errs) > 0 {
			w.t.Fatalf("after %s: %v", after, l.errs)
		}
		return l.done > was+50
	})
}
