package hostile

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/initiator"
	"goaoe/internal/control"
)

// addExport has the daemon serve a file of its own under an address.
func (r *rig) addExport(addr string, size int64, settings map[string]string) {
	r.t.Helper()
	file := filepath.Join(r.dir, "disk-"+addr)
	b := make([]byte, size) // written, so that no write has to find room
	if err := os.WriteFile(file, b, 0o600); err != nil {
		r.t.Fatal(err)
	}
	s := map[string]string{"interfaces": "va"}
	for k, v := range settings {
		s[k] = v
	}
	r.change(control.Change{Op: control.OpAdd, Address: addr, Source: file, Settings: s})
}

// change changes an export of the running daemon.
func (r *rig) change(c control.Change) {
	r.t.Helper()
	client := control.NewClient(r.socket)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	reply, err := client.Change(ctx, &control.ChangeRequest{Changes: []control.Change{c}, WaitMS: 20_000})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, x := range reply.Results {
		if x.Error != nil {
			r.t.Fatalf("%s: %v", x.Address, x.Error)
		}
	}
}

func (r *rig) statsOf(addr string) (e control.ExportStats, by map[string]control.InitiatorStats) {
	r.t.Helper()
	client := control.NewClient(r.socket)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := client.Stats(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	by = map[string]control.InitiatorStats{}
	for _, x := range s.Exports {
		if x.Address == addr {
			e = x
		}
	}
	for _, i := range s.Initiators {
		if i.Export == addr {
			by[i.MAC] = i
		}
	}
	return e, by
}

// again is how long an initiator of a crowd waits for an answer before it asks again.
const again = 200 * time.Millisecond

// crowd is some initiators with an address each, on one interface. Each has as many requests outstanding as its depth says, and keeps asking.
type crowd struct {
	r       *rig
	addr    aoe.Addr
	write   bool
	sectors int
	in, out int // sockets
	members []*member
	stop    chan struct{}
	over    chan struct{}
	failed  atomic.Pointer[string]
}

type member struct {
	mac   [6]byte
	depth atomic.Int32
	done  atomic.Uint64
	mu    sync.Mutex
	times []time.Duration
	open  []asked
	free  []uint16
	under int32
	first uint64 // of its sectors
}

// asked is one request that waits for its answer.
type asked struct {
	on         bool
	gen        uint16
	lba        uint64
	began, was time.Time
}

const crowdDepth = 2000 // the most that a member has outstanding

// newCrowd starts n initiators on vb that read or write an export, each its own part of it, and each no place twice at a time: that would be taken for
// the same request once more.
func newCrowd(r *rig, addr aoe.Addr, n int, write bool, sectors int) *crowd {
	r.t.Helper()
	c := &crowd{r: r, addr: addr, write: write, sectors: sectors, stop: make(chan struct{}), over: make(chan struct{})}
	c.out = r.sender("vb").fd
	r.ns.Do(func() {
		var err error
		if c.in, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0xa288); err != nil {
			r.t.Fatal(err)
		}
	})
	r.t.Cleanup(func() { _ = unix.Close(c.in) })
	_ = unix.SetsockoptInt(c.in, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20) // what is lost is asked for again
	index := r.iface("vb").Index
	if err := unix.Bind(c.in, &unix.SockaddrLinklayer{Protocol: 0xa288, Ifindex: index}); err != nil {
		r.t.Fatal(err)
	}
	if err := unix.Bind(c.out, &unix.SockaddrLinklayer{Ifindex: index}); err != nil {
		r.t.Fatal(err)
	}
	for i := range n {
		m := &member{mac: [6]byte{2, 0xc0, 0, 0, 0, byte(i)}, open: make([]asked, crowdDepth), first: uint64(i) * crowdDepth * 8}
		for k := range uint16(crowdDepth) {
			m.free = append(m.free, crowdDepth-1-k)
		}
		c.members = append(c.members, m)
	}
	go c.run()
	r.t.Cleanup(c.end)
	return c
}

