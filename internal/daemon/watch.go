package daemon

import (
	"cmp"
	"context"
	"slices"
	"time"

	"goaoe/aoe"
	"goaoe/internal/control"
	"goaoe/internal/stats"
)

// userAge is how long after its last ATA command an initiator counts as a user of an export. Linux sends nothing for a mounted
// file system that nobody touches, so it is long.
const userAge = 10 * time.Minute

// users returns who uses an export.
func (d *Daemon) users(x *export) []control.User { return d.usersOf(x, d.usersByExport()) }

// usersByExport returns who sent ATA commands lately, by export.
func (d *Daemon) usersByExport() map[aoe.Addr][]control.User {
	out := map[aoe.Addr][]control.User{}
	now := time.Now()
	for _, i := range d.eng.Initiators() {
		if !i.Others && !i.Addr.Wild() && !i.LastATA.IsZero() && now.Sub(i.LastATA) < userAge {
			out[i.Addr] = append(out[i.Addr], control.User{MAC: i.MAC, Interface: i.Interface, LastSeen: i.LastATA, Name: d.nameOf(i.MAC)})
		}
	}
	return out
}

// usersOf adds the holders of a reservation.
func (d *Daemon) usersOf(x *export, by map[aoe.Addr][]control.User) []control.User {
	out := []control.User{}
	if x.run == nil {
		return out
	}
	begun := x.run.since
	for _, u := range by[x.addr] {
		if u.LastSeen.After(begun) { // what an export of the same address was used for before does not count
			out = append(out, u)
		}
	}
	for _, m := range x.run.target.State().Reserve {
		text := m.String()
		if i := slices.IndexFunc(out, func(u control.User) bool { return u.MAC == text }); i >= 0 {
			out[i].Reserved = true
			continue
		}
		out = append(out, control.User{MAC: text, Name: d.nameOf(text), Reserved: true})
	}
	slices.SortFunc(out, func(a, b control.User) int { return cmp.Or(b.LastSeen.Compare(a.LastSeen), cmp.Compare(a.MAC, b.MAC)) })
	return out
}

// nameOf returns the name that [hosts] or the ethers file has for an Ethernet address, or "".
func (d *Daemon) nameOf(mac string) string {
	m, err := aoe.ParseMAC(mac)
	if err != nil {
		return ""
	}
	return d.cfg.Hosts[m]
}

// SetLog implements control.Backend.
func (b *backend) SetLog(ctx context.Context, r *control.LogRequest) error {
	d := b.d
	_, err := ask(ctx, d, func() (struct{}, error) {
		if d.o.Logs == nil {
			return struct{}{}, control.Errorf(control.CodeRefused, "the log of this daemon cannot be changed")
		}
		subject, err := d.logSubject(r.Subject)
		if err != nil {
			return struct{}{}, err
		}
		if err := d.o.Logs.SetLevel(subject, r.Level); err != nil {
			return struct{}{}, control.Errorf(control.CodeUsage, "%v", err)
		}
		return struct{}{}, nil
	})
	return err
}

// baseline is what statistics were when they were cleared. The counters themselves never go back.
type baseline struct {
	since      time.Time
	exports    map[aoe.Addr]stats.ExportSnapshot
	ports      map[string]stats.PortSnapshot
	lanes      []stats.LaneSnapshot
	initiators map[initiatorKey]stats.InitiatorSnapshot
}

// initiatorKey tells the entries of the engine's tables apart.
type initiatorKey struct {
	addr aoe.Addr
	mac  string
}

// Stats implements control.Backend.
func (b *backend) Stats(ctx context.Context) (*control.Stats, error) {
	return ask(ctx, b.d, func() (*control.Stats, error) { return b.d.stats(), nil })
}

