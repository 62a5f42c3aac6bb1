package engine

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"goaoe/internal/link"
	"goaoe/internal/stats"
	"goaoe/internal/sys"
	"goaoe/internal/target"
)

const (
	txBatch = 128 // replies that wait to be sent on one port, at most
	// txTurn is how many of them leave in one turn when they come from a disk, and not at once from memory. A disk often finishes a good part of its queue at
	// once; if all of those replies went out first, the new requests that the earlier ones bring would wait, and the disk would idle.
	txTurn = 16
	// txFirst is how many leave in each of the first txSmall of these turns after the lane had nothing to do; each next one may have one more. So a disk that has nothing to do gets
	// something again soon, enough not to be done with it before the next is there, and that comes while the first is told to it. A lane that is never idle has no time for small parts.
	txFirst = 4
	txSmall = 8
	// pinReplies is how many replies wait to leave at once when a link is told where slots lie (link.Pinner). What it keeps for that is more than a link that has little to do is worth.
	pinReplies = 8
	// replySize holds the largest reply that carries no disk data, a reserve list of 248 entries with 1514 bytes, and link.HeadRoom.
	replySize = 2048
	// sendWaitNs is how long a lane waits in all for a full send queue to get empty before it drops replies.
	sendWaitNs = 2_000_000
	// stuckNs is how long a link may refuse one reply for want of room before the reply is given up, as if the network had lost it. A
	// full queue gets room in less; but the kernel says the same, for ever, of a frame that a virtual interface does not take because
	// its other end has a smaller MTU, and that must not hold up what is behind it.
	stuckNs = 20_000_000
	// stuckNextNs is the same for the next replies until one is sent.
	stuckNextNs = 1_000_000
)

// lanePort is a port inside a lane, with the replies that are to be sent on it.
type lanePort struct {
	port *Port
	link link.Link
	st   *stats.Port
	in   *target.Ingress // as of this turn
	tab  *target.Table   // as of this turn

	frames  [rxBatch]link.Frame
	nf, cur int

	msgs    [txBatch]link.Msg
	owner   [txBatch]*slot // the request behind a message; nil for a reply out of the arena
	plain   [txBatch]plain // what is known of a reply out of the arena
	n, sent int            // messages queued, and how many of them are dealt with
	arena   []byte         // replySize bytes for each message
	blocked bool           // the link's queue was full
	waited  int64          // nanoseconds that the lane has waited for room since the queue was last empty
	refused int64          // when the link first refused the first reply that is queued; 0: it has not
	patient int64          // how long it may: stuckNs or stuckNextNs
	gone    bool           // the port was removed

	pin    link.Pinner // nil where the link has no use for it
	pinned bool        // it knows memory of slots
}

// plain is a reply without a slot.
type plain struct {
	te *target.Export
	at int64 // when the request arrived, on the clock of sys.Nanotime
}

func newLanePort(p *Port, lane int) (*lanePort, error) {
	mem, err := sys.AllocLater(txBatch * replySize) // most of it is never used: replies are sent before many wait
	if err != nil {
		return nil, fmt.Errorf("memory for replies: %w", err)
	}
	lp := &lanePort{port: p, link: p.links[lane], st: &p.stats[lane], arena: mem, patient: stuckNs}
	lp.pin, _ = lp.link.(link.Pinner)
	lp.refresh()
	return lp, nil
}

// refresh takes over what the daemon has set. It stays the same for the whole turn.
func (p *lanePort) refresh() {
	p.in = p.port.ingress.Load()
	p.tab = p.port.table.Load()
}

func (p *lanePort) close() {
	_ = sys.Free(p.arena)
	p.arena = nil
}

// room makes sure that one more message can be queued.
func (l *lane) room(p *lanePort) bool {
	if p.n < txBatch {
		return true
	}
	l.flush(p, txBatch)
	if p.n < txBatch {
		return true
	}
	if p.link.FD() < 0 {
		return false
	}
	for p.waited < sendWaitNs {
		start := sys.Nanotime()
		fds := append(l.pollFDs[:0], unix.PollFd{Fd: int32(p.link.FD()), Events: unix.POLLOUT})
		_, err := sys.Poll(fds, sendWaitNs-p.waited)
		p.waited += sys.Nanotime() - start
		if err != nil {
			return false
		}
		if l.flush(p, txBatch); p.n < txBatch {
			return true
		}
	}
	return false
}

// replyBuffer returns the place for the next reply without disk data, or nil when the link takes no more.
func (l *lane) replyBuffer(p *lanePort) []byte {
	if !l.room(p) {
		return nil
	}
	return p.arena[p.n*replySize+link.HeadRoom : (p.n+1)*replySize : (p.n+1)*replySize]
}

// queueReply queues what was written to the last replyBuffer: the reply of te to a request that arrived at the time at.
func (l *lane) queueReply(p *lanePort, frame []byte, te *target.Export, at int64) {
	p.msgs[p.n] = link.Msg{Head: frame, Room: true}
	p.owner[p.n], p.plain[p.n] = nil, plain{te, at}
	p.n++
}

