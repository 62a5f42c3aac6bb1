package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"goaoe/aoe"
	"goaoe/internal/daemon/neighbour"
	"goaoe/internal/engine"
	"goaoe/internal/link"
)

// announce makes an export known on an interface. Linux then looks at it at once, and not at its next query in up to a minute.
func (d *Daemon) announce(p *port, x *export) {
	in := p.port.Ingress()
	buf := make([]byte, max(in.MTU+14, replyMin))
	for _, to := range x.run.target.AnnounceTo(nil) {
		n := x.run.target.Announcement(in, to, buf)
		if n == 0 {
			continue
		}
		if err := p.port.Inject(buf[:n]); err != nil && !errors.Is(err, link.ErrDown) {
			d.log.Debug("announcement could not be sent", "export", x.addr, "interface", p.ifc.Name, "error", err)
		}
	}
}

// startChecks finds out about the addresses that are to be served on the interface and were not looked at yet.
func (d *Daemon) startChecks(p *port) {
	if p.probing || !p.ifc.Up {
		return // without a carrier nobody would hear the question
	}
	now := time.Now()
	var ask []aoe.Addr
	for _, x := range d.sorted() {
		if x.phase != serving || !x.cfg.Wants(p.ifc.Name) {
			continue
		}
		c := p.checks[x.addr]
		if c == nil {
			c = &check{}
			p.checks[x.addr] = c
		}
		if c.ok || now.Before(c.next) {
			continue
		}
		if c.claim == nil {
			claim, err := neighbour.NewClaim(p.ifc.Index, x.addr)
			if err != nil && !x.cfg.Force {
				d.taken(p, x, c, err.Error())
				continue
			}
			c.claim = claim // nil where it was forced
		}
		if !d.cfg.Global.DuplicateCheck || x.cfg.Force {
			c.ok, c.taken = true, ""
			continue
		}
		ask = append(ask, x.addr)
	}
	for a := range p.checks {
		if x := d.exports[a]; x == nil || x.want == nil || !x.want.Wants(p.ifc.Name) {
			p.drop(a)
		}
	}
	if len(ask) > 0 {
		d.probe(p, ask)
	}
}

// probe asks the wire for other targets with these addresses, in a goroutine.
func (d *Daemon) probe(p *port, ask []aoe.Addr) {
	prober, err := neighbour.Open(p.ifc.Index, p.ifc.MAC)
	if err != nil {
		d.say(slog.LevelWarn, p.ifc.Name+" probe", fmt.Sprintf("%s: looking for other targets: %v", p.ifc.Name, err), forInterface(p.ifc.Name))
		for _, a := range ask {
			p.checks[a].next = time.Now().Add(retryPort)
		}
		return
	}
	p.probing = true
	d.bg.Add(1)
	go func() {
		defer d.bg.Done()
		answers, err := prober.Ask(ask, neighbour.Wait)
		_ = prober.Close()
		d.post(func() {
			p.probing = false
			if d.ports[p.ifc.Index] == p {
				d.probed(p, ask, answers, err)
			}
		})
	}()
}

// probed takes over what a probe heard.
func (d *Daemon) probed(p *port, ask []aoe.Addr, answers []neighbour.Answer, err error) {
	by := map[aoe.Addr]aoe.MAC{}
	for _, a := range answers {
		if !d.ours(a.MAC, a.Addr) {
			by[a.Addr] = a.MAC
		}
	}
	for _, a := range ask {
		c, x := p.checks[a], d.exports[a]
		if c == nil || x == nil {
			continue
		}
		mac, heard := by[a]
		switch {
		case heard:
			d.taken(p, x, c, fmt.Sprintf("another target at %v answers for it", mac))
		case err != nil:
			c.next = time.Now().Add(retryPort)
			d.say(slog.LevelWarn, p.ifc.Name+" probe", fmt.Sprintf("%s: looking for other targets: %v", p.ifc.Name, err), forInterface(p.ifc.Name))
		default:
			c.ok, c.taken = true, ""
		}
	}
}

// taken notes that somebody else has an address on an interface.
func (d *Daemon) taken(p *port, x *export, c *check, who string) {
	c.taken, c.next = who, time.Now().Add(recheckTaken)
	if !d.started && d.o.Strict {
		return // Run ends with it
	}
	d.say(slog.LevelError, takenSubject(p, x.addr), takenText(p, x.addr, who), forExport(x.addr), forInterface(p.ifc.Name))
}

func takenSubject(p *port, a aoe.Addr) string { return fmt.Sprintf("%v %s taken", a, p.ifc.Name) }

func takenText(p *port, a aoe.Addr, who string) string {
	return fmt.Sprintf("%v not served on %s: %s; two targets with one address destroy data: stop the other one or choose another address (force serves it anyway)",
		a, p.ifc.Name, who)
}

// ours tells whether it is this daemon that answers for an address from an Ethernet address: it may be on one wire twice.
func (d *Daemon) ours(m aoe.MAC, a aoe.Addr) bool {
	for _, p := range d.ports {
		if p.ifc.MAC == m && p.served[a] != nil {
			return true
		}
	}
	return false
}

// fault is an error state that a link reported.
type fault struct {
	port *engine.Port
	err  error
}

// noteFault is called by lanes.
func (d *Daemon) noteFault(p *engine.Port, err error) {
	select {
	case d.faults <- fault{p, err}:
	default: // one that waits says enough
	}
}

// stranger is somebody who sends as target under one of our addresses.
type stranger struct {
	ifname string
	mac    aoe.MAC
	addr   aoe.Addr
}

// strangerEvery is how often the same stranger is complained about.
const strangerEvery = time.Minute

// noteNeighbour is called by lanes.
func (d *Daemon) noteNeighbour(p *engine.Port, src aoe.MAC, addr aoe.Addr) {
	select {
	case d.neighbours <- stranger{p.Name(), src, addr}:
	default:
	}
}

// hearNeighbour complains about another target with one of our addresses, at a limited rate.
func (d *Daemon) hearNeighbour(s stranger) {
	if d.ours(s.mac, s.addr) {
		return // another interface of this machine on the same wire
	}
	now := time.Now()
	if last, ok := d.heard[s]; ok && now.Sub(last) < strangerEvery {
		return
	}
	if len(d.heard) > 1024 {
		clear(d.heard) // somebody makes addresses up
	}
	d.heard[s] = now
	d.log.Error(fmt.Sprintf("%v: another target at %v announces the same address on %s; two targets with one address destroy data: stop one of them",
		s.addr, s.mac, s.ifname), forExport(s.addr), forInterface(s.ifname))
}

// tick does what is due now and then.
func (d *Daemon) tick() {
	for _, x := range d.sorted() {
		d.lookAtSize(x)
		d.logRefusals(x)
		d.logDisk(x)
	}
}
