// Package webtest has a daemon that is made up: a control.Backend in memory, with exports, interfaces and initiators whose
// counters move as those of a real one do. The page is developed and tested with it.
package webtest

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"goaoe/aoe"
	"goaoe/internal/control"
	"goaoe/internal/stats"
)

// Daemon is the daemon that is made up. Its fields may be changed under Lock.
type Daemon struct {
	sync.Mutex
	Begun    time.Time
	List     []control.Export
	Ports    []control.Interface
	Problems []string
	Waiting  []string
	// Down makes each call fail as when the daemon is ending.
	Down bool
	// Calls counts the calls that ask for something, by method.
	Calls map[string]int

	at      time.Time
	random  *rand.Rand
	exports map[string]*control.ExportStats
	times   map[string]*histograms
	peers   map[string]*control.InitiatorStats
	ports   map[string]*control.InterfaceStats
}

type histograms struct{ read, write stats.Histogram }

var _ control.Backend = (*Daemon)(nil)

var kinds = []string{"mail", "web", "build", "database", "backup", "home", "scratch", "images"}

// New makes a daemon with n exports: every third is in use by an initiator. Two interfaces serve, a third is waited for.
func New(n int) *Daemon {
	d := &Daemon{Begun: time.Now().Add(-26 * time.Hour), Calls: map[string]int{}, random: rand.New(rand.NewPCG(1, 2)),
		exports: map[string]*control.ExportStats{}, times: map[string]*histograms{}, peers: map[string]*control.InitiatorStats{}, ports: map[string]*control.InterfaceStats{}}
	d.Ports = []control.Interface{
		{Name: "eth1", State: control.StateServing, MAC: "52:54:00:12:34:01", MTU: 9000, LinkMTU: 9000, Up: true, Exports: n},
		{Name: "eth2", State: control.StateServing, MAC: "52:54:00:12:34:02", MTU: 1500, LinkMTU: 1500, Up: true, Exports: n},
	}
	for i := range n {
		a := aoe.Addr{Major: uint16(i / 200), Minor: uint8(i % 200)}
		kind := kinds[i%len(kinds)]
		e := control.Export{Address: a.String(), Source: fmt.Sprintf("/dev/vg0/%s%d", kind, i/len(kinds)), State: control.StateServing, Sectors: uint64(20+i%7*40) << 21,
			Served: []string{"eth1", "eth2"}, Serial: fmt.Sprintf("%d.%d:host", a.Major, a.Minor), Origin: fmt.Sprintf("/etc/goaoe/goaoe.toml:%d", 10+4*i),
			Settings: settings("accept", "52:54:00:aa:00:00,52:54:00:aa:00:01"), Mask: []string{}, Reserve: []string{}, Users: []control.User{}}
		e.Path = e.Source
		if i%4 == 0 {
			e.Name = fmt.Sprintf("%s-%d", kind, i/len(kinds)+1)
		}
		if i%3 == 0 {
			e.Users = append(e.Users, user(i%12))
		}
		d.List = append(d.List, e)
	}
	d.revise()
	return d
}

// Trouble makes some exports and interfaces of a daemon have trouble, of each kind that the page warns of. It needs eight exports.
func (d *Daemon) Trouble() {
	d.Lock()
	defer d.Unlock()
	d.List[1].State, d.List[1].Why, d.List[1].Served, d.List[1].Sectors = control.StateWaiting, "/dev/vg0/web0 does not exist", []string{}, 0
	d.List[2].State, d.List[2].Why, d.List[2].Served, d.List[2].Sectors = control.StateFailed, "/dev/vg0/build0: input/output error", []string{}, 0
	d.List[3].Unsaved, d.List[3].Settings["read-only"] = true, "true"
	delete(d.List[4].Settings, "accept")
	d.List[0].ConfigString, d.List[0].Reserve = "boot=linux root=/dev/etherd/e0.0", []string{"52:54:00:aa:00:00"}
	d.List[0].Users[0].Reserved = true
	d.Ports = append(d.Ports, control.Interface{Name: "vlan*", State: control.StateWaiting, Why: "no interface matches vlan*"})
	d.Problems = []string{"e0.2 not served: /dev/vg0/build0: input/output error", "e0.5: another target at 52:54:00:99:00:07 announces the same address on eth1"}
	d.Waiting = []string{"interface vlan*: no interface matches", "e0.1: /dev/vg0/web0 does not exist"}
	d.revise()
}

