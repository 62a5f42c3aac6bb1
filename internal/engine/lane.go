package engine

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/stats"
	"goaoe/internal/store"
	"goaoe/internal/sys"
	"goaoe/internal/target"
)

const (
	rxBatch   = 64 // frames taken from one link in one turn
	reapBatch = 64
	// blockedPoll is how long a lane sleeps at most while a link's send queue is full and nothing else happens.
	blockedPoll = 10 * time.Millisecond
	// glanceTurns is for how many turns at most the time is what was read while looking for work. None of them comes later than BusyPoll or diskLook after the one before.
	glanceTurns = 64
)

// lane is one thread of the engine. Everything in it belongs to that thread, but for the mailbox.
type lane struct {
	eng   *Engine
	n     int
	stats stats.Lane

	ports   []*lanePort
	exports []*laneExport // by target ID; nil where none
	slots   pool
	places  places // where the requests of all exports lie
	set     store.Set
	onStore int  // operations on stores, of all exports
	paced   bool // replies leave in parts: see txTurn
	parts   int  // how many parts left since the lane had nothing to do
	// pumpList holds the exports whose waiting requests may start at the end of the turn.
	pumpList *laneExport

	stepped bool // it has no thread: see NewStepped

	inis *stats.Initiators
	taps atomic.Pointer[tapSet] // nil when there is none
	tap  *tapSet                // as of this turn
	// Of the frame that is being handled: the entry of who sent it, whether it gets a reply, and if not why.
	ini      *stats.Initiator // nil at the start of a turn
	src      uint64           // of ini: the MAC
	iniAddr  uint32           // and the address
	iniPort  *lanePort        // and where it was met last
	answered bool
	why      stats.Drop

	near    [rxBatch]*laneExport    // whom the frames that came in are for, see ahead
	latency [stats.NumClasses]int64 // of the latest request of each class

	req  target.Request
	act  target.Action // of the frame that is being handled
	done [reapBatch]*store.Op
	now  int64  // Unix nanoseconds, taken once a turn in which frames came
	mono int64  // the same moment on the clock of sys.Nanotime
	sent int64  // when the link last took messages, on that clock
	nth  uint64 // counts turns
	// Of limits: the exports with requests that wait for them, when those may go, and the turn in which the clocks were read.
	limited *laneExport
	limitAt int64 // on the clock of sys.Nanotime
	timed   uint64
	glance  int64 // when it last looked while it was looking for work, on the clock of sys.Nanotime; 0: it was not
	glances int   // turns whose time was that
	apart   int64 // the other clock's time by then
	acts    bool  // this turn did something

	spin     time.Duration // how long to look for work before sleeping, at this moment
	disks    diskPoll
	pollFDs  []unix.PollFd
	stopping bool
	ended    bool

	wake   *sys.EventFD
	mail   atomic.Bool
	mu     sync.Mutex // guards mails and closed
	mails  []*mail
	shut   bool
	heldUp atomic.Bool   // it did not read its mail in time when somebody waited last
	over   chan struct{} // closed when the thread has ended
}

func newLane(e *Engine, n int) (*lane, error) {
	wake, err := sys.NewEventFD()
	if err != nil {
		return nil, fmt.Errorf("lane %d: %w", n, err)
	}
	l := &lane{eng: e, n: n, wake: wake, over: make(chan struct{}), inis: stats.NewInitiators()}
	l.slots.moving = l.unpinSlots
	return l, nil
}

// leaveSignals has the calling thread take none of the signals that end the process or have it read its configuration. The kernel gives such a signal to one thread,
// and to no other when that one does not come back (complete_signal in kernel/signal.c): a lane that writes to a disk that hangs does not.
func leaveSignals() {
	var set unix.Sigset_t
	for _, s := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM} {
		n := uint(s) - 1
		size := uint(unsafe.Sizeof(set.Val[0]) * 8)
		set.Val[n/size] |= 1 << (n % size)
	}
	_ = unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil) // else it is as it was
}

// run is the lane's thread.
func (l *lane) run() {
	runtime.LockOSThread() // an io_uring may be bound to the thread that made it
	leaveSignals()
	for !l.ended {
		if l.mail.Load() {
			l.readMail()
		}
		if l.turn() {
			continue
		}
		if l.stopping && l.idleNow() {
			break
		}
		l.idle()
	}
	l.end()
}

// turn does all the work that there is at this moment once, and tells whether there was any.
func (l *lane) turn() bool {
	l.acts = false
	l.nth++
	l.tap = l.taps.Load()
	if l.onStore > 0 { // from before: there is a disk that takes its time
		l.paced = true
	}
	if !l.stopping {
		l.receive()
	}
	l.glance = 0 // it is of this turn
	if l.limited != nil {
		l.serveLimited()
	}
	for _, x := range l.set.Executors() {
		x.Flush()
	}
	l.giveBack()
	l.reap()
	most, left := txBatch, false
	if l.paced {
		most = min(txFirst+max(l.parts-txSmall+1, 0), txTurn)
	}
	for _, p := range l.ports {
		if p.n > 0 {
			l.flush(p, most)
			left = left || p.n > 0
		}
	}
	if l.paced = l.paced && left; l.paced {
		l.parts++
	}
	l.pumpAll()
	if l.acts {
		l.stats.Turns.Inc()
		l.countSlots()
	}
	return l.acts
}

