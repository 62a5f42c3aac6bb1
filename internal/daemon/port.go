package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"goaoe/aoe"
	"goaoe/internal/config"
	"goaoe/internal/daemon/neighbour"
	"goaoe/internal/daemon/netwatch"
	"goaoe/internal/engine"
	"goaoe/internal/link"
	"goaoe/internal/link/all"
	"goaoe/internal/target"
)

const (
	retryPort = 5 * time.Second
	// recheckTaken is how often an address that another target has is asked for again.
	recheckTaken = 10 * time.Second
)

// port is one interface that is open.
type port struct {
	ifc      netwatch.Iface
	set      config.Interface
	mtu      int // in force: the interface's, or the configured one when that is lower
	before   int // what it was until a moment ago, when that was more; 0: nothing, or longer ago than mtuGrace
	lowered  int // counts how often it became less
	capacity int // what the links were opened for
	port     *engine.Port
	served   map[aoe.Addr]*running // what is in its table
	checks   map[aoe.Addr]*check
	probing  bool
}

// check is what is known of an address on an interface.
type check struct {
	ok    bool   // nobody else has it
	taken string // who has it
	claim *neighbour.Claim
	next  time.Time
}

// portFailure is an interface that could not be opened.
type portFailure struct {
	err   error
	again time.Time
}

func (p *port) serves(x *export) bool { return x.run != nil && p.served[x.addr] == x.run }

// closeClaims gives up the addresses.
func (p *port) closeClaims() {
	for a := range p.checks {
		p.drop(a)
	}
}

// drop forgets what is known of an address.
func (p *port) drop(a aoe.Addr) {
	if c := p.checks[a]; c != nil && c.claim != nil {
		c.claim.Close()
	}
	delete(p.checks, a)
}

// unusable says why an interface cannot be served on, or "".
func unusable(i netwatch.Iface, mtu int) string {
	switch {
	case i.Loopback:
		return "it is the loopback interface, which leads to nobody; for a trial on one machine see goaoe demo"
	case !i.Ethernet:
		return "it is not an Ethernet interface"
	case mtu < config.MinMTU:
		return fmt.Sprintf("its MTU is %d; goaoe needs %d or more: ip link set dev %s mtu 1500", mtu, config.MinMTU, i.Name)
	}
	return ""
}

// effectiveMTU is the interface's MTU, or the configured one when that is lower.
func effectiveMTU(i netwatch.Iface, set config.Interface) int {
	if set.MTU > 0 {
		return min(i.MTU, set.MTU)
	}
	return i.MTU
}

// wanted tells whether any export is to be served on the interface called name.
func (d *Daemon) wanted(name string) bool {
	return slices.ContainsFunc(d.wantedPatterns(), func(p string) bool { return config.MatchName(p, name) })
}

// wantedPatterns returns what the exports have for interfaces, each once, in the order of the exports.
func (d *Daemon) wantedPatterns() []string {
	if d.patterns == nil {
		d.patterns = []string{}
		seen := map[string]bool{}
		for i := range d.cfg.Exports {
			for _, p := range d.cfg.Exports[i].Interfaces {
				if !seen[p] {
					seen[p] = true
					d.patterns = append(d.patterns, p)
				}
			}
		}
	}
	return d.patterns
}

// named tells whether any export names the interface itself, not by a glob.
func (d *Daemon) named(name string) bool {
	return slices.Contains(d.wantedPatterns(), name)
}

// reconcilePorts opens and closes interfaces, and follows their changes.
func (d *Daemon) reconcilePorts(snap []netwatch.Iface) {
	present := map[int]bool{}
	for _, i := range snap {
		present[i.Index] = true
		p := d.ports[i.Index]
		if !d.wanted(i.Name) {
			if p != nil {
				why := "no export wants it any more"
				if p.ifc.Name != i.Name {
					why = "it is called " + i.Name + " now"
				}
				d.closePort(p, why)
			}
			delete(d.failed, i.Index)
			continue
		}
		set := d.cfg.MatchInterface(i.Name)
		if p != nil {
			d.follow(p, i, set)
			p = d.ports[i.Index]
		}
		if p == nil {
			d.tryPort(i, set)
		}
	}
	for index, p := range d.ports {
		if !present[index] {
			d.closePort(p, "it is gone")
		}
	}
	for index := range d.failed {
		if !present[index] {
			delete(d.failed, index)
		}
	}
}