// queueSlot queues the reply of a request: its header and body. It is false when the link takes no more.
func (l *lane) queueSlot(s *slot, head, body []byte) bool {
	p := s.port
	if p.gone || !l.room(p) {
		return false
	}
	m := &p.msgs[p.n] // field by field: a processor waits for a copy of what it has just written
	m.Head, m.Body, m.Room, m.Err = head, body, true, nil
	p.owner[p.n] = s
	p.n++
	return true
}

// flush sends what is queued, up to most messages. What the link does not take now stays queued; what it cannot take at all is
// dropped.
func (l *lane) flush(p *lanePort, most int) {
	if p.pin != nil && !p.pinned && p.n-p.sent >= pinReplies {
		l.pinSlots(p)
	}
	for p.sent < p.n && most > 0 {
		k, err := p.link.Send(p.msgs[p.sent:min(p.n, p.sent+most)])
		most -= k
		if k > 0 {
			l.acts = true
			p.st.TxBatches.Inc()
			if p.pinned {
				p.st.TxPinned.Set(p.pin.PinnedFrames())
			}
			l.sent = l.nanotime()
			p.refused, p.patient = 0, stuckNs
		}
		for ; k > 0; k-- {
			i := p.sent
			p.sent++
			l.sentOne(p, i)
		}
		if err != nil {
			if errors.Is(err, link.ErrFull) {
				p.blocked = true
				p.st.TxFull.Inc()
				if !l.giveUpFirst(p, err) {
					return
				}
				most--
				continue
			}
			l.discard(p)
		}
	}
	if p.sent < p.n {
		l.acts = true // the rest in the next turn
		return
	}
	p.n, p.sent, p.blocked, p.waited, p.refused = 0, 0, false, 0, 0
}

// pinSlots tells a link where the slots lie that are used first.
func (l *lane) pinSlots(p *lanePort) {
	if len(l.slots.chunks) == 0 || l.slots.stride == 0 {
		return
	}
	if p.pinned = p.pin.Pin(l.slots.chunks[0].mem); !p.pinned {
		p.pin = nil
	}
}

// unpinSlots makes links forget memory that slots lie in, before that is given back to the kernel: the same addresses may be something else afterwards.
func (l *lane) unpinSlots() {
	for _, p := range l.ports {
		if p.pinned {
			p.pin.Pin(nil)
			p.pinned = false
		}
	}
}

// giveUpFirst drops the first reply that is queued when the link has refused it for too long, and tells whether it did.
func (l *lane) giveUpFirst(p *lanePort, err error) bool {
	now := l.nanotime()
	if p.refused == 0 {
		p.refused = now
	}
	if now-p.refused < p.patient {
		return false
	}
	p.refused, p.patient = now, stuckNextNs
	l.acts = true
	i := p.sent
	p.sent++
	p.msgs[i].Err = err
	l.sentOne(p, i)
	return true
}

// discard drops everything that is queued.
func (l *lane) discard(p *lanePort) {
	for p.sent < p.n {
		l.acts = true
		i := p.sent
		p.sent++
		p.st.TxErrors.Inc()
		p.st.Drops[stats.DropSend].Inc()
		if l.tap != nil {
			l.tapSent(p, &p.msgs[i], stats.DropSend)
		}
		if s := p.owner[i]; s != nil {
			s.ini.Drops.Inc()
			l.release(s)
		}
		p.msgs[i], p.owner[i], p.plain[i] = link.Msg{}, nil, plain{}
	}
	p.n, p.sent, p.blocked, p.waited, p.refused = 0, 0, false, 0, 0
}

// sentOne does what is due after message i was sent or refused.
func (l *lane) sentOne(p *lanePort, i int) {
	m, s := &p.msgs[i], p.owner[i]
	err, size, r := m.Err, len(m.Head)+len(m.Body), p.plain[i]
	if l.tap != nil {
		why := stats.NoDrop
		if err != nil {
			why = stats.DropSend
		}
		l.tapSent(p, m, why)
	}
	*m, p.owner[i], p.plain[i] = link.Msg{}, nil, plain{}
	if err == nil {
		p.st.TxFrames.Inc()
		p.st.TxBytes.Add(uint64(size))
		if s != nil {
			l.answeredSlot(s)
			l.release(s)
		} else {
			r.te.Stats.OtherLatency.ObserveShared(l.sent - r.at)
		}
		return
	}
	p.st.TxErrors.Inc()
	if s != nil && s.state == slotView && !errors.Is(err, link.ErrFull) {
		// The mapped memory could not be read (the file was cut short, or its disk failed): a read of its own finds out.
		l.toStore(s)
		return
	}
	p.st.Drops[stats.DropSend].Inc()
	if s != nil {
		s.ini.Drops.Inc()
		l.release(s)
	}
}

// tapSent shows a message that was sent, or lost. A body is memory that only the kernel may touch (store.Viewer), so only its length is told.
func (l *lane) tapSent(p *lanePort, m *link.Msg, why stats.Drop) {
	l.tap.put(l.n, p.port, l.now+l.sent-l.mono, true, why, m.Head, len(m.Head)+len(m.Body))
}