// countSlots tells the statistics how many slots are in use.
func (l *lane) countSlots() { l.stats.SlotsUsed.Set(uint64(len(l.slots.slots) - l.slots.nfree)) }

// clocks returns the time by both clocks. It is asked for once a turn.
func (l *lane) clocks() (realtime, nanotime int64) {
	if l.eng.opts.Clock != nil {
		return l.eng.opts.Clock()
	}
	return sys.Clocks()
}

// lookAtClocks takes the time of a turn. A lane that was looking for work has just done so, and saves it: what it read then is older by a few looks, a tenth of a
// microsecond. How far the clocks are apart it finds out again after so many turns, as the one may be set meanwhile.
func (l *lane) lookAtClocks() {
	if l.glance != 0 && l.glances < glanceTurns && l.eng.opts.Clock == nil {
		l.mono, l.now = l.glance, l.glance+l.apart
		l.glances++
		return
	}
	l.now, l.mono = l.clocks()
	l.apart, l.glances = l.now-l.mono, 0
}

// nanotime returns the time by the clock that does not jump. It is asked for once a send call.
func (l *lane) nanotime() int64 {
	if l.eng.opts.Clock != nil {
		_, ns := l.eng.opts.Clock()
		return ns
	}
	return sys.Nanotime()
}

// receive takes a batch of frames from every link and handles them in the order in which the kernel received them.
func (l *lane) receive() {
	busy := 0
	var only *lanePort
	for _, p := range l.ports {
		p.nf, p.cur = 0, 0
		if !p.link.Pending() {
			continue
		}
		if p.nf = p.link.Recv(p.frames[:]); p.nf > 0 {
			p.refresh()
			p.st.RxBatches.Inc()
			p.st.RxFrames.Add(uint64(p.nf))
			busy++
			only = p
		}
	}
	if busy == 0 {
		return
	}
	l.acts = true
	l.lookAtClocks()
	l.timed = l.nth
	l.ini = nil // it may have lost its place since
	if len(l.exports) >= aheadExports {
		for _, p := range l.ports {
			l.ahead(p)
		}
	}
	if busy == 1 {
		for i := 0; i < only.nf; i++ {
			l.frame(only, &only.frames[i])
		}
		return
	}
	for {
		var p *lanePort
		for _, q := range l.ports {
			if q.cur < q.nf && (p == nil || q.frames[q.cur].Time < p.frames[p.cur].Time) {
				p = q
			}
		}
		if p == nil {
			break
		}
		l.frame(p, &p.frames[p.cur])
		p.cur++
	}
}

// giveBack ends the use of the frames of this turn: what lay in them was executed or copied.
func (l *lane) giveBack() {
	for _, p := range l.ports {
		if p.nf > 0 {
			p.nf = 0
			p.link.Release()
		}
	}
}

// frame handles one received frame.
func (l *lane) frame(p *lanePort, f *link.Frame) {
	l.answered, l.why = false, stats.NoDrop
	l.judge(p, f)
	if l.tap != nil {
		l.tap.received(l, p, f)
	}
}

// judge finds out for whom a frame is, and has them act on it.
func (l *lane) judge(p *lanePort, f *link.Frame) {
	p.st.RxBytes.Add(uint64(len(f.Data)))
	if d := l.req.Parse(f.Data, f.Tagged, f.TCI, p.in); d != stats.NoDrop {
		l.lose(p, d)
		if d == stats.DropResponse {
			l.neighbour(p, f.Data)
		}
		return
	}
	if !l.req.Addr.Wild() {
		if te := p.tab.Lookup(l.req.Addr); te != nil {
			l.meet(p, l.laneExport(te))
			l.handle(p, f, te)
			l.miss()
		} else {
			l.lose(p, stats.DropAddress)
		}
		return
	}
	l.meet(p, nil)
	met := false
	for _, te := range p.tab.All() {
		if l.req.Addr.Match(te.Addr()) {
			met = true
			l.handle(p, f, te)
		}
	}
	if !met {
		l.lose(p, stats.DropAddress)
	}
	l.miss()
}

// laneExport returns what the lane keeps of an export, nil when it is not one of the lane's.
func (l *lane) laneExport(te *target.Export) *laneExport {
	if int(te.ID) < len(l.exports) {
		if x := l.exports[te.ID]; x != nil && x.te == te {
			return x
		}
	}
	return nil
}