// follow takes over what changed of an open interface.
func (d *Daemon) follow(p *port, i netwatch.Iface, set config.Interface) {
	old, mtu := p.ifc, effectiveMTU(i, set)
	switch {
	case i.Name != old.Name:
		d.closePort(p, "it is called "+i.Name+" now")
		return
	case unusable(i, mtu) != "":
		d.closePort(p, unusable(i, mtu))
		return
	case i.MAC != old.MAC, mtu > p.capacity, set.RingFrames != p.set.RingFrames, set.SendBuffer != p.set.SendBuffer:
		d.reopen(p, i, set)
		return
	}
	changed := mtu != p.mtu || i.Ups != old.Ups && i.Up
	p.ifc, p.set = i, set
	if mtu != p.mtu {
		d.log.Info(fmt.Sprintf("%s: MTU %d, was %d", i.Name, mtu, p.mtu), forInterface(i.Name))
		d.setMTU(p, mtu)
	}
	if !changed {
		return
	}
	d.announceAll(p)
	if i.Ups != old.Ups {
		// What is sent in the first moment of a link is easily lost: by a switch that still looks for loops, or by the interface itself.
		time.AfterFunc(announceAgain, func() {
			d.post(func() {
				if d.ports[p.ifc.Index] == p && p.ifc.Up {
					d.announceAll(p)
				}
			})
		})
	}
}

// mtuGrace is for how long requests that only the earlier, larger MTU had room for are not answered, after which they are refused. Until an initiator has heard of the new
// one it goes on to make such requests, and an error would be final for its file system; it repeats what is not answered, on another path if there is one.
const mtuGrace = 5 * time.Second

// setMTU takes over an interface's MTU.
func (d *Daemon) setMTU(p *port, mtu int) {
	if p.before = max(p.before, p.mtu); mtu >= p.before {
		p.before = 0
	}
	if mtu < p.mtu {
		p.lowered++
		n := p.lowered
		time.AfterFunc(mtuGrace, func() {
			d.post(func() {
				if d.ports[p.ifc.Index] == p && p.lowered == n {
					p.before = 0
					p.port.SetIngress(p.ingress())
				}
			})
		})
	}
	p.mtu = mtu
	p.port.SetIngress(p.ingress())
}

// announceAgain is when announcements are repeated after a link came up.
const announceAgain = time.Second

// announceAll announces all exports that are served on an interface.
func (d *Daemon) announceAll(p *port) {
	for _, x := range d.sorted() {
		if p.serves(x) && x.cfg.Announce {
			d.announce(p, x)
		}
	}
}

// ingress are the interface's facts as the engine wants them.
func (p *port) ingress() target.Ingress {
	return target.Ingress{MAC: p.ifc.MAC, MTU: p.mtu, Before: p.before, MaxSectors: aoe.AdvertisedSectors(p.mtu)}
}

// reopen replaces an interface's links. Its addresses stay claimed and checked.
func (d *Daemon) reopen(p *port, i netwatch.Iface, set config.Interface) {
	d.log.Info(fmt.Sprintf("%s: opened again: MTU %d, address %v", i.Name, effectiveMTU(i, set), i.MAC), forInterface(i.Name))
	checks := p.checks
	p.checks = nil
	d.closePort(p, "")
	d.tryPort(i, set)
	if n := d.ports[i.Index]; n != nil {
		n.checks = checks
		return
	}
	p.checks = checks
	p.closeClaims()
}

// tryPort opens an interface, if it can be used.
func (d *Daemon) tryPort(i netwatch.Iface, set config.Interface) {
	mtu := effectiveMTU(i, set)
	if why := unusable(i, mtu); why != "" {
		if d.named(i.Name) { // a glob may match what was not meant
			d.failed[i.Index] = portFailure{err: fmt.Errorf("interface %s cannot be used: %s", i.Name, why)}
		}
		return
	}
	if !i.Admin {
		delete(d.failed, i.Index)
		return // reported as waited for
	}
	if f, ok := d.failed[i.Index]; ok && time.Now().Before(f.again) {
		return
	}
	p, err := d.openPort(i, set, mtu)
	if err != nil {
		d.failed[i.Index] = portFailure{err: explainPort(i.Name, err), again: time.Now().Add(retryPort)}
		return
	}
	delete(d.failed, i.Index)
	d.ports[i.Index] = p
}