func settings(more ...string) map[string]string {
	m := map[string]string{"read-only": "false", "write-cache": "false", "queue-length": "64", "buffer-count": "64", "interfaces": "eth1,eth2", "name": "", "source": "",
		"direct-io": "false", "discard": "false", "broadcast": "false", "model": "goaoe", "io-engine": "auto"}
	for i := 0; i+1 < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	return m
}

func user(i int) control.User {
	u := control.User{MAC: fmt.Sprintf("52:54:00:aa:00:%02x", i), Interface: []string{"eth1", "eth2"}[i%2], LastSeen: time.Now()}
	if i%2 == 0 {
		u.Name = fmt.Sprintf("node%d", i+1)
	}
	return u
}

// revise makes new revisions.
func (d *Daemon) revise() {
	for i := range d.List {
		h := fnv.New32a()
		for _, k := range slices.Sorted(maps.Keys(d.List[i].Settings)) {
			_, _ = h.Write([]byte(k + "=" + d.List[i].Settings[k] + "\n"))
		}
		d.List[i].Revision = fmt.Sprintf("%08x", h.Sum32())
	}
}

// call counts a call, and takes the lock until the function that it returns is called.
func (d *Daemon) call(name string) error {
	d.Lock()
	d.Calls[name]++
	if d.Down {
		return control.Errorf(control.CodeGone, "the daemon is ending").WithHint("try again when it runs")
	}
	return nil
}

// Status implements control.Backend.
func (d *Daemon) Status(context.Context) (*control.Status, error) {
	err := d.call("status")
	defer d.Unlock()
	if err != nil {
		return nil, err
	}
	s := &control.Status{Version: "1.2.3", PID: 4711, Started: d.Begun, Config: "/etc/goaoe/goaoe.toml", Format: "native", StateDir: "/var/lib/goaoe", Socket: control.DefaultSocket,
		Lanes: 2, LogLevel: "info", Exports: len(d.List), Interfaces: 2, Waiting: append([]string{}, d.Waiting...), Problems: append([]string{}, d.Problems...)}
	for _, e := range d.List {
		if e.State == control.StateServing {
			s.Serving++
		}
		if e.Unsaved {
			s.Unsaved++
		}
	}
	return s, nil
}

// Exports implements control.Backend.
func (d *Daemon) Exports(context.Context) ([]control.Export, error) {
	err := d.call("exports")
	defer d.Unlock()
	out := slices.Clone(d.List)
	for i := range out {
		out[i].Settings = maps.Clone(out[i].Settings)
	}
	return out, err
}

// Interfaces implements control.Backend.
func (d *Daemon) Interfaces(context.Context) ([]control.Interface, error) {
	err := d.call("interfaces")
	defer d.Unlock()
	return slices.Clone(d.Ports), err
}

// Stats implements control.Backend: the counters have moved since the last call as the time since then asks for.
func (d *Daemon) Stats(context.Context) (*control.Stats, error) {
	err := d.call("stats")
	defer d.Unlock()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if d.at.IsZero() {
		d.at = now.Add(-time.Hour)
	}
	d.move(now.Sub(d.at).Seconds(), float64(now.UnixMilli())/1000)
	d.at = now
	s := &control.Stats{At: now, Since: d.Begun, Exports: []control.ExportStats{}, Interfaces: []control.InterfaceStats{}, Initiators: []control.InitiatorStats{},
		Lanes: []control.LaneStats{{Lane: 0}, {Lane: 1}}}
	for _, e := range d.List {
		x := d.stats(e.Address)
		x.State, x.Name = e.State, e.Name
		s.Exports = append(s.Exports, *x)
	}
	for _, k := range slices.Sorted(maps.Keys(d.peers)) {
		s.Initiators = append(s.Initiators, *d.peers[k])
	}
	for _, k := range slices.Sorted(maps.Keys(d.ports)) {
		s.Interfaces = append(s.Interfaces, *d.ports[k])
	}
	return s, nil
}