// handle has one target act on the frame in l.req.
func (l *lane) handle(p *lanePort, f *link.Frame, te *target.Export) {
	buf := l.replyBuffer(p)
	if buf == nil {
		l.lose(p, stats.DropSend)
		return
	}
	act := &l.act
	te.Handle(&l.req, p.in, buf, act)
	switch act.Kind {
	case target.Silent:
		l.lose(p, act.Drop)
	case target.Reply:
		l.queueReply(p, buf[:act.N], te, l.arrived(f.Time))
		l.answered = true
		if act.Reject != stats.NoReject {
			l.ini.Rejects.Inc()
			if act.Reject.Denies() {
				l.ini.Denied.Inc()
			}
		} else if l.req.Cmd == aoe.CmdATA {
			l.ini.LastATA.Set(uint64(l.now))
		}
	case target.IO:
		l.ini.LastATA.Set(uint64(l.now))
		l.begin(p, f, te, act.IO)
	case target.Defer:
		te.Stats.Slow.Inc()
		frame := append([]byte(nil), f.Data...)
		if !l.eng.opts.Slow(SlowRequest{Target: te, Port: p.port, Frame: frame, Tagged: f.Tagged, TCI: f.TCI}) {
			l.lose(p, stats.DropBusy)
			return
		}
		l.answered = true // it will be
	}
}

// neighbour reports a reply frame that carries one of our addresses and does not come from us: the filter lets only
// broadcasts of that kind through, which are announcements of another target.
func (l *lane) neighbour(p *lanePort, frame []byte) {
	if l.eng.opts.Neighbour == nil || len(frame) < 24 || aoe.MAC(frame[0:6]) != aoe.Broadcast {
		return
	}
	src := aoe.MAC(frame[6:12])
	addr := aoe.Addr{Major: uint16(frame[16])<<8 | uint16(frame[17]), Minor: frame[18]}
	if src != p.in.MAC && p.tab.Lookup(addr) != nil {
		l.eng.opts.Neighbour(p.port, src, addr)
	}
}

// pending tells without a system call whether there may be work.
func (l *lane) pending() bool {
	if l.mail.Load() {
		return true
	}
	for _, p := range l.ports {
		if !l.stopping && p.link.Pending() {
			return true
		}
	}
	for _, x := range l.set.Executors() {
		if x.Pending() {
			return true
		}
	}
	return l.limitsDue()
}

// sleep waits for a frame, a completion, room to send, mail, or the moment at which somebody's limit lets more through.
func (l *lane) sleep() {
	fds := append(l.pollFDs[:0], unix.PollFd{Fd: int32(l.wake.FD()), Events: unix.POLLIN})
	timeout := int64(-1)
	for _, p := range l.ports {
		ev := int16(0)
		if !l.stopping {
			ev = unix.POLLIN
		}
		if p.blocked {
			ev |= unix.POLLOUT
			timeout = int64(blockedPoll)
		}
		fd := p.link.FD()
		if fd < 0 {
			timeout = int64(time.Millisecond)
		}
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: ev})
	}
	for _, x := range l.set.Executors() {
		if x.FD() >= 0 {
			fds = append(fds, unix.PollFd{Fd: int32(x.FD()), Events: unix.POLLIN})
		}
	}
	if l.limited != nil {
		if d := max(0, l.limitAt-l.nanotime()); timeout < 0 || d < timeout {
			timeout = d
		}
	}
	l.pollFDs = fds
	l.stats.Sleeps.Inc()
	n, err := sys.Poll(fds, timeout)
	if err != nil || n == 0 {
		return // interrupted or timed out: the next turn looks at everything
	}
	if fds[0].Revents != 0 {
		l.wake.Drain()
	}
	for i, p := range l.ports {
		if fds[i+1].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 {
			l.fault(p)
		}
	}
}

// fault takes the error state of a link, which also clears it, and reports it.
func (l *lane) fault(p *lanePort) {
	h, ok := p.link.(link.Checker)
	if !ok {
		return
	}
	if err := h.Check(); err != nil && l.eng.opts.Fault != nil {
		l.eng.opts.Fault(p.port, err)
	}
}

// idleNow tells whether nothing is in flight and nothing waits to be sent.
func (l *lane) idleNow() bool {
	for _, x := range l.exports {
		if x != nil && x.held > 0 {
			return false
		}
	}
	for _, p := range l.ports {
		if p.n > 0 {
			return false
		}
	}
	return true
}

// end closes what the lane owns and refuses further mail.
func (l *lane) end() {
	l.mu.Lock()
	l.shut = true
	l.mu.Unlock()
	l.readMail()
	for _, x := range l.exports {
		if x != nil {
			x.ch.Close()
			if x.drained != nil {
				close(x.drained)
			}
		}
	}
	l.exports = nil
	for _, p := range l.ports {
		p.close()
	}
	l.ports = nil
	l.set.Close()
	l.slots.close()
	l.mu.Lock()
	_ = l.wake.Close()
	l.mu.Unlock()
	close(l.over)
}