// openPort opens an interface with an empty table.
func (d *Daemon) openPort(i netwatch.Iface, set config.Interface, mtu int) (*port, error) {
	links, err := all.Open(i.Name, all.Options{Lanes: d.eng.Lanes(), RingFrames: set.RingFrames, SendBuffer: set.SendBuffer, Linear: d.cfg.Global.LinearFrames,
		XDP: string(d.cfg.Global.XDPSend)})
	if err != nil {
		return nil, err
	}
	got := links[0].Info()
	if got.Index != i.Index || got.MAC != i.MAC {
		closeLinks(links)
		return nil, errors.New("it changed while it was opened")
	}
	d.sayPinning(i.Name, links)
	p := &port{ifc: i, set: set, mtu: min(mtu, got.MTU), capacity: got.MTU, served: map[aoe.Addr]*running{}, checks: map[aoe.Addr]*check{}}
	p.port, err = d.eng.AddPort(engine.PortConfig{Name: i.Name, Links: links, Ingress: p.ingress()})
	if err != nil {
		return nil, err // AddPort has closed the links
	}
	return p, nil
}

// sayPinning logs whether replies leave by AF_XDP on an interface. That they do not is worth a warning only to who asked for it.
func (d *Daemon) sayPinning(name string, links []link.Link) {
	for lane, l := range links {
		p, ok := l.(link.Pinner)
		if !ok {
			continue
		}
		if would, why := p.Pinning(); would {
			d.log.Debug(fmt.Sprintf("%s: lane %d sends several replies at once by AF_XDP", name, lane), forInterface(name))
		} else if why != "" {
			say := d.log.Debug
			if d.cfg.Global.XDPSend == config.XDPSendOn {
				say = d.log.Warn
			}
			say(fmt.Sprintf("%s: lane %d does not send by AF_XDP: %s", name, lane, why), forInterface(name))
		}
	}
}

func closeLinks(links []link.Link) {
	for _, l := range links {
		_ = l.Close()
	}
}

// explainPort puts the interface's name before an error that does not have it.
func explainPort(name string, err error) error {
	if strings.Contains(err.Error(), name) {
		return err
	}
	return fmt.Errorf("interface %s: %w", name, err)
}

// closePort stops serving on an interface.
func (d *Daemon) closePort(p *port, why string) {
	delete(d.ports, p.ifc.Index)
	p.closeClaims()
	if err := d.eng.RemovePort(p.port); err != nil {
		d.log.Debug("closing an interface", "interface", p.ifc.Name, "error", err)
	}
	if why != "" {
		d.log.Info(fmt.Sprintf("%s: not served on any more: %s", p.ifc.Name, why), forInterface(p.ifc.Name))
	}
}

// updateTable makes the interface serve the exports that it should and may, and announces those that are new to it.
func (d *Daemon) updateTable(p *port) {
	table := map[aoe.Addr]*running{}
	var fresh []*export
	var list []*target.Export
	changed := false
	if d.started {
		for _, x := range d.sorted() {
			if x.phase != serving || !x.cfg.Wants(p.ifc.Name) || p.checks[x.addr] == nil || !p.checks[x.addr].ok {
				continue
			}
			table[x.addr] = x.run
			list = append(list, x.run.target)
			if p.served[x.addr] != x.run {
				fresh, changed = append(fresh, x), true
			}
		}
	}
	if !changed && len(table) == len(p.served) {
		return
	}
	t, err := target.NewTable(list)
	if err == nil {
		err = p.port.SetTable(t)
	}
	if err != nil {
		d.say(slog.LevelError, p.ifc.Name+" table", fmt.Sprintf("%s: %v", p.ifc.Name, err), forInterface(p.ifc.Name))
	}
	if t == nil {
		return
	}
	p.served = table
	for _, x := range fresh {
		d.sayServing(p, x)
		if x.cfg.Announce {
			d.announce(p, x)
		}
	}
}

// portFault is called when a link of an interface reported an error state. What happened shows in the kernel's messages.
func (d *Daemon) portFault(f fault) {
	d.log.Debug("interface reported an error", "interface", f.port.Name(), "error", f.err)
	if err := d.watch.Resync(); err != nil {
		d.log.Warn(err.Error())
	}
}