func (c *crowd) end() {
	select {
	case <-c.stop:
	default:
		close(c.stop)
	}
	<-c.over
}

func (c *crowd) fail(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	c.failed.CompareAndSwap(nil, &s)
}

// run sends and receives for all of them.
func (c *crowd) run() {
	defer close(c.over)
	var b, reply [9014]byte
	next := time.Now()
	for {
		select {
		case <-c.stop:
			return
		default:
		}
		for _, m := range c.members {
			if m.under > m.depth.Load() { // it gives up what it asked for: nobody goes on asking for it
				for k := range m.open {
					if m.open[k].on {
						m.open[k].on = false
						m.free = append(m.free, uint16(k))
					}
				}
				m.under = 0
			}
			for m.under < m.depth.Load() && len(m.free) > 0 {
				k := m.free[len(m.free)-1]
				m.free = m.free[:len(m.free)-1]
				m.under++
				now := time.Now()
				m.open[k] = asked{on: true, gen: m.open[k].gen + 1, lba: m.first + uint64(k)*8, began: now, was: now}
				c.send(b[:], m, k)
			}
		}
		if now := time.Now(); now.After(next) {
			next = now.Add(again / 10)
			for _, m := range c.members {
				for k := range m.open {
					if o := &m.open[k]; o.on && now.Sub(o.was) > again {
						o.was = now
						c.send(b[:], m, uint16(k))
					}
				}
			}
		}
		fds := []unix.PollFd{{Fd: int32(c.in), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, 2); n <= 0 || err != nil {
			continue
		}
		for range 64 {
			n, from, err := unix.Recvfrom(c.in, reply[:], unix.MSG_DONTWAIT)
			if err != nil {
				break
			}
			if p, ok := from.(*unix.SockaddrLinklayer); ok && p.Pkttype == unix.PACKET_OUTGOING {
				continue
			}
			c.answer(reply[:n])
		}
	}
}

func (c *crowd) send(b []byte, m *member, k uint16) {
	o := &m.open[k]
	request(c.r, b, c.r.target, c.addr, 0, uint32(o.gen)<<16|uint32(k))
	copy(b[6:], m.mac[:])
	n := read(b, o.lba, byte(c.sectors))
	if c.write {
		b[24], b[27] = 0x41, 0x34
		n += c.sectors * 512
	}
	for range 100 {
		if _, err := unix.Write(c.out, b[:n]); err != unix.ENOBUFS && err != unix.EAGAIN {
			return
		}
		time.Sleep(50 * time.Microsecond)
	}
}

func (c *crowd) answer(f []byte) {
	if len(f) < 36 || f[14]&8 == 0 || f[0] != 2 || f[1] != 0xc0 || int(f[5]) >= len(c.members) || f[19] != 0 {
		return
	}
	m, tag := c.members[f[5]], binary.BigEndian.Uint32(f[20:])
	k := tag & 0xffff
	if k >= crowdDepth || !m.open[k].on || m.open[k].gen != uint16(tag>>16) {
		return // of a request that was answered before
	}
	if f[14]&4 != 0 || f[27]&1 != 0 {
		c.fail("a request for sector %d was answered with an error: % x", m.open[k].lba, f[:36])
	}
	m.open[k].on = false
	m.free = append(m.free, uint16(k))
	m.under--
	m.done.Add(1)
	took := time.Since(m.open[k].began)
	m.mu.Lock()
	m.times = append(m.times, took)
	m.mu.Unlock()
}

// got is what a member got in a window.
type got struct {
	done uint64
	slow time.Duration // of a hundred
}

// measure lets a window pass, after a pause in which what went before gets over.
func (c *crowd) measure(pause, window time.Duration) []got {
	time.Sleep(pause)
	out := make([]got, len(c.members))
	for i, m := range c.members {
		m.mu.Lock()
		m.times = m.times[:0]
		m.mu.Unlock()
		out[i].done = m.done.Load()
	}
	time.Sleep(window)
	for i, m := range c.members {
		out[i].done = m.done.Load() - out[i].done
		m.mu.Lock()
		if slices.Sort(m.times); len(m.times) > 0 {
			out[i].slow = m.times[len(m.times)*99/100]
		}
		m.mu.Unlock()
	}
	return out
}

func (c *crowd) ok(t *testing.T) {
	t.Helper()
	if s := c.failed.Load(); s != nil {
		t.Fatal(*s)
	}
}

const (
	modest      = 8   // initiators beside the greedy one
	modestDepth = 4   // requests that each has outstanding
	fairMargin  = 0.7 // of what a modest one gets when all are equal it must keep
)

// TestFairness: nine initiators write to a disk that is what limits them. One of them becomes greedy, with 2000 requests outstanding in place of 4, each asked for
// again five times a second. The modest ones keep at least fairMargin of what they had, and their requests do not take much longer. Windows
// alternate; the median counts.
func TestFairness(t *testing.T) {
	r := newRig(t)
	r.addExport("0.3", (1+modest)*crowdDepth*4096, map[string]string{"queue-length": "16"})
	c := newCrowd(r, aoe.Addr{Minor: 3}, 1+modest, true, 8)
	for _, m := range c.members {
		m.depth.Store(modestDepth)
	}
	const window, rounds = 500 * time.Millisecond, 6
	one := func() (ratio float64, slowEqual, slow time.Duration, share float64) {
		var ratios, shares []float64
		var before, after []time.Duration
		for range rounds {
			c.members[0].depth.Store(modestDepth)
			equal := c.measure(400*time.Millisecond, window)
			c.members[0].depth.Store(crowdDepth)
			beside := c.measure(400*time.Millisecond, window)
			c.ok(t)
			least, sum, se, sb := 1e9, 0.0, time.Duration(0), time.Duration(0)
			for i := 1; i <= modest; i++ {
				sum += float64(equal[i].done) / modest
			}
			for i := 1; i <= modest; i++ {
				least = min(least, float64(beside[i].done)/max(sum, 1))
				se, sb = max(se, equal[i].slow), max(sb, beside[i].slow)
			}
			ratios, before, after = append(ratios, least), append(before, se), append(after, sb)
			shares = append(shares, float64(beside[0].done)/max(sum, 1))
		}
		return median(ratios), median(before), median(after), median(shares)
	}
	stalled, _ := r.statsOf("e0.3")
	var ratio, share float64
	var alone, slow time.Duration
	for range attempts { // the machine does other things as well
		if ratio, alone, slow, share = one(); ratio >= fairMargin && slow <= bound(alone) {
			break
		}
	}
	e, by := r.statsOf("e0.3")
	t.Logf("beside a greedy one the modest ones keep %.2f of what they had, 99 of 100 requests take %v in place of %v; the greedy one has %.2f of it; %d of %d requests waited for the storage",
		ratio, slow, alone, share, e.Stalls-stalled.Stalls, e.Writes-stalled.Writes)
	if ratio < fairMargin {
		t.Errorf("a modest initiator keeps %.2f of its throughput beside a greedy one, want %.2f", ratio, fairMargin)
	}
	if slow > bound(alone) {
		t.Errorf("99 of 100 requests of a modest initiator take %v beside a greedy one, %v without", slow, alone)
	}
	if e.Stalls-stalled.Stalls < (e.Writes-stalled.Writes)/4 {
		t.Errorf("%d of %d requests waited for the storage: it is not what limits", e.Stalls-stalled.Stalls, e.Writes-stalled.Writes)
	}
	if n := by[aoe.MAC(c.members[0].mac).String()].Drops; n == 0 {
		t.Error("nothing of the greedy one was refused: it was not greedy")
	}
}

// TestLimits: initiators get what their limits say, to within 5 %, and others are not held up; limits change while requests wait for them; and an
// initiator that knows nothing of limits comes to terms with them.
func TestLimits(t *testing.T) {
	r := newRig(t)
	r.addExport("0.3", 3*crowdDepth*4096, map[string]string{"initiator-iops": "400", "initiator-limits": "02:c0:00:00:00:01 unlimited,02:c0:00:00:00:02 bandwidth=2M iops=off"})
	c := newCrowd(r, aoe.Addr{Minor: 3}, 3, false, 8)
	limits := func(what string, window time.Duration, want map[int]float64) []got {
		t.Helper()
		got := c.measure(700*time.Millisecond, window)
		c.ok(t)
		for i, w := range want {
			if n := float64(got[i].done) / window.Seconds(); n < 0.95*w || n > 1.05*w {
				t.Errorf("%s: initiator %d has %.0f requests a second, want %.0f", what, i, n, w)
			}
		}
		return got
	}
	c.members[1].depth.Store(4)
	alone := limits("alone", time.Second, nil)[1]
	c.members[0].depth.Store(32)
	c.members[2].depth.Store(32)
	beside := limits("beside", 3*time.Second, map[int]float64{0: 400, 2: 512})[1]
	if n := float64(beside.done) / 3; n < 0.5*float64(alone.done) || beside.slow > bound(alone.slow) {
		t.Errorf("beside limited ones the one without a limit has %.0f requests a second, 99 of 100 in %v; alone %d in %v", n, beside.slow, alone.done, alone.slow)
	}
	e, by := r.statsOf("e0.3")
	for i, m := range c.members {
		if n := by[aoe.MAC(m.mac).String()].Limited; (n > 0) != (i != 1) {
			t.Errorf("initiator %d: %d limited", i, n)
		}
	}
	if e.Limited == 0 || e.Queued == 0 {
		t.Errorf("the export: %d limited, %d wait", e.Limited, e.Queued)
	}
	r.change(control.Change{Op: control.OpSet, Address: "0.3", Settings: map[string]string{"initiator-iops": "1500"}, Unset: []string{"initiator-limits"}})
	c.members[1].depth.Store(0)
	limits("changed", 2*time.Second, map[int]float64{0: 1500, 2: 1500})
	r.change(control.Change{Op: control.OpSet, Address: "0.3", Settings: map[string]string{"initiator-iops": "0"}})
	if free := limits("taken away", time.Second, nil); free[0].done < 3000 || free[2].done < 3000 {
		t.Errorf("without limits %d and %d requests a second", free[0].done, free[2].done)
	}
	r.change(control.Change{Op: control.OpSet, Address: "0.3", Settings: map[string]string{"initiator-iops": "300"}})
	for _, m := range c.members {
		m.depth.Store(0)
	}
	c.end()
	d := r.open(aoe.Addr{Minor: 3})
	done, failed := many(d, 64, 4*time.Second)
	if failed != nil {
		t.Errorf("an initiator beside a limit: %v", failed)
	}
	if done < 4*300*8/10 || done > 4*300*11/10 { // the burst, and what the initiator takes to find the pace
		t.Errorf("it has %d requests done in 4 s, its limit is 300 a second", done)
	}
	_, by = r.statsOf("e0.3")
	if x := by[aoe.MAC(r.good).String()]; x.Errors != 0 || x.Limited == 0 {
		t.Errorf("%d errors, %d limited", x.Errors, x.Limited)
	}
}

// many has a disk read from many places at once for a time, and returns how many reads ended well.
func many(d *initiator.Disk, at int, d2 time.Duration) (uint64, error) {
	var done atomic.Uint64
	var failed atomic.Pointer[error]
	var group sync.WaitGroup
	end := time.Now().Add(d2)
	for i := range at {
		group.Add(1)
		go func() {
			defer group.Done()
			b := make([]byte, 4096)
			for n := int64(i); time.Now().Before(end); n += int64(at) {
				if _, err := d.ReadAt(b, n%2000*4096); err != nil {
					failed.Store(&err)
					return
				}
				if time.Now().Before(end) {
					done.Add(1)
				}
			}
		}()
	}
	group.Wait()
	if e := failed.Load(); e != nil {
		return done.Load(), *e
	}
	return done.Load(), nil
}