// stats collects all counters since they were cleared.
func (d *Daemon) stats() *control.Stats {
	base := &d.base
	s := &control.Stats{At: time.Now(), Since: d.begun, Exports: []control.ExportStats{}, Interfaces: []control.InterfaceStats{},
		Initiators: []control.InitiatorStats{}, Lanes: []control.LaneStats{}}
	if !base.since.IsZero() {
		s.Since = base.since
	}
	waits := d.waitsByPattern(d.watch.Snapshot())
	for _, x := range d.sorted() {
		e := control.Export{Waiting: waits.of(&x.cfg)}
		d.state(x, &e)
		out := control.ExportStats{Address: x.addr.String(), Name: x.cfg.Name, State: e.State}
		if x.run != nil {
			out.ExportSnapshot = x.run.engine.Snapshot().Sub(base.exports[x.addr])
		}
		s.Exports = append(s.Exports, out)
	}
	for _, p := range d.ports {
		s.Interfaces = append(s.Interfaces, control.InterfaceStats{Name: p.ifc.Name, PortSnapshot: p.port.Snapshot().Sub(base.ports[p.ifc.Name])})
	}
	slices.SortFunc(s.Interfaces, func(a, b control.InterfaceStats) int { return cmp.Compare(a.Name, b.Name) })
	for _, i := range d.eng.Initiators() {
		snap := i.Sub(base.initiators[initiatorKey{i.Addr, i.MAC}])
		if snap.Requests == 0 {
			continue
		}
		out := control.InitiatorStats{Export: i.Addr.String(), Name: d.nameOf(i.MAC), InitiatorSnapshot: snap}
		if i.Others {
			out.Export = ""
		}
		s.Initiators = append(s.Initiators, out)
	}
	slices.SortFunc(s.Initiators, func(a, b control.InitiatorStats) int {
		return cmp.Or(cmp.Compare(a.MAC, b.MAC), cmp.Compare(a.Export, b.Export))
	})
	for i, l := range d.eng.LaneSnapshots() {
		if i < len(base.lanes) {
			l = l.Sub(base.lanes[i])
		}
		s.Lanes = append(s.Lanes, control.LaneStats{Lane: i, LaneSnapshot: l})
	}
	return s
}

// clearStats makes statistics begin anew, by remembering what they are now.
func (b *backend) clearStats(ctx context.Context, r *control.ClearRequest) (*control.ChangeReply, error) {
	d := b.d
	return ask(ctx, d, func() (*control.ChangeReply, error) {
		reply := &control.ChangeReply{Results: []control.Result{}}
		if len(r.Exports) == 0 {
			d.clearAllStats()
			return reply, nil
		}
		for _, name := range r.Exports {
			res := control.Result{Address: name}
			addr, err := aoe.ParseAddr(name)
			switch x := d.exports[addr]; {
			case err != nil:
				res.Error = control.Errorf(control.CodeUsage, "%v", err)
			case x == nil:
				res.Error = control.AsError(d.notThere(addr))
			default:
				res.Address = addr.String()
				d.base.clearExport(d, x)
			}
			reply.Results = append(reply.Results, res)
		}
		return reply, nil
	})
}

// clearExport remembers the counters of one export and of its initiators.
func (s *baseline) clearExport(d *Daemon, x *export) {
	if s.exports == nil {
		s.exports = map[aoe.Addr]stats.ExportSnapshot{}
	}
	if s.initiators == nil {
		s.initiators = map[initiatorKey]stats.InitiatorSnapshot{}
	}
	if x.run != nil {
		s.exports[x.addr] = x.run.engine.Snapshot()
	}
	for _, i := range d.eng.Initiators() {
		if i.Addr == x.addr && !i.Others {
			s.initiators[initiatorKey{i.Addr, i.MAC}] = i.InitiatorSnapshot
		}
	}
}

func (d *Daemon) clearAllStats() {
	b := baseline{since: time.Now(), exports: map[aoe.Addr]stats.ExportSnapshot{}, ports: map[string]stats.PortSnapshot{}, lanes: d.eng.LaneSnapshots(),
		initiators: map[initiatorKey]stats.InitiatorSnapshot{}}
	for _, x := range d.exports {
		if x.run != nil {
			b.exports[x.addr] = x.run.engine.Snapshot()
		}
	}
	for _, p := range d.ports {
		b.ports[p.ifc.Name] = p.port.Snapshot()
	}
	for _, i := range d.eng.Initiators() {
		b.initiators[initiatorKey{i.Addr, i.MAC}] = i.InitiatorSnapshot
	}
	d.base = b
}