func (d *Daemon) stats(a string) *control.ExportStats {
	x := d.exports[a]
	if x == nil {
		x = &control.ExportStats{Address: a}
		d.exports[a], d.times[a] = x, new(histograms)
	}
	h := d.times[a]
	x.Latency.Read, x.Latency.Write, x.Limit = h.read.Snapshot(), h.write.Snapshot(), 64
	return x
}

// move lets seconds pass.
func (d *Daemon) move(seconds, at float64) {
	for i := range d.List {
		e := &d.List[i]
		if e.State != control.StateServing || len(e.Users) == 0 {
			continue
		}
		x := d.stats(e.Address)
		wave := 1 + 0.6*math.Sin(at/(40+float64(i%5)*13)+float64(i)) + 0.3*d.random.Float64()
		reads, writes := uint64(seconds*wave*900/float64(1+i)), uint64(seconds*(2.2-wave)*350/float64(1+i))
		x.Reads, x.Writes = x.Reads+reads, x.Writes+writes
		x.ReadBytes, x.WriteBytes = x.ReadBytes+reads*8192, x.WriteBytes+writes*8192
		x.InFlight, x.Queued = uint64(3*wave), 0
		h := d.times[e.Address]
		for range 40 {
			h.read.Observe(int64(90e3 * wave * math.Exp(d.random.NormFloat64()*0.5)))
			h.write.Observe(int64(210e3 * wave * math.Exp(d.random.NormFloat64()*0.6)))
		}
		for _, u := range e.Users {
			d.initiator(u, e.Address, reads, writes)
		}
	}
}

func (d *Daemon) initiator(u control.User, export string, reads, writes uint64) {
	p := d.peers[u.MAC+export]
	if p == nil {
		p = &control.InitiatorStats{Export: export, Name: u.Name}
		p.MAC, p.Interface, p.FirstSeen = u.MAC, u.Interface, d.Begun
		d.peers[u.MAC+export] = p
	}
	p.LastSeen, p.LastATA = time.Now(), time.Now()
	p.Reads, p.Writes, p.Requests = p.Reads+reads, p.Writes+writes, p.Requests+reads+writes
	p.ReadBytes, p.WriteBytes = p.ReadBytes+reads*8192, p.WriteBytes+writes*8192
	x := d.ports[u.Interface]
	if x == nil {
		x = &control.InterfaceStats{Name: u.Interface}
		d.ports[u.Interface] = x
	}
	x.RxFrames, x.TxFrames = x.RxFrames+reads+writes, x.TxFrames+reads+writes
	x.RxBytes, x.TxBytes = x.RxBytes+writes*8228+reads*60, x.TxBytes+reads*8228+writes*60
}

// Bump adds to counters, so that a test has something to warn of: frames lost in a ring, errors of a disk, repetitions.
func (d *Daemon) Bump(fn func(exports map[string]*control.ExportStats, ports map[string]*control.InterfaceStats, peers map[string]*control.InitiatorStats)) {
	d.Lock()
	defer d.Unlock()
	fn(d.exports, d.ports, d.peers)
}

// find returns the index of an export, or -1.
func (d *Daemon) find(address string) int {
	a, err := aoe.ParseAddr(strings.TrimSpace(address))
	if err != nil {
		return -1
	}
	return slices.IndexFunc(d.List, func(e control.Export) bool { return e.Address == a.String() })
}
