package engine

import (
	"encoding/binary"

	"goaoe/aoe"
	"goaoe/internal/stats"
	"goaoe/internal/target"
)

// seenSize is how many of an export's latest requests are remembered to tell repetitions.
const (
	seenBits = 7
	seenSize = 1 << seenBits
)

// seen is a request that was remembered: a hash of who asked for what, its tag, and the slot that it got.
type seen struct {
	key    uint32
	tag    uint32
	slot   uint32
	serial uint32 // of the slot at that time: as long as it is the same the request is not answered; 0: it got no slot
}

// seenKey is a hash of who asks for what: of the address as in lane.src and of the ATA registers, which a repetition has, too.
func seenKey(src uint64, frame []byte) uint64 {
	what := binary.LittleEndian.Uint64(frame[24:]) ^ uint64(binary.LittleEndian.Uint32(frame[32:]))*0x9e3779b97f4a7c15
	return (what ^ src<<16) * 0xd6e8feb86659fd93
}

// seenAt is the place of a key in laneExport.recent.
func seenAt(key uint64) int { return int(key >> (64 - seenBits)) }

// look tells whether a request repeats an earlier one (stats.Export.Retransmits says when), and remembers it. key is its seenKey.
func (x *laneExport) look(p *pool, key uint64, tag uint32, kind target.IOKind) (e *seen, repeats bool) {
	e = &x.recent[seenAt(key)]
	rest := uint32(key >> (32 - seenBits))
	if e.key != rest {
		e.key, e.tag, e.serial = rest, tag, 0
		return e, false
	}
	running := kind != target.IOFlush && e.serial != 0 && p.slots[e.slot].serial == e.serial
	repeats = running || e.tag == tag
	e.tag = tag
	if !running {
		e.serial = 0
	}
	return e, repeats
}

// keep remembers the slot of a request.
func (e *seen) keep(s *slot) {
	if e.serial == 0 {
		e.slot, e.serial = s.op.User, s.serial
	}
}

// meet counts a request of an initiator and remembers its entry for what follows. x is the export that it is for, nil where that is not one of the lane's.
// In most batches the next frame is from the same one, and most exports have one initiator.
func (l *lane) meet(p *lanePort, x *laneExport) {
	src, addr := l.req.Src.Key(), l.req.Addr.Key()
	if l.ini != nil && src == l.src && addr == l.iniAddr && p == l.iniPort {
		l.ini.Requests.Inc()
		return
	}
	var e *stats.Initiator
	if x != nil && x.ini != nil && x.src == src {
		e = x.ini
	} else {
		e = l.find(src, addr)
		if x != nil && l.inis.Places(e) {
			x.src, x.ini = src, e
		}
	}
	l.src, l.iniAddr, l.iniPort = src, addr, p
	e.Requests.Inc()
	e.LastSeen.Set(uint64(l.now))
	e.MetOn(p.port.id)
	l.ini = e
}

// find returns the entry of an initiator. If it was another's before, no export may keep it as that one's.
func (l *lane) find(src uint64, addr uint32) *stats.Initiator {
	moves := l.inis.Moves()
	e := l.inis.Find(src, addr, l.now)
	if l.inis.Moves() != moves {
		for _, x := range l.exports {
			if x != nil && x.ini == e {
				x.ini = nil
			}
		}
	}
	return e
}

// miss counts a request that got no reply for its initiator. One to a wildcard counts once, and only when nobody answered.
func (l *lane) miss() {
	if l.answered {
		return
	}
	l.ini.Drops.Inc()
	if l.why.Denies() {
		l.ini.Denied.Inc()
	}
}

// lose counts a frame that gets no reply.
func (l *lane) lose(p *lanePort, d stats.Drop) {
	p.st.Drops[d].Inc()
	l.why = d
}

// late counts a request that gets no reply although it was taken in.
func (l *lane) late(s *slot, d stats.Drop) {
	s.port.st.Drops[d].Inc()
	s.ini.Drops.Inc()
	if l.tap != nil {
		l.tap.put(l.n, s.port.port, l.now, false, d, s.req, reqHeader+payloadLen(&s.io))
	}
}

// arrived is the time of arrival on the clock of sys.Nanotime. t is the kernel's time stamp, 0 if it has none; one that is not plausible,
// because the clock was set, counts as now.
func (l *lane) arrived(t int64) int64 {
	const most = 60e9
	if age := l.now - t; t != 0 && age > 0 && age < most {
		return l.mono - age
	}
	return l.mono
}

// answeredSlot adds the latency of a request whose reply was handed over.
func (l *lane) answeredSlot(s *slot) {
	ns := l.sent - s.at
	class := stats.ClassFlush
	switch s.io.Kind {
	case target.IORead:
		class = stats.ClassRead
	case target.IOWrite:
		class = stats.ClassWrite
	}
	s.exp.te.Stats.Latency[class].Observe(ns)
	l.latency[class] = ns
	s.ini.BusyNs.Add(uint64(max(ns, 0)))
}

// Snapshot returns the counters of an export.
func (x *Export) Snapshot() stats.ExportSnapshot { return x.Target.Stats.Snapshot() }

// Lane returns the number of the lane that the export runs on, from 0. It is valid after AddExport.
func (x *Export) Lane() int { return x.lane }

// Snapshot returns the counters of an interface, summed over the lanes. They go on when the interface is removed and added again under
// the same name.
func (p *Port) Snapshot() stats.PortSnapshot {
	s := p.earlier
	for i := range p.stats {
		s = s.Add(p.stats[i].Snapshot())
	}
	s.KernelDrops += p.Drops()
	return s
}

// LaneSnapshots returns the counters of all lanes, in their order.
func (e *Engine) LaneSnapshots() []stats.LaneSnapshot {
	s := make([]stats.LaneSnapshot, len(e.lanes))
	for i, l := range e.lanes {
		s[i] = l.stats.Snapshot()
	}
	return s
}

// InitiatorSnapshot is what one initiator did with one export.
type InitiatorSnapshot struct {
	// Addr is the export. With a wildcard it stands for requests to several exports at once, such as a query to all.
	Addr aoe.Addr
	// Others tells that the entry stands for all that the tables had no room for; then Addr and MAC say nothing.
	Others bool
	stats.InitiatorSnapshot
}

// Initiators returns what each initiator did with each export, in no order. Entries outlive their exports; see stats.IdleAfter.
func (e *Engine) Initiators() []InitiatorSnapshot {
	e.mu.Lock()
	names := e.names
	e.mu.Unlock()
	var all []InitiatorSnapshot
	others := -1
	for _, l := range e.lanes {
		l.inis.Snapshots(func(mac uint64, addr, iface uint32, s stats.InitiatorSnapshot) {
			if mac == 0 {
				if others >= 0 {
					all[others].InitiatorSnapshot = all[others].Add(s)
					return
				}
				others = len(all)
			}
			if iface > 0 && int(iface) <= len(names) {
				s.Interface = names[iface-1]
			}
			a := aoe.Addr{Major: uint16(addr >> 8), Minor: uint8(addr)}
			all = append(all, InitiatorSnapshot{Addr: a, Others: mac == 0, InitiatorSnapshot: s})
		})
	}
	return all
}

// name gives an interface's name its number, from 1; e.mu is held. Numbers are never used again for another name.
func (e *Engine) name(n string) uint32 {
	for i, s := range e.names {
		if s == n {
			return uint32(i + 1)
		}
	}
	e.names = append(e.names[:len(e.names):len(e.names)], n)
	return uint32(len(e.names))
}
